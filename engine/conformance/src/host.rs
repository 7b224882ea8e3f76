//! The engine's side of an instance under test: it notes all that it is told.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use engine_abi::Result;
use engine_host::{Arrival, Host, Level, Payload, Rejection};

/// Counts what a component reports and can be told to cancel.
#[derive(Debug, Default)]
pub struct Recorder {
    cancelled: AtomicBool,
    asked: AtomicU64,
    /// The question that is answered with yes; 0: none.
    cancel_at: AtomicU64,
    records: AtomicU64,
    filtered: AtomicU64,
    rejected: AtomicU64,
    appended: AtomicU64,
    unexplained: Mutex<Vec<String>>,
}

impl Recorder {
    /// From now on the component is asked to stop.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::SeqCst);
    }

    /// The component is asked to stop when it asks for the `question`th time from
    /// now, so that it surely is at work by then.
    pub fn cancel_at_question(&self, question: u64) {
        self.cancel_at.store(self.asked() + question, Ordering::SeqCst);
    }

    /// Whether it was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    /// How often the component asked whether it should stop.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Records that a decoder framed.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::SeqCst)
    }

    /// Rows left out on purpose.
    pub fn filtered(&self) -> u64 {
        self.filtered.load(Ordering::SeqCst)
    }

    /// Records or rows refused.
    pub fn rejected(&self) -> u64 {
        self.rejected.load(Ordering::SeqCst)
    }

    /// Rejections that came without a code or a reason.
    pub fn unexplained(&self) -> Vec<String> {
        self.unexplained.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Host for Recorder {
    fn log(&self, _level: Level, _message: &str) {}

    fn cancelled(&self) -> bool {
        let question = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        if question == self.cancel_at.load(Ordering::SeqCst) {
            self.cancel();
        }
        self.is_cancelled()
    }

    fn deadline(&self) -> Option<Duration> {
        None
    }

    fn progress(&self, records: u64, _bytes: u64) {
        self.records.fetch_add(records, Ordering::SeqCst);
    }

    fn filtered(&self, rows: u64) {
        self.filtered.fetch_add(rows, Ordering::SeqCst);
    }

    fn reject(&self, rejection: Rejection) -> Result<()> {
        if rejection.code.is_empty() || rejection.reason.is_empty() {
            let seen = format!("code `{}`, reason `{}`", rejection.code, rejection.reason);
            self.unexplained.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        }
        let rows = match &rejection.payload {
            Payload::Bytes { .. } => 1,
            Payload::Rows(rows) => rows.num_rows() as u64,
        };
        self.rejected.fetch_add(rows, Ordering::SeqCst);
        Ok(())
    }

    fn receipt(&self, _part: serde_json::Value) -> Result<()> {
        Ok(())
    }

    fn remember(&self, _: serde_json::Value) -> Result<()> {
        Ok(())
    }

    fn append(&self, arrival: Arrival<'_>) -> Result<u64> {
        Ok(self.appended.fetch_add(u64::from(arrival.records), Ordering::SeqCst))
    }

    fn durable(&self, _sequence: u64) -> Result<()> {
        Ok(())
    }
}
