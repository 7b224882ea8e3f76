//! Values as cells.

use arrow_array::Int64Array;
use chrono::{DateTime, Offset, TimeZone};
use chrono_tz::Tz;
use engine_sdk::columns::Cells;
use engine_sdk::prelude::DataType;

use crate::text;

/// Excel's numbers have 15 digits.
const DIGITS: u128 = 1_000_000_000_000_000;
/// The number of 1970-01-01 among Excel's days.
const EPOCH: i64 = 25_569;
/// Excel takes 1900 for a leap year: its days before 1900-03-01 are others than everybody's.
const FIRST_DAY: i64 = 61;
/// 9999-12-31.
const LAST_DAY: i64 = 2_958_465;
/// Excel tells milliseconds apart.
const MILLISECONDS: i64 = 86_400_000;
/// Parts of a day that a number is written in: fewer than a millisecond has, and more than a number rounds to.
const PARTS: i128 = 10_000_000_000;
const MILLISECONDS_WIDE: i128 = MILLISECONDS as i128;

/// What a column's numbers look like where nobody says it.
pub fn format_of(kind: &DataType) -> Option<String> {
    match kind {
        DataType::Date32 => Some("yyyy-mm-dd".into()),
        DataType::Date64 | DataType::Timestamp(..) => Some("yyyy-mm-dd hh:mm:ss".into()),
        DataType::Time32(_) | DataType::Time64(_) => Some("hh:mm:ss".into()),
        DataType::Decimal32(_, scale)
        | DataType::Decimal64(_, scale)
        | DataType::Decimal128(_, scale)
        | DataType::Decimal256(_, scale) => match usize::try_from(*scale) {
            Ok(0) | Err(_) => Some("0".into()),
            // As many as a cell shows; the value has all of them.
            Ok(scale) => Some(format!("0.{}", "0".repeat(scale.min(15)))),
        },
        DataType::Dictionary(_, values) => format_of(values),
        _ => None,
    }
}

/// Whether values of a type are numbers to Excel, dates and times included.
pub fn has_numbers(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => has_numbers(values),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(..) => true,
        DataType::Time32(_) | DataType::Time64(_) | DataType::Null => true,
        other => other.is_numeric(),
    }
}

/// A value as a cell takes it.
pub enum Shown {
    /// A number, whose text was appended.
    Number,
    /// `0` or `1`, which was appended.
    Boolean,
    /// Anything else, as a text that was appended as it is.
    Text,
}

/// Appends the value of a row that is not null.
pub fn value(cells: &Cells, row: usize, zone: Tz, out: &mut Vec<u8>) -> Shown {
    match cells {
        Cells::Boolean(column) => {
            out.push(if column.value(row) { b'1' } else { b'0' });
            return Shown::Boolean;
        }
        Cells::Integer(column) if is_exact(column.value(row).unsigned_abs().into()) => {}
        Cells::Unsigned(column) if is_exact(column.value(row).into()) => {}
        Cells::Decimal(column, _) if is_exact(column.value(row).unsigned_abs()) => {}
        Cells::LongDecimal(column, _)
            if column.value(row).to_i128().is_some_and(|value| is_exact(value.unsigned_abs())) => {}
        Cells::Float32(column) if column.value(row).is_finite() => {}
        Cells::Float64(column) if column.value(row).is_finite() => {}
        Cells::Date(column) if day(i64::from(column.value(row)), 0, 1, out) => return Shown::Number,
        Cells::Time(column, ticks) if (0..=ticks * 86_400).contains(&column.value(row)) => {
            part(column.value(row), *ticks, 0, out);
            return Shown::Number;
        }
        Cells::Timestamp(column, ticks, is_moment) => {
            let a_day = ticks * 86_400;
            let mut value = column.value(row);
            if *is_moment && zone != Tz::UTC {
                value = value.saturating_add(i64::from(offset(zone, value.div_euclid(*ticks))) * ticks);
            }
            if day(value.div_euclid(a_day), value.rem_euclid(a_day), *ticks, out) {
                return Shown::Number;
            }
            // What Excel has no day for is a text, of the same clocks.
            Cells::Timestamp(Int64Array::from(vec![value]), *ticks, false).write(0, b' ', out);
            return Shown::Text;
        }
        _ => {
            cells.write(row, b' ', out);
            return Shown::Text;
        }
    }
    cells.write(row, b' ', out);
    Shown::Number
}

/// Seconds by which local time is ahead of UTC.
fn offset(zone: Tz, seconds: i64) -> i32 {
    let moment = DateTime::from_timestamp(seconds, 0).map(|it| it.naive_utc());
    moment.map_or(0, |it| zone.offset_from_utc_datetime(&it).fix().local_minus_utc())
}

/// Whether a number has no more digits than Excel keeps; zeros at its end are none.
fn is_exact(mut digits: u128) -> bool {
    while digits >= DIGITS && digits.is_multiple_of(10) {
        digits /= 10;
    }
    digits < DIGITS
}

/// Appends a day since 1970-01-01 and the time of it. False: Excel knows no such day.
fn day(days: i64, time: i64, ticks: i64, out: &mut Vec<u8>) -> bool {
    let number = days.saturating_add(EPOCH);
    if !(FIRST_DAY..=LAST_DAY).contains(&number) {
        return false;
    }
    part(time, ticks, number, out);
    true
}

/// Appends whole days, and ticks since midnight as a part of one.
fn part(time: i64, ticks: i64, days: i64, out: &mut Vec<u8>) {
    // Cut, not rounded: the last moment of a day stays in it.
    let milliseconds = (i128::from(time) * 1_000 / i128::from(ticks)) as i64;
    let (days, milliseconds) = (days + milliseconds / MILLISECONDS, milliseconds % MILLISECONDS);
    let parts = (i128::from(milliseconds) * PARTS + MILLISECONDS_WIDE / 2) / MILLISECONDS_WIDE;
    out.extend_from_slice(itoa::Buffer::new().format(days).as_bytes());
    if parts > 0 {
        out.extend_from_slice(format!(".{parts:010}").trim_end_matches('0').as_bytes());
    }
}

/// Appends a cell. `place`: `B7`. `scratch` is for the value.
pub fn write(shown: Shown, place: &[&[u8]], style: &[u8], value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"<c r=\"");
    place.iter().for_each(|part| out.extend_from_slice(part));
    out.extend_from_slice(style);
    match shown {
        Shown::Number => out.extend_from_slice(b"\"><v>"),
        Shown::Boolean => out.extend_from_slice(b"\" t=\"b\"><v>"),
        Shown::Text => {
            let text = std::str::from_utf8(value).unwrap_or_default();
            let keeps = text::has_edges(text);
            out.extend_from_slice(b"\" t=\"inlineStr\"><is><t");
            out.extend_from_slice(if keeps { b" xml:space=\"preserve\">" } else { b">" });
            text::write(text, out);
            return out.extend_from_slice(b"</t></is></c>");
        }
    }
    out.extend_from_slice(value);
    out.extend_from_slice(b"</v></c>");
}
