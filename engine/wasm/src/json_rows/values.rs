//! Values as JSON can hold them, and back.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, BinaryArray, StringArray, make_array};
use arrow_cast::base64::{BASE64_STANDARD, Engine as _};
use arrow_cast::{CastOptions, cast, cast_with_options};
use arrow_schema::{DataType, TimeUnit};
use engine_abi::{Error, Result};
use serde_json::Value;

use super::types::{UTC, is_binary, plain, with_inner};

/// The largest whole number up to which every one is a JSON number in every language.
const EXACT: i64 = 1 << 53;

/// A column whose values JSON can hold, or their text.
pub fn exact(column: &ArrayRef) -> Result<ArrayRef> {
    let as_text = |column: &ArrayRef| cast(column, &DataType::Utf8).map_err(Error::from);
    match column.data_type() {
        binary if is_binary(binary) => {
            let values = cast(column, &DataType::Binary)?;
            let texts = values.as_binary::<i32>().iter().map(|value| value.map(|bytes| BASE64_STANDARD.encode(bytes)));
            Ok(Arc::new(texts.collect::<StringArray>()))
        }
        kind if kind.is_decimal() => as_text(column),
        DataType::Int64 => {
            let all =
                column.as_primitive::<Int64Type>().iter().flatten().all(|value| value.unsigned_abs() <= EXACT as u64);
            if all { Ok(Arc::clone(column)) } else { as_text(column) }
        }
        DataType::UInt64 => {
            let all = column.as_primitive::<UInt64Type>().iter().flatten().all(|value| value <= EXACT as u64);
            if all { Ok(Arc::clone(column)) } else { as_text(column) }
        }
        DataType::Float64 => {
            let all = column.as_primitive::<Float64Type>().iter().flatten().all(f64::is_finite);
            if all { Ok(Arc::clone(column)) } else { as_text(column) }
        }
        DataType::Timestamp(unit, Some(_)) => relabel(column, DataType::Timestamp(*unit, Some(UTC.into()))),
        DataType::Float16 | DataType::Float32 => exact(&cast(column, &DataType::Float64)?),
        kind => match plain(kind) {
            values if values != *kind => exact(&cast(column, &values)?),
            _ => Ok(with_children(column, |_, child| exact(child))?.unwrap_or_else(|| Arc::clone(column))),
        },
    }
}

/// A column that was read, in the type that was announced.
pub fn announced(column: &ArrayRef, kind: &DataType) -> Result<ArrayRef> {
    match kind {
        kind if kind == column.data_type() => Ok(Arc::clone(column)),
        binary if is_binary(binary) => {
            let decoded: ArrayRef = Arc::new(decode_base64(column.as_string())?);
            // An array of fixed size says what does not fit; a cast would leave it out.
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            cast_with_options(&decoded, kind, &strict).map_err(Error::from)
        }
        DataType::Timestamp(..) => relabel(column, kind.clone()),
        nested => {
            let mut inner = Vec::new();
            with_inner(nested, &mut |field| {
                inner.push(field.data_type().clone());
                field.data_type().clone()
            });
            let children = with_children(column, |at, child| announced(child, &inner[at]))?;
            Ok(children.unwrap_or_else(|| Arc::clone(column)))
        }
    }
}

/// A column with others inside; none: there are none inside.
fn with_children(
    column: &ArrayRef,
    mut change: impl FnMut(usize, &ArrayRef) -> Result<ArrayRef>,
) -> Result<Option<ArrayRef>> {
    use DataType as T;
    if !matches!(column.data_type(), T::List(_) | T::LargeList(_) | T::FixedSizeList(..) | T::Map(..) | T::Struct(_)) {
        return Ok(None);
    }
    let data = column.to_data();
    let children = data.child_data().iter().enumerate();
    let children = children.map(|(at, child)| change(at, &make_array(child.clone())));
    let children = children.collect::<Result<Vec<_>>>()?;
    let mut types = children.iter().map(|child| child.data_type().clone());
    let kind = with_inner(column.data_type(), &mut |field| types.next().unwrap_or_else(|| field.data_type().clone()));
    let children = children.iter().map(Array::to_data).collect();
    Ok(Some(make_array(data.into_builder().data_type(kind).child_data(children).build()?)))
}

/// The same values under another zone's name.
fn relabel(column: &ArrayRef, kind: DataType) -> Result<ArrayRef> {
    Ok(make_array(column.to_data().into_builder().data_type(kind).build()?))
}

fn decode_base64(texts: &StringArray) -> Result<BinaryArray> {
    let mut builder = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len() / 4 * 3);
    for text in texts {
        let bytes = text.map(|text| BASE64_STANDARD.decode(text)).transpose();
        builder.append_option(bytes.map_err(|_| Error::internal("this is not base64"))?);
    }
    Ok(builder.finish())
}

/// A number that a reader would cut off to fit the column: what it is, in words.
pub fn inexact(value: &Value, kind: &DataType) -> Option<String> {
    use DataType as T;
    match kind {
        kind if kind.is_integer() => {
            let number = value.as_number().filter(|number| number.is_f64())?;
            let whole = number.as_f64().is_some_and(|number| number.fract() == 0.0);
            Some(format!("{number}, which is {}", if whole { "beyond 64 bits" } else { "no whole number" }))
        }
        T::Decimal32(_, scale) | T::Decimal64(_, scale) | T::Decimal128(_, scale) | T::Decimal256(_, scale) => {
            let text = match value {
                // What does not fit 64 bits was read as the nearest number that does.
                Value::Number(number) if number.is_f64() && number.as_f64()?.abs() >= EXACT as f64 => {
                    return Some(format!("{number}, which is too large for a number; as text it keeps every digit"));
                }
                Value::Number(number) => number.to_string(),
                Value::String(text) => text.clone(),
                _ => return None,
            };
            let shown = || text.chars().take(MAX_DIGITS).collect::<String>();
            (text.len() > MAX_DIGITS || digits_behind_the_point(&text)? > i64::from(*scale))
                .then(|| format!("{}, which has more digits than its decimal type", shown()))
        }
        T::Date32 | T::Date64 | T::Time32(_) | T::Time64(_) | T::Timestamp(..) => match value {
            // A reader would count it as days or seconds since 1970.
            Value::Number(number) => Some(format!("{number}, where a text such as {} belongs", example(kind))),
            Value::String(text) => {
                let wrong = match kind {
                    T::Date32 | T::Date64 if text.contains(['T', ' ', ':']) => "more than a date",
                    T::Timestamp(_, None) if has_zone(text) => "in a time zone; `timestamptz` keeps it",
                    T::Timestamp(unit, _) | T::Time32(unit) | T::Time64(unit)
                        if digits_of_a_second(text) > digits(*unit) =>
                    {
                        "finer than its type"
                    }
                    _ => return None,
                };
                Some(format!("{}, which is {wrong}", text.chars().take(MAX_DIGITS).collect::<String>()))
            }
            _ => None,
        },
        T::List(field) | T::LargeList(field) | T::FixedSizeList(field, _) => {
            value.as_array()?.iter().find_map(|value| inexact(value, field.data_type()))
        }
        T::Struct(fields) => fields.iter().find_map(|field| inexact(value.get(field.name())?, field.data_type())),
        T::Map(entries, _) => {
            let T::Struct(fields) = entries.data_type() else { return None };
            let kind = fields.get(1)?.data_type();
            value.as_object()?.values().find_map(|value| inexact(value, kind))
        }
        _ => None,
    }
}

fn example(kind: &DataType) -> &'static str {
    match kind {
        DataType::Date32 | DataType::Date64 => "\"2026-11-28\"",
        DataType::Timestamp(_, None) => "\"2026-11-28T09:30:00\"",
        DataType::Timestamp(..) => "\"2026-11-28T09:30:00Z\"",
        _ => "\"09:30:00\"",
    }
}

/// Whether a moment says its zone, behind its time of day.
fn has_zone(text: &str) -> bool {
    let time = text.split_once(['T', ' ']).map_or("", |(_, time)| time);
    time.contains(['Z', 'z', '+', '-'])
}

/// How many digits stand behind the second, without zeros that say nothing.
fn digits_of_a_second(text: &str) -> usize {
    let fraction = text.split_once('.').map_or("", |(_, fraction)| fraction);
    let end = fraction.find(|character: char| !character.is_ascii_digit()).unwrap_or(fraction.len());
    fraction[..end].trim_end_matches('0').len()
}

const fn digits(unit: TimeUnit) -> usize {
    match unit {
        TimeUnit::Second => 0,
        TimeUnit::Millisecond => 3,
        TimeUnit::Microsecond => 6,
        TimeUnit::Nanosecond => 9,
    }
}

/// The longest text of a decimal: 76 digits, a sign, a point, an exponent, and zeros that say nothing.
const MAX_DIGITS: usize = 120;

/// How many digits of a number count behind its point; none: it is no number, which a reader tells.
fn digits_behind_the_point(text: &str) -> Option<i64> {
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let fraction = number.split_once('.').map_or("", |(_, fraction)| fraction.trim_end_matches('0'));
    Some(i64::try_from(fraction.len()).ok()? - i64::from(exponent))
}
