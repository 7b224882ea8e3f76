//! The builders of columns, and of those inside columns.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Decimal128Builder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMillisecondBuilder,
};
use arrow_array::{ArrayRef, ListArray, StructArray};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{Field, Fields};
use bson::raw::{RawArray, RawBsonRef, RawDocument};
use bson::spec::BinarySubtype;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

use crate::decimal;
use crate::json;
use crate::kind::{EXACT, Kind, arrow_fields};

/// What becomes of fields that no column takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownFields {
    /// The document becomes a dead letter. Its `_id`, which every document
    /// has, is left out unless a column takes it.
    #[default]
    Reject,
    /// They are left out.
    Drop,
    /// They are gathered in the column `_rest`, as JSON text; of documents
    /// inside the document only as a whole.
    Collect,
}

/// Why a document does not fit the columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    pub code: &'static str,
    /// The field, with those around it.
    path: String,
    what: String,
}

impl Misfit {
    fn new(code: &'static str, what: impl Into<String>) -> Self {
        Self { code, path: String::new(), what: what.into() }
    }

    fn inside(mut self, name: &str) -> Self {
        self.path = if self.path.is_empty() { name.to_owned() } else { format!("{name}.{}", self.path) };
        self
    }

    pub fn reason(&self) -> String {
        if self.path.is_empty() { self.what.clone() } else { format!("field `{}`: {}", self.path, self.what) }
    }
}

/// Where fields go that no column takes.
pub enum Unknown<'a> {
    /// Refused, but for the field of this name: the server gives every document of a collection an `_id`.
    Reject {
        but: &'static str,
    },
    Drop,
    Collect(&'a mut String),
}

/// The fields of documents of one place.
pub struct Columns {
    names: Vec<String>,
    places: HashMap<String, usize>,
    builders: Vec<Builder>,
    /// By column: the last document that had it, counted from 1.
    seen: Vec<u64>,
    document: u64,
    fields: Fields,
}

impl Columns {
    pub fn new(kinds: &IndexMap<String, Kind>) -> Self {
        let names: Vec<String> = kinds.keys().cloned().collect();
        Self {
            places: names.iter().enumerate().map(|(at, name)| (name.clone(), at)).collect(),
            builders: kinds.values().map(Builder::new).collect(),
            seen: vec![0; names.len()],
            document: 0,
            fields: arrow_fields(kinds),
            names,
        }
    }

    /// One more row in every column, also where the document does not fit: its first misfit is answered.
    pub fn push(
        &mut self,
        document: &RawDocument,
        mut unknown: Unknown<'_>,
        nested: UnknownFields,
    ) -> Result<(), Misfit> {
        self.document += 1;
        let mut misfit = None;
        let mut expected = 0;
        for element in document.iter_elements() {
            let Ok(element) = element else {
                misfit.get_or_insert(Misfit::new("bad_bson", "the document is damaged"));
                break;
            };
            let name = element.key().as_str();
            let place = match self.names.get(expected) {
                Some(likely) if likely == name => Some(expected),
                _ => self.places.get(name).copied(),
            };
            let Ok(value) = element.value() else {
                misfit.get_or_insert(Misfit::new("bad_bson", "the value is damaged").inside(name));
                continue;
            };
            let Some(place) = place else {
                match &mut unknown {
                    Unknown::Drop => {}
                    Unknown::Reject { but } if *but == name => {}
                    Unknown::Reject { .. } => {
                        misfit.get_or_insert_with(|| Misfit::new("unknown_field", "no column takes it").inside(name));
                    }
                    Unknown::Collect(rest) => {
                        rest.push(if rest.is_empty() { '{' } else { ',' });
                        json::string(name, rest);
                        rest.push(':');
                        if json::value(value, rest).is_err() {
                            misfit.get_or_insert_with(|| too_deep().inside(name));
                        }
                    }
                }
                continue;
            };
            expected = place + 1;
            if self.seen[place] == self.document {
                misfit.get_or_insert_with(|| Misfit::new("repeated_field", "the document has it twice").inside(name));
                continue;
            }
            self.seen[place] = self.document;
            if let Err(found) = self.builders[place].push(value, nested) {
                misfit.get_or_insert_with(|| found.inside(name));
            }
        }
        for (builder, seen) in self.builders.iter_mut().zip(&self.seen) {
            if *seen != self.document {
                builder.push_null();
            }
        }
        misfit.map_or(Ok(()), Err)
    }

    fn push_null(&mut self) {
        for builder in &mut self.builders {
            builder.push_null();
        }
    }

    /// The columns of all rows since the last time.
    pub fn finish(&mut self, rows: usize) -> Vec<ArrayRef> {
        self.builders.iter_mut().map(|builder| builder.finish(rows)).collect()
    }
}

fn too_deep() -> Misfit {
    Misfit::new("too_deep", format!("nested deeper than {} levels, or damaged", json::DEPTH))
}

enum Builder {
    Boolean(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Number(Float64Builder),
    Decimal(Decimal128Builder, u8, i8),
    Text(StringBuilder),
    DecimalText(StringBuilder),
    ObjectId(StringBuilder),
    Uuid(StringBuilder),
    Json(StringBuilder, String),
    Timestamp(TimestampMillisecondBuilder),
    Binary(BinaryBuilder),
    Struct(Columns, NullBufferBuilder),
    List(Box<List>),
}

struct List {
    inner: Builder,
    field: Arc<Field>,
    /// Elements so far, and where each list ends.
    elements: usize,
    offsets: Vec<i32>,
    nulls: NullBufferBuilder,
}

impl Builder {
    fn new(kind: &Kind) -> Self {
        match kind {
            Kind::Boolean => Self::Boolean(BooleanBuilder::new()),
            Kind::Int32 => Self::Int32(Int32Builder::new()),
            Kind::Int64 | Kind::WideInt64 => Self::Int64(Int64Builder::new()),
            Kind::Number => Self::Number(Float64Builder::new()),
            Kind::Decimal(precision, scale) => {
                Self::Decimal(Decimal128Builder::new().with_data_type(kind.arrow()), *precision, *scale)
            }
            Kind::Text => Self::Text(StringBuilder::new()),
            Kind::DecimalText => Self::DecimalText(StringBuilder::new()),
            Kind::ObjectId => Self::ObjectId(StringBuilder::new()),
            Kind::Uuid => Self::Uuid(StringBuilder::new()),
            Kind::Null | Kind::Json => Self::Json(StringBuilder::new(), String::new()),
            Kind::Timestamp => Self::Timestamp(TimestampMillisecondBuilder::new().with_timezone("UTC")),
            Kind::Binary => Self::Binary(BinaryBuilder::new()),
            Kind::Struct(fields) => Self::Struct(Columns::new(fields), NullBufferBuilder::new(0)),
            Kind::List(inner) => Self::List(Box::new(List {
                field: Arc::new(Field::new("item", inner.arrow(), true)),
                inner: Self::new(inner),
                elements: 0,
                offsets: vec![0],
                nulls: NullBufferBuilder::new(0),
            })),
        }
    }

    /// One more value, in any case: a null where the value does not fit.
    fn push(&mut self, value: RawBsonRef<'_>, unknown: UnknownFields) -> Result<(), Misfit> {
        match (&mut *self, value) {
            (_, RawBsonRef::Null) => self.push_null(),
            (Self::Boolean(column), RawBsonRef::Boolean(value)) => column.append_value(value),
            (Self::Int32(column), RawBsonRef::Int32(value)) => column.append_value(value),
            (Self::Int64(column), RawBsonRef::Int64(value)) => column.append_value(value),
            (Self::Int64(column), RawBsonRef::Int32(value)) => column.append_value(value.into()),
            (Self::Number(column), RawBsonRef::Double(value)) => column.append_value(value),
            (Self::Number(column), RawBsonRef::Int32(value)) => column.append_value(value.into()),
            (Self::Number(column), RawBsonRef::Int64(value)) if (-EXACT..=EXACT).contains(&value) => {
                column.append_value(value as f64);
            }
            (Self::Text(column), RawBsonRef::String(value)) => column.append_value(value),
            (Self::ObjectId(column), RawBsonRef::ObjectId(value)) => {
                let mut hex = [0; 24];
                for (pair, byte) in hex.chunks_exact_mut(2).zip(value.bytes()) {
                    const DIGITS: &[u8; 16] = b"0123456789abcdef";
                    pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
                }
                column.append_value(std::str::from_utf8(&hex).unwrap_or_default());
            }
            (Self::Timestamp(column), RawBsonRef::DateTime(value)) => column.append_value(value.timestamp_millis()),
            (Self::Binary(column), RawBsonRef::Binary(value)) if json::is_plain(value.subtype) => {
                column.append_value(value.bytes);
            }
            (Self::Uuid(column), RawBsonRef::Binary(value)) if value.subtype == BinarySubtype::Uuid => {
                match uuid::Uuid::from_slice(value.bytes) {
                    Ok(uuid) => {
                        column.append_value(uuid.as_hyphenated().encode_lower(&mut uuid::Uuid::encode_buffer()))
                    }
                    Err(_) => return self.refuse("a binary value with the subtype of uuids, and not of 16 bytes"),
                }
            }
            (Self::DecimalText(column), RawBsonRef::Decimal128(value)) => {
                let _ = write!(column, "{value}");
                column.append_value("");
            }
            (Self::Decimal(column, precision, scale), value) => match decimal::exact(value, *precision, *scale) {
                Some(number) => column.append_value(number),
                None => return self.refuse("it does not fit the column's decimal exactly"),
            },
            (Self::Json(column, text), value) => {
                text.clear();
                if json::value(value, text).is_err() {
                    column.append_null();
                    return Err(too_deep());
                }
                column.append_value(&text);
            }
            (Self::Struct(columns, nulls), RawBsonRef::Document(document)) => {
                nulls.append_non_null();
                let policy = if unknown == UnknownFields::Drop { Unknown::Drop } else { Unknown::Reject { but: "" } };
                return columns.push(document, policy, unknown);
            }
            (Self::List(list), RawBsonRef::Array(array)) => return list.push(array, unknown),
            // Shells write whole numbers as doubles, and others write small ones as long ones.
            (Self::Int64(column), RawBsonRef::Double(value)) if whole(value).is_some() => {
                column.append_option(whole(value));
            }
            (Self::Int32(column), RawBsonRef::Int64(value)) if i32::try_from(value).is_ok() => {
                column.append_option(i32::try_from(value).ok());
            }
            (Self::Int32(column), RawBsonRef::Double(value))
                if whole(value).is_some_and(|number| i32::try_from(number).is_ok()) =>
            {
                column.append_option(whole(value).and_then(|number| i32::try_from(number).ok()));
            }
            (_, value) => {
                let column = self.word();
                return self.refuse(&format!("{} in a column of {column}", type_word(value)));
            }
        }
        Ok(())
    }

    fn refuse(&mut self, what: &str) -> Result<(), Misfit> {
        self.push_null();
        Err(Misfit::new("wrong_type", what))
    }

    fn push_null(&mut self) {
        match self {
            Self::Boolean(column) => column.append_null(),
            Self::Int32(column) => column.append_null(),
            Self::Int64(column) => column.append_null(),
            Self::Number(column) => column.append_null(),
            Self::Decimal(column, ..) => column.append_null(),
            Self::Text(column)
            | Self::DecimalText(column)
            | Self::ObjectId(column)
            | Self::Uuid(column)
            | Self::Json(column, _) => column.append_null(),
            Self::Timestamp(column) => column.append_null(),
            Self::Binary(column) => column.append_null(),
            Self::Struct(columns, nulls) => {
                columns.push_null();
                nulls.append_null();
            }
            Self::List(list) => {
                list.nulls.append_null();
                list.end();
            }
        }
    }

    fn finish(&mut self, rows: usize) -> ArrayRef {
        match self {
            Self::Boolean(column) => Arc::new(column.finish()),
            Self::Int32(column) => Arc::new(column.finish()),
            Self::Int64(column) => Arc::new(column.finish()),
            Self::Number(column) => Arc::new(column.finish()),
            Self::Decimal(column, ..) => Arc::new(column.finish()),
            Self::Text(column)
            | Self::DecimalText(column)
            | Self::ObjectId(column)
            | Self::Uuid(column)
            | Self::Json(column, _) => Arc::new(column.finish()),
            Self::Timestamp(column) => Arc::new(column.finish()),
            Self::Binary(column) => Arc::new(column.finish()),
            Self::Struct(columns, nulls) => {
                let arrays = columns.finish(rows);
                Arc::new(StructArray::new(columns.fields.clone(), arrays, nulls.finish()))
            }
            Self::List(list) => {
                let inner = list.inner.finish(list.elements);
                list.elements = 0;
                let offsets = OffsetBuffer::new(std::mem::replace(&mut list.offsets, vec![0]).into());
                Arc::new(ListArray::new(Arc::clone(&list.field), offsets, inner, list.nulls.finish()))
            }
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Boolean(_) => "boolean",
            Self::Int32(_) => "int32",
            Self::Int64(_) => "integer",
            Self::Number(_) => "number",
            Self::Decimal(..) | Self::DecimalText(_) => "decimal",
            Self::Text(_) => "text",
            Self::ObjectId(_) => "object_id",
            Self::Uuid(_) => "uuid",
            Self::Json(..) => "json",
            Self::Timestamp(_) => "timestamptz",
            Self::Binary(_) => "binary",
            Self::Struct(..) => "documents",
            Self::List(_) => "lists",
        }
    }
}

impl List {
    fn push(&mut self, array: &RawArray, unknown: UnknownFields) -> Result<(), Misfit> {
        let mut misfit = None;
        for (at, element) in array.iter_elements().enumerate() {
            let value = element.and_then(|element| element.value());
            let Ok(value) = value else {
                misfit.get_or_insert(Misfit::new("bad_bson", "the array is damaged"));
                break;
            };
            self.elements += 1;
            if let Err(found) = self.inner.push(value, unknown) {
                misfit.get_or_insert_with(|| found.inside(&at.to_string()));
            }
        }
        self.nulls.append_non_null();
        self.end();
        misfit.map_or(Ok(()), Err)
    }

    fn end(&mut self) {
        // A batch is bounded by bytes far below this.
        self.offsets.push(i32::try_from(self.elements).unwrap_or(i32::MAX));
    }
}

/// A double that is a whole number, and the only one that it can stand for.
fn whole(value: f64) -> Option<i64> {
    let is_whole = value.fract() == 0.0 && value.abs() <= EXACT as f64 && !(value == 0.0 && value.is_sign_negative());
    is_whole.then_some(value as i64)
}

fn type_word(value: RawBsonRef<'_>) -> String {
    format!("a value of type {:?}", value.element_type())
}
