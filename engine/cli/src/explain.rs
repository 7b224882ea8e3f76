//! `engine explain`: what a pipeline does, in which pieces, and what each sink
//! is promised.

use engine_abi::message::{PlanRequest, Split};
use engine_abi::{Cuttable, Promise, Result, Unit};
use engine_runtime::{Assembly, Collected, Letters, NoticePart, Part, SinkPart, StageHost, Stop};
use engine_spec::Event;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

use crate::arguments::{Files, Global};
use crate::exit::Exit;
use crate::project::Project;
use crate::sandbox::{self, SandboxExplanation};
use crate::{console, output, places};

/// How many splits are listed.
const SPLITS_SHOWN: usize = 5;

#[derive(Serialize)]
struct Explanation {
    pipeline: String,
    source: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<String>,
    format: Option<String>,
    transforms: Vec<String>,
    plan: Planned,
    sinks: Vec<SinkExplanation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<NoticeExplanation>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sandboxes: Vec<SandboxExplanation>,
}

#[derive(Serialize)]
struct Planned {
    splits: Vec<String>,
    estimated_rows: Option<u64>,
    /// How many splits are worked on at the same time, at most.
    parallelism: usize,
    note: String,
}

#[derive(Serialize)]
struct SinkExplanation {
    name: String,
    component: String,
    format: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compression: Option<String>,
    promise: Promise,
    why: String,
    unit: Unit,
}

#[derive(Serialize)]
struct NoticeExplanation {
    event: &'static str,
    component: String,
    when: String,
}

pub fn run(global: &Global, command: &Files) -> crate::Result {
    let state = places::state_for(global, &command.files)?;
    let project = Project::load(global, &command.files, &state)?;
    for assembly in project.assemble()? {
        let explanation = explain(&assembly);
        if global.json {
            output::json(&explanation);
        } else {
            print(&explanation, &assembly);
        }
    }
    Ok(Exit::Done)
}

fn explain(assembly: &Assembly) -> Explanation {
    let name = |part: &Part| part.component.name().to_owned();
    Explanation {
        pipeline: assembly.name.clone(),
        source: name(&assembly.source.part),
        compression: assembly.source.compression.as_ref().map(name),
        format: assembly.source.decoder.as_ref().map(name),
        transforms: assembly.transforms.iter().map(name).collect(),
        plan: planned(assembly),
        sinks: assembly.sinks.iter().map(|sink| promise(assembly, sink)).collect(),
        notices: assembly.notices.iter().map(notice).collect(),
        sandboxes: sandbox::explain(assembly),
    }
}

fn notice(notice: &NoticePart) -> NoticeExplanation {
    let when = match notice.event {
        Event::Failure => {
            let every = engine_spec::format_duration(notice.every);
            format!("tells of a run that failed; of further ones at most once in {every}")
        }
        Event::Recovered => "tells of the first run that succeeds after a failure that was told".into(),
        Event::Success => "tells of every run that succeeds and had something to read".into(),
        Event::Empty => "tells of every run that succeeds and had nothing to read".into(),
        Event::Alert => "tells of what sinks raise as alerts, of each once in a run".into(),
        Event::Alarm => "tells of alarms that are raised, and that are over".into(),
    };
    NoticeExplanation { event: notice.event.key(), component: notice.sink.part.component.name().to_owned(), when }
}

fn planned(assembly: &Assembly) -> Planned {
    if assembly.source.is_push() {
        return Planned {
            splits: Vec::new(),
            estimated_rows: None,
            parallelism: 1,
            note: "received into the spool; a window is cut after 16 MiB, after 1 s, or when nothing came for 100 ms"
                .into(),
        };
    }
    match plan(assembly) {
        Ok(plan) => Planned {
            parallelism: match plan.splits.iter().any(|split| assembly.cuts(split).is_some()) {
                true => assembly.parallelism.get(),
                false => plan.splits.len().clamp(1, assembly.parallelism.get()),
            },
            estimated_rows: plan.splits.iter().map(|split| split.estimated_rows).sum(),
            note: match (plan.splits.len(), &plan.upper) {
                (0, _) => "there is nothing to read".into(),
                (_, Some(upper)) => format!("reads up to {upper}; the next run goes on there"),
                (_, None) => "has no cursor: every run reads everything".into(),
            },
            splits: plan.splits.iter().map(|split| readable(split, assembly.cuts(split))).collect(),
        },
        Err(error) => Planned {
            splits: Vec::new(),
            estimated_rows: None,
            parallelism: assembly.parallelism.get(),
            note: format!("cannot be planned now: {}", error.message),
        },
    }
}

/// A split that is a file as its path and size, any other as its source wrote it. `is_cut`: a large
/// file is read in pieces.
fn readable(split: &Split, cut: Option<Cuttable>) -> String {
    let path = split.spec.get("path").and_then(Value::as_str);
    let whole = match (path, split.spec.get("size").and_then(Value::as_u64)) {
        (Some(path), Some(size)) => format!("{path}, {}", output::bytes(size)),
        (Some(path), None) => path.to_owned(),
        (None, _) => format!("{} {}", split.id, split.spec),
    };
    match cut {
        Some(file) => format!("{whole}, in pieces of about {}", output::bytes(file.every)),
        None => whole,
    }
}

fn plan(assembly: &Assembly) -> Result<engine_abi::message::Plan> {
    let letters = Letters::Collected(Arc::new(Collected::default()));
    let host = StageHost::new(&assembly.name, "source", &Stop::new(), letters);
    let now = chrono::Utc::now();
    let variables = assembly.variables("explain", now, assembly.range(None, None, now))?;
    let part = &assembly.source.part;
    part.open(part.render(&variables)?, None, host)?.plan(&PlanRequest::default())
}

/// What a pair of source and sink guarantees: the sink's own promise holds only
/// for rows that come again the same.
fn promise(assembly: &Assembly, sink: &SinkPart) -> SinkExplanation {
    let description = sink.part.component.description();
    let source = assembly.source.part.component.description();
    let repeats = source.push || source.repeatable;
    let promise = if repeats { description.promise } else { Promise::AtLeastOnce };
    let from_source = match (source.push, source.repeatable) {
        (true, _) => "the spool gives the same records again",
        (_, true) => "the source gives the same rows again as long as nobody changes those of an open window",
        _ => "the source may give other rows when it is read again",
    };
    let from_sink = match description.promise {
        Promise::EffectivelyOnce => "the target keeps the delivery's key in the transaction of its rows",
        Promise::Idempotent => "a repeated delivery takes its own place",
        Promise::AtLeastOnce => "the target cannot tell a repeated delivery",
    };
    let name = |part: &Part| part.component.name().to_owned();
    SinkExplanation {
        name: sink.name.clone(),
        component: name(&sink.part),
        format: sink.encoder.as_ref().map(name),
        compression: sink.compression.as_ref().map(name),
        promise,
        why: format!("{from_source}; {from_sink}"),
        unit: sink.unit(),
    }
}

fn print(explanation: &Explanation, assembly: &Assembly) {
    console::line(&format!("pipeline {}", explanation.pipeline));
    let named = |what: &str, it: &Option<String>| it.as_ref().map(|it| format!(", {what} {it}")).unwrap_or_default();
    let formats = |compression, format| named("compression", compression) + &named("format", format);
    let source = formats(&explanation.compression, &explanation.format);
    console::line(&format!("  source      {}{source}", explanation.source));
    console::line(&format!("              {}", explanation.plan.note));
    if let Some(rows) = explanation.plan.estimated_rows {
        console::line(&format!("              about {}", output::counted(rows, "row")));
    }
    for split in explanation.plan.splits.iter().take(SPLITS_SHOWN) {
        console::line(&format!("              split {split}"));
    }
    if let more @ 1.. = explanation.plan.splits.len().saturating_sub(SPLITS_SHOWN) {
        let noun = if more == 1 { "split" } else { "splits" };
        console::line(&format!("              and {more} more {noun}"));
    }
    if let parallelism @ 2.. = explanation.plan.parallelism {
        console::line(&format!(
            "              up to {parallelism} splits at the same time, if every sink takes them in any order"
        ));
    }
    let source = &assembly.source;
    print_sandboxes(std::iter::once(&source.part).chain(&source.compression).chain(&source.decoder));
    for (transform, part) in explanation.transforms.iter().zip(&assembly.transforms) {
        console::line(&format!("  transform   {transform}"));
        print_sandboxes(std::iter::once(part));
    }
    for (sink, part) in explanation.sinks.iter().zip(&assembly.sinks) {
        let formats = formats(&sink.compression, &sink.format);
        console::line(&format!("  sink        {} ({}{formats})", sink.name, sink.component));
        console::line(&format!("              {}: {}", sink.promise, sink.why));
        let unit = match sink.unit {
            Unit::Run => "publishes a whole window at a time",
            Unit::Split => "publishes split by split",
        };
        let retry = &part.retry;
        console::line(&format!(
            "              {unit}; {}, then {}",
            output::counted(u64::from(retry.attempts), "attempt"),
            match retry.on_exhausted {
                engine_spec::OnExhausted::Fail => "the run fails",
                engine_spec::OnExhausted::DeadLetter => "its rows become dead letters",
                engine_spec::OnExhausted::Wait => "it goes on trying",
            }
        ));
        print_sandboxes(std::iter::once(&part.part).chain(&part.encoder).chain(&part.compression));
    }
    for (notice, part) in explanation.notices.iter().zip(&assembly.notices) {
        console::line(&format!("  {:<11} {}", notice.event, notice.component));
        console::line(&format!("              {}", notice.when));
        let sink = &part.sink;
        print_sandboxes(std::iter::once(&sink.part).chain(&sink.encoder).chain(&sink.compression));
    }
}

fn print_sandboxes<'a>(parts: impl Iterator<Item = &'a Part>) {
    for line in sandbox::lines(parts) {
        console::line(&format!("              {line}"));
    }
}
