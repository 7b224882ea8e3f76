//! Brings a stream's batch into the forms that the table takes, and finds the
//! rows that it would refuse.

use arrow_array::ArrayRef;
use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, TimestampMicrosecondType};
use engine_postgres_copy::{EPOCH_DAYS, EPOCH_MICROSECONDS, Form};
use engine_sdk::database::{Misfits, Piece, converted, shortened};
use engine_sdk::prelude::*;

use crate::decimal;
use crate::target::Mapped;

/// The first and the last day of PostgreSQL's `date`, in days from 2000-01-01.
const DAYS: std::ops::RangeInclusive<i32> = -2_451_545..=2_145_031_948;
/// The first and the last moment of its `timestamp`, in microseconds from 2000-01-01.
const MOMENTS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// Prepares a batch. Rows that the table would refuse go to the engine as dead
/// letters and are not in the result.
pub fn prepare(batch: &RecordBatch, columns: &[Mapped], cx: &Context) -> Result<Piece> {
    let mut misfits = Misfits::default();
    let mut arrays = vec![];
    for column in columns {
        let source = batch.column(column.place);
        let array = convert(source, column)?;
        misfits.add_nulls(source, &array, &column.name, &column.declared, column.refuses_null);
        refuse_values(&array, column, &mut misfits);
        arrays.push(array);
    }
    misfits.take_out(batch, arrays, cx)
}

/// A value that does not fit the new type becomes null.
fn convert(source: &ArrayRef, column: &Mapped) -> Result<ArrayRef> {
    match source.data_type() {
        DataType::Dictionary(_, values) => convert(&converted(source, values, &column.name)?, column),
        from if decimal::is_rescaled_here(from, &column.arrow) => decimal::rescaled(source, &column.arrow)
            .map_err(|error| Error::config(format!("column `{}` cannot be converted: {error}", column.name))),
        _ => converted(source, &column.arrow, &column.name),
    }
}

fn refuse_values(array: &ArrayRef, column: &Mapped, misfits: &mut Misfits) {
    match column.form {
        // Nearly always all of them are fine, which is seen in a look at all of them together.
        Form::Text | Form::Jsonb if texts_fit(array, column.max_characters) => {}
        Form::Timestamp if moments_fit(array) => {}
        Form::Text => {
            for (row, text) in texts(array) {
                if text.as_bytes().contains(&0) {
                    misfits.add(row, "nul_byte", &column.name, "text with a NUL byte, which PostgreSQL does not take");
                } else if let Some(limit) = column.max_characters.filter(|limit| text.len() > *limit) {
                    // Trailing spaces are cut off, as in any other INSERT.
                    let characters = text.trim_end_matches(' ').chars().count();
                    if characters > limit {
                        let what = format!("{characters} characters do not fit {}", short(&column.declared));
                        misfits.add(row, "too_long", &column.name, &what);
                    }
                }
            }
        }
        Form::Jsonb => {
            for (row, text) in texts(array) {
                if text.as_bytes().contains(&0) {
                    misfits.add(row, "nul_byte", &column.name, "text with a NUL byte, which PostgreSQL does not take");
                }
            }
        }
        Form::Uuid => {
            for (row, text) in texts(array) {
                if uuid::Uuid::try_parse(text).is_err() {
                    misfits.add(row, "bad_uuid", &column.name, &format!("`{}` is not a uuid", shortened(text)));
                }
            }
        }
        Form::Date => {
            let array = array.as_primitive::<Date32Type>();
            for (row, day) in array.iter().enumerate() {
                if day.is_some_and(|day| !day.checked_sub(EPOCH_DAYS).is_some_and(|day| DAYS.contains(&day))) {
                    misfits.add(row, "out_of_range", &column.name, "a date outside of what PostgreSQL's date holds");
                }
            }
        }
        Form::Timestamp => {
            let array = array.as_primitive::<TimestampMicrosecondType>();
            for (row, moment) in array.iter().enumerate() {
                if moment.is_some_and(|moment| !moment_fits(moment)) {
                    misfits.add(
                        row,
                        "out_of_range",
                        &column.name,
                        "a moment outside of what PostgreSQL's timestamp holds",
                    );
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
