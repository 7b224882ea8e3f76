//! Formats of values, as Excel writes them.

mod date;
mod number;

use engine_sdk::prelude::*;

pub use date::{DateFormat, Moment};
pub use number::{Digits, Marks, NumberFormat};

/// How values of a column are shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Format {
    /// As they are.
    Plain,
    Number(Box<NumberFormat>),
    Date(DateFormat),
}

/// What a type's values are to a format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    Number,
    Moment,
    Text,
}

impl Nature {
    pub fn of(kind: &DataType) -> Self {
        match kind {
            DataType::Dictionary(_, values) => Self::of(values),
            DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => Self::Moment,
            DataType::Time32(_) | DataType::Time64(_) => Self::Moment,
            other if other.is_numeric() => Self::Number,
            _ => Self::Text,
        }
    }
}

impl Format {
    /// Reads the format of a column.
    pub fn parse(name: &str, text: &str, kind: &DataType) -> Result<Self> {
        let fault = |reason: String, hint: &str| {
            Error::config(format!("`formats`: `{name}` has {text:?}: {reason}")).hint(hint.to_owned())
        };
        if text.chars().count() > crate::config::LONGEST_FORMAT {
            return Err(fault("it is too long".into(), "write 255 characters at most"));
        }
        match Nature::of(kind) {
            Nature::Number => {
                NumberFormat::parse(text).map(|format| Self::Number(Box::new(format))).map_err(|reason| {
                    fault(
                        reason,
                        "write one such as #,##0.00, 0.0% or #,##0 \"EUR\"; texts in it stand in double quotes",
                    )
                })
            }
            Nature::Moment => DateFormat::parse(text).map(Self::Date).map_err(|reason| {
                fault(reason, "write one such as dd.mm.yyyy, d mmm yyyy or hh:mm; texts in it stand in double quotes")
            }),
            Nature::Text => Err(fault(
                format!("the column is of the type {kind}, whose values are neither numbers nor dates"),
                "leave the column out of `formats`, or turn it into a number or date before",
            )),
        }
    }
}
