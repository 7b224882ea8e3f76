//! Brings a stream's batch into the forms that the table takes, and finds the
//! rows that it would refuse or take for others.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int64Type, TimestampMicrosecondType, TimestampNanosecondType,
};
use arrow_array::{Array, ArrayRef};
use arrow_schema::TimeUnit;
use engine_sdk::database::{Misfits, Piece, converted, shortened};
use engine_sdk::prelude::*;
use std::ops::RangeInclusive;

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
        Form::Text => {
            let texts = array.as_string::<i32>();
            for row in rows {
                if let Some((code, what)) = wrong_text(texts.value(row), column) {
                    misfits.add(row, code, &column.name, &what);
                }
            }
        }
        Form::Bytes => {
            let Limit::Bytes(limit) = column.limit else { return };
            let bytes = array.as_binary::<i32>();
            for row in rows.filter(|row| bytes.value(*row).len() > limit) {
                let what = format!("{} bytes do not fit {}", bytes.value(row).len(), column.declared);
                misfits.add(row, "too_long", &column.name, &what);
            }
        }
        Form::Whole { least, most } => {
            let numbers = array.as_primitive::<Int64Type>();
            for row in rows.filter(|row| !(least..=most).contains(&numbers.value(*row))) {
                let what = format!("{} does not fit {}", numbers.value(row), column.declared);
                misfits.add(row, "out_of_range", &column.name, &what);
            }
        }
        Form::Real => {
            let numbers = array.as_primitive::<Float32Type>();
            for row in rows.filter(|row| !numbers.value(*row).is_finite()) {
                misfits.add(row, "no_such_value", &column.name, "the database knows neither NaN nor infinities");
            }
        }
        Form::Float => {
            let numbers = array.as_primitive::<Float64Type>();
            for row in rows.filter(|row| !numbers.value(*row).is_finite()) {
                misfits.add(row, "no_such_value", &column.name, "the database knows neither NaN nor infinities");
            }
        }
        Form::Date => {
            let days = array.as_primitive::<Date32Type>();
            for row in rows.filter(|row| !DAYS.contains(&days.value(*row).into())) {
                misfits.add(row, "out_of_range", &column.name, "a date outside of the years 1 to 9999");
            }
        }
        Form::Moment | Form::Offset => {
            let (days, range) = match column.data_type.as_str() {
                "datetime" => (DATETIME, "the years 1753 to 9999"),
                "smalldatetime" => (SMALLDATETIME, "1900-01-01 to 2079-06-05"),
                _ => (DAYS, "the years 1 to 9999"),
            };
            for row in rows.filter(|row| !moment_day(array, *row).is_some_and(|day| days.contains(&day))) {
                misfits.add(row, "out_of_range", &column.name, &format!("a moment outside of {range}"));
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
