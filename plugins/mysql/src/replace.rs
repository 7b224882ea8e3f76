//! `mode: replace`: the rows of a window go into a table beside the target, and take the place of
//! the target's rows at the window's end, in one transaction.
//!
//! The target itself stays, and with it all that hangs on it: grants, indexes, views, triggers.
//! `RENAME TABLE` would be quicker, and would commit before the key of the exchange.

use engine_sdk::database::TableName;
use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

use crate::catalog::{self, Table};
use crate::commits;
use crate::connection::{Link, execute, rows, text, value};
use crate::error::{DUPLICATE, Failure, Refusal};
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
/// Answers its name as SQL text. Outside of a transaction.
pub async fn prepare(connection: &mut Link, run: &SinkRun, target: &Table) -> Result<String, Failure> {
    refuse_others(connection, target).await?;
    let name = beside(run, target);
    if let Some(found) = catalog::find(connection, &name).await? {
        return Ok(found.quoted());
    }
    let beside = format!("{}.{}", quote(&target.schema), quote(&name.table));
    let create = format!("CREATE TABLE IF NOT EXISTS {beside} LIKE {}", target.quoted());
    let made = commits::alone(connection, async |connection| execute(connection, &create).await).await;
    match made {
        Ok(_) => Ok(beside),
        Err(failure) => {
            let error = Error::from(failure).context(format!("the table beside {}", target.quoted()));
            Err(Failure::Ours(match error.kind {
                ErrorKind::Denied => {
                    error.hint(format!("GRANT CREATE, DROP ON {}.* TO the login", quote(&target.schema)))
                }
                _ => error,
            }))
        }
    }
}

/// The rows of a table that others refer to would take these along, or leave them without a parent.
async fn refuse_others(connection: &mut Link, target: &Table) -> Result<(), Failure> {
    let child = format!(
        "SELECT CONCAT(TABLE_SCHEMA, '.', TABLE_NAME) FROM information_schema.KEY_COLUMN_USAGE \
         WHERE REFERENCED_TABLE_SCHEMA = {0} AND REFERENCED_TABLE_NAME = {1} \
         AND NOT (TABLE_SCHEMA = {0} AND TABLE_NAME = {1}) ORDER BY 1 LIMIT 1",
        literal(&target.schema),
        literal(&target.name)
    );
    match value(connection, &child).await? {
        None => Ok(()),
        Some(child) => Err(Error::config(format!(
            "the rows of {} cannot be replaced: a foreign key of table {child} refers to them",
            target.quoted()
        ))
        .hint("use `mode: upsert`, which keeps rows in their place, or drop the foreign key")
        .into()),
    }
}

/// Puts the window's rows in the place of the target's. Done before: only takes away what is left over.
pub async fn finish(connection: &mut Link, run: &SinkRun, target: &TableName, commits: &str) -> Result<(), Failure> {
    let Some(target) = catalog::find(connection, target).await? else {
        // Only a window without columns, and so without rows, leaves it missing.
        return Ok(());
    };
    // The locks of this level also keep others from adding rows until the exchange is done.
    execute(connection, "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ").await?;
    execute(connection, "START TRANSACTION").await?;
    let swapped = match swap(connection, run, &target, commits).await {
        Ok(()) => execute(connection, "COMMIT").await.map(drop),
        Err(failure) => Err(failure),
    };
    if let Err(failure) = swapped {
        if !matches!(failure, Failure::Broken(_)) {
            execute(connection, "ROLLBACK").await?;
        }
        match failure {
            // Somebody was quicker, with the same rows.
            Failure::Refused(refusal) if refusal.number == DUPLICATE => {
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
        execute(connection, &format!("DROP TABLE IF EXISTS {}.{}", quote(&target.schema), quote(&table))).await?;
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
    // Not TRUNCATE, which commits: whoever reads goes on to see the old rows.
    execute(connection, &format!("DELETE FROM {}", target.quoted())).await?;
    // The table may have got or lost columns meanwhile.
    let known = |name: &str| found.columns.iter().any(|column| column.name == name);
    let columns = target.columns.iter().filter(|column| !column.generated && known(&column.name));
    let columns = quote_list(columns.map(|column| column.name.as_str()));
    let insert = format!("INSERT INTO {} ({columns}) SELECT {columns} FROM {}", target.quoted(), found.quoted());
    execute(connection, &insert).await?;
    Ok(())
}

/// The tables of this and earlier windows.
async fn leftovers(connection: &mut Link, run: &SinkRun, target: &Table) -> Result<Vec<String>, Failure> {
    let prefix = prefix(run, target);
    let names = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} AND LEFT(TABLE_NAME, {}) = {}",
        literal(&target.schema),
        prefix.len(),
        literal(&prefix)
    );
    let names: Vec<_> = rows(connection, &names).await?.iter().filter_map(|row| text(row, 0)).collect();
    let window = |name: &str| name.strip_prefix(&prefix).and_then(|number| number.parse::<u64>().ok());
    Ok(names.into_iter().filter(|name| window(name).is_some_and(|window| window <= run.window)).collect())
}
