//! What the threads of one run share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use engine_abi::{Error, ErrorKind, Result};
use engine_spec::{OnSchemaChange, TemplateVariables};
use engine_state::{State, Window, WindowKind};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::assembly::Assembly;
use crate::meters::Meters;
use crate::outlet::Outlet;
use crate::pass::PassContext;
use crate::queue::QUEUE_BYTES;
use crate::stop::Stop;
use crate::upstream::{Feed, Upstream};

/// Turns the stored definition of an unfinished window into a pipeline again.
pub type Revive = dyn Fn(&Value) -> Result<Assembly> + Send + Sync;

/// What a run needs.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// What began it: `command`.
    pub trigger: String,
    /// How long a sink may hold the others up before it is left behind.
    pub stall: Duration,
    /// How long a push source's spool is emptied after a request to stop.
    pub drain: Duration,
    /// Take the source's columns as they are now.
    pub accept_schema: bool,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            trigger: "command".into(),
            stall: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            accept_schema: false,
        }
    }
}

pub(crate) struct Shared {
    pub(crate) state: Arc<State>,
    pub(crate) current: Arc<Assembly>,
    pub(crate) revive: Arc<Revive>,
    pub(crate) meters: Arc<Meters>,
    pub(crate) stop: Stop,
    /// What templates name before there is a window.
    pub(crate) before: TemplateVariables,
    pub(crate) run: String,
    pub(crate) options: RunOptions,
    /// Where a push source's rows come from; other sources read their own.
    pub(crate) feed: Feed,
    revived: Mutex<BTreeMap<String, Arc<Assembly>>>,
}

/// A window with the pipeline that completes it.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) window: Arc<Window>,
    pub(crate) assembly: Arc<Assembly>,
}

/// A sink's own reading, when it is behind the others.
pub(crate) struct Solo {
    assembly: Arc<Assembly>,
    pub(crate) upstream: Upstream,
}

impl Shared {
    #[expect(clippy::too_many_arguments, reason = "made in one place; each is a thing of its own")]
    pub(crate) fn new(
        state: Arc<State>,
        current: Arc<Assembly>,
        revive: Arc<Revive>,
        meters: Arc<Meters>,
        stop: Stop,
        before: TemplateVariables,
        options: RunOptions,
        feed: Feed,
    ) -> Arc<Self> {
        let (revived, run) = (Mutex::default(), before.run_id.clone());
        Arc::new(Self { state, current, revive, meters, stop, before, run, options, feed, revived })
    }

    pub(crate) fn pipeline(&self) -> &str {
        &self.current.name
    }

    /// What a window of this run stores, so that it is completed the same way.
    pub(crate) fn context(&self) -> Value {
        json!({"run": self.run, "started": self.before.run_started, "params": self.before.params})
    }

    /// The values of templates: those of the run that made the window.
    pub(crate) fn variables(&self, window: &Window) -> TemplateVariables {
        let text = |name: &str| window.context.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        TemplateVariables {
            run_id: text("run"),
            run_started: text("started"),
            pipeline_name: window.pipeline.clone(),
            // One that repeats another has its names.
            window_id: window.context.get("window").and_then(Value::as_u64).unwrap_or(window.id),
            params: window.context.get("params").and_then(|it| BTreeMap::deserialize(it).ok()).unwrap_or_default(),
        }
    }

    /// The values before there is a window, for what does not name one.
    pub(crate) fn variables_before(&self) -> TemplateVariables {
        self.before.clone()
    }

    /// The pipeline that completes a window: the one it was begun with.
    pub(crate) fn job(&self, window: Window) -> Result<Job> {
        let assembly = if *window.definition == self.current.definition {
            Arc::clone(&self.current)
        } else {
            let key = window.definition.to_string();
            let mut revived = self.revived.lock().unwrap_or_else(PoisonError::into_inner);
            match revived.get(&key) {
                Some(assembly) => Arc::clone(assembly),
                None => {
                    tracing::info!(
                        pipeline = self.pipeline(),
                        window = window.id,
                        "the pipeline file has changed since this window was begun; it is completed as it was begun"
                    );
                    let assembly = Arc::new((self.revive)(&window.definition)?);
                    revived.insert(key, Arc::clone(&assembly));
                    assembly
                }
            }
        };
        Ok(Job { window: Arc::new(window), assembly })
    }

    pub(crate) fn pass(&self, job: &Job, stop: &Stop) -> Result<PassContext> {
        let feed = match job.window.kind {
            WindowKind::Read | WindowKind::Backfill => self.feed.clone(),
            WindowKind::Replay => crate::replay::feed(&self.state, &job.window)?,
        };
        Ok(PassContext {
            state: Arc::clone(&self.state),
            assembly: Arc::clone(&job.assembly),
            variables: self.variables(&job.window),
            window: Arc::clone(&job.window),
            run: self.run.clone(),
            feed,
            meters: Arc::clone(&self.meters),
            stop: stop.clone(),
            stall: self.options.stall,
            queue_bytes: QUEUE_BYTES,
            on_schema_change: self.on_schema_change(),
            // Fewer are always right, so that they can be had also for a window that has begun with more.
            most_readers: job.assembly.parallelism.min(self.current.parallelism).get(),
        })
    }

    pub(crate) fn outlet(&self, assembly: &Assembly, name: &str, stop: &Stop) -> Result<Outlet> {
        let sink = assembly.sink(name).ok_or_else(|| {
            Error::internal(format!("a window waits for sink `{name}`, which its own definition does not have"))
        })?;
        Ok(Outlet::new(assembly, sink, &self.state, stop, &self.meters))
    }

    /// As the file says it now, unless the command says more.
    fn on_schema_change(&self) -> OnSchemaChange {
        if self.options.accept_schema { OnSchemaChange::Ignore } else { self.current.on_schema_change }
    }

    pub(crate) fn upstream(&self, assembly: &Assembly, stop: &Stop) -> Upstream {
        Upstream::new(assembly, &self.state, stop, self.on_schema_change())
    }

    /// A sink's own reading of a job, kept from job to job.
    pub(crate) fn solo<'a>(&self, kept: &'a mut Option<Solo>, job: &Job, stop: &Stop) -> &'a mut Solo {
        if kept.as_ref().is_none_or(|solo| !Arc::ptr_eq(&solo.assembly, &job.assembly)) {
            *kept = None;
        }
        kept.get_or_insert_with(|| Solo {
            assembly: Arc::clone(&job.assembly),
            upstream: self.upstream(&job.assembly, stop),
        })
    }

    /// The oldest unfinished window that still waits for a sink.
    pub(crate) fn next_for(&self, sink: &str) -> Result<Option<Window>> {
        // A sink that was behind for long has thousands of them: only one is loaded.
        let id = self.state.settled_before(self.pipeline(), sink)?;
        Ok(self.fresh(id)?.filter(|window| window.sink(sink).is_some_and(|sink| !sink.is_done())))
    }

    /// A window as it stands in the state by now.
    pub(crate) fn fresh(&self, id: u64) -> Result<Option<Window>> {
        Ok(self.state.window(self.pipeline(), id)?.filter(|window| window.finished.is_none()))
    }
}

/// Whether an error only says that work was asked to stop.
pub(crate) fn is_stop(error: &Error) -> bool {
    error.kind == ErrorKind::Cancelled
}
