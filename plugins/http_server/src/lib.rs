//! Takes in what is sent to it by HTTP, such as webhooks.
//!
//! A request is answered with 200 once its records are in the spool on disk
//! (`server`): who gets another answer, or none, sends it again. `access` decides who
//! may send, `records` makes lines of a body.

mod access;
mod records;
mod server;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use engine_sdk::listen::{Network, bind, check_address};
use engine_sdk::prelude::*;

use access::{Access, Signature};
use records::Body;

/// Takes in what is sent by HTTP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on: `127.0.0.1:8080` for this machine alone,
    /// `0.0.0.0:8080` for every IPv4 network of the machine, `[::]:8080` for every
    /// network. Port 0 takes a free one; the log says which.
    listen: String,
    /// The path that is listened on. Every other one is answered with 404.
    #[serde(default = "default_path")]
    path: String,
    /// What a body is: `json`, where an object is a record and a list holds records,
    /// or `lines`, of which each is a record.
    #[serde(default)]
    body: Body,
    /// Senders must have this token: `Authorization: Bearer TOKEN`.
    #[serde(default)]
    token: Option<Secret>,
    /// Senders must sign what they send.
    #[serde(default)]
    signature: Option<Signature>,
    /// Who may send: addresses and networks, such as `192.0.2.7` or
    /// `10.1.0.0/16`. Left out or empty, anyone who can reach the port may.
    #[serde(default)]
    allow: Vec<Network>,
    /// The server's certificate, or `disable`: other machines send without TLS. Unset:
    /// only this machine itself may.
    #[serde(default)]
    tls: Option<Tls>,
    /// Connections at a time; further ones wait.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = 10_000))]
    max_connections: usize,
    /// The largest body. A larger one is answered with 413.
    #[serde(default = "default_max_body")]
    max_body: ByteSize,
    /// How long a request may take to come, and a connection be silent.
    #[serde(default = "default_timeout")]
    timeout: Duration,
}

/// How other machines reach the server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Tls {
    /// `disable`.
    Word(Disable),
    /// With a certificate.
    Files(Certificate),
}

/// Without TLS.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Disable {
    /// What is sent can be read on the way.
    Disable,
}

/// Where the certificate is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// A PEM file with the certificate, and those between it and the authority.
    certificate: PathBuf,
    /// A PEM file with its key.
    key: PathBuf,
}

fn default_path() -> String {
    "/".into()
}

const fn default_max_connections() -> usize {
    256
}

const fn default_max_body() -> ByteSize {
    ByteSize(1 << 20)
}

fn default_timeout() -> Duration {
    Duration::seconds(30)
}

/// Bodies are held in memory, one a connection.
const LARGEST_MAX_BODY: u64 = 16 << 20;
/// As many files as one process may reasonably have open.
const LARGEST_MAX_CONNECTIONS: usize = 10_000;

struct HttpServer {
    config: Config,
    access: Access,
    cx: Context,
}

impl Component for HttpServer {
    type Config = Config;
    const SUMMARY: &'static str = "Takes in what is sent to it by HTTP, such as webhooks";

    fn examples() -> Vec<Example> {
        vec![
            example("from this machine, on a free port", json!({"listen": "127.0.0.1:0"})),
            example(
                "signed webhooks, behind a proxy on this machine",
                json!({
                    "listen": "127.0.0.1:8080", "path": "/hooks/calls",
                    "signature": {"header": "X-Hub-Signature-256", "prefix": "sha256=", "secret": "secret"},
                }),
            ),
            example(
                "from other machines, with TLS and a token",
                json!({
                    "listen": "0.0.0.0:8443", "token": "secret",
                    "tls": {"certificate": "server.pem", "key": "server.key"},
                }),
            ),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        check_address(&config.listen)?;
        if !config.path.starts_with('/') || config.path.contains(['?', '#']) {
            return Err(Error::config(format!("`path: {}` is none", config.path.escape_debug()))
                .hint("begin it with `/`, such as `/hooks/calls`"));
        }
        if !(1..=LARGEST_MAX_BODY).contains(&config.max_body.0) {
            return Err(
                Error::config(format!("`max_body` is {} bytes", config.max_body.0)).hint("give a size up to 16MiB")
            );
        }
        if !(1..=LARGEST_MAX_CONNECTIONS).contains(&config.max_connections) {
            return Err(Error::config(format!("`max_connections` is {}", config.max_connections))
                .hint(format!("give a number from 1 to {LARGEST_MAX_CONNECTIONS}")));
        }
        if config.timeout.0.is_zero() {
            return Err(Error::config("`timeout` is 0, and no request comes at once").hint("give a time such as 30s"));
        }
        let access = Access::new(config.token.as_ref(), config.signature.as_ref())?;
        Ok(Self { config, access, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (_, address) = bind(&self.config.listen)?;
        self.check_reach(address)?;
        server::acceptor(&self.config, &self.cx)?;
        Ok(CheckReport { summary: format!("{address} is free to listen on") })
    }
}

impl HttpServer {
    /// Refuses an address at which strangers could send, or read what others send.
    fn check_reach(&self, address: std::net::SocketAddr) -> Result<()> {
        if address.ip().is_loopback() {
            return Ok(());
        }
        if self.config.tls.is_none() {
            return Err(Error::config(format!(
                "other machines can reach {address}, and what they send could be read on the way"
            ))
            .hint("give a certificate with `tls`, or write `tls: disable`"));
        }
        if !self.access.asks() && self.config.allow.is_empty() {
            return Err(Error::config(format!("anyone who can reach {address} could send records"))
                .hint("set `token`, `signature` or `allow`"));
        }
        Ok(())
    }
}

impl PushSource for HttpServer {
    fn listen(&mut self) -> Result<()> {
        let (listener, address) = bind(&self.config.listen)?;
        self.check_reach(address)?;
        let acceptor = server::acceptor(&self.config, &self.cx)?;
        self.cx.log(Level::Info, format!("listening on {address}"));
        server::run(&self.config, &self.access, &self.cx, listener, acceptor)
    }
}

engine_sdk::module!("http_server": push_source "http_server" => HttpServer);
