//! The values of a refused row as text that PostgreSQL reads as the same values again.

use std::fmt::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float32Type, Float64Type, Time64MicrosecondType, TimestampMicrosecondType};
use arrow_array::{Array, ArrayRef};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{ArrowError, DataType};

const MICROSECONDS_A_DAY: i128 = 86_400_000_000;

/// A value of a column. None: a null.
///
/// Arrow's own texts of times end where its calendar does, long before PostgreSQL's, and know no 24:00:00.
pub fn value(array: &ArrayRef, row: usize) -> Result<Option<String>, ArrowError> {
    if array.is_null(row) {
        return Ok(None);
    }
    Ok(Some(match array.data_type() {
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Time64(_) => time(array.as_primitive::<Time64MicrosecondType>().value(row).into()),
        DataType::Timestamp(_, zone) => {
            timestamp(array.as_primitive::<TimestampMicrosecondType>().value(row).into(), zone.is_some())
        }
        DataType::Float32 => float(array.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => float(array.as_primitive::<Float64Type>().value(row)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        _ => ArrayFormatter::try_new(array, &FormatOptions::default())?.value(row).to_string(),
    }))
}

/// Bytes as PostgreSQL shows its bytea.
pub fn bytes(bytes: &[u8]) -> String {
    let mut text = String::from("\\x");
    bytes.iter().for_each(|byte| put(&mut text, format_args!("{byte:02x}")));
    text
}

/// Microseconds since 1970-01-01, as many as PostgreSQL may have. With a zone, the time is UTC's.
pub fn timestamp(moment: i128, zoned: bool) -> String {
    let (mut text, before_christ) = day(moment.div_euclid(MICROSECONDS_A_DAY));
    text.push(' ');
    text.push_str(&time(moment.rem_euclid(MICROSECONDS_A_DAY)));
    text.push_str(if zoned { "+00" } else { "" });
    text.push_str(before_christ);
    text
}

fn date(days: i128) -> String {
    let (mut text, before_christ) = day(days);
    text.push_str(before_christ);
    text
}

/// Days since 1970-01-01, and what PostgreSQL writes behind everything else in years before the first.
fn day(days: i128) -> (String, &'static str) {
    // Years that begin in March put the leap day last.
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i128::from(month <= 2);
    // There is no year zero.
    let (year, before_christ) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    (format!("{year:04}-{month:02}-{day:02}"), before_christ)
}

fn time(microseconds: i128) -> String {
    let (seconds, fraction) = (microseconds / 1_000_000, microseconds % 1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction != 0 {
        put(&mut text, format_args!(".{fraction:06}"));
        text.truncate(text.trim_end_matches('0').len());
    }
    text
}

fn float(value: impl Into<f64> + std::fmt::Debug + Copy) -> String {
    match value.into() {
        infinite if infinite.is_infinite() => if infinite > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        // In its own width: the shortest text of a number of 32 bits is another one in 64.
        _ => format!("{value:?}"),
    }
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_times_are_shown_as_postgresql_does() {
        assert_eq!(date(0), "1970-01-01");
        assert_eq!(date(19_782), "2024-02-29");
        assert_eq!(date(-719_163), "0001-12-31 BC");
        assert_eq!(date(2_145_031_948 + 10_957), "5874897-12-31");
        assert_eq!(date(-2_451_545 + 10_957), "4714-11-24 BC");
        assert_eq!(time(86_400_000_000), "24:00:00");
        assert_eq!(time(1_500_000), "00:00:01.5");
        assert_eq!(time(10), "00:00:00.00001");
        assert_eq!(timestamp(-1, false), "1969-12-31 23:59:59.999999");
        assert_eq!(timestamp(0, true), "1970-01-01 00:00:00+00");
        assert_eq!(timestamp(-211_813_488_000_000_000 + 946_684_800_000_000, true), "4714-11-24 00:00:00+00 BC");
        let last = 9_223_371_331_199_999_999 + 946_684_800_000_000i128;
        assert_eq!(timestamp(last, false), "294276-12-31 23:59:59.999999");
    }

    #[test]
    fn numbers_and_bytes_are_shown_as_postgresql_reads_them() {
        assert_eq!(float(0.1f32), "0.1");
        assert_eq!(float(f64::NEG_INFINITY), "-Infinity");
        assert_eq!(float(f64::NAN), "NaN");
        assert_eq!(float(-0.0f64), "-0.0");
        assert_eq!(bytes(&[0, 255]), "\\x00ff");
    }
}
