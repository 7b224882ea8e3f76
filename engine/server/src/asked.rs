//! What others ask the service for.

use std::sync::Arc;
use std::sync::mpsc::channel;

use engine_abi::{Error, Result};
use engine_runtime::RunReport;
use engine_state::{DeadLetter, Wanted};
use serde_json::Value;

use crate::pipelines::texts;
use crate::queue::{Task, Work};
use crate::service::{LARGEST_PARAMS, MOST_WAITING, Refusal, Service};

impl Service {
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
        self.ask_for(pipeline, trigger, params, reference, true)
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
        self.ask_for(pipeline, trigger, params, reference, false)
    }

    /// `alone`: only where no other run of the pipeline is at work or waits to be.
    fn ask_for(
        &self,
        pipeline: &str,
        trigger: &str,
        params: Value,
        reference: Option<String>,
        alone: bool,
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
            if let Some(why) = inner.busy(pipeline, self.clock.now()).filter(|_| alone) {
                return Err(Refusal::Busy(why));
            }
            if ready.is_push() {
                return Err(Refusal::Busy(format!("{pipeline} receives all the time")));
            }
            if inner.queue.iter().filter(|task| task.pipeline == pipeline).count() >= MOST_WAITING {
                return Err(Refusal::Busy(format!("{MOST_WAITING} runs of {pipeline} wait already")));
            }
            let is_list = |(_, value): &(&String, &Value)| value.is_array() || value.is_object();
            if let Some((name, _)) = params.as_object().into_iter().flatten().find(is_list) {
                let error = Error::config(format!("the parameter `{name}` is a list or an object"));
                return Err(error.hint("give one value: a text, a number or a truth value").into());
            }
            if params.to_string().len() > LARGEST_PARAMS {
                let error =
                    Error::config(format!("the parameters have more than {} KiB together", LARGEST_PARAMS >> 10));
                return Err(error.hint("put what is large into a file or a table, and name that").into());
            }
            let (assembly, now) = (&ready.assembly, self.clock.now());
            let set = texts(&params);
            assembly.variables_with(&set, "trigger", now, assembly.range(None, None, now))?;
            assembly.check_paths(&set)?;
        }
        let (pipeline, trigger) = (pipeline.to_owned(), trigger.to_owned());
        let wanted = Wanted { pipeline, trigger, slot: None, params, reference };
        // A state that leaves open whether it has taken it is looked at again.
        let waiting = self.state.enqueue(&wanted).inspect_err(|_| self.inner().doubtful = true)?;
        let now = self.clock.now();
        let refused = {
            let mut inner = self.inner();
            // Meanwhile somebody else may have asked, or the file may be gone.
            let busy = inner.busy(&waiting.pipeline, now).filter(|_| alone);
            match (inner.pipelines.contains_key(&waiting.pipeline), busy) {
                (false, _) => Some(Refusal::Unknown(waiting.pipeline.clone())),
                (true, Some(why)) => Some(Refusal::Busy(why)),
                (true, None) => {
                    inner.queue.push_back(Task::of(waiting.clone(), now));
                    None
                }
            }
        };
        if let Some(refused) = refused {
            self.state.dequeue(waiting.number)?;
            return Err(refused);
        }
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

    pub(crate) fn ask(
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
            if inner.queue.iter().filter(|task| task.pipeline == pipeline).count() >= MOST_WAITING {
                let error = Error::unavailable(format!("{MOST_WAITING} runs of pipeline `{pipeline}` wait already"));
                return Err(error.hint("try again when some of them have ended"));
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
}
