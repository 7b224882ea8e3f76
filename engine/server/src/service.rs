//! The service: pipelines with their schedules, the queue, and the runs at work.
//!
//! One thread, the scheduler, decides and begins; each run has a thread of its own. What is decided is stored before
//! anything is begun, so that the next start goes on from there, wherever this one was killed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine_abi::{Error, ErrorKind, Result};
use engine_runtime::{Meters, Run, RunOptions, RunReport, Stop};
use engine_spec::Overlap;
use engine_state::{DeadLetter, Decision, RunFilter, State, Wanted};
use serde_json::Value;

use crate::alarms;
use crate::clock::Clock;
use crate::due::{Due, due};
use crate::pipelines::{Active, Begun, Entry, Loader, Pipeline, Ready, Watcher, ended, texts};
use crate::queue::{Task, Work};

/// How long the scheduler waits at most: a clock that is set is noticed within this.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long it waits when the state cannot be written.
const STATE_PAUSE: Duration = Duration::from_secs(1);
/// How long a source that receives is left alone after it has ended although nobody asked it to; it doubles.
const FIRST_FALL: Duration = Duration::from_secs(1);
const LONGEST_FALL: Duration = Duration::from_secs(60);
/// The most runs of a pipeline that wait because somebody has asked for them.
pub const MOST_WAITING: usize = 1_000;

/// Bounds of a service.
#[derive(Debug, Clone)]
pub struct Options {
    /// The most runs at a time; the rest waits in order. Sources that receive do not count.
    pub most_runs: usize,
    /// How often files are looked at for changes.
    pub poll: Duration,
    /// What ends by itself and has no schedule runs once, at the start.
    pub once: bool,
    /// Of every run.
    pub run: RunOptions,
}

impl Default for Options {
    fn default() -> Self {
        Self { most_runs: 64, poll: Duration::from_secs(1), once: false, run: RunOptions::default() }
    }
}

/// Why somebody who asked for something does not get it.
#[derive(Debug)]
pub enum Refusal {
    /// There is no such pipeline.
    Unknown(String),
    /// It runs, or waits to.
    Busy(String),
    /// It cannot run as its file is now: what is wrong.
    Broken(String),
    /// Nothing begins any more.
    Stopping,
    /// Something else.
    Error(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Pipelines at work, by their schedules and on demand.
pub struct Service {
    pub(crate) state: Arc<State>,
    pub(crate) clock: Arc<dyn Clock>,
    loader: Arc<dyn Loader>,
    pub(crate) options: Options,
    pub(crate) stop: Stop,
    pub(crate) started: DateTime<Utc>,
    watchers: Vec<Arc<dyn Watcher>>,
    inner: Mutex<Inner>,
    changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) pipelines: BTreeMap<String, Pipeline>,
    pub(crate) queue: VecDeque<Task>,
    /// Runs at work, of those that are counted.
    pub(crate) at_work: usize,
    /// Until the first look is over, slots are those that came while no engine ran.
    begun: bool,
    /// The time at the last look.
    last_look: Option<DateTime<Utc>>,
    /// Somebody wants the scheduler to look.
    woken: bool,
}

impl Service {
    /// A service over a state, which this process holds. Nothing runs yet.
    pub fn new(
        state: Arc<State>,
        loader: Arc<dyn Loader>,
        clock: Arc<dyn Clock>,
        options: Options,
        stop: Stop,
        watchers: Vec<Arc<dyn Watcher>>,
    ) -> Arc<Self> {
        let (inner, changed, started) = (Mutex::default(), Condvar::new(), clock.now());
        Arc::new(Self { state, clock, loader, options, stop, started, watchers, inner, changed })
    }

    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Loads the pipelines, and takes up what an earlier service has left. Before [`Service::run`].
    ///
    /// # Errors
    /// Those of the state and the loader.
    pub fn load(&self) -> Result<()> {
        self.take(self.loader.load(true)?)?;
        self.take_up()
    }

    /// Works until it is asked to stop and everything that has begun has ended.
    ///
    /// # Errors
    /// When a thread cannot be started; what fails later is logged, and tried again.
    pub fn run(self: &Arc<Self>) -> Result<()> {
        let reloader = self.thread("reloader", |service| service.follow_files())?;
        while !self.stop.draining() {
            let wait = match self.look() {
                Ok(next) => self.time_until(next),
                Err(error) => {
                    tracing::error!("the scheduler cannot go on, and tries again: {error}");
                    STATE_PAUSE
                }
            };
            self.wait(wait);
        }
        self.give_back_tasks();
        self.wait_for_ends();
        let _ = reloader.join();
        Ok(())
    }

    fn thread(
        self: &Arc<Self>,
        name: &str,
        work: impl FnOnce(Arc<Self>) + Send + 'static,
    ) -> Result<std::thread::JoinHandle<()>> {
        let service = Arc::clone(self);
        let name = name.chars().take(15).collect();
        std::thread::Builder::new()
            .name(name)
            .spawn(move || work(service))
            .map_err(|error| Error::from(error).context("a thread cannot be started"))
    }

    /// Has the scheduler look at once.
    pub fn wake(&self) {
        self.inner().woken = true;
        self.changed.notify_all();
    }

    fn time_until(&self, next: Option<DateTime<Utc>>) -> Duration {
        let wait = next.map(|next| (next - self.clock.now()).to_std().unwrap_or_default());
        wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    /// Waits, unless somebody wants something.
    fn wait(&self, time: Duration) {
        let until = std::time::Instant::now() + time;
        let mut inner = self.inner();
        while !inner.woken && !self.stop.draining() {
            let left = until.saturating_duration_since(std::time::Instant::now());
            if left.is_zero() {
                break;
            }
            inner = self.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inner.woken = false;
    }

    // ---- what there is ----------------------------------------------------------

    /// Takes the pipelines as their files are now.
    fn take(&self, entries: Vec<Entry>) -> Result<()> {
        let known: BTreeMap<_, _> =
            self.state.schedules()?.into_iter().map(|reached| (reached.pipeline.clone(), reached)).collect();
        let names: BTreeSet<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        for entry in entries {
            let is_new = !self.inner().pipelines.contains_key(&entry.name);
            let history = match is_new {
                true => Some((
                    self.state.run_counts(&entry.name)?,
                    self.state.last_ended_run(&entry.name)?,
                    self.state.last_succeeded_run(&entry.name)?,
                )),
                false => None,
            };
            let mut inner = self.inner();
            let pipeline =
                inner.pipelines.entry(entry.name.clone()).or_insert_with(|| Pipeline::new(entry.file.clone()));
            if let Some((counts, last, good)) = history {
                pipeline.last = last;
                pipeline.last_good = good.as_ref().map(engine_state::Run::about);
                let read = |run: &engine_state::Run| run.report.as_ref().and_then(|it| it["read"].as_u64());
                pipeline.watched.heard_at(good.filter(|run| read(run) > Some(0)).and_then(|run| run.ended));
                pipeline.tally.total = counts.iter().map(|(_, count)| count).sum();
                pipeline.tally.succeeded = count_of(&counts, engine_state::Outcome::Succeeded);
                pipeline.tally.failed = count_of(&counts, engine_state::Outcome::Failed);
                if let Some(reached) = known.get(&entry.name) {
                    (pipeline.reached, pipeline.paused) = (reached.until, reached.paused);
                    pipeline.times.clone_from(&reached.times);
                }
            }
            pipeline.gone = false;
            pipeline.file.clone_from(&entry.file);
            match entry.pipeline {
                Err(problem) => {
                    if entry.wrong_stops {
                        (pipeline.ready, pipeline.looked_at) = (None, false);
                    }
                    if pipeline.broken.as_ref() != Some(&problem) {
                        let goes_on = if pipeline.ready.is_some() { "; it goes on as it was" } else { "" };
                        let first = problem.lines().next().unwrap_or_default();
                        tracing::error!(
                            pipeline = entry.name,
                            file = entry.file,
                            "it cannot be used as it is now{goes_on}: {first}"
                        );
                    }
                    pipeline.broken = Some(problem);
                }
                Ok(ready) => {
                    pipeline.broken = None;
                    let is_same = pipeline.ready.as_ref().is_some_and(|now| now.fingerprint == ready.fingerprint);
                    if !is_same {
                        adopt(pipeline, &entry.name, ready, is_new);
                    }
                }
            }
        }
        let mut inner = self.inner();
        for (name, pipeline) in &mut inner.pipelines {
            if !names.contains(name) && !pipeline.gone {
                tracing::info!(pipeline = name, "its file is gone; it runs no more");
                pipeline.gone = true;
                pipeline.active.iter().for_each(|active| active.stop.drain());
            }
        }
        drop(inner);
        self.sort_out();
        Ok(())
    }

    /// Lets go of what has no file any more, and has what receives be received.
    fn sort_out(&self) {
        let mut inner = self.inner();
        let idle: Vec<_> = inner
            .pipelines
            .iter()
            .filter(|(_, it)| it.gone && it.active.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        for name in idle {
            inner.pipelines.remove(&name);
            let (left, kept) = std::mem::take(&mut inner.queue).into_iter().partition(|task| task.pipeline == name);
            inner.queue = kept;
            self.forget(left);
        }
        let now = self.clock.now();
        let listening: Vec<_> = inner
            .pipelines
            .iter()
            .filter(|(_, it)| it.active.is_none() && !it.gone && it.ready.as_ref().is_some_and(Ready::is_push))
            .map(|(name, it)| (name.clone(), it.falls))
            .collect();
        for (name, falls) in listening {
            if inner.queue.iter().all(|task| task.pipeline != name || !matches!(task.work, Work::Listen)) {
                let from = now + TimeDelta::from_std(pause_after(falls)).unwrap_or_default();
                inner.queue.push_back(Task { pipeline: name, work: Work::Listen, from, since: now });
            }
        }
        drop(inner);
        self.wake();
    }

    fn forget(&self, tasks: VecDeque<Task>) {
        for task in tasks {
            tracing::warn!(pipeline = task.pipeline, "a run that waited is forgotten: the pipeline's file is gone");
            if let Some(number) = task.work.number()
                && let Err(error) = self.state.dequeue(number)
            {
                tracing::error!(pipeline = task.pipeline, "it cannot be taken out of the queue: {error}");
            }
        }
    }

    /// Looks at the files again and again.
    fn follow_files(self: Arc<Self>) {
        while self.stop.sleep(self.options.poll) {
            if let Err(error) = self.reload(false) {
                tracing::error!("the pipeline files cannot be looked at: {error}");
            }
        }
    }

    /// Takes the pipelines as their files are now. `anew`: with all that is around them.
    pub fn reload(&self, anew: bool) -> Result<()> {
        self.take(self.loader.load(anew)?)
    }

    // ---- what was left ----------------------------------------------------------

    /// What an earlier service has left: runs in the queue, runs in which it died. And what runs at each start.
    fn take_up(&self) -> Result<()> {
        let waiting = self.state.waiting()?;
        let now = self.clock.now();
        let pipelines: Vec<_> = {
            let inner = self.inner();
            inner.pipelines.iter().map(|(name, it)| (name.clone(), it.ready.clone())).collect()
        };
        let mut tasks = Vec::new();
        for (name, ready) in &pipelines {
            if ready.as_ref().is_none_or(Ready::is_push) {
                continue;
            }
            if waiting.iter().any(|it| it.pipeline == *name && it.trigger == RESUME) {
                continue;
            }
            // The newest: what the others have left it completes as well.
            let Some(run) = self.state.interrupted_runs(name)?.pop() else { continue };
            let is_read = !["replay", "resend", "backfill"].contains(&run.trigger.as_str());
            if is_read || !self.state.unfinished_windows(name)?.is_empty() {
                tracing::info!(pipeline = name, run = run.id, "the engine ended in this run; it is taken up");
                let params = run.params.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
                let wanted = Wanted {
                    pipeline: name.clone(),
                    trigger: RESUME.into(),
                    slot: run.slot,
                    params,
                    // By that it is known that the two are one.
                    reference: run.reference.or(Some(run.id)),
                };
                tasks.push(Task::of(self.state.enqueue(&wanted)?, now));
            }
        }
        let known: BTreeSet<_> = pipelines.iter().map(|(name, _)| name.as_str()).collect();
        let (kept, lost): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|it| known.contains(it.pipeline.as_str()));
        self.forget(lost.into_iter().map(|it| Task::of(it, now)).collect());
        let mut inner = self.inner();
        // What had begun goes on before what only waited.
        inner.queue.extend(tasks);
        inner.queue.extend(kept.into_iter().map(|it| Task::of(it, now)));
        Ok(())
    }

    /// Pipelines that run when the service starts, unless they are about to run anyway.
    fn run_at_start(&self) -> Result<()> {
        let once = self.options.once;
        let names: Vec<_> = {
            let inner = self.inner();
            let at_start = inner.pipelines.iter().filter(|(name, it)| {
                if once && it.ready.as_ref().is_some_and(|it| !it.is_push() && it.assembly.schedule.is_none()) {
                    return inner.queue.iter().all(|task| task.pipeline != **name);
                }
                let wants =
                    it.ready.as_ref().and_then(|ready| ready.assembly.schedule.as_ref()).is_some_and(|it| it.on_start);
                wants && !it.paused && inner.queue.iter().all(|task| task.pipeline != **name)
            });
            at_start.map(|(name, _)| name.clone()).collect()
        };
        for pipeline in names {
            let params = Value::Object(serde_json::Map::new());
            let waiting = self.state.enqueue(&Wanted {
                pipeline,
                trigger: "start".into(),
                slot: None,
                params,
                reference: None,
            })?;
            let now = self.clock.now();
            self.inner().queue.push_back(Task::of(waiting, now));
        }
        Ok(())
    }

    // ---- the scheduler ----------------------------------------------------------

    /// Decides on what is due, begins what can begin. Answers when to look again, if anything is known to come.
    fn look(self: &Arc<Self>) -> Result<Option<DateTime<Utc>>> {
        let now = self.clock.now();
        self.decide(now)?;
        if !self.inner().begun {
            self.run_at_start()?;
            self.inner().begun = true;
        }
        self.begin(now)?;
        self.watch(now)?;
        let inner = self.inner();
        let slots = inner.pipelines.values().filter_map(|pipeline| pipeline.next);
        let waiting = inner.queue.iter().map(|task| task.from).filter(|from| *from > now);
        Ok(slots.chain(waiting).min())
    }

    /// Decides on the slots that are due, stores that, and puts their runs into the queue.
    fn decide(&self, now: DateTime<Utc>) -> Result<()> {
        let mut decisions = Vec::new();
        let mut reached = Vec::new();
        {
            let mut inner = self.inner();
            let was_set_back = inner.last_look.is_some_and(|last| now < last);
            inner.last_look = Some(now);
            let (begun, busy) = (inner.begun, inner.queued());
            for (name, pipeline) in &mut inner.pipelines {
                let is_due = !pipeline.looked_at || was_set_back || pipeline.next.is_some_and(|next| next <= now);
                if !is_due || pipeline.gone {
                    continue;
                }
                if let Some(decision) = decide_one(name, pipeline, now, begun, busy.contains(name)) {
                    reached.push((name.clone(), decision.until));
                    decisions.push(decision);
                }
            }
        }
        if decisions.is_empty() {
            return Ok(());
        }
        let waiting = self.state.decide(&decisions)?;
        let mut inner = self.inner();
        for (decision, (name, until)) in decisions.iter().zip(reached) {
            if let Some(pipeline) = inner.pipelines.get_mut(&name) {
                pipeline.reached = Some(until);
                pipeline.times = Some(decision.times.clone());
                // The next look says when the next one comes.
                pipeline.looked_at = false;
            }
        }
        for waiting in waiting {
            let delay = inner.pipelines.get(&waiting.pipeline).and_then(|it| {
                let schedule = it.ready.as_ref()?.assembly.schedule.as_ref()?;
                Some(schedule.delay(&waiting.pipeline, waiting.slot?))
            });
            let slot = waiting.slot.unwrap_or(now);
            let from = slot + TimeDelta::from_std(delay.unwrap_or_default()).unwrap_or_default();
            if inner.queue.iter().all(|task| task.work.number() != Some(waiting.number)) {
                inner.queue.push_back(Task::of(waiting, from));
            }
        }
        drop(inner);
        // Once more, for the times that come next.
        self.decide(now)
    }

    /// Begins what is next in the queue and can begin.
    fn begin(self: &Arc<Self>, now: DateTime<Utc>) -> Result<()> {
        let mut begun = Vec::new();
        {
            let mut inner = self.inner();
            let mut left = VecDeque::new();
            let mut met = BTreeSet::new();
            for task in std::mem::take(&mut inner.queue) {
                let has_room = !task.work.is_counted()
                    || (inner.at_work < self.options.most_runs && inner.has_room_beside(&task.pipeline));
                // One thing at a time, and in the order in which they were asked for.
                let is_next = met.insert(task.pipeline.clone());
                let ready = inner.pipelines.get(&task.pipeline).filter(|it| it.active.is_none() && !it.gone);
                let ready = ready.and_then(|it| it.ready.clone());
                match ready.filter(|_| has_room && is_next && task.from <= now) {
                    None => {
                        // What waits for its time lets others by.
                        if task.from > now {
                            met.remove(&task.pipeline);
                        }
                        left.push_back(task);
                    }
                    Some(ready) => {
                        inner.at_work += usize::from(task.work.is_counted());
                        let active = self.active(&task.work, &ready, now);
                        begun.push((
                            task,
                            ready,
                            active.stop.clone(),
                            Arc::clone(&active.meters),
                            Arc::clone(&active.requests),
                        ));
                        if let Some(pipeline) =
                            begun.last().and_then(|(task, ..)| inner.pipelines.get_mut(&task.pipeline))
                        {
                            pipeline.active = Some(active);
                        }
                    }
                }
            }
            inner.queue = left;
        }
        if begun.is_empty() {
            return Ok(());
        }
        let numbers: Vec<_> = begun.iter().filter_map(|(task, ..)| task.work.number()).collect();
        let ids = if numbers.is_empty() { Ok(Vec::new()) } else { self.state.begin_waiting(&numbers, now) };
        let mut ids = match ids {
            Ok(ids) => ids.into_iter(),
            Err(error) => {
                let mut inner = self.inner();
                for (task, ..) in begun.into_iter().rev() {
                    inner.release(&task);
                    inner.queue.push_front(task);
                }
                return Err(error);
            }
        };
        for (task, ready, stop, meters, requests) in begun {
            let run = match task.work.number() {
                Some(_) => match ids.next().flatten() {
                    Some(run) => Some(run),
                    None => {
                        self.inner().release(&task);
                        continue;
                    }
                },
                None => None,
            };
            if let Some(active) = self.inner().pipelines.get_mut(&task.pipeline).and_then(|it| it.active.as_mut()) {
                active.run = run.clone().unwrap_or_default();
            }
            let job = Job { ready, stop, meters, requests, run, started: now, options: self.options.run.clone() };
            let name = task.pipeline.clone();
            self.thread(&name, move |service| service.work(task, job))?;
        }
        Ok(())
    }

    fn active(&self, work: &Work, ready: &Ready, now: DateTime<Utc>) -> Active {
        Active {
            run: String::new(),
            trigger: work.trigger().to_owned(),
            slot: work.slot(),
            reference: work.reference().map(str::to_owned),
            started: now,
            meters: Arc::new(Meters::new(ready.assembly.sinks.iter().map(|sink| sink.name.as_str()))),
            requests: Arc::default(),
            stop: self.stop.child(),
            endless: matches!(work, Work::Listen),
            is_run: work.is_counted(),
        }
    }

    /// Raises alarms, and says when they are over.
    fn watch(self: &Arc<Self>, now: DateTime<Utc>) -> Result<()> {
        let mut changes = Vec::new();
        {
            let mut inner = self.inner();
            for (name, pipeline) in inner.pipelines.iter_mut().filter(|(_, pipeline)| !pipeline.gone) {
                let Some(ready) = pipeline.ready.clone().filter(|it| it.assembly.alarms.is_some()) else { continue };
                let changed = alarms::look(pipeline, now);
                changes.extend(changed.into_iter().map(|change| (name.clone(), ready.clone(), change)));
            }
        }
        for (pipeline, ready, (alarm, raised, said)) in changes {
            match raised {
                true => tracing::error!(pipeline, alarm = alarm.as_str(), "alarm: {said}"),
                false => tracing::info!(pipeline, alarm = alarm.as_str(), "alarm {said}"),
            }
            // A source that receives tells by itself what there is to tell.
            if engine_runtime::raise(&self.state, &ready.assembly, alarm.as_str(), &said)? && !ready.is_push() {
                self.inner().queue.push_back(Task { pipeline, work: Work::Tell, from: now, since: now });
                self.wake();
            }
        }
        Ok(())
    }

    // ---- a run ------------------------------------------------------------------

    /// Does a task, on a thread of its own.
    fn work(self: Arc<Self>, task: Task, job: Job) {
        let name = task.pipeline.clone();
        if matches!(task.work, Work::Tell) {
            if let Err(error) = engine_runtime::tell_now(&self.state, &job.ready.assembly, &job.stop) {
                tracing::error!(pipeline = name, "an alarm could not be told: {error}");
            }
            self.inner().release(&task);
            self.sort_out();
            return;
        }
        let begun = Begun {
            pipeline: name.clone(),
            run: job.run.clone(),
            trigger: task.work.trigger().to_owned(),
            slot: task.work.slot(),
            reference: task.work.reference().map(str::to_owned),
            started: job.started,
        };
        if task.work.is_counted()
            && let Some(pipeline) = self.inner().pipelines.get_mut(&name)
        {
            pipeline.totals.began((self.clock.now() - task.from.max(self.started)).num_milliseconds() as f64 / 1000.0);
        }
        self.watchers.iter().for_each(|watcher| watcher.begun(&begun));
        let report = catch_unwind(AssertUnwindSafe(|| job.run(&self.state, &task.work)))
            .unwrap_or_else(|_| Err(Error::internal("the run has panicked; this is a bug of the engine")));
        match &report {
            Ok(report) => told(report, task.work.trigger()),
            Err(error) => tracing::error!(pipeline = name, kind = %error.kind, "the run has failed: {error}"),
        }
        self.watchers.iter().for_each(|watcher| watcher.ended(&begun, &report));
        let mut inner = self.inner();
        let asked_to = job.stop.draining();
        if let Some(pipeline) = inner.pipelines.get_mut(&name) {
            let active = pipeline.active.take();
            if let (Ok(report), Some(active)) = (&report, &active) {
                pipeline.tally.count(report.outcome);
                pipeline.totals.add(report, &active.meters);
                if report.outcome == engine_state::Outcome::Succeeded {
                    pipeline.last_good = Some(active.slot.unwrap_or(report.started));
                }
                pipeline.last = Some(ended(report, active));
            }
            pipeline.falls = match &task.work {
                Work::Listen if !asked_to => pipeline.falls.saturating_add(1),
                _ => 0,
            };
        }
        inner.at_work -= usize::from(task.work.is_counted());
        drop(inner);
        if let Work::Replay { answer, .. } | Work::Resend { answer, .. } = task.work {
            // Who asked may have gone.
            let _ = answer.send(report);
        }
        self.sort_out();
    }

    /// At the end: whoever waits for something that does not begin any more is told.
    fn give_back_tasks(&self) {
        for task in std::mem::take(&mut self.inner().queue) {
            if let Work::Replay { answer, .. } | Work::Resend { answer, .. } = task.work {
                let _ = answer.send(Err(Error::unavailable("the engine stops").hint("try again when it runs")));
            }
        }
    }

    fn wait_for_ends(&self) {
        let mut inner = self.inner();
        while inner.pipelines.values().any(|pipeline| pipeline.active.is_some()) {
            let wait = self.changed.wait_timeout(inner, LONGEST_WAIT);
            inner = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    // ---- what others ask for ----------------------------------------------------

    /// Asks for a run of a pipeline. It begins when there is room. `reference`: what it is called by whoever asks.
    ///
    /// # Errors
    /// `Busy` while it runs or is about to; what is wrong with the parameters.
    pub fn trigger(
        &self,
        pipeline: &str,
        trigger: &str,
        params: Value,
        reference: Option<String>,
    ) -> std::result::Result<(), Refusal> {
        if self.stop.draining() {
            return Err(Refusal::Stopping);
        }
        {
            let inner = self.inner();
            let found = inner.pipelines.get(pipeline).filter(|it| !it.gone);
            let found = found.ok_or_else(|| Refusal::Unknown(pipeline.to_owned()))?;
            if found.ready.is_none() {
                return Err(Refusal::Broken(found.broken.clone().unwrap_or_default()));
            }
            if found.active.is_some() {
                return Err(Refusal::Busy(format!("{pipeline} is running")));
            }
            let waits =
                |task: &Task| task.pipeline == pipeline && task.work.is_counted() && task.from <= self.clock.now();
            if inner.queue.iter().any(waits) {
                return Err(Refusal::Busy(format!("a run of {pipeline} is about to begin")));
            }
        }
        self.enqueue(pipeline, trigger, params, reference)
    }

    /// Asks for a run of a pipeline, which begins when those have ended that were asked for before it.
    ///
    /// # Errors
    /// `Busy` where [`MOST_WAITING`] wait already; what is wrong with the parameters.
    pub fn enqueue(
        &self,
        pipeline: &str,
        trigger: &str,
        params: Value,
        reference: Option<String>,
    ) -> std::result::Result<(), Refusal> {
        if self.stop.draining() {
            return Err(Refusal::Stopping);
        }
        {
            let inner = self.inner();
            let found = inner.pipelines.get(pipeline).filter(|it| !it.gone);
            let found = found.ok_or_else(|| Refusal::Unknown(pipeline.to_owned()))?;
            let Some(ready) = &found.ready else {
                return Err(Refusal::Broken(found.broken.clone().unwrap_or_default()));
            };
            if inner.queue.iter().filter(|task| task.pipeline == pipeline).count() >= MOST_WAITING {
                return Err(Refusal::Busy(format!("{MOST_WAITING} runs of {pipeline} wait already")));
            }
            let mut assembly = (*ready.assembly).clone();
            assembly.set = texts(&params);
            let now = self.clock.now();
            assembly.variables("trigger", now, assembly.range(None, now))?;
        }
        let (pipeline, trigger) = (pipeline.to_owned(), trigger.to_owned());
        let wanted = Wanted { pipeline, trigger, slot: None, params, reference };
        let waiting = self.state.enqueue(&wanted)?;
        let now = self.clock.now();
        self.inner().queue.push_back(Task::of(waiting, now));
        self.wake();
        Ok(())
    }

    /// Tries dead letters of a pipeline again, and waits for what that comes to.
    pub fn replay(&self, pipeline: &str, letters: Vec<DeadLetter>, sinks: Vec<String>) -> Result<RunReport> {
        let at_work = {
            let inner = self.inner();
            let active = inner.pipelines.get(pipeline).and_then(|it| it.active.as_ref());
            active.filter(|active| active.endless).map(|active| Arc::clone(&active.requests))
        };
        // A source that receives goes on meanwhile.
        if let Some(requests) = at_work {
            return requests.replay(letters, sinks);
        }
        self.ask(pipeline, |answer| Work::Replay { letters, sinks, answer })
    }

    /// Delivers a window once more, and waits for what that comes to.
    pub fn resend(&self, pipeline: &str, window: u64, sinks: Vec<String>, again: bool) -> Result<RunReport> {
        self.ask(pipeline, |answer| Work::Resend { window, sinks, again, answer })
    }

    fn ask(
        &self,
        pipeline: &str,
        work: impl FnOnce(std::sync::mpsc::Sender<Result<RunReport>>) -> Work,
    ) -> Result<RunReport> {
        let (answer, report) = channel();
        let ended = || Error::unavailable("the engine stops").hint("try again when it runs");
        if self.stop.draining() {
            return Err(ended());
        }
        {
            let mut inner = self.inner();
            let found = inner.pipelines.get(pipeline).filter(|it| !it.gone);
            let found = found.ok_or_else(|| Error::config(format!("the service has no pipeline `{pipeline}`")))?;
            if found.ready.is_none() {
                let problem = found.broken.clone().unwrap_or_default();
                return Err(Error::config(format!("the file of pipeline `{pipeline}` cannot be used: {problem}")));
            }
            if found.active.as_ref().is_some_and(|active| active.endless) {
                return Err(Error::unavailable(format!("pipeline `{pipeline}` is receiving"))
                    .hint("what it has not delivered it delivers by itself"));
            }
            let now = self.clock.now();
            inner.queue.push_back(Task { pipeline: pipeline.to_owned(), work: work(answer), from: now, since: now });
        }
        self.wake();
        report.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Asks a run to stop. What it has not delivered is delivered by the next one.
    pub fn cancel(&self, run: &str) -> std::result::Result<(), Refusal> {
        let inner = self.inner();
        let active = inner.pipelines.values().filter_map(|it| it.active.as_ref()).find(|active| active.run == run);
        let active = active.ok_or_else(|| Refusal::Unknown(run.to_owned()))?;
        active.stop.now();
        Ok(())
    }

    /// Pauses the schedule of a pipeline, or lets it go on.
    pub fn pause(&self, pipeline: &str, paused: bool) -> std::result::Result<(), Refusal> {
        if !self.inner().pipelines.contains_key(pipeline) {
            return Err(Refusal::Unknown(pipeline.to_owned()));
        }
        self.state.pause(pipeline, paused)?;
        if let Some(found) = self.inner().pipelines.get_mut(pipeline) {
            found.paused = paused;
            found.looked_at = false;
        }
        tracing::info!(pipeline, "its schedule {}", if paused { "is paused" } else { "goes on" });
        self.wake();
        Ok(())
    }

    /// Which runs are at work and which wait, each by what it is called.
    pub fn calls(&self) -> Vec<String> {
        let inner = self.inner();
        let waiting = inner.queue.iter().filter_map(|task| task.work.reference().map(str::to_owned));
        let active = inner.pipelines.values().filter_map(|it| it.active.as_ref());
        let active = active.map(|it| it.reference.clone().unwrap_or_else(|| it.run.clone()));
        active.chain(waiting).collect()
    }

    /// Whether it has looked at what there is to do: what earlier services have left is in the queue by then.
    pub fn has_begun(&self) -> bool {
        self.inner().begun
    }

    /// Whether any run is at work.
    pub fn is_at_work(&self) -> bool {
        self.inner().pipelines.values().any(|it| it.active.is_some())
    }

    /// Whether schedules are followed: it was not asked to stop.
    pub fn is_running(&self) -> bool {
        !self.stop.draining()
    }

    /// Whether a pipeline is at work.
    pub fn is_active(&self, pipeline: &str) -> bool {
        self.inner().pipelines.get(pipeline).is_some_and(|it| it.active.is_some())
    }

    /// The latest runs of a pipeline, or of all.
    pub fn runs(&self, pipeline: Option<String>, limit: usize) -> Result<Vec<engine_state::Run>> {
        self.state.runs(&RunFilter { pipeline, limit })
    }
}

/// The trigger of a run that takes up another.
pub const RESUME: &str = "resume";

/// All that a run's thread has.
struct Job {
    ready: Ready,
    stop: Stop,
    meters: Arc<Meters>,
    requests: Arc<engine_runtime::Requests>,
    run: Option<String>,
    started: DateTime<Utc>,
    options: RunOptions,
}

impl Job {
    fn run(&self, state: &Arc<State>, work: &Work) -> Result<RunReport> {
        let mut assembly = Arc::clone(&self.ready.assembly);
        if let Work::Run { params, .. } = work
            && params.as_object().is_some_and(|params| !params.is_empty())
        {
            Arc::make_mut(&mut assembly).set = texts(params);
        }
        let run = Run {
            state: Arc::clone(state),
            assembly,
            revive: Arc::clone(&self.ready.revive),
            stop: self.stop.clone(),
            meters: Arc::clone(&self.meters),
            options: RunOptions { trigger: work.trigger().to_owned(), ..self.options.clone() },
            requests: Arc::clone(&self.requests),
            begun: self.run.clone(),
        };
        match work {
            Work::Run { .. } | Work::Listen | Work::Tell => run.run(),
            Work::Replay { letters, sinks, .. } => run.replay(letters, sinks),
            Work::Resend { window, sinks, again, .. } => run.resend(*window, sinks, *again),
        }
    }
}

impl Inner {
    /// Pipelines of which a run waits, other than one that takes up what was left.
    fn queued(&self) -> BTreeSet<String> {
        let waiting = self.queue.iter().filter(|task| task.work.is_counted() && task.work.trigger() != RESUME);
        waiting.map(|task| task.pipeline.clone()).collect()
    }

    /// Whether as few runs of a pipeline's group are at work that it may begin.
    fn has_room_beside(&self, pipeline: &str) -> bool {
        let group = |it: &Pipeline| it.ready.as_ref().and_then(|ready| ready.group);
        let Some(of) = self.pipelines.get(pipeline).and_then(group) else { return true };
        let beside =
            self.pipelines.values().filter(|it| it.active.is_some() && group(it).is_some_and(|it| it.name == of.name));
        beside.count() < of.most_runs
    }

    /// A task that was about to begin does not.
    fn release(&mut self, task: &Task) {
        self.at_work -= usize::from(task.work.is_counted());
        if let Some(pipeline) = self.pipelines.get_mut(&task.pipeline) {
            pipeline.active = None;
        }
    }
}

/// Puts another version of a pipeline in the place of the one that was.
fn adopt(pipeline: &mut Pipeline, name: &str, ready: Ready, is_new: bool) {
    if !is_new {
        tracing::info!(pipeline = name, "its file has changed; what begins from now on is as it says now");
    }
    let receives = pipeline.active.as_ref().filter(|active| active.endless);
    // It begins anew once it has ended, with what it has received.
    receives.iter().for_each(|active| active.stop.drain());
    pipeline.ready = Some(ready);
    pipeline.looked_at = false;
    pipeline.falls = 0;
}

/// What is decided of one schedule. None: nothing is due, or it has none.
fn decide_one(name: &str, pipeline: &mut Pipeline, now: DateTime<Utc>, begun: bool, queued: bool) -> Option<Decision> {
    let Some(schedule) = pipeline.ready.as_ref().and_then(|ready| ready.assembly.schedule.clone()) else {
        (pipeline.next, pipeline.looked_at) = (None, true);
        return None;
    };
    let words = pipeline.words().unwrap_or_default();
    let decision = |until, slots| Some(Decision { pipeline: name.to_owned(), times: words.clone(), until, slots });
    // A schedule that is new, or says something else, has missed nothing.
    let reached = match pipeline.reached.filter(|_| pipeline.times.as_ref() == Some(&words)) {
        Some(reached) => reached,
        None => return decision(now, Vec::new()),
    };
    match due(&schedule, reached, pipeline.paused, now) {
        Due::Nothing { next } => {
            (pipeline.next, pipeline.looked_at) = (next, true);
            None
        }
        Due::SetBack => {
            tracing::warn!(
                pipeline = name,
                "the clock was set back by more than three hours: the schedule begins anew, and its times from now on run again"
            );
            decision(now, Vec::new())
        }
        Due::Slots { until, run, passed_over } => {
            if passed_over {
                tracing::warn!(
                    pipeline = name,
                    "times of the schedule were missed since {reached}; `missed` says which get a run"
                );
            }
            let runs_still = pipeline.active.as_ref().is_some_and(|active| active.is_run) || queued;
            if begun && runs_still && schedule.overlap == Overlap::Skip && !run.is_empty() {
                tracing::warn!(pipeline = name, "no run for {until}: the run before has not ended");
                pipeline.tally.overlapped += run.len() as u64;
                return decision(until, Vec::new());
            }
            decision(until, run)
        }
    }
}

fn count_of(counts: &[(engine_state::Outcome, u64)], outcome: engine_state::Outcome) -> u64 {
    counts.iter().filter(|(of, _)| *of == outcome).map(|(_, count)| count).sum()
}

/// How long a source that receives is left alone after it has ended so often by itself.
fn pause_after(falls: u32) -> Duration {
    match falls {
        0 => Duration::ZERO,
        falls => FIRST_FALL.saturating_mul(1 << (falls - 1).min(10)).min(LONGEST_FALL),
    }
}

/// One line for a run that has ended.
fn told(report: &RunReport, trigger: &str) {
    let written: u64 = report.figures.sinks.iter().map(|sink| sink.written).sum();
    let refused: u64 = report.figures.sinks.iter().map(|sink| sink.dead_letters).sum();
    let letters = report.figures.dead_letters + refused;
    let (pipeline, run, outcome) = (&report.pipeline, &report.run, report.outcome.as_str());
    let (read, seconds) = (report.figures.read, report.seconds);
    match report.errors.first() {
        None => tracing::info!(pipeline, run, trigger, read, written, letters, "run {outcome} after {seconds:.1} s"),
        Some(error) if error.kind == ErrorKind::Cancelled => {
            tracing::info!(pipeline, run, trigger, "run {outcome} after {seconds:.1} s");
        }
        Some(error) => {
            tracing::error!(pipeline, run, trigger, kind = %error.kind, "run {outcome} after {seconds:.1} s: {error}");
        }
    }
}
