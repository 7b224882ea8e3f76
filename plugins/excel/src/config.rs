//! What a user writes, checked.

use chrono_tz::Tz;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

/// How the workbook looks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The sheet's name. Rows beyond 1,048,576 go on in `NAME (2)`, and so on.
    #[serde(default = "default_sheet")]
    pub sheet: String,
    /// A sheet for each value of this column, named after it, in the place of
    /// `sheet`. The rows of one value must come together: sort by the column.
    #[serde(default)]
    pub sheets_by: Option<String>,
    /// Which columns to write, in this order. Unset: all.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Whether the first row has the names of the columns. It stays in sight, and is
    /// printed on every page.
    #[serde(default = "yes")]
    pub header: bool,
    /// Whether the header has buttons to filter and sort by.
    #[serde(default = "yes")]
    pub autofilter: bool,
    /// Widths of columns by name, in characters. Others fit the header and the first
    /// rows.
    #[serde(default)]
    pub widths: IndexMap<String, f64>,
    /// Number formats of columns by name, as in Excel: `#,##0.00`, `0.0%`,
    /// `dd.mm.yyyy`.
    #[serde(default)]
    pub formats: IndexMap<String, String>,
    /// A last row with totals of columns, by name. They follow the filter.
    #[serde(default)]
    pub totals: IndexMap<String, Total>,
    /// The time zone in which timestamps with a zone are shown, such as
    /// `Europe/Dublin`.
    #[serde(default = "utc")]
    pub timezone: String,
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

fn default_sheet() -> String {
    "Sheet1".into()
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
        if self.sheet.trim().is_empty() {
            return Err(Error::config("`sheet` is empty").hint("name the sheet, or leave it out"));
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

    /// The places of the columns to write.
    pub fn chosen(&self, schema: &Schema) -> Result<Vec<usize>> {
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
    let is_even = |mark: char| format.matches(mark).count().is_multiple_of(2);
    !format.trim().is_empty()
        && format.encode_utf16().count() <= LONGEST_FORMAT
        && is_even('"')
        && format.matches('[').count() == format.matches(']').count()
}
