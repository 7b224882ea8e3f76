//! `hot-path NAME ROWS`: sends rows through one hot path, once.

use std::process::ExitCode;

use engine_instruction_tests::{BLOCK, HOT_PATHS, HotPath};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((path, blocks)) = wanted(&arguments) else {
        let names: Vec<_> = HOT_PATHS.iter().map(|path| path.name).collect();
        eprintln!("usage: hot-path NAME ROWS\nnames: {}\nrows: a multiple of {BLOCK}", names.join(", "));
        return ExitCode::from(2);
    };
    if let Err(error) = (path.run)(blocks) {
        eprintln!("{}: {error}", path.name);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn wanted(arguments: &[String]) -> Option<(&'static HotPath, usize)> {
    let [name, rows] = arguments else { return None };
    let path = HOT_PATHS.iter().find(|path| path.name == name)?;
    let rows: usize = rows.parse().ok()?;
    rows.is_multiple_of(BLOCK).then_some((path, rows / BLOCK))
}
