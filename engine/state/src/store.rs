//! The file itself: opening, locking, and the two ways to use it (one read, one
//! transaction).

use std::fmt;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use engine_abi::{Error, ErrorKind, Result};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{self, Fault, Step};
use crate::lock::{FolderLock, create_private_folder, sync_folder};
use crate::mirror::{Mirror, Mirrored, is_copy};
use crate::schema;

/// How long a call waits for a reader that holds the file, before it says so.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The write-ahead log shrinks to this many bytes after a checkpoint.
const WAL_KEPT_BYTES: i64 = 16 << 20;
/// Distinct statements kept prepared.
const PREPARED_STATEMENTS: usize = 64;

/// The engine's memory: runs, windows, ledger, cursors and dead letters.
///
/// Calls may come from any thread; one at a time is served. Every call that
/// writes is one transaction: durable when it returns, without a trace when it
/// fails. A full disk fails a call with kind `Unavailable`; the same call works
/// once there is room.
pub struct State {
    folder: PathBuf,
    id: String,
    connection: Mutex<Connection>,
    /// Where the state stands, if not here alone. Locked after the connection.
    mirrored: Mutex<Option<Mirrored>>,
    // After the connection: the file is closed before another engine may have it.
    _lock: Option<FolderLock>,
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").field("folder", &self.folder).field("id", &self.id).finish_non_exhaustive()
    }
}

impl State {
    /// Opens the state in `folder` for writing, making both where they are missing
    /// (readable by their owner alone).
    ///
    /// # Errors
    /// `Unavailable` when another engine holds the folder or the disk is full,
    /// `Config` when a newer engine wrote it, `Denied`, or `Internal` when the file is
    /// damaged.
    pub fn open(folder: &Path) -> Result<Self> {
        let state = Self::open_file(folder)?;
        let copy = is_copy(&state.connection()).map_err(|fault| fault.into_error(folder, "open the state"))?;
        if copy {
            let message = format!("the state in {} is a copy of one that stands in a database", folder.display());
            return Err(Error::config(message).hint(
                "put back the file state.yaml that names the database; to go on without it, move the folder away",
            ));
        }
        Ok(state)
    }

    /// Opens the copy in `folder` of a state that stands elsewhere, after it was made
    /// what the state is there.
    ///
    /// # Errors
    /// Those of [`State::open`] and of the mirror; `Config` when the folder has a
    /// history of its own.
    pub fn open_mirrored(folder: &Path, mirror: Box<dyn Mirror>) -> Result<Self> {
        let mut state = Self::open_file(folder)?;
        let opened = || -> Step<(Mirrored, String)> {
            let connection = state.connection.get_mut().unwrap_or_else(PoisonError::into_inner);
            let mirrored = Mirrored::open(connection, mirror)?;
            let id = state_id(connection)?.ok_or_else(|| Error::internal("the state has lost its id"))?;
            Ok((mirrored, id))
        };
        let (mirrored, id) = opened().map_err(|fault| fault.into_error(folder, "open the state"))?;
        Ok(Self { id, mirrored: Mutex::new(Some(mirrored)), ..state })
    }

    fn open_file(folder: &Path) -> Result<Self> {
        create_private_folder(folder)?;
        let lock = FolderLock::take(folder)?;
        let path = folder.join("state.db");
        // SQLite gives its own files the permissions of this one.
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match made {
            Ok(_) => sync_folder(folder)?,
            Err(cause) if cause.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(cause) => return Err(error::io(&path, "make", &cause)),
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let (connection, id) =
            connect(&path, flags).and_then(prepare).map_err(|fault| fault.into_error(folder, "open the state"))?;
        let mirrored = Mutex::default();
        Ok(Self { folder: folder.to_owned(), id, connection: Mutex::new(connection), mirrored, _lock: Some(lock) })
    }

    /// Opens the state in `folder` for reading, also while an engine holds it. What it
    /// answers is what was durable when the call began. Calls that write fail with kind
    /// `Denied`.
    ///
    /// # Errors
    /// `Config` when there is no state in `folder` ([`State::exists`]) or another version
    /// of the engine wrote it.
    pub fn read(folder: &Path) -> Result<Self> {
        let nothing = || {
            Error::new(ErrorKind::Config, format!("there is no state in {}", folder.display()))
                .hint("nothing has run with this folder yet; name another one with --state")
        };
        if !Self::exists(folder) {
            return Err(nothing());
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let (connection, id) = connect(&folder.join("state.db"), flags)
            .and_then(|connection| {
                let found = schema::version(&connection)?;
                schema::refuse_newer(found, schema::MIGRATIONS.len())?;
                // Its maker was stopped before it was made.
                if found == 0 {
                    return Err(nothing().into());
                }
                if found < schema::MIGRATIONS.len() {
                    let message = format!("the state in {} was written by an older engine", folder.display());
                    return Err(Error::new(ErrorKind::Config, message)
                        .hint("run a pipeline with this engine once; that brings the state up to date")
                        .into());
                }
                let id = state_id(&connection)?.ok_or_else(nothing)?;
                Ok((connection, id))
            })
            .map_err(|fault| fault.into_error(folder, "read the state"))?;
        let mirrored = Mutex::default();
        Ok(Self { folder: folder.to_owned(), id, connection: Mutex::new(connection), mirrored, _lock: None })
    }

    /// Whether there is a state in `folder`.
    pub fn exists(folder: &Path) -> bool {
        folder.join("state.db").is_file()
    }

    /// The state's own id: a random UUID made with the file, the first part of every
    /// commit key.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The folder that holds it.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs `body` in one transaction. `doing` completes "could not …".
    pub(crate) fn write<T>(&self, doing: &str, body: impl FnOnce(&Transaction<'_>) -> Step<T>) -> Result<T> {
        let mut connection = self.connection();
        let mut mirrored = self.mirrored.lock().unwrap_or_else(PoisonError::into_inner);
        let work = || -> Step<T> {
            let Some(mirrored) = mirrored.as_mut() else {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let value = body(&transaction)?;
                transaction.commit()?;
                return Ok(value);
            };
            mirrored.settle(&mut connection)?;
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = body(&transaction)?;
            mirrored.store(&transaction)?;
            transaction.commit()?;
            mirrored.committed();
            Ok(value)
        };
        work().map_err(|fault| fault.into_error(&self.folder, doing))
    }

    /// Runs `body` on one consistent view. `doing` completes "could not …".
    pub(crate) fn look<T>(&self, doing: &str, body: impl FnOnce(&Transaction<'_>) -> Step<T>) -> Result<T> {
        let mut connection = self.connection();
        if let Some(mirrored) = self.mirrored.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            // What the state is said to hold elsewhere is what is done. Without an answer, this is what is known.
            let _ = mirrored.settle(&mut connection);
        }
        let work = || -> Step<T> {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Deferred)?;
            body(&transaction)
        };
        work().map_err(|fault| fault.into_error(&self.folder, doing))
    }

    /// Where a mirror says that a pipeline begins.
    pub(crate) fn known_before(&self, pipeline: &str) -> Option<serde_json::Value> {
        let mirrored = self.mirrored.lock().unwrap_or_else(PoisonError::into_inner);
        mirrored.as_ref().and_then(|mirrored| mirrored.positions.get(pipeline).cloned())
    }

    /// Gives a state that stands elsewhere back, so that another engine can take it at
    /// once. Nothing can be written afterwards.
    ///
    /// # Errors
    /// Those of the mirror; the state is free then once its lease has run out.
    pub fn release(&self) -> Result<()> {
        let mut mirrored = self.mirrored.lock().unwrap_or_else(PoisonError::into_inner);
        mirrored.as_mut().map_or(Ok(()), Mirrored::release)
    }

    // A panic in `body` has rolled its transaction back while unwinding: the
    // connection behind a poisoned mutex is as good as before.
    fn connection(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connect(path: &Path, flags: OpenFlags) -> Step<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(PREPARED_STATEMENTS);
    Ok(connection)
}

fn prepare(mut connection: Connection) -> Step<(Connection, String)> {
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))?;
    if mode != "wal" {
        return Err(Error::new(
            ErrorKind::Config,
            format!("the state's file system allows no write-ahead log ({mode})"),
        )
        .hint("put the state folder on a local disk with --state")
        .into());
    }
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "journal_size_limit", WAL_KEPT_BYTES)?;
    schema::migrate(&mut connection, schema::MIGRATIONS)?;
    connection.execute(
        "INSERT INTO meta (name, value) VALUES ('state_id', ?1) ON CONFLICT DO NOTHING",
        [uuid::Uuid::new_v4().to_string()],
    )?;
    let id = state_id(&connection)?.ok_or_else(|| Error::new(ErrorKind::Internal, "the state has lost its id"))?;
    Ok((connection, id))
}

/// None: the state's maker was stopped before it was made.
fn state_id(connection: &Connection) -> Step<Option<String>> {
    Ok(connection.query_row("SELECT value FROM meta WHERE name = 'state_id'", [], |row| row.get(0)).optional()?)
}

// ---- how values stand in columns --------------------------------------------

/// A number in SQLite's signed columns. Counts and ids never reach 2^63; what somebody asks for may.
pub(crate) fn int(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A time as sortable text, in UTC with microseconds.
pub(crate) fn time_text(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

pub(crate) fn now_text() -> String {
    time_text(Utc::now())
}

pub(crate) fn time_from(text: &str) -> Step<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.with_timezone(&Utc))
        .map_err(|cause| Fault::Unreadable(format!("a stored time is not one ({cause})")))
}

pub(crate) fn json_text<T: Serialize>(value: &T) -> Step<String> {
    serde_json::to_string(value)
        .map_err(|cause| Error::new(ErrorKind::Internal, format!("a value has no JSON form: {cause}")).into())
}

pub(crate) fn json_from<T: DeserializeOwned>(text: &str) -> Step<T> {
    serde_json::from_str(text).map_err(|cause| Fault::Unreadable(format!("a stored value is not readable ({cause})")))
}

pub(crate) fn json_from_optional<T: DeserializeOwned>(text: Option<String>) -> Step<Option<T>> {
    text.as_deref().map(json_from).transpose()
}
