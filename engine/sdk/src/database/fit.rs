//! What a table takes of a batch: values in the columns' types, and rows that it would refuse.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date64Type, Float32Type, Float64Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Float32Array, Float64Array, RecordBatch, new_null_array};
use arrow_cast::{CastOptions, cast_with_options};
use arrow_schema::DataType;
use engine_abi::{Error, Result};

use crate::Context;

/// Some rows, as they came and as they will be written.
#[derive(Debug, Clone)]
pub struct Piece {
    /// As they came: what a dead letter keeps.
    pub original: RecordBatch,
    /// One array for each column that is written.
    pub arrays: Vec<ArrayRef>,
}

impl Piece {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.original.num_rows()
    }

    /// A part of the rows.
    #[must_use]
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        Self {
            original: self.original.slice(from, rows),
            arrays: self.arrays.iter().map(|array| array.slice(from, rows)).collect(),
        }
    }
}

/// Rows that a table would refuse or take for others, each with its first reason.
#[derive(Debug, Default)]
pub struct Misfits(BTreeMap<usize, (&'static str, String)>);

impl Misfits {
    /// Adds a row. `what` is wrong with its value in `column`.
    pub fn add(&mut self, row: usize, code: &'static str, column: &str, what: &str) {
        self.0.entry(row).or_insert_with(|| (code, format!("{column}: {what}")));
    }

    /// Adds rows whose value in `source` became none in `array`, since it does not fit
    /// what the column is `declared` as, and those that had none where it `refuses_null`.
    pub fn add_nulls(&mut self, source: &ArrayRef, array: &ArrayRef, column: &str, declared: &str, refuses_null: bool) {
        if array.null_count() == 0 {
            return;
        }
        // A dictionary's keys can be valid and point at a null.
        let was_null = source.logical_nulls();
        let was_null = |row| was_null.as_ref().is_some_and(|nulls| nulls.is_null(row));
        for row in (0..array.len()).filter(|row| array.is_null(*row)) {
            if !was_null(row) {
                self.add(row, "out_of_range", column, &format!("{} does not fit {declared}", shown(source, row)));
            } else if refuses_null {
                self.add(row, "null", column, "null, and the table wants a value");
            }
        }
    }

    /// Makes dead letters of these rows of a batch. Answers the others.
    pub fn take_out(self, batch: &RecordBatch, arrays: Vec<ArrayRef>, cx: &Context) -> Result<Piece> {
        if self.0.is_empty() {
            return Ok(Piece { original: batch.clone(), arrays });
        }
        for (row, (code, reason)) in &self.0 {
            cx.reject_rows(&batch.slice(*row, 1), code, reason)?;
        }
        let keep = BooleanArray::from((0..batch.num_rows()).map(|row| !self.0.contains_key(&row)).collect::<Vec<_>>());
        let internal = |error| Error::internal(format!("refused rows cannot be taken out: {error}"));
        Ok(Piece {
            original: arrow_select::filter::filter_record_batch(batch, &keep).map_err(internal)?,
            arrays: arrays
                .iter()
                .map(|array| arrow_select::filter::filter(array, &keep).map_err(internal))
                .collect::<Result<_>>()?,
        })
    }
}

/// A value for a reason.
pub fn shown(array: &ArrayRef, row: usize) -> String {
    arrow_cast::display::array_value_to_string(array, row).unwrap_or_else(|_| "a value".into())
}

/// The values of a stream's `column` in the type that a table wants. One that does not fit becomes none;
/// digits may be lost, but never a whole number to an infinity or to zero.
pub fn converted(source: &ArrayRef, wanted: &DataType, column: &str) -> Result<ArrayRef> {
    let cast = |wanted: &DataType| {
        cast_with_options(source, wanted, &CastOptions { safe: true, ..Default::default() })
            .map_err(|error| Error::config(format!("column `{column}` cannot be converted: {error}")))
    };
    match (source.data_type(), wanted) {
        (same, wanted) if same == wanted => Ok(Arc::clone(source)),
        (DataType::Null, wanted) => Ok(new_null_array(wanted, source.len())),
        (DataType::Dictionary(_, values), wanted) => converted(&cast(values)?, wanted, column),
        // Arrow does not look whether it still fits in microseconds.
        (DataType::Date64, DataType::Timestamp(..)) => Ok(Arc::new(
            source
                .as_primitive::<Date64Type>()
                .unary_opt::<_, TimestampMicrosecondType>(|milliseconds| milliseconds.checked_mul(1_000)),
        )),
        (DataType::Float64, DataType::Float32) => {
            Ok(Arc::new(source.as_primitive::<Float64Type>().unary_opt::<_, Float32Type>(narrowed)))
        }
        // By way of text: a division would not give the nearest number.
        (from, DataType::Float32) if from.is_decimal() => {
            let near =
                |text: &str| text.parse().ok().filter(|near: &f32| near.is_finite() && (*near != 0.0 || is_zero(text)));
            let texts = cast(&DataType::Utf8)?;
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| near(text?)).collect::<Float32Array>()))
        }
        (from, DataType::Float64) if from.is_decimal() => {
            let texts = cast(&DataType::Utf8)?;
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text?.parse().ok()).collect::<Float64Array>()))
        }
        (_, wanted) => cast(wanted),
    }
}

fn is_zero(decimal: &str) -> bool {
    !decimal.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

fn narrowed(number: f64) -> Option<f32> {
    let narrow = number as f32;
    let fits = narrow.is_infinite() == number.is_infinite() && (narrow == 0.0) == (number == 0.0);
    fits.then_some(narrow)
}

#[cfg(test)]
mod tests {
    use arrow_array::{Date64Array, Decimal128Array, DictionaryArray, Int32Array};

    use super::*;

    fn as_real(source: ArrayRef) -> Vec<Option<f32>> {
        let real = converted(&source, &DataType::Float32, "cost").unwrap();
        real.as_primitive::<Float32Type>().iter().collect()
    }

    #[test]
    fn a_number_too_large_or_too_small_for_the_type_becomes_none() {
        let numbers: ArrayRef = Arc::new(Float64Array::from(vec![1e300, 1e-300, 0.5, -0.0, f64::INFINITY]));
        let expected = [None, None, Some(0.5), Some(-0.0), Some(f32::INFINITY)];
        assert_eq!(as_real(Arc::clone(&numbers)), expected);
        let keys = Int32Array::from(vec![0, 1, 2, 3, 4]);
        assert_eq!(as_real(Arc::new(DictionaryArray::new(keys, numbers))), expected);
        let tiny = |digits: i128, scale: i8| -> ArrayRef {
            Arc::new(Decimal128Array::from(vec![digits]).with_precision_and_scale(38, scale).unwrap())
        };
        assert_eq!(
            (as_real(tiny(1, 38)), as_real(tiny(0, 38)), as_real(tiny(25, 1))),
            (vec![Some(1e-38)], vec![Some(0.0)], vec![Some(2.5)])
        );
        let far: ArrayRef = Arc::new(Date64Array::from(vec![i64::MAX, 1]));
        let micros = DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, None);
        assert_eq!(converted(&far, &micros, "at").unwrap().null_count(), 1);
    }

    #[test]
    fn a_row_has_its_first_reason_and_nulls_are_told_from_values_that_do_not_fit() {
        let source: ArrayRef = Arc::new(Float64Array::from(vec![Some(1e300), None, Some(1.0)]));
        let array = converted(&source, &DataType::Float32, "cost").unwrap();
        let mut misfits = Misfits::default();
        misfits.add_nulls(&source, &array, "cost", "real", true);
        misfits.add(0, "other", "cost", "never seen");
        let reasons: Vec<_> = misfits.0.values().map(|(code, reason)| (*code, reason.as_str())).collect();
        assert_eq!(
            reasons,
            [("out_of_range", "cost: 1e300 does not fit real"), ("null", "cost: null, and the table wants a value")]
        );
    }
}
