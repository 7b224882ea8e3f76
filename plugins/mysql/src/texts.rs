//! Text that goes into a column of another type. The server reads some of it as
//! something else without a word (`'1'` as the first word of an enum, `'70'` as the
//! year 1970, `'10'` as ten seconds), so what a text may look like is decided here.

/// What a text must look like for a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    /// One of the column's words.
    Word(Vec<String>),
    /// Some of the column's words, with commas between them, or none.
    Words(Vec<String>),
    /// A whole number.
    Whole,
    /// A number with a fraction, and with an exponent where `exponent`.
    Number {
        /// Whether `1e5` is one.
        exponent: bool,
    },
    /// Four digits.
    Year,
    /// `2026-11-28`
    Date,
    /// `2026-11-28 15:44:08.123456`, or less of it.
    Moment,
    /// `-838:59:59.123456`, or less behind the seconds.
    Time,
}

impl Shape {
    /// What text must look like for a column of this type; None: anything goes, or the server refuses the rest.
    pub fn of(data_type: &str, declared: &str) -> Option<Self> {
        Some(match data_type {
            "enum" => Self::Word(words(declared)),
            "set" => Self::Words(words(declared)),
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" => Self::Whole,
            "decimal" => Self::Number { exponent: false },
            "float" | "double" => Self::Number { exponent: true },
            "year" => Self::Year,
            "date" => Self::Date,
            "datetime" | "timestamp" => Self::Moment,
            "time" => Self::Time,
            _ => return None,
        })
    }

    /// Whether a text is of this shape. What it means, such as a month 13, is for the server to refuse.
    pub fn fits(&self, text: &str) -> bool {
        let is_word =
            |words: &[String], text: &str| words.iter().any(|word| word.to_lowercase() == text.to_lowercase());
        match self {
            Self::Word(all) => is_word(all, text),
            Self::Words(all) => text.is_empty() || text.split(',').all(|part| is_word(all, part)),
            Self::Whole => is_digits(unsigned(text)),
            Self::Number { exponent } => {
                let text = unsigned(text);
                let (number, power) = match text.split_once(['e', 'E']) {
                    Some((number, power)) if *exponent => (number, Some(power)),
                    _ => (text, None),
                };
                let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
                is_digits(whole) && is_digits(fraction) && power.is_none_or(|power| is_digits(unsigned(power)))
            }
            Self::Year => text.len() == 4 && is_digits(text),
            Self::Date => is_date(text),
            Self::Moment => match text.split_once([' ', 'T']) {
                Some((date, time)) => is_date(date) && is_time(time, 2..=2),
                None => is_date(text),
            },
            Self::Time => is_time(text.strip_prefix('-').unwrap_or(text), 2..=3),
        }
    }
}

/// The words of `enum('a','b')`.
fn words(declared: &str) -> Vec<String> {
    let mut words = vec![];
    let mut rest = declared.split_once('(').map_or("", |(_, rest)| rest);
    while let Some((_, after)) = rest.split_once('\'') {
        let mut word = String::new();
        rest = after;
        // A quote inside stands there twice.
        while let Some((part, after)) = rest.split_once('\'') {
            word.push_str(part);
            rest = after;
            match rest.strip_prefix('\'') {
                Some(after) => {
                    word.push('\'');
                    rest = after;
                }
                None => break,
            }
        }
        words.push(word);
    }
    words
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

/// Hours, minutes, seconds and their fraction. Moments may leave the seconds out.
fn is_time(text: &str, hours: std::ops::RangeInclusive<usize>) -> bool {
    let (clock, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let parts: Vec<_> = clock.split(':').collect();
    let whole = parts.len() == 3 || (parts.len() == 2 && *hours.end() == 2 && clock.len() == text.len());
    whole
        && is_digits(fraction)
        && parts.iter().all(|part| is_digits(part))
        && hours.contains(&parts[0].len())
        && parts[1..].iter().all(|part| part.len() == 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_taken_for_what_it_says_and_nothing_else() {
        let shape = |data_type, declared| Shape::of(data_type, declared).unwrap();
        for (shape, fits, does_not) in [
            (shape("enum", "enum('a','it''s','')"), vec!["a", "A", "it's", ""], vec!["1", "b", "a,it's", "0"]),
            (shape("set", "set('x','y')"), vec!["x", "x,y", ""], vec!["3", "x,z", "x,"]),
            (shape("int", "int(11)"), vec!["0", "-12", "+7"], vec!["1.6", "1e3", "", " 1", "0x1"]),
            (shape("decimal", "decimal(5,2)"), vec!["1.5", "-0.25", "7"], vec!["1e2", ".5", "5.", "x"]),
            (shape("double", "double"), vec!["1.5", "1e-7", "-2E+3"], vec!["e5", "1e", "nan"]),
            (shape("year", "year(4)"), vec!["1970", "0000"], vec!["70", "2", "20260"]),
            (shape("date", "date"), vec!["2026-11-28"], vec!["2026-11-28 10:00:00", "20261128", "26-11-28"]),
            (
                shape("datetime", "datetime(6)"),
                vec!["2026-11-28", "2026-11-28 15:44", "2026-11-28T15:44:08.123456"],
                vec!["20261128", "2026-11-28 15", "2026-11-28 1:2:3"],
            ),
            (shape("time", "time"), vec!["15:44:08", "-838:59:59", "00:00:01.5"], vec!["10", "15:44", "1:02:03"]),
        ] {
            for text in fits {
                assert!(shape.fits(text), "{text:?} {shape:?}");
            }
            for text in does_not {
                assert!(!shape.fits(text), "{text:?} {shape:?}");
            }
        }
        assert_eq!(Shape::of("varchar", "varchar(5)"), None);
    }
}
