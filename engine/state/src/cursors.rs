//! Cursors: how far every sink has got, and where a pipeline reads next.

use engine_abi::{Error, ErrorKind, Result};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::Serialize;
use serde_json::Value;

use crate::State;
use crate::backfill;
use crate::covered;
use crate::error::Step;
use crate::retention;
use crate::store::{int, json_from_optional, json_text, now_text};

/// How far one sink of a pipeline has got.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cursor {
    /// The sink's name in the pipeline.
    pub sink: String,
    /// The newest window up to which the sink has all deliveries; 0: none.
    pub window: u64,
    /// That window's upper bound.
    pub value: Option<Value>,
}

impl State {
    /// The cursor of one sink; None before its first window is done.
    pub fn cursor(&self, pipeline: &str, sink: &str) -> Result<Option<Cursor>> {
        Ok(self.cursors(pipeline)?.into_iter().find(|cursor| cursor.sink == sink))
    }

    /// The cursors of a pipeline, by sink. Also those of sinks that it no longer has.
    pub fn cursors(&self, pipeline: &str) -> Result<Vec<Cursor>> {
        self.look("list the cursors", |transaction| {
            let mut statement = transaction
                .prepare_cached("SELECT sink, window, value FROM cursors WHERE pipeline = ?1 ORDER BY sink")?;
            let mut rows = statement.query([pipeline])?;
            let mut cursors = Vec::new();
            while let Some(row) = rows.next()? {
                cursors.push(Cursor {
                    sink: row.get(0)?,
                    window: row.get::<_, i64>(1)? as u64,
                    value: json_from_optional(row.get(2)?)?,
                });
            }
            Ok(cursors)
        })
    }

    /// The names of all pipelines that ever stored a window.
    pub fn pipelines(&self) -> Result<Vec<String>> {
        self.look("list the pipelines", |transaction| {
            let mut statement = transaction.prepare_cached("SELECT name FROM pipelines ORDER BY name")?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
        })
    }

    /// Where the next window of a pipeline begins: the last one's upper bound, unless
    /// [`State::set_position`] or [`State::reset`] said otherwise since. None: at the
    /// beginning.
    ///
    /// A pipeline that has never had a window begins where a mirror says, if it knows
    /// the pipeline from before ([`Acquired`](engine_abi::message::Acquired)).
    pub fn position(&self, pipeline: &str) -> Result<Option<Value>> {
        let (position, is_new) = self.look("look up the position", |transaction| {
            Ok((position(transaction, pipeline)?, has_no_window_yet(transaction, pipeline)?))
        })?;
        Ok(position.or_else(|| self.known_before(pipeline).filter(|_| is_new)))
    }

    /// Makes the next window of a pipeline begin at `value`. Every sink's cursor shows
    /// it from then on.
    ///
    /// # Errors
    /// `Config` while windows are unfinished: their rows would lie on both sides.
    pub fn set_position(&self, pipeline: &str, value: &Value) -> Result<()> {
        self.write("set the position", |transaction| {
            let unfinished: Option<i64> = transaction
                .prepare_cached("SELECT min(id) FROM windows WHERE pipeline = ?1 AND finished IS NULL")?
                .query_row([pipeline], |row| row.get(0))?;
            if let Some(window) = unfinished {
                let message = format!("window {window} of {pipeline} is not finished");
                return Err(Error::new(ErrorKind::Config, message)
                    .hint("run the pipeline until it is, or reset its state")
                    .into());
            }
            let text = json_text(value)?;
            transaction
                .prepare_cached(
                    "INSERT INTO pipelines (name, position) VALUES (?1, ?2) \
                     ON CONFLICT (name) DO UPDATE SET position = excluded.position",
                )?
                .execute(params![pipeline, text])?;
            transaction
                .prepare_cached("UPDATE cursors SET value = ?2, moved = ?3 WHERE pipeline = ?1")?
                .execute(params![pipeline, text, now_text()])?;
            Ok(())
        })
    }

    /// The oldest place from which a pipeline may still read: the lower bound of its
    /// first unfinished window, else its position. What a push source has spooled below
    /// it is no longer needed. None: everything is.
    pub fn oldest_needed(&self, pipeline: &str) -> Result<Option<Value>> {
        self.look("look up the oldest place needed", |transaction| oldest_needed(transaction, pipeline))
    }

    /// The number below which a sink will never again be asked to deliver a window:
    /// every one of them is done or was never for it.
    pub fn settled_before(&self, pipeline: &str, sink: &str) -> Result<u64> {
        self.look("look up the settled windows", |transaction| {
            let next: Option<i64> = transaction
                .prepare_cached("SELECT next_window FROM pipelines WHERE name = ?1")?
                .query_row([pipeline], |row| row.get(0))
                .optional()?;
            let missing = first_missing(transaction, pipeline, sink)?;
            Ok(missing.or(next).unwrap_or(1) as u64)
        })
    }

    /// Forgets the windows, the ledger, the cursors and the position of a pipeline: its
    /// next run starts from the beginning and delivers everything again, under new
    /// window numbers.
    ///
    /// A source that is asked for ranges of time goes on where its ranges end, or with those of unfinished windows.
    ///
    /// Runs and dead letters stay, except the pending ones of unfinished windows, whose
    /// rows are read again. Letters that an unfinished replay had taken are `final` as
    /// before.
    pub fn reset(&self, pipeline: &str) -> Result<()> {
        self.write("reset a pipeline", |transaction| {
            covered::give_back_unfinished(transaction, pipeline)?;
            for sql in [
                "DELETE FROM replays WHERE pipeline = ?1",
                "DELETE FROM answers WHERE pipeline = ?1",
                "DELETE FROM deliveries WHERE pipeline = ?1",
                "DELETE FROM window_sinks WHERE pipeline = ?1",
                "DELETE FROM splits WHERE pipeline = ?1",
                "DELETE FROM windows WHERE pipeline = ?1",
                "DELETE FROM cursors WHERE pipeline = ?1",
                "DELETE FROM backfills WHERE pipeline = ?1",
                "DELETE FROM remembered WHERE pipeline = ?1",
                "DELETE FROM dead_letters WHERE pipeline = ?1 AND status = 'pending'",
                "UPDATE pipelines SET position = NULL, columns = NULL WHERE name = ?1",
            ] {
                transaction.execute(sql, [pipeline])?;
            }
            retention::forget_unused_definitions(transaction)
        })
    }
}

impl State {
    /// What [`State::set_columns`] was given last.
    pub fn columns(&self, pipeline: &str) -> Result<Option<Value>> {
        self.look("look up the columns of a source", |transaction| {
            let text: Option<Option<String>> = transaction
                .prepare_cached("SELECT columns FROM pipelines WHERE name = ?1")?
                .query_row([pipeline], |row| row.get(0))
                .optional()?;
            json_from_optional(text.flatten())
        })
    }

    /// Keeps what a pipeline's source gives, so that the next run can tell whether it
    /// is something else.
    pub fn set_columns(&self, pipeline: &str, columns: &Value) -> Result<()> {
        self.write("store the columns of a source", |transaction| {
            transaction
                .prepare_cached(
                    "INSERT INTO pipelines (name, columns) VALUES (?1, ?2) \
                     ON CONFLICT (name) DO UPDATE SET columns = ?2",
                )?
                .execute(params![pipeline, json_text(columns)?])?;
            Ok(())
        })
    }

    /// Takes back a window of which nothing was delivered: its rows are read again by
    /// the next window, under the definition of then. Letters that it would have replayed
    /// are `final` as before. Answers false, and changes nothing, when a delivery of it is
    /// settled, a piece of one was answered, or another window was planned after it.
    pub fn give_up_window(&self, pipeline: &str, window: u64) -> Result<bool> {
        self.write("give up a window", |transaction| {
            let at = params![pipeline, int(window)];
            let settled: bool = transaction.query_row(
                "SELECT EXISTS (SELECT 1 FROM deliveries WHERE pipeline = ?1 AND window = ?2 AND receipt IS NOT NULL) \
                 OR EXISTS (SELECT 1 FROM answers WHERE pipeline = ?1 AND window = ?2) \
                 OR EXISTS (SELECT 1 FROM windows AS given, windows AS later WHERE given.pipeline = ?1 \
                 AND given.id = ?2 AND given.kind = 'read' AND later.pipeline = ?1 AND later.kind = 'read' \
                 AND later.id > ?2)",
                at,
                |row| row.get(0),
            )?;
            if settled {
                return Ok(false);
            }
            backfill::set_back(transaction, pipeline, window)?;
            covered::read_again(transaction, pipeline, window)?;
            for sql in [
                "DELETE FROM replays WHERE pipeline = ?1 AND window = ?2",
                "DELETE FROM deliveries WHERE pipeline = ?1 AND window = ?2",
                "DELETE FROM window_sinks WHERE pipeline = ?1 AND window = ?2",
                "DELETE FROM splits WHERE pipeline = ?1 AND window = ?2",
                "DELETE FROM dead_letters WHERE pipeline = ?1 AND window = ?2 AND status = 'pending'",
                "DELETE FROM windows WHERE pipeline = ?1 AND id = ?2 AND finished IS NULL",
            ] {
                transaction.execute(sql, at)?;
            }
            retention::forget_unused_definitions(transaction)?;
            Ok(true)
        })
    }
}

/// See [`State::oldest_needed`].
pub(crate) fn oldest_needed(transaction: &Transaction<'_>, pipeline: &str) -> Step<Option<Value>> {
    let unfinished: Option<Option<String>> = transaction
        .prepare_cached(
            "SELECT lower FROM windows WHERE pipeline = ?1 AND finished IS NULL AND kind = 'read' ORDER BY id LIMIT 1",
        )?
        .query_row([pipeline], |row| row.get(0))
        .optional()?;
    match unfinished {
        Some(lower) => json_from_optional(lower),
        None => position(transaction, pipeline),
    }
}

fn position(transaction: &Transaction<'_>, pipeline: &str) -> Step<Option<Value>> {
    let text: Option<Option<String>> = transaction
        .prepare_cached("SELECT position FROM pipelines WHERE name = ?1")?
        .query_row([pipeline], |row| row.get(0))
        .optional()?;
    json_from_optional(text.flatten())
}

fn has_no_window_yet(transaction: &Transaction<'_>, pipeline: &str) -> Step<bool> {
    let next: Option<i64> = transaction
        .prepare_cached("SELECT next_window FROM pipelines WHERE name = ?1")?
        .query_row([pipeline], |row| row.get(0))
        .optional()?;
    Ok(next.is_none_or(|next| next == 1))
}

fn first_missing(transaction: &Transaction<'_>, pipeline: &str, sink: &str) -> Step<Option<i64>> {
    Ok(transaction
        .prepare_cached("SELECT min(window) FROM window_sinks WHERE pipeline = ?1 AND sink = ?2 AND missing > 0")?
        .query_row([pipeline, sink], |row| row.get(0))?)
}

/// Moves a sink's cursor to the newest window that it has all deliveries of and that
/// no unfinished one comes before. Never moves it back.
pub(crate) fn advance(transaction: &Transaction<'_>, pipeline: &str, sink: &str) -> Step<()> {
    let before = first_missing(transaction, pipeline, sink)?.unwrap_or(i64::MAX);
    let reached: Option<i64> = transaction
        .prepare_cached(
            "SELECT max(window) FROM window_sinks WHERE pipeline = ?1 AND sink = ?2 AND missing = 0 AND window < ?3",
        )?
        .query_row(params![pipeline, sink, before], |row| row.get(0))?;
    let current: i64 = transaction
        .prepare_cached("SELECT window FROM cursors WHERE pipeline = ?1 AND sink = ?2")?
        .query_row([pipeline, sink], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let Some(reached) = reached.filter(|reached| *reached > current) else { return Ok(()) };
    // A replay between two windows moves the number, not the place in the source.
    let read: Option<Option<String>> = transaction
        .prepare_cached(
            "SELECT upper FROM windows WHERE pipeline = ?1 AND kind = 'read' AND id > ?2 AND id <= ?3 \
             ORDER BY id DESC LIMIT 1",
        )?
        .query_row(params![pipeline, current, reached], |row| row.get(0))
        .optional()?;
    transaction
        .prepare_cached(
            "INSERT INTO cursors (pipeline, sink, window, value, moved) VALUES (?1, ?2, ?3, ?4, ?5) \
             ON CONFLICT (pipeline, sink) DO UPDATE SET window = excluded.window, moved = excluded.moved, \
             value = CASE WHEN ?6 THEN excluded.value ELSE value END",
        )?
        .execute(params![pipeline, sink, reached, read.clone().flatten(), now_text(), read.is_some()])?;
    Ok(())
}
