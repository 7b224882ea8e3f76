//! Dates and times.

use chrono::{DateTime, Datelike, NaiveDateTime, Timelike};

/// A moment as clocks show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub NaiveDateTime);

impl Moment {
    /// Seconds since 1970-01-01, and billionths of one. None of years that nobody has.
    pub fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        DateTime::from_timestamp(seconds, nanoseconds).map(|it| Self(it.naive_utc()))
    }
}

/// A format of dates and times.
#[derive(Debug, Clone, PartialEq)]
pub struct DateFormat(Vec<Part>);

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    /// With as many letters.
    Year(usize),
    Month(usize),
    Day(usize),
    Hour(usize),
    /// Of hours from 1 to 12.
    HalfHour(usize),
    Minute(usize),
    Second(usize),
    /// Digits of a second.
    Fraction(usize),
    Half,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl DateFormat {
    /// Reads a format; an error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while let Some(it) = rest.chars().next() {
            let lower = it.to_ascii_lowercase();
            if let Some(behind) = ["AM/PM", "am/pm"].into_iter().find_map(|half| rest.strip_prefix(half)) {
                parts.push(Part::Half);
                rest = behind;
                continue;
            }
            let count = rest.chars().take_while(|next| next.to_ascii_lowercase() == lower).count();
            let mut length = count * it.len_utf8();
            match lower {
                'y' => parts.push(Part::Year(limited(it, count, 4)?)),
                'm' => {
                    // Behind hours, an `m` is minutes; so it is before seconds, below.
                    let last = parts.iter().rev().find(|part| !matches!(part, Part::Text(_)));
                    match last {
                        Some(Part::Hour(_)) if count < 3 => parts.push(Part::Minute(count)),
                        _ => parts.push(Part::Month(limited(it, count, 4)?)),
                    }
                }
                'd' => parts.push(Part::Day(limited(it, count, 4)?)),
                'h' => parts.push(Part::Hour(limited(it, count, 2)?)),
                's' => {
                    let last = parts.iter_mut().rev().find(|part| !matches!(part, Part::Text(_)));
                    if let Some(part) = last
                        && let Part::Month(letters @ 1..=2) = *part
                    {
                        *part = Part::Minute(letters);
                    }
                    parts.push(Part::Second(limited(it, count, 2)?));
                }
                '0' if matches!(parts.last(), Some(Part::Text(text)) if text.ends_with('.')) => {
                    parts.push(Part::Fraction(limited(it, count, 9)?));
                }
                '"' => {
                    let behind = &rest[1..];
                    let end = behind.find('"').ok_or("a double quote has no end")?;
                    parts.push(Part::Text(behind[..end].to_owned()));
                    length = end + 2;
                }
                '\\' => {
                    let letter = rest[1..].chars().next().ok_or("a backslash has nothing behind it")?;
                    parts.push(Part::Text(letter.to_string()));
                    length = 1 + letter.len_utf8();
                }
                _ if it.is_ascii_alphanumeric() || matches!(it, '[' | ']' | ';' | '@') => {
                    return Err(format!("`{it}` has no meaning here"));
                }
                _ => {
                    parts.push(Part::Text(it.to_string()));
                    length = it.len_utf8();
                }
            }
            rest = &rest[length..];
        }
        if parts.iter().all(|part| matches!(part, Part::Text(_))) {
            return Err("it shows nothing of a date".into());
        }
        if parts.contains(&Part::Half) {
            for part in &mut parts {
                if let Part::Hour(letters) = *part {
                    *part = Part::HalfHour(letters);
                }
            }
        }
        Ok(Self(parts))
    }

    /// Appends a moment.
    pub fn write(&self, Moment(it): Moment, out: &mut String) {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Year(1..=2) => out.push_str(&format!("{:02}", it.year().rem_euclid(100))),
                Part::Year(_) => out.push_str(&format!("{:04}", it.year())),
                Part::Month(3) => out.push_str(&MONTHS[it.month0() as usize][..3]),
                Part::Month(4) => out.push_str(MONTHS[it.month0() as usize]),
                Part::Day(3) => out.push_str(&DAYS[it.weekday().num_days_from_monday() as usize][..3]),
                Part::Day(4) => out.push_str(DAYS[it.weekday().num_days_from_monday() as usize]),
                Part::Month(letters) => padded(it.month(), *letters, out),
                Part::Day(letters) => padded(it.day(), *letters, out),
                Part::Hour(letters) => padded(it.hour(), *letters, out),
                Part::HalfHour(letters) => padded(it.hour12().1, *letters, out),
                Part::Minute(letters) => padded(it.minute(), *letters, out),
                Part::Second(letters) => padded(it.second(), *letters, out),
                Part::Fraction(digits) => out.push_str(&format!("{:09}", it.nanosecond() % 1_000_000_000)[..*digits]),
                Part::Half => out.push_str(if it.hour() < 12 { "AM" } else { "PM" }),
            }
        }
    }
}

fn limited(it: char, count: usize, most: usize) -> Result<usize, String> {
    if count > most {
        return Err(format!("`{it}` stands there {count} times, and {most} is the most"));
    }
    Ok(count)
}

fn padded(value: u32, digits: usize, out: &mut String) {
    out.push_str(&format!("{value:0digits$}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: &str) -> String {
        let mut out = String::new();
        // 2026-03-09T15:04:05.678
        DateFormat::parse(format).unwrap().write(Moment::new(1_773_068_645, 678_000_000).unwrap(), &mut out);
        out
    }

    #[test]
    fn dates_are_shown_as_excel_shows_them() {
        for (format, expected) in [
            ("yyyy-mm-dd", "2026-03-09"),
            ("d.m.yy", "9.3.26"),
            ("dddd, d mmmm yyyy", "Monday, 9 March 2026"),
            ("ddd mmm", "Mon Mar"),
            ("dd/mm/yyyy hh:mm", "09/03/2026 15:04"),
            ("h:mm AM/PM", "3:04 PM"),
            ("mm:ss.000", "04:05.678"),
            ("hh\"h\"mm", "15h04"),
            ("YYYY年M月", "2026年3月"),
        ] {
            assert_eq!(shown(format), expected, "{format}");
        }
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for faulty in ["", "-", "x", "yyyyy", "\"d", "#,##0", "[h]:mm", "d;m"] {
            assert!(DateFormat::parse(faulty).is_err(), "{faulty}");
        }
    }
}
