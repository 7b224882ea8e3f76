//! Values that must not go on become something else. No row is refused, and no message holds a value.

mod hide;

use std::borrow::Cow;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use engine_sdk::columns::Cells;
use engine_sdk::prelude::*;
use indexmap::IndexMap;
use schemars::{Schema as JsonSchemaOf, SchemaGenerator, json_schema};

use crate::names;
use hide::{Keyed, hide};

/// The fewest bytes of a key: a shorter one can be found by trying.
const KEY_BYTES: usize = 16;

/// The settings.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What becomes of which columns: `hash`, `clear`, `{replace: TEXT}`, `{keep_last: N}` or `{keep_first: N}`.
    columns: IndexMap<String, Action>,
    /// The secret that `hash` is made with, of 16 bytes or more. The same value becomes the same under the same key.
    key: Option<Secret>,
}

/// What becomes of the values of a column. No value stays no value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    /// Its HMAC-SHA-256 under `key`, as 64 hexadecimal digits.
    Hash,
    /// No value.
    Clear,
    /// A text that is always the same.
    Replace(String),
    /// Stars, but for so many characters at the end. A text that has no more is all stars.
    KeepLast(usize),
    /// Stars, but for so many characters at the beginning. A text that has no more is all stars.
    KeepFirst(usize),
}

/// One object for all actions that have a value, so that a misspelt one is answered with all of them.
impl JsonSchema for Action {
    fn schema_name() -> Cow<'static, str> {
        "Action".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> JsonSchemaOf {
        let number = json!({"type": "integer", "minimum": 0});
        json_schema!({"anyOf": [
            {"enum": ["hash", "clear"]},
            {
                "type": "object",
                "properties": {"replace": {"type": "string"}, "keep_last": number, "keep_first": number},
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": false,
            },
        ]})
    }
}

/// The component.
pub struct Redact {
    config: Config,
    cx: Context,
}

impl Component for Redact {
    type Config = Config;
    const SUMMARY: &'static str = "Hides values: hashed, masked, replaced or cleared";

    fn examples() -> Vec<Example> {
        vec![
            example("numbers of which the last digits stay, and no comment", {
                json!({"columns": {"card": {"keep_last": 4}, "comment": "clear"}})
            }),
            example("a pseudonym, the same for the same person", {
                json!({"columns": {"national_id": "hash"}, "key": "${env:REDACT_KEY}"})
            }),
        ]
    }

    fn open(config: Config, cx: Context) -> Result<Self> {
        if config.columns.is_empty() {
            return Err(Error::config("`columns` is empty: nothing would be hidden").hint("name the columns to hide"));
        }
        let hashes = config.columns.values().any(|action| *action == Action::Hash);
        match &config.key {
            None if hashes => {
                return Err(Error::config("`hash` needs a `key`")
                    .hint("put a random text into the environment, and write `key: ${env:REDACT_KEY}`"));
            }
            Some(_) if !hashes => {
                return Err(Error::config("`key` is of no use: no column becomes a `hash`").hint("leave it away"));
            }
            Some(key) if key.reveal().len() < KEY_BYTES => {
                return Err(Error::config(format!(
                    "`key` has fewer than {KEY_BYTES} bytes: it could be found by trying"
                ))
                .hint("take a random one, such as `openssl rand -hex 32` makes"));
            }
            _ => {}
        }
        Ok(Self { config, cx })
    }
}

impl Transform for Redact {
    fn apply(&mut self, input: Batches) -> Result<Batches> {
        let plan = Plan::new(&self.config, &input.schema())?;
        let (schema, cx) = (SchemaRef::clone(&plan.schema), self.cx.clone());
        let output = input.map(move |batch| {
            cx.check_cancelled()?;
            plan.redact(&batch?)
        });
        Ok(Batches::new(schema, output))
    }
}

/// What becomes of the columns of one stream.
struct Plan {
    /// For each column, what becomes of it, if anything does.
    actions: Vec<Option<Action>>,
    keyed: Option<Keyed>,
    schema: SchemaRef,
}

impl Plan {
    fn new(config: &Config, schema: &Schema) -> Result<Self> {
        let mut actions = vec![None; schema.fields().len()];
        for (name, action) in &config.columns {
            let at = names::find(schema, name)?;
            if !matches!(action, Action::Clear | Action::Replace(_)) {
                Cells::new(&arrow_array::new_empty_array(schema.field(at).data_type())).map_err(|error| {
                    error.context(format_args!("column `{name}`")).hint("`clear` and `replace` hide what is no text")
                })?;
            }
            actions[at] = Some(action.clone());
        }
        let fields = schema.fields().iter().zip(&actions).map(|(field, action)| match action {
            None => Arc::clone(field),
            // A column that may not be null would not do for one that is.
            Some(Action::Clear) => Arc::new(field.as_ref().clone().with_nullable(true)),
            Some(_) => Arc::new(field.as_ref().clone().with_data_type(DataType::Utf8)),
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(Self { actions, keyed: config.key.as_ref().map(Keyed::new).transpose()?, schema })
    }

    fn redact(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let columns = batch.columns().iter().zip(&self.actions).map(|(column, action)| match action {
            None => Ok(ArrayRef::clone(column)),
            Some(action) => hide(column, action, self.keyed.as_ref()),
        });
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let count = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok(RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &count)?)
    }
}

#[cfg(test)]
mod tests;
