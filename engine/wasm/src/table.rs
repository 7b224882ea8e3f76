//! What the engine sees of this library: the table of `engine_abi::loader`.

use engine_abi::ffi::{self, Component, Host, Instance, Reply, Status, Text};
use engine_abi::loader::{ComponentizeRequest, LoadRequest, Loaded, Loader, OpenInLoader};
use engine_abi::{ComponentKind, Error, Result, table};

use crate::guest::Guest;
use crate::module::Module;

/// The one symbol of a loader.
#[unsafe(no_mangle)]
pub extern "C" fn engine_loader_v1() -> *const Loader {
    static LOADER: Loader = Loader {
        size: size_of::<Loader>() as u32,
        version: Text::new(env!("CARGO_PKG_VERSION")),
        load,
        describe,
        open,
        componentize,
        calls,
    };
    &raw const LOADER
}

/// Runs a call of the table; its error goes to `reply`, and a panic is one.
fn answer<R>(reply: Reply, work: impl FnOnce() -> Result<R>) -> Result<R, Status> {
    table::guarded(work).map_err(|error| {
        if let Ok(text) = serde_json::to_string(&error) {
            // SAFETY: the engine waits for the reply of this call.
            unsafe { reply.send(&text) };
        }
        error.kind.status()
    })
}

unsafe extern "C" fn load(request: Text, bytes: Text, loaded: *mut *const Loaded, error: Reply) -> Status {
    table::keep_panic_places();
    let made = answer(error, || {
        // SAFETY: texts live for the call.
        let (request, bytes) = unsafe { (table::parse::<LoadRequest>(request.bytes())?, bytes.bytes()) };
        Module::load(request, bytes)
    });
    match made {
        Ok(module) => {
            // A module stays for ever: threads may use its instances beyond every use that the engine knows of.
            let module: &'static Module = Box::leak(Box::new(module));
            // SAFETY: the engine gives a place for the module.
            unsafe { *loaded = std::ptr::from_ref(module).cast() };
            ffi::OK
        }
        Err(status) => status,
    }
}

/// # Safety
/// `loaded` must be what `load` gave.
unsafe fn module(loaded: *const Loaded) -> &'static Module {
    // SAFETY: passed on to the caller; it is never freed.
    unsafe { &*loaded.cast::<Module>() }
}

unsafe extern "C" fn describe(loaded: *const Loaded, kind: i32, name: Text, reply: Reply) -> Status {
    // SAFETY: the engine passes what `load` gave, and a text that lives for the call.
    let (module, name) = unsafe { (module(loaded), name.read()) };
    match answer(reply, || module.describe(kind_of(kind)?, &name)) {
        Ok(text) => {
            // SAFETY: the engine waits for the reply of this call.
            unsafe { reply.send(&text) };
            ffi::OK
        }
        Err(status) => status,
    }
}

unsafe extern "C" fn open(
    loaded: *const Loaded,
    kind: i32,
    name: Text,
    host: *const Host,
    request: Text,
    out: *mut *mut Instance,
) -> Status {
    // SAFETY: the engine passes what `load` gave, texts that live for the call, a place for the
    // instance, and a host that is valid until `close`, where the guest is dropped.
    unsafe {
        let (module, name) = (module(loaded), name.read());
        table::open(out, || {
            let OpenInLoader { request, sandbox } = table::parse(request.bytes())?;
            Guest::open(module, kind_of(kind)?, &name, host, &request, &sandbox)
        })
    }
}

unsafe extern "C" fn componentize(request: Text, bytes: Text, reply: Reply) -> Status {
    table::keep_panic_places();
    let made = answer(reply, || {
        // SAFETY: texts live for the call.
        let (request, bytes) = unsafe { (table::parse::<ComponentizeRequest>(request.bytes())?, bytes.bytes()) };
        crate::componentize::componentize(&request, bytes)
    });
    match made {
        Ok(component) => {
            let component = Text { data: component.as_ptr(), length: component.len() };
            // SAFETY: the engine waits for the reply of this call; the bytes live until it returns.
            unsafe { (reply.put)(reply.context, component) };
            ffi::OK
        }
        Err(status) => status,
    }
}

unsafe extern "C" fn calls(kind: i32, push: i32) -> *const Component {
    static SOURCE: Component = table::calls::<Guest>(ComponentKind::Source, false, "");
    static LISTENER: Component = table::calls::<Guest>(ComponentKind::Source, true, "");
    static TRANSFORM: Component = table::calls::<Guest>(ComponentKind::Transform, false, "");
    static FORMAT: Component = table::calls::<Guest>(ComponentKind::Format, false, "");
    static SINK: Component = table::calls::<Guest>(ComponentKind::Sink, false, "");
    match (ComponentKind::from_number(kind), push) {
        (Some(ComponentKind::Source) | None, 0) => &raw const SOURCE,
        (Some(ComponentKind::Source) | None, _) => &raw const LISTENER,
        (Some(ComponentKind::Transform), _) => &raw const TRANSFORM,
        (Some(ComponentKind::Format), _) => &raw const FORMAT,
        // Refused when its module is loaded.
        (Some(ComponentKind::Sink | ComponentKind::State), _) => &raw const SINK,
    }
}

fn kind_of(number: i32) -> Result<ComponentKind> {
    ComponentKind::from_number(number).ok_or_else(|| Error::internal(format!("there is no component kind {number}")))
}
