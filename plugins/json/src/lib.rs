//! JSON, one record a line or all records in one array, in both directions.
//!
//! Reading learns the columns from the first records unless the pipeline names
//! them. A record that does not fit becomes a dead letter and costs none of its
//! neighbours.

mod decode;
mod encode;
mod frame;
mod infer;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use engine_sdk::columns::ColumnType;
use engine_sdk::prelude::*;

/// How the file looks. Settings marked "reading" or "writing" matter in that
/// direction alone.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where a record ends. `auto` reads an array where a file begins with `[`
    /// and lines otherwise, and writes lines.
    #[serde(default)]
    pub layout: Layout,
    /// Reading: the columns, in this order. Without it they are the keys of the
    /// first records (up to 1,000 records or 1 MiB), in the order in which they
    /// appear. Writing: which columns to write, in this order.
    #[serde(default)]
    pub columns: Vec<String>,
    /// Reading: the types of columns by name: `text`, `integer`, `number`,
    /// `decimal(12,2)`, `boolean`, `date`, `timestamp`, `timestamptz`. The types
    /// of the others are learned from the first records; objects and lists are
    /// text that holds their JSON.
    #[serde(default)]
    pub types: BTreeMap<String, ColumnType>,
    /// Reading: leave out keys that are no columns. Without it, a record with
    /// such a key becomes a dead letter, so that nothing is lost unnoticed.
    #[serde(default)]
    pub ignore_unknown: bool,
    /// Reading: a longer record becomes a dead letter, of which this much is kept.
    #[serde(default = "sixteen_mebibytes")]
    pub max_record: ByteSize,
    /// Writing: leave out keys without a value instead of writing `null`.
    #[serde(default)]
    pub omit_nulls: bool,
}

/// Where a record ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// As the file's first byte says.
    #[default]
    Auto,
    /// One record a line.
    Lines,
    /// All records in one array.
    Array,
}

fn sixteen_mebibytes() -> ByteSize {
    ByteSize(16 * 1024 * 1024)
}

/// The format, in both directions.
pub struct Json {
    config: Config,
    cx: Context,
}

impl Component for Json {
    type Config = Config;
    const SUMMARY: &'static str = "JSON lines and JSON arrays";

    fn examples() -> Vec<Example> {
        vec![
            example("as the file is", json!({})),
            example(
                "known columns",
                json!({"columns": ["id", "at", "price"], "types": {"id": "integer", "at": "timestamptz", "price": "decimal(12,2)"}}),
            ),
            example("one array", json!({"layout": "array", "omit_nulls": true})),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.max_record.0 == 0 {
            return Err(Error::config("`max_record` is 0, so that no record could be read"));
        }
        Ok(Self { config, cx })
    }
}

impl Decoder for Json {
    fn decode(&mut self, input: Batches) -> Result<Batches> {
        decode::decode(&self.config, self.cx.clone(), input)
    }
}

impl Encoder for Json {
    fn encode(&mut self, input: Batches) -> Result<Batches> {
        encode::encode(&self.config, self.cx.clone(), input)
    }
}

engine_sdk::module!("json": format "json" => Json);
