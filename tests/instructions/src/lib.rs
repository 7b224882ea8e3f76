//! The hot paths: the few pieces of code that every row goes through.
//!
//! The program `hot-path` runs one of them over rows that are the same each time, and does next to
//! nothing else, so that a count of its instructions is a count of the path's. The formats are modules,
//! loaded as the engine loads them: the border is part of what a row costs.

mod calls;
mod copy;
mod formats;
mod spool;

use engine_abi::Result;

pub use calls::BLOCK;

/// One of the hot paths.
#[derive(Debug, Clone, Copy)]
pub struct HotPath {
    /// Its name, on the command line and in the budgets.
    pub name: &'static str,
    /// What it is, for a table.
    pub what: &'static str,
    /// Sends so many blocks of rows through it. An error when not all of them arrive.
    pub run: fn(blocks: usize) -> Result<()>,
    /// The function that alone counts, with all that it calls. None: everything counts.
    pub counted: Option<&'static str>,
}

impl HotPath {
    const fn new(name: &'static str, what: &'static str, run: fn(usize) -> Result<()>) -> Self {
        Self { name, what, run, counted: None }
    }
}

/// Every hot path.
pub const HOT_PATHS: &[HotPath] = &[
    HotPath::new("avaya_cdr_decode", "PBX line to row, module `avaya_cdr`", formats::decode_avaya_cdr),
    HotPath::new("csv_decode", "CSV to row, module `csv`", formats::decode_csv),
    HotPath::new("csv_encode", "row to CSV, module `csv`", formats::encode_csv),
    HotPath::new("copy_decode", "PostgreSQL's binary COPY to row", copy::decode),
    HotPath::new("copy_encode", "row to PostgreSQL's binary COPY", copy::encode),
    // Not with the thread of the group commit: what that does depends on the time that passes.
    HotPath {
        counted: Some("engine_state::spool::Spool::append"),
        ..HotPath::new("spool_append", "PBX line into the spool, one record", spool::append)
    },
];

/// Requires that what went in has come out.
fn require(what: &str, found: u64, expected: usize) -> Result<()> {
    if found == expected as u64 {
        return Ok(());
    }
    Err(engine_abi::Error::internal(format!("{found} {what} came out, not {expected}")))
}
