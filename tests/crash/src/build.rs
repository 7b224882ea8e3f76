//! The engine that can be killed at a point.

use std::path::PathBuf;

use engine_end_to_end_tests::program;

/// The engine with its failpoints, which `make build` puts beside the other one.
/// Both use the same modules.
///
/// # Panics
/// When it is not there.
pub fn program_with_failpoints() -> PathBuf {
    let path = program().with_file_name("engine-failpoints");
    assert!(path.exists(), "there is no {}: run `make build` first", path.display());
    path
}
