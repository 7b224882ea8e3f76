//! `engine dead-letters`: records that were refused.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_abi::Error;
use engine_runtime::{RunOptions, RunReport, Stop};
use engine_state::{DeadLetter, DeadLetterFilter, DeadLetterStatus, Outcome, Payload, State};

use crate::arguments::{DeadLetters, Global, Status, Which};
use crate::control::{self, Request};
use crate::exit::Exit;
use crate::project::Project;
use crate::run::{Running, print};
use crate::{console, logging, output, places, remote};

pub fn run(global: &Global, command: &DeadLetters) -> crate::Result {
    match command {
        DeadLetters::List { which, limit } => list(global, which, *limit),
        DeadLetters::Show { id } => show(global, *id),
        DeadLetters::Replay { file, id, stage, sink } => replay(global, file, id, stage.as_deref(), sink),
        DeadLetters::Drop { which, id, all } => give_up(global, which, id, *all),
    }
}

impl Which {
    fn filter(&self) -> DeadLetterFilter {
        let status = self.status.map(|status| match status {
            Status::Pending => DeadLetterStatus::Pending,
            Status::Final => DeadLetterStatus::Final,
            Status::Replayed => DeadLetterStatus::Replayed,
            Status::Dropped => DeadLetterStatus::Dropped,
        });
        DeadLetterFilter {
            pipeline: self.pipeline.clone(),
            stage: self.stage.clone(),
            // What waits for a decision, unless something else was asked for.
            status: Some(status.unwrap_or(DeadLetterStatus::Final)),
            ..DeadLetterFilter::default()
        }
    }
}

/// All letters that a filter matches, page by page.
fn all(state: &State, filter: DeadLetterFilter) -> engine_abi::Result<Vec<DeadLetter>> {
    let mut filter = filter;
    let mut found = Vec::new();
    loop {
        let page = state.dead_letters(&filter)?;
        let Some(last) = page.last() else { return Ok(found) };
        filter.after = Some(last.id);
        found.extend(page);
    }
}

fn list(global: &Global, which: &Which, limit: usize) -> crate::Result {
    let state = State::read(&places::existing_state(global)?)?;
    if let Some(pipeline) = &which.pipeline {
        places::known_pipeline(&state, pipeline)?;
    }
    let mut filter = which.filter();
    filter.limit = limit;
    let letters = state.dead_letters(&filter)?;
    if global.json {
        letters.iter().for_each(output::json);
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = letters
        .iter()
        .map(|letter| {
            vec![
                letter.id.to_string(),
                letter.pipeline.clone(),
                letter.stage.clone(),
                letter.code.clone(),
                output::short(&letter.reason, 70),
                output::short(&letter.display, 70),
            ]
        })
        .collect();
    output::list("no dead letters", &["ID", "PIPELINE", "STAGE", "CODE", "REASON", "RECORD"], &rows);
    let counts = state.dead_letter_counts(which.pipeline.as_deref())?;
    let total: u64 = counts
        .iter()
        .filter(|count| Some(count.status) == filter.status)
        .filter(|count| filter.stage.as_ref().is_none_or(|stage| *stage == count.stage))
        .map(|count| count.count)
        .sum();
    if total > letters.len() as u64 {
        console::line(&format!("{} of {} are shown; --limit shows more", letters.len(), output::number(total)));
    }
    Ok(Exit::Done)
}

fn show(global: &Global, id: i64) -> crate::Result {
    let state = State::read(&places::existing_state(global)?)?;
    let letter = state.dead_letter(id)?.ok_or_else(|| unknown(id))?;
    let raw = match state.payload(id)? {
        Some(Payload::Raw { bytes, .. }) => Some(bytes),
        _ => None,
    };
    if global.json {
        let mut value = serde_json::to_value(&letter).unwrap_or_default();
        if let (Some(raw), Some(object)) = (&raw, value.as_object_mut()) {
            object.insert("text".into(), String::from_utf8_lossy(raw).into());
        }
        output::json(&value);
        return Ok(Exit::Done);
    }
    for (name, value) in [
        ("id", letter.id.to_string()),
        ("pipeline", letter.pipeline),
        ("stage", letter.stage),
        ("status", letter.status.as_str().to_owned()),
        ("code", letter.code),
        ("reason", letter.reason),
        ("window", format!("{} split {}", letter.window, letter.split)),
        ("run", letter.run),
        ("stored", letter.created.format("%Y-%m-%d %H:%M:%S UTC").to_string()),
        ("record", letter.display),
    ] {
        console::line(&format!("{name:<10}{value}"));
    }
    if let Some(raw) = raw {
        console::line(&format!("{:<10}{:?}", "bytes", String::from_utf8_lossy(&raw)));
    }
    Ok(Exit::Done)
}

fn unknown(id: i64) -> Error {
    Error::config(format!("there is no dead letter {id}")).hint("`engine dead-letters list` shows their numbers")
}

fn replay(global: &Global, file: &Path, ids: &[i64], stage: Option<&str>, sinks: &[String]) -> crate::Result {
    let files: [PathBuf; 1] = [file.to_owned()];
    let folder = places::state_for(global, &files)?;
    let project = Arc::new(Project::load(global, &files, &folder)?);
    let assembly =
        project.assemble()?.into_iter().next().ok_or_else(|| Error::config("there is no pipeline in the file"))?;
    if !State::exists(&folder) {
        return Err(Error::config(format!("{} holds no state", folder.display()))
            .hint("name the state folder with --state DIR or ENGINE_STATE")
            .into());
    }
    let letters = {
        let state = State::read(&folder)?;
        let filter = DeadLetterFilter {
            pipeline: Some(assembly.name.clone()),
            stage: stage.map(str::to_owned),
            status: Some(DeadLetterStatus::Final),
            ..DeadLetterFilter::default()
        };
        let mut letters = all(&state, filter)?;
        if let Some(missing) = ids.iter().find(|id| letters.iter().all(|letter| letter.id != **id)) {
            return Err(Error::config(format!(
                "dead letter {missing} is not one of {} that waits for a replay",
                assembly.name
            ))
            .hint("`engine dead-letters list` shows those that do")
            .into());
        }
        letters.retain(|letter| ids.is_empty() || ids.contains(&letter.id));
        letters
    };
    if letters.is_empty() {
        if global.json {
            output::json(&serde_json::json!({"pipeline": assembly.name, "replayed": 0}));
        } else {
            console::line("there is nothing to replay");
        }
        return Ok(Exit::Done);
    }
    if control::is_served(&folder) {
        let ids = letters.iter().map(|letter| letter.id).collect();
        let request = Request::Replay { pipeline: assembly.name.clone(), ids, sinks: sinks.to_vec() };
        let report = control::request(global, &folder, request)?;
        output::json(&report);
        return Ok(if report["outcome"] == "failed" { Exit::Failed } else { Exit::Done });
    }
    let state = Arc::new(remote::open_state(global, &folder)?);
    logging::start(&folder, global)?;
    let options = RunOptions { trigger: "replay".into(), ..RunOptions::default() };
    let running = Running::new(assembly);
    let report = running.run(&project, &state, &Stop::new(), &options).replay(&letters, sinks);
    remote::give_back(&state);
    let report: RunReport = report?;
    print(&report, global);
    Ok(if report.outcome == Outcome::Failed { Exit::Failed } else { Exit::Done })
}

fn give_up(global: &Global, which: &Which, ids: &[i64], every: bool) -> crate::Result {
    let folder = places::existing_state(global)?;
    let state = State::read(&folder)?;
    if let Some(pipeline) = &which.pipeline {
        places::known_pipeline(&state, pipeline)?;
    }
    let ids = if ids.is_empty() {
        if !every && which.pipeline.is_none() && which.stage.is_none() {
            return Err(Error::config("which dead letters?")
                .hint("name them with --id, --pipeline or --stage, or say --all")
                .into());
        }
        all(&state, which.filter())?.iter().map(|letter| letter.id).collect()
    } else {
        for id in ids {
            state.dead_letter(*id)?.ok_or_else(|| unknown(*id))?;
        }
        ids.to_vec()
    };
    drop(state);
    let dropped = control::request(global, &folder, Request::Drop { ids })?;
    if global.json {
        output::json(&serde_json::json!({"dropped": dropped}));
    } else {
        console::line(&format!("{dropped} dropped"));
    }
    Ok(Exit::Done)
}
