//! What pipelines have done, as a mirror is told it beside the documents.

use std::collections::{BTreeMap, BTreeSet};

use engine_abi::message::{Operation, OperationRun, OperationWindow, StateChange};
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

use crate::cursors;
use crate::error::Step;
use crate::store::json_from_optional;

/// The most windows of a run that are told.
const WINDOWS: i64 = 100;

/// What the changes of a transaction mean for the pipelines that they are about.
pub(crate) fn of(transaction: &Transaction<'_>, changes: &[StateChange]) -> Step<Vec<Operation>> {
    let mut touched: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for change in changes {
        let Some(document) = &change.document else { continue };
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        match change.collection.as_str() {
            "runs" => {
                touched.entry(text("pipeline")).or_default().insert(text("id"));
            }
            "windows" => {
                touched.entry(text("pipeline")).or_default();
            }
            "pipelines" => {
                touched.entry(text("name")).or_default();
            }
            _ => {}
        }
    }
    touched
        .into_iter()
        .map(|(pipeline, runs)| {
            Ok(Operation {
                pipeline: pipeline.to_owned(),
                position: cursors::oldest_needed(transaction, pipeline)?,
                runs: runs
                    .into_iter()
                    .filter_map(|run| one(transaction, pipeline, run).transpose())
                    .collect::<Step<_>>()?,
            })
        })
        .collect()
}

fn one(transaction: &Transaction<'_>, pipeline: &str, run: &str) -> Step<Option<OperationRun>> {
    let found = transaction
        .prepare_cached("SELECT trigger, started, ended, outcome, report FROM runs WHERE id = ?1")?
        .query_row([run], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .optional()?;
    let Some((trigger, started, ended, outcome, report)) = found else { return Ok(None) };
    let started: String = started;
    Ok(Some(OperationRun {
        windows: windows(transaction, pipeline, run, &started)?,
        id: run.to_owned(),
        trigger,
        started,
        ended,
        outcome,
        report: json_from_optional(report)?,
    }))
}

/// Those that the run has begun, and those of earlier runs that it goes on with or has completed: it is the
/// pipeline's latest, since of a pipeline one run at a time is at work.
fn windows(transaction: &Transaction<'_>, pipeline: &str, run: &str, started: &str) -> Step<Vec<OperationWindow>> {
    let mut statement = transaction.prepare_cached(
        "SELECT id, lower, upper FROM windows WHERE pipeline = ?1 AND (run = ?2 OR finished IS NULL OR finished >= ?3)
         ORDER BY id DESC LIMIT ?4",
    )?;
    let mut rows = statement.query(params![pipeline, run, started, WINDOWS])?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next()? {
        windows.push(OperationWindow {
            id: row.get::<_, i64>(0)? as u64,
            lower: json_from_optional(row.get(1)?)?,
            upper: json_from_optional(row.get(2)?)?,
        });
    }
    windows.reverse();
    Ok(windows)
}
