//! Names and values as PostgreSQL's SQL.

use engine_sdk::Result;
use engine_sdk::database::{Parameters, Scalar, Statement, Window};

/// An identifier as SQL text. Quoted always: what needs quotes changes with
/// every release's keywords.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Identifiers as a list.
pub fn quote_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}

/// A text as SQL text, whatever `standard_conforming_strings` is.
pub fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    // The space: the letter must not end a word before it.
    if quoted.contains('\\') { format!(" E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A value as SQL text. COPY takes no bound parameters.
pub fn scalar(value: &Scalar) -> String {
    match value {
        Scalar::Null => "NULL".into(),
        Scalar::Boolean(value) => value.to_string(),
        // In parentheses: `2 -:n` must not become a comment.
        Scalar::Integer(number) => format!("({number})"),
        // With its point: `5 / 2.0` is no division of whole numbers.
        Scalar::Number(number) => format!("({number:?})"),
        Scalar::Text(text) => literal(text),
    }
}

/// A value to compare a cursor's column with: a text, which is read as the column's type.
pub fn cursor_value(value: &Scalar) -> String {
    value.text().map_or_else(|| "NULL".into(), |text| literal(&text))
}

/// A query with its values in their places. `window`: what its bounds are, NULL if there is none.
pub fn rendered(statement: &Statement, parameters: &Parameters, window: Option<&Window>) -> Result<String> {
    statement.render(|name| {
        let value = Statement::value(name, parameters, window)?;
        let is_bound = name == engine_sdk::database::WINDOW_START || name == engine_sdk::database::WINDOW_END;
        Ok(if is_bound { cursor_value(&value) } else { scalar(&value) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_names_and_texts_are_doubled() {
        assert_eq!(quote("a\"; drop table x; --"), "\"a\"\"; drop table x; --\"");
        assert_eq!(literal("a'; drop table x; --"), "'a''; drop table x; --'");
        assert_eq!(literal("a\\'; drop"), " E'a\\\\''; drop'");
    }
}
