//! One connection.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use engine_sdk::{Arrival, Context, Level, Result};
use rustix::net::sockopt;

use crate::framing::Framing;

/// A silent peer is asked whether it is still there after this long …
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
/// … and then at this interval …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
/// … so many times, before the connection counts as broken: 2 minutes in all.
const KEEPALIVE_PROBES: u32 = 4;

/// What came of reading once.
#[derive(Debug)]
pub enum Reading {
    /// Something; there may be more.
    Some,
    /// Nothing for now.
    Nothing,
    /// The connection has ended, for this reason.
    Ended(String),
}

/// A peer and what it has sent.
#[derive(Debug)]
pub struct Connection {
    pub stream: TcpStream,
    pub last_heard: Instant,
    /// Unique within one `listen`.
    number: u64,
    peer: String,
    framing: Framing,
    records: u64,
    bytes: u64,
    oversize: u64,
}

impl Connection {
    /// Takes a new connection on.
    pub fn new(
        stream: TcpStream,
        peer: SocketAddr,
        number: u64,
        longest: usize,
        cx: &Context,
    ) -> std::io::Result<Self> {
        stream.set_nonblocking(true)?;
        sockopt::set_socket_keepalive(&stream, true)?;
        sockopt::set_tcp_keepidle(&stream, KEEPALIVE_IDLE)?;
        sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_INTERVAL)?;
        sockopt::set_tcp_keepcnt(&stream, KEEPALIVE_PROBES)?;
        cx.log(Level::Info, format!("{peer}: connected"));
        Ok(Self {
            stream,
            last_heard: Instant::now(),
            number,
            peer: peer.to_string(),
            framing: Framing::new(longest),
            records: 0,
            bytes: 0,
            oversize: 0,
        })
    }

    /// The peer's address and port.
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Records of this connection that were too long.
    pub fn oversize(&self) -> u64 {
        self.oversize
    }

    /// Reads once, without waiting, and hands over what is whole. Blocks while
    /// the spool is full.
    pub fn read(&mut self, buffer: &mut [u8], cx: &Context) -> Result<Reading> {
        let length = match self.stream.read(buffer) {
            Ok(0) => return Ok(Reading::Ended("closed by the peer".into())),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(Reading::Some),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Reading::Nothing),
            Err(error) => return Ok(Reading::Ended(format!("broken: {error}"))),
        };
        self.bytes += length as u64;
        let (number, peer) = (self.number, &self.peer);
        let (records, oversize) = (&mut self.records, &mut self.oversize);
        self.framing.push(&buffer[..length], &mut |arrival| {
            match arrival {
                Arrival::Complete { records: whole, .. } => *records += u64::from(whole),
                Arrival::Oversize(_) => *oversize += 1,
                Arrival::Partial(_) => {}
            }
            cx.append(number, peer, arrival).map(drop)
        })?;
        // Not before: handing over may have taken long.
        self.last_heard = Instant::now();
        Ok(Reading::Some)
    }

    /// Hands over a record without an end as what it is, and closes.
    pub fn close(self, why: &str, cx: &Context) -> Result<()> {
        let Self { number, peer, mut framing, records, bytes, oversize, .. } = self;
        let mut half = "";
        framing.finish(&mut |arrival| {
            half = ", and half a record";
            cx.append(number, &peer, arrival).map(drop)
        })?;
        let oversize = if oversize > 0 { format!(", {oversize} that were too long") } else { String::new() };
        cx.log(Level::Info, format!("{peer}: {why}; sent {records} records{oversize}{half}, {bytes} bytes in all"));
        Ok(())
    }
}
