//! A stream's columns as values that SQLite takes.

use std::collections::BTreeMap;
use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int64Type, Time64MicrosecondType, TimestampMicrosecondType};
use arrow_array::{ArrayRef, BinaryArray, Float64Array, Int64Array, StringArray};
use arrow_cast::CastOptions;
use arrow_schema::TimeUnit;
use chrono::{DateTime, Datelike};
use engine_sdk::prelude::*;
use rusqlite::types::ValueRef;

const MICROSECONDS_A_DAY: i64 = 86_400_000_000;
/// What SQLite's own date functions know.
const YEARS: std::ops::RangeInclusive<i32> = 0..=9999;

const OTHER_YEAR: &str = "a date outside of the years 0 to 9999";
const NO_TIME: &str = "not a time from 00:00:00 to 23:59:59.999999";

/// Why a row is refused: a code and a reason.
pub type Reason = (&'static str, String);

/// A column's values.
pub enum Values {
    Integer(Int64Array),
    Real(Float64Array),
    Text(StringArray),
    Blob(BinaryArray),
}

impl Values {
    /// The value of a row.
    pub fn get(&self, row: usize) -> ValueRef<'_> {
        match self {
            Self::Integer(array) if array.is_valid(row) => ValueRef::Integer(array.value(row)),
            Self::Real(array) if array.is_valid(row) => ValueRef::Real(array.value(row)),
            Self::Text(array) if array.is_valid(row) => ValueRef::Text(array.value(row).as_bytes()),
            Self::Blob(array) if array.is_valid(row) => ValueRef::Blob(array.value(row)),
            _ => ValueRef::Null,
        }
    }
}

/// Brings a column into a form that SQLite takes. Rows that have none go to `bad`.
pub fn values(name: &str, array: &ArrayRef, bad: &mut BTreeMap<usize, Reason>) -> Result<Values> {
    let data_type = match array.data_type() {
        DataType::Dictionary(_, values) => values,
        other => other,
    };
    let microsecond = TimeUnit::Microsecond;
    Ok(match data_type {
        DataType::Boolean => Values::Integer(converted(name, array, &DataType::Int64, bad)?.as_primitive().clone()),
        integer if integer.is_integer() => {
            Values::Integer(converted(name, array, &DataType::Int64, bad)?.as_primitive::<Int64Type>().clone())
        }
        float if float.is_floating() => {
            let array = converted(name, array, &DataType::Float64, bad)?.as_primitive::<Float64Type>().clone();
            for (row, value) in array.iter().enumerate() {
                if value.is_some_and(f64::is_nan) {
                    // SQLite would store a null in its place, and say nothing.
                    refuse(bad, row, "not_a_number", name, "NaN, which SQLite does not hold");
                }
            }
            Values::Real(array)
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Values::Blob(converted(name, array, &DataType::Binary, bad)?.as_binary::<i32>().clone())
        }
        DataType::Utf8
        | DataType::LargeUtf8
        | DataType::Utf8View
        | DataType::Null
        | DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => {
            Values::Text(converted(name, array, &DataType::Utf8, bad)?.as_string::<i32>().clone())
        }
        DataType::Date32 | DataType::Date64 => {
            let days = converted(name, array, &DataType::Date32, bad)?;
            let days = days.as_primitive::<Date32Type>();
            // A day that is too far away to be counted in microseconds is refused like others that are too far away.
            let moments = days.iter().map(|day| day.map(|day| i64::from(day).saturating_mul(MICROSECONDS_A_DAY)));
            texts(name, moments, write_date, OTHER_YEAR, bad)
        }
        DataType::Time32(_) | DataType::Time64(_) => {
            let times = converted(name, array, &DataType::Time64(microsecond), bad)?;
            texts(name, times.as_primitive::<Time64MicrosecondType>().iter(), write_time, NO_TIME, bad)
        }
        DataType::Timestamp(_, zone) => {
            let wanted = DataType::Timestamp(microsecond, zone.clone());
            let moments = converted(name, array, &wanted, bad)?;
            let moments = moments.as_primitive::<TimestampMicrosecondType>();
            let write = if zone.is_some() { write_zoned } else { write_moment };
            texts(name, moments.iter(), write, OTHER_YEAR, bad)
        }
        other => {
            return Err(Error::config(format!("column `{name}` is {other}, which SQLite has no type for"))
                .hint("convert it before the sink"));
        }
    })
}

/// A value that does not fit the new type becomes null, and its row bad.
fn converted(name: &str, array: &ArrayRef, wanted: &DataType, bad: &mut BTreeMap<usize, Reason>) -> Result<ArrayRef> {
    if array.data_type() == wanted {
        return Ok(array.clone());
    }
    let converted = arrow_cast::cast_with_options(array, wanted, &CastOptions { safe: true, ..Default::default() })
        .map_err(|error| Error::config(format!("column `{name}` cannot be converted: {error}")))?;
    let nulls = array.logical_nulls();
    for row in (0..converted.len()).filter(|row| converted.is_null(*row)) {
        if nulls.as_ref().is_none_or(|nulls| nulls.is_valid(row)) {
            let shown = arrow_cast::display::array_value_to_string(array, row);
            let shown = shown.unwrap_or_else(|_| "a value".into());
            refuse(bad, row, "out_of_range", name, &format!("{shown} is more than SQLite's {wanted} holds"));
        }
    }
    Ok(converted)
}

fn refuse(bad: &mut BTreeMap<usize, Reason>, row: usize, code: &'static str, name: &str, what: &str) {
    bad.entry(row).or_insert_with(|| (code, format!("{name}: {what}")));
}

/// Writes microseconds as text. Answers `false` for what cannot be written.
type WriteText = fn(i64, &mut String) -> bool;

fn texts(
    name: &str,
    values: impl Iterator<Item = Option<i64>>,
    write: WriteText,
    otherwise: &str,
    bad: &mut BTreeMap<usize, Reason>,
) -> Values {
    let mut builder = arrow_array::builder::StringBuilder::new();
    let mut text = String::new();
    for (row, value) in values.enumerate() {
        text.clear();
        match value {
            Some(value) if write(value, &mut text) => builder.append_value(&text),
            Some(_) => {
                refuse(bad, row, "out_of_range", name, otherwise);
                builder.append_null();
            }
            None => builder.append_null(),
        }
    }
    Values::Text(builder.finish())
}

fn write_date(microseconds: i64, text: &mut String) -> bool {
    match DateTime::from_timestamp_micros(microseconds).filter(|moment| YEARS.contains(&moment.year())) {
        Some(moment) => write!(text, "{:04}-{:02}-{:02}", moment.year(), moment.month(), moment.day()).is_ok(),
        None => false,
    }
}

fn write_time(microseconds: i64, text: &mut String) -> bool {
    if !(0..MICROSECONDS_A_DAY).contains(&microseconds) {
        return false;
    }
    let (seconds, rest) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let written = write!(text, "{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    let written = written.and_then(|()| if rest > 0 { write!(text, ".{rest:06}") } else { Ok(()) });
    written.is_ok()
}

fn write_moment(microseconds: i64, text: &mut String) -> bool {
    if !write_date(microseconds, text) {
        return false;
    }
    text.push(' ');
    write_time(microseconds.rem_euclid(MICROSECONDS_A_DAY), text)
}

fn write_zoned(microseconds: i64, text: &mut String) -> bool {
    let written = write_moment(microseconds, text);
    text.push_str("+00:00");
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_sqlites_own_functions_read_them() {
        let written = |write: WriteText, value| {
            let mut text = String::new();
            write(value, &mut text).then_some(text)
        };
        assert_eq!(written(write_moment, 1_758_123_848_000_000).unwrap(), "2025-09-17 15:44:08");
        assert_eq!(written(write_moment, -1).unwrap(), "1969-12-31 23:59:59.999999");
        assert_eq!(written(write_zoned, 0).unwrap(), "1970-01-01 00:00:00+00:00");
        assert_eq!(written(write_date, 0).unwrap(), "1970-01-01");
        assert_eq!(written(write_moment, i64::MAX), None);
        assert_eq!(written(write_time, MICROSECONDS_A_DAY), None);
    }
}
