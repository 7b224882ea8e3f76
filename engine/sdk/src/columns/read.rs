//! Text to values.

use super::{ColumnType, Value};

/// Why a text is not a value of its column: a short stable word to group by,
/// and the reason for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Such as `bad_date`.
    pub code: &'static str,
    /// Such as ``is not a date (YYYY-MM-DD)``: continues after the text itself.
    pub reason: &'static str,
}

const fn unreadable(code: &'static str, reason: &'static str) -> Unreadable {
    Unreadable { code, reason }
}

impl ColumnType {
    /// Reads a cell's text. Nothing is guessed: a text that is not exactly a
    /// value of this type is refused.
    ///
    /// Dates are `YYYY-MM-DD`; timestamps add `T` or a space and `HH:MM`,
    /// `HH:MM:SS` or `HH:MM:SS.ffffff`; a `timestamptz` ends in `Z` or an offset
    /// such as `+02:00`. Booleans are `true`, `t`, `yes`, `y`, `1` and their
    /// opposites, in any case.
    pub fn read(self, text: &str) -> Result<Value<'_>, Unreadable> {
        match self {
            Self::Text => Ok(Value::Text(text)),
            Self::Integer => match text.parse() {
                Ok(value) => Ok(Value::Integer(value)),
                Err(_) => Err(unreadable("bad_integer", "is not a whole number of 64 bits")),
            },
            Self::Number => match text.parse() {
                Ok(value) => Ok(Value::Number(value)),
                Err(_) => Err(unreadable("bad_number", "is not a number")),
            },
            Self::Decimal(precision, scale) => decimal(text, precision, scale).map(Value::Decimal),
            Self::Boolean => {
                let is = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
                if is(["true", "t", "yes", "y", "1"]) {
                    Ok(Value::Boolean(true))
                } else if is(["false", "f", "no", "n", "0"]) {
                    Ok(Value::Boolean(false))
                } else {
                    Err(unreadable("bad_boolean", "is neither true nor false"))
                }
            }
            Self::Date => match date(text.as_bytes()) {
                Some((days, b"")) => match i32::try_from(days) {
                    Ok(days) => Ok(Value::Date(days)),
                    Err(_) => Err(BAD_DATE),
                },
                _ => Err(BAD_DATE),
            },
            Self::Timestamp => match usual_timestamp(text.as_bytes()).or_else(|| timestamp(text.as_bytes())) {
                Some((value, b"")) => Ok(Value::Timestamp(value)),
                Some(_) => Err(unreadable(
                    "bad_timestamp",
                    "has something behind the time; a time with a zone is of the type timestamptz",
                )),
                None => {
                    Err(unreadable("bad_timestamp", "is not a timestamp (YYYY-MM-DD HH:MM:SS, at most 6 decimals)"))
                }
            },
            Self::TimestampTz => match timestamp(text.as_bytes()).and_then(|(value, zone)| Some(value - offset(zone)?))
            {
                Some(value) => Ok(Value::Timestamp(value)),
                None => Err(unreadable(
                    "bad_timestamp",
                    "is not a timestamp with a zone (YYYY-MM-DDTHH:MM:SS, then Z or +HH:MM)",
                )),
            },
        }
    }
}

const BAD_DATE: Unreadable = unreadable("bad_date", "is not a date (YYYY-MM-DD)");

/// An exact number: digits with a point, and maybe an exponent.
fn decimal(text: &str, precision: u8, scale: i8) -> Result<i128, Unreadable> {
    const BAD: Unreadable = unreadable("bad_decimal", "is not a decimal number");
    const LONG: Unreadable = unreadable("bad_decimal", "has more digits than the column");
    let (mantissa, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().map_err(|_| BAD)?),
        None => (text, 0),
    };
    let (negative, digits) = match mantissa.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    let (mut value, mut behind, mut seen, mut pointed) = (0i128, 0i32, false, false);
    for &byte in digits {
        match byte {
            b'0'..=b'9' => {
                seen = true;
                value = value.checked_mul(10).and_then(|value| value.checked_add((byte - b'0').into())).ok_or(LONG)?;
                behind += i32::from(pointed);
            }
            b'.' if !pointed => pointed = true,
            _ => return Err(BAD),
        }
    }
    if !seen {
        return Err(BAD);
    }
    let mut missing = i32::from(scale).saturating_sub(behind).saturating_add(exponent);
    while missing > 0 && value != 0 {
        value = value.checked_mul(10).ok_or(LONG)?;
        missing -= 1;
    }
    while missing < 0 && value != 0 {
        if value % 10 != 0 {
            return Err(unreadable("bad_decimal", "has more decimals than the column; nothing is rounded"));
        }
        value /= 10;
        missing += 1;
    }
    if value >= 10i128.pow(precision.into()) {
        return Err(LONG);
    }
    Ok(if negative { -value } else { value })
}

/// Exactly `count` digits, and what follows.
fn number(text: &[u8], count: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(count)?;
    let value = digits
        .iter()
        .try_fold(0i64, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))?;
    Some((value, rest))
}

fn literal<'a>(text: &'a [u8], bytes: &[u8]) -> Option<&'a [u8]> {
    text.split_first().filter(|(first, _)| bytes.contains(first)).map(|(_, rest)| rest)
}

/// Days since 1970-01-01, and what follows.
fn date(text: &[u8]) -> Option<(i64, &[u8])> {
    let (year, rest) = number(text, 4)?;
    let (month, rest) = number(literal(rest, b"-")?, 2)?;
    let (day, rest) = number(literal(rest, b"-")?, 2)?;
    Some((day_of(year, month, day)?, rest))
}

/// Days since 1970-01-01, if there is such a day.
fn day_of(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    (1..=last).contains(&day).then(|| days_from_civil(year, month, day))
}

/// Counts days in years that begin in March, so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// Microseconds since 1970-01-01, and what follows.
fn timestamp(text: &[u8]) -> Option<(i64, &[u8])> {
    let (days, rest) = date(text)?;
    let (hour, rest) = number(literal(rest, b"T ")?, 2)?;
    let (minute, mut rest) = number(literal(rest, b":")?, 2)?;
    let (mut second, mut fraction) = (0, 0);
    if let Some(after) = literal(rest, b":") {
        (second, rest) = number(after, 2)?;
        if let Some(after) = literal(rest, b".") {
            let digits = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let (kept, finer) = after[..digits].split_at(digits.min(6));
            if digits == 0 || finer.iter().any(|byte| *byte != b'0') {
                return None;
            }
            fraction = number(kept, kept.len())?.0 * 10i64.pow(6 - kept.len() as u32);
            rest = &after[digits..];
        }
    }
    Some((moment(days, hour, minute, second)? + fraction, rest))
}

/// Microseconds since 1970-01-01, if there is such a time of the day.
fn moment(days: i64, hour: i64, minute: i64, second: i64) -> Option<i64> {
    let exists = hour <= 23 && minute <= 59 && second <= 59;
    exists.then_some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000)
}

/// As [`timestamp`], for nothing but `YYYY-MM-DD HH:MM:SS`: as most are written, and read several times as
/// fast. `None` says nothing of others.
fn usual_timestamp(text: &[u8]) -> Option<(i64, &[u8])> {
    let text: &[u8; 19] = text.try_into().ok()?;
    let is_usual = text[4] == b'-'
        && text[7] == b'-'
        && matches!(text[10], b' ' | b'T')
        && text[13] == b':'
        && text[16] == b':'
        && [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18].iter().all(|at| text[*at].is_ascii_digit());
    if !is_usual {
        return None;
    }
    let pair = |at: usize| i64::from((text[at] - b'0') * 10 + (text[at + 1] - b'0'));
    let day = day_of(pair(0) * 100 + pair(2), pair(5), pair(8))?;
    Some((moment(day, pair(11), pair(14), pair(17))?, b""))
}

/// The microseconds that a zone is ahead of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, rest) = match zone {
        b"Z" | b"z" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = number(rest, 2)?;
    let minutes = match rest {
        b"" => 0,
        rest => match number(literal(rest, b":").unwrap_or(rest), 2)? {
            (minutes, b"") => minutes,
            _ => return None,
        },
    };
    (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: ColumnType, text: &str) -> &'static str {
        kind.read(text).expect_err(text).code
    }

    #[test]
    fn values_of_each_type_are_read() {
        assert_eq!(ColumnType::Text.read("007"), Ok(Value::Text("007")));
        assert_eq!(ColumnType::Integer.read("-9223372036854775808"), Ok(Value::Integer(i64::MIN)));
        assert_eq!(ColumnType::Number.read("1e3"), Ok(Value::Number(1000.0)));
        assert_eq!(ColumnType::Boolean.read("YES"), Ok(Value::Boolean(true)));
        assert_eq!(ColumnType::Date.read("1970-01-02"), Ok(Value::Date(1)));
        assert_eq!(ColumnType::Date.read("2024-02-29"), Ok(Value::Date(19_782)));
        assert_eq!(ColumnType::Timestamp.read("2025-09-17T15:44:08"), Ok(Value::Timestamp(1_758_123_848_000_000)));
        assert_eq!(ColumnType::Timestamp.read("1970-01-01 00:00:01.5"), Ok(Value::Timestamp(1_500_000)));
        assert_eq!(ColumnType::Timestamp.read("1969-12-31 23:59"), Ok(Value::Timestamp(-60_000_000)));
        assert_eq!(ColumnType::TimestampTz.read("1970-01-01T02:00:00+02:00"), Ok(Value::Timestamp(0)));
    }

    #[test]
    fn the_usual_timestamps_are_read_as_all_are() {
        let (mut usual, mut none) = (0, 0);
        for text in ["2024-02-29 23:59:59", "0000-01-01T00:00:00", "2023-02-29 00:00:00", "2024-12-31 24:00:00"] {
            for at in 0..text.len() {
                for byte in b"0129-: T/z" {
                    let mut changed = text.as_bytes().to_vec();
                    changed[at] = *byte;
                    match usual_timestamp(&changed) {
                        Some(found) => {
                            assert_eq!(timestamp(&changed), Some(found));
                            usual += 1;
                        }
                        None => {
                            assert!(timestamp(&changed).is_none_or(|(_, rest)| !rest.is_empty()), "{text} {at} {byte}");
                            none += 1;
                        }
                    }
                }
            }
        }
        assert!(usual > 50 && none > 50, "{usual} {none}");
    }

    #[test]
    fn what_is_not_exactly_a_value_is_refused() {
        for text in ["", "1.0", "9223372036854775808", "one"] {
            assert_eq!(refused(ColumnType::Integer, text), "bad_integer");
        }
        for text in ["2025-02-29", "2025-13-01", "2025-1-1", "2025-01-01x", "", "17.09.2025"] {
            assert_eq!(refused(ColumnType::Date, text), "bad_date");
        }
        for text in [
            "2025-01-01",
            "2025-01-01 24:00",
            "2025-01-01 00:00:60",
            "2025-01-01 00:00:00Z",
            "2025-01-01 00:00:00.1234567",
        ] {
            assert_eq!(refused(ColumnType::Timestamp, text), "bad_timestamp");
        }
        assert_eq!(refused(ColumnType::TimestampTz, "2025-01-01 00:00:00"), "bad_timestamp");
        assert_eq!(refused(ColumnType::Boolean, "maybe"), "bad_boolean");
    }

    #[test]
    fn decimals_are_exact_or_refused() {
        let money = ColumnType::Decimal(6, 2);
        assert_eq!(money.read("-12.3"), Ok(Value::Decimal(-1230)));
        assert_eq!(money.read("9999.99"), Ok(Value::Decimal(999_999)));
        assert_eq!(money.read("1.5e1"), Ok(Value::Decimal(1500)));
        assert_eq!(money.read("1.500"), Ok(Value::Decimal(150)));
        assert_eq!(money.read("0e999999999"), Ok(Value::Decimal(0)));
        for text in ["10000", "0.001", "1e999999999", "1e-999999999", ".", "", "1.2.3", "1,5"] {
            assert_eq!(refused(money, text), "bad_decimal");
        }
    }
}
