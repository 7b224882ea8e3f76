//! Windows that are not completed, though something of them may have arrived.

use engine_abi::message::Receipt;
use engine_abi::{Result, Unit};
use fail::fail_point;
use rusqlite::{Transaction, params};
use serde_json::json;

use crate::State;
use crate::covered;
use crate::error::Step;
use crate::ledger::{self, Delivery, RUN_SPLIT};
use crate::store::int;
use crate::windows::{self, Window};

impl State {
    /// Settles, all at once, what a window lacks and will not get. Where nobody has anything of it, it is read again:
    /// the next one begins where it began, and what its stages have refused is forgotten.
    ///
    /// `arrived`: a target says that it has something of what is not settled. A window that is finished stays as it is.
    pub fn abandon_window(&self, pipeline: &str, window: u64, why: &str, arrived: bool) -> Result<()> {
        self.write("give up what a window lacks", |transaction| {
            let stored = windows::load_one(transaction, pipeline, window)?;
            let Some(stored) = stored.filter(|window| window.finished.is_none()) else { return Ok(()) };
            let reached_nobody = !arrived && !has_reached_somebody(transaction, pipeline, window)?;
            if reached_nobody {
                transaction
                    .prepare_cached(
                        "DELETE FROM dead_letters WHERE pipeline = ?1 AND window = ?2 AND status = 'pending'",
                    )?
                    .execute(params![pipeline, int(window)])?;
                covered::read_again(transaction, pipeline, window)?;
            }
            let detail = json!({"given_up": why, "abandoned": reached_nobody});
            let receipt = Receipt { detail, ..Receipt::default() };
            for delivery in missing(&stored) {
                ledger::settle_in(transaction, &delivery, &receipt, 0, 0)?;
            }
            Ok(())
        })?;
        fail_point!("state::window_abandoned");
        Ok(())
    }

    /// Whether a window was given up with nobody having anything of it.
    pub fn was_abandoned(&self, pipeline: &str, window: u64) -> Result<bool> {
        self.look("look up whether a window was given up", |transaction| {
            Ok(transaction
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM deliveries WHERE pipeline = ?1 AND window = ?2 \
                     AND json_extract(receipt, '$.detail.abandoned'))",
                )?
                .query_row(params![pipeline, int(window)], |row| row.get(0))?)
        })
    }
}

/// Whether a delivery of a window is settled, or a piece of one was answered.
fn has_reached_somebody(transaction: &Transaction<'_>, pipeline: &str, window: u64) -> Step<bool> {
    Ok(transaction
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM deliveries WHERE pipeline = ?1 AND window = ?2 AND receipt IS NOT NULL) \
             OR EXISTS (SELECT 1 FROM answers WHERE pipeline = ?1 AND window = ?2)",
        )?
        .query_row(params![pipeline, int(window)], |row| row.get(0))?)
}

/// The deliveries of a window that are not settled.
fn missing(window: &Window) -> Vec<Delivery> {
    let mut missing = Vec::new();
    for sink in &window.sinks {
        let all: Vec<&str> = match sink.unit {
            Unit::Run => vec![RUN_SPLIT],
            Unit::Split => window.splits.iter().map(|split| split.id.as_str()).collect(),
        };
        missing.extend(all.into_iter().filter(|split| !sink.committed.contains(*split)).map(|split| Delivery {
            pipeline: window.pipeline.clone(),
            sink: sink.name.clone(),
            window: window.id,
            split: split.to_owned(),
        }));
    }
    missing
}
