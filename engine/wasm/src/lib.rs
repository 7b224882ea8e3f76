//! The loader that runs WASM modules: `schemas/plugin.wit` in front of the
//! calls of `plugin.h`.
//!
//! It is a library of its own, which the engine loads with the first `.wasm`:
//! the compiler inside is larger than all of the engine, and most runs need none
//! of it. To the engine an instance of a guest looks like one of a native module.
//!
//! A guest has a memory of its own with a cap, a deadline for each call, and the
//! permissions of its stage. Whatever it does costs its own instance at most.

mod access;
mod bindings;
mod cache;
mod componentize;
mod guest;
mod http;
mod json_rows;
mod module;
mod noise;
mod rows;
mod state;
mod table;
mod waiting;

pub use table::engine_loader_v1;
