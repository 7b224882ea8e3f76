//! What comes out of a query, in the types that sinks take.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::{ArrowError, DataType, FieldRef, Fields, Schema, SchemaRef};
use engine_sdk::Result;

use crate::error::two_columns;

/// The columns that go on.
#[derive(Debug, Clone)]
pub struct Output {
    pub schema: SchemaRef,
    is_same: bool,
}

impl Output {
    /// Of a query that gives these columns.
    pub fn new(given: &Schema) -> Result<Self> {
        let mut names = BTreeSet::new();
        if let Some(twice) = given.fields().iter().find(|field| !names.insert(field.name().as_str())) {
            return Err(two_columns(twice.name()));
        }
        // Whether a value may be missing is what an expression may do, not what a sink should count on.
        let fields: Vec<_> = given.fields().iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
        let fields: Vec<_> = fields.into_iter().map(|field| taken(&Arc::new(field))).collect();
        let is_same = fields.iter().zip(given.fields()).all(|(to, from)| to.data_type() == from.data_type());
        Ok(Self { schema: Arc::new(Schema::new(fields)), is_same })
    }

    /// Rows of the query as they go on.
    pub fn convert(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let mut columns = rows.columns().to_vec();
        if !self.is_same {
            let exactly = CastOptions { safe: false, ..CastOptions::default() };
            for (column, field) in columns.iter_mut().zip(self.schema.fields()) {
                if column.data_type() != field.data_type() {
                    *column = cast_with_options(column, field.data_type(), &exactly)?;
                }
            }
        }
        self.batch(columns, rows.num_rows())
    }

    fn batch(&self, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch, ArrowError> {
        let count = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), columns, &count)
    }
}

/// The column as sinks take it: one form of text, one of bytes, one of lists.
fn taken(field: &FieldRef) -> FieldRef {
    let to = taken_type(field.data_type());
    if to == *field.data_type() { Arc::clone(field) } else { Arc::new(field.as_ref().clone().with_data_type(to)) }
}

fn taken_type(of: &DataType) -> DataType {
    match of {
        DataType::Utf8View | DataType::LargeUtf8 | DataType::Null => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => taken_type(values),
        DataType::RunEndEncoded(_, values) => taken_type(values.data_type()),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _) => DataType::List(taken(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(taken).collect::<Fields>()),
        other => other.clone(),
    }
}
