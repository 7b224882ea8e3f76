//! What a user writes, checked.

use std::path::PathBuf;

use chrono_tz::Tz;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

use crate::colour::Colour;
use crate::image::Image;

/// How the report looks.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The title, on top of the first page and in the file's properties. A template.
    #[serde(default)]
    pub title: Option<Template>,
    /// A line below the title. A template.
    #[serde(default)]
    pub subtitle: Option<Template>,
    /// A paragraph below both. A template.
    #[serde(default)]
    pub description: Option<Template>,
    /// What the report was made with, by name: the period, who asked for it. Templates.
    #[serde(default)]
    pub parameters: IndexMap<String, Template>,
    /// A picture at the top right of the first page: a PNG or JPEG file.
    #[serde(default)]
    pub logo: Option<String>,
    /// The date of the report, at the bottom of every page and, where it is one as ISO
    /// 8601 writes it, in the file's properties: `{{ run.started }}`. A template.
    #[serde(default)]
    pub date: Option<Template>,
    /// The size of a page.
    #[serde(default)]
    pub page: Paper,
    /// Which way a page lies. `auto`: landscape where the columns need the width.
    #[serde(default)]
    pub orientation: Orientation,
    /// The space around a page's content, in millimetres.
    #[serde(default = "default_margin")]
    pub margin: f32,
    /// Text at the top of every page but the first. Unset: the title. A template.
    #[serde(default)]
    pub page_header: Option<Template>,
    /// Text at the bottom of every page. Unset: the date. A template.
    #[serde(default)]
    pub page_footer: Option<Template>,
    /// The text of the page numbers; empty: none.
    #[serde(default = "default_page_number")]
    pub page_number: String,
    /// Which columns to write, in this order. Unset: all.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Titles of columns by name, in the place of their names.
    #[serde(default)]
    pub titles: IndexMap<String, String>,
    /// Whether every page begins with the titles of the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// Widths of columns by name, in characters. Others fit the header and the first
    /// rows.
    #[serde(default)]
    pub widths: IndexMap<String, f32>,
    /// Formats of columns by name, as in Excel: `#,##0.00`, `0.0%`, `dd.mm.yyyy`.
    #[serde(default)]
    pub formats: IndexMap<String, String>,
    /// A last row with totals of columns, by name.
    #[serde(default)]
    pub totals: IndexMap<String, Total>,
    /// What that row is called.
    #[serde(default = "default_total_label")]
    pub total_label: String,
    /// Whether the first page shows how many rows there are, and the totals, as figures.
    #[serde(default)]
    pub summary: bool,
    /// What the number of rows is called among these figures.
    #[serde(default = "default_rows_label")]
    pub rows_label: String,
    /// A chart on the first page, of all rows.
    #[serde(default)]
    pub chart: Option<Chart>,
    /// The text of a report without rows.
    #[serde(default = "default_empty")]
    pub empty: String,
    /// Whether every second row has a background.
    #[serde(default = "yes")]
    pub zebra: bool,
    /// The size of the table's letters, in points. Smaller where the columns would not
    /// fit otherwise.
    #[serde(default = "default_font_size")]
    pub font_size: f32,
    /// The family of a font to use before all others, of `fonts` or installed on the
    /// machine.
    #[serde(default)]
    pub font: Option<String>,
    /// A folder with fonts (`.ttf`, `.otf`, `.ttc`), for `font` and for characters that
    /// the built-in ones lack.
    #[serde(default)]
    pub fonts: Option<String>,
    /// The colour of titles, lines and charts.
    #[serde(default = "default_accent")]
    pub accent: String,
    /// What stands before the decimals of numbers that have a format.
    #[serde(default = "default_decimal_mark")]
    pub decimal_mark: String,
    /// What stands between the thousands of numbers whose format has them.
    #[serde(default = "default_thousands_mark")]
    pub thousands_mark: String,
    /// The time zone in which timestamps with a zone are shown, such as
    /// `Europe/Dublin`.
    #[serde(default = "utc")]
    pub timezone: String,
}

/// A size of pages.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Paper {
    /// 210 × 297 mm.
    #[default]
    A4,
    /// 297 × 420 mm.
    A3,
    /// 8.5 × 11 inches.
    Letter,
    /// 8.5 × 14 inches.
    Legal,
}

impl Paper {
    /// Width and height of an upright page, in points.
    pub const fn points(self) -> (f32, f32) {
        match self {
            Self::A4 => (595.28, 841.89),
            Self::A3 => (841.89, 1190.55),
            Self::Letter => (612.0, 792.0),
            Self::Legal => (612.0, 1008.0),
        }
    }
}

/// Which way a page lies.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Orientation {
    /// Landscape where the columns need the width.
    #[default]
    Auto,
    /// Upright.
    Portrait,
    /// Across.
    Landscape,
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

/// A chart of one value by another.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chart {
    /// What it is drawn with.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// The column whose values stand side by side, as its format shows them: dates with
    /// `mmm yyyy` make months.
    pub x: String,
    /// The column of numbers that is added up.
    pub y: String,
    /// What is made of the numbers that belong together.
    #[serde(default = "default_total")]
    pub total: Total,
    /// As many values as are shown, the largest ones. Of sums and counts, the rest is
    /// shown as one. Dates and numbers are not cut; they stand in their order.
    #[serde(default = "default_top")]
    pub top: usize,
    /// The title. Unset: the titles of both columns.
    #[serde(default)]
    pub title: Option<String>,
    /// What the rest is called.
    #[serde(default = "default_others")]
    pub others_label: String,
}

/// What a chart is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Bars.
    Bar,
    /// A line.
    Line,
}

fn default_margin() -> f32 {
    15.0
}

fn default_page_number() -> String {
    "Page {page} of {pages}".into()
}

fn default_total_label() -> String {
    "Total".into()
}

fn default_rows_label() -> String {
    "Rows".into()
}

fn default_empty() -> String {
    "There are no rows.".into()
}

fn default_font_size() -> f32 {
    9.0
}

fn default_accent() -> String {
    "#1f4e79".into()
}

fn default_decimal_mark() -> String {
    ".".into()
}

fn default_thousands_mark() -> String {
    ",".into()
}

fn default_total() -> Total {
    Total::Sum
}

fn default_top() -> usize {
    10
}

fn default_others() -> String {
    "Others".into()
}

fn yes() -> bool {
    true
}

fn utc() -> String {
    "UTC".into()
}

/// As many characters as a number format may have.
pub const LONGEST_FORMAT: usize = 255;
/// As many values as a chart can show side by side.
const MOST_SHOWN: usize = 50;
/// A logo is read as a whole.
const LARGEST_LOGO: u64 = 8 << 20;
/// More than anybody reads, and few enough for a page.
const MOST_PARAMETERS: usize = 40;

/// A configuration that can be.
#[derive(Clone)]
pub struct Settings {
    pub config: Config,
    pub zone: Tz,
    pub accent: Colour,
    pub logo: Option<Image>,
    pub fonts: Option<PathBuf>,
}

impl Config {
    /// Refuses what cannot be, and reads what the report needs.
    pub fn checked(self, cx: &Context) -> Result<Settings> {
        within("margin", self.margin, 0.0, 60.0, "millimetres")?;
        within("font_size", self.font_size, 4.0, 24.0, "points")?;
        for (name, width) in &self.widths {
            within(&format!("widths`: `{name}"), *width, 1.0, 500.0, "characters")?;
        }
        if self.parameters.len() > MOST_PARAMETERS {
            return Err(Error::config(format!("`parameters` has {} entries", self.parameters.len()))
                .hint(format!("a report shows {MOST_PARAMETERS} at most; leave some out")));
        }
        if let Some(chart) = &self.chart
            && !(1..=MOST_SHOWN).contains(&chart.top)
        {
            return Err(Error::config(format!("`chart`: `top` is {}", chart.top))
                .hint(format!("write a number from 1 to {MOST_SHOWN}")));
        }
        let zone = self.timezone.parse().map_err(|_| {
            Error::config(format!("`timezone`: there is no time zone `{}`", self.timezone))
                .hint("write a name such as Europe/Dublin or Asia/Kolkata, or UTC")
        })?;
        let logo = self.logo.as_ref().map(|path| logo(cx, path)).transpose()?;
        let fonts = self.fonts.as_ref().map(|path| cx.resolve(path));
        if let Some(folder) = &fonts
            && !folder.is_dir()
        {
            return Err(Error::config(format!("`fonts`: there is no folder {}", folder.display()))
                .hint("name a folder that holds .ttf, .otf or .ttc files; it is relative to the pipeline file"));
        }
        Ok(Settings { zone, accent: Colour::parse(&self.accent)?, logo, fonts, config: self })
    }

    /// The places of the columns to write; an error where a setting names another one.
    pub fn chosen(&self, schema: &Schema) -> Result<Vec<usize>> {
        engine_sdk::named_once("columns", &self.columns)?;
        // A source that found nothing may not know what columns there would be.
        if schema.fields().is_empty() {
            return Ok(Vec::new());
        }
        let places = engine_sdk::chosen_columns(schema, &self.columns)?;
        let known: Vec<&str> = places.iter().map(|place| schema.field(*place).name().as_str()).collect();
        let settings = [
            ("titles", self.titles.keys().collect::<Vec<_>>()),
            ("widths", self.widths.keys().collect()),
            ("formats", self.formats.keys().collect()),
            ("totals", self.totals.keys().collect()),
        ];
        for (setting, names) in settings {
            // What a chart shows has a format, also where it is no column of the table.
            let of_chart = |name: &&String| matches!(setting, "formats" | "titles") && self.is_of_chart(name);
            if let Some(name) = names.into_iter().find(|name| !known.contains(&name.as_str()) && !of_chart(name)) {
                return Err(Error::config(format!("`{setting}`: there is no column `{name}`"))
                    .hint(format!("the columns are: {}", known.join(", "))));
            }
        }
        Ok(places)
    }

    fn is_of_chart(&self, name: &str) -> bool {
        self.chart.as_ref().is_some_and(|chart| chart.x == name || chart.y == name)
    }

    /// What a column is called.
    pub fn title_of<'a>(&'a self, name: &'a str) -> &'a str {
        self.titles.get(name).map_or(name, String::as_str)
    }
}

fn within(setting: &str, value: f32, least: f32, most: f32, unit: &str) -> Result<()> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(Error::config(format!("`{setting}` is {value} {unit}")).hint(format!("write a number from {least} to {most}")))
}

fn logo(cx: &Context, path: &str) -> Result<Image> {
    let place = cx.resolve(path);
    let fault = |reason: String| {
        Error::config(format!("`logo`: {}: {reason}", place.display()))
            .hint("name a PNG or JPEG file of 8 MiB at most; it is relative to the pipeline file")
    };
    let size = std::fs::metadata(&place).map_err(|error| fault(error.to_string()))?.len();
    if size > LARGEST_LOGO {
        return Err(fault(format!("it has {size} bytes")));
    }
    let bytes = std::fs::read(&place).map_err(|error| fault(error.to_string()))?;
    Image::read(bytes).map_err(fault)
}
