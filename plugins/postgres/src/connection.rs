//! One connection to one server: address, TLS, timeouts, cancellation.

use std::path::PathBuf;
use std::str::FromStr;

use engine_sdk::database::Endpoint;
use engine_sdk::prelude::*;
use engine_sdk::types::{self, Tls};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};

use crate::error::Failure;
use crate::nodelay;

/// Where a server is and how to get there.
#[derive(Debug, Clone)]
pub struct Address {
    options: PgConnectOptions,
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
        let options = PgConnectOptions::from_str(url.reveal()).map_err(|_| {
            Error::config("`url` is not the address of a PostgreSQL server")
                .hint("write postgres://USER:PASSWORD@HOST:5432/DATABASE; special characters as %XX")
        })?;
        let mode = ssl_mode(url.reveal(), &options, tls)?;
        let options = options.ssl_mode(mode).application_name("engine").disable_statement_logging();
        Ok(Self { options, ca, timeout: connect_timeout.0, answer_timeout: None })
    }

    /// Limits how long the server may take for an answer.
    pub fn answering_within(self, timeout: Option<types::Duration>) -> Self {
        Self { answer_timeout: timeout.map(|timeout| timeout.0), ..self }
    }

    /// Server and database, without the login: for messages.
    pub fn shown(&self) -> String {
        let database = self.options.get_database().unwrap_or(self.options.get_username());
        match self.options.get_socket() {
            Some(socket) => format!("{}/{database}", socket.display()),
            None => format!("{}:{}/{database}", self.options.get_host(), self.options.get_port()),
        }
    }

    async fn connect(&self) -> Result<PgConnection, Failure> {
        let mut options = self.options.clone();
        if let Some(path) = &self.ca {
            let pem = std::fs::read(path).map_err(|error| {
                Error::config(format!("the certificate authority `{}` cannot be read: {error}", path.display()))
                    .hint("`ca` is the path of a PEM file")
            })?;
            options = options.ssl_root_cert_from_pem(pem);
        }
        let shown = self.shown();
        let resolving = tokio::time::timeout(self.timeout, self.resolve());
        resolving
            .await
            .unwrap_or(Ok(()))
            .map_err(|error| Failure::Broken(error.context(format!("PostgreSQL at {shown}"))))?;
        let connecting = nodelay::connect(options.connect(), self.options.get_port());
        let connected = tokio::time::timeout(self.timeout, connecting).await.map_err(|_| {
            Error::unavailable(format!("PostgreSQL at {shown} did not answer within {:?}", self.timeout))
                .hint("check host and port in `url`, firewalls, and `connect_timeout`")
        })?;
        connected.map_err(|error| Failure::Broken(connect_error(error).context(format!("PostgreSQL at {shown}"))))
    }
}

impl Address {
    /// Asks for the host's address, only to say what is wrong when there is none: the driver's own error does
    /// not tell it from others.
    async fn resolve(&self) -> Result<()> {
        let host = self.options.get_host().trim_matches(['[', ']']);
        if self.options.get_socket().is_some() || host.starts_with('/') {
            return Ok(());
        }
        match tokio::net::lookup_host((host, self.options.get_port())).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::unavailable(format!("nothing is known of a host named `{host}`"))
                .hint("check the host in `url`, and this machine's name servers")),
        }
    }
}

/// A verified connection unless the server is this machine, or the user says
/// otherwise in a setting of its own. `sslmode` in the address can only ask
/// for more than the default.
fn ssl_mode(url: &str, options: &PgConnectOptions, tls: Option<Tls>) -> Result<PgSslMode> {
    let asked = url.contains("sslmode=") || url.contains("ssl-mode=");
    let asked = asked.then(|| options.get_ssl_mode());
    match (tls, asked) {
        (Some(Tls::Verify), _) => Ok(PgSslMode::VerifyFull),
        (Some(Tls::Disable), _) => Ok(PgSslMode::Disable),
        (None, Some(PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull)) => Ok(PgSslMode::VerifyFull),
        (None, _) if is_local(options) => Ok(PgSslMode::Prefer),
        (None, None) => Ok(PgSslMode::VerifyFull),
        (None, Some(_)) => Err(Error::config("`sslmode` in `url` asks for a connection that is not verified")
            .hint("leave it out; for a server without TLS write `tls: disable`")),
    }
}

fn is_local(options: &PgConnectOptions) -> bool {
    let host = options.get_host();
    options.get_socket().is_some() || host.starts_with('/') || types::is_this_machine(host)
}

fn connect_error(error: sqlx::Error) -> Error {
    match &error {
        // The TLS library's refusals arrive as I/O errors of this kind.
        sqlx::Error::Io(inner) if inner.kind() == std::io::ErrorKind::InvalidData => {
            Error::denied("the server's certificate was not accepted")
                .hint("set `ca` to the PEM file of the authority that signed it, and use the host name that it is for")
        }
        sqlx::Error::Tls(_) => Error::denied("no verified TLS connection could be made")
            .hint("set `ca` to the authority's PEM file; for a server without TLS write `tls: disable`"),
        sqlx::Error::Io(inner) if inner.kind() == std::io::ErrorKind::ConnectionRefused => {
            Error::unavailable("nothing listens on that port").hint("check that the server runs, and the port in `url`")
        }
        sqlx::Error::Io(_) => Error::from(Failure::from(error))
            .hint("check that the server runs and that host and port in `url` are right"),
        _ => Failure::from(error).into(),
    }
}

/// A server, reached when it is first needed.
pub type Server = engine_sdk::database::Server<Address>;

impl Endpoint for Address {
    type Link = PgConnection;
    type Failure = Failure;
    const PRODUCT: &'static str = "PostgreSQL";

    fn shown(&self) -> String {
        self.shown()
    }

    fn answer_timeout(&self) -> Option<std::time::Duration> {
        self.answer_timeout
    }

    async fn connect(&self) -> Result<PgConnection, Failure> {
        self.connect().await
    }

    async fn roll_back(link: &mut PgConnection) -> Result<(), Failure> {
        execute(link, "ROLLBACK").await.map(drop)
    }

    fn breaks(failure: &Failure) -> bool {
        matches!(failure, Failure::Broken(_))
    }
}

/// Runs statements that take no values.
pub async fn execute(connection: &mut PgConnection, sql: &str) -> Result<u64, Failure> {
    Ok(sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await?.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(url: &str, tls: Option<Tls>) -> Result<String> {
        let address = Address::new(&types::Secret::new(url), tls, None, types::Duration::seconds(1))?;
        Ok(format!("{:?}", address.options.get_ssl_mode()))
    }

    #[test]
    fn other_machines_are_verified_and_this_one_need_not_be() {
        assert_eq!(mode("postgres://u@db.example.com/d", None).unwrap(), "VerifyFull");
        assert_eq!(mode("postgres://u@db.example.com/d?sslmode=require", None).unwrap(), "VerifyFull");
        assert_eq!(mode("postgres://u@db.example.com/d", Some(Tls::Disable)).unwrap(), "Disable");
        for local in ["localhost", "127.0.0.1", "127.8.8.8", "[::1]", "%2Frun%2Fpostgresql"] {
            assert_eq!(mode(&format!("postgres://u@{local}/d"), None).unwrap(), "Prefer", "{local}");
        }
        assert_eq!(mode("postgres://u@localhost/d?sslmode=verify-full", None).unwrap(), "VerifyFull");
        assert_eq!(mode("postgres://u@localhost/d", Some(Tls::Verify)).unwrap(), "VerifyFull");
    }

    #[test]
    fn an_unverified_connection_to_another_machine_must_be_asked_for_by_name() {
        let error = mode("postgres://u:hunter2@db.example.com/d?sslmode=disable", None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(error.hint.unwrap().contains("tls: disable"));
    }

    #[test]
    fn a_bad_address_is_not_repeated() {
        let error = mode("postgres://user:hunter2@host:port/x", None).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Config);
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
