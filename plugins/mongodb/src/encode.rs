//! Rows into documents, straight into BSON.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type, TimestampMillisecondType, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, Float64Array, Int32Array, Int64Array,
    RecordBatch, StringArray, TimestampMillisecondArray, UInt64Array,
};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_cast::cast;
use arrow_schema::TimeUnit;
use bson::{Bson, RawBson, RawDocumentBuf};
use engine_sdk::prelude::*;

use crate::decimal;

/// The largest document that a server takes.
pub const DOCUMENT_BYTES: usize = 16 << 20;

/// What a column becomes that would otherwise stay text, or that is to become text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Word {
    /// Text of 24 hexadecimal digits becomes an ObjectId.
    ObjectId,
    /// Text becomes a UUID.
    Uuid,
    /// Text becomes a Decimal128, also `NaN` and `Infinity`.
    Decimal,
    /// Extended JSON becomes the document, array or value that it is.
    Json,
    /// Anything becomes text: times finer than a millisecond keep their digits.
    Text,
}

/// Why a row cannot become a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Bad {
    pub code: &'static str,
    pub reason: String,
}

fn bad(code: &'static str, reason: impl Into<String>) -> Bad {
    Bad { code, reason: reason.into() }
}

/// A column, in the form in which it is written.
pub struct Column {
    name: String,
    values: Values,
}

enum Values {
    Null,
    Boolean(BooleanArray),
    Int32(Int32Array),
    Int64(Int64Array),
    UInt64(UInt64Array),
    Double(Float64Array),
    Text(StringArray),
    Binary(BinaryArray),
    Moment(TimestampMillisecondArray),
    Decimal(Decimal128Array),
    LongDecimal(Decimal256Array),
    Struct(Vec<Column>, Option<NullBuffer>),
    List(Box<Values>, OffsetBuffer<i32>, Option<NullBuffer>),
    ObjectId(StringArray),
    Uuid(StringArray),
    DecimalText(StringArray),
    Json(StringArray),
}

impl Column {
    /// Takes a column of a batch.
    pub fn new(name: &str, array: &ArrayRef, word: Option<Word>) -> Result<Self> {
        if name.contains('\0') {
            return Err(Error::config(format!("the column `{}` has a NUL in its name", name.escape_debug()))
                .hint("rename it with `select`"));
        }
        Ok(Self {
            name: name.to_owned(),
            values: Values::new(array, word).map_err(|error| error.context(format!("column `{name}`")))?,
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn is_null(&self, row: usize) -> bool {
        self.values.is_null(row)
    }

    /// Writes one element of a document. After an error, what has been written is of no use.
    pub fn write(&self, row: usize, out: &mut Vec<u8>) -> Result<(), Bad> {
        self.write_as(&self.name, row, out)
    }

    /// The same, under another name.
    pub fn write_as(&self, name: &str, row: usize, out: &mut Vec<u8>) -> Result<(), Bad> {
        let inside = |bad: Bad| Bad { reason: format!("column `{}`: {}", self.name, bad.reason), ..bad };
        self.values.write(name, row, out).map_err(inside)
    }
}

impl Values {
    fn new(array: &ArrayRef, word: Option<Word>) -> Result<Self> {
        if let Some(word) = word {
            let is_text = matches!(
                array.data_type(),
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(..) | DataType::Null
            );
            if word != Word::Text && !is_text {
                return Err(Error::config(format!(
                    "`types` makes something else of text, and this is {}",
                    array.data_type()
                ))
                .hint("leave it out of `types`"));
            }
            let text = cast(array, &DataType::Utf8)?.as_string::<i32>().clone();
            return Ok(match word {
                Word::ObjectId => Self::ObjectId(text),
                Word::Uuid => Self::Uuid(text),
                Word::Decimal => Self::DecimalText(text),
                Word::Json => Self::Json(text),
                Word::Text => Self::Text(text),
            });
        }
        let to = |kind: DataType| cast(array, &kind);
        Ok(match array.data_type() {
            DataType::Null => Self::Null,
            DataType::Boolean => Self::Boolean(array.as_boolean().clone()),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => {
                Self::Int32(to(DataType::Int32)?.as_primitive::<Int32Type>().clone())
            }
            DataType::Int64 | DataType::UInt32 => Self::Int64(to(DataType::Int64)?.as_primitive::<Int64Type>().clone()),
            DataType::UInt64 => Self::UInt64(array.as_primitive::<UInt64Type>().clone()),
            DataType::Float16 | DataType::Float32 | DataType::Float64 => {
                Self::Double(to(DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                Self::Binary(to(DataType::Binary)?.as_binary::<i32>().clone())
            }
            DataType::Date32 | DataType::Date64 => {
                Self::Moment(moments(&to(DataType::Timestamp(TimeUnit::Millisecond, None))?))
            }
            DataType::Timestamp(unit, _) => Self::Moment(cut(array, *unit)?),
            DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) => {
                Self::Decimal(to(DataType::Decimal128(38, *scale))?.as_primitive::<Decimal128Type>().clone())
            }
            DataType::Decimal128(..) => Self::Decimal(array.as_primitive::<Decimal128Type>().clone()),
            DataType::Decimal256(..) => Self::LongDecimal(array.as_primitive::<Decimal256Type>().clone()),
            DataType::Struct(fields) => {
                let array = array.as_struct();
                let columns = fields.iter().zip(array.columns());
                let columns =
                    columns.map(|(field, column)| Column::new(field.name(), column, None)).collect::<Result<_>>()?;
                Self::Struct(columns, array.nulls().cloned())
            }
            DataType::List(_) => {
                let array = array.as_list::<i32>();
                Self::List(Box::new(Self::new(array.values(), None)?), array.offsets().clone(), array.nulls().cloned())
            }
            DataType::Map(..) => {
                let array = array.as_map();
                let entries: ArrayRef = std::sync::Arc::new(array.entries().clone());
                Self::List(Box::new(Self::new(&entries, None)?), array.offsets().clone(), array.nulls().cloned())
            }
            DataType::LargeList(field) | DataType::FixedSizeList(field, _) => {
                return Self::new(&to(DataType::List(std::sync::Arc::clone(field)))?, None);
            }
            DataType::Dictionary(_, inner) => return Self::new(&to(inner.as_ref().clone())?, None),
            _ => Self::Text(to(DataType::Utf8)?.as_string::<i32>().clone()),
        })
    }

    fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Null => true,
            Self::Boolean(array) => array.is_null(row),
            Self::Int32(array) => array.is_null(row),
            Self::Int64(array) => array.is_null(row),
            Self::UInt64(array) => array.is_null(row),
            Self::Double(array) => array.is_null(row),
            Self::Text(array)
            | Self::ObjectId(array)
            | Self::Uuid(array)
            | Self::DecimalText(array)
            | Self::Json(array) => array.is_null(row),
            Self::Binary(array) => array.is_null(row),
            Self::Moment(array) => array.is_null(row),
            Self::Decimal(array) => array.is_null(row),
            Self::LongDecimal(array) => array.is_null(row),
            Self::Struct(_, nulls) | Self::List(_, _, nulls) => nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)),
        }
    }

    fn write(&self, name: &str, row: usize, out: &mut Vec<u8>) -> Result<(), Bad> {
        let mut head = |kind: u8, out: &mut Vec<u8>| {
            out.push(kind);
            out.extend_from_slice(name.as_bytes());
            out.push(0);
        };
        if self.is_null(row) {
            head(0x0a, out);
            return Ok(());
        }
        match self {
            Self::Null => head(0x0a, out),
            Self::Boolean(array) => {
                head(0x08, out);
                out.push(array.value(row).into());
            }
            Self::Int32(array) => {
                head(0x10, out);
                out.extend(array.value(row).to_le_bytes());
            }
            Self::Int64(array) => {
                head(0x12, out);
                out.extend(array.value(row).to_le_bytes());
            }
            Self::UInt64(array) => match i64::try_from(array.value(row)) {
                Ok(number) => {
                    head(0x12, out);
                    out.extend(number.to_le_bytes());
                }
                Err(_) => write_decimal(&array.value(row).to_string(), 0, &mut head, out)?,
            },
            Self::Double(array) => {
                head(0x01, out);
                out.extend(array.value(row).to_le_bytes());
            }
            Self::Text(array) => {
                head(0x02, out);
                let text = array.value(row);
                out.extend(length(text.len() + 1)?);
                out.extend_from_slice(text.as_bytes());
                out.push(0);
            }
            Self::Binary(array) => {
                head(0x05, out);
                out.extend(length(array.value(row).len())?);
                out.push(0);
                out.extend_from_slice(array.value(row));
            }
            Self::Moment(array) => {
                head(0x09, out);
                out.extend(array.value(row).to_le_bytes());
            }
            Self::Decimal(array) => write_decimal(&array.value(row).to_string(), array.scale(), &mut head, out)?,
            Self::LongDecimal(array) => write_decimal(&array.value(row).to_string(), array.scale(), &mut head, out)?,
            Self::Struct(columns, _) => {
                head(0x03, out);
                let begin = begin(out);
                for column in columns {
                    column.write(row, out)?;
                }
                end(begin, out)?;
            }
            Self::List(inner, offsets, _) => {
                head(0x04, out);
                let begin = begin(out);
                let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
                for (at, row) in (from..to).enumerate() {
                    inner.write(&at.to_string(), row, out)?;
                }
                end(begin, out)?;
            }
            Self::ObjectId(array) => {
                let id = bson::oid::ObjectId::parse_str(array.value(row))
                    .map_err(|_| bad("bad_object_id", "this text is no object id"))?;
                head(0x07, out);
                out.extend(id.bytes());
            }
            Self::Uuid(array) => {
                let uuid =
                    uuid::Uuid::try_parse(array.value(row)).map_err(|_| bad("bad_uuid", "this text is no uuid"))?;
                head(0x05, out);
                out.extend([16, 0, 0, 0, 4]);
                out.extend(uuid.as_bytes());
            }
            Self::DecimalText(array) => {
                let number: bson::Decimal128 =
                    array.value(row).parse().map_err(|_| bad("bad_decimal", "this text is no decimal of 34 digits"))?;
                head(0x13, out);
                out.extend(number.bytes());
            }
            Self::Json(array) => {
                let value: Value = serde_json::from_str(array.value(row))
                    .map_err(|error| bad("bad_json", format!("this text is no JSON: {error}")))?;
                let value = Bson::try_from(value)
                    .and_then(RawBson::try_from)
                    .map_err(|_| bad("bad_json", "this text is no Extended JSON"))?;
                let key = bson::raw::CString::try_from(name).map_err(|_| bad("bad_name", "a name with NUL"))?;
                let mut document = RawDocumentBuf::new();
                document.append(key, value);
                let bytes = document.as_bytes();
                // Without the length before and the NUL behind.
                out.extend_from_slice(&bytes[4..bytes.len() - 1]);
            }
        }
        Ok(())
    }
}

fn write_decimal(
    digits: &str,
    scale: i8,
    head: &mut impl FnMut(u8, &mut Vec<u8>),
    out: &mut Vec<u8>,
) -> Result<(), Bad> {
    let number = decimal::to_bson(digits, scale)
        .ok_or_else(|| bad("out_of_range", "the decimal has more than the 34 digits that MongoDB's has"))?;
    head(0x13, out);
    out.extend(number.bytes());
    Ok(())
}

fn length(bytes: usize) -> Result<[u8; 4], Bad> {
    match i32::try_from(bytes) {
        Ok(length) if bytes <= DOCUMENT_BYTES => Ok(length.to_le_bytes()),
        _ => Err(bad("too_large", "larger than the 16 MiB of a document")),
    }
}

/// Begins a document: its length comes last.
pub fn begin(out: &mut Vec<u8>) -> usize {
    let begin = out.len();
    out.extend([0; 4]);
    begin
}

/// Ends a document.
pub fn end(begin: usize, out: &mut Vec<u8>) -> Result<(), Bad> {
    out.push(0);
    let length = length(out.len() - begin)?;
    out[begin..begin + 4].copy_from_slice(&length);
    Ok(())
}

fn moments(array: &ArrayRef) -> TimestampMillisecondArray {
    array.as_primitive::<TimestampMillisecondType>().clone()
}

/// Milliseconds, always the one in which the moment lies.
fn cut(array: &ArrayRef, unit: TimeUnit) -> Result<TimestampMillisecondArray> {
    let divisor = match unit {
        TimeUnit::Second | TimeUnit::Millisecond => {
            return Ok(moments(&cast(array, &DataType::Timestamp(TimeUnit::Millisecond, None))?));
        }
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1_000_000,
    };
    let numbers = cast(array, &DataType::Int64)?;
    Ok(numbers.as_primitive::<Int64Type>().unary(|number: i64| number.div_euclid(divisor)))
}

/// The columns of a batch.
pub fn columns(batch: &RecordBatch, words: &std::collections::BTreeMap<String, Word>) -> Result<Vec<Column>> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    columns.map(|(field, array)| Column::new(field.name(), array, words.get(field.name()).copied())).collect()
}

/// Writes a document inside a document, or an array.
pub fn inside(name: &str, out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>) -> Result<(), Bad>) -> Result<(), Bad> {
    out.push(0x03);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    let begin = begin(out);
    fill(out)?;
    end(begin, out)
}

/// Writes a text.
pub fn text(name: &str, text: &str, out: &mut Vec<u8>) -> Result<(), Bad> {
    out.push(0x02);
    out.extend_from_slice(name.as_bytes());
    out.push(0);
    out.extend(length(text.len() + 1)?);
    out.extend_from_slice(text.as_bytes());
    out.push(0);
    Ok(())
}
