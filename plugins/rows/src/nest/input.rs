//! The columns that documents are made of, in types that can be put together again.

use std::sync::Arc;

use arrow_array::{ArrayRef, NullArray, RecordBatch, RecordBatchOptions};
use arrow_cast::cast;
use engine_sdk::prelude::*;

/// The same columns without dictionaries and views: of several batches of those no single one can always be made.
pub fn plain(schema: &Schema) -> Schema {
    let fields = schema.fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_data_type(plain_type(field.data_type())));
    Schema::new(fields.collect::<Vec<_>>())
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::RunEndEncoded(_, values) => plain_type(values.data_type()),
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}

/// Makes batches of what comes, in which the columns that are used are plain and the others take no room.
pub struct Input {
    schema: SchemaRef,
    used: Vec<bool>,
}

impl Input {
    /// `schema` is plain already.
    pub fn new(schema: &Schema, used: &[usize]) -> Self {
        let used: Vec<_> = (0..schema.fields().len()).map(|at| used.contains(&at)).collect();
        let fields = schema.fields().iter().zip(&used).map(|(field, used)| {
            let data_type = if *used { field.data_type().clone() } else { DataType::Null };
            Field::new(field.name(), data_type, true)
        });
        Self { schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())), used }
    }

    /// The columns of the batches that are kept.
    pub fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }

    /// A batch as it is kept.
    pub fn take(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = self.schema.fields().iter().zip(batch.columns()).zip(&self.used);
        let columns = columns.map(|((field, column), used)| -> Result<ArrayRef> {
            Ok(match used {
                false => Arc::new(NullArray::new(batch.num_rows())),
                true if field.data_type() == column.data_type() => ArrayRef::clone(column),
                true => cast(column, field.data_type())?,
            })
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let count = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &count)?)
    }
}
