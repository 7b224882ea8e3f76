//! What PostgreSQL's errors mean for the engine. SQLSTATE decides; no message is read.

use engine_postgres_copy::Malformed;
use engine_sdk::{Error, ErrorKind};
use sqlx::postgres::PgDatabaseError;

/// Classes of the server's own that say neither that a row is bad nor what else is. A class that
/// is not known at all is a trigger's or function's own, raised with an `ERRCODE` of its author's.
const OTHER_CLASSES: [&str; 30] = [
    "00", "01", "02", "03", "09", "0B", "0F", "0L", "0P", "0Z", "20", "21", "24", "25", "26", "27", "2B", "2D", "2F",
    "34", "38", "39", "3B", "54", "55", "72", "F0", "HV", "P0", "XX",
];

/// Two rows with one key.
pub const UNIQUE_VIOLATION: &str = "23505";

/// The kind that a SQLSTATE stands for.
pub fn kind(state: &str) -> ErrorKind {
    match state {
        "25006" | "25P03" | "25P04" | "55P03" | "55006" => ErrorKind::Unavailable,
        "42501" => ErrorKind::Denied,
        // 42622: a text too long for a name. 54000: a row too big for an index or a page. 54001: JSON nested too
        // deep to be read. P0001 to P0004: a function's RAISE, STRICT or ASSERT.
        "42622" | "54000" | "54001" | "P0001" | "P0002" | "P0003" | "P0004" => ErrorKind::Rejected,
        _ => match state.get(..2).unwrap_or_default() {
            "08" | "40" | "53" | "57" | "58" => ErrorKind::Unavailable,
            "28" => ErrorKind::Denied,
            "22" | "23" | "44" => ErrorKind::Rejected,
            "0A" | "3D" | "3F" | "42" => ErrorKind::Config,
            class if state.len() != 5 || OTHER_CLASSES.contains(&class) => ErrorKind::Internal,
            _ => ErrorKind::Rejected,
        },
    }
}

/// A server's refusal, as far as it matters here.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// Five characters, see <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
    pub state: String,
    /// Message and detail in one line.
    pub message: String,
}

impl Refusal {
    /// Whether it is about the rows, so that others may get in.
    pub fn is_of_rows(&self) -> bool {
        kind(&self.state) == ErrorKind::Rejected
    }
}

/// What can go wrong on a connection.
#[derive(Debug)]
pub enum Failure {
    /// The server said no. The connection still works.
    Refused(Refusal),
    /// Anything else; after it the connection is of no use.
    Broken(Error),
    /// An error of our own; the connection still works.
    Ours(Error),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(error) => match error.try_downcast::<PgDatabaseError>() {
                Ok(error) => refused(&error),
                Err(_) => Self::Broken(Error::internal("the driver gave an error that is not PostgreSQL's")),
            },
            // What the driver says can hold parts of the address, so only kinds are told.
            sqlx::Error::Io(error) => {
                Self::Broken(Error::unavailable(format!("the connection failed: {}", error.kind())))
            }
            sqlx::Error::Tls(_) => Self::Broken(Error::denied("no TLS connection could be made")),
            sqlx::Error::Protocol(_) => {
                Self::Broken(Error::unavailable("the other side does not speak PostgreSQL's protocol as expected"))
            }
            sqlx::Error::Configuration(_) => Self::Broken(Error::config("the connection's settings are not usable")),
            other => Self::Ours(Error::internal(format!("the PostgreSQL driver failed: {other}"))),
        }
    }
}

fn refused(error: &PgDatabaseError) -> Failure {
    let mut message = error.message().to_owned();
    if let Some(detail) = error.detail() {
        message = format!("{message}: {detail}");
    }
    let refusal = Refusal { state: error.code().to_owned(), message };
    // 57P01 to 57P05: the server is going away, and the connection with it. 25P03 and 25P04: the
    // server has ended a session whose transaction took too long.
    let ends = |prefix| refusal.state.starts_with(prefix);
    if ["57P", "08", "25P03", "25P04"].into_iter().any(ends) {
        Failure::Broken(refusal.into())
    } else {
        Failure::Refused(refusal)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::Ours(Error::internal(malformed.to_string()))
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let error = Self::new(
            kind(&refusal.state),
            format!("PostgreSQL refused: {} (SQLSTATE {})", refusal.message, refusal.state),
        );
        match refusal.state.as_str() {
            "42501" => error.hint("grant the login what is missing, or use another one"),
            "3D000" => error.hint("check the database's name at the end of `url`, or create it"),
            "28P01" | "28000" => error.hint("check user, password and database in `url`, and the server's pg_hba.conf"),
            "25P03" | "25P04" => error.hint(
                "the transaction took longer than idle_in_transaction_session_timeout or transaction_timeout allow; \
                 raise them for this login",
            ),
            "25006" => error.hint("a sink needs the address of the primary, where this server is a read-only standby; the query of a source can change nothing"),
            "42P10" => error.hint("`upsert` needs a unique index or primary key on exactly the columns of `key`"),
            _ => error,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Broken(error) | Failure::Ours(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sqlstate_alone_decides_the_kind() {
        for (state, expected) in [
            ("08006", ErrorKind::Unavailable),
            ("57P01", ErrorKind::Unavailable),
            ("40001", ErrorKind::Unavailable),
            ("53300", ErrorKind::Unavailable),
            ("25006", ErrorKind::Unavailable),
            ("28P01", ErrorKind::Denied),
            ("42501", ErrorKind::Denied),
            ("42P01", ErrorKind::Config),
            ("3D000", ErrorKind::Config),
            ("22001", ErrorKind::Rejected),
            ("42622", ErrorKind::Rejected),
            ("23505", ErrorKind::Rejected),
            ("P0001", ErrorKind::Rejected),
            ("P0004", ErrorKind::Rejected),
            ("P0000", ErrorKind::Internal),
            ("54000", ErrorKind::Rejected),
            ("54001", ErrorKind::Rejected),
            ("54011", ErrorKind::Internal),
            ("BZ007", ErrorKind::Rejected),
            ("25P03", ErrorKind::Unavailable),
            ("25P04", ErrorKind::Unavailable),
            ("25P02", ErrorKind::Internal),
            ("XX000", ErrorKind::Internal),
            ("", ErrorKind::Internal),
        ] {
            assert_eq!(kind(state), expected, "{state}");
        }
    }
}
