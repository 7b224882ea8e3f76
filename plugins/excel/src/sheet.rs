//! Sheets: their heads, rows and ends.

use std::cmp::Ordering;

use chrono_tz::Tz;
use engine_sdk::columns::Cells;

use crate::cell::{self, Shown};
use crate::config::Total;
use crate::styles::HEADER;
use crate::text;
use crate::width::{self, Seen, Shape};
use crate::workbook::SHEET;

/// As many rows as a sheet takes.
pub const MOST_ROWS: u32 = 1_048_576;
/// As many columns as a sheet takes.
pub const MOST_COLUMNS: usize = 16_384;
/// Rows by which widths are chosen.
const LOOKED_AT: usize = 1_000;
/// Characters of a column that fits its values.
const NARROWEST: usize = 6;
const WIDEST: usize = 60;
/// Characters beside each other that are still easy to read on a page that stands.
const UPRIGHT: f64 = 110.0;

/// A column of all sheets.
pub struct Column {
    pub name: String,
    /// `A`, `B`.
    letters: String,
    /// The attribute of its cells, as it stands behind their place.
    style: String,
    bold: usize,
    pub width: Option<f64>,
    pub total: Option<Total>,
    /// How long its numbers are.
    shape: Shape,
}

impl Column {
    /// A column whose numbers have the format that the styles stand for.
    pub fn new(at: usize, name: &str, format: &str, (plain, bold): (usize, usize)) -> Self {
        let style = format!("\" s=\"{plain}");
        let shape = Shape::of(format);
        Self { name: name.to_owned(), letters: letters(at), style, bold, width: None, total: None, shape }
    }

    /// Characters of what is longest: a value of the first rows, or the total.
    fn longest(&self, cells: &Cells, first: &First<'_>, zone: Tz) -> usize {
        let (mut longest, mut seen, mut value) = (0, Seen::default(), Vec::new());
        let to = first.to.min(first.from + LOOKED_AT);
        for row in (first.from..to).filter(|row| !cells.is_null(*row)) {
            value.clear();
            seen.values += 1;
            let shown = cell::value(cells, row, zone, &mut value);
            let text = std::str::from_utf8(&value).unwrap_or_default();
            longest = longest.max(match shown {
                Shown::Number => {
                    let number = text.parse().unwrap_or_default();
                    seen.add(number);
                    self.shape.length(number)
                }
                Shown::Boolean => "FALSE".len(),
                Shown::Text => width::of_text(text),
            });
        }
        let are_all = first.are_all && to == first.to;
        // Where nobody knows how many rows will come, there may be as many as a sheet takes.
        let times = if are_all { 1.0 } else { f64::from(MOST_ROWS) / (to - first.from).max(1) as f64 };
        let total = self.total.and_then(|total| seen.largest(total, times));
        longest.max(total.map_or(0, |total| self.shape.length(total)))
    }
}

/// `A` to `XFD`.
pub fn letters(mut at: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(b'A' + (at % 26) as u8);
        match at / 26 {
            0 => break,
            rest => at = rest - 1,
        }
    }
    letters.reverse();
    String::from_utf8(letters).unwrap_or_default()
}

/// What a total has seen of a column on this sheet.
#[derive(Default, Clone)]
struct Running {
    /// Values, and those of them that are numbers.
    count: u64,
    numbers: u64,
    sum: f64,
    /// What `sum` has lost to rounding.
    lost: f64,
    least: Option<f64>,
    most: Option<f64>,
    /// Numbers that stand as texts: no total has them.
    left_out: u64,
}

impl Running {
    fn add(&mut self, number: Option<f64>) {
        self.count += 1;
        let Some(number) = number else { return };
        self.numbers += 1;
        let next = self.sum + number;
        self.lost += if self.sum.abs() >= number.abs() { self.sum - next + number } else { number - next + self.sum };
        self.sum = next;
        let better = |known: Option<f64>, order: Ordering| match known {
            Some(known) if number.total_cmp(&known) != order => Some(known),
            _ => Some(number),
        };
        (self.least, self.most) = (better(self.least, Ordering::Less), better(self.most, Ordering::Greater));
    }

    /// None: programs show an error there.
    fn value(&self, total: Total) -> Option<f64> {
        let sum = self.sum + self.lost;
        let value = match total {
            Total::Sum => sum,
            Total::Average => sum / self.numbers as f64,
            Total::Count => self.count as f64,
            Total::Min => self.least.unwrap_or_default(),
            Total::Max => self.most.unwrap_or_default(),
        };
        value.is_finite().then_some(value)
    }
}

/// The rows that come to a sheet first: those of a batch, from one to the one behind the last.
pub struct First<'a> {
    pub cells: &'a [Cells],
    pub from: usize,
    pub to: usize,
    /// Whether no others will come to the sheet.
    pub are_all: bool,
}

/// A sheet in the making.
pub struct Sheet {
    pub name: String,
    /// The row that was written last; 0: none.
    pub rows: u32,
    header: bool,
    /// Printed on paper that lies.
    lies: bool,
    running: Vec<Running>,
    /// For the value of one cell.
    scratch: Vec<u8>,
}

/// Where a sheet ends, for the workbook.
pub struct Ended {
    pub name: String,
    /// The cells that the filter is about: `$A$1:$F$100`.
    pub filter: Option<String>,
    pub header: bool,
    /// Columns whose totals leave out values that stand as texts, and how many.
    pub left_out: Vec<(String, u64)>,
}

impl Sheet {
    /// Begins a sheet.
    pub fn begin(
        name: String,
        columns: &[Column],
        header: bool,
        is_first: bool,
        first: &First<'_>,
        zone: Tz,
        out: &mut Vec<u8>,
    ) -> Self {
        let selected = if is_first { " tabSelected=\"1\"" } else { "" };
        let pane = match header {
            true => r#"<pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/>"#,
            false => "",
        };
        // Printed, all columns are on one page beside each other, and as many pages below as it takes.
        let fits = r#"<sheetPr><pageSetUpPr fitToPage="1"/></sheetPr>"#;
        let head = format!(
            r#"{SHEET}{fits}<sheetViews><sheetView{selected} workbookViewId="0">{pane}</sheetView></sheetViews>"#
        );
        out.extend_from_slice(head.as_bytes());
        let mut together = 0.0;
        if !columns.is_empty() {
            out.extend_from_slice(b"<cols>");
            for (at, column) in columns.iter().enumerate() {
                let width = column.width.unwrap_or_else(|| {
                    let title = if header { width::of_text(&column.name) + 2 } else { 0 };
                    let longest = first.cells.get(at).map_or(0, |cells| column.longest(cells, first, zone));
                    title.max(longest).clamp(NARROWEST, WIDEST) as f64 + 1.7
                });
                together += width;
                let at = at + 1;
                let col = format!(r#"<col min="{at}" max="{at}" width="{width}" customWidth="1"/>"#);
                out.extend_from_slice(col.as_bytes());
            }
            out.extend_from_slice(b"</cols>");
        }
        out.extend_from_slice(b"<sheetData>");
        let mut sheet = Self {
            name,
            rows: 0,
            header,
            lies: together > UPRIGHT,
            running: vec![Running::default(); columns.len()],
            scratch: Vec::new(),
        };
        if header && !columns.is_empty() {
            sheet.rows = 1;
            out.extend_from_slice(b"<row r=\"1\">");
            let style = format!("\" s=\"{HEADER}");
            for column in columns {
                let place = [column.letters.as_bytes(), b"1"];
                cell::write(Shown::Text, &place, style.as_bytes(), column.name.as_bytes(), out);
            }
            out.extend_from_slice(b"</row>");
        }
        sheet
    }

    /// Whether another row fits, and the totals below it.
    pub fn has_room(&self) -> bool {
        self.rows + 1 < MOST_ROWS
    }

    /// Writes a row.
    pub fn row(&mut self, columns: &[Column], cells: &[Cells], row: usize, zone: Tz, out: &mut Vec<u8>) {
        self.rows += 1;
        let mut number = itoa::Buffer::new();
        let number = number.format(self.rows).as_bytes();
        out.extend_from_slice(b"<row r=\"");
        out.extend_from_slice(number);
        out.extend_from_slice(b"\">");
        for (at, (column, cells)) in columns.iter().zip(cells).enumerate() {
            if cells.is_null(row) {
                continue;
            }
            self.scratch.clear();
            let shown = cell::value(cells, row, zone, &mut self.scratch);
            // Texts are told by their own look.
            let style: &[u8] = if matches!(shown, Shown::Number) { column.style.as_bytes() } else { b"" };
            if column.total.is_some() {
                let number = match shown {
                    Shown::Number => std::str::from_utf8(&self.scratch).ok().and_then(|it| it.parse().ok()),
                    Shown::Boolean | Shown::Text => None,
                };
                let running = &mut self.running[at];
                running.add(number);
                running.left_out += u64::from(number.is_none() && cells.text(row).is_none());
            }
            cell::write(shown, &[column.letters.as_bytes(), number], style, &self.scratch, out);
        }
        out.extend_from_slice(b"</row>");
    }

    /// Ends the sheet.
    pub fn end(self, columns: &[Column], autofilter: bool, out: &mut Vec<u8>) -> Ended {
        let last = self.rows.max(1);
        // Without rows, a total would be about itself.
        let has_rows = self.rows > u32::from(self.header);
        if has_rows && columns.iter().any(|column| column.total.is_some()) {
            self.totals(columns, out);
        }
        out.extend_from_slice(b"</sheetData>");
        let end = columns.last().map(|column| &column.letters);
        let filters = autofilter && self.header;
        let filter = end.filter(|_| filters).map(|end| (format!("A1:{end}{last}"), format!("$A$1:${end}${last}")));
        if let Some((range, _)) = &filter {
            out.extend_from_slice(format!(r#"<autoFilter ref="{range}"/>"#).as_bytes());
        }
        let orientation = if self.lies { "landscape" } else { "portrait" };
        out.extend_from_slice(
            format!(r#"<pageSetup orientation="{orientation}" fitToWidth="1" fitToHeight="0"/></worksheet>"#)
                .as_bytes(),
        );
        let left_out = columns.iter().zip(&self.running).filter(|(_, running)| running.left_out > 0);
        let counts = |column: &Column| column.total.is_some_and(|total| total != Total::Count);
        let left_out = left_out.filter(|(column, _)| counts(column));
        Ended {
            left_out: left_out.map(|(column, running)| (column.name.clone(), running.left_out)).collect(),
            name: self.name,
            filter: filter.map(|(_, range)| range),
            header: self.header && !columns.is_empty(),
        }
    }

    fn totals(&self, columns: &[Column], out: &mut Vec<u8>) {
        let row = (self.rows + 1).to_string();
        let (first, last) = (1 + u32::from(self.header), self.rows);
        out.extend_from_slice(format!("<row r=\"{row}\">").as_bytes());
        for (at, (column, running)) in columns.iter().zip(&self.running).enumerate() {
            let (letters, bold) = (&column.letters, column.bold);
            match column.total {
                Some(total) => {
                    let function = total.function();
                    let value = running.value(total).map(|value| format!("<v>{value}</v>")).unwrap_or_default();
                    let formula = format!(
                        r#"<c r="{letters}{row}" s="{bold}"><f>SUBTOTAL({function},{letters}{first}:{letters}{last})</f>{value}</c>"#
                    );
                    out.extend_from_slice(formula.as_bytes());
                }
                None if at == 0 => {
                    let style = format!("\" s=\"{bold}");
                    cell::write(Shown::Text, &[letters.as_bytes(), row.as_bytes()], style.as_bytes(), b"Total", out);
                }
                None => {}
            }
        }
        out.extend_from_slice(b"</row>");
    }
}

/// The first column of a row whose text no cell takes, and how long it is.
pub fn too_long<'a>(columns: &'a [Column], cells: &[Cells], row: usize) -> Option<(&'a str, usize)> {
    columns.iter().zip(cells).find_map(|(column, cells)| {
        if cells.is_null(row) {
            return None;
        }
        let text = match cells {
            Cells::Binary(bytes) => {
                // Base64 has four letters for three bytes.
                let length = bytes.value(row).len().div_ceil(3) * 4;
                return (length > text::LONGEST).then_some((column.name.as_str(), length));
            }
            _ => cells.text(row)?,
        };
        (!text::fits(text)).then(|| (column.name.as_str(), text.encode_utf16().count()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_called_as_excel_calls_them() {
        for (at, name) in [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA"), (16_383, "XFD")] {
            assert_eq!(letters(at), name);
        }
    }

    #[test]
    fn a_sum_does_not_lose_small_numbers_among_large_ones() {
        let mut running = Running::default();
        for number in [1e16, 1.0, 1.0, -1e16, 0.1, 0.2] {
            running.add(Some(number));
        }
        running.add(None);
        assert_eq!((running.value(Total::Sum), running.value(Total::Count)), (Some(2.3), Some(7.0)));
        assert_eq!((running.value(Total::Min), running.value(Total::Max)), (Some(-1e16), Some(1e16)));
        assert_eq!(running.value(Total::Average), Some(2.3 / 6.0));
        running.add(Some(f64::MAX));
        running.add(Some(f64::MAX));
        assert_eq!((running.value(Total::Sum), Running::default().value(Total::Average)), (None, None));
    }
}
