//! The settings of a connection, which source and sink share.

use engine_sdk::prelude::{Context, Duration, Error, Result, Secret};
use std::path::PathBuf;

use crate::host_key::{HostKey, Trust};
use crate::login::{self, Agent, Login, expanded};
use crate::session::Server;

/// Declares a configuration: the settings of the connection, and those that stand behind them.
macro_rules! configuration {
    ($(#[$about:meta])* $visible:vis struct $name:ident { $($own:tt)* }) => {
        $(#[$about])*
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        $visible struct $name {
            /// The server: a name or an address.
            host: String,
            /// Its port.
            #[serde(default = "crate::settings::default_port")]
            #[schemars(range(min = 1))]
            port: u16,
            /// Who logs in.
            username: String,
            /// The password of `username`. With `private_key` or `agent`: for a server that wants
            /// both.
            #[serde(default)]
            password: Option<Secret>,
            /// The key to log in with: the path of its file, relative to the pipeline file, or
            /// the key itself with `${file:…}` or `${env:…}`. Kept by OpenSSH, as PEM, or by
            /// PuTTY.
            #[serde(default)]
            private_key: Option<Secret>,
            /// What opens an encrypted `private_key`.
            #[serde(default)]
            passphrase: Option<Secret>,
            /// Log in with the keys of an SSH agent: `true` for the one that `SSH_AUTH_SOCK`
            /// names, or the path of its socket.
            #[serde(default)]
            agent: Option<$crate::login::Agent>,
            /// The server's own key: its fingerprint, such as `SHA256:…`, or a line of an OpenSSH
            /// public key; or a list of these, of which any will do. Unset: `known_hosts` tells.
            /// A key that is not known is never accepted.
            #[serde(default)]
            host_key: Option<$crate::host_key::HostKey>,
            /// A file with the keys of servers, as OpenSSH keeps it, hashed names too. Unset:
            /// `~/.ssh/known_hosts` of the user that runs the engine.
            #[serde(default)]
            known_hosts: Option<std::path::PathBuf>,
            /// How long each answer of the server may take, and the connection, and the login.
            #[serde(default = "crate::settings::default_timeout")]
            timeout: Duration,
            /// How long nothing may come from the server before it is asked for a sign of life;
            /// after three without an answer the connection counts as lost. `0s`: never.
            #[serde(default = "crate::settings::default_keepalive")]
            keepalive: Duration,
            /// Also use algorithms that are broken or about to be: SHA-1, CBC, 1024-bit groups.
            /// For old servers that know no others.
            #[serde(default)]
            weak_algorithms: bool,
            $($own)*
        }

        impl $name {
            /// The server that these settings are about. Opens nothing but the key's file.
            fn server(&self, cx: &Context) -> Result<$crate::session::Server> {
                $crate::settings::Connection {
                    host: &self.host,
                    port: self.port,
                    username: &self.username,
                    password: self.password.as_ref(),
                    private_key: self.private_key.as_ref(),
                    passphrase: self.passphrase.as_ref(),
                    agent: self.agent.as_ref(),
                    host_key: self.host_key.as_ref(),
                    known_hosts: self.known_hosts.as_ref(),
                    timeout: self.timeout,
                    keepalive: self.keepalive,
                    weak_algorithms: self.weak_algorithms,
                }
                .server(cx)
            }
        }
    };
}
pub(crate) use configuration;

pub const fn default_port() -> u16 {
    22
}

pub const fn default_timeout() -> Duration {
    Duration::seconds(30)
}

pub const fn default_keepalive() -> Duration {
    Duration::seconds(15)
}

/// The settings as they were written.
pub struct Connection<'a> {
    pub host: &'a str,
    pub port: u16,
    pub username: &'a str,
    pub password: Option<&'a Secret>,
    pub private_key: Option<&'a Secret>,
    pub passphrase: Option<&'a Secret>,
    pub agent: Option<&'a Agent>,
    pub host_key: Option<&'a HostKey>,
    pub known_hosts: Option<&'a PathBuf>,
    pub timeout: Duration,
    pub keepalive: Duration,
    pub weak_algorithms: bool,
}

impl Connection<'_> {
    pub fn server(&self, cx: &Context) -> Result<Server> {
        let host = self.host.trim_matches(['[', ']']);
        if host.is_empty() || host.contains(['/', '@', ' ']) {
            return Err(Error::config(format!("`host` is {:?}, which is no name of a server", self.host)).hint(
                "write the name alone, such as files.example.com; the rest goes into `port`, `username` and `path`",
            ));
        }
        if self.port == 0 {
            return Err(Error::config("`port` is 0").hint("leave it out: SFTP is at port 22"));
        }
        if self.timeout.0.is_zero() {
            return Err(Error::config("`timeout` is 0, and no server answers at once").hint("give a time such as 30s"));
        }
        let login = login::Settings {
            username: self.username,
            password: self.password,
            private_key: self.private_key,
            passphrase: self.passphrase,
            agent: self.agent,
        };
        let known_hosts = self.known_hosts.map(|path| cx.resolve(expanded(path)));
        Ok(Server {
            host: host.to_owned(),
            port: self.port,
            login: Login::new(&login, cx)?,
            trust: Trust::new(self.host_key, known_hosts)?,
            timeout: self.timeout.0,
            keepalive: self.keepalive.0,
            weak: self.weak_algorithms,
        })
    }
}
