//! A sink at work on a thread of its own, behind a queue.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use engine_abi::message::Split;
use engine_abi::stream::Batches;
use engine_abi::{Error, ErrorKind, Result, Unit};
use engine_state::RUN_SPLIT;

use crate::outlet::{Outlet, Target};
use crate::pass::PassContext;
use crate::queue::{Receiver, Refused, Sender, Weight, queue};
use crate::shared::is_stop;
use crate::spans::carried;
use crate::spill::{SPILL_QUEUES, Spill, Spilled};
use crate::stop::Stop;

/// How long a sink may take nothing before what it misses goes to disk. Sinks that are only slow take a batch
/// more often.
const PATIENCE: Duration = Duration::from_millis(20);
/// How often it is looked whether a sink that holds others up has taken anything.
const LOOK: Duration = Duration::from_millis(10);

enum Item {
    Begin {
        split: String,
        schema: SchemaRef,
    },
    Rows(RecordBatch),
    /// Rows that wait on disk.
    Spilled(Spilled),
    End {
        rows: u64,
    },
    Failed(Error),
}

impl Weight for Item {
    fn weight(&self) -> usize {
        match self {
            Self::Rows(batch) => batch.weight(),
            _ => 0,
        }
    }
}

/// What the lanes of one sink share: each delivers some of its splits.
pub(crate) struct Delivering {
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// The deliveries that the pass is to make.
    missing: BTreeSet<String>,
    /// How many of them have not been committed.
    open: AtomicUsize,
    /// How many items its lanes have taken.
    taken: AtomicU64,
    /// It takes no further split in this pass.
    gone: AtomicBool,
    stalled: AtomicBool,
    stop: Stop,
}

impl Delivering {
    pub(crate) fn new(context: &PassContext, outlet: &Outlet, missing: BTreeSet<String>) -> Arc<Self> {
        Arc::new(Self {
            name: outlet.name().to_owned(),
            unit: outlet.sink.unit(),
            open: AtomicUsize::new(missing.len()),
            missing,
            taken: AtomicU64::new(0),
            gone: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            stop: context.stop.child(),
        })
    }

    /// Whether it held the others up, and was told to stop.
    pub(crate) fn stalled(&self) -> bool {
        self.stalled.load(Ordering::SeqCst)
    }

    /// How many items its lanes have taken by now.
    pub(crate) fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    /// Whether it may take another split in this pass.
    pub(crate) fn goes_on(&self) -> bool {
        !self.gone.load(Ordering::SeqCst)
    }

    fn has_committed_all(&self) -> bool {
        self.open.load(Ordering::SeqCst) == 0
    }
}

/// The thread of a lane; it gives its sink back.
pub(crate) type LaneThread = JoinHandle<(Outlet, Result<()>)>;

/// The threads of one sink.
pub(crate) struct SinkThreads {
    pub(crate) of: Arc<Delivering>,
    pub(crate) lanes: Vec<LaneThread>,
}

impl SinkThreads {
    pub(crate) fn are_finished(&self) -> bool {
        self.lanes.iter().all(JoinHandle::is_finished)
    }

    /// Waits for all of them. Answers one of the sink's instances, and how it went.
    pub(crate) fn join(self) -> std::thread::Result<(Outlet, Result<()>)> {
        let mut ends = self.lanes.into_iter().map(JoinHandle::join).collect::<std::thread::Result<Vec<_>>>()?;
        // A failure comes before the stops that it has caused.
        ends.sort_by_key(|(_, result)| match result {
            Err(error) if !is_stop(error) => 0,
            Err(_) => 1,
            Ok(()) => 2,
        });
        let (outlet, result) = ends.swap_remove(0);
        let complete = if self.of.has_committed_all() { Ok(()) } else { Err(Error::cancelled()) };
        Ok((outlet, result.and(complete)))
    }
}

/// A sink as one reader sees it.
pub(crate) struct Lane {
    pub(crate) of: Arc<Delivering>,
    /// Gone once the lane takes nothing more.
    sender: Option<Sender<Item>>,
    sent: u64,
    begun: bool,
    aside: Aside,
}

/// What a sink that takes nothing at the moment misses.
#[derive(Default)]
struct Aside {
    spill: Option<Spill>,
    /// There was no room in the queue since then, and how many items the sink had taken by then.
    since: Option<(Instant, u64)>,
    /// Nothing can be put aside.
    failed: bool,
}

impl Aside {
    /// How long the sink has taken nothing.
    fn idle(&mut self, taken: u64) -> Duration {
        let since = match self.since {
            Some((since, seen)) if seen == taken => since,
            _ => Instant::now(),
        };
        self.since = Some((since, taken));
        since.elapsed()
    }

    /// Puts rows aside. None: there is no room for them, or no disk.
    fn keep(&mut self, context: &PassContext, sink: &str, batch: &RecordBatch) -> Option<Spilled> {
        if self.failed {
            return None;
        }
        let spill = match self.spill.take() {
            Some(spill) => Ok(spill),
            None => Spill::new(context.state.folder(), context.queue_bytes as u64 * SPILL_QUEUES),
        };
        let kept = spill.and_then(|spill| self.spill.insert(spill).keep(batch));
        kept.unwrap_or_else(|error| {
            self.failed = true;
            tracing::warn!(sink, "the other sinks wait for this one while it takes nothing: {error}");
            None
        })
    }
}

impl Lane {
    pub(crate) fn start(context: &PassContext, of: &Arc<Delivering>, mut outlet: Outlet) -> Result<(Self, LaneThread)> {
        let (sender, receiver) = queue(context.queue_bytes);
        outlet.bind(&of.stop, context.queue_bytes);
        let work = Work {
            context: PassContext { stop: of.stop.clone(), ..context.clone() },
            of: Arc::clone(of),
            receiver: Arc::new(receiver),
        };
        let thread = std::thread::Builder::new()
            .name(of.name.chars().take(15).collect())
            .spawn(carried(move || work.run(outlet)))
            .map_err(|error| Error::from(error).context("a thread cannot be started"))?;
        Ok((Self { of: Arc::clone(of), sender: Some(sender), sent: 0, begun: false, aside: Aside::default() }, thread))
    }

    pub(crate) fn alive(&self) -> bool {
        self.sender.is_some()
    }

    /// Whether it is in the middle of an artefact that all splits make together.
    pub(crate) fn is_joining(&self) -> bool {
        self.alive() && self.of.unit == Unit::Run && self.begun
    }

    pub(crate) fn wants(&self, split: &Split) -> bool {
        self.alive() && self.of.goes_on() && (self.of.unit == Unit::Run || self.of.missing.contains(&split.id))
    }

    pub(crate) fn begin(&mut self, context: &PassContext, split: &Split, schema: &SchemaRef) {
        if self.of.unit == Unit::Split || !self.begun {
            let id = if self.of.unit == Unit::Run { RUN_SPLIT.to_owned() } else { split.id.clone() };
            self.begun = true;
            self.sent = 0;
            self.send(context, Item::Begin { split: id, schema: Arc::clone(schema) }, || false);
        }
    }

    /// `is_waited_for`: whether it holds up another sink while it does not take them.
    pub(crate) fn rows(&mut self, context: &PassContext, batch: RecordBatch, is_waited_for: impl Fn() -> bool) {
        self.sent += batch.num_rows() as u64;
        self.send(context, Item::Rows(batch), is_waited_for);
    }

    /// The end of a split.
    pub(crate) fn end_split(&mut self, context: &PassContext) {
        if self.of.unit == Unit::Split {
            self.send(context, Item::End { rows: self.sent }, || false);
        }
    }

    /// The end of the last split.
    pub(crate) fn end_run(&mut self, context: &PassContext) {
        if self.of.unit == Unit::Run && self.begun {
            self.send(context, Item::End { rows: self.sent }, || false);
        }
    }

    pub(crate) fn fail(&mut self, error: &Error) {
        if let Some(sender) = self.sender.take() {
            // If it does not fit, the missing end says the same.
            let _ = sender.send(Item::Failed(error.clone()), std::time::Duration::ZERO);
        }
    }

    /// Hands an item over. A sink that is gone takes no more part; one that holds others up gets its rows from disk
    /// once it goes on, and is left behind if it does not.
    fn send(&mut self, context: &PassContext, mut item: Item, is_waited_for: impl Fn() -> bool) {
        let Some(sender) = &self.sender else { return };
        // What one batch has waited for need not be waited for by the next.
        let mut patience = if self.aside.since.is_some() { Duration::ZERO } else { PATIENCE };
        while is_waited_for() {
            item = match sender.send(item, patience) {
                Ok(()) => return self.aside.since = None,
                Err(Refused::Closed(_)) => return self.sender = None,
                Err(Refused::Full(item)) => item,
            };
            // Whoever waited may have gone meanwhile.
            if self.aside.idle(sender.taken()) > context.stall && is_waited_for() {
                self.sender = None;
                self.of.gone.store(true, Ordering::SeqCst);
                self.of.stalled.store(true, Ordering::SeqCst);
                self.of.stop.now();
                return;
            }
            if let Item::Rows(batch) = &item
                && let Some(spilled) = self.aside.keep(context, &self.of.name, batch)
            {
                // It weighs nothing, so that there is room.
                if sender.send(Item::Spilled(spilled), Duration::ZERO).is_err() {
                    self.sender = None;
                }
                return;
            }
            patience = LOOK.min(context.stall);
        }
        if !sender.send_until(item, &context.stop) {
            self.sender = None;
        }
    }
}

/// What a lane's thread does.
struct Work {
    context: PassContext,
    of: Arc<Delivering>,
    receiver: Arc<Receiver<Item>>,
}

impl Work {
    fn run(self, mut outlet: Outlet) -> (Outlet, Result<()>) {
        let done = self.deliver_all(&mut outlet);
        if done.is_err() {
            self.of.gone.store(true, Ordering::SeqCst);
        }
        (outlet, done)
    }

    fn deliver_all(&self, outlet: &mut Outlet) -> Result<()> {
        let context = &self.context;
        let target = Target { window: &context.window, variables: &context.variables, run: &context.run };
        while let Some(item) = self.receiver.receive() {
            let (split, schema) = match item {
                Item::Begin { split, schema } => (split, schema),
                Item::Failed(error) => return Err(blameless(error)),
                Item::Rows(_) | Item::Spilled(_) | Item::End { .. } => continue,
            };
            let ended = Arc::new(AtomicBool::new(false));
            let input = Input {
                receiver: Arc::clone(&self.receiver),
                of: Arc::clone(&self.of),
                ended: Arc::clone(&ended),
                schema: Arc::clone(&schema),
                rows: 0,
            };
            // Of several lanes, the one that commits last finishes the window.
            let is_last = || self.of.open.fetch_sub(1, Ordering::SeqCst) == 1;
            outlet.deliver(&target, &split, Batches::new(schema, input), is_last, &context.stop)?;
            // Delivered before: its rows came for nothing.
            while !ended.load(Ordering::SeqCst) {
                match self.receiver.receive() {
                    Some(Item::End { .. }) | None => break,
                    Some(Item::Failed(error)) => return Err(blameless(error)),
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }
}

/// A failure before the fan-out is not the sink's: the sink only stops.
fn blameless(error: Error) -> Error {
    Error { kind: ErrorKind::Cancelled, ..error }
}

/// The rows of one delivery.
struct Input {
    receiver: Arc<Receiver<Item>>,
    of: Arc<Delivering>,
    ended: Arc<AtomicBool>,
    schema: SchemaRef,
    rows: u64,
}

impl Iterator for Input {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended.load(Ordering::SeqCst) {
            return None;
        }
        let next = self.take();
        if !matches!(next, Some(Ok(_))) {
            self.ended.store(true, Ordering::SeqCst);
        }
        next
    }
}

impl Input {
    fn take(&mut self) -> Option<Result<RecordBatch>> {
        let item = self.receiver.receive();
        self.of.taken.fetch_add(1, Ordering::SeqCst);
        let batch = match item {
            Some(Item::Rows(batch)) => batch,
            Some(Item::Spilled(spilled)) => match spilled.take() {
                Ok(batch) => batch,
                Err(error) => return Some(Err(error)),
            },
            Some(Item::End { rows }) if rows == self.rows => return None,
            Some(Item::End { rows }) => {
                let message = format!("the rows do not add up: {rows} went to the sink, {} arrived", self.rows);
                return Some(Err(Error::internal(message)));
            }
            Some(Item::Failed(error)) => return Some(Err(blameless(error))),
            Some(Item::Begin { .. }) | None => return Some(Err(Error::cancelled())),
        };
        if batch.schema() != self.schema {
            return Some(Err(Error::config(format!(
                "a later split has other columns ({}) than the first ({}), and both go into one artefact",
                names(&batch.schema()),
                names(&self.schema)
            ))
            .hint("name the columns and their types in the format's settings, so that every split has the same")));
        }
        self.rows += batch.num_rows() as u64;
        Some(Ok(batch))
    }
}

fn names(schema: &SchemaRef) -> String {
    let names: Vec<_> = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type())).collect();
    names.join(", ")
}
