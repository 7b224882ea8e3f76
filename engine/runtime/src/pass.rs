//! One pass: a window (or what is left of it) is read once, for some sinks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use engine_abi::message::Split;
use engine_abi::stream::Batches;
use engine_abi::{Error, ErrorKind, Result, Unit};
use engine_spec::TemplateVariables;
use engine_state::{RUN_SPLIT, Window};

use crate::letters::At;
use crate::meters::Meters;
use crate::outlet::{Outlet, Target};
use crate::queue::{QUEUE_BYTES, Receiver, Refused, Sender, Weight, queue};
use crate::stop::Stop;
use crate::upstream::{Feed, Upstream};

/// How often the end of several sinks is looked for.
const LOOK: Duration = Duration::from_millis(1);

/// What every pass of a run shares.
#[derive(Clone)]
pub(crate) struct PassContext {
    pub(crate) window: Arc<Window>,
    pub(crate) variables: TemplateVariables,
    pub(crate) run: String,
    pub(crate) feed: Feed,
    pub(crate) meters: Arc<Meters>,
    pub(crate) stop: Stop,
    /// How long a sink may hold the others up.
    pub(crate) stall: Duration,
}

/// What a pass left behind.
pub(crate) struct PassEnd {
    /// Sinks that are still in step, and those that failed, with why.
    pub(crate) outlets: Vec<(Outlet, Result<()>)>,
    /// Sinks that held the others up; each thread gives its sink back.
    pub(crate) stalled: Vec<Straggler>,
    /// What ended the reading early.
    pub(crate) source: Result<()>,
}

/// A sink that was left behind in the middle of a call.
pub(crate) struct Straggler {
    pub(crate) name: String,
    pub(crate) thread: JoinHandle<(Outlet, Result<()>)>,
}

enum LaneItem {
    Begin { split: String, schema: SchemaRef },
    Rows(RecordBatch),
    End { rows: u64 },
    Failed(Error),
}

impl Weight for LaneItem {
    fn weight(&self) -> usize {
        match self {
            Self::Rows(batch) => batch.weight(),
            _ => 0,
        }
    }
}

/// A sink at work on its own thread, as the fan-out sees it.
struct Lane {
    name: String,
    unit: Unit,
    missing: Vec<String>,
    /// Gone once the sink takes nothing more in this pass.
    sender: Option<Sender<LaneItem>>,
    thread: Option<JoinHandle<(Outlet, Result<()>)>>,
    stop: Stop,
    stalled: bool,
    sent: u64,
    begun: bool,
}

/// Reads what is missing of a window and delivers it to the sinks.
pub(crate) fn run(context: &PassContext, upstream: &mut Upstream, outlets: Vec<Outlet>) -> PassEnd {
    let mut end = PassEnd { outlets: Vec::new(), stalled: Vec::new(), source: Ok(()) };
    let mut lanes = Vec::new();
    for mut outlet in outlets {
        match prepare(context, &mut outlet) {
            Ok(missing) if missing.is_empty() => end.outlets.push((outlet, Ok(()))),
            Ok(missing) => match Lane::start(context, outlet, missing) {
                Ok(lane) => lanes.push(lane),
                Err(error) => {
                    end.source = Err(error);
                    return end;
                }
            },
            Err(error) => {
                outlet.close();
                end.outlets.push((outlet, Err(error)));
            }
        }
    }
    if !lanes.is_empty() {
        upstream.set_stop(&context.stop);
        end.source = read(context, upstream, &mut lanes);
        if end.source.is_err() {
            upstream.close();
        }
    }
    collect(context, lanes, &mut end);
    end
}

/// Waits for the sinks to finish. One that takes longer than it may, once another
/// is done, is left behind: its thread goes on by itself.
fn collect(context: &PassContext, lanes: Vec<Lane>, end: &mut PassEnd) {
    let mut working = Vec::new();
    for mut lane in lanes {
        lane.sender = None;
        if let Some(thread) = lane.thread.take() {
            let straggler = Straggler { name: lane.name, thread };
            if lane.stalled { end.stalled.push(straggler) } else { working.push(straggler) }
        }
    }
    let mut others_done: Option<Instant> = (!end.outlets.is_empty()).then(Instant::now);
    while !working.is_empty() {
        let alone = working.len() == 1 && others_done.is_none();
        let (done, still): (Vec<_>, Vec<_>) = working.into_iter().partition(|it| alone || it.thread.is_finished());
        for straggler in done {
            match straggler.thread.join() {
                Ok(outlet) => end.outlets.push(outlet),
                // The engine's own code panicked; nothing of the sink is left.
                Err(payload) => std::panic::resume_unwind(payload),
            }
        }
        working = still;
        if !end.outlets.is_empty() {
            let since = *others_done.get_or_insert_with(Instant::now);
            if since.elapsed() > context.stall {
                end.stalled.append(&mut working);
            }
        }
        if !working.is_empty() {
            std::thread::sleep(LOOK);
        }
    }
}

/// Settles what needs no rows, and answers with the deliveries that do.
fn prepare(context: &PassContext, outlet: &mut Outlet) -> Result<Vec<String>> {
    outlet.set_stop(&context.stop);
    let missing = outlet.missing(&context.window);
    if missing.is_empty() {
        return Ok(missing);
    }
    let target = Target { window: &context.window, variables: &context.variables, run: &context.run };
    outlet.begin_run(&target)?;
    let mut open = missing.len();
    let mut left = Vec::new();
    for split in missing {
        if outlet.recover(&target, &split, open == 1)? {
            open -= 1;
        } else {
            left.push(split);
        }
    }
    Ok(left)
}

fn read(context: &PassContext, upstream: &mut Upstream, lanes: &mut [Lane]) -> Result<()> {
    let splits = &context.window.splits;
    for split in splits {
        let wanted = lanes.iter().any(|lane| lane.wants(split));
        if !wanted {
            continue;
        }
        // What has begun is finished; a window's one artefact counts as one piece.
        let joined = lanes.iter().any(|lane| lane.alive() && lane.unit == Unit::Run && lane.begun);
        if context.stop.draining() && !joined {
            fail_all(lanes, &Error::cancelled());
            return Err(Error::cancelled());
        }
        if let Err(error) = read_split(context, upstream, lanes, split) {
            fail_all(lanes, &error);
            return Err(error);
        }
    }
    for lane in lanes.iter_mut().filter(|lane| lane.unit == Unit::Run && lane.begun) {
        let rows = lane.sent;
        lane.send(context, LaneItem::End { rows }, true);
    }
    Ok(())
}

fn read_split(context: &PassContext, upstream: &mut Upstream, lanes: &mut [Lane], split: &Split) -> Result<()> {
    let at = At { window: context.window.id, split: split.id.clone(), run: context.run.clone() };
    let stream = upstream.open(split, &at, &context.feed, &context.variables, &context.stop)?;
    let schema = stream.schema();
    let wanted: Vec<bool> = lanes.iter().map(|lane| lane.wants(split)).collect();
    let alone = |lanes: &[Lane]| lanes.iter().filter(|lane| lane.alive()).count() < 2;
    for (lane, _) in lanes.iter_mut().zip(&wanted).filter(|(_, wanted)| **wanted) {
        if lane.unit == Unit::Split || !lane.begun {
            let id = if lane.unit == Unit::Run { RUN_SPLIT.to_owned() } else { split.id.clone() };
            lane.begun = true;
            lane.sent = 0;
            lane.send(context, LaneItem::Begin { split: id, schema: Arc::clone(&schema) }, true);
        }
    }
    for batch in stream {
        let batch = batch?;
        context.stop.check()?;
        if batch.num_rows() == 0 {
            continue;
        }
        context.meters.passing(batch.num_rows() as u64);
        for at in 0..lanes.len() {
            if wanted[at] && lanes[at].alive() {
                let patient = alone(lanes);
                lanes[at].sent += batch.num_rows() as u64;
                lanes[at].send(context, LaneItem::Rows(batch.clone()), patient);
            }
        }
        if !lanes.iter().any(Lane::alive) {
            // Nobody takes it: what the stages counted so far means nothing.
            return Ok(());
        }
    }
    let counts = upstream.finish(&context.feed)?;
    context.meters.split(context.window.id, &split.id, counts);
    for (lane, _) in lanes.iter_mut().zip(&wanted).filter(|(_, wanted)| **wanted) {
        if lane.unit == Unit::Split {
            let rows = lane.sent;
            lane.send(context, LaneItem::End { rows }, true);
        }
    }
    Ok(())
}

fn fail_all(lanes: &mut [Lane], error: &Error) {
    for lane in lanes {
        if let Some(sender) = lane.sender.take() {
            // If it does not fit, the missing end says the same.
            let _ = sender.send(LaneItem::Failed(error.clone()), Duration::ZERO);
        }
    }
}

impl Lane {
    fn start(context: &PassContext, outlet: Outlet, missing: Vec<String>) -> Result<Self> {
        let (sender, receiver) = queue(QUEUE_BYTES);
        let stop = context.stop.child();
        outlet.set_stop(&stop);
        let (name, unit) = (outlet.name().to_owned(), outlet.sink.unit());
        let work = LaneWork {
            context: PassContext { stop: stop.clone(), ..context.clone() },
            open: missing.len(),
            receiver: Arc::new(receiver),
        };
        let thread = std::thread::Builder::new()
            .name(name.chars().take(15).collect())
            .spawn(move || work.run(outlet))
            .map_err(|error| Error::from(error).context("a thread cannot be started"))?;
        Ok(Self {
            name,
            unit,
            missing,
            sender: Some(sender),
            thread: Some(thread),
            stop,
            stalled: false,
            sent: 0,
            begun: false,
        })
    }

    fn alive(&self) -> bool {
        self.sender.is_some()
    }

    fn wants(&self, split: &Split) -> bool {
        self.alive() && (self.unit == Unit::Run || self.missing.contains(&split.id))
    }

    /// Hands an item over. A sink that is gone takes no more part; one that
    /// holds others up (`patient` is false) is left behind.
    fn send(&mut self, context: &PassContext, item: LaneItem, patient: bool) {
        let Some(sender) = &self.sender else { return };
        if patient {
            if !sender.send_until(item, &context.stop) {
                self.sender = None;
            }
            return;
        }
        match sender.send(item, context.stall) {
            Ok(()) => {}
            Err(Refused::Closed(_)) => self.sender = None,
            Err(Refused::Full(_)) => {
                self.sender = None;
                self.stalled = true;
                self.stop.now();
            }
        }
    }
}

struct LaneWork {
    context: PassContext,
    /// Deliveries of the window that are still to be made.
    open: usize,
    receiver: Arc<Receiver<LaneItem>>,
}

impl LaneWork {
    fn run(mut self, mut outlet: Outlet) -> (Outlet, Result<()>) {
        let done = self.deliver_all(&mut outlet);
        (outlet, done)
    }

    fn deliver_all(&mut self, outlet: &mut Outlet) -> Result<()> {
        let context = self.context.clone();
        let target = Target { window: &context.window, variables: &context.variables, run: &context.run };
        while let Some(item) = self.receiver.receive() {
            let (split, schema) = match item {
                LaneItem::Begin { split, schema } => (split, schema),
                LaneItem::Failed(error) => return Err(blameless(error)),
                LaneItem::Rows(_) | LaneItem::End { .. } => continue,
            };
            let ended = Arc::new(AtomicBool::new(false));
            let input = LaneInput {
                receiver: Arc::clone(&self.receiver),
                ended: Arc::clone(&ended),
                schema: Arc::clone(&schema),
                rows: 0,
            };
            outlet.deliver(&target, &split, Batches::new(schema, input), self.open == 1, &context.stop)?;
            self.open -= 1;
            // Delivered before: its rows came for nothing.
            while !ended.load(Ordering::SeqCst) {
                match self.receiver.receive() {
                    Some(LaneItem::End { .. }) | None => break,
                    Some(LaneItem::Failed(error)) => return Err(blameless(error)),
                    Some(_) => {}
                }
            }
        }
        if self.open == 0 { Ok(()) } else { Err(Error::cancelled()) }
    }
}

/// A failure before the fan-out is not the sink's: the sink only stops.
fn blameless(error: Error) -> Error {
    Error { kind: ErrorKind::Cancelled, ..error }
}

/// The rows of one delivery.
struct LaneInput {
    receiver: Arc<Receiver<LaneItem>>,
    ended: Arc<AtomicBool>,
    schema: SchemaRef,
    rows: u64,
}

impl Iterator for LaneInput {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended.load(Ordering::SeqCst) {
            return None;
        }
        let item = match self.receiver.receive() {
            Some(LaneItem::Rows(batch)) if batch.schema() == self.schema => {
                self.rows += batch.num_rows() as u64;
                return Some(Ok(batch));
            }
            Some(LaneItem::Rows(batch)) => Some(Err(Error::config(format!(
                "a later split has other columns ({}) than the first ({}), and both go into one artefact",
                names(&batch.schema()),
                names(&self.schema)
            ))
            .hint("name the columns and their types in the format's settings, so that every split has the same"))),
            Some(LaneItem::End { rows }) if rows == self.rows => None,
            Some(LaneItem::End { rows }) => Some(Err(Error::internal(format!(
                "the rows do not add up: {rows} went to the sink, {} arrived",
                self.rows
            )))),
            Some(LaneItem::Failed(error)) => Some(Err(blameless(error))),
            Some(LaneItem::Begin { .. }) | None => Some(Err(Error::cancelled())),
        };
        self.ended.store(true, Ordering::SeqCst);
        item
    }
}

fn names(schema: &SchemaRef) -> String {
    let names: Vec<_> = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    names.join(", ")
}
