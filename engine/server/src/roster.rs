//! Which pipelines there are, as their files come and go.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use engine_abi::Result;

use crate::pipelines::{Entry, Pipeline, Ready};
use crate::queue::{Task, Work};
use crate::service::{FIRST_FALL, LONGEST_FALL, Service};

impl Service {
    /// Takes the pipelines as their files are now.
    pub(crate) fn take(&self, entries: Vec<Entry>) -> Result<()> {
        let known: BTreeMap<_, _> =
            self.state.schedules()?.into_iter().map(|reached| (reached.pipeline.clone(), reached)).collect();
        let names: BTreeSet<String> = entries.iter().map(|entry| entry.name.clone()).collect();
        let mut can_run = Vec::new();
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
                    if pipeline.ready.is_none() {
                        can_run.push(entry.name.clone());
                    }
                    if !is_same {
                        adopt(pipeline, &entry.name, ready, is_new);
                        // It may receive no longer, or at once.
                        inner.queue.retain(|task| task.pipeline != entry.name || !matches!(task.work, Work::Listen));
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
        self.take_up(&can_run)?;
        self.sort_out();
        Ok(())
    }

    /// Lets go of what has no file any more, and has what receives be received.
    pub(crate) fn sort_out(&self) {
        let mut inner = self.inner();
        let idle: Vec<_> = inner
            .pipelines
            .iter()
            .filter(|(_, it)| it.gone && it.active.is_none())
            .map(|(name, _)| name.clone())
            .collect();
        let mut forgotten = VecDeque::new();
        for name in idle {
            inner.pipelines.remove(&name);
            let (left, kept): (VecDeque<_>, _) =
                std::mem::take(&mut inner.queue).into_iter().partition(|task| task.pipeline == name);
            inner.queue = kept;
            forgotten.extend(left);
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
        self.forget(forgotten);
        self.wake();
    }

    pub(crate) fn forget(&self, tasks: VecDeque<Task>) {
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
    pub(crate) fn follow_files(self: Arc<Self>) {
        let mut said = String::new();
        while self.stop.sleep(self.options.poll) {
            let problem = self.reload(false).err().map(|error| error.to_string()).unwrap_or_default();
            // Once, and not at every look.
            if problem != said {
                match problem.as_str() {
                    "" => tracing::info!("the pipeline files can be looked at again"),
                    _ => tracing::error!("the pipeline files cannot be looked at; all goes on as it was: {problem}"),
                }
                said = problem;
            }
        }
    }

    /// Takes the pipelines as their files are now. `anew`: with all that is around them.
    pub fn reload(&self, anew: bool) -> Result<()> {
        self.take(self.loader.load(anew)?)
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
