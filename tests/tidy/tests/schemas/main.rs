//! What is generated is as it would be generated now: the JSON Schemas under
//! `schemas/`, the tables of settings in the connectors' pages, the examples in
//! the guide. `UPDATE=1` writes all of it anew.

mod examples;
mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use engine_tidy_tests::engine;
use engine_tidy_tests::files::root;

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// The folders below `plugins/`: each is one module.
fn connectors() -> Vec<String> {
    let entries = std::fs::read_dir(root().join("plugins")).unwrap();
    let folders = entries.map(|entry| entry.unwrap().path()).filter(|folder| folder.join("Cargo.toml").exists());
    let mut names: Vec<_> = folders.map(|folder| folder.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// What `engine schema --write` writes for the modules of some connectors, by path below `schemas/`.
fn generated(connectors: &[String]) -> BTreeMap<String, String> {
    // Not what lies beside the engine: that may be left from connectors that are no more.
    let modules = tempfile::tempdir().unwrap();
    for connector in connectors {
        let file = format!("libengine_plugin_{connector}.so");
        let built = engine().parent().unwrap().join(&file);
        assert!(built.exists(), "there is no {}: run `make build` first", built.display());
        std::os::unix::fs::symlink(built, modules.path().join(file)).unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(engine());
    command.arg("--plugins").arg(modules.path()).args(["schema", "--write"]).arg(folder.path());
    let output = command.env_remove("ENGINE_PLUGIN_PATH").current_dir(folder.path()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut files = BTreeMap::new();
    for below in ["", "plugins"] {
        for path in files_in(&folder.path().join(below)) {
            let name = Path::new(below).join(path.file_name().unwrap()).display().to_string();
            files.insert(name, std::fs::read_to_string(path).unwrap());
        }
    }
    files
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

/// Schemas in `folder` of components that no module has any more.
fn orphans(folder: &Path, generated: &BTreeMap<String, String>) -> Vec<PathBuf> {
    let known: BTreeSet<_> = generated.keys().filter_map(|name| name.strip_prefix("plugins/")).collect();
    let mut orphans = files_in(folder);
    orphans.retain(|path| !known.contains(path.file_name().unwrap_or_default().to_string_lossy().as_ref()));
    orphans.sort();
    orphans
}

#[test]
fn the_schemas_are_those_of_the_connectors() {
    let mut stale = Vec::new();
    let generated = generated(&connectors());
    for orphan in orphans(&root().join("schemas/plugins"), &generated) {
        if updating() {
            std::fs::remove_file(orphan).unwrap();
        } else {
            stale.push(format!("{} is of no component", orphan.display()));
        }
    }
    for (name, text) in generated {
        let path = root().join("schemas").join(&name);
        if updating() {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, &text).unwrap();
        } else if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            stale.push(name);
        }
    }
    assert!(stale.is_empty(), "not as generated, run `make schemas`: {stale:?}");
}

#[test]
fn a_schema_whose_component_is_gone_is_an_orphan() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["csv.schema.json", "gone.schema.json"] {
        std::fs::write(folder.path().join(name), "{}").unwrap();
    }
    let generated = BTreeMap::from([("plugins/csv.schema.json".to_owned(), "{}".to_owned())]);
    assert_eq!(orphans(folder.path(), &generated), [folder.path().join("gone.schema.json")]);
}
