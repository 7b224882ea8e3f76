//! What an earlier service has left, and what runs at each start.

use std::collections::BTreeSet;

use engine_abi::Result;
use engine_state::Wanted;
use serde_json::Value;

use crate::pipelines::Ready;
use crate::queue::Task;
use crate::service::{RESUME, Service};

impl Service {
    /// What an earlier service has left: runs in the queue, runs in which it died. And what runs at each start.
    pub(crate) fn take_up(&self) -> Result<()> {
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
