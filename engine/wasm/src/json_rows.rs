//! Rows as arrays of JSON objects, for guests whose language has no Arrow.
//!
//! What JSON's numbers cannot hold crosses as text, in both directions: decimals,
//! whole numbers beyond 2^53, numbers that are not finite; binary values cross as
//! base64. Nothing is rounded on the way.

use std::sync::Arc;

use arrow_array::builder::BinaryBuilder;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, Int64Type, UInt64Type};
use arrow_array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray};
use arrow_cast::base64::{BASE64_STANDARD, Engine as _};
use arrow_cast::cast;
use arrow_json::writer::JsonArray;
use arrow_json::{ReaderBuilder, WriterBuilder};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use engine_abi::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The largest whole number up to which every one is a JSON number in every language.
const EXACT: i64 = 1 << 53;

/// A schema as a guest sees it.
#[derive(Serialize, Deserialize)]
struct Columns {
    columns: Vec<Column>,
}

#[derive(Serialize, Deserialize)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default = "yes", skip_serializing_if = "Clone::clone")]
    nullable: bool,
}

fn yes() -> bool {
    true
}

/// The word for a type, in both directions: the engine's own, or Arrow's.
fn word(kind: &DataType) -> String {
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

fn data_type(word: &str) -> Result<DataType> {
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
                None => other.parse().map_err(|_| {
                    Error::internal(format!("the module announces a column of the type `{other}`, which is none"))
                        .hint("text, integer, number, decimal(12,2), boolean, date, timestamp, timestamptz, binary; this is a bug in the module")
                })?,
            }
        }
    })
}

/// The schema for a guest.
pub fn write_schema(schema: &Schema) -> Result<Vec<u8>> {
    let column = |field: &Arc<Field>| Column {
        name: field.name().clone(),
        kind: word(field.data_type()),
        nullable: field.is_nullable(),
    };
    let columns = Columns { columns: schema.fields().iter().map(column).collect() };
    serde_json::to_vec(&columns)
        .map_err(|error| Error::internal(format!("a schema cannot be written as JSON: {error}")))
}

/// The schema that a guest announces.
pub fn read_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let columns: Columns = serde_json::from_slice(bytes).map_err(|error| {
        Error::internal(format!("the schema that the module announces cannot be read: {error}"))
            .hint("it is {\"columns\": [{\"name\", \"type\"}]}; this is a bug in the module")
    })?;
    let field = |column: Column| Ok(Field::new(column.name, data_type(&column.kind)?, column.nullable));
    let fields = columns.columns.into_iter().map(field).collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Schema::new(fields)))
}

/// A batch for a guest.
pub fn write(batch: &RecordBatch) -> Result<Vec<u8>> {
    let columns = batch.columns().iter().map(exact).collect::<Result<Vec<_>>>()?;
    let fields = batch.schema_ref().fields().iter().zip(&columns);
    let fields: Vec<_> =
        fields.map(|(field, column)| Field::new(field.name(), column.data_type().clone(), true)).collect();
    let count = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let safe = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &count)?;
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, JsonArray>(Vec::new());
    writer.write(&safe)?;
    writer.finish()?;
    let bytes = writer.into_inner();
    Ok(if bytes.is_empty() { b"[]".to_vec() } else { bytes })
}

/// A column whose values JSON can hold, or their text.
fn exact(column: &ArrayRef) -> Result<ArrayRef> {
    let as_text = |column: &ArrayRef| cast(column, &DataType::Utf8).map_err(Error::from);
    match column.data_type() {
        DataType::Binary => {
            let texts = column.as_binary::<i32>().iter().map(|value| value.map(|bytes| BASE64_STANDARD.encode(bytes)));
            Ok(Arc::new(texts.collect::<StringArray>()))
        }
        DataType::Decimal128(..) | DataType::Decimal256(..) => as_text(column),
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
        _ => Ok(Arc::clone(column)),
    }
}

/// A moment is the same in every zone; what writes and reads text knows no zones by name.
const UTC: &str = "+00:00";

/// The same values under another zone's name.
fn relabel(column: &ArrayRef, kind: DataType) -> Result<ArrayRef> {
    Ok(arrow_array::make_array(column.to_data().into_builder().data_type(kind).build()?))
}

/// The type that a column is read as before it gets the one that was announced.
fn readable(kind: &DataType) -> DataType {
    match kind {
        // Base64 is read as the text that it is, and decoded afterwards.
        DataType::Binary => DataType::Utf8,
        DataType::Timestamp(unit, Some(_)) => DataType::Timestamp(*unit, Some(UTC.into())),
        other => other.clone(),
    }
}

/// A batch of a guest, in the columns that it announced; none: no rows.
pub fn read(bytes: &[u8], schema: &SchemaRef) -> Result<Option<RecordBatch>> {
    let wrong = |what: String| {
        Error::internal(format!("the module gives rows that cannot be read: {what}"))
            .hint("a batch is an array of objects with the columns that were announced; this is a bug in the module")
    };
    let rows: Vec<Value> = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
    if rows.is_empty() {
        return Ok(None);
    }
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_data_type(readable(field.data_type())));
    let as_text = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let builder = ReaderBuilder::new(as_text).with_strict_mode(true).with_batch_size(rows.len());
    let mut decoder = builder.build_decoder()?;
    decoder.serialize(&rows).map_err(|error| wrong(error.to_string()))?;
    let batch = decoder.flush().map_err(|error| wrong(error.to_string()))?;
    let batch = batch.ok_or_else(|| wrong("they hold no columns".into()))?;
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| match field.data_type() {
        DataType::Binary => decode_base64(field, column).map_err(wrong),
        kind if kind == column.data_type() => Ok(Arc::clone(column)),
        kind => relabel(column, kind.clone()),
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map(Some).map_err(|error| wrong(error.to_string()))
}

fn decode_base64(field: &Field, column: &ArrayRef) -> Result<ArrayRef, String> {
    let texts = column.as_string::<i32>();
    let mut builder = BinaryBuilder::with_capacity(texts.len(), texts.value_data().len() / 4 * 3);
    for text in texts {
        let bytes = text.map(|text| BASE64_STANDARD.decode(text)).transpose();
        builder.append_option(bytes.map_err(|_| format!("column `{}` is not base64", field.name()))?);
    }
    Ok(Arc::new(builder.finish()))
}

#[cfg(test)]
mod tests {
    use arrow_array::{
        BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, TimestampMicrosecondArray,
    };

    use super::*;

    fn batch() -> RecordBatch {
        let decimals = Decimal128Array::from(vec![Some(1234567890123456789012345678901234567), None]);
        RecordBatch::try_from_iter_with_nullable([
            ("text", Arc::new(StringArray::from(vec![Some("ä\"\n"), None])) as ArrayRef, true),
            ("integer", Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN])), false),
            ("small", Arc::new(Int64Array::from(vec![Some(1), None])), true),
            ("number", Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), Some(f64::NAN)])), true),
            ("decimal", Arc::new(decimals.with_precision_and_scale(38, 5).unwrap()), true),
            ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None])), true),
            ("date", Arc::new(Date32Array::from(vec![Some(20_000), None])), true),
            ("timestamp", Arc::new(TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), None])), true),
            (
                "timestamptz",
                Arc::new(TimestampMicrosecondArray::from(vec![Some(1_700_000_000_123_456), None]).with_timezone("UTC")),
                true,
            ),
            ("binary", Arc::new(BinaryArray::from(vec![Some(&b"\0\xff"[..]), Some(b"")])), true),
        ])
        .unwrap()
    }

    #[test]
    fn rows_and_columns_come_back_exactly() {
        let sent = batch();
        let schema = read_schema(&write_schema(&sent.schema()).unwrap()).unwrap();
        assert_eq!(schema, sent.schema());
        let came = read(&write(&sent).unwrap(), &schema).unwrap().unwrap();
        for (field, (one, other)) in schema.fields().iter().zip(sent.columns().iter().zip(came.columns())) {
            assert_eq!(format!("{one:?}"), format!("{other:?}"), "{}", field.name());
        }
    }

    #[test]
    fn numbers_that_are_not_finite_come_in_under_all_their_names() {
        let schema = read_schema(br#"{"columns": [{"name": "n", "type": "number"}]}"#).unwrap();
        for (text, number) in [("inf", f64::INFINITY), ("Infinity", f64::INFINITY), ("-Infinity", f64::NEG_INFINITY)] {
            let batch = read(format!(r#"[{{"n": "{text}"}}]"#).as_bytes(), &schema).unwrap().unwrap();
            assert_eq!(batch.column(0).as_primitive::<Float64Type>().value(0), number, "{text}");
        }
    }

    #[test]
    fn what_is_no_row_of_the_columns_is_refused() {
        let schema = read_schema(br#"{"columns": [{"name": "n", "type": "integer", "nullable": false}]}"#).unwrap();
        for wrong in
            ["", "{}", "[1]", r#"[{"n": "x"}]"#, r#"[{"n": 1.5}]"#, r#"[{"m": 1}]"#, r#"[{"n": null}]"#, "[{}]"]
        {
            assert!(read(wrong.as_bytes(), &schema).is_err(), "{wrong}");
        }
        assert_eq!(read(b"[]", &schema).unwrap(), None);
        assert!(read_schema(br#"{"columns": [{"name": "n", "type": "whole"}]}"#).is_err());
    }

    #[test]
    fn a_batch_without_rows_is_an_empty_array() {
        assert_eq!(write(&batch().slice(0, 0)).unwrap(), b"[]");
    }
}
