//! `mode: replace`: the rows of a window go into a table beside the target, and take the place of
//! the target's rows at the window's end, in one transaction.
//!
//! The target itself stays, and with it its indexes, triggers and views.

use engine_sdk::prelude::*;
use rusqlite::Connection;
use sha2::{Digest, Sha256};

use crate::commits;
use crate::database::{failure, is_refusal, quote, quote_list};
use crate::table::{self, Table};

/// What the keys of deliveries have as the split of a window whose table beside the target is its own.
const BEGUN: &str = "*begun*";
/// And of one that has taken its place.
const FINISHED: &str = "*finished*";

/// The table beside the target: one of a sink and a target.
pub fn beside(run: &SinkRun, target: &str) -> String {
    let place = [run.state.as_str(), &run.pipeline, &run.sink, &target.to_lowercase()].join("\0");
    format!("_engine_replace_{}", engine_sdk::hexadecimal::write(&Sha256::digest(place.as_bytes())[..8]))
}

/// Takes away what another window has left beside the target, once a window.
pub fn prepare(connection: &Connection, run: &SinkRun, target: &str) -> Result<()> {
    let begun = run.marker(BEGUN);
    if commits::find(connection, &begun)?.is_some() {
        return Ok(());
    }
    transaction(connection, || {
        commits::make(connection)?;
        drop_table(connection, &beside(run, target))?;
        commits::add(connection, &begun, &Receipt::default())
    })
}

/// Makes the table beside the target, if it is not there, with what refuses rows there: its constraints and
/// unique indexes.
pub fn make(connection: &Connection, target: &Table, beside: &str) -> Result<()> {
    if table::find(connection, beside)?.is_some() {
        return Ok(());
    }
    let statements = || -> rusqlite::Result<Vec<String>> {
        let sql = "SELECT sql FROM sqlite_schema WHERE tbl_name = ?1 COLLATE NOCASE AND type IN ('table', 'index') \
                   AND sql IS NOT NULL ORDER BY type DESC";
        connection.prepare(sql)?.query_map([&target.name], |row| row.get(0))?.collect()
    };
    let unknown = || {
        Error::config(format!("`mode: replace` cannot make a table like `{}`", target.name))
            .hint("it works on ordinary tables, neither views nor virtual tables; use `append` or `upsert`")
    };
    // Copied, it would refer to the target's rows, which go, and not to those that come.
    let sql = "SELECT count(*) FROM pragma_foreign_key_list(?1) WHERE \"table\" = ?1 COLLATE NOCASE";
    if connection.query_row(sql, [&target.name], |row| row.get::<_, i64>(0)).map_err(failure)? > 0 {
        return Err(Error::config(format!(
            "`mode: replace` cannot work on `{}`, whose rows refer to each other",
            target.name
        ))
        .hint("use `append` or `upsert`, or a table without that foreign key"));
    }
    let statements = statements().map_err(failure)?;
    let (table, indexes) = statements.split_first().ok_or_else(unknown)?;
    let table = table.strip_prefix("CREATE TABLE ").and_then(|rest| Some(&rest[identifier(rest)?..]));
    let table = format!("CREATE TABLE {}{}", quote(beside), table.ok_or_else(unknown)?);
    let mut copies = vec![table];
    for (at, index) in indexes.iter().enumerate() {
        let Some(rest) = index.strip_prefix("CREATE UNIQUE INDEX ") else { continue };
        let columns = || {
            let rest = rest[identifier(rest)?..].trim_start();
            let rest = rest.get(..2).filter(|word| word.eq_ignore_ascii_case("on")).map(|_| rest[2..].trim_start())?;
            Some(&rest[identifier(rest)?..])
        };
        let columns = columns().ok_or_else(|| {
            Error::config(format!("`mode: replace` cannot read the index `{index}` of `{}`", target.name))
                .hint("make it anew, without comments between its words")
        })?;
        let name = quote(&format!("{beside}_{at}"));
        copies.push(format!("CREATE UNIQUE INDEX {name} ON {}{columns}", quote(beside)));
    }
    for copy in copies {
        let made = connection.execute_batch(&copy);
        made.map_err(|error| {
            failure(error)
                .context(format!("a table like `{}` cannot be made for `mode: replace`", target.name))
                .hint("a CHECK that names its own table cannot be copied: name columns alone")
        })?;
    }
    Ok(())
}

/// How long the name is that a statement begins with. SQLite keeps statements as they were written from the name on.
fn identifier(sql: &str) -> Option<usize> {
    let first = sql.chars().next()?;
    let closing = match first {
        '"' | '`' | '\'' => first,
        '[' => ']',
        _ => {
            let end = sql.find(|it: char| it.is_ascii() && !it.is_ascii_alphanumeric() && it != '_' && it != '$');
            return end.filter(|end| *end > 0);
        }
    };
    let mut rest = sql.char_indices().skip(1).peekable();
    while let Some((at, it)) = rest.next() {
        if it != closing {
            continue;
        }
        // Twice, it stands for itself; but in brackets nothing does.
        if closing != ']' && rest.next_if(|(_, next)| *next == closing).is_some() {
            continue;
        }
        return Some(at + 1);
    }
    None
}

/// Puts the window's rows in the place of the target's, once.
pub fn finish(connection: &Connection, run: &SinkRun, target: &str) -> Result<()> {
    let finished = run.marker(FINISHED);
    if commits::find(connection, &finished)?.is_some() {
        return Ok(());
    }
    transaction(connection, || {
        let beside = beside(run, target);
        // Without it no delivery has come: all that there is of the window are dead letters.
        if table::find(connection, &beside)?.is_some() {
            swap(connection, target, &beside)?;
        }
        commits::add(connection, &finished, &Receipt::default())
    })
}

fn swap(connection: &Connection, target: &str, beside: &str) -> Result<()> {
    let target = table::require(connection, target)?;
    let columns = quote_list(target.columns.iter().filter(|it| !it.generated).map(|it| it.name.as_str()));
    let (name, beside) = (quote(&target.name), quote(beside));
    // The table beside goes first: it has the target's foreign keys, and what the DELETE sets going in other tables
    // must not come back to the new rows.
    let sql = format!(
        "PRAGMA defer_foreign_keys = ON; \
         CREATE TEMP TABLE _engine_swap AS SELECT {columns} FROM {beside}; DROP TABLE {beside}; \
         DELETE FROM {name}; INSERT INTO {name} ({columns}) SELECT {columns} FROM temp._engine_swap; \
         DROP TABLE temp._engine_swap"
    );
    connection.execute_batch(&sql).map_err(|error| {
        let refused = is_refusal(&error);
        let error = failure(error).context(format!("table {} keeps its old rows", target.name));
        // One row of all; to refuse the window would cost every one.
        if refused { Error { kind: ErrorKind::Config, ..error } } else { error }
    })
}

fn drop_table(connection: &Connection, table: &str) -> Result<()> {
    connection.execute_batch(&format!("DROP TABLE IF EXISTS {}", quote(table))).map_err(failure)
}

/// Begins a transaction, which `work` commits. What has failed leaves nothing.
fn transaction(connection: &Connection, work: impl FnOnce() -> Result<()>) -> Result<()> {
    connection.execute_batch("BEGIN IMMEDIATE").map_err(failure)?;
    let done = work();
    if done.is_err() && !connection.is_autocommit() {
        connection.execute_batch("ROLLBACK").map_err(failure)?;
    }
    done
}
