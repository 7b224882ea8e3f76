//! The compilers that a build needs: where they are, and what to install where
//! they are not.

use std::path::{Path, PathBuf};
use std::process::Command;

use engine_abi::{Error, Result};

/// A program of the search path.
pub fn find(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The newest of `name` and `name-NN`, as distributions call them.
pub fn find_versioned(name: &str) -> Option<PathBuf> {
    find(name).or_else(|| (11..40).rev().find_map(|version| find(&format!("{name}-{version}"))))
}

/// Runs a tool; what it prints goes to the terminal, but not into the engine's own output.
pub fn run(command: &mut Command, what: &str) -> Result<()> {
    let shown = format!("{command:?}");
    let failed = |reason: String| {
        Error::config(format!("{what} failed: {reason}"))
            .hint(format!("it was run as {shown}; what it printed stands above"))
    };
    // The engine's standard output may be read by a program.
    let status = command.stdout(std::io::stderr()).status().map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// How WASM is made of Rust on this machine.
pub enum RustForWasm {
    /// The toolchain has the target's libraries.
    Installed(&'static str),
    /// A compiler of the distribution, with the sources of the libraries.
    FromSource {
        /// The compiler.
        rustc: PathBuf,
        /// The linker.
        linker: PathBuf,
    },
}

const TARGETS: [&str; 2] = ["wasm32-wasip2", "wasm32-unknown-unknown"];

impl RustForWasm {
    /// Looks for what there is, best first.
    pub fn find() -> Result<Self> {
        if let Some(target) = TARGETS.into_iter().find(|target| has_target(target)) {
            return Ok(Self::Installed(target));
        }
        let rustc = PathBuf::from("/usr/bin/rustc");
        let linker = find_versioned("wasm-ld");
        match (rustc.is_file() && has_sources(&rustc), linker) {
            (true, Some(linker)) => Ok(Self::FromSource { rustc, linker }),
            _ => Err(Error::config("no Rust toolchain here can make WASM").hint(
                "`rustup target add wasm32-unknown-unknown`, or on Debian `apt install rustc-web rust-web-src lld`; `--target native` makes a library instead",
            )),
        }
    }

    /// The target of the build.
    pub fn target(&self) -> &'static str {
        match self {
            Self::Installed(target) => target,
            Self::FromSource { .. } => "wasm32-unknown-unknown",
        }
    }

    /// Adds to a cargo command what it takes.
    pub fn apply(&self, command: &mut Command) {
        command.args(["--target", self.target()]);
        if let Self::FromSource { rustc, linker } = self {
            // The libraries of the target are built along: the distribution has their sources only.
            command.arg("-Zbuild-std=std,panic_abort").env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }
}

fn sysroot(rustc: &Path) -> Option<PathBuf> {
    let output = Command::new(rustc).args(["--print", "sysroot"]).output().ok()?;
    Some(PathBuf::from(String::from_utf8(output.stdout).ok()?.trim()))
}

fn has_target(target: &str) -> bool {
    sysroot(Path::new("rustc")).is_some_and(|root| root.join("lib/rustlib").join(target).join("lib").is_dir())
}

fn has_sources(rustc: &Path) -> bool {
    sysroot(rustc).is_some_and(|root| root.join("lib/rustlib/src/rust/library/std").is_dir())
}
