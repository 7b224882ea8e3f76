//! Runs: when each began, how it ended, and its report.

use chrono::{DateTime, Utc};
use engine_abi::{Error, ErrorKind, Result};
use fail::fail_point;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use crate::State;
use crate::error::{Fault, Step};
use crate::notices::{self, Health};
use crate::schedules::Wanted;
use crate::store::{json_from_optional, json_text, now_text, time_from, time_text};

/// Ended runs kept a pipeline; older ones go when a newer one ends.
pub const KEPT_RUNS: u32 = 10_000;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything it covers was delivered.
    Succeeded,
    /// Something was not; its windows are completed by a later run.
    Failed,
    /// It was asked to stop.
    Stopped,
}

impl Outcome {
    /// The word for it in messages, JSON and the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Stopped => "stopped",
        }
    }

    fn from_text(text: &str) -> Step<Self> {
        match text {
            "succeeded" => Ok(Self::Succeeded),
            "failed" => Ok(Self::Failed),
            "stopped" => Ok(Self::Stopped),
            other => Err(Fault::Unreadable(format!("a run ended as {other:?}"))),
        }
    }
}

/// One execution of a pipeline.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Run {
    /// Sorts by the time it began: `20260213T174805123456Z-5f0c7a1e`.
    pub id: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// What began it: `command`, `schedule`, `api`, …
    pub trigger: String,
    /// The time of the schedule that it is for.
    pub slot: Option<DateTime<Utc>>,
    /// Values of parameters that it was given, by name.
    pub params: Option<Value>,
    /// What it is called by whoever asked for it.
    pub reference: Option<String>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended. None: it runs, or the engine died in it.
    pub ended: Option<DateTime<Utc>>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What it reported at its end.
    pub report: Option<Value>,
}

impl Run {
    /// The end of the time that it is about: its slot, or else when it began.
    pub fn about(&self) -> DateTime<Utc> {
        self.slot.unwrap_or(self.started)
    }
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only those of this pipeline.
    pub pipeline: Option<String>,
    /// At most so many, newest first.
    pub limit: usize,
}

const COLUMNS: &str =
    "SELECT id, pipeline, trigger, started, ended, outcome, report, slot, params, reference FROM runs";

impl State {
    /// Stores that a run begins, and gives it its id.
    pub fn begin_run(&self, pipeline: &str, trigger: &str, started: DateTime<Utc>) -> Result<String> {
        let wanted = Wanted {
            pipeline: pipeline.to_owned(),
            trigger: trigger.to_owned(),
            slot: None,
            params: Value::Object(serde_json::Map::new()),
            reference: None,
        };
        let id = self.write("begin a run", |transaction| begin(transaction, &wanted, started))?;
        fail_point!("state::run_begun");
        Ok(id)
    }

    /// Stores how a run ended. The report must hold no secret.
    ///
    /// # Errors
    /// `Internal` when the run never began or has ended already.
    pub fn end_run(&self, run: &str, outcome: Outcome, report: &Value) -> Result<()> {
        self.end_run_telling(run, outcome, report, |_| Vec::new())
    }

    /// Stores how a run ended, how its pipeline is since, and what is to be told of that: events with
    /// their records, of which `tell` decides.
    ///
    /// # Errors
    /// Those of [`State::end_run`].
    pub fn end_run_telling(
        &self,
        run: &str,
        outcome: Outcome,
        report: &Value,
        tell: impl FnOnce(&mut Health) -> Vec<(String, Value)>,
    ) -> Result<()> {
        self.write("end a run", |transaction| {
            let pipeline: Option<String> = transaction
                .prepare_cached(
                    "UPDATE runs SET ended = ?2, outcome = ?3, report = ?4 WHERE id = ?1 AND ended IS NULL \
                     RETURNING pipeline",
                )?
                .query_row(params![run, now_text(), outcome.as_str(), json_text(report)?], |row| row.get(0))
                .optional()?;
            let Some(pipeline) = pipeline else {
                return Err(Error::new(ErrorKind::Internal, format!("run {run} is not one that runs")).into());
            };
            notices::note(transaction, &pipeline, tell)?;
            forget_old_runs(transaction, run, KEPT_RUNS)
        })?;
        fail_point!("state::run_ended");
        Ok(())
    }

    /// The newest run of a pipeline that came to its end by itself, well or not.
    pub fn last_completed_run(&self, pipeline: &str) -> Result<Option<Run>> {
        self.look("look up the last run", |transaction| {
            let sql = format!(
                "{COLUMNS} WHERE pipeline = ?1 AND outcome IN ('succeeded', 'failed') ORDER BY id DESC LIMIT 1"
            );
            Ok(collect(transaction, &sql, params![pipeline])?.pop())
        })
    }

    /// The newest run of a pipeline that succeeded.
    pub fn last_succeeded_run(&self, pipeline: &str) -> Result<Option<Run>> {
        self.look("look up the last run that succeeded", |transaction| {
            let sql = format!(
                "{COLUMNS} WHERE pipeline = ?1 AND outcome = 'succeeded' AND trigger NOT IN ('replay', 'resend', 'backfill') \
                 ORDER BY id DESC LIMIT 1"
            );
            Ok(collect(transaction, &sql, params![pipeline])?.pop())
        })
    }

    /// The newest run of a pipeline that has ended, however.
    pub fn last_ended_run(&self, pipeline: &str) -> Result<Option<Run>> {
        self.look("look up the last run", |transaction| {
            let sql = format!("{COLUMNS} WHERE pipeline = ?1 AND ended IS NOT NULL ORDER BY id DESC LIMIT 1");
            Ok(collect(transaction, &sql, params![pipeline])?.pop())
        })
    }

    /// How many of a pipeline's runs that are kept ended how.
    pub fn run_counts(&self, pipeline: &str) -> Result<Vec<(Outcome, u64)>> {
        self.look("count the runs", |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT outcome, count(*) FROM runs WHERE pipeline = ?1 AND outcome IS NOT NULL GROUP BY outcome",
            )?;
            let mut rows = statement.query([pipeline])?;
            let mut counts = Vec::new();
            while let Some(row) = rows.next()? {
                let outcome: String = row.get(0)?;
                counts.push((Outcome::from_text(&outcome)?, row.get::<_, i64>(1)? as u64));
            }
            Ok(counts)
        })
    }

    /// Runs of a pipeline that began and never ended, oldest first. For the holder of
    /// the state before it begins a run of its own: these are the ones in which the
    /// engine died. End them, then complete their windows.
    pub fn interrupted_runs(&self, pipeline: &str) -> Result<Vec<Run>> {
        self.look("list the interrupted runs", |transaction| {
            collect(
                transaction,
                &format!("{COLUMNS} WHERE pipeline = ?1 AND ended IS NULL ORDER BY id"),
                params![pipeline],
            )
        })
    }

    /// The run of a pipeline with that id, and those that are called so by who asked for them, oldest first.
    pub fn runs_called(&self, pipeline: &str, called: &str) -> Result<Vec<Run>> {
        self.look("look up runs by what they are called", |transaction| {
            let sql = format!("{COLUMNS} WHERE pipeline = ?1 AND (id = ?2 OR reference = ?2) ORDER BY id");
            collect(transaction, &sql, params![pipeline, called])
        })
    }

    /// Runs, newest first.
    pub fn runs(&self, filter: &RunFilter) -> Result<Vec<Run>> {
        let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
        self.look("list the runs", |transaction| match &filter.pipeline {
            Some(pipeline) => collect(
                transaction,
                &format!("{COLUMNS} WHERE pipeline = ?1 ORDER BY id DESC LIMIT ?2"),
                params![pipeline, limit],
            ),
            None => collect(transaction, &format!("{COLUMNS} ORDER BY id DESC LIMIT ?1"), params![limit]),
        })
    }

    /// One run.
    pub fn run(&self, id: &str) -> Result<Option<Run>> {
        self.look("look up a run", |transaction| {
            Ok(collect(transaction, &format!("{COLUMNS} WHERE id = ?1"), params![id])?.pop())
        })
    }
}

/// Stores that a run begins, and gives it its id.
pub(crate) fn begin(transaction: &Transaction<'_>, wanted: &Wanted, started: DateTime<Utc>) -> Step<String> {
    let unique = uuid::Uuid::new_v4().simple().to_string();
    let id = format!("{}-{}", started.format("%Y%m%dT%H%M%S%6fZ"), &unique[..8]);
    let params = wanted.params.as_object().filter(|params| !params.is_empty()).map(json_text).transpose()?;
    transaction
        .prepare_cached(
            "INSERT INTO runs (id, pipeline, trigger, started, slot, params, reference) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            id,
            wanted.pipeline,
            wanted.trigger,
            time_text(started),
            wanted.slot.map(time_text),
            params,
            wanted.reference
        ])?;
    Ok(id)
}

fn collect(transaction: &Transaction<'_>, sql: &str, params: impl rusqlite::Params) -> Step<Vec<Run>> {
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut runs = Vec::new();
    while let Some(row) = rows.next()? {
        runs.push(from_row(row)?);
    }
    Ok(runs)
}

fn from_row(row: &Row<'_>) -> Step<Run> {
    Ok(Run {
        id: row.get(0)?,
        pipeline: row.get(1)?,
        trigger: row.get(2)?,
        started: time_from(row.get_ref(3)?.as_str().map_err(rusqlite::Error::from)?)?,
        ended: row.get::<_, Option<String>>(4)?.as_deref().map(time_from).transpose()?,
        outcome: row.get::<_, Option<String>>(5)?.as_deref().map(Outcome::from_text).transpose()?,
        report: json_from_optional(row.get(6)?)?,
        slot: row.get::<_, Option<String>>(7)?.as_deref().map(time_from).transpose()?,
        params: json_from_optional(row.get(8)?)?,
        reference: row.get(9)?,
    })
}

/// Removes the ended runs of `run`'s pipeline beyond the newest `kept`.
fn forget_old_runs(transaction: &Transaction<'_>, run: &str, kept: u32) -> Step<()> {
    let pipeline: String =
        transaction.prepare_cached("SELECT pipeline FROM runs WHERE id = ?1")?.query_row([run], |row| row.get(0))?;
    let oldest_kept: Option<String> = transaction
        .prepare_cached("SELECT id FROM runs WHERE pipeline = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2")?
        .query_row(params![pipeline, kept - 1], |row| row.get(0))
        .optional()?;
    if let Some(oldest_kept) = oldest_kept {
        transaction
            .prepare_cached("DELETE FROM runs WHERE pipeline = ?1 AND id < ?2 AND ended IS NOT NULL")?
            .execute(params![pipeline, oldest_kept])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_ended_runs_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let first = state.begin_run("p", "command", Utc::now()).unwrap();
        let open = state.begin_run("p", "command", Utc::now()).unwrap();
        let last = state.begin_run("p", "command", Utc::now()).unwrap();
        for run in [&first, &last] {
            state.end_run(run, Outcome::Succeeded, &Value::Null).unwrap();
        }
        state.write("test", |transaction| forget_old_runs(transaction, &last, 1)).unwrap();
        let left: Vec<_> =
            state.runs(&RunFilter { pipeline: None, limit: 9 }).unwrap().into_iter().map(|r| r.id).collect();
        assert_eq!(left, [last, open]);
    }
}
