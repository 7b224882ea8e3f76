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
mod subject;

use std::path::Path;

use engine_abi::ComponentKind;

pub use fixture::{FILE, Fixtures};
pub use host::Recorder;
pub use report::{Check, Line, Outcome, Report};
pub use subject::{Stop, Verdict};

use subject::Subject;

/// Puts all components of one module file through the suite.
pub fn check_module(path: &Path, fixtures: &Fixtures) -> Report {
    let mut report = Report::new(path);
    let subjects = match Subject::all(path, fixtures) {
        Ok(subjects) => subjects,
        Err(error) => {
            report.add("module", Check::Loads, Outcome::Failed(error.to_string()));
            return report;
        }
    };
    report.add("module", Check::Loads, Outcome::Passed);
    for subject in subjects {
        let description = subject.component.description();
        description::run(&subject, &mut report);
        match subject.component.kind() {
            ComponentKind::Source if description.push => source::run_push(&subject, &mut report),
            ComponentKind::Source => source::run(&subject, &mut report),
            ComponentKind::Transform => flow::run(&subject, &mut report),
            ComponentKind::Format => {
                flow::run(&subject, &mut report);
                match description.is_compression() {
                    true => compression::run(&subject, &mut report),
                    false => format::run(&subject, &mut report),
                }
            }
            ComponentKind::Sink => {
                flow::run(&subject, &mut report);
                sink::run(&subject, &mut report);
            }
        }
    }
    report
}
