//! What the suite found out, for people and for machines.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::Check;

/// How a check ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "why", rename_all = "snake_case")]
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

/// One check of one component. Shown as what must hold, with the reason below
/// where it is not known to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `kind name`, as in `sink postgres`; `module` for the module as a whole.
    pub component: String,
    /// What was checked.
    pub check: Check,
    /// How it ended.
    #[serde(flatten)]
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

/// How many checks ended in which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// What must hold, held.
    pub passed: usize,
    /// It did not.
    pub failed: usize,
    /// It is not known.
    pub not_run: usize,
    /// It need not.
    pub not_promised: usize,
}

impl Report {
    pub(crate) fn new(module: &Path) -> Self {
        Self { module: module.to_owned(), lines: Vec::new() }
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

    /// How many checks ended in which way.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for line in &self.lines {
            *match line.outcome {
                Outcome::Passed => &mut totals.passed,
                Outcome::Failed(_) => &mut totals.failed,
                Outcome::NotRun(_) => &mut totals.not_run,
                Outcome::NotPromised(_) => &mut totals.not_promised,
            } += 1;
        }
        totals
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.module.display())?;
        let mut component = "";
        for line in &self.lines {
            if line.component != component {
                component = &line.component;
                writeln!(f, "{component}")?;
            }
            writeln!(f, "{line}")?;
        }
        writeln!(f, "{}", self.totals())
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, why) = match &self.outcome {
            Outcome::Passed => ("passed", None),
            Outcome::Failed(why) => ("FAILED", Some(why)),
            Outcome::NotRun(why) => ("NOT RUN", Some(why)),
            Outcome::NotPromised(why) => ("not promised", Some(why)),
        };
        write!(f, "  {word:12}  {:17}  {}", self.check.name(), self.check.demand())?;
        match why {
            Some(why) => write!(f, "\n{:16}{}", "", why.replace('\n', &format!("\n{:16}", ""))),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { passed, failed, not_run, not_promised } = self;
        write!(f, "{passed} passed, {failed} failed, {not_run} not run, {not_promised} not promised")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(check: Check, outcome: Outcome) -> Line {
        Line { component: "sink x".into(), check, outcome }
    }

    #[test]
    fn a_report_says_what_must_hold_and_why_it_does_not() {
        let mut report = Report::new(Path::new("libx.so"));
        report.lines = vec![
            Line { component: "module".into(), check: Check::Loads, outcome: Outcome::Passed },
            line(Check::CommitOnce, Outcome::Failed("12 rows\n instead of 6".into())),
            line(Check::Order, Outcome::NotRun("no `readback`".into())),
            line(Check::Parallel, Outcome::NotPromised("its unit is the run".into())),
        ];
        assert_eq!(
            report.to_string(),
            "libx.so\n\
             module\n\
             \x20 passed        Loads              The file is a module of this interface, \
             and its table is what its manifest says.\n\
             sink x\n\
             \x20 FAILED        CommitOnce         A delivery that comes again under its key is there once.\n\
             \x20               12 rows\n\
             \x20                instead of 6\n\
             \x20 NOT RUN       Order              Deliveries arrive whole and in their order.\n\
             \x20               no `readback`\n\
             \x20 not promised  Parallel           Deliveries that several instances make at the same time \
             arrive whole, where the sink allows it.\n\
             \x20               its unit is the run\n\
             1 passed, 1 failed, 1 not run, 1 not promised\n"
        );
        assert!(!report.conforms());
        assert_eq!(report.failed("sink x"), [Check::CommitOnce]);
    }

    #[test]
    fn a_line_is_one_flat_object_to_a_machine() {
        let json = serde_json::to_value(line(Check::CommitOnce, Outcome::NotRun("why".into()))).unwrap();
        let expected = serde_json::json!({
            "component": "sink x", "check": "CommitOnce", "outcome": "not_run", "why": "why"
        });
        assert_eq!(json, expected);
    }
}
