//! The time that a pipeline's windows are about, so that the next one begins where they end.
//!
//! A source that asks for a range of time by its run's parameters knows no position. What it was asked for is kept with
//! its window instead, and moves in the transactions in which that window comes and goes.

use chrono::{DateTime, Utc};
use engine_abi::Result;
use rusqlite::{OptionalExtension, Transaction, params};

use crate::State;
use crate::error::Step;
use crate::store::{int, time_from, time_text};

/// The time that a window is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct About {
    /// From when on.
    pub from: DateTime<Utc>,
    /// Up to when.
    pub to: DateTime<Utc>,
}

impl State {
    /// Up to when a pipeline's windows are about. None: it had none that is about a time.
    pub fn covered(&self, pipeline: &str) -> Result<Option<DateTime<Utc>>> {
        self.look("look up the time that a pipeline has covered", |transaction| covered(transaction, pipeline))
    }

    /// The same, where a time beyond `latest` comes of a clock that was wrong: then it ends where the first window of
    /// that clock begins, if it is still kept. What was read since then comes twice, and nothing is left out.
    pub fn covered_within(&self, pipeline: &str, latest: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
        self.look("look up the time that a pipeline has covered", |transaction| {
            let covered = covered(transaction, pipeline)?;
            if covered.is_none_or(|covered| covered <= latest) {
                return Ok(covered);
            }
            let first: Option<String> = transaction
                .prepare_cached(
                    "SELECT min(about_from) FROM windows WHERE pipeline = ?1 AND about_to > ?2 AND about_from <= ?2",
                )?
                .query_row(params![pipeline, time_text(latest)], |row| row.get(0))?;
            first.as_deref().map(time_from).transpose()
        })
    }

    /// A pipeline has covered the time up to `until`, without a window: where it begins, or where there was nothing.
    pub fn set_covered(&self, pipeline: &str, until: DateTime<Utc>) -> Result<()> {
        self.write("store the time that a pipeline has covered", |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO pipelines (name, covered) VALUES (?1, ?2) \
                     ON CONFLICT (name) DO UPDATE SET covered = ?2",
                )?
                .execute(params![pipeline, time_text(until)])?;
            Ok(())
        })
    }
}

fn covered(transaction: &Transaction<'_>, pipeline: &str) -> Step<Option<DateTime<Utc>>> {
    let text: Option<Option<String>> = transaction
        .prepare_cached("SELECT covered FROM pipelines WHERE name = ?1")?
        .query_row([pipeline], |row| row.get(0))
        .optional()?;
    text.flatten().as_deref().map(time_from).transpose()
}

/// A window is stored that is about this time.
pub(crate) fn cover(transaction: &Transaction<'_>, pipeline: &str, window: u64, about: About) -> Step<()> {
    transaction
        .prepare_cached("UPDATE windows SET about_from = ?3, about_to = ?4 WHERE pipeline = ?1 AND id = ?2")?
        .execute(params![pipeline, int(window), time_text(about.from), time_text(about.to)])?;
    transaction
        .prepare_cached("UPDATE pipelines SET covered = ?2 WHERE name = ?1")?
        .execute(params![pipeline, time_text(about.to)])?;
    Ok(())
}

/// Nobody gets anything of an unfinished window: the next one begins where it began, in its source and in time, unless
/// one after it was planned already.
pub(crate) fn read_again(transaction: &Transaction<'_>, pipeline: &str, window: u64) -> Step<()> {
    transaction
        .prepare_cached(
            "UPDATE pipelines SET position = given.lower, covered = coalesce(given.about_from, covered) \
             FROM windows AS given WHERE pipelines.name = ?1 AND given.pipeline = ?1 AND given.id = ?2 \
             AND given.kind = 'read' AND given.finished IS NULL AND NOT EXISTS \
             (SELECT 1 FROM windows WHERE pipeline = ?1 AND kind = 'read' AND id > ?2)",
        )?
        .execute(params![pipeline, int(window)])?;
    Ok(())
}

/// What a reset forgets was read for nobody: the oldest of it is where the pipeline goes on.
pub(crate) fn give_back_unfinished(transaction: &Transaction<'_>, pipeline: &str) -> Step<()> {
    transaction
        .prepare_cached(
            "UPDATE pipelines SET covered = coalesce((SELECT min(about_from) FROM windows \
             WHERE pipeline = ?1 AND finished IS NULL), covered) WHERE name = ?1",
        )?
        .execute([pipeline])?;
    Ok(())
}
