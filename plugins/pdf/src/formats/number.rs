//! Numbers.

use std::borrow::Cow;

/// What stands between digits.
#[derive(Debug, Clone, PartialEq)]
pub struct Marks {
    pub decimal: String,
    pub thousands: String,
}

/// A format of numbers: that of positive ones, and those of others where they are told apart.
#[derive(Debug, Clone, PartialEq)]
pub struct NumberFormat {
    positive: Section,
    negative: Option<Section>,
    zero: Option<Section>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Section {
    before: String,
    behind: String,
    /// Digits before the point that are there in any case.
    whole: usize,
    /// Digits behind it that are there in any case, and at most.
    decimals: (usize, usize),
    has_thousands: bool,
    /// By how many powers of ten a value is multiplied.
    shift: usize,
    has_digits: bool,
}

/// A number as its digits: `-123.45`.
#[derive(Debug, Clone, PartialEq)]
pub struct Digits<'a> {
    pub is_negative: bool,
    pub whole: Cow<'a, str>,
    pub decimals: Cow<'a, str>,
}

impl<'a> Digits<'a> {
    /// Of a text such as `-123.45`; none of what has no digits or an exponent.
    pub fn read(text: &'a str) -> Option<Self> {
        let (is_negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
        let is_number = |it: &str| it.bytes().all(|byte| byte.is_ascii_digit());
        (!whole.is_empty() && is_number(whole) && is_number(decimals)).then(|| Self {
            is_negative,
            whole: whole.into(),
            decimals: decimals.into(),
        })
    }

    /// The same, multiplied by a power of ten.
    fn shifted(&self, places: usize) -> Self {
        let mut whole = self.whole.to_string();
        let taken = places.min(self.decimals.len());
        whole.push_str(&self.decimals[..taken]);
        whole.extend(std::iter::repeat_n('0', places - taken));
        let trimmed = whole.trim_start_matches('0');
        let whole = if trimmed.is_empty() { "0" } else { trimmed }.to_owned();
        Self { is_negative: self.is_negative, whole: whole.into(), decimals: self.decimals[taken..].to_owned().into() }
    }

    /// The same with as many decimals at most; halves are rounded away from zero.
    pub fn rounded(&self, most: usize) -> Self {
        if self.decimals.len() <= most {
            return self.clone();
        }
        let kept = self.decimals[..most].to_owned();
        if self.decimals.as_bytes()[most] < b'5' {
            return Self { is_negative: self.is_negative, whole: self.whole.clone(), decimals: kept.into() };
        }
        let mut digits: Vec<u8> = format!("0{}{kept}", self.whole).into_bytes();
        for digit in digits.iter_mut().rev() {
            if *digit != b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
        let digits = String::from_utf8(digits).unwrap_or_default();
        let (whole, decimals) = digits.split_at(digits.len() - most);
        let trimmed = whole.trim_start_matches('0');
        let whole = if trimmed.is_empty() { "0" } else { trimmed };
        Self { is_negative: self.is_negative, whole: whole.to_owned().into(), decimals: decimals.to_owned().into() }
    }

    pub fn is_zero(&self) -> bool {
        self.whole.bytes().chain(self.decimals.bytes()).all(|digit| digit == b'0')
    }
}

impl NumberFormat {
    /// Reads a format; an error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut sections = vec![Section::default()];
        let mut rest = text.chars().peekable();
        let mut is_behind_point = false;
        while let Some(it) = rest.next() {
            let count = sections.len();
            let Some(section) = sections.last_mut() else { break };
            let mut literal = String::new();
            match it {
                '0' | '#' | ',' | '.' if !section.behind.is_empty() => {
                    return Err("it has digits in two places".into());
                }
                '0' | '#' => {
                    section.has_digits = true;
                    match (is_behind_point, it) {
                        (false, '0') => section.whole += 1,
                        (false, _) if section.whole > 0 => return Err("a `#` stands behind a `0`".into()),
                        (false, _) => {}
                        (true, '0') if section.decimals.0 < section.decimals.1 => {
                            return Err("a `0` stands behind a `#`".into());
                        }
                        (true, '0') => section.decimals = (section.decimals.0 + 1, section.decimals.1 + 1),
                        (true, _) => section.decimals.1 += 1,
                    }
                }
                ',' if section.has_digits && !is_behind_point && matches!(rest.peek(), Some('0' | '#')) => {
                    section.has_thousands = true;
                }
                '.' if !is_behind_point => {
                    is_behind_point = true;
                    section.has_digits = true;
                }
                ';' if count < 3 => {
                    sections.push(Section::default());
                    is_behind_point = false;
                }
                '"' => loop {
                    match rest.next() {
                        Some('"') => break,
                        Some(it) => literal.push(it),
                        None => return Err("a double quote has no end".into()),
                    }
                },
                '\\' => literal.extend(rest.next()),
                '%' => {
                    section.shift += 2;
                    literal.push('%');
                }
                '-' | '+' | '(' | ')' | ' ' | '/' | ':' | '\u{a0}' | '\u{202f}' => literal.push(it),
                it if !it.is_ascii() || it == '$' => literal.push(it),
                it => return Err(format!("`{it}` has no meaning here")),
            }
            if let Some(section) = sections.last_mut() {
                let place = if section.has_digits { &mut section.behind } else { &mut section.before };
                place.push_str(&literal);
            }
        }
        if sections.iter().any(|section| !section.has_digits && section.before.is_empty()) {
            return Err("it shows nothing".into());
        }
        let mut sections = sections.into_iter();
        let positive = sections.next().unwrap_or_default();
        if !positive.has_digits {
            return Err("it has no digits".into());
        }
        Ok(Self { positive, negative: sections.next(), zero: sections.next() })
    }

    /// As many decimals of a value as are looked at.
    pub fn decimals(&self) -> usize {
        let sections = [Some(&self.positive), self.negative.as_ref(), self.zero.as_ref()];
        sections.into_iter().flatten().map(|section| section.decimals.1 + section.shift).max().unwrap_or_default()
    }

    /// Appends a number.
    pub fn write(&self, digits: &Digits<'_>, marks: &Marks, out: &mut String) {
        let positive = |section: &Section| digits.shifted(section.shift).rounded(section.decimals.1);
        let shown = positive(&self.positive);
        let (section, has_sign) = match (&self.negative, &self.zero) {
            (_, Some(zero)) if shown.is_zero() => (zero, false),
            // What is rounded to zero has no sign.
            (Some(negative), _) if digits.is_negative && !shown.is_zero() => (negative, false),
            _ => (&self.positive, digits.is_negative && !shown.is_zero()),
        };
        let shown = positive(section);
        if has_sign {
            out.push('-');
        }
        out.push_str(&section.before);
        if section.has_digits {
            let whole = if section.whole == 0 && &*shown.whole == "0" { "" } else { &*shown.whole };
            let length = whole.len().max(section.whole);
            for at in 0..length {
                let behind = length - at;
                if at > 0 && section.has_thousands && behind.is_multiple_of(3) {
                    out.push_str(&marks.thousands);
                }
                let digit = (at + whole.len()).checked_sub(length).map_or(b'0', |at| whole.as_bytes()[at]);
                out.push(digit.into());
            }
            let (least, _) = section.decimals;
            let significant = shown.decimals.trim_end_matches('0').len().max(least);
            if significant > 0 {
                out.push_str(&marks.decimal);
                out.push_str(&shown.decimals[..significant.min(shown.decimals.len())]);
                out.extend(std::iter::repeat_n('0', significant.saturating_sub(shown.decimals.len())));
            }
        }
        out.push_str(&section.behind);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: &str, value: &str) -> String {
        let marks = Marks { decimal: ".".into(), thousands: ",".into() };
        let mut out = String::new();
        NumberFormat::parse(format).unwrap().write(&Digits::read(value).unwrap(), &marks, &mut out);
        out
    }

    #[test]
    fn numbers_are_shown_as_excel_shows_them() {
        for (format, value, expected) in [
            ("#,##0.00", "1234567.895", "1,234,567.90"),
            ("#,##0.00", "-0.004", "0.00"),
            ("#,##0", "999.5", "1,000"),
            ("#,##0", "123", "123"),
            ("0", "-7.5", "-8"),
            ("000", "7", "007"),
            ("0.0#", "1.5", "1.5"),
            ("0.0#", "1.256", "1.26"),
            ("0.##", "3", "3"),
            ("#.00", "0.5", ".50"),
            ("0.0%", "0.1234", "12.3%"),
            ("0%", "-1.5", "-150%"),
            ("$#,##0.00", "-12", "-$12.00"),
            ("#,##0.00 \"EUR\"", "1000", "1,000.00 EUR"),
            ("€ 0.0", "9.99", "€ 10.0"),
            ("#,##0;(#,##0);\"-\"", "-1234", "(1,234)"),
            ("#,##0;(#,##0);\"-\"", "0.2", "-"),
            ("0", "123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(shown(format, value), expected, "{value} as {format}");
        }
    }

    #[test]
    fn what_stands_between_digits_can_be_chosen() {
        let marks = Marks { decimal: ",".into(), thousands: "\u{202f}".into() };
        let mut out = String::new();
        NumberFormat::parse("#,##0.00").unwrap().write(&Digits::read("-9876543.2").unwrap(), &marks, &mut out);
        assert_eq!(out, "-9\u{202f}876\u{202f}543,20");
    }

    #[test]
    fn what_is_no_format_is_refused() {
        for faulty in ["", "abc", "0.0.0", "\"x", "0 0", "[Red]0", "0.#0", "0#", "General"] {
            assert!(NumberFormat::parse(faulty).is_err(), "{faulty}");
        }
    }
}
