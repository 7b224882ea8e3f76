//! A run at work, on a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError};

use chrono::{DateTime, Utc};
use engine_abi::{Error, ErrorKind, Result};
use engine_runtime::{Meters, Run, RunOptions, RunReport, Stop};
use engine_state::State;

use crate::pipelines::{Begun, Ready, ended, texts};
use crate::queue::{Task, Work};
use crate::service::{LONGEST_WAIT, Service};

impl Service {
    /// Does a task, on a thread of its own.
    pub(crate) fn work(self: Arc<Self>, task: Task, job: Job) {
        let name = task.pipeline.clone();
        if matches!(task.work, Work::Tell) {
            let told = || engine_runtime::tell_now(&self.state, &job.ready.assembly, &job.stop);
            match catch_unwind(AssertUnwindSafe(told)) {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(pipeline = name, "an alarm could not be told: {error}"),
                Err(_) => {
                    tracing::error!(pipeline = name, "telling an alarm has panicked; this is a bug of the engine")
                }
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
        let work = || {
            self.watchers.iter().for_each(|watcher| watcher.begun(&begun));
            job.run(&self.state, &task.work)
        };
        let report = catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Error::internal("the run has panicked; this is a bug of the engine")));
        match &report {
            Ok(report) => told(report, task.work.trigger()),
            Err(error) => tracing::error!(pipeline = name, kind = %error.kind, "the run has failed: {error}"),
        }
        let tell = || self.watchers.iter().for_each(|watcher| watcher.ended(&begun, &report));
        if catch_unwind(AssertUnwindSafe(tell)).is_err() {
            tracing::error!(pipeline = name, "whoever watches runs has panicked; this is a bug of the engine");
        }
        let mut inner = self.inner();
        let asked_to = job.stop.draining();
        if let Some(pipeline) = inner.pipelines.get_mut(&name) {
            let active = pipeline.active.take();
            if let (Ok(report), Some(active)) = (&report, &active) {
                pipeline.tally.count(report.outcome);
                pipeline.totals.add(report, &active.meters);
                // What is tried again says nothing of a slot.
                if report.outcome == engine_state::Outcome::Succeeded && (active.is_run || active.endless) {
                    pipeline.last_good = pipeline.last_good.max(Some(active.slot.unwrap_or(report.started)));
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
    pub(crate) fn give_back_tasks(&self) {
        for task in std::mem::take(&mut self.inner().queue) {
            if let Work::Replay { answer, .. } | Work::Resend { answer, .. } = task.work {
                let _ = answer.send(Err(Error::unavailable("the engine stops").hint("try again when it runs")));
            }
        }
    }

    pub(crate) fn wait_for_ends(&self) {
        let mut inner = self.inner();
        while inner.pipelines.values().any(|pipeline| pipeline.active.is_some()) {
            let wait = self.changed.wait_timeout(inner, LONGEST_WAIT);
            inner = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// All that a run's thread has.
pub(crate) struct Job {
    pub(crate) ready: Ready,
    pub(crate) stop: Stop,
    pub(crate) meters: Arc<Meters>,
    pub(crate) requests: Arc<engine_runtime::Requests>,
    pub(crate) run: Option<String>,
    pub(crate) started: DateTime<Utc>,
    pub(crate) options: RunOptions,
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
