//! `engine plugins lock` and `engine plugins verify`: which modules may be
//! loaded, and whether they are still those.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_abi::{ComponentKind, Error};
use engine_host::{Compared, Lock, ModuleFile, Modules, Standing};
use serde_json::json;

use crate::arguments::{Global, OptionalFiles};
use crate::exit::{Exit, Failure};
use crate::project::{self, Around};
use crate::{console, output, places};

/// How much of a hash is shown.
const SHOWN: usize = 12;

/// What a lock is about: the modules that some pipelines use, or all that are found.
struct Scope {
    /// Where the lock stands.
    folder: PathBuf,
    modules: Modules,
    used: Vec<Arc<ModuleFile>>,
    /// Components that no module has, or more than one.
    unfound: Vec<Error>,
}

impl Scope {
    fn of(global: &Global, files: &[PathBuf]) -> Result<Self, Failure> {
        let named = global.state.as_deref().map(std::path::absolute).transpose().map_err(Error::from)?;
        let common = places::common_folder(files, "lock the pipelines of each folder by themselves")?;
        let folder = match common.or(named) {
            Some(folder) => folder,
            None => std::env::current_dir().map_err(Error::from)?,
        };
        let state = places::state_for(global, files).ok();
        let modules = places::all_modules(global, state.as_deref());
        modules.problems().iter().for_each(|problem| console::error_line(&format!("warning: {problem}")));
        let mut scope = Self { folder, used: Vec::new(), unfound: Vec::new(), modules };
        scope.find(files)?;
        Ok(scope)
    }

    fn find(&mut self, files: &[PathBuf]) -> Result<(), Failure> {
        if files.is_empty() {
            self.used = self.modules.list().to_vec();
            return Ok(());
        }
        for (kind, name) in wanted(files, &self.modules)? {
            match self.modules.find(kind, &name) {
                Ok(file) if self.used.iter().any(|used| used.path() == file.path()) => {}
                Ok(file) => self.used.push(Arc::clone(file)),
                Err(error) => self.unfound.push(error),
            }
        }
        Ok(())
    }
}

/// The components that a run of these files loads, each once.
fn wanted(files: &[PathBuf], modules: &Modules) -> Result<Vec<(ComponentKind, String)>, Failure> {
    let mut wanted = Vec::new();
    for file in project::read(files)? {
        if file.parsed.diagnostics.has_errors() {
            return Err(file.parsed.diagnostics.into());
        }
        wanted.extend(file.parsed.components());
        let around = Around::of(&file.folder)?;
        if around.diagnostics.has_errors() {
            return Err(around.diagnostics.into());
        }
        wanted.extend(around.state_component().filter(|component| modules.names().contains(component)));
        // A connection does not say what kind of component it is for.
        let names = modules.names();
        wanted
            .extend(project::connected(&around.connections).into_iter().filter(|component| names.contains(component)));
    }
    wanted.sort();
    wanted.dedup();
    Ok(wanted)
}

pub fn lock(global: &Global, command: &OptionalFiles) -> crate::Result {
    let scope = Scope::of(global, &command.files)?;
    if !scope.unfound.is_empty() {
        return Err(Failure::Errors(scope.unfound));
    }
    if scope.used.is_empty() {
        return Err(Failure::environment(
            Error::config("there is no module to lock")
                .hint("`engine plugins path` shows where modules are looked for"),
        ));
    }
    let path = scope.folder.join(places::LOCK);
    let lock = Lock::of(&scope.used, &path)?;
    write(&path, &lock.to_string()).map_err(|error| Error::from(error).context(path.display()))?;
    let written = lock.compare(&scope.used, |_| true)?;
    if global.json {
        let modules: Vec<_> =
            written.iter().map(|it| json!({"name": it.name, "sha256": it.found, "path": it.path})).collect();
        output::json(&json!({"lock": path, "modules": modules}));
        return Ok(Exit::Done);
    }
    let count = output::counted(written.len() as u64, "module");
    console::line(&format!("{} holds {count}; no other is loaded", project::shown(&path)));
    output::table(&["MODULE", "SHA256", "FILE"], &written.iter().map(|it| row(it).to_vec()).collect::<Vec<_>>());
    Ok(Exit::Done)
}

/// Puts the file there whole or not at all: an engine may start meanwhile.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let unfinished = path.with_extension("lock.unfinished");
    std::fs::write(&unfinished, text)?;
    std::fs::rename(&unfinished, path)
}

pub fn verify(global: &Global, command: &OptionalFiles) -> crate::Result {
    let scope = Scope::of(global, &command.files)?;
    let state = places::state_for(global, &command.files).ok();
    let lock = places::lock(state.as_deref(), Some(&scope.folder))?.ok_or_else(|| {
        let what = format!("there is no {} in {}: every module may be loaded", places::LOCK, scope.folder.display());
        Error::config(what).hint("`engine plugins lock` with the pipeline files writes one")
    })?;
    // Without pipelines nothing is known of what is used.
    let used = |path: &Path| !command.files.is_empty() && scope.used.iter().any(|module| module.path() == path);
    let modules = lock.compare(scope.modules.list(), used)?;
    let holds = scope.unfound.is_empty() && modules.iter().all(|it| it.standing.is_sound());
    if global.json {
        output::json(&json!({"lock": lock.path(), "holds": holds, "modules": modules, "errors": scope.unfound}));
    } else {
        print(&lock, &modules, &scope.unfound);
    }
    Ok(if holds { Exit::Done } else { Exit::Failed })
}

fn print(lock: &Lock, modules: &[Compared], unfound: &[Error]) {
    let rows: Vec<_> =
        modules.iter().map(|it| [&[word(it.standing).to_owned()], row(it).as_slice()].concat()).collect();
    output::table(&["STATUS", "MODULE", "SHA256", "FILE"], &rows);
    unfound.iter().for_each(|error| console::error_line(&format!("error: {error}")));
    let path = project::shown(lock.path());
    let count = |standing| modules.iter().filter(|it| it.standing == standing).count();
    let wrong: Vec<_> = [Standing::Changed, Standing::Missing, Standing::Unlocked]
        .into_iter()
        .filter(|standing| count(*standing) > 0)
        .map(|standing| format!("{} {}", count(standing), word(standing).to_lowercase()))
        .collect();
    if !wrong.is_empty() {
        console::error_line(&format!(
            "error: the modules are not those of {path}: {}\n  help: if you trust them as they are, \
             `engine plugins lock` with the pipeline files writes the lock anew",
            wrong.join(", ")
        ));
    } else if unfound.is_empty() {
        let count = output::counted(count(Standing::Locked) as u64, "module");
        console::line(&format!("{path} holds: {count}, as locked"));
    }
}

const fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Locked => "locked",
        Standing::Changed => "CHANGED",
        Standing::Missing => "MISSING",
        Standing::Unlocked => "NOT LOCKED",
        Standing::Extra => "extra",
    }
}

/// Name, hash and file. Of a module that is not there, the hash that is locked.
fn row(it: &Compared) -> [String; 3] {
    let hash = it.found.as_ref().or(it.locked.as_ref()).map(|hash| hash[..SHOWN].to_owned());
    let path = it.path.as_ref().map(|path| path.display().to_string());
    [it.name.clone(), hash.unwrap_or_default(), path.unwrap_or_default()]
}
