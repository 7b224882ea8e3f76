//! A column's values in another type, exactly or not at all.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use arrow_array::{Array, ArrayRef, Float64Array, new_empty_array};
use arrow_cast::cast;
use arrow_schema::DataType;
use engine_sdk::Result;
use engine_sdk::columns::{Cells, ColumnType, RowBuilder, Value};

use crate::shown::shown;

/// Why a row is refused: a word to group by, and a sentence.
pub type Refusal = (&'static str, String);

/// Turns columns of one type into columns of another, by way of what they are as text.
pub struct Conversion {
    column: String,
    to: ColumnType,
}

impl Conversion {
    /// Fails at once where no value of the type could be converted.
    pub fn new(column: &str, from: &DataType, to: ColumnType) -> Result<Self> {
        Cells::new(&new_empty_array(from)).map_err(|error| error.context(format_args!("column `{column}`")))?;
        Ok(Self { column: column.to_owned(), to })
    }

    /// The column in its new type. A value that is none of it is null there, and its row is refused.
    pub fn apply(&self, column: &ArrayRef, refused: &mut [Option<Refusal>]) -> Result<ArrayRef> {
        let cells = Cells::new(column)?;
        let floats = match (column.data_type(), self.to) {
            (_, ColumnType::Text) => None,
            (DataType::Float16 | DataType::Float32 | DataType::Float64, _) => {
                Some(cast(column, &DataType::Float64)?.as_primitive::<Float64Type>().clone())
            }
            _ => None,
        };
        let mut rows = RowBuilder::new([(self.column.as_str(), self.to)]);
        let mut text = String::new();
        for (row, refusal) in refused.iter_mut().enumerate() {
            if cells.is_null(row) {
                rows.push(&[Value::Null]);
                continue;
            }
            write(&cells, floats.as_ref(), row, &mut text)?;
            match self.to.read(&text) {
                Ok(value) => rows.push(&[value]),
                Err(why) => {
                    rows.push(&[Value::Null]);
                    let reason = format!("{} in the column `{}` {}", shown(&text), self.column, why.reason);
                    refusal.get_or_insert((why.code, reason));
                }
            }
        }
        Ok(ArrayRef::clone(rows.finish()?.column(0)))
    }
}

/// The text of a value, as the formats write it.
fn write(cells: &Cells, floats: Option<&Float64Array>, row: usize, text: &mut String) -> Result<()> {
    text.clear();
    if let Some(floats) = floats {
        // In full digits: a whole number is the text of one, however large.
        let _ = write!(text, "{}", floats.value(row));
        return Ok(());
    }
    let mut bytes = std::mem::take(text).into_bytes();
    cells.write(row, b'T', &mut bytes);
    *text = String::from_utf8(bytes).map_err(|_| engine_sdk::Error::internal("a value's text is not UTF-8"))?;
    Ok(())
}
