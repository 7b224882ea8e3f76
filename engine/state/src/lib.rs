//! What the engine remembers between two instructions, so that a crash between
//! them costs nothing.
//!
//! Two stores live in the state folder, and both are durable before their calls
//! say so:
//!
//! - [`State`] is `state.db`, an embedded SQLite file (write-ahead log,
//!   `synchronous=FULL`): runs, windows with their splits, the ledger of every
//!   delivery, the cursors of every sink, and dead letters. Every public call
//!   that writes is exactly one transaction.
//!   It can be the copy of a state that stands in a database ([`Mirror`]): then
//!   a transaction is taken there first.
//! - [`Spool`] is the log into which push sources write what they receive before
//!   anything else happens to it.
//!
//! # Invariants
//!
//! - One engine holds a folder ([`State::open`] takes a lock that ends with the
//!   process); others may look ([`State::read`]).
//! - Window numbers and spool offsets are never used twice, not even after
//!   [`State::reset`]: a commit key that a target keeps means one delivery for
//!   ever.
//! - A window is stored before any output is made from it, and only
//!   [`State::settle`] finishes it.
//! - A cursor moves in window order, in the transaction that stores the last
//!   receipt it waited for.
//! - A dead letter that is final is never overwritten and never removed.
//! - This crate knows nothing of pipeline files, modules or the network, and sees one
//!   kind of secret, the logins that stages remember: they are in the file, which is
//!   its user's alone, and in no mirror. Callers keep all others out of definitions,
//!   contexts and reports.

mod abandoned;
mod answers;
mod backfill;
mod covered;
mod cursors;
mod dead_letters;
mod error;
mod ledger;
mod lock;
mod mirror;
mod notices;
mod operations;
mod remembered;
mod retention;
mod runs;
mod schedules;
mod schema;
pub mod spool;
mod store;
mod windows;

pub use backfill::Backfill;
pub use covered::About;
pub use cursors::Cursor;
pub use dead_letters::{
    DeadLetter, DeadLetterCount, DeadLetterFilter, DeadLetterStatus, MAX_PAGE, Mark, NewDeadLetter, Payload,
};
pub use ledger::{Delivery, DeliveryFilter, DeliveryRecord, Failure, RUN_SPLIT};
pub use lock::create_private_folder;
pub use mirror::Mirror;
pub use notices::{Health, KEPT_NOTICES, Notice};
pub use retention::KEPT_WINDOWS;
pub use runs::{KEPT_RUNS, Outcome, Run, RunFilter};
pub use schedules::{Decision, Reached, Waiting, Wanted};
pub use spool::{Spool, SpoolOptions};
pub use store::State;
pub use windows::{NewWindow, SinkPlan, Window, WindowKind, WindowSink};

/// Every point at which a test can stop the process between two durable writes,
/// in the order of one delivery. They exist with the cargo feature `failpoints`
/// and cost nothing without it.
///
/// A point named in the past tense stands right after its write is durable (for
/// `spool::appended`: after it is written, not yet synced); `state::settling`
/// stands inside the transaction, just before it is committed.
pub const FAILPOINTS: &[&str] = &[
    "spool::appended",
    "spool::synced",
    "state::run_begun",
    "state::window_stored",
    "state::attempt_counted",
    "state::dead_letters_cleared",
    "state::dead_letters_stored",
    "state::answer_kept",
    "state::sealed",
    "state::settling",
    "state::settled",
    "state::source_told",
    "spool::truncated",
    "state::run_ended",
];

/// The one of a window that is given up, right after that is durable.
pub const ABANDONED_FAILPOINT: &str = "state::window_abandoned";

/// Those of a schedule, each right after its write is durable: its slots are decided on, a run has left the queue.
pub const SCHEDULE_FAILPOINTS: &[&str] = &["state::schedule_decided", "state::waiting_begun"];
