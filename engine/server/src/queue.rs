//! What is to be done, in order.

use std::sync::mpsc::Sender;

use chrono::{DateTime, Utc};
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
