//! The recorder: it is told of runs, and writes what becomes of them into the catalogue, now or whenever that can be
//! reached.

use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use chrono::Utc;
use engine_abi::{Error, Result};
use engine_runtime::{RunReport, Stop};
use engine_server::{Begun, Execution, RESUME, Service, Watcher};
use engine_state::{Outcome, Run, State, Wanted};
use serde_json::Value;

use crate::database::Database;
use crate::execution::execution;
use crate::facts::{Facts, id_of};
use crate::journal::{Journal, Open, Place};
use crate::report::{Report, of_pipeline};
use crate::write;

/// How often what is at work is looked at.
const TICK: Duration = Duration::from_secs(2);
/// How often it is looked whether the service has begun.
const FIRST_TICK: Duration = Duration::from_millis(100);
/// Who wants executions that nobody is named for.
const SCHEDULER: &str = "scheduler";
const API: &str = "api";

/// Takes secrets out of a text.
pub(crate) type Mask = Box<dyn Fn(&str) -> String + Send + Sync>;

/// Writes executions.
pub struct Recorder {
    database: Arc<Database>,
    state: Arc<State>,
    journal: Journal,
    mask: Mask,
    stop: Stop,
    service: OnceLock<Weak<Service>>,
    reports: Mutex<Arc<Vec<Report>>>,
    told: Mutex<bool>,
    changed: Condvar,
    /// What was written last of each that is open.
    written: Mutex<BTreeMap<String, String>>,
    /// What could not be done last, said once.
    trouble: Mutex<Option<String>>,
}

impl Recorder {
    /// A recorder over the state of a service.
    ///
    /// # Errors
    /// Those of reading what earlier ones have left.
    pub fn new(database: Arc<Database>, state: Arc<State>, mask: Mask, stop: Stop) -> Result<Arc<Self>> {
        let journal = Journal::read(state.folder())?;
        Ok(Arc::new(Self {
            database,
            state,
            journal,
            mask,
            stop,
            service: OnceLock::new(),
            reports: Mutex::default(),
            told: Mutex::new(false),
            changed: Condvar::new(),
            written: Mutex::default(),
            trouble: Mutex::default(),
        }))
    }

    /// Begins to write, for a service, until that has ended.
    ///
    /// # Errors
    /// What keeps a thread from beginning.
    pub fn start(self: &Arc<Self>, service: &Arc<Service>) -> Result<std::thread::JoinHandle<()>> {
        let _ = self.service.set(Arc::downgrade(service));
        let recorder = Arc::clone(self);
        let thread = std::thread::Builder::new().name("recorder".into()).spawn(move || recorder.work());
        thread.map_err(|error| Error::from(error).context("a thread cannot be started"))
    }

    /// Takes the reports as they are now.
    pub fn take(&self, reports: Vec<Report>) {
        *lock(&self.reports) = Arc::new(reports);
    }

    /// The reports as they were last taken.
    pub fn reports(&self) -> Arc<Vec<Report>> {
        Arc::clone(&lock(&self.reports))
    }

    /// Has what is open looked at now.
    pub fn wake(&self) {
        *lock(&self.told) = true;
        self.changed.notify_all();
    }

    /// Remembers that an execution is to be written. `called`: what its runs are called.
    pub(crate) fn open(&self, pipeline: &str, called: &str, executed_by: Option<&str>, usual: &str) -> Result<String> {
        let id = id_of(called);
        let reports = self.reports();
        let report = reports.iter().find(|report| report.pipeline == pipeline);
        let places = report.map(|report| report.deliveries.iter()).into_iter().flatten().map(|delivery| Place {
            id: delivery.id,
            name: delivery.name.clone(),
            method: delivery.method.clone(),
            recipients: delivery.recipients,
        });
        let open = Open {
            pipeline: pipeline.to_owned(),
            called: called.to_owned(),
            executed_by: usual.to_owned(),
            since: Utc::now(),
            deliveries: places.collect(),
        };
        self.journal.put(&id, open, executed_by)?;
        self.wake();
        Ok(id)
    }

    /// An execution that is not written whole yet, as it is now.
    pub(crate) fn live(&self, id: &str) -> Result<Option<Execution>> {
        let Some(open) = self.journal.get(id) else { return Ok(None) };
        let at_work =
            self.service().map(|service| self.is_at_work(&service, &open.called)).transpose()?.unwrap_or_default();
        let facts = Facts::of(&self.state, &open.pipeline, &open.called)?;
        Ok(Some(execution(id, &open, &facts, at_work, &*self.mask)))
    }

    fn service(&self) -> Option<Arc<Service>> {
        self.service.get().and_then(Weak::upgrade)
    }

    fn work(&self) {
        loop {
            let Some(service) = self.service() else { break };
            let has_begun = service.has_begun();
            if has_begun {
                self.round(&service);
            }
            let is_over = !service.is_running() && !service.is_at_work();
            drop(service);
            if is_over {
                break;
            }
            self.wait(if has_begun { TICK } else { FIRST_TICK });
        }
        // What ended last.
        if let Some(service) = self.service().filter(|service| service.has_begun()) {
            self.round(&service);
        }
    }

    fn wait(&self, time: Duration) {
        let mut told = lock(&self.told);
        if !*told {
            told = self.changed.wait_timeout(told, time).unwrap_or_else(PoisonError::into_inner).0;
        }
        *told = false;
    }

    /// Writes what is new of everything that is open.
    fn round(&self, service: &Service) {
        let mut is_well = true;
        for (id, open) in self.journal.all() {
            match self.is_at_work(service, &open.called).and_then(|at_work| self.write(&id, &open, at_work)) {
                Ok(()) => {}
                Err(error) => {
                    is_well = false;
                    let said = error.to_string();
                    let mut trouble = lock(&self.trouble);
                    if trouble.as_ref() != Some(&said) {
                        tracing::warn!(
                            pipeline = open.pipeline,
                            "an execution is not in the catalogue yet, and is written once that goes: {error}"
                        );
                        *trouble = Some(said);
                    }
                    // What keeps one from being written keeps all.
                    if error.kind.is_retryable() {
                        break;
                    }
                }
            }
        }
        if is_well {
            *lock(&self.trouble) = None;
        }
    }

    /// Whether something is still to come. In this order: what a service that ends has put into the queue of the next
    /// one it did while it was at work.
    fn is_at_work(&self, service: &Service, called: &str) -> Result<bool> {
        if service.calls().iter().any(|known| known == called) {
            return Ok(true);
        }
        Ok(self.state.waiting()?.iter().any(|waiting| waiting.reference.as_deref() == Some(called)))
    }

    fn write(&self, id: &str, open: &Open, at_work: bool) -> Result<()> {
        let facts = Facts::of(&self.state, &open.pipeline, &open.called)?;
        // One that only waits has not begun.
        if at_work && facts.runs.is_empty() {
            return Ok(());
        }
        let mut facts = facts;
        let mut execution = execution(id, open, &facts, at_work, &*self.mask);
        // Nobody goes on with it: the next execution must not take it for its own.
        if execution.status.is_final() && facts.close(&self.state, execution.error_message.as_deref())? {
            facts = Facts::of(&self.state, &open.pipeline, &open.called)?;
            execution = self::execution(id, open, &facts, at_work, &*self.mask);
        }
        let text = serde_json::to_string(&execution).unwrap_or_default();
        if lock(&self.written).get(id) != Some(&text) {
            write::execution(&self.database, &execution, facts.runs.first().map(Run::about))?;
            lock(&self.written).insert(id.to_owned(), text);
        }
        if execution.status.is_final() {
            self.journal.remove(id)?;
            lock(&self.written).remove(id);
        }
        Ok(())
    }

    /// A run that the end of the service has stopped goes on when there is one again.
    fn take_up(&self, begun: &Begun, run: &str) -> Result<()> {
        let called = begun.reference.clone().unwrap_or_else(|| run.to_owned());
        let facts = Facts::of(&self.state, &begun.pipeline, &called)?;
        let stopped = facts.last().is_some_and(|run| run.outcome == Some(Outcome::Stopped));
        if !stopped || (!facts.windows.is_empty() && !facts.is_unfinished()) {
            return Ok(());
        }
        let params = facts.runs.first().and_then(|run| run.params.clone());
        let wanted = Wanted {
            pipeline: begun.pipeline.clone(),
            trigger: RESUME.into(),
            slot: begun.slot,
            params: params.unwrap_or_else(|| Value::Object(serde_json::Map::new())),
            reference: Some(called),
        };
        self.state.enqueue(&wanted).map(drop)
    }
}

impl Watcher for Recorder {
    fn begun(&self, begun: &Begun) {
        let (Some(_), Some(run)) = (of_pipeline(&begun.pipeline), &begun.run) else { return };
        let called = begun.reference.as_deref().unwrap_or(run);
        let usual = if begun.slot.is_some() { SCHEDULER } else { API };
        if let Err(error) = self.open(&begun.pipeline, called, None, usual) {
            tracing::error!(pipeline = begun.pipeline, run, "the catalogue will not hear of this run: {error}");
        }
    }

    fn ended(&self, begun: &Begun, _: &Result<RunReport>) {
        if let (Some(_), Some(run)) = (of_pipeline(&begun.pipeline), &begun.run)
            && self.stop.draining()
            && let Err(error) = self.take_up(begun, run)
        {
            tracing::error!(pipeline = begun.pipeline, run, "this run cannot be taken up by the next engine: {error}");
        }
        self.wake();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
