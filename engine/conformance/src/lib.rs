//! The suite that every module passes, whatever language it was written in.
//!
//! [`check_module`] loads one module file as the engine does and puts each of
//! its components through the checks of its kind ([`Check`]). What the suite
//! needs to know about a component stands beside it, in a file
//! `conformance.json` (see [`Fixtures`]); without one it uses the component's
//! first example. A check that could not be run is reported as such and never
//! counted as passed.
//!
//! Every check is worth its place only if it finds something: the faulty
//! modules under `tests/modules` hold one component for each check, and a test
//! in `tests/conformance` asserts that exactly that check fails.

mod check;
mod compression;
mod description;
mod fixture;
mod flow;
mod format;
mod host;
mod report;
mod rows;
mod sink;
mod source;
mod state;
mod subject;
mod suite;

pub use check::Check;
pub use fixture::{FILE, Fixtures, components};
pub use host::Recorder;
pub use report::{Line, Outcome, Report, Totals};
pub use subject::{Stop, Verdict};
pub use suite::{Observer, Suite, check_isolated_module, check_module};
