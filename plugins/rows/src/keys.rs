//! Rows that are compared by the values of some of their columns.

use std::sync::Arc;

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_row::{RowConverter, Rows, SortField};
use engine_sdk::prelude::*;

/// Encodes the values of some columns: two rows have the same bytes where they have the same values, and only there.
/// No value is the same as no value.
pub struct Keys {
    columns: Vec<usize>,
    converter: RowConverter,
}

impl Keys {
    /// Fails where values of a column's type cannot be compared.
    pub fn new(schema: &Schema, columns: Vec<usize>) -> Result<Self> {
        let mut fields = Vec::with_capacity(columns.len());
        for at in &columns {
            let field = schema.field(*at);
            let sorted = SortField::new(field.data_type().clone());
            if !RowConverter::supports_fields(std::slice::from_ref(&sorted)) {
                let what = format!("values of the column `{}` cannot be compared: {}", field.name(), field.data_type());
                return Err(Error::config(what).hint("name other columns under `key`"));
            }
            fields.push(sorted);
        }
        Ok(Self { columns, converter: RowConverter::new(fields)? })
    }

    /// Where the columns stand.
    pub fn columns(&self) -> &[usize] {
        &self.columns
    }

    /// The keys of a batch's rows.
    pub fn of(&self, batch: &RecordBatch) -> Result<Rows> {
        let columns: Vec<_> = self.columns.iter().map(|at| one_zero(batch.column(*at))).collect();
        Ok(self.converter.convert_columns(&columns)?)
    }
}

/// A column of numbers in which zero has no sign: `-0.0` and `0.0` are the same number.
fn one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => Arc::new(
            column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|it| if it == 0.0 { 0.0 } else { it }),
        ),
        DataType::Float64 => Arc::new(
            column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|it| if it == 0.0 { 0.0 } else { it }),
        ),
        _ => ArrayRef::clone(column),
    }
}
