//! One column of a batch in the making.

use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder, Float32Builder, Float64Builder,
    Int16Builder, Int32Builder, Int64Builder, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow_array::{ArrayRef, BinaryArray, StringArray};
use arrow_buffer::{Buffer, NullBufferBuilder, OffsetBuffer, ScalarBuffer};

use crate::decode::TOO_FAR;
use crate::kind::{EPOCH_DAYS, EPOCH_MICROSECONDS, Kind, SHORT_PRECISION};
use crate::numeric;

const BROKEN: &str = "a value of unexpected length";
const NOT_TEXT: &str = "text that is not UTF-8";

/// The values of one column, as they come.
pub enum Column {
    Bool(BooleanBuilder),
    Int2(Int16Builder),
    Int4(Int32Builder),
    Int8(Int64Builder),
    Float4(Float32Builder),
    Float8(Float64Builder),
    Numeric(Decimal128Builder, i8),
    LongNumeric(Decimal256Builder, i8),
    Text(Texts),
    Jsonb(Texts),
    Uuid(Texts),
    Bytea(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
}

/// Runs the same code on whatever builder a column has.
macro_rules! each {
    ($column:expr, $texts:ident => $of_texts:expr, $builder:ident => $of_others:expr) => {
        match $column {
            Column::Text($texts) | Column::Jsonb($texts) | Column::Uuid($texts) => $of_texts,
            Column::Bool($builder) => $of_others,
            Column::Int2($builder) => $of_others,
            Column::Int4($builder) => $of_others,
            Column::Int8($builder) => $of_others,
            Column::Float4($builder) => $of_others,
            Column::Float8($builder) => $of_others,
            Column::Numeric($builder, _) => $of_others,
            Column::LongNumeric($builder, _) => $of_others,
            Column::Bytea($builder) => $of_others,
            Column::Date($builder) => $of_others,
            Column::Time($builder) => $of_others,
            Column::Timestamp($builder) => $of_others,
        }
    };
}

impl Column {
    /// An empty column of a kind.
    pub fn new(kind: Kind) -> Self {
        match kind {
            Kind::Bool => Self::Bool(BooleanBuilder::new()),
            Kind::Int2 => Self::Int2(Int16Builder::new()),
            Kind::Int4 => Self::Int4(Int32Builder::new()),
            Kind::Int8 => Self::Int8(Int64Builder::new()),
            Kind::Float4 => Self::Float4(Float32Builder::new()),
            Kind::Float8 => Self::Float8(Float64Builder::new()),
            Kind::Numeric(precision, scale) if precision <= SHORT_PRECISION => {
                Self::Numeric(Decimal128Builder::new().with_data_type(kind.arrow()), scale)
            }
            Kind::Numeric(_, scale) => Self::LongNumeric(Decimal256Builder::new().with_data_type(kind.arrow()), scale),
            Kind::Bytea => Self::Bytea(BinaryBuilder::new()),
            Kind::Date => Self::Date(Date32Builder::new()),
            Kind::Time => Self::Time(Time64MicrosecondBuilder::new()),
            Kind::Timestamp | Kind::TimestampTz => {
                Self::Timestamp(TimestampMicrosecondBuilder::new().with_data_type(kind.arrow()))
            }
            Kind::Uuid => Self::Uuid(Texts::default()),
            Kind::Jsonb => Self::Jsonb(Texts::default()),
            Kind::Text(_) | Kind::Json | Kind::WideNumeric | Kind::Other => Self::Text(Texts::default()),
        }
    }

    /// Appends no value.
    pub fn null(&mut self) {
        each!(self, texts => texts.null(), builder => builder.append_null());
    }

    /// Hands over what was collected and starts anew. Texts that are none become nulls, and `refuse` is
    /// told their rows, their bytes and what they are called.
    pub fn finish(&mut self, refuse: impl FnMut(usize, &[u8], &'static str)) -> ArrayRef {
        each!(self, texts => Arc::new(texts.finish(refuse)), builder => Arc::new(builder.finish()))
    }

    /// Appends a value, or says how it is called or what is wrong with it and appends nothing.
    pub fn value(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], &'static str> {
            bytes.try_into().map_err(|_| BROKEN)
        }
        match self {
            Self::Bool(builder) => builder.append_value(fixed::<1>(bytes)?[0] != 0),
            Self::Int2(builder) => builder.append_value(i16::from_be_bytes(fixed(bytes)?)),
            Self::Int4(builder) => builder.append_value(i32::from_be_bytes(fixed(bytes)?)),
            Self::Int8(builder) => builder.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Self::Float4(builder) => builder.append_value(f32::from_be_bytes(fixed(bytes)?)),
            Self::Float8(builder) => builder.append_value(f64::from_be_bytes(fixed(bytes)?)),
            Self::Numeric(builder, scale) => builder.append_value(numeric::decode(bytes, *scale)?),
            Self::LongNumeric(builder, scale) => builder.append_value(numeric::decode_long(bytes, *scale)?),
            Self::Text(texts) => texts.value(bytes),
            Self::Jsonb(texts) => match bytes {
                [1, json @ ..] => texts.value(json),
                _ => return Err("a jsonb value of an unknown version"),
            },
            Self::Uuid(texts) => {
                let mut buffer = uuid::Uuid::encode_buffer();
                texts.value(uuid::Uuid::from_bytes(fixed(bytes)?).hyphenated().encode_lower(&mut buffer).as_bytes());
            }
            Self::Bytea(builder) => builder.append_value(bytes),
            Self::Date(builder) => match i32::from_be_bytes(fixed(bytes)?) {
                i32::MAX => return Err("infinity"),
                i32::MIN => return Err("-infinity"),
                days => builder.append_value(days.checked_add(EPOCH_DAYS).ok_or("a date too far away")?),
            },
            Self::Time(builder) => builder.append_value(i64::from_be_bytes(fixed(bytes)?)),
            Self::Timestamp(builder) => match i64::from_be_bytes(fixed(bytes)?) {
                i64::MAX => return Err("infinity"),
                i64::MIN => return Err("-infinity"),
                moment => {
                    builder.append_value(moment.checked_add(EPOCH_MICROSECONDS).ok_or(TOO_FAR)?);
                }
            },
        }
        Ok(())
    }
}

/// Texts that are taken for such until the column is finished: one look at all of them together costs a
/// fraction of a look at each, most of which are a few bytes long.
pub struct Texts {
    bytes: Vec<u8>,
    /// Where each begins, and where the last one ends.
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Default for Texts {
    fn default() -> Self {
        Self::with_capacity(0, 0)
    }
}

impl Texts {
    fn with_capacity(texts: usize, bytes: usize) -> Self {
        let mut offsets = Vec::with_capacity(texts + 1);
        offsets.push(0);
        Self { bytes: Vec::with_capacity(bytes), offsets, nulls: NullBufferBuilder::new(texts) }
    }

    /// # Panics
    /// Beyond 2 GiB: a value has at most 1 GiB, and a batch ends after 1 MiB.
    fn value(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.nulls.append_non_null();
        self.end();
    }

    fn null(&mut self) {
        self.nulls.append_null();
        self.end();
    }

    fn end(&mut self) {
        self.offsets.push(i32::try_from(self.bytes.len()).expect("a batch of texts has less than 2 GiB"));
    }

    fn finish(&mut self, refuse: impl FnMut(usize, &[u8], &'static str)) -> StringArray {
        // The next batch is likely to be as large.
        let next = Self::with_capacity(self.offsets.len(), self.bytes.len());
        let Self { bytes, offsets, mut nulls } = std::mem::replace(self, next);
        let (offsets, bytes) = (OffsetBuffer::new(ScalarBuffer::from(offsets)), Buffer::from_vec(bytes));
        let nulls = nulls.finish();
        StringArray::try_new(offsets.clone(), bytes.clone(), nulls.clone())
            .unwrap_or_else(|_| one_by_one(&BinaryArray::new(offsets, bytes, nulls), refuse))
    }
}

/// Those that are text; the others become nulls.
#[cold]
fn one_by_one(found: &BinaryArray, mut refuse: impl FnMut(usize, &[u8], &'static str)) -> StringArray {
    let text = |(row, bytes): (usize, Option<&'_ [u8]>)| {
        let read = std::str::from_utf8(bytes?);
        read.inspect_err(|_| refuse(row, found.value(row), NOT_TEXT)).ok().map(str::to_owned)
    };
    found.iter().enumerate().map(text).collect()
}
