//! What a number means: a number format says whether it is a date.

/// What the look of a cell makes of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Look {
    /// A number.
    #[default]
    Number,
    /// A day.
    Date,
    /// A day and a time.
    Moment,
    /// A time of the day.
    Time,
    /// A duration.
    Elapsed,
}

/// What a number means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Meaning {
    /// Itself.
    Number(f64),
    /// Days since 1970-01-01.
    Date(i32),
    /// Milliseconds since 1970-01-01T00:00.
    Moment(i64),
    /// Milliseconds since midnight.
    Time(i64),
    /// Milliseconds.
    Elapsed(i64),
    /// Nothing that Excel could show as a date.
    None,
}

/// Excel tells milliseconds apart.
const DAY: f64 = 86_400_000.0;
/// The number of 1970-01-01 among Excel's days.
const EPOCH: i64 = 25_569;
/// The same, where days are counted from 1904 on.
const EPOCH_1904: i64 = 24_107;
/// 9999-12-31.
const LAST_DAY: i64 = 2_932_896;
/// A day of 1900 that there was not: Excel takes the year for a leap year.
const NO_DAY: i64 = 60;
/// A duration is shorter than that, in days.
const LONGEST: f64 = 10_000_000.0;

impl Look {
    /// That of a format that is built in.
    pub const fn built_in(number: u32) -> Self {
        match number {
            // Those from 27 on are dates of East Asia, whose looks differ from place to place.
            14..=17 | 27..=31 | 34..=36 | 50..=58 => Self::Date,
            18..=21 | 32 | 33 | 45 | 47 => Self::Time,
            22 => Self::Moment,
            46 => Self::Elapsed,
            _ => Self::Number,
        }
    }

    /// That of a format, as `yyyy-mm-dd`.
    pub fn of(format: &str) -> Self {
        let (mut has_day, mut has_time, mut has_either) = (false, false, false);
        let mut rest = format;
        if rest.trim().eq_ignore_ascii_case("general") {
            return Self::Number;
        }
        while let Some(next) = rest.chars().next() {
            let after = &rest[next.len_utf8()..];
            rest = match next {
                // What follows is for others: negative numbers, zero, texts.
                ';' => break,
                // These stand in front of a character that means nothing.
                '\\' | '_' | '*' => after.chars().next().map_or("", |it| &after[it.len_utf8()..]),
                '"' => after.split_once('"').map_or("", |(_, rest)| rest),
                '[' => {
                    let (inside, rest) = after.split_once(']').unwrap_or((after, ""));
                    let is_one = |letter: char| inside.chars().all(|it| it.eq_ignore_ascii_case(&letter));
                    if !inside.is_empty() && ['h', 'm', 's'].into_iter().any(is_one) {
                        return Self::Elapsed;
                    }
                    rest
                }
                'a' | 'A' => {
                    let starts = |text: &str| rest.get(..text.len()).is_some_and(|it| it.eq_ignore_ascii_case(text));
                    has_time |= starts("am/pm") || starts("a/p");
                    has_day |= starts("aaa");
                    let length = ["am/pm", "a/p", "aaa"].into_iter().find(|it| starts(it)).map_or(1, str::len);
                    &rest[length..]
                }
                other => {
                    match other.to_ascii_lowercase() {
                        'y' | 'd' => has_day = true,
                        'h' | 's' => has_time = true,
                        // A month or a minute.
                        'm' => has_either = true,
                        _ => {}
                    }
                    after
                }
            };
        }
        match (has_day || (has_either && !has_time), has_time) {
            (true, true) => Self::Moment,
            (true, false) => Self::Date,
            (false, true) => Self::Time,
            (false, false) => Self::Number,
        }
    }

    /// A format with this look.
    pub const fn format(self) -> Option<&'static str> {
        match self {
            Self::Number => None,
            Self::Date => Some("yyyy-mm-dd"),
            Self::Moment => Some("yyyy-mm-dd hh:mm:ss"),
            Self::Time => Some("hh:mm:ss"),
            Self::Elapsed => Some("[h]:mm:ss"),
        }
    }

    /// What a number means with this look.
    pub fn meaning(self, number: f64, from_1904: bool) -> Meaning {
        match self {
            Self::Number => return Meaning::Number(number),
            Self::Elapsed if number.abs() < LONGEST => return Meaning::Elapsed((number * DAY).round() as i64),
            Self::Elapsed => return Meaning::None,
            _ if !(0.0..LAST_DAY as f64 * 2.0).contains(&number) => return Meaning::None,
            _ => {}
        }
        let milliseconds = (number * DAY).round() as i64;
        let (days, time) = (milliseconds.div_euclid(DAY as i64), milliseconds.rem_euclid(DAY as i64));
        let is_time = self == Self::Time || (time > 0 && !from_1904);
        let day = match (days, from_1904) {
            (0, _) if is_time => return Meaning::Time(time),
            (0 | NO_DAY, false) => return Meaning::None,
            (1..NO_DAY, false) => days - EPOCH + 1,
            (_, false) => days - EPOCH,
            (_, true) => days - EPOCH_1904,
        };
        match i32::try_from(day) {
            Ok(_) if day > LAST_DAY => Meaning::None,
            Ok(day) if self == Self::Date && time == 0 => Meaning::Date(day),
            _ => Meaning::Moment(day * DAY as i64 + time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_say_what_numbers_are() {
        for (format, look) in [
            ("General", Look::Number),
            ("#,##0.00", Look::Number),
            ("0.00E+00", Look::Number),
            ("\"day\" 0", Look::Number),
            ("0\\d", Look::Number),
            ("#,##0_d*h", Look::Number),
            ("[Red]0", Look::Number),
            ("#,##0.00\\ [$\u{20ac}-407];[Red]-#,##0.00", Look::Number),
            ("0;d", Look::Number),
            ("@", Look::Number),
            ("", Look::Number),
            ("yyyy-mm-dd", Look::Date),
            ("[$-409]mmmm\\ d\\,\\ yyyy;@", Look::Date),
            ("MMM", Look::Date),
            ("aaaa", Look::Date),
            ("DD.MM.YYYY HH:MM", Look::Moment),
            ("m/d/yy h:mm AM/PM", Look::Moment),
            ("h:mm a/p", Look::Time),
            ("mm:ss.0", Look::Time),
            ("[h]:mm", Look::Elapsed),
            ("[Blue][SS].00", Look::Elapsed),
            ("\"", Look::Number),
            ("[", Look::Number),
            ("\\", Look::Number),
        ] {
            assert_eq!(Look::of(format), look, "{format}");
        }
        for look in [Look::Date, Look::Moment, Look::Time, Look::Elapsed] {
            assert_eq!(Look::of(look.format().unwrap()), look);
        }
    }

    #[test]
    fn days_are_those_that_excel_shows() {
        let day = |number, from_1904| Look::Date.meaning(number, from_1904);
        assert_eq!(day(1.0, false), Meaning::Date(-25_567), "1900-01-01");
        assert_eq!(day(59.0, false), Meaning::Date(-25_509), "1900-02-28");
        assert_eq!(day(60.0, false), Meaning::None, "1900-02-29");
        assert_eq!(day(61.0, false), Meaning::Date(-25_508), "1900-03-01");
        assert_eq!(day(46_081.0, false), Meaning::Date(20_512));
        assert_eq!(day(2_958_465.0, false), Meaning::Date(2_932_896), "9999-12-31");
        for wrong in [0.0, -1.0, 2_958_466.0, 1e300, f64::NAN] {
            assert_eq!(day(wrong, false), Meaning::None, "{wrong}");
        }
        assert_eq!((day(0.0, true), day(44_619.0, true)), (Meaning::Date(-24_107), Meaning::Date(20_512)));
        assert_eq!(day(2_957_004.0, true), Meaning::None);
        assert_eq!(day(46_081.25, false), Meaning::Moment(20_512 * 86_400_000 + 21_600_000));
        assert_eq!(Look::Moment.meaning(46_081.0, false), Meaning::Moment(20_512 * 86_400_000));
        assert_eq!(Look::Moment.meaning(0.5, false), Meaning::Time(43_200_000));
        assert_eq!(Look::Time.meaning(0.0, false), Meaning::Time(0));
        assert_eq!(Look::Time.meaning(0.999_999_999_999, false), Meaning::Moment(-25_567 * 86_400_000));
        assert_eq!(Look::Time.meaning(46_081.5, false), Meaning::Moment(20_512 * 86_400_000 + 43_200_000));
        assert_eq!(Look::Elapsed.meaning(-1.5, false), Meaning::Elapsed(-129_600_000));
        assert_eq!(Look::Elapsed.meaning(1e9, false), Meaning::None);
        assert_eq!(Look::Number.meaning(-1e300, false), Meaning::Number(-1e300));
    }
}
