//! The host of a module that runs in a process of its own: the engine, at the
//! other end of the socket.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use engine_abi::{Error, Result, ipc};
use rustix::event::{PollFd, PollFlags, poll};

use super::control::Control;
use super::served::answered;
use super::socket::Sender;
use super::wire::{Arrived, Counts, HostAnswer, Kind, Refused, attach, json, words};
use crate::callbacks::{Arrival, Host, Level, Payload, Rejection};

/// Forwards what a module asks of its host.
pub struct Remote {
    sender: Mutex<Sender>,
    control: &'static Control,
    records: AtomicU64,
    bytes: AtomicU64,
    filtered: AtomicU64,
    /// Who waits for which answer.
    waiting: Mutex<HashMap<u64, mpsc::SyncSender<HostAnswer>>>,
    tokens: AtomicU64,
}

impl Remote {
    pub fn new(socket: Arc<OwnedFd>, control: &'static Control) -> Self {
        Self {
            sender: Mutex::new(Sender::new(socket)),
            control,
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            filtered: AtomicU64::new(0),
            waiting: Mutex::default(),
            tokens: AtomicU64::new(0),
        }
    }

    /// Sends a frame, and what was counted until now in front of it.
    pub fn send(&self, kind: Kind, parts: &[&[u8]]) -> Result<()> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = Counts {
            records: self.records.swap(0, Ordering::Relaxed),
            bytes: self.bytes.swap(0, Ordering::Relaxed),
            filtered: self.filtered.swap(0, Ordering::Relaxed),
        };
        let mut send = |kind, parts: &[&[u8]]| {
            let sent = sender.send(kind, parts, |socket| {
                // The engine decides how long is too long.
                let _ = poll(&mut [PollFd::new(&socket, PollFlags::OUT)], None);
                Ok(())
            });
            sent.map_err(|broken| match broken {
                super::socket::Broken::Error(error) => error,
                _ => Error::unavailable("the engine is gone"),
            })
        };
        if counts != Counts::default() {
            send(Kind::Counts, &[&counts.write()])?;
        }
        send(kind, parts)
    }

    /// Hands an answer to the thread that waits for it.
    pub fn answer(&self, answer: HostAnswer) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&answer.token);
        if let Some(waiting) = waiting {
            let _ = waiting.send(answer);
        }
    }

    /// Sends what `frame` makes for a new token, and waits for the answer to it.
    fn ask(&self, kind: Kind, frame: impl FnOnce(u64) -> Result<Vec<u8>>, data: &[u8]) -> Result<u64> {
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let payload = frame(token)?;
        let (answer, wait) = mpsc::sync_channel(1);
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(token, answer);
        self.send(kind, &[&payload, data])?;
        answered(wait.recv().map_err(|_| Error::unavailable("the engine is gone"))?)
    }
}

impl Host for Remote {
    fn log(&self, level: Level, message: &str) {
        let level = u8::try_from(level.number()).unwrap_or(u8::MAX);
        let _ = self.send(Kind::Log, &[&[level], message.as_bytes()]);
    }

    fn cancelled(&self) -> bool {
        self.control.cancelled()
    }

    fn deadline(&self) -> Option<Duration> {
        self.control.deadline()
    }

    fn progress(&self, records: u64, bytes: u64) {
        self.records.fetch_add(records, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn filtered(&self, rows: u64) {
        self.filtered.fetch_add(rows, Ordering::Relaxed);
    }

    fn reject(&self, rejection: Rejection) -> Result<()> {
        let Rejection { code, reason, payload } = rejection;
        let (name, data) = match payload {
            Payload::Bytes { name, data } => (Some(name), data),
            Payload::Rows(rows) => (None, ipc::whole(&rows)?),
        };
        self.ask(Kind::Reject, |token| attach(token, &Refused { code, reason, name }), &data).map(drop)
    }

    fn receipt(&self, part: serde_json::Value) -> Result<()> {
        self.ask(Kind::Receipt, |token| attach(token, &()), &json(&part)?).map(drop)
    }

    fn remember(&self, value: serde_json::Value) -> Result<()> {
        self.ask(Kind::Remember, |token| attach(token, &()), &json(&value)?).map(drop)
    }

    fn append(&self, arrival: Arrival<'_>) -> Result<u64> {
        let Arrival { state, connection, records, peer, data } = arrival;
        let arrived = Arrived { state: state.number(), connection, records, peer: peer.to_owned() };
        self.ask(Kind::Append, |token| attach(token, &arrived), data)
    }

    fn durable(&self, sequence: u64) -> Result<()> {
        self.ask(Kind::Durable, |token| Ok(words::<2, 16>([token, sequence]).into()), &[]).map(drop)
    }
}
