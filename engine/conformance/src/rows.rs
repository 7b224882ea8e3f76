//! The rows that components are fed with, and how rows are compared.

use std::sync::Arc;

use arrow_array::builder::{Decimal128Builder, Decimal256Builder, ListBuilder, StringDictionaryBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, FixedSizeBinaryArray, Float32Array, Float64Array,
    Int8Array, Int16Array, Int32Array, Int64Array, LargeStringArray, RecordBatch, StringArray, StructArray,
    Time64MicrosecondArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt32Array, UInt64Array,
};
use arrow_buffer::i256;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use engine_abi::{Batches, Error, Shape};

use crate::subject::Stop;
use crate::{Recorder, Verdict};

/// Texts that are easily broken: quotes, separators, ends of lines, escapes,
/// spaces at the ends, numbers that are none, formulas, other scripts.
const TEXTS: [&str; 12] = [
    "plain",
    "it's \"quoted\"",
    "a,b;c\td",
    "two\nlines",
    "back\\slash \\n \\N",
    " spaces ",
    "007",
    "=1+1",
    "Grüße, 東京 🦀",
    "'; DROP TABLE rows; --",
    "NULL",
    "{{ x }} ${y} %s",
];

/// The columns of [`plain`].
pub fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("n", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("flag", DataType::Boolean, true),
    ]))
}

/// `count` rows of the most common types, numbered from `first`, none null.
pub fn plain(first: i64, count: usize) -> RecordBatch {
    let numbers: Vec<i64> = (first..).take(count).collect();
    let text = |n: &i64| TEXTS[n.rem_euclid(TEXTS.len() as i64) as usize];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from(numbers.clone())),
        Arc::new(StringArray::from_iter_values(numbers.iter().map(text))),
        Arc::new(Float64Array::from_iter_values(numbers.iter().map(|n| *n as f64 / 4.0))),
        Arc::new(BooleanArray::from_iter(numbers.iter().map(|n| Some(n % 3 == 0)))),
    ];
    RecordBatch::try_new(schema(), columns).expect("four columns of one length")
}

/// Rows as [`plain`], without any value.
pub fn nulls(count: usize) -> RecordBatch {
    let columns = schema().fields().iter().map(|field| arrow_array::new_null_array(field.data_type(), count)).collect();
    RecordBatch::try_new(schema(), columns).expect("four columns of one length")
}

/// Rows as [`plain`], every third without a value in `text`.
pub fn gaps(first: i64, count: usize) -> RecordBatch {
    let batch = plain(first, count);
    let texts = batch.column(1).as_any().downcast_ref::<StringArray>().expect("text is Utf8");
    let texts = StringArray::from_iter(texts.iter().enumerate().map(|(at, text)| text.filter(|_| at % 3 != 0)));
    let mut columns = batch.columns().to_vec();
    columns[1] = Arc::new(texts);
    RecordBatch::try_new(schema(), columns).expect("four columns of one length")
}

/// One batch for every type that a source may give, with a value and a null
/// in the column `value`, beside `n` and `text`.
pub fn wide() -> Vec<RecordBatch> {
    let mut decimals = Decimal128Builder::new().with_precision_and_scale(20, 4).expect("a valid decimal");
    decimals.append_value(1_234_567);
    decimals.append_null();
    let mut long_decimals = Decimal256Builder::new().with_precision_and_scale(76, 4).expect("a valid decimal");
    long_decimals.append_value(i256::from_string(&format!("-{}", "9".repeat(76))).expect("76 digits"));
    long_decimals.append_null();
    let mut lists = ListBuilder::new(arrow_array::builder::Int64Builder::new());
    lists.append_value([Some(1), None]);
    lists.append_null();
    let mut words = StringDictionaryBuilder::<Int32Type>::new();
    words.append_value("word");
    words.append_null();
    let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(5), None]));
    let inner = StructArray::from(vec![(Arc::new(Field::new("inner", DataType::Int64, true)), inner)]);
    let moment = 1_758_123_848_123_456;
    let values: Vec<ArrayRef> = vec![
        Arc::new(Int8Array::from(vec![Some(i8::MIN), None])),
        Arc::new(Int16Array::from(vec![Some(i16::MIN), None])),
        Arc::new(Int32Array::from(vec![Some(i32::MIN), None])),
        Arc::new(UInt32Array::from(vec![Some(u32::MAX), None])),
        Arc::new(UInt64Array::from(vec![Some(u64::MAX), None])),
        Arc::new(Float32Array::from(vec![Some(f32::NAN), None])),
        Arc::new(Float64Array::from(vec![Some(f64::NEG_INFINITY), None])),
        Arc::new(decimals.finish()),
        Arc::new(long_decimals.finish()),
        Arc::new(Date32Array::from(vec![Some(-1), None])),
        Arc::new(Time64MicrosecondArray::from(vec![Some(86_399_999_999), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(moment), None])),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(moment), None]).with_timezone("UTC")),
        Arc::new(TimestampNanosecondArray::from(vec![Some(moment * 1000 + 1), None])),
        Arc::new(LargeStringArray::from(vec![Some("large"), None])),
        Arc::new(BinaryArray::from_opt_vec(vec![Some(b"\x00\xff".as_slice()), None])),
        Arc::new(
            FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some([1u8, 2]), None].into_iter(), 2)
                .expect("two bytes each"),
        ),
        Arc::new(words.finish()),
        Arc::new(lists.finish()),
        Arc::new(inner),
        arrow_array::new_null_array(&DataType::Null, 2),
    ];
    let batch = |value: ArrayRef| {
        let beside = plain(1, 2);
        let schema = Arc::new(Schema::new(vec![
            Field::new("n", DataType::Int64, true),
            Field::new("text", DataType::Utf8, true),
            Field::new("value", value.data_type().clone(), true),
        ]));
        let columns = vec![Arc::clone(beside.column(0)), Arc::clone(beside.column(1)), value];
        RecordBatch::try_new(schema, columns).expect("three columns of two rows")
    };
    values.into_iter().map(batch).collect()
}

/// The stream that a component gets: batches, one after the other.
pub fn stream(schema: SchemaRef, batches: Vec<RecordBatch>) -> Batches {
    Batches::new(schema, batches.into_iter().map(Ok))
}

/// The columns of a stream of files.
pub fn files_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("name", DataType::Utf8, false), Field::new("data", DataType::Binary, false)]))
}

/// A piece of one file.
pub fn piece(name: &str, data: &[u8]) -> RecordBatch {
    let columns: Vec<ArrayRef> =
        vec![Arc::new(StringArray::from(vec![name])), Arc::new(BinaryArray::from_vec(vec![data]))];
    RecordBatch::try_new(files_schema(), columns).expect("two columns of one row")
}

/// What is fed to a component that takes `shape`: `batches` as they are, or as
/// the pieces of one file with a line for each row.
pub fn as_shape(shape: Shape, batches: Vec<RecordBatch>) -> Result<Batches, Stop> {
    if shape == Shape::Rows {
        let schema = batches.first().map_or_else(schema, RecordBatch::schema);
        return Ok(stream(schema, batches));
    }
    let mut pieces = Vec::new();
    for batch in &batches {
        let lines: String = keys(batch)?.into_iter().map(|key| key + "\n").collect();
        pieces.push(piece("", lines.as_bytes()));
    }
    Ok(stream(files_schema(), pieces))
}

/// One line for each row, by which rows are told apart whatever became of
/// their types on the way: the values of `n` and `text`.
pub fn keys(batch: &RecordBatch) -> Result<Vec<String>, Stop> {
    let find = |name: &str| {
        let at = batch.schema().fields().iter().position(|field| field.name().eq_ignore_ascii_case(name));
        at.ok_or_else(|| Stop::Failed(format!("the column `{name}` is missing: {:?}", batch.schema().fields())))
    };
    let columns = [batch.column(find("n")?), batch.column(find("text")?)];
    let values = [texts(columns[0])?, texts(columns[1])?];
    Ok((0..batch.num_rows()).map(|row| format!("{}|{}", values[0][row], values[1][row].escape_debug())).collect())
}

/// The values of a column as texts; `∅` stands for null.
pub fn texts(column: &ArrayRef) -> Result<Vec<String>, Stop> {
    let options = FormatOptions::default().with_null("∅");
    let formatter = ArrayFormatter::try_new(column.as_ref(), &options)
        .map_err(|error| Stop::Failed(format!("a column of type {} cannot be shown: {error}", column.data_type())))?;
    Ok((0..column.len()).map(|row| formatter.value(row).to_string()).collect())
}

/// All values of some batches, row by row.
pub fn values(batches: &[RecordBatch]) -> Result<Vec<Vec<String>>, Stop> {
    let mut rows = Vec::new();
    for batch in batches {
        let columns = batch.columns().iter().map(texts).collect::<Result<Vec<_>, _>>()?;
        rows.extend((0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()));
    }
    Ok(rows)
}

/// How many rows some batches have.
pub fn count(batches: &[RecordBatch]) -> u64 {
    batches.iter().map(|batch| batch.num_rows() as u64).sum()
}

/// The bytes of a stream of files.
pub fn bytes(batches: &[RecordBatch]) -> Result<Vec<u8>, Stop> {
    let mut bytes = Vec::new();
    for batch in batches {
        let data = batch.column_by_name("data").and_then(|column| column.as_any().downcast_ref::<BinaryArray>());
        let data = data.ok_or_else(|| {
            Stop::Failed(format!("a stream of files has the columns name and data, not {:?}", batch.schema().fields()))
        })?;
        bytes.extend(data.iter().flatten().flatten());
    }
    Ok(bytes)
}

/// Requires two lists to be the same, and shows the first difference.
pub fn require_same<T: PartialEq + std::fmt::Debug>(what: &str, found: &[T], expected: &[T]) -> Verdict {
    if let Some(at) = (0..found.len().min(expected.len())).find(|at| found[*at] != expected[*at]) {
        let (found, expected) = (&found[at], &expected[at]);
        return Err(Stop::Failed(format!("{what}: number {} is {found:?} instead of {expected:?}", at + 1)));
    }
    if found.len() != expected.len() {
        return Err(Stop::Failed(format!("{what}: {} instead of {}", found.len(), expected.len())));
    }
    Ok(())
}

/// A stream that breaks off with `error` after `batches`.
pub fn broken(input: Batches, error: Error) -> Batches {
    Batches::new(input.schema(), input.chain(std::iter::once(Err(error))))
}

/// A stream that asks to stop after its third batch, and then answers as the
/// engine's own streams do.
pub fn endless(batch: RecordBatch, host: Arc<Recorder>) -> Batches {
    let schema = batch.schema();
    let three = std::iter::repeat_n(Ok(batch), 3);
    let stop = std::iter::once_with(move || {
        host.cancel();
        Err(Error::cancelled())
    });
    Batches::new(schema, three.chain(stop))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_lists_the_columns() {
        let guide = include_str!("../../../docs/guide/connectors.md");
        for field in schema().fields() {
            let row = format!("| `{}` | {} |", field.name(), field.data_type());
            assert!(guide.contains(&row), "docs/guide/connectors.md has no row `{row} …`");
        }
    }
}
