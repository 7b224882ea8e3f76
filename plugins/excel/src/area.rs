//! Parts of a sheet, as `B3:F100`.

use std::borrow::Cow;

use engine_sdk::prelude::*;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde::Deserializer;
use serde::de::Error as _;

use crate::sheet::MOST_ROWS;

/// Columns from 0 and rows from 1, the last ones included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    pub first_column: usize,
    /// None: as far as there is something.
    pub last_column: Option<usize>,
    pub first_row: u32,
    pub last_row: u32,
}

/// All of a sheet.
pub const ALL: Area = Area { first_column: 0, last_column: None, first_row: 1, last_row: MOST_ROWS };

impl Area {
    fn parse(text: &str) -> Option<Self> {
        let (begin, end) = match text.split_once(':') {
            Some((begin, end)) => (begin, Some(end)),
            None => (text, None),
        };
        let (first_column, first_row) = place(begin)?;
        let (last_column, last_row) = end.map_or(Some((None, None)), place)?;
        let area = Self {
            first_column: first_column.unwrap_or(0),
            last_column,
            first_row: first_row.unwrap_or(1),
            last_row: last_row.unwrap_or(MOST_ROWS),
        };
        let is_right = area.first_row <= area.last_row && last_column.is_none_or(|last| area.first_column <= last);
        is_right.then_some(area)
    }

    /// Whether it has a column.
    pub fn has_column(&self, column: usize) -> bool {
        column >= self.first_column && self.last_column.is_none_or(|last| column <= last)
    }
}

/// Column and row of a place such as `B3`, `B` or `3`.
fn place(text: &str) -> Option<(Option<usize>, Option<u32>)> {
    let text = text.trim();
    let digits = text.find(|it: char| it.is_ascii_digit()).unwrap_or(text.len());
    let (letters, digits) = text.split_at(digits);
    let column = match letters {
        "" => None,
        letters if letters.bytes().all(|it| it.is_ascii_alphabetic()) => {
            Some(crate::read::column_of(letters.as_bytes())?)
        }
        _ => return None,
    };
    let row = match digits {
        "" => None,
        digits => Some(digits.parse().ok().filter(|row| (1..=MOST_ROWS).contains(row))?),
    };
    (column.is_some() || row.is_some()).then_some((column, row))
}

impl<'de> Deserialize<'de> for Area {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text)
            .ok_or_else(|| D::Error::custom(format!("`{text}` is no part of a sheet; write A4, B:F, B3:F or B3:F100")))
    }
}

impl JsonSchema for Area {
    fn schema_name() -> Cow<'static, str> {
        "Area".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^ *([A-Za-z]{1,3}[0-9]*|[0-9]+) *(: *([A-Za-z]{1,3}[0-9]*|[0-9]+) *)?$",
            "examples": ["A4", "B:F", "B3:F100"]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_sheet_are_written_as_in_excel() {
        let area = |first_column, last_column, first_row, last_row| {
            Some(Area { first_column, last_column, first_row, last_row })
        };
        for (text, found) in [
            ("A4", area(0, None, 4, MOST_ROWS)),
            ("b:F", area(1, Some(5), 1, MOST_ROWS)),
            ("B3:F", area(1, Some(5), 3, MOST_ROWS)),
            (" B3 : F100 ", area(1, Some(5), 3, 100)),
            ("4", area(0, None, 4, MOST_ROWS)),
            ("2:9", area(0, None, 2, 9)),
            ("XFD1048576", area(16_383, None, MOST_ROWS, MOST_ROWS)),
            ("XFE1", None),
            ("A0", None),
            ("A1048577", None),
            ("F:B", None),
            ("A9:B3", None),
            ("", None),
            (":", None),
            ("A1:", None),
            ("A1B", None),
            ("\u{c4}1", None),
        ] {
            assert_eq!(Area::parse(text), found, "{text}");
        }
    }
}
