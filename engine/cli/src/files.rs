//! The pipelines of a service: files and folders of them, looked at again and again.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use engine_abi::{Error, Result};
use engine_server::{Entry, Loader, Ready};
use engine_spec::Style;
use sha2::{Digest, Sha256};

use crate::arguments::{Global, Set};
use crate::exit::Failure;
use crate::places;
use crate::project::{self, CONNECTIONS, Project, STATE, shown};

/// What stands beside pipeline files and decides about them.
const AROUND: [&str; 4] = [CONNECTIONS, STATE, ".env", places::LOCK];

/// Pipeline files, and folders of which every pipeline file counts.
pub struct Files {
    global: Global,
    given: Vec<PathBuf>,
    /// Those of them that are folders, also while they are away.
    folders: BTreeSet<PathBuf>,
    state: PathBuf,
    set: Set,
    known: Mutex<BTreeMap<PathBuf, Known>>,
}

/// A file as it was last looked at.
struct Known {
    digest: Option<[u8; 32]>,
    /// The name that it had when it was last right.
    name: Option<String>,
    entry: Entry,
}

impl Files {
    pub fn new(global: &Global, given: &[PathBuf], state: &Path, set: &Set) -> Self {
        let (global, given, state, set) = (global.clone(), given.to_vec(), state.to_owned(), set.clone());
        let folders = given.iter().filter(|given| given.is_dir()).cloned().collect();
        Self { global, given, folders, state, set, known: Mutex::default() }
    }

    /// The files that are there now.
    fn present(&self) -> Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for given in &self.given {
            // A folder that is away for a moment is no reason to end what runs: it goes on as it was.
            match given.is_dir() || self.folders.contains(given) {
                true => files.extend(in_folder(given)?),
                false => files.push(given.clone()),
            }
        }
        let mut seen = BTreeSet::new();
        files.retain(|file| seen.insert(file.canonicalize().unwrap_or_else(|_| file.clone())));
        Ok(files)
    }

    /// Loads files of one folder.
    fn load_files(&self, files: &[PathBuf]) -> BTreeMap<PathBuf, std::result::Result<Ready, String>> {
        let project = match Project::load_each(&self.global, files, &self.state) {
            Ok(project) => Arc::new(project),
            Err(failure) => return files.iter().map(|file| (file.clone(), Err(in_words(&failure)))).collect(),
        };
        let loaded = project.files.iter().map(|file| {
            let ready = project.assembled_file(file, &self.set).map(|(assembly, fingerprint)| {
                let (project, name) = (Arc::clone(&project), assembly.name.clone());
                let revive = Arc::new(move |definition: &serde_json::Value| project.revive(&name, definition));
                Ready { assembly: Arc::new(assembly), revive, fingerprint, group: None }
            });
            (file.path.clone(), ready.map_err(|failure| in_words(&failure)))
        });
        loaded.collect()
    }
}

impl Loader for Files {
    fn load(&self, anew: bool) -> Result<Vec<Entry>> {
        let files = self.present()?;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|file, _| files.contains(file));
        let mut around: BTreeMap<PathBuf, Vec<u8>> = BTreeMap::new();
        let mut changed: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
        let mut digests = BTreeMap::new();
        for file in &files {
            let folder = places::folder_of(file)?;
            let beside = around.entry(folder.clone()).or_insert_with(|| what_is_around(&folder));
            let digest = std::fs::read(file)
                .ok()
                .map(|bytes| Sha256::new().chain_update(&bytes).chain_update(&*beside).finalize().into());
            if anew || known.get(file).is_none_or(|known| known.digest != digest || digest.is_none()) {
                changed.entry(folder).or_default().push(file.clone());
            }
            digests.insert(file.clone(), digest);
        }
        for files in changed.into_values() {
            // One that cannot be read is no reason to leave the others.
            let (readable, unreadable): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| digests[file].is_some());
            let mut loaded = if readable.is_empty() { BTreeMap::new() } else { self.load_files(&readable) };
            for file in unreadable {
                let problem = std::fs::read(&file).err().map(|error| project::unreadable(&file, error).to_string());
                loaded.insert(file, Err(problem.unwrap_or_else(|| "it could not be read a moment ago".into())));
            }
            for (file, pipeline) in loaded {
                let name = match &pipeline {
                    Ok(ready) => Some(ready.assembly.name.clone()),
                    Err(_) => known.get(&file).and_then(|known| known.name.clone()),
                };
                let stem = || file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
                let entry =
                    Entry { name: name.clone().unwrap_or_else(stem), file: shown(&file), pipeline, wrong_stops: false };
                known.insert(file.clone(), Known { digest: digests[&file], name, entry });
            }
        }
        Ok(each_name_once(files.iter().filter_map(|file| known.get(file)).map(|known| known.entry.clone())))
    }
}

/// Two pipelines of one name would share their state: the second cannot be used.
pub fn each_name_once(entries: impl Iterator<Item = Entry>) -> Vec<Entry> {
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    let mut all = Vec::new();
    for mut entry in entries {
        if let Some(first) = names.get(&entry.name) {
            let problem = format!("two files hold a pipeline named `{}`: {first} and {}", entry.name, entry.file);
            entry.pipeline = Err(format!("{problem}\n  help: give one of them another `name:`"));
            entry.name.clone_from(&entry.file);
        }
        names.insert(entry.name.clone(), entry.file.clone());
        all.push(entry);
    }
    all
}

/// The pipeline files of a folder, by their names.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>> {
    let named = |error: std::io::Error| Error::from(error).context(folder.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(named)? {
        let path = entry.map_err(named)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let is_pipeline = [".yaml", ".yml"].iter().any(|ending| name.ends_with(ending));
        if is_pipeline && !name.starts_with('.') && !AROUND.contains(&name.as_str()) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn what_is_around(folder: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for name in AROUND {
        let bytes = std::fs::read(folder.join(name)).unwrap_or_default();
        all.extend((bytes.len() as u64).to_le_bytes());
        all.extend(bytes);
    }
    all
}

/// A failure as a page or a log shows it.
pub fn in_words(failure: &Failure) -> String {
    match failure {
        Failure::Error(error, _) => error.to_string(),
        Failure::Errors(errors) => errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"),
        Failure::Diagnostics(diagnostics) => diagnostics.render(Style::Plain).trim_end().to_owned(),
    }
}
