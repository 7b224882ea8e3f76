//! An exchange: lines of numbered calls, and connections that send them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::ops::Range;

use engine_test_tools::sequence;

use crate::wait::LIMIT;

/// The line of a call, with its end. Its called number is `0` and the call's
/// number in nine digits.
pub fn line(number: u64) -> Vec<u8> {
    lines(number..number + 1)
}

/// The lines of some calls.
pub fn lines(numbers: Range<u64>) -> Vec<u8> {
    let mut lines = Vec::new();
    numbers.for_each(|number| sequence::write_line(number, &mut lines));
    lines
}

/// A connection to the engine.
pub struct Caller(TcpStream);

impl Caller {
    /// Connects.
    #[track_caller]
    pub fn new(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
        stream.set_nodelay(true).expect("a connection can be set up");
        stream.set_read_timeout(Some(LIMIT)).expect("a connection can be set up");
        Self(stream)
    }

    /// Sends bytes, waiting while the other side takes none.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).expect("the engine takes what is sent");
    }

    /// Says goodbye, and waits until the other side has read everything and closed.
    #[track_caller]
    pub fn close(mut self) {
        self.0.shutdown(Shutdown::Write).expect("a connection can be closed");
        let mut rest = [0; 64];
        while self.0.read(&mut rest).expect("the engine closes") > 0 {}
    }
}
