//! What an earlier service has left, and what runs at each start.

use std::collections::BTreeSet;

use engine_abi::Result;
use engine_state::{Outcome, Run, RunFilter, Wanted};
use serde_json::Value;

use crate::queue::Task;
use crate::service::{RESUME, Service};

impl Service {
    /// Takes up what was left of pipelines that can run now: runs in the queue, runs in which an engine ended. Also
    /// what stands otherwise in the state than it does here, once the state has left open what it has taken.
    pub(crate) fn take_up(&self, names: &[String]) -> Result<()> {
        let mut waiting = self.state.waiting()?;
        let now = self.clock.now();
        for name in names {
            let is_idle = |service: &Self| {
                let inner = service.inner();
                let found = inner.pipelines.get(name).filter(|it| it.active.is_none());
                found.and_then(|it| it.ready.as_ref()).is_some_and(|ready| !ready.is_push())
            };
            if !is_idle(self) || waiting.iter().any(|it| it.pipeline == *name && it.trigger == RESUME) {
                continue;
            }
            let Some(run) = self.cut_off(name)? else { continue };
            tracing::info!(pipeline = name, run = run.id, "this run was cut off; it is taken up");
            let params = run.params.unwrap_or_else(|| Value::Object(serde_json::Map::new()));
            waiting.push(self.state.enqueue(&Wanted {
                pipeline: name.clone(),
                trigger: RESUME.into(),
                slot: run.slot,
                params,
                // By that it is known that the two are one.
                reference: run.reference.or(Some(run.id)),
            })?);
        }
        waiting.retain(|it| names.contains(&it.pipeline));
        // What had begun goes on before what only waited.
        waiting.sort_by_key(|it| (it.trigger != RESUME, it.number));
        let mut inner = self.inner();
        let numbers: BTreeSet<_> = waiting.iter().map(|it| it.number).collect();
        inner.queue.retain(|task| {
            !names.contains(&task.pipeline) || task.work.number().is_none_or(|number| numbers.contains(&number))
        });
        for waiting in waiting {
            if inner.queue.iter().any(|task| task.work.number() == Some(waiting.number)) {
                continue;
            }
            let (is_first, from) = (waiting.trigger == RESUME, inner.begins_from(&waiting).unwrap_or(now));
            let task = Task::of(waiting, from);
            if is_first { inner.queue.push_front(task) } else { inner.queue.push_back(task) }
        }
        Ok(())
    }

    /// The run of a pipeline that is to be taken up: one that never ended, or that an engine was stopped in and that
    /// has left something undone. The newest completes as well what the others have left.
    fn cut_off(&self, name: &str) -> Result<Option<Run>> {
        let filter = RunFilter { pipeline: Some(name.to_owned()), limit: 1 };
        let last = self.state.runs(&filter)?.pop().filter(|run| run.outcome == Some(Outcome::Stopped));
        let Some(run) = self.state.interrupted_runs(name)?.pop().or(last) else { return Ok(None) };
        let is_read = run.ended.is_none() && !["replay", "resend", "backfill"].contains(&run.trigger.as_str());
        let is_left = is_read || !self.state.unfinished_windows(name)?.is_empty();
        Ok(is_left.then_some(run))
    }

    /// Pipelines that run when the service starts, unless they are about to run anyway.
    pub(crate) fn run_at_start(&self) -> Result<()> {
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
}
