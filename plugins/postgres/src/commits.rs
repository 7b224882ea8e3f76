//! The keys of deliveries, in a table beside the rows: inserted in the rows'
//! own transaction, so that both are there or neither is.

use engine_sdk::prelude::*;
use sqlx::{PgConnection, Row};

use crate::connection::execute;
use crate::error::Failure;
use crate::name::quote;

/// The table, in the schema of the table that is written to.
pub const TABLE: &str = "_engine_commits";

/// Held while tables are made: `CREATE TABLE IF NOT EXISTS` alone fails when
/// two engines run it at once.
pub const CREATE_LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(7310584035354963045)";

const COLUMNS: &str = "state text, pipeline text, sink text, win bigint, split text, receipt text NOT NULL, \
    committed_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (state, pipeline, sink, win, split)";

/// Finds the table in a schema, or makes it. Answers its name as SQL text.
pub async fn ensure(connection: &mut PgConnection, schema: &str) -> Result<String, Failure> {
    let table = format!("{}.{}", quote(schema), quote(TABLE));
    let found = sqlx::query(
        "SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relname = $2",
    )
    .bind(schema)
    .bind(TABLE)
    .persistent(false)
    .fetch_optional(&mut *connection)
    .await?;
    if found.is_none() {
        let create = format!("CREATE TABLE IF NOT EXISTS {table} ({COLUMNS})");
        // A text of several statements is one transaction.
        let made = execute(connection, &format!("{CREATE_LOCK}; {create}")).await;
        if let Err(failure) = made {
            let error = Error::from(failure).context(format!("the table {table} for the keys of deliveries"));
            return Err(match error.kind {
                ErrorKind::Denied => error.hint(format!("let somebody who may create it: {create}")),
                _ => error,
            }
            .into());
        }
    }
    Ok(table)
}

/// The receipt of a delivery that has been committed.
pub async fn find(connection: &mut PgConnection, table: &str, delivery: &Delivery) -> Result<Option<Receipt>, Failure> {
    let sql = format!(
        "SELECT receipt FROM {table} WHERE state = $1 AND pipeline = $2 AND sink = $3 AND win = $4 AND split = $5"
    );
    let row = sqlx::query(sqlx::AssertSqlSafe(sql))
        .bind(delivery.state.as_str())
        .bind(delivery.pipeline.as_str())
        .bind(delivery.sink.as_str())
        .bind(window(delivery.window)?)
        .bind(delivery.split.as_str())
        .persistent(false)
        .fetch_optional(connection)
        .await?;
    let Some(row) = row else { return Ok(None) };
    // An older or newer engine's receipt is still a commit.
    Ok(Some(serde_json::from_str(row.try_get(0)?).unwrap_or_default()))
}

/// Adds a delivery's key and forgets those that never come again.
pub async fn add(
    connection: &mut PgConnection,
    table: &str,
    delivery: &Delivery,
    receipt: &Receipt,
) -> Result<(), Failure> {
    let receipt = serde_json::to_string(receipt)
        .map_err(|error| Error::internal(format!("a receipt cannot be written: {error}")))?;
    let insert =
        format!("INSERT INTO {table} (state, pipeline, sink, win, split, receipt) VALUES ($1, $2, $3, $4, $5, $6)");
    sqlx::query(sqlx::AssertSqlSafe(insert))
        .bind(delivery.state.as_str())
        .bind(delivery.pipeline.as_str())
        .bind(delivery.sink.as_str())
        .bind(window(delivery.window)?)
        .bind(delivery.split.as_str())
        .bind(receipt)
        .persistent(false)
        .execute(&mut *connection)
        .await?;
    let forget = format!("DELETE FROM {table} WHERE state = $1 AND pipeline = $2 AND sink = $3 AND win < $4");
    sqlx::query(sqlx::AssertSqlSafe(forget))
        .bind(delivery.state.as_str())
        .bind(delivery.pipeline.as_str())
        .bind(delivery.sink.as_str())
        .bind(window(delivery.settled_before)?)
        .persistent(false)
        .execute(connection)
        .await?;
    Ok(())
}

fn window(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::internal(format!("window {number} is too large a number")))
}
