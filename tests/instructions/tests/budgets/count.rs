//! Builds the program and counts its instructions.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use engine_instruction_tests::{BLOCK, HotPath};
use serde_json::Value;

/// What is begun with: buffers have their sizes by then.
const WARM_UP: usize = 4 * BLOCK;
/// What is counted.
const ROWS: usize = 16 * BLOCK;

/// Has cargo build the program and the modules beside it, so that what is counted is never older than
/// its sources. Answers where the program is.
pub fn build() -> PathBuf {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["hot-paths", "--message-format=json-render-diagnostics"]);
    // Where the alias stands. What cargo says meanwhile is shown: from nothing this takes minutes.
    command.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")).stderr(Stdio::inherit());
    let output = command.output().expect("cargo starts");
    assert!(output.status.success(), "{command:?} failed");
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let program = messages.lines().find_map(|line| {
        let message: Value = serde_json::from_str(line).ok()?;
        (message["target"]["name"] == "hot-path").then(|| message["executable"].as_str().map(PathBuf::from))?
    });
    program.expect("cargo names the program that it has built")
}

/// How many instructions one more row costs on a path. The difference of two runs: what it takes to
/// begin and to end is in both.
pub fn instructions_a_row(program: &Path, path: &HotPath) -> u64 {
    let begun = instructions(program, path, WARM_UP);
    let done = instructions(program, path, WARM_UP + ROWS);
    let counted = path.counted.unwrap_or("main");
    assert!(done > begun, "{}: nothing was counted; is there still a function `{counted}`?", path.name);
    (done - begun).div_ceil(ROWS as u64)
}

fn instructions(program: &Path, path: &HotPath, rows: usize) -> u64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.args(path.counted.map(|function| format!("--toggle-collect={function}")));
    command.arg(program).args([path.name, &rows.to_string()]);
    let output = command.output().unwrap_or_else(|error| {
        panic!("valgrind cannot be run: {error}; install it: `apt-get install valgrind`");
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} failed:\n{said}");
    collected(&said).unwrap_or_else(|| panic!("{command:?} gave no count:\n{said}"))
}

/// The sum that callgrind ends with: `==7== Collected : 1234`.
fn collected(said: &str) -> Option<u64> {
    said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
}

#[test]
fn the_sum_is_found_in_what_callgrind_says() {
    assert_eq!(collected("==7== Events    : Ir\n==7== Collected : 56789012\n==7== \n"), Some(56_789_012));
    assert_eq!(collected("==7== Events    : Ir\n"), None);
}
