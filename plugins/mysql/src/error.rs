//! What the server's errors mean for the engine. Their numbers decide, then their SQLSTATE; no message is read.

use engine_sdk::{Error, ErrorKind};
use mysql_async::{DriverError, IoError, ServerError};

/// Two rows with one key.
pub const DUPLICATE: u16 = 1062;

/// The kind that an error number stands for.
pub fn kind(number: u16, state: &str) -> ErrorKind {
    match number {
        // Logins, hosts, rights, locked accounts, a server that wants TLS.
        1044 | 1045 | 1130 | 1131 | 1132 | 1133 | 1142 | 1143 | 1227 | 1251 | 1370 | 1449 | 1698 | 1820 | 1862
        | 3118 | 3159 | 4151 | 4165 => ErrorKind::Denied,
        // Too many connections, shutdown, locks, deadlocks, time limits, disks, a server that only reads.
        1015
        | 1020
        | 1021
        | 1030
        | 1037
        | 1038
        | 1040
        | 1041
        | 1053
        | 1080
        | 1114
        | 1129
        | 1135
        | 1152
        | 1154..=1161
        | 1180
        | 1184
        | 1203
        | 1205
        | 1206
        | 1213
        | 1226
        | 1290
        | 1317
        | 1412
        | 1614
        | 1637
        | 1836
        | 1927
        | 1969
        | 2006
        | 2013
        | 3024
        | 3572
        | 4031 => ErrorKind::Unavailable,
        // A column without a default, a duplicate column of a query: the statement's fault, whatever the row.
        1110 | 1364 => ErrorKind::Config,
        // Values and rows.
        1022 | 1048 | 1062 | 1118 | 1138 | 1153 | 1169 | 1216 | 1217 | 1263 | 1264 | 1265 | 1292 | 1299 | 1300
        | 1301 | 1365 | 1366 | 1367 | 1369 | 1406 | 1411 | 1416 | 1441 | 1451 | 1452 | 1525 | 1526 | 1557 | 1586
        | 1644 | 1690 | 1748 | 1761 | 1762 | 1859 | 1977 | 3140 | 3819 | 4025 | 4038 | 4078 | 4079 => {
            ErrorKind::Rejected
        }
        _ => match state.get(..2).unwrap_or_default() {
            "08" | "40" | "53" | "57" => ErrorKind::Unavailable,
            "28" => ErrorKind::Denied,
            // 45: a trigger's own SIGNAL.
            "22" | "23" | "44" | "45" => ErrorKind::Rejected,
            "0A" | "21" | "25" | "3D" | "42" => ErrorKind::Config,
            _ => ErrorKind::Internal,
        },
    }
}

/// A server's refusal, as far as it matters here.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// See <https://mariadb.com/kb/en/mariadb-error-codes/>.
    pub number: u16,
    /// Five characters.
    pub state: String,
    pub message: String,
}

impl Refusal {
    pub fn kind(&self) -> ErrorKind {
        kind(self.number, &self.state)
    }

    /// Whether it is about the rows, so that others may get in.
    pub fn is_of_rows(&self) -> bool {
        self.kind() == ErrorKind::Rejected
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

impl From<mysql_async::Error> for Failure {
    fn from(error: mysql_async::Error) -> Self {
        match error {
            mysql_async::Error::Server(error) => refused(error),
            // What the driver says can hold parts of the address, so only kinds are told.
            mysql_async::Error::Io(IoError::Io(error)) => {
                Self::Broken(Error::unavailable(format!("the connection failed: {}", error.kind())))
            }
            mysql_async::Error::Io(IoError::Tls(_)) => {
                Self::Broken(Error::denied("no verified TLS connection could be made").hint(
                    "set `ca` to the PEM file of the authority that signed the server's certificate, and use the host \
                     name that it is for",
                ))
            }
            mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer) => Self::Broken(
                Error::denied("the server offers no TLS")
                    .hint("have it set up there; for a server without TLS write `tls: disable`"),
            ),
            mysql_async::Error::Driver(DriverError::ConnectionClosed) => {
                Self::Broken(Error::unavailable("the server has closed the connection"))
            }
            mysql_async::Error::Driver(DriverError::PacketOutOfOrder | DriverError::UnexpectedPacket { .. }) => {
                Self::Broken(Error::unavailable("the other side does not speak MySQL's protocol as expected"))
            }
            mysql_async::Error::Driver(
                DriverError::UnknownAuthPlugin { .. }
                | DriverError::MysqlOldPasswordDisabled
                | DriverError::CleartextPluginDisabled,
            ) => Self::Broken(
                Error::denied("the login's way to prove its password is not supported")
                    .hint("give it another one, such as mysql_native_password or caching_sha2_password"),
            ),
            mysql_async::Error::Url(_) => Self::Broken(Error::config("the connection's settings are not usable")),
            mysql_async::Error::Driver(error) => {
                Self::Broken(Error::internal(format!("the MySQL driver failed: {error}")))
            }
            mysql_async::Error::Other(_) => Self::Broken(Error::internal("the MySQL driver failed")),
        }
    }
}

fn refused(error: ServerError) -> Failure {
    let refusal = Refusal { number: error.code, state: error.state, message: error.message };
    // The server goes away, has ended this session or takes what follows for garbage.
    match refusal.number {
        1053 | 1080 | 1152..=1161 | 1184 | 1927 | 2006 | 2013 | 4031 => Failure::Broken(refusal.into()),
        _ => Failure::Refused(refusal),
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { number, state, message } = &refusal;
        let error = Self::new(refusal.kind(), format!("the server refused: {message} (error {number}, {state})"));
        match number {
            1045 | 1698 => error.hint("check user and password in `url`, and from which hosts the login may come"),
            1130 => error.hint("the server takes no login from this machine: CREATE USER … @'HOST' there"),
            1044 | 1142 | 1143 | 1227 | 1370 => error.hint("grant the login what is missing, or use another one"),
            1049 => error.hint("check the database in `url`, the part after the last slash"),
            3159 => error.hint("the server wants TLS: write `tls: verify`"),
            1040 | 1203 | 1226 => error.hint("the server takes no more connections now: raise its limit or come later"),
            1205 | 1213 => error.hint("somebody else holds the rows; the transaction is rolled back and tried again"),
            1290 | 1836 => error.hint("this server only reads; use the address of the primary"),
            1792 => error.hint("a source only reads: give it a SELECT"),
            1060 => error.hint("give each column of the query a name of its own with AS"),
            1665 => error.hint("set binlog_format to MIXED or ROW at the server"),
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
    fn the_number_decides_the_kind_and_the_sqlstate_what_has_none_of_its_own() {
        for (number, state, expected) in [
            (1045, "28000", ErrorKind::Denied),
            (1044, "42000", ErrorKind::Denied),
            (1142, "42000", ErrorKind::Denied),
            (1049, "42000", ErrorKind::Config),
            (1146, "42S02", ErrorKind::Config),
            (1054, "42S22", ErrorKind::Config),
            (1064, "42000", ErrorKind::Config),
            (1364, "HY000", ErrorKind::Config),
            (1792, "25006", ErrorKind::Config),
            (1040, "08004", ErrorKind::Unavailable),
            (1053, "08S01", ErrorKind::Unavailable),
            (1205, "HY000", ErrorKind::Unavailable),
            (1213, "40001", ErrorKind::Unavailable),
            (1290, "HY000", ErrorKind::Unavailable),
            (1062, "23000", ErrorKind::Rejected),
            (1406, "22001", ErrorKind::Rejected),
            (1452, "23000", ErrorKind::Rejected),
            (4025, "23000", ErrorKind::Rejected),
            (1644, "45000", ErrorKind::Rejected),
            (31001, "45000", ErrorKind::Rejected),
            (1105, "HY000", ErrorKind::Internal),
        ] {
            assert_eq!(kind(number, state), expected, "{number}");
        }
    }
}
