//! Documents into columns, straight from BSON.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use arrow_array::builder::{
    BinaryBuilder, BooleanBuilder, Decimal128Builder, Float64Builder, Int32Builder, Int64Builder, StringBuilder,
    TimestampMillisecondBuilder,
};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, ListArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
};
use arrow_buffer::{NullBufferBuilder, OffsetBuffer};
use arrow_schema::{Field, Fields, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use bson::raw::{RawArray, RawBsonRef, RawDocument};
use bson::spec::BinarySubtype;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

use crate::decimal;
use crate::json::{self, Form};
use crate::kind::{EXACT, Kind, arrow_fields};

/// The column of the fields that no other column takes.
pub const REST: &str = "_rest";

/// What becomes of fields that no column takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum UnknownFields {
    /// The document becomes a dead letter.
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

/// A document that was refused.
pub struct Refused {
    pub document: RecordBatch,
    pub code: &'static str,
    pub reason: String,
}

/// Columns that are being filled.
pub struct Decoder {
    columns: Columns,
    rest: Option<StringBuilder>,
    schema: SchemaRef,
    unknown: UnknownFields,
    rows: usize,
    bytes: usize,
    /// Rows that are not to stay.
    refused: Vec<usize>,
    letters: Vec<Refused>,
}

impl Decoder {
    pub fn new(kinds: &IndexMap<String, Kind>, unknown: UnknownFields) -> Self {
        let rest = (unknown == UnknownFields::Collect).then(StringBuilder::new);
        Self {
            columns: Columns::new(kinds),
            rest,
            schema: schema(kinds, unknown),
            unknown,
            rows: 0,
            bytes: 0,
            refused: vec![],
            letters: vec![],
        }
    }

    pub fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Of the documents that were taken since the last batch.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes a document. One that does not fit leaves no row.
    pub fn push(&mut self, document: &RawDocument) {
        let mut rest = String::new();
        let unknown = match self.unknown {
            UnknownFields::Reject => Unknown::Reject,
            UnknownFields::Drop => Unknown::Drop,
            UnknownFields::Collect => Unknown::Collect(&mut rest),
        };
        let taken = self.columns.push(document, unknown, self.unknown);
        if let Some(builder) = &mut self.rest {
            if rest.is_empty() {
                builder.append_null();
            } else {
                rest.push('}');
                builder.append_value(&rest);
            }
        }
        if let Err(misfit) = taken {
            self.refused.push(self.rows);
            self.letters.push(Refused { document: as_it_came(document), code: misfit.code, reason: misfit.reason() });
        }
        self.rows += 1;
        self.bytes += document.as_bytes().len();
    }

    /// The batch, and what was refused of it.
    pub fn finish(&mut self) -> Result<(RecordBatch, Vec<Refused>)> {
        let mut arrays = self.columns.finish(self.rows);
        arrays.extend(self.rest.as_mut().map(|rest| Arc::new(rest.finish()) as ArrayRef));
        let options = RecordBatchOptions::new().with_row_count(Some(self.rows));
        let mut batch = RecordBatch::try_new_with_options(self.schema(), arrays, &options)?;
        if !self.refused.is_empty() {
            let mut keep = vec![true; self.rows];
            for row in self.refused.drain(..) {
                keep[row] = false;
            }
            batch = filter_record_batch(&batch, &BooleanArray::from(keep))?;
        }
        self.rows = 0;
        self.bytes = 0;
        Ok((batch, std::mem::take(&mut self.letters)))
    }
}

/// The columns of a stream.
pub fn schema(kinds: &IndexMap<String, Kind>, unknown: UnknownFields) -> SchemaRef {
    let mut fields: Vec<_> = arrow_fields(kinds).iter().cloned().collect();
    if unknown == UnknownFields::Collect {
        fields.push(Arc::new(Field::new(REST, DataType::Utf8, true)));
    }
    Arc::new(Schema::new(fields))
}

/// A document for a dead letter: with all its types, as text, or as its bytes where no text can hold it.
fn as_it_came(document: &RawDocument) -> RecordBatch {
    let (name, column): (_, ArrayRef) = match json::document(document, Form::Canonical) {
        Ok(text) => ("document", Arc::new(StringArray::from(vec![text]))),
        Err(json::Unwritable) => ("bson", Arc::new(BinaryArray::from(vec![document.as_bytes()]))),
    };
    RecordBatch::try_from_iter([(name, column)]).expect("one column of one row")
}

enum Unknown<'a> {
    Reject,
    Drop,
    Collect(&'a mut String),
}

/// The fields of documents of one place.
struct Columns {
    names: Vec<String>,
    places: HashMap<String, usize>,
    builders: Vec<Builder>,
    /// By column: the last document that had it, counted from 1.
    seen: Vec<u64>,
    document: u64,
    fields: Fields,
}

impl Columns {
    fn new(kinds: &IndexMap<String, Kind>) -> Self {
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
    fn push(&mut self, document: &RawDocument, mut unknown: Unknown<'_>, nested: UnknownFields) -> Result<(), Misfit> {
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
                    Unknown::Reject => {
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

    fn finish(&mut self, rows: usize) -> Vec<ArrayRef> {
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
                let policy = if unknown == UnknownFields::Drop { Unknown::Drop } else { Unknown::Reject };
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

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use bson::{Bson, RawDocumentBuf, doc};

    use super::*;
    use crate::kind::Nested;

    fn kinds(documents: &[bson::Document]) -> IndexMap<String, Kind> {
        let mut kind = Kind::Struct(IndexMap::new());
        for document in documents {
            kind.see(&RawDocumentBuf::try_from(document).unwrap(), Nested::Columns, 0);
        }
        match kind.settled() {
            Kind::Struct(fields) => fields,
            _ => IndexMap::new(),
        }
    }

    fn decode(
        kinds: &IndexMap<String, Kind>,
        unknown: UnknownFields,
        documents: &[bson::Document],
    ) -> (RecordBatch, Vec<Refused>) {
        let mut decoder = Decoder::new(kinds, unknown);
        for document in documents {
            decoder.push(&RawDocumentBuf::try_from(document).unwrap());
        }
        decoder.finish().unwrap()
    }

    #[test]
    fn a_document_that_does_not_fit_costs_no_other() {
        let kinds = kinds(&[doc! {"a": 1i64, "b": {"c": ["x"]}}]);
        let documents = [
            doc! {"a": 1i64, "b": {"c": ["x", Bson::Null]}},
            doc! {"a": "text", "b": Bson::Null},
            doc! {"b": {"c": []}},
            doc! {"a": 2i64, "b": {"c": ["x", 7]}},
            doc! {"a": 2i64, "extra": 1},
            doc! {"a": 2i64, "b": {"d": 1}},
            doc! {"a": 3.0},
            doc! {"a": 3.5},
        ];
        let (batch, refused) = decode(&kinds, UnknownFields::Reject, &documents);
        assert_eq!(
            batch.column(0).as_primitive::<arrow_array::types::Int64Type>().iter().collect::<Vec<_>>(),
            [Some(1), None, Some(3)]
        );
        let reasons: Vec<_> = refused.iter().map(|refused| refused.reason.clone()).collect();
        assert_eq!(
            reasons,
            [
                "field `a`: a value of type String in a column of integer",
                "field `b.c.1`: a value of type Int32 in a column of text",
                "field `extra`: no column takes it",
                "field `b.d`: no column takes it",
                "field `a`: a value of type Double in a column of integer",
            ]
        );
        let document = refused[2].document.column(0).as_string::<i32>().value(0);
        assert_eq!(document, r#"{"a":{"$numberLong":"2"},"extra":{"$numberInt":"1"}}"#);
    }

    #[test]
    fn what_no_column_takes_is_gathered_or_left_out() {
        let kinds = kinds(&[doc! {"a": 1}]);
        let documents = [doc! {"a": 1, "x": [1], "y": "t"}, doc! {"a": 2}];
        let (batch, refused) = decode(&kinds, UnknownFields::Collect, &documents);
        assert!(refused.is_empty());
        assert_eq!(batch.column(1).as_string::<i32>().iter().collect::<Vec<_>>(), [Some(r#"{"x":[1],"y":"t"}"#), None]);
        let (batch, refused) = decode(&kinds, UnknownFields::Drop, &documents);
        assert_eq!((batch.num_rows(), batch.num_columns(), refused.len()), (2, 1, 0));
    }

    #[test]
    fn hostile_documents_are_refused_or_kept_and_never_lost() {
        let kinds = kinds(&[doc! {"a": 1, "j": [1, "x"]}]);
        let mut decoder = Decoder::new(&kinds, UnknownFields::Reject);
        let mut twice = RawDocumentBuf::new();
        twice.append(bson::raw::cstr!("a"), 1);
        twice.append(bson::raw::cstr!("a"), 2);
        decoder.push(&twice);
        let mut deep = bson::RawArrayBuf::new();
        for _ in 0..5000 {
            let mut outer = bson::RawArrayBuf::new();
            outer.push(deep);
            deep = outer;
        }
        let mut document = RawDocumentBuf::new();
        document.append(bson::raw::cstr!("j"), deep);
        decoder.push(&document);
        // A text that is no UTF-8, and a length that reaches beyond the end.
        for damaged in [&b"\x0e\0\0\0\x02a\0\x02\0\0\0\xff\0\0"[..], &b"\x0f\0\0\0\x02a\0\xff\0\0\0x\0\0\0"[..]] {
            decoder.push(RawDocument::from_bytes(damaged).unwrap());
        }
        let (batch, refused) = decoder.finish().unwrap();
        assert_eq!(batch.num_rows(), 0);
        let codes: Vec<_> = refused.iter().map(|refused| refused.code).collect();
        assert_eq!(codes, ["repeated_field", "too_deep", "bad_bson", "bad_bson"]);
        let columns: Vec<_> = refused.iter().map(|refused| refused.document.schema().field(0).name().clone()).collect();
        assert_eq!(columns, ["document", "bson", "bson", "bson"]);
    }
}
