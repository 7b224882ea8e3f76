//! Values that stand in the configuration, as columns of one row.

use std::sync::Arc;

use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, NullArray, StringArray, UInt64Array};
use arrow_cast::{CastOptions, cast_with_options};
use engine_sdk::columns::{ColumnType, RowBuilder};
use engine_sdk::prelude::*;

/// A constant, in the type that it has of itself.
pub fn constant(value: &Value) -> ArrayRef {
    match value {
        Value::String(text) => Arc::new(StringArray::from(vec![text.as_str()])),
        Value::Bool(value) => Arc::new(BooleanArray::from(vec![*value])),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Arc::new(Int64Array::from(vec![number])),
            (_, Some(number)) => Arc::new(UInt64Array::from(vec![number])),
            _ => Arc::new(Float64Array::from(vec![number.as_f64().unwrap_or(f64::NAN)])),
        },
        Value::Null | Value::Array(_) | Value::Object(_) => Arc::new(NullArray::new(1)),
    }
}

/// A value of a column's type. What the type does not hold exactly is a `config` error that begins with `what`.
pub fn default(what: &str, value: &Value, data_type: &DataType) -> Result<ArrayRef> {
    let refused = |why: &str| Error::config(format!("{what}: `{value}` {why}"));
    let kind = match data_type {
        DataType::Null => return Ok(constant(value)),
        DataType::Utf8 | DataType::LargeUtf8 => ColumnType::Text,
        DataType::Boolean => ColumnType::Boolean,
        DataType::Float16 | DataType::Float32 | DataType::Float64 => ColumnType::Number,
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            ColumnType::Decimal(*precision, *scale)
        }
        DataType::Date32 | DataType::Date64 => ColumnType::Date,
        DataType::Timestamp(_, None) => ColumnType::Timestamp,
        DataType::Timestamp(_, Some(_)) => ColumnType::TimestampTz,
        _ if data_type.is_integer() => ColumnType::Integer,
        _ => {
            return Err(refused(&format!("stands for no value of the type {data_type}"))
                .hint("give the column another type before, with `select` or in SQL"));
        }
    };
    let text = match value {
        Value::String(text) => text.clone(),
        // A text that looks like a number is one only in quotes.
        _ if kind == ColumnType::Text => {
            return Err(refused("is no text, and the column is")
                .hint(format!("put it into quotes: \"{value}\", or give the column its type before, with `select`")));
        }
        other => other.to_string(),
    };
    let read = kind.read(&text).map_err(|why| refused(why.reason).hint(format!("the column is of the type {kind}")))?;
    let mut row = RowBuilder::new([("default", kind)]);
    row.push(&[read]);
    let read = ArrayRef::clone(row.finish()?.column(0));
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let cast = |array: &ArrayRef, to: &DataType| cast_with_options(array, to, &strict);
    let inexact =
        || refused(&format!("is no value of the type {data_type}")).hint("write one that the column could hold");
    let value = cast(&read, data_type).map_err(|_| inexact())?;
    // A smaller unit than the column's would be cut off.
    match cast(&value, read.data_type()) {
        Ok(back) if back.as_ref() == read.as_ref() => Ok(value),
        _ => Err(inexact()),
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{Date32Array, create_array};
    use arrow_schema::TimeUnit;

    use super::*;

    #[test]
    fn a_constant_has_the_type_that_its_text_has() {
        for (value, data_type) in [
            (json!("x"), DataType::Utf8),
            (json!(-1), DataType::Int64),
            (json!(u64::MAX), DataType::UInt64),
            (json!(0.5), DataType::Float64),
            (json!(true), DataType::Boolean),
            (json!(null), DataType::Null),
        ] {
            assert_eq!(constant(&value).data_type(), &data_type);
        }
    }

    #[test]
    fn a_default_is_a_value_of_its_column_exactly() {
        let of = |value: Value, data_type: &DataType| default("`d`", &value, data_type);
        let seconds = DataType::Timestamp(TimeUnit::Second, None);
        let zoned = arrow_array::TimestampMillisecondArray::from(vec![-2_208_988_800_000]);
        let made: [(Value, ArrayRef); 8] = [
            (json!("1900-01-01T00:00:00Z"), Arc::new(zoned.clone().with_timezone("Asia/Colombo"))),
            (json!("1900-01-01T05:30:00+05:30"), Arc::new(zoned.with_timezone("UTC"))),
            (json!("1970-01-02"), Arc::new(arrow_array::Date64Array::from(vec![86_400_000]))),
            (json!(7), create_array!(Int8, [7])),
            (json!("7"), create_array!(Int8, [7])),
            (json!("x"), create_array!(LargeUtf8, ["x"])),
            (json!("1900-01-01"), Arc::new(Date32Array::from(vec![-25567]))),
            (json!("1970-01-01T00:00:01"), create_array!(TimestampSecond, [1])),
        ];
        for (value, expected) in made {
            assert_eq!(&of(value, expected.data_type()).unwrap(), &expected);
        }
        assert_eq!(of(json!(0.25), &DataType::Decimal128(9, 2)).unwrap().len(), 1);
        for (value, data_type) in [
            (json!(128), DataType::Int8),
            (json!(0.5), DataType::Int64),
            (json!(0.125), DataType::Decimal128(9, 2)),
            (json!("1970-01-01T00:00:01.5"), seconds),
            (json!(1), DataType::Utf8),
            (json!("x"), DataType::Boolean),
            (json!(1), DataType::Binary),
        ] {
            let error = of(value, &data_type).unwrap_err();
            assert!(error.message.starts_with("`d`: `") && error.hint.is_some(), "{error}");
        }
    }
}
