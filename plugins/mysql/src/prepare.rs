//! Brings a stream's batch into the forms that the table takes, and finds the
//! rows that it would refuse or take for others.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Date64Type, Float32Type, Float64Type, Int16Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef, BooleanArray, Float32Array, Float64Array, new_null_array};
use arrow_cast::CastOptions;
use engine_sdk::database::shortened;
use engine_sdk::prelude::*;

use crate::target::{Form, Mapped};

/// The days of the years 0 to 9999, from 1970-01-01.
const DAYS: std::ops::RangeInclusive<i32> = -719_528..=2_932_896;
const DAY: i64 = 86_400_000_000;

/// Why a row is refused: a code and a reason.
type Reason = (&'static str, String);

/// Some rows, as they came and as they will be written.
pub struct Piece {
    /// As they came: what a dead letter keeps.
    pub original: RecordBatch,
    /// One array for each mapped column.
    pub arrays: Vec<ArrayRef>,
}

/// Prepares a batch. Rows that the table would refuse go to the engine as dead
/// letters and are not in the result.
pub fn prepare(batch: &RecordBatch, columns: &[Mapped], cx: &Context) -> Result<Piece> {
    let mut bad = BTreeMap::new();
    let mut arrays = vec![];
    for column in columns {
        let source = batch.column(column.place);
        let array = convert(source, column)?;
        refuse_nulls(source, &array, column, &mut bad);
        refuse_values(&array, column, &mut bad);
        arrays.push(array);
    }
    if bad.is_empty() {
        return Ok(Piece { original: batch.clone(), arrays });
    }
    for (row, (code, reason)) in &bad {
        cx.reject_rows(&batch.slice(*row, 1), code, reason)?;
    }
    let keep = BooleanArray::from((0..batch.num_rows()).map(|row| !bad.contains_key(&row)).collect::<Vec<_>>());
    let internal = |error| Error::internal(format!("refused rows cannot be taken out: {error}"));
    Ok(Piece {
        original: arrow_select::filter::filter_record_batch(batch, &keep).map_err(internal)?,
        arrays: arrays
            .iter()
            .map(|array| arrow_select::filter::filter(array, &keep).map_err(internal))
            .collect::<Result<_>>()?,
    })
}

/// A value that does not fit the new type becomes null.
fn convert(source: &ArrayRef, column: &Mapped) -> Result<ArrayRef> {
    let cast = |wanted: &DataType| {
        arrow_cast::cast_with_options(source, wanted, &CastOptions { safe: true, ..Default::default() })
            .map_err(|error| Error::config(format!("column `{}` cannot be converted: {error}", column.name)))
    };
    match source.data_type() {
        same if *same == column.arrow => Ok(source.clone()),
        DataType::Null => Ok(new_null_array(&column.arrow, source.len())),
        DataType::Dictionary(_, values) => convert(&cast(values)?, column),
        // Arrow does not look whether it still fits in microseconds.
        DataType::Date64 if matches!(column.arrow, DataType::Timestamp(..)) => Ok(Arc::new(
            source
                .as_primitive::<Date64Type>()
                .unary_opt::<_, TimestampMicrosecondType>(|milliseconds| milliseconds.checked_mul(1_000)),
        )),
        DataType::Float64 if column.arrow == DataType::Float32 => {
            Ok(Arc::new(source.as_primitive::<Float64Type>().unary_opt::<_, Float32Type>(narrowed)))
        }
        // By way of text: a division would not give the nearest number.
        from if from.is_decimal() && column.arrow == DataType::Float32 => {
            let texts = cast(&DataType::Utf8)?;
            let near =
                |text: &str| text.parse().ok().filter(|near: &f32| near.is_finite() && (*near != 0.0 || is_zero(text)));
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| near(text?)).collect::<Float32Array>()))
        }
        from if from.is_decimal() && column.arrow == DataType::Float64 => {
            let texts = cast(&DataType::Utf8)?;
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text?.parse().ok()).collect::<Float64Array>()))
        }
        _ => cast(&column.arrow),
    }
}

fn is_zero(decimal: &str) -> bool {
    !decimal.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// Digits may be lost, but not the whole number to an infinity or to zero.
fn narrowed(number: f64) -> Option<f32> {
    let narrow = number as f32;
    let fits = narrow.is_infinite() == number.is_infinite() && (narrow == 0.0) == (number == 0.0);
    fits.then_some(narrow)
}

fn refuse_nulls(source: &ArrayRef, array: &ArrayRef, column: &Mapped, bad: &mut BTreeMap<usize, Reason>) {
    if array.null_count() == 0 {
        return;
    }
    // A dictionary's keys can be valid and point at a null.
    let was_null = source.logical_nulls();
    let was_null = |row| was_null.as_ref().is_some_and(|nulls| nulls.is_null(row));
    for row in (0..array.len()).filter(|row| array.is_null(*row)) {
        if !was_null(row) {
            let value = shown(source, row);
            refuse(bad, row, "out_of_range", column, &format!("{value} does not fit {}", column.declared));
        } else if column.refuses_null {
            refuse(bad, row, "null", column, "null, and the table wants a value");
        }
    }
}

fn refuse(bad: &mut BTreeMap<usize, Reason>, row: usize, code: &'static str, column: &Mapped, what: &str) {
    bad.entry(row).or_insert_with(|| (code, format!("{}: {what}", column.name)));
}

fn refuse_values(array: &ArrayRef, column: &Mapped, bad: &mut BTreeMap<usize, Reason>) {
    let rows = (0..array.len()).filter(|row| array.is_valid(*row));
    match column.form {
        Form::Text if column.shape.is_some() => {
            let texts = array.as_string::<i32>();
            for row in rows.filter(|row| column.shape.as_ref().is_some_and(|shape| !shape.fits(texts.value(*row)))) {
                let what = format!("`{}` is no value of {}", shortened(texts.value(row)), column.declared);
                refuse(bad, row, "no_such_value", column, &what);
            }
        }
        Form::Text => {
            let Some(limit) = column.max_characters else { return };
            let texts = array.as_string::<i32>();
            for row in rows {
                let text = texts.value(row);
                if text.len() <= limit {
                    continue;
                }
                // Trailing spaces are cut off, as in any other INSERT.
                let characters = text.trim_end_matches(' ').chars().count();
                if characters > limit {
                    let what = format!("{characters} characters do not fit {}", column.declared);
                    refuse(bad, row, "too_long", column, &what);
                }
            }
        }
        // Only these are narrower than the Arrow type that they are brought to.
        Form::Integer { least, most }
            if column.declared.starts_with("mediumint") || column.declared.starts_with("bit") =>
        {
            for row in rows {
                let value = shown(array, row);
                if !value.parse::<i128>().is_ok_and(|number| (least..=most).contains(&number)) {
                    refuse(bad, row, "out_of_range", column, &format!("{value} does not fit {}", column.declared));
                }
            }
        }
        Form::Year => {
            let years = array.as_primitive::<Int16Type>();
            for row in rows {
                let year = years.value(row);
                if year != 0 && !(1901..=2155).contains(&year) {
                    refuse(bad, row, "out_of_range", column, &format!("{year} does not fit year"));
                }
            }
        }
        Form::Float => {
            let numbers = array.as_primitive::<Float32Type>();
            for row in rows.filter(|row| !numbers.value(*row).is_finite()) {
                refuse(bad, row, "no_such_value", column, "the database knows neither NaN nor infinities");
            }
        }
        Form::Double => {
            let numbers = array.as_primitive::<Float64Type>();
            for row in rows.filter(|row| !numbers.value(*row).is_finite()) {
                refuse(bad, row, "no_such_value", column, "the database knows neither NaN nor infinities");
            }
        }
        Form::Date => {
            let days = array.as_primitive::<Date32Type>();
            for row in rows.filter(|row| !DAYS.contains(&days.value(*row))) {
                refuse(bad, row, "out_of_range", column, "a date outside of the years 0 to 9999");
            }
        }
        Form::Moment => {
            let moments = array.as_primitive::<TimestampMicrosecondType>();
            let day = |row| i32::try_from(moments.value(row).div_euclid(DAY)).unwrap_or(i32::MAX);
            for row in rows.filter(|row| !DAYS.contains(&day(*row))) {
                refuse(bad, row, "out_of_range", column, "a moment outside of the years 0 to 9999");
            }
        }
        Form::Integer { .. } | Form::Decimal | Form::Bytes | Form::Time => {}
    }
}

fn shown(array: &ArrayRef, row: usize) -> String {
    arrow_cast::display::array_value_to_string(array, row).unwrap_or_else(|_| "a value".into())
}
