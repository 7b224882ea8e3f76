//! What an SQL source reads, checked as a whole.

use engine_abi::message::PlanRequest;
use engine_abi::{Error, Result};
use serde::{Deserialize, Serialize};

use super::{Cursor, Growth, Parameters, Quoting, Statement, WINDOW_END, WINDOW_START, suggestion};

/// A table or a query.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// A table, as the settings name it.
    Table(String),
    /// A query, with its placeholders.
    Query(String),
}

/// What a source reads: a table or a query with its parameters, and by which
/// cursor.
#[derive(Debug, Clone)]
pub struct Extraction {
    selection: Selection,
    parameters: Parameters,
    cursor: Option<Cursor>,
}

impl Extraction {
    /// Takes the settings `table`, `query`, `parameters` and `cursor` of the
    /// component `source`.
    ///
    /// # Errors
    /// `Config`, where they do not fit together.
    pub fn new(
        source: &str,
        table: Option<String>,
        query: Option<String>,
        parameters: Parameters,
        cursor: Option<Cursor>,
        quoting: Quoting,
    ) -> Result<Self> {
        let selection = match (table, query) {
            (Some(table), None) => Selection::Table(table),
            (None, Some(query)) => Selection::Query(query),
            _ => {
                return Err(Error::config(format!("a {source} source needs either `table` or `query`, and not both")));
            }
        };
        let statement = match &selection {
            Selection::Query(query) => Some(Statement::parse(query, quoting)?),
            Selection::Table(_) if !parameters.is_empty() => {
                return Err(Error::config("`parameters` belong to `query`, and there is a `table`")
                    .hint("write `query: SELECT … WHERE …` with the parameters in it"));
            }
            Selection::Table(_) => None,
        };
        if let Some(cursor) = &cursor {
            cursor.growth(statement.as_ref())?;
        }
        let values = cursor.as_ref().and_then(|cursor| cursor.query.as_deref());
        let values = values.map(|query| Statement::parse(query, quoting)).transpose()?;
        check(statement.as_ref(), values.as_ref(), &parameters, cursor.is_some())?;
        Ok(Self { selection, parameters, cursor })
    }

    /// The table or query.
    pub fn selection(&self) -> &Selection {
        &self.selection
    }

    /// The values of the query's placeholders.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Refuses a request for old windows where there are none.
    ///
    /// # Errors
    /// `Config`, where the request names an end and there is no cursor.
    pub fn check_request(&self, request: &PlanRequest) -> Result<()> {
        match request.upper {
            Some(_) if self.cursor.is_none() => {
                Err(Error::config("without a `cursor` there are no windows that could be read again")
                    .hint("write `cursor: { column: COLUMN }` under the source's `with`"))
            }
            _ => Ok(()),
        }
    }

    /// The cursor, and by what its windows go.
    pub fn cursor(&self) -> Option<(&Cursor, Growth<'_>)> {
        let cursor = self.cursor.as_ref()?;
        let growth = match (&cursor.column, &cursor.query) {
            (Some(column), _) => Growth::Column { column, key: cursor.key.as_deref() },
            (None, query) => Growth::Query(query.as_deref().unwrap_or_default()),
        };
        Some((cursor, growth))
    }
}

/// Whether every placeholder has a value, and every value a placeholder.
fn check(
    query: Option<&Statement>,
    values: Option<&Statement>,
    parameters: &Parameters,
    has_cursor: bool,
) -> Result<()> {
    let is_window = |name: &str| name == WINDOW_START || name == WINDOW_END;
    if let Some(name) = parameters.keys().find(|name| is_window(name)) {
        return Err(Error::config(format!("`:{name}` is the window's, and no parameter"))
            .hint("give the parameter another name"));
    }
    if let Some(name) = values.and_then(|values| values.names().find(|name| is_window(name))) {
        return Err(Error::config(format!("`cursor.query` names `:{name}`, which it is there to find out"))
            .hint("leave the condition out: only values above the last window's end are looked at"));
    }
    if let Some(query) = query {
        if let Some(name) = query.names().find(|name| is_window(name) && !has_cursor) {
            return Err(Error::config(format!("the query names `:{name}`, and there is no `cursor`"))
                .hint("write `cursor: { query: …, start: … }`, or give a parameter of another name"));
        }
        if query.names_window_start() && !query.names_window() {
            return Err(Error::config("the query names `:window_start`, and not `:window_end`")
                .hint("without an upper bound, rows that come while it is read would be read twice"));
        }
    }
    let named = || query.into_iter().chain(values).flat_map(Statement::names).filter(|name| !is_window(name));
    if let Some(name) = named().find(|name| !parameters.contains_key(*name)) {
        let error = Error::config(format!("the query names `:{name}`, and `parameters` has no value for it"));
        return Err(error.hint(if parameters.is_empty() {
            format!("write `parameters: {{ {name}: … }}`")
        } else {
            suggestion(name, parameters.keys().map(String::as_str))
        }));
    }
    match parameters.keys().find(|name| !named().any(|used| used == *name)) {
        None => Ok(()),
        Some(name) => Err(Error::config(format!("parameter `{name}` is not named in the query"))
            .hint(format!("write `:{name}` where its value belongs, outside of quotes, or leave it out"))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::database::Scalar;

    fn extraction(table: Option<&str>, query: Option<&str>, cursor: serde_json::Value) -> Result<Extraction> {
        let parameters = [("region".to_owned(), Scalar::from("north"))].into();
        let cursor = serde_json::from_value(cursor).unwrap();
        Extraction::new("test", table.map(Into::into), query.map(Into::into), parameters, cursor, Quoting::STANDARD)
    }

    #[test]
    fn a_missing_value_and_one_too_many_are_told() {
        let by_query = json!({"query": "SELECT at FROM t WHERE region = :region", "start": 0});
        let query = "SELECT 1 WHERE at > :window_start AND at <= :window_end";
        extraction(None, Some("SELECT :region"), json!(null)).unwrap();
        let taken = extraction(None, Some(query), by_query.clone()).unwrap();
        assert!(matches!(taken.cursor(), Some((_, Growth::Query(_)))));
        for (table, query, cursor, said) in [
            (None, None, json!(null), "a test source needs either"),
            (Some("t"), Some("SELECT 1"), json!(null), "a test source needs either"),
            (Some("t"), None, json!(null), "belong to `query`"),
            (None, Some("SELECT :regoin"), json!(null), "did you mean region"),
            (None, Some("SELECT ':region'"), json!(null), "outside of quotes"),
            (None, Some("SELECT :region, :window_end"), json!(null), "there is no `cursor`"),
            (None, Some("SELECT :region, :window_start"), json!({"column": "at"}), "read twice"),
            (None, Some(query), json!({"query": "SELECT :window_end", "start": 0}), "there to find out"),
        ] {
            let error = extraction(table, query, cursor).unwrap_err();
            assert!(format!("{error} {}", error.hint.clone().unwrap_or_default()).contains(said), "{said}: {error}");
        }
    }
}
