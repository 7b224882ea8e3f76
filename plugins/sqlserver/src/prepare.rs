//! Brings a stream's batch into the forms that the table takes, and finds the
//! rows that it would refuse or take for others.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef, BooleanArray, Float32Array, Float64Array, new_null_array};
use arrow_cast::CastOptions;
use arrow_schema::TimeUnit;
use engine_sdk::database::shortened;
use engine_sdk::prelude::*;

use crate::target::{Form, Limit, Mapped};

/// The days of the years 1 to 9999, from 1970-01-01.
const DAYS: RangeInclusive<i64> = -719_162..=2_932_896;
/// Those of 1753 to 9999.
const DATETIME: RangeInclusive<i64> = -79_256..=2_932_896;
/// From 1900-01-01 to 2079-06-05: half a minute before the end of the next day it would be rounded beyond its last.
const SMALLDATETIME: RangeInclusive<i64> = -25_567..=39_968;
/// In microseconds.
const DAY: i64 = 86_400_000_000;
const UTF8: u16 = 65_001;

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
            let near = |text: &str| text.parse::<f32>().ok().filter(|near| near.is_finite());
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| near(text?)).collect::<Float32Array>()))
        }
        from if from.is_decimal() && column.arrow == DataType::Float64 => {
            let texts = cast(&DataType::Utf8)?;
            Ok(Arc::new(texts.as_string::<i32>().iter().map(|text| text?.parse().ok()).collect::<Float64Array>()))
        }
        _ => cast(&column.arrow),
    }
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
        Form::Text => {
            let texts = array.as_string::<i32>();
            for row in rows {
                if let Some((code, what)) = wrong_text(texts.value(row), column) {
                    refuse(bad, row, code, column, &what);
                }
            }
        }
        Form::Bytes => {
            let Limit::Bytes(limit) = column.limit else { return };
            let bytes = array.as_binary::<i32>();
            for row in rows.filter(|row| bytes.value(*row).len() > limit) {
                let what = format!("{} bytes do not fit {}", bytes.value(row).len(), column.declared);
                refuse(bad, row, "too_long", column, &what);
            }
        }
        Form::Whole { least, most } => {
            let numbers = array.as_primitive::<Int64Type>();
            for row in rows.filter(|row| !(least..=most).contains(&numbers.value(*row))) {
                let what = format!("{} does not fit {}", numbers.value(row), column.declared);
                refuse(bad, row, "out_of_range", column, &what);
            }
        }
        Form::Real => {
            let numbers = array.as_primitive::<Float32Type>();
            for row in rows.filter(|row| !numbers.value(*row).is_finite()) {
                refuse(bad, row, "no_such_value", column, "the database knows neither NaN nor infinities");
            }
        }
        Form::Float => {
            let numbers = array.as_primitive::<Float64Type>();
            for row in rows.filter(|row| !numbers.value(*row).is_finite()) {
                refuse(bad, row, "no_such_value", column, "the database knows neither NaN nor infinities");
            }
        }
        Form::Date => {
            let days = array.as_primitive::<Date32Type>();
            for row in rows.filter(|row| !DAYS.contains(&days.value(*row).into())) {
                refuse(bad, row, "out_of_range", column, "a date outside of the years 1 to 9999");
            }
        }
        Form::Moment | Form::Offset => {
            let (days, range) = match column.data_type.as_str() {
                "datetime" => (DATETIME, "the years 1753 to 9999"),
                "smalldatetime" => (SMALLDATETIME, "1900-01-01 to 2079-06-05"),
                _ => (DAYS, "the years 1 to 9999"),
            };
            for row in rows.filter(|row| !moment_day(array, *row).is_some_and(|day| days.contains(&day))) {
                refuse(bad, row, "out_of_range", column, &format!("a moment outside of {range}"));
            }
        }
        Form::Bit | Form::Decimal(..) | Form::Time => {}
    }
}

/// The day of a moment, from 1970-01-01.
fn moment_day(array: &ArrayRef, row: usize) -> Option<i64> {
    match array.data_type() {
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            Some(array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(DAY * 1_000))
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            Some(array.as_primitive::<TimestampMicrosecondType>().value(row).div_euclid(DAY))
        }
        _ => None,
    }
}

/// Why a text cannot go into a column, if it cannot.
fn wrong_text(text: &str, column: &Mapped) -> Option<Reason> {
    if let Some(shape) = column.shape {
        return (!shape.fits(text))
            .then(|| ("no_such_value", format!("`{}` is no value of {}", shortened(text), column.declared)));
    }
    if let Some(page) = column.code_page
        && let Err(character) = stored(text, page)
    {
        // The server would store a question mark, without a word.
        return Some(("no_such_value", format!("code page {page} of {} has no `{character}`", column.declared)));
    }
    // Trailing spaces are cut off, as in any other INSERT.
    let kept = text.trim_end_matches(' ');
    let (length, limit, unit) = match column.limit {
        Limit::None => return None,
        Limit::Units(limit) => (kept.encode_utf16().count(), limit, "characters"),
        Limit::Bytes(limit) => (stored(kept, column.code_page.unwrap_or(UTF8)).unwrap_or(0), limit, "bytes"),
    };
    (length > limit).then(|| ("too_long", format!("{length} {unit} do not fit {}", column.declared)))
}

/// In how many bytes a text is stored in a code page, or the character that it has no place for. Of pages that are
/// not known only ASCII is.
fn stored(text: &str, page: u16) -> std::result::Result<usize, char> {
    if text.is_ascii() || page == UTF8 {
        return Ok(text.len());
    }
    let encoding = match page {
        874 => encoding_rs::WINDOWS_874,
        932 => encoding_rs::SHIFT_JIS,
        936 => encoding_rs::GBK,
        949 => encoding_rs::EUC_KR,
        950 => encoding_rs::BIG5,
        1250 => encoding_rs::WINDOWS_1250,
        1251 => encoding_rs::WINDOWS_1251,
        1252 => encoding_rs::WINDOWS_1252,
        1253 => encoding_rs::WINDOWS_1253,
        1254 => encoding_rs::WINDOWS_1254,
        1255 => encoding_rs::WINDOWS_1255,
        1256 => encoding_rs::WINDOWS_1256,
        1257 => encoding_rs::WINDOWS_1257,
        1258 => encoding_rs::WINDOWS_1258,
        _ => return Err(text.chars().find(|character| !character.is_ascii()).unwrap_or_default()),
    };
    let mut encoder = encoding.new_encoder();
    let most = encoder.max_buffer_length_from_utf8_without_replacement(text.len()).unwrap_or(usize::MAX);
    let mut bytes = Vec::with_capacity(most);
    match encoder.encode_from_utf8_to_vec_without_replacement(text, &mut bytes, true).0 {
        encoding_rs::EncoderResult::Unmappable(character) => Err(character),
        _ => Ok(bytes.len()),
    }
}

fn shown(array: &ArrayRef, row: usize) -> String {
    arrow_cast::display::array_value_to_string(array, row).unwrap_or_else(|_| "a value".into())
}
