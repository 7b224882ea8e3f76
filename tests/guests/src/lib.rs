//! Guests in four languages, built from their sources by the same code as
//! `engine plugins build`. Builds are slow, so each is kept until something that
//! it was made of changes.

mod guide;
mod stamp;

use std::path::{Path, PathBuf};
use std::process::Command;

use engine_abi::loader::ComponentizeRequest;
use engine_abi::{ComponentKind, Error, Result};
use engine_author::{Build, KINDS, Language, New};
use engine_host::Modules;

use stamp::Stamp;

/// The folder of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the workspace is there")
}

/// Where guests are put: beside what cargo builds.
pub fn folder() -> PathBuf {
    let program = std::env::current_exe().expect("the program knows itself");
    let profile = program.ancestors().find(|path| path.ends_with("debug") || path.ends_with("release"));
    profile.and_then(Path::parent).expect("cargo's target folder").join("guests")
}

/// The modules that are built with the engine: fixtures name some of them.
pub fn bundled() -> PathBuf {
    folder().join("..").join(if cfg!(debug_assertions) { "debug" } else { "release" })
}

/// The module of a guest, which must have been built from the sources as they are.
pub fn guest(name: &str) -> PathBuf {
    let path = folder().join(format!("{name}.wasm"));
    assert!(path.is_file(), "{} is not there: run `make guests`", path.display());
    path
}

/// The folder that `engine plugins new` made, with its module built. The transform is the guide's.
pub fn authored(language: Language, kind: ComponentKind) -> PathBuf {
    if kind == ComponentKind::Transform {
        return guide::place(language).join("my-transform");
    }
    folder().join("new").join(format!("my-{}-{kind}", language.as_str()))
}

/// The connectors and the hostile guest, in Rust: package, library.
const RUST: [(&str, &str); 4] = [
    ("engine-plugin-csv", "engine_plugin_csv"),
    ("engine-plugin-json", "engine_plugin_json"),
    ("engine-plugin-avaya-cdr", "engine_plugin_avaya_cdr"),
    ("engine-hostile-guest", "engine_hostile_guest"),
];

/// Builds what is missing or older than its sources, and compiles it; says what it does.
pub fn build() -> Result<()> {
    std::fs::create_dir_all(folder())?;
    let modules = Modules::discover(&[], None);
    rust(&modules)?;
    for language in Language::ALL {
        guide::follow(language)?;
        for kind in KINDS.into_iter().filter(|kind| *kind != ComponentKind::Transform) {
            author(&modules, language, kind)?;
        }
    }
    probe(&modules, Language::Python, "component.py")?;
    probe(&modules, Language::JavaScript, "component.js")?;
    let kinds = KINDS.into_iter();
    let authored = kinds.flat_map(|kind| Language::ALL.map(|language| built(&authored(language, kind))));
    let probes = [Language::Python, Language::JavaScript].map(|language| Ok(probe_module(language)));
    let connectors = RUST.map(|(_, library)| Ok(guest(library)));
    compile(authored.chain(probes).chain(connectors))
}

/// Loads guests once, so that each is compiled once and not by every test that comes first.
fn compile(guests: impl Iterator<Item = Result<PathBuf>>) -> Result<()> {
    for module in guests {
        let modules = Modules::from_file(&module?)?;
        for (kind, name) in modules.names() {
            modules.component(kind, &name)?;
        }
    }
    Ok(())
}

/// The module that was built in an author's folder.
pub fn built(folder: &Path) -> Result<PathBuf> {
    let modules = folder.join(engine_author::MODULES);
    let mut files = modules.read_dir().map_err(|error| Error::from(error).context(modules.display()))?.flatten();
    let module = files.find(|file| file.path().extension().is_some_and(|it| it == "wasm" || it == "so"));
    module.map(|file| file.path()).ok_or_else(|| Error::config(format!("no module was built in {}", folder.display())))
}

/// The source that tries to reach what it was not granted.
pub fn probe_module(language: Language) -> PathBuf {
    folder().join("probe").join(language.as_str()).join(engine_author::MODULES).join("probe.wasm")
}

fn probe(modules: &Modules, language: Language, source: &str) -> Result<()> {
    let place = folder().join("probe").join(language.as_str());
    let from = root().join("tests/guests/probe").join(language.as_str());
    make(modules, language, ComponentKind::Source, &place, |made| {
        for file in [source, "plugin.json"] {
            std::fs::copy(from.join(file), made.join(file))?;
        }
        Ok(())
    })
}

pub use guide::{Step, followed};

/// The connectors of this project as WASM: the same sources as the native ones.
fn rust(modules: &Modules) -> Result<()> {
    let root = root();
    let sources = [
        "plugins/csv",
        "plugins/json",
        "plugins/avaya_cdr",
        "tests/guests/hostile",
        "engine/sdk",
        "engine/abi",
        "schemas/plugin.wit",
        "Cargo.lock",
        "Cargo.toml",
    ];
    let stamp = Stamp::of(&folder().join("rust.stamp"), sources.iter().map(|path| root.join(path)));
    if stamp.holds() {
        return Ok(());
    }
    println!("guests: building {} of Rust", RUST.len());
    let toolchain = engine_author::RustForWasm::find()?;
    let target = folder().join("rust");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What the outer cargo sets for its own build is not meant for this one.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("CARGO_") || name == "RUSTFLAGS") {
        if name != "CARGO_HOME" && !name.starts_with("CARGO_REGISTR") {
            cargo.env_remove(name);
        }
    }
    cargo.current_dir(&root).env("CARGO_TARGET_DIR", &target).args(["build", "--profile", "guest", "--lib"]);
    cargo.args(RUST.iter().flat_map(|(package, _)| ["-p", package]));
    toolchain.apply(&mut cargo);
    let status = cargo.status().map_err(|error| Error::from(error).context("cargo"))?;
    if !status.success() {
        return Err(Error::config(format!("the guests in Rust cannot be built: cargo ended with {status}")));
    }
    for (_, library) in RUST {
        let core = target.join(toolchain.target()).join("guest").join(format!("{library}.wasm"));
        let request = ComponentizeRequest { path: core.display().to_string(), world: None, manifest: None };
        let component = modules.componentize(&request, &std::fs::read(&core)?)?;
        std::fs::write(folder().join(format!("{library}.wasm")), component)?;
    }
    stamp.set()
}

/// What an author does: `engine plugins new` and `engine plugins build`.
fn author(modules: &Modules, language: Language, kind: ComponentKind) -> Result<()> {
    make(modules, language, kind, &authored(language, kind), |_| Ok(()))
}

/// Makes a folder, changes it, and builds it, unless that is what was built before.
fn make(
    modules: &Modules,
    language: Language,
    kind: ComponentKind,
    place: &Path,
    change: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let fresh = place.with_extension("fresh");
    let _ = std::fs::remove_dir_all(&fresh);
    std::fs::create_dir_all(&fresh)?;
    let made = fresh.join(&name);
    engine_author::create(&New { folder: &made, kind, language })?;
    change(&made)?;
    let stamp = Stamp::of(&place.with_extension("stamp"), [made.clone()]);
    if stamp.holds() {
        return Ok(std::fs::remove_dir_all(&fresh)?);
    }
    println!("guests: building {} in {}", place.display(), language.as_str());
    // Compiled code and installed tools of the build before stay: only what was written is new.
    std::fs::create_dir_all(place)?;
    copy(&made, place)?;
    std::fs::remove_dir_all(&fresh)?;
    // What following the guide has installed is enough for the language.
    for tools in [".venv", "node_modules"] {
        let (installed, here) = (guide::place(language).join("my-transform").join(tools), place.join(tools));
        if installed.is_dir() && !here.exists() {
            let _ = std::fs::remove_file(&here);
            std::os::unix::fs::symlink(installed, &here)?;
        }
    }
    let componentize = |request: &_, bytes: &[u8]| modules.componentize(request, bytes);
    engine_author::build(&Build { folder: place, target: None, componentize: &componentize })?;
    stamp.set()
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&place)?;
            copy(&entry.path(), &place)?;
        } else {
            std::fs::copy(entry.path(), &place)?;
        }
    }
    Ok(())
}
