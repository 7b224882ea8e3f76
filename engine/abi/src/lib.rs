//! The border between the engine and its modules, in Rust.
//!
//! [`ffi`] mirrors `schemas/plugin.h` struct by struct; that header is the
//! specification. [`error`] holds the closed set of error kinds, [`describe`]
//! and [`message`] the JSON messages that cross the border. Both towers of the
//! engine (host and SDK) stand on this crate and on nothing else in common.

pub mod cut;
pub mod describe;
pub mod error;
pub mod ffi;
pub mod hexadecimal;
#[cfg(feature = "ipc")]
pub mod ipc;
pub mod loader;
pub mod message;
pub mod reach;
pub mod stream;
pub mod table;
mod wit;

pub use cut::{ByteRange, Cut, Cuts, Cuttable};
pub use describe::{
    ComponentDescription, ComponentIdentity, ComponentKind, Example, ModuleIdentity, Promise, RowForm, Scope, Shape,
    Takes, Unit, is_component_name,
};
pub use error::{Error, ErrorKind, Result};

/// The version of `schemas/plugin.h` that this crate mirrors.
pub const ABI_VERSION: u32 = 1;

/// The one symbol that a native module exports.
pub const MODULE_SYMBOL: &str = "engine_module_v1";

/// The section of a module's file that says who it is, as JSON.
pub const MANIFEST_SECTION: &str = "engine_manifest";

pub use stream::Batches;
