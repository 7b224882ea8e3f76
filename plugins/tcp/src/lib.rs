//! Listens on TCP and takes in what peers send, line by line.
//!
//! One thread serves the listener and all connections (`server`): it waits
//! until something is ready, reads, cuts into records (`framing`) and hands
//! them over. Handing over blocks while the spool is full; then nothing is read,
//! the sockets' buffers fill, and TCP makes the peers wait.

mod connection;
mod framing;
mod server;
#[cfg(test)]
mod tests;

use engine_sdk::listen::{Network, bind, check_address};
use engine_sdk::prelude::*;

use server::Server;

/// Takes in the lines that peers send over TCP.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Address and port to listen on: `0.0.0.0:9000` for every IPv4 network of
    /// the machine, `127.0.0.1:9000` for this machine alone, `[::]:9000` for
    /// every network. Port 0 takes a free one; the log says which.
    listen: String,

    /// Who may send: addresses and networks, such as `192.0.2.7` or
    /// `10.1.0.0/16`. Left out or empty, anyone who can reach the port may.
    #[serde(default)]
    allow: Vec<Network>,

    /// Connections at a time; further ones are closed at once.
    #[serde(default = "default_max_connections")]
    #[schemars(range(min = 1, max = 10_000))]
    max_connections: usize,

    /// The longest record. Of a longer one the beginning is kept as a dead
    /// letter, and the rest is skipped.
    #[serde(default = "default_max_record")]
    max_record: ByteSize,

    /// Closes a connection that has been silent for this long. Left out, a
    /// connection may be silent for days; that a silent peer is gone is then
    /// noticed by TCP keepalive, after 2 minutes.
    #[serde(default)]
    idle: Option<Duration>,
}

fn default_max_connections() -> usize {
    256
}

fn default_max_record() -> ByteSize {
    ByteSize(64 << 10)
}

/// Each connection may hold one record in memory, so the cap is itself capped.
const LARGEST_MAX_RECORD: u64 = 16 << 20;
/// As many files as one process may reasonably have open.
const LARGEST_MAX_CONNECTIONS: usize = 10_000;

/// The component `tcp`.
#[derive(Debug)]
struct TcpSource {
    config: Config,
    cx: Context,
}

impl Component for TcpSource {
    type Config = Config;
    const SUMMARY: &'static str = "Takes in the lines that peers send over TCP";

    fn examples() -> Vec<Example> {
        vec![
            example("from this machine, on a free port", json!({"listen": "127.0.0.1:0"})),
            example(
                "from two networks, short records only",
                json!({"listen": "0.0.0.0:9000", "allow": ["10.1.0.0/16", "192.0.2.7"], "max_record": "4KiB", "idle": "1d"}),
            ),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        check_address(&config.listen)?;
        let max_record = config.max_record.0;
        if !(1..=LARGEST_MAX_RECORD).contains(&max_record) {
            return Err(Error::config(format!("`max_record` is {max_record} bytes")).hint("give a size up to 16MiB"));
        }
        if !(1..=LARGEST_MAX_CONNECTIONS).contains(&config.max_connections) {
            return Err(Error::config(format!("`max_connections` is {}", config.max_connections))
                .hint(format!("give a number from 1 to {LARGEST_MAX_CONNECTIONS}")));
        }
        if config.idle.is_some_and(|idle| idle.0.is_zero()) {
            return Err(Error::config("`idle` is 0, which would close every connection")
                .hint("leave `idle` out to allow silence without end"));
        }
        Ok(Self { config, cx })
    }

    fn check(&mut self) -> Result<CheckReport> {
        let (_, address) = bind(&self.config.listen)?;
        Ok(CheckReport { summary: format!("{address} is free to listen on") })
    }
}

impl PushSource for TcpSource {
    fn listen(&mut self) -> Result<()> {
        let (listener, address) = bind(&self.config.listen)?;
        self.cx.log(Level::Info, format!("listening on {address}"));
        if self.config.allow.is_empty() && !address.ip().is_loopback() {
            self.cx.log(
                Level::Warn,
                format!("anyone who can reach {address} can send records; `allow` limits that to some addresses"),
            );
        }
        Server::new(&self.config, &self.cx).run(listener)
    }
}

engine_sdk::module!("tcp": push_source "tcp" => TcpSource);
