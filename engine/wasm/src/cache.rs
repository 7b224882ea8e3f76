//! Machine code that was compiled before. Compiling a guest that brings a Python
//! along takes a quarter of a minute; loading the result takes none.
//!
//! What lies in the cache is run as it is, so the folder belongs to the user and
//! is closed to others; a folder that others may write to is not used.

use std::fs::{self, DirBuilder};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use engine_abi::loader::LoadRequest;
use engine_abi::{Error, Result};
use wasmtime::Engine;
use wasmtime::component::Component;

/// The module, compiled. Where nothing can be kept, it is compiled each time.
pub fn compiled(engine: &Engine, request: &LoadRequest, bytes: &[u8], folder: Option<&Path>) -> Result<Component> {
    let place = folder.filter(|folder| own(folder)).map(|folder| entry(engine, folder, &request.sha256));
    if let Some(place) = place.as_deref().filter(|place| place.exists()) {
        // SAFETY: the file was written by `keep` of this same engine version and settings, which its name
        // tells, into a folder that nobody else may write to.
        if let Ok(component) = unsafe { Component::deserialize_file(engine, place) } {
            // Says when it was loaded last.
            let _ = fs::File::open(place).and_then(|file| file.set_modified(SystemTime::now()));
            return Ok(component);
        }
    }
    let compiled = engine.precompile_component(bytes).map_err(|error| {
        Error::config(format!("module {} cannot be compiled: {error:#}", request.path))
            .hint("it must be a WASM component; `engine plugins build` makes one")
    })?;
    if let Some(place) = place {
        // A full disk costs the next start some seconds, and nothing else.
        let _ = keep(&place, &compiled);
    }
    // SAFETY: made by this engine just now.
    unsafe { Component::deserialize(engine, compiled) }.map_err(|error| {
        Error::internal(format!("module {} was compiled, but cannot be loaded: {error:#}", request.path))
    })
}

/// Makes the folder, and says whether it belongs to this user alone.
fn own(folder: &Path) -> bool {
    let _ = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    // A link may be turned elsewhere by whoever owns the folder that it lies in.
    let Ok(found) = fs::symlink_metadata(folder) else { return false };
    found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o022 == 0
}

/// Where a module's code lies: its name tells the module, the compiler and its settings.
fn entry(engine: &Engine, folder: &Path, sha256: &str) -> PathBuf {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    let settings = BuildHasherDefault::<DefaultHasher>::default().hash_one(engine.precompile_compatibility_hash());
    folder.join(format!("{sha256}-{settings:016x}.cwasm"))
}

/// How long code is kept that nobody loads.
const KEPT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// Removes what has not been loaded for long: each new version of a module leaves its old one behind.
fn forget(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let unused = entry.metadata().and_then(|found| found.modified()).ok().and_then(|then| then.elapsed().ok());
        if unused.is_some_and(|unused| unused > KEPT) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Writes beside and renames, so that no half file is ever loaded.
fn keep(place: &Path, compiled: &[u8]) -> std::io::Result<()> {
    let folder = place.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(compiled)?;
    // What is run as it is must not have holes after a power cut.
    file.as_file().sync_all()?;
    file.persist(place)?;
    forget(folder);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_has_loaded_for_long_goes_when_something_new_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let [old, recent, new] = ["old", "recent", "new"].map(|name| folder.path().join(format!("{name}.cwasm")));
        for (file, age) in [(&old, KEPT + Duration::from_secs(60)), (&recent, KEPT / 2)] {
            fs::write(file, "code").unwrap();
            fs::File::open(file).unwrap().set_modified(SystemTime::now() - age).unwrap();
        }
        keep(&new, b"more").unwrap();
        assert!(!old.exists() && recent.exists());
        assert_eq!(fs::read(&new).unwrap(), b"more");
    }

    #[test]
    fn a_folder_that_is_a_link_or_open_to_others_is_not_used() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let place = tempfile::tempdir().unwrap();
        let (real, link) = (place.path().join("real"), place.path().join("link"));
        assert!(own(&real));
        symlink(&real, &link).unwrap();
        assert!(!own(&link));
        fs::set_permissions(&real, fs::Permissions::from_mode(0o770)).unwrap();
        assert!(!own(&real));
    }
}
