//! Windows: what a run covers, stored before any output is made from it.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use engine_abi::message::Split;
use engine_abi::{Error, ErrorKind, Result, Unit};
use fail::fail_point;
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::State;
use crate::backfill::{self, Backfill};
use crate::covered::{self, About};
use crate::cursors;
use crate::error::{Fault, Step};
use crate::ledger::RUN_SPLIT;
use crate::retention;
use crate::store::{int, json_from, json_from_optional, json_text, now_text, time_from};

/// Where a window's rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    /// From the pipeline's source.
    Read,
    /// From dead letters. Moves no position: the next `Read` window begins where it
    /// would have begun without it.
    Replay,
    /// From the pipeline's source, once more. Moves no position.
    Backfill,
}

impl WindowKind {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Replay => "replay",
            Self::Backfill => "backfill",
        }
    }
}

/// A sink of a window, and how much it publishes at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkPlan {
    /// The sink's name in the pipeline.
    pub name: String,
    /// `Split`: one delivery a split. `Run`: one delivery, called [`RUN_SPLIT`].
    pub unit: Unit,
}

/// A window about to be stored.
#[derive(Debug, Clone)]
pub struct NewWindow {
    /// The pipeline's name.
    pub pipeline: String,
    /// The run that makes it.
    pub run: String,
    /// Where its rows come from.
    pub kind: WindowKind,
    /// Where it begins (exclusive); None: at the beginning.
    pub lower: Option<Value>,
    /// Where it ends (inclusive); None: the source has no cursor.
    pub upper: Option<Value>,
    /// Its pieces, in the order of their rows. Ids are unique in the window.
    pub splits: Vec<Split>,
    /// The pipeline as it was, without secrets: the window is completed with it.
    pub definition: Value,
    /// Anything else that completing it needs, such as the time of the run.
    pub context: Value,
    /// Whom it is for.
    pub sinks: Vec<SinkPlan>,
    /// The dead letters that a `Replay` window takes, each `final`. They become
    /// `replayed` in the transaction that finishes the window.
    pub replays: Vec<i64>,
    /// What a `Backfill` window is a part of.
    pub backfill: Option<Backfill>,
    /// The source wants to know when it is finished: [`State::windows_to_tell`].
    pub tells: bool,
    /// The time that it is about, where it is one: the next window's begins at its end.
    pub about: Option<About>,
}

/// A stored window.
#[derive(Debug, Clone)]
pub struct Window {
    /// The pipeline's name.
    pub pipeline: String,
    /// 1, 2, 3 … in the pipeline; never used twice.
    pub id: u64,
    /// The run that made it.
    pub run: String,
    /// Where its rows come from.
    pub kind: WindowKind,
    /// See [`NewWindow::lower`].
    pub lower: Option<Value>,
    /// See [`NewWindow::upper`].
    pub upper: Option<Value>,
    /// In the order of their rows.
    pub splits: Vec<Split>,
    /// The pipeline as it was; shared by windows of one definition.
    pub definition: Arc<Value>,
    /// See [`NewWindow::context`].
    pub context: Value,
    /// In the order in which they were given.
    pub sinks: Vec<WindowSink>,
    /// When it was stored.
    pub created: DateTime<Utc>,
    /// When its last delivery was settled.
    pub finished: Option<DateTime<Utc>>,
}

impl Window {
    /// The sink of that name.
    pub fn sink(&self, name: &str) -> Option<&WindowSink> {
        self.sinks.iter().find(|sink| sink.name == name)
    }
}

/// How far a sink has got with a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowSink {
    /// The sink's name in the pipeline.
    pub name: String,
    /// How much it publishes at a time.
    pub unit: Unit,
    /// Splits whose delivery is settled ([`RUN_SPLIT`] for a sink of unit `Run`).
    pub committed: BTreeSet<String>,
    /// Deliveries that are not settled yet.
    pub missing: u64,
}

impl WindowSink {
    /// Whether every delivery is settled.
    pub const fn is_done(&self) -> bool {
        self.missing == 0
    }
}

pub(crate) const fn unit_text(unit: Unit) -> &'static str {
    match unit {
        Unit::Split => "split",
        Unit::Run => "run",
    }
}

const COLUMNS: &str = "SELECT windows.id, run, kind, lower, upper, hash, body, context, created, finished \
                       FROM windows JOIN definitions ON definitions.hash = windows.definition";

impl State {
    /// Stores a window, before any output is made from it, and gives it its number.
    ///
    /// A sink that has nothing to wait for (unit `Split`, no splits) is done with it
    /// at once.
    ///
    /// # Errors
    /// `Config` when a letter to replay is not `final` or another window has taken it;
    /// `Internal` when a split or a sink is named twice.
    pub fn create_window(&self, new: &NewWindow) -> Result<Window> {
        let mut context = new.context.clone();
        if let (Some(backfill), Value::Object(context)) = (&new.backfill, &mut context) {
            context.insert(backfill::CONTEXT.to_owned(), serde_json::json!(backfill));
        }
        let window = self.write("store a window", |transaction| {
            let definition = json_text(&new.definition)?;
            let hash: [u8; 32] = Sha256::digest(definition.as_bytes()).into();
            let id = next_number(transaction, &new.pipeline)?;
            transaction
                .prepare_cached("INSERT INTO definitions (hash, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                .execute(params![hash, definition])?;
            transaction
                .prepare_cached(
                    "INSERT INTO windows (pipeline, id, run, kind, lower, upper, definition, context, created, tells) \
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                )?
                .execute(params![
                    new.pipeline,
                    int(id),
                    new.run,
                    new.kind.as_str(),
                    new.lower.as_ref().map(json_text).transpose()?,
                    new.upper.as_ref().map(json_text).transpose()?,
                    hash,
                    json_text(&context)?,
                    now_text(),
                    new.tells,
                ])?;
            store_splits(transaction, new, id)?;
            store_sinks(transaction, new, id)?;
            take_letters(transaction, new, id)?;
            if new.kind == WindowKind::Read {
                transaction
                    .prepare_cached("UPDATE pipelines SET position = ?2 WHERE name = ?1")?
                    .execute(params![new.pipeline, new.upper.as_ref().map(json_text).transpose()?])?;
            }
            if let (Some(backfill), Some(reached)) = (&new.backfill, &new.upper) {
                backfill::note(transaction, &new.pipeline, backfill, reached)?;
            }
            if let Some(about) = new.about {
                covered::cover(transaction, &new.pipeline, id, about)?;
            }
            for sink in &new.sinks {
                cursors::advance(transaction, &new.pipeline, &sink.name)?;
            }
            finish_if_done(transaction, &new.pipeline, id)?;
            load_one(transaction, &new.pipeline, id)?
                .ok_or_else(|| Error::new(ErrorKind::Internal, "a window vanished while it was stored").into())
        })?;
        fail_point!("state::window_stored");
        Ok(window)
    }

    /// The windows of a pipeline that still wait for deliveries, in order. They are
    /// completed, with their stored definition, before a new one is made.
    pub fn unfinished_windows(&self, pipeline: &str) -> Result<Vec<Window>> {
        self.look("list the unfinished windows", |transaction| {
            load(
                transaction,
                pipeline,
                &format!("{COLUMNS} WHERE pipeline = ?1 AND finished IS NULL ORDER BY id"),
                params![pipeline],
            )
        })
    }

    /// The finished windows of a pipeline whose source does not know it yet, in order.
    pub fn windows_to_tell(&self, pipeline: &str) -> Result<Vec<Window>> {
        self.look("list the windows that the source is to be told of", |transaction| {
            load(
                transaction,
                pipeline,
                &format!("{COLUMNS} WHERE pipeline = ?1 AND tells = 1 AND finished IS NOT NULL ORDER BY id"),
                params![pipeline],
            )
        })
    }

    /// The windows of a pipeline whose source wants to know of them and does not yet, finished or not, in order.
    pub fn untold_windows(&self, pipeline: &str) -> Result<Vec<Window>> {
        self.look("list the windows that the source does not know of", |transaction| {
            let sql = format!("{COLUMNS} WHERE pipeline = ?1 AND tells = 1 ORDER BY id");
            load(transaction, pipeline, &sql, params![pipeline])
        })
    }

    /// The source knows that a window is finished.
    pub fn source_told(&self, pipeline: &str, id: u64) -> Result<()> {
        self.write("note that the source was told", |transaction| {
            transaction
                .prepare_cached("UPDATE windows SET tells = 0 WHERE pipeline = ?1 AND id = ?2")?
                .execute(params![pipeline, int(id)])?;
            Ok(())
        })?;
        fail_point!("state::source_told");
        Ok(())
    }

    /// The newest window of a pipeline that reads its source. Where the next one
    /// begins is said by [`State::position`].
    pub fn last_window(&self, pipeline: &str) -> Result<Option<Window>> {
        self.look("look up the last window", |transaction| {
            let sql = format!("{COLUMNS} WHERE pipeline = ?1 AND kind = 'read' ORDER BY id DESC LIMIT 1");
            Ok(load(transaction, pipeline, &sql, params![pipeline])?.pop())
        })
    }

    /// The newest windows that a run has made, the newest first, at most so many.
    pub fn windows_of_run(&self, pipeline: &str, run: &str, limit: usize) -> Result<Vec<Window>> {
        self.look("list the windows of a run", |transaction| {
            let sql = format!("{COLUMNS} WHERE pipeline = ?1 AND run = ?2 ORDER BY id DESC LIMIT ?3");
            load(transaction, pipeline, &sql, params![pipeline, run, int(limit as u64)])
        })
    }

    /// One window, while it is kept.
    pub fn window(&self, pipeline: &str, id: u64) -> Result<Option<Window>> {
        self.look("look up a window", |transaction| load_one(transaction, pipeline, id))
    }
}

/// Takes the next window number; the counter outlives every reset.
fn next_number(transaction: &Transaction<'_>, pipeline: &str) -> Step<u64> {
    Ok(transaction
        .prepare_cached(
            "INSERT INTO pipelines (name, next_window) VALUES (?1, 2) \
             ON CONFLICT (name) DO UPDATE SET next_window = next_window + 1 RETURNING next_window - 1",
        )?
        .query_row([pipeline], |row| row.get::<_, i64>(0))? as u64)
}

fn store_splits(transaction: &Transaction<'_>, new: &NewWindow, id: u64) -> Step<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO splits (pipeline, window, position, id, spec, estimated_rows) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let mut seen = BTreeSet::new();
    for (position, split) in new.splits.iter().enumerate() {
        if !seen.insert(&split.id) || split.id == RUN_SPLIT {
            let message = format!("the source named a split of {} {:?}", new.pipeline, split.id);
            return Err(Error::new(ErrorKind::Internal, message)
                .hint(format!("split ids are unique in a window, and {RUN_SPLIT:?} means the whole of it"))
                .into());
        }
        insert.execute(params![
            new.pipeline,
            int(id),
            int(position as u64),
            split.id,
            json_text(&split.spec)?,
            split.estimated_rows.map(int),
        ])?;
    }
    Ok(())
}

fn store_sinks(transaction: &Transaction<'_>, new: &NewWindow, id: u64) -> Step<()> {
    let mut insert = transaction.prepare_cached(
        "INSERT INTO window_sinks (pipeline, window, position, sink, unit, missing) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    for (position, sink) in new.sinks.iter().enumerate() {
        let missing = match sink.unit {
            Unit::Split => new.splits.len() as u64,
            Unit::Run => 1,
        };
        insert.execute(params![
            new.pipeline,
            int(id),
            int(position as u64),
            sink.name,
            unit_text(sink.unit),
            int(missing)
        ])?;
    }
    Ok(())
}

fn take_letters(transaction: &Transaction<'_>, new: &NewWindow, id: u64) -> Step<()> {
    let mut take = transaction.prepare_cached(
        "INSERT INTO replays (letter, pipeline, window) \
         SELECT id, pipeline, ?3 FROM dead_letters WHERE id = ?1 AND pipeline = ?2 AND status = 'final' \
         ON CONFLICT DO NOTHING",
    )?;
    for letter in &new.replays {
        if take.execute(params![letter, new.pipeline, int(id)])? == 0 {
            let message = format!("dead letter {letter} of {} cannot be replayed", new.pipeline);
            return Err(Error::new(ErrorKind::Config, message)
                .hint("it was replayed or dropped already, or a replay that is under way has it")
                .into());
        }
    }
    Ok(())
}

/// Marks a window finished when no sink waits for a delivery of it, together with
/// the letters that it replayed, and lets go of old windows.
pub(crate) fn finish_if_done(transaction: &Transaction<'_>, pipeline: &str, id: u64) -> Step<bool> {
    let finished = transaction
        .prepare_cached(
            "UPDATE windows SET finished = ?3 WHERE pipeline = ?1 AND id = ?2 AND finished IS NULL AND NOT EXISTS \
             (SELECT 1 FROM window_sinks WHERE pipeline = ?1 AND window = ?2 AND missing > 0)",
        )?
        .execute(params![pipeline, int(id), now_text()])?;
    if finished == 0 {
        return Ok(false);
    }
    transaction
        .prepare_cached(
            "UPDATE dead_letters SET status = 'replayed' WHERE status = 'final' AND id IN \
             (SELECT letter FROM replays WHERE pipeline = ?1 AND window = ?2)",
        )?
        .execute(params![pipeline, int(id)])?;
    transaction
        .prepare_cached("DELETE FROM replays WHERE pipeline = ?1 AND window = ?2")?
        .execute(params![pipeline, int(id)])?;
    retention::forget_old_windows(transaction, pipeline, retention::KEPT_WINDOWS)?;
    Ok(true)
}

pub(crate) fn load_one(transaction: &Transaction<'_>, pipeline: &str, id: u64) -> Step<Option<Window>> {
    let sql = format!("{COLUMNS} WHERE pipeline = ?1 AND windows.id = ?2");
    Ok(load(transaction, pipeline, &sql, params![pipeline, int(id)])?.pop())
}

fn load(transaction: &Transaction<'_>, pipeline: &str, sql: &str, params: impl rusqlite::Params) -> Step<Vec<Window>> {
    let mut definitions = HashMap::new();
    let mut statement = transaction.prepare_cached(sql)?;
    let mut rows = statement.query(params)?;
    let mut windows = Vec::new();
    while let Some(row) = rows.next()? {
        windows.push(from_row(row, pipeline, &mut definitions)?);
    }
    for window in &mut windows {
        window.splits = load_splits(transaction, pipeline, window.id)?;
        window.sinks = load_sinks(transaction, pipeline, window.id)?;
    }
    Ok(windows)
}

fn from_row(row: &Row<'_>, pipeline: &str, definitions: &mut HashMap<[u8; 32], Arc<Value>>) -> Step<Window> {
    let hash: [u8; 32] = row.get(5)?;
    let definition = match definitions.get(&hash) {
        Some(known) => Arc::clone(known),
        None => {
            let parsed = Arc::new(json_from(&row.get::<_, String>(6)?)?);
            definitions.insert(hash, Arc::clone(&parsed));
            parsed
        }
    };
    Ok(Window {
        pipeline: pipeline.to_owned(),
        id: row.get::<_, i64>(0)? as u64,
        run: row.get(1)?,
        kind: match row.get::<_, String>(2)?.as_str() {
            "read" => WindowKind::Read,
            "replay" => WindowKind::Replay,
            "backfill" => WindowKind::Backfill,
            other => return Err(Fault::Unreadable(format!("a window is of kind {other:?}"))),
        },
        lower: json_from_optional(row.get(3)?)?,
        upper: json_from_optional(row.get(4)?)?,
        splits: Vec::new(),
        definition,
        context: json_from(&row.get::<_, String>(7)?)?,
        sinks: Vec::new(),
        created: time_from(&row.get::<_, String>(8)?)?,
        finished: row.get::<_, Option<String>>(9)?.as_deref().map(time_from).transpose()?,
    })
}

fn load_splits(transaction: &Transaction<'_>, pipeline: &str, window: u64) -> Step<Vec<Split>> {
    let mut statement = transaction.prepare_cached(
        "SELECT id, spec, estimated_rows FROM splits WHERE pipeline = ?1 AND window = ?2 ORDER BY position",
    )?;
    let mut rows = statement.query(params![pipeline, int(window)])?;
    let mut splits = Vec::new();
    while let Some(row) = rows.next()? {
        splits.push(Split {
            id: row.get(0)?,
            spec: json_from(&row.get::<_, String>(1)?)?,
            estimated_rows: row.get::<_, Option<i64>>(2)?.map(|rows| rows as u64),
            // Only a plan says so; what is stored has been cut.
            cut: None,
        });
    }
    Ok(splits)
}

fn load_sinks(transaction: &Transaction<'_>, pipeline: &str, window: u64) -> Step<Vec<WindowSink>> {
    let mut sinks = transaction
        .prepare_cached(
            "SELECT sink, unit, missing FROM window_sinks WHERE pipeline = ?1 AND window = ?2 ORDER BY position",
        )?
        .query_map(params![pipeline, int(window)], |row| {
            Ok(WindowSink {
                name: row.get(0)?,
                unit: if row.get::<_, String>(1)? == "run" { Unit::Run } else { Unit::Split },
                committed: BTreeSet::new(),
                missing: row.get::<_, i64>(2)? as u64,
            })
        })?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    let mut committed = transaction.prepare_cached(
        "SELECT split FROM deliveries WHERE pipeline = ?1 AND window = ?2 AND sink = ?3 AND receipt IS NOT NULL",
    )?;
    for sink in &mut sinks {
        sink.committed = committed
            .query_map(params![pipeline, int(window), sink.name], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
    }
    Ok(sinks)
}

/// The unit with which a window's sink was planned, if the window is for that sink.
pub(crate) fn planned_unit(
    transaction: &Transaction<'_>,
    pipeline: &str,
    window: u64,
    sink: &str,
) -> Step<Option<Unit>> {
    Ok(transaction
        .prepare_cached("SELECT unit FROM window_sinks WHERE pipeline = ?1 AND window = ?2 AND sink = ?3")?
        .query_row(params![pipeline, int(window), sink], |row| row.get::<_, String>(0))
        .optional()?
        .map(|unit| if unit == "run" { Unit::Run } else { Unit::Split }))
}
