//! What is to be done, in order.

use std::sync::mpsc::Sender;

use chrono::{DateTime, TimeDelta, Utc};
use engine_abi::Result;
use engine_runtime::RunReport;
use engine_state::{DeadLetter, Waiting};
use serde_json::Value;

/// Something that a pipeline is to do. A pipeline does one thing at a time.
pub(crate) struct Task {
    pub(crate) pipeline: String,
    pub(crate) work: Work,
    /// Not before this.
    pub(crate) from: DateTime<Utc>,
    pub(crate) since: DateTime<Utc>,
}

/// What it is.
pub(crate) enum Work {
    /// A run that stands in the state's queue.
    Run { number: i64, trigger: String, slot: Option<DateTime<Utc>>, params: Value, reference: Option<String> },
    /// Receiving, for as long as the service runs.
    Listen,
    /// Telling what is to be told: at the end of a run that is done anyway.
    Tell,
    /// Dead letters once more.
    Replay { letters: Vec<DeadLetter>, sinks: Vec<String>, answer: Sender<Result<RunReport>> },
    /// A window once more.
    Resend { window: u64, sinks: Vec<String>, again: bool, answer: Sender<Result<RunReport>> },
}

impl Task {
    /// The run that waits in the state. `from`: not before this.
    pub(crate) fn of(waiting: Waiting, from: DateTime<Utc>) -> Self {
        let Waiting { number, pipeline, trigger, slot, params, reference, since } = waiting;
        Self { pipeline, work: Work::Run { number, trigger, slot, params, reference }, from, since }
    }

    /// The clock was set back: it waits as long as it was to, and not until the clock is there again.
    pub(crate) fn wait_anew(&mut self, now: DateTime<Utc>) {
        let wait = (self.from - self.since).max(TimeDelta::zero());
        (self.since, self.from) = (now, now + wait);
    }
}

impl Work {
    pub(crate) fn trigger(&self) -> &str {
        match self {
            Self::Run { trigger, .. } => trigger,
            Self::Listen | Self::Tell => "service",
            Self::Replay { .. } => "replay",
            Self::Resend { .. } => "resend",
        }
    }

    pub(crate) fn slot(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Run { slot, .. } => *slot,
            _ => None,
        }
    }

    /// What it is called by whoever asked for it.
    pub(crate) fn reference(&self) -> Option<&str> {
        match self {
            Self::Run { reference, .. } => reference.as_deref(),
            _ => None,
        }
    }

    /// Its number in the state's queue.
    pub(crate) fn number(&self) -> Option<i64> {
        match self {
            Self::Run { number, .. } => Some(*number),
            _ => None,
        }
    }

    /// Whether it counts among the runs of which there are so many at a time.
    pub(crate) fn is_counted(&self) -> bool {
        !matches!(self, Self::Listen | Self::Tell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_waiting_for_longer() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        for (from, expected) in
            [("2026-03-01T09:00:05Z", "2026-03-01T07:00:05Z"), ("2026-03-01T08:00:00Z", "2026-03-01T07:00:00Z")]
        {
            let since = at("2026-03-01T09:00:00Z");
            let mut task = Task { pipeline: "p".into(), work: Work::Tell, from: at(from), since };
            task.wait_anew(at("2026-03-01T07:00:00Z"));
            assert_eq!((task.from, task.since), (at(expected), at("2026-03-01T07:00:00Z")), "{from}");
        }
    }
}
