//! A pipeline, typed. What every other part of the engine means by the word.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use engine_abi::ComponentKind;
use serde_json::Value;

use crate::alarms::Alarms;
use crate::node::Config;
use crate::params::Params;
use crate::sandbox::SandboxWords;
use crate::schedule::Schedule;
use crate::source::Span;

/// A chain from one source through transforms to one or more sinks.
#[derive(Debug, Clone, PartialEq)]
pub struct Pipeline {
    /// `[a-z0-9_-]+`; the stem of the file's name unless the file says otherwise.
    pub name: String,
    /// What it is for, in the author's words.
    pub description: Option<String>,
    /// What its templates can name beside the run itself.
    pub params: Params,
    /// When it runs by itself.
    pub schedule: Option<Schedule>,
    /// What a service that watches it raises.
    pub alarms: Option<Alarms>,
    /// Where rows come from.
    pub source: Stage,
    /// What happens to them, in order.
    pub transforms: Vec<Stage>,
    /// Where they go. At least one; names are unique.
    pub sinks: Vec<Stage>,
    /// How many splits of a window are worked on at the same time, at most.
    pub parallelism: Option<NonZeroUsize>,
    /// The most rows that a window may have.
    pub max_rows: Option<u64>,
    /// What happens when the source's columns are others than in the run before.
    pub on_schema_change: OnSchemaChange,
    /// What becomes of what a failed run has left.
    pub unfinished: Unfinished,
    /// How a push source is spooled.
    pub spool: SpoolOptions,
    /// Who is told of its runs. At most one for each event.
    pub notices: Vec<Notice>,
    /// What `engine test` runs.
    pub tests: Vec<TestCase>,
}

impl Pipeline {
    /// Source, transforms and sinks, in this order, and the sinks of notices.
    pub fn stages(&self) -> impl Iterator<Item = &Stage> {
        let notices = self.notices.iter().map(|notice| &notice.stage);
        std::iter::once(&self.source).chain(&self.transforms).chain(&self.sinks).chain(notices)
    }
}

/// What a run can come to that somebody wants to be told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Event {
    /// It failed.
    Failure,
    /// It succeeded after a failure that was told.
    Recovered,
    /// It succeeded, and there was something to read.
    Success,
    /// It succeeded, and there was nothing to read.
    Empty,
    /// A sink has something to tell.
    Alert,
    /// Something has not happened that should have, or has at last.
    Alarm,
}

impl Event {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Failure, Self::Recovered, Self::Success, Self::Empty, Self::Alert, Self::Alarm];

    /// The key of the pipeline file that says who is told.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Failure => "on_failure",
            Self::Recovered => "on_recovered",
            Self::Success => "on_success",
            Self::Empty => "on_empty",
            Self::Alert => "on_alert",
            Self::Alarm => "on_alarm",
        }
    }

    /// The event of that key.
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.key() == key)
    }
}

/// Who is told of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Of what.
    pub event: Event,
    /// The sink that tells it.
    pub stage: Stage,
    /// Failures: how long it says nothing of further ones.
    pub every: Duration,
}

impl Notice {
    /// The time in which a failure is told once, unless a file says otherwise.
    pub const EVERY: Duration = Duration::from_secs(3600);
}

/// Where a stage stands in its pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// The source.
    Source,
    /// The transform of this index.
    Transform(usize),
    /// The sink of this index.
    Sink(usize),
    /// The sink that tells of this event.
    Notice(Event),
}

impl Position {
    /// The kind of component that can stand here.
    pub const fn kind(self) -> ComponentKind {
        match self {
            Self::Source => ComponentKind::Source,
            Self::Transform(_) => ComponentKind::Transform,
            Self::Sink(_) | Self::Notice(_) => ComponentKind::Sink,
        }
    }
}

/// As a path into the file: `source`, `transforms[0]`, `sinks[1]`, `on_failure`.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source => f.write_str("source"),
            Self::Transform(at) => write!(f, "transforms[{at}]"),
            Self::Sink(at) => write!(f, "sinks[{at}]"),
            Self::Notice(event) => f.write_str(event.key()),
        }
    }
}

/// One component at work.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// Where it stands.
    pub position: Position,
    /// The component, as in `use:`.
    pub component: String,
    /// Where the component is named.
    pub component_span: Span,
    /// Its own name; the component's unless the file says otherwise.
    pub name: String,
    /// Its config with the connection's merged in, references unresolved.
    pub with: Config,
    /// The connection that it names.
    pub connection: Option<ConnectionUse>,
    /// What decompresses the files of a source, or compresses those of a sink.
    pub compression: Option<FormatUse>,
    /// The translator between files and rows, of sources and sinks.
    pub format: Option<FormatUse>,
    /// Who runs the component and what it may do. Its formats have their own.
    pub sandbox: SandboxWords,
    /// How its outside operations are tried again. Transforms have none and keep
    /// the default.
    pub retry: Retry,
    /// Sinks of files: how long what they were given is kept.
    pub keep: Option<Duration>,
    /// Sinks: what happens where there are no rows.
    pub empty: OnEmpty,
    /// Sinks with a format: a file for each value of a column.
    pub burst: Option<Burst>,
    /// The whole stage.
    pub span: Span,
}

impl Stage {
    /// Its compression and its format, as far as it has them.
    pub fn formats(&self) -> impl Iterator<Item = &FormatUse> {
        self.compression.iter().chain(&self.format)
    }
}

/// The naming of a connection in a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionUse {
    /// The connection's name.
    pub name: String,
    /// Where it is named.
    pub span: Span,
}

/// A format or a compression at work.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatUse {
    /// The component, as in `use:` or as the only word.
    pub component: String,
    /// Where it is named.
    pub component_span: Span,
    /// Its config, references unresolved.
    pub with: Config,
    /// Who runs it and what it may do.
    pub sandbox: SandboxWords,
    /// Where the whole stands.
    pub span: Span,
}

/// The budget of one outside operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// How often it is tried, the first time included. At least 1.
    pub attempts: u32,
    /// The pause after the first failure.
    pub backoff: Duration,
    /// What becomes of it with each further one.
    pub growth: Growth,
    /// The longest pause.
    pub max: Duration,
    /// When to give up, counted from the first failure.
    pub deadline: Option<Duration>,
    /// What happens then.
    pub on_exhausted: OnExhausted,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            backoff: Duration::from_secs(2),
            growth: Growth::Double,
            max: Duration::from_secs(60),
            deadline: None,
            on_exhausted: OnExhausted::Fail,
        }
    }
}

/// How the pauses of a [`Retry`] grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Growth {
    /// Each is twice the one before, and half of it is chance.
    #[default]
    Double,
    /// Each is longer by the first one: 5 minutes, 10, 15. Exactly.
    Linear,
}

impl Growth {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Double, Self::Linear];

    /// The word for it in a pipeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Double => "double",
            Self::Linear => "linear",
        }
    }
}

/// What happens when a [`Retry`] is spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnExhausted {
    /// The run fails.
    #[default]
    Fail,
    /// The rows become dead letters and the run goes on.
    DeadLetter,
    /// It goes on trying at the longest pause. What push sources do unless the
    /// file says otherwise.
    Wait,
}

impl OnExhausted {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Fail, Self::DeadLetter, Self::Wait];

    /// The word for it in a pipeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::DeadLetter => "dead_letter",
            Self::Wait => "wait",
        }
    }
}

/// A file for each value of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Burst {
    /// The column.
    pub by: String,
    /// How each file is called, a template that also knows `value`.
    pub filename: String,
}

/// What a sink is given where there are no rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnEmpty {
    /// What there is: a file without rows, a message that says so.
    #[default]
    Send,
    /// Nothing.
    Skip,
}

impl OnEmpty {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Send, Self::Skip];

    /// The word for it in a pipeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Send => "send",
            Self::Skip => "skip",
        }
    }
}

/// What happens when a source's columns are others than in the run before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnSchemaChange {
    /// The run fails before anything is written.
    #[default]
    Fail,
    /// It goes on, with a warning.
    Ignore,
}

impl OnSchemaChange {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Fail, Self::Ignore];

    /// The word for it in a pipeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Ignore => "ignore",
        }
    }
}

/// What becomes of what a run has left that failed, or that somebody cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unfinished {
    /// The next run completes it.
    #[default]
    Complete,
    /// It is given up: what has not arrived by then does not, and the next run begins anew.
    GiveUp,
}

impl Unfinished {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Complete, Self::GiveUp];

    /// The word for it in a pipeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::GiveUp => "give_up",
        }
    }
}

/// How much of a push source's input is kept on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpoolOptions {
    /// The most that the spool may hold, in bytes.
    pub max: u64,
    /// The size at which a segment is closed, in bytes.
    pub segment: u64,
    /// Where the file says so, if it does.
    pub span: Option<Span>,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self { max: 16 << 30, segment: 64 << 20, span: None }
    }
}

/// What goes in and what must come out, for `engine test`.
#[derive(Debug, Clone, PartialEq)]
pub struct TestCase {
    /// What it shows.
    pub name: String,
    /// What goes in.
    pub input: TestInput,
    /// The records that must come out of the last transform, in order; none when
    /// only the dead letters are counted.
    pub expect: Option<Vec<Value>>,
    /// How many dead letters there must be.
    pub dead_letters: u64,
    /// The whole test.
    pub span: Span,
}

/// The input of a test.
#[derive(Debug, Clone, PartialEq)]
pub enum TestInput {
    /// The content of a file, or the line that a push source received: for the
    /// source's format.
    Text(String),
    /// Records, as the source would give them.
    Records(Vec<Value>),
}
