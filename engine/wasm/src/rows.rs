//! Rows on their way into a guest and out of it, in the form that its manifest
//! asks for.

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use engine_abi::ipc::{Decoder, Encoder};
use engine_abi::{Result, RowForm};

use crate::json_rows;

/// Writes batches for a guest.
pub enum Writer {
    /// As pieces of an Arrow IPC stream.
    Arrow(Box<Encoder>),
    /// As arrays of objects.
    Json,
}

impl Writer {
    /// A writer, and the schema as the guest gets it.
    pub fn new(form: RowForm, schema: &Schema) -> Result<(Self, Vec<u8>)> {
        match form {
            RowForm::Arrow => {
                let (encoder, piece) = Encoder::new(schema)?;
                Ok((Self::Arrow(Box::new(encoder)), piece))
            }
            RowForm::Json => Ok((Self::Json, json_rows::write_schema(schema)?)),
        }
    }

    /// A batch as the guest gets it.
    pub fn batch(&mut self, batch: &RecordBatch) -> Result<Vec<u8>> {
        match self {
            Self::Arrow(encoder) => encoder.batch(batch),
            Self::Json => json_rows::write(batch),
        }
    }
}

/// Reads what a guest gives; nothing of it is trusted.
pub enum Rows {
    /// As pieces of an Arrow IPC stream.
    Arrow(Decoder),
    /// As arrays of objects.
    Json(SchemaRef),
}

impl Rows {
    /// Begins with the schema that the guest announced.
    pub fn new(form: RowForm, schema: Vec<u8>) -> Result<Self> {
        match form {
            RowForm::Arrow => Decoder::new(schema).map(Self::Arrow),
            RowForm::Json => json_rows::read_schema(&schema).map(Self::Json),
        }
    }

    /// The columns of every batch.
    pub fn schema(&self) -> SchemaRef {
        match self {
            Self::Arrow(decoder) => decoder.schema(),
            Self::Json(schema) => SchemaRef::clone(schema),
        }
    }

    /// One batch; none where an array holds no rows.
    pub fn batch(&mut self, bytes: Vec<u8>) -> Result<Option<RecordBatch>> {
        match self {
            Self::Arrow(decoder) => decoder.batch(bytes).map(Some),
            Self::Json(schema) => json_rows::read(&bytes, schema),
        }
    }
}
