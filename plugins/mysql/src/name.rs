//! Names and values as SQL of MySQL and MariaDB.
//!
//! Every session has an `sql_mode` without `NO_BACKSLASH_ESCAPES` and `ANSI_QUOTES` and speaks utf8mb4
//! ([`crate::connection`]): what is written here means the same at every server.

use chrono::{NaiveDate, NaiveDateTime};
use engine_sdk::database::{Parameters, Scalar, Statement, Window};
use engine_sdk::{Error, Result};

use crate::kind::Kind;

/// An identifier as SQL text, quoted always.
pub fn quote(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// Identifiers as a list.
pub fn quote_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// Appends a text as SQL text.
pub fn push_literal(text: &str, sql: &mut Vec<u8>) {
    sql.push(b'\'');
    let mut plain = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escaped: &[u8] = match byte {
            b'\'' => b"''",
            b'\\' => b"\\\\",
            0 => b"\\0",
            _ => continue,
        };
        sql.extend_from_slice(&text.as_bytes()[plain..at]);
        sql.extend_from_slice(escaped);
        plain = at + 1;
    }
    sql.extend_from_slice(&text.as_bytes()[plain..]);
    sql.push(b'\'');
}

/// A text as SQL text.
pub fn literal(text: &str) -> String {
    let mut sql = Vec::with_capacity(text.len() + 2);
    push_literal(text, &mut sql);
    String::from_utf8(sql).expect("only ASCII was added to a text")
}

/// A parameter's value as SQL text.
pub fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Null => "NULL".into(),
        Scalar::Boolean(value) => if *value { "TRUE" } else { "FALSE" }.into(),
        // In parentheses: `2 -:n` must not become a comment.
        Scalar::Integer(number) => format!("({number})"),
        Scalar::Number(number) => format!("({number:e})"),
        Scalar::Text(text) => literal(text),
    }
}

/// As what the values of a cursor are written and compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Values {
    /// Whole and decimal numbers: a text would be compared by the nearest floating-point numbers.
    Numbers,
    /// Days and times, which a server reads as nothing, with a warning, where they are none.
    Times,
    /// Texts, by the column's collation.
    Texts,
}

impl Values {
    /// None: such a column cannot be a cursor.
    pub fn of(kind: Kind) -> Option<Self> {
        match kind {
            Kind::Integer { .. } | Kind::Year | Kind::Decimal(..) => Some(Self::Numbers),
            Kind::Date | Kind::DateTime | Kind::Timestamp => Some(Self::Times),
            Kind::Text => Some(Self::Texts),
            _ => None,
        }
    }

    /// A value as SQL text to compare with.
    pub fn write(self, value: &Scalar) -> Result<String> {
        let Some(text) = value.text() else { return Ok("NULL".into()) };
        match self {
            Self::Numbers if is_number(&text) => Ok(format!("({text})")),
            Self::Numbers => Err(Error::config(format!("the cursor's value `{text}` is no number"))
                .hint("the cursor's column holds numbers: set `cursor.start` or the stored cursor to one")),
            Self::Times => moment(&text).map(|moment| literal(&moment)).ok_or_else(|| {
                Error::config(format!("the cursor's value `{text}` is no time"))
                    .hint("write `2026-01-31` or `2026-01-31 12:00:00`, without a zone: it is UTC for a TIMESTAMP")
            }),
            Self::Texts => Ok(literal(&text)),
        }
    }
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    are_digits(whole) && are_digits(fraction)
}

fn moment(text: &str) -> Option<String> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Some(day.to_string());
    }
    let forms = ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M"];
    let moment = forms.iter().find_map(|form| NaiveDateTime::parse_from_str(text, form).ok())?;
    Some(moment.format("%Y-%m-%d %H:%M:%S%.6f").to_string())
}

/// A query with its values in their places. `window`: what its bounds are, NULL if there is none.
pub fn rendered(statement: &Statement, parameters: &Parameters, window: Option<(&Window, Values)>) -> Result<String> {
    let (window, values) = window.unzip();
    statement.render(|name| {
        let value = Statement::value(name, parameters, window)?;
        let is_bound = name == engine_sdk::database::WINDOW_START || name == engine_sdk::database::WINDOW_END;
        match values {
            Some(values) if is_bound => values.write(&value),
            _ => Ok(scalar(&value)),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_inside_names_and_texts_are_doubled() {
        assert_eq!(quote("a`; drop table x; -- \\"), "`a``; drop table x; -- \\`");
        assert_eq!(literal("a'; drop table x; --"), "'a''; drop table x; --'");
        assert_eq!(literal("a\\'; drop"), "'a\\\\''; drop'");
        assert_eq!(literal("\\"), "'\\\\'");
        assert_eq!(literal("nul\0ü"), "'nul\\0ü'");
    }

    #[test]
    fn values_of_a_cursor_are_what_its_column_holds_or_refused() {
        let write = |values: Values, value: &str| values.write(&Scalar::from(value));
        assert_eq!(write(Values::Numbers, "-18446744073709551615.5").unwrap(), "(-18446744073709551615.5)");
        assert_eq!(write(Values::Times, "2026-01-31T12:00:00.25").unwrap(), "'2026-01-31 12:00:00.250000'");
        assert_eq!(write(Values::Times, "2026-01-31").unwrap(), "'2026-01-31'");
        assert_eq!(write(Values::Texts, "a'b").unwrap(), "'a''b'");
        assert_eq!(Values::Numbers.write(&Scalar::Integer(-3)).unwrap(), "(-3)");
        for (values, value) in [
            (Values::Numbers, "1; DROP TABLE x"),
            (Values::Numbers, "1e5"),
            (Values::Numbers, ""),
            (Values::Numbers, "1."),
            (Values::Times, "2026-02-30"),
            (Values::Times, "' OR 1"),
        ] {
            assert!(write(values, value).is_err(), "{value}");
        }
    }
}
