//! Schedules: how far each has been decided on, and the runs that wait to begin.
//!
//! The time that a schedule has reached moves in the same transaction that puts its runs into the queue, and a run
//! leaves the queue in the transaction that begins it. So each slot is decided on once, whenever the engine dies.

use chrono::{DateTime, Utc};
use engine_abi::Result;
use fail::fail_point;
use rusqlite::{OptionalExtension, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use crate::State;
use crate::error::Step;
use crate::runs;
use crate::store::{json_from, json_text, time_from, time_text};

/// How far a schedule has got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The pipeline's name.
    pub pipeline: String,
    /// The schedule that this was said of, in words.
    pub times: Option<String>,
    /// Every slot up to this time is decided on. None: nobody has looked at the schedule yet.
    pub until: Option<DateTime<Utc>>,
    /// Slots are passed over until it goes on.
    pub paused: bool,
}

/// What is decided of the slots of a schedule up to a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The pipeline's name.
    pub pipeline: String,
    /// The schedule, in words: with other words it begins anew.
    pub times: String,
    /// Up to when, included.
    pub until: DateTime<Utc>,
    /// The slots for which there is to be a run.
    pub slots: Vec<DateTime<Utc>>,
}

/// A run that is to begin.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Waiting {
    /// Its place in the queue. Never used twice.
    pub number: i64,
    /// The pipeline's name.
    pub pipeline: String,
    /// What asked for it: `schedule`, `api`, `start`, …
    pub trigger: String,
    /// The time of the schedule that it is for.
    pub slot: Option<DateTime<Utc>>,
    /// Values of parameters, by name.
    pub params: Value,
    /// What it is called by whoever asked for it.
    pub reference: Option<String>,
    /// Since when it waits.
    pub since: DateTime<Utc>,
}

/// A run that somebody asks for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The pipeline's name.
    pub pipeline: String,
    /// What asks for it.
    pub trigger: String,
    /// The time of the schedule that it is for.
    pub slot: Option<DateTime<Utc>>,
    /// Values of parameters, by name: an object of texts.
    pub params: Value,
    /// What it is called by whoever asks for it.
    pub reference: Option<String>,
}

const WAITING: &str = "SELECT number, pipeline, trigger, slot, params, reference, since FROM waiting";

impl State {
    /// How far every schedule has got that was ever decided on, or paused.
    pub fn schedules(&self) -> Result<Vec<Reached>> {
        self.look("look up the schedules", |transaction| {
            let mut statement = transaction
                .prepare_cached("SELECT pipeline, reached, paused, times FROM schedules ORDER BY pipeline")?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                let until: Option<String> = row.get(1)?;
                found.push(Reached {
                    pipeline: row.get(0)?,
                    until: until.as_deref().map(time_from).transpose()?,
                    paused: row.get(2)?,
                    times: row.get(3)?,
                });
            }
            Ok(found)
        })
    }

    /// Stores what was decided, of any number of schedules at once, and puts their runs into the queue in the order
    /// of their slots.
    pub fn decide(&self, decisions: &[Decision]) -> Result<Vec<Waiting>> {
        let waiting = self.write("store what a schedule has come to", |transaction| {
            let mut wanted: Vec<(DateTime<Utc>, &str)> = Vec::new();
            for decision in decisions {
                transaction
                    .prepare_cached(
                        "INSERT INTO schedules (pipeline, times, reached, paused) VALUES (?1, ?2, ?3, 0) \
                         ON CONFLICT (pipeline) DO UPDATE SET times = ?2, reached = ?3",
                    )?
                    .execute(params![decision.pipeline, decision.times, time_text(decision.until)])?;
                wanted.extend(decision.slots.iter().map(|slot| (*slot, decision.pipeline.as_str())));
            }
            wanted.sort_unstable();
            let mut waiting = Vec::new();
            for (slot, pipeline) in wanted {
                let wanted = Wanted {
                    pipeline: pipeline.to_owned(),
                    trigger: "schedule".into(),
                    slot: Some(slot),
                    params: Value::Object(serde_json::Map::new()),
                    reference: None,
                };
                waiting.push(enqueue(transaction, &wanted)?);
            }
            Ok(waiting)
        })?;
        fail_point!("state::schedule_decided");
        Ok(waiting)
    }

    /// Pauses a schedule, or lets it go on.
    pub fn pause(&self, pipeline: &str, paused: bool) -> Result<()> {
        self.write("pause a schedule", |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO schedules (pipeline, reached, paused) VALUES (?1, NULL, ?2) \
                     ON CONFLICT (pipeline) DO UPDATE SET paused = ?2",
                )?
                .execute(params![pipeline, paused])?;
            Ok(())
        })
    }

    /// Puts a run into the queue.
    pub fn enqueue(&self, wanted: &Wanted) -> Result<Waiting> {
        self.write("put a run into the queue", |transaction| enqueue(transaction, wanted))
    }

    /// The queue, in its order.
    pub fn waiting(&self) -> Result<Vec<Waiting>> {
        self.look("look up the queue", |transaction| {
            let mut statement = transaction.prepare_cached(&format!("{WAITING} ORDER BY number"))?;
            let mut rows = statement.query([])?;
            let mut waiting = Vec::new();
            while let Some(row) = rows.next()? {
                waiting.push(from_row(row)?);
            }
            Ok(waiting)
        })
    }

    /// Takes a run out of the queue without beginning it. Answers whether it was there.
    pub fn dequeue(&self, number: i64) -> Result<bool> {
        self.write("take a run out of the queue", |transaction| {
            Ok(transaction.prepare_cached("DELETE FROM waiting WHERE number = ?1")?.execute([number])? > 0)
        })
    }

    /// Begins runs of the queue, any number at once: they leave it, and have ids from now on, in the same order. One
    /// that is no longer in the queue has none.
    pub fn begin_waiting(&self, numbers: &[i64], started: DateTime<Utc>) -> Result<Vec<Option<String>>> {
        let begun = self.write("begin a run", |transaction| {
            let mut begun = Vec::new();
            for number in numbers {
                let found = transaction
                    .prepare_cached(
                        "DELETE FROM waiting WHERE number = ?1 RETURNING pipeline, trigger, slot, params, reference",
                    )?
                    .query_row([number], |row| {
                        let (slot, params): (Option<String>, String) = (row.get(2)?, row.get(3)?);
                        Ok((row.get(0)?, row.get(1)?, slot, params, row.get(4)?))
                    })
                    .optional()?;
                let Some((pipeline, trigger, slot, params, reference)) = found else {
                    begun.push(None);
                    continue;
                };
                let wanted = Wanted {
                    pipeline,
                    trigger,
                    slot: slot.as_deref().map(time_from).transpose()?,
                    params: json_from(&params)?,
                    reference,
                };
                begun.push(Some(runs::begin(transaction, &wanted, started)?));
            }
            Ok(begun)
        })?;
        fail_point!("state::waiting_begun");
        Ok(begun)
    }
}

fn enqueue(transaction: &Transaction<'_>, wanted: &Wanted) -> Step<Waiting> {
    // As it will be read.
    let since = time_from(&time_text(Utc::now()))?;
    let slot = wanted.slot.map(time_text);
    let number = transaction
        .prepare_cached(
            // A slot that waits already is not to run twice: a clock that was set back may come to it again.
            "INSERT INTO waiting (pipeline, trigger, slot, params, reference, since) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
             ON CONFLICT (pipeline, slot) DO UPDATE SET trigger = trigger RETURNING number",
        )?
        .query_row(
            params![
                wanted.pipeline,
                wanted.trigger,
                slot,
                json_text(&wanted.params)?,
                wanted.reference,
                time_text(since)
            ],
            |row| row.get(0),
        )?;
    let Wanted { pipeline, trigger, slot, params, reference } = wanted.clone();
    Ok(Waiting { number, pipeline, trigger, slot, params, reference, since })
}

fn from_row(row: &rusqlite::Row<'_>) -> Step<Waiting> {
    let (slot, params, since): (Option<String>, String, String) = (row.get(3)?, row.get(4)?, row.get(6)?);
    Ok(Waiting {
        number: row.get(0)?,
        pipeline: row.get(1)?,
        trigger: row.get(2)?,
        slot: slot.as_deref().map(time_from).transpose()?,
        params: json_from(&params)?,
        reference: row.get(5)?,
        since: time_from(&since)?,
    })
}
