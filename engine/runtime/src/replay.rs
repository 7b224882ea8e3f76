//! Dead letters, tried again: in front of the stage that refused them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};
use chrono::Utc;
use engine_abi::message::Split;
use engine_abi::stream::Batches;
use engine_abi::{Error, Result};
use engine_state::{DeadLetter, NewWindow, Payload, SinkPlan, State, Window, WindowKind};
use serde_json::{Value, json};

use crate::assembly::Assembly;
use crate::bounded::{self, Ending};
use crate::letters::from_ipc;
use crate::meters::Meters;
use crate::run::{Run, RunReport, covered, report};
use crate::shared::Shared;
use crate::spans;
use crate::upstream::{Feed, Replayed, files};

/// The most letters in one window: it is one transaction of a target.
const WINDOW_LETTERS: usize = 10_000;
/// How many letters are read at a time, and how many bytes of their rows.
const PAGE_LETTERS: usize = 256;
const PAGE_BYTES: usize = 1 << 20;
/// What only a damaged state has.
const MIXED: &str = "dead letters of one replay have different columns";

/// Replays that a running pipeline is asked for.
pub struct Requests(Mutex<Option<VecDeque<Request>>>);

impl Default for Requests {
    fn default() -> Self {
        Self(Mutex::new(Some(VecDeque::new())))
    }
}

struct Request {
    letters: Vec<DeadLetter>,
    sinks: Vec<String>,
    answer: Sender<Result<RunReport>>,
}

impl Requests {
    /// Asks the pipeline to replay, and waits for the report.
    ///
    /// # Errors
    /// Those of [`Run::replay`]; `Unavailable` when the pipeline ends first.
    pub fn replay(&self, letters: Vec<DeadLetter>, sinks: Vec<String>) -> Result<RunReport> {
        let (answer, report) = channel();
        let ended = || Error::unavailable("the pipeline ended before it came to the replay");
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            Some(open) => open.push_back(Request { letters, sinks, answer }),
            None => return Err(ended()),
        }
        report.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Nobody will answer any more.
    pub(crate) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Answers the oldest request. `busy`: why it cannot be done now.
    pub(crate) fn serve(&self, shared: &Shared, busy: Option<String>) {
        let request = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut().and_then(VecDeque::pop_front);
        let Some(Request { letters, sinks, answer }) = request else { return };
        let run = || {
            let names = shared.current.sinks.iter().map(|sink| sink.name.as_str());
            Run {
                state: Arc::clone(&shared.state),
                assembly: Arc::clone(&shared.current),
                revive: Arc::clone(&shared.revive),
                stop: shared.stop.child(),
                meters: Arc::new(Meters::new(names)),
                options: shared.options.clone(),
                requests: Arc::default(),
                begun: None,
            }
        };
        let report = match busy {
            Some(why) => Err(Error::unavailable(why).hint("try again when it has caught up")),
            None => run().replay(&letters, &sinks),
        };
        // Who asked may have gone.
        let _ = answer.send(report);
    }
}

impl Run {
    /// Tries dead letters again, through the pipeline as its file says now. What
    /// is refused again is a new dead letter; the old one counts as replayed.
    /// `sinks`: only these; all when empty.
    ///
    /// # Errors
    /// `Config` when a sink would replace its earlier output by the replayed rows.
    pub fn replay(self, letters: &[DeadLetter], sinks: &[String]) -> Result<RunReport> {
        let Self { state, assembly, revive, stop, meters, options, requests: _, begun: _ } = self;
        let (clock, started) = (Instant::now(), Utc::now());
        let groups = group(&state, letters)?;
        let mut planned = Vec::new();
        for (key, ids) in groups {
            for ids in ids.chunks(WINDOW_LETTERS) {
                planned.push((targets(&assembly, &key.stage, sinks)?, key.clone(), ids.to_vec()));
            }
        }
        let run = state.begin_run(&assembly.name, "replay", started)?;
        let _span = spans::of_run(&assembly.name, &run).entered();
        let range = assembly.range(covered(&state, &assembly.name, started)?, None, started);
        let before = assembly.variables(&run, started, range)?;
        let shared = Shared::new(state, assembly, revive, meters, stop, before, options, Feed::Source);
        let mut ending = Ending::default();
        for (sinks, key, ids) in planned {
            let window = shared.state.create_window(&NewWindow {
                pipeline: shared.pipeline().to_owned(),
                run: run.clone(),
                kind: WindowKind::Replay,
                lower: None,
                upper: None,
                splits: vec![Split { id: "0000".into(), spec: key.spec(), ..Split::default() }.rows(ids.len() as u64)],
                definition: shared.current.definition.clone(),
                context: shared.context(),
                sinks,
                replays: ids,
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

/// Letters that can go through the pipeline together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    stage: String,
    raw: bool,
    /// The columns of their rows, to keep streams of one schema.
    columns: String,
}

impl Key {
    fn spec(&self) -> Value {
        json!({"stage": self.stage, "raw": self.raw})
    }
}

fn group(state: &State, letters: &[DeadLetter]) -> Result<BTreeMap<Key, Vec<i64>>> {
    let mut groups: BTreeMap<Key, Vec<i64>> = BTreeMap::new();
    for letter in letters {
        let (raw, columns) = match payload(state, letter.id)? {
            Payload::Raw { .. } => (true, String::new()),
            Payload::Row { ipc } => (false, format!("{:?}", from_ipc(&ipc)?.schema().fields())),
        };
        groups.entry(Key { stage: letter.stage.clone(), raw, columns }).or_default().push(letter.id);
    }
    Ok(groups)
}

fn payload(state: &State, id: i64) -> Result<Payload> {
    state.payload(id)?.ok_or_else(|| Error::config(format!("there is no dead letter {id}")))
}

/// The sinks that replayed letters of a stage go to.
fn targets(assembly: &Assembly, stage: &str, only: &[String]) -> Result<Vec<SinkPlan>> {
    let own = stage.strip_prefix("sinks.");
    let wanted =
        |name: &str| own.is_none_or(|own| own == name) && (only.is_empty() || only.iter().any(|it| it == name));
    let sinks: Vec<_> = assembly.sinks.iter().filter(|sink| wanted(&sink.name)).collect();
    if sinks.is_empty() {
        let have: Vec<_> = assembly.sinks.iter().map(|sink| sink.name.as_str()).collect();
        return Err(Error::config(format!("no sink of {} takes the dead letters of {stage}", assembly.name))
            .hint(format!("its sinks are {}", have.join(", "))));
    }
    for sink in &sinks {
        if sink.replaces_itself() {
            return Err(Error::config(format!(
                "sink `{}` publishes everything under one name: replayed rows would take the place of its output",
                sink.name
            ))
            .hint("put `{{ window.id }}` into its path, or name the other sinks with --sink"));
        }
    }
    Ok(sinks.into_iter().map(|sink| SinkPlan { name: sink.name.clone(), unit: sink.unit() }).collect())
}

/// Where the rows of a stored replay window come from.
pub(crate) fn feed(state: &Arc<State>, window: &Window) -> Result<Feed> {
    let spec = window.splits.first().map(|split| split.spec.clone()).unwrap_or_default();
    let stage = spec.get("stage").and_then(Value::as_str).unwrap_or_default();
    let raw = spec.get("raw").and_then(Value::as_bool).unwrap_or_default();
    let transform = match stage.split_once('.') {
        Some(("transforms", at)) => at.parse().map_err(|_| Error::internal(format!("`{stage}` is no stage")))?,
        // Behind all transforms.
        Some(_) => usize::MAX,
        None => 0,
    };
    let (state, pipeline, id) = (Arc::clone(state), window.pipeline.clone(), window.id);
    let open = move || open(&state, &pipeline, id);
    let letters = window.splits.first().and_then(|split| split.estimated_rows).unwrap_or_default();
    Ok(Feed::Replay(Arc::new(Replayed { transform, raw, letters, open: Box::new(open) })))
}

/// The claimed letters of a window, page by page.
fn open(state: &Arc<State>, pipeline: &str, window: u64) -> Result<Batches> {
    let page = {
        let (state, pipeline) = (Arc::clone(state), pipeline.to_owned());
        move |after: Option<i64>| -> Result<Option<(i64, RecordBatch)>> {
            let letters = state.dead_letters(&engine_state::DeadLetterFilter {
                pipeline: Some(pipeline.clone()),
                replayed_by: Some(window),
                after,
                limit: PAGE_LETTERS,
                ..engine_state::DeadLetterFilter::default()
            })?;
            let Some(mut last) = letters.last().map(|letter| letter.id) else { return Ok(None) };
            let (mut pieces, mut rows, mut bytes) = (files::Pieces::default(), Vec::new(), 0);
            for letter in &letters {
                match payload(&state, letter.id)? {
                    // A record lost its end when it was framed.
                    Payload::Raw { name, bytes: mut record } => {
                        if record.last() != Some(&b'\n') {
                            record.push(b'\n');
                        }
                        bytes += record.len();
                        // Each is a file of its own.
                        pieces.push(&format!("{name} (dead letter {})", letter.id), &record);
                    }
                    Payload::Row { ipc } => {
                        bytes += ipc.len();
                        rows.push(from_ipc(&ipc)?);
                    }
                }
                if bytes >= PAGE_BYTES {
                    last = letter.id;
                    break;
                }
            }
            let Some(first) = rows.first() else { return Ok(Some((last, pieces.finish()))) };
            let together = arrow_select::concat::concat_batches(&first.schema(), &rows);
            let together = together.map_err(|error| Error::internal(format!("{MIXED}: {error}")))?;
            Ok(Some((last, together)))
        }
    };
    let first = page(None)?;
    let schema: SchemaRef = first.as_ref().map_or_else(|| Arc::new(Schema::empty()), |(_, batch)| batch.schema());
    let mut next = first;
    let mut failed = None;
    let of = Arc::clone(&schema);
    let batches = std::iter::from_fn(move || {
        if let Some(error) = failed.take() {
            return Some(Err(error));
        }
        let (last, batch) = next.take()?;
        match page(Some(last)) {
            Ok(page) => next = page,
            Err(error) => failed = Some(error),
        }
        // Equal, but not the same: what follows compares by pointer first.
        let batch = RecordBatch::try_new(Arc::clone(&of), batch.columns().to_vec());
        Some(batch.map_err(|error| Error::internal(format!("{MIXED}: {error}"))))
    });
    Ok(Batches::new(schema, batches))
}
