//! What a user writes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use datafusion::scalar::ScalarValue;
use engine_sdk::columns::ColumnType;
use engine_sdk::database::{Parameters, Scalar};
use engine_sdk::prelude::*;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// One `SELECT`. The stream is the table `input`; the files under `inputs` are tables too.
    pub query: String,
    /// Values for `:name` in the query.
    #[serde(default)]
    pub parameters: Parameters,
    /// Small files to join with, by the name of the table that each of them is in the query.
    #[serde(default)]
    pub inputs: BTreeMap<String, Lookup>,
    /// The most memory for what the query holds back: groups, rows to sort, the tables of joins.
    /// What does not fit goes to disk.
    #[serde(default = "default_memory")]
    pub memory: ByteSize,
    /// The most room on disk for what does not fit into memory.
    #[serde(default = "default_disk")]
    pub disk: ByteSize,
    /// The folder for what does not fit into memory. Unset: the system's folder for temporary files.
    #[serde(default)]
    pub spill: Option<PathBuf>,
}

/// A file that is a table of the query.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lookup {
    /// The file. Relative to the pipeline file.
    pub path: PathBuf,
    /// How the file is written. Unset: by the end of its name, `.csv`, `.json`, `.jsonl` or `.ndjson`.
    #[serde(default)]
    pub format: Option<Format>,
    /// CSV: what stands between two fields, one ASCII character.
    #[serde(default = "comma")]
    pub delimiter: String,
    /// The types of columns by name. In CSV, columns that are not named are text; in JSON they are
    /// what their values are.
    #[serde(default)]
    pub types: BTreeMap<String, ColumnType>,
}

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// Comma-separated values. The first record holds the names of the columns.
    Csv,
    /// One JSON object a line.
    Json,
}

/// A value of a parameter as the query sees it.
pub fn literal(value: &Scalar) -> ScalarValue {
    match value {
        Scalar::Null => ScalarValue::Null,
        Scalar::Boolean(value) => ScalarValue::Boolean(Some(*value)),
        Scalar::Integer(value) => ScalarValue::Int64(Some(*value)),
        Scalar::Number(value) => ScalarValue::Float64(Some(*value)),
        Scalar::Text(value) => ScalarValue::Utf8(Some(value.clone())),
    }
}

/// Below this no operator of a query could hold one batch.
pub const LEAST_MEMORY: ByteSize = ByteSize(1 << 20);

fn default_memory() -> ByteSize {
    ByteSize(64 << 20)
}

fn default_disk() -> ByteSize {
    ByteSize(4 << 30)
}

fn comma() -> String {
    ",".into()
}
