//! Writes the tests of each connector, so that `cargo test` can run them one by one.

use std::fmt::Write;
use std::path::{Path, PathBuf};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A folder more or less is a crate more or less, which changes the lock file. Watching the folders
    // themselves would build the suite anew after every edit of a connector.
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    let mut names: Vec<_> = std::fs::read_dir("../../plugins")
        .expect("the tree has plugins/")
        .map(|entry| entry.expect("plugins/ can be read").path())
        .filter(|folder| folder.join("Cargo.toml").exists())
        .map(|folder| folder.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let mut tests = String::new();
    for name in &names {
        writeln!(tests, "#[test]\nfn {name}_conforms() {{\n    conforms({name:?}, Isolation::None);\n}}\n")
            .expect("a text takes text");
        writeln!(tests, "#[test]\nfn {name}_conforms_isolated() {{\n    conforms({name:?}, Isolation::Process);\n}}\n")
            .expect("a text takes text");
    }
    writeln!(tests, "const NAMES: &[&str] = &{names:?};").expect("a text takes text");
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo says where to write"));
    std::fs::write(Path::new(&folder).join("bundled.rs"), tests).expect("the folder can be written to");
}
