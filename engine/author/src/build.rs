//! Builds the module of a folder.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use engine_abi::loader::ComponentizeRequest;
use engine_abi::{ComponentKind, Error, ModuleIdentity, Result, RowForm, is_component_name};
use serde::Deserialize;

use crate::new::Language;
use crate::tools::{self, RustForWasm};
use crate::{MODULES, at};

/// The tool that puts a Python into a component, and the version that is known to work.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// What is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// A library of this machine. Rust only.
    Native,
    /// A WASM component.
    Wasm,
}

/// Makes a component of a core module, and puts a manifest in: the WASM loader does it.
pub type Componentize<'a> = &'a dyn Fn(&ComponentizeRequest, &[u8]) -> Result<Vec<u8>>;

/// What is to be built.
pub struct Build<'a> {
    /// The module's folder.
    pub folder: &'a Path,
    /// Rust: native unless said otherwise. The other languages: WASM.
    pub target: Option<Target>,
    /// Makes a component of a core module, and puts a manifest in.
    pub componentize: Componentize<'a>,
}

/// What was built.
#[derive(Debug)]
pub struct Built {
    /// The module.
    pub module: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
}

/// `plugin.json`: the manifest, and what is needed to build.
#[derive(Debug, Deserialize)]
struct Manifest {
    language: String,
    #[serde(flatten)]
    rest: serde_json::Map<String, serde_json::Value>,
}

/// Builds the module and puts it where pipelines of this folder find it.
pub fn build(build: &Build<'_>) -> Result<Built> {
    let folder = std::path::absolute(build.folder).map_err(at(build.folder))?;
    let modules = folder.join(MODULES);
    fs::create_dir_all(&modules).map_err(at(&modules))?;
    let module = if folder.join("Cargo.toml").is_file() {
        rust(&folder, &modules, build)?
    } else {
        kit(&folder, &modules, build)?
    };
    let bytes = fs::metadata(&module).map_err(at(&module))?.len();
    Ok(Built { module, bytes })
}

fn rust(folder: &Path, modules: &Path, build: &Build<'_>) -> Result<PathBuf> {
    let package = package_name(folder)?;
    let library = package.replace('-', "_");
    let shared = std::env::var_os("CARGO_TARGET_DIR").filter(|folder| !folder.is_empty());
    let out = shared.map_or_else(|| folder.join("target"), PathBuf::from);
    let out = std::path::absolute(&out).map_err(at(&out))?;
    let mut cargo = Command::new("cargo");
    cargo.current_dir(folder).env("CARGO_TARGET_DIR", &out).args([
        "rustc",
        "--lib",
        "--release",
        "--crate-type",
        "cdylib",
    ]);
    if build.target.unwrap_or(Target::Native) == Target::Native {
        tools::run(&mut cargo, "cargo")?;
        let file = format!("{}{library}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
        return install(&out.join("release").join(&file), &modules.join(file));
    }
    let toolchain = RustForWasm::find()?;
    toolchain.apply(&mut cargo);
    tools::run(&mut cargo, "cargo")?;
    let core = out.join(toolchain.target()).join("release").join(format!("{library}.wasm"));
    let bytes = fs::read(&core).map_err(at(&core))?;
    let request = ComponentizeRequest { path: core.display().to_string(), world: None, manifest: None };
    put(&(build.componentize)(&request, &bytes)?, &modules.join(format!("{library}.wasm")))
}

fn package_name(folder: &Path) -> Result<String> {
    let output = Command::new("cargo")
        .current_dir(folder)
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .map_err(|error| Error::from(error).context("cargo cannot be run").hint("install Rust: https://rustup.rs"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::config(format!("{} cannot be built: {said}", folder.display())));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::internal(format!("cargo's metadata cannot be read: {error}")))?;
    let name = metadata["packages"][0]["name"].as_str();
    name.map(ToOwned::to_owned)
        .ok_or_else(|| Error::config(format!("{} has no package", folder.join("Cargo.toml").display())))
}

fn kit(folder: &Path, modules: &Path, build: &Build<'_>) -> Result<PathBuf> {
    let path = folder.join("plugin.json");
    let text = fs::read(&path).map_err(|error| {
        Error::from(error)
            .context(format_args!("{} holds no module", folder.display()))
            .hint("a module's folder has a Cargo.toml or a plugin.json; `engine plugins new` makes one")
    })?;
    let unreadable = |error: serde_json::Error| Error::config(format!("{} cannot be read: {error}", path.display()));
    let Manifest { language, mut rest } = serde_json::from_slice(&text).map_err(unreadable)?;
    rest.insert("abi".into(), engine_abi::ABI_VERSION.into());
    let identity: ModuleIdentity = serde_json::from_value(rest.clone().into()).map_err(unreadable)?;
    let language: Language =
        language.parse().map_err(|what| Error::config(format!("{}: `language`: {what}", path.display())))?;
    if build.target == Some(Target::Native) {
        return Err(Error::config(format!("{} becomes WASM only", language.as_str()))
            .hint("leave `--target` away; Rust becomes native libraries too"));
    }
    let [component] = identity.components.as_slice() else {
        return Err(Error::config(format!("{} lists {} components", path.display(), identity.components.len()))
            .hint("a module of this language has one; make a folder for each"));
    };
    for name in [&identity.name, &component.name] {
        if !is_component_name(name) {
            return Err(Error::config(format!("{}: `{name}` makes no name", path.display()))
                .hint("a name is small letters, digits and `_`, and begins with a letter"));
        }
    }
    if identity.rows != RowForm::Json {
        return Err(Error::config(format!("{} does not say \"rows\": \"json\"", path.display()))
            .hint("the kits read and write rows as JSON: put it in"));
    }
    let world = format!("{}-module", component.kind);
    let work = folder.join("build");
    fs::create_dir_all(&work).map_err(at(&work))?;
    let core = match language {
        Language::C => c(folder, &work, component.kind)?,
        Language::Python => python(folder, &work, &world)?,
        Language::JavaScript => javascript(folder, &work, &world)?,
        Language::Rust => {
            return Err(Error::config(format!("{} is there, and no Cargo.toml", path.display()))
                .hint("a module in Rust has its manifest in its source"));
        }
    };
    let bytes = fs::read(&core).map_err(at(&core))?;
    let request = ComponentizeRequest {
        path: core.display().to_string(),
        world: Some(world),
        manifest: Some(serde_json::Value::from(rest).to_string()),
    };
    put(&(build.componentize)(&request, &bytes)?, &modules.join(format!("{}.wasm", identity.name)))
}

fn c(folder: &Path, work: &Path, kind: ComponentKind) -> Result<PathBuf> {
    let missing = "on Debian: `apt install clang lld wasi-libc libclang-rt-dev-wasm32`";
    let clang = tools::find_versioned("clang")
        .ok_or_else(|| Error::config("there is no clang here, which compiles C to WASM").hint(missing))?;
    let core = work.join("core.wasm");
    let mut command = Command::new(clang);
    command.current_dir(folder).args(["--target=wasm32-wasi", "-mexec-model=reactor", "-std=c11", "-D_GNU_SOURCE"]);
    command.args(["-O2", "-Wall", "-Wextra"]).arg(format!("-DENGINE_KIND_{}", kind.as_str().to_uppercase()));
    command.args(["-I.", "component.c", "engine_plugin.c", "-o"]).arg(&core);
    // A stack in front of the data: one that overflows traps instead of writing over it.
    command.args(["-Wl,--gc-sections", "-Wl,--strip-debug", "-Wl,-z,stack-size=1048576", "-Wl,--stack-first"]);
    tools::run(&mut command, "clang")?;
    Ok(core)
}

fn python(folder: &Path, work: &Path, world: &str) -> Result<PathBuf> {
    let own = folder.join(".venv/bin/componentize-py");
    let tool = if own.is_file() { Some(own.clone()) } else { tools::find("componentize-py") };
    let tool = match tool {
        Some(tool) => tool,
        None => {
            let python = tools::find("python3")
                .ok_or_else(|| Error::config("there is no python3 here").hint("install Python 3.10 or newer"))?;
            tools::run(Command::new(python).current_dir(folder).args(["-m", "venv", ".venv"]), "python3 -m venv")?;
            let pip = folder.join(".venv/bin/pip");
            tools::run(Command::new(pip).args(["install", "--quiet", COMPONENTIZE_PY]), "pip")?;
            own
        }
    };
    let core = work.join("core.wasm");
    let mut command = Command::new(tool);
    // The kit is what begins: it has the classes of the world, and takes component.py in.
    command.current_dir(folder).args(["-d", "wit", "-w", world, "componentize", "engine_plugin", "-p", ".", "-o"]);
    command.arg(&core);
    let venv = folder.join(".venv");
    if venv.is_dir() {
        // Libraries are those of the module, and not those that the machine happens to have.
        command.env("VIRTUAL_ENV", venv);
    }
    // What the author needs is Python's own report.
    command.env_remove("RUST_BACKTRACE");
    tools::run(&mut command, "componentize-py")?;
    Ok(core)
}

fn javascript(folder: &Path, work: &Path, world: &str) -> Result<PathBuf> {
    if !folder.join("node_modules").is_dir() {
        let npm = tools::find("npm")
            .ok_or_else(|| Error::config("there is no npm here").hint("install Node.js 20 or newer"))?;
        tools::run(
            Command::new(npm).current_dir(folder).args(["install", "--silent", "--no-fund", "--no-audit"]),
            "npm",
        )?;
    }
    let core = work.join("core.wasm");
    let mut command = Command::new("node");
    command.current_dir(folder).args(["engine-plugin-build.mjs", world]).arg(&core);
    tools::run(&mut command, "componentize-js")?;
    Ok(core)
}

/// Writes beside and renames: an engine may be running with the old file.
fn put(bytes: &[u8], place: &Path) -> Result<PathBuf> {
    let beside = place.with_extension("new");
    fs::write(&beside, bytes).and_then(|()| fs::rename(&beside, place)).map_err(at(place))?;
    Ok(place.to_owned())
}

fn install(from: &Path, place: &Path) -> Result<PathBuf> {
    put(&fs::read(from).map_err(at(from))?, place)
}
