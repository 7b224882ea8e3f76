//! Where the program and the modules under test are.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

/// The top of the tree.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the tree is where it was built")
}

/// The folder that cargo puts programs and libraries of this profile into.
fn target_folder() -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let deps = test.ancestors().find(|folder| folder.ends_with("deps")).expect("cargo puts tests into deps");
    deps.parent().expect("deps is in the target folder").to_owned()
}

/// The engine, up to date.
pub fn program() -> PathBuf {
    // Looked at once: who changes a source meanwhile has not changed what is tested.
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| checked(target_folder().join("engine"))).clone()
}

/// A bundled connector's module, up to date.
pub fn module(name: &str) -> PathBuf {
    checked(target_folder().join(format!("libengine_plugin_{name}.so")))
}

/// The module of an example of the guide, up to date.
pub fn example_module(name: &str) -> PathBuf {
    checked(target_folder().join(format!("libengine_example_{name}.so")))
}

/// The module of components that each break one rule, up to date.
pub fn faulty_module() -> PathBuf {
    checked(target_folder().join("libengine_faulty_components.so"))
}

/// Cargo leaves a list of what each program was made of beside it.
fn checked(built: PathBuf) -> PathBuf {
    let Some(when) = modified(&built) else { panic!("{} is missing: run `make build`", built.display()) };
    let list = std::fs::read_to_string(built.with_extension("d")).unwrap_or_default();
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources);
    for source in sources.split_whitespace() {
        let newer = modified(Path::new(source)).is_none_or(|changed| changed > when);
        assert!(!newer, "{} is older than {source}: run `make build`", built.display());
    }
    built
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().and_then(|metadata| metadata.modified()).ok()
}
