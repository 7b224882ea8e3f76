//! The engine that can be killed at a point.

use std::path::PathBuf;
use std::process::Command;

use engine_end_to_end_tests::{program, workspace};

/// Builds the engine with its failpoints, in the same profile as the tests, into
/// a folder below theirs. It uses the modules of the other one.
///
/// # Panics
/// When it cannot be built.
pub fn program_with_failpoints() -> PathBuf {
    let beside = program();
    let profile = beside.parent().expect("it is in a folder");
    let target = profile.parent().expect("cargo names folders after profiles").join("failpoints");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "-p", "engine-cli", "--features", "failpoints", "--target-dir"]).arg(&target);
    if profile.ends_with("release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(workspace()).status().expect("cargo can be run");
    assert!(status.success(), "the engine with failpoints cannot be built");
    target.join(profile.file_name().expect("it is a folder")).join("engine")
}
