//! Backfills: how far the windows of a range that is read once more have got.

use engine_abi::Result;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::State;
use crate::error::{Fault, Step};
use crate::store::{json_from_optional, json_text};
use crate::windows::load_one;

/// Under which the context of a window says what backfill it is a part of.
pub(crate) const CONTEXT: &str = "backfill";

/// A range of a source that is read once more, window by window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Backfill {
    /// Where it begins (exclusive).
    pub lower: Value,
    /// Where it ends (inclusive).
    pub upper: Value,
    /// How far each window goes, as a person wrote it; empty: to the end.
    pub step: String,
}

impl State {
    /// Up to where the windows of a backfill are stored; None: it has not begun, or
    /// [`State::end_backfill`] was called.
    pub fn backfilled(&self, pipeline: &str, backfill: &Backfill) -> Result<Option<Value>> {
        self.look("look up a backfill", |transaction| {
            let reached: Option<String> = transaction
                .prepare_cached(
                    "SELECT reached FROM backfills WHERE pipeline = ?1 AND lower = ?2 AND upper = ?3 AND step = ?4",
                )?
                .query_row(
                    params![pipeline, json_text(&backfill.lower)?, json_text(&backfill.upper)?, backfill.step],
                    |row| row.get(0),
                )
                .optional()?;
            json_from_optional(reached)
        })
    }

    /// Forgets a backfill: the same one would begin anew.
    pub fn end_backfill(&self, pipeline: &str, backfill: &Backfill) -> Result<()> {
        self.write("end a backfill", |transaction| {
            transaction
                .prepare_cached(
                    "DELETE FROM backfills WHERE pipeline = ?1 AND lower = ?2 AND upper = ?3 AND step = ?4",
                )?
                .execute(params![pipeline, json_text(&backfill.lower)?, json_text(&backfill.upper)?, backfill.step])?;
            Ok(())
        })
    }
}

/// Remembers how far a backfill has got.
pub(crate) fn note(transaction: &Transaction<'_>, pipeline: &str, backfill: &Backfill, reached: &Value) -> Step<()> {
    transaction
        .prepare_cached(
            "INSERT INTO backfills (pipeline, lower, upper, step, reached) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (pipeline, lower, upper, step) DO UPDATE SET reached = excluded.reached",
        )?
        .execute(params![
            pipeline,
            json_text(&backfill.lower)?,
            json_text(&backfill.upper)?,
            backfill.step,
            json_text(reached)?
        ])?;
    Ok(())
}

/// Takes back what a window of a backfill has added to it.
pub(crate) fn set_back(transaction: &Transaction<'_>, pipeline: &str, window: u64) -> Step<()> {
    let Some(window) = load_one(transaction, pipeline, window)? else { return Ok(()) };
    let backfill = window.context.get(CONTEXT).cloned().map(serde_json::from_value::<Backfill>);
    let Some(backfill) = backfill.transpose().map_err(|cause| Fault::Unreadable(cause.to_string()))? else {
        return Ok(());
    };
    note(transaction, pipeline, &backfill, window.lower.as_ref().unwrap_or(&backfill.lower))
}
