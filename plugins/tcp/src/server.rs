//! The loop that serves the listener and all connections.

use std::io::ErrorKind as Io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use engine_sdk::{Context, Error, ErrorKind, Level, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::Config;
use crate::connection::{Connection, Reading};

/// How often the loop looks whether it should stop.
const CANCEL_CHECK: Timespec = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
/// What is read of a connection at a time.
const READ_SIZE: usize = 64 << 10;
/// Connections accepted in one go, before those that are there are read again.
const ACCEPTED_AT_ONCE: usize = 64;
/// How long nothing is accepted when the system has no file or memory left for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(250);
/// At shutdown: how long what the sockets already hold is read.
const DRAIN: Duration = Duration::from_secs(1);
/// Warnings of one kind come at most this often.
const WARN_INTERVAL: Duration = Duration::from_secs(10);

/// Serves until it is cancelled.
pub struct Server<'a> {
    config: &'a Config,
    cx: &'a Context,
    connections: Vec<Connection>,
    /// Connections so far.
    accepted: u64,
    /// Shared by all connections.
    buffer: Vec<u8>,
    accept_after: Option<Instant>,
    unwelcome: Warning,
    too_many: Warning,
    not_accepted: Warning,
    too_long: Warning,
}

impl<'a> Server<'a> {
    /// A server without connections.
    pub fn new(config: &'a Config, cx: &'a Context) -> Self {
        Self {
            config,
            cx,
            connections: Vec::new(),
            accepted: 0,
            buffer: vec![0; READ_SIZE],
            accept_after: None,
            unwelcome: Warning::default(),
            too_many: Warning::default(),
            not_accepted: Warning::default(),
            too_long: Warning::default(),
        }
    }

    /// Takes in records until it is cancelled.
    pub fn run(mut self, listener: TcpListener) -> Result<()> {
        listener.set_nonblocking(true)?;
        match self.serve(&listener).and_then(|()| self.drain(listener)) {
            // Handing over was waiting for room in the spool.
            Err(error) if error.kind == ErrorKind::Cancelled => Ok(()),
            result => result,
        }
    }

    fn serve(&mut self, listener: &TcpListener) -> Result<()> {
        let mut ready = Vec::new();
        while !self.cx.cancelled() {
            let somebody_calls = self.wait(listener, &mut ready)?;
            // From the last to the first, since a connection that ends is taken out.
            for index in (0..self.connections.len()).rev() {
                if ready[index] {
                    if let Reading::Ended(why) = self.read(index)? {
                        self.connections.swap_remove(index).close(&why, self.cx)?;
                    }
                } else if let Some(idle) = self.config.idle
                    && self.connections[index].last_heard.elapsed() >= idle.0
                {
                    let why = format!("closed here, silent for {:?}", idle.0);
                    self.connections.swap_remove(index).close(&why, self.cx)?;
                }
            }
            if somebody_calls {
                self.accept(listener);
            }
        }
        Ok(())
    }

    /// Waits until there is something to read or to accept, and says what.
    fn wait(&mut self, listener: &TcpListener, ready: &mut Vec<bool>) -> Result<bool> {
        if self.accept_after.is_some_and(|time| time <= Instant::now()) {
            self.accept_after = None;
        }
        let mut waiting: Vec<PollFd<'_>> =
            self.connections.iter().map(|connection| PollFd::new(&connection.stream, PollFlags::IN)).collect();
        if self.accept_after.is_none() {
            waiting.push(PollFd::new(listener, PollFlags::IN));
        }
        match poll(&mut waiting, Some(&CANCEL_CHECK)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(Error::from(std::io::Error::from(error)).context("the connections cannot be watched"));
            }
        }
        ready.clear();
        // Errors and hang-ups count: reading tells what it is.
        ready.extend(waiting.iter().map(|one| !one.revents().is_empty()));
        Ok(self.accept_after.is_none() && ready.pop().unwrap_or(false))
    }

    fn read(&mut self, index: usize) -> Result<Reading> {
        let connection = &mut self.connections[index];
        let oversize = connection.oversize();
        let reading = connection.read(&mut self.buffer, self.cx)?;
        if connection.oversize() > oversize {
            self.too_long.say(self.cx, || {
                format!(
                    "{}: a record is longer than `max_record`, {} bytes; its beginning becomes a dead letter, the rest is skipped",
                    connection.peer(),
                    self.config.max_record.0
                )
            });
        }
        Ok(reading)
    }

    fn accept(&mut self, listener: &TcpListener) {
        for _ in 0..ACCEPTED_AT_ONCE {
            match listener.accept() {
                // An IPv4 peer of an IPv6 listener is called by its IPv4 address.
                Ok((stream, peer)) => self.admit(stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())),
                Err(error) if error.kind() == Io::WouldBlock => return,
                // The peer went away before it was its turn.
                Err(error) if matches!(error.kind(), Io::Interrupted | Io::ConnectionAborted | Io::ConnectionReset) => {
                }
                Err(error) => {
                    self.accept_after = Some(Instant::now() + ACCEPT_PAUSE);
                    self.not_accepted.say(self.cx, || {
                        format!("no connection can be accepted at the moment: {error}; trying again and again")
                    });
                    return;
                }
            }
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr) {
        let allow = &self.config.allow;
        if !allow.is_empty() && !allow.iter().any(|network| network.contains(peer.ip())) {
            self.unwelcome
                .say(self.cx, || format!("{peer}: connection closed, since `allow` does not hold its address"));
            return;
        }
        let most = self.config.max_connections;
        if self.connections.len() >= most {
            self.too_many.say(self.cx, || {
                format!("{peer}: connection closed, since there are {most} already, which is `max_connections`")
            });
            return;
        }
        self.accepted += 1;
        match Connection::new(stream, peer, self.accepted, self.config.max_record.as_usize(), self.cx) {
            Ok(connection) => self.connections.push(connection),
            Err(error) => self.not_accepted.say(self.cx, || format!("{peer}: connection closed: {error}")),
        }
    }

    /// Takes what has arrived at this machine and waits for nothing more.
    fn drain(&mut self, listener: TcpListener) -> Result<()> {
        let deadline = Instant::now() + DRAIN;
        if self.accept_after.is_none() {
            self.accept(&listener);
        }
        drop(listener);
        // In rounds, so that one busy peer does not use up the time of all.
        while !self.connections.is_empty() {
            for index in (0..self.connections.len()).rev() {
                let why = match self.read(index)? {
                    Reading::Some if Instant::now() < deadline => continue,
                    Reading::Some | Reading::Nothing => "closed here, the engine stops".into(),
                    Reading::Ended(why) => why,
                };
                self.connections.swap_remove(index).close(&why, self.cx)?;
            }
        }
        Ok(())
    }
}

/// A warning that may have cause to come often, and must not fill the log.
#[derive(Default)]
struct Warning {
    last: Option<Instant>,
    held_back: u64,
}

impl Warning {
    fn say(&mut self, cx: &Context, message: impl FnOnce() -> String) {
        if self.last.is_some_and(|last| last.elapsed() < WARN_INTERVAL) {
            self.held_back += 1;
            return;
        }
        let message = match std::mem::take(&mut self.held_back) {
            0 => message(),
            before => format!("{}; and {before} times before it", message()),
        };
        self.last = Some(Instant::now());
        cx.log(Level::Warn, message);
    }
}
