//! Embeds the templates, the kits and the SDK's sources, so that a new folder can
//! be made anywhere, although nothing is published.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let here = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let root = here.join("../..");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));

    let mut code = String::new();
    let examples = EXAMPLES.map(|(kind, name)| example(&root, &out, kind, name));
    list(&mut code, "TEMPLATES", &here, &["templates"], &here);
    list_examples(&mut code, &examples);
    list(&mut code, "KITS", &here, &["kits"], &here);
    let sdk = [
        "engine/sdk/Cargo.toml",
        "engine/sdk/src",
        "engine/abi/Cargo.toml",
        "engine/abi/src",
        "engine/template/Cargo.toml",
        "engine/template/src",
        "schemas/plugin.wit",
    ];
    list(&mut code, "SDK", &root, &sdk, &root);
    fs::write(out.join("embedded.rs"), code).expect("OUT_DIR can be written");

    let manifest = root.join("Cargo.toml");
    println!("cargo::rerun-if-changed={}", manifest.display());
    let text = fs::read_to_string(manifest).expect("the workspace has a manifest");
    fs::write(out.join("workspace.toml"), trim(&text)).expect("OUT_DIR can be written");
    let lock = root.join("Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    fs::copy(lock, out.join("Cargo.lock")).expect("the workspace has a lock");
}

/// Examples of the guide, which are built and tested as they are, begin a module of their kind.
const EXAMPLES: [(&str, &str); 2] = [("source", "countdown"), ("sink", "drop_box")];

/// An example with a place for the name of the new component; its path as a template, and its file.
fn example(root: &Path, out: &Path, kind: &str, name: &str) -> (String, PathBuf) {
    let source = root.join(format!("tests/modules/rust/{name}/src/lib.rs"));
    println!("cargo::rerun-if-changed={}", source.display());
    let text = fs::read_to_string(source).expect("the example is there");
    let file = out.join(format!("{kind}.rs"));
    fs::write(&file, text.replace(&format!("\"{name}\""), "\"{{name}}\"")).expect("OUT_DIR can be written");
    (format!("templates/rust/{kind}/src/lib.rs"), file)
}

fn list_examples(code: &mut String, examples: &[(String, PathBuf)]) {
    code.push_str("/// Templates that are examples of the guide.\npub static EXAMPLES: &[(&str, &str)] = &[\n");
    for (shown, file) in examples {
        writeln!(code, "    ({shown:?}, include_str!({file:?})),").expect("a string takes it");
    }
    code.push_str("];\n");
}

/// Writes a list of files as `(path, content)`.
fn list(code: &mut String, name: &str, base: &Path, wanted: &[&str], relative_to: &Path) {
    let mut files = Vec::new();
    for path in wanted {
        println!("cargo::rerun-if-changed={}", base.join(path).display());
        walk(&base.join(path), &mut files);
    }
    files.sort();
    writeln!(code, "/// Embedded files, by their paths.\npub static {name}: &[(&str, &str)] = &[")
        .expect("a string takes it");
    for file in files {
        let shown = file.strip_prefix(relative_to).expect("it lies below").display().to_string();
        let real = file.canonicalize().expect("it was just found");
        writeln!(code, "    ({shown:?}, include_str!({real:?})),").expect("a string takes it");
    }
    code.push_str("];\n");
}

fn walk(path: &Path, files: &mut Vec<PathBuf>) {
    if path.is_file() {
        return files.push(path.to_owned());
    }
    for entry in fs::read_dir(path).expect("the folder is there") {
        walk(&entry.expect("it can be read").path(), files);
    }
}

/// The workspace's manifest with the SDK as its only members.
fn trim(text: &str) -> String {
    let mut kept = String::new();
    let mut section = String::new();
    for line in text.lines() {
        if line.starts_with('[') {
            section = line.to_owned();
        }
        if section.starts_with("[profile") {
            continue;
        }
        let own = ["engine/abi", "engine/sdk", "engine/template"].iter().any(|folder| line.contains(folder));
        let other_crate = line.starts_with("engine-") && !own;
        match line {
            line if line.starts_with("members") => {
                kept.push_str("members = [\"engine/abi\", \"engine/sdk\", \"engine/template\"]")
            }
            _ if other_crate => continue,
            line => kept.push_str(line),
        }
        kept.push('\n');
    }
    kept
}
