//! Finds, verifies, loads and guards modules.
//!
//! [`Modules`] searches folders and reads who a module is without running it.
//! [`Component`] is a loaded component, [`Instance`] an open one; neither tells
//! how it was loaded. [`Host`] is what the engine offers an instance.
//!
//! A module whose component was asked for by [`Modules::component_isolated`] runs
//! in processes of its own.
//!
//! The crate trusts a module with the process (a native module shares its
//! memory) but not with the truth: tables, messages and batches are checked
//! where they come in.

mod bounded;
mod callbacks;
mod component;
mod discover;
mod instance;
mod loader;
mod lock;
mod manifest;
mod process;
mod sealed;
mod wasm_sections;

pub use callbacks::{Arrival, ArrivalState, Host, Level, Payload, Rejection};
pub use component::Component;
pub use discover::{BUNDLED_PREFIX, ModuleFile, Modules, Origin};
pub use instance::{Direction, Instance};
pub use lock::{Compared, Lock, Standing};
pub use process::serve_module;
