//! Where modules are found, and the rule that a name belongs to one file.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use engine_abi::loader::{ComponentizeRequest, WASM_LOADER};
use engine_abi::{ComponentKind, Error, MANIFEST_SECTION, ModuleIdentity, Result};
use sha2::{Digest, Sha256};

use crate::component::Component;
use crate::loader::LazyLoader;
use crate::process::{IsolatedModule, OWN_PROGRAM};
use crate::{Lock, manifest, wasm_sections};

/// How the files of the modules that are built with the engine begin.
const BUNDLED_PREFIX: &str = "libengine_plugin_";

/// A file that is a module.
#[derive(Debug)]
pub struct ModuleFile {
    path: PathBuf,
    identity: ModuleIdentity,
    sha256: OnceLock<String>,
}

impl ModuleFile {
    /// Opens a file; `None` if it could be a module, but is none.
    fn open(path: &Path) -> Result<Option<Self>> {
        let identity = manifest::read(path, &mut open(path)?)?;
        Ok(identity.map(|identity| Self { path: path.to_owned(), identity, sha256: OnceLock::new() }))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
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
    wasm: LazyLoader,
    cache: Option<PathBuf>,
    loaded: Mutex<BTreeMap<PathBuf, Vec<Arc<Component>>>>,
    /// As `loaded`, for modules that the engine's process never loads.
    isolated: Mutex<BTreeMap<PathBuf, Vec<Arc<Component>>>>,
    isolates_all: bool,
    host_program: PathBuf,
}

impl Modules {
    /// Looks through `folders`. Folders that do not exist are passed over;
    /// files that look like modules but cannot be used become [`problems`](Self::problems).
    pub fn discover(folders: &[PathBuf], lock: Option<Lock>) -> Self {
        let mut found = Self {
            folders: Vec::new(),
            files: Vec::new(),
            problems: Vec::new(),
            lock,
            wasm: LazyLoader::default(),
            cache: None,
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

    /// Says where the library is that runs WASM modules, and where it may keep
    /// what it compiled.
    #[must_use]
    pub fn with_wasm(mut self, folder: &Path, cache: Option<PathBuf>) -> Self {
        self.wasm.path = Some(folder.join(WASM_LOADER));
        self.cache = cache;
        self
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
        self.component_of(&self.isolated, kind, name, |module| {
            let mut file = open(&module.path)?;
            if wasm_sections::is_wasm(&mut file) {
                return self.load(module);
            }
            self.admit(module, &mut file)?;
            let (path, identity) = (module.path.clone(), module.identity.clone());
            let isolated = IsolatedModule { path, file, identity, program: self.host_program.clone() };
            Arc::new(isolated).components()
        })
    }

    fn component_of(
        &self,
        known: &Mutex<BTreeMap<PathBuf, Vec<Arc<Component>>>>,
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
        let mut file = open(&module.path)?;
        if wasm_sections::is_wasm(&mut file) {
            return self.load_wasm(module, &mut file);
        }
        self.admit(module, &mut file)?;
        Component::load(&module.path, file, &module.identity)
    }

    /// Refuses a file that the lock does not hold. Hashed from the same open file
    /// that is then loaded, so that nobody can change it in between.
    fn admit(&self, module: &ModuleFile, file: &mut File) -> Result<()> {
        let Some(lock) = &self.lock else { return Ok(()) };
        lock.admit(&module.path, &hash(&module.path, file)?)
    }

    /// The bytes that were hashed are the ones that are loaded.
    fn load_wasm(&self, module: &ModuleFile, file: &mut File) -> Result<Vec<Arc<Component>>> {
        let failed =
            |error: std::io::Error| Error::from(error).context(format_args!("module {}", module.path.display()));
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).map_err(failed)?;
        let sha256 = hexadecimal(&Sha256::digest(&bytes));
        if let Some(lock) = &self.lock {
            lock.admit(&module.path, &sha256)?;
        }
        let loader = self.wasm.get(&module.path)?;
        loader.take_in(&module.path, &bytes, &sha256, &module.identity, self.cache.as_deref())
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
    Ok(hexadecimal(&hasher.finalize()))
}

fn hexadecimal(hash: &[u8]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
