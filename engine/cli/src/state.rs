//! `engine state`: how far pipelines have got.

use engine_abi::Error;
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
            control::request(&folder, Request::Set { pipeline: pipeline.clone(), value: value.clone() })?;
            console::line(&format!("the next window of {pipeline} begins at {value}"));
        }
        arguments::State::Reset { pipeline } => {
            let state = engine_state::State::read(&folder)?;
            if !state.pipelines()?.contains(pipeline) {
                return Err(Error::config(format!("the state knows no pipeline `{pipeline}`"))
                    .hint("`engine state show` lists those that it knows")
                    .into());
            }
            drop(state);
            control::request(&folder, Request::Reset { pipeline: pipeline.clone() })?;
            console::line(&format!("{pipeline} begins again with its next run; what it delivered stays where it is"));
        }
    }
    Ok(Exit::Done)
}

fn show(global: &Global, folder: &std::path::Path, only: Option<&str>) -> crate::Result {
    let state = engine_state::State::read(folder)?;
    let mut rows = Vec::new();
    for pipeline in state.pipelines()?.into_iter().filter(|name| only.is_none_or(|only| only == name)) {
        let position = state.position(&pipeline)?;
        let unfinished: Vec<_> = state.unfinished_windows(&pipeline)?.iter().map(|window| window.id).collect();
        let cursors = state.cursors(&pipeline)?;
        if global.json {
            output::json(&json!({
                "pipeline": pipeline, "position": position, "unfinished_windows": unfinished, "sinks": cursors,
            }));
            continue;
        }
        for cursor in cursors {
            rows.push(vec![
                pipeline.clone(),
                cursor.sink,
                cursor.window.to_string(),
                cursor.value.map(|value| value.to_string()).unwrap_or_default(),
                unfinished.len().to_string(),
            ]);
        }
    }
    if !global.json {
        output::table(&["PIPELINE", "SINK", "WINDOW", "CURSOR", "UNFINISHED WINDOWS"], &rows);
    }
    Ok(Exit::Done)
}
