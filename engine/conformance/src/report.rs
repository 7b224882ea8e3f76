//! What the suite found out, as a table of components and checks.

use std::fmt;
use std::path::{Path, PathBuf};

/// What is checked. The documentation of each says what must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// The file is a module of this interface, and its table is what its manifest says.
    Loads,
    /// The configuration's schema is a closed JSON Schema object; every setting is described.
    Schema,
    /// There is an example, and every example fits the schema.
    Examples,
    /// Configurations with an unknown key, a wrong type or nothing where something is
    /// required are refused as `config`, with a message.
    BadConfig,
    /// `check` answers with one line, or fails with a kind that is not a bug.
    CheckCall,
    /// A failed instance leaves another one of the same component alone.
    Neighbours,
    /// Splits have ids of their own that sort in order, and are planned the same way twice.
    Plan,
    /// Every split can be read; batches fit the announced columns.
    Read,
    /// A second instance reads the same rows from the same split.
    ReadAgain,
    /// After the upper bound of a window nothing of that window comes again.
    Cursor,
    /// `listen` returns soon after it was asked to stop.
    Listen,
    /// A stream without rows is worked on like any other.
    EmptyInput,
    /// A stream of one row is worked on.
    OneRow,
    /// 50 batches of 100 rows are worked on.
    ManyBatches,
    /// Rows without any value are worked on.
    AllNulls,
    /// Columns of rarer types are taken, or refused as `config` or row by row.
    WideTypes,
    /// Nothing disappears: in = out + filtered + rejected; a decoder's records = rows + rejected;
    /// a compression counts none.
    RowsAddUp,
    /// An input that breaks off is not taken for one that ended.
    BrokenInput,
    /// Work that was asked to stop ends soon, with an end or with `cancelled`.
    Cancel,
    /// What a format encodes, it decodes to the same values.
    RoundTrip,
    /// Files of one stream stay files of their own for a compression, the empty ones too.
    Files,
    /// Where a file was cut into pieces does not matter to a decoder.
    Chunking,
    /// A compressed file that ends too early is refused.
    CutShort,
    /// Bytes that are no file of its kind never make a decoder panic.
    Garbage,
    /// A sink shows nothing before `commit`.
    Invisible,
    /// A delivery that comes again under its key is there once.
    CommitOnce,
    /// `abort` leaves nothing, works on nothing and twice, and the delivery can be made again.
    Abort,
    /// A delivery whose `write` was cut off by a crash arrives once when it is made again.
    CrashInWrite,
    /// A delivery that was written but not committed before a crash arrives once.
    CrashBeforeCommit,
    /// Deliveries arrive whole and in their order.
    Order,
    /// What is cut out of a file decodes to what it does in the file.
    Cuts,
    /// Deliveries that several instances make at the same time arrive whole, where the sink allows it.
    Parallel,
    /// `begin_run` and `finish_run` can be called twice.
    RunTwice,
    /// The receipt says how much arrived and where it is.
    Receipt,
}

impl Check {
    /// All checks, in the order of the report.
    pub const ALL: [Self; 34] = [
        Self::Loads,
        Self::Schema,
        Self::Examples,
        Self::BadConfig,
        Self::CheckCall,
        Self::Neighbours,
        Self::Plan,
        Self::Read,
        Self::ReadAgain,
        Self::Cursor,
        Self::Listen,
        Self::EmptyInput,
        Self::OneRow,
        Self::ManyBatches,
        Self::AllNulls,
        Self::WideTypes,
        Self::RowsAddUp,
        Self::BrokenInput,
        Self::Cancel,
        Self::RoundTrip,
        Self::Files,
        Self::Chunking,
        Self::CutShort,
        Self::Garbage,
        Self::Cuts,
        Self::Invisible,
        Self::CommitOnce,
        Self::Abort,
        Self::CrashInWrite,
        Self::CrashBeforeCommit,
        Self::Order,
        Self::Parallel,
        Self::RunTwice,
        Self::Receipt,
    ];
}

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// What must hold, held.
    Passed,
    /// It did not, and this is what was seen.
    Failed(String),
    /// Something that the check needs was not there. Not a pass.
    NotRun(String),
    /// The component promises nothing of the kind.
    NotPromised(String),
}

/// One check of one component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// `kind name`, as in `sink postgres`; `module` for the module as a whole.
    pub component: String,
    /// What was checked.
    pub check: Check,
    /// How it ended.
    pub outcome: Outcome,
}

/// Everything that was checked on one module.
#[derive(Debug, Clone)]
pub struct Report {
    /// The module's file.
    pub module: PathBuf,
    /// In the order of the checks.
    pub lines: Vec<Line>,
}

impl Report {
    pub(crate) fn new(module: &Path) -> Self {
        Self { module: module.to_owned(), lines: Vec::new() }
    }

    pub(crate) fn add(&mut self, component: &str, check: Check, outcome: Outcome) {
        self.lines.push(Line { component: component.to_owned(), check, outcome });
    }

    /// Whether nothing failed and nothing was left out.
    pub fn conforms(&self) -> bool {
        self.complaints().is_empty()
    }

    /// The checks that failed or were not run.
    pub fn complaints(&self) -> Vec<&Line> {
        let bad = |line: &&Line| matches!(line.outcome, Outcome::Failed(_) | Outcome::NotRun(_));
        self.lines.iter().filter(bad).collect()
    }

    /// The checks of one component that failed.
    pub fn failed(&self, component: &str) -> Vec<Check> {
        let bad = |line: &&Line| line.component == component && matches!(line.outcome, Outcome::Failed(_));
        self.lines.iter().filter(bad).map(|line| line.check).collect()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.module.display())?;
        let width = self.lines.iter().map(|line| line.component.len()).max().unwrap_or(0);
        for line in &self.lines {
            let (word, why) = match &line.outcome {
                Outcome::Passed => ("passed", ""),
                Outcome::Failed(why) => ("FAILED", why.as_str()),
                Outcome::NotRun(why) => ("NOT RUN", why.as_str()),
                Outcome::NotPromised(why) => ("not promised", why.as_str()),
            };
            let check = format!("{:?}", line.check);
            writeln!(f, "  {:width$}  {check:17}  {word:12}  {}", line.component, why.replace('\n', "\n        "))?;
        }
        Ok(())
    }
}
