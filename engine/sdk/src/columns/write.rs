//! Columns to text.

use std::io::Write;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ByteArrayType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int64Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, Decimal256Array, Float32Array, Float64Array, GenericByteArray,
    Int64Array, LargeBinaryArray, LargeStringArray, PrimitiveArray, StringArray, UInt64Array,
};
use arrow_buffer::{ArrowNativeType, i256};
use arrow_cast::{cast, display};
use arrow_schema::{DataType, TimeUnit};
use engine_abi::{Error, Result};

/// A column whose cells can be written as text.
///
/// Integers and decimals keep all their digits; numbers are the shortest text
/// that gives the same number again; dates are `YYYY-MM-DD`; timestamps and
/// times have decimals only where they are not zero, and a timestamp with a
/// zone is written in UTC with a `Z`; binary values are base64.
#[derive(Debug)]
pub enum Cells {
    /// `true`, `false`.
    Boolean(BooleanArray),
    /// Signed integers.
    Integer(Int64Array),
    /// Unsigned integers.
    Unsigned(UInt64Array),
    /// Numbers of 32 bits.
    Float32(Float32Array),
    /// Numbers of 64 bits.
    Float64(Float64Array),
    /// Exact numbers and the digits behind their point.
    Decimal(Decimal128Array, i8),
    /// Exact numbers of up to 76 digits, and the digits behind their point.
    LongDecimal(Decimal256Array, i8),
    /// Days since 1970-01-01.
    Date(PrimitiveArray<Date32Type>),
    /// Ticks since midnight, and ticks a second.
    Time(Int64Array, i64),
    /// Ticks since 1970-01-01, ticks a second, and whether they are moments (in UTC).
    Timestamp(Int64Array, i64, bool),
    /// Text.
    Text(StringArray),
    /// Text of whatever length.
    LargeText(LargeStringArray),
    /// Bytes.
    Binary(LargeBinaryArray),
    /// Nulls only.
    Null(ArrayRef),
}

impl Cells {
    /// A column's cells. Lists, structs and maps have none: an error of the
    /// kind config that names the type.
    pub fn new(column: &ArrayRef) -> Result<Self> {
        use DataType as T;
        let to = |kind: &DataType| {
            cast(column, kind).map_err(|error| Error::internal(format!("{} to {kind}: {error}", column.data_type())))
        };
        let ticks = |unit: &TimeUnit| match unit {
            TimeUnit::Second => 1,
            TimeUnit::Millisecond => 1_000,
            TimeUnit::Microsecond => 1_000_000,
            TimeUnit::Nanosecond => 1_000_000_000,
        };
        Ok(match column.data_type() {
            T::Null => Self::Null(column.clone()),
            T::Boolean => Self::Boolean(column.as_boolean().clone()),
            T::Int8 | T::Int16 | T::Int32 | T::Int64 => {
                Self::Integer(to(&T::Int64)?.as_primitive::<Int64Type>().clone())
            }
            T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => {
                Self::Unsigned(to(&T::UInt64)?.as_primitive::<UInt64Type>().clone())
            }
            T::Float16 | T::Float32 => Self::Float32(to(&T::Float32)?.as_primitive::<Float32Type>().clone()),
            T::Float64 => Self::Float64(column.as_primitive::<Float64Type>().clone()),
            T::Decimal32(precision, scale) | T::Decimal64(precision, scale) | T::Decimal128(precision, scale) => {
                let column = to(&T::Decimal128(*precision, *scale))?;
                Self::Decimal(column.as_primitive::<Decimal128Type>().clone(), *scale)
            }
            T::Decimal256(_, scale) => Self::LongDecimal(column.as_primitive::<Decimal256Type>().clone(), *scale),
            T::Date32 => Self::Date(column.as_primitive::<Date32Type>().clone()),
            T::Date64 => Self::Timestamp(to(&T::Int64)?.as_primitive::<Int64Type>().clone(), 1_000, false),
            T::Time32(unit) => {
                let column = to(&T::Int32)
                    .and_then(|column| cast(&column, &T::Int64).map_err(|error| Error::internal(error.to_string())))?;
                Self::Time(column.as_primitive::<Int64Type>().clone(), ticks(unit))
            }
            T::Time64(unit) => Self::Time(to(&T::Int64)?.as_primitive::<Int64Type>().clone(), ticks(unit)),
            T::Timestamp(unit, zone) => {
                Self::Timestamp(to(&T::Int64)?.as_primitive::<Int64Type>().clone(), ticks(unit), zone.is_some())
            }
            T::Utf8 => Self::Text(column.as_string::<i32>().clone()),
            T::LargeUtf8 | T::Utf8View => Self::LargeText(to(&T::LargeUtf8)?.as_string::<i64>().clone()),
            T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
                Self::Binary(to(&T::LargeBinary)?.as_binary::<i64>().clone())
            }
            T::Dictionary(_, values) => return Self::new(&to(values)?),
            T::Duration(_) | T::Interval(_) => Self::LargeText(displayed(column)?),
            other => return Err(Error::config(format!("a column of the type {other} is not one text a cell"))),
        })
    }

    /// Whether a row has no value here.
    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Boolean(column) => column.is_null(row),
            Self::Integer(column) | Self::Time(column, _) | Self::Timestamp(column, ..) => column.is_null(row),
            Self::Unsigned(column) => column.is_null(row),
            Self::Float32(column) => column.is_null(row),
            Self::Float64(column) => column.is_null(row),
            Self::Decimal(column, _) => column.is_null(row),
            Self::LongDecimal(column, _) => column.is_null(row),
            Self::Date(column) => column.is_null(row),
            Self::Text(column) => column.is_null(row),
            Self::LargeText(column) => column.is_null(row),
            Self::Binary(column) => column.is_null(row),
            Self::Null(_) => true,
        }
    }

    /// The texts of all rows of a column of text, one behind the other. What null rows have is among them.
    pub fn texts(&self) -> Option<&[u8]> {
        /// What the offsets of a part of an array leave of its bytes.
        fn used<T: ByteArrayType>(column: &GenericByteArray<T>) -> &[u8] {
            let offsets = column.value_offsets();
            let end = |offset: Option<&T::Offset>| offset.map_or(0, |offset| offset.as_usize());
            &column.value_data()[end(offsets.first())..end(offsets.last())]
        }
        match self {
            Self::Text(column) => Some(used(column)),
            Self::LargeText(column) => Some(used(column)),
            _ => None,
        }
    }

    /// The text of a row that is not null, of a column of text.
    #[inline]
    pub fn text(&self, row: usize) -> Option<&str> {
        match self {
            Self::Text(column) => Some(column.value(row)),
            Self::LargeText(column) => Some(column.value(row)),
            _ => None,
        }
    }

    /// Appends the text of a row that is not null. `between` stands between the
    /// date and the time of a timestamp.
    #[inline]
    pub fn write(&self, row: usize, between: u8, out: &mut Vec<u8>) {
        match self {
            Self::Boolean(column) => out.extend_from_slice(if column.value(row) { b"true" } else { b"false" }),
            Self::Integer(column) => out.extend_from_slice(itoa::Buffer::new().format(column.value(row)).as_bytes()),
            Self::Unsigned(column) => out.extend_from_slice(itoa::Buffer::new().format(column.value(row)).as_bytes()),
            Self::Float32(column) => display_into(out, format_args!("{:?}", column.value(row))),
            Self::Float64(column) => display_into(out, format_args!("{:?}", column.value(row))),
            Self::Decimal(column, scale) => write_decimal(column.value(row), *scale, out),
            Self::LongDecimal(column, scale) => write_long_decimal(column.value(row), *scale, out),
            Self::Date(column) => write_date(column.value(row).into(), out),
            Self::Time(column, ticks) => write_time(column.value(row), *ticks, out),
            Self::Timestamp(column, ticks, moment) => {
                let a_day = ticks * 86_400;
                write_date(column.value(row).div_euclid(a_day), out);
                out.push(between);
                write_time(column.value(row).rem_euclid(a_day), *ticks, out);
                if *moment {
                    out.push(b'Z');
                }
            }
            Self::Text(column) => out.extend_from_slice(column.value(row).as_bytes()),
            Self::LargeText(column) => out.extend_from_slice(column.value(row).as_bytes()),
            Self::Binary(column) => write_base64(column.value(row), out),
            Self::Null(_) => {}
        }
    }
}

fn displayed(column: &ArrayRef) -> Result<LargeStringArray> {
    let fault = |error: arrow_schema::ArrowError| Error::internal(error.to_string());
    let options = display::FormatOptions::new();
    let formatter = display::ArrayFormatter::try_new(column, &options).map_err(fault)?;
    (0..column.len())
        .map(|row| (!column.is_null(row)).then(|| formatter.value(row).try_to_string().map_err(fault)).transpose())
        .collect()
}

fn display_into(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a Vec takes everything");
}

fn write_decimal(value: i128, scale: i8, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    write_digits(itoa::Buffer::new().format(value.unsigned_abs()), scale, out);
}

/// Most values are shorter than their column allows.
fn write_long_decimal(value: i256, scale: i8, out: &mut Vec<u8>) {
    if let Some(value) = value.to_i128() {
        return write_decimal(value, scale, out);
    }
    let text = value.to_string();
    let digits = text.trim_start_matches('-');
    if digits.len() < text.len() {
        out.push(b'-');
    }
    write_digits(digits, scale, out);
}

/// The digits of a whole number, without leading zeros, and the point among them.
fn write_digits(digits: &str, scale: i8, out: &mut Vec<u8>) {
    match usize::try_from(scale) {
        Ok(0) => out.extend_from_slice(digits.as_bytes()),
        Ok(scale) if digits.len() > scale => {
            let (whole, decimals) = digits.split_at(digits.len() - scale);
            out.extend_from_slice(whole.as_bytes());
            out.push(b'.');
            out.extend_from_slice(decimals.as_bytes());
        }
        Ok(scale) => {
            out.extend_from_slice(b"0.");
            out.resize(out.len() + scale - digits.len(), b'0');
            out.extend_from_slice(digits.as_bytes());
        }
        Err(_) => {
            out.extend_from_slice(digits.as_bytes());
            if digits != "0" {
                out.resize(out.len() + usize::from(scale.unsigned_abs()), b'0');
            }
        }
    }
}

fn two_digits(value: i64) -> [u8; 2] {
    [b'0' + (value / 10) as u8, b'0' + (value % 10) as u8]
}

/// A day counted from 1970-01-01. Years have four digits, or as many as they need.
fn write_date(days: i64, out: &mut Vec<u8>) {
    // Years that begin in March put the leap day last.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let ([m1, m2], [d1, d2]) = (two_digits(month), two_digits(day));
    match year {
        0..=9999 => {
            let ([y1, y2], [y3, y4]) = (two_digits(year / 100), two_digits(year % 100));
            out.extend_from_slice(&[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2]);
        }
        _ => {
            display_into(out, format_args!("{year:05}"));
            out.extend_from_slice(&[b'-', m1, m2, b'-', d1, d2]);
        }
    }
}

fn write_time(value: i64, ticks: i64, out: &mut Vec<u8>) {
    let (seconds, mut fraction) = (value / ticks, value % ticks);
    let (hours, minutes) = (two_digits(seconds / 3600), two_digits(seconds / 60 % 60));
    let ([h1, h2], [m1, m2], [s1, s2]) = (hours, minutes, two_digits(seconds % 60));
    out.extend_from_slice(&[h1, h2, b':', m1, m2, b':', s1, s2]);
    if fraction != 0 {
        out.push(b'.');
        let mut place = ticks / 10;
        // Three, six or nine digits read alike everywhere; zeros behind them carry nothing.
        while place > 0 && (fraction != 0 || !matches!(ticks / place, 10_000 | 10_000_000)) {
            out.push(b'0' + (fraction / place) as u8);
            fraction %= place;
            place /= 10;
        }
    }
}

/// Appends bytes as base64 with padding.
pub fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let letter = LETTERS[(bits >> (18 - 6 * place)) as usize & 63];
            out.push(if place <= chunk.len() { letter } else { b'=' });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{
        DictionaryArray, Int8Array, Time32SecondArray, TimestampMicrosecondArray, TimestampNanosecondArray,
        types::Int32Type,
    };

    use super::*;

    fn written(column: impl Array + 'static) -> Vec<String> {
        let column: ArrayRef = Arc::new(column);
        let cells = Cells::new(&column).unwrap();
        (0..column.len())
            .map(|row| {
                let mut out = Vec::new();
                cells.write(row, b' ', &mut out);
                if cells.is_null(row) { "null".into() } else { String::from_utf8(out).unwrap() }
            })
            .collect()
    }

    #[test]
    fn cells_are_written_exactly() {
        assert_eq!(written(Int8Array::from(vec![Some(-7), None])), ["-7", "null"]);
        assert_eq!(written(UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
        assert_eq!(written(Float64Array::from(vec![0.1, 1e300, 2.0])), ["0.1", "1e300", "2.0"]);
        assert_eq!(written(Float32Array::from(vec![0.1])), ["0.1"]);
        let money = Decimal128Array::from(vec![-5, 12345, 0]).with_precision_and_scale(10, 2).unwrap();
        assert_eq!(written(money), ["-0.05", "123.45", "0.00"]);
        let nines = "9".repeat(76);
        let long = |scale| {
            let texts = [&nines, &format!("-{nines}"), "-5", "0", "170141183460469231731687303715884105728"];
            let values: Vec<_> = texts.map(|text| i256::from_string(text).unwrap()).into();
            written(Decimal256Array::from(values).with_precision_and_scale(76, scale).unwrap())
        };
        let (whole, decimals) = nines.split_at(74);
        assert_eq!(
            long(2),
            [
                format!("{whole}.{decimals}"),
                format!("-{whole}.{decimals}"),
                "-0.05".into(),
                "0.00".into(),
                "1701411834604692317316873037158841057.28".into()
            ]
        );
        assert_eq!(long(76)[..2], [format!("0.{nines}"), format!("-0.{nines}")]);
        assert_eq!(long(-2)[1..4], [format!("-{nines}00"), "-500".into(), "0".into()]);
        let words: DictionaryArray<Int32Type> = ["a", "b", "a"].into_iter().collect();
        assert_eq!(written(words), ["a", "b", "a"]);
        assert_eq!(written(StringArray::from(vec!["é"])), ["é"]);
    }

    #[test]
    fn times_have_decimals_only_where_they_are_not_zero() {
        let moments = vec![1_758_123_848_000_000, -1, 1_500_000, 250];
        assert_eq!(
            written(TimestampMicrosecondArray::from(moments.clone())),
            [
                "2025-09-17 15:44:08",
                "1969-12-31 23:59:59.999999",
                "1970-01-01 00:00:01.500",
                "1970-01-01 00:00:00.000250"
            ]
        );
        assert_eq!(
            written(TimestampMicrosecondArray::from(moments).with_timezone("Europe/Paris"))[0],
            "2025-09-17 15:44:08Z"
        );
        assert_eq!(written(TimestampNanosecondArray::from(vec![1])), ["1970-01-01 00:00:00.000000001"]);
        assert_eq!(written(Time32SecondArray::from(vec![86_399])), ["23:59:59"]);
    }

    #[test]
    fn base64_is_padded() {
        let of = |bytes: &[u8]| {
            let mut out = Vec::new();
            write_base64(bytes, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!([of(b""), of(b"f"), of(b"fo"), of(b"foo"), of(b"foob")], ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
