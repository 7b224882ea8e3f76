//! A module that was taken in: compiled, linked as far as possible, and ready to
//! be instantiated.

use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use engine_abi::loader::LoadRequest;
use engine_abi::message::{Limits, Sandbox};
use engine_abi::{ComponentKind, Error, Result, RowForm};
use wasmtime::component::{HasSelf, InstancePre, Linker};
use wasmtime::{Config, Engine};
use wasmtime_wasi::p2::bindings::sync::io::{poll, streams};

use crate::bindings::{exported, host, input, spool};
use crate::cache;
use crate::guest::{Running, kind_word};
use crate::state::State;
use crate::waiting::HasWaiting;

/// How often a guest looks whether its time is over.
pub const TICK: Duration = Duration::from_millis(20);

/// The stack of a guest, a part of the thread's own. Threads of the engine have 2 MiB.
const STACK_BYTES: usize = 1 << 20;

/// Describing itself is no work: it takes the default limits.
const DESCRIBE: Limits = Limits { memory_bytes: 256 << 20, deadline_ms: 30_000 };

/// The exports that a module has.
pub struct Exports {
    pub component: exported::component::GuestIndices,
    pub source: Option<exported::source::GuestIndices>,
    pub listener: Option<exported::listener::GuestIndices>,
    pub transform: Option<exported::transform::GuestIndices>,
    pub format: Option<exported::format::GuestIndices>,
    pub sink: Option<exported::sink::GuestIndices>,
    pub writer: Option<exported::writer::GuestIndices>,
    pub streams: Option<exported::streams::GuestIndices>,
}

/// A module, and what its instances have in common.
pub struct Module {
    /// For messages.
    pub path: String,
    /// How its rows cross the border.
    pub rows: RowForm,
    /// What it exports.
    pub exports: Exports,
    /// Linked against the engine's side.
    pub linked: InstancePre<State>,
}

impl Module {
    /// Compiles a module, or takes what was compiled before.
    pub fn load(request: LoadRequest, bytes: &[u8]) -> Result<Self> {
        let folder = Some(request.cache.as_str()).filter(|folder| !folder.is_empty()).map(Path::new);
        let component = cache::compiled(engine()?, &request, bytes, folder)?;
        let linked = linker()?.instantiate_pre(&component).map_err(|error| foreign_import(&request.path, &error))?;
        let exports = Exports {
            component: exported::component::GuestIndices::new(&linked).map_err(|_| {
                Error::config(format!("module {} does not export `engine:plugin/component@1.0.0`", request.path))
                    .hint("it must be built against schemas/plugin.wit; `engine plugins new` begins one")
            })?,
            source: exported::source::GuestIndices::new(&linked).ok(),
            listener: exported::listener::GuestIndices::new(&linked).ok(),
            transform: exported::transform::GuestIndices::new(&linked).ok(),
            format: exported::format::GuestIndices::new(&linked).ok(),
            sink: exported::sink::GuestIndices::new(&linked).ok(),
            writer: exported::writer::GuestIndices::new(&linked).ok(),
            streams: exported::streams::GuestIndices::new(&linked).ok(),
        };
        let module = Self { path: request.path, rows: request.identity.rows, exports, linked };
        for component in &request.identity.components {
            module.require(component.kind, &component.name)?;
        }
        Ok(module)
    }

    /// Refuses a component of the manifest whose interface is not exported.
    fn require(&self, kind: ComponentKind, name: &str) -> Result<()> {
        let it = &self.exports;
        let (there, missing) = match kind {
            ComponentKind::State => return Err(native_only(&self.path, name)),
            ComponentKind::Source => (it.source.is_some() || it.listener.is_some(), "source"),
            ComponentKind::Transform => (it.transform.is_some() || it.streams.is_some(), "transform"),
            ComponentKind::Format => (it.format.is_some() || it.streams.is_some(), "format"),
            ComponentKind::Sink => (it.sink.is_some() && (it.writer.is_some() || it.streams.is_some()), "sink"),
        };
        if there {
            return Ok(());
        }
        let message = format!("module {} has the {kind} `{name}` in its manifest, but not its interface", self.path);
        Err(Error::config(message)
            .hint(format!("export `engine:plugin/{missing}@1.0.0` of schemas/plugin.wit; this is a bug in the module")))
    }

    /// What `describe` answers, from an instance that is gone afterwards.
    pub fn describe(&self, kind: ComponentKind, name: &str) -> Result<String> {
        let sandbox = Sandbox { limits: DESCRIBE, ..Sandbox::default() };
        let mut running = Running::start(self, (kind, name), std::ptr::null(), &sandbox)?;
        running.call("describe", |store, exports| exports.component.call_describe(store, kind_word(kind), name))
    }
}

/// What the engine remembers is trusted like the engine.
fn native_only(path: &str, name: &str) -> Error {
    Error::config(format!("module {path} has the state `{name}`, and states are native modules"))
        .hint("build it as a library of this machine: `engine plugins build --target native`")
}

fn foreign_import(path: &str, error: &wasmtime::Error) -> Error {
    Error::config(format!("module {path} cannot be linked: {error:#}"))
        .hint("a module may import what schemas/plugin.wit and WASI 0.2 have, and nothing else")
}

/// The one engine of the process; a thread of its own counts its epochs.
pub fn engine() -> Result<&'static Engine> {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    if let Some(engine) = ENGINE.get() {
        return Ok(engine);
    }
    let mut config = Config::new();
    config.epoch_interruption(true).max_wasm_stack(STACK_BYTES).wasm_component_model(true);
    let made = Engine::new(&config)
        .map_err(|error| Error::internal(format!("the WASM runtime cannot be started: {error:#}")))?;
    let mut ours = false;
    let engine = ENGINE.get_or_init(|| {
        ours = true;
        made
    });
    if ours {
        // It lives as long as the process, which a static engine does as well.
        std::thread::Builder::new()
            .name("wasm-clock".into())
            .spawn(|| {
                loop {
                    std::thread::sleep(TICK);
                    engine.increment_epoch();
                }
            })
            .map_err(|error| Error::from(error).context("the clock of the WASM runtime cannot be started"))?;
    }
    Ok(engine)
}

/// The engine's side of every module.
fn linker() -> Result<Linker<State>> {
    let broken = |error: wasmtime::Error| Error::internal(format!("the WASM runtime cannot be linked: {error:#}"));
    let mut linker = Linker::new(engine()?);
    wasmtime_wasi::p2::add_to_linker_sync(&mut linker).map_err(broken)?;
    linker.allow_shadowing(true);
    poll::add_to_linker::<_, HasWaiting>(&mut linker, State::waiting).map_err(broken)?;
    streams::add_to_linker::<_, HasWaiting>(&mut linker, State::waiting).map_err(broken)?;
    linker.allow_shadowing(false);
    wasmtime_wasi_http::p2::add_only_http_to_linker_sync(&mut linker).map_err(broken)?;
    host::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).map_err(broken)?;
    input::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).map_err(broken)?;
    spool::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state).map_err(broken)?;
    Ok(linker)
}
