//! One connection to one server: address, TLS, session, timeouts, cancellation.

use std::ops::{Deref, DerefMut};
use std::path::PathBuf;

use engine_sdk::database::Endpoint;
use engine_sdk::prelude::*;
use engine_sdk::types::{self, Tls};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, DriverError, IoError, Opts, OptsBuilder, Row, SslOpts};

use crate::error::Failure;

/// What a session understands does not depend on the server's settings. `NO_AUTO_VALUE_ON_ZERO`: a 0 is a 0.
/// The timeouts: a stage behind the source may be slow.
const SESSION: &str = "SET NAMES utf8mb4, time_zone = '+00:00', autocommit = 1, \
    sql_mode = 'STRICT_ALL_TABLES,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,\
NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO', \
    foreign_key_checks = 1, unique_checks = 1, net_write_timeout = 3600, wait_timeout = 28800";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Protection {
    Verified,
    /// TLS of whatever certificate, or none: this machine itself.
    Offered,
    Plain,
}

/// Where a server is and how to get there.
#[derive(Debug, Clone)]
pub struct Address {
    options: Opts,
    protection: Protection,
    ca: Option<PathBuf>,
    timeout: std::time::Duration,
    answer_timeout: Option<std::time::Duration>,
}

impl Address {
    /// Reads the settings that source and sink share. Opens nothing.
    pub fn new(
        url: &types::Secret,
        tls: Option<Tls>,
        ca: Option<PathBuf>,
        connect_timeout: types::Duration,
    ) -> Result<Self> {
        // The driver's own error can repeat the address, password and all.
        let wrong = || {
            Error::config("`url` is not the address of a MySQL server")
                .hint("write mysql://USER:PASSWORD@HOST:3306/DATABASE; special characters as %XX")
        };
        let parameters = url.reveal().split_once('?').map_or("", |(_, parameters)| parameters);
        if parameters.split('&').any(|parameter| !parameter.is_empty() && !parameter.starts_with("socket=")) {
            return Err(Error::config("`url` has parameters that are not known")
                .hint("only `?socket=/PATH` is; TLS is set with `tls` and `ca`"));
        }
        let options = Opts::from_url(url.reveal()).map_err(|_| wrong())?;
        if options.db_name().is_none_or(str::is_empty) {
            return Err(Error::config("`url` names no database").hint("write mysql://USER:PASSWORD@HOST:3306/DATABASE"));
        }
        let protection = match tls {
            Some(Tls::Verify) => Protection::Verified,
            Some(Tls::Disable) => Protection::Plain,
            None if is_local(&options) => Protection::Offered,
            None => Protection::Verified,
        };
        Ok(Self { options, protection, ca, timeout: connect_timeout.0, answer_timeout: None })
    }

    /// Limits how long the server may take for an answer.
    pub fn answering_within(self, timeout: Option<types::Duration>) -> Self {
        Self { answer_timeout: timeout.map(|timeout| timeout.0), ..self }
    }

    /// Server and database, without the login: for messages.
    pub fn shown(&self) -> String {
        let database = self.options.db_name().unwrap_or_default();
        match self.options.socket() {
            Some(socket) => format!("{socket}/{database}"),
            None => format!("{}:{}/{database}", self.options.ip_or_hostname(), self.options.tcp_port()),
        }
    }

    async fn connect(&self) -> Result<Link, Failure> {
        let shown = self.shown();
        let connected = tokio::time::timeout(self.timeout, self.connection()).await.map_err(|_| {
            Error::unavailable(format!("MySQL at {shown} did not answer within {:?}", self.timeout))
                .hint("check host and port in `url`, firewalls, and `connect_timeout`")
        })?;
        connected.map_err(|failure| Failure::Broken(Error::from(failure).context(format!("MySQL at {shown}"))))
    }

    async fn connection(&self) -> Result<Link, Failure> {
        if self.options.socket().is_none() {
            let host = self.options.ip_or_hostname().trim_matches(['[', ']']);
            // The driver's error would not tell it from a server that is down.
            if tokio::net::lookup_host((host, self.options.tcp_port())).await.is_err() {
                return Err(Error::unavailable(format!("the host `{host}` is not known"))
                    .hint("check the host in `url`, and whether this machine can look names up")
                    .into());
            }
        }
        let base = OptsBuilder::from_opts(self.options.clone())
            .prefer_socket(false)
            .tcp_keepalive(Some(std::time::Duration::from_secs(60)))
            .setup(vec![SESSION.to_owned()]);
        let secured = match self.protection {
            Protection::Plain => None,
            Protection::Verified => Some(self.verified()?),
            Protection::Offered => {
                Some(SslOpts::default().with_danger_accept_invalid_certs(true).with_danger_skip_domain_validation(true))
            }
        };
        let connected = match Conn::new(base.clone().ssl_opts(secured)).await {
            Err(mysql_async::Error::Driver(DriverError::NoClientSslFlagFromServer))
                if self.protection == Protection::Offered =>
            {
                Conn::new(base).await
            }
            connected => connected,
        };
        connected.map(Link::new).map_err(connect_failure)
    }

    fn verified(&self) -> Result<SslOpts> {
        let mut roots: Vec<_> =
            rustls_native_certs::load_native_certs().certs.into_iter().map(|root| root.to_vec().into()).collect();
        if let Some(path) = &self.ca {
            let pem = std::fs::read(path).map_err(|error| {
                Error::config(format!("the certificate authority `{}` cannot be read: {error}", path.display()))
                    .hint("`ca` is the path of a PEM file")
            })?;
            roots.push(pem.into());
        }
        Ok(SslOpts::default().with_root_certs(roots).with_disable_built_in_roots(true))
    }
}

fn is_local(options: &Opts) -> bool {
    options.socket().is_some() || types::is_this_machine(options.ip_or_hostname())
}

fn connect_failure(error: mysql_async::Error) -> Failure {
    match &error {
        // The TLS library's refusals arrive as I/O errors of this kind.
        mysql_async::Error::Io(IoError::Io(inner)) if inner.kind() == std::io::ErrorKind::InvalidData => {
            Failure::Broken(
                Error::denied("the server's certificate was not accepted").hint(
                    "set `ca` to the PEM file of the authority that signed it, and use the host name that it is for",
                ),
            )
        }
        mysql_async::Error::Io(IoError::Io(_)) => Failure::Broken(
            Error::from(Failure::from(error))
                .hint("check that the server runs and that host and port in `url` are right"),
        ),
        _ => error.into(),
    }
}

/// A connection that is closed when it is dropped. The driver's own would be left to a task of the runtime,
/// which would first read a result to its end, and would run when the runtime is driven next, if ever.
pub struct Link(Option<Conn>);

impl Link {
    fn new(connection: Conn) -> Self {
        Self(Some(connection))
    }
}

impl Deref for Link {
    type Target = Conn;

    fn deref(&self) -> &Conn {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl DerefMut for Link {
    fn deref_mut(&mut self) -> &mut Conn {
        self.0.as_mut().expect("there until it is dropped")
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let connection = self.0.take();
        // A thread that no runtime runs on has nobody to leave it to.
        let _ = std::thread::spawn(move || drop(connection)).join();
    }
}

/// A server, reached when it is first needed.
pub type Server = engine_sdk::database::Server<Address>;

impl Endpoint for Address {
    type Link = Link;
    type Failure = Failure;
    const PRODUCT: &'static str = "MySQL";

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
        execute(link, "ROLLBACK").await.map(drop)
    }

    fn breaks(failure: &Failure) -> bool {
        matches!(failure, Failure::Broken(_))
    }
}

/// Runs statements that take no values. Answers how many rows the last one changed.
pub async fn execute(connection: &mut Link, sql: impl AsRef<[u8]>) -> Result<u64, Failure> {
    let answer = connection.query_iter(sql.as_ref()).await?;
    answer.drop_result().await?;
    Ok(connection.affected_rows())
}

/// The rows of a short query.
pub async fn rows(connection: &mut Link, sql: &str) -> Result<Vec<Row>, Failure> {
    Ok(connection.query(sql).await?)
}

/// A value of a short query as text.
pub fn text(row: &Row, place: usize) -> Option<String> {
    match row.as_ref(place)? {
        mysql_async::Value::NULL => None,
        mysql_async::Value::Bytes(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        other => Some(other.as_sql(true).trim_matches('\'').to_owned()),
    }
}

/// The first value of the first row, as text.
pub async fn value(connection: &mut Link, sql: &str) -> Result<Option<String>, Failure> {
    Ok(rows(connection, sql).await?.first().and_then(|row| text(row, 0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protection(url: &str, tls: Option<Tls>) -> Result<Protection> {
        Ok(Address::new(&types::Secret::new(url), tls, None, types::Duration::seconds(1))?.protection)
    }

    #[test]
    fn other_machines_are_verified_and_this_one_need_not_be() {
        assert_eq!(protection("mysql://u@db.example.com/d", None).unwrap(), Protection::Verified);
        assert_eq!(protection("mysql://u@db.example.com/d", Some(Tls::Disable)).unwrap(), Protection::Plain);
        for local in ["localhost", "127.0.0.1", "127.8.8.8", "[::1]"] {
            assert_eq!(protection(&format!("mysql://u@{local}/d"), None).unwrap(), Protection::Offered, "{local}");
        }
        assert_eq!(protection("mysql://u@x/d?socket=/run/mysqld.sock", None).unwrap(), Protection::Offered);
        assert_eq!(protection("mysql://u@localhost/d", Some(Tls::Verify)).unwrap(), Protection::Verified);
    }

    #[test]
    fn an_address_cannot_weaken_the_protection_and_is_not_repeated() {
        for url in [
            "mysql://u:hunter2@db.example.com/d?verify_ca=false",
            "mysql://u:hunter2@db.example.com/d?require_ssl=false&socket=/x",
            "mysql://u:hunter2@host:port/x",
            "postgres://u:hunter2@host/x",
            "mysql://u:hunter2@host",
            "mysql://u:hunter2@host/",
        ] {
            let error = protection(url, None).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Config);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
