//! Text that goes into a column of another type. The server reads some of it as something else without a word
//! (an empty text as 0, `1` as true, `1,5` as 15), so what a text may look like is decided here.

/// What a text must look like for a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// `0`, `1`, `true` or `false`.
    Bit,
    /// A whole number.
    Whole,
    /// A number with a fraction, and with an exponent where `exponent`.
    Number {
        /// Whether `1e5` is one.
        exponent: bool,
    },
    /// `2026-11-28`
    Date,
    /// `2026-11-28 15:44:08.1234567`, or less of it, and a zone behind it where `zone`.
    Moment {
        /// Whether `+01:00` may stand behind it.
        zone: bool,
    },
    /// `15:44:08.1234567`, or less behind the seconds.
    Time,
    /// `6F9619FF-8B86-D011-B42D-00C04FC964FF`
    Guid,
}

impl Shape {
    /// What text must look like for a column of this type; None: anything goes, or the server refuses the rest.
    pub fn of(data_type: &str) -> Option<Self> {
        Some(match data_type {
            "bit" => Self::Bit,
            "tinyint" | "smallint" | "int" | "bigint" => Self::Whole,
            "decimal" | "numeric" | "money" | "smallmoney" => Self::Number { exponent: false },
            "real" | "float" => Self::Number { exponent: true },
            "date" => Self::Date,
            "datetime" | "smalldatetime" | "datetime2" => Self::Moment { zone: false },
            "datetimeoffset" => Self::Moment { zone: true },
            "time" => Self::Time,
            "uniqueidentifier" => Self::Guid,
            _ => return None,
        })
    }

    /// Whether a text is of this shape. What it means, such as a month 13, is for the server to refuse.
    pub fn fits(self, text: &str) -> bool {
        match self {
            Self::Bit => ["0", "1", "true", "false"].iter().any(|word| word.eq_ignore_ascii_case(text)),
            Self::Whole => is_digits(unsigned(text)),
            Self::Number { exponent } => {
                let text = unsigned(text);
                let (number, power) = match text.split_once(['e', 'E']) {
                    Some((number, power)) if exponent => (number, Some(power)),
                    _ => (text, None),
                };
                let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
                is_digits(whole) && is_digits(fraction) && power.is_none_or(|power| is_digits(unsigned(power)))
            }
            Self::Date => is_date(text),
            Self::Moment { zone } => {
                let text = if zone { without_zone(text) } else { text };
                match text.split_once([' ', 'T']) {
                    Some((date, time)) => is_date(date) && is_time(time),
                    None => is_date(text),
                }
            }
            Self::Time => is_time(text),
            Self::Guid => {
                let parts: Vec<_> = text.split('-').collect();
                let lengths = parts.iter().map(|part| part.len());
                lengths.eq([8, 4, 4, 4, 12])
                    && parts.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
            }
        }
    }
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_date(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    matches!(parts.as_slice(), [year, month, day]
        if [(year, 4), (month, 2), (day, 2)].iter().all(|(part, length)| part.len() == *length && is_digits(part)))
}

/// Hours, minutes, seconds and their fraction, of at most seven digits. Seconds may be left out.
fn is_time(text: &str) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<_> = clock.split(':').collect();
    (parts.len() == 3 || (parts.len() == 2 && clock.len() == text.len()))
        && is_digits(fraction)
        && fraction.len() <= 7
        && parts.iter().all(|part| part.len() == 2 && is_digits(part))
}

/// What stands before `Z`, `+01:00` or ` +01:00`.
fn without_zone(text: &str) -> &str {
    if let Some(text) = text.strip_suffix('Z') {
        return text;
    }
    match text.len().checked_sub(6).and_then(|at| text.is_char_boundary(at).then(|| text.split_at(at))) {
        Some((moment, zone)) if zone.starts_with(['+', '-']) && is_time(&zone[1..]) => {
            moment.strip_suffix(' ').unwrap_or(moment)
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_for_what_it_says_and_nothing_else() {
        for (data_type, fits, does_not) in [
            ("bit", vec!["0", "1", "TRUE", "false"], vec!["", "2", "yes"]),
            ("int", vec!["0", "-12", "+7"], vec!["1.6", "1e3", "", " 1", "0x1"]),
            ("decimal", vec!["1.5", "-0.25", "7"], vec!["1e2", ".5", "5.", "x", "1,5", ""]),
            ("money", vec!["1.5"], vec!["$5", "1,000"]),
            ("float", vec!["1.5", "1e-7", "-2E+3"], vec!["e5", "1e", "nan"]),
            ("date", vec!["2026-11-28"], vec!["2026-11-28 10:00:00", "20261128", "26-11-28", "28.11.2026"]),
            (
                "datetime2",
                vec!["2026-11-28", "2026-11-28 15:44", "2026-11-28T15:44:08.1234567"],
                vec!["20261128", "2026-11-28 15", "2026-11-28 1:2:3", "2026-11-28 15:44:08+01:00"],
            ),
            (
                "datetimeoffset",
                vec!["2026-11-28 15:44:08 +01:00", "2026-11-28T15:44:08-05:30", "2026-11-28T15:44:08Z", "2026-11-28"],
                vec!["2026-11-28 15:44:08 CET", "2026-11-28 15:44:08 +1", "ä"],
            ),
            ("time", vec!["15:44:08", "00:00:01.5", "15:44"], vec!["10", "1:02:03", "15:44:08.12345678"]),
            (
                "uniqueidentifier",
                vec!["6f9619ff-8b86-d011-b42d-00c04fc964ff"],
                vec!["{6f9619ff-8b86-d011-b42d-00c04fc964ff}", "6f9619ff8b86d011b42d00c04fc964ff", "x"],
            ),
        ] {
            let shape = Shape::of(data_type).unwrap();
            for text in fits {
                assert!(shape.fits(text), "{text:?} {shape:?}");
            }
            for text in does_not {
                assert!(!shape.fits(text), "{text:?} {shape:?}");
            }
        }
        assert_eq!(Shape::of("varchar"), None);
    }
}
