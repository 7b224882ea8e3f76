//! The quickstart's log is generated, and committed: this keeps the two the same.

use std::fs;
use std::path::Path;

use engine_test_tools::log::{self, LogSpec, MALFORMED, QUICKSTART};

/// What a clone has to carry for its quickstart.
const SIZE_LIMIT: usize = 4 * 1024 * 1024;

#[test]
fn the_shipped_log_is_what_the_generator_writes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../pipelines/data/pbx.log");
    let generated = log::write(&QUICKSTART);
    assert!(generated.len() < SIZE_LIMIT, "the log has {} bytes", generated.len());
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, &generated).unwrap();
    }
    let shipped = fs::read(&path).unwrap_or_default();
    assert!(shipped == generated, "pipelines/data/pbx.log is stale: UPDATE=1 cargo test -p engine-test-tools");
}

#[test]
fn a_log_has_the_lines_that_were_asked_for() {
    let lines_of = |log: &[u8]| {
        let lines = log.split(|byte| *byte == b'\n');
        let text = |line: &&[u8]| line.iter().any(|byte| !matches!(byte, b'\r' | 0));
        lines.filter(text).count()
    };
    for (lines, malformed) in [(0, 0), (1, 0), (1, 1), (40, 16), (3_000, 10)] {
        let log = log::write(&LogSpec { lines, malformed, seed: 1 });
        assert_eq!(lines_of(&log), lines as usize, "{lines} lines, {malformed} malformed");
    }
}

#[test]
fn every_kind_of_malformed_line_is_shipped_equally_often() {
    assert_eq!(QUICKSTART.malformed as usize % MALFORMED.len(), 0);
    const { assert!(QUICKSTART.lines - QUICKSTART.malformed >= 50_000) };
}

#[test]
fn the_seed_alone_decides_the_bytes() {
    let spec = LogSpec { lines: 500, malformed: 16, seed: 7 };
    assert_eq!(log::write(&spec), log::write(&spec));
    assert_ne!(log::write(&spec), log::write(&LogSpec { seed: 8, ..spec }));
}
