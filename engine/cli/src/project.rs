//! Pipeline files with everything around them: modules, connections, environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_abi::{ComponentKind, Error, Result};
use engine_host::Modules;
use engine_runtime::Assembly;
use engine_spec::{Catalogue, Connections, Diagnostics, Isolation, Parsed, Pipeline, ResolvedPipeline, StateUse};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::arguments::{Global, Set};
use crate::environment::Outside;
use crate::exit::Failure;
use crate::{console, places};

/// The file that holds named connections.
pub const CONNECTIONS: &str = "connections.yaml";
/// The file that says where the state stands, when not in its folder alone.
pub const STATE: &str = "state.yaml";

/// A pipeline file, read and checked.
pub struct PipelineFile {
    /// As it was named.
    pub path: PathBuf,
    folder: PathBuf,
    /// Given when nothing is an error.
    pub pipeline: Option<Pipeline>,
    /// Everything that was found.
    pub diagnostics: Diagnostics,
}

/// A pipeline file that was read, before it is known what it needs.
pub struct ParsedFile {
    path: PathBuf,
    pub folder: PathBuf,
    pub parsed: Parsed,
}

/// What the files of one folder share.
pub struct Around {
    pub connections: Connections,
    pub state: Option<StateUse>,
    pub outside: Outside,
    /// What is wrong with them.
    pub diagnostics: Diagnostics,
}

/// Pipeline files and all that they need.
pub struct Project {
    pub files: Vec<PipelineFile>,
    pub modules: Modules,
    pub catalogue: Catalogue,
    folders: BTreeMap<PathBuf, Around>,
}

impl Around {
    pub fn of(folder: &Path) -> Result<Self> {
        let (outside, mut diagnostics) = Outside::of(folder)?;
        let connections = read_beside(folder, CONNECTIONS, &mut diagnostics, engine_spec::parse_connections)?;
        let state = read_beside(folder, STATE, &mut diagnostics, engine_spec::parse_state)?;
        Ok(Self { connections, state, outside, diagnostics })
    }

    /// What is wrong with the state that it names.
    pub fn check_state(&self, catalogue: &Catalogue) -> Diagnostics {
        let state = self.state.as_ref();
        state.map(|it| engine_spec::check_state(it, &self.connections, catalogue, &self.outside)).unwrap_or_default()
    }

    /// The state component that it names.
    pub fn state_component(&self) -> Option<(ComponentKind, String)> {
        self.state.as_ref().map(|state| (ComponentKind::State, state.component.clone()))
    }
}

/// Reads a file of a folder that need not be there.
fn read_beside<T: Default>(
    folder: &Path,
    name: &str,
    diagnostics: &mut Diagnostics,
    parse: fn(&[u8], &str) -> (T, Diagnostics),
) -> Result<T> {
    let path = folder.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let (parsed, found) = parse(&bytes, &shown(&path));
            diagnostics.extend(found);
            Ok(parsed)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
        Err(error) => Err(Error::from(error).context(path.display())),
    }
}

/// A path as a person would write it from where he is.
pub fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

impl Project {
    /// Reads and checks files. Fails only when something around them cannot be
    /// used; what is wrong with a file is in its diagnostics.
    pub fn load(global: &Global, files: &[PathBuf], state: &Path) -> Result<Self, Failure> {
        let project = Self::load_each(global, files, state)?;
        project.refuse_doubles()?;
        Ok(project)
    }

    /// The same, of files that need not go together.
    pub fn load_each(global: &Global, files: &[PathBuf], state: &Path) -> Result<Self, Failure> {
        Self::of(global, read(files)?, state)
    }

    /// Pipelines that stand in no file, each with a title for messages, as if they stood in `folder`.
    pub fn of_made(global: &Global, made: &[(String, Value)], folder: &Path, state: &Path) -> Result<Self, Failure> {
        let parsed = |(title, pipeline): &(String, Value)| ParsedFile {
            path: PathBuf::from(title),
            folder: folder.to_owned(),
            parsed: engine_spec::parse_made(pipeline, title),
        };
        Self::of(global, made.iter().map(parsed).collect(), state)
    }

    fn of(global: &Global, parsed: Vec<ParsedFile>, state: &Path) -> Result<Self, Failure> {
        // Each once, however many files lie in it.
        let in_folders: BTreeSet<_> = parsed.iter().map(|file| file.folder.as_path()).collect();
        let modules = places::modules_of_all(global, state, in_folders).map_err(Failure::environment)?;
        let mut folders = BTreeMap::new();
        for ParsedFile { folder, .. } in &parsed {
            if !folders.contains_key(folder) {
                folders.insert(folder.clone(), Around::of(folder)?);
            }
        }
        let mut wanted: Vec<_> = parsed.iter().flat_map(|file| file.parsed.components()).collect();
        for around in folders.values() {
            wanted.extend(connected(&around.connections));
            wanted.extend(around.state_component());
        }
        let isolated: Vec<_> = parsed.iter().flat_map(|file| file.parsed.isolated()).collect();
        let catalogue = catalogue(&modules, &wanted, &isolated).map_err(Failure::environment)?;
        // What a pipeline wants may be in a file that cannot be used.
        if wanted.iter().any(|(kind, name)| !catalogue.contains(*kind, name)) {
            modules.problems().iter().for_each(|problem| console::error_line(&format!("warning: {problem}")));
        }
        let mut project = Self { files: Vec::new(), modules, catalogue, folders };
        for ParsedFile { path, folder, parsed } in parsed {
            let around = &project.folders[&folder];
            let (pipeline, mut diagnostics) =
                engine_spec::check(&parsed, &project.catalogue, &around.connections, &around.outside);
            diagnostics.extend(around.diagnostics.clone());
            diagnostics.extend(around.check_state(&project.catalogue));
            let pipeline = pipeline.filter(|_| !diagnostics.has_errors());
            project.files.push(PipelineFile { path, folder, pipeline, diagnostics });
        }
        Ok(project)
    }

    /// Two pipelines of one name would share their state.
    fn refuse_doubles(&self) -> Result<()> {
        let mut names: BTreeMap<&str, &Path> = BTreeMap::new();
        for file in &self.files {
            let Some(pipeline) = &file.pipeline else { continue };
            if let Some(other) = names.insert(&pipeline.name, &file.path) {
                return Err(Error::config(format!(
                    "two files hold a pipeline named `{}`: {} and {}",
                    pipeline.name,
                    other.display(),
                    file.path.display()
                ))
                .hint("give one of them another `name:`"));
            }
        }
        Ok(())
    }

    /// The pipelines with their components, ready to run. All that is wrong is
    /// told at once; warnings are printed.
    pub fn assemble(&self) -> Result<Vec<Arc<Assembly>>, Failure> {
        Ok(self.assembled()?.into_iter().map(Arc::new).collect())
    }

    /// The same, with values for their parameters. Each is for the pipelines that have a parameter of its name.
    pub fn assemble_with(&self, set: &Set) -> Result<Vec<Arc<Assembly>>, Failure> {
        let mut assemblies = self.assembled()?;
        set_params(&mut assemblies, set)?;
        Ok(assemblies.into_iter().map(Arc::new).collect())
    }

    /// The pipeline of a file, ready to run, and a text that is another as soon as the pipeline is.
    pub fn assembled_file(&self, file: &PipelineFile, set: &Set) -> Result<(Assembly, String), Failure> {
        let Some(pipeline) = &file.pipeline else { return Err(file.diagnostics.clone().into()) };
        let values = self.values(file, pipeline)?;
        let mut assembly = self.assembly(file, pipeline, &values).map_err(Failure::Errors)?;
        for (name, value) in set.set.iter().filter(|(name, _)| assembly.params.has(name)) {
            assembly.set.insert(name.clone(), value.clone());
        }
        Ok((assembly, fingerprint(pipeline, &values)))
    }

    fn assembled(&self) -> Result<Vec<Assembly>, Failure> {
        if self.files.is_empty() {
            return Err(Error::config("there is no pipeline in these files").into());
        }
        let mut wrong = Diagnostics::new();
        let mut resolved: Vec<(&PipelineFile, &Pipeline, ResolvedPipeline)> = Vec::new();
        for file in &self.files {
            let Some(pipeline) = &file.pipeline else {
                wrong.extend(file.diagnostics.clone());
                continue;
            };
            match self.values(file, pipeline) {
                Ok(values) => resolved.push((file, pipeline, values)),
                Err(diagnostics) => wrong.extend(diagnostics),
            }
        }
        if wrong.has_errors() {
            return Err(wrong.into());
        }
        let (mut assemblies, mut refusals) = (Vec::new(), Vec::new());
        for (file, pipeline, values) in resolved {
            match self.assembly(file, pipeline, &values) {
                Ok(assembly) => assemblies.push(assembly),
                Err(found) => refusals.extend(found),
            }
        }
        if refusals.is_empty() { Ok(assemblies) } else { Err(Failure::Errors(refusals)) }
    }

    /// A pipeline with its values in, the secret ones of which are shown to nobody from now on.
    fn values(&self, file: &PipelineFile, pipeline: &Pipeline) -> Result<ResolvedPipeline, Diagnostics> {
        let values = engine_spec::resolve(pipeline, &self.catalogue, &self.folders[&file.folder].outside)?;
        console::hide(engine_spec::secrets(&values), &names(&values));
        Ok(values)
    }

    /// A pipeline with its components, all of which take their configuration.
    fn assembly(
        &self,
        file: &PipelineFile,
        pipeline: &Pipeline,
        values: &ResolvedPipeline,
    ) -> Result<Assembly, Vec<Error>> {
        let assembled = Assembly::new(values, engine_spec::definition(pipeline), &self.modules, &file.folder);
        let refusals = match assembled {
            Ok(assembly) => match assembly.refusals() {
                none if none.is_empty() => return Ok(assembly),
                refusals => refusals,
            },
            Err(error) => vec![error],
        };
        let placed = |mut error: Error| {
            let path = file.path.display();
            error.stage = Some(error.stage.map_or_else(|| path.to_string(), |stage| format!("{path}: {stage}")));
            error
        };
        Err(refusals.into_iter().map(placed).collect())
    }

    /// What is wrong with the values: two windows under one name, a port that is
    /// none. Of pipelines whose variables are all set; the others have a warning.
    pub fn refusals(&self) -> Vec<Error> {
        let mut all = Vec::new();
        for file in &self.files {
            let Some(pipeline) = &file.pipeline else { continue };
            let Ok(values) = self.values(file, pipeline) else { continue };
            all.extend(self.assembly(file, pipeline, &values).err().unwrap_or_default());
        }
        all
    }

    /// Turns the stored definition of a pipeline into one again.
    pub fn revive(&self, name: &str, definition: &Value) -> Result<Assembly> {
        let current = self.files.iter().find(|file| file.pipeline.as_ref().is_some_and(|it| it.name == name));
        let pipeline = engine_spec::from_definition(definition, current.and_then(|file| file.pipeline.as_ref()))?;
        let folder = current.map(|file| file.folder.clone()).unwrap_or_default();
        let outside = self.folders.get(&folder).map(|around| &around.outside);
        let nothing = Outside::default();
        let mut described = self.catalogue.clone();
        for stage in pipeline.stages() {
            let formats = stage.formats().map(|it| (ComponentKind::Format, it.component.as_str(), &it.sandbox));
            let itself = (stage.position.kind(), stage.component.as_str(), &stage.sandbox);
            for (kind, name, sandbox) in std::iter::once(itself).chain(formats) {
                if described.get(kind, name).is_none() {
                    let component = engine_runtime::component(&self.modules, sandbox.isolation, kind, name)?;
                    described.add(component.description().clone());
                }
            }
        }
        let values = engine_spec::resolve(&pipeline, &described, outside.unwrap_or(&nothing))?;
        console::hide(engine_spec::secrets(&values), &names(&values));
        Assembly::new(&values, definition.clone(), &self.modules, &folder)
    }
}

/// Reads pipeline files, each of which may be named once. Connections and state may be
/// among them: they are read with their folder.
pub fn read(files: &[PathBuf]) -> Result<Vec<ParsedFile>> {
    let mut parsed: Vec<ParsedFile> = Vec::new();
    let is_beside = |path: &&PathBuf| path.file_name().is_some_and(|name| name == CONNECTIONS || name == STATE);
    for path in files.iter().filter(|path| !is_beside(path)) {
        let same = |other: &ParsedFile| other.path.canonicalize().ok() == path.canonicalize().ok();
        let bytes = std::fs::read(path).map_err(|error| unreadable(path, error))?;
        if parsed.iter().any(same) {
            let error = Error::config(format!("{} is named twice", path.display()));
            return Err(error.hint("name each pipeline file once"));
        }
        parsed.push(ParsedFile {
            path: path.clone(),
            folder: places::folder_of(path)?,
            parsed: engine_spec::parse(&bytes, &path.display().to_string()),
        });
    }
    Ok(parsed)
}

pub fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let hint = match error.kind() {
        std::io::ErrorKind::NotFound => "name a pipeline file, such as pipelines/quickstart.yaml".to_owned(),
        std::io::ErrorKind::IsADirectory => format!("name the files in it, such as {}/*.yaml", path.display()),
        _ => "the user that the engine runs as must be able to read it".to_owned(),
    };
    Error::from(error).context(path.display()).hint(hint)
}

/// Gives pipelines the values of their parameters, and finds what is wrong with them before anything runs.
fn set_params(assemblies: &mut [Assembly], set: &Set) -> Result<(), Failure> {
    for (name, value) in &set.set {
        let mut taken = false;
        for assembly in assemblies.iter_mut().filter(|assembly| assembly.params.has(name)) {
            assembly.set.insert(name.clone(), value.clone());
            taken = true;
        }
        if !taken {
            let first = &mut assemblies[0];
            first.set.insert(name.clone(), value.clone());
        }
    }
    for assembly in assemblies {
        let now = chrono::Utc::now();
        assembly.variables("set", now, assembly.range(None, None, now))?;
    }
    Ok(())
}

/// A hash of all that decides about the runs of a pipeline, secrets included.
fn fingerprint(pipeline: &Pipeline, values: &ResolvedPipeline) -> String {
    let mut hash = Sha256::new();
    let mut add = |text: String| {
        hash.update((text.len() as u64).to_le_bytes());
        hash.update(text);
    };
    add(engine_spec::definition(pipeline).to_string());
    // What is not in a definition, such as the schedule; configurations show only their keys here.
    add(format!("{values:?}"));
    for stage in values.stages() {
        add(stage.with.value.to_string());
        stage.compression.iter().chain(&stage.format).for_each(|format| add(format.with.value.to_string()));
    }
    engine_abi::hexadecimal::write(&hash.finalize())
}

/// The words that every report shows.
fn names(pipeline: &ResolvedPipeline) -> Vec<String> {
    let stages = pipeline.stages().flat_map(|stage| [stage.name.clone(), stage.component.clone()]);
    std::iter::once(pipeline.name.clone()).chain(stages).collect()
}

/// The components that connections name, of whatever kind.
pub fn connected(connections: &Connections) -> Vec<(ComponentKind, String)> {
    let kinds = |name: &String| ComponentKind::ALL.map(|kind| (kind, name.clone()));
    connections.entries.values().flat_map(|connection| kinds(&connection.component)).collect()
}

/// Describes the components that are wanted, and names all others. A module that is
/// isolated somewhere is not loaded to be described, under whichever kind.
pub fn catalogue(
    modules: &Modules,
    wanted: &[(ComponentKind, String)],
    isolated: &[(ComponentKind, String)],
) -> Result<Catalogue> {
    let mut catalogue = Catalogue::new();
    let names = modules.names();
    for (kind, name) in &names {
        catalogue.add_name(*kind, name.as_str());
    }
    for (kind, name) in wanted {
        if names.contains(&(*kind, name.clone())) {
            let isolation = match isolated.iter().any(|(_, other)| other == name) {
                true => Isolation::Process,
                false => Isolation::None,
            };
            let component = engine_runtime::component(modules, isolation, *kind, name)?;
            catalogue.add(component.description().clone());
            if component.is_sandboxed() {
                catalogue.add_sandboxed(*kind, name.as_str());
            }
        }
    }
    Ok(catalogue)
}
