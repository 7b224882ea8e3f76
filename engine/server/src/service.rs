//! The service: pipelines with their schedules, the queue, and the runs at work.
//!
//! One thread, the scheduler, decides and begins; each run has a thread of its own. What is decided is stored before
//! anything is begun, so that the next start goes on from there, wherever this one was killed.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine_abi::{Error, Result};
use engine_runtime::{RunOptions, Stop};
use engine_state::{State, Waiting};

use crate::clock::Clock;
use crate::pipelines::{Loader, Pipeline, Watcher};
use crate::queue::Task;

/// How long the scheduler waits at most: a clock that is set is noticed within this.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// How long it waits when the state cannot be written.
pub(crate) const STATE_PAUSE: Duration = Duration::from_secs(1);
/// How long a source that receives is left alone after it has ended although nobody asked it to; it doubles.
pub(crate) const FIRST_FALL: Duration = Duration::from_secs(1);
pub(crate) const LONGEST_FALL: Duration = Duration::from_secs(60);
/// The most runs of a pipeline that wait.
pub const MOST_WAITING: usize = 1_000;
/// The most bytes of parameters that a run is asked for with: they stand in the state, and in each of its windows.
pub(crate) const LARGEST_PARAMS: usize = 64 << 10;

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
    pub(crate) loader: Arc<dyn Loader>,
    pub(crate) options: Options,
    pub(crate) stop: Stop,
    pub(crate) started: DateTime<Utc>,
    pub(crate) watchers: Vec<Arc<dyn Watcher>>,
    inner: Mutex<Inner>,
    pub(crate) changed: Condvar,
}

#[derive(Default)]
pub(crate) struct Inner {
    pub(crate) pipelines: BTreeMap<String, Pipeline>,
    pub(crate) queue: VecDeque<Task>,
    /// Runs at work, of those that are counted.
    pub(crate) at_work: usize,
    /// Until the first look is over, slots are those that came while no engine ran.
    pub(crate) begun: bool,
    /// The time at the last look.
    pub(crate) last_look: Option<DateTime<Utc>>,
    /// The state has left open what it has taken, or a run has begun that nobody works on: what stands in the state
    /// is to be looked up.
    pub(crate) doubtful: bool,
    /// Somebody wants the scheduler to look.
    pub(crate) woken: bool,
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
        self.take(self.loader.load(true)?)
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

    pub(crate) fn thread(
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

    pub(crate) fn time_until(&self, next: Option<DateTime<Utc>>) -> Duration {
        let wait = next.map(|next| (next - self.clock.now()).to_std().unwrap_or_default());
        wait.unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    /// Waits, unless somebody wants something.
    pub(crate) fn wait(&self, time: Duration) {
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
}

/// The trigger of a run that takes up another.
pub const RESUME: &str = "resume";

impl Inner {
    /// Why no other run of a pipeline is to be asked for: one is at work, or waits only for room.
    pub(crate) fn busy(&self, pipeline: &str, now: DateTime<Utc>) -> Option<String> {
        if self.pipelines.get(pipeline).is_some_and(|it| it.active.is_some()) {
            return Some(format!("{pipeline} is running"));
        }
        let waits = |task: &Task| task.pipeline == pipeline && task.work.is_counted() && task.from <= now;
        self.queue.iter().any(waits).then(|| format!("a run of {pipeline} is about to begin"))
    }

    /// When a run that waits may begin: after its slot, by its jitter later.
    pub(crate) fn begins_from(&self, waiting: &Waiting) -> Option<DateTime<Utc>> {
        let ready = self.pipelines.get(&waiting.pipeline)?.ready.as_ref()?;
        let (schedule, slot) = (ready.assembly.schedule.as_ref()?, waiting.slot?);
        slot.checked_add_signed(TimeDelta::from_std(schedule.delay(&waiting.pipeline, slot)).ok()?)
    }

    /// Pipelines of which as many runs wait as may.
    pub(crate) fn full(&self) -> BTreeSet<String> {
        let mut waiting: BTreeMap<&str, usize> = BTreeMap::new();
        self.queue.iter().for_each(|task| *waiting.entry(&task.pipeline).or_default() += 1);
        waiting.into_iter().filter(|(_, count)| *count >= MOST_WAITING).map(|(name, _)| name.to_owned()).collect()
    }

    /// Pipelines of which a run waits, other than one that takes up what was left.
    pub(crate) fn queued(&self) -> BTreeSet<String> {
        let waiting = self.queue.iter().filter(|task| task.work.number().is_some() && task.work.trigger() != RESUME);
        waiting.map(|task| task.pipeline.clone()).collect()
    }

    /// Whether as few runs of a pipeline's group are at work that it may begin.
    pub(crate) fn has_room_beside(&self, pipeline: &str) -> bool {
        let group = |it: &Pipeline| it.ready.as_ref().and_then(|ready| ready.group);
        let Some(of) = self.pipelines.get(pipeline).and_then(group) else { return true };
        let beside =
            self.pipelines.values().filter(|it| it.active.is_some() && group(it).is_some_and(|it| it.name == of.name));
        beside.count() < of.most_runs
    }

    /// What was about to begin does not.
    pub(crate) fn release_name(&mut self, pipeline: &str, counted: bool) {
        self.at_work -= usize::from(counted);
        if let Some(pipeline) = self.pipelines.get_mut(pipeline) {
            pipeline.active = None;
        }
    }

    /// A task that was about to begin does not.
    pub(crate) fn release(&mut self, task: &Task) {
        self.release_name(&task.pipeline, task.work.is_counted());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Work;

    #[test]
    fn a_pipeline_of_which_too_many_runs_wait_is_full_and_the_others_are_not() {
        let mut inner = Inner::default();
        let now = Utc::now();
        let mut waits = |pipeline: &str| {
            inner.queue.push_back(Task { pipeline: pipeline.into(), work: Work::Tell, from: now, since: now });
            inner.full()
        };
        for _ in 1..MOST_WAITING {
            assert!(waits("many").is_empty());
        }
        waits("one");
        assert_eq!(waits("many"), BTreeSet::from(["many".to_owned()]));
    }
}
