//! The service as others see it: plain data, taken at one moment. No secret is in it: configurations are not.

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use engine_abi::Result;
use engine_runtime::{Assembly, Figures, SinkFigures};
use engine_state::{Outcome, Run, RunFilter};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::pipelines::{Active, Pipeline, Tally};
use crate::service::{Inner, Service};

/// How a pipeline stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It does nothing.
    Idle,
    /// It waits for room to run.
    Queued,
    /// It runs.
    Running,
    /// Its source receives.
    Listening,
    /// Its schedule is paused.
    Paused,
    /// Its file cannot be used.
    Broken,
}

impl Status {
    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Listening => "listening",
            Self::Paused => "paused",
            Self::Broken => "broken",
        }
    }
}

/// A pipeline.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PipelineView {
    /// Its name.
    pub name: String,
    /// Its file.
    pub file: String,
    /// What it is for.
    pub description: Option<String>,
    /// How it stands.
    pub status: Status,
    /// What is wrong with its file as it is now; it goes on as it was before.
    pub problem: Option<String>,
    /// Alarms that are raised.
    pub alarms: Vec<AlarmView>,
    /// When it runs by itself.
    pub schedule: Option<ScheduleView>,
    /// Its next time.
    pub next_run: Option<DateTime<Utc>>,
    /// The run that is at work.
    pub run: Option<LiveView>,
    /// The last run that ended.
    pub last_run: Option<RunView>,
    /// How often it ran.
    pub runs: TallyView,
    /// Where rows come from, what happens to them, where they go.
    pub stages: Vec<StageView>,
    /// What can be said when it is triggered.
    pub params: Vec<ParamView>,
    /// Its time zone.
    pub timezone: String,
}

/// An alarm that is raised.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct AlarmView {
    /// `late` or `silence`.
    #[schema(example = "late")]
    pub alarm: String,
    /// What has not happened.
    pub message: String,
}

/// When a pipeline runs by itself.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScheduleView {
    /// A cron expression, or `every` and a time.
    pub times: String,
    /// Whose local time that is.
    pub timezone: String,
    /// It also runs when the service starts.
    pub on_start: bool,
    /// What becomes of times at which no engine ran.
    #[schema(example = "latest")]
    pub missed: String,
    /// What becomes of a time at which the run before still runs.
    #[schema(example = "skip")]
    pub overlap: String,
    /// It passes its times over until it goes on.
    pub paused: bool,
}

/// A stage of a pipeline.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct StageView {
    /// `source`, `transform` or `sink`.
    pub kind: String,
    /// Its name: `source`, `transforms.0`, `sinks.postgres`.
    pub name: String,
    /// The component.
    pub component: String,
    /// What translates between files and rows.
    pub format: Option<String>,
}

/// A parameter of a pipeline.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ParamView {
    /// Its name.
    pub name: String,
    /// What it can be.
    #[schema(example = "date")]
    pub r#type: String,
    /// Its value where nobody sets one; a text may be a template.
    pub default: Option<Value>,
    /// What it is for.
    pub description: Option<String>,
}

/// How often a pipeline ran, of the runs that are remembered.
#[derive(Debug, Clone, Copy, Default, Serialize, ToSchema)]
pub struct TallyView {
    /// Runs that ended.
    pub total: u64,
    /// Those that succeeded.
    pub succeeded: u64,
    /// Those that failed.
    pub failed: u64,
    /// Since the service started: times at which the run before still ran.
    pub overlapped: u64,
}

/// A run at work.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct LiveView {
    /// Its id; empty while it has none yet.
    pub id: String,
    /// What began it.
    pub trigger: String,
    /// The time of the schedule that it is for.
    pub slot: Option<DateTime<Utc>>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// Rows that have passed so far, on their way included.
    pub passing: u64,
    /// What it has done.
    pub figures: FiguresView,
}

/// What a run has done.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub struct FiguresView {
    /// Records read, dead letters included.
    pub read: u64,
    /// Rows left out on purpose.
    pub filtered: u64,
    /// Records that became dead letters, those of sinks included.
    pub dead_letters: u64,
    /// Each sink's.
    pub sinks: Vec<SinkView>,
}

/// What a sink has got.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct SinkView {
    /// Its name in the pipeline.
    pub name: String,
    /// Rows delivered.
    pub written: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Rows that it refused.
    pub dead_letters: u64,
    /// Deliveries made.
    pub deliveries: u64,
    /// Where the last one went.
    pub location: Option<String>,
    /// Why it is behind or has failed.
    pub error: Option<String>,
}

/// A run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunView {
    /// Its id.
    pub id: String,
    /// The pipeline.
    pub pipeline: String,
    /// What began it: `schedule`, `api`, `start`, `resume`, `replay`, `resend`, `service`, `command` …
    pub trigger: String,
    /// The time of the schedule that it is for.
    pub slot: Option<DateTime<Utc>>,
    /// What it is called by whoever asked for it.
    pub reference: Option<String>,
    /// When it began.
    pub started: DateTime<Utc>,
    /// When it ended.
    pub ended: Option<DateTime<Utc>>,
    /// How it stands: `running`; `interrupted`, where it has never ended and nobody works on it; else its outcome.
    #[schema(example = "succeeded")]
    pub status: &'static str,
    /// `succeeded`, `failed` or `stopped`; none where it has not ended.
    pub outcome: Option<String>,
    /// What it reported: figures, errors, notes.
    pub report: Option<Value>,
}

impl RunView {
    /// `at_work`: somebody works on it, unless it has ended.
    fn of(run: Run, at_work: bool) -> Self {
        let Run { id, pipeline, trigger, slot, params: _, reference, started, ended, outcome, report } = run;
        let status = match outcome {
            Some(outcome) => outcome.as_str(),
            None if at_work => "running",
            None => "interrupted",
        };
        let outcome = outcome.map(|outcome| outcome.as_str().to_owned());
        Self { id, pipeline, trigger, slot, reference, started, ended, status, outcome, report }
    }
}

impl From<Tally> for TallyView {
    fn from(tally: Tally) -> Self {
        let Tally { total, succeeded, failed, overlapped } = tally;
        Self { total, succeeded, failed, overlapped }
    }
}

impl From<Figures> for FiguresView {
    fn from(figures: Figures) -> Self {
        let refused: u64 = figures.sinks.iter().map(|sink| sink.dead_letters).sum();
        Self {
            read: figures.read,
            filtered: figures.filtered,
            dead_letters: figures.dead_letters + refused,
            sinks: figures.sinks.into_iter().map(SinkView::from).collect(),
        }
    }
}

impl From<SinkFigures> for SinkView {
    fn from(sink: SinkFigures) -> Self {
        let SinkFigures { name, written, bytes, dead_letters, deliveries, status, .. } = sink;
        Self { name, written, bytes, dead_letters, deliveries, location: status.location, error: status.error }
    }
}

impl From<&Active> for LiveView {
    fn from(active: &Active) -> Self {
        Self {
            id: active.run.clone(),
            trigger: active.trigger.clone(),
            slot: active.slot,
            started: active.started,
            passing: active.meters.rows_passing(),
            figures: active.meters.figures().into(),
        }
    }
}

/// Something that waits for room to run.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct QueuedView {
    /// The pipeline.
    pub pipeline: String,
    /// What asked for it.
    pub trigger: String,
    /// The time of the schedule that it is for.
    pub slot: Option<DateTime<Utc>>,
    /// What it is called by whoever asked for it.
    pub reference: Option<String>,
    /// Since when it waits.
    pub since: DateTime<Utc>,
    /// It begins no sooner than this.
    pub from: DateTime<Utc>,
}

impl Service {
    /// Every pipeline, by name.
    pub fn pipelines(&self) -> Vec<PipelineView> {
        let inner = self.inner();
        inner.pipelines.iter().map(|(name, pipeline)| view(name, pipeline, &inner)).collect()
    }

    /// One pipeline.
    pub fn pipeline(&self, name: &str) -> Option<PipelineView> {
        let inner = self.inner();
        inner.pipelines.get(name).map(|pipeline| view(name, pipeline, &inner))
    }

    /// What waits, in order.
    pub fn queue(&self) -> Vec<QueuedView> {
        let inner = self.inner();
        let waiting = inner.queue.iter().filter(|task| task.work.is_counted());
        waiting
            .map(|task| QueuedView {
                pipeline: task.pipeline.clone(),
                trigger: task.work.trigger().to_owned(),
                slot: task.work.slot(),
                reference: task.work.reference().map(str::to_owned),
                since: task.since,
                from: task.from,
            })
            .collect()
    }

    /// How many runs are at work, of those that are counted, and how many may be.
    pub fn at_work(&self) -> (usize, usize) {
        (self.inner().at_work, self.options.most_runs)
    }

    /// The latest runs of a pipeline, or of all.
    pub fn runs(&self, pipeline: Option<String>, limit: usize) -> Result<Vec<RunView>> {
        let runs = self.state.runs(&RunFilter { pipeline, limit })?;
        runs.into_iter().map(|run| self.seen(run)).collect()
    }

    /// One run.
    pub fn run_of(&self, id: &str) -> Result<Option<RunView>> {
        self.state.run(id)?.map(|run| self.seen(run)).transpose()
    }

    fn seen(&self, run: Run) -> Result<RunView> {
        if run.ended.is_some() || self.works_on(&run) {
            return Ok(RunView::of(run, true));
        }
        // Meanwhile it may have ended: that is stored before it is at work no longer.
        let run = self.state.run(&run.id)?.unwrap_or(run);
        Ok(RunView::of(run, false))
    }

    fn works_on(&self, run: &Run) -> bool {
        let inner = self.inner();
        let active = inner.pipelines.get(&run.pipeline).and_then(|it| it.active.as_ref());
        // What replays, resends or receives has no id of its own here; a pipeline does one thing at a time.
        active.is_some_and(|active| active.run.is_empty() || active.run == run.id)
    }
}

fn view(name: &str, pipeline: &Pipeline, inner: &Inner) -> PipelineView {
    let assembly = pipeline.ready.as_ref().map(|ready| &*ready.assembly);
    let schedule = assembly.and_then(|assembly| assembly.schedule.as_ref());
    let schedule = schedule.map(|schedule| ScheduleView {
        times: schedule.times.to_string(),
        timezone: schedule.zone.name().to_owned(),
        on_start: schedule.on_start,
        missed: schedule.missed.as_str().to_owned(),
        overlap: schedule.overlap.as_str().to_owned(),
        paused: pipeline.paused,
    });
    let waits = || inner.queue.iter().any(|task| task.pipeline == name && task.work.is_counted());
    let status = match (&pipeline.active, &pipeline.ready) {
        (Some(active), _) if active.endless => Status::Listening,
        (Some(_), _) => Status::Running,
        (None, None) => Status::Broken,
        (None, Some(_)) if waits() => Status::Queued,
        (None, Some(_)) if pipeline.paused && schedule.is_some() => Status::Paused,
        (None, Some(_)) => Status::Idle,
    };
    PipelineView {
        name: name.to_owned(),
        file: pipeline.file.clone(),
        description: assembly.and_then(|assembly| assembly.description.clone()),
        status,
        problem: pipeline.broken.clone(),
        alarms: alarms(pipeline),
        next_run: pipeline.next.filter(|_| !pipeline.paused),
        run: pipeline.active.as_ref().map(LiveView::from),
        last_run: pipeline.last.clone().map(|run| RunView::of(run, false)),
        runs: pipeline.tally.into(),
        stages: assembly.map(stages).unwrap_or_default(),
        params: assembly.map(params).unwrap_or_default(),
        timezone: zone(assembly).name().to_owned(),
        schedule,
    }
}

fn alarms(pipeline: &Pipeline) -> Vec<AlarmView> {
    let raised = pipeline.watched.raised.iter();
    raised.map(|(alarm, message)| AlarmView { alarm: alarm.as_str().to_owned(), message: message.clone() }).collect()
}

/// The zone in which a pipeline's times are shown.
fn zone(assembly: Option<&Assembly>) -> Tz {
    let of_schedule = assembly.and_then(|assembly| assembly.schedule.as_ref()).map(|schedule| schedule.zone);
    of_schedule.or_else(|| assembly.map(|assembly| assembly.params.zone)).unwrap_or(Tz::UTC)
}

fn stages(assembly: &Assembly) -> Vec<StageView> {
    let component = |part: &engine_runtime::Part| part.component.description().name.clone();
    let source = &assembly.source;
    let mut stages = vec![StageView {
        kind: "source".into(),
        name: "source".into(),
        component: component(&source.part),
        format: source.decoder.as_ref().map(component),
    }];
    stages.extend(assembly.transforms.iter().map(|part| StageView {
        kind: "transform".into(),
        name: part.stage.clone(),
        component: component(part),
        format: None,
    }));
    stages.extend(assembly.sinks.iter().map(|sink| StageView {
        kind: "sink".into(),
        name: sink.part.stage.clone(),
        component: component(&sink.part),
        format: sink.encoder.as_ref().map(component),
    }));
    stages
}

fn params(assembly: &Assembly) -> Vec<ParamView> {
    let declared = assembly.params.declared.iter();
    declared
        .map(|param| ParamView {
            name: param.name.clone(),
            r#type: param.kind.as_str().to_owned(),
            default: param.default.clone(),
            description: param.description.clone(),
        })
        .collect()
}

impl PipelineView {
    /// The zone in which its times are shown.
    pub fn zone(&self) -> Tz {
        self.timezone.parse().unwrap_or(Tz::UTC)
    }

    /// How many of the last run's records the other side knew, and how many it did not: what its sinks tell as
    /// `matched` and `unmatched`; else rows delivered, and dead letters.
    pub fn matched(&self) -> (i64, i64) {
        let Some(report) = self.last_run.as_ref().and_then(|run| run.report.as_ref()) else { return (0, 0) };
        let sinks = || report["sinks"].as_array().into_iter().flatten();
        let told = |name: &str| {
            let figures: Vec<i64> = sinks().filter_map(|sink| sink["figures"][name].as_i64()).collect();
            (!figures.is_empty()).then(|| figures.iter().sum())
        };
        let written = || sinks().filter_map(|sink| sink["written"].as_i64()).max().unwrap_or_default();
        let refused = || {
            let of_sinks: i64 = sinks().filter_map(|sink| sink["dead_letters"].as_i64()).sum();
            report["dead_letters"].as_i64().unwrap_or_default() + of_sinks
        };
        (told("matched").unwrap_or_else(written), told("unmatched").unwrap_or_else(refused))
    }
}

/// A time as people of a zone write it: `2026-02-13 23:23:35 IST`.
pub fn local(time: DateTime<Utc>, zone: Tz) -> String {
    time.with_timezone(&zone).format("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// The same for programs: `2026-02-13T23:23:35+05:30`.
pub fn local_rfc3339(time: DateTime<Utc>, zone: Tz) -> String {
    time.with_timezone(&zone).to_rfc3339_opts(SecondsFormat::Secs, false)
}

/// The word that `/status` has for an outcome.
pub fn outcome_word(outcome: &str) -> &str {
    if outcome == Outcome::Succeeded.as_str() { "success" } else { outcome }
}
