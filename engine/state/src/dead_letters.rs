//! Dead letters: records that a stage refused, kept whole until someone decides.

use std::ops::Range;

use chrono::{DateTime, Utc};
use engine_abi::Result;
use fail::fail_point;
use rusqlite::types::Value as Column;
use rusqlite::{OptionalExtension, Row, Transaction, params, params_from_iter};
use serde::Serialize;

use crate::State;
use crate::error::{Fault, Step};
use crate::ledger::{Delivery, RUN_SPLIT};
use crate::store::{int, now_text, time_from};

/// The most letters that one call lists; ask again with [`DeadLetterFilter::after`].
pub const MAX_PAGE: usize = 1_000;

/// Where a dead letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeadLetterStatus {
    /// Of a delivery that is not settled: the next attempt writes it again or not at all.
    Pending,
    /// Of a delivery that is settled. Waits for someone to replay or drop it.
    Final,
    /// A replay has delivered it, or made a new letter of it.
    Replayed,
    /// Someone decided that it is not needed.
    Dropped,
}

impl DeadLetterStatus {
    /// The word for it in messages, JSON and the file.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Final => "final",
            Self::Replayed => "replayed",
            Self::Dropped => "dropped",
        }
    }

    /// The status of that word.
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::Pending, Self::Final, Self::Replayed, Self::Dropped].into_iter().find(|status| status.as_str() == text)
    }
}

/// What becomes of a `final` letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It was delivered in another way than by a replay window.
    Replayed,
    /// It is not needed.
    Dropped,
}

/// A refused record, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// What a decoder could not read.
    Raw {
        /// What the bytes came from: a file's name, a peer.
        name: String,
        /// The record.
        bytes: Vec<u8>,
    },
    /// One row, as an Arrow IPC stream of one batch.
    Row {
        /// The stream.
        ipc: Vec<u8>,
    },
}

/// A dead letter about to be stored. Its key is (pipeline, window, split, stage, ordinal).
#[derive(Debug, Clone)]
pub struct NewDeadLetter {
    /// The pipeline's name.
    pub pipeline: String,
    /// The window's number.
    pub window: u64,
    /// The split's id.
    pub split: String,
    /// Who refused it: `source`, `transforms.1`, `sinks.postgres`.
    pub stage: String,
    /// Its number among the records that the stage saw of the split; the same at every attempt.
    pub ordinal: u64,
    /// The run that tried it.
    pub run: String,
    /// Why, as a word: `malformed`, `too_long`, `22001`.
    pub code: String,
    /// Why, for a person.
    pub reason: String,
    /// The record for a person, as JSON.
    pub display: String,
    /// The record for a replay.
    pub payload: Payload,
}

/// A stored dead letter, without its payload ([`State::payload`]).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its number, for ever. (A pending one gets another with every attempt.)
    pub id: i64,
    /// The pipeline's name.
    pub pipeline: String,
    /// The window's number.
    pub window: u64,
    /// The split's id.
    pub split: String,
    /// Who refused it.
    pub stage: String,
    /// See [`NewDeadLetter::ordinal`].
    pub ordinal: u64,
    /// The run that tried it.
    pub run: String,
    /// Where it stands.
    pub status: DeadLetterStatus,
    /// Why, as a word.
    pub code: String,
    /// Why, for a person.
    pub reason: String,
    /// The record for a person, as JSON.
    pub display: String,
    /// The size of its payload.
    pub payload_bytes: u64,
    /// When it was stored.
    pub created: DateTime<Utc>,
}

/// Which dead letters to list. Everything that is not set matches.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Of this pipeline.
    pub pipeline: Option<String>,
    /// Of exactly this stage.
    pub stage: Option<String>,
    /// With this status.
    pub status: Option<DeadLetterStatus>,
    /// Of this window.
    pub window: Option<u64>,
    /// Taken by this unfinished replay window of `pipeline`.
    pub replayed_by: Option<u64>,
    /// With a greater id: the last one of the page before.
    pub after: Option<i64>,
    /// At most so many; 0 and more than [`MAX_PAGE`] mean [`MAX_PAGE`].
    pub limit: usize,
}

/// How many dead letters a stage of a pipeline has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetterCount {
    /// The pipeline's name.
    pub pipeline: String,
    /// Who refused them.
    pub stage: String,
    /// Where they stand.
    pub status: DeadLetterStatus,
    /// How many.
    pub count: u64,
}

const COLUMNS: &str = "SELECT id, pipeline, window, split, stage, ordinal, run, status, code, reason, display, \
                       length(payload), created FROM dead_letters";

impl State {
    /// Removes what an earlier attempt left pending for one stage and split under these ordinals: a later one
    /// may refuse fewer records.
    pub fn clear_pending(
        &self,
        pipeline: &str,
        window: u64,
        split: &str,
        stage: &str,
        ordinals: Range<u64>,
    ) -> Result<()> {
        self.write("clear dead letters of an earlier attempt", |transaction| {
            transaction
                .prepare_cached(
                    "DELETE FROM dead_letters \
                     WHERE pipeline = ?1 AND window = ?2 AND split = ?3 AND stage = ?4 AND status = 'pending' \
                     AND ordinal >= ?5 AND ordinal < ?6",
                )?
                .execute(params![pipeline, int(window), split, stage, int(ordinals.start), int(ordinals.end)])?;
            Ok(())
        })?;
        fail_point!("state::dead_letters_cleared");
        Ok(())
    }

    /// Stores dead letters as pending, all or none. A pending one of the same key is
    /// overwritten; one that is no longer pending stays as it is.
    pub fn put_dead_letters(&self, letters: &[NewDeadLetter]) -> Result<()> {
        self.write("store dead letters", |transaction| {
            let mut put = transaction.prepare_cached(
                "INSERT INTO dead_letters (pipeline, window, split, stage, ordinal, run, status, code, reason, \
                 display, name, payload, created) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'pending', ?7, ?8, ?9, ?10, ?11, ?12) \
                 ON CONFLICT (pipeline, window, split, stage, ordinal) DO UPDATE SET run = excluded.run, \
                 code = excluded.code, reason = excluded.reason, display = excluded.display, name = excluded.name, \
                 payload = excluded.payload, created = excluded.created WHERE status = 'pending'",
            )?;
            let now = now_text();
            for letter in letters {
                let (name, payload) = match &letter.payload {
                    Payload::Raw { name, bytes } => (Some(name), bytes),
                    Payload::Row { ipc } => (None, ipc),
                };
                put.execute(params![
                    letter.pipeline,
                    int(letter.window),
                    letter.split,
                    letter.stage,
                    int(letter.ordinal),
                    letter.run,
                    letter.code,
                    letter.reason,
                    letter.display,
                    name,
                    payload,
                    now,
                ])?;
            }
            Ok(())
        })?;
        fail_point!("state::dead_letters_stored");
        Ok(())
    }

    /// One page of dead letters, oldest first, without payloads.
    pub fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetter>> {
        let (sql, columns) = page(filter);
        self.look("list dead letters", |transaction| {
            let mut statement = transaction.prepare_cached(&sql)?;
            let mut rows = statement.query(params_from_iter(columns))?;
            let mut letters = Vec::new();
            while let Some(row) = rows.next()? {
                letters.push(from_row(row)?);
            }
            Ok(letters)
        })
    }

    /// One dead letter.
    pub fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>> {
        self.look("look up a dead letter", |transaction| {
            let mut statement = transaction.prepare_cached(&format!("{COLUMNS} WHERE id = ?1"))?;
            let mut rows = statement.query([id])?;
            rows.next()?.map(from_row).transpose()
        })
    }

    /// The refused record itself.
    pub fn payload(&self, id: i64) -> Result<Option<Payload>> {
        self.look("read a dead letter", |transaction| {
            Ok(transaction
                .prepare_cached("SELECT name, payload FROM dead_letters WHERE id = ?1")?
                .query_row([id], |row| {
                    let bytes = row.get(1)?;
                    Ok(match row.get(0)? {
                        Some(name) => Payload::Raw { name, bytes },
                        None => Payload::Row { ipc: bytes },
                    })
                })
                .optional()?)
        })
    }

    /// Decides about letters, all in one transaction; answers how many changed. One that
    /// is not `final`, or that a replay under way has taken, stays as it is.
    pub fn mark(&self, ids: &[i64], mark: Mark) -> Result<u64> {
        let status = match mark {
            Mark::Replayed => DeadLetterStatus::Replayed,
            Mark::Dropped => DeadLetterStatus::Dropped,
        };
        self.write("mark dead letters", |transaction| {
            let mut update = transaction.prepare_cached(
                "UPDATE dead_letters SET status = ?2 WHERE id = ?1 AND status = 'final' \
                 AND NOT EXISTS (SELECT 1 FROM replays WHERE letter = ?1)",
            )?;
            let mut changed = 0;
            for id in ids {
                changed += update.execute(params![id, status.as_str()])? as u64;
            }
            Ok(changed)
        })
    }

    /// How many dead letters there are, by pipeline, stage and status.
    pub fn dead_letter_counts(&self, pipeline: Option<&str>) -> Result<Vec<DeadLetterCount>> {
        self.look("count dead letters", |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT pipeline, stage, status, count(*) FROM dead_letters WHERE ?1 IS NULL OR pipeline = ?1 \
                 GROUP BY pipeline, stage, status ORDER BY pipeline, stage, status",
            )?;
            let mut rows = statement.query([pipeline])?;
            let mut counts = Vec::new();
            while let Some(row) = rows.next()? {
                counts.push(DeadLetterCount {
                    pipeline: row.get(0)?,
                    stage: row.get(1)?,
                    status: status_from(row.get(2)?)?,
                    count: row.get::<_, i64>(3)? as u64,
                });
            }
            Ok(counts)
        })
    }
}

/// Makes the pending letters of a delivery final; see [`State::settle`].
pub(crate) fn finalise(transaction: &Transaction<'_>, delivery: &Delivery) -> Step<()> {
    transaction
        .prepare_cached(
            "UPDATE dead_letters SET status = 'final' \
             WHERE pipeline = ?1 AND window = ?2 AND status = 'pending' AND (?3 = ?4 OR split = ?3) \
             AND (stage = 'sinks.' || ?5 OR substr(stage, 1, 6) <> 'sinks.')",
        )?
        .execute(params![delivery.pipeline, int(delivery.window), delivery.split, RUN_SPLIT, delivery.sink])?;
    Ok(())
}

fn page(filter: &DeadLetterFilter) -> (String, Vec<Column>) {
    let text = |value: &Option<String>| value.clone().map(Column::Text);
    let conditions = [
        ("pipeline = ?", text(&filter.pipeline)),
        ("stage = ?", text(&filter.stage)),
        ("status = ?", filter.status.map(|status| Column::Text(status.as_str().to_owned()))),
        ("window = ?", filter.window.map(|window| Column::Integer(int(window)))),
        (
            // Not looked up again for every letter.
            "(pipeline, id) IN (SELECT replays.pipeline, replays.letter FROM replays WHERE replays.window = ?)",
            filter.replayed_by.map(|window| Column::Integer(int(window))),
        ),
        ("id > ?", filter.after.map(Column::Integer)),
    ];
    let mut sql = COLUMNS.to_owned();
    let mut columns = Vec::new();
    for (condition, column) in conditions {
        if let Some(column) = column {
            sql.push_str(if columns.is_empty() { " WHERE " } else { " AND " });
            sql.push_str(condition);
            columns.push(column);
        }
    }
    let limit = if filter.limit == 0 { MAX_PAGE } else { filter.limit.min(MAX_PAGE) };
    sql.push_str(&format!(" ORDER BY id LIMIT {limit}"));
    (sql, columns)
}

fn from_row(row: &Row<'_>) -> Step<DeadLetter> {
    Ok(DeadLetter {
        id: row.get(0)?,
        pipeline: row.get(1)?,
        window: row.get::<_, i64>(2)? as u64,
        split: row.get(3)?,
        stage: row.get(4)?,
        ordinal: row.get::<_, i64>(5)? as u64,
        run: row.get(6)?,
        status: status_from(row.get(7)?)?,
        code: row.get(8)?,
        reason: row.get(9)?,
        display: row.get(10)?,
        payload_bytes: row.get::<_, i64>(11)? as u64,
        created: time_from(&row.get::<_, String>(12)?)?,
    })
}

fn status_from(text: String) -> Step<DeadLetterStatus> {
    DeadLetterStatus::from_text(&text).ok_or_else(|| Fault::Unreadable(format!("a dead letter is {text:?}")))
}
