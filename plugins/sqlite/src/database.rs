//! Opening files, what SQLite's errors mean, and names in SQL.

use std::path::Path;

pub use engine_sdk::database::suggestion;
use engine_sdk::prelude::*;
use engine_sdk::types;
use rusqlite::{Connection, ErrorCode, OpenFlags};

/// How long to wait for another writer, unless the settings say otherwise.
pub fn default_busy_timeout() -> types::Duration {
    types::Duration::seconds(5)
}

/// What may be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Read it.
    Read,
    /// Write to it.
    Write,
    /// Write to it, and make it if it is missing.
    Create,
}

/// Opens a file.
pub fn open(path: &Path, access: Access, busy_timeout: types::Duration) -> Result<Connection> {
    let shown = path.display();
    let is_new = !path.exists();
    if is_new && access != Access::Create {
        return Err(Error::config(format!("there is no file {shown}")).hint(match access {
            Access::Read => "check `path`; it is relative to the pipeline file",
            _ => "check `path`, or let the sink make file and table with `create: true`",
        }));
    }
    let flags = match access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Access::Create => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
    };
    let opened = || -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(busy_timeout.0)?;
        if access != Access::Read {
            // Readers do not hold up the writer then. A file that is there keeps what it has.
            if is_new {
                connection.pragma_update(None, "journal_mode", "wal")?;
            }
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", true)?;
        }
        // The first look at the file itself.
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
        Ok(connection)
    };
    opened().map_err(|error| failure(error).context(format!("SQLite file {shown}")))
}

/// SQLite's code, also where the driver adds the place in the SQL.
fn code(error: &rusqlite::Error) -> Option<ErrorCode> {
    match error {
        rusqlite::Error::SqlInputError { error, .. } => Some(error.code),
        rusqlite::Error::MultipleStatement => Some(ErrorCode::Unknown),
        error => error.sqlite_error_code(),
    }
}

/// Whether a row was refused for what is in it.
pub fn is_refusal(error: &rusqlite::Error) -> bool {
    use ErrorCode::{ConstraintViolation, TooBig, TypeMismatch};
    matches!(code(error), Some(ConstraintViolation | TooBig | TypeMismatch))
}

/// What an error means. The code decides; no message is read.
pub fn failure(error: rusqlite::Error) -> Error {
    use ErrorCode as Code;
    let (kind, hint) = match code(&error) {
        Some(Code::DatabaseBusy | Code::DatabaseLocked) => {
            (ErrorKind::Unavailable, Some("another program writes to the file; a longer `busy_timeout` waits for it"))
        }
        Some(Code::SystemIoFailure | Code::DiskFull | Code::OutOfMemory | Code::FileLockingProtocolFailed) => {
            (ErrorKind::Unavailable, None)
        }
        Some(Code::PermissionDenied | Code::ReadOnly | Code::AuthorizationForStatementDenied) => {
            (ErrorKind::Denied, Some("the engine needs write access to the file and to its folder"))
        }
        Some(Code::CannotOpen) => {
            (ErrorKind::Config, Some("check `path`: its folder must exist and the engine be allowed to use it"))
        }
        Some(Code::NotADatabase | Code::DatabaseCorrupt) => {
            (ErrorKind::Config, Some("check `path`: the file is damaged or is not an SQLite database"))
        }
        Some(Code::ConstraintViolation | Code::TooBig | Code::TypeMismatch) => (ErrorKind::Rejected, None),
        Some(Code::OperationInterrupted) => (ErrorKind::Cancelled, None),
        Some(Code::Unknown | Code::SchemaChanged) => (ErrorKind::Config, None),
        _ => (ErrorKind::Internal, None),
    };
    let error = Error::new(kind, format!("SQLite refused: {error}"));
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// An identifier as SQL text.
pub fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Identifiers as a list.
pub fn quote_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quote).collect::<Vec<_>>().join(", ")
}
