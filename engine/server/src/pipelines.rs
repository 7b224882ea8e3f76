//! Pipelines as the service gets them, and how each stands.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use engine_abi::Result;
use engine_runtime::{Assembly, Meters, Requests, Revive, RunReport, Stop};
use engine_state::{Outcome, Run};
use serde_json::Value;

use crate::alarms::Watched;
use crate::figures::Totals;

/// Where pipelines come from: files, which change while the service runs.
pub trait Loader: Send + Sync {
    /// All of them, as they are now. `anew`: also what is around the files is looked at again.
    ///
    /// # Errors
    /// Only what concerns all of them: a folder that cannot be read.
    fn load(&self, anew: bool) -> Result<Vec<Entry>>;
}

/// A pipeline file.
#[derive(Clone)]
pub struct Entry {
    /// The pipeline's name; where it has none that can be used, that of its file.
    pub name: String,
    /// The file, as a person would write it.
    pub file: String,
    /// The pipeline, or what is wrong with it.
    pub pipeline: std::result::Result<Ready, String>,
    /// What is wrong with it stops it, also where it was right before: nothing begins until it is mended.
    pub wrong_stops: bool,
}

/// A pipeline that can run.
#[derive(Clone)]
pub struct Ready {
    /// With its components.
    pub assembly: Arc<Assembly>,
    /// Turns what an unfinished window stores into a pipeline.
    pub revive: Arc<Revive>,
    /// Another one, as soon as anything that its runs depend on is another.
    pub fingerprint: String,
    /// Those with which it shares a number of runs at a time. None: only the number of all.
    pub group: Option<Group>,
}

/// Pipelines of which so many run at a time, together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// Which.
    pub name: &'static str,
    /// The most runs of them at a time; the rest waits in order.
    pub most_runs: usize,
}

impl Ready {
    /// Whether it runs all the time.
    pub fn is_push(&self) -> bool {
        self.assembly.source.is_push()
    }
}

/// A run that has begun.
#[derive(Debug, Clone)]
pub struct Begun {
    /// Its pipeline.
    pub pipeline: String,
    /// Its id; none of a source that receives, and of replays and resends.
    pub run: Option<String>,
    /// What asked for it.
    pub trigger: String,
    /// The time of the schedule that it is for.
    pub slot: Option<DateTime<Utc>>,
    /// What it is called by whoever asked for it.
    pub reference: Option<String>,
    /// When it began.
    pub started: DateTime<Utc>,
}

/// Who wants to know of runs. It is told by the run's own thread, which waits for it.
pub trait Watcher: Send + Sync {
    /// A run has begun.
    fn begun(&self, begun: &Begun);

    /// It has ended. An error: the state could not be written, or the engine has a bug.
    fn ended(&self, begun: &Begun, report: &Result<RunReport>);
}

/// A pipeline of the service.
pub(crate) struct Pipeline {
    pub(crate) file: String,
    /// As it runs next. None: its file has never been right since the service began.
    pub(crate) ready: Option<Ready>,
    /// What is wrong with its file as it is now.
    pub(crate) broken: Option<String>,
    /// Its file is there no longer: it goes when its run has ended.
    pub(crate) gone: bool,
    pub(crate) reached: Option<DateTime<Utc>>,
    /// The schedule that it has reached that time of.
    pub(crate) times: Option<String>,
    pub(crate) paused: bool,
    /// The next slot. None: not looked at yet, or there is none.
    pub(crate) next: Option<DateTime<Utc>>,
    pub(crate) looked_at: bool,
    pub(crate) active: Option<Active>,
    /// How often it ran, and how.
    pub(crate) tally: Tally,
    /// What its runs have done since the service started.
    pub(crate) totals: Totals,
    /// What its alarms need to know.
    pub(crate) watched: Watched,
    /// The last run that ended.
    pub(crate) last: Option<Run>,
    /// What the last run was about that succeeded.
    pub(crate) last_good: Option<DateTime<Utc>>,
    /// Push sources: how often it ended in a row although nobody asked it to.
    pub(crate) falls: u32,
}

impl Pipeline {
    pub(crate) fn new(file: String) -> Self {
        Self {
            file,
            ready: None,
            broken: None,
            gone: false,
            reached: None,
            times: None,
            paused: false,
            next: None,
            looked_at: false,
            active: None,
            tally: Tally::default(),
            totals: Totals::default(),
            watched: Watched::default(),
            last: None,
            last_good: None,
            falls: 0,
        }
    }

    /// Records that its runs have read since the service started.
    pub(crate) fn records_read(&self) -> u64 {
        let live = self.active.as_ref().map(|active| active.meters.figures().read).unwrap_or_default();
        self.totals.read() + live
    }

    /// The schedule in words, as the state remembers it.
    pub(crate) fn words(&self) -> Option<String> {
        let schedule = self.ready.as_ref()?.assembly.schedule.as_ref()?;
        Some(format!("{} {}", schedule.times, schedule.zone.name()))
    }
}

/// What a pipeline is doing.
pub(crate) struct Active {
    pub(crate) run: String,
    pub(crate) trigger: String,
    pub(crate) slot: Option<DateTime<Utc>>,
    pub(crate) reference: Option<String>,
    pub(crate) started: DateTime<Utc>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) requests: Arc<Requests>,
    pub(crate) stop: Stop,
    /// It is of a source that receives, and has no end.
    pub(crate) endless: bool,
    /// It is a run, and not only something told.
    pub(crate) is_run: bool,
}

/// How often a pipeline ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Runs that ended.
    pub total: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
    /// Slots at which the run before still ran.
    pub overlapped: u64,
}

impl Tally {
    pub(crate) fn count(&mut self, outcome: Outcome) {
        self.total += 1;
        match outcome {
            Outcome::Succeeded => self.succeeded += 1,
            Outcome::Failed => self.failed += 1,
            Outcome::Stopped => {}
        }
    }
}

/// A run that is over, as the state will tell it.
pub(crate) fn ended(report: &RunReport, active: &Active) -> Run {
    Run {
        id: report.run.clone(),
        pipeline: report.pipeline.clone(),
        trigger: active.trigger.clone(),
        slot: active.slot,
        params: None,
        reference: active.reference.clone(),
        started: report.started,
        ended: Some(Utc::now()),
        outcome: Some(report.outcome),
        report: serde_json::to_value(report).ok(),
    }
}

/// Values of parameters, as a pipeline takes them.
pub(crate) fn texts(params: &Value) -> std::collections::BTreeMap<String, String> {
    // Nothing stands for the default.
    let entries = params.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    entries
        .map(|(name, value)| (name.clone(), value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect()
}
