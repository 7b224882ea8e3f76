//! The keys of deliveries that are in the file: `_engine_commits`.

use engine_sdk::prelude::*;
use rusqlite::{Connection, OptionalExtension};

use crate::database::{failure, is_refusal};
use crate::table::{self, COMMITS};

/// Makes the table, where it is missing.
pub fn make(connection: &Connection) -> Result<()> {
    let sql = "CREATE TABLE IF NOT EXISTS _engine_commits (state TEXT, pipeline TEXT, sink TEXT, win INTEGER, \
               split TEXT, receipt TEXT NOT NULL, committed_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, \
               PRIMARY KEY (state, pipeline, sink, win, split)) WITHOUT ROWID";
    connection.execute_batch(sql).map_err(failure)
}

/// What a delivery has left in the file, if it is there.
pub fn find(connection: &Connection, delivery: &Delivery) -> Result<Option<Receipt>> {
    if table::find(connection, COMMITS)?.is_none() {
        return Ok(None);
    }
    let receipt: Option<String> = connection
        .query_row(
            "SELECT receipt FROM _engine_commits \
             WHERE state = ?1 AND pipeline = ?2 AND sink = ?3 AND win = ?4 AND split = ?5",
            (&delivery.state, &delivery.pipeline, &delivery.sink, window(delivery.window)?, &delivery.split),
            |row| row.get(0),
        )
        .optional()
        .map_err(failure)?;
    // An older or newer engine's receipt is still a commit.
    Ok(receipt.map(|receipt| serde_json::from_str(&receipt).unwrap_or_default()))
}

/// Adds a delivery's key, forgets those that never come again, and commits.
pub fn add(connection: &Connection, delivery: &Delivery, receipt: &Receipt) -> Result<()> {
    let text = serde_json::to_string(receipt)
        .map_err(|error| Error::internal(format!("a receipt cannot be written: {error}")))?;
    let (state, pipeline, sink) = (&delivery.state, &delivery.pipeline, &delivery.sink);
    let inserted = connection.execute(
        "INSERT INTO _engine_commits (state, pipeline, sink, win, split, receipt) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        (state, pipeline, sink, window(delivery.window)?, &delivery.split, text),
    );
    if let Err(error) = inserted {
        return Err(if is_refusal(&error) {
            Error::unavailable(format!("delivery {} was committed by somebody else meanwhile", delivery.key))
        } else {
            failure(error)
        });
    }
    connection
        .execute(
            "DELETE FROM _engine_commits WHERE state = ?1 AND pipeline = ?2 AND sink = ?3 AND win < ?4",
            (state, pipeline, sink, window(delivery.settled_before)?),
        )
        .map_err(failure)?;
    connection.execute_batch("COMMIT").map_err(|error| {
        if is_refusal(&error) {
            // Deferred constraints are checked here, and cannot tell which row broke them:
            // to refuse the delivery would cost all of its rows.
            Error::config(failure(error).message).hint(
                "a deferred constraint is broken by a row that it cannot name; make it immediate, or mend the data",
            )
        } else {
            failure(error)
        }
    })
}

fn window(number: u64) -> Result<i64> {
    i64::try_from(number).map_err(|_| Error::internal(format!("window {number} is too large a number")))
}
