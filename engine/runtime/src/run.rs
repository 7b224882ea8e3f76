//! One run of a pipeline, from its first look at the state to its report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use engine_abi::{Error, ErrorKind, Result};
use engine_spec::TemplateVariables;
use engine_state::{About, Health, Outcome, State, WindowKind};
use serde::Serialize;

use crate::assembly::Assembly;
use crate::bounded::{self, Ending};
use crate::kept;
use crate::meters::{Figures, Meters};
use crate::notices;
use crate::push;
use crate::replay::Requests;
use crate::shared::{Revive, RunOptions, Shared};
use crate::spans;
use crate::stop::Stop;
use crate::upstream::Feed;

/// What a run came to.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// The run's id.
    pub run: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// What its templates could name.
    #[serde(skip)]
    pub params: BTreeMap<String, serde_json::Value>,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started: DateTime<Utc>,
    /// How long it took.
    pub seconds: f64,
    /// What it did.
    #[serde(flatten)]
    pub figures: Figures,
    /// Why it failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<Error>,
    /// What a person should know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A pipeline about to run.
pub struct Run {
    /// Where everything is kept.
    pub state: Arc<State>,
    /// The pipeline as its file says now.
    pub assembly: Arc<Assembly>,
    /// Turns a stored definition into a pipeline, for windows begun by another file.
    pub revive: Arc<Revive>,
    /// Asks it to stop.
    pub stop: Stop,
    /// What it does, while it does it.
    pub meters: Arc<Meters>,
    /// Bounds.
    pub options: RunOptions,
    /// Replays that others ask for meanwhile.
    pub requests: Arc<Requests>,
    /// The run's id, where the queue has begun it. None: it begins now.
    pub begun: Option<String>,
}

impl Run {
    /// Runs to the end of the source, or until it is asked to stop.
    ///
    /// # Errors
    /// Only when the state itself fails; what fails in the pipeline is in the report.
    pub fn run(self) -> Result<RunReport> {
        let Self { state, assembly, revive, stop, meters, options, requests, begun } = self;
        let clock = Instant::now();
        let pipeline = assembly.name.clone();
        let (run, started, slot) = match begun {
            Some(run) => begun_run(&state, run)?,
            None => {
                let started = Utc::now();
                (state.begin_run(&pipeline, &options.trigger, started)?, started, None)
            }
        };
        let _span = spans::of_run(&pipeline, &run).entered();
        let mut interrupted = state.interrupted_runs(&pipeline)?;
        interrupted.retain(|other| other.id != run);
        let last = state.runs(&engine_state::RunFilter { pipeline: Some(pipeline.clone()), limit: 2 })?;
        let last: Vec<_> = last.into_iter().filter(|other| other.id != run).collect();
        let times = assembly.sinks.iter().filter_map(|sink| Some((sink.name.clone(), sink.keep?))).collect();
        kept::forget(state.folder(), &pipeline, &times);
        // In this order: a crash in between leaves both runs open, not none.
        for old in &interrupted {
            let report = serde_json::json!({"interrupted": true, "taken_up_by": run});
            state.end_run(&old.id, Outcome::Stopped, &report)?;
        }
        let unfinished = state.unfinished_windows(&pipeline)?;
        let stopped = last.first().is_some_and(|last| last.outcome == Some(Outcome::Stopped));
        let mid_way = !interrupted.is_empty() || stopped;
        let everybody = assembly
            .sinks
            .iter()
            .all(|sink| unfinished.iter().any(|window| window.sink(&sink.name).is_some_and(|sink| !sink.is_done())));
        let reads = unfinished.iter().any(|window| window.kind == WindowKind::Read);
        // Killed between its last delivery and its report: nothing is left to do,
        // and to read everything again would double it.
        let told = state.last_completed_run(&pipeline)?.and_then(|run| run.ended);
        let served = match state.last_window(&pipeline)? {
            Some(last) if !interrupted.is_empty() && unfinished.is_empty() && last.finished > told => {
                !state.was_abandoned(&pipeline, last.id)?
            }
            _ => false,
        };
        let resume_only = served || (reads && (mid_way || everybody));

        let spool = assembly.source.is_push().then(|| push::open_spool(&state, &assembly)).transpose()?;
        let feed = spool.as_ref().map_or(Feed::Source, |spool| Feed::Spool(Arc::clone(spool)));
        let range = assembly.range(covered(&state, &pipeline, started)?, slot, started);
        // What receives has no range. One that somebody has named is no step from the one before to the next; nor is
        // a run with values of its own, where others follow a schedule.
        let is_beside = assembly.schedule.is_some() && slot.is_none() && !assembly.set.is_empty();
        let steps = spool.is_none() && !is_beside && !assembly.params.sets_range(&assembly.set);
        if steps && state.covered(&pipeline)? != Some(range.from) {
            // Where it begins, also should it come to nothing: the first one, and one after a clock that was far ahead.
            state.set_covered(&pipeline, range.from)?;
        }
        let about = steps.then_some(About { from: range.from, to: range.to });
        // A parameter without a value is told as any other failure of the run.
        let (before, refused) = match assembly.variables(&run, started, range) {
            Ok(variables) => (variables, None),
            Err(error) => (no_values(&run, started, &pipeline), Some(error)),
        };
        let shared = Shared::new(
            Arc::clone(&state),
            Arc::clone(&assembly),
            revive,
            Arc::clone(&meters),
            stop.clone(),
            before,
            options,
            feed,
        );
        let ending = match (refused, &spool) {
            (Some(error), _) => Err(error),
            (None, Some(spool)) => push::run(&shared, spool, &unfinished, &requests),
            (None, None) => bounded::run(&shared, resume_only, unfinished, about),
        };
        requests.close();
        let ending = ending.unwrap_or_else(Ending::from);
        let mut report = report(&shared, ending, clock, started)?;
        let stored = serde_json::to_value(&report).unwrap_or_default();
        let told = |health: &mut Health| notices::decide(&assembly, &report, health);
        match state.end_run_telling(&run, report.outcome, &stored, told) {
            Ok(()) => report.notes.extend(notices::tell(&state, &assembly, &stop.through_draining())?),
            // The report is told all the same; the next run takes this one for interrupted.
            Err(error) => tracing::error!(pipeline, "the run's end cannot be stored: {error}"),
        }
        Ok(report)
    }
}

/// What is about a later time than this, seen from now, had a wrong clock.
const CLOCK_AHEAD: TimeDelta = TimeDelta::hours(3);

/// Where the time that a pipeline has covered ends, seen from `now`.
pub(crate) fn covered(state: &State, pipeline: &str, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>> {
    state.covered_within(pipeline, now + CLOCK_AHEAD)
}

/// A run that the queue has begun: its id, when, and for which slot.
fn begun_run(state: &State, run: String) -> Result<(String, DateTime<Utc>, Option<DateTime<Utc>>)> {
    let found = state.run(&run)?.ok_or_else(|| Error::internal(format!("run {run} is not known")))?;
    Ok((run, found.started, found.slot))
}

fn no_values(run: &str, started: DateTime<Utc>, pipeline: &str) -> TemplateVariables {
    TemplateVariables {
        run_id: run.to_owned(),
        run_started: started.to_rfc3339(),
        pipeline_name: pipeline.to_owned(),
        window_id: 0,
        params: BTreeMap::new(),
    }
}

pub(crate) fn report(shared: &Shared, ending: Ending, clock: Instant, started: DateTime<Utc>) -> Result<RunReport> {
    let mut errors: Vec<Error> = ending.source.into_iter().filter(|error| error.kind != ErrorKind::Cancelled).collect();
    errors.extend(ending.sinks.into_values());
    let outcome = match (errors.is_empty(), shared.stop.draining() && !ending.complete) {
        (false, _) => Outcome::Failed,
        (true, true) => Outcome::Stopped,
        (true, false) => Outcome::Succeeded,
    };
    Ok(RunReport {
        run: shared.run.clone(),
        params: shared.before.params.clone(),
        pipeline: shared.pipeline().to_owned(),
        outcome,
        started,
        seconds: clock.elapsed().as_secs_f64(),
        figures: shared.meters.figures(),
        errors,
        notes: ending.notes,
    })
}
