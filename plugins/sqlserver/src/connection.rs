//! One connection to one server: address, session, timeouts, cancellation.

use std::path::PathBuf;
use std::time::Duration;

use engine_sdk::database::Endpoint;
use engine_sdk::prelude::*;
use engine_sdk::types::{self, Tls};
use tiberius::{AuthMethod, Client, ColumnData, Config, EncryptionLevel, IntoSql, Query, Row};
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncWriteCompatExt};

use crate::error::Failure;
use crate::name::Call;
use crate::transport::{Protection, Transport, prepare};

/// A connection.
pub type Link = Client<Compat<Transport>>;

const PORT: u16 = 1433;
/// In bytes. Larger than the default of 4,096, which costs a packet for every few rows.
const PACKET: u32 = 8_000;
/// A server sends on to another address once; more would go round in circles.
const MOVES: usize = 1;

/// What a session understands does not depend on the server's settings, nor on those of the login. The language
/// comes first, since it sets the order of a date's parts. `XACT_ABORT OFF`: a refused statement leaves the
/// transaction. The lock's limit is in milliseconds.
const SESSION: &str = "SET LANGUAGE us_english; SET DATEFORMAT ymd; SET TEXTSIZE 2147483647; SET LOCK_TIMEOUT 60000; \
    SET ANSI_NULLS, ANSI_PADDING, ANSI_WARNINGS, ARITHABORT, CONCAT_NULL_YIELDS_NULL, QUOTED_IDENTIFIER ON; \
    SET NUMERIC_ROUNDABORT OFF; SET XACT_ABORT OFF; SET IMPLICIT_TRANSACTIONS OFF; SET NOCOUNT ON";

/// Where a server is and how to get there.
#[derive(Clone)]
pub struct Address {
    host: String,
    port: u16,
    user: String,
    password: types::Secret,
    database: String,
    protection: Protection,
    ca: Option<PathBuf>,
    timeout: Duration,
    answer_timeout: Option<Duration>,
}

impl Address {
    /// Reads the settings that source and sink share. Opens nothing.
    pub fn new(
        url: &types::Secret,
        tls: Option<Tls>,
        ca: Option<PathBuf>,
        connect_timeout: types::Duration,
    ) -> Result<Self> {
        const FORM: &str = "write mssql://USER:PASSWORD@HOST:1433/DATABASE; special characters as %XX";
        // An error never repeats the address, which holds the password.
        let wrong = || Error::config("`url` is not the address of a SQL Server").hint(FORM);
        let rest = url.reveal().strip_prefix("mssql://").ok_or_else(wrong)?;
        if rest.contains(['?', '#']) {
            return Err(Error::config("`url` has parameters, and none are known")
                .hint("TLS is set with `tls` and `ca`; a `?` or `#` of a name or password is written %3F or %23"));
        }
        let (login, place) = rest.rsplit_once('@').ok_or_else(|| Error::config("`url` names no login").hint(FORM))?;
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let (server, database) = place.split_once('/').unwrap_or((place, ""));
        let decode = |text: &str| decoded(text).ok_or_else(wrong);
        let database = decode(database)?;
        if database.is_empty() || database.contains('/') {
            return Err(Error::config("`url` names no database").hint(FORM));
        }
        // An IPv6 address has colons of its own, and stands in brackets.
        let (host, port) = match server.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, None),
            Some((host, port)) => (host, Some(port.strip_prefix(':').ok_or_else(wrong)?)),
            None => server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port))),
        };
        let port = port.map_or(Ok(PORT), |port| port.parse().map_err(|_| wrong()))?;
        let (host, user) = (decode(host)?, decode(user)?);
        if host.is_empty() || user.is_empty() {
            return Err(wrong());
        }
        let protection = match tls {
            Some(Tls::Verify) => Protection::Verified,
            Some(Tls::Disable) => Protection::Plain,
            None if types::is_this_machine(&host) => Protection::Offered,
            None => Protection::Verified,
        };
        let password = types::Secret::new(decode(password)?);
        Ok(Self {
            host,
            port,
            user,
            password,
            database,
            protection,
            ca,
            timeout: connect_timeout.0,
            answer_timeout: None,
        })
    }

    /// Limits how long the server may take for an answer.
    pub fn answering_within(self, timeout: Option<types::Duration>) -> Self {
        Self { answer_timeout: timeout.map(|timeout| timeout.0), ..self }
    }

    /// Server and database, without the login: for messages.
    pub fn shown(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}/{}", self.port, self.database)
    }

    async fn connect(&self) -> Result<Link, Failure> {
        let shown = self.shown();
        let connected = tokio::time::timeout(self.timeout, self.connection()).await.map_err(|_| {
            Error::unavailable(format!("SQL Server at {shown} did not answer within {:?}", self.timeout))
                .hint("check host and port in `url`, firewalls, and `connect_timeout`")
        })?;
        connected.map_err(|failure| Failure::Broken(Error::from(failure).context(format!("SQL Server at {shown}"))))
    }

    async fn connection(&self) -> Result<Link, Failure> {
        let (mut host, mut port) = (self.host.clone(), self.port);
        let mut moves = 0;
        loop {
            match self.connection_to(&host, port).await {
                // Azure's gateway does, to the machine that has the database.
                Err(Failure::Moved(other, there)) if moves < MOVES => {
                    (host, port) = (other, there);
                    moves += 1;
                }
                connected => return connected,
            }
        }
    }

    async fn connection_to(&self, host: &str, port: u16) -> Result<Link, Failure> {
        // The error of a connection would not tell it from a server that is down.
        let addresses: Vec<_> = tokio::net::lookup_host((host, port)).await.map(Iterator::collect).map_err(|_| {
            Error::unavailable(format!("the host `{host}` is not known"))
                .hint("check the host in `url`, and whether this machine can look names up")
        })?;
        let stream = TcpStream::connect(&*addresses).await.map_err(|error| {
            Error::unavailable(format!("the connection failed: {}", error.kind()))
                .hint("check that the server runs, listens on TCP, and that host and port in `url` are right")
        })?;
        // Requests are whole when they are sent: waiting for more to send along only costs time.
        let _ = stream.set_nodelay(true);
        let stream = prepare(stream, host, self.protection, self.ca.as_deref()).await?;
        let mut config = Config::new();
        config.host(host);
        config.port(port);
        config.database(&self.database);
        config.authentication(AuthMethod::sql_server(&self.user, self.password.reveal()));
        config.application_name("engine");
        // That is done: see `transport`.
        config.encryption(EncryptionLevel::NotSupported);
        config.packet_size(PACKET);
        // The engine's deadlines are the ones that count.
        config.handshake_timeout(None);
        config.command_timeout(None);
        let mut link = Client::connect(config, stream.compat_write()).await?;
        execute(&mut link, SESSION).await?;
        Ok(link)
    }
}

/// `%XX` as the byte that it stands for.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push((digit(rest.next())? * 16 + digit(rest.next())?) as u8);
    }
    String::from_utf8(bytes).ok()
}

/// A server, reached when it is first needed.
pub type Server = engine_sdk::database::Server<Address>;

impl Endpoint for Address {
    type Link = Link;
    type Failure = Failure;
    const PRODUCT: &'static str = "SQL Server";

    fn shown(&self) -> String {
        self.shown()
    }

    fn answer_timeout(&self) -> Option<std::time::Duration> {
        self.answer_timeout
    }

    async fn connect(&self) -> Result<Link, Failure> {
        self.connect().await
    }

    async fn roll_back(link: &mut Link) -> Result<(), Failure> {
        execute(link, "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION").await
    }

    fn breaks(failure: &Failure) -> bool {
        matches!(failure, Failure::Broken(_))
    }
}

/// A value as the driver takes it.
struct Value(ColumnData<'static>);

impl IntoSql<'static> for Value {
    fn into_sql(self) -> ColumnData<'static> {
        self.0
    }
}

/// A statement for the driver.
pub fn query(call: Call) -> Query<'static> {
    let mut query = Query::new(call.sql);
    query.bind_iter(call.arguments.into_values().into_iter().map(Value));
    query
}

/// Runs statements that take no values, as a batch: what they set stays set.
pub async fn execute(connection: &mut Link, sql: &str) -> Result<(), Failure> {
    connection.simple_query(sql).await?.into_results().await?;
    Ok(())
}

/// Runs a statement with its values.
pub async fn call(connection: &mut Link, call: Call) -> Result<(), Failure> {
    query(call).query(connection).await?.into_results().await?;
    Ok(())
}

/// The rows of a short query.
pub async fn rows(connection: &mut Link, call: impl Into<Call>) -> Result<Vec<Row>, Failure> {
    Ok(query(call.into()).query(connection).await?.into_first_result().await?)
}

/// A text of a short query. None: null, or another type.
pub fn text(row: &Row, place: usize) -> Option<String> {
    match row.get_column_data(place).ok()? {
        ColumnData::String(text) => text.as_ref().map(|text| text.clone().into_owned()),
        _ => None,
    }
}

/// A whole number of a short query. None: null, or another type.
pub fn number(row: &Row, place: usize) -> Option<i64> {
    match row.get_column_data(place).ok()? {
        ColumnData::Bit(value) => value.map(i64::from),
        ColumnData::U8(value) => value.map(i64::from),
        ColumnData::I16(value) => value.map(i64::from),
        ColumnData::I32(value) => value.map(i64::from),
        ColumnData::I64(value) => *value,
        _ => None,
    }
}

/// The text of the first row.
pub async fn value(connection: &mut Link, call: impl Into<Call>) -> Result<Option<String>, Failure> {
    Ok(rows(connection, call).await?.first().and_then(|row| text(row, 0)))
}

/// The whole number of the first row.
pub async fn count(connection: &mut Link, call: impl Into<Call>) -> Result<Option<i64>, Failure> {
    Ok(rows(connection, call).await?.first().and_then(|row| number(row, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, tls: Option<Tls>) -> Result<Address> {
        Address::new(&types::Secret::new(url), tls, None, types::Duration::seconds(1))
    }

    fn protection(url: &str, tls: Option<Tls>) -> Protection {
        address(url, tls).unwrap().protection
    }

    #[test]
    fn other_machines_are_verified_and_this_one_need_not_be() {
        assert_eq!(protection("mssql://u@db.example.com/d", None), Protection::Verified);
        assert_eq!(protection("mssql://u@db.example.com/d", Some(Tls::Disable)), Protection::Plain);
        for local in ["localhost", "127.0.0.1", "127.8.8.8:1434", "[::1]"] {
            assert_eq!(protection(&format!("mssql://u@{local}/d"), None), Protection::Offered, "{local}");
        }
        assert_eq!(protection("mssql://u@localhost/d", Some(Tls::Verify)), Protection::Verified);
    }

    #[test]
    fn an_address_is_taken_apart_and_its_parts_are_decoded() {
        let all = address("mssql://re%40der:p%2Fw%25:x@[::1]:1500/my%20db", None).unwrap();
        assert_eq!((&*all.user, all.password.reveal(), &*all.host, all.port), ("re@der", "p/w%:x", "::1", 1500));
        assert_eq!(all.shown(), "[::1]:1500/my db");
        let few = address("mssql://u@db/d", None).unwrap();
        assert_eq!((few.password.reveal(), few.shown()), ("", "db:1433/d".into()));
    }

    #[test]
    fn an_address_that_is_none_is_not_repeated() {
        for url in [
            "mssql://u:hunter2@db.example.com/d?encrypt=false",
            "mssql://u:hunter2@host:port/x",
            "postgres://u:hunter2@host/x",
            "mssql://u:hunter2@host",
            "mssql://u:hunter2@host/",
            "mssql://u:hunter2@/x",
            "mssql://:hunter2@host/x",
            "mssql://u:hunter2%zz@host/x",
            "mssql://hunter2",
        ] {
            let error = address(url, None).err().expect(url);
            assert_eq!(error.kind, ErrorKind::Config);
            assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        }
    }
}
