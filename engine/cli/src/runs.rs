//! `engine runs`: the latest runs.

use engine_state::{RunFilter, State};
use serde_json::Value;

use crate::arguments::{Global, Runs};
use crate::exit::Exit;
use crate::{output, places};

pub fn run(global: &Global, command: &Runs) -> crate::Result {
    let state = State::read(&places::existing_state(global)?)?;
    if let Some(pipeline) = &command.pipeline {
        places::known_pipeline(&state, pipeline)?;
    }
    let runs = state.runs(&RunFilter { pipeline: command.pipeline.clone(), limit: command.limit })?;
    if global.json {
        for run in &runs {
            output::json(run);
        }
        return Ok(Exit::Done);
    }
    let figure = |report: &Option<Value>, name: &str| {
        let value = report.as_ref().and_then(|report| report.get(name)).and_then(Value::as_u64);
        value.map_or_else(String::new, output::number)
    };
    let rows: Vec<_> = runs
        .iter()
        .map(|run| {
            let error = run.report.as_ref().and_then(|report| report.pointer("/errors/0/message"));
            vec![
                run.id.clone(),
                run.pipeline.clone(),
                run.outcome.map_or("running or interrupted", |outcome| outcome.as_str()).to_owned(),
                run.started.format("%Y-%m-%d %H:%M:%S").to_string(),
                figure(&run.report, "read"),
                figure(&run.report, "dead_letters"),
                output::short(error.and_then(Value::as_str).unwrap_or_default(), 80),
            ]
        })
        .collect();
    output::list(
        "no runs yet",
        &["RUN", "PIPELINE", "OUTCOME", "STARTED (UTC)", "READ", "DEAD LETTERS", "ERROR"],
        &rows,
    );
    Ok(Exit::Done)
}
