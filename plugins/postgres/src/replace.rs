//! `mode: replace`: the rows of a window go into a table beside the target, and take the place of
//! the target's rows at the window's end, in one transaction.
//!
//! The target itself stays, and with it all that hangs on it: grants, indexes, views, triggers,
//! comments. Renaming tables would be quicker and would leave views with the old one.

use engine_sdk::database::TableName;
use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};
use sqlx::{PgConnection, Row};

use crate::catalog::{self, Table};
use crate::commits;
use crate::connection::execute;
use crate::error::{Failure, UNIQUE_VIOLATION, kind};
use crate::name::{literal, quote, quote_list};

/// What the keys of deliveries have as the split of a window that has taken its place.
const FINISHED: &str = "*finished*";
/// What every table beside another begins with.
const PREFIX: &str = "_engine_replace_";

/// What the names of the tables of one sink and one target begin with.
fn prefix(run: &SinkRun, target: &Table) -> String {
    let place = [&run.state, &run.pipeline, &run.sink, &target.name].map(String::as_str).join("\0");
    let digest = Sha256::digest(place.as_bytes());
    let digest = engine_sdk::hexadecimal::write(&digest[..8]);
    format!("{PREFIX}{digest}_")
}

/// The name of the table beside the target, for one window.
fn beside(run: &SinkRun, target: &Table) -> TableName {
    TableName { schema: Some(target.schema.clone()), table: format!("{}{}", prefix(run, target), run.window) }
}

/// Makes the table beside the target, if it is not there, with the target's rules for single rows.
/// Answers its name as SQL text.
pub async fn prepare(connection: &mut PgConnection, run: &SinkRun, target: &Table) -> Result<String, Failure> {
    refuse_others(connection, target).await?;
    let name = beside(run, target);
    if let Some(found) = catalog::find(connection, &name).await? {
        return Ok(found.quoted());
    }
    let beside = format!("{}.{}", quote(&target.schema), quote(&name.table));
    let mut create = format!(
        "CREATE TABLE {beside} (LIKE {} INCLUDING ALL EXCLUDING IDENTITY EXCLUDING STATISTICS)",
        target.quoted()
    );
    // Numbers come from the target's own sequences, so that they go on from there afterwards.
    for column in identities(connection, target).await? {
        let sequence = format!(
            "pg_catalog.nextval(pg_catalog.pg_get_serial_sequence({}, {})::regclass)",
            literal(&target.quoted()),
            literal(&column)
        );
        create.push_str(&format!("; ALTER TABLE {beside} ALTER COLUMN {} SET DEFAULT {sequence}", quote(&column)));
    }
    execute(connection, &format!("BEGIN; {}", commits::CREATE_LOCK)).await?;
    // Another connection may have been quicker, and be at work in it by now.
    let made = match catalog::find(connection, &name).await {
        Ok(None) => execute(connection, &create).await.map(drop),
        found => found.map(drop),
    };
    let Err(failure) = made else {
        execute(connection, "COMMIT").await?;
        return Ok(beside);
    };
    if !matches!(failure, Failure::Broken(_)) {
        execute(connection, "ROLLBACK").await?;
    }
    let error = Error::from(failure).context(format!("the table beside {}", target.quoted()));
    Err(Failure::Ours(match error.kind {
        ErrorKind::Denied => error.hint(format!("GRANT CREATE ON SCHEMA {} to the login", quote(&target.schema))),
        _ => error,
    }))
}

/// A view has no rows of its own. Those of a table that others refer to would take these along, or leave
/// them without a parent.
async fn refuse_others(connection: &mut PgConnection, target: &Table) -> Result<(), Failure> {
    let is_table: bool =
        sqlx::query_scalar("SELECT relkind IN ('r', 'p') FROM pg_catalog.pg_class WHERE oid = $1::int8::oid")
            .bind(target.oid)
            .persistent(false)
            .fetch_one(&mut *connection)
            .await?;
    if !is_table {
        return Err(Error::config(format!("{} is not a table, and its rows cannot be replaced", target.quoted()))
            .hint("name the table behind it")
            .into());
    }
    let child: Option<String> = sqlx::query_scalar(
        "SELECT conrelid::regclass::text FROM pg_catalog.pg_constraint \
         WHERE contype = 'f' AND confrelid = $1::int8::oid AND conrelid <> confrelid ORDER BY 1 LIMIT 1",
    )
    .bind(target.oid)
    .persistent(false)
    .fetch_optional(connection)
    .await?;
    match child {
        None => Ok(()),
        Some(child) => Err(Error::config(format!(
            "the rows of {} cannot be replaced: a foreign key of table {child} refers to them",
            target.quoted()
        ))
        .hint("use `mode: upsert`, which keeps rows in their place, or drop the foreign key")
        .into()),
    }
}

async fn identities(connection: &mut PgConnection, target: &Table) -> Result<Vec<String>, Failure> {
    let rows = sqlx::query(
        "SELECT attname::text FROM pg_catalog.pg_attribute \
         WHERE attrelid = $1::int8::oid AND attidentity <> '' AND NOT attisdropped",
    )
    .bind(target.oid)
    .persistent(false)
    .fetch_all(connection)
    .await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}

/// Puts the window's rows in the place of the target's. Done before: does nothing.
pub async fn finish(
    connection: &mut PgConnection,
    run: &SinkRun,
    target: &TableName,
    commits: &str,
) -> Result<(), Failure> {
    let Some(target) = catalog::find(connection, target).await? else {
        // Only a window without columns, and so without rows, leaves it missing.
        return Ok(());
    };
    execute(connection, "BEGIN ISOLATION LEVEL READ COMMITTED").await?;
    match swap(connection, run, &target, commits).await {
        Ok(()) => Ok(execute(connection, "COMMIT").await.map(drop)?),
        Err(failure) => {
            if !matches!(failure, Failure::Broken(_)) {
                execute(connection, "ROLLBACK").await?;
            }
            match failure {
                // Somebody was quicker, with the same rows.
                Failure::Refused(refusal) if refusal.state == UNIQUE_VIOLATION => {
                    match commits::find(connection, commits, &run.marker(FINISHED)).await? {
                        Some(_) => Ok(()),
                        None => Err(does_not_fit(&target, &refusal.message, &refusal.state)),
                    }
                }
                // It names no row, so no row can become a dead letter for it.
                Failure::Refused(refusal) if kind(&refusal.state) == ErrorKind::Rejected => {
                    Err(does_not_fit(&target, &refusal.message, &refusal.state))
                }
                other => Err(other),
            }
        }
    }
}

fn does_not_fit(target: &Table, message: &str, state: &str) -> Failure {
    let error = Error::config(format!(
        "table {} does not take the new rows, and keeps the old ones: {message} (SQLSTATE {state})",
        target.quoted()
    ));
    error.hint("a foreign key or a trigger of the table refuses one of them; the table says which").into()
}

async fn swap(connection: &mut PgConnection, run: &SinkRun, target: &Table, commits: &str) -> Result<(), Failure> {
    let marker = run.marker(FINISHED);
    if commits::find(connection, commits, &marker).await?.is_some() {
        return Ok(());
    }
    // Without it no delivery has come: all that there is of the window are dead letters.
    if let Some(found) = catalog::find(connection, &beside(run, target)).await? {
        let beside = found.quoted();
        // Not TRUNCATE: whoever has begun to read goes on to see the old rows, and nobody waits but writers.
        execute(connection, &format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", target.quoted())).await?;
        execute(connection, &format!("DELETE FROM {}", target.quoted())).await?;
        // The table may have got or lost columns meanwhile.
        let known = |name: &str| found.columns.iter().any(|column| column.name == name);
        let columns = target.columns.iter().filter(|column| !column.generated && known(&column.name));
        let columns = quote_list(columns.map(|column| column.name.as_str()));
        let insert = format!(
            "INSERT INTO {} ({columns}) OVERRIDING SYSTEM VALUE SELECT {columns} FROM {beside}",
            target.quoted()
        );
        execute(connection, &insert).await?;
        execute(connection, "SET CONSTRAINTS ALL IMMEDIATE").await?;
    }
    // Those of windows that were given up, too.
    for table in leftovers(connection, run, target).await? {
        execute(connection, &format!("DROP TABLE {}.{}", quote(&target.schema), quote(&table))).await?;
    }
    commits::add(connection, commits, &marker, &Receipt::default()).await
}

/// The tables of this and earlier windows.
async fn leftovers(connection: &mut PgConnection, run: &SinkRun, target: &Table) -> Result<Vec<String>, Failure> {
    let prefix = prefix(run, target);
    let rows = sqlx::query(
        "SELECT c.relname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = $1 AND c.relkind = 'r' AND starts_with(c.relname::text, $2)",
    )
    .bind(&target.schema)
    .bind(&prefix)
    .persistent(false)
    .fetch_all(connection)
    .await?;
    let names: Vec<String> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
    let window = |name: &str| name.strip_prefix(&prefix).and_then(|number| number.parse::<u64>().ok());
    Ok(names.into_iter().filter(|name| window(name).is_some_and(|window| window <= run.window)).collect())
}
