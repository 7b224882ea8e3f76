//! What the server knows about tables.

use engine_postgres_copy::Kind;
use engine_sdk::Error;
use engine_sdk::database::{TableName, suggestion};
use sqlx::{PgConnection, Row};

use crate::error::Failure;
use crate::name::quote;

/// A column of a table.
#[derive(Debug, Clone)]
pub struct Column {
    /// As the table has it.
    pub name: String,
    /// How it crosses.
    pub kind: Kind,
    /// As a person declares it: `character varying(50)`.
    pub declared: String,
    /// The type to cast text to: without a size, and of a domain the type below
    /// it, since a cast to a size cuts silently where an assignment refuses.
    pub cast: String,
    /// Refuses nulls.
    pub not_null: bool,
    /// Fills itself when it is left out.
    pub has_default: bool,
    /// Computed by the table; nothing can be written to it.
    pub generated: bool,
}

/// A table, view or foreign table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub name: String,
    /// Its number in `pg_class`.
    pub oid: i64,
    /// In their order.
    pub columns: Vec<Column>,
    /// The columns of its primary key, in the key's order.
    pub primary_key: Vec<String>,
    /// An ordinary table whose rows are all its own and seen by everyone.
    is_ordinary: bool,
}

impl Table {
    /// Whether COPY can read it by its name: it would leave out the rows of tables that inherit from it, and it
    /// refuses views and generated columns.
    pub fn can_be_copied(&self) -> bool {
        self.is_ordinary && !self.columns.is_empty() && !self.columns.iter().any(|column| column.generated)
    }

    /// Whether every row has a value in a column, as far as the table says.
    pub fn refuses_null(&self, name: &str) -> bool {
        self.columns.iter().any(|column| column.name == name && column.not_null)
    }

    /// The name with its schema, as SQL text.
    pub fn quoted(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.name))
    }
}

const FIND: &str = "
SELECT c.oid::int8, n.nspname::text, c.relname::text,
       c.relkind = 'r' AND NOT c.relhassubclass AND NOT c.relrowsecurity
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND CASE WHEN $1::text IS NULL THEN pg_catalog.pg_table_is_visible(c.oid) ELSE n.nspname = $1 END";

const COLUMNS: &str = "
SELECT a.attname::text, a.atttypid::int8, a.atttypmod, a.attnotnull, a.atthasdef OR a.attidentity <> '',
       a.attgenerated <> '', pg_catalog.format_type(a.atttypid, a.atttypmod),
       (WITH RECURSIVE base AS (
          SELECT oid, typtype, typbasetype FROM pg_catalog.pg_type WHERE oid = a.atttypid
          UNION ALL
          SELECT t.oid, t.typtype, t.typbasetype FROM base JOIN pg_catalog.pg_type t
            ON base.typtype = 'd' AND t.oid = base.typbasetype)
        SELECT pg_catalog.format_type(oid, -1) FROM base WHERE typtype <> 'd')
FROM pg_catalog.pg_attribute a
WHERE a.attrelid = $1::int8::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

const PRIMARY_KEY: &str = "
SELECT a.attname::text
FROM pg_catalog.pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)
JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
WHERE i.indrelid = $1::int8::oid AND i.indisprimary ORDER BY k.place";

const TABLES: &str = "
SELECT CASE WHEN pg_catalog.pg_table_is_visible(c.oid) THEN c.relname::text ELSE n.nspname || '.' || c.relname END
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND n.nspname NOT LIKE 'pg_temp%' AND c.relname <> $1 AND NOT starts_with(c.relname::text, '_engine_replace_')
ORDER BY 1 LIMIT 1000";

/// Looks a table up. None: there is none of that name.
pub async fn find(connection: &mut PgConnection, name: &TableName) -> Result<Option<Table>, Failure> {
    let found = sqlx::query(FIND)
        .bind(name.schema.as_deref())
        .bind(name.table.as_str())
        .persistent(false)
        .fetch_optional(&mut *connection)
        .await?;
    let Some(found) = found else { return Ok(None) };
    let oid: i64 = found.try_get(0)?;
    let columns = sqlx::query(COLUMNS).bind(oid).persistent(false).fetch_all(&mut *connection).await?;
    let columns = columns
        .iter()
        .map(|row| {
            Ok(Column {
                name: row.try_get(0)?,
                kind: Kind::of(u32::try_from(row.try_get::<i64, _>(1)?).unwrap_or(0), row.try_get(2)?),
                not_null: row.try_get(3)?,
                has_default: row.try_get(4)?,
                generated: row.try_get(5)?,
                declared: row.try_get(6)?,
                cast: row.try_get(7)?,
            })
        })
        .collect::<Result<_, sqlx::Error>>()?;
    let key = sqlx::query(PRIMARY_KEY).bind(oid).persistent(false).fetch_all(&mut *connection).await?;
    Ok(Some(Table {
        schema: found.try_get(1)?,
        name: found.try_get(2)?,
        is_ordinary: found.try_get(3)?,
        oid,
        columns,
        primary_key: key.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?,
    }))
}

/// Looks a table up that must be there.
pub async fn require(connection: &mut PgConnection, name: &TableName) -> Result<Table, Failure> {
    match find(connection, name).await? {
        Some(table) => Ok(table),
        None => Err(missing(connection, name).await?.into()),
    }
}

async fn missing(connection: &mut PgConnection, name: &TableName) -> Result<Error, Failure> {
    let tables = sqlx::query(TABLES)
        .bind(crate::commits::TABLE)
        .persistent(false)
        .fetch_all(&mut *connection)
        .await?
        .iter()
        .map(|row| row.try_get::<String, _>(0))
        .collect::<Result<Vec<_>, _>>()?;
    let suggestion = suggestion(&name.to_string(), tables.iter().map(String::as_str));
    Ok(Error::config(format!("there is no table `{name}`")).hint(suggestion))
}

/// The declared size (`atttypmod`) of a column that a query passes through.
pub async fn modifier(connection: &mut PgConnection, relation: i64, attribute: i16) -> Result<i32, Failure> {
    let row =
        sqlx::query("SELECT atttypmod FROM pg_catalog.pg_attribute WHERE attrelid = $1::int8::oid AND attnum = $2")
            .bind(relation)
            .bind(attribute)
            .persistent(false)
            .fetch_optional(connection)
            .await?;
    Ok(row.map(|row| row.try_get(0)).transpose()?.unwrap_or(-1))
}
