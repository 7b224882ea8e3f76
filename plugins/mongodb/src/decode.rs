//! Documents into batches, straight from BSON.

use std::sync::Arc;

use arrow_array::builder::StringBuilder;
use arrow_array::{ArrayRef, BinaryArray, BooleanArray, RecordBatch, RecordBatchOptions, StringArray};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::filter::filter_record_batch;
use bson::raw::RawDocument;
use engine_sdk::prelude::*;
use indexmap::IndexMap;

use crate::columns::{Columns, Unknown, UnknownFields};
use crate::json::{self, Form};
use crate::kind::{Kind, arrow_fields};

/// The column of the fields that no other column takes.
pub const REST: &str = "_rest";

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
            UnknownFields::Reject => Unknown::Reject { but: "_id" },
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
