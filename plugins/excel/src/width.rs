//! How long values are as their formats show them, in characters: a column that is too narrow shows `####`.

use crate::config::Total;

/// A number that no format says how to show has as many digits and marks.
const GENERAL: usize = 11;
/// Decimals of a floating-point number have no more.
const MOST_DECIMALS: usize = 30;

/// How long values are with a number format.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// As they are.
    General,
    /// Dates and times, which are all about as long.
    Moment(usize),
    /// Numbers: positive ones, negative ones and zeros; where there are fewer, the first is for the others.
    Number(Vec<Section>),
}

/// One of the parts of a format between `;`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Section {
    /// Digits before the point that are there in any case, and all behind it.
    whole: usize,
    decimals: usize,
    has_digits: bool,
    has_thousands: bool,
    has_exponent: bool,
    /// By how many powers of ten a number is multiplied: percents and thousands.
    shift: i32,
    /// Characters beside the digits.
    more: usize,
}

/// What a format is made of.
enum Token {
    /// Characters that stand for themselves, by how many.
    Literal(usize),
    /// Letters of dates of one kind, by how many.
    Letters(char, usize),
    /// Anything else.
    Mark(char),
}

impl Shape {
    /// Of a format that [`crate::config`] has checked.
    pub fn of(format: &str) -> Self {
        if format.eq_ignore_ascii_case("general") {
            return Self::General;
        }
        let tokens = tokens(format);
        if tokens.iter().any(|token| matches!(token, Token::Letters(..))) {
            return Self::Moment(tokens.iter().map(length_of_moment).sum());
        }
        let sections = tokens.split(|token| matches!(token, Token::Mark(';')));
        Self::Number(sections.map(Section::of).collect())
    }

    /// How long a number is.
    pub fn length(&self, number: f64) -> usize {
        match self {
            Self::General => {
                let text = format!("{number}");
                // Where a whole number has no space, Excel shows it with an exponent, which nobody wants to read.
                if number.fract() == 0.0 { text.len() } else { text.len().min(GENERAL) }
            }
            Self::Moment(length) => *length,
            Self::Number(sections) => {
                let of_sign = match number.total_cmp(&0.0) {
                    _ if number == 0.0 => sections.get(2),
                    std::cmp::Ordering::Less => sections.get(1),
                    _ => None,
                };
                let sign = usize::from(number < 0.0 && of_sign.is_none());
                sign + of_sign.or(sections.first()).map_or(0, |section| section.length(number.abs()))
            }
        }
    }
}

impl Section {
    fn of(tokens: &[Token]) -> Self {
        let mut section = Self::default();
        let mut is_behind_point = false;
        for (at, token) in tokens.iter().enumerate() {
            let digits_follow = tokens[at + 1..].iter().any(|it| matches!(it, Token::Mark('0' | '#' | '?')));
            match token {
                Token::Literal(length) => section.more += length,
                Token::Letters(..) => {}
                // What follows is the exponent.
                Token::Mark(_) if section.has_exponent => {}
                Token::Mark('0' | '?' | '#') if is_behind_point => section.decimals += 1,
                Token::Mark('0' | '?') => (section.whole, section.has_digits) = (section.whole + 1, true),
                Token::Mark('#') => section.has_digits = true,
                Token::Mark('.') => (is_behind_point, section.has_digits) = (true, true),
                Token::Mark(',') if section.has_digits && digits_follow => section.has_thousands = true,
                // Behind the digits, each stands for thousands that are left out.
                Token::Mark(',') if section.has_digits => section.shift -= 3,
                Token::Mark('%') => (section.shift, section.more) = (section.shift + 2, section.more + 1),
                Token::Mark('E' | 'e') => section.has_exponent = true,
                Token::Mark(_) => section.more += 1,
            }
        }
        section
    }

    fn length(&self, number: f64) -> usize {
        if !self.has_digits {
            return self.more;
        }
        let point = usize::from(self.decimals > 0) + self.decimals;
        if self.has_exponent {
            return 1 + point + "E+308".len() + self.more;
        }
        let shifted = number * 10_f64.powi(self.shift);
        let rounded = format!("{shifted:.*}", self.decimals.min(MOST_DECIMALS));
        let whole = rounded.split('.').next().map_or(0, str::len).max(self.whole);
        let marks = if self.has_thousands { (whole - 1) / 3 } else { 0 };
        whole + marks + point + self.more
    }
}

fn length_of_moment(token: &Token) -> usize {
    match token {
        Token::Literal(length) => *length,
        Token::Letters('y', 1 | 2) => 2,
        Token::Letters('y', _) => 4,
        Token::Letters('m', 3) => 3,
        Token::Letters('m', 4) => "September".len(),
        Token::Letters('m', 5..) => 1,
        Token::Letters('d', 3) => 3,
        Token::Letters('d', 4..) => "Wednesday".len(),
        Token::Letters('a', length) => *length,
        // Of hours that are not counted anew every day.
        Token::Letters('[', _) => 6,
        Token::Letters(..) => 2,
        Token::Mark(_) => 1,
    }
}

fn tokens(format: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = format.chars().peekable();
    while let Some(it) = rest.next() {
        let lower = it.to_ascii_lowercase();
        match lower {
            '"' => tokens.push(Token::Literal(wide(&rest.by_ref().take_while(|it| *it != '"').collect::<String>()))),
            '\\' => tokens.push(Token::Literal(rest.next().map_or(0, wide_of))),
            // A space as wide as the next character; and one that fills the cell.
            '_' => tokens.push(Token::Literal(rest.next().map_or(0, wide_of))),
            '*' => {
                rest.next();
            }
            '[' => {
                let inside: String = rest.by_ref().take_while(|it| *it != ']').collect();
                // A currency with its language, hours in all; colours and conditions are not shown.
                if let Some(currency) = inside.strip_prefix('$') {
                    tokens.push(Token::Literal(wide(currency.split('-').next().unwrap_or_default())));
                } else if inside.chars().all(|it| matches!(it.to_ascii_lowercase(), 'h' | 'm' | 's')) {
                    tokens.push(Token::Letters('[', 1));
                }
            }
            'y' | 'm' | 'd' | 'h' | 's' | 'b' => {
                let mut count = 1;
                while rest.next_if(|next| next.to_ascii_lowercase() == lower).is_some() {
                    count += 1;
                }
                tokens.push(Token::Letters(lower, count));
            }
            'a' => {
                let rest_of_half: String = rest.clone().take(4).collect();
                let half = ["m/pm", "/p"].into_iter().find(|it| rest_of_half.to_ascii_lowercase().starts_with(it));
                let skipped = half.map_or(0, str::len);
                rest.by_ref().take(skipped).for_each(drop);
                tokens.push(Token::Letters('a', skipped.div_ceil(2).max(1)));
            }
            _ if !it.is_ascii() => tokens.push(Token::Literal(wide_of(it))),
            _ => tokens.push(Token::Mark(it)),
        }
    }
    tokens
}

/// How long a text is: its longest line.
pub fn of_text(text: &str) -> usize {
    if text.is_ascii() && !text.contains('\n') {
        return text.len();
    }
    text.lines().map(wide).max().unwrap_or_default()
}

fn wide(text: &str) -> usize {
    text.chars().map(wide_of).sum()
}

/// Characters of East Asia, and pictures, are as wide as two others.
fn wide_of(it: char) -> usize {
    let is_wide = matches!(
        u32::from(it),
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x4dbf | 0x4e00..=0xa4cf | 0xa960..=0xa97c | 0xac00..=0xd7a3
            | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff01..=0xff60 | 0xffe0..=0xffe6 | 0x1f300..=0x1faff
            | 0x20000..=0x3fffd
    );
    if is_wide { 2 } else { 1 }
}

/// The numbers of some rows, for the length of their total.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub values: usize,
    numbers: usize,
    /// Of their distances from zero.
    sum: f64,
    has_negative: bool,
}

impl Seen {
    pub fn add(&mut self, number: f64) {
        self.numbers += 1;
        self.sum += number.abs();
        self.has_negative |= number < 0.0;
    }

    /// What a total may be at most, where there are so many times as many rows; no other is as long.
    pub fn largest(&self, total: Total, times: f64) -> Option<f64> {
        let sum = if self.has_negative { -self.sum } else { self.sum };
        match total {
            Total::Sum => Some(sum * times),
            Total::Average => Some(sum / self.numbers.max(1) as f64),
            Total::Count => Some(self.values as f64 * times),
            // It is one of the values.
            Total::Min | Total::Max => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_long_as_their_formats_show_them() {
        for (format, number, shown) in [
            ("General", 1_234_567.0, "1234567"),
            ("General", 1.0 / 3.0, "0.333333333"),
            ("0", 999.5, "1000"),
            ("#,##0.00", 1_234_567.891, "1,234,567.89"),
            ("#,##0.00", -1.0, "-1.00"),
            ("#,##0.00", 999_999.999, "1,000,000.00"),
            ("000000", 7.0, "000007"),
            ("0.0%", 0.1234, "12.3%"),
            ("0,", 1_234_567.0, "1235"),
            ("#,##0 \"EUR\"", 12_345.0, "12,345 EUR"),
            ("[Red]#,##0;(#,##0);\"none\"", -12_345.0, "(12,345)"),
            ("[Red]#,##0;(#,##0);\"none\"", 0.0, "none"),
            ("[$\u{20ac}-407] 0.00", 5.0, "\u{20ac} 5.00"),
            ("0.00E+00", 1.5, "1.50E+308"),
            ("yyyy-mm-dd", 46_000.0, "2025-12-09"),
            ("dddd, d mmmm yyyy", 46_000.0, "Wednesday, 30 September 2026"),
            ("hh:mm:ss AM/PM", 0.5, "12:00:00 PM"),
        ] {
            assert_eq!(Shape::of(format).length(number), shown.chars().count(), "{number} as {format}");
        }
        assert_eq!(Shape::of("0.00\" \u{5143}\"").length(5.0), 7);
    }

    #[test]
    fn characters_of_east_asia_are_wide() {
        assert_eq!((of_text("abc"), of_text("日本語"), of_text("한국\na"), of_text("Zoë")), (3, 6, 4, 3));
    }
}
