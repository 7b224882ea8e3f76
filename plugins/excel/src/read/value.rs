//! What cells mean, and values of columns.

use std::fmt::Write;
use std::ops::Range;

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeZone};
use chrono_tz::Tz;
use engine_sdk::columns::{ColumnType, Unreadable, Value};

use super::cells::{Cell, Content, Row};
use super::look::{Look, Meaning};
use super::strings::Strings;

/// The largest whole number up to which a floating-point number tells all apart.
const EXACT: f64 = 9_007_199_254_740_992.0;
/// Milliseconds of a day.
const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;

/// What a cell means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seen<'a> {
    Number(f64),
    Boolean(bool),
    Text(&'a str),
    /// Days since 1970-01-01.
    Date(i32),
    /// Milliseconds since 1970-01-01T00:00.
    Moment(i64),
    /// Milliseconds since midnight.
    Time(i64),
    /// Milliseconds.
    Elapsed(i64),
    /// A number that looks like a date and is none.
    NoDate(f64),
    /// `#N/A` and the like.
    Error(&'a str),
}

/// What it takes to tell what a cell means.
pub struct Meanings<'a> {
    pub strings: &'a Strings,
    pub looks: &'a [Look],
    pub from_1904: bool,
    /// Texts that stand for no value.
    pub nulls: &'a [String],
}

impl<'a> Meanings<'a> {
    /// What a cell means. None: no value.
    pub fn of(&self, row: &'a Row, cell: &Cell) -> Option<Seen<'a>> {
        let seen = match &cell.content {
            Content::Number(number) => {
                let look = self.looks.get(cell.style).copied().unwrap_or_default();
                match look.meaning(*number, self.from_1904) {
                    Meaning::Number(number) => Seen::Number(number),
                    Meaning::Date(day) => Seen::Date(day),
                    Meaning::Moment(moment) => Seen::Moment(moment),
                    Meaning::Time(time) => Seen::Time(time),
                    Meaning::Elapsed(elapsed) => Seen::Elapsed(elapsed),
                    Meaning::None => Seen::NoDate(*number),
                }
            }
            Content::Boolean(value) => Seen::Boolean(*value),
            Content::Text(range) => Seen::Text(row.text(range)),
            Content::Shared(number) => Seen::Text(self.strings.get(*number).unwrap_or_default()),
            Content::Iso(range) => iso(row.text(range)),
            Content::Error(range) => Seen::Error(row.text(range)),
        };
        match seen {
            Seen::Text(text) | Seen::Error(text) if self.nulls.iter().any(|null| null == text) => None,
            seen => Some(seen),
        }
    }
}

/// A date as ISO 8601 has it; anything else stays a text.
fn iso(text: &str) -> Seen<'_> {
    let text = text.strip_suffix('Z').unwrap_or(text);
    match (ColumnType::Date.read(text), ColumnType::Timestamp.read(text)) {
        (Ok(Value::Date(day)), _) => Seen::Date(day),
        (_, Ok(Value::Timestamp(moment))) => Seen::Moment(moment.div_euclid(1_000)),
        _ => Seen::Text(text),
    }
}

/// What the cells of a column have been so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Guess {
    whole: bool,
    fraction: bool,
    boolean: bool,
    date: bool,
    moment: bool,
    text: bool,
}

impl Guess {
    /// Takes a cell into account. What has no meaning says nothing about its column.
    pub fn add(&mut self, seen: Seen<'_>) {
        match seen {
            Seen::Number(number) if number.fract() == 0.0 && number.abs() <= EXACT => self.whole = true,
            Seen::Number(_) => self.fraction = true,
            Seen::Boolean(_) => self.boolean = true,
            Seen::Date(_) => self.date = true,
            Seen::Moment(_) => self.moment = true,
            Seen::Text("") | Seen::Error(_) | Seen::NoDate(_) => {}
            Seen::Text(_) | Seen::Time(_) | Seen::Elapsed(_) => self.text = true,
        }
    }

    /// Whether nothing more can be learned.
    pub const fn is_text(self) -> bool {
        self.text
    }

    /// The type that holds all of it.
    pub fn kind(self) -> ColumnType {
        let Self { whole, fraction, boolean, date, moment, text } = self;
        match (whole || fraction, boolean, date || moment, text) {
            (true, false, false, false) if fraction => ColumnType::Number,
            (true, false, false, false) => ColumnType::Integer,
            (false, true, false, false) => ColumnType::Boolean,
            (false, false, true, false) if moment => ColumnType::Timestamp,
            (false, false, true, false) => ColumnType::Date,
            _ => ColumnType::Text,
        }
    }
}

/// A value that was read: as it is, or as a text that was appended.
pub enum Read<'a> {
    Value(Value<'a>),
    Appended(Range<usize>),
}

/// The value of a cell in a column of some type. What has to become a text for it is appended.
pub fn read<'a>(seen: Seen<'a>, kind: ColumnType, zone: Tz, out: &mut String) -> Result<Read<'a>, Unreadable> {
    let value = match (kind, seen) {
        (_, Seen::Error(_)) => return Err(Unreadable { code: "error_value", reason: "is an error" }),
        (_, Seen::NoDate(_)) => return Err(Unreadable { code: "bad_date", reason: "is shown as a date and is none" }),
        (ColumnType::Text, Seen::Text(text)) => Value::Text(text),
        (_, Seen::Text("")) => Value::Null,
        (ColumnType::TimestampTz, Seen::Text(text)) => match (kind.read(text), ColumnType::Timestamp.read(text)) {
            (Ok(Value::Timestamp(moment)), _) => Value::Timestamp(moment),
            // Without a zone, it is what clocks of `timezone` show, as in the cells that are dates.
            (_, Ok(Value::Timestamp(shown))) => Value::Timestamp(utc(shown, zone)?),
            (wrong, _) => return wrong.map(Read::Value),
        },
        (_, Seen::Text(text)) => match kind.read(text)? {
            // Only a text column gives back what it was given.
            Value::Text(_) => Value::Null,
            value => value,
        },
        (ColumnType::Number, Seen::Number(number)) => Value::Number(number),
        (ColumnType::Integer, Seen::Number(number)) if number.fract() == 0.0 && number.abs() <= EXACT => {
            Value::Integer(number as i64)
        }
        (ColumnType::Boolean, Seen::Boolean(value)) => Value::Boolean(value),
        (ColumnType::Date, Seen::Date(day)) => Value::Date(day),
        (ColumnType::Date, Seen::Moment(moment)) if moment.rem_euclid(DAY) == 0 => {
            Value::Date(moment.div_euclid(DAY) as i32)
        }
        (ColumnType::Timestamp, Seen::Date(day)) => Value::Timestamp(i64::from(day) * DAY * 1_000),
        (ColumnType::Timestamp, Seen::Moment(moment)) => Value::Timestamp(moment * 1_000),
        (ColumnType::TimestampTz, Seen::Date(day)) => Value::Timestamp(utc(i64::from(day) * DAY * 1_000, zone)?),
        (ColumnType::TimestampTz, Seen::Moment(moment)) => Value::Timestamp(utc(moment * 1_000, zone)?),
        (_, seen) => {
            let begin = out.len();
            show(seen, out);
            if kind == ColumnType::Text {
                return Ok(Read::Appended(begin..out.len()));
            }
            let value = match kind.read(&out[begin..])? {
                Value::Text(_) => Value::Null,
                Value::Null => Value::Null,
                Value::Integer(value) => Value::Integer(value),
                Value::Number(value) => Value::Number(value),
                Value::Decimal(value) => Value::Decimal(value),
                Value::Boolean(value) => Value::Boolean(value),
                Value::Date(value) => Value::Date(value),
                Value::Timestamp(value) => Value::Timestamp(value),
            };
            out.truncate(begin);
            value
        }
    };
    Ok(Read::Value(value))
}

/// The moment in UTC, in microseconds, at which clocks of a zone show a time. The earlier one, where they show it
/// twice.
fn utc(microseconds: i64, zone: Tz) -> Result<i64, Unreadable> {
    if zone == Tz::UTC {
        return Ok(microseconds);
    }
    let shown = DateTime::from_timestamp_micros(microseconds).map(|it| it.naive_utc());
    match shown.map(|shown: NaiveDateTime| zone.from_local_datetime(&shown)) {
        Some(LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _)) => Ok(moment.timestamp_micros()),
        _ => Err(Unreadable { code: "bad_timestamp", reason: "is no time in `timezone`, whose clocks went forward" }),
    }
}

/// Appends a value as a text, as programs and people read it.
pub fn show(seen: Seen<'_>, out: &mut String) {
    // Writing to a text does not fail.
    let _ = match seen {
        Seen::Text(text) | Seen::Error(text) => out.write_str(text),
        Seen::Boolean(value) => write!(out, "{value}"),
        Seen::Number(number) => return show_number(number, out),
        Seen::NoDate(number) => return show_number(number, out),
        Seen::Date(day) => return show_day(i64::from(day), out),
        Seen::Moment(moment) => {
            show_day(moment.div_euclid(DAY), out);
            out.push(' ');
            return show_time(moment.rem_euclid(DAY), out);
        }
        Seen::Time(time) => return show_time(time, out),
        Seen::Elapsed(elapsed) => {
            out.push_str(if elapsed < 0 { "-" } else { "" });
            return show_time(elapsed.saturating_abs(), out);
        }
    };
}

/// As Excel shows a number: with 15 digits, so that a tenth is one.
fn show_number(number: f64, out: &mut String) {
    if number.fract() == 0.0 && number.abs() < 1e15 {
        let _ = write!(out, "{}", number as i64);
        return;
    }
    let rounded = format!("{number:.14e}").parse::<f64>().unwrap_or(number);
    let _ = match rounded.abs() {
        1e-7..1e21 => write!(out, "{rounded}"),
        _ => write!(out, "{rounded:e}"),
    };
}

fn show_day(day: i64, out: &mut String) {
    let shown = DateTime::from_timestamp(day * 86_400, 0);
    let _ = write!(out, "{}", shown.unwrap_or_default().format("%Y-%m-%d"));
}

fn show_time(milliseconds: i64, out: &mut String) {
    let (hours, rest) = (milliseconds / HOUR, milliseconds % HOUR);
    let _ = write!(out, "{hours:02}:{:02}:{:02}", rest / 60_000, rest / 1_000 % 60);
    if rest % 1_000 > 0 {
        let _ = write!(out, ".{:03}", rest % 1_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(seen: Seen<'_>) -> String {
        let mut text = String::new();
        show(seen, &mut text);
        text
    }

    #[test]
    fn values_are_shown_as_people_write_them() {
        for (seen, text) in [
            (Seen::Number(0.1 + 0.2), "0.3"),
            (Seen::Number(7.0), "7"),
            (Seen::Number(-0.0), "0"),
            (Seen::Number(123_456_789_012_345.0), "123456789012345"),
            (Seen::Number(1e21), "1e21"),
            (Seen::Number(1.5e-9), "1.5e-9"),
            (Seen::Number(1234.5678), "1234.5678"),
            (Seen::Boolean(true), "true"),
            (Seen::Date(20_512), "2026-02-28"),
            (Seen::Moment(20_512 * DAY + 3_723_004), "2026-02-28 01:02:03.004"),
            (Seen::Time(43_200_000), "12:00:00"),
            (Seen::Elapsed(-95_400_000), "-26:30:00"),
        ] {
            assert_eq!(shown(seen), text);
        }
    }

    #[test]
    fn a_column_has_the_type_that_holds_all_of_it() {
        let kind = |all: &[Seen<'_>]| {
            let mut guess = Guess::default();
            all.iter().for_each(|seen| guess.add(*seen));
            guess.kind()
        };
        let (whole, half, day, noon) = (Seen::Number(1.0), Seen::Number(0.5), Seen::Date(1), Seen::Moment(DAY / 2));
        assert_eq!(kind(&[]), ColumnType::Text);
        assert_eq!(kind(&[whole, Seen::Error("#REF!"), Seen::Text("")]), ColumnType::Integer);
        assert_eq!(kind(&[whole, half]), ColumnType::Number);
        assert_eq!(kind(&[Seen::Number(1e300)]), ColumnType::Number);
        assert_eq!(kind(&[day]), ColumnType::Date);
        assert_eq!(kind(&[day, noon]), ColumnType::Timestamp);
        assert_eq!(kind(&[Seen::Boolean(true)]), ColumnType::Boolean);
        for mixed in [[whole, day], [whole, Seen::Boolean(true)], [whole, Seen::Text("x")], [day, Seen::Time(1)]] {
            assert_eq!(kind(&mixed), ColumnType::Text, "{mixed:?}");
        }
    }

    #[test]
    fn cells_are_read_into_columns_of_any_type_exactly_or_not_at_all() {
        let read = |seen, kind| match super::read(seen, kind, Tz::Europe__Dublin, &mut String::new()) {
            Ok(Read::Value(value)) => format!("{value:?}"),
            Ok(Read::Appended(place)) => format!("{} bytes", place.len()),
            Err(wrong) => wrong.code.to_owned(),
        };
        let money = ColumnType::Decimal(12, 2);
        let noon = Seen::Moment(20_512 * DAY + 12 * HOUR);
        for (seen, kind, value) in [
            (Seen::Number(7.0), ColumnType::Integer, "Integer(7)"),
            (Seen::Number(7.5), ColumnType::Integer, "bad_integer"),
            (Seen::Text("007"), ColumnType::Integer, "Integer(7)"),
            (Seen::Text(""), ColumnType::Integer, "Null"),
            (Seen::Number(19.99 * 3.0), money, "Decimal(5997)"),
            (Seen::Number(0.005), money, "bad_decimal"),
            (Seen::Text("1234567890.12"), money, "Decimal(123456789012)"),
            (Seen::Number(1.0), ColumnType::Boolean, "Boolean(true)"),
            (Seen::Boolean(true), ColumnType::Integer, "bad_integer"),
            (Seen::Date(1), ColumnType::Number, "bad_number"),
            (Seen::Number(45_000.0), ColumnType::Date, "bad_date"),
            (Seen::Text("2026-02-28"), ColumnType::Date, "Date(20512)"),
            (noon, ColumnType::Date, "bad_date"),
            (noon, ColumnType::Timestamp, "Timestamp(1772280000000000)"),
            (noon, ColumnType::Text, "19 bytes"),
            (Seen::Moment(20_512 * DAY), ColumnType::Date, "Date(20512)"),
            (Seen::Error("#REF!"), ColumnType::Text, "error_value"),
            (Seen::NoDate(-1.0), ColumnType::Date, "bad_date"),
            // In summer, clocks there are an hour ahead; at 01:30 on the last Sunday of March they show no time.
            (Seen::Moment(1_782_907_200_000), ColumnType::TimestampTz, "Timestamp(1782903600000000)"),
            (Seen::Moment(1_774_747_800_000), ColumnType::TimestampTz, "bad_timestamp"),
        ] {
            assert_eq!(read(seen, kind), value, "{seen:?} as {kind}");
        }
    }
}
