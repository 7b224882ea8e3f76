//! Where things are: the state, the modules, the files beside a pipeline file.

use std::path::{Path, PathBuf};

use engine_abi::{Error, Result};
use engine_host::{Lock, Modules};
use engine_state::{RunFilter, State};

use crate::arguments::Global;

/// The name of the state folder beside pipeline files.
pub const STATE: &str = ".engine";

/// The folder that a file lies in, absolute.
pub fn folder_of(file: &Path) -> Result<PathBuf> {
    let absolute = std::path::absolute(file).map_err(|error| Error::from(error).context(file.display()))?;
    Ok(absolute.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned))
}

/// The state folder for pipeline files: the one that was named, else `.engine`
/// beside them.
pub fn state_for(global: &Global, files: &[PathBuf]) -> Result<PathBuf> {
    if let Some(folder) = &global.state {
        if folder.is_file() {
            return Err(Error::config(format!("the state is a folder, and {} is a file", folder.display()))
                .hint("name the state folder with --state DIR or ENGINE_STATE"));
        }
        return std::path::absolute(folder).map_err(|error| Error::from(error).context(folder.display()));
    }
    match common_folder(files, "name the state folder with --state DIR or ENGINE_STATE")? {
        Some(folder) => Ok(folder.join(STATE)),
        None => std::path::absolute(STATE).map_err(Error::from),
    }
}

/// The folder that all pipeline files lie in; none of no files. `hint` says what
/// to do about several.
pub fn common_folder(files: &[PathBuf], hint: &str) -> Result<Option<PathBuf>> {
    let mut folders: Vec<_> = files.iter().map(|file| folder_of(file)).collect::<Result<_>>()?;
    folders.sort();
    folders.dedup();
    match folders.as_slice() {
        [one, other, ..] => Err(Error::config(format!(
            "the pipeline files lie in different folders: {} and {}",
            one.display(),
            other.display()
        ))
        .hint(hint)),
        _ => Ok(folders.pop()),
    }
}

/// The state folder for commands that name no pipeline file: one that is there.
pub fn existing_state(global: &Global) -> Result<PathBuf> {
    if global.state.is_some() {
        return state_for(global, &[]);
    }
    let candidates = [PathBuf::from(STATE), Path::new("pipelines").join(STATE)];
    let found = candidates.iter().find(|folder| State::exists(folder));
    found.cloned().ok_or_else(|| {
        Error::config("there is no state here: neither .engine nor pipelines/.engine")
            .hint("name the state folder with --state DIR or ENGINE_STATE")
    })
}

/// Refuses a pipeline that a state has never heard of.
pub fn known_pipeline(state: &State, name: &str) -> Result<()> {
    let known = state.pipelines()?;
    // One whose runs all failed early has no window.
    let runs = || state.runs(&RunFilter { pipeline: Some(name.to_owned()), limit: 1 });
    if known.iter().any(|it| it == name) || !runs()?.is_empty() {
        return Ok(());
    }
    let hint = match engine_spec::nearest(name, known.iter().map(String::as_str)) {
        Some(right) => format!("did you mean `{right}`?"),
        None if known.is_empty() => "nothing has run with it yet".to_owned(),
        None => format!("it knows `{}`", known.join("`, `")),
    };
    Err(Error::config(format!("the state knows no pipeline `{name}`")).hint(hint))
}

/// The name of the file that says which modules may be loaded.
pub const LOCK: &str = "plugins.lock";

/// The variable that names folders with modules.
const PLUGIN_PATH: &str = "ENGINE_PLUGIN_PATH";

/// A folder in which modules are looked for.
pub struct PluginFolder {
    pub path: PathBuf,
    pub named_by: NamedBy,
}

/// Why modules are looked for in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NamedBy {
    /// `--plugins`, which stands for all others.
    Option,
    /// `ENGINE_PLUGIN_PATH`.
    Variable,
    /// It is `plugins` in the state folder.
    State,
    /// It is `plugins` beside the program.
    Program,
    /// The program lies in it, with much else: only bundled modules count.
    ProgramItself,
}

impl NamedBy {
    pub const fn shown(self) -> &'static str {
        match self {
            Self::Option => "--plugins",
            Self::Variable => PLUGIN_PATH,
            Self::State => "the state folder",
            Self::Program | Self::ProgramItself => "beside the program",
        }
    }
}

/// The folders in which modules are looked for, in order.
pub fn plugin_folders(global: &Global, state: Option<&Path>) -> Vec<PluginFolder> {
    let folder = |named_by| move |path: PathBuf| PluginFolder { path, named_by };
    if !global.plugins.is_empty() {
        return global.plugins.iter().cloned().map(folder(NamedBy::Option)).collect();
    }
    let variable = std::env::var_os(PLUGIN_PATH).unwrap_or_default();
    let paths = std::env::split_paths(&variable).filter(|path| !path.as_os_str().is_empty());
    let mut folders: Vec<_> = paths.map(folder(NamedBy::Variable)).collect();
    folders.extend(state.map(|state| state.join("plugins")).map(folder(NamedBy::State)));
    let binary = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    if let Some(beside) = binary.as_deref().and_then(Path::parent) {
        folders.push(folder(NamedBy::Program)(beside.join("plugins")));
        folders.push(folder(NamedBy::ProgramItself)(beside.to_owned()));
    }
    folders
}

/// The modules that a command may use.
pub fn modules(global: &Global, state: Option<&Path>, project: Option<&Path>) -> Result<Modules> {
    Ok(discover(global, state, lock(state, project)?))
}

/// The modules that are there, whether they may be used or not: to be looked at, not to be loaded.
pub fn all_modules(global: &Global, state: Option<&Path>) -> Modules {
    discover(global, state, None)
}

fn discover(global: &Global, state: Option<&Path>, lock: Option<Lock>) -> Modules {
    let folders = plugin_folders(global, state);
    let (beside, whole): (Vec<_>, Vec<_>) =
        folders.into_iter().partition(|folder| folder.named_by == NamedBy::ProgramItself);
    let whole: Vec<_> = whole.into_iter().map(|folder| folder.path).collect();
    let mut modules = Modules::discover(&whole, lock);
    beside.iter().for_each(|folder| modules.add_bundled(&folder.path));
    modules
}

/// The lock beside the pipeline files, else the one in the state folder.
pub fn lock(state: Option<&Path>, project: Option<&Path>) -> Result<Option<Lock>> {
    for folder in [project, state].into_iter().flatten() {
        let path = folder.join(LOCK);
        match std::fs::read_to_string(&path) {
            Ok(text) => return Lock::parse(&text, &path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // A lock that cannot be read must not mean that everything may be loaded.
            Err(error) => return Err(Error::from(error).context(path.display())),
        }
    }
    Ok(None)
}

/// The modules that pipelines of some folders may use. Modules are loaded once
/// for all of them, so they must be under one lock, or under none.
pub fn modules_of_all<'a>(
    global: &Global,
    state: &Path,
    folders: impl IntoIterator<Item = &'a Path>,
) -> Result<Modules> {
    let mut folders = folders.into_iter();
    let first = folders.next();
    let place = |lock: &Option<Lock>| lock.as_ref().map(|lock| lock.path().to_owned());
    let under = |lock: &Option<Lock>| match lock {
        Some(lock) => format!("under {}", lock.path().display()),
        None => "under no lock".to_owned(),
    };
    let shared = lock(Some(state), first)?;
    for folder in folders {
        let other = lock(Some(state), Some(folder))?;
        if place(&other) != place(&shared) {
            return Err(Error::config(format!(
                "pipelines of {} are {}, those of {} are {}, and modules are loaded once for all",
                first.unwrap_or(folder).display(),
                under(&shared),
                folder.display(),
                under(&other)
            ))
            .hint(
                "run the pipelines of each folder by themselves, or keep one lock, in the state folder, for all of them",
            ));
        }
    }
    Ok(discover(global, Some(state), shared))
}
