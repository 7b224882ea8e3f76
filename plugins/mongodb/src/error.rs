//! What MongoDB answers, as the engine's errors. The server's code decides the kind.

use engine_sdk::prelude::*;
use mongodb::error::{ErrorKind as Driver, WriteFailure};

/// Unique index.
pub const DUPLICATE_KEY: i32 = 11000;
/// There is no such collection.
pub const NAMESPACE_NOT_FOUND: i32 = 26;
/// There is such a collection already.
pub const NAMESPACE_EXISTS: i32 = 48;
/// The moment of a snapshot can no longer be seen, or never could.
pub const NO_SNAPSHOT: [i32; 4] = [239, 246, 72, 123];

/// Why something did not work.
#[derive(Debug)]
pub enum Failure {
    /// The server refused, by this code.
    Refused {
        /// The server's.
        code: i32,
        /// What it says.
        message: String,
    },
    /// Everything else.
    Ours(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

/// What a code means.
pub fn kind(code: i32) -> ErrorKind {
    match code {
        8 | 11 | 13 | 18 | 31 | 33 | 8000 => ErrorKind::Denied,
        6 | 7 | 24 | 43 | 46 | 50 | 64 | 83 | 89 | 91 | 112 | 133 | 134 | 136 | 175 | 189 | 202 | 225 | 234 | 237
        | 239 | 244 | 246 | 251 | 262 | 290 | 317 | 365 | 384 | 9001 | 10107 | 11600 | 11601 | 11602 | 13388
        | 13435 | 13436 => ErrorKind::Unavailable,
        // The second one is what Azure's server has.
        462 | 16500 => ErrorKind::RateLimited,
        15 | 52 | 53 | 55 | 56 | 57 | 121 | 171 | 10334 | 11000 | 11001 | 16755 | 16756 | 17280 | 17419 | 17420 => {
            ErrorKind::Rejected
        }
        2 | 9 | 14 | 17 | 20 | 26 | 27 | 28 | 40 | 48 | 59 | 72 | 73 | 85 | 86 | 115 | 123 | 166 | 167 | 168 | 238 => {
            ErrorKind::Config
        }
        // Assertions about what was asked for, such as a stage of a pipeline that is none.
        10_000.. => ErrorKind::Config,
        _ => ErrorKind::Internal,
    }
}

/// A short word to group dead letters by.
pub fn word(code: i32) -> &'static str {
    match code {
        DUPLICATE_KEY | 11001 => "duplicate",
        121 => "check",
        10334 | 17280 | 17419 | 17420 => "too_large",
        15 => "too_deep",
        52..=57 => "bad_name",
        _ => "refused",
    }
}

/// The engine's error for a refusal.
pub fn refusal(code: i32, message: &str) -> Error {
    let error = Error::new(kind(code), format!("MongoDB refused: {message} (code {code})"));
    match code {
        13 => error.hint("grant the login what is missing, or use another one"),
        18 => error.hint("check user, password and `authSource` in `url`"),
        73 => error.hint("check `database` and `collection`"),
        10107 | 13435 => {
            error.hint("use the address of the primary, or name the replica set with `replicaSet` in `url`")
        }
        462 | 16500 => Error { retry_after_ms: Some(1000), ..error },
        _ => error,
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused { code, message } => refusal(code, &message),
            Failure::Ours(error) => error,
        }
    }
}

impl From<mongodb::error::Error> for Failure {
    fn from(error: mongodb::error::Error) -> Self {
        // What the driver says can hold parts of the address, so only kinds are told.
        let error = match *error.kind {
            Driver::Command(command) => return Self::Refused { code: command.code, message: command.message },
            Driver::Write(WriteFailure::WriteError(write)) => {
                return Self::Refused { code: write.code, message: write.message };
            }
            Driver::Write(WriteFailure::WriteConcernError(write)) => {
                return Self::Refused { code: write.code, message: write.message };
            }
            Driver::Authentication { .. } => {
                Error::denied("MongoDB did not accept the login").hint("check user, password and `authSource` in `url`")
            }
            Driver::ServerSelection { .. } => Error::unavailable("no server of the deployment answers"),
            Driver::DnsResolve { .. } => Error::unavailable("the server's name is not known"),
            Driver::Io(error) => Error::unavailable(format!("the connection failed: {}", error.kind())),
            Driver::ConnectionPoolCleared { .. } | Driver::Shutdown => Error::unavailable("the connection was lost"),
            Driver::InvalidTlsConfig { .. } => {
                Error::config("the TLS settings are not usable").hint("`ca` is the path of a PEM file")
            }
            Driver::InvalidArgument { message, .. } => Error::config(format!("the MongoDB driver refused: {message}")),
            Driver::IncompatibleServer { message, .. } => Error::config(format!("this server is too old: {message}")),
            Driver::SessionsNotSupported | Driver::Transaction { .. } => {
                Error::config("the deployment has no transactions")
            }
            Driver::InvalidResponse { .. } | Driver::Bson(_) => {
                Error::unavailable("the other side does not speak MongoDB's protocol as expected")
            }
            other => Error::internal(format!("the MongoDB driver failed: {other}")),
        };
        Self::Ours(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_alone_decides_the_kind() {
        for (code, expected) in [
            (18, ErrorKind::Denied),
            (13, ErrorKind::Denied),
            (50, ErrorKind::Unavailable),
            (89, ErrorKind::Unavailable),
            (91, ErrorKind::Unavailable),
            (112, ErrorKind::Unavailable),
            (251, ErrorKind::Unavailable),
            (10107, ErrorKind::Unavailable),
            (26, ErrorKind::Config),
            (40324, ErrorKind::Config),
            (121, ErrorKind::Rejected),
            (11000, ErrorKind::Rejected),
            (10334, ErrorKind::Rejected),
            (16500, ErrorKind::RateLimited),
            (8, ErrorKind::Denied),
            (1, ErrorKind::Internal),
            (-7, ErrorKind::Internal),
        ] {
            assert_eq!(kind(code), expected, "{code}");
        }
        assert!(refusal(16500, "slow down").retry_after_ms.is_some());
    }
}
