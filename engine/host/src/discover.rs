//! Where modules are found, and the rule that a name belongs to one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use engine_abi::loader::ComponentizeRequest;
use engine_abi::{ComponentKind, Error, MANIFEST_SECTION, ModuleIdentity, Result, hexadecimal};
use sha2::{Digest, Sha256};

use crate::component::Component;
use crate::loader::WasmLoader;
use crate::process::{IsolatedModule, OWN_PROGRAM};
use crate::{Lock, manifest, sealed, wasm_sections};

/// How the files of the modules that are built with the engine begin.
pub const BUNDLED_PREFIX: &str = "libengine_plugin_";

/// What kind of file a module is, and with it how its components are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// A shared library behind `plugin.h`, a part of the process.
    Native,
    /// A component behind `plugin.wit`, with a memory and permissions of its own.
    Wasm,
}

impl Origin {
    /// What its components may reach of the machine.
    pub const fn permissions(self) -> &'static str {
        match self {
            Self::Native => "all of the engine's",
            Self::Wasm => "what a pipeline grants",
        }
    }
}

impl std::fmt::Display for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Wasm => "wasm",
        })
    }
}

/// A file that is a module.
#[derive(Debug)]
pub struct ModuleFile {
    path: PathBuf,
    origin: Origin,
    identity: ModuleIdentity,
    sha256: OnceLock<String>,
}

impl ModuleFile {
    /// Opens a file; `None` if it could be a module, but is none.
    fn open(path: &Path) -> Result<Option<Self>> {
        let mut file = open(path)?;
        let origin = if wasm_sections::is_wasm(&mut file) { Origin::Wasm } else { Origin::Native };
        let identity = manifest::read(path, &file, origin)?;
        Ok(identity.map(|identity| Self { path: path.to_owned(), origin, identity, sha256: OnceLock::new() }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What kind of file it is.
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Who it says it is.
    pub fn identity(&self) -> &ModuleIdentity {
        &self.identity
    }

    /// Its hash, in hexadecimal. Read on first use.
    pub fn sha256(&self) -> Result<&str> {
        if self.sha256.get().is_none() {
            let mut file = open(&self.path)?;
            let hash = hash(&self.path, &mut file)?;
            let _ = self.sha256.set(hash);
        }
        Ok(self.sha256.get().map_or("", String::as_str))
    }
}

/// All modules of some folders. Nothing is loaded until a component is asked for.
pub struct Modules {
    folders: Vec<PathBuf>,
    files: Vec<Arc<ModuleFile>>,
    problems: Vec<Error>,
    lock: Option<Lock>,
    wasm: WasmLoader,
    loaded: Mutex<Loaded>,
    /// As `loaded`, for modules that the engine's process never loads.
    isolated: Mutex<Loaded>,
    isolates_all: bool,
    host_program: PathBuf,
}

/// The components of modules, by the modules' files.
type Loaded = BTreeMap<PathBuf, Vec<Arc<Component>>>;

impl Modules {
    /// Looks through `folders`. Folders that do not exist are passed over;
    /// files that look like modules but cannot be used become [`problems`](Self::problems).
    pub fn discover(folders: &[PathBuf], lock: Option<Lock>) -> Self {
        let mut found = Self {
            folders: Vec::new(),
            files: Vec::new(),
            problems: Vec::new(),
            lock,
            wasm: WasmLoader::default(),
            loaded: Mutex::default(),
            isolated: Mutex::default(),
            isolates_all: false,
            host_program: OWN_PROGRAM.into(),
        };
        let mut seen = BTreeSet::new();
        for folder in folders {
            let Ok(folder) = folder.canonicalize() else { continue };
            if seen.insert(folder.clone()) {
                found.search(&folder, "");
                found.folders.push(folder);
            }
        }
        found
    }

    /// One module alone, wherever it lies and whatever it is called. Nothing of it is run yet.
    pub fn from_file(path: &Path) -> Result<Self> {
        let file = ModuleFile::open(path)?.ok_or_else(|| {
            Error::config(format!("{} is no module: it has no section `{MANIFEST_SECTION}`", path.display()))
                .hint("a module says there who it is; `engine_sdk::module!` writes it, for C see schemas/plugin.h")
        })?;
        let mut alone = Self::discover(&[], None);
        alone.files.push(Arc::new(file));
        Ok(alone)
    }

    /// Adds the modules that lie beside the engine's own program. Such a folder
    /// holds other libraries too: only files named `libengine_plugin_…` count.
    pub fn add_bundled(&mut self, folder: &Path) {
        let Ok(folder) = folder.canonicalize() else { return };
        if !self.folders.contains(&folder) {
            self.search(&folder, BUNDLED_PREFIX);
            self.folders.push(folder);
        }
    }

    /// From now on every component is one of [`component_isolated`](Self::component_isolated).
    /// `program` is started for them as `engine plugin-host`, where this program is not the engine.
    #[must_use]
    pub fn isolated(mut self, program: &Path) -> Self {
        self.isolates_all = true;
        self.host_program = program.to_owned();
        self
    }

    /// Makes a WASM component of what a compiler gave.
    pub fn componentize(&self, request: &ComponentizeRequest, bytes: &[u8]) -> Result<Vec<u8>> {
        self.wasm.get(Path::new(&request.path))?.componentize(request, bytes)
    }

    fn search(&mut self, folder: &Path, prefix: &str) {
        let entries = match std::fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => {
                let error = Error::from(error).context(format_args!("plugin folder {}", folder.display()));
                self.problems.push(error);
                return;
            }
        };
        let mut paths: Vec<_> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix)))
            .filter(|path| {
                let extension = path.extension();
                extension.is_some_and(|extension| extension == std::env::consts::DLL_EXTENSION || extension == "wasm")
            })
            .collect();
        paths.sort();
        for path in paths {
            match ModuleFile::open(&path) {
                Ok(Some(file)) => self.files.push(Arc::new(file)),
                Ok(None) => tracing::debug!(path = %path.display(), "a file without a manifest is no module"),
                Err(error) => self.problems.push(error),
            }
        }
    }

    /// The folders that were searched, in order.
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// The modules that were found, in the order of the folders.
    pub fn list(&self) -> &[Arc<ModuleFile>] {
        &self.files
    }

    /// Files that look like modules but cannot be used, and why.
    pub fn problems(&self) -> &[Error] {
        &self.problems
    }

    /// Every component that some module has, once each, in the order of names.
    pub fn names(&self) -> BTreeSet<(ComponentKind, String)> {
        let components = self.files.iter().flat_map(|file| &file.identity.components);
        components.map(|component| (component.kind, component.name.clone())).collect()
    }

    /// The file that holds a component. Two files with one name are an error
    /// that names both.
    pub fn find(&self, kind: ComponentKind, name: &str) -> Result<&Arc<ModuleFile>> {
        let has = |file: &&Arc<ModuleFile>| {
            file.identity.components.iter().any(|component| component.kind == kind && component.name == name)
        };
        let files: Vec<_> = self.files.iter().filter(has).collect();
        match files.as_slice() {
            [file] => Ok(file),
            [] => Err(self.missing(kind, name)),
            [first, second, ..] => Err(Error::config(format!(
                "two modules have a {kind} named `{name}`: {} and {}",
                first.path.display(),
                second.path.display()
            ))
            .hint("remove one of the files from the plugin folders")),
        }
    }

    fn missing(&self, kind: ComponentKind, name: &str) -> Error {
        let folders: Vec<_> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        let mut message = format!("no module has a {kind} named `{name}`");
        for problem in &self.problems {
            message.push_str(&format!("\n  also: {}", problem.message));
        }
        Error::config(message).hint(if folders.is_empty() {
            "there is no plugin folder; `engine plugins path` shows where modules are looked for".to_owned()
        } else {
            format!("put the module into one of the plugin folders: {}", folders.join(", "))
        })
    }

    /// Loads the module that holds a component (once) and gives the component.
    pub fn component(&self, kind: ComponentKind, name: &str) -> Result<Arc<Component>> {
        if self.isolates_all {
            return self.component_isolated(kind, name);
        }
        self.component_of(&self.loaded, kind, name, |module| self.load(module))
    }

    /// As [`component`](Self::component), but of a native module that runs in a
    /// process of its own for each instance, within the limits that the instance is
    /// opened with; this process never loads it. A WASM module is isolated as it is.
    pub fn component_isolated(&self, kind: ComponentKind, name: &str) -> Result<Arc<Component>> {
        if self.find(kind, name)?.origin == Origin::Wasm {
            return self.component_of(&self.loaded, kind, name, |module| self.load(module));
        }
        self.component_of(&self.isolated, kind, name, |module| {
            let (path, identity) = (module.path.clone(), module.identity.clone());
            let (file, program) = (self.admitted(module)?, self.host_program.clone());
            Arc::new(IsolatedModule { path, file, identity, program }).components()
        })
    }

    fn component_of(
        &self,
        known: &Mutex<Loaded>,
        kind: ComponentKind,
        name: &str,
        load: impl FnOnce(&ModuleFile) -> Result<Vec<Arc<Component>>>,
    ) -> Result<Arc<Component>> {
        let file = self.find(kind, name)?;
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(&file.path) {
            let components = load(file)?;
            known.insert(file.path.clone(), components);
        }
        let components = &known[&file.path];
        let component = components.iter().find(|component| component.kind() == kind && component.name() == name);
        component.cloned().ok_or_else(|| {
            Error::config(format!("module {} does not have the {kind} `{name}` of its manifest", file.path.display()))
                .hint("this is a bug in the module; report it to its author")
        })
    }

    fn load(&self, module: &ModuleFile) -> Result<Vec<Arc<Component>>> {
        match module.origin {
            Origin::Native => Component::load(&module.path, self.admitted(module)?, &module.identity),
            Origin::Wasm => self.load_wasm(module),
        }
    }

    /// The file to load. With a lock it is a copy that nobody can change: the
    /// very bytes that were hashed are loaded, whatever becomes of the file.
    fn admitted(&self, module: &ModuleFile) -> Result<File> {
        let file = open(&module.path)?;
        let Some(lock) = &self.lock else { return Ok(file) };
        let mut copy = sealed::copy(&module.path, file)?;
        lock.admit(&module.path, &hash(&module.path, &mut copy)?)?;
        Ok(copy)
    }

    /// The bytes that were hashed are the ones that are loaded.
    fn load_wasm(&self, module: &ModuleFile) -> Result<Vec<Arc<Component>>> {
        let bytes = std::fs::read(&module.path)
            .map_err(|error| Error::from(error).context(format_args!("module {}", module.path.display())))?;
        let sha256 = hexadecimal::write(&Sha256::digest(&bytes));
        if let Some(lock) = &self.lock {
            lock.admit(&module.path, &sha256)?;
        }
        let loader = self.wasm.get(&module.path)?;
        loader.take_in(&module.path, &bytes, &sha256, &module.identity)
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| Error::from(error).context(format_args!("module {}", path.display())))
}

fn hash(path: &Path, file: &mut File) -> Result<String> {
    let failed = |error: std::io::Error| Error::from(error).context(format_args!("module {}", path.display()));
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    file.seek(SeekFrom::Start(0)).map_err(failed)?;
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hexadecimal::write(&hasher.finalize()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::Command;

    use super::*;

    /// A module in C whose table has this fault, in a folder of its own.
    fn module(fault: &str) -> (tempfile::TempDir, PathBuf) {
        let (folder, top) = (tempfile::tempdir().unwrap(), Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        let path = folder.path().join("libx.so");
        let mut compiler = Command::new("cc");
        compiler.args(["-std=c11", "-shared", "-fPIC", &format!("-DFAULT={fault}"), "-I"]).arg(top.join("schemas"));
        let compiled = compiler.arg(top.join("tests/modules/c_faulty/faulty.c")).arg("-o").arg(&path).output();
        let compiled = compiled.expect("there is a C compiler");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        (folder, path)
    }

    fn locked(path: &Path) -> Modules {
        let mut modules = Modules::from_file(path).unwrap();
        let hash = modules.list()[0].sha256().unwrap();
        modules.lock = Some(Lock::parse(&format!("{hash}  libx.so"), Path::new("plugins.lock")).unwrap());
        modules
    }

    /// Changes the file of a locked module after it was hashed, and before it is loaded.
    fn load_changed(change: impl FnOnce(&Path)) -> Result<Vec<Arc<Component>>> {
        let (_folder, path) = module("SOUND");
        let modules = locked(&path);
        let file = &modules.files[0];
        let admitted = modules.admitted(file).unwrap();
        change(&path);
        // Whoever asks now is refused: the change is a real one.
        assert!(modules.admitted(file).unwrap_err().message.contains("has changed since it was locked"));
        Component::load(&file.path, admitted, &file.identity)
    }

    #[test]
    fn what_was_hashed_is_loaded_although_the_file_is_written_over() {
        let (_folder, other) = module("OTHER_ABI_IN_TABLE");
        let loaded = load_changed(|path| {
            let mut file = File::options().write(true).truncate(true).open(path).unwrap();
            file.write_all(&std::fs::read(&other).unwrap()).unwrap();
        });
        assert_eq!(loaded.unwrap()[0].name(), "faulty");
    }

    #[test]
    fn what_was_hashed_is_loaded_although_another_file_takes_its_name() {
        let (_folder, other) = module("OTHER_ABI_IN_TABLE");
        let loaded = load_changed(|path| std::fs::rename(&other, path).unwrap());
        assert_eq!(loaded.unwrap()[0].name(), "faulty");
    }

    #[test]
    fn what_is_wrong_with_a_locked_module_is_told_of_its_path() {
        let (_folder, path) = module("NO_SYMBOL");
        let error = locked(&path).component(ComponentKind::Transform, "faulty").unwrap_err();
        assert_eq!(error.message, format!("module {} does not export `engine_module_v1`", path.display()));

        let modules = locked(&path);
        std::fs::write(&path, "no library any more").unwrap();
        let copy = sealed::copy(&path, File::open(&path).unwrap()).unwrap();
        let error = Component::load(&path, copy, &modules.files[0].identity).unwrap_err();
        assert_eq!(error.message, format!("module {} cannot be loaded: file too short", path.display()));
    }
}
