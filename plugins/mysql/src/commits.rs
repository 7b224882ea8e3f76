//! The keys of deliveries, in a table beside the rows: inserted in the rows'
//! own transaction, so that both are there or neither is.

use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

use crate::connection::{Link, execute, value};
use crate::error::Failure;
use crate::name::{literal, quote};

/// The table, in the database of the table that is written to.
pub const TABLE: &str = "_engine_commits";

/// Whoever makes tables holds this lock: a second one would find half of what it looks for.
const CREATE_LOCK: &str = "_engine_create";
/// How long to wait for it, in seconds.
const CREATE_LIMIT: u32 = 60;

/// An index holds 3,072 bytes, and names may be longer: it holds digests of them. The names are for people.
const COLUMNS: &str = "target binary(32) NOT NULL, win bigint NOT NULL, part binary(32) NOT NULL, state text NOT NULL, \
    pipeline text NOT NULL, sink text NOT NULL, split text NOT NULL, receipt longtext NOT NULL, \
    committed_at timestamp(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6), PRIMARY KEY (target, win, part)";

/// Does what must be done by one engine at a time, outside of a transaction: DDL commits what is open.
pub async fn alone<T>(
    connection: &mut Link,
    work: impl AsyncFnOnce(&mut Link) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let locked = value(connection, &format!("SELECT GET_LOCK('{CREATE_LOCK}', {CREATE_LIMIT})")).await?;
    if locked.as_deref() != Some("1") {
        return Err(Error::unavailable("another engine has been making tables for a minute")
            .hint("see who holds it: SELECT IS_USED_LOCK('_engine_create')")
            .into());
    }
    let done = work(connection).await;
    if !matches!(done, Err(Failure::Broken(_))) {
        execute(connection, &format!("DO RELEASE_LOCK('{CREATE_LOCK}')")).await?;
    }
    done
}

/// Finds the table in a database, or makes it. Answers its name as SQL text.
pub async fn ensure(connection: &mut Link, schema: &str) -> Result<String, Failure> {
    let table = format!("{}.{}", quote(schema), quote(TABLE));
    let find = format!(
        "SELECT 1 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND TABLE_NAME = {}",
        literal(schema),
        literal(TABLE)
    );
    if value(connection, &find).await?.is_some() {
        return Ok(table);
    }
    let create = format!(
        "CREATE TABLE IF NOT EXISTS {table} ({COLUMNS}) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
    );
    let made = alone(connection, async |connection| execute(connection, &create).await).await;
    match made {
        Ok(_) => Ok(table),
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
    let sql = format!(
        "SELECT receipt FROM {table} WHERE target = {} AND win = {} AND part = {}",
        target(delivery),
        window(delivery.window)?,
        digest([delivery.split.as_str()])
    );
    // An older or newer engine's receipt is still a commit.
    Ok(value(connection, &sql).await?.map(|receipt| serde_json::from_str(&receipt).unwrap_or_default()))
}

/// Adds a delivery's key and forgets those that never come again.
pub async fn add(connection: &mut Link, table: &str, delivery: &Delivery, receipt: &Receipt) -> Result<(), Failure> {
    let receipt = serde_json::to_string(receipt)
        .map_err(|error| Error::internal(format!("a receipt cannot be written: {error}")))?;
    let names = [&delivery.state, &delivery.pipeline, &delivery.sink, &delivery.split].map(|name| literal(name));
    let insert = format!(
        "INSERT INTO {table} (target, win, part, state, pipeline, sink, split, receipt) VALUES ({}, {}, {}, {}, {})",
        target(delivery),
        window(delivery.window)?,
        digest([delivery.split.as_str()]),
        names.join(", "),
        literal(&receipt)
    );
    execute(connection, &insert).await?;
    let forget = format!(
        "DELETE FROM {table} WHERE target = {} AND win < {}",
        target(delivery),
        window(delivery.settled_before)?
    );
    execute(connection, &forget).await?;
    Ok(())
}

fn target(delivery: &Delivery) -> String {
    digest([delivery.state.as_str(), delivery.pipeline.as_str(), delivery.sink.as_str()])
}

/// As SQL text. Each part with its length: `a`, `bc` is not `ab`, `c`.
pub fn digest<'a>(parts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update((part.len() as u64).to_le_bytes());
        digest.update(part.as_bytes());
    }
    let hex = engine_sdk::hexadecimal::write(&digest.finalize());
    format!("x'{hex}'")
}

fn window(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::internal(format!("window {number} is too large a number")))
}
