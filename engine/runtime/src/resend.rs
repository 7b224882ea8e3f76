//! A delivery once more, from its kept artefact.

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use engine_abi::message::Split;
use engine_abi::{Error, Result, Unit};
use engine_state::{Delivery, NewWindow, RUN_SPLIT, SinkPlan, Window, WindowKind};
use serde_json::{Value, json};

use crate::bounded::{self, Ending};
use crate::kept::Kept;
use crate::run::{Run, RunReport, covered, report};
use crate::shared::Shared;
use crate::spans;
use crate::upstream::Feed;

/// The member of a split's `spec` that says which delivery it repeats.
const OF: &str = "delivery";

/// The delivery that a window repeats, if it is for that.
pub(crate) fn repeats(window: &Window) -> Option<Delivery> {
    let [split] = window.splits.as_slice() else { return None };
    let of = split.spec.get(OF).filter(|_| window.kind == WindowKind::Replay)?;
    let text = |name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = of.get("window").and_then(Value::as_u64)?;
    Some(Delivery { pipeline: window.pipeline.clone(), sink: text("sink")?, window: number, split: text("split")? })
}

impl Run {
    /// Delivers a window once more to `sinks`, or to all of its sinks that take files where none is named. What has not
    /// been delivered yet is completed; what has is sent again only with `again`, from the artefact that was kept.
    ///
    /// # Errors
    /// `Config` where there is no such window, where a delivery was made and `again` is not said, or where its artefact
    /// is not kept.
    pub fn resend(self, window: u64, sinks: &[String], again: bool) -> Result<RunReport> {
        let Self { state, assembly, revive, stop, meters, options, requests: _, begun: _ } = self;
        let (clock, started) = (Instant::now(), Utc::now());
        let pipeline = assembly.name.clone();
        let of = state.window(&pipeline, window)?.ok_or_else(|| {
            Error::config(format!("there is no window {window} of {pipeline}"))
                .hint("`engine deliveries list` shows the deliveries and their windows")
        })?;
        let named: Vec<_> = match sinks {
            [] => of.sinks.iter().filter(|sink| !sink.is_done() || is_kept(&state, &of, &sink.name)).collect(),
            names => names
                .iter()
                .map(|name| {
                    of.sink(name).ok_or_else(|| {
                        let have: Vec<_> = of.sinks.iter().map(|sink| sink.name.as_str()).collect();
                        Error::config(format!("window {window} was not for a sink `{name}`"))
                            .hint(format!("it was for {}", have.join(", ")))
                    })
                })
                .collect::<Result<_>>()?,
        };
        if named.is_empty() {
            return Err(not_kept(
                window,
                of.sinks.iter().map(|sink| sink.name.as_str()).collect::<Vec<_>>().join(", "),
            ));
        }
        let mut repeated = Vec::new();
        for sink in named.iter().filter(|sink| sink.is_done()) {
            let settled =
                Delivery { pipeline: pipeline.clone(), sink: sink.name.clone(), window, split: RUN_SPLIT.to_owned() };
            let record = state.delivery(&settled)?;
            if !again {
                let when =
                    record.and_then(|it| it.settled).map(|at| at.format(" on %Y-%m-%d at %H:%M:%S UTC").to_string());
                return Err(Error::config(format!(
                    "sink `{}` has delivered window {window} already{}",
                    sink.name,
                    when.unwrap_or_default()
                ))
                .hint("say `--again` to deliver it once more, or name the other sinks with `--sink`"));
            }
            if Kept::of(state.folder(), &settled)?.is_none() {
                return Err(not_kept(window, sink.name.clone()));
            }
            repeated.push(settled);
        }
        let completes = named.iter().any(|sink| !sink.is_done());
        let run = state.begin_run(&pipeline, "resend", started)?;
        let _span = spans::of_run(&pipeline, &run).entered();
        let range = assembly.range(covered(&state, &pipeline, started)?, None, started);
        let before = assembly.variables(&run, started, range)?;
        let shared = Shared::new(state, assembly, revive, meters, stop, before, options, Feed::Source);
        let mut ending = Ending::default();
        let context = of.context.clone();
        if completes {
            shared.meters.window(true);
            bounded::deliver(&shared, shared.job(of)?, None, &mut ending)?;
        }
        for of in repeated {
            let spec = json!({OF: {"sink": of.sink, "window": of.window, "split": of.split}});
            let window = shared.state.create_window(&NewWindow {
                pipeline: pipeline.clone(),
                run: run.clone(),
                kind: WindowKind::Replay,
                lower: None,
                upper: None,
                splits: vec![Split { id: "0000".into(), spec, ..Split::default() }],
                // As the file says now: a mail server may have moved since.
                definition: shared.current.definition.clone(),
                // The same names as then.
                context: as_window(context.clone(), of.window),
                sinks: vec![SinkPlan { name: of.sink.clone(), unit: Unit::Run }],
                replays: Vec::new(),
                backfill: None,
                tells: false,
                about: None,
            })?;
            shared.meters.window(false);
            bounded::deliver(&shared, shared.job(window)?, None, &mut ending)?;
        }
        let report = report(&shared, ending, clock, started)?;
        shared.state.end_run(&run, report.outcome, &serde_json::to_value(&report).unwrap_or_default())?;
        Ok(report)
    }
}

/// The context of a window, with which templates name the window that it repeats.
fn as_window(mut context: Value, window: u64) -> Value {
    if let Some(object) = context.as_object_mut() {
        object.entry("window").or_insert(json!(window));
    }
    context
}

fn is_kept(state: &Arc<engine_state::State>, window: &Window, sink: &str) -> bool {
    let delivery = Delivery {
        pipeline: window.pipeline.clone(),
        sink: sink.to_owned(),
        window: window.id,
        split: RUN_SPLIT.to_owned(),
    };
    Kept::of(state.folder(), &delivery).ok().flatten().is_some()
}

fn not_kept(window: u64, sinks: String) -> Error {
    Error::config(format!("nothing is kept of window {window} for {sinks}"))
        .hint("give the sink `keep: 7d`, and its files can be sent again for that long; run the pipeline for a new one")
}
