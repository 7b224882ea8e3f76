//! The SSH connection: it lives on a thread of its own, so that it answers the server, and encrypts, while the engine
//! does something else.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use engine_sdk::Runtime;
use engine_sdk::prelude::{Error, Result};
use russh::client::{Config, DisconnectReason, Handle, Handler, Msg, connect_stream};
use russh::keys::{Algorithm, PublicKeyOrCertificate};
use russh::{AlgorithmKind, Channel, ChannelMsg, ChannelReadHalf, ChannelWriteHalf, Disconnect, SshId};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::algorithms::preferred;
use crate::fault::said;
use crate::host_key::{Known, Trust, same_kind, shown};
use crate::login::Login;

/// How much a server may send before it is told that this has arrived. More than the reads that are under way.
const WINDOW: u32 = 8 << 20;
/// The longest piece of it.
const PIECE: u32 = 32 * 1024;
/// How many pieces can wait to be taken. As much as the window at least, so that the connection answers the server
/// although nobody takes anything.
const PIECES: usize = 1024;
/// How many signs of life may stay without an answer.
const UNANSWERED: usize = 3;
/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(1);

/// A server, and how it is reached.
#[derive(Debug)]
pub struct Server {
    pub host: String,
    pub port: u16,
    pub login: Login,
    pub trust: Trust,
    /// How long each answer may take.
    pub timeout: Duration,
    pub keepalive: Duration,
    /// Whether algorithms are used that nobody should.
    pub weak: bool,
}

impl Server {
    /// `HOST:PORT`, for messages.
    pub fn shown(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }
}

/// A connection with SFTP at its other end.
pub struct Link {
    pub read: ChannelReadHalf,
    pub write: ChannelWriteHalf<Msg>,
    pub shown: String,
    /// The key that the server has shown.
    pub host_key: String,
    why: Why,
    thread: Thread,
}

/// Why the connection has ended, once it has.
type Why = Arc<Mutex<Option<Ended>>>;

#[derive(Debug, Clone)]
enum Ended {
    /// The server said so. `refuses`: it does not want this login, rather than any at the moment.
    Told {
        reason: String,
        refuses: bool,
    },
    Lost(String),
}

/// Ends with what it serves.
struct Thread {
    stop: Option<oneshot::Sender<()>>,
    handle: Option<JoinHandle<()>>,
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(handle) = self.handle.take() {
            // A thread that panicked has said so.
            let _ = handle.join();
        }
    }
}

impl Link {
    /// Connects, makes sure of the server, and logs in.
    pub async fn open(server: Arc<Server>) -> Result<Self> {
        let shown = server.shown();
        let why = Why::default();
        let (stop, stopped) = oneshot::channel();
        let (ready, made) = oneshot::channel();
        let ended = Arc::clone(&why);
        let handle = std::thread::Builder::new()
            .name("sftp".into())
            .spawn(move || serve(&server, &ended, stopped, ready))
            .map_err(|error| Error::from(error).context("starting a thread for the connection"))?;
        let thread = Thread { stop: Some(stop), handle: Some(handle) };
        let (channel, host_key) =
            made.await.unwrap_or_else(|_| Err(Error::internal("the thread of the connection ended")))?;
        let (read, write) = channel.split();
        Ok(Self { read, write, shown, host_key, why, thread })
    }

    /// Whether the connection has ended.
    pub fn is_over(&self) -> bool {
        self.thread.handle.as_ref().is_none_or(JoinHandle::is_finished) || told(&self.why).is_some()
    }

    /// The error of a connection that has ended.
    pub fn ended(&self) -> Error {
        over(&self.shown, told(&self.why))
    }
}

fn told(why: &Why) -> Option<Ended> {
    why.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn over(shown: &str, why: Option<Ended>) -> Error {
    let hint = "the server or the way to it went down; its log may say why";
    Error::unavailable(match why {
        None => format!("{shown} ended the connection"),
        Some(Ended::Told { reason, .. }) => format!("{shown} ended the connection: {reason}"),
        Some(Ended::Lost(reason)) => format!("the connection to {shown} was lost: {reason}"),
    })
    .hint(hint)
}

type Made = Result<(Channel<Msg>, String)>;

/// What the thread does: it connects, and keeps the connection until it is asked to stop.
fn serve(server: &Server, why: &Why, mut stopped: oneshot::Receiver<()>, ready: oneshot::Sender<Made>) {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error))),
    };
    runtime.block_on(async {
        let made = tokio::select! {
            _ = &mut stopped => return,
            made = connect(server, why) => made,
        };
        match made {
            Err(error) => drop(ready.send(Err(error))),
            Ok((mut handle, channel, host_key)) => {
                if ready.send(Ok((channel, host_key))).is_err() {
                    return;
                }
                tokio::select! {
                    _ = &mut stopped => {}
                    _ = &mut handle => return,
                }
                let goodbye = async {
                    if handle.disconnect(Disconnect::ByApplication, "", "en").await.is_ok() {
                        let _ = handle.await;
                    }
                };
                let _ = tokio::time::timeout(GOODBYE, goodbye).await;
            }
        }
    });
}

/// Makes sure that a server is who it should be.
pub struct Guard {
    known: Known,
    /// Other keys that this server has shown before.
    others: Vec<String>,
    seen: Arc<Mutex<Option<(Algorithm, String)>>>,
    why: Why,
}

/// Why a connection came to nothing.
#[derive(Debug)]
pub enum Failure {
    Ssh(russh::Error),
    /// The server's key is not the right one.
    Key(Error),
}

impl From<russh::Error> for Failure {
    fn from(error: russh::Error) -> Self {
        Self::Ssh(error)
    }
}

impl Handler for Guard {
    type Error = Failure;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Failure> {
        let key = key.public_key();
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some((key.algorithm(), shown(&key)));
        self.known.judge(&key, &self.others).map(|()| true).map_err(Failure::Key)
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Failure>) -> Result<(), Failure> {
        let (ended, result) = match reason {
            DisconnectReason::ReceivedDisconnect(told) => {
                (Ended::Told { reason: said(&told.message), refuses: refuses(&told.reason_code) }, Ok(()))
            }
            DisconnectReason::Error(Failure::Ssh(error)) => {
                (Ended::Lost(said(&error.to_string())), Err(Failure::Ssh(error)))
            }
            DisconnectReason::Error(failure) => (Ended::Lost("its key is not the right one".into()), Err(failure)),
        };
        *self.why.lock().unwrap_or_else(PoisonError::into_inner) = Some(ended);
        result
    }
}

/// Whether the next attempt would end like this one. OpenSSH calls too many wrong keys an error of protocol.
const fn refuses(code: &Disconnect) -> bool {
    matches!(
        code,
        Disconnect::HostNotAllowedToConnect
            | Disconnect::ProtocolError
            | Disconnect::AuthCancelledByUser
            | Disconnect::NoMoreAuthMethodsAvailable
            | Disconnect::IllegalUserName
    )
}

async fn connect(server: &Server, why: &Why) -> Result<(Handle<Guard>, Channel<Msg>, String)> {
    let known = server.trust.of(&server.host, server.port)?;
    let mut algorithms = known.algorithms(server.weak);
    let mut others = Vec::new();
    let mut refused = None;
    loop {
        let seen = Arc::new(Mutex::new(None));
        let guard =
            Guard { known: known.clone(), others: others.clone(), seen: Arc::clone(&seen), why: Arc::clone(why) };
        let made = shake_hands(server, guard, &algorithms).await;
        let shown_key = seen.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (made, shown_key) {
            (Ok(handle), shown_key) => {
                let (_, host_key) = shown_key.unwrap_or((Algorithm::Ed25519, String::new()));
                return enter(server, handle, why, host_key).await;
            }
            (Err(Failure::Key(error)), Some((kind, key))) if known.may_have_another() => {
                // It has shown one of its keys, and may have the one that is pinned besides.
                algorithms.retain(|algorithm| !same_kind(algorithm, &kind));
                others.push(key);
                refused = Some(error);
                if algorithms.is_empty() {
                    break;
                }
            }
            (Err(Failure::Key(error)), _) => return Err(error),
            (Err(Failure::Ssh(error)), _) => {
                let no_other = matches!(&error, russh::Error::NoCommonAlgo { kind: AlgorithmKind::Key, .. });
                if !(no_other && refused.is_some()) {
                    return Err(failed(&server.shown(), &error));
                }
                break;
            }
        }
    }
    Err(refused.unwrap_or_else(|| Error::internal("no key was refused")))
}

/// Connects, and agrees on keys.
async fn shake_hands(server: &Server, guard: Guard, algorithms: &[Algorithm]) -> Result<Handle<Guard>, Failure> {
    let late = || Failure::Ssh(russh::Error::ConnectionTimeout);
    let connecting = TcpStream::connect((server.host.as_str(), server.port));
    let stream = tokio::time::timeout(server.timeout, connecting)
        .await
        .map_err(|_| late())?
        .map_err(|error| Failure::Ssh(russh::Error::IO(error)))?;
    // Small packets follow one another: each would wait for the answer to the last.
    let _ = stream.set_nodelay(true);
    let config = Arc::new(config(server, algorithms));
    tokio::time::timeout(server.timeout, connect_stream(config, stream, guard)).await.map_err(|_| late())?
}

/// Logs in, and asks for SFTP.
async fn enter(
    server: &Server,
    mut handle: Handle<Guard>,
    why: &Why,
    host_key: String,
) -> Result<(Handle<Guard>, Channel<Msg>, String)> {
    let shown = server.shown();
    let late = |_| {
        Error::unavailable(format!("{shown} did not answer to the login within {:?}", server.timeout))
            .hint("the server is slow; raise `timeout` if that is normal")
    };
    let entering = tokio::time::timeout(server.timeout, server.login.perform(&mut handle, &shown));
    match entering.await.map_err(late)? {
        Ok(()) => {}
        // What a server says when it has had enough of a login is a refusal.
        Err(error) if error.kind == engine_sdk::ErrorKind::Unavailable => {
            return Err(match told(why) {
                Some(Ended::Told { reason, refuses: true }) => {
                    Error::denied(format!("{shown} refuses the login of `{}`: {reason}", said(&server.login.user)))
                        .hint("check `username`, and `password`, `private_key` or `agent`")
                }
                Some(lost) => over(&shown, Some(lost)),
                None => error.context(&shown),
            });
        }
        Err(error) => return Err(error),
    }
    let opening = async {
        let mut channel = handle.channel_open_session().await?;
        channel.request_subsystem(true, "sftp").await?;
        loop {
            match channel.wait().await {
                Some(ChannelMsg::Success) => return Ok(Some(channel)),
                Some(ChannelMsg::Failure | ChannelMsg::Close) => return Ok(None),
                Some(_) => {}
                None => return Err(russh::Error::Disconnect),
            }
        }
    };
    match tokio::time::timeout(server.timeout, opening).await.map_err(late)? {
        Ok(Some(channel)) => Ok((handle, channel, host_key)),
        Ok(None) | Err(russh::Error::ChannelOpenFailure(_)) => {
            Err(Error::denied(format!("{shown} gives `{}` no SFTP", said(&server.login.user)))
                .hint("its operator can let this login use SFTP (`Subsystem sftp` in OpenSSH)"))
        }
        Err(error) => Err(match told(why) {
            Some(ended) => over(&shown, Some(ended)),
            None => failed(&shown, &error),
        }),
    }
}

/// What an error of the connection means, before there is a login.
fn failed(shown: &str, error: &russh::Error) -> Error {
    use russh::Error as Ssh;
    let reason = said(&error.to_string());
    match error {
        Ssh::NoCommonAlgo { kind, ours, theirs } => {
            let what = match kind {
                AlgorithmKind::Kex => "key exchanges",
                AlgorithmKind::Key => "host keys",
                AlgorithmKind::Cipher => "ciphers",
                AlgorithmKind::Compression => "compressions",
                AlgorithmKind::Mac => "checksums",
            };
            Error::config(format!(
                "{shown} and the engine know none of each other's {what}: it offers {}, and the engine {}",
                said(&theirs.join(", ")),
                said(&ours.join(", "))
            ))
            .hint("the server is old or set up oddly; `weak_algorithms: true` adds what should not be used any more")
        }
        Ssh::IO(error) => Error::unavailable(format!("{shown} cannot be reached: {error}"))
            .hint("check `host`, `port`, and firewalls on the way"),
        Ssh::ConnectionTimeout => Error::unavailable(format!("{shown} did not answer in time"))
            .hint("check `host`, `port`, and firewalls; raise `timeout` if the server is slow"),
        Ssh::Version => Error::config(format!("{shown} does not speak SSH")).hint("check `host` and `port`"),
        Ssh::WrongServerSig | Ssh::PacketAuth | Ssh::DecryptionError | Ssh::StrictKeyExchangeViolation { .. } => {
            Error::denied(format!("{shown} could not prove who it is: {reason}"))
                .hint("somebody may stand between you and the server")
        }
        _ => Error::unavailable(format!("{shown} ended the connection before the login: {reason}"))
            .hint("the server may be overloaded, or may not let this address in"),
    }
}

fn config(server: &Server, host_keys: &[Algorithm]) -> Config {
    Config {
        client_id: SshId::Standard(Cow::Borrowed("SSH-2.0-engine")),
        window_size: WINDOW,
        maximum_packet_size: PIECE,
        channel_buffer_size: PIECES,
        preferred: preferred(host_keys, server.weak),
        keepalive_interval: Some(server.keepalive).filter(|it| !it.is_zero()),
        keepalive_max: UNANSWERED,
        nodelay: true,
        ..Config::default()
    }
}
