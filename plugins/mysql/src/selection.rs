//! What is read, as SQL.

use std::sync::Arc;

use engine_sdk::database::{
    Compared, Parameters, Quoting, Range, Scalar, Selection, Statement, TableName, Window, suggestion,
};
use engine_sdk::prelude::*;
use mysql_async::Column;
use mysql_async::prelude::Queryable;

use crate::catalog;
use crate::connection::Link;
use crate::error::Failure;
use crate::kind::Kind;
use crate::name::{Values, quote, rendered};

/// What one split reads: all that it takes to read it again, from any machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    pub selection: Selection,
    /// The values of the query's placeholders.
    #[serde(default, skip_serializing_if = "Parameters::is_empty")]
    pub parameters: Parameters,
    /// The window of a cursor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Bounds>,
    /// A range of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Range<i128>>,
    /// The session that planned, for as long as it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// A window and what its values are.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    pub window: Window,
    pub values: Values,
}

/// A column as it is read.
pub struct Selected {
    pub name: String,
    pub kind: Kind,
}

impl Selected {
    /// As SQL text.
    pub fn sql(&self) -> String {
        quote(&self.name)
    }

    pub fn of(column: &Column) -> Self {
        Self { name: column.name_str().into_owned(), kind: Kind::of(column) }
    }
}

pub fn schema(columns: &[Selected]) -> SchemaRef {
    let field = |column: &Selected| Field::new(&column.name, column.kind.arrow(), true);
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// How a selection is read.
pub struct Reading {
    /// What stands behind FROM.
    pub from: String,
    pub columns: Vec<Selected>,
    /// The table, if it is one.
    pub table: Option<catalog::Table>,
    /// The query, if it is one.
    query: Option<String>,
}

impl Reading {
    /// `window`: the bounds that the query may name.
    pub async fn new(
        connection: &mut Link,
        selection: &Selection,
        parameters: &Parameters,
        window: Option<&Bounds>,
    ) -> Result<Self, Failure> {
        match selection {
            Selection::Table(table) => Self::table(connection, &TableName::parse(table)?).await,
            Selection::Query(query) => {
                let statement = Statement::parse(query, Quoting::MYSQL)?;
                let window = window.map(|bounds| (&bounds.window, bounds.values));
                Self::query(connection, &rendered(&statement, parameters, window)?).await
            }
        }
    }

    async fn table(connection: &mut Link, name: &TableName) -> Result<Self, Failure> {
        let table = catalog::require(connection, name).await?;
        let list: Vec<_> = table.columns.iter().map(|column| quote(&column.name)).collect();
        let columns = columns(connection, &format!("SELECT {} FROM {}", list.join(", "), table.quoted())).await?;
        Ok(Self { from: table.quoted(), columns, table: Some(table), query: None })
    }

    /// A query without placeholders.
    pub async fn query(connection: &mut Link, query: &str) -> Result<Self, Failure> {
        let query = query.trim().trim_end_matches(';').trim_end();
        let columns = columns(connection, query).await?;
        // In lines of its own: the query may end with a comment.
        Ok(Self { from: format!("(\n{query}\n) AS q"), columns, table: None, query: Some(query.into()) })
    }

    /// The column that a setting names.
    pub fn column(&self, setting: &str, name: &str) -> Result<&Selected> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            Error::config(format!("there is no column `{name}`, which `{setting}` names"))
                .hint(suggestion(name, self.columns.iter().map(|column| column.name.as_str())))
        })
    }

    /// The rows of a piece, always in one order.
    pub fn select(&self, piece: &Piece) -> Result<String> {
        let (mut conditions, mut order) = (vec![], vec![]);
        let window = piece.window.as_ref().map(|bounds| &bounds.window);
        if let Some((window, column)) = window.and_then(|window| Some((window, window.column.as_ref()?))) {
            let column = self.column("cursor", column)?;
            let key = window.key.as_ref().map(|key| self.column("cursor.key", key)).transpose()?;
            let key_sql = key.map(Selected::sql);
            let compare = Compare::new(column, key)?;
            let write = |with, value: &Scalar| compare.write(with, value);
            conditions.extend(window.conditions(&column.sql(), key_sql.as_deref(), write)?);
            order.push(column.sql());
            order.extend(key_sql);
        }
        if let Some(range) = &piece.range {
            let column = self.column("key", &range.column)?.sql();
            conditions.push(range.condition(&column, i128::to_string));
            order.push(column);
        }
        if let Some(query) = self.query.as_ref().filter(|_| conditions.is_empty()) {
            // As it stands: inside of another query it would lose its order.
            return Ok(query.clone());
        }
        let primary = self.table.as_ref().map_or(&[][..], |table| table.primary_key());
        // An index on a part of a column gives no order that is worth having.
        let primary = primary.iter().filter(|name| self.columns.iter().any(|column| column.name == **name));
        let rest: Vec<_> = primary.map(|name| quote(name)).filter(|column| !order.contains(column)).collect();
        order.extend(rest);
        let list: Vec<_> = self.columns.iter().map(Selected::sql).collect();
        let mut select = format!("SELECT {} FROM {}", list.join(", "), self.from);
        if !conditions.is_empty() {
            select.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        if !order.is_empty() {
            select.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        Ok(select)
    }
}

/// As what the values of a cursor's column and of its key are written.
pub struct Compare {
    column: Values,
    key: Values,
}

impl Compare {
    pub fn new(column: &Selected, key: Option<&Selected>) -> Result<Self> {
        Ok(Self { column: growing(column)?, key: key.map(growing).transpose()?.unwrap_or(Values::Texts) })
    }

    /// A value as SQL text to compare with one of them.
    pub fn write(&self, with: Compared, value: &Scalar) -> Result<String> {
        match with {
            Compared::Column => self.column.write(value),
            Compared::Key => self.key.write(value),
        }
    }
}

/// As what the values of a column are compared, if it can be a cursor.
pub fn growing(column: &Selected) -> Result<Values> {
    Values::of(column.kind).ok_or_else(|| {
        Error::config(format!("column `{}` cannot be a cursor", column.name))
            .hint("a cursor is a column of whole or decimal numbers, times or texts that only grow")
    })
}

/// The columns that a query gives, without running it.
async fn columns(connection: &mut Link, query: &str) -> Result<Vec<Selected>, Failure> {
    let statement = connection.prep(query.to_owned()).await?;
    if statement.num_params() > 0 {
        return Err(Error::config("the query has a `?`")
            .hint("write `:name`, and its value under `parameters`")
            .into());
    }
    let columns: Vec<_> = statement.columns().iter().map(Selected::of).collect();
    connection.close(statement).await?;
    if columns.is_empty() {
        return Err(Error::config("the query gives no columns").hint("a source reads: give it a SELECT").into());
    }
    Ok(columns)
}
