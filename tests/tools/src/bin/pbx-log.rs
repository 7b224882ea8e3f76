//! Writes the log of an exchange to standard output.

use std::io::Write as _;

use clap::Parser;
use engine_test_tools::log::{self, LogSpec, QUICKSTART};

/// Writes the log of an exchange to standard output; without options, the quickstart's.
#[derive(Parser)]
struct Options {
    /// Lines that hold text, malformed ones among them
    #[arg(long, default_value_t = QUICKSTART.lines)]
    lines: u64,
    /// Lines that are no record
    #[arg(long, default_value_t = QUICKSTART.malformed)]
    malformed: u64,
    /// The same seed gives the same bytes
    #[arg(long, default_value_t = QUICKSTART.seed)]
    seed: u64,
}

fn main() -> std::io::Result<()> {
    let Options { lines, malformed, seed } = Options::parse();
    std::io::stdout().write_all(&log::write(&LogSpec { lines, malformed, seed }))
}
