//! One pass: a window (or what is left of it) is read once, for some sinks.
//!
//! Readers take the window's splits one after the other, each with stages and
//! sinks of its own. Where a sink wants the splits in their order there is one
//! reader.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use engine_abi::message::Split;
use engine_abi::{Error, Result, Unit};
use engine_spec::TemplateVariables;
use engine_state::{State, Window};

use crate::assembly::Assembly;
use crate::lane::{Delivering, Lane, SinkThreads};
use crate::letters::At;
use crate::meters::Meters;
use crate::outlet::{Outlet, Target};
use crate::queue::QUEUE_BYTES;
use crate::shared::is_stop;
use crate::stop::Stop;
use crate::upstream::{Feed, Upstream};

/// How often the end of several sinks is looked for.
const LOOK: Duration = Duration::from_millis(1);

/// Queues share their bytes among readers, but batches of the size that sources
/// are asked for must still fit in.
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
}

/// What a pass left behind.
pub(crate) struct PassEnd {
    /// Sinks that are still in step, and those that failed, with why.
    pub(crate) outlets: Vec<(Outlet, Result<()>)>,
    /// Sinks that held the others up.
    pub(crate) stalled: Vec<Straggler>,
    /// What ended the reading early.
    pub(crate) source: Result<()>,
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
    missing: Vec<String>,
    is_parallel: bool,
}

impl Waiting {
    fn wants(&self, split: &Split) -> bool {
        self.outlet.sink.unit() == Unit::Run || self.missing.contains(&split.id)
    }
}

/// Reads what is missing of a window and delivers it to the sinks.
pub(crate) fn run(context: &PassContext, upstream: &mut Upstream, outlets: Vec<Outlet>) -> PassEnd {
    let mut end = PassEnd { outlets: Vec::new(), stalled: Vec::new(), source: Ok(()) };
    let mut waiting = Vec::new();
    for mut outlet in outlets {
        match prepare(context, &mut outlet) {
            Ok((missing, _)) if missing.is_empty() => end.outlets.push((outlet, Ok(()))),
            Ok((missing, is_parallel)) => waiting.push(Waiting { outlet, missing, is_parallel }),
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
    let context = &PassContext { queue_bytes: (QUEUE_BYTES / readers).max(MIN_QUEUE_BYTES), ..context.clone() };
    let (crews, sinks, started) = start(context, waiting, readers, &mut end);
    end.source = started.and_then(|()| read(context, upstream, crews));
    if end.source.is_err() {
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
        if outlet.recover(&target, &split, open == 1)? {
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
    let free = waiting.iter().all(|sink| sink.is_parallel && sink.outlet.sink.unit() == Unit::Split);
    let wanted = context.window.splits.iter().filter(|split| waiting.iter().any(|sink| sink.wants(split))).count();
    if free { wanted.clamp(1, context.assembly.parallelism.get()) } else { 1 }
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
    for Waiting { outlet, missing, .. } in waiting {
        let of = Delivering::new(context, &outlet, missing);
        let mut outlets = vec![outlet];
        // All begin before one of them delivers.
        if let Err(error) = (1..readers).try_for_each(|_| {
            let mut outlet = outlets[0].another(context);
            outlet.begin_run(&target(context))?;
            outlets.push(outlet);
            Ok(())
        }) {
            let mut outlet = outlets.swap_remove(0);
            outlet.close();
            end.outlets.push((outlet, Err(error)));
            continue;
        }
        let mut threads = SinkThreads { of: Arc::clone(&of), lanes: Vec::new() };
        for (crew, outlet) in crews.iter_mut().zip(outlets) {
            match Lane::start(context, &of, outlet) {
                Ok((lane, thread)) => {
                    crew.push(lane);
                    threads.lanes.push(thread);
                }
                Err(error) => {
                    if !threads.lanes.is_empty() {
                        sinks.push(threads);
                    }
                    // Without their senders, the lanes that were started end by themselves.
                    return (Vec::new(), sinks, Err(error));
                }
            }
        }
        sinks.push(threads);
    }
    (crews, sinks, Ok(()))
}

/// Lets every crew's reader work until no split is left.
fn read(context: &PassContext, upstream: &mut Upstream, crews: Vec<Vec<Lane>>) -> Result<()> {
    let work = Work { next: AtomicUsize::new(0), failed: AtomicBool::new(false) };
    let mut crews = crews.into_iter();
    let Some(lanes) = crews.next() else { return Ok(()) };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = crews
            .enumerate()
            .map(|(at, lanes)| {
                std::thread::Builder::new().name(format!("reader-{}", at + 2)).spawn_scoped(scope, move || {
                    let mut upstream = Upstream::new(&context.assembly, &context.state, &context.stop);
                    Reader { context, upstream: &mut upstream, lanes, work }.read()
                })
            })
            .collect();
        let first = Reader { context, upstream, lanes, work }.read();
        let others = others.into_iter().map(|spawned| match spawned {
            Ok(thread) => thread.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)),
            Err(error) => Err(Error::from(error).context("a thread cannot be started")),
        });
        std::iter::once(first).chain(others).collect()
    });
    let mut failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    // A failure comes before the stops that it has caused.
    failures.sort_by_key(is_stop);
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// The splits of a pass, handed out in their order.
struct Work {
    next: AtomicUsize,
    /// A reader has failed: what has begun is finished, and nothing else begins.
    failed: AtomicBool,
}

/// Reads splits for the sinks of its crew.
struct Reader<'a> {
    context: &'a PassContext,
    upstream: &'a mut Upstream,
    lanes: Vec<Lane>,
    work: &'a Work,
}

impl Reader<'_> {
    fn read(mut self) -> Result<()> {
        self.upstream.bind(&self.context.stop, self.context.queue_bytes);
        let read = self.read_all();
        if let Err(error) = &read {
            self.work.failed.store(true, Ordering::SeqCst);
            self.lanes.iter_mut().for_each(|lane| lane.fail(error));
        }
        read
    }

    fn read_all(&mut self) -> Result<()> {
        let context = self.context;
        while let Some(split) = context.window.splits.get(self.work.next.fetch_add(1, Ordering::SeqCst)) {
            if self.work.failed.load(Ordering::SeqCst) {
                return Err(Error::cancelled());
            }
            if !self.lanes.iter().any(|lane| lane.wants(split)) {
                continue;
            }
            // What has begun is finished; a window's one artefact counts as one piece.
            if context.stop.draining() && !self.lanes.iter().any(Lane::is_joining) {
                return Err(Error::cancelled());
            }
            self.read_split(split)?;
        }
        self.lanes.iter_mut().for_each(|lane| lane.end_run(context));
        Ok(())
    }

    fn read_split(&mut self, split: &Split) -> Result<()> {
        let Self { context, upstream, lanes, .. } = self;
        let at = At { window: context.window.id, split: split.id.clone(), run: context.run.clone() };
        let stream = upstream.open(split, &at, &context.feed, &context.variables, &context.stop)?;
        let schema = stream.schema();
        // Asked once: a sink that is gone meanwhile still takes the end of what it has begun.
        let wanted: Vec<usize> = (0..lanes.len()).filter(|at| lanes[*at].wants(split)).collect();
        wanted.iter().for_each(|at| lanes[*at].begin(context, split, &schema));
        for batch in stream {
            let batch = batch?;
            context.stop.check()?;
            if batch.num_rows() == 0 {
                continue;
            }
            context.meters.passing(batch.num_rows() as u64);
            for at in &wanted {
                // Nobody else waits for the only one.
                let patient = lanes.iter().filter(|lane| lane.alive()).count() < 2;
                if lanes[*at].alive() {
                    lanes[*at].rows(context, batch.clone(), patient);
                }
            }
            if !lanes.iter().any(|lane| lane.alive()) {
                // Nobody takes it: what the stages counted so far means nothing.
                return Ok(());
            }
        }
        let counts = upstream.finish(&context.feed)?;
        context.meters.split(context.window.id, &split.id, counts);
        wanted.iter().for_each(|at| lanes[*at].end_split(context));
        Ok(())
    }
}

/// Waits for the sinks to finish. One that takes longer than it may, once another
/// is done, is left behind: its threads go on by themselves.
fn collect(context: &PassContext, sinks: Vec<SinkThreads>, end: &mut PassEnd) {
    let (stalled, mut working): (Vec<_>, Vec<_>) = sinks.into_iter().partition(|sink| sink.of.stalled());
    end.stalled.extend(stalled.into_iter().map(Straggler));
    let mut others_done: Option<Instant> = (!end.outlets.is_empty()).then(Instant::now);
    while !working.is_empty() {
        let alone = working.len() == 1 && others_done.is_none();
        let (done, still): (Vec<_>, Vec<_>) = working.into_iter().partition(|sink| alone || sink.are_finished());
        for sink in done {
            match sink.join() {
                Ok(outlet) => end.outlets.push(outlet),
                // The engine's own code panicked; nothing of the sink is left.
                Err(payload) => std::panic::resume_unwind(payload),
            }
        }
        working = still;
        if !end.outlets.is_empty() {
            let since = *others_done.get_or_insert_with(Instant::now);
            if since.elapsed() > context.stall {
                end.stalled.extend(working.drain(..).map(Straggler));
            }
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
