//! What a component may say: enough for a person to read, and not so much that a
//! disk fills with it.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine_abi::Result;

use crate::callbacks::{Arrival, Host, Level, Rejection};

/// What is kept of a line.
pub const LINE_BYTES: usize = 4 * 1024;

/// Lines of one origin that go to the log within a second.
const LINES_A_SECOND: u32 = 100;

/// How much may still be said.
pub struct Rate {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Rate {
    pub fn new() -> Self {
        Self { since: Instant::now(), lines: 0, left_out: 0 }
    }

    /// Whether one more line may be said. `report` tells how many were left out before it.
    pub fn admits(&mut self, report: impl FnOnce(u64)) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            self.finish(report);
            (self.since, self.lines) = (Instant::now(), 0);
        }
        self.lines = self.lines.saturating_add(1);
        self.left_out += u64::from(self.lines > LINES_A_SECOND);
        self.lines <= LINES_A_SECOND
    }

    /// Reports the lines that were left out since the last report.
    pub fn finish(&mut self, report: impl FnOnce(u64)) {
        match std::mem::take(&mut self.left_out) {
            0 => {}
            left_out => report(left_out),
        }
    }
}

/// The beginning of a line that is too long.
fn shortened(line: &str) -> Cow<'_, str> {
    if line.len() <= LINE_BYTES {
        return Cow::Borrowed(line);
    }
    Cow::Owned(format!("{}…", &line[..line.floor_char_boundary(LINE_BYTES)]))
}

/// A host whose log takes only so much of an instance.
pub struct Bounded {
    host: Arc<dyn Host>,
    /// What a person should see is not crowded out by what helps an author.
    important: Mutex<Rate>,
    other: Mutex<Rate>,
}

impl Bounded {
    pub fn new(host: Arc<dyn Host>) -> Self {
        Self { host, important: Mutex::new(Rate::new()), other: Mutex::new(Rate::new()) }
    }

    fn report(&self, level: Level, left_out: u64) {
        self.host.log(level, &format!("the component logged {left_out} more lines, which were left out"));
    }
}

impl Host for Bounded {
    fn log(&self, level: Level, message: &str) {
        let rate = if matches!(level, Level::Error | Level::Warn) { &self.important } else { &self.other };
        let admitted =
            rate.lock().unwrap_or_else(PoisonError::into_inner).admits(|left_out| self.report(level, left_out));
        if admitted {
            self.host.log(level, &shortened(message));
        }
    }

    fn cancelled(&self) -> bool {
        self.host.cancelled()
    }

    fn deadline(&self) -> Option<Duration> {
        self.host.deadline()
    }

    fn progress(&self, records: u64, bytes: u64) {
        self.host.progress(records, bytes);
    }

    fn filtered(&self, rows: u64) {
        self.host.filtered(rows);
    }

    fn reject(&self, rejection: Rejection) -> Result<()> {
        self.host.reject(rejection)
    }

    fn receipt(&self, part: serde_json::Value) -> Result<()> {
        self.host.receipt(part)
    }

    fn remember(&self, value: serde_json::Value) -> Result<()> {
        self.host.remember(value)
    }

    fn append(&self, arrival: Arrival<'_>) -> Result<u64> {
        self.host.append(arrival)
    }

    fn durable(&self, sequence: u64) -> Result<()> {
        self.host.durable(sequence)
    }
}

impl Drop for Bounded {
    fn drop(&mut self) {
        for (level, rate) in [(Level::Warn, &self.important), (Level::Debug, &self.other)] {
            rate.lock().unwrap_or_else(PoisonError::into_inner).finish(|left_out| self.report(level, left_out));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_rate_are_counted_and_reported() {
        let mut rate = Rate::new();
        let admitted = (0..LINES_A_SECOND + 7).filter(|_| rate.admits(|_| panic!("a second is not over"))).count();
        assert_eq!(admitted, LINES_A_SECOND as usize);
        rate.since -= Duration::from_secs(1);
        let mut reported = 0;
        assert!(rate.admits(|left_out| reported = left_out));
        assert_eq!(reported, 7);
        rate.finish(|_| panic!("it was reported"));
    }

    #[test]
    fn a_long_line_is_cut_between_characters() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&"ä".repeat(LINE_BYTES)).into_owned();
        assert!(long.ends_with("ä…") && long.len() <= LINE_BYTES + '…'.len_utf8());
    }
}
