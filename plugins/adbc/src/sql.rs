//! Statements with values: the values stay beside the text, and are bound by the driver.

use std::sync::Arc;

use arrow_array::ArrayRef;
use engine_sdk::database::{Quoting, Statement};
use engine_sdk::prelude::*;

use crate::name::Quote;
use crate::value::Bound;

/// How the database's SQL writes the place of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Placeholders {
    /// `?`: most databases.
    QuestionMark,
    /// `$1`: PostgreSQL.
    Dollar,
    /// `:1`: Oracle.
    Colon,
    /// `@p1`: SQL Server, and BigQuery with named parameters.
    At,
}

impl Placeholders {
    /// What a database takes, by the name that its driver gives it.
    pub fn of_vendor(vendor: &str) -> Self {
        let vendor = vendor.to_ascii_lowercase();
        if vendor.contains("postgres") || vendor.contains("redshift") {
            Self::Dollar
        } else if vendor.contains("oracle") {
            Self::Colon
        } else if vendor.contains("sql server") {
            Self::At
        } else {
            Self::QuestionMark
        }
    }

    fn place(self, number: usize) -> String {
        match self {
            Self::QuestionMark => "?".into(),
            Self::Dollar => format!("${number}"),
            Self::Colon => format!(":{number}"),
            Self::At => format!("@p{number}"),
        }
    }
}

/// How texts, names and comments are told apart in a user's query. The database is not known
/// before the driver has connected; what only one of them has does no harm at the others.
pub fn quoting(quote: Quote) -> Quoting {
    let common = Quoting { postgres: true, ..Quoting::STANDARD };
    match quote {
        Quote::Double => common,
        Quote::Backtick => Quoting { backslashes: true, backticks: true, hash_comments: true, ..Quoting::STANDARD },
        Quote::Bracket => Quoting { brackets: true, nested_comments: true, ..Quoting::STANDARD },
    }
}

/// A statement that is being put together.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    /// With `:v0`, `:v1` … where values belong, each as often as it is compared with something.
    pub text: String,
    values: Vec<Bound>,
    quoting: Quoting,
}

impl Draft {
    /// Without text and values.
    pub fn new(quote: Quote) -> Self {
        Self::text(String::new(), quote)
    }

    /// A text without values.
    pub fn text(text: String, quote: Quote) -> Self {
        Self { text, values: vec![], quoting: quoting(quote) }
    }

    /// Keeps a value. Answers what stands for it, to be written as often as it is needed.
    pub fn value(&mut self, bound: impl Into<Bound>) -> String {
        self.values.push(bound.into());
        format!(":v{}", self.values.len() - 1)
    }

    /// A user's query as SQL text, with `value(name)` for each of its placeholders.
    pub fn query(&mut self, query: &str, value: impl Fn(&str) -> Result<Bound>) -> Result<String> {
        let query = query.trim().trim_end_matches(';');
        let statement = Statement::parse(query, self.quoting)?;
        statement.render(|name| Ok(self.value(value(name)?)))
    }

    /// The text as the driver takes it, and one row with the values in the order of their places.
    pub fn finish(&self, placeholders: Placeholders) -> Result<(String, Option<RecordBatch>)> {
        let mut fields = vec![];
        let mut columns: Vec<ArrayRef> = vec![];
        let text = Statement::parse(&self.text, self.quoting)?.render(|name| {
            let bound = name.strip_prefix('v').and_then(|at| self.values.get(at.parse::<usize>().ok()?));
            let bound = bound.ok_or_else(|| Error::internal(format!("there is no value for `:{name}`")))?;
            let array = bound.array()?;
            let number = columns.len() + 1;
            fields.push(Field::new(format!("p{number}"), array.data_type().clone(), true));
            columns.push(array);
            Ok(placeholders.place(number))
        })?;
        if columns.is_empty() {
            return Ok((text, None));
        }
        let row = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
            .map_err(|error| Error::internal(format!("values cannot be put together: {error}")))?;
        Ok((text, Some(row)))
    }
}

#[cfg(test)]
mod tests {
    use engine_sdk::database::Scalar;

    use super::*;

    #[test]
    fn values_stand_beside_the_text_as_often_as_it_has_places_for_them() {
        let mut draft = Draft::new(Quote::Double);
        let query = draft
            .query("SELECT ':v0', :a::int, e'\\':b' FROM t WHERE x=:b AND y = :a; ", |name| {
                Ok(Scalar::from(format!("'{name}'; --")).into())
            })
            .unwrap();
        let last = draft.value(Scalar::from(7));
        draft.text = format!("SELECT * FROM (\n{query}\n) q WHERE n >= {last} AND (n > {last} OR k > 1)");
        let (text, row) = draft.finish(Placeholders::Dollar).unwrap();
        assert_eq!(
            text,
            "SELECT * FROM (\nSELECT ':v0', $1::int, e'\\':b' FROM t WHERE x=$2 AND y = $3\n) q \
             WHERE n >= $4 AND (n > $5 OR k > 1)"
        );
        let row = row.unwrap();
        let texts: Vec<_> = row.columns().iter().map(|it| crate::value::scalar("c", it).unwrap().to_string()).collect();
        assert_eq!(texts, ["'a'; --", "'b'; --", "'a'; --", "7", "7"]);
        for (placeholders, text) in [
            (Placeholders::QuestionMark, "n >= ? AND (n > ? OR"),
            (Placeholders::Colon, "n >= :4 AND (n > :5 OR"),
            (Placeholders::At, "n >= @p4 AND (n > @p5 OR"),
        ] {
            assert!(draft.finish(placeholders).unwrap().0.contains(text), "{placeholders:?}");
        }
    }

    #[test]
    fn a_query_without_values_is_bound_to_nothing() {
        let mut draft = Draft::new(Quote::Backtick);
        draft.text = draft.query("SELECT 'it\\'s :a' # :b", |_| Ok(Scalar::Null.into())).unwrap();
        assert_eq!(draft.finish(Placeholders::At).unwrap(), ("SELECT 'it\\'s :a' # :b".into(), None));
    }
}
