//! Reports of a catalogue beside pipeline files, and `engine catalogue`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine_abi::{Error, Result};
use engine_catalogue::{Address, Catalogued, Database, Recorder, Report, make_tables, read, reports};
use engine_host::Host;
use engine_runtime::{Assembly, Collected, Letters, Part, StageHost, Stop};
use engine_server::{Entry, Group, Loader, Ready, Reports, Service, Watcher};
use engine_state::State;
use serde_json::{Value, json};

use crate::arguments::{Catalogue, CatalogueAt, Global, Serve, Set};
use crate::environment::Outside;
use crate::exit::{Exit, Failure};
use crate::files::{Files, each_name_once, in_words};
use crate::project::Project;
use crate::{console, output, places};

/// What the reports of a catalogue are called together.
const GROUP: &str = "catalogue";

pub fn run(global: &Global, command: &Catalogue) -> crate::Result {
    match command {
        Catalogue::Init(at) => init(global, at),
        Catalogue::Check(at) => check(global, at),
    }
}

/// The database that a text names, which may be a reference.
fn database(text: &str, folder: &Path) -> Result<Database, Failure> {
    let (outside, diagnostics) = Outside::of(folder)?;
    if diagnostics.has_errors() {
        return Err(diagnostics.into());
    }
    let address = Address::read(&engine_spec::resolve_text(text, "the catalogue's address", &outside)?)?;
    console::hide(address.secrets(), &address.public());
    Ok(Database::new(address)?)
}

fn here() -> Result<PathBuf> {
    std::path::absolute(".").map_err(Error::from)
}

fn init(global: &Global, at: &CatalogueAt) -> crate::Result {
    let database = database(&at.catalogue, &here()?)?;
    make_tables(&database)?;
    let message = format!("the tables of the catalogue are at {}", database.shown());
    match global.json {
        true => output::json(&json!({"catalogue": database.shown()})),
        false => console::line(&message),
    }
    Ok(Exit::Done)
}

fn check(global: &Global, at: &CatalogueAt) -> crate::Result {
    let database = database(&at.catalogue, &here()?)?;
    let reports = reports(&read(&database)?);
    let state = places::state_for(global, &[])?;
    let loaded = load(global, &reports.iter().collect::<Vec<_>>(), &state, 1);
    let mut is_well = true;
    let mut rows = Vec::new();
    for (report, ready) in reports.iter().zip(loaded) {
        let problem = ready.err();
        is_well &= problem.is_none();
        let schedule = report.schedule.as_ref();
        if global.json {
            output::json(&json!({
                "pipeline": report.pipeline,
                "config_id": report.config,
                "schedule_id": schedule.map(|schedule| schedule.id),
                "name": report.name,
                "cron": schedule.map(|schedule| schedule.cron.clone()),
                "ok": problem.is_none(),
                "problem": problem,
            }));
            continue;
        }
        let cron = schedule.map_or_else(|| "on demand".to_owned(), |it| format!("{} {}", it.cron, it.timezone));
        let problem = problem.map_or_else(|| "ok".to_owned(), |problem| problem.replace('\n', " "));
        rows.push(vec![report.pipeline.clone(), report.name.clone(), cron, problem]);
    }
    if !global.json {
        output::list("no active reports", &["PIPELINE", "REPORT", "RUNS", "PROBLEM"], &rows);
    }
    Ok(if is_well { Exit::Done } else { Exit::Config })
}

/// Reports as pipelines that can run, or what is wrong with each, in their order.
fn load(
    global: &Global,
    reports: &[&Report],
    state: &Path,
    most_runs: usize,
) -> Vec<std::result::Result<Ready, String>> {
    let made: Vec<_> = reports
        .iter()
        .filter_map(|report| Some((report.place.clone(), report.definition.as_ref().ok()?.clone())))
        .collect();
    let project = match Project::of_made(global, &made, state, state) {
        Ok(project) => Arc::new(project),
        Err(failure) => {
            let problem = in_words(&failure);
            return reports.iter().map(|_| Err(problem.clone())).collect();
        }
    };
    let mut files = project.files.iter();
    let ready = |report: &&Report| {
        report.definition.as_ref().map_err(Clone::clone)?;
        let file = files.next().ok_or("the report could not be read")?;
        let assembled = project.assembled_file(file, &Set::default()).map_err(|failure| in_words(&failure))?;
        let (mut assembly, fingerprint) = assembled;
        assembly.since = report.schedule.as_ref().and_then(|schedule| schedule.last_run_at);
        let (project, name) = (Arc::clone(&project), assembly.name.clone());
        let revive = Arc::new(move |definition: &Value| project.revive(&name, definition));
        let group = Some(Group { name: GROUP, most_runs });
        Ok(Ready { assembly: Arc::new(assembly), revive, fingerprint, group })
    };
    reports.iter().map(ready).collect()
}

/// The catalogue of a service.
pub struct Served {
    source: Arc<Source>,
    state: PathBuf,
    global: Global,
}

/// Where its reports come from.
struct Source {
    global: Global,
    database: Arc<Database>,
    recorder: Arc<Recorder>,
    state: PathBuf,
    poll: Duration,
    most_runs: usize,
    known: Mutex<Known>,
    /// What kept it from being read last.
    trouble: Arc<Mutex<Option<Error>>>,
}

#[derive(Default)]
struct Known {
    looked: Option<Instant>,
    /// What each was made of, and what became of it.
    entries: BTreeMap<String, (String, Entry)>,
}

impl Served {
    pub fn new(global: &Global, url: &str, command: &Serve, state: &Arc<State>, stop: &Stop) -> Result<Self, Failure> {
        let folder = match command.paths.first() {
            Some(path) if path.is_dir() => std::path::absolute(path).map_err(Error::from)?,
            Some(path) => places::folder_of(path)?,
            None => here()?,
        };
        let database = Arc::new(database(url, &folder)?);
        let mask = Box::new(console::masked);
        let recorder = Recorder::new(Arc::clone(&database), Arc::clone(state), mask, stop.clone())?;
        let source = Source {
            global: global.clone(),
            database,
            recorder,
            state: state.folder().to_owned(),
            poll: command.catalogue_poll,
            most_runs: command.catalogue_runs.get().into(),
            known: Mutex::default(),
            trouble: Arc::default(),
        };
        Ok(Self { source: Arc::new(source), state: state.folder().to_owned(), global: global.clone() })
    }

    /// Whoever writes what becomes of runs.
    pub fn watcher(&self) -> Arc<dyn Watcher> {
        Arc::clone(&self.source.recorder) as Arc<dyn Watcher>
    }

    /// Begins to write.
    pub fn start(&self, service: &Arc<Service>) -> Result<JoinHandle<()>> {
        self.source.recorder.start(service)
    }

    /// Waits until what ended last is written, as far as the catalogue can be reached.
    pub fn join(&self, recorder: JoinHandle<()>) {
        self.source.recorder.wake();
        let _ = recorder.join();
    }

    /// What is asked over HTTP.
    pub fn reports(&self) -> Box<dyn Reports> {
        let (global, state) = (self.global.clone(), self.state.clone());
        let attempt = Box::new(move |is_source: bool, stage: &Value| attempt(&global, &state, is_source, stage));
        let Source { database, recorder, trouble, .. } = &*self.source;
        Box::new(Catalogued::new(Arc::clone(database), Arc::clone(recorder), attempt, Arc::clone(trouble)))
    }
}

impl Source {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The reports as they are now; as they were, while the catalogue cannot be read.
    ///
    /// # Errors
    /// Those of the first time.
    fn load(&self, anew: bool) -> Result<Vec<Entry>> {
        let mut known = self.known();
        let is_due = anew || known.looked.is_none_or(|looked| looked.elapsed() >= self.poll);
        if is_due {
            let is_first = known.looked.is_none();
            match read(&self.database) {
                Ok(rows) => {
                    if self.trouble().take().is_some() {
                        tracing::info!("the catalogue at {} can be read again", self.database.shown());
                    }
                    self.take(&mut known, reports(&rows), anew);
                }
                Err(error) if is_first => return Err(error),
                Err(error) => {
                    if self.trouble().replace(error.clone()).is_none() {
                        tracing::warn!("the catalogue cannot be read, and its reports go on as they were: {error}");
                    }
                }
            }
            known.looked = Some(Instant::now());
        }
        Ok(known.entries.values().map(|(_, entry)| entry.clone()).collect())
    }

    fn trouble(&self) -> MutexGuard<'_, Option<Error>> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self, known: &mut Known, reports: Vec<Report>, anew: bool) {
        let made_of = |report: &Report| format!("{:?}", (&report.definition, &report.deliveries, &report.place));
        let is_same = |report: &&Report| {
            !anew && known.entries.get(&report.pipeline).is_some_and(|(of, _)| *of == made_of(report))
        };
        let changed: Vec<_> = reports.iter().filter(|report| !is_same(report)).collect();
        let loaded = match changed.is_empty() {
            true => Vec::new(),
            false => load(&self.global, &changed, &self.state, self.most_runs),
        };
        for (report, pipeline) in changed.into_iter().zip(loaded) {
            let (name, file) = (report.pipeline.clone(), report.place.clone());
            let entry = Entry { name, file, pipeline, wrong_stops: true };
            known.entries.insert(report.pipeline.clone(), (made_of(report), entry));
        }
        known.entries.retain(|name, _| reports.iter().any(|report| report.pipeline == *name));
        self.recorder.take(reports);
    }
}

/// Pipeline files, and the reports of a catalogue where there is one.
pub struct Composed {
    files: Files,
    catalogue: Option<Arc<Source>>,
}

impl Composed {
    pub fn new(files: Files, catalogue: Option<&Served>) -> Self {
        Self { files, catalogue: catalogue.map(|catalogue| Arc::clone(&catalogue.source)) }
    }
}

impl Loader for Composed {
    fn load(&self, anew: bool) -> Result<Vec<Entry>> {
        let mut files = self.files.load(anew)?;
        let Some(catalogue) = &self.catalogue else { return Ok(files) };
        for entry in files.iter_mut().filter(|entry| engine_catalogue::is_report(&entry.name)) {
            let problem = format!("`{}` is a name that reports of the catalogue have", entry.name);
            entry.pipeline = Err(format!("{problem}\n  help: give the pipeline another `name:`"));
            entry.name.clone_from(&entry.file);
        }
        Ok(each_name_once(files.into_iter().chain(catalogue.load(anew)?)))
    }
}

/// Tries a stage of a report out as it stands: whether the other side answers. Nothing is read or sent.
fn attempt(global: &Global, state: &Path, is_source: bool, stage: &Value) -> Result<String> {
    let pipeline = match is_source {
        true => {
            json!({"name": "check", "source": stage, "sinks": [{"use": "file", "with": {"path": "none"}, "format": "csv"}]})
        }
        false => {
            json!({"name": "check", "source": {"use": "file", "with": {"path": "none"}, "format": "csv"}, "sinks": [stage]})
        }
    };
    let project =
        Project::of_made(global, &[("catalogue".to_owned(), pipeline)], state, state).map_err(Failure::into_error)?;
    let [file] = project.files.as_slice() else { return Err(Error::internal("there is nothing to try out")) };
    let (assembly, _) = project.assembled_file(file, &Set::default()).map_err(Failure::into_error)?;
    let part = if is_source { &assembly.source.part } else { &assembly.sinks[0].part };
    try_out(&assembly, part)
}

fn try_out(assembly: &Assembly, part: &Part) -> Result<String> {
    let now = chrono::Utc::now();
    let variables = assembly.variables("check", now, assembly.range(None, None, now))?;
    let letters = Letters::Collected(Arc::new(Collected::default()));
    let host = StageHost::new(&assembly.name, &part.stage, &Stop::new(), letters);
    let mut opened = part.open(part.render(&variables)?, None, host as Arc<dyn Host>)?;
    Ok(opened.check()?.summary)
}
