//! The keys of deliveries, in a table beside the rows: inserted in the rows'
//! own transaction, so that both are there or neither is.

use engine_sdk::database::TableName;
use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

use crate::catalog::about;
use crate::connection::{Link, call, count, execute, rows, value};
use crate::error::Failure;
use crate::name::{Arguments, Call, quote_table};
use crate::questions::{FIND, LOCK, UNLOCK};

/// The table, in the schema of the table that is written to.
pub const TABLE: &str = "_engine_commits";

/// An index holds 900 bytes, and names may be longer: it holds digests of them. The names are for people.
const COLUMNS: &str = "target binary(32) NOT NULL, win bigint NOT NULL, part binary(32) NOT NULL, \
    state nvarchar(max) NOT NULL, pipeline nvarchar(max) NOT NULL, sink nvarchar(max) NOT NULL, \
    split nvarchar(max) NOT NULL, receipt nvarchar(max) NOT NULL, \
    committed_at datetime2(6) NOT NULL DEFAULT SYSUTCDATETIME(), PRIMARY KEY (target, win, part)";

/// Does what must be done by one engine at a time.
pub async fn alone<T>(
    connection: &mut Link,
    work: impl AsyncFnOnce(&mut Link) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // Below nought: it waited in vain, or was chosen to end a deadlock.
    if count(connection, LOCK.to_owned()).await?.is_none_or(|taken| taken < 0) {
        return Err(Error::unavailable("another engine has been making tables for a minute")
            .hint("see who holds it: SELECT * FROM sys.dm_tran_locks WHERE resource_type = 'APPLICATION'")
            .into());
    }
    let done = work(connection).await;
    if !matches!(done, Err(Failure::Broken(_))) {
        execute(connection, UNLOCK).await?;
    }
    done
}

/// Finds the table in a schema, or makes it. Answers its name as SQL text.
pub async fn ensure(connection: &mut Link, schema: &str) -> Result<String, Failure> {
    let table = quote_table(&TableName { schema: Some(schema.to_owned()), table: TABLE.to_owned() });
    let is_there =
        async |connection: &mut Link| Ok::<_, Failure>(!rows(connection, about(FIND, &table)).await?.is_empty());
    if is_there(connection).await? {
        return Ok(table);
    }
    let create = format!("CREATE TABLE {table} ({COLUMNS})");
    let made = alone(connection, async |connection| {
        if !is_there(connection).await? {
            execute(connection, &create).await?;
        }
        Ok(())
    });
    match made.await {
        Ok(()) => Ok(table),
        Err(failure) => {
            let error = Error::from(failure).context(format!("the table {table} for the keys of deliveries"));
            Err(match error.kind {
                ErrorKind::Denied => error.hint(format!("let somebody who may create it: {create}")),
                _ => error,
            }
            .into())
        }
    }
}

/// The receipt of a delivery that has been committed.
pub async fn find(connection: &mut Link, table: &str, delivery: &Delivery) -> Result<Option<Receipt>, Failure> {
    let mut arguments = Arguments::default();
    let (target, window, part) = key(delivery, &mut arguments)?;
    let sql = format!("SELECT receipt FROM {table} WHERE target = {target} AND win = {window} AND part = {part}");
    // An older or newer engine's receipt is still a commit.
    Ok(value(connection, Call { sql, arguments })
        .await?
        .map(|receipt| serde_json::from_str(&receipt).unwrap_or_default()))
}

/// Adds a delivery's key and forgets those that never come again.
pub async fn add(connection: &mut Link, table: &str, delivery: &Delivery, receipt: &Receipt) -> Result<(), Failure> {
    let receipt = serde_json::to_string(receipt)
        .map_err(|error| Error::internal(format!("a receipt cannot be written: {error}")))?;
    let mut arguments = Arguments::default();
    let (target, window, part) = key(delivery, &mut arguments)?;
    let names = [&delivery.state, &delivery.pipeline, &delivery.sink, &delivery.split].map(|name| arguments.text(name));
    let sql = format!(
        "INSERT INTO {table} (target, win, part, state, pipeline, sink, split, receipt) \
         VALUES ({target}, {window}, {part}, {}, {})",
        names.join(", "),
        arguments.text(receipt)
    );
    call(connection, Call { sql, arguments }).await?;
    let mut arguments = Arguments::default();
    let target = arguments.bytes(self::target(delivery));
    let settled = arguments.whole(number(delivery.settled_before)?);
    let sql = format!("DELETE FROM {table} WHERE target = {target} AND win < {settled}");
    call(connection, Call { sql, arguments }).await
}

/// What stands for the key's columns.
fn key(delivery: &Delivery, arguments: &mut Arguments) -> Result<(String, String, String)> {
    let target = arguments.bytes(self::target(delivery));
    let window = arguments.whole(number(delivery.window)?);
    let part = arguments.bytes(digest([delivery.split.as_str()]));
    Ok((target, window, part))
}

fn target(delivery: &Delivery) -> Vec<u8> {
    digest([delivery.state.as_str(), delivery.pipeline.as_str(), delivery.sink.as_str()])
}

/// Each part with its length: `a`, `bc` is not `ab`, `c`.
fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    digest.finalize().to_vec()
}

fn number(window: u64) -> Result<i64> {
    i64::try_from(window).map_err(|_| Error::internal(format!("window {window} is too large a number")))
}
