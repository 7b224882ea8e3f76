//! The editor's view of `isolation`, `limits` and `permissions`.

use std::time::Duration;

use engine_abi::message::Limits;
use serde_json::{Map, Value, json};

use crate::sandbox::{Isolation, MIN_MEMORY};
use crate::units::{format_bytes, format_duration};

const VARIABLE: &str = "^[A-Za-z_][A-Za-z0-9_]*$";
const HOST: &str = r"^(https?://)?(\*\.)?([A-Za-z0-9._-]+(:[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](:[0-9]{1,5})?|[0-9A-Fa-f:.]+)$|\$\{(env|file):";
const NETWORK: &str = r"^[0-9A-Fa-f:.]+/[0-9]{1,3}$|\$\{(env|file):";

/// Adds the three keys to the properties of what uses a module.
pub(crate) fn add_keys(properties: &mut Value) {
    for key in ["isolation", "limits", "permissions"] {
        properties[key] = json!({"$ref": format!("#/$defs/{key}")});
    }
}

/// Adds what the three keys hold.
pub(crate) fn add_definitions(definitions: &mut Map<String, Value>) {
    definitions.insert("isolation".to_owned(), isolation());
    definitions.insert("limits".to_owned(), limits());
    definitions.insert("permissions".to_owned(), permissions());
}

fn isolation() -> Value {
    json!({
        "description": "Who runs a native module: the engine's own process (`none`), or a child process (`process`).",
        "type": "string",
        "enum": Isolation::ALL.map(Isolation::as_str),
        "default": Isolation::default().as_str(),
    })
}

fn limits() -> Value {
    let default = Limits::default();
    json!({
        "description": "What a module may use up that does not share the engine's process.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "memory": {
                "description": "Memory of one instance, 1 MiB at least.",
                "minimum": MIN_MEMORY,
                "default": format_bytes(default.memory_bytes),
                "$ref": "#/$defs/size",
            },
            "deadline": {
                "description": "Time of one call, without what it waits for its input; from 10 ms to a day.",
                "default": format_duration(Duration::from_millis(default.deadline_ms)),
                "$ref": "#/$defs/duration",
            },
        },
    })
}

fn permissions() -> Value {
    let list = |description: &str, item: Value| json!({"description": description, "type": "array", "items": item});
    let folder = json!({"type": "string", "minLength": 1});
    json!({
        "description": "What a WASM module may reach; by default nothing. In a child process `environment` alone counts.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "hosts": list(
                "Hosts that it may send HTTP requests to: `api.example.com`, `*.example.org:8443`, `http://192.0.2.7:8080`. Without `http://` the connection is encrypted.",
                json!({"type": "string", "pattern": HOST}),
            ),
            "networks": list(
                "Private networks that the names of hosts may stand for: `10.1.0.0/16`.",
                json!({"type": "string", "pattern": NETWORK}),
            ),
            "environment": list(
                "Names of environment variables that it sees; their values come from the environment or from `.env`.",
                json!({"type": "string", "pattern": VARIABLE}),
            ),
            "read": list("Folders that it may read; relative ones start at the pipeline's folder.", folder.clone()),
            "write": list("Folders that it may read and write.", folder),
        },
    })
}
