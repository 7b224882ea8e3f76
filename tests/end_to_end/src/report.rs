//! What `engine run --json` prints at its end.

use serde::Deserialize;
use serde_json::Value;

/// The report of one pipeline.
#[derive(Debug, Clone, Deserialize)]
pub struct Report {
    /// The pipeline's name.
    pub pipeline: String,
    /// `succeeded`, `failed` or `stopped`.
    pub outcome: String,
    /// Records read.
    pub read: u64,
    /// Rows left out on purpose.
    #[serde(default)]
    pub filtered: u64,
    /// Records that became dead letters before the sinks.
    pub dead_letters: u64,
    /// Windows, and those of an earlier run.
    #[serde(default)]
    pub resumed: u64,
    /// One a sink.
    pub sinks: Vec<SinkReport>,
    /// Why it failed.
    #[serde(default)]
    pub errors: Vec<Value>,
    /// What a person should know.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// What one sink did.
#[derive(Debug, Clone, Deserialize)]
pub struct SinkReport {
    /// Its name.
    pub name: String,
    /// Rows.
    pub written: u64,
    /// Rows that it refused.
    #[serde(default)]
    pub dead_letters: u64,
    /// Numbers that the other side told.
    #[serde(default)]
    pub figures: std::collections::BTreeMap<String, i64>,
    /// Its first error.
    #[serde(default)]
    pub error: Option<Value>,
}

impl Report {
    /// The reports among the lines of standard output.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn of(stdout: &str) -> Self {
        let found = stdout.lines().rev().find_map(|line| serde_json::from_str(line).ok());
        found.unwrap_or_else(|| panic!("no report in {stdout:?}"))
    }

    /// A sink by name.
    ///
    /// # Panics
    /// When the pipeline has none of that name.
    #[track_caller]
    pub fn sink(&self, name: &str) -> &SinkReport {
        self.sinks.iter().find(|sink| sink.name == name).unwrap_or_else(|| panic!("no sink {name} in {self:?}"))
    }

    /// Every record that was read is somewhere: in a sink or a dead letter.
    ///
    /// # Panics
    /// When one is not.
    #[track_caller]
    pub fn adds_up(&self) {
        for sink in &self.sinks {
            let accounted = sink.written + sink.dead_letters + self.dead_letters + self.filtered;
            assert_eq!(accounted, self.read, "sink {}: {self:?}", sink.name);
        }
    }
}
