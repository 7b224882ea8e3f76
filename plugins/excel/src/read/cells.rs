//! The cells of a sheet, row by row, as they stream by.

use std::ops::Range;

use super::archive::Part;
use super::strings::Inline;
use super::xml::{Token, Xml, resolve, unescape};
use crate::sheet::{MOST_COLUMNS, MOST_ROWS};

/// How much text the cells of one row may have, in bytes.
pub const LARGEST_ROW: usize = 16 << 20;

/// A row with the cells that have values.
#[derive(Default)]
pub struct Row {
    /// From 1.
    pub number: u32,
    pub cells: Vec<Cell>,
    /// The texts of its cells, one behind the other.
    text: String,
}

/// A cell with a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// From 0.
    pub column: usize,
    pub style: usize,
    pub content: Content,
}

/// What a cell holds. Texts are places in the row's text.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    Number(f64),
    Boolean(bool),
    Text(Range<usize>),
    /// The number of a text that cells share.
    Shared(usize),
    /// A date as ISO 8601 has it.
    Iso(Range<usize>),
    /// `#N/A` and the like.
    Error(Range<usize>),
}

impl Row {
    /// A text of the row.
    pub fn text(&self, range: &Range<usize>) -> &str {
        &self.text[range.clone()]
    }
}

/// A sheet that is being read.
pub struct Cells {
    xml: Xml<Part>,
    is_inside: bool,
    /// The row that was read last, and how many there were.
    number: u32,
    rows: u32,
    /// How many texts the cells of the workbook share.
    shared: usize,
    /// The value of one cell, with its escapes.
    raw: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Boolean,
    Shared,
    /// What a formula gave.
    Given,
    Inline,
    Iso,
    Error,
}

impl Cells {
    pub fn new(part: Part, shared: usize) -> Self {
        Self { xml: Xml::new(part), is_inside: false, number: 0, rows: 0, shared, raw: Vec::new() }
    }

    /// Reads the next row that has a value. False: there is none.
    pub fn next(&mut self, row: &mut Row) -> Result<bool, String> {
        loop {
            let Some(token) = self.xml.next()? else {
                return if self.is_inside { Err("a sheet in it is cut short".into()) } else { Ok(false) };
            };
            match token {
                Token::Start { name: b"sheetData", is_empty, .. } => self.is_inside = !is_empty,
                Token::End(b"sheetData") => {
                    self.is_inside = false;
                    self.xml.finish()?;
                    return Ok(false);
                }
                Token::Start { name: b"row", attributes, is_empty } if self.is_inside => {
                    let said = attributes.get("r").map(|it| digits(it).ok_or("a row in it has no number"));
                    self.number = said.transpose()?.unwrap_or(self.number.saturating_add(1));
                    self.rows += 1;
                    if !(1..=MOST_ROWS).contains(&self.number) || self.rows > MOST_ROWS {
                        return Err(format!("it has more than {MOST_ROWS} rows"));
                    }
                    row.cells.clear();
                    row.text.clear();
                    row.number = self.number;
                    if !is_empty {
                        self.row(row)?;
                    }
                    if !row.cells.is_empty() {
                        return Ok(true);
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads the cells of a row.
    fn row(&mut self, row: &mut Row) -> Result<(), String> {
        let (mut next, mut seen) = (0, 0);
        loop {
            match self.xml.next()?.ok_or("a row in it does not end")? {
                Token::End(b"row") => return Ok(()),
                Token::Start { name: b"c", attributes, is_empty } => {
                    let (mut column, mut style, mut kind) = (next, 0, Kind::Number);
                    for (name, value) in attributes {
                        match name {
                            b"r" => column = letters(value).ok_or("a cell in it has no place")?,
                            b"s" => style = digits(value).unwrap_or(0) as usize,
                            b"t" => kind = kind_of(value)?,
                            _ => {}
                        }
                    }
                    next = column + 1;
                    seen += 1;
                    if seen > MOST_COLUMNS {
                        return Err(format!("row {} has more than {MOST_COLUMNS} cells", row.number));
                    }
                    if !is_empty && let Some(content) = self.content(kind, row)? {
                        row.cells.push(Cell { column, style, content });
                    }
                }
                _ => {}
            }
        }
    }

    /// Reads what is in a cell, if there is something.
    fn content(&mut self, kind: Kind, row: &mut Row) -> Result<Option<Content>, String> {
        let is_text = matches!(kind, Kind::Given | Kind::Inline | Kind::Iso | Kind::Error);
        let (begin, mut has_text) = (row.text.len(), false);
        let (mut in_value, mut inline) = (false, None);
        self.raw.clear();
        loop {
            let token = self.xml.next()?.ok_or("a cell in it does not end")?;
            match token {
                Token::End(b"c") => break,
                Token::Start { name: b"v", is_empty, .. } => in_value = !is_empty,
                Token::End(b"v") => in_value = false,
                Token::Start { name: b"is", is_empty, .. } => {
                    has_text = true;
                    inline = (!is_empty).then(Inline::default);
                }
                Token::End(b"is") => inline = None,
                Token::Text(raw) if in_value && !is_text => self.raw.extend_from_slice(raw),
                Token::Text(raw) if in_value => unescape(raw, &mut row.text)?,
                Token::Plain(raw) if in_value && !is_text => self.raw.extend_from_slice(raw),
                Token::Plain(raw) if in_value => {
                    row.text.push_str(std::str::from_utf8(raw).map_err(|_| "a text in it is not in UTF-8")?);
                }
                token => {
                    if let Some(inline) = &mut inline {
                        inline.add(token, &mut row.text)?;
                    }
                }
            }
            if row.text.len() + self.raw.len() > LARGEST_ROW {
                return Err(format!("row {} has more than {} MiB of text", row.number, LARGEST_ROW >> 20));
            }
        }
        let text = begin..row.text.len();
        if matches!(kind, Kind::Given) {
            resolve(&mut row.text, begin);
        }
        let raw = self.raw.trim_ascii();
        let wrong = |what: &str| {
            let shown = String::from_utf8_lossy(&raw[..raw.len().min(40)]).into_owned();
            format!("row {}: {shown:?} is no {what}", row.number)
        };
        Ok(match kind {
            Kind::Inline => (has_text || !text.is_empty()).then_some(Content::Text(text)),
            // Formulas give an empty text where they mean no value.
            Kind::Given => (!text.is_empty()).then_some(Content::Text(begin..row.text.len())),
            Kind::Iso => (!text.is_empty()).then_some(Content::Iso(text)),
            Kind::Error => (!text.is_empty()).then_some(Content::Error(text)),
            _ if raw.is_empty() => None,
            Kind::Number => Some(match number(raw) {
                Some(number) => Content::Number(number),
                // Some programs forget to say that it is a text.
                None => {
                    unescape(raw, &mut row.text)?;
                    Content::Text(begin..row.text.len())
                }
            }),
            Kind::Boolean => match raw {
                b"1" | b"true" | b"TRUE" => Some(Content::Boolean(true)),
                b"0" | b"false" | b"FALSE" => Some(Content::Boolean(false)),
                _ => return Err(wrong("boolean")),
            },
            Kind::Shared => match digits(raw).map(|it| it as usize).filter(|it| *it < self.shared) {
                Some(number) => Some(Content::Shared(number)),
                None => return Err(wrong("text that cells share")),
            },
        })
    }
}

fn kind_of(name: &[u8]) -> Result<Kind, String> {
    Ok(match name {
        b"n" => Kind::Number,
        b"s" => Kind::Shared,
        b"b" => Kind::Boolean,
        b"str" => Kind::Given,
        b"inlineStr" => Kind::Inline,
        b"d" => Kind::Iso,
        b"e" => Kind::Error,
        other => {
            let shown = String::from_utf8_lossy(&other[..other.len().min(40)]).into_owned();
            return Err(format!("a cell in it is of a kind that nobody knows: {shown:?}"));
        }
    })
}

/// A whole number.
fn digits(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 {
        return None;
    }
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + u32::from(byte - b'0')))
}

/// A number that is one for Excel.
fn number(raw: &[u8]) -> Option<f64> {
    if let [b'1'..=b'9', rest @ ..] = raw
        && rest.len() < 9
        && let Some(value) = digits(raw)
    {
        return Some(f64::from(value));
    }
    std::str::from_utf8(raw).ok()?.parse::<f64>().ok().filter(|it| it.is_finite())
}

/// The column of a place such as `B7`, from 0.
pub fn letters(place: &[u8]) -> Option<usize> {
    let length = place.iter().take_while(|it| it.is_ascii_alphabetic()).count();
    if !(1..=3).contains(&length) {
        return None;
    }
    let letter = |byte: &u8| usize::from(byte.to_ascii_uppercase() - b'A') + 1;
    let number = place[..length].iter().fold(0, |value, byte| value * 26 + letter(byte));
    (number <= MOST_COLUMNS).then_some(number - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_numbers_are_what_excel_takes_for_them() {
        for (place, column) in [("A1", Some(0)), ("z9", Some(25)), ("AA", Some(26)), ("XFD1048576", Some(16_383))] {
            assert_eq!(letters(place.as_bytes()), column, "{place}");
        }
        for place in ["", "7", "XFE1", "AAAA1"] {
            assert_eq!(letters(place.as_bytes()), None, "{place}");
        }
        for (text, value) in [
            ("0", Some(0.0)),
            ("999999999", Some(999_999_999.0)),
            ("4294967296", Some(4_294_967_296.0)),
            ("-1.5E-3", Some(-0.0015)),
            ("NaN", None),
            ("inf", None),
            ("1e999", None),
            ("1,5", None),
        ] {
            assert_eq!(number(text.as_bytes()), value, "{text}");
        }
    }
}
