//! Modules that the engine does not run itself: a loader, a library beside the
//! engine's program, runs them and lends the calls of their instances.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use engine_abi::ffi::{self, Host, Instance, Reply, Status, Text};
use engine_abi::loader::{
    ComponentizeRequest, LOADER_SYMBOL, LoadRequest, Loaded, Loader, LoaderFn, OpenInLoader, WASM_LOADER,
};
use engine_abi::message::{self, OpenRequest, Sandbox};
use engine_abi::{ComponentIdentity, ComponentKind, Error, ErrorKind, ModuleIdentity, Result};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::component::{Carrier, Component};

/// A loader's table; the library is never unloaded.
#[derive(Clone, Copy)]
pub(crate) struct LoaderTable(&'static Loader);

/// The loader for WASM modules, once it was needed.
#[derive(Debug, Default)]
pub(crate) struct WasmLoader(OnceLock<LoaderTable>);

impl std::fmt::Debug for LoaderTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LoaderTable")
    }
}

impl WasmLoader {
    /// The loader; loads its library on first use. `module` is what it is needed for.
    pub(crate) fn get(&self, module: &Path) -> Result<LoaderTable> {
        if let Some(loader) = self.0.get() {
            return Ok(*loader);
        }
        let places = places();
        let Some(path) = places.iter().find(|path| path.is_file()) else {
            let first = places.first().map_or_else(String::new, |path| format!(" as {}", path.display()));
            return Err(Error::config(format!(
                "{} needs the engine's library for WASM modules, which is not there",
                module.display()
            ))
            .hint(format!(
                "install `{WASM_LOADER}` with the engine{first}, or build it with `cargo build -p engine-wasm`"
            )));
        };
        let loader = LoaderTable::load(path)?;
        Ok(*self.0.get_or_init(|| loader))
    }
}

/// Where the loader's library may lie, as part of an installed or a built engine.
fn places() -> Vec<PathBuf> {
    let program = std::env::current_exe().ok().and_then(|path| path.canonicalize().ok());
    let Some(folder) = program.as_deref().and_then(Path::parent) else { return Vec::new() };
    let mut folders = vec![folder.to_owned(), folder.join("../lib/engine")];
    if folder.ends_with("deps") {
        // A program of cargo's tests, one below the libraries.
        folders.extend(folder.parent().map(Path::to_owned));
    }
    folders.into_iter().map(|folder| folder.join(WASM_LOADER)).collect()
}

/// Where compiled modules are kept; none without a home.
pub(crate) fn cache() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let engine = set("ENGINE_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("engine")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/engine")));
    engine.map(|folder| folder.join("wasm"))
}

impl LoaderTable {
    fn load(path: &Path) -> Result<Self> {
        let broken = |what: String| {
            Error::config(format!("{} cannot be used: {what}", path.display()))
                .hint("it must come from the same build as the engine's program")
        };
        // SAFETY: the library is a part of the engine and lies beside its program.
        let library =
            unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| broken(error.to_string()))?;
        // SAFETY: the symbol has the type that `engine_abi::loader` gives it.
        let entry =
            unsafe { library.get::<LoaderFn>(LOADER_SYMBOL.as_bytes()) }.map_err(|error| broken(error.to_string()))?;
        // SAFETY: answers with a static table or NULL.
        let loader = unsafe { entry().as_ref() }.ok_or_else(|| broken("its table is NULL".into()))?;
        // SAFETY: the table is static.
        let version = unsafe { loader.version.read() };
        if loader.size as usize != size_of::<Loader>() || version != env!("CARGO_PKG_VERSION") {
            return Err(broken(format!("it is of version {version}, the engine of {}", env!("CARGO_PKG_VERSION"))));
        }
        std::mem::forget(library);
        Ok(Self(loader))
    }

    /// Takes in a module and gives its components.
    pub(crate) fn take_in(
        self,
        path: &Path,
        bytes: &[u8],
        sha256: &str,
        identity: &ModuleIdentity,
    ) -> Result<Vec<Arc<Component>>> {
        let request = LoadRequest {
            path: path.display().to_string(),
            sha256: sha256.into(),
            identity: identity.clone(),
            cache: cache().map(|path| path.display().to_string()).unwrap_or_default(),
        };
        let request = message::write(&request)?;
        let (mut loaded, mut error) = (std::ptr::null(), Vec::new());
        let bytes = Text { data: bytes.as_ptr(), length: bytes.len() };
        // SAFETY: texts and places live until the call returns.
        let status = unsafe { (self.0.load)(Text::new(&request), bytes, &raw mut loaded, Reply::collect(&mut error)) };
        if status != ffi::OK {
            return Err(read_error(status, &error, path));
        }
        let held = Held { loader: self, loaded };
        identity.components.iter().map(|component| held.component(component, path).map(Arc::new)).collect()
    }
}

impl LoaderTable {
    /// Makes a component of what a compiler gave.
    pub(crate) fn componentize(self, request: &ComponentizeRequest, bytes: &[u8]) -> Result<Vec<u8>> {
        let path = Path::new(&request.path);
        let text = message::write(request)?;
        let bytes = Text { data: bytes.as_ptr(), length: bytes.len() };
        let mut answer = Vec::new();
        // SAFETY: the texts live and the reply collects into `answer` until the call returns.
        let status = unsafe { (self.0.componentize)(Text::new(&text), bytes, Reply::collect(&mut answer)) };
        if status == ffi::OK { Ok(answer) } else { Err(read_error(status, &answer, path)) }
    }
}

fn read_error(status: Status, text: &[u8], path: &Path) -> Error {
    let kind = ErrorKind::from_status(status);
    match serde_json::from_slice::<Error>(text) {
        Ok(error) => Error { kind, ..error },
        Err(_) => Error::new(kind, format!("module {} failed without saying why", path.display())),
    }
}

/// A module inside a loader. It stays there: instances may outlive every use.
#[derive(Clone, Copy)]
pub(crate) struct Held {
    loader: LoaderTable,
    loaded: *const Loaded,
}

// SAFETY: a loader's functions may be called from any thread, and what it has
// taken in stays for ever.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    fn component(self, identity: &ComponentIdentity, path: &Path) -> Result<Component> {
        let (kind, name) = (identity.kind, &identity.name);
        let mut text = Vec::new();
        // SAFETY: what `load` gave; the reply collects into `text` until the call returns.
        let status =
            unsafe { (self.loader.0.describe)(self.loaded, kind.number(), Text::new(name), Reply::collect(&mut text)) };
        if status != ffi::OK {
            return Err(read_error(status, &text, path));
        }
        let description = Component::read_description(&text, kind, name, path)?;
        // SAFETY: answers with a static table for every kind.
        let table = unsafe { *(self.loader.0.calls)(kind.number(), i32::from(description.push)) };
        Ok(Component::carried(Carrier::Loader(self), table, description, path))
    }

    /// Opens a component of the module.
    ///
    /// # Safety
    /// As `open` of `plugin.h`.
    pub(crate) unsafe fn open(
        self,
        (kind, name): (ComponentKind, &str),
        host: *const Host,
        (request, sandbox): (&OpenRequest, &Sandbox),
        instance: *mut *mut Instance,
    ) -> Result<Status> {
        let request = message::write(&OpenInLoader { request: request.clone(), sandbox: sandbox.clone() })?;
        // SAFETY: passed on to the caller; the texts live until the call returns.
        Ok(unsafe {
            (self.loader.0.open)(self.loaded, kind.number(), Text::new(name), host, Text::new(&request), instance)
        })
    }
}
