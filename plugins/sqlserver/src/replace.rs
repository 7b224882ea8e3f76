//! `mode: replace`: the rows of a window go into a table beside the target, and take the place of
//! the target's rows at the window's end, in one transaction.
//!
//! The target itself stays, and with it all that hangs on it: grants, indexes, views, triggers.

use engine_sdk::database::TableName;
use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

use crate::catalog::{self, Column, Table, about};
use crate::commits;
use crate::connection::{Link, execute, rows, text, value};
use crate::error::{Failure, Refusal};
use crate::name::{Arguments, Call, quote, quote_list, quote_table};
use crate::questions::{BEGINNING, CHECKS, REFERS};

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

/// Makes the table beside the target, if it is not there, with the target's rules for single rows and its unique
/// indexes. `has`: what the stream brings. Answers its name as SQL text. Outside of a transaction.
pub async fn prepare(
    connection: &mut Link,
    run: &SinkRun,
    target: &Table,
    has: &dyn Fn(&str) -> bool,
) -> Result<String, Failure> {
    if let Some(child) = value(connection, about(REFERS, &target.quoted())).await? {
        return Err(Error::config(format!(
            "the rows of {} cannot be replaced: a foreign key of table {child} refers to them",
            target.quoted()
        ))
        .hint("use `mode: upsert`, which keeps rows in their place, or drop the foreign key")
        .into());
    }
    let name = beside(run, target);
    let quoted = quote_table(&name);
    let checks = rows(connection, about(CHECKS, &target.quoted())).await?;
    let checks: Vec<_> = checks.iter().filter_map(|row| text(row, 0)).collect();
    let create = create(target, &quoted, &checks, has);
    let made = commits::alone(connection, async |connection| {
        if catalog::find(connection, &name).await?.is_none() {
            execute(connection, &create).await?;
        }
        Ok(())
    });
    match made.await {
        Ok(()) => Ok(quoted),
        Err(failure) => {
            let error = Error::from(failure).context(format!("the table beside {}", target.quoted()));
            Err(Failure::Ours(match error.kind {
                ErrorKind::Denied => error.hint(format!(
                    "GRANT CREATE TABLE and GRANT ALTER ON SCHEMA::{} TO the login's user",
                    quote(&target.schema)
                )),
                _ => error,
            }))
        }
    }
}

/// The statement that makes it. It has the columns of the stream: the others get their values at the exchange.
fn create(target: &Table, quoted: &str, checks: &[String], has: &dyn Fn(&str) -> bool) -> String {
    let (kept, left_out): (Vec<_>, Vec<_>) =
        target.columns.iter().partition(|column| !column.generated && has(&column.name));
    let mut parts: Vec<_> = kept
        .iter()
        .map(|column| {
            let collate = column.collation.as_ref().map_or(String::new(), |name| format!(" COLLATE {name}"));
            let null = if column.not_null { "NOT NULL" } else { "NULL" };
            format!("{} {}{collate} {null}", quote(&column.name), column.declared)
        })
        .collect();
    // A condition on a column that is not there shows only at the exchange.
    let names_others = |check: &&String| left_out.iter().any(|column| check.contains(&quote(&column.name)));
    parts.extend(checks.iter().filter(|check| !names_others(check)).map(|check| format!("CHECK {check}")));
    let is_there = |name: &String| kept.iter().any(|column: &&Column| column.name == *name);
    let unique = target.unique.iter().filter(|(_, columns)| columns.iter().all(is_there));
    parts.extend(unique.map(|(_, columns)| format!("UNIQUE ({})", quote_list(columns.iter().map(String::as_str)))));
    format!("CREATE TABLE {quoted} ({})", parts.join(", "))
}

/// Puts the window's rows in the place of the target's. Done before: only takes away what is left over.
pub async fn finish(connection: &mut Link, run: &SinkRun, target: &TableName, commits: &str) -> Result<(), Failure> {
    let Some(target) = catalog::find(connection, target).await? else {
        // Only a window without columns, and so without rows, leaves it missing.
        return Ok(());
    };
    // The locks of this level also keep others from adding rows until the exchange is done.
    execute(connection, "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; BEGIN TRANSACTION").await?;
    let swapped = match swap(connection, run, &target, commits).await {
        Ok(()) => execute(connection, "COMMIT TRANSACTION").await,
        Err(failure) => Err(failure),
    };
    if let Err(failure) = swapped {
        if !matches!(failure, Failure::Broken(_)) {
            execute(connection, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION").await?;
        }
        match failure {
            // Somebody was quicker, with the same rows.
            Failure::Refused(refusal) if refusal.is_duplicate() => {
                if commits::find(connection, commits, &run.marker(FINISHED)).await?.is_none() {
                    return Err(does_not_fit(&target, &refusal));
                }
            }
            // It names no row, so no row can become a dead letter for it.
            Failure::Refused(refusal) if refusal.is_of_rows() => return Err(does_not_fit(&target, &refusal)),
            other => return Err(other),
        }
    }
    // Those of windows that were given up, too.
    for table in leftovers(connection, run, &target).await? {
        let table = TableName { schema: Some(target.schema.clone()), table };
        execute(connection, &format!("DROP TABLE IF EXISTS {}", quote_table(&table))).await?;
    }
    Ok(())
}

fn does_not_fit(target: &Table, refusal: &Refusal) -> Failure {
    let error = Error::config(format!(
        "table {} does not take the new rows, and keeps the old ones: {} (error {})",
        target.quoted(),
        refusal.message,
        refusal.number
    ));
    error.hint("a foreign key or a trigger of the table refuses one of them; the table says which").into()
}

async fn swap(connection: &mut Link, run: &SinkRun, target: &Table, commits: &str) -> Result<(), Failure> {
    let marker = run.marker(FINISHED);
    if commits::find(connection, commits, &marker).await?.is_some() {
        return Ok(());
    }
    // First: whoever is second waits here, and has changed nothing.
    commits::add(connection, commits, &marker, &Receipt::default()).await?;
    // Without it no delivery has come: all that there is of the window are dead letters.
    let Some(found) = catalog::find(connection, &beside(run, target)).await? else { return Ok(()) };
    // Not TRUNCATE, whose lock readers would wait for even where they see the old rows.
    execute(connection, &format!("DELETE FROM {}", target.quoted())).await?;
    // The table may have got or lost columns meanwhile.
    let known = |name: &str| found.columns.iter().any(|column| column.name == name);
    let columns: Vec<_> = target.columns.iter().filter(|column| !column.generated && known(&column.name)).collect();
    let numbers = columns.iter().any(|column| column.identity);
    let columns = quote_list(columns.iter().map(|column| column.name.as_str()));
    let mut insert = format!(
        "INSERT INTO {} ({columns}) SELECT {columns} FROM {}",
        target.quoted(),
        quote_table(&beside(run, target))
    );
    if numbers {
        let switch = format!("SET IDENTITY_INSERT {}", target.quoted());
        insert = format!("{switch} ON; {insert}; {switch} OFF");
    }
    execute(connection, &insert).await
}

/// The tables of this and earlier windows.
async fn leftovers(connection: &mut Link, run: &SinkRun, target: &Table) -> Result<Vec<String>, Failure> {
    let prefix = prefix(run, target);
    let mut arguments = Arguments::default();
    arguments.text(&target.schema);
    arguments.text(&prefix);
    let names = rows(connection, Call { sql: BEGINNING.into(), arguments }).await?;
    let names: Vec<_> = names.iter().filter_map(|row| text(row, 0)).collect();
    let window = |name: &str| name.strip_prefix(&prefix).and_then(|number| number.parse::<u64>().ok());
    Ok(names.into_iter().filter(|name| window(name).is_some_and(|window| window <= run.window)).collect())
}
