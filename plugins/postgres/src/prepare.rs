//! Brings a stream's batch into the forms that the table takes, and finds the
//! rows that it would refuse.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Date64Type, Float32Type, Float64Type, TimestampMicrosecondType};
use arrow_array::{ArrayRef, BooleanArray, Float32Array, Float64Array, new_null_array};
use arrow_cast::CastOptions;
use engine_postgres_copy::{EPOCH_DAYS, EPOCH_MICROSECONDS, Form};
use engine_sdk::database::shortened;
use engine_sdk::prelude::*;

use crate::decimal;
use crate::target::Mapped;

/// The first and the last day of PostgreSQL's `date`, in days from 2000-01-01.
const DAYS: std::ops::RangeInclusive<i32> = -2_451_545..=2_145_031_948;
/// The first and the last moment of its `timestamp`, in microseconds from 2000-01-01.
const MOMENTS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// Why a row is refused: a code and a reason.
pub type Reason = (&'static str, String);

/// Some rows, as they came and as they will be written.
#[derive(Debug, Clone)]
pub struct Piece {
    /// As they came: what a dead letter keeps.
    pub original: RecordBatch,
    /// One array for each mapped column.
    pub arrays: Vec<ArrayRef>,
}

impl Piece {
    /// How many rows.
    pub fn rows(&self) -> usize {
        self.original.num_rows()
    }

    /// A part of the rows.
    pub fn slice(&self, from: usize, rows: usize) -> Self {
        Self {
            original: self.original.slice(from, rows),
            arrays: self.arrays.iter().map(|array| array.slice(from, rows)).collect(),
        }
    }
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
        // By way of text, as PostgreSQL does it: a division would not give the nearest number.
        from if from.is_decimal() && column.arrow == DataType::Float32 => {
            let near =
                |text: &str| text.parse().ok().filter(|near: &f32| near.is_finite() && (*near != 0.0 || is_zero(text)));
            let texts = cast(&DataType::Utf8)?;
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text.and_then(near)).collect::<Float32Array>()))
        }
        from if from.is_decimal() && column.arrow == DataType::Float64 => {
            let texts = cast(&DataType::Utf8)?;
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text?.parse().ok()).collect::<Float64Array>()))
        }
        from if decimal::is_rescaled_here(from, &column.arrow) => decimal::rescaled(source, &column.arrow)
            .map_err(|error| Error::config(format!("column `{}` cannot be converted: {error}", column.name))),
        _ => cast(&column.arrow),
    }
}

fn is_zero(decimal: &str) -> bool {
    !decimal.bytes().any(|byte| matches!(byte, b'1'..=b'9'))
}

/// As PostgreSQL does it: digits may be lost, but not the whole number to an infinity or to zero.
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
    match column.form {
        // Nearly always all of them are fine, which is seen in a look at all of them together.
        Form::Text | Form::Jsonb if texts_fit(array, column.max_characters) => {}
        Form::Timestamp if moments_fit(array) => {}
        Form::Text => {
            for (row, text) in texts(array) {
                if text.as_bytes().contains(&0) {
                    refuse(bad, row, "nul_byte", column, "text with a NUL byte, which PostgreSQL does not take");
                } else if let Some(limit) = column.max_characters.filter(|limit| text.len() > *limit) {
                    // Trailing spaces are cut off, as in any other INSERT.
                    let characters = text.trim_end_matches(' ').chars().count();
                    if characters > limit {
                        let what = format!("{characters} characters do not fit {}", short(&column.declared));
                        refuse(bad, row, "too_long", column, &what);
                    }
                }
            }
        }
        Form::Jsonb => {
            for (row, text) in texts(array) {
                if text.as_bytes().contains(&0) {
                    refuse(bad, row, "nul_byte", column, "text with a NUL byte, which PostgreSQL does not take");
                }
            }
        }
        Form::Uuid => {
            for (row, text) in texts(array) {
                if uuid::Uuid::try_parse(text).is_err() {
                    refuse(bad, row, "bad_uuid", column, &format!("`{}` is not a uuid", shortened(text)));
                }
            }
        }
        Form::Date => {
            let array = array.as_primitive::<Date32Type>();
            for (row, day) in array.iter().enumerate() {
                if day.is_some_and(|day| !day.checked_sub(EPOCH_DAYS).is_some_and(|day| DAYS.contains(&day))) {
                    refuse(bad, row, "out_of_range", column, "a date outside of what PostgreSQL's date holds");
                }
            }
        }
        Form::Timestamp => {
            let array = array.as_primitive::<TimestampMicrosecondType>();
            for (row, moment) in array.iter().enumerate() {
                if moment.is_some_and(|moment| !moment_fits(moment)) {
                    refuse(bad, row, "out_of_range", column, "a moment outside of what PostgreSQL's timestamp holds");
                }
            }
        }
        _ => {}
    }
}

/// Whether no text has a NUL byte or more bytes than characters fit. What stands at nulls is looked at too.
fn texts_fit(array: &ArrayRef, characters: Option<usize>) -> bool {
    let array = array.as_string::<i32>();
    let offsets = array.value_offsets();
    let bytes = &array.value_data()[offsets[0] as usize..offsets[array.len()] as usize];
    let limit = characters.map_or(i32::MAX, |limit| i32::try_from(limit).unwrap_or(i32::MAX));
    !bytes.contains(&0) && offsets.windows(2).all(|pair| pair[1] - pair[0] <= limit)
}

/// The same of the moments of a timestamp.
fn moments_fit(array: &ArrayRef) -> bool {
    array.as_primitive::<TimestampMicrosecondType>().values().iter().all(|moment| moment_fits(*moment))
}

fn moment_fits(moment: i64) -> bool {
    moment.checked_sub(EPOCH_MICROSECONDS).is_some_and(|moment| MOMENTS.contains(&moment))
}

fn texts(array: &ArrayRef) -> impl Iterator<Item = (usize, &str)> {
    array.as_string::<i32>().iter().enumerate().filter_map(|(row, text)| Some((row, text?)))
}

/// `character varying` is nobody's word for it.
fn short(declared: &str) -> String {
    declared.replace("character varying", "varchar").replace("character", "char")
}

fn shown(array: &ArrayRef, row: usize) -> String {
    arrow_cast::display::array_value_to_string(array, row).unwrap_or_else(|_| "a value".into())
}
