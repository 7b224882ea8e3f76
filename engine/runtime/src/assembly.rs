//! A pipeline with its components: everything that a run needs, opened by nobody yet.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use engine_abi::message::{OpenRequest, Sandbox};
use engine_abi::{ComponentKind, Error, Result, Scope, Shape, Takes, Unit};
use engine_host::{Component, Host, Instance, Modules};
use engine_spec::{
    Alarms, Burst, Event, Isolation, OnEmpty, OnSchemaChange, Params, ResolvedConfig, ResolvedFormat, ResolvedNotice,
    ResolvedPipeline, ResolvedSandbox, ResolvedStage, Retry, Schedule, SpoolOptions, TemplateVariables, TestCase,
    TimeRange, Unfinished,
};
use serde_json::Value;

use crate::letters::{Collected, Letters};
use crate::pass::default_parallelism;
use crate::stage_host::StageHost;
use crate::stop::Stop;

/// A component at work, with its configuration.
#[derive(Debug, Clone)]
pub struct Part {
    /// The stage's name: `source`, `transforms.1`, `sinks.postgres`.
    pub stage: String,
    /// The component.
    pub component: Arc<Component>,
    config: ResolvedConfig,
    isolation: Isolation,
    sandbox: Sandbox,
    pipeline: String,
    params: Params,
    folder: PathBuf,
    scope: Scope,
    /// Sinks: what comes to it.
    takes: Option<Shape>,
    /// Sinks: a format makes its files.
    is_encoded: bool,
}

/// The pipeline that a component is of.
#[derive(Clone, Copy)]
struct Place<'a> {
    pipeline: &'a str,
    params: &'a Params,
    folder: &'a Path,
}

/// A component as a pipeline uses it.
struct Use<'a> {
    kind: ComponentKind,
    component: &'a str,
    config: &'a ResolvedConfig,
    sandbox: &'a ResolvedSandbox,
}

impl<'a> From<&'a ResolvedStage> for Use<'a> {
    fn from(stage: &'a ResolvedStage) -> Self {
        let (kind, component) = (stage.position.kind(), &stage.component);
        Self { kind, component, config: &stage.with, sandbox: &stage.sandbox }
    }
}

impl<'a> From<&'a ResolvedFormat> for Use<'a> {
    fn from(format: &'a ResolvedFormat) -> Self {
        let (kind, component) = (ComponentKind::Format, &format.component);
        Self { kind, component, config: &format.with, sandbox: &format.sandbox }
    }
}

/// A component, run by whom a stage says.
pub fn component(modules: &Modules, isolation: Isolation, kind: ComponentKind, name: &str) -> Result<Arc<Component>> {
    match isolation {
        Isolation::None => modules.component(kind, name),
        Isolation::Process => modules.component_isolated(kind, name),
    }
}

impl Part {
    fn new<'a>(modules: &Modules, used: impl Into<Use<'a>>, stage: &str, place: Place<'_>) -> Result<Self> {
        let Use { kind, component: name, config, sandbox: ResolvedSandbox { isolation, sandbox } } = used.into();
        let component = component(modules, *isolation, kind, name)?;
        let scope = component.description().scope;
        Ok(Self {
            scope,
            stage: stage.to_owned(),
            component,
            config: config.clone(),
            isolation: *isolation,
            sandbox: absolute(sandbox, place.folder)
                .and_then(|sandbox| keeps_out(sandbox, modules, place.folder))
                .map_err(|error| error.at(stage))?,
            pipeline: place.pipeline.to_owned(),
            params: place.params.clone(),
            folder: place.folder.to_owned(),
            takes: None,
            is_encoded: false,
        })
    }

    /// A transform, asked how much it must see where its description leaves that to its configuration.
    /// What it refuses about the configuration is told by [`Assembly::refusals`] and whoever opens it.
    fn asked(mut self) -> Self {
        if self.component.description().narrows {
            // One that cannot be opened is refused for what is wrong with it, and not for its scope.
            let asked = self.try_open().and_then(|mut instance| instance.scope());
            self.scope = asked.unwrap_or(Scope::Row);
        }
        self
    }

    /// Opens an instance that nothing will be done with.
    fn try_open(&self) -> Result<Instance> {
        let letters = Letters::Collected(Arc::new(Collected::default()));
        let host = StageHost::new(&self.pipeline, &self.stage, &Stop::new(), letters);
        self.open(self.render(&imagined(&self.pipeline, &self.params, 1))?, None, host)
    }

    /// Transforms: how much of the stream it must see.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// Who runs the component, where it is a native one.
    pub fn isolation(&self) -> Isolation {
        self.isolation
    }

    /// What the component may do where it does not share the engine's process; folders are absolute.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The configuration as the component gets it.
    pub fn render(&self, variables: &TemplateVariables) -> Result<Value> {
        self.config.render(variables).map_err(|error| error.at(&self.stage))
    }

    /// Whether its configuration differs from window to window of one run.
    pub fn names_window(&self) -> bool {
        let rendered = |window: u64| self.config.render(&imagined(&self.pipeline, &self.params, window)).ok();
        rendered(1) != rendered(2)
    }

    /// Opens an instance with a rendered configuration, and what its stage has kept, where something is kept.
    pub fn open(&self, config: Value, remembered: Option<Value>, host: Arc<dyn Host>) -> Result<Instance> {
        let request = OpenRequest {
            config,
            pipeline: self.pipeline.clone(),
            stage: self.stage.clone(),
            folder: self.folder.display().to_string(),
            remembered,
            takes: self.takes,
            nameless: self.is_encoded,
        };
        self.component.open(&request, &self.sandbox, host).map_err(|error| error.at(&self.stage))
    }
}

/// What a pipeline in `folder` grants, with its folders as they are called from anywhere.
fn absolute(sandbox: &Sandbox, folder: &Path) -> Result<Sandbox> {
    let all = |paths: &[String]| -> Result<Vec<String>> {
        let absolute = |path: &String| {
            let found = std::path::absolute(folder.join(path));
            let found = found.map_err(|error| Error::from(error).context(format_args!("the folder `{path}`")))?;
            Ok(found.display().to_string())
        };
        paths.iter().map(absolute).collect()
    };
    let mut sandbox = sandbox.clone();
    sandbox.permissions.read = all(&sandbox.permissions.read)?;
    sandbox.permissions.write = all(&sandbox.permissions.write)?;
    Ok(sandbox)
}

/// Refuses folders in which a module could change what decides over it: pipeline files, locks, modules, state.
fn keeps_out(sandbox: Sandbox, modules: &Modules, folder: &Path) -> Result<Sandbox> {
    let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let state = real(&folder.join(STATE));
    let own = modules.list().iter().filter_map(|module| module.path().parent()).map(real);
    let own: Vec<_> = own.chain([real(folder), state.clone()]).collect();
    for granted in &sandbox.permissions.write {
        let place = real(Path::new(granted));
        if place.starts_with(&state) || own.iter().any(|own| own.starts_with(&place)) {
            return Err(Error::config(format!(
                "`permissions: write` grants {granted}, which holds the pipeline's own files, its state or modules"
            ))
            .hint(
                "a module that may write there could replace what decides over it; name a folder for its data alone",
            ));
        }
    }
    Ok(sandbox)
}

/// Where the state of a pipeline's folder lies, unless another is named.
const STATE: &str = ".engine";

/// Variables of a run that never was.
fn imagined(pipeline: &str, params: &Params, window_id: u64) -> TemplateVariables {
    TemplateVariables {
        run_id: "run".into(),
        run_started: "2001-02-03T04:05:06Z".into(),
        pipeline_name: pipeline.to_owned(),
        window_id,
        params: params.examples(),
    }
}

/// Where rows come from.
#[derive(Debug, Clone)]
pub struct SourcePart {
    /// The component.
    pub part: Part,
    /// Decompresses its files.
    pub compression: Option<Part>,
    /// Turns its files into rows, when it gives files and a sink wants rows.
    pub decoder: Option<Part>,
    /// How reading is tried again.
    pub retry: Retry,
}

impl SourcePart {
    /// Whether it receives on its own, through the spool.
    pub fn is_push(&self) -> bool {
        self.part.component.description().push
    }
}

/// Where rows go.
#[derive(Debug, Clone)]
pub struct SinkPart {
    /// Its name in the pipeline.
    pub name: String,
    /// The component.
    pub part: Part,
    /// Turns rows into the files that it takes.
    pub encoder: Option<Part>,
    /// Compresses the files that it takes.
    pub compression: Option<Part>,
    /// How delivering is tried again.
    pub retry: Retry,
    /// How long the files that it was given are kept.
    pub keep: Option<Duration>,
    /// It is given nothing where there are no rows.
    pub skips_empty: bool,
    /// It is given a file for each value of a column.
    pub burst: Option<Burst>,
}

impl SinkPart {
    /// What comes to it.
    pub fn takes(&self) -> Shape {
        self.part.takes.unwrap_or_default()
    }

    /// Whether what it publishes next would take the place of what it has published: it names a file, and the same
    /// one for every window.
    pub fn replaces_itself(&self) -> bool {
        let named = self.part.component.description().takes == Takes::Files;
        named && self.unit() == Unit::Run && !self.part.names_window()
    }

    /// How much it publishes at a time.
    pub fn unit(&self) -> Unit {
        self.part.component.description().unit_of(self.takes())
    }
}

/// Who is told of an event.
#[derive(Debug, Clone)]
pub struct NoticePart {
    /// Of what.
    pub event: Event,
    /// How.
    pub sink: SinkPart,
    /// Failures: how long it says nothing of further ones.
    pub every: Duration,
}

/// A pipeline with its components.
#[derive(Debug, Clone)]
pub struct Assembly {
    /// The pipeline's name.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// The folder that relative paths are relative to.
    pub folder: PathBuf,
    /// What its templates can name beside the run itself.
    pub params: Params,
    /// When it runs by itself.
    pub schedule: Option<Schedule>,
    /// What a service that watches it raises.
    pub alarms: Option<Alarms>,
    /// Where the time begins that its first run is about. None: at the slot before.
    pub since: Option<DateTime<Utc>>,
    /// What somebody has set of them, by name.
    pub set: BTreeMap<String, String>,
    /// Where rows come from.
    pub source: SourcePart,
    /// What happens to them, in order.
    pub transforms: Vec<Part>,
    /// Where they go.
    pub sinks: Vec<SinkPart>,
    /// How many splits of a window are worked on at the same time, at most.
    pub parallelism: NonZeroUsize,
    /// The most rows that a window may have.
    pub max_rows: Option<u64>,
    /// What happens when the source's columns are others than in the run before.
    pub on_schema_change: OnSchemaChange,
    /// What becomes of what a failed run has left.
    pub unfinished: Unfinished,
    /// Bounds of a push source's spool.
    pub spool: SpoolOptions,
    /// Who is told of its runs.
    pub notices: Vec<NoticePart>,
    /// What `engine test` runs.
    pub tests: Vec<TestCase>,
    /// The pipeline as it is stored with a window: without secrets.
    pub definition: Value,
}

impl Assembly {
    /// Loads the components that a pipeline names.
    pub fn new(pipeline: &ResolvedPipeline, definition: Value, modules: &Modules, folder: &Path) -> Result<Self> {
        let place = Place { pipeline: &pipeline.name, params: &pipeline.params, folder };
        let format = |format: &Option<ResolvedFormat>, name: &str| {
            format.as_ref().map(|format| Part::new(modules, format, name, place)).transpose()
        };
        let source = &pipeline.source;
        let source = SourcePart {
            part: Part::new(modules, source, "source", place)?,
            compression: format(&source.compression, "source")?,
            decoder: format(&source.format, "source")?,
            retry: source.retry.clone(),
        };
        let transform = |(at, stage): (usize, &ResolvedStage)| {
            let part = Part::new(modules, stage, &format!("transforms.{at}"), place)?.asked();
            if source.is_push() && part.scope == Scope::Window {
                let (name, endless) = (&stage.component, &pipeline.source.component);
                return Err(Error::config(format!("`{name}` needs a whole window, and `{endless}` never ends"))
                    .hint("write the rows into a table first and read them in a second pipeline")
                    .at(part.stage));
            }
            Ok(part)
        };
        let copies = source.decoder.is_none() && source.part.component.description().gives == Shape::Files;
        let sink_part = |stage: &ResolvedStage, name: &str, copies: bool| -> Result<SinkPart> {
            let mut part = Part::new(modules, stage, name, place)?;
            // Files of a burst have names.
            part.is_encoded = stage.format.is_some() && stage.burst.is_none();
            if stage.burst.is_some() && stage.format.is_none() {
                return Err(Error::config(format!("sink `{}` has a `burst`, and no `format` makes files", stage.name))
                    .hint("add `format:`, or remove `burst:`")
                    .at(name));
            }
            part.takes = Some(part.component.description().takes.shape(copies || stage.format.is_some()));
            let (encoder, compression) = (format(&stage.format, name)?, format(&stage.compression, name)?);
            if stage.keep.is_some() && part.takes != Some(Shape::Files) {
                return Err(Error::config(format!("sink `{}` takes rows, and `keep` keeps files", stage.name))
                    .hint("remove `keep:`, or give the sink a `format:` where it takes files")
                    .at(name));
            }
            Ok(SinkPart {
                name: stage.name.clone(),
                part,
                encoder,
                compression,
                retry: stage.retry.clone(),
                keep: stage.keep,
                skips_empty: stage.empty == OnEmpty::Skip,
                burst: stage.burst.clone(),
            })
        };
        let notice = |notice: &ResolvedNotice| -> Result<NoticePart> {
            let sink = sink_part(&notice.stage, notice.event.key(), false)?;
            Ok(NoticePart { event: notice.event, sink, every: notice.every })
        };
        let sink = |stage: &ResolvedStage| {
            let name = format!("sinks.{}", stage.name);
            let sink = sink_part(stage, &name, copies)?;
            if source.is_push() && sink.replaces_itself() {
                return Err(Error::config(format!(
                    "sink `{}` publishes one artefact a window, and the source never ends: every window would have the same name",
                    sink.name
                ))
                .hint("put the window into its path, such as `calls-{{ window.id }}.csv`")
                .at(name));
            }
            Ok(sink)
        };
        Ok(Self {
            name: pipeline.name.clone(),
            description: pipeline.description.clone(),
            folder: folder.to_owned(),
            params: pipeline.params.clone(),
            schedule: pipeline.schedule.clone(),
            alarms: pipeline.alarms.clone(),
            since: None,
            set: BTreeMap::new(),
            transforms: pipeline.transforms.iter().enumerate().map(transform).collect::<Result<_>>()?,
            sinks: pipeline.sinks.iter().map(sink).collect::<Result<_>>()?,
            source,
            parallelism: pipeline.parallelism.unwrap_or_else(default_parallelism),
            max_rows: pipeline.max_rows,
            on_schema_change: pipeline.on_schema_change,
            unfinished: pipeline.unfinished,
            spool: pipeline.spool.clone(),
            notices: pipeline.notices.iter().map(notice).collect::<Result<_>>()?,
            tests: pipeline.tests.clone(),
            definition,
        })
    }

    /// Opens every component and closes it again, which reaches nothing outside:
    /// gives what they refuse about their configurations.
    pub fn refusals(&self) -> Vec<Error> {
        let all_sinks = || self.sinks.iter().chain(self.notices.iter().map(|notice| &notice.sink));
        let of_sinks = all_sinks().flat_map(|sink| sink.encoder.iter().chain(&sink.compression));
        let formats = self.source.compression.iter().chain(&self.source.decoder).chain(of_sinks);
        let sinks = all_sinks().map(|sink| &sink.part);
        let parts = std::iter::once(&self.source.part).chain(&self.transforms).chain(sinks).chain(formats);
        parts.filter_map(|part| part.try_open().err()).collect()
    }

    /// The time that a run which begins `now` is about: from where the ranges of those before end
    /// ([`State::covered`](engine_state::State::covered)) to the run's slot, or to now. The first one begins at
    /// [`since`](Self::since), or at the slot before.
    pub fn range(&self, covered: Option<DateTime<Utc>>, slot: Option<DateTime<Utc>>, now: DateTime<Utc>) -> TimeRange {
        let to = slot.unwrap_or(now);
        let before = || self.schedule.as_ref()?.last_until(to - TimeDelta::milliseconds(1));
        match covered.or(self.since).or_else(before) {
            // One that waited while another ran has nothing left to be about.
            Some(from) => TimeRange { from, to: from.max(to) },
            None => TimeRange::first(to),
        }
    }

    /// The values of its parameters in a run that began at `started` and is about `range`.
    ///
    /// # Errors
    /// `Config`, where one has no value, or one that it cannot have.
    pub fn variables(&self, run: &str, started: DateTime<Utc>, range: TimeRange) -> Result<TemplateVariables> {
        self.variables_with(&self.set, run, started, range)
    }

    /// The same, were these set.
    ///
    /// # Errors
    /// Those of [`Assembly::variables`].
    pub fn variables_with(
        &self,
        set: &BTreeMap<String, String>,
        run: &str,
        started: DateTime<Utc>,
        range: TimeRange,
    ) -> Result<TemplateVariables> {
        let mut variables = TemplateVariables {
            run_id: run.to_owned(),
            run_started: started.to_rfc3339(),
            pipeline_name: self.name.clone(),
            window_id: 0,
            params: BTreeMap::new(),
        };
        variables.params = self.params.values(set, range, &variables)?;
        Ok(variables)
    }

    /// Whether values that somebody else than the files' owner gives to parameters lead to no other folder.
    ///
    /// # Errors
    /// `Config`, naming the first that does.
    pub fn check_paths(&self, set: &BTreeMap<String, String>) -> Result<()> {
        let mut parts = std::iter::once(&self.source.part).chain(self.sinks.iter().map(|sink| &sink.part));
        parts.try_for_each(|part| part.config.check_paths(set).map_err(|error| error.at(&part.stage)))
    }

    /// The sink of that name.
    pub fn sink(&self, name: &str) -> Option<&SinkPart> {
        self.sinks.iter().find(|sink| sink.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use engine_abi::message::Permissions;

    #[test]
    fn granted_folders_start_at_the_pipelines_folder() {
        let texts = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        let permissions =
            Permissions { read: texts(&["lookup", ".", "/srv"]), write: texts(&["out/"]), ..Permissions::default() };
        let granted = Sandbox { permissions, ..Sandbox::default() };
        let found = absolute(&granted, Path::new("/pipelines")).unwrap();
        assert_eq!(found.permissions.read, ["/pipelines/lookup", "/pipelines", "/srv"]);
        assert_eq!(found.permissions.write, ["/pipelines/out/"]);
        assert_eq!(found.limits, granted.limits);
        let here = absolute(&granted, Path::new("")).unwrap();
        assert!(here.permissions.read.iter().all(|folder| Path::new(folder).is_absolute()), "{here:?}");
    }

    #[test]
    fn no_module_may_write_where_it_could_change_what_decides_over_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("pipelines");
        for inside in ["out", ".engine/plugins"] {
            std::fs::create_dir_all(folder.join(inside)).unwrap();
        }
        std::os::unix::fs::symlink(".engine", folder.join("link")).unwrap();
        let granted = |path: &str| {
            let permissions = Permissions { write: vec![path.to_owned()], ..Permissions::default() };
            let sandbox = absolute(&Sandbox { permissions, ..Sandbox::default() }, &folder).unwrap();
            keeps_out(sandbox, &Modules::discover(&[], None), &folder)
        };
        for path in [".", "..", "/", "out/..", ".engine", ".engine/plugins", "link/plugins"] {
            let error = granted(path).unwrap_err();
            assert!(error.message.contains("permissions: write") && error.hint.is_some(), "{path}: {error}");
        }
        for path in ["out", "not/there/yet", "/srv/elsewhere"] {
            granted(path).unwrap();
        }
    }
}
