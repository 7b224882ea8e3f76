//! Cutting what is read by a key.

use std::num::NonZeroU16;

use engine_abi::{Error, Result};
use serde::{Deserialize, Serialize};

/// How many splits there are where a `key` is named and no number.
const SPLITS: u16 = 4;

/// The settings `key` and `splits` of a source.
#[derive(Debug, Clone)]
pub struct Cut {
    /// The column by which it is cut.
    pub key: String,
    /// Into how many parts, at most.
    pub splits: usize,
}

impl Cut {
    /// Takes the settings. None: nothing is cut.
    ///
    /// # Errors
    /// `Config`, where there is a number of splits and no key.
    pub fn of(key: Option<String>, splits: Option<NonZeroU16>) -> Result<Option<Self>> {
        match (key, splits) {
            (Some(key), splits) => Ok(Some(Self { key, splits: splits.map_or(SPLITS, NonZeroU16::get).into() })),
            (None, None) => Ok(None),
            (None, Some(_)) => {
                Err(Error::config("`splits` needs `key`").hint("write `key: COLUMN`, best the primary key"))
            }
        }
    }
}

/// A part of a table. Together, the ranges of a plan hold every row once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range<T> {
    /// The column that its bounds are values of.
    pub column: String,
    /// Only what is not smaller. Absent: the first range, which also has the rows without a key.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub from: Option<T>,
    /// Only what is smaller. Absent: the last range.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub below: Option<T>,
}

impl<T: Clone + PartialEq> Range<T> {
    /// The ranges between some bounds, which ascend, and on both sides of them. None of no bounds.
    pub fn between(column: &str, mut bounds: Vec<T>) -> Vec<Self> {
        bounds.dedup();
        if bounds.is_empty() {
            return vec![];
        }
        let from = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
        let below = bounds.iter().cloned().map(Some).chain(std::iter::once(None));
        from.zip(below).map(|(from, below)| Self { column: column.to_owned(), from, below }).collect()
    }
}

impl<T> Range<T> {
    /// The range as a condition of a WHERE, for the column as SQL text. `literal` writes a bound.
    pub fn condition(&self, column: &str, literal: impl Fn(&T) -> String) -> String {
        match (self.from.as_ref().map(&literal), self.below.as_ref().map(&literal)) {
            (Some(from), Some(below)) => format!("{column} >= {from} AND {column} < {below}"),
            (Some(from), None) => format!("{column} >= {from}"),
            (None, Some(below)) => format!("({column} < {below} OR {column} IS NULL)"),
            (None, None) => "TRUE".into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_every_value_once_and_the_first_also_the_rows_without_one() {
        let ranges = Range::between("id", vec![3, 3, 7]);
        let conditions: Vec<_> = ranges.iter().map(|range| range.condition("c", i32::to_string)).collect();
        assert_eq!(conditions, ["(c < 3 OR c IS NULL)", "c >= 3 AND c < 7", "c >= 7"]);
        assert_eq!(Range::<i32>::between("id", vec![]), []);
    }

    #[test]
    fn a_number_of_splits_needs_a_key() {
        assert_eq!(Cut::of(Some("id".into()), None).unwrap().unwrap().splits, 4);
        assert!(Cut::of(None, None).unwrap().is_none());
        assert!(Cut::of(None, NonZeroU16::new(3)).unwrap_err().message.contains("`splits` needs `key`"));
    }
}
