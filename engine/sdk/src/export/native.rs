//! The tables of `plugin.h`.

use engine_abi::ffi::{self, Host, Instance, Reply, Status, Text};
use engine_abi::message::OpenRequest;
use engine_abi::{ErrorKind, table};

pub use engine_abi::ffi::{Component, Module};

use super::Exported;
use crate::Context;

/// The module's static table.
pub const fn module(name: &'static str, version: &'static str, components: &'static [&'static Component]) -> Module {
    Module {
        size: size_of::<Module>() as u32,
        abi_version: engine_abi::ABI_VERSION,
        name: Text::new(name),
        version: Text::new(version),
        component_count: components.len(),
        components: components.as_ptr().cast(),
    }
}

/// A component's table.
pub const fn component<E: Exported>(name: &'static str) -> Component {
    Component { describe: Some(describe::<E>), open: Some(open::<E>), ..table::calls::<E>(E::KIND, E::PUSH, name) }
}

unsafe extern "C" fn describe<E: Exported>(reply: Reply) -> Status {
    match serde_json::to_string(&E::describe()) {
        Ok(text) => {
            // SAFETY: the engine waits for the reply of this call.
            unsafe { reply.send(&text) };
            ffi::OK
        }
        Err(_) => ErrorKind::Internal.status(),
    }
}

unsafe extern "C" fn open<E: Exported>(host: *const Host, request: Text, out: *mut *mut Instance) -> Status {
    table::keep_panic_places();
    // SAFETY: the engine gives a place for the instance; the text lives for the call, and the
    // host table is valid until `close`, where the component is dropped.
    unsafe {
        table::open(out, || {
            let request: OpenRequest = table::parse(request.bytes())?;
            E::open(&request, Context::new(host, &request))
        })
    }
}
