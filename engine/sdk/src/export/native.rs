//! The tables of `plugin.h`.

use engine_abi::ffi::{self, Host, Instance, Reply, Status, Text};
use engine_abi::message::{self, OpenRequest};
use engine_abi::table;

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
    table::keep_panic_places();
    match table::guarded(|| message::write(&E::describe())) {
        Ok(text) => {
            // SAFETY: the engine waits for the reply of this call.
            unsafe { reply.send(&text) };
            ffi::OK
        }
        Err(error) => {
            // SAFETY: as above.
            unsafe { reply.send(&message::write(&error).unwrap_or_default()) };
            error.kind.status()
        }
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

#[cfg(test)]
mod tests {
    use engine_abi::message::CheckReport;
    use engine_abi::{Batches, Error, Example, Result};

    use super::*;
    use crate::export::kinds::AsTransform;
    use crate::{Component as Author, Transform};

    struct Panics;

    impl Author for Panics {
        type Config = bool;
        const SUMMARY: &'static str = "Panics before it is open";

        fn examples() -> Vec<Example> {
            panic!("no example")
        }

        fn open(_: bool, _: Context) -> Result<Self> {
            Ok(Self)
        }

        fn check(&mut self) -> Result<CheckReport> {
            Ok(CheckReport { summary: String::new() })
        }
    }

    impl Transform for Panics {
        fn apply(&mut self, input: Batches) -> Result<Batches> {
            Ok(input)
        }
    }

    #[test]
    fn a_panic_while_it_is_described_is_an_error_that_says_where() {
        let mut reply = Vec::new();
        // SAFETY: the reply collects into `reply` until the call returns.
        let status = unsafe { describe::<AsTransform<Panics>>(Reply::collect(&mut reply)) };
        let error: Error = serde_json::from_slice(&reply).unwrap();
        assert_eq!(status, error.kind.status());
        assert!(error.message.contains("no example") && error.message.contains("native.rs"), "{error}");
    }
}
