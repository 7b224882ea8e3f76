//! The ledger: every delivery from its first attempt to its receipt.

use chrono::{DateTime, Utc};
use engine_abi::message::{Receipt, Sealed};
use engine_abi::{Error, ErrorKind, Result, Unit};
use fail::fail_point;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::State;
use crate::answers;
use crate::cursors;
use crate::dead_letters;
use crate::error::Step;
use crate::notices;
use crate::store::{int, json_from, json_from_optional, json_text, now_text, time_from};
use crate::windows;

/// The name of the one delivery of a sink that publishes a window as a whole.
pub const RUN_SPLIT: &str = "run";

/// Which delivery: one split of a window to one sink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Delivery {
    /// The pipeline's name.
    pub pipeline: String,
    /// The sink's name in the pipeline.
    pub sink: String,
    /// The window's number.
    pub window: u64,
    /// The split's id, or [`RUN_SPLIT`].
    pub split: String,
}

/// What the ledger holds of a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct DeliveryRecord {
    /// Which one.
    pub delivery: Delivery,
    /// How often it was begun.
    pub attempts: u32,
    /// What is ready to be committed.
    pub sealed: Option<Sealed>,
    /// What the target answered. Some: the delivery is settled.
    pub receipt: Option<Receipt>,
    /// Rows delivered, as the engine counted them.
    pub rows: u64,
    /// Bytes delivered, as the engine counted them.
    pub bytes: u64,
    /// When it was settled.
    pub settled: Option<DateTime<Utc>>,
    /// Why the last attempt has failed. None: there was none, or it was settled since.
    pub failure: Option<Failure>,
}

impl DeliveryRecord {
    /// How it stands: `delivered`, `failed`, `begun`, `skipped` or `given_up`.
    pub fn status(&self) -> &'static str {
        match (&self.receipt, &self.failure) {
            (Some(receipt), _) if receipt.detail.get("given_up").is_some() => "given_up",
            (Some(receipt), _) if receipt.detail.get("skipped").is_some() => "skipped",
            (Some(_), _) => "delivered",
            (None, Some(_)) => "failed",
            (None, None) => "begun",
        }
    }
}

/// Why an attempt at a delivery has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The error's kind.
    pub kind: String,
    /// What it said.
    pub message: String,
    /// When.
    pub at: DateTime<Utc>,
}

/// Which deliveries to list.
#[derive(Debug, Clone, Default)]
pub struct DeliveryFilter {
    /// Only of this pipeline.
    pub pipeline: Option<String>,
    /// Only to this sink.
    pub sink: Option<String>,
    /// Only of this window.
    pub window: Option<u64>,
    /// Only those that are not settled.
    pub unsettled: bool,
    /// Only those that are listed after this one: the last one of the page before. None are, once its window is kept no
    /// longer.
    pub after: Option<Delivery>,
    /// The most of them.
    pub limit: usize,
}

impl State {
    /// The key under which a target remembers a delivery for ever:
    /// `<state id>/<pipeline>/<sink>/<window>/<split>`.
    pub fn key(&self, delivery: &Delivery) -> String {
        let Delivery { pipeline, sink, window, split } = delivery;
        format!("{}/{pipeline}/{sink}/{window}/{split}", self.id())
    }

    /// Counts an attempt at a delivery, and says which one it is (1: the first).
    pub fn attempt(&self, delivery: &Delivery) -> Result<u32> {
        let attempts = self.write("count an attempt", |transaction| {
            refuse_unplanned(transaction, delivery)?;
            Ok(transaction
                .prepare_cached(
                    "INSERT INTO deliveries (pipeline, window, sink, split, attempts) VALUES (?1, ?2, ?3, ?4, 1) \
                     ON CONFLICT DO UPDATE SET attempts = attempts + 1 RETURNING attempts",
                )?
                .query_row(params![delivery.pipeline, int(delivery.window), delivery.sink, delivery.split], |row| {
                    row.get(0)
                })?)
        })?;
        fail_point!("state::attempt_counted");
        Ok(attempts)
    }

    /// Stores that a delivery is complete and waits to be committed. What was sealed
    /// before, and never committed, was made again and is replaced.
    ///
    /// # Errors
    /// `Internal` when the delivery is settled, or not one of its window.
    pub fn seal(&self, delivery: &Delivery, sealed: &Sealed) -> Result<()> {
        self.write("seal a delivery", |transaction| {
            refuse_unplanned(transaction, delivery)?;
            let changed = transaction
                .prepare_cached(
                    "INSERT INTO deliveries (pipeline, window, sink, split, sealed) VALUES (?1, ?2, ?3, ?4, ?5) \
                     ON CONFLICT DO UPDATE SET sealed = excluded.sealed WHERE receipt IS NULL",
                )?
                .execute(params![
                    delivery.pipeline,
                    int(delivery.window),
                    delivery.sink,
                    delivery.split,
                    json_text(sealed)?
                ])?;
            if changed == 0 {
                return Err(internal(delivery, "was committed before it was sealed again").into());
            }
            Ok(())
        })?;
        fail_point!("state::sealed");
        Ok(())
    }

    /// Keeps why an attempt has failed, of a delivery that was attempted.
    pub fn attempt_failed(&self, delivery: &Delivery, error: &Error) -> Result<()> {
        let failure = Failure { kind: error.kind.to_string(), message: error.message.clone(), at: Utc::now() };
        self.write("note a failure", |transaction| {
            transaction
                .prepare_cached(
                    "UPDATE deliveries SET failure = ?5 \
                     WHERE pipeline = ?1 AND window = ?2 AND sink = ?3 AND split = ?4 AND receipt IS NULL",
                )?
                .execute(params![
                    delivery.pipeline,
                    int(delivery.window),
                    delivery.sink,
                    delivery.split,
                    json_text(&failure)?
                ])?;
            Ok(())
        })
    }

    /// Deliveries that were attempted, those of the newest windows first.
    pub fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<DeliveryRecord>> {
        self.look("list deliveries", |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT deliveries.pipeline, deliveries.sink, deliveries.window, deliveries.split \
                 FROM deliveries JOIN windows ON windows.pipeline = deliveries.pipeline AND windows.id = window \
                 LEFT JOIN windows AS reached ON reached.pipeline = ?6 AND reached.id = ?7 \
                 WHERE (?1 IS NULL OR deliveries.pipeline = ?1) AND (?2 IS NULL OR sink = ?2) \
                 AND (?3 IS NULL OR window = ?3) AND (NOT ?4 OR receipt IS NULL) \
                 AND (?6 IS NULL OR windows.created < reached.created OR (windows.created = reached.created \
                 AND (deliveries.pipeline, -window, sink, split) > (?6, -?7, ?8, ?9))) \
                 ORDER BY windows.created DESC, deliveries.pipeline, window DESC, sink, split LIMIT ?5",
            )?;
            let after = filter.after.as_ref();
            let found = statement
                .query_map(
                    params![
                        filter.pipeline,
                        filter.sink,
                        filter.window.map(int),
                        filter.unsettled,
                        int(filter.limit as u64),
                        after.map(|after| &after.pipeline),
                        after.map(|after| int(after.window)),
                        after.map(|after| &after.sink),
                        after.map(|after| &after.split)
                    ],
                    |row| {
                        Ok(Delivery {
                            pipeline: row.get(0)?,
                            sink: row.get(1)?,
                            window: row.get::<_, i64>(2)? as u64,
                            split: row.get(3)?,
                        })
                    },
                )?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            found.iter().filter_map(|delivery| load(transaction, delivery).transpose()).collect()
        })
    }

    /// What was sealed for a delivery.
    pub fn sealed(&self, delivery: &Delivery) -> Result<Option<Sealed>> {
        Ok(self.delivery(delivery)?.and_then(|record| record.sealed))
    }

    /// The receipt of a delivery that is settled.
    pub fn committed(&self, delivery: &Delivery) -> Result<Option<Receipt>> {
        Ok(self.delivery(delivery)?.and_then(|record| record.receipt))
    }

    /// All that the ledger holds of a delivery, once it was attempted.
    pub fn delivery(&self, delivery: &Delivery) -> Result<Option<DeliveryRecord>> {
        self.look("look up a delivery", |transaction| load(transaction, delivery))
    }

    /// Settles a delivery that its target has committed. In one transaction:
    ///
    /// - the receipt stands in the ledger, with the rows and bytes that the engine counted;
    /// - the pending dead letters of the delivery become final: those of this sink, and
    ///   those of the source and the transforms for the same split (for [`RUN_SPLIT`]:
    ///   for every split of the window);
    /// - when this was the last delivery that the sink waited for, its cursor moves, as far
    ///   as windows are done in their order;
    /// - when no sink waits for the window, it is finished, the letters it replayed are
    ///   `replayed`, and windows beyond [`KEPT_WINDOWS`](crate::KEPT_WINDOWS) go.
    ///
    /// To settle again changes nothing. Answers whether the window is finished.
    ///
    /// # Errors
    /// `Internal` when the receipt is for another artefact than the sealed or the settled
    /// one, or the delivery is not one of its window.
    pub fn settle(&self, delivery: &Delivery, receipt: &Receipt, rows: u64, bytes: u64) -> Result<bool> {
        self.settle_telling(delivery, receipt, rows, bytes, Vec::new())
    }

    /// As [`State::settle`], and stores what is to be told of the delivery, unless it was settled before: events
    /// with their records.
    ///
    /// # Errors
    /// Those of [`State::settle`].
    pub fn settle_telling(
        &self,
        delivery: &Delivery,
        receipt: &Receipt,
        rows: u64,
        bytes: u64,
        notices: Vec<(String, Value)>,
    ) -> Result<bool> {
        let finished = self.write("settle a delivery", |transaction| {
            refuse_unplanned(transaction, delivery)?;
            if let Some(record) = load(transaction, delivery)? {
                let known = record.receipt.as_ref().map(|receipt| &receipt.sha256);
                let expected = known.or(record.sealed.as_ref().map(|sealed| &sealed.sha256)).and_then(Option::as_ref);
                if let (Some(expected), Some(given)) = (expected, &receipt.sha256)
                    && !expected.eq_ignore_ascii_case(given)
                {
                    let what = format!("is {given} at the target and {expected} in the ledger");
                    return Err(internal(delivery, &what)
                        .hint("something else wrote under the delivery's key; compare the target before you reset")
                        .into());
                }
                if record.receipt.is_some() {
                    return Ok(is_finished(transaction, delivery)?);
                }
            }
            if !notices.is_empty() {
                notices::note(transaction, &delivery.pipeline, |_| notices)?;
            }
            let finished = settle_in(transaction, delivery, receipt, rows, bytes)?;
            fail_point!("state::settling");
            Ok(finished)
        })?;
        fail_point!("state::settled");
        Ok(finished)
    }
}

/// Settles a delivery that is not settled yet. Answers whether its window is finished.
pub(crate) fn settle_in(
    transaction: &Transaction<'_>,
    delivery: &Delivery,
    receipt: &Receipt,
    rows: u64,
    bytes: u64,
) -> Step<bool> {
    store_receipt(transaction, delivery, receipt, rows, bytes)?;
    answers::forget(transaction, delivery)?;
    dead_letters::finalise(transaction, delivery)?;
    let missing: i64 = transaction
        .prepare_cached(
            "UPDATE window_sinks SET missing = missing - 1 WHERE pipeline = ?1 AND window = ?2 AND sink = ?3 \
             RETURNING missing",
        )?
        .query_row(params![delivery.pipeline, int(delivery.window), delivery.sink], |row| row.get(0))?;
    if missing > 0 {
        return Ok(false);
    }
    cursors::advance(transaction, &delivery.pipeline, &delivery.sink)?;
    windows::finish_if_done(transaction, &delivery.pipeline, delivery.window)
}

fn internal(delivery: &Delivery, what: &str) -> Error {
    let Delivery { pipeline, sink, window, split } = delivery;
    Error::new(ErrorKind::Internal, format!("split {split} of window {window} of {pipeline} for sink {sink} {what}"))
}

/// Refuses a delivery that its window was not stored with: the cursor would wait for
/// something else.
pub(crate) fn refuse_unplanned(transaction: &Transaction<'_>, delivery: &Delivery) -> Step<()> {
    let Some(unit) = windows::planned_unit(transaction, &delivery.pipeline, delivery.window, &delivery.sink)? else {
        return Err(internal(delivery, "is not planned: no such window is kept for that sink").into());
    };
    let planned = match unit {
        Unit::Run => delivery.split == RUN_SPLIT,
        Unit::Split => transaction
            .prepare_cached("SELECT 1 FROM splits WHERE pipeline = ?1 AND window = ?2 AND id = ?3")?
            .exists(params![delivery.pipeline, int(delivery.window), delivery.split])?,
    };
    if planned { Ok(()) } else { Err(internal(delivery, "is not planned: the window has no such split").into()) }
}

fn is_finished(transaction: &Transaction<'_>, delivery: &Delivery) -> rusqlite::Result<bool> {
    transaction
        .prepare_cached("SELECT finished IS NOT NULL FROM windows WHERE pipeline = ?1 AND id = ?2")?
        .query_row(params![delivery.pipeline, int(delivery.window)], |row| row.get(0))
}

fn store_receipt(
    transaction: &Transaction<'_>,
    delivery: &Delivery,
    receipt: &Receipt,
    rows: u64,
    bytes: u64,
) -> Step<()> {
    transaction
        .prepare_cached(
            "INSERT INTO deliveries (pipeline, window, sink, split, receipt, rows, bytes, settled) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
             ON CONFLICT DO UPDATE SET receipt = excluded.receipt, rows = excluded.rows, bytes = excluded.bytes, \
             settled = excluded.settled, failure = NULL",
        )?
        .execute(params![
            delivery.pipeline,
            int(delivery.window),
            delivery.sink,
            delivery.split,
            json_text(receipt)?,
            int(rows),
            int(bytes),
            now_text(),
        ])?;
    Ok(())
}

fn load(transaction: &Transaction<'_>, delivery: &Delivery) -> Step<Option<DeliveryRecord>> {
    let mut statement = transaction.prepare_cached(
        "SELECT attempts, sealed, receipt, rows, bytes, settled, failure FROM deliveries \
         WHERE pipeline = ?1 AND window = ?2 AND sink = ?3 AND split = ?4",
    )?;
    let columns = statement
        .query_row(params![delivery.pipeline, int(delivery.window), delivery.sink, delivery.split], |row| {
            Ok((
                row.get::<_, u32>(0)?,
                row.get::<_, Option<String>>(1)?,
                row.get::<_, Option<String>>(2)?,
                row.get::<_, Option<i64>>(3)?,
                row.get::<_, Option<i64>>(4)?,
                row.get::<_, Option<String>>(5)?,
                row.get::<_, Option<String>>(6)?,
            ))
        })
        .optional()?;
    let Some((attempts, sealed, receipt, rows, bytes, settled, failure)) = columns else { return Ok(None) };
    Ok(Some(DeliveryRecord {
        delivery: delivery.clone(),
        attempts,
        sealed: json_from_optional(sealed)?,
        receipt: json_from_optional(receipt)?,
        rows: rows.unwrap_or(0) as u64,
        bytes: bytes.unwrap_or(0) as u64,
        settled: settled.as_deref().map(time_from).transpose()?,
        failure: failure.as_deref().map(json_from).transpose()?,
    }))
}
