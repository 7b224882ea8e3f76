//! One line of the PBX.

use chrono::NaiveDate;
use engine_sdk::marks::{BLOCK, marks};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::refused::{Code, Malformed, shown};

/// The order of day and month on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DateOrder {
    /// Day, month, year.
    #[default]
    Dmy,
    /// Month, day, year.
    Mdy,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// The end on the PBX's clock, in seconds after 1970-01-01 00:00:00.
    pub end: i64,
    /// In seconds.
    pub duration: i32,
    pub called_number: &'a str,
    pub call_code: Option<&'a str>,
    pub calling_number: Option<&'a str>,
    /// Where the time of the end stands, for messages about it.
    pub time: Field<'a>,
}

/// A field and the column, counted from 1, that it begins at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Field<'a> {
    pub text: &'a str,
    pub column: usize,
}

impl Field<'_> {
    /// `column 8: "2561"`.
    pub fn place(self) -> String {
        format!("column {}: {}", self.column, shown(self.text.as_bytes()))
    }

    /// The column after the last one.
    fn end(self) -> usize {
        self.column + self.text.len()
    }
}

/// Date, time, duration, called number, call code, calling number.
const MOST_FIELDS: usize = 6;
/// Call code and calling number may be missing.
const FEWEST_FIELDS: usize = 4;
/// Call codes have one character, in some releases two.
const LONGEST_LONE_CODE: usize = 2;
/// The call code stands this close to the called number, the calling number
/// far to the right of it.
const LARGEST_CODE_GAP: usize = 2;

/// Whether a byte separates fields. NUL bytes do so at the edges of a record only.
pub fn is_blank(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// The bytes from the first one that is neither blank nor NUL.
pub fn trim_start(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| *byte != 0 && !is_blank(byte));
    &bytes[start.unwrap_or(bytes.len())..]
}

/// Reads one line, given without its end and without blanks before it.
pub fn parse(line: &[u8], order: DateOrder) -> Result<Record<'_>, Malformed> {
    let text = text(line)?;
    let fields = fields(text)?;
    let [date, time, duration, called_number, ..] = fields.found;
    let day = parse_date(date, order)?;
    let minute = parse_time(time)?;
    let duration = parse_duration(duration)?;
    let [.., fifth, sixth] = fields.found;
    let (call_code, calling_number) = match fields.count {
        FEWEST_FIELDS => (None, None),
        MOST_FIELDS => (Some(fifth.text), Some(sixth.text)),
        _ if is_lone_code(called_number, fifth) => (Some(fifth.text), None),
        _ => (None, Some(fifth.text)),
    };
    let end = day * 86_400 + minute * 60;
    Ok(Record { end, duration, called_number: called_number.text, call_code, calling_number, time })
}

/// Whether the only field after the called number is the call code and not the
/// calling number. It is when it has one or two characters and either stands
/// right behind the called number or has a letter, which no number has.
fn is_lone_code(called_number: Field<'_>, field: Field<'_>) -> bool {
    let gap = field.column - called_number.end();
    let has_letter = field.text.bytes().any(|byte| byte.is_ascii_alphabetic());
    let short = field.text.chars().nth(LONGEST_LONE_CODE).is_none();
    short && (gap <= LARGEST_CODE_GAP || has_letter)
}

fn text(line: &[u8]) -> Result<&str, Malformed> {
    let length = line.iter().rposition(|byte| *byte != 0 && !is_blank(byte)).map_or(0, |last| last + 1);
    let line = &line[..length];
    let text = std::str::from_utf8(line).map_err(|error| {
        let column = error.valid_up_to();
        Malformed::new(Code::NotUtf8, format!("column {}: byte 0x{:02x} is not UTF-8", column + 1, line[column]))
    })?;
    // Looks at all bytes, without a way out on the way, which compiles to vector instructions.
    let suspicious = line.iter().fold(false, |found, &byte| found | ((byte < b' ') & (byte != b'\t')) | (byte >= 0x7f));
    let unprintable =
        |c: &(usize, char)| c.1.is_control() && c.1 != '\t' || c.1.is_whitespace() && !matches!(c.1, ' ' | '\t');
    match suspicious.then(|| text.char_indices().find(unprintable)).flatten() {
        Some((at, character)) => Err(Malformed::new(
            Code::BadCharacter,
            format!("column {}: the character U+{:04X} has no place in a record", at + 1, u32::from(character)),
        )),
        None => Ok(text),
    }
}

struct Fields<'a> {
    found: [Field<'a>; MOST_FIELDS],
    count: usize,
}

fn fields(text: &str) -> Result<Fields<'_>, Malformed> {
    let bytes = text.as_bytes();
    let mut found = [Field::default(); MOST_FIELDS];
    let (mut count, mut start) = (0, None);
    let mut edge = |at: usize| match start.take() {
        None => start = Some(at),
        Some(start) => {
            if let Some(field) = found.get_mut(count) {
                *field = Field { text: &text[start..at], column: start + 1 };
            }
            count += 1;
        }
    };
    // Numbers stand in columns far apart, so most of a line is spaces: what is looked for is where
    // fields begin and end, and not at each byte. In front of the line and behind it there are blanks.
    let mut before = 1;
    for (block, offset) in bytes.chunks(BLOCK).zip((0..).step_by(BLOCK)) {
        let missing = u64::MAX.checked_shl(block.len() as u32).unwrap_or(0);
        let blanks = marks(block, [b' ', b'\t']) | missing;
        let mut edges = blanks ^ (blanks << 1 | before);
        before = blanks >> 63;
        while edges != 0 {
            edge(offset + edges.trailing_zeros() as usize);
            edges &= edges - 1;
        }
    }
    if before == 0 {
        edge(bytes.len());
    }
    match count {
        FEWEST_FIELDS..=MOST_FIELDS => Ok(Fields { found, count }),
        0..FEWEST_FIELDS => Err(Malformed::new(
            Code::TooFewFields,
            format!(
                "{} has {count} of the fields date, time, duration, called number, call code, calling number; \
                 at least the first four must be there",
                shown(bytes)
            ),
        )),
        _ => Err(Malformed::new(
            Code::TooManyFields,
            format!("{} has {count} fields, and a record has at most {MOST_FIELDS}", shown(bytes)),
        )),
    }
}

/// The pairs of digits that a field consists of.
fn pairs<const N: usize>(field: Field<'_>) -> Option<[u32; N]> {
    let bytes = field.text.as_bytes();
    if bytes.len() != 2 * N {
        return None;
    }
    let mut pairs = [0; N];
    for (pair, digits) in pairs.iter_mut().zip(bytes.chunks_exact(2)) {
        *pair = digit(digits[0])? * 10 + digit(digits[1])?;
    }
    Some(pairs)
}

fn digit(byte: u8) -> Option<u32> {
    let value = byte.wrapping_sub(b'0');
    (value < 10).then_some(u32::from(value))
}

/// Days after 1970-01-01.
fn parse_date(field: Field<'_>, order: DateOrder) -> Result<i64, Malformed> {
    let bad = |what: String| Malformed::new(Code::BadDate, format!("{} is not a date: {what}", field.place()));
    let Some([first, second, year]) = pairs(field) else {
        let layout = if order == DateOrder::Dmy { "DDMMYY" } else { "MMDDYY" };
        return Err(bad(format!("six digits {layout} are expected")));
    };
    let (day, month) = if order == DateOrder::Dmy { (first, second) } else { (second, first) };
    let year = 2000 + year as i32;
    match NaiveDate::from_ymd_opt(year, month, day) {
        Some(date) => Ok(i64::from(date.to_epoch_days())),
        None if !(1..=12).contains(&month) => Err(bad(format!("there is no month {month}"))),
        None => Err(bad(format!("month {month} of {year} has no day {day}"))),
    }
}

/// Minutes after midnight.
fn parse_time(field: Field<'_>) -> Result<i64, Malformed> {
    match pairs(field) {
        Some([hour @ 0..24, minute @ 0..60]) => Ok(i64::from(hour * 60 + minute)),
        _ => Err(Malformed::new(
            Code::BadTime,
            format!("{} is not a time: HHMM from 0000 to 2359 is expected", field.place()),
        )),
    }
}

/// Seconds. Long calls need more than one digit for the hours.
fn parse_duration(field: Field<'_>) -> Result<i32, Malformed> {
    /// HMMSS.
    const FEWEST_DIGITS: usize = 5;
    /// So many digits in seconds always fit into 32 bits.
    const MOST_DIGITS: usize = 9;
    let bytes = field.text.as_bytes();
    let digits = bytes.iter().try_fold(0, |number, byte| Some(number * 10 + digit(*byte)?));
    let seconds = match digits {
        Some(number) if (FEWEST_DIGITS..=MOST_DIGITS).contains(&bytes.len()) => {
            let (hours, minutes, seconds) = (number / 10_000, number / 100 % 100, number % 100);
            (minutes < 60 && seconds < 60).then_some((hours * 3_600 + minutes * 60 + seconds) as i32)
        }
        _ => None,
    };
    seconds.ok_or_else(|| {
        Malformed::new(
            Code::BadDuration,
            format!(
                "{} is not a duration: HMMSS is expected, with minutes and seconds from 00 to 59, and with more \
                 digits for the hours where they are needed",
                field.place()
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(line: &str) -> (&str, Option<&str>, Option<&str>) {
        let record = parse(line.as_bytes(), DateOrder::Dmy).unwrap();
        (record.called_number, record.call_code, record.calling_number)
    }

    fn refused(line: &[u8]) -> (Code, String) {
        let malformed = parse(line, DateOrder::Dmy).unwrap_err();
        (malformed.code, malformed.reason)
    }

    #[test]
    fn the_fields_of_a_whole_line_are_read_however_wide_the_gaps_are() {
        let record = parse(b"170925 1547 00252                    2434 0                2432", DateOrder::Dmy).unwrap();
        assert_eq!(record.end, 1_758_124_020);
        assert_eq!(record.duration, 172);
        for line in [
            "170925 1547 00252                    2434 0                2432",
            "170925 1547 00252    2434               0                     2432",
            "170925 1547 00252 2434 0 2432",
            "170925\t1547\t00252\t2434\t0\t2432  \0",
        ] {
            assert_eq!(numbers(line), ("2434", Some("0"), Some("2432")), "{line:?}");
        }
        assert_eq!(numbers("170925 1547 00252 *33# LONGCODE 0049#1*2"), ("*33#", Some("LONGCODE"), Some("0049#1*2")));
    }

    #[test]
    fn fields_are_what_stands_between_blanks_wherever_they_are() {
        // Every length around those that are looked at together, with gaps and fields of every length.
        for length in 0..=200 {
            for period in 1..=70 {
                let mut line: Vec<u8> = (0..length).map(|at| b"x \t"[(at / period + at / 64) % 3]).collect();
                line.truncate(line.trim_ascii_end().len());
                let text = str::from_utf8(&line).unwrap();
                let expected: Vec<_> = text
                    .split([' ', '\t'])
                    .filter(|field| !field.is_empty())
                    .map(|field| (field.as_ptr() as usize - text.as_ptr() as usize + 1, field.len()))
                    .collect();
                match fields(text) {
                    Ok(Fields { found, count }) => {
                        let found: Vec<_> =
                            found[..count].iter().map(|field| (field.column, field.text.len())).collect();
                        assert_eq!(found, expected, "{text:?}");
                    }
                    Err(malformed) if expected.len() < FEWEST_FIELDS => assert_eq!(malformed.code, Code::TooFewFields),
                    Err(malformed) => {
                        assert!(expected.len() > MOST_FIELDS, "{text:?}");
                        assert_eq!(malformed.code, Code::TooManyFields);
                    }
                }
            }
        }
    }

    #[test]
    fn one_field_behind_the_called_number_is_told_by_its_place_and_length() {
        for (line, code, calling) in [
            // One or two characters right behind the called number: the code.
            ("170925 1547 00252                    2434 0", Some("0"), None),
            ("170925 1547 00252                    2434  12", Some("12"), None),
            ("170925 1547 00252 2434 C", Some("C"), None),
            // A letter: the code, wherever it stands.
            ("170925 1547 00252    2434               C", Some("C"), None),
            // Far to the right: the calling number, however short.
            ("170925 1547 00252                    2434                  2432", None, Some("2432")),
            ("170925 1547 00252                    2434                  9", None, Some("9")),
            // Longer than a code: the calling number, however near.
            ("170925 1547 00252 2434 2432", None, Some("2432")),
            ("170925 1547 00252 2434 100", None, Some("100")),
            ("170925 1547 00252                    2434 123456789012345678", None, Some("123456789012345678")),
            // Neither.
            ("170925 1547 00252 2434", None, None),
        ] {
            assert_eq!(numbers(line), ("2434", code, calling), "{line:?}");
        }
    }

    #[test]
    fn months_come_first_where_the_option_says_so() {
        let line = b"091725 1547 00252 2434 0 2432";
        assert_eq!(parse(line, DateOrder::Mdy).unwrap().end, 1_758_124_020);
        assert_eq!(refused(line).0, Code::BadDate);
        assert_eq!(parse(b"290224 0000 00000 1", DateOrder::Dmy).unwrap().end, 1_709_164_800);
        assert_eq!(parse(b"311299 2359 00000 1", DateOrder::Dmy).unwrap().end, 4_102_444_740);
    }

    #[test]
    fn durations_may_have_more_digits_for_the_hours() {
        let duration = |text: &str| parse(format!("170925 1547 {text} 1").as_bytes(), DateOrder::Dmy).unwrap().duration;
        assert_eq!(duration("00000"), 0);
        assert_eq!(duration("95959"), 35_999);
        assert_eq!(duration("120000"), 43_200);
        assert_eq!(duration("999995959"), 359_999_999);
    }

    #[test]
    fn every_kind_of_malformed_line_has_its_code_and_shows_value_and_place() {
        for (line, code, parts) in [
            (&b"310225 1547 00252 1 0 2"[..], Code::BadDate, ["column 1: \"310225\"", "month 2 of 2025 has no day 31"]),
            (b"171325 1547 00252 1 0 2", Code::BadDate, ["\"171325\"", "no month 13"]),
            (b"290225 1547 00252 1 0 2", Code::BadDate, ["\"290225\"", "no day 29"]),
            (b"17/09/25 1547 00252 1 0 2", Code::BadDate, ["\"17/09/25\"", "DDMMYY"]),
            (b"170925 2400 00252 1 0 2", Code::BadTime, ["column 8: \"2400\"", "HHMM"]),
            (b"170925 1560 00252 1 0 2", Code::BadTime, ["\"1560\"", "HHMM"]),
            (b"170925 1547 00275 1 0 2", Code::BadDuration, ["column 13: \"00275\"", "HMMSS"]),
            (b"170925 1547 06100 1 0 2", Code::BadDuration, ["\"06100\"", "HMMSS"]),
            (b"170925 1547 -0252 1 0 2", Code::BadDuration, ["\"-0252\"", "HMMSS"]),
            (b"170925 1547 252 1 0 2", Code::BadDuration, ["\"252\"", "HMMSS"]),
            (b"170925 1547 1234500252 1 0 2", Code::BadDuration, ["\"1234500252\"", "HMMSS"]),
            (b"170925 1547 00252", Code::TooFewFields, ["has 3 of the fields", "\"170925 1547 00252\""]),
            (b"170925 1547 00252 1 0 2 3", Code::TooManyFields, ["has 7 fields", "at most 6"]),
            (b"170925 1547 00252 24\xc3( 0 2", Code::NotUtf8, ["column 21", "0xc3"]),
            (b"170925 1547 00252 24\x0034 0 2", Code::BadCharacter, ["column 21", "U+0000"]),
            (b"170925 1547 00252 24\xc2\xa034 0 2", Code::BadCharacter, ["column 21", "U+00A0"]),
        ] {
            let (found, reason) = refused(line);
            assert_eq!(found, code, "{reason}");
            assert!(parts.iter().all(|part| reason.contains(part)), "{reason}");
        }
    }
}
