//! What is read, as SQL.

use std::sync::Arc;

use engine_postgres_copy::Kind;
use engine_sdk::database::{Parameters, Quoting, Range, Selection, Statement, TableName, Window, suggestion};
use engine_sdk::prelude::*;
use sqlx::postgres::PgColumn;
use sqlx::{AssertSqlSafe, Column as _, Executor, PgConnection, SqlSafeStr, Statement as _};

use crate::catalog;
use crate::error::Failure;
use crate::name::{cursor_value, literal, quote, rendered};

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
    pub window: Option<Window>,
    /// A range of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<Range<String>>,
    /// The moment at which the window was planned, for as long as the server knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<String>,
}

/// A column as the query names it and as it is read.
pub struct Selected {
    pub name: String,
    /// As SQL text.
    pub sql: String,
    pub kind: Kind,
}

/// How a selection is read.
pub struct Reading {
    /// What stands behind FROM.
    pub from: String,
    pub columns: Vec<Selected>,
    /// The primary key, as SQL text.
    order: Vec<String>,
    /// The table, if it is one.
    pub table: Option<catalog::Table>,
}

impl Reading {
    /// `window`: the bounds that the query may name.
    pub async fn new(
        connection: &mut PgConnection,
        selection: &Selection,
        parameters: &Parameters,
        window: Option<&Window>,
    ) -> Result<Self, Failure> {
        match selection {
            Selection::Table(table) => Self::table(connection, &TableName::parse(table)?).await,
            Selection::Query(query) => {
                let statement = Statement::parse(query, Quoting::POSTGRES)?;
                Self::query(connection, &rendered(&statement, parameters, window)?).await
            }
        }
    }

    async fn table(connection: &mut PgConnection, name: &TableName) -> Result<Self, Failure> {
        let table = catalog::require(connection, name).await?;
        let columns = table.columns.iter();
        Ok(Self {
            from: table.quoted(),
            columns: columns
                .map(|column| Selected { name: column.name.clone(), sql: quote(&column.name), kind: column.kind })
                .collect(),
            order: table.primary_key.iter().map(|name| quote(name)).collect(),
            table: Some(table),
        })
    }

    /// A query without placeholders.
    pub async fn query(connection: &mut PgConnection, query: &str) -> Result<Self, Failure> {
        let query = query.trim().trim_end_matches(';');
        // In lines of its own: the query may end with a comment.
        let inner = format!("(\n{query}\n) AS q");
        let probe = format!("SELECT * FROM {inner}");
        let statement = connection.prepare(AssertSqlSafe(probe).into_sql_str()).await?;
        let mut columns = vec![];
        for (at, column) in statement.columns().iter().enumerate() {
            let kind = column_kind(connection, column).await?;
            // Positions, since a query may give two columns of one name.
            columns.push(Selected { name: column.name().to_owned(), sql: format!("c{}", at + 1), kind });
        }
        if columns.is_empty() {
            return Err(Error::config("the query gives no columns").into());
        }
        let places: Vec<_> = columns.iter().map(|column| column.sql.as_str()).collect();
        Ok(Self { from: format!("{inner} ({})", places.join(", ")), columns, order: vec![], table: None })
    }

    pub fn schema(&self) -> SchemaRef {
        let field = |column: &Selected| Field::new(&column.name, column.kind.arrow(), true);
        Arc::new(Schema::new(self.columns.iter().map(field).collect::<Vec<_>>()))
    }

    pub fn kinds(&self) -> Vec<Kind> {
        self.columns.iter().map(|column| column.kind).collect()
    }

    /// The column that a setting names.
    pub fn column(&self, setting: &str, name: &str) -> Result<&Selected> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            Error::config(format!("there is no column `{name}`, which `{setting}` names"))
                .hint(suggestion(name, self.columns.iter().map(|column| column.name.as_str())))
        })
    }

    /// The rows of a piece as COPY takes them. A table that lies in one place and is read whole, as it lies there, can
    /// be named itself: the server then passes its rows on without executing a query over them.
    pub fn source(&self, piece: &Piece) -> Result<String> {
        let is_plain = self.table.as_ref().is_some_and(catalog::Table::can_be_copied);
        let is_whole = piece.window.is_none() && piece.range.is_none() && self.order.is_empty();
        if is_plain && is_whole && self.columns.iter().all(|column| column.kind.is_read_in_binary()) {
            let list: Vec<_> = self.columns.iter().map(|column| column.sql.as_str()).collect();
            return Ok(format!("{} ({})", self.from, list.join(", ")));
        }
        Ok(format!("({})", self.select(piece)?))
    }

    /// The rows of a piece, always in one order.
    pub fn select(&self, piece: &Piece) -> Result<String> {
        let list: Vec<_> = self
            .columns
            .iter()
            .map(
                |Selected { sql, kind, .. }| {
                    if kind.is_read_in_binary() { sql.clone() } else { format!("{sql}::text") }
                },
            )
            .collect();
        let (mut conditions, mut order) = (vec![], vec![]);
        if let Some((window, column)) = piece.window.as_ref().and_then(|window| Some((window, window.column.as_ref()?)))
        {
            let column = &self.column("cursor", column)?.sql;
            let key = window.key.as_ref().map(|key| self.column("cursor.key", key)).transpose()?;
            let key = key.map(|key| key.sql.as_str());
            conditions.extend(window.conditions(column, key, |_, value| Ok(cursor_value(value)))?);
            order.push(column.clone());
            order.extend(key.map(str::to_owned));
        }
        if let Some(range) = &piece.range {
            let column = &self.column("key", &range.column)?.sql;
            conditions.push(range.condition(column, |bound| literal(bound)));
            order.push(column.clone());
        }
        let rest: Vec<_> = self.order.iter().filter(|column| !order.contains(column)).cloned().collect();
        order.extend(rest);
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

async fn column_kind(connection: &mut PgConnection, column: &PgColumn) -> Result<Kind, Failure> {
    let oid = column.type_info().oid().map_or(0, |oid| oid.0);
    let modifier = match (column.relation_id(), column.relation_attribute_no()) {
        (Some(relation), Some(attribute)) => catalog::modifier(connection, i64::from(relation.0), attribute).await?,
        _ => -1,
    };
    Ok(Kind::of(oid, modifier))
}
