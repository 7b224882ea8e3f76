//! What the author of a module needs: a new folder that builds, and the build.
//!
//! A module is written in Rust (against the SDK), or in C, Python or JavaScript
//! (against a kit of one or two files that the new folder brings along). Rust
//! becomes a native library or a WASM component from the same source; the other
//! languages become WASM components.

mod build;
mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

    /// The manifest of the SDK's own workspace.
    pub static WORKSPACE: &str = include_str!(concat!(env!("OUT_DIR"), "/workspace.toml"));

    /// The versions that the engine was built with. Cargo leaves out what is not needed.
    pub static LOCK: &str = include_str!(concat!(env!("OUT_DIR"), "/Cargo.lock"));
}
mod new;
mod tools;

pub use build::{Build, Built, Target, build};
pub use new::{KINDS, Language, New, create};
pub use tools::RustForWasm;

use std::path::Path;

use engine_abi::{Error, Result};

/// Where a built module is put: the folder that the engine searches for
/// pipelines beside it.
pub const MODULES: &str = ".engine/plugins";

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Error + '_ {
    move |error| Error::from(error).context(path.display())
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
    }
    std::fs::write(path, text).map_err(at(path))
}
