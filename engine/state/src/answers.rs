//! What the other side has answered for the pieces of a delivery that is not settled yet.

use engine_abi::Result;
use fail::fail_point;
use rusqlite::{Transaction, params};
use serde_json::Value;

use crate::State;
use crate::error::Step;
use crate::ledger::{Delivery, refuse_unplanned};
use crate::notices;
use crate::store::{int, json_from, json_text};

impl State {
    /// Keeps an answer, until the delivery is settled.
    ///
    /// # Errors
    /// `Internal` when the delivery is neither one of its window nor that of a notice.
    pub fn add_answer(&self, delivery: &Delivery, answer: &Value) -> Result<()> {
        self.write("keep an answer", |transaction| {
            if !notices::is_one(transaction, delivery)? {
                refuse_unplanned(transaction, delivery)?;
            }
            transaction
                .prepare_cached(
                    "INSERT INTO answers (pipeline, window, sink, split, position, answer) \
                     SELECT ?1, ?2, ?3, ?4, coalesce(max(position), 0) + 1, ?5 FROM answers \
                     WHERE pipeline = ?1 AND window = ?2 AND sink = ?3 AND split = ?4",
                )?
                .execute(params![
                    delivery.pipeline,
                    int(delivery.window),
                    delivery.sink,
                    delivery.split,
                    json_text(answer)?
                ])?;
            Ok(())
        })?;
        fail_point!("state::answer_kept");
        Ok(())
    }

    /// How many answers are kept of a window's deliveries to a sink: whether an attempt got further.
    pub fn answered(&self, pipeline: &str, window: u64, sink: &str) -> Result<u64> {
        self.look("count the answers to a window", |transaction| {
            let count: i64 = transaction
                .prepare_cached("SELECT count(*) FROM answers WHERE pipeline = ?1 AND window = ?2 AND sink = ?3")?
                .query_row(params![pipeline, int(window), sink], |row| row.get(0))?;
            Ok(count as u64)
        })
    }

    /// What was answered in earlier attempts, in the order in which it was kept.
    pub fn answers(&self, delivery: &Delivery) -> Result<Vec<Value>> {
        self.look("look up the answers to a delivery", |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT answer FROM answers WHERE pipeline = ?1 AND window = ?2 AND sink = ?3 AND split = ?4 \
                 ORDER BY position",
            )?;
            let of = params![delivery.pipeline, int(delivery.window), delivery.sink, delivery.split];
            let mut rows = statement.query(of)?;
            let mut answers = Vec::new();
            while let Some(row) = rows.next()? {
                answers.push(json_from(&row.get::<_, String>(0)?)?);
            }
            Ok(answers)
        })
    }
}

/// Lets go of the answers to a delivery that has its receipt.
pub(crate) fn forget(transaction: &Transaction<'_>, delivery: &Delivery) -> Step<()> {
    transaction
        .prepare_cached("DELETE FROM answers WHERE pipeline = ?1 AND window = ?2 AND sink = ?3 AND split = ?4")?
        .execute(params![delivery.pipeline, int(delivery.window), delivery.sink, delivery.split])?;
    Ok(())
}
