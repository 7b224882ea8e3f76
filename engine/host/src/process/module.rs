//! A module that the engine knows without ever having loaded it.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use engine_abi::message::{Limits, OpenRequest, Sandbox};
use engine_abi::{ComponentDescription, ComponentKind, ModuleIdentity, Result, table};

use super::calls::Isolated;
use super::link::Link;
use super::wire::{Call, LoadModule, OpenComponent, read_json};
use super::words::Who;
use crate::callbacks::Host;
use crate::component::{Carrier, Component};

/// The engine's own program, whatever its name and whoever has replaced it meanwhile.
pub(crate) const OWN_PROGRAM: &str = "/proc/self/exe";

/// How long a module may take to be loaded and to describe itself.
const DESCRIBE: Duration = Duration::from_secs(10);

/// What it takes to start a process for a module.
pub(crate) struct IsolatedModule {
    pub(crate) path: PathBuf,
    /// What was found, and verified where there is a lock: no process gets anything else.
    pub(crate) file: File,
    pub(crate) identity: ModuleIdentity,
    /// What is started as `engine plugin-host`.
    pub(crate) program: PathBuf,
}

impl IsolatedModule {
    /// Its components, as a process that runs only for this describes them.
    pub(crate) fn components(self: Arc<Self>) -> Result<Vec<Arc<Component>>> {
        let limits = Limits { deadline_ms: DESCRIBE.as_millis() as u64, ..Limits::default() };
        let sandbox = Sandbox { limits, ..Sandbox::default() };
        let mut link = Link::start(&self.program, &self.file, Who::module(&self.path), &sandbox, None)?;
        let descriptions: Vec<ComponentDescription> = self.load(&mut link, &sandbox)?;
        let component = |description: ComponentDescription| {
            let calls = table::calls::<Isolated>(description.kind, description.push, "");
            Arc::new(Component::carried(Carrier::Process(Arc::clone(&self)), calls, description, &self.path))
        };
        Ok(descriptions.into_iter().map(component).collect())
    }

    /// Starts a process for an instance of one component.
    pub(crate) fn open(
        &self,
        (kind, name): (ComponentKind, &str),
        (request, sandbox): (&OpenRequest, &Sandbox),
        host: Arc<dyn Host>,
    ) -> Result<Isolated> {
        let who = Who::component(kind, name, &self.path);
        let mut link = Link::start(&self.program, &self.file, who, sandbox, Some(host))?;
        self.load(&mut link, sandbox)?;
        link.call(&Call::Open(OpenComponent { kind, name: name.to_owned(), request: request.clone() }))?;
        Ok(Isolated::new(link))
    }

    fn load(&self, link: &mut Link, sandbox: &Sandbox) -> Result<Vec<ComponentDescription>> {
        let load = LoadModule {
            path: self.path.display().to_string(),
            identity: self.identity.clone(),
            memory_bytes: sandbox.limits.memory_bytes,
        };
        read_json(&link.call(&Call::Load(load))?.payload)
    }
}
