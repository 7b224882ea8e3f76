//! What a user writes, checked.

use std::collections::BTreeMap;

use engine_sdk::columns::ColumnType;
use engine_sdk::prelude::*;

/// How the file looks. Settings marked "reading" or "writing" matter in that
/// direction alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What stands between two fields: one ASCII character.
    #[serde(default = "comma")]
    pub delimiter: String,
    /// What stands around a field that holds delimiters or line ends: one ASCII
    /// character.
    #[serde(default = "double_quote")]
    pub quote: String,
    /// What stands before a quote inside a quoted field, such as `\`. Without
    /// it, the quote is doubled.
    #[serde(default)]
    pub escape: Option<String>,
    /// Whether the first record of every file holds the names of the columns.
    #[serde(default = "yes")]
    pub header: bool,
    /// Reading: the columns' names, in the order of the fields; replaces those
    /// of the header. Without a header and without this, they are `column_1`,
    /// `column_2` and so on. Writing: which columns to write, in this order.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Reading: the types of columns by name: `text`, `integer`, `number`,
    /// `decimal(12,2)`, `boolean`, `date`, `timestamp`, `timestamptz`. Columns
    /// that are not named are text.
    #[serde(default)]
    pub types: BTreeMap<String, ColumnType>,
    /// Texts that stand for "no value" where they are not quoted. Writing uses
    /// the first. In columns that are not text, an empty field is no value in
    /// any case.
    #[serde(default = "empty")]
    pub nulls: Vec<String>,
    /// Reading: leave out spaces and tabs around fields, but not inside quotes.
    #[serde(default)]
    pub trim: bool,
    /// Lines that begin with this ASCII character are not records.
    #[serde(default)]
    pub comment: Option<String>,
    /// Reading: how many lines to leave out at the beginning of every file,
    /// before the header.
    #[serde(default)]
    pub skip_rows: u64,
    /// Reading: a longer record becomes a dead letter, of which this much is kept.
    #[serde(default = "sixteen_mebibytes")]
    pub max_record: ByteSize,
    /// Writing: which fields to quote.
    #[serde(default)]
    pub quoting: Quoting,
    /// Writing: how a line ends.
    #[serde(default)]
    pub line_ending: LineEnding,
    /// Writing: put an apostrophe before text that begins with `=`, `+`, `-`,
    /// `@`, a tab or a carriage return, which a spreadsheet would take for a
    /// formula. Changes the data: for files that people open, not for programs.
    #[serde(default)]
    pub guard_formulas: bool,
}

/// Which fields are quoted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Quoting {
    /// Those that would be read as something else without.
    #[default]
    Necessary,
    /// All but "no value".
    Always,
}

/// How a line ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum LineEnding {
    /// Line feed.
    #[default]
    Lf,
    /// Carriage return and line feed, as RFC 4180 has it.
    Crlf,
}

fn comma() -> String {
    ",".into()
}

fn double_quote() -> String {
    "\"".into()
}

fn yes() -> bool {
    true
}

fn empty() -> Vec<String> {
    vec![String::new()]
}

fn sixteen_mebibytes() -> ByteSize {
    ByteSize(16 * 1024 * 1024)
}

/// The characters that structure a file.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    pub delimiter: u8,
    pub quote: u8,
    /// Equal to `quote` where quotes are doubled.
    pub escape: u8,
    pub comment: Option<u8>,
    pub trim: bool,
}

impl Config {
    /// The characters, once they are known to be usable.
    pub fn dialect(&self) -> Result<Dialect> {
        let delimiter = one_character("delimiter", &self.delimiter)?;
        let quote = one_character("quote", &self.quote)?;
        let escape = self.escape.as_deref().map(|text| one_character("escape", text)).transpose()?.unwrap_or(quote);
        let comment = self.comment.as_deref().map(|text| one_character("comment", text)).transpose()?;
        if [quote, escape].contains(&delimiter) || comment.is_some_and(|comment| [delimiter, quote].contains(&comment))
        {
            return Err(Error::config("`delimiter`, `quote`, `escape` and `comment` share a character")
                .hint("give each of them its own"));
        }
        let structure = |byte: &u8| [delimiter, quote, b'\n', b'\r'].contains(byte);
        if let Some(null) = self.nulls.iter().find(|null| null.as_bytes().iter().any(structure)) {
            return Err(Error::config(format!("`nulls` has {null:?}, which cannot stand in a field without quotes")));
        }
        if self.max_record.0 == 0 {
            return Err(Error::config("`max_record` is 0, so that no record could be read"));
        }
        Ok(Dialect { delimiter, quote, escape, comment, trim: self.trim })
    }
}

fn one_character(setting: &str, text: &str) -> Result<u8> {
    match text.as_bytes() {
        [byte @ (b'\t' | b' '..=b'~')] => Ok(*byte),
        _ => Err(Error::config(format!("`{setting}` is {text:?}, but must be one printable ASCII character or a tab"))
            .hint("a tab is written \"\\t\" in YAML, with double quotes")),
    }
}
