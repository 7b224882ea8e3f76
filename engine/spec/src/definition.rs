//! A pipeline as it is stored with a window, so that the window is completed in
//! the way it was begun, whatever becomes of the file meanwhile.
//!
//! A stored definition has no secret in it: references stay references, and a
//! secret that stands in the file is taken from the file again.

use serde_json::{Map, Value, json};

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::node::Config;
use crate::params::{Param, Params};
use crate::pipeline::{Growth, OnEmpty, OnExhausted, Pipeline, Retry, Stage};
use crate::reader;
use crate::references::is_storable;
use crate::render::url_passwords;
use crate::sandbox::{Isolation, SandboxWords};
use crate::schema_walk::is_within;
use crate::source::Source;
use crate::yaml;

/// Stands in the place of a secret and says, as a JSON Pointer, where it was.
const CURRENT: &str = "$current";

/// The definition of a pipeline that [`crate::check`] gave: JSON in the form of
/// the file, defaults written out, connections merged in, without `tests` and without
/// what holds as the file says it now (`on_schema_change`, `unfinished`, `schedule`, `alarms`).
pub fn definition(pipeline: &Pipeline) -> Value {
    let list = |stages: &[Stage], key: &str| -> Vec<Value> {
        stages.iter().enumerate().map(|(at, found)| stage(found, &format!("/{key}/{at}"))).collect()
    };
    let mut object = Map::new();
    object.insert("name".to_owned(), json!(pipeline.name));
    if let Some(description) = &pipeline.description {
        object.insert("description".to_owned(), json!(description));
    }
    let declared = pipeline.params.declared.iter();
    let params: Map<String, Value> = declared.map(|it| (it.name.clone(), param(it))).collect();
    if !params.is_empty() {
        object.insert("params".to_owned(), params.into());
    }
    if pipeline.params.zone != Params::default().zone {
        object.insert("timezone".to_owned(), json!(pipeline.params.zone.name()));
    }
    object.insert("source".to_owned(), stage(&pipeline.source, "/source"));
    object.insert("transforms".to_owned(), list(&pipeline.transforms, "transforms").into());
    object.insert("sinks".to_owned(), list(&pipeline.sinks, "sinks").into());
    if let Some(most) = pipeline.max_rows {
        object.insert("max_rows".to_owned(), json!(most));
    }
    if let Some(parallelism) = pipeline.parallelism {
        object.insert("parallelism".to_owned(), json!(parallelism));
    }
    object.insert("spool".to_owned(), json!({"max": pipeline.spool.max, "segment": pipeline.spool.segment}));
    if pipeline.spool.span.is_none() {
        object.shift_remove("spool");
    }
    Value::Object(object)
}

fn param(param: &Param) -> Value {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!(param.kind.as_str()));
    if let Some(default) = &param.default {
        object.insert("default".to_owned(), default.clone());
    }
    object.into()
}

fn stage(stage: &Stage, pointer: &str) -> Value {
    let mut object = Map::new();
    object.insert("use".to_owned(), json!(stage.component));
    object.insert("name".to_owned(), json!(stage.name));
    object.insert("with".to_owned(), config(&stage.with, &format!("{pointer}/with")));
    for (key, format) in [("compression", &stage.compression), ("format", &stage.format)] {
        if let Some(format) = format {
            let mut own = Map::new();
            own.insert("use".to_owned(), json!(format.component));
            own.insert("with".to_owned(), config(&format.with, &format!("{pointer}/{key}/with")));
            sandbox(&format.sandbox, &mut own);
            object.insert(key.to_owned(), own.into());
        }
    }
    sandbox(&stage.sandbox, &mut object);
    if stage.position.kind() != engine_abi::ComponentKind::Transform {
        object.insert("retry".to_owned(), retry(&stage.retry));
    }
    if let Some(keep) = stage.keep {
        object.insert("keep".to_owned(), json!(crate::format_duration(keep)));
    }
    if let Some(burst) = &stage.burst {
        object.insert("burst".to_owned(), json!({"by": burst.by, "filename": burst.filename}));
    }
    if stage.empty != OnEmpty::default() {
        object.insert("empty".to_owned(), json!(stage.empty.as_str()));
    }
    Value::Object(object)
}

/// Adds what a stage says of its module. Of the environment there are names alone,
/// and limits that it does not say stay those of the engine.
fn sandbox(words: &SandboxWords, object: &mut Map<String, Value>) {
    if words.isolation != Isolation::default() {
        object.insert("isolation".to_owned(), json!(words.isolation.as_str()));
    }
    let mut limits = Map::new();
    if let Some(memory) = words.limits.memory {
        limits.insert("memory".to_owned(), json!(memory));
    }
    if let Some(deadline) = words.limits.deadline {
        limits.insert("deadline".to_owned(), json!(crate::format_duration(deadline)));
    }
    let mut permissions = Map::new();
    for (key, grants) in words.permissions.lists() {
        let texts: Vec<&str> = grants.items.iter().map(|grant| grant.text.as_str()).collect();
        if !texts.is_empty() {
            permissions.insert(key.to_owned(), json!(texts));
        }
    }
    for (key, said) in [("limits", limits), ("permissions", permissions)] {
        if !said.is_empty() {
            object.insert(key.to_owned(), said.into());
        }
    }
}

fn retry(retry: &Retry) -> Value {
    let mut object = json!({
        "attempts": retry.attempts,
        "backoff": crate::format_duration(retry.backoff),
        "max": crate::format_duration(retry.max),
        "on_exhausted": retry.on_exhausted.as_str(),
    });
    if retry.growth != Growth::default() {
        object["growth"] = json!(retry.growth.as_str());
    }
    if let Some(deadline) = retry.deadline {
        object["deadline"] = json!(crate::format_duration(deadline));
    }
    object
}

fn config(config: &Config, pointer: &str) -> Value {
    without_secrets(&config.object(), config, "", pointer)
}

fn without_secrets(value: &Value, config: &Config, at: &str, pointer: &str) -> Value {
    let is_secret = config.secrets.iter().any(|secret| is_within(at, secret));
    match value {
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| without_secrets(item, config, &format!("{at}/{index}"), pointer))
            .collect::<Vec<_>>()
            .into(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| (key.clone(), without_secrets(value, config, &crate::node::child(at, key), pointer)))
            .collect::<Map<_, _>>()
            .into(),
        Value::String(text) if (is_secret && !is_storable(text)) || !url_passwords(text).is_empty() => {
            json!({ CURRENT: format!("{pointer}{at}") })
        }
        Value::Number(_) if is_secret => json!({ CURRENT: format!("{pointer}{at}") }),
        other => other.clone(),
    }
}

/// The pipeline of a stored definition. Secrets that stood in the file are taken
/// from the `current` one: from the stage of the same name and component. So is
/// who runs a module and what it may do, which changes nothing of what is delivered:
/// a raised limit helps at once, and a permission that was taken away is gone.
///
/// # Errors
/// What is missing from the current file, or wrong with the definition.
pub fn from_definition(definition: &Value, current: Option<&Pipeline>) -> Result<Pipeline, Diagnostics> {
    let mut secrets = Vec::new();
    let mut missing = Vec::new();
    let name = definition.get("name").and_then(Value::as_str).unwrap_or_default();
    let full = with_secrets(definition, definition, current, &mut secrets, &mut missing);
    let title = format!("stored definition of {name}");
    let text = serde_json::to_string_pretty(&full).unwrap_or_default();
    let source = Source::unquotable(title, text);
    if !missing.is_empty() {
        let mut diagnostics = Diagnostics::new();
        for pointer in missing {
            let message =
                format!("an unfinished window takes `{pointer}` from the pipeline file, which no longer has it");
            let found = Diagnostic::error("definition-changed", message).at(&source.span(0..0));
            let hint = "put the stage back as it was until the window is done, or give the window up with `engine state reset`";
            diagnostics.push(found.hint(hint));
        }
        return Err(diagnostics);
    }
    let file = yaml::read_source(&source);
    let mut diagnostics = file.diagnostics;
    let draft = file.root.and_then(|root| reader::read(&root, OnExhausted::Fail, &mut diagnostics));
    match draft.and_then(reader::Draft::finish).filter(|_| !diagnostics.has_errors()) {
        Some(mut pipeline) => {
            mark(&mut pipeline, &secrets);
            current.iter().for_each(|current| adopt(&mut pipeline, current));
            Ok(pipeline)
        }
        None => Err(diagnostics),
    }
}

fn with_secrets(
    value: &Value,
    definition: &Value,
    current: Option<&Pipeline>,
    secrets: &mut Vec<String>,
    missing: &mut Vec<String>,
) -> Value {
    match value {
        Value::Object(object) => {
            if let (1, Some(Value::String(pointer))) = (object.len(), object.get(CURRENT)) {
                secrets.push(pointer.clone());
                return current.and_then(|current| look_up(pointer, definition, current)).unwrap_or_else(|| {
                    missing.push(pointer.clone());
                    Value::Null
                });
            }
            let entries = object.iter();
            entries
                .map(|(key, value)| (key.clone(), with_secrets(value, definition, current, secrets, missing)))
                .collect::<Map<_, _>>()
                .into()
        }
        Value::Array(items) => items
            .iter()
            .map(|item| with_secrets(item, definition, current, secrets, missing))
            .collect::<Vec<_>>()
            .into(),
        other => other.clone(),
    }
}

/// Which config of a stage.
enum Whose {
    Stage,
    Compression,
    Format,
}

/// The stage and the config that a pointer into a pipeline leads into, and the rest of it.
fn split(pointer: &str) -> Option<(&str, Whose, &str)> {
    let at = pointer.find("/with")?;
    let (owner, rest) = (&pointer[..at], &pointer[at + "/with".len()..]);
    let formats = [("/compression", Whose::Compression), ("/format", Whose::Format)];
    let inside = formats.into_iter().find_map(|(key, whose)| Some((owner.strip_suffix(key)?, whose)));
    let (stage, whose) = inside.unwrap_or((owner, Whose::Stage));
    Some((stage, whose, rest))
}

fn look_up(pointer: &str, definition: &Value, current: &Pipeline) -> Option<Value> {
    let (owner, whose, rest) = split(pointer)?;
    let stored = definition.pointer(owner)?;
    let same = |stage: &&Stage| {
        stored.get("use").and_then(Value::as_str) == Some(&stage.component)
            && stored.get("name").and_then(Value::as_str) == Some(&stage.name)
            && stage.position.to_string().split('[').next() == owner.split('/').nth(1)
    };
    let stage = current.stages().find(same)?;
    let config = match whose {
        Whose::Stage => &stage.with,
        Whose::Compression => &stage.compression.as_ref()?.with,
        Whose::Format => &stage.format.as_ref()?.with,
    };
    config.value.pointer(rest).filter(|value| !value.is_null()).cloned()
}

/// Takes what its modules may do from the pipeline as it is now.
fn adopt(pipeline: &mut Pipeline, current: &Pipeline) {
    let stages = std::iter::once(&mut pipeline.source).chain(&mut pipeline.transforms).chain(&mut pipeline.sinks);
    for stage in stages {
        let same = |other: &&Stage| {
            std::mem::discriminant(&other.position) == std::mem::discriminant(&stage.position)
                && (&other.component, &other.name) == (&stage.component, &stage.name)
        };
        let Some(now) = current.stages().find(same) else { continue };
        stage.sandbox = now.sandbox.clone();
        for (then, now) in [(&mut stage.compression, &now.compression), (&mut stage.format, &now.format)] {
            if let (Some(then), Some(now)) = (then, now)
                && then.component == now.component
            {
                then.sandbox = now.sandbox.clone();
            }
        }
    }
}

/// Remembers what was a secret, so that it stays one in the next definition.
fn mark(pipeline: &mut Pipeline, secrets: &[String]) {
    let stages = std::iter::once(&mut pipeline.source).chain(&mut pipeline.transforms).chain(&mut pipeline.sinks);
    for stage in stages {
        let place = format!("/{}", stage.position.to_string().replace('[', "/").replace(']', ""));
        for (owner, whose, rest) in secrets.iter().filter_map(|pointer| split(pointer)) {
            if owner != place {
                continue;
            }
            let config = match whose {
                Whose::Stage => Some(&mut stage.with),
                Whose::Compression => stage.compression.as_mut().map(|format| &mut format.with),
                Whose::Format => stage.format.as_mut().map(|format| &mut format.with),
            };
            if let Some(config) = config {
                config.secrets.push(rest.to_owned());
            }
        }
    }
}
