//! `engine state`: how far pipelines have got.

use std::collections::BTreeMap;
use std::path::Path;

use engine_abi::Error;
use engine_state::{State, Window};
use serde_json::{Value, json};

use crate::arguments::{self, Global};
use crate::control::{self, Request};
use crate::exit::Exit;
use crate::{console, output, places};

pub fn run(global: &Global, command: &arguments::State) -> crate::Result {
    let folder = places::existing_state(global)?;
    match command {
        arguments::State::Show { pipeline } => return show(global, &folder, pipeline.as_deref()),
        arguments::State::Set { pipeline, value } => {
            let value: Value = serde_json::from_str(value).map_err(|error| {
                Error::config(format!("`{value}` is not JSON: {error}"))
                    .hint("a text needs quotes of its own: '\"2025-01-31\"'")
            })?;
            places::known_pipeline(&State::read(&folder)?, pipeline)?;
            control::request(global, &folder, Request::Set { pipeline: pipeline.clone(), value: value.clone() })?;
            if global.json {
                output::json(&json!({"pipeline": pipeline, "position": value}));
            } else {
                console::line(&format!("the next window of {pipeline} begins at {value}"));
            }
        }
        arguments::State::Reset { pipeline } => {
            places::known_pipeline(&State::read(&folder)?, pipeline)?;
            control::request(global, &folder, Request::Reset { pipeline: pipeline.clone() })?;
            if global.json {
                output::json(&json!({"pipeline": pipeline, "position": Value::Null}));
            } else {
                console::line(&format!(
                    "{pipeline} begins again with its next run; what it delivered stays where it is"
                ));
            }
        }
    }
    Ok(Exit::Done)
}

/// How far one sink has got.
#[derive(Default)]
struct Progress {
    /// The last window that it has; none before the first.
    window: Option<u64>,
    value: Option<Value>,
    /// How many unfinished windows it does not have whole.
    missing_windows: u64,
}

fn show(global: &Global, folder: &Path, only: Option<&str>) -> crate::Result {
    let state = State::read(folder)?;
    if let Some(only) = only {
        places::known_pipeline(&state, only)?;
    }
    let mut rows = Vec::new();
    for pipeline in state.pipelines()?.into_iter().filter(|name| only.is_none_or(|only| only == name)) {
        let unfinished = state.unfinished_windows(&pipeline)?;
        let sinks = progress(&state, &pipeline, &unfinished)?;
        if global.json {
            let sinks: Vec<_> = sinks
                .iter()
                .map(|(name, it)| {
                    json!({
                        "sink": name, "window": it.window, "value": it.value, "missing_windows": it.missing_windows,
                    })
                })
                .collect();
            let unfinished: Vec<_> = unfinished.iter().map(|window| window.id).collect();
            output::json(&json!({
                "pipeline": pipeline, "position": state.position(&pipeline)?, "unfinished_windows": unfinished,
                "sinks": sinks,
            }));
            continue;
        }
        let nothing = || "-".to_owned();
        if sinks.is_empty() {
            rows.push(vec![pipeline.clone(), nothing(), nothing(), nothing(), nothing()]);
        }
        for (sink, it) in sinks {
            rows.push(vec![
                pipeline.clone(),
                sink,
                it.window.map_or_else(nothing, |window| window.to_string()),
                it.value.map_or_else(nothing, |value| value.to_string()),
                it.missing_windows.to_string(),
            ]);
        }
    }
    if !global.json {
        output::list(
            "no pipeline has read anything yet",
            &["PIPELINE", "SINK", "WINDOW", "CURSOR", "MISSING WINDOWS"],
            &rows,
        );
    }
    Ok(Exit::Done)
}

/// Every sink that has a cursor, or that the newest or an unfinished window knows.
fn progress(state: &State, pipeline: &str, unfinished: &[Window]) -> engine_abi::Result<BTreeMap<String, Progress>> {
    let mut sinks: BTreeMap<String, Progress> = BTreeMap::new();
    for cursor in state.cursors(pipeline)? {
        let progress = Progress { window: Some(cursor.window), value: cursor.value, missing_windows: 0 };
        sinks.insert(cursor.sink, progress);
    }
    let newest = state.last_window(pipeline)?;
    for sink in newest.iter().flat_map(|window| &window.sinks) {
        sinks.entry(sink.name.clone()).or_default();
    }
    for sink in unfinished.iter().flat_map(|window| &window.sinks) {
        sinks.entry(sink.name.clone()).or_default().missing_windows += u64::from(!sink.is_done());
    }
    Ok(sinks)
}
