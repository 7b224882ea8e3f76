//! JSON Schemas of the files themselves, for editors: completion, hover and
//! underlines while typing. The engine does not need them.

use engine_abi::{ComponentDescription, ComponentKind};
use serde_json::{Map, Value, json};

use crate::catalogue::Catalogue;
use crate::params::ParamKind;
use crate::sandbox_schema;
use crate::schedule::{Missed, Overlap};

const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// What a text must look like to stand for a number or a truth value.
const REFERENCE: &str = r"\$\{(env|file):";
const DURATION: &str = r"^\s*[0-9]+\s*(ms|s|m|h|d)\s*$|\$\{(env|file):";
const SIZE: &str = r"^\s*[0-9]+\s*(B|[kK]B|MB|GB|TB|[KMGT]iB)?\s*$|\$\{(env|file):";

/// The JSON Schema (2020-12) of a pipeline file, with the components of the
/// catalogue. Its text depends on nothing else.
pub fn pipeline_schema(catalogue: &Catalogue) -> Value {
    let mut definitions = Map::new();
    for component in catalogue.components().filter(|component| component.kind != ComponentKind::State) {
        let takes_connection = matches!(component.kind, ComponentKind::Source | ComponentKind::Sink);
        definitions.insert(key(component), config(component, takes_connection));
    }
    definitions.insert("duration".to_owned(), duration());
    definitions.insert("size".to_owned(), size());
    definitions.insert("retry".to_owned(), retry());
    sandbox_schema::add_definitions(&mut definitions);
    definitions.insert("format".to_owned(), format(catalogue, false));
    definitions.insert("compression".to_owned(), format(catalogue, true));
    for kind in [ComponentKind::Source, ComponentKind::Transform, ComponentKind::Sink] {
        definitions.insert(kind.to_string(), stage(catalogue, kind));
    }
    definitions.insert("notice".to_owned(), notice(catalogue, false));
    definitions.insert("notice_of_failure".to_owned(), notice(catalogue, true));
    json!({
        "$schema": DRAFT,
        "title": "Pipeline",
        "description": "A chain from one source through transforms to one or more sinks.",
        "type": "object",
        "additionalProperties": false,
        "required": ["source"],
        "oneOf": [{"required": ["sinks"]}, {"required": ["sink"]}],
        "properties": {
            "name": {
                "description": "The pipeline's name. Default: the file's name without its ending.",
                "type": "string",
                "pattern": "^[a-z0-9_-]{1,100}$",
            },
            "description": {"description": "What the pipeline is for.", "type": "string"},
            "params": params(),
            "timezone": {
                "description": "The time zone of the dates and times that parameters have, such as `Europe/Dublin`.",
                "type": "string",
                "default": "UTC",
            },
            "schedule": schedule(),
            "alarms": {
                "description": "What a service that watches the pipeline raises; `on_alarm` says who is told.",
                "type": "object",
                "additionalProperties": false,
                "minProperties": 1,
                "properties": {
                    "late": {"description": "No run for a time of the schedule has succeeded so long after it.", "$ref": "#/$defs/duration"},
                    "silence": {"description": "No record was read for so long.", "$ref": "#/$defs/duration"},
                },
            },
            "source": {"$ref": "#/$defs/source"},
            "transforms": {
                "description": "What happens to the rows, in order.",
                "type": "array",
                "items": {"$ref": "#/$defs/transform"},
            },
            "sinks": {
                "description": "Where the rows go: each sink gets all of them.",
                "type": "array",
                "minItems": 1,
                "items": {"$ref": "#/$defs/sink"},
            },
            "sink": {"description": "The only sink.", "$ref": "#/$defs/sink"},
            "retry": {"$ref": "#/$defs/retry"},
            "parallelism": {
                "description": "How many splits of a window are worked on at the same time, at most. Default: as many as there are processors, 4 at most.",
                "type": "integer",
                "minimum": 1,
                "maximum": 64,
            },
            "max_rows": {
                "description": "The most rows that a window may have; a run that meets more fails. Default: any number.",
                "type": "integer",
                "minimum": 1,
            },
            "on_schema_change": {
                "description": "What happens when the columns of a source of rows are others than in the run before: the run fails before anything is written, or goes on with a warning.",
                "enum": ["fail", "ignore"],
                "default": "fail",
            },
            "unfinished": {
                "description": "What becomes of what a run has left that failed or was cancelled: the next run completes it, or it is given up and the next run begins anew.",
                "enum": crate::Unfinished::ALL.map(crate::Unfinished::as_str),
                "default": "complete",
            },
            "spool": {
                "description": "How much of the input of a source that receives on its own is kept on disk.",
                "type": "object",
                "additionalProperties": false,
                "properties": {
                    "max": {"description": "The most that it may hold.", "default": "16GiB", "$ref": "#/$defs/size"},
                    "segment": {"description": "The size of one file.", "default": "64MiB", "$ref": "#/$defs/size"},
                },
            },
            "on_failure": {"description": "Who is told when a run has failed: the first time, and then of runs that go on failing.", "$ref": "#/$defs/notice_of_failure"},
            "on_recovered": {"description": "Who is told when a run has succeeded after a failure that was told.", "$ref": "#/$defs/notice"},
            "on_success": {"description": "Who is told when a run has succeeded that had something to read.", "$ref": "#/$defs/notice"},
            "on_empty": {"description": "Who is told when a run has succeeded that had nothing to read.", "$ref": "#/$defs/notice"},
            "on_alert": {"description": "Who is told when a sink raises an alert, each once in a run.", "$ref": "#/$defs/notice"},
            "on_alarm": {"description": "Who is told when an alarm is raised, and when it is over.", "$ref": "#/$defs/notice"},
            "tests": {"description": "What `engine test` runs.", "type": "array", "items": test()},
        },
        "$defs": definitions,
    })
}

fn schedule() -> Value {
    let words = |all: &[&str]| json!(all);
    json!({
        "description": "When the pipeline runs by itself, under `engine serve` and `engine run`.",
        "type": "object",
        "additionalProperties": false,
        "oneOf": [{"required": ["cron"]}, {"required": ["every"]}],
        "properties": {
            "cron": {
                "description": "The times by the clock on the wall: minute, hour, day of the month, month, day of the week, and seconds in front of them if there are six. Names (`mon`, `jan`), `L` for the last, `#` for the n-th weekday of a month.",
                "type": "string",
            },
            "every": {"description": "So long after one another, counted from 1970 in UTC; at least 1s.", "$ref": "#/$defs/duration"},
            "timezone": {"description": "Whose local time `cron` is. Default: the pipeline's `timezone`.", "type": "string"},
            "on_start": {"description": "It also runs when the engine starts.", "type": "boolean", "default": false},
            "missed": {
                "description": "What becomes of times at which no engine ran: one run for the latest of them, a run for each, or nothing.",
                "enum": words(&Missed::ALL.map(Missed::as_str)),
                "default": Missed::default().as_str(),
            },
            "overlap": {
                "description": "What becomes of a time at which the run before still runs: nothing, or its run begins afterwards.",
                "enum": words(&Overlap::ALL.map(Overlap::as_str)),
                "default": Overlap::default().as_str(),
            },
            "jitter": {"description": "How much later a run may begin, so that not all begin together: for each time another delay below this one.", "default": "0s", "$ref": "#/$defs/duration"},
        },
    })
}

fn params() -> Value {
    let value = json!(["string", "number", "boolean"]);
    let kinds: Vec<_> = ParamKind::ALL.iter().map(|kind| kind.as_str()).collect();
    json!({
        "description": "Values that templates name as `params.NAME`, each with its default; `engine run --set NAME=VALUE` sets them.",
        "type": "object",
        "propertyNames": {"pattern": "^[a-z][a-z0-9_]*$"},
        "additionalProperties": {
            "anyOf": [
                {"type": value},
                {
                    "type": "object",
                    "additionalProperties": false,
                    "properties": {
                        "type": {"description": "What it can be. Default: what its default is, else `text`.", "enum": kinds},
                        "default": {"description": "Its value where nobody sets one; a text may be a template. Without a default it must be set.", "type": value},
                        "description": {"description": "What it is for.", "type": "string"},
                    },
                },
            ],
        },
    })
}

/// The JSON Schema (2020-12) of `connections.yaml`.
pub fn connections_schema(catalogue: &Catalogue) -> Value {
    let mut names = Map::new();
    let mut conditions = Vec::new();
    let mut definitions = Map::new();
    let kinds = [ComponentKind::Source, ComponentKind::Sink, ComponentKind::State];
    for component in catalogue.components().filter(|component| kinds.contains(&component.kind)) {
        let mut schema = config(component, false);
        if let Some(object) = schema.as_object_mut() {
            object.remove("required");
        }
        definitions.insert(key(component), schema);
        names.entry(component.name.clone()).or_insert_with(|| json!(component.summary));
    }
    for name in names.keys() {
        let forms: Vec<Value> = kinds
            .iter()
            .filter_map(|kind| catalogue.get(*kind, name))
            .map(|component| json!({"$ref": format!("#/$defs/{}", key(component))}))
            .collect();
        let with = if let [only] = forms.as_slice() { only.clone() } else { json!({"anyOf": forms}) };
        conditions.push(condition(name, &with, false));
    }
    let choices: Vec<Value> =
        names.iter().map(|(name, summary)| json!({"const": name, "description": summary})).collect();
    let mut connection = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["use"],
        "properties": {
            "use": choose("The component that the connection is for.", choices),
            "with": {"description": "Settings that stages share.", "type": "object"},
        },
    });
    if !conditions.is_empty() {
        connection["allOf"] = conditions.into();
    }
    json!({
        "$schema": DRAFT,
        "title": "Connections",
        "description": "Named addresses with their secrets, shared by pipelines.",
        "type": "object",
        "additionalProperties": connection,
        "$defs": definitions,
    })
}

/// The JSON Schema (2020-12) of `state.yaml`.
pub fn state_schema(catalogue: &Catalogue) -> Value {
    let states = || catalogue.components().filter(|component| component.kind == ComponentKind::State);
    let definitions: Map<_, _> = states().map(|component| (key(component), config(component, true))).collect();
    let conditions: Vec<Value> = states()
        .map(|component| {
            let with = json!({"$ref": format!("#/$defs/{}", key(component))});
            condition(&component.name, &with, component.schema.get("required").is_some())
        })
        .collect();
    let choices = states().map(|component| json!({"const": component.name, "description": component.summary}));
    let mut schema = json!({
        "$schema": DRAFT,
        "title": "State",
        "description": "Where the engine's state stands, when not in the state folder alone.",
        "type": "object",
        "additionalProperties": false,
        "required": ["use"],
        "properties": {
            "use": choose("The component that keeps the state.", choices.collect()),
            "with": {"description": "Its settings.", "type": "object"},
        },
        "$defs": definitions,
    });
    if !conditions.is_empty() {
        schema["allOf"] = conditions.into();
    }
    schema
}

fn key(component: &ComponentDescription) -> String {
    format!("{}.{}", component.kind, component.name)
}

fn choose(description: &str, choices: Vec<Value>) -> Value {
    let mut schema = json!({"description": description, "type": "string"});
    if !choices.is_empty() {
        schema["oneOf"] = choices.into();
    }
    schema
}

/// The components that can stand in one place of a pipeline.
fn choices(
    catalogue: &Catalogue,
    kind: ComponentKind,
    compressions: bool,
) -> impl Iterator<Item = &ComponentDescription> {
    catalogue.components().filter(move |it| it.kind == kind && it.is_compression() == compressions)
}

fn uses<'a>(choices: impl Iterator<Item = &'a ComponentDescription>) -> Vec<Value> {
    choices.map(|component| json!({"const": component.name, "description": component.summary})).collect()
}

/// `with` as the component in `use` wants it.
fn condition(name: &str, with: &Value, required: bool) -> Value {
    let mut then = json!({"properties": {"with": with}});
    if required {
        then["required"] = json!(["with"]);
    }
    json!({"if": {"properties": {"use": {"const": name}}, "required": ["use"]}, "then": then})
}

fn conditions<'a>(choices: impl Iterator<Item = &'a ComponentDescription>) -> Vec<Value> {
    choices
        .map(|component| {
            let needed = component.schema.get("required").and_then(Value::as_array).is_some_and(|all| !all.is_empty());
            condition(&component.name, &json!({"$ref": format!("#/$defs/{}", key(component))}), needed)
        })
        .collect()
}

fn stage(catalogue: &Catalogue, kind: ComponentKind) -> Value {
    let (what, named) = match kind {
        ComponentKind::Source => ("Where the rows come from.", "The source."),
        ComponentKind::Transform => ("One step of what happens to the rows.", "The transform."),
        _ => ("Where the rows go.", "The sink."),
    };
    let mut properties = json!({
        "use": choose(named, uses(choices(catalogue, kind, false))),
        "name": {
            "description": "The stage's own name. Default: the component's.",
            "type": "string",
            "pattern": "^[a-z0-9_-]{1,100}$",
        },
        "with": {"description": "The component's settings.", "type": "object"},
    });
    if kind != ComponentKind::Transform {
        properties["compression"] = json!({"$ref": "#/$defs/compression"});
        properties["format"] = json!({"$ref": "#/$defs/format"});
        properties["retry"] = json!({"$ref": "#/$defs/retry"});
    }
    if kind == ComponentKind::Sink {
        properties["keep"] = json!({
            "description": "Sinks that take files: how long what they were given is kept, so that `engine deliveries resend` can deliver it once more.",
            "$ref": "#/$defs/duration",
        });
        properties["burst"] = json!({
            "description": "Sinks with a format: a file for each value of a column, by which the rows must be sorted.",
            "type": "object",
            "additionalProperties": false,
            "required": ["by", "filename"],
            "properties": {
                "by": {"description": "The column.", "type": "string"},
                "filename": {"description": "How each file is called, a template that also knows `value`, such as `sales-{{ value }}.csv`.", "type": "string"},
            },
        });
        properties["empty"] = json!({
            "description": "What the sink is given where there are no rows: what there is, such as a file without rows, or nothing.",
            "enum": ["send", "skip"],
            "default": "send",
        });
    }
    sandbox_schema::add_keys(&mut properties);
    let mut schema = json!({
        "description": what,
        "type": "object",
        "additionalProperties": false,
        "required": ["use"],
        "properties": properties,
    });
    let conditions = conditions(choices(catalogue, kind, false));
    if !conditions.is_empty() {
        schema["allOf"] = conditions.into();
    }
    schema
}

/// A sink that tells of a run.
fn notice(catalogue: &Catalogue, repeats: bool) -> Value {
    let mut schema = stage(catalogue, ComponentKind::Sink);
    schema["description"] = json!("Who is told, by any sink: it gets one record that tells of the run.");
    if let Some(properties) = schema["properties"].as_object_mut() {
        for key in ["name", "keep", "burst", "empty"] {
            properties.remove(key);
        }
        if repeats {
            let every = json!({
                "description": "How long nothing is said of further failures.", "default": "1h", "$ref": "#/$defs/duration",
            });
            properties.insert("every".to_owned(), every);
        }
    }
    schema
}

/// A format or a compression, by its name or with settings.
fn format(catalogue: &Catalogue, compression: bool) -> Value {
    let (what, does) = if compression {
        ("compression", "What decompresses the files of a source, or compresses those of a sink.")
    } else {
        ("format", "The translator between files and rows.")
    };
    let choices = || choices(catalogue, ComponentKind::Format, compression);
    let mut properties = json!({
        "use": choose(&format!("The {what}."), uses(choices())),
        "with": {"description": format!("The {what}'s settings."), "type": "object"},
    });
    sandbox_schema::add_keys(&mut properties);
    let mut long = json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["use"],
        "properties": properties,
    });
    let conditions = conditions(choices());
    if !conditions.is_empty() {
        long["allOf"] = conditions.into();
    }
    let short = choose(&format!("The {what}, with its default settings."), uses(choices()));
    json!({"description": does, "anyOf": [short, long]})
}

fn duration() -> Value {
    json!({"description": "A duration: `500ms`, `2s`, `1m`, `1h`, `1d`.", "type": "string", "pattern": DURATION})
}

fn size() -> Value {
    json!({
        "description": "A size: `64KiB`, `1MiB`, `10GB`, or a number of bytes.",
        "type": ["string", "integer"],
        "pattern": SIZE,
        "minimum": 0,
    })
}

fn retry() -> Value {
    let duration = |description: &str, default: Option<&str>| {
        let mut schema = json!({"description": description, "$ref": "#/$defs/duration"});
        if let Some(default) = default {
            schema["default"] = json!(default);
        }
        schema
    };
    json!({
        "description": "How operations on the outside are tried again.",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "attempts": {
                "description": "How often it is tried, the first time included.",
                "type": "integer",
                "minimum": 1,
                "maximum": 1_000_000,
                "default": 5,
            },
            "backoff": duration("The pause after the first failure; `growth` says how long the next ones are.", Some("2s")),
            "growth": {
                "description": "How the pauses grow: `double`, each is twice the one before, half of it by chance; `linear`, each is longer by the first one, exactly.",
                "type": "string",
                "enum": crate::Growth::ALL.map(crate::Growth::as_str),
                "default": "double",
            },
            "max": duration("The longest pause.", Some("1m")),
            "deadline": duration("When to give up, counted from the first failure.", None),
            "on_exhausted": {
                "description": "What happens when all attempts are used up. Default: `fail`; `wait` behind a source that receives on its own.",
                "type": "string",
                "enum": crate::OnExhausted::ALL.map(crate::OnExhausted::as_str),
            },
        },
    })
}

fn test() -> Value {
    let records = |description: &str| json!({"description": description, "type": "array", "items": {"type": "object"}});
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["name", "input"],
        "anyOf": [{"required": ["expect"]}, {"required": ["dead_letters"]}],
        "properties": {
            "name": {"description": "What the test shows.", "type": "string"},
            "input": {
                "description": "A text for the source's format, or records.",
                "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}],
            },
            "expect": records("The records that must come out, in order."),
            "dead_letters": {"description": "How many dead letters there must be.", "type": "integer", "minimum": 0},
        },
    })
}

/// The schema of a component's config, moved below `$defs` and widened by what
/// the engine adds: references, and a connection.
fn config(component: &ComponentDescription, takes_connection: bool) -> Value {
    let mut schema = component.schema.clone();
    let place = format!("#/$defs/{}", key(component));
    widen(&mut schema, &place);
    let Some(object) = schema.as_object_mut() else { return schema };
    object.remove("$schema");
    object.remove("title");
    object.insert("description".to_owned(), json!(component.summary));
    if takes_connection {
        let connection = json!({"description": "A connection of `connections.yaml`.", "type": "string"});
        let properties = object.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("connection".to_owned(), connection);
        }
        // What a connection brings need not stand in the stage.
        if let Some(required) = object.remove("required") {
            let either = json!([{"required": required}, {"required": ["connection"]}]);
            let all = object.entry("allOf").or_insert_with(|| json!([]));
            if let Some(all) = all.as_array_mut() {
                all.push(json!({"anyOf": either}));
            }
        }
    }
    schema
}

fn widen(schema: &mut Value, place: &str) {
    let Some(object) = schema.as_object_mut() else { return };
    if let Some(Value::String(reference)) = object.get_mut("$ref")
        && let Some(rest) = reference.strip_prefix('#')
    {
        *reference = format!("{place}{rest}");
    }
    allow_references(object);
    for (keyword, below) in object.iter_mut() {
        match (keyword.as_str(), below) {
            ("properties" | "patternProperties" | "$defs" | "definitions", Value::Object(named)) => {
                named.values_mut().for_each(|schema| widen(schema, place));
            }
            ("anyOf" | "oneOf" | "allOf" | "prefixItems", Value::Array(branches)) => {
                branches.iter_mut().for_each(|schema| widen(schema, place));
            }
            ("items" | "additionalProperties" | "if" | "then" | "else" | "not", schema) => widen(schema, place),
            _ => {}
        }
    }
}

/// Lets `${env:PORT}` stand for a number. The pattern binds texts alone.
fn allow_references(object: &mut Map<String, Value>) {
    let names: Vec<String> = match object.get("type") {
        Some(Value::String(name)) => vec![name.clone()],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => return,
    };
    let is_scalar = names.iter().any(|name| matches!(name.as_str(), "integer" | "number" | "boolean"));
    let is_text = names.iter().any(|name| name == "string");
    if is_scalar && !is_text && !object.contains_key("enum") {
        let widened: Vec<String> = names.into_iter().chain(["string".to_owned()]).collect();
        object.insert("type".to_owned(), json!(widened));
        object.insert("pattern".to_owned(), json!(REFERENCE));
    }
    // JSON Schema has another meaning for `duration`.
    let pattern = match object.get("format").and_then(Value::as_str) {
        Some("duration") => DURATION,
        Some("bytes") => SIZE,
        _ => return,
    };
    object.remove("format");
    object.entry("pattern").or_insert_with(|| json!(pattern));
}
