//! `engine backfill`: old windows, read once more.

use std::sync::Arc;

use engine_abi::Error;
use engine_runtime::{RunOptions, Step, Stop};
use engine_state::Backfill;
use serde_json::Value;

use crate::arguments::{self, Global};
use crate::exit::Failure;
use crate::project::Project;
use crate::run::{Running, exit_of, on_signals, print};
use crate::{logging, places, remote};

pub fn run(global: &Global, command: &arguments::Backfill) -> crate::Result {
    let files = std::slice::from_ref(&command.file);
    let folder = places::state_for(global, files)?;
    let project = Arc::new(Project::load(global, files, &folder)?);
    let step = command.by.as_deref().map(step).transpose()?;
    let range = Backfill {
        lower: value(&command.from),
        upper: value(&command.to),
        step: command.by.clone().unwrap_or_default(),
    };
    let assembly = project.assemble_with(&command.set)?.remove(0);
    let state = Arc::new(remote::open_state(global, &folder)?);
    logging::start(&folder, global)?;
    let stop = Stop::new();
    on_signals(&stop)?;
    let options = RunOptions {
        trigger: "backfill".into(),
        stall: command.stall,
        accept_schema: command.accept_schema,
        ..RunOptions::default()
    };
    let report = Running::new(assembly).run(&project, &state, &stop, &options).backfill(&range, step);
    remote::give_back(&state);
    let report = report?;
    print(&report, global);
    Ok(exit_of(&report))
}

/// A number as such, anything else as text, also `007`.
fn value(text: &str) -> Value {
    let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    number.map_or_else(|| Value::from(text), Value::from)
}

fn step(text: &str) -> Result<Step, Failure> {
    if let Ok(number) = text.trim().parse() {
        return Ok(Step::Number(number));
    }
    engine_spec::parse_duration(text)
        .map(Step::Time)
        .map_err(|why| Error::config(format!("`--by {text}` is no step")).hint(why).into())
}
