//! Columns of a source that are others than in the run before.

use std::sync::Arc;

use arrow_schema::Schema;
use engine_abi::{Error, Result};
use engine_spec::OnSchemaChange;
use engine_state::State;
use serde_json::{Value, json};

use crate::assembly::Assembly;

/// Compares what a source gives with what it gave before.
#[derive(Clone)]
pub(crate) struct Drift {
    state: Arc<State>,
    pipeline: String,
    /// What of the pipeline says which columns there are. Who changes it wants others.
    source: Value,
    policy: OnSchemaChange,
}

impl Drift {
    /// For a pipeline as it runs. None where a format decides about the columns, or nothing does.
    pub(crate) fn of(assembly: &Assembly, state: &Arc<State>, policy: OnSchemaChange) -> Option<Self> {
        let gives_rows = assembly.source.part.component.description().gives == engine_abi::Shape::Rows;
        let definition = &assembly.definition["source"];
        gives_rows.then(|| Self {
            state: Arc::clone(state),
            pipeline: assembly.name.clone(),
            source: json!({"use": definition["use"], "with": definition["with"]}),
            policy,
        })
    }

    /// Looks at the columns of a split, before anything is made of its rows.
    pub(crate) fn look(&self, schema: &Schema) -> Result<()> {
        let columns: Vec<_> = schema.fields().iter().map(|it| json!([it.name(), it.data_type().to_string()])).collect();
        let now = json!({"source": self.source, "columns": columns});
        let before = self.state.columns(&self.pipeline)?;
        if before.as_ref() == Some(&now) {
            return Ok(());
        }
        let known = before.as_ref().filter(|before| before["source"] == self.source);
        if let Some(difference) = known.and_then(|before| difference(&before["columns"], &now["columns"])) {
            match self.policy {
                OnSchemaChange::Fail => {
                    return Err(Error::config(format!(
                        "the source's columns have changed since the last run: {difference}"
                    ))
                    .hint(
                        "if the rest of the pipeline is right for them, run once with --accept-schema, or write \
                         `on_schema_change: ignore`",
                    )
                    .at("source"));
                }
                OnSchemaChange::Ignore => {
                    tracing::warn!(pipeline = self.pipeline, "the source's columns have changed: {difference}");
                }
            }
        }
        self.state.set_columns(&self.pipeline, &now)
    }
}

/// What is new, missing or of another type, in one line. None: nothing, whatever the order.
fn difference(before: &Value, now: &Value) -> Option<String> {
    let pairs = |columns: &Value| -> Vec<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        columns.as_array().into_iter().flatten().map(|pair| (text(&pair[0]), text(&pair[1]))).collect()
    };
    let (mut old, mut new) = (pairs(before), pairs(now));
    // One for one, since two columns may have one name.
    old.retain(|column| match new.iter().position(|other| other == column) {
        Some(same) => {
            new.remove(same);
            false
        }
        None => true,
    });
    let mut parts = Vec::new();
    old.retain(|(name, kind)| match new.iter().position(|(other, _)| other == name) {
        Some(same) => {
            parts.push(format!("`{name}` is {}, was {kind}", new.remove(same).1));
            false
        }
        None => true,
    });
    parts.extend(new.iter().map(|(name, kind)| format!("`{name}` ({kind}) is new")));
    parts.extend(old.iter().map(|(name, kind)| format!("`{name}` ({kind}) is missing")));
    (!parts.is_empty()).then(|| parts.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_is_told_by_columns_and_not_by_their_order() {
        let before = json!([["a", "Int64"], ["b", "Utf8"], ["c", "Date32"], ["c", "Date32"]]);
        let difference = |now| difference(&before, &now);
        assert_eq!(difference(json!([["c", "Date32"], ["b", "Utf8"], ["c", "Date32"], ["a", "Int64"]])), None);
        assert_eq!(
            difference(json!([["a", "Utf8"], ["c", "Date32"], ["d", "Utf8"]])).unwrap(),
            "`a` is Utf8, was Int64; `d` (Utf8) is new; `b` (Utf8) is missing; `c` (Date32) is missing"
        );
    }
}
