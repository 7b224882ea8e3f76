//! What a user writes, checked.

use std::collections::BTreeMap;

use chrono_tz::Tz;
use engine_sdk::columns::ColumnType;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

use crate::area::Area;

/// How the workbook looks. Settings marked "reading" or "writing" matter in that
/// direction alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Reading: the sheet, by its name or by its place from 1, or `*` for all that are
    /// shown, one after the other. Without it, the first that is shown. Writing: the
    /// sheet's name, without it `Sheet1`. Rows beyond 1,048,576 go on in `NAME (2)`,
    /// and so on.
    #[serde(default)]
    pub sheet: Option<SheetName>,
    /// Writing: a sheet for each value of this column, named after it, in the place of
    /// `sheet`. The rows of one value must come together: sort by the column.
    #[serde(default)]
    pub sheets_by: Option<String>,
    /// Reading: where the table stands, header included: `A4` (from there on), `B:F`,
    /// `B3:F` or `B3:F100`. What is elsewhere is not looked at. Without it, the whole
    /// sheet.
    #[serde(default)]
    pub range: Option<Area>,
    /// Whether the first row has the names of the columns. Writing: it stays in sight,
    /// and is printed on every page.
    #[serde(default = "yes")]
    pub header: bool,
    /// Reading: the columns' names, in the order of the cells; replaces those of the
    /// header. Without a header and without this, they are `A`, `B` and so on.
    /// Writing: which columns to write, in this order. Unset: all.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Reading: the types of columns by name: `text`, `integer`, `number`,
    /// `decimal(12,2)`, `boolean`, `date`, `timestamp`, `timestamptz`. The types of
    /// the others are learned from all of their cells, for which the workbook is read
    /// twice.
    #[serde(default)]
    pub types: BTreeMap<String, ColumnType>,
    /// Reading: texts and errors that stand for "no value".
    #[serde(default = "not_available")]
    pub nulls: Vec<String>,
    /// Reading: how many bytes of texts the cells of a workbook may share. They are
    /// held in memory.
    #[serde(default = "most_texts")]
    pub max_texts: ByteSize,
    /// Writing: whether the header has buttons to filter and sort by.
    #[serde(default = "yes")]
    pub autofilter: bool,
    /// Writing: widths of columns by name, in characters. Others fit the header and the
    /// first rows.
    #[serde(default)]
    pub widths: IndexMap<String, f64>,
    /// Writing: number formats of columns by name, as in Excel: `#,##0.00`, `0.0%`,
    /// `dd.mm.yyyy`.
    #[serde(default)]
    pub formats: IndexMap<String, String>,
    /// Writing: a last row with totals of columns, by name. They follow the filter.
    #[serde(default)]
    pub totals: IndexMap<String, Total>,
    /// The time zone of cells whose column is a timestamp with a zone, such as
    /// `Europe/Dublin`: cells have none.
    #[serde(default = "utc")]
    pub timezone: String,
}

/// A sheet by its place or its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SheetName {
    /// Its place among all sheets, from 1.
    Place(u32),
    /// Its name.
    Name(String),
}

impl SheetName {
    /// Whether all are meant. No sheet can be called so.
    pub fn is_all(&self) -> bool {
        matches!(self, Self::Name(name) if name == "*")
    }
}

/// What a total is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Total {
    /// The sum.
    Sum,
    /// The mean.
    Average,
    /// How many values there are.
    Count,
    /// The smallest.
    Min,
    /// The largest.
    Max,
}

impl Total {
    /// The number of the function that leaves out rows which a filter hides.
    pub const fn function(self) -> u32 {
        match self {
            Self::Average => 101,
            Self::Count => 103,
            Self::Max => 104,
            Self::Min => 105,
            Self::Sum => 109,
        }
    }
}

/// The name of a sheet that has no other.
const SHEET: &str = "Sheet1";

/// What formulas give that found nothing.
fn not_available() -> Vec<String> {
    vec!["#N/A".into()]
}

fn most_texts() -> ByteSize {
    ByteSize(256 * 1024 * 1024)
}

fn yes() -> bool {
    true
}

fn utc() -> String {
    "UTC".into()
}

/// As many UTF-16 units as a number format may have.
const LONGEST_FORMAT: usize = 255;
/// The widest that a column can be.
const WIDEST: f64 = 255.0;

impl Config {
    /// Refuses what cannot be; answers with the time zone.
    pub fn checked(&self) -> Result<Tz> {
        if let Some((name, width)) = self.widths.iter().find(|(_, width)| !(0.0..=WIDEST).contains(*width)) {
            return Err(Error::config(format!("`widths`: `{name}` is {width} characters wide"))
                .hint("give a width from 0 to 255"));
        }
        match &self.sheet {
            Some(SheetName::Name(name)) if name.trim().is_empty() => {
                return Err(Error::config("`sheet` is empty").hint("name the sheet, or leave it out"));
            }
            Some(SheetName::Place(0)) => {
                return Err(Error::config("`sheet` is 0, and sheets are counted from 1"));
            }
            _ => {}
        }
        if let Some((name, format)) = self.formats.iter().find(|(_, format)| !is_format(format)) {
            return Err(Error::config(format!("`formats`: `{name}` has {format:?}, which is no number format"))
                .hint("write one as Excel shows it, such as #,##0.00; texts in it stand in double quotes"));
        }
        self.timezone.parse().map_err(|_| {
            Error::config(format!("`timezone`: there is no time zone `{}`", self.timezone))
                .hint("write a name such as Europe/Dublin or Asia/Kolkata, or UTC")
        })
    }

    /// The name of the sheet that is written.
    pub fn written_sheet(&self) -> Result<&str> {
        match &self.sheet {
            None => Ok(SHEET),
            Some(SheetName::Name(name)) if name != "*" => Ok(name),
            Some(_) => Err(Error::config("`sheet`: to write one, it needs a name")
                .hint("write a name in quotes, such as \"Calls\", or leave it out")),
        }
    }

    /// The places of the columns to write.
    pub fn chosen(&self, schema: &Schema) -> Result<Vec<usize>> {
        engine_sdk::named_once("columns", &self.columns)?;
        // A source that found nothing may not know what columns there would be.
        if schema.fields().is_empty() {
            return Ok(Vec::new());
        }
        let known: Vec<&String> = match self.columns.as_slice() {
            [] => schema.fields().iter().map(|field| field.name()).collect(),
            names => names.iter().collect(),
        };
        let unknown = |setting: &str, name: &str, known: &[&String]| {
            let names: Vec<_> = known.iter().map(|name| name.as_str()).collect();
            Error::config(format!("`{setting}`: there is no column `{name}`"))
                .hint(format!("the columns are: {}", names.join(", ")))
        };
        let settings = [("widths", self.widths.keys().collect::<Vec<_>>()), ("formats", self.formats.keys().collect())];
        for (setting, names) in settings.into_iter().chain([("totals", self.totals.keys().collect())]) {
            if let Some(name) = names.into_iter().find(|name| !known.contains(name)) {
                return Err(unknown(setting, name, &known));
            }
        }
        let all: Vec<&String> = schema.fields().iter().map(|field| field.name()).collect();
        match self.columns.as_slice() {
            [] => Ok((0..schema.fields().len()).collect()),
            names => {
                names.iter().map(|name| schema.index_of(name).map_err(|_| unknown("columns", name, &all))).collect()
            }
        }
    }
}

/// Whether Excel could take a text for a number format.
fn is_format(format: &str) -> bool {
    let (mut rest, mut open) = (format.chars(), 0_u32);
    while let Some(next) = rest.next() {
        let is_closed = match next {
            // The next one stands for itself.
            '\\' => rest.next().is_some(),
            '"' => rest.any(|it| it == '"'),
            '[' => {
                open += 1;
                true
            }
            ']' => open.checked_sub(1).is_some_and(|left| {
                open = left;
                true
            }),
            _ => true,
        };
        if !is_closed {
            return false;
        }
    }
    open == 0 && !format.trim().is_empty() && format.encode_utf16().count() <= LONGEST_FORMAT
}

#[cfg(test)]
mod tests {
    use super::is_format;

    #[test]
    fn quotes_and_brackets_of_formats_are_closed_unless_they_are_texts() {
        for format in ["#,##0.00", "[Red]0", "0\" [kg\"", "0\\\"", "\\[0", "[$\u{20ac}-407]0;\"-\"", "\"]\"0"] {
            assert!(is_format(format), "{format}");
        }
        for format in ["", " ", "0\"", "[Red", "0]", "][", "0\\", &"0".repeat(256)] {
            assert!(!is_format(format), "{format}");
        }
    }
}
