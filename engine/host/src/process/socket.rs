//! Frames through a socket, without ever blocking in a system call: who waits,
//! and for how long, is the caller's.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use engine_abi::{Error, Result};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use super::clock::Limit;
use super::wire::{Frame, HEADER_BYTES, Kind, MAX_PAYLOAD, unreadable};

/// Most frames are small; what is larger is read where it will stay.
const BUFFER_BYTES: usize = 64 * 1024;

/// What is allocated at once for a payload that is only announced yet.
const STEP_BYTES: usize = 16 << 20;

/// Why nothing more can be read or sent.
#[derive(Debug)]
pub enum Broken {
    /// The other side is gone.
    Gone,
    /// The caller does not want to wait any longer.
    Over(Limit),
    /// Something else.
    Error(Error),
}

/// What is done while the other side gives or takes nothing.
pub trait Wait: FnMut(BorrowedFd<'_>) -> Result<(), Broken> {}

impl<W: FnMut(BorrowedFd<'_>) -> Result<(), Broken>> Wait for W {}

impl From<Error> for Broken {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Sends frames.
pub struct Sender {
    socket: Arc<OwnedFd>,
}

impl Sender {
    pub fn new(socket: Arc<OwnedFd>) -> Self {
        Self { socket }
    }

    /// Sends the parts as one payload. `wait` is called while the other side takes nothing.
    pub fn send(&mut self, kind: Kind, parts: &[&[u8]], mut wait: impl Wait) -> Result<(), Broken> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        let announced = u32::try_from(length).ok().filter(|_| length <= MAX_PAYLOAD).ok_or_else(|| {
            Error::config(format!("{length} bytes at once are more than go to or from an isolated module"))
                .hint("give the rows in smaller batches, or run the module without `isolation: process`")
        })?;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&announced.to_le_bytes());
        header[4] = kind as u8;
        let mut slices: Vec<_> =
            std::iter::once(header.as_slice()).chain(parts.iter().copied()).map(IoSlice::new).collect();
        let mut left = slices.as_mut_slice();
        while left.iter().any(|slice| !slice.is_empty()) {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::sendmsg(&self.socket, left, &mut SendAncillaryBuffer::default(), flags) {
                Ok(sent) => IoSlice::advance_slices(&mut left, sent),
                Err(Errno::AGAIN) => wait(self.socket.as_fd())?,
                Err(Errno::INTR) => {}
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Broken::Gone),
                Err(error) => return Err(failed(error).into()),
            }
        }
        Ok(())
    }
}

/// Receives frames.
pub struct Receiver {
    socket: Arc<OwnedFd>,
    buffer: Box<[u8]>,
    /// What of the buffer is not read yet.
    filled: std::ops::Range<usize>,
}

impl Receiver {
    pub fn new(socket: Arc<OwnedFd>) -> Self {
        Self { socket, buffer: vec![0; BUFFER_BYTES].into(), filled: 0..0 }
    }

    /// The next frame. `wait` is called while there is nothing to read.
    pub fn receive(&mut self, mut wait: impl Wait) -> Result<Frame, Broken> {
        while self.filled.len() < HEADER_BYTES {
            self.fill(&mut wait)?;
        }
        let header = &self.buffer[self.filled.start..][..HEADER_BYTES];
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = Kind::from_number(header[4]).filter(|_| length <= MAX_PAYLOAD);
        let kind = kind.ok_or_else(|| unreadable("a frame"))?;
        self.filled.start += HEADER_BYTES;

        let mut payload = Vec::with_capacity(length.min(STEP_BYTES));
        let buffered = self.filled.len().min(length);
        payload.extend_from_slice(&self.buffer[self.filled.start..][..buffered]);
        self.filled.start += buffered;
        while payload.len() < length {
            if length - payload.len() < BUFFER_BYTES / 2 {
                // The end of a large payload, or all of a small one, brings the next frames along.
                self.fill(&mut wait)?;
                let taken = self.filled.len().min(length - payload.len());
                payload.extend_from_slice(&self.buffer[self.filled.start..][..taken]);
                self.filled.start += taken;
            } else {
                self.read_into(&mut payload, length, &mut wait)?;
            }
        }
        Ok(Frame { kind, payload })
    }

    /// Reads something into the buffer.
    fn fill(&mut self, wait: &mut impl Wait) -> Result<(), Broken> {
        self.buffer.copy_within(self.filled.clone(), 0);
        self.filled = 0..self.filled.len();
        let free = &mut self.buffer[self.filled.end..];
        let read = retry(&self.socket, wait, |socket| {
            rustix::net::recv(socket, &mut *free, RecvFlags::DONTWAIT).map(|(read, _)| read)
        })?;
        self.filled.end += read;
        Ok(())
    }

    /// Reads something of a payload of `length` bytes to where it stays.
    fn read_into(&mut self, payload: &mut Vec<u8>, length: usize, wait: &mut impl Wait) -> Result<(), Broken> {
        let missing = (length - payload.len()).min(STEP_BYTES);
        payload.reserve(missing);
        let free = &mut payload.spare_capacity_mut()[..missing];
        let read = retry(&self.socket, wait, |socket| {
            rustix::net::recv(socket, &mut *free, RecvFlags::DONTWAIT).map(|((read, _), _)| read.len())
        })?;
        // SAFETY: the kernel has written so many bytes behind the present ones, within the capacity.
        unsafe { payload.set_len(payload.len() + read) };
        Ok(())
    }
}

/// Reads something; an end is the other side's.
fn retry(
    socket: &OwnedFd,
    wait: &mut impl Wait,
    mut read: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<usize>,
) -> Result<usize, Broken> {
    loop {
        match read(socket.as_fd()) {
            Ok(0) | Err(Errno::CONNRESET) => return Err(Broken::Gone),
            Ok(read) => return Ok(read),
            Err(Errno::AGAIN) => wait(socket.as_fd())?,
            Err(Errno::INTR) => {}
            Err(error) => return Err(failed(error).into()),
        }
    }
}

fn failed(error: Errno) -> Error {
    Error::from(std::io::Error::from(error)).context("the socket to a module's process")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    fn pair() -> (Sender, Receiver) {
        let (one, other) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        (Sender::new(Arc::new(one)), Receiver::new(Arc::new(other)))
    }

    fn patiently(flags: PollFlags) -> impl Wait {
        move |socket| {
            poll(&mut [PollFd::new(&socket, flags)], None).unwrap();
            Ok(())
        }
    }

    #[test]
    fn frames_of_every_size_come_back_in_order() {
        let (mut sender, mut receiver) = pair();
        let sizes = [0, 1, BUFFER_BYTES - HEADER_BYTES, BUFFER_BYTES, 3, 5 << 20, 0, STEP_BYTES + 7, 2];
        let sending = std::thread::spawn(move || {
            for size in sizes {
                let bytes: Vec<u8> = (0..size).map(|at| at as u8).collect();
                let (first, second) = bytes.split_at(size / 3);
                sender.send(Kind::Batch, &[first, second], patiently(PollFlags::OUT)).unwrap();
            }
        });
        for size in sizes {
            let frame = receiver.receive(patiently(PollFlags::IN)).unwrap();
            assert_eq!((frame.kind, frame.payload.len()), (Kind::Batch, size));
            assert!(frame.payload.iter().enumerate().all(|(at, byte)| *byte == at as u8));
        }
        sending.join().unwrap();
        assert!(matches!(receiver.receive(patiently(PollFlags::IN)), Err(Broken::Gone)));
    }

    #[test]
    fn what_is_no_frame_is_an_error_before_anything_is_allocated() {
        for header in [[1, 0, 0, 0, 99], [0xff, 0xff, 0xff, 0xff, Kind::Batch as u8]] {
            let (sender, mut receiver) = pair();
            rustix::io::write(&sender.socket, &header).unwrap();
            assert!(matches!(receiver.receive(patiently(PollFlags::IN)), Err(Broken::Error(_))));
        }
    }

    #[test]
    fn who_does_not_want_to_wait_does_not() {
        let (mut sender, mut receiver) = pair();
        let enough = |_: BorrowedFd<'_>| Err(Broken::Over(Limit::Grace));
        assert!(matches!(receiver.receive(enough), Err(Broken::Over(_))));
        assert!(matches!(sender.send(Kind::Batch, &[&vec![0; 8 << 20]], enough), Err(Broken::Over(_))));
    }
}
