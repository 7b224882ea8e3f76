//! One pass: a window (or what is left of it) is read once, for some sinks.
//!
//! Readers take the window's splits one after the other, each with stages and
//! lanes of its own. Where a sink wants the splits in their order there is one
//! reader.

use std::collections::BTreeSet;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine_abi::message::Split;
use engine_abi::{Error, Result, Scope, Unit};
use engine_spec::{OnSchemaChange, TemplateVariables};
use engine_state::{State, Window};

use crate::assembly::Assembly;
use crate::lane::{Delivering, Lane, SinkThreads};
use crate::meters::Meters;
use crate::outlet::{Outlet, Target};
use crate::queue::QUEUE_BYTES;
use crate::reader::read;
use crate::stop::Stop;
use crate::upstream::{Feed, Upstream};

/// How often the end of several sinks is looked for.
const LOOK: Duration = Duration::from_millis(1);

/// Queues share their bytes among readers. One batch of the size that sources are
/// asked for fits in, while another is being worked on.
const MIN_QUEUE_BYTES: usize = 1 << 20;

/// What every pass of a run shares.
#[derive(Clone)]
pub(crate) struct PassContext {
    pub(crate) state: Arc<State>,
    pub(crate) assembly: Arc<Assembly>,
    pub(crate) window: Arc<Window>,
    pub(crate) variables: TemplateVariables,
    pub(crate) run: String,
    pub(crate) feed: Feed,
    pub(crate) meters: Arc<Meters>,
    pub(crate) stop: Stop,
    /// How long a sink may hold the others up.
    pub(crate) stall: Duration,
    /// What a queue between two stages may hold.
    pub(crate) queue_bytes: usize,
    /// How many readers there may be.
    pub(crate) most_readers: usize,
    pub(crate) on_schema_change: OnSchemaChange,
}

/// What a pass left behind.
pub(crate) struct PassEnd {
    /// Sinks that are still in step, and those that failed, with why.
    pub(crate) outlets: Vec<(Outlet, Result<()>)>,
    /// Sinks that held the others up.
    pub(crate) stalled: Vec<Straggler>,
    /// What ended the reading early.
    pub(crate) source: Result<()>,
    /// Several splits were worked on at the same time.
    pub(crate) several: bool,
}

/// A sink that was left behind in the middle of a call.
pub(crate) struct Straggler(SinkThreads);

impl Straggler {
    pub(crate) fn name(&self) -> &str {
        &self.0.of.name
    }

    /// Waits until its calls have returned.
    pub(crate) fn wait(self) -> Result<()> {
        let name = self.name().to_owned();
        self.0.join().map_err(|_| Error::internal(format!("sink `{name}` panicked")))?.1
    }
}

/// A sink that misses something of the window.
struct Waiting {
    outlet: Outlet,
    missing: BTreeSet<String>,
    is_parallel: bool,
}

impl Waiting {
    fn wants(&self, split: &Split) -> bool {
        self.outlet.sink.unit() == Unit::Run || self.missing.contains(&split.id)
    }
}

/// Reads what is missing of a window and delivers it to the sinks.
pub(crate) fn run(context: &PassContext, upstream: &mut Upstream, outlets: Vec<Outlet>) -> PassEnd {
    let mut end = PassEnd { outlets: Vec::new(), stalled: Vec::new(), source: Ok(()), several: false };
    let mut waiting = Vec::new();
    for mut outlet in outlets {
        match prepare(context, &mut outlet) {
            Ok((missing, _)) if missing.is_empty() => end.outlets.push((outlet, Ok(()))),
            Ok((missing, is_parallel)) => {
                waiting.push(Waiting { outlet, missing: missing.into_iter().collect(), is_parallel });
            }
            Err(error) => {
                outlet.close();
                end.outlets.push((outlet, Err(error)));
            }
        }
    }
    if waiting.is_empty() {
        return end;
    }
    let readers = readers(context, &waiting);
    end.several = readers > 1;
    let context = &PassContext { queue_bytes: (QUEUE_BYTES / readers).max(MIN_QUEUE_BYTES), ..context.clone() };
    let (crews, sinks, started) = start(context, waiting, readers, &mut end);
    end.source = started.and_then(|()| read(context, upstream, crews));
    if end.source.is_err() || readers > 1 {
        // Of several readers none knows when the last split was read: what a source holds on to for
        // that, such as a transaction, goes before the sinks are waited for.
        upstream.close();
    }
    collect(context, sinks, &mut end);
    end
}

/// Settles what needs no rows, and answers with the deliveries that do, and
/// whether they may be made at the same time.
fn prepare(context: &PassContext, outlet: &mut Outlet) -> Result<(Vec<String>, bool)> {
    outlet.bind(&context.stop, context.queue_bytes);
    let missing = outlet.missing(&context.window);
    if missing.is_empty() {
        return Ok((missing, false));
    }
    let target = target(context);
    let begun = outlet.begin_run(&target)?;
    let mut open = missing.len();
    let mut left = Vec::new();
    for split in missing {
        if outlet.recover(&target, &split, open == 1, &context.stop)? {
            open -= 1;
        } else {
            left.push(split);
        }
    }
    Ok((left, begun.parallel))
}

fn target(context: &PassContext) -> Target<'_> {
    Target { window: &context.window, variables: &context.variables, run: &context.run }
}

/// How many splits are worked on at the same time.
fn readers(context: &PassContext, waiting: &[Waiting]) -> usize {
    let sinks = waiting.iter().all(|sink| sink.is_parallel && sink.outlet.sink.unit() == Unit::Split);
    let transforms = context.assembly.transforms.iter().all(|part| part.scope() != Scope::Window);
    let wanted = context.window.splits.iter().filter(|split| waiting.iter().any(|sink| sink.wants(split))).count();
    if sinks && transforms { wanted.clamp(1, context.most_readers) } else { 1 }
}

/// Starts a lane for each reader and sink: the crew of each reader, and the threads of each sink.
fn start(
    context: &PassContext,
    waiting: Vec<Waiting>,
    readers: usize,
    end: &mut PassEnd,
) -> (Vec<Vec<Lane>>, Vec<SinkThreads>, Result<()>) {
    let mut crews: Vec<Vec<Lane>> = (0..readers).map(|_| Vec::new()).collect();
    let mut sinks = Vec::new();
    let mut started = Ok(());
    for Waiting { mut outlet, missing, .. } in waiting {
        if let Err(error) = &started {
            end.outlets.push((outlet, Err(Error::clone(error))));
            continue;
        }
        // All begin before one of them delivers.
        let others: Result<Vec<_>> = (1..readers)
            .map(|_| {
                let mut other = outlet.another(context);
                other.begin_run(&target(context)).map(|_| other)
            })
            .collect();
        let others = match others {
            Ok(others) => others,
            Err(error) => {
                outlet.close();
                end.outlets.push((outlet, Err(error)));
                continue;
            }
        };
        let of = Delivering::new(context, &outlet, missing);
        let mut threads = SinkThreads { of: Arc::clone(&of), lanes: Vec::new() };
        for (crew, outlet) in crews.iter_mut().zip(std::iter::once(outlet).chain(others)) {
            match Lane::start(context, &of, outlet) {
                Ok((lane, thread)) => {
                    crew.push(lane);
                    threads.lanes.push(thread);
                }
                Err(error) => {
                    started = Err(error);
                    break;
                }
            }
        }
        if !threads.lanes.is_empty() {
            sinks.push(threads);
        } else if let (Err(error), Some(sink)) = (&started, context.assembly.sink(&of.name)) {
            // The one that was to work in the thread went with it; whoever asks must hear of the sink.
            let outlet = Outlet::new(&context.assembly, sink, &context.state, &context.stop, &context.meters);
            end.outlets.push((outlet, Err(Error::clone(error))));
        }
    }
    // Without their senders, lanes that were started end by themselves.
    if started.is_err() {
        crews.clear();
    }
    (crews, sinks, started)
}

/// Waits for the sinks to finish. One that takes nothing for longer than it may, once
/// another is done, is left behind: its threads go on by themselves.
fn collect(context: &PassContext, sinks: Vec<SinkThreads>, end: &mut PassEnd) {
    let (stalled, working): (Vec<_>, Vec<_>) = sinks.into_iter().partition(|sink| sink.of.stalled());
    end.stalled.extend(stalled.into_iter().map(Straggler));
    // Each with what it had taken, and when it had taken that.
    let mut working: Vec<_> = working.into_iter().map(|sink| (sink.of.taken(), Instant::now(), sink)).collect();
    let mut others_done: Option<Instant> = (!end.outlets.is_empty()).then(Instant::now);
    while !working.is_empty() {
        let alone = working.len() == 1 && others_done.is_none();
        let (done, still): (Vec<_>, Vec<_>) = working.into_iter().partition(|(.., sink)| alone || sink.are_finished());
        for (.., sink) in done {
            match sink.join() {
                Ok(outlet) => end.outlets.push(outlet),
                // The engine's own code panicked; nothing of the sink is left.
                Err(payload) => std::panic::resume_unwind(payload),
            }
        }
        working = still;
        if !end.outlets.is_empty() {
            let others_done = *others_done.get_or_insert_with(Instant::now);
            for (taken, since, sink) in &mut working {
                if *taken != sink.of.taken() {
                    (*taken, *since) = (sink.of.taken(), Instant::now());
                }
            }
            let hangs =
                |(_, since, _): &mut (u64, Instant, SinkThreads)| (*since).max(others_done).elapsed() > context.stall;
            end.stalled.extend(working.extract_if(.., hangs).map(|(.., sink)| Straggler(sink)));
        }
        if !working.is_empty() {
            std::thread::sleep(LOOK);
        }
    }
}

/// How many splits are worked on at the same time where the pipeline does not say: as many as
/// there are processors, but no more connections than a server gives away without a thought.
pub(crate) fn default_parallelism() -> NonZeroUsize {
    const MOST: NonZeroUsize = NonZeroUsize::new(4).expect("not zero");
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN).min(MOST)
}
