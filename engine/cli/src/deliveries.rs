//! `engine deliveries`: what went where, and the same once more.

use std::path::Path;
use std::sync::Arc;

use engine_abi::Error;
use engine_runtime::{Kept, RunOptions, Stop};
use engine_state::{DeliveryFilter, DeliveryRecord, State};
use serde_json::{Value, json};

use crate::arguments::{Deliveries, DeliveriesOf, Global};
use crate::control::Request;
use crate::exit::Exit;
use crate::project::Project;
use crate::run::{Running, exit_of, print};
use crate::{console, control, logging, output, places, remote};

pub fn run(global: &Global, command: &Deliveries) -> crate::Result {
    match command {
        Deliveries::List { of, unsettled, limit } => list(global, of, *unsettled, *limit),
        Deliveries::Show { pipeline, window, sink } => show(global, pipeline, *window, sink.as_deref()),
        Deliveries::Resend { file, window, sink, again } => resend(global, file, *window, sink, *again),
    }
}

/// How a delivery stands, in a word.
fn status(record: &DeliveryRecord) -> String {
    record.status().replace('_', " ")
}

fn list(global: &Global, of: &DeliveriesOf, unsettled: bool, limit: usize) -> crate::Result {
    let folder = places::existing_state(global)?;
    let state = State::read(&folder)?;
    if let Some(pipeline) = &of.pipeline {
        places::known_pipeline(&state, pipeline)?;
    }
    let (pipeline, sink) = (of.pipeline.clone(), of.sink.clone());
    let filter = DeliveryFilter { pipeline, sink, unsettled, limit, ..DeliveryFilter::default() };
    let records = state.deliveries(&filter)?;
    if global.json {
        for record in &records {
            output::json(&as_json(&folder, record)?);
        }
        return Ok(Exit::Done);
    }
    let mut rows = Vec::new();
    for record in &records {
        let delivery = &record.delivery;
        let when = record.settled.or(record.failure.as_ref().map(|failure| failure.at));
        let location = record.receipt.as_ref().and_then(|receipt| receipt.location.clone());
        let said = location.or(record.failure.as_ref().map(|failure| failure.message.clone())).unwrap_or_default();
        let kept = if Kept::of(&folder, delivery)?.is_some() { "yes" } else { "" };
        rows.push(vec![
            delivery.pipeline.clone(),
            delivery.window.to_string(),
            delivery.sink.clone(),
            delivery.split.clone(),
            status(record),
            when.map(|at| at.format("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default(),
            output::number(record.rows),
            output::bytes(record.bytes),
            record.attempts.to_string(),
            kept.to_owned(),
            output::short(&said, 60),
        ]);
    }
    let head = [
        "PIPELINE",
        "WINDOW",
        "SINK",
        "SPLIT",
        "STATUS",
        "WHEN (UTC)",
        "ROWS",
        "BYTES",
        "ATTEMPTS",
        "KEPT",
        "WHERE OR WHY",
    ];
    output::list(if unsettled { "everything that was begun has arrived" } else { "no deliveries yet" }, &head, &rows);
    Ok(Exit::Done)
}

fn as_json(folder: &Path, record: &DeliveryRecord) -> Result<Value, Error> {
    let delivery = &record.delivery;
    Ok(json!({
        "pipeline": delivery.pipeline,
        "window": delivery.window,
        "sink": delivery.sink,
        "split": delivery.split,
        "status": status(record),
        "attempts": record.attempts,
        "rows": record.rows,
        "bytes": record.bytes,
        "settled": record.settled,
        "sha256": record.receipt.as_ref().and_then(|it| it.sha256.clone()).or(record.sealed.as_ref().and_then(|it| it.sha256.clone())),
        "location": record.receipt.as_ref().and_then(|receipt| receipt.location.clone()),
        "answer": record.receipt.as_ref().map(|receipt| receipt.detail.clone()),
        "failure": record.failure,
        "kept": Kept::of(folder, delivery)?.map(|kept| kept.files),
    }))
}

fn show(global: &Global, pipeline: &str, window: u64, sink: Option<&str>) -> crate::Result {
    let folder = places::existing_state(global)?;
    let state = State::read(&folder)?;
    places::known_pipeline(&state, pipeline)?;
    let filter = DeliveryFilter {
        pipeline: Some(pipeline.to_owned()),
        sink: sink.map(str::to_owned),
        window: Some(window),
        limit: usize::MAX >> 1,
        ..DeliveryFilter::default()
    };
    let records = state.deliveries(&filter)?;
    if records.is_empty() {
        let to = sink.map(|sink| format!(" to {sink}")).unwrap_or_default();
        return Err(Error::config(format!("window {window} of {pipeline} has no deliveries{to}"))
            .hint("`engine deliveries list` shows those there are")
            .into());
    }
    for (at, record) in records.iter().enumerate() {
        let shown = as_json(&folder, record)?;
        if global.json {
            output::json(&shown);
            continue;
        }
        if at > 0 {
            console::line("");
        }
        for (name, value) in shown.as_object().into_iter().flatten() {
            let text = match value {
                Value::Null => continue,
                Value::String(text) => text.clone(),
                Value::Object(failure) if name == "failure" => {
                    let text = |name: &str| failure.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
                    format!("{} ({}, {})", text("message"), text("kind"), text("at"))
                }
                Value::Array(files) if name == "kept" => files.iter().map(kept_file).collect::<Vec<_>>().join(", "),
                other => other.to_string(),
            };
            console::line(&format!("{name:<10}{text}"));
        }
    }
    Ok(Exit::Done)
}

fn kept_file(file: &Value) -> String {
    let name = file["name"].as_str().filter(|name| !name.is_empty()).unwrap_or("one file");
    let hash = file["sha256"].as_str().unwrap_or_default();
    format!("{name}, {}, sha256 {hash}", output::bytes(file["bytes"].as_u64().unwrap_or_default()))
}

fn resend(global: &Global, file: &Path, window: u64, sinks: &[String], again: bool) -> crate::Result {
    let files = [file.to_owned()];
    let folder = places::state_for(global, &files)?;
    let project = Arc::new(Project::load(global, &files, &folder)?);
    let assembly =
        project.assemble()?.into_iter().next().ok_or_else(|| Error::config("there is no pipeline in the file"))?;
    if !State::exists(&folder) {
        return Err(Error::config(format!("{} holds no state", folder.display()))
            .hint("name the state folder with --state DIR or ENGINE_STATE")
            .into());
    }
    if control::is_served(&folder) {
        let (pipeline, sinks) = (assembly.name.clone(), sinks.to_vec());
        let report = control::request(global, &folder, Request::Resend { pipeline, window, sinks, again })?;
        output::json(&report);
        return Ok(if report["outcome"] == "failed" { Exit::Failed } else { Exit::Done });
    }
    let state = Arc::new(remote::open_state(global, &folder)?);
    logging::start(&folder, global)?;
    let options = RunOptions { trigger: "resend".into(), ..RunOptions::default() };
    let report = Running::new(assembly).run(&project, &state, &Stop::new(), &options).resend(window, sinks, again);
    remote::give_back(&state);
    let report = report?;
    print(&report, global);
    Ok(exit_of(&report))
}
