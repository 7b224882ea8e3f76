//! What is read, as SQL.

use std::cell::RefCell;
use std::sync::Arc;

use engine_sdk::database::{
    Compared, Parameters, Quoting, Range, Scalar, Selection, Statement, TableName, Window, suggestion,
};
use engine_sdk::prelude::*;

use crate::catalog::{self, Described};
use crate::connection::Link;
use crate::error::Failure;
use crate::kind::Kind;
use crate::name::{Arguments, Call, Values, quote, rendered};

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
    pub range: Option<Range<i64>>,
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

    /// As it is read. Money comes as a decimal number: the driver would make a floating-point number of it.
    fn read(&self) -> String {
        let name = self.sql();
        match self.kind {
            Kind::Money(precision) => format!("CAST({name} AS decimal({precision}, 4)) AS {name}"),
            _ => name,
        }
    }

    fn of(column: Described) -> Result<Self> {
        match Kind::of(&column.data_type, column.precision, column.scale) {
            Some(kind) => Ok(Self { name: column.name, kind }),
            None => Err(Error::config(format!(
                "column `{}` is of type {}, whose values have no place in a stream",
                column.name, column.data_type
            ))
            .hint(format!(
                "read it with a `query` that makes a text of it, CAST({} AS nvarchar(max)), or leaves it out",
                quote(&column.name)
            ))),
        }
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
    /// The values of what stands there.
    pub arguments: Arguments,
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
                let statement = Statement::parse(query, Quoting::SQL_SERVER)?;
                let window = window.map(|bounds| (&bounds.window, bounds.values));
                Self::query(connection, rendered(&statement, parameters, window)?).await
            }
        }
    }

    async fn table(connection: &mut Link, name: &TableName) -> Result<Self, Failure> {
        let table = catalog::require(connection, name).await?;
        let list: Vec<_> = table.columns.iter().map(|column| quote(&column.name)).collect();
        let select = format!("SELECT {} FROM {}", list.join(", "), table.quoted());
        let columns = columns(connection, &select.into()).await?;
        let arguments = Arguments::default();
        Ok(Self { from: table.quoted(), arguments, columns, table: Some(table), query: None })
    }

    /// A query with its values.
    pub async fn query(connection: &mut Link, call: Call) -> Result<Self, Failure> {
        let Call { sql, arguments } = call;
        let call = Call { sql: sql.trim().trim_end_matches(';').trim_end().to_owned(), arguments };
        let columns = columns(connection, &call).await?;
        let Call { sql, arguments } = call;
        // In lines of its own: the query may end with a comment.
        Ok(Self { from: format!("(\n{sql}\n) AS q"), arguments, columns, table: None, query: Some(sql) })
    }

    /// The column that a setting names.
    pub fn column(&self, setting: &str, name: &str) -> Result<&Selected> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            Error::config(format!("there is no column `{name}`, which `{setting}` names"))
                .hint(suggestion(name, self.columns.iter().map(|column| column.name.as_str())))
        })
    }

    /// The rows of a piece, always in one order.
    pub fn select(&self, piece: &Piece) -> Result<Call> {
        let mut arguments = self.arguments.clone();
        let (mut conditions, mut order) = (vec![], vec![]);
        let window = piece.window.as_ref().map(|bounds| &bounds.window);
        if let Some((window, column)) = window.and_then(|window| Some((window, window.column.as_ref()?))) {
            let column = self.column("cursor", column)?;
            let key = window.key.as_ref().map(|key| self.column("cursor.key", key)).transpose()?;
            let key_sql = key.map(Selected::sql);
            let compare = Compare::new(column, key)?;
            let write = |with, value: &Scalar| compare.write(with, value, &mut arguments);
            conditions.extend(window.conditions(&column.sql(), key_sql.as_deref(), write)?);
            order.push(column.sql());
            order.extend(key_sql);
        }
        if let Some(range) = &piece.range {
            let column = self.column("key", &range.column)?.sql();
            let bounds = RefCell::new(&mut arguments);
            conditions.push(range.condition(&column, |bound| bounds.borrow_mut().whole(*bound)));
            order.push(column);
        }
        if let Some(query) = self.query.as_ref().filter(|_| conditions.is_empty()) {
            // As it stands: inside of another query it would lose its order.
            return Ok(Call { sql: query.clone(), arguments });
        }
        let primary = self.table.as_ref().map_or(&[][..], |table| table.primary_key());
        let rest: Vec<_> = primary.iter().map(|name| quote(name)).filter(|column| !order.contains(column)).collect();
        order.extend(rest);
        let list: Vec<_> = self.columns.iter().map(Selected::read).collect();
        let mut select = format!("SELECT {} FROM {}", list.join(", "), self.from);
        if !conditions.is_empty() {
            select.push_str(&format!(" WHERE {}", conditions.join(" AND ")));
        }
        if !order.is_empty() {
            select.push_str(&format!(" ORDER BY {}", order.join(", ")));
        }
        Ok(Call { sql: select, arguments })
    }
}

/// As what the values of a cursor's column and of its key are sent.
pub struct Compare {
    column: Values,
    key: Values,
}

impl Compare {
    pub fn new(column: &Selected, key: Option<&Selected>) -> Result<Self> {
        Ok(Self { column: growing(column)?, key: key.map(growing).transpose()?.unwrap_or(Values::Texts) })
    }

    /// Adds a value to compare with one of them. Answers what stands for it.
    pub fn write(&self, with: Compared, value: &Scalar, arguments: &mut Arguments) -> Result<String> {
        match with {
            Compared::Column => self.column.write(value, arguments),
            Compared::Key => self.key.write(value, arguments),
        }
    }
}

/// As what the values of a column are compared, if it can be a cursor.
pub fn growing(column: &Selected) -> Result<Values> {
    Values::of(column.kind).ok_or_else(|| {
        Error::config(format!("column `{}` cannot be a cursor", column.name))
            .hint("a cursor is a column of whole or decimal numbers, times, texts or rowversions that only grow")
    })
}

/// The columns that a query gives, without running it.
async fn columns(connection: &mut Link, query: &Call) -> Result<Vec<Selected>, Failure> {
    let described = catalog::describe(connection, query).await?;
    Ok(described.into_iter().map(Selected::of).collect::<Result<_>>()?)
}
