//! The table: titles of columns, rows and totals.

use std::sync::Arc;

use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;

use crate::cell::Look;
use crate::colour::{Colour, INK, LINE};
use crate::config::Total;
use crate::sheet::{BASELINE, Canvas, LEADING, Sheet, horizontal, rectangle};
use crate::text::{Laid, Layout};
use crate::totals::Running;
use crate::widths::{DIGIT, Need, PADDING};

/// Space above and below the text of a row, in points.
const SPACE: f32 = 2.8;
/// A row that is higher than a page begins on the rest of one that has at least as many lines.
const LEAST_LINES: usize = 3;
/// The titles of the columns take no more of a page.
const MOST_TITLES: f32 = 1.0 / 3.0;
/// Numbers and dates are shown with smaller letters before they are broken, down to these points.
const SMALLEST_VALUE: f32 = 4.0;
/// A total of all rows may have as many digits more than that of the first ones, with a mark between them.
const MORE_DIGITS: f32 = 3.5;
/// Lines of what the row of totals is called.
const LABEL_LINES: usize = 3;

/// As many characters of a value are shown: on some twenty pages.
const LONGEST: usize = 100_000;

/// A column of the table.
pub struct Column {
    pub name: String,
    pub title: String,
    /// Where it stands in the rows that come.
    pub place: usize,
    pub look: Look,
    pub total: Option<Total>,
    /// Whether values stand at the right.
    pub is_number: bool,
    pub need: Need,
    /// With padding, in points.
    pub width: f32,
    pub running: Running,
    /// Values that were too long.
    pub cut: u64,
    /// Numbers and dates that were broken, since no letters are that small.
    pub broken: u64,
    /// Whether the title was cut, since all lines of it would have been too high.
    pub is_title_cut: bool,
}

impl Column {
    /// A value of the column, or a total.
    fn cell(&mut self, layout: &mut Layout, text: &str, bold: bool, size: f32) -> Shown {
        let width = inner(self.width);
        if self.need.is_text {
            return Shown { laid: layout.cell(text, bold, size, width), size };
        }
        let (laid, size) = layout.unbroken(text, bold, size, width, SMALLEST_VALUE.min(size));
        self.broken += u64::from(laid.lines.len() > 1);
        Shown { laid, size }
    }
}

/// The text of a cell, and the size of its letters.
#[derive(Default)]
struct Shown {
    laid: Arc<Laid>,
    size: f32,
}

/// The table.
pub struct Table {
    pub columns: Vec<Column>,
    /// The size of its letters.
    pub size: f32,
    pub accent: Colour,
    pub zebra: bool,
    pub has_header: bool,
    /// Rows so far.
    pub rows: u64,
    titles: Vec<Shown>,
    text: String,
    scratch: Vec<u8>,
}

impl Table {
    pub fn new(columns: Vec<Column>, size: f32, accent: Colour, zebra: bool, has_header: bool) -> Self {
        Self {
            columns,
            size,
            accent,
            zebra,
            has_header,
            rows: 0,
            titles: Vec::new(),
            text: String::new(),
            scratch: Vec::new(),
        }
    }

    /// Looks at some of the first rows, so that widths can be chosen. `are_all`: no others will come.
    pub fn look_at(&mut self, canvas: &mut Canvas, batches: &[(Vec<Cells>, usize)], most: usize, are_all: bool) {
        for column in &mut self.columns {
            let title = canvas.layout.natural(&column.title, true);
            // Titles may be broken.
            column.need.natural = title.width;
            column.need.narrowest = title.narrowest;
            if !column.need.is_text {
                column.need.natural = title.narrowest;
            }
        }
        let mut totals = vec![Running::default(); self.columns.len()];
        let rows = batches.iter().flat_map(|(cells, count)| (0..*count).map(move |row| (cells, row)));
        for (cells, row) in rows.take(most) {
            for ((column, cells), running) in self.columns.iter_mut().zip(cells).zip(&mut totals) {
                if cells.is_null(row) {
                    continue;
                }
                if column.total.is_some() {
                    running.add(cells, row, &column.look, &mut self.scratch);
                }
                self.text.clear();
                column.look.write(cells, row, &mut self.scratch, &mut self.text);
                let need = &mut column.need;
                // What is as long as that is broken in any case.
                let end = self.text.char_indices().nth(400).map_or(self.text.len(), |(at, _)| at);
                let laid = canvas.layout.natural(&self.text[..end], false);
                need.natural = need.natural.max(laid.width);
                need.narrowest = need.narrowest.max(laid.narrowest);
            }
        }
        for (column, running) in self.columns.iter_mut().zip(totals) {
            let Some(total) = column.total else { continue };
            let Some(text) = running.shown(total, &column.look) else { continue };
            let may_grow = !are_all && !matches!(total, Total::Min | Total::Max);
            let more = if may_grow { MORE_DIGITS * DIGIT } else { 0.0 };
            let wide = canvas.layout.natural(&text, true).width + more;
            column.need.natural = column.need.natural.max(wide);
            column.need.narrowest = column.need.narrowest.max(wide);
        }
    }

    /// Takes the widths that were chosen.
    pub fn fit(&mut self, canvas: &mut Canvas, size: f32, widths: Vec<f32>) {
        self.size = size;
        for (column, width) in self.columns.iter_mut().zip(widths) {
            column.width = width;
        }
        let most = self.most_title_lines(&canvas.sheet);
        let title = |column: &mut Column| {
            let width = inner(column.width);
            let (laid, is_cut) = canvas.layout.in_lines(&column.title, true, size, width, most);
            column.is_title_cut = is_cut && self.has_header;
            Shown { laid, size }
        };
        self.titles = self.columns.iter_mut().map(title).collect();
    }

    fn most_title_lines(&self, sheet: &Sheet) -> usize {
        let height = (sheet.top() - sheet.bottom()) * MOST_TITLES - 2.0 * SPACE - 1.0;
        (height / self.line_height()).max(1.0) as usize
    }

    /// Says what is not shown as it should be, and what helps.
    pub fn tell(&self, cx: &Context) {
        for column in &self.columns {
            let Column { name, cut, broken, .. } = column;
            if *cut > 0 {
                let values = engine_sdk::counted(*cut as usize, "value");
                let why = format!("of more than {LONGEST} characters, of which no more are shown, with … at their end");
                cx.log(Level::Warn, format!("column `{name}`: {values} {why}"));
            }
            if *broken > 0 {
                let values = engine_sdk::counted(*broken as usize, "value");
                let why = "broken into several lines, since the column is too narrow";
                let hint = "choose fewer `columns`, a larger `page`, or a width with `widths`";
                cx.log(Level::Warn, format!("column `{name}`: {values} {why}: {hint}"));
            }
        }
        let mut cut = self.columns.iter().filter(|column| column.is_title_cut);
        if let Some(first) = cut.next() {
            let column = &first.name[..first.name.floor_char_boundary(60)];
            let others = cut.count();
            let others = if others > 0 { format!(" and {others} more") } else { String::new() };
            let why = "cut, with … at the end, since titles take a third of a page at most";
            let hint = "write shorter ones with `titles`, or choose fewer `columns`";
            cx.log(Level::Warn, format!("column `{column}`{others}: the title is {why}: {hint}"));
        }
    }

    fn line_height(&self) -> f32 {
        self.size * LEADING
    }

    fn header_height(&self) -> f32 {
        let lines = most_lines(&self.titles);
        if self.has_header { lines as f32 * self.line_height() + 2.0 * SPACE + 1.0 } else { 0.0 }
    }

    /// The height that titles and the first rows need, so that none stands alone.
    pub fn least_height(&self) -> f32 {
        self.header_height() + 3.0 * (self.line_height() + 2.0 * SPACE)
    }

    /// Writes the titles of the columns.
    pub fn header(&self, canvas: &mut Canvas) {
        if !self.has_header || self.columns.is_empty() {
            return;
        }
        let height = self.header_height();
        let (left, right) = (canvas.sheet.left(), canvas.sheet.right());
        let low = canvas.y - height;
        rectangle((left, low), (right - left, height), self.accent.tint(0.1), &mut canvas.content);
        horizontal((left, right), low, 1.0, self.accent, &mut canvas.content);
        let lines = most_lines(&self.titles);
        self.texts(canvas, &self.titles, 0..lines, self.accent, "the titles of the columns");
        canvas.y = low;
    }

    /// Writes lines of the cells of a row.
    fn texts(&self, canvas: &mut Canvas, row: &[Shown], lines: std::ops::Range<usize>, colour: Colour, of: &str) {
        let Canvas { pen, layout, content, missing, .. } = canvas;
        content.extend_from_slice(format!("{0} rg {0} RG\n", colour.operands()).as_bytes());
        pen.begin(content);
        let mut x = canvas.sheet.left();
        for (column, Shown { laid, size }) in self.columns.iter().zip(row) {
            let shown = laid.lines.iter().enumerate().take(lines.end).skip(lines.start);
            for (at, line) in shown {
                if !line.missing.is_empty() {
                    let place = if of.is_empty() { format!("column `{}`", column.name) } else { of.to_owned() };
                    missing.count(&line.missing, &place);
                }
                let padding = (column.width - inner(column.width)) / 2.0;
                let spare = inner(column.width) - line.width * size / 1000.0;
                let shift = if column.is_number || laid.is_right_to_left { spare } else { 0.0 };
                let top = canvas.y - SPACE - (at - lines.start) as f32 * self.line_height();
                let place = (x + padding + shift, top - self.size * BASELINE);
                pen.line(&layout.fonts, line, place, *size, content);
            }
            x += column.width;
        }
        pen.end(content);
    }

    /// Adds a row to the pages.
    pub fn row(&mut self, canvas: &mut Canvas, cells: &[Cells], row: usize) -> Result<()> {
        let mut shown = Vec::with_capacity(self.columns.len());
        for (column, cells) in self.columns.iter_mut().zip(cells) {
            if cells.is_null(row) {
                shown.push(Shown::default());
                continue;
            }
            if column.total.is_some() {
                column.running.add(cells, row, &column.look, &mut self.scratch);
            }
            self.text.clear();
            column.look.write(cells, row, &mut self.scratch, &mut self.text);
            column.cut += u64::from(cut(&mut self.text));
            shown.push(column.cell(&mut canvas.layout, &self.text, false, self.size));
        }
        self.rows += 1;
        let background = (self.zebra && self.rows.is_multiple_of(2)).then_some(Colour([0.965, 0.97, 0.976]));
        self.place(canvas, &shown, background, INK)
    }

    /// Writes a row where there is space for it; one that is higher than a page is split over several.
    fn place(&self, canvas: &mut Canvas, row: &[Shown], background: Option<Colour>, ink: Colour) -> Result<()> {
        let lines = most_lines(row).max(1);
        let line_height = self.line_height();
        let height = |lines: usize| lines as f32 * line_height + 2.0 * SPACE;
        let whole = canvas.sheet.top() - canvas.sheet.bottom() - self.header_height();
        let fits_a_page = height(lines) <= whole;
        let mut from = 0;
        while from < lines {
            let space = canvas.y - canvas.sheet.bottom() + 0.01;
            let fitting = ((space - 2.0 * SPACE) / line_height).max(0.0) as usize;
            let is_enough = match fits_a_page {
                true => height(lines) <= space,
                false => fitting >= LEAST_LINES.min(lines - from),
            };
            // A page of its own has space for a line: titles take a third of it.
            let is_fresh = canvas.y >= canvas.sheet.top() - self.header_height() - 0.01 && !canvas.pages.is_empty();
            if !is_enough && !is_fresh {
                canvas.turn()?;
                self.header(canvas);
                continue;
            }
            let to = (from + fitting.max(1)).min(lines);
            let low = canvas.y - height(to - from);
            let (left, right) = (canvas.sheet.left(), canvas.sheet.right());
            if let Some(colour) = background {
                rectangle((left, low), (right - left, canvas.y - low), colour, &mut canvas.content);
            }
            if !self.zebra {
                horizontal((left, right), low, 0.4, LINE, &mut canvas.content);
            }
            self.texts(canvas, row, from..to, ink, "");
            canvas.y = low;
            from = to;
        }
        Ok(())
    }

    /// Writes the row of totals.
    pub fn totals(&mut self, canvas: &mut Canvas, label: &str) -> Result<()> {
        if self.columns.iter().all(|column| column.total.is_none()) {
            return Ok(());
        }
        // It stands in the first column that has no total of its own.
        let place = self.columns.iter().position(|column| column.total.is_none());
        let (layout, size) = (&mut canvas.layout, self.size);
        let mut row = Vec::with_capacity(self.columns.len());
        for (at, column) in self.columns.iter_mut().enumerate() {
            let text = column.total.and_then(|total| column.running.shown(total, &column.look));
            row.push(match text {
                Some(text) => column.cell(layout, &text, true, size),
                None if Some(at) == place => {
                    let (laid, _) = layout.in_lines(label, true, size, inner(column.width), LABEL_LINES);
                    Shown { laid, size }
                }
                None => Shown::default(),
            });
        }
        let lines = most_lines(&row).max(1);
        let height = lines as f32 * self.line_height() + 2.0 * SPACE + 2.0;
        if canvas.y - height < canvas.sheet.bottom() {
            canvas.turn()?;
            self.header(canvas);
        }
        let (left, right) = (canvas.sheet.left(), canvas.sheet.right());
        horizontal((left, right), canvas.y - 0.5, 1.0, self.accent, &mut canvas.content);
        canvas.y -= 1.5;
        self.texts(canvas, &row, 0..lines, INK, "");
        canvas.y -= height;
        horizontal((left, right), canvas.y, 0.5, self.accent, &mut canvas.content);
        Ok(())
    }
}

fn most_lines(row: &[Shown]) -> usize {
    row.iter().map(|shown| shown.laid.lines.len()).max().unwrap_or_default()
}

/// Cuts a text that is too long, with a mark. Whether it was.
fn cut(text: &mut String) -> bool {
    if text.len() <= LONGEST {
        return false;
    }
    let Some((end, _)) = text.char_indices().nth(LONGEST) else { return false };
    text.truncate(end);
    text.push('\u{2026}');
    true
}

/// The width of a cell's text.
fn inner(width: f32) -> f32 {
    // As the padding is chosen for many columns. A hair more, since lines are compared with what they were made of.
    width - 2.0 * PADDING.min(width / 4.0) + 0.01
}
