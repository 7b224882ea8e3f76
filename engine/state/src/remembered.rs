//! What stages of pipelines keep for themselves, such as a login.

use engine_abi::Result;
use rusqlite::{OptionalExtension, params};
use serde_json::Value;

use crate::State;
use crate::store::{json_from_optional, json_text};

impl State {
    /// Keeps a value for a stage, in the place of the one before. `null` forgets it.
    pub fn remember(&self, pipeline: &str, stage: &str, value: &Value) -> Result<()> {
        self.write("remember a value of a stage", |transaction| {
            transaction.execute("DELETE FROM remembered WHERE pipeline = ?1 AND stage = ?2", [pipeline, stage])?;
            if !value.is_null() {
                transaction.execute(
                    "INSERT INTO remembered (pipeline, stage, value) VALUES (?1, ?2, ?3)",
                    params![pipeline, stage, json_text(value)?],
                )?;
            }
            Ok(())
        })
    }

    /// What a stage has kept last; `null` where there is nothing.
    pub fn remembered(&self, pipeline: &str, stage: &str) -> Result<Value> {
        self.look("look up what a stage remembers", |transaction| {
            let text: Option<String> = transaction
                .prepare_cached("SELECT value FROM remembered WHERE pipeline = ?1 AND stage = ?2")?
                .query_row([pipeline, stage], |row| row.get(0))
                .optional()?;
            Ok(json_from_optional(text)?.unwrap_or_default())
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_stage_finds_what_it_kept_last_until_it_or_a_reset_forgets_it() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::open(folder.path()).unwrap();
        let kept = |stage: &str| state.remembered("p", stage).unwrap();
        assert_eq!(kept("source"), Value::Null);
        state.remember("p", "source", &json!({"token": 1})).unwrap();
        state.remember("p", "source", &json!({"token": 2})).unwrap();
        state.remember("p", "sinks.http", &json!("other")).unwrap();
        state.remember("another", "source", &json!("stays")).unwrap();
        assert_eq!((kept("source"), kept("sinks.http")), (json!({"token": 2}), json!("other")));
        state.remember("p", "source", &Value::Null).unwrap();
        assert_eq!((kept("source"), kept("sinks.http")), (Value::Null, json!("other")));
        state.reset("p").unwrap();
        assert_eq!(kept("sinks.http"), Value::Null);
        assert_eq!(state.remembered("another", "source").unwrap(), json!("stays"));
    }
}
