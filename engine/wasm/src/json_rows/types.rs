//! The types of columns as a guest names them, and as JSON can hold them.

use std::sync::Arc;

use arrow_schema::{DataType, Field, TimeUnit};
use engine_abi::{Error, Result};

/// A moment is the same in every zone; what writes and reads text knows no zones by name.
pub const UTC: &str = "+00:00";

/// The word for a type, in both directions: the engine's own, or Arrow's.
pub fn word(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 => "text".into(),
        DataType::Int64 => "integer".into(),
        DataType::Float64 => "number".into(),
        DataType::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        DataType::Boolean => "boolean".into(),
        DataType::Date32 => "date".into(),
        DataType::Timestamp(TimeUnit::Microsecond, None) => "timestamp".into(),
        DataType::Timestamp(TimeUnit::Microsecond, Some(zone)) if &**zone == "UTC" => "timestamptz".into(),
        DataType::Binary => "binary".into(),
        other => other.to_string(),
    }
}

/// The type that a guest means with a word.
pub fn data_type(word: &str) -> Result<DataType> {
    let word = word.trim();
    Ok(match word {
        "text" => DataType::Utf8,
        "integer" => DataType::Int64,
        "number" => DataType::Float64,
        "boolean" => DataType::Boolean,
        "date" => DataType::Date32,
        "timestamp" => DataType::Timestamp(TimeUnit::Microsecond, None),
        "timestamptz" => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        "binary" => DataType::Binary,
        other => {
            let numbers = other.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
            let parsed = numbers.and_then(|numbers| {
                let (precision, scale) = numbers.split_once(',')?;
                let (precision, scale) = (precision.trim().parse().ok()?, scale.trim().parse().ok()?);
                (1..=38).contains(&precision).then_some(DataType::Decimal128(precision, scale))
            });
            match parsed {
                Some(decimal) => decimal,
                // What reads a type calls itself for each one inside.
                None if depth(other) <= MAX_DEPTH => other.parse().map_err(|_| no_type(other))?,
                None => return Err(no_type(other)),
            }
        }
    })
}

/// How many types may lie inside each other: more than in any document.
const MAX_DEPTH: usize = 64;

fn depth(word: &str) -> usize {
    let mut depth = 0usize;
    let depths = word.bytes().map(|byte| {
        match byte {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth
    });
    depths.max().unwrap_or(0)
}

fn no_type(word: &str) -> Error {
    let shown: String = word.chars().take(80).collect();
    Error::internal(format!("the module announces a column of the type `{shown}`, which is none")).hint(
        "text, integer, number, decimal(12,2), boolean, date, timestamp, timestamptz, binary; \
         this is a bug in the module",
    )
}

/// A type without what only saves memory: values instead of references to them.
pub fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, values) => plain(values),
        DataType::RunEndEncoded(_, values) => plain(values.data_type()),
        DataType::ListView(field) => plain(&DataType::List(Arc::clone(field))),
        DataType::LargeListView(field) => plain(&DataType::LargeList(Arc::clone(field))),
        nested => with_inner(nested, &mut |field| plain(field.data_type())),
    }
}

/// A type with others inside.
pub fn with_inner(kind: &DataType, change: &mut impl FnMut(&Field) -> DataType) -> DataType {
    let mut inner = |field: &Arc<Field>| {
        let kind = change(field);
        Arc::new(field.as_ref().clone().with_data_type(kind))
    };
    match kind {
        DataType::List(field) => DataType::List(inner(field)),
        DataType::LargeList(field) => DataType::LargeList(inner(field)),
        DataType::FixedSizeList(field, length) => DataType::FixedSizeList(inner(field), *length),
        DataType::Map(field, sorted) => DataType::Map(inner(field), *sorted),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// The type that a column is read as before it gets the one that was announced.
pub fn readable(kind: &DataType) -> DataType {
    match kind {
        // Base64 is read as the text that it is, and decoded afterwards.
        binary if is_binary(binary) => DataType::Utf8,
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(UTC.into())),
        nested => with_inner(nested, &mut |field| readable(field.data_type())),
    }
}

/// Whether values are bytes, which cross as base64.
pub fn is_binary(kind: &DataType) -> bool {
    use DataType as T;
    matches!(kind, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_))
}
