//! Components, connections and an environment for the tests.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::BTreeMap;
use std::io;

use engine_abi::{ComponentDescription, ComponentKind};
use engine_spec::{Catalogue, Connections, Diagnostics, Environment, Pipeline, check, parse, parse_connections};
use serde_json::{Value, json};

/// A canary: no message, no `Debug` and no definition may hold it.
pub const SECRET: &str = "c4n4ry-hunter2";

pub struct Given {
    pub variables: BTreeMap<String, String>,
    pub files: BTreeMap<String, String>,
}

impl Environment for Given {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn file(&self, path: &str) -> io::Result<String> {
        self.files.get(path).cloned().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }
}

pub fn environment(variables: &[(&str, &str)]) -> Given {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let files = [("/run/secret".to_owned(), format!("{SECRET}\n"))];
    Given { variables: variables.iter().map(own).collect(), files: files.into() }
}

fn component(kind: ComponentKind, name: &str, schema: Value, more: Value) -> ComponentDescription {
    let mut description =
        json!({"name": name, "kind": kind, "summary": format!("The {kind} {name}."), "schema": schema});
    let (Some(into), Value::Object(from)) = (description.as_object_mut(), more) else { unreachable!() };
    into.extend(from);
    serde_json::from_value(description).unwrap()
}

/// A handful of components whose schemas have the shapes that schemars gives.
pub fn catalogue() -> Catalogue {
    use ComponentKind::{Format, Sink, Source, Transform};
    let tcp = json!({
        "type": "object", "additionalProperties": false, "required": ["listen"],
        "properties": {
            "listen": {"type": "string", "description": "Address and port to listen on.\nMore."},
            "max_line": {"type": ["string", "integer"], "format": "bytes", "default": "64KiB"},
            "idle": {"anyOf": [{"type": "string", "format": "duration"}, {"type": "null"}]},
            "connections": {"type": "integer", "minimum": 1, "maximum": 65536, "default": 1000},
            "allow": {"type": "array", "items": {"type": "string"}},
            "verbose": {"type": ["boolean", "null"]},
        },
    });
    let file_source = json!({
        "type": "object", "additionalProperties": false, "required": ["path"],
        "properties": {"path": {"type": "string"}},
    });
    let file_sink = json!({
        "type": "object", "additionalProperties": false, "required": ["path"],
        "properties": {
            "path": {"type": "string", "format": "template", "minLength": 1},
            "overwrite": {"type": "boolean", "default": false},
        },
    });
    let postgres = json!({
        "type": "object", "additionalProperties": false, "required": ["url", "table"],
        "properties": {
            "url": {"type": "string", "format": "secret", "writeOnly": true},
            "table": {"type": "string"},
            "port": {"type": "integer", "minimum": 1, "maximum": 65535},
            "mode": {"$ref": "#/$defs/Mode", "default": "append"},
            "create": {"$ref": "#/$defs/Create"},
            "login": {"anyOf": [{"$ref": "#/$defs/Login"}, {"type": "null"}]},
            "headers": {"type": "object", "additionalProperties": {"type": "string", "format": "secret"}},
            "timeout": {"type": "string", "format": "duration"},
            "key": {"type": "array", "items": {"type": "string"}, "uniqueItems": true},
        },
        "$defs": {
            "Mode": {"oneOf": [
                {"type": "string", "const": "append", "description": "Adds."},
                {"type": "string", "const": "upsert", "description": "Replaces by key."},
            ]},
            "Login": {"oneOf": [
                {"type": "object", "additionalProperties": false, "required": ["basic"], "properties": {"basic": {
                    "type": "object", "additionalProperties": false, "required": ["username"],
                    "properties": {"username": {"type": "string"}},
                }}},
                {"type": "object", "additionalProperties": false, "required": ["bearer"], "properties": {"bearer": {"type": "string", "format": "secret"}}},
                {"type": "string", "const": "none"},
            ]},
            "Create": {"anyOf": [
                {"type": "boolean"},
                {"type": "object", "additionalProperties": false, "required": ["ddl"], "properties": {"ddl": {"type": "string"}}},
            ]},
        },
    });
    let csv = json!({
        "type": "object", "additionalProperties": false,
        "properties": {"delimiter": {"type": "string", "maxLength": 1}, "header": {"type": "boolean"}, "types": {
            "type": "object",
            "additionalProperties": {"type": "string", "pattern": r"^(text|integer|number|decimal\( *[0-9]+ *, *[0-9]+ *\))$"},
        }},
    });
    let sort = json!({
        "type": "object", "additionalProperties": false, "required": ["by"],
        "properties": {"by": {"type": "array", "minItems": 1, "items": {"type": "string"}}},
    });
    let none = json!({"type": "object", "additionalProperties": false});
    let mut catalogue = Catalogue::new();
    catalogue.add(component(Source, "tcp", tcp, json!({"push": true, "gives": "files"})));
    catalogue.add(component(Source, "file", file_source, json!({"gives": "files"})));
    catalogue.add(component(Source, "postgres", postgres.clone(), json!({})));
    catalogue.add(component(Sink, "postgres", postgres, json!({"promise": "effectively-once"})));
    catalogue.add(component(Sink, "file", file_sink, json!({"takes": "files", "unit": "run"})));
    catalogue.add(component(Format, "csv", csv, json!({"decodes": true, "encodes": true})));
    catalogue.add(component(Format, "avaya_cdr", none.clone(), json!({"decodes": true})));
    let level = json!({
        "type": "object", "additionalProperties": false,
        "properties": {
            "level": {"type": "integer", "minimum": 0, "maximum": 9, "default": 6},
            "password": {"type": "string", "format": "secret"},
        },
    });
    catalogue.add(component(Format, "gzip", level, json!({"gives": "files", "decodes": true, "encodes": true})));
    catalogue.add(component(Format, "unpack", none.clone(), json!({"gives": "files", "decodes": true})));
    catalogue.add(component(Format, "pack", none.clone(), json!({"gives": "files", "encodes": true})));
    catalogue.add(component(Transform, "sort", sort, json!({"scope": "window"})));
    catalogue.add(component(Transform, "pass", none.clone(), json!({})));
    catalogue.add(component(Transform, "guest", none, json!({})));
    catalogue.add_sandboxed(Transform, "guest");
    catalogue.add_name(Sink, "sqlite");
    catalogue
}

pub const CONNECTIONS: &str = "\
cdr_db:
  use: postgres
  with:
    url: ${env:CDR_URL:-postgres://localhost/cdr}
    port: 5432
lake:
  use: file
";

pub fn connections() -> Connections {
    let (connections, diagnostics) = parse_connections(CONNECTIONS.as_bytes(), "connections.yaml");
    assert!(diagnostics.is_empty(), "{diagnostics}");
    connections
}

pub fn checked_bytes(bytes: &[u8], variables: &[(&str, &str)]) -> (Option<Pipeline>, Diagnostics) {
    check(&parse(bytes, "pipe.yaml"), &catalogue(), &connections(), &environment(variables))
}

pub fn checked(text: &str) -> (Option<Pipeline>, Diagnostics) {
    checked_bytes(text.as_bytes(), &[])
}

/// The pipeline of a text without errors.
pub fn sound(text: &str) -> Pipeline {
    let (pipeline, diagnostics) = checked(text);
    pipeline.unwrap_or_else(|| panic!("{diagnostics}"))
}

/// The codes of what is found, in order.
pub fn codes(text: &str) -> Vec<&'static str> {
    checked(text).1.iter().map(|found| found.code).collect()
}
