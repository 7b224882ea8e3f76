//! The tables of settings in the connectors' pages.

use engine_tidy_tests::files::root;
use serde_json::Value;

use crate::{connectors, generated, updating};

const BEGIN: &str = "<!-- settings -->";
const END: &str = "<!-- /settings -->";

#[test]
fn the_pages_of_the_connectors_have_the_settings_of_their_schema() {
    let mut stale = Vec::new();
    for connector in connectors() {
        // By the module's folder: its components may have other names, and be several.
        let schemas: Vec<_> = generated(std::slice::from_ref(&connector))
            .into_iter()
            .filter_map(|(name, text)| {
                let component = name.strip_prefix("plugins/")?.strip_suffix(".schema.json")?;
                Some((component.to_owned(), serde_json::from_str(&text).unwrap()))
            })
            .collect();
        let path = root().join("plugins").join(&connector).join("README.md");
        let page = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let (before, rest) = page.split_once(BEGIN).unwrap_or_else(|| panic!("{connector}: the page lacks {BEGIN}"));
        let (_, after) = rest.split_once(END).unwrap_or_else(|| panic!("{connector}: the page lacks {END}"));
        let fresh = format!("{before}{BEGIN}\n{}{END}{after}", settings(&schemas));
        if updating() {
            std::fs::write(&path, fresh).unwrap();
        } else if fresh != page {
            stale.push(connector);
        }
    }
    assert!(stale.is_empty(), "settings not as generated, run `make schemas`: {stale:?}");
}

/// A table for each component of a module. Only where their names differ are they told.
fn settings(schemas: &[(String, Value)]) -> String {
    let mut text = String::new();
    for (component, schema) in schemas {
        for (kind, schema) in schema["$defs"].as_object().into_iter().flatten() {
            let whose = match schemas.len() {
                1 => format!("As a {kind}"),
                _ => format!("`{component}`, as a {kind}"),
            };
            text.push_str(&format!("\n{whose}:\n\n| setting | type | default | meaning |\n|---|---|---|---|\n"));
            rows(schema, &mut text);
        }
    }
    text.push('\n');
    text
}

fn rows(schema: &Value, text: &mut String) {
    let required: Vec<_> = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
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

#[test]
fn a_module_of_several_names_has_a_table_for_each() {
    let schema = |kind: &str| serde_json::json!({"$defs": {kind: {"properties": {"n": {"type": "integer"}}}}});
    let one = settings(&[("count".into(), schema("source"))]);
    assert!(one.starts_with("\nAs a source:\n\n| setting "), "{one}");
    let two = settings(&[("count".into(), schema("source")), ("upper".into(), schema("transform"))]);
    assert!(two.contains("\n`count`, as a source:\n\n| setting "), "{two}");
    assert!(two.contains("\n`upper`, as a transform:\n\n| setting "), "{two}");
}
