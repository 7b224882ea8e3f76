//! A query as it stands in a row: `{{name}}` becomes `:name`, which is bound, and whatever would make SQL of a value
//! is refused.

use crate::placeholders::{Context, Piece, pieces};
use crate::texts::is_name;

/// How a database's SQL quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quoting {
    /// `"…"` is a text, and not a name.
    pub(crate) double_is_text: bool,
    /// `\'` inside of a text does not end it.
    pub(crate) backslashes: bool,
    /// `` `…` `` is a name.
    pub(crate) backticks: bool,
    /// `[…]` is a name.
    pub(crate) brackets: bool,
    /// `#` begins a comment.
    pub(crate) hash_comments: bool,
    /// `$tag$ … $tag$` is a text, and `e'…'` has backslashes.
    pub(crate) postgres: bool,
}

impl Quoting {
    pub(crate) const STANDARD: Self = Self {
        double_is_text: false,
        backslashes: false,
        backticks: false,
        brackets: false,
        hash_comments: false,
        postgres: false,
    };
    pub(crate) const MYSQL: Self =
        Self { double_is_text: true, backslashes: true, backticks: true, hash_comments: true, ..Self::STANDARD };
    pub(crate) const POSTGRES: Self = Self { postgres: true, ..Self::STANDARD };
    pub(crate) const SQL_SERVER: Self = Self { brackets: true, ..Self::STANDARD };
    pub(crate) const BIGQUERY: Self =
        Self { double_is_text: true, backslashes: true, backticks: true, hash_comments: true, ..Self::STANDARD };
}

/// A query with bound values alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    /// With `:name` in the place of each value.
    pub(crate) sql: String,
    /// Each name that it has, once.
    pub(crate) names: Vec<String>,
    /// Texts that are made of values and more, by the name that stands in their place: `%{{region}}%`.
    pub(crate) texts: Vec<(String, String)>,
}

/// Reads a query.
///
/// # Errors
/// What is wrong with it, for a person.
pub(crate) fn translate(sql: &str, quoting: Quoting) -> Result<Query, String> {
    let mut query = Query { sql: String::new(), names: Vec::new(), texts: Vec::new() };
    let sql = sql.trim().trim_end_matches(';').trim_end();
    if sql.is_empty() {
        return Err("the query is empty".into());
    }
    let mut context = Context::default();
    let pieces = pieces(sql, quoting)?;
    for (at, piece) in pieces.iter().enumerate() {
        match *piece {
            Piece::Code(text) => {
                context.pass(text);
                query.sql.push_str(text);
            }
            Piece::Comment(text) => query.sql.push_str(text),
            Piece::Name(text) => {
                if text.contains("{{") {
                    return Err(refused(text, "a name"));
                }
                context.pass_name();
                query.sql.push_str(text);
            }
            Piece::Text { whole, inner, escapes } if whole.contains("{{") => {
                if let Some(word) = context.typed_before() {
                    let hint = format!("write CAST({inner} AS {})", word.to_lowercase());
                    return Err(format!("`{word} {whole}` takes no bound value; {hint}"));
                }
                // The letter of N'…' and E'…' says how to read the text, and a bound one needs no reading.
                if context.has_prefix() {
                    query.sql.pop();
                }
                let name = query.text(inner, || unescaped(whole, inner, escapes, quoting))?;
                query.sql.push_str(&format!(":{name}"));
                context.pass_value();
            }
            Piece::Text { whole, .. } => {
                context.pass_value();
                query.sql.push_str(whole);
            }
            Piece::Value(name) => {
                query.add(name);
                query.sql.push_str(&format!(":{name}"));
                context.pass_value();
            }
            Piece::Placeholder { whole, name } => {
                if !is_name(name) {
                    return Err(format!("`{whole}` is no placeholder; write `{{{{name}}}}`"));
                }
                let next = match pieces.get(at + 1) {
                    Some(Piece::Code(text)) => text.chars().next(),
                    Some(Piece::Placeholder { .. } | Piece::Name(_)) => Some('x'),
                    _ => None,
                };
                let joined = next.is_some_and(|next| next.is_alphanumeric() || matches!(next, '_' | '.' | '$'));
                if joined || context.wants_name() {
                    return Err(refused(whole, "a name"));
                }
                query.add(name);
                query.sql.push_str(&format!(":{name}"));
                context.pass_value();
            }
        }
    }
    Ok(query)
}

fn refused(what: &str, place: &str) -> String {
    format!(
        "`{what}` stands where SQL wants {place}, and a value is never made a part of SQL; \
         write the table or column out, or make a report for each"
    )
}

impl Query {
    fn add(&mut self, name: &str) {
        if !self.names.iter().any(|known| known == name) {
            self.names.push(name.to_owned());
        }
    }

    /// The name for a text with placeholders: that of the value, where it is nothing else.
    fn text(&mut self, inner: &str, meant: impl FnOnce() -> Result<String, String>) -> Result<String, String> {
        let only = inner.strip_prefix("{{").and_then(|rest| rest.strip_suffix("}}")).map(str::trim);
        if let Some(name) = only.filter(|name| is_name(name)) {
            self.add(name);
            return Ok(name.to_owned());
        }
        let meant = meant()?;
        if let Some(at) = self.texts.iter().position(|(_, text)| *text == meant) {
            return Ok(self.texts[at].0.clone());
        }
        let name = format!("text_{}", self.texts.len() + 1);
        self.texts.push((name.clone(), meant));
        Ok(name)
    }
}

/// What a text means: two of its quotes are one, and a backslash says something of what follows it.
fn unescaped(whole: &str, inner: &str, escapes: bool, quoting: Quoting) -> Result<String, String> {
    let quote = whole.chars().next().filter(|first| *first != '$');
    let mut meant = String::new();
    let mut letters = inner.chars().peekable();
    while let Some(letter) = letters.next() {
        if Some(letter) == quote {
            letters.next_if_eq(&letter);
        }
        if letter != '\\' || !escapes {
            meant.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => meant.push('\n'),
            Some('t') => meant.push('\t'),
            Some('r') => meant.push('\r'),
            Some('b') => meant.push('\u{8}'),
            // In MySQL these two keep their backslash, for LIKE.
            Some(wild @ ('%' | '_')) if !quoting.postgres => meant.extend(['\\', wild]),
            Some(other) if other.is_alphanumeric() => {
                return Err(format!(
                    "`\\{other}` in `{whole}` is not read beside a placeholder; write what it stands for"
                ));
            }
            Some(other) => meant.push(other),
            None => {}
        }
    }
    Ok(meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> String {
        translate(text, Quoting::POSTGRES).unwrap().sql
    }

    #[test]
    fn placeholders_become_bound_values_and_take_their_quotes_with_them() {
        assert_eq!(sql("SELECT * FROM a WHERE d = '{{start_date}}';"), "SELECT * FROM a WHERE d = :start_date");
        assert_eq!(sql("SELECT * FROM a WHERE d = {{ start_date }}"), "SELECT * FROM a WHERE d = :start_date");
        assert_eq!(sql("SELECT * FROM a WHERE d = :start_date"), "SELECT * FROM a WHERE d = :start_date");
        let mysql = translate("SELECT * FROM a WHERE d = \"{{day}}\" AND e = `x`.y", Quoting::MYSQL).unwrap();
        assert_eq!(
            (mysql.sql.as_str(), &mysql.names[..]),
            ("SELECT * FROM a WHERE d = :day AND e = `x`.y", &["day".to_owned()][..])
        );
    }

    #[test]
    fn a_text_around_a_placeholder_is_bound_as_a_whole() {
        let query =
            translate("SELECT 1 WHERE a LIKE '%{{region}}%' OR b = '{{x}} o''clock'", Quoting::STANDARD).unwrap();
        assert_eq!(query.sql, "SELECT 1 WHERE a LIKE :text_1 OR b = :text_2");
        assert_eq!(query.texts, [("text_1".into(), "%{{region}}%".into()), ("text_2".into(), "{{x}} o'clock".into())]);
    }

    #[test]
    fn a_text_around_a_placeholder_means_what_its_quotes_say() {
        for (text, quoting, meant) in [
            (r"E'it\'s\n{{a}} 50\%'", Quoting::POSTGRES, "it's\n{{a}} 50%"),
            (r"'a\b {{a}}'", Quoting::POSTGRES, r"a\b {{a}}"),
            ("$$it''s {{a}}$$", Quoting::POSTGRES, "it''s {{a}}"),
            (r#""say ""{{a}}"" and ''""#, Quoting::MYSQL, "say \"{{a}}\" and ''"),
            (r"'50\% of \'{{a}}\''", Quoting::MYSQL, r"50\% of '{{a}}'"),
        ] {
            let query = translate(&format!("SELECT {text}"), quoting).unwrap();
            assert_eq!((query.sql.as_str(), query.texts[0].1.as_str()), ("SELECT :text_1", meant), "{text}");
        }
        let problem = translate(r"SELECT E'\x41{{a}}'", Quoting::POSTGRES).unwrap_err();
        assert!(problem.contains("write what it stands for"), "{problem}");
    }

    #[test]
    fn what_is_in_comments_and_other_texts_stays() {
        for text in ["SELECT 'a:b', x::date -- {{no}}", "SELECT /* {{no}} :x */ $$ :y $$", "SELECT '10:30'"] {
            let query = translate(text, Quoting::POSTGRES).unwrap();
            assert_eq!((query.sql.as_str(), query.names.len()), (text, 0));
        }
        assert_eq!(translate("SELECT 1 # {{no}}", Quoting::MYSQL).unwrap().names.len(), 0);
    }

    #[test]
    fn a_placeholder_where_a_name_belongs_is_refused() {
        for text in [
            "SELECT * FROM {{table}}",
            "SELECT * FROM a JOIN {{table}} ON 1 = 1",
            "SELECT * FROM a, {{table}}",
            "SELECT * FROM sales_{{year}}",
            "SELECT * FROM {{year}}_sales",
            "SELECT * FROM s.{{table}}",
            "SELECT * FROM {{schema}}.sales",
            "SELECT a.{{column}} FROM a",
            "SELECT * FROM \"{{table}}\"",
            "SELECT a AS {{name}} FROM a",
            "SELECT * FROM a ORDER BY {{column}}",
            "SELECT * FROM a GROUP BY b, {{column}}",
            "SELECT * FROM a ORDER BY b {{direction}}",
            "SELECT {{a}}{{b}}",
        ] {
            let refused = translate(text, Quoting::POSTGRES);
            assert!(refused.as_ref().is_err_and(|why| why.contains("wants a name")), "{text}: {refused:?}");
        }
        assert!(translate("SELECT * FROM `{{t}}`", Quoting::MYSQL).is_err());
        assert!(translate("SELECT * FROM [{{t}}]", Quoting::SQL_SERVER).is_err());
    }

    #[test]
    fn a_placeholder_where_a_value_belongs_is_not() {
        for text in [
            "SELECT {{a}} AS b FROM c",
            "SELECT f({{a}}, {{b}}) FROM c LIMIT {{n}} OFFSET {{m}}",
            "SELECT EXTRACT(YEAR FROM {{a}}) FROM c",
            "SELECT * FROM f({{a}}) WHERE b IN ({{c}}, {{d}}) AND e BETWEEN {{g}} AND {{h}}",
            "SELECT * FROM a ORDER BY CASE WHEN b > {{c}} THEN 1 ELSE 2 END",
            "SELECT * FROM (SELECT * FROM b WHERE c = {{d}}) e JOIN g ON g.h = {{i}} GROUP BY j HAVING count(*) > {{k}}",
            "SELECT TOP ({{n}}) * FROM a WHERE b >= {{c}} - INTERVAL '1 day'",
            "WITH a AS (SELECT {{x}} AS y) SELECT * FROM a UNION ALL SELECT {{z}}",
        ] {
            translate(text, Quoting::POSTGRES).unwrap_or_else(|why| panic!("{text}: {why}"));
        }
    }

    #[test]
    fn what_cannot_be_bound_is_told_with_what_to_write() {
        assert_eq!(translate("SELECT N'{{a}}'", Quoting::SQL_SERVER).unwrap().sql, "SELECT :a");
        let why = translate("SELECT * FROM a WHERE b > DATE '{{c}}'", Quoting::POSTGRES).unwrap_err();
        assert!(why.contains("CAST({{c}} AS date)"), "{why}");
        for text in ["SELECT 'a", "SELECT /* a", "SELECT {{a", "SELECT {{a b}}", "  ; "] {
            assert!(translate(text, Quoting::POSTGRES).is_err(), "{text}");
        }
    }
}
