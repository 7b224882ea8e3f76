//! What the server's errors mean for the engine. Their numbers decide, then their class; no message is read.

use engine_sdk::{Error, ErrorKind};
use tiberius::error::IoErrorKind;

/// Two rows with one key: of a constraint, of an index.
pub const DUPLICATE: [u32; 2] = [2627, 2601];
/// From this class on the server ends the connection.
const FATAL: u8 = 20;

/// The kind that an error number stands for.
pub fn kind(number: u32, class: u8) -> ErrorKind {
    match number {
        // Logins, disabled or locked ones, passwords that have run out, rights, firewalls.
        229
        | 230
        | 262
        | 297
        | 300
        | 378
        | 916
        | 1088
        | 2760
        | 3110
        | 3701
        | 3704
        | 4604
        | 4613
        | 5011
        | 8189
        | 15151
        | 15247
        | 15562
        | 18452
        | 18456
        | 18470
        | 18486..=18488
        | 18463..=18468
        | 40532
        | 40615
        | 40914
        | 47073 => ErrorKind::Denied,
        // Deadlocks, locks, snapshots, memory, disks, databases that are not ready, a server that is busy or ends.
        64
        | 233
        | 596
        | 601
        | 615
        | 617
        | 701
        | 802
        | 921..=929
        | 942
        | 945
        | 952
        | 976
        | 978
        | 979
        | 983
        | 1101
        | 1105
        | 1203..=1205
        | 1222
        | 1807
        | 3906
        | 3908
        | 3935
        | 3960
        | 3961
        | 3966
        | 4221
        | 6005
        | 8628
        | 8645
        | 8651
        | 9001
        | 9002
        | 10053
        | 10054
        | 10060
        | 10928
        | 10929
        | 10936
        | 14355
        | 17197
        | 17830
        | 17889
        | 18401
        | 18451
        | 18461
        | 40143
        | 40197
        | 40501
        | 40540
        | 40544
        | 40549..=40553
        | 40613
        | 41301
        | 41302
        | 41305
        | 41325
        | 41839
        | 42108
        | 42109
        | 49918..=49920 => ErrorKind::Unavailable,
        // Values and rows.
        220
        | 232
        | 241
        | 242
        | 244
        | 245
        | 248
        | 291
        | 295
        | 296
        | 511
        | 515
        | 517
        | 529
        | 535
        | 547
        | 550
        | 1505
        | 1946
        | 2601
        | 2627
        | 2628
        | 3609
        | 6522
        | 6901..=6969
        | 8114
        | 8115
        | 8134
        | 8152
        | 8169
        | 9400..=9499
        | 9803
        | 9807
        | 13608
        | 13609 => ErrorKind::Rejected,
        // RAISERROR and THROW of a trigger.
        50_000.. => ErrorKind::Rejected,
        _ => match class {
            14 => ErrorKind::Denied,
            13 | 17..=19 | FATAL.. => ErrorKind::Unavailable,
            // What the user can correct.
            11 | 12 | 15 | 16 => ErrorKind::Config,
            _ => ErrorKind::Internal,
        },
    }
}

/// A server's refusal, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// See <https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors>.
    pub number: u32,
    /// How grave it is, from 11 to 25.
    pub class: u8,
    pub message: String,
}

impl Refusal {
    pub fn kind(&self) -> ErrorKind {
        kind(self.number, self.class)
    }

    /// Whether it is about the rows, so that others may get in.
    pub fn is_of_rows(&self) -> bool {
        self.kind() == ErrorKind::Rejected
    }

    pub fn is_duplicate(&self) -> bool {
        DUPLICATE.contains(&self.number)
    }
}

/// What can go wrong on a connection.
#[derive(Debug)]
pub enum Failure {
    /// The server said no. The connection still works.
    Refused(Refusal),
    /// The server is elsewhere: host and port.
    Moved(String, u16),
    /// Anything else; after it the connection is of no use.
    Broken(Error),
    /// An error of our own; the connection still works.
    Ours(Error),
}

impl From<tiberius::error::Error> for Failure {
    fn from(error: tiberius::error::Error) -> Self {
        use tiberius::error::Error as Driver;
        match error {
            Driver::Server(error) => {
                let refusal =
                    Refusal { number: error.code(), class: error.class(), message: error.message().to_owned() };
                if refusal.class >= FATAL { Self::Broken(refusal.into()) } else { Self::Refused(refusal) }
            }
            Driver::Routing { host, port } => Self::Moved(host, port),
            // What the driver says can hold parts of a packet, so only kinds are told.
            Driver::Io { kind: IoErrorKind::UnexpectedEof, .. } => {
                Self::Broken(Error::unavailable("the server has closed the connection"))
            }
            Driver::Io { kind, .. } => Self::Broken(Error::unavailable(format!("the connection failed: {kind}"))),
            Driver::Protocol(_) => {
                Self::Broken(Error::unavailable("the other side does not speak SQL Server's protocol as expected"))
            }
            Driver::Encoding(_) | Driver::Utf8 => Self::Broken(
                Error::config("a text of the answer is in a code page that cannot be read")
                    .hint("make it Unicode in a query: CAST(… AS nvarchar(max))"),
            ),
            Driver::Utf16 => Self::Broken(
                Error::config("a text of the answer holds half of a character, which no stream can")
                    .hint("correct it there, or read its bytes with a query: CAST(… AS varbinary(max))"),
            ),
            other => Self::Broken(Error::internal(format!("the SQL Server driver failed: {other}"))),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        let Refusal { number, message, .. } = &refusal;
        let error = Self::new(refusal.kind(), format!("the server refused: {message} (error {number})"));
        match number {
            18456 | 18452 => error.hint("check user and password in `url`, and that the server takes SQL logins"),
            18470 | 18486 => error.hint("the login is disabled or locked: ALTER LOGIN … ENABLE, or WITH … UNLOCK"),
            18487 | 18488 => error.hint("the login's password has run out: ALTER LOGIN … WITH PASSWORD there"),
            40615 | 40914 | 47073 => error.hint("let this machine through the server's firewall"),
            229 | 230 | 262 | 297 | 300 | 1088 | 2760 | 15247 => {
                error.hint("grant the login what is missing, or use another one")
            }
            916 => error.hint("make the login a user of the database: CREATE USER … FOR LOGIN …"),
            911 | 4060 => {
                error.hint("check the database in `url`, the part after the last slash, and that the login may use it")
            }
            1205 | 1222 => error.hint("somebody else holds the rows; the transaction is rolled back and tried again"),
            3960 | 3961 | 3966 => error.hint("the rows were changed meanwhile; they are read again"),
            3906 => error.hint("this database only reads; use the address of the primary"),
            10928 | 10929 | 40501 => error.hint("the server takes no more work now: raise its limit or come later"),
            1105 | 9002 => error.hint("there is no room left for the database or its log: make some there"),
            1033 => error.hint("leave the ORDER BY out: with `cursor` or `key` the rows come in their order"),
            8155 | 8156 => error.hint("give each column of the query a name of its own with AS"),
            544 | 8101 | 8102 => {
                error.hint("leave the identity column out of the stream, or let the login ALTER the table")
            }
            11501..=11538 => {
                error.hint("a query must tell its columns without being run: no temporary tables, no EXEC of a text")
            }
            _ => error,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Moved(host, port) => {
                Error::unavailable(format!("the server sends on to {host}:{port}")).hint("put that address into `url`")
            }
            Failure::Broken(error) | Failure::Ours(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_decides_the_kind_and_the_class_what_has_none_of_its_own() {
        for (number, class, expected) in [
            (18456, 14, ErrorKind::Denied),
            (229, 14, ErrorKind::Denied),
            (262, 14, ErrorKind::Denied),
            (15999, 14, ErrorKind::Denied),
            (4060, 11, ErrorKind::Config),
            (208, 16, ErrorKind::Config),
            (207, 16, ErrorKind::Config),
            (102, 15, ErrorKind::Config),
            (1033, 15, ErrorKind::Config),
            (1205, 13, ErrorKind::Unavailable),
            (1222, 16, ErrorKind::Unavailable),
            (3906, 16, ErrorKind::Unavailable),
            (9002, 17, ErrorKind::Unavailable),
            (40613, 16, ErrorKind::Unavailable),
            (21, 20, ErrorKind::Unavailable),
            (2627, 14, ErrorKind::Rejected),
            (2601, 14, ErrorKind::Rejected),
            (547, 16, ErrorKind::Rejected),
            (515, 16, ErrorKind::Rejected),
            (2628, 16, ErrorKind::Rejected),
            (8115, 16, ErrorKind::Rejected),
            (50_000, 16, ErrorKind::Rejected),
            (51_234, 16, ErrorKind::Rejected),
            (99, 10, ErrorKind::Internal),
        ] {
            assert_eq!(kind(number, class), expected, "{number}");
        }
    }
}
