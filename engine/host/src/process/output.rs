//! What a module's process prints goes to the engine's log, within bounds.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{ChildStderr, ChildStdout};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::Pid;

use super::spawn::end_of;
use crate::bounded::{LINE_BYTES, Rate};
use crate::callbacks::{Host, Level};

/// Where the lines go.
#[derive(Clone)]
pub struct Output {
    /// The engine's side of the instance; none: nobody has opened one yet.
    pub host: Option<Arc<dyn Host>>,
    /// What ran out of memory says so here last: how the runtimes of Rust and C++ do.
    pub ran_out: Arc<Mutex<bool>>,
}

impl Output {
    pub fn new(host: Option<Arc<dyn Host>>) -> Self {
        Self { host, ran_out: Arc::default() }
    }

    /// Whether the process said that it could get no more memory.
    pub fn ran_out(&self) -> bool {
        *self.ran_out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at a line, also at one that the log does not get.
    fn notice(&self, line: &str) {
        if (line.starts_with("memory allocation of ") && line.ends_with(" failed")) || line.contains("std::bad_alloc") {
            *self.ran_out.lock().unwrap_or_else(PoisonError::into_inner) = true;
        }
    }

    fn report(&self, level: Level, left_out: u64) {
        self.log(level, &format!("the module printed {left_out} more lines, which were left out"));
    }

    fn log(&self, level: Level, line: &str) {
        match (&self.host, level) {
            _ if line.is_empty() => {}
            (Some(host), _) => host.log(level, line),
            (None, Level::Warn) => tracing::warn!("{line}"),
            (None, _) => tracing::debug!("{line}"),
        }
    }
}

/// Forwards what a process prints until it has ended.
pub fn forward(pid: Pid, printed: Option<ChildStdout>, errors: Option<ChildStderr>, output: Output) {
    let end = end_of(pid);
    let mut printed = Lines::new(printed.map(OwnedFd::from), Level::Debug);
    let mut errors = Lines::new(errors.map(OwnedFd::from), Level::Warn);
    let mut ended = false;
    while !ended && (printed.pipe.is_some() || errors.pipe.is_some()) {
        let pipes = [&printed.pipe, &errors.pipe, &end];
        let mut waited: Vec<_> = pipes.iter().filter_map(|it| Some(PollFd::new(it.as_ref()?, PollFlags::IN))).collect();
        if poll(&mut waited, None).is_err() {
            continue;
        }
        // Somebody else may hold the pipes open for ever: the end of the process is the end.
        ended = end.as_ref().is_some_and(|_| waited.last().is_some_and(|it| !it.revents().is_empty()));
        for lines in [&mut printed, &mut errors] {
            lines.read(&output);
        }
    }
    for lines in [&mut printed, &mut errors] {
        lines.flush(&output);
        lines.rate.finish(|left_out| output.report(lines.level, left_out));
    }
}

/// The lines of one pipe.
struct Lines {
    pipe: Option<OwnedFd>,
    level: Level,
    begun: Vec<u8>,
    /// The line is longer than what is kept of it.
    cut: bool,
    rate: Rate,
}

impl Lines {
    fn new(pipe: Option<OwnedFd>, level: Level) -> Self {
        let pipe = pipe.filter(|pipe| rustix::io::ioctl_fionbio(pipe, true).is_ok());
        Self { pipe, level, begun: Vec::new(), cut: false, rate: Rate::new() }
    }

    /// Reads what there is.
    fn read(&mut self, output: &Output) {
        let mut buffer = [0; 8 * 1024];
        while let Some(pipe) = &self.pipe {
            match rustix::io::read(pipe.as_fd(), &mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(read) => self.take(&buffer[..read], output),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    fn take(&mut self, bytes: &[u8], output: &Output) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let free = LINE_BYTES.saturating_sub(self.begun.len());
            self.cut |= piece.len() > free;
            let _ = piece.take(free as u64).read_to_end(&mut self.begun);
            if piece.ends_with(b"\n") {
                self.flush(output);
            }
        }
    }

    /// Forwards the line that was begun.
    fn flush(&mut self, output: &Output) {
        if self.begun.is_empty() {
            return;
        }
        if std::mem::take(&mut self.cut) {
            self.begun.extend("…".as_bytes());
        }
        let line = String::from_utf8_lossy(&self.begun);
        output.notice(line.trim_end());
        if self.rate.admits(|left_out| output.report(self.level, left_out)) {
            output.log(self.level, line.trim_end());
        }
        self.begun.clear();
    }
}
