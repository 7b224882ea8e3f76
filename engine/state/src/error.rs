//! From SQLite's and the operating system's errors to the engine's.

use std::fmt::Display;
use std::io;
use std::path::Path;

use engine_abi::{Error, ErrorKind};
use rusqlite::ErrorCode;

const FREE_SPACE: &str = "free some space; the engine goes on by itself once there is room";

/// What can go wrong inside a transaction, before it is known which folder it is about.
#[derive(Debug)]
pub(crate) enum Fault {
    /// SQLite says no.
    Sqlite(rusqlite::Error),
    /// A stored text is not what was stored.
    Unreadable(String),
    /// The request makes no sense; nothing was written.
    Refused(Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// The outcome of a step inside a transaction.
pub(crate) type Step<T> = std::result::Result<T, Fault>;

impl Fault {
    /// The error that a caller sees. `doing` completes "could not …".
    pub(crate) fn into_error(self, folder: &Path, doing: &str) -> Error {
        match self {
            Self::Sqlite(error) => sqlite(folder, doing, error),
            Self::Unreadable(what) => corrupt(folder, doing, what),
            Self::Refused(error) => error,
        }
    }
}

fn sqlite(folder: &Path, doing: &str, error: rusqlite::Error) -> Error {
    let message = format!("could not {doing} in {}: {error}", folder.join("state.db").display());
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => {
            Error::new(ErrorKind::Unavailable, format!("could not {doing}: no space left in {}", folder.display()))
                .hint(FREE_SPACE)
        }
        Some(ErrorCode::SystemIoFailure) => Error::new(ErrorKind::Unavailable, message)
            .hint("look for a full or failing disk in the system's log; the engine goes on by itself once it answers"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::new(ErrorKind::Unavailable, message)
            .hint("another program holds the file; only the engine should open it for writing"),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => corrupt(folder, doing, error),
        Some(ErrorCode::PermissionDenied | ErrorCode::CannotOpen | ErrorCode::AuthorizationForStatementDenied) => {
            Error::new(ErrorKind::Denied, message)
                .hint("the user that runs the engine must own the state folder and the files in it")
        }
        Some(ErrorCode::ReadOnly) => Error::new(ErrorKind::Denied, message)
            .hint("the state was opened for reading, or its file is not writable for this user"),
        _ => Error::new(ErrorKind::Internal, message),
    }
}

fn corrupt(folder: &Path, doing: &str, error: impl Display) -> Error {
    let path = folder.join("state.db");
    Error::new(ErrorKind::Internal, format!("could not {doing}: {} is damaged: {error}", path.display())).hint(
        "stop the engine and put back a copy of the state folder (see \"Back-up\" in the documentation), or move the folder \
         away to begin with an empty one (targets that keep commit keys do not know deliveries of a new state)",
    )
}

/// An error of the operating system on one file or folder. `doing` completes "could not …".
pub(crate) fn io(path: &Path, doing: &str, error: &io::Error) -> Error {
    let message = format!("could not {doing} {}: {error}", path.display());
    if is_full(error) {
        return Error::new(ErrorKind::Unavailable, message).hint(FREE_SPACE);
    }
    match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Error::new(ErrorKind::Denied, message)
            .hint("the user that runs the engine must own the state folder and the files in it"),
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Error::new(ErrorKind::Config, message)
            .hint("choose another folder with --state, or move what is in the way"),
        _ => Error::new(ErrorKind::Unavailable, message),
    }
}

/// Whether there may be room again later.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
