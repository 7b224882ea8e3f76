//! Numbered calls: each has a called number of its own, so that a lost one and a doubled one can be
//! told apart, and the content of a whole table can be checked by five sums.
//!
//! Call number `i` of a sequence has the called number `0` followed by `i` in nine digits. What a table
//! holds is right when this query gives the text of [`Digest`]:
//!
//! ```sql
//! select concat_ws('|', count(*), count(distinct called_number), coalesce(sum(duration), 0),
//!                  coalesce(sum(extract(epoch from date)::bigint), 0),
//!                  coalesce(sum(called_number::bigint + 3 * calling_number::bigint + call_code::bigint), 0))
//! from avaya_cdr
//! ```

use std::fmt;
use std::ops::Range;

use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta};

use crate::record::{Call, Spacing};

/// Numbers of calls from here on would not fit into nine digits.
pub const LIMIT: u64 = 1_000_000_000;

const FIRST_DAY: NaiveDate = NaiveDate::from_ymd_opt(2025, 9, 1).unwrap();

/// The call of this number, below [`LIMIT`]. Every field has a value.
pub fn call(number: u64) -> Call {
    Call {
        end: end(number),
        duration: duration(number) as u32,
        called: format!("0{number:09}"),
        code: Some((number % 10).to_string()),
        calling: Some(calling(number).to_string()),
    }
}

/// Appends the call's line, with its end.
pub fn write_line(number: u64, lines: &mut Vec<u8>) {
    call(number).write_line(Spacing::Columns, lines);
    lines.extend_from_slice(b"\r\n");
}

/// Appends the row that the line decodes to, as CSV: date, duration, calling and called number, code.
pub fn write_csv_row(number: u64, rows: &mut Vec<u8>) {
    use std::io::Write as _;
    let call = call(number);
    let (calling, code) = (call.calling.as_deref().unwrap_or(""), call.code.as_deref().unwrap_or(""));
    let _ = writeln!(rows, "{},{},{calling},{},{code}", call.start(), call.duration, call.called);
}

fn end(number: u64) -> NaiveDateTime {
    let minute = number * 37 % 1_440;
    FIRST_DAY.and_time(NaiveTime::MIN) + TimeDelta::minutes((number % 28 * 1_440 + minute) as i64)
}

fn duration(number: u64) -> u64 {
    number * 7_919 % 3_600
}

fn calling(number: u64) -> u64 {
    2_000 + number * 104_729 % 8_000
}

/// What is true of a table that holds each call of a range once, in any order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Digest {
    /// Rows; also the number of different called numbers.
    pub rows: u64,
    /// Sum of the durations, in seconds.
    pub duration: u64,
    /// Sum of the starts, in seconds since 1970, read as UTC.
    pub start: i64,
    /// Sum of called number + 3 × calling number + call code.
    pub numbers: u64,
}

impl Digest {
    /// The digest of the calls with these numbers.
    pub fn of(numbers: Range<u64>) -> Self {
        numbers.fold(Self::default(), |sum, number| Self {
            rows: sum.rows + 1,
            duration: sum.duration + duration(number),
            start: sum.start + end(number).and_utc().timestamp() - duration(number) as i64,
            numbers: sum.numbers + number + 3 * calling(number) + number % 10,
        })
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rows, duration, start, numbers } = self;
        write!(formatter, "{rows}|{rows}|{duration}|{start}|{numbers}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_that_of_the_rows() {
        let mut rows = Vec::new();
        (5..500).for_each(|number| write_csv_row(number, &mut rows));
        let mut sum = Digest::default();
        for row in String::from_utf8(rows).unwrap().lines() {
            let fields: Vec<_> = row.split(',').collect();
            let number = |index: usize| fields[index].parse::<u64>().unwrap();
            let start = NaiveDateTime::parse_from_str(fields[0], "%Y-%m-%d %H:%M:%S").unwrap();
            sum.rows += 1;
            sum.duration += number(1);
            sum.start += start.and_utc().timestamp();
            sum.numbers += number(3) + 3 * number(2) + number(4);
        }
        assert_eq!(sum, Digest::of(5..500));
    }
}
