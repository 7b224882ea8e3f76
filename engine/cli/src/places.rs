//! Where things are: the state, the modules, the files beside a pipeline file.

use std::path::{Path, PathBuf};

use engine_abi::{Error, Result};
use engine_host::{Lock, Modules};
use engine_state::{RunFilter, State};

use crate::arguments::Global;

/// The name of the state folder beside pipeline files.
const STATE: &str = ".engine";

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
    let mut folders: Vec<_> = files.iter().map(|file| folder_of(file)).collect::<Result<_>>()?;
    folders.sort();
    folders.dedup();
    match folders.as_slice() {
        [folder] => Ok(folder.join(STATE)),
        [] => std::path::absolute(STATE).map_err(Error::from),
        [one, other, ..] => Err(Error::config(format!(
            "the pipeline files lie in different folders: {} and {}",
            one.display(),
            other.display()
        ))
        .hint("name the state folder with --state DIR or ENGINE_STATE")),
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

/// The folders in which modules are looked for, in order; the last is that of
/// the program itself, unless folders were named.
pub fn plugin_folders(global: &Global, state: Option<&Path>) -> (Vec<PathBuf>, Option<PathBuf>) {
    if !global.plugins.is_empty() {
        return (global.plugins.clone(), None);
    }
    let mut folders: Vec<PathBuf> = Vec::new();
    if let Some(paths) = std::env::var_os("ENGINE_PLUGIN_PATH") {
        folders.extend(std::env::split_paths(&paths).filter(|path| !path.as_os_str().is_empty()));
    }
    folders.extend(state.map(|state| state.join("plugins")));
    let binary = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let beside = binary.as_deref().and_then(Path::parent).map(Path::to_owned);
    folders.extend(beside.as_ref().map(|folder| folder.join("plugins")));
    (folders, beside)
}

/// The modules that a command may use.
pub fn modules(global: &Global, state: Option<&Path>, project: Option<&Path>) -> Result<Modules> {
    let (folders, beside) = plugin_folders(global, state);
    let mut modules = Modules::discover(&folders, lock(state, project)?);
    if let Some(folder) = beside {
        modules.add_bundled(&folder);
    }
    Ok(modules)
}

/// The lock beside the pipeline files, else the one in the state folder.
fn lock(state: Option<&Path>, project: Option<&Path>) -> Result<Option<Lock>> {
    for folder in [project, state].into_iter().flatten() {
        let path = folder.join("plugins.lock");
        match std::fs::read_to_string(&path) {
            Ok(text) => return Lock::parse(&text, &path).map(Some),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            // A lock that cannot be read must not mean that everything may be loaded.
            Err(error) => return Err(Error::from(error).context(path.display())),
        }
    }
    Ok(None)
}
