//! One run of a pipeline: windows, splits, stages, retry, delivery.
//!
//! A run is a [`Run`] over an [`Assembly`]: a resolved pipeline with its loaded
//! components. What a run makes is ordered so that a crash between any two
//! writes is harmless: the window is stored before any output, dead letters
//! before the commit they belong to, the ledger after it. See
//! `docs/architecture.md` for the order and what follows from it.
//!
//! # Invariants
//!
//! - Attempts are counted in one place (the budget of a sink or a source) and
//!   nowhere multiplied.
//! - The kind of an error alone decides what happens; no message is read.
//! - Queues are bounded by bytes; nothing holds a whole split.
//! - Rows add up at every stage, or the delivery fails before it is committed.
//! - Nothing here knows a connector, a file format or the command line.

mod assembly;
mod backfill;
mod bounded;
mod burst;
mod catch_up;
mod cut;
mod drift;
mod edge;
mod front;
mod herald;
mod kept;
mod lane;
mod letters;
mod meters;
mod notices;
mod outlet;
mod pass;
mod plain;
mod push;
mod queue;
mod reader;
mod remote_state;
mod replay;
mod resend;
mod retry;
mod run;
mod shared;
mod slot;
mod spans;
mod spill;
mod stage_host;
mod stop;
mod try_out;
mod upstream;

pub use assembly::{Assembly, NoticePart, Part, SinkPart, SourcePart, component};
pub use backfill::Step;
pub use kept::{Kept, KeptFile};
pub use letters::{Collected, Letters, rows_as_json};
pub use meters::{Figures, Meters, SinkFigures, SinkStatus};
pub use notices::{raise, tell_now};
pub use queue::queued_bytes;
pub use remote_state::RemoteState;
pub use replay::Requests;
pub use run::{Run, RunReport};
pub use shared::{Revive, RunOptions};
pub use stage_host::StageHost;
pub use stop::Stop;
pub use try_out::{CaseResult, Preview, StagePreview, preview, run_case};
pub use upstream::SplitCounts;

/// Every point at which a test can end the process inside a run, those of the
/// state included. They exist with the cargo feature `failpoints`.
pub fn failpoints() -> impl Iterator<Item = &'static str> {
    engine_state::FAILPOINTS.iter().chain(outlet::FAILPOINTS).copied()
}
