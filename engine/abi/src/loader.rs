//! How the engine speaks to a library that runs modules of another form: the
//! WASM host. It is not a border for others: the engine and its loaders are built
//! together. The loader stays out of the engine's program because most runs need
//! none, and what it needs is large.
//!
//! An instance that a loader opens is called like that of a native module.

use serde::{Deserialize, Serialize};

use crate::ModuleIdentity;
use crate::ffi::{Component, Host, Instance, Reply, Status, Text};
use crate::message::{OpenRequest, Sandbox};

/// The one symbol that a loader exports: a [`LoaderFn`].
pub const LOADER_SYMBOL: &str = "engine_loader_v1";

/// The library of the loader for WASM modules, beside the engine's program.
pub const WASM_LOADER: &str = "libengine_wasm.so";

/// A module that a loader holds. What it points to is the loader's own business.
#[repr(C)]
pub struct Loaded {
    _opaque: [u8; 0],
}

/// What a loader can do. Errors are answered as JSON, like `last_error`.
#[repr(C)]
pub struct Loader {
    /// Of this struct.
    pub size: u32,
    /// The engine's version that it was built with.
    pub version: Text,
    /// Takes in a module's bytes, which stay readable for the call. `request` is a [`LoadRequest`].
    pub load: unsafe extern "C" fn(request: Text, bytes: Text, loaded: *mut *const Loaded, error: Reply) -> Status,
    /// `describe` of one component.
    pub describe: unsafe extern "C" fn(loaded: *const Loaded, kind: i32, name: Text, answer: Reply) -> Status,
    /// `open` of one component; `request` is an [`OpenInLoader`].
    pub open: unsafe extern "C" fn(
        loaded: *const Loaded,
        kind: i32,
        name: Text,
        host: *const Host,
        request: Text,
        instance: *mut *mut Instance,
    ) -> Status,
    /// Makes a component of what a compiler gave; `request` is a [`ComponentizeRequest`]. Answers
    /// with its bytes, or with the error.
    pub componentize: unsafe extern "C" fn(request: Text, bytes: Text, answer: Reply) -> Status,
    /// The calls of an instance that `open` made.
    pub calls: unsafe extern "C" fn(kind: i32, push: i32) -> *const Component,
}

// SAFETY: a loader's table is static and never written.
unsafe impl Sync for Loader {}

/// `engine_loader_v1`
pub type LoaderFn = unsafe extern "C" fn() -> *const Loader;

/// What `load` needs to know beside the bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct LoadRequest {
    /// For messages.
    pub path: String,
    /// The hash of the bytes.
    pub sha256: String,
    /// What its manifest says.
    pub identity: ModuleIdentity,
    /// The folder for what was compiled; empty: nothing is kept.
    pub cache: String,
}

/// What `open` of a loader gets.
#[derive(Debug, Serialize, Deserialize)]
pub struct OpenInLoader {
    /// As for a native module.
    pub request: OpenRequest,
    /// What it may do.
    pub sandbox: Sandbox,
}

/// What `componentize` needs to know beside the bytes.
#[derive(Debug, Serialize, Deserialize)]
pub struct ComponentizeRequest {
    /// For messages.
    pub path: String,
    /// The world of `schemas/plugin.wit` that a core module was written for, unless it says so itself.
    pub world: Option<String>,
    /// The manifest to put in, unless it is there already.
    pub manifest: Option<String>,
}
