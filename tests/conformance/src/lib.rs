//! Where the modules under test are, and that they are as new as their sources.
//!
//! Cargo's test commands do not build shared libraries, so a module is looked
//! for where `make build` puts it. One that is missing, or older than what it
//! is made of, is an error that says so: a suite that passes on yesterday's
//! module has shown nothing.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

/// A connector of the tree.
#[derive(Debug, Clone)]
pub struct Bundled {
    /// Its folder's name.
    pub name: String,
    /// `plugins/<name>`.
    pub folder: PathBuf,
}

impl Bundled {
    /// Every connector that the tree contains.
    pub fn all() -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        for folder in entries(&workspace().join("plugins"))? {
            if folder.join("Cargo.toml").exists() {
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                all.push(Self { name, folder });
            }
        }
        Ok(all)
    }

    /// Its module, which must be up to date.
    pub fn module(&self) -> Result<PathBuf, String> {
        built(&self.folder, &format!("engine_plugin_{}", self.name))
    }
}

/// The top of the tree.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the tree is where it was built")
}

/// The folder that cargo puts libraries and binaries of this profile into.
pub fn target_folder() -> Result<PathBuf, String> {
    let exe = std::env::current_exe().map_err(|error| error.to_string())?;
    let folder = exe.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "deps"));
    let folder = folder.and_then(Path::parent).ok_or_else(|| format!("{} is no test of cargo's", exe.display()))?;
    Ok(folder.to_owned())
}

/// The library of a crate that is built into the same target folder as this
/// test, which must be up to date.
pub fn built(crate_folder: &Path, library: &str) -> Result<PathBuf, String> {
    let path = target_folder()?.join(file_name(library));
    up_to_date(&path, crate_folder)?;
    Ok(path)
}

/// The engine's program, which must be up to date: what runs an isolated module is a part of it.
pub fn program() -> Result<PathBuf, String> {
    let path = target_folder()?.join("engine");
    for part in ["engine/abi", "engine/host", "engine/cli"] {
        up_to_date(&path, &workspace().join(part))?;
    }
    Ok(path)
}

/// Refuses a library or program that is missing or older than the sources of its crate.
pub fn up_to_date(library: &Path, crate_folder: &Path) -> Result<(), String> {
    let Ok(built) = modified(library) else {
        return Err(format!("{} is missing: {BUILD}", library.display()));
    };
    let (newest, source) = newest_source(crate_folder)?;
    if newest > built {
        return Err(format!("{} is older than {}: {BUILD}", library.display(), source.display()));
    }
    Ok(())
}

const BUILD: &str = "run `make build`";

fn file_name(library: &str) -> String {
    format!("{}{library}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// The newest file of a crate that its library is made of, those of crates in folders below included.
fn newest_source(crate_folder: &Path) -> Result<(SystemTime, PathBuf), String> {
    let manifest = crate_folder.join("Cargo.toml");
    let mut newest = (modified(&manifest)?, manifest);
    for below in entries(crate_folder)?.into_iter().filter(|below| below.join("Cargo.toml").exists()) {
        newest = newest.max(newest_source(&below)?);
    }
    let mut folders = vec![crate_folder.join("src")];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder)? {
            // Unit tests are no part of the library: cargo does not build it anew for them.
            if path.file_stem().is_some_and(|name| name == "tests") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                newest = newest.max((modified(&path)?, path));
            }
        }
    }
    Ok(newest)
}

fn modified(path: &Path) -> Result<SystemTime, String> {
    let modified = path.metadata().and_then(|metadata| metadata.modified());
    modified.map_err(|error| format!("{}: {error}", path.display()))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    let mut paths = entries.map(|entry| Ok(entry.map_err(failed)?.path())).collect::<Result<Vec<_>, String>>()?;
    paths.sort();
    Ok(paths)
}

/// How every module in C is built; its README shows the same command.
const C_FLAGS: &[&str] =
    &["-std=c11", "-O2", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fPIC", "-fvisibility=hidden", "-shared"];

/// Builds the C files of a folder into a module, once for each content of the
/// sources and set of `defines` (`NAME` or `NAME=VALUE`).
pub fn compile_c(folder: &Path, library: &str, defines: &[&str]) -> Result<PathBuf, String> {
    let headers = workspace().join("schemas");
    let mut sources = Vec::new();
    let mut hasher = Sha256::new();
    for path in entries(folder)?.into_iter().chain([headers.join("plugin.h")]) {
        let extension = path.extension().unwrap_or_default();
        if extension != "c" && extension != "h" {
            continue;
        }
        hasher.update(std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?);
        if extension == "c" {
            sources.push(path);
        }
    }
    hasher.update(defines.join("\n"));
    hasher.update(C_FLAGS.join("\n"));
    let hash: String = hasher.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let out = target_folder()?.join("c_modules").join(hash);
    let module = out.join(file_name(library));
    if module.exists() {
        return Ok(module);
    }
    std::fs::create_dir_all(&out).map_err(|error| format!("{}: {error}", out.display()))?;
    // Another test may build the same one: whoever is last renames over the first.
    let unfinished = out.join(format!("unfinished-{}-{:?}", std::process::id(), std::thread::current().id()));
    let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut command = Command::new(&compiler);
    command.args(C_FLAGS).arg("-I").arg(headers).args(defines.iter().map(|define| format!("-D{define}")));
    let output = command.arg("-o").arg(&unfinished).args(&sources).output();
    let output = output.map_err(|error| format!("the C compiler `{compiler}` cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    std::fs::rename(&unfinished, &module).map_err(|error| format!("{}: {error}", module.display()))?;
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_older_than_its_sources_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("libx.so");
        let error = up_to_date(&library, folder.path()).unwrap_err();
        assert!(error.contains("libx.so is missing: run `make build`"), "{error}");

        std::fs::create_dir(folder.path().join("src")).unwrap();
        for file in ["Cargo.toml", "libx.so"] {
            std::fs::write(folder.path().join(file), "").unwrap();
        }
        assert_eq!(up_to_date(&library, folder.path()), Ok(()));

        let minute = std::time::Duration::from_secs(60);
        let later = SystemTime::now() + minute;
        let source = std::fs::File::create(folder.path().join("src/lib.rs")).unwrap();
        source.set_modified(later).unwrap();
        let error = up_to_date(&library, folder.path()).unwrap_err();
        assert!(error.contains("libx.so is older than ") && error.contains("src/lib.rs"), "{error}");

        let below = folder.path().join("part");
        std::fs::create_dir_all(below.join("src")).unwrap();
        std::fs::File::create(below.join("Cargo.toml")).unwrap().set_modified(later + minute).unwrap();
        let error = up_to_date(&library, folder.path()).unwrap_err();
        assert!(error.contains("part/Cargo.toml"), "{error}");
    }
}
