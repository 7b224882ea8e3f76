//! Settings that read the same at every database.

use std::num::NonZeroU32;

use engine_abi::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types;

/// What happens to rows that are there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// They stay, and every row of the stream is added.
    #[default]
    Append,
    /// A row of the stream takes the place of the one with the same `key`; of
    /// several with one key in the stream the last one stays.
    Upsert,
    /// They go. The rows of a window are collected beside the target, and take
    /// the place of its rows when all are there: readers see either the old rows
    /// or the new ones.
    Replace,
}

impl Mode {
    /// Whether `key` is there exactly where it means something.
    ///
    /// # Errors
    /// `Config`, with what to write.
    pub fn check_key(self, key: &[String]) -> Result<()> {
        match (self, key.is_empty()) {
            (Self::Upsert, true) => Err(Error::config("`mode: upsert` needs `key`").hint("write `key: [COLUMN]`")),
            (Self::Append | Self::Replace, false) => Err(Error::config("`key` means nothing without `mode: upsert`")
                .hint("leave it out, or write `mode: upsert`")),
            _ => Ok(()),
        }
    }
}

/// How a missing table is made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Create {
    /// `true`: from the stream's columns, with `key` as the primary key.
    Derived(bool),
    /// By a statement of your own.
    Stated(Ddl),
}

/// A statement of the user's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ddl {
    /// One or more SQL statements that make the table. Run as they are, and in
    /// one transaction where the database can.
    pub ddl: String,
}

impl Default for Create {
    fn default() -> Self {
        Self::Derived(false)
    }
}

/// For `#[serde(default = …)]` of `connect_timeout`: 10 s.
pub fn default_connect_timeout() -> types::Duration {
    types::Duration::seconds(10)
}

/// For `#[serde(default = …)]` of `batch`: 8,192 rows.
pub fn default_batch() -> NonZeroU32 {
    NonZeroU32::new(8192).expect("not zero")
}
