//! A source that receives: into the spool first, from there window by window.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine_abi::message::Split;
use engine_abi::{Error, ErrorKind, Result};
use engine_state::{NewWindow, SinkPlan, Spool, Window, WindowKind};
use serde_json::{Value, json};

use crate::assembly::Assembly;
use crate::bounded::Ending;
use crate::catch_up::{Left, catch_up};
use crate::herald::Herald;
use crate::letters::{Collected, Letters};
use crate::outlet::Outlet;
use crate::pass;
use crate::replay::Requests;
use crate::retry::{Budget, Next};
use crate::shared::{Job, Shared, is_stop};
use crate::spans::carried;
use crate::stage_host::StageHost;
use crate::stop::Stop;

/// The most bytes of the spool in one window: what is sent again after a crash,
/// and what a target's transaction holds.
const WINDOW_BYTES: u64 = 16 << 20;
/// A window is cut no later than this after its first record …
const WINDOW_TIME: Duration = Duration::from_secs(1);
/// … and as soon as nothing has come for this long.
const QUIET: Duration = Duration::from_millis(100);
/// How long the loop waits when the state cannot be written.
const STATE_PAUSE: Duration = Duration::from_secs(1);
/// How often the loop looks around when nothing happens.
const LOOK: Duration = Duration::from_millis(100);

/// Opens the spool of a push source.
pub(crate) fn open_spool(state: &engine_state::State, assembly: &Assembly) -> Result<Arc<Spool>> {
    let position = state.position(&assembly.name)?.as_ref().and_then(Value::as_u64);
    let folder = state.folder().join("spool").join(&assembly.name);
    let options = engine_state::SpoolOptions {
        max_bytes: assembly.spool.max,
        segment_bytes: assembly.spool.segment,
        first_offset: position.unwrap_or(0),
        ..engine_state::SpoolOptions::default()
    };
    let spool = Spool::open(&folder, options)?;
    if spool.cut_bytes() > 0 {
        tracing::warn!(
            pipeline = assembly.name,
            bytes = spool.cut_bytes(),
            "the spool ended in a record that was never completed; it was cut off"
        );
    }
    Ok(Arc::new(spool))
}

/// A sink that reads for itself.
struct Behind {
    worker: JoinHandle<Result<()>>,
}

struct Push {
    shared: Arc<Shared>,
    spool: Arc<Spool>,
    group: Vec<Outlet>,
    upstream: crate::upstream::Upstream,
    behind: BTreeMap<String, Behind>,
    ending: Ending,
    position: u64,
    /// Goes on while the pipeline drains.
    through: Stop,
    herald: Herald,
}

pub(crate) fn run(
    shared: &Arc<Shared>,
    spool: &Arc<Spool>,
    unfinished: &[Window],
    requests: &Requests,
) -> Result<Ending> {
    let assembly = Arc::clone(&shared.current);
    let variables = shared.variables_before();
    let mut group = Vec::new();
    for sink in &assembly.sinks {
        let mut outlet = shared.outlet(&assembly, &sink.name, &shared.stop)?;
        match outlet.check(&variables) {
            // A mistake in the configuration is told at once, before a sender relies on us.
            Err(error) if matches!(error.kind, ErrorKind::Config | ErrorKind::Denied) => {
                return Ok(Ending { sinks: [(sink.name.clone(), error)].into(), ..Ending::default() });
            }
            Err(error) => {
                tracing::warn!(pipeline = assembly.name, sink = sink.name, kind = %error.kind, "not ready yet: {error}");
                outlet.close();
            }
            Ok(()) => {}
        }
        group.push(outlet);
    }
    let listener = Listener::start(shared, &assembly, spool)?;
    let position = shared.state.position(&assembly.name)?.as_ref().and_then(Value::as_u64);
    // Passes outlast a request to stop, as long as draining may take.
    let through = shared.stop.through_draining();
    let _deadline = DrainDeadline::watch(&shared.stop, &through, shared.options.drain)?;
    let mut push = Push {
        through,
        upstream: shared.upstream(&assembly, &shared.stop),
        shared: Arc::clone(shared),
        spool: Arc::clone(spool),
        group,
        behind: BTreeMap::new(),
        ending: Ending::default(),
        position: position.unwrap_or_else(|| spool.start()),
        herald: Herald::new(shared),
    };
    push.take_up(unfinished);
    let looped = push.work(&listener, requests);
    // Whatever happened: stop receiving, keep what was received.
    shared.stop.drain();
    spool.cancel();
    let received = listener.join();
    for (name, behind) in std::mem::take(&mut push.behind) {
        push.left(&name, behind.worker.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload)));
    }
    spool.flush()?;
    let told = push.herald.join();
    looped?;
    told?;
    for sink in &assembly.sinks {
        if !push.ending.sinks.contains_key(&sink.name) && shared.next_for(&sink.name)?.is_some() {
            push.ending.notes.push(format!(
                "sink `{}` has not got everything; what it misses is kept in the spool, and the next run delivers it",
                sink.name
            ));
        }
    }
    if let Err(error) = received {
        push.ending.source.get_or_insert(error);
    }
    Ok(push.ending)
}

impl Push {
    /// Sinks that miss windows of an earlier run catch up on their own.
    fn take_up(&mut self, unfinished: &[Window]) {
        for window in unfinished {
            self.shared.meters.window(true);
            tracing::info!(pipeline = self.shared.pipeline(), window = window.id, "taking up an unfinished window");
            for sink in window.sinks.iter().filter(|sink| !sink.is_done()) {
                self.leave_behind(&sink.name, None);
            }
        }
    }

    fn leave_behind(&mut self, name: &str, why: Option<Error>) {
        self.catch_up_after(name, why, || {});
    }

    /// `before`: what the sink's worker waits for.
    fn catch_up_after(&mut self, name: &str, why: Option<Error>, before: impl FnOnce() + Send + 'static) {
        self.group.retain(|outlet| outlet.name() != name);
        if self.behind.contains_key(name) {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let sink = name.to_owned();
        let retry = shared.current.sink(name).map(|sink| sink.retry.clone()).unwrap_or_default();
        let stop = self.shared.stop.child();
        let spawned = std::thread::Builder::new().name(format!("catch-up {name}").chars().take(15).collect()).spawn(
            carried(move || {
                before();
                let left = Left { why, several: false };
                catch_up(&shared, &sink, None, left, &mut Budget::patient(&retry), &stop)
            }),
        );
        match spawned {
            Ok(worker) => _ = self.behind.insert(name.to_owned(), Behind { worker }),
            Err(error) => {
                let error = Error::from(error).context("a thread cannot be started");
                self.ending.sinks.insert(name.to_owned(), error);
            }
        }
    }

    /// Takes sinks that have caught up back into the group.
    fn welcome_back(&mut self) -> Result<()> {
        let done: Vec<_> =
            self.behind.iter().filter(|(_, it)| it.worker.is_finished()).map(|(name, _)| name.clone()).collect();
        for name in done {
            let Some(behind) = self.behind.remove(&name) else { continue };
            let result = behind.worker.join().unwrap_or_else(|payload| std::panic::resume_unwind(payload));
            if result.is_err() {
                self.left(&name, result);
            } else if self.shared.next_for(&name)?.is_some() {
                // A window was stored while it finished the one before.
                self.leave_behind(&name, None);
            } else if self.shared.current.sink(&name).is_some() {
                self.group.push(self.shared.outlet(&self.shared.current, &name, &self.shared.stop)?);
                tracing::info!(pipeline = self.shared.pipeline(), sink = name, "has everything again");
            }
        }
        self.truncate()
    }

    fn left(&mut self, name: &str, result: Result<()>) {
        if let Err(error) = result
            && !is_stop(&error)
        {
            self.shared.meters.sink(name).failed(&error);
            self.ending.sinks.entry(name.to_owned()).or_insert(error);
        }
    }

    fn work(&mut self, listener: &Listener, requests: &Requests) -> Result<()> {
        loop {
            self.welcome_back()?;
            self.herald.look()?;
            let busy = self.behind.keys().next();
            requests.serve(&self.shared, busy.map(|sink| format!("sink `{sink}` is behind")));
            if self.shared.stop.stopped() {
                return Ok(());
            }
            if self.group.is_empty() && self.behind.is_empty() {
                return Ok(());
            }
            let draining = self.shared.stop.draining();
            if draining {
                // A sink that does not answer now is served by the next run.
                if self.group.is_empty() || self.through.stopped() {
                    return Ok(());
                }
                if listener.finished() {
                    self.spool.flush()?;
                    if self.position >= self.spool.durable_end() {
                        return Ok(());
                    }
                }
            } else if listener.finished() {
                // It ended by itself: only an error does that.
                self.shared.stop.drain();
            }
            if self.group.is_empty() {
                self.shared.stop.sleep(LOOK);
                continue;
            }
            self.shared.meters.spool_holds(self.spool.held_bytes());
            if self.spool.wait_beyond(self.position, LOOK)? {
                self.linger(draining)?;
                match self.window() {
                    // The state's disk is full, say: what was received waits in the spool.
                    Err(error) if error.kind.is_retryable() && !draining => {
                        tracing::warn!(pipeline = self.shared.pipeline(), kind = %error.kind, "waiting: {error}");
                        self.shared.stop.sleep(STATE_PAUSE);
                    }
                    done => done?,
                }
            }
        }
    }

    /// Lets more records join the window that begins.
    fn linger(&self, draining: bool) -> Result<()> {
        let until = Instant::now() + WINDOW_TIME;
        let mut end = self.spool.durable_end();
        while !draining && end - self.position < WINDOW_BYTES && Instant::now() < until {
            if !self.spool.wait_beyond(end, QUIET)? || self.shared.stop.draining() {
                return Ok(());
            }
            end = self.spool.durable_end();
        }
        Ok(())
    }

    fn window(&mut self) -> Result<()> {
        let shared = Arc::clone(&self.shared);
        let assembly = &shared.current;
        let to = self.spool.cut(self.position, WINDOW_BYTES)?;
        let spec = json!({"from": self.position, "to": to});
        let window = shared.state.create_window(&NewWindow {
            pipeline: assembly.name.clone(),
            run: shared.run.clone(),
            kind: WindowKind::Read,
            lower: Some(json!(self.position)),
            upper: Some(json!(to)),
            splits: vec![Split { id: "0000".into(), spec, ..Split::default() }],
            definition: assembly.definition.clone(),
            context: shared.context(),
            sinks: assembly.sinks.iter().map(|sink| SinkPlan { name: sink.name.clone(), unit: sink.unit() }).collect(),
            replays: Vec::new(),
            backfill: None,
            tells: false,
            about: None,
        })?;
        self.position = to;
        shared.meters.window(false);
        // Those that are behind have one more to catch up with; those that
        // failed for good will have it when the pipeline runs again.
        let job = Job { window: Arc::new(window), assembly: Arc::clone(assembly) };
        let id = job.window.id;
        let pass = shared.pass(&job, &self.through)?;
        let end = pass::run(&pass, &mut self.upstream, std::mem::take(&mut self.group));
        let failed = end.source.err();
        for (outlet, result) in end.outlets {
            let name = outlet.name().to_owned();
            match result {
                Ok(()) => self.group.push(outlet),
                // It goes on by itself, with its own attempts; so does a sink
                // whose reading failed.
                Err(error) if is_stop(&error) => self.leave_behind(&name, failed.clone().filter(|it| !is_stop(it))),
                Err(error) => {
                    drop(outlet);
                    self.leave_behind(&name, Some(error));
                }
            }
        }
        for straggler in end.stalled {
            tracing::warn!(
                pipeline = assembly.name,
                sink = straggler.name(),
                "holds the other sinks up and is left behind; it catches up by itself"
            );
            // Its worker may only begin when the call that hangs has returned.
            let name = straggler.name().to_owned();
            self.catch_up_after(&name, None, move || drop(straggler.wait()));
        }
        if shared.fresh(id)?.is_none() {
            shared.meters.window_done(id);
        }
        self.truncate()
    }

    /// Gives back what no sink needs any more.
    fn truncate(&self) -> Result<()> {
        if let Some(needed) = self.shared.state.oldest_needed(self.shared.pipeline())?.as_ref().and_then(Value::as_u64)
        {
            self.spool.truncate_before(needed)?;
        }
        Ok(())
    }
}

/// Ends what draining does not have the time for.
struct DrainDeadline {
    /// Dropped when the run ends by itself.
    _running: Sender<()>,
}

impl DrainDeadline {
    fn watch(stop: &Stop, through: &Stop, drain: Duration) -> Result<Self> {
        let (running, ended) = channel();
        let (stop, through) = (stop.clone(), through.clone());
        let watch = move || {
            // Until somebody asks to stop, or the run ends.
            while stop.sleep(LOOK) {
                if ended.try_recv() == Err(TryRecvError::Disconnected) {
                    return;
                }
            }
            if ended.recv_timeout(drain) == Err(RecvTimeoutError::Timeout) {
                through.now();
                stop.now();
            }
        };
        std::thread::Builder::new()
            .name("drain".into())
            .spawn(watch)
            .map_err(|error| Error::from(error).context("a thread cannot be started"))?;
        Ok(Self { _running: running })
    }
}

/// The source at work on its own thread, for as long as it is not asked to stop.
struct Listener {
    thread: JoinHandle<()>,
    result: Receiver<Result<()>>,
}

impl Listener {
    fn start(shared: &Arc<Shared>, assembly: &Arc<Assembly>, spool: &Arc<Spool>) -> Result<Self> {
        let (sender, result) = channel();
        // What a push source refuses goes through the spool; it has no split to reject into.
        let letters = Letters::Collected(Arc::new(Collected::default()));
        let host = StageHost::with_spool(&assembly.name, &shared.state, &shared.stop, letters, Arc::clone(spool));
        let part = assembly.source.part.clone();
        let config = part.render(&shared.variables_before())?;
        let mut budget = Budget::new(&assembly.source.retry);
        let stop: Stop = shared.stop.clone();
        let pipeline = assembly.name.clone();
        let mut listen = move || loop {
            let listened = host
                .remembered()
                .and_then(|remembered| part.open(config.clone(), remembered, Arc::clone(&host) as _))
                .and_then(|mut source| source.listen());
            match listened {
                Ok(()) => break Ok(()),
                Err(error) if stop.draining() && is_stop(&error) => break Ok(()),
                Err(error) => {
                    let error = error.at("source");
                    match budget.failed_with(&error) {
                        Next::After(pause) => {
                            tracing::warn!(pipeline, kind = %error.kind, "cannot receive, next attempt in {:.1} s: {error}", pause.as_secs_f64());
                            if !stop.sleep(pause) {
                                break Ok(());
                            }
                        }
                        Next::Spent => break Err(error),
                    }
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("listener".into())
            .spawn(carried(move || _ = sender.send(listen())))
            .map_err(|error| Error::from(error).context("a thread cannot be started"))?;
        Ok(Self { thread, result })
    }

    fn finished(&self) -> bool {
        self.thread.is_finished()
    }

    fn join(self) -> Result<()> {
        if let Err(payload) = self.thread.join() {
            std::panic::resume_unwind(payload);
        }
        self.result.try_recv().unwrap_or(Ok(()))
    }
}
