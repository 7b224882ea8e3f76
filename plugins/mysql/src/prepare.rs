//! Brings a stream's batch into the forms that the table takes, and finds the
//! rows that it would refuse or take for others.

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float32Type, Float64Type, Int16Type, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use engine_sdk::database::{Misfits, Piece, converted, shortened, shown};
use engine_sdk::prelude::*;

use crate::target::{Form, Mapped};

/// The days of the years 0 to 9999, from 1970-01-01.
const DAYS: std::ops::RangeInclusive<i32> = -719_528..=2_932_896;
const DAY: i64 = 86_400_000_000;

/// Prepares a batch. Rows that the table would refuse go to the engine as dead
/// letters and are not in the result.
pub fn prepare(batch: &RecordBatch, columns: &[Mapped], cx: &Context) -> Result<Piece> {
    let mut misfits = Misfits::default();
    let mut arrays = vec![];
    for column in columns {
        let source = batch.column(column.place);
        let array = converted(source, &column.arrow, &column.name)?;
        misfits.add_nulls(source, &array, &column.name, &column.declared, column.refuses_null);
        refuse_values(&array, column, &mut misfits);
        arrays.push(array);
    }
    misfits.take_out(batch, arrays, cx)
}

fn refuse_values(array: &ArrayRef, column: &Mapped, misfits: &mut Misfits) {
    let rows = (0..array.len()).filter(|row| array.is_valid(*row));
    match column.form {
        Form::Text if column.shape.is_some() => {
            let texts = array.as_string::<i32>();
            for row in rows.filter(|row| column.shape.as_ref().is_some_and(|shape| !shape.fits(texts.value(*row)))) {
                let what = format!("`{}` is no value of {}", shortened(texts.value(row)), column.declared);
                misfits.add(row, "no_such_value", &column.name, &what);
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
                    misfits.add(row, "too_long", &column.name, &what);
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
                    misfits.add(
                        row,
                        "out_of_range",
                        &column.name,
                        &format!("{value} does not fit {}", column.declared),
                    );
                }
            }
        }
        Form::Year => {
            let years = array.as_primitive::<Int16Type>();
            for row in rows {
                let year = years.value(row);
                if year != 0 && !(1901..=2155).contains(&year) {
                    misfits.add(row, "out_of_range", &column.name, &format!("{year} does not fit year"));
                }
            }
        }
        Form::Float => {
            let numbers = array.as_primitive::<Float32Type>();
            for row in rows.filter(|row| !numbers.value(*row).is_finite()) {
                misfits.add(row, "no_such_value", &column.name, "the database knows neither NaN nor infinities");
            }
        }
        Form::Double => {
            let numbers = array.as_primitive::<Float64Type>();
            for row in rows.filter(|row| !numbers.value(*row).is_finite()) {
                misfits.add(row, "no_such_value", &column.name, "the database knows neither NaN nor infinities");
            }
        }
        Form::Date => {
            let days = array.as_primitive::<Date32Type>();
            for row in rows.filter(|row| !DAYS.contains(&days.value(*row))) {
                misfits.add(row, "out_of_range", &column.name, "a date outside of the years 0 to 9999");
            }
        }
        Form::Moment => {
            let moments = array.as_primitive::<TimestampMicrosecondType>();
            let day = |row| i32::try_from(moments.value(row).div_euclid(DAY)).unwrap_or(i32::MAX);
            for row in rows.filter(|row| !DAYS.contains(&day(*row))) {
                misfits.add(row, "out_of_range", &column.name, "a moment outside of the years 0 to 9999");
            }
        }
        Form::Integer { .. } | Form::Decimal | Form::Bytes | Form::Time => {}
    }
}
