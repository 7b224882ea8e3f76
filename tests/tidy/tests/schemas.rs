//! What is generated from the connectors' settings is what they say now: the
//! JSON Schemas under `schemas/`, and the tables of settings in their pages.
//! `UPDATE=1` writes both anew.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use engine_tidy_tests::engine;
use engine_tidy_tests::files::root;
use serde_json::Value;

const BEGIN: &str = "<!-- settings -->";
const END: &str = "<!-- /settings -->";

fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// What `engine schema --write` writes, by path below `schemas/`.
fn generated() -> BTreeMap<String, String> {
    let folder = tempfile::tempdir().unwrap();
    // Only the bundled modules, which lie beside the binary.
    let output = Command::new(engine())
        .args(["schema", "--write"])
        .arg(folder.path())
        .env_remove("ENGINE_PLUGIN_PATH")
        .current_dir(folder.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut files = BTreeMap::new();
    for below in ["", "plugins"] {
        for entry in std::fs::read_dir(folder.path().join(below)).unwrap().flatten() {
            if entry.path().is_file() {
                let name = Path::new(below).join(entry.file_name()).display().to_string();
                files.insert(name, std::fs::read_to_string(entry.path()).unwrap());
            }
        }
    }
    files
}

#[test]
fn the_schemas_are_those_of_the_connectors() {
    let mut stale = Vec::new();
    for (name, text) in generated() {
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
fn the_pages_of_the_connectors_have_the_settings_of_their_schema() {
    let mut stale = Vec::new();
    for (name, text) in generated() {
        let Some(connector) = name.strip_prefix("plugins/").and_then(|name| name.strip_suffix(".schema.json")) else {
            continue;
        };
        let path = root().join("plugins").join(connector).join("README.md");
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{connector}: the page lacks {BEGIN}"));
        let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{connector}: the page lacks {END}"));
        let fresh = format!("{before}{BEGIN}\n{}{END}{after}", settings(&serde_json::from_str(&text).unwrap()));
        if updating() {
            std::fs::write(&path, fresh).unwrap();
        } else if fresh != page {
            stale.push(connector.to_owned());
        }
    }
    assert!(stale.is_empty(), "settings not as generated, run `make schemas`: {stale:?}");
}

/// A table for each kind of component that a connector has.
fn settings(schema: &Value) -> String {
    let mut text = String::new();
    for (kind, schema) in schema["$defs"].as_object().into_iter().flatten() {
        let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        text.push_str(&format!("\nAs a {kind}:\n\n| setting | type | default | meaning |\n|---|---|---|---|\n"));
        for (name, property) in schema["properties"].as_object().into_iter().flatten() {
            let default = match property.get("default") {
                _ if required.contains(&name.as_str()) => "required".to_owned(),
                None | Some(Value::Null) => String::new(),
                Some(default) => format!("`{default}`"),
            };
            let meaning = property["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|");
            text.push_str(&format!("| `{name}` | {} | {default} | {meaning} |\n", of(property, schema)));
        }
    }
    text.push('\n');
    text
}

/// A setting's type, in a word or two.
fn of(property: &Value, root: &Value) -> String {
    if let Some(name) = property["$ref"].as_str().and_then(|path| path.strip_prefix('#')) {
        return root.pointer(name).map(|property| of(property, root)).unwrap_or_default();
    }
    for list in ["anyOf", "oneOf"] {
        if let Some(ways) = property[list].as_array() {
            let mut ways: Vec<_> = ways.iter().map(|way| of(way, root)).filter(|way| way != "null").collect();
            ways.dedup();
            return ways.join(" or ");
        }
    }
    if let Some(words) = property["enum"].as_array() {
        let words: Vec<_> = words.iter().filter(|word| !word.is_null()).map(|word| format!("`{word}`")).collect();
        return words.join(", ").replace('"', "");
    }
    if let Some(word) = property["const"].as_str() {
        return format!("`{word}`");
    }
    if let Some(format) =
        property["format"].as_str().filter(|it| ["secret", "template", "duration", "bytes"].contains(it))
    {
        return format.to_owned();
    }
    match &property["type"] {
        Value::String(one) if one == "array" => format!("list of {}", of(&property["items"], root)),
        Value::String(one) => one.replace("string", "text"),
        Value::Array(several) => {
            let names: Vec<_> = several.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect();
            names.join(" or ").replace("string", "text")
        }
        _ => "any".to_owned(),
    }
}
