//! Turns components into what a module exports. Nothing here is for authors;
//! `module!` names what it needs.

#[cfg(not(target_family = "wasm"))]
mod native;
#[cfg(target_family = "wasm")]
mod wasm;

mod kinds;

pub use kinds::{Exported, decoder, encoder, format, push_source, sink, source, state, transform};
#[cfg(not(target_family = "wasm"))]
pub use native::{Component, Module, component, module};
#[cfg(target_family = "wasm")]
pub use wasm::{Component, Listed, Serve, bindings, component};

/// Ends the compilation at a name that the engine would refuse.
pub const fn require_names(names: &[&str]) {
    let mut at = 0;
    while at < names.len() {
        assert!(
            engine_abi::is_component_name(names[at]),
            "a component's name is small letters, digits and `_`, and begins with a letter"
        );
        at += 1;
    }
}

/// A text as an array, for a section of the file.
pub const fn bytes<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    let mut bytes = [0; LENGTH];
    let mut at = 0;
    while at < LENGTH {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    bytes
}
