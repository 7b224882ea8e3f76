//! A loaded component, as its module's table describes it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_abi::ffi::{self, Module, ModuleFn, Reply};
use engine_abi::message::{OpenRequest, Sandbox};
use engine_abi::{
    ABI_VERSION, ComponentDescription, ComponentKind, Error, ErrorKind, MODULE_SYMBOL, ModuleIdentity, Result,
};
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

use crate::callbacks::Host;
use crate::instance::Instance;
use crate::loader::Held;
use crate::process::IsolatedModule;

/// A component that can be opened. Cheap to share.
pub struct Component {
    table: ffi::Component,
    description: ComponentDescription,
    module: PathBuf,
    carrier: Carrier,
}

/// Who runs a component.
pub(crate) enum Carrier {
    /// The engine's process: `open` of the component's own table.
    Native,
    /// A loader.
    Loader(Held),
    /// A process of its own for each instance.
    Process(Arc<IsolatedModule>),
}

impl Component {
    /// Loads a module and gives its components. It is never unloaded: threads
    /// and thread-local data of a module may outlive every use of it.
    pub(crate) fn load(path: &Path, file: File, identity: &ModuleIdentity) -> Result<Vec<Arc<Self>>> {
        // The open file is loaded, which may be a copy, not whatever has the path by now.
        let by_descriptor = format!("/proc/self/fd/{}", file.as_raw_fd());
        let source = if Path::new(&by_descriptor).exists() { Path::new(&by_descriptor) } else { path };
        // SAFETY: loading runs the module's initialisers; a native module is
        // trusted with the process, which is what the plugin folder says.
        let library = unsafe { Library::open(Some(source), RTLD_NOW | RTLD_LOCAL) }.map_err(|error| {
            // What the loader said; the error itself only says that it failed.
            let text = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            let text = text.replace(&format!("{by_descriptor}: "), "");
            let text = text.replace(&by_descriptor, &path.display().to_string());
            Error::config(format!("module {} cannot be loaded: {text}", path.display()))
                .hint("build it for this machine, with the libraries that it needs installed")
        })?;
        // The loader knows libraries by path: a closed descriptor's path could
        // come again for another module and answer with this one.
        std::mem::forget(file);
        // SAFETY: the symbol has the type that plugin.h gives it.
        let entry = unsafe { library.get::<ModuleFn>(MODULE_SYMBOL.as_bytes()) }.map_err(|_| {
            Error::config(format!("module {} does not export `{MODULE_SYMBOL}`", path.display()))
                .hint("see schemas/plugin.h; with the SDK, `engine_sdk::module!` exports it")
        })?;
        // SAFETY: plugin.h: called once, answers with a static table or NULL.
        let module = unsafe { entry().as_ref() };
        let components = read_table(path, module, identity);
        std::mem::forget(library);
        components
    }

    fn new(table: ffi::Component, path: &Path) -> Result<Self> {
        let wrong = |what: String| wrong_table(path, &what);
        // SAFETY: the table is static.
        let name = unsafe { table.name.read() };
        let kind = ComponentKind::from_number(table.kind)
            .ok_or_else(|| wrong(format!("component `{name}` has the unknown kind {}", table.kind)))?;
        let missing = missing_calls(&table, kind);
        if !missing.is_empty() {
            return Err(wrong(format!("{kind} `{name}` lacks {}", missing.join(", "))));
        }
        let mut text = Vec::new();
        let describe = table.describe.ok_or_else(|| wrong(format!("{kind} `{name}` lacks describe")))?;
        // SAFETY: plugin.h; the reply collects into `text` until the call returns.
        let status = unsafe { describe(Reply::collect(&mut text)) };
        if status != ffi::OK {
            return Err(match serde_json::from_slice::<Error>(&text) {
                Ok(error) => error.context(format_args!("{kind} `{name}` of module {}", path.display())),
                Err(_) => wrong(format!("{kind} `{name}` cannot describe itself (status {status})")),
            });
        }
        let mut description = Self::read_description(&text, kind, &name, path)?;
        description.push = kind == ComponentKind::Source && table.listen.is_some();
        Ok(Self { table, description, module: path.to_owned(), carrier: Carrier::Native })
    }

    /// A component that does not run in the engine's process.
    pub(crate) fn carried(
        carrier: Carrier,
        table: ffi::Component,
        description: ComponentDescription,
        path: &Path,
    ) -> Self {
        Self { table, description, module: path.to_owned(), carrier }
    }

    /// Reads what `describe` answered.
    pub(crate) fn read_description(
        text: &[u8],
        kind: ComponentKind,
        name: &str,
        path: &Path,
    ) -> Result<ComponentDescription> {
        let description: ComponentDescription = serde_json::from_slice(text).map_err(|error| {
            wrong_table(path, &format!("the description of {kind} `{name}` cannot be read: {error}"))
        })?;
        Ok(ComponentDescription { name: name.to_owned(), kind, ..description })
    }

    /// Everything that is known without opening it.
    pub fn description(&self) -> &ComponentDescription {
        &self.description
    }

    /// As written in `use:`.
    pub fn name(&self) -> &str {
        &self.description.name
    }

    /// What it is.
    pub fn kind(&self) -> ComponentKind {
        self.description.kind
    }

    /// The file that it came from.
    pub fn module(&self) -> &Path {
        &self.module
    }

    /// Whether it does not share the engine's process, so that what it may reach and use up can be
    /// restricted: a loader runs it.
    pub fn is_sandboxed(&self) -> bool {
        matches!(self.carrier, Carrier::Loader(_))
    }

    /// Whether each instance has a process of its own.
    pub fn is_isolated(&self) -> bool {
        matches!(self.carrier, Carrier::Process(_))
    }

    pub(crate) fn table(&self) -> &ffi::Component {
        &self.table
    }

    pub(crate) fn carrier(&self) -> &Carrier {
        &self.carrier
    }

    /// Makes an instance; `host` serves it until it is dropped. `sandbox` is what
    /// it may do where it does not share the engine's process.
    pub fn open(self: &Arc<Self>, request: &OpenRequest, sandbox: &Sandbox, host: Arc<dyn Host>) -> Result<Instance> {
        Instance::open(Arc::clone(self), request, sandbox, host)
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Component").field("kind", &self.kind()).field("name", &self.name()).finish_non_exhaustive()
    }
}

fn wrong_table(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("module {} breaks the module interface: {what}", path.display()))
        .hint("this is a bug in the module; report it to its author")
}

/// Checks a module's table against its manifest and copies the components out.
fn read_table(path: &Path, module: Option<&Module>, identity: &ModuleIdentity) -> Result<Vec<Arc<Component>>> {
    let module = module.ok_or_else(|| wrong_table(path, "its table is NULL"))?;
    if (module.size as usize) < size_of::<Module>() {
        return Err(wrong_table(path, &format!("its table has {} bytes", module.size)));
    }
    if module.abi_version != ABI_VERSION {
        return Err(wrong_table(
            path,
            &format!("its table says version {}, its manifest {}", module.abi_version, identity.abi),
        ));
    }
    let mut components = Vec::with_capacity(module.component_count);
    for at in 0..module.component_count {
        // SAFETY: plugin.h: `components` points at `component_count` pointers to static tables.
        let table = unsafe { read_component(*module.components.add(at)) };
        components.push(Arc::new(Component::new(table, path)?));
    }
    let said: Vec<_> = identity.components.iter().map(|component| (component.kind, component.name.as_str())).collect();
    let found: Vec<_> = components.iter().map(|component| (component.kind(), component.name())).collect();
    if said.len() != found.len() || !said.iter().all(|component| found.contains(component)) {
        return Err(wrong_table(path, &format!("its manifest lists {said:?}, its table {found:?}")));
    }
    Ok(components)
}

/// Copies a component's table; members beyond the size that its maker knew are absent.
///
/// # Safety
/// `table` must point at a component whose first member tells its readable size.
unsafe fn read_component(table: *const ffi::Component) -> ffi::Component {
    let mut copy = std::mem::MaybeUninit::<ffi::Component>::zeroed();
    // SAFETY: the caller; all-zero is valid for every member (no function, null text).
    unsafe {
        let size = ((*table).size as usize).min(size_of::<ffi::Component>());
        std::ptr::copy_nonoverlapping(table.cast::<u8>(), copy.as_mut_ptr().cast::<u8>(), size);
        copy.assume_init()
    }
}

fn missing_calls(table: &ffi::Component, kind: ComponentKind) -> Vec<&'static str> {
    let mut calls = vec![
        ("open", table.open.is_some()),
        ("check", table.check.is_some()),
        ("last_error", table.last_error.is_some()),
        ("close", table.close.is_some()),
    ];
    match kind {
        ComponentKind::Source if table.listen.is_some() => {}
        ComponentKind::Source => calls.extend([("plan", table.plan.is_some()), ("read", table.read.is_some())]),
        ComponentKind::Transform | ComponentKind::Format => calls.push(("apply", table.apply.is_some())),
        ComponentKind::Sink => calls.extend([
            ("begin_run", table.begin_run.is_some()),
            ("begin_split", table.begin_split.is_some()),
            ("write", table.write.is_some()),
            ("commit", table.commit.is_some()),
            ("abort", table.abort.is_some()),
            ("finish_run", table.finish_run.is_some()),
        ]),
        ComponentKind::State => calls.extend([
            ("acquire", table.acquire.is_some()),
            ("load", table.load.is_some()),
            ("store", table.store.is_some()),
            ("release", table.release.is_some()),
        ]),
    }
    calls.into_iter().filter(|(_, there)| !there).map(|(name, _)| name).collect()
}
