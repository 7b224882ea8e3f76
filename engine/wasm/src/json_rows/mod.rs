//! Rows as arrays of JSON objects, for guests whose language has no Arrow.
//!
//! What JSON's numbers cannot hold crosses as text, in both directions: decimals,
//! whole numbers beyond 2^53, numbers that are not finite; binary values cross as
//! base64. Nothing is rounded on the way.

mod types;
mod values;

use std::sync::Arc;

use arrow_array::{RecordBatch, RecordBatchOptions};
use arrow_json::reader::Decoder;
use arrow_json::writer::JsonArray;
use arrow_json::{ReaderBuilder, WriterBuilder};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use engine_abi::{Error, Result};
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use types::{data_type, plain, readable, word};
use values::{announced, exact, inexact};

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

/// Columns as a guest sees them: values where others have references to values.
pub fn seen(schema: &Schema) -> SchemaRef {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_data_type(plain(field.data_type())));
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// The schema for a guest.
pub fn write_schema(schema: &Schema) -> Result<Vec<u8>> {
    let seen = seen(schema);
    let columns = seen.fields().iter().map(|field| {
        let kind = field.data_type();
        if !crosses(kind) {
            let what = format!("column `{}` is of the type {kind}, which rows in JSON cannot hold", field.name());
            return Err(Error::config(what).hint("change its type, or leave it out, in a stage before this one"));
        }
        Ok(Column { name: field.name().clone(), kind: word(kind), nullable: field.is_nullable() })
    });
    let columns = Columns { columns: columns.collect::<Result<_>>()? };
    serde_json::to_vec(&columns)
        .map_err(|error| Error::internal(format!("a schema cannot be written as JSON: {error}")))
}

/// The schema that a guest announces.
pub fn read_schema(bytes: &[u8]) -> Result<SchemaRef> {
    let columns: Columns = serde_json::from_slice(bytes).map_err(|error| {
        Error::internal(format!("the schema that the module announces cannot be read: {error}"))
            .hint("it is {\"columns\": [{\"name\", \"type\"}]}; this is a bug in the module")
    })?;
    let field = |column: Column| {
        let kind = data_type(&column.kind)?;
        if plain(&kind) != kind || !crosses(&kind) {
            let what = format!("the module announces `{}` as {kind}, which rows in JSON cannot hold", column.name);
            return Err(Error::internal(what).hint("this is a bug in the module; report it to its author"));
        }
        Ok(Field::new(column.name, kind, column.nullable))
    };
    let fields = columns.columns.into_iter().map(field).collect::<Result<Vec<_>>>()?;
    let twice = fields.iter().enumerate().find(|(at, field)| fields[..*at].iter().any(|it| it.name() == field.name()));
    if let Some((_, field)) = twice {
        return Err(Error::internal(format!("the module announces two columns named `{}`", field.name()))
            .hint("each column has a name of its own; this is a bug in the module"));
    }
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

/// Whether what writes rows as JSON, and reads them, knows the type.
fn crosses(kind: &DataType) -> bool {
    let schema = Arc::new(Schema::new(vec![Field::new("column", readable(kind), true)]));
    ReaderBuilder::new(Arc::clone(&schema)).build_decoder().is_ok()
        && write(&RecordBatch::new_empty(Arc::new(Schema::new(vec![Field::new("column", kind.clone(), true)])))).is_ok()
}

/// A batch of a guest, in the columns that it announced; none: no rows.
pub fn read(bytes: &[u8], schema: &SchemaRef) -> Result<Option<RecordBatch>> {
    let wrong = |what: String| {
        Error::internal(format!("the module gives rows that cannot be read: {what}"))
            .hint("a batch is an array of objects with the columns that were announced; this is a bug in the module")
    };
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_data_type(readable(field.data_type())));
    let as_text = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let mut decoder = ReaderBuilder::new(as_text).with_strict_mode(true).build_decoder()?;
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let taken =
        text.deserialize_seq(Each { schema, decoder: &mut decoder }).and_then(|count| text.end().map(|()| count));
    if taken.map_err(|error| wrong(error.to_string()))? == 0 {
        return Ok(None);
    }
    let batch = decoder.flush().map_err(|error| wrong(error.to_string()))?;
    let batch = batch.ok_or_else(|| wrong("they hold no columns".into()))?;
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        announced(column, field.data_type())
            .map_err(|error| wrong(format!("column `{}`: {}", field.name(), error.message)))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    RecordBatch::try_new(Arc::clone(schema), columns).map(Some).map_err(|error| wrong(error.to_string()))
}

/// Takes rows one by one: all of them at once, as values, would be many times what their text is.
struct Each<'a> {
    schema: &'a Schema,
    decoder: &'a mut Decoder,
}

impl<'de> Visitor<'de> for Each<'_> {
    type Value = usize;

    fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<usize, A::Error> {
        let mut count = 0;
        while let Some(row) = rows.next_element::<Value>()? {
            for field in self.schema.fields() {
                let value = row.get(field.name());
                if let Some(what) = value.and_then(|value| inexact(value, field.data_type())) {
                    return Err(A::Error::custom(format_args!("column `{}` holds {what}", field.name())));
                }
            }
            self.decoder.serialize(&[row]).map_err(A::Error::custom)?;
            count += 1;
        }
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::builder::{
        FixedSizeBinaryBuilder, Int64Builder, ListBuilder, MapBuilder, StringBuilder, StringDictionaryBuilder,
    };
    use arrow_array::cast::AsArray;
    use arrow_array::types::{Decimal128Type, Float64Type, Int32Type, Int64Type};
    use arrow_array::{
        ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array, StringArray,
        StructArray, TimestampMicrosecondArray,
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

    fn column(name: &str, values: ArrayRef) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable([(name, values, true)]).unwrap()
    }

    fn there_and_back(sent: &RecordBatch) -> RecordBatch {
        let schema = read_schema(&write_schema(&sent.schema()).unwrap()).unwrap();
        read(&write(sent).unwrap(), &schema).unwrap().unwrap()
    }

    #[test]
    fn values_inside_others_come_back_exactly_too() {
        let mut lists = ListBuilder::new(Int64Builder::new());
        lists.append_value([Some(i64::MAX), None, Some(1)]);
        lists.append_null();
        let mut maps = MapBuilder::new(None, StringBuilder::new(), Int64Builder::new());
        maps.keys().append_value("one");
        maps.values().append_value(i64::MIN);
        maps.append(true).unwrap();
        maps.append(false).unwrap();
        let mut views = arrow_array::builder::ListViewBuilder::new(Int64Builder::new());
        views.append_value([Some(i64::MAX)]);
        views.append_null();
        let views = column("c", Arc::new(views.finish()));
        assert_eq!(
            there_and_back(&views).column(0).as_list::<i32>().value(0).as_primitive::<Int64Type>().value(0),
            i64::MAX
        );
        let mut sizes = FixedSizeBinaryBuilder::new(2);
        sizes.append_value(b"\0\xff").unwrap();
        sizes.append_null();
        let inside: ArrayRef = Arc::new(BinaryArray::from(vec![Some(&b"\xfe"[..]), None]));
        let moments = TimestampMicrosecondArray::from(vec![Some(1), None]).with_timezone("Europe/Berlin");
        let objects = StructArray::try_from(vec![("binary", inside), ("moment", Arc::new(moments) as ArrayRef)]);
        for values in [
            Arc::new(lists.finish()) as ArrayRef,
            Arc::new(maps.finish()),
            Arc::new(sizes.finish()),
            Arc::new(objects.unwrap()),
        ] {
            let sent = column("c", values);
            assert_eq!(there_and_back(&sent), sent);
            // A part of an array keeps its children whole.
            let part = sent.slice(1, 1);
            assert_eq!(there_and_back(&part), part);
        }
    }

    #[test]
    fn a_dictionary_comes_as_its_values() {
        let mut words = StringDictionaryBuilder::<Int32Type>::new();
        words.extend([Some("b"), None, Some("a"), Some("b")]);
        let sent = column("c", Arc::new(words.finish()));
        let values = column("c", Arc::new(StringArray::from(vec![Some("b"), None, Some("a"), Some("b")])));
        assert_eq!(there_and_back(&sent), values);
        // Rows that a guest refuses come back in the columns that it saw.
        assert_eq!(read(&write(&sent).unwrap(), &seen(&sent.schema())).unwrap(), Some(values));
    }

    #[test]
    fn a_type_that_json_cannot_hold_is_refused_by_its_column() {
        let interval = DataType::Interval(arrow_schema::IntervalUnit::MonthDayNano);
        let schema = Schema::new(vec![Field::new("pause", interval, true)]);
        let error = write_schema(&schema).unwrap_err();
        assert_eq!(error.kind, engine_abi::ErrorKind::Config);
        assert!(error.message.contains("`pause`") && error.hint.is_some(), "{error}");
        let error = read_schema(br#"{"columns": [{"name": "c", "type": "Dictionary(Int32, Utf8)"}]}"#).unwrap_err();
        assert!(error.message.contains("`c`"), "{error}");
    }

    #[test]
    fn bytes_of_another_length_and_numbers_cut_inside_a_list_are_refused() {
        let schema = read_schema(br#"{"columns": [{"name": "c", "type": "FixedSizeBinary(2)"}]}"#).unwrap();
        assert!(read(br#"[{"c": "AAAA"}]"#, &schema).is_err());
        let schema = read_schema(br#"{"columns": [{"name": "c", "type": "List(Int64)"}]}"#).unwrap();
        assert!(read(br#"[{"c": [1, 1.5]}]"#, &schema).unwrap_err().message.contains("1.5"));
    }

    #[test]
    fn a_decimal_keeps_every_digit_or_is_refused() {
        let schema = read_schema(br#"{"columns": [{"name": "d", "type": "decimal(12,2)"}]}"#).unwrap();
        for (text, hundredths) in [
            (r#""11.99""#, 1199),
            ("11.9", 1190),
            ("-7", -700),
            (r#""11.9900""#, 1199),
            (r#""1.5e3""#, 150_000),
            (r#""12e-2""#, 12),
        ] {
            let batch = read(format!(r#"[{{"d": {text}}}]"#).as_bytes(), &schema).unwrap().unwrap();
            assert_eq!(batch.column(0).as_primitive::<Decimal128Type>().value(0), hundredths, "{text}");
        }
        let long = format!("\"0.{}1\"", "0".repeat(300));
        for wrong in [r#""11.999""#, "114.99999999999999", "1e-7", r#""1e-3""#, r#""1.5e""#, r#""ten""#, &long] {
            let error = read(format!(r#"[{{"d": {wrong}}}]"#).as_bytes(), &schema).unwrap_err();
            assert!(error.message.contains("decimal"), "{wrong}: {error}");
        }
    }

    #[test]
    fn what_is_no_text_of_a_date_or_time_or_says_more_than_it_is_refused() {
        let one = |kind: &str, value: &str| {
            let schema = read_schema(format!(r#"{{"columns": [{{"name": "c", "type": "{kind}"}}]}}"#).as_bytes());
            read(format!(r#"[{{"c": {value}}}]"#).as_bytes(), &schema.unwrap())
        };
        for (kind, value) in [
            ("date", r#""2026-11-28""#),
            ("timestamp", r#""2026-11-28T09:30:00.123456000""#),
            ("timestamptz", r#""2026-11-28T09:30:00.1+05:00""#),
            ("timestamptz", r#""2026-11-28T09:30:00Z""#),
            ("date", "null"),
        ] {
            one(kind, value).unwrap();
        }
        for (kind, value) in [
            ("date", "20200101"),
            ("date", "1.5"),
            ("timestamp", "20200101"),
            ("date", r#""2020-01-01T10:00:00+05:00""#),
            ("timestamp", r#""2020-01-01T10:00:00+05:00""#),
            ("timestamp", r#""2020-01-01T10:00:00.1234567""#),
            ("timestamptz", r#""2020-01-01T10:00:00.1234567Z""#),
            ("decimal(38,0)", "1180591620717411303424"),
        ] {
            let error = one(kind, value).unwrap_err();
            assert!(error.message.contains("column `c` holds"), "{kind} {value}: {error}");
        }
        assert!(
            read_schema(br#"{"columns": [{"name": "c", "type": "text"}, {"name": "c", "type": "text"}]}"#).is_err()
        );
    }

    #[test]
    fn a_type_of_endless_depth_is_refused_before_it_is_read() {
        let deep = format!("{}Int64{}", "List(".repeat(100_000), ")".repeat(100_000));
        let error = read_schema(format!(r#"{{"columns": [{{"name": "c", "type": "{deep}"}}]}}"#).as_bytes());
        let error = error.unwrap_err();
        assert!(error.message.len() < 500 && error.hint.is_some(), "{error}");
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
