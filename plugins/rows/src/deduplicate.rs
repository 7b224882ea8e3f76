//! Of several rows with the same key, one.

mod last;

use std::collections::HashSet;

use arrow_array::BooleanArray;
use arrow_select::filter::filter_record_batch;
use engine_sdk::prelude::*;

use crate::held::{Budget, default_memory};
use crate::keys::Keys;
use crate::names::{self, Names};

/// What to do where the keys do not fit into memory.
const HINT: &str = "raise `memory`, name fewer or shorter columns under `key`, or leave duplicates to the target: \
    `mode: upsert` with a `key`";

/// What a key costs beside its bytes: its place in the table, and what an allocation takes.
const KEY_BYTES: usize = 64;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The columns that make rows the same. Left out: all of them.
    #[serde(default)]
    key: Names,
    /// Which of the rows with one key goes on.
    #[serde(default)]
    keep: Keep,
    /// How much may be kept in memory: the keys, and with `keep: last` the rows.
    #[serde(default = "default_memory")]
    memory: ByteSize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Keep {
    /// The first that comes, at once.
    #[default]
    First,
    /// The last that comes, in its place, when all have come.
    Last,
}

/// The component.
pub struct Deduplicate {
    config: Config,
    cx: Context,
}

impl Component for Deduplicate {
    type Config = Config;
    const SUMMARY: &'static str = "Leaves out rows whose key has come already";

    fn examples() -> Vec<Example> {
        vec![
            example("rows that are the same in every column", json!({})),
            example("the newest row of each account, where rows come in the order of time", {
                json!({"key": ["account"], "keep": "last"})
            }),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.key != Names::None && config.key.list().is_empty() {
            return Err(Error::config("`key` is empty: all rows would be the same")
                .hint("name the columns that make rows the same, or leave it away: then all columns do"));
        }
        Ok(Self { config, cx })
    }
}

impl Transform for Deduplicate {
    const SCOPE: Scope = Scope::Window;

    fn apply(&mut self, input: Batches) -> Result<Batches> {
        let schema = input.schema();
        let columns = match &self.config.key {
            Names::None => (0..schema.fields().len()).collect(),
            key => names::find_all(&schema, key.list())?,
        };
        if columns.is_empty() {
            return Err(Error::config("the stream has no columns to tell rows apart").hint("leave the step out"));
        }
        let keys = Keys::new(&schema, columns)?;
        let budget = Budget::new(self.config.memory, HINT);
        let cx = self.cx.clone();
        Ok(match self.config.keep {
            Keep::First => {
                let mut seen = Seen { keys, budget, known: HashSet::new() };
                Batches::new(schema, input.map(move |batch| seen.first(&batch?, &cx)))
            }
            Keep::Last => last::stream(input, keys, budget, cx),
        })
    }
}

/// The keys that have come.
struct Seen {
    keys: Keys,
    budget: Budget,
    known: HashSet<Box<[u8]>>,
}

impl Seen {
    fn first(&mut self, batch: &RecordBatch, cx: &Context) -> Result<RecordBatch> {
        cx.check_cancelled()?;
        let keys = self.keys.of(batch)?;
        let mut is_new = Vec::with_capacity(batch.num_rows());
        for key in &keys {
            let new = !self.known.contains(key.data());
            if new {
                self.known.insert(key.data().into());
                self.budget.add(key.data().len() + KEY_BYTES);
            }
            is_new.push(new);
        }
        self.budget.require()?;
        let dropped = is_new.iter().filter(|new| !**new).count();
        if dropped == 0 {
            return Ok(batch.clone());
        }
        cx.filtered(dropped as u64);
        Ok(filter_record_batch(batch, &BooleanArray::from(is_new))?)
    }
}

#[cfg(test)]
mod tests;
