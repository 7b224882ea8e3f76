//! `engine schema`: JSON Schemas, for editors and for the reference.

use std::path::Path;

use engine_abi::{ComponentKind, Error};
use engine_host::Modules;
use serde_json::{Value, json};

use crate::arguments::{self, Global};
use crate::exit::{Exit, Failure};
use crate::project::catalogue;
use crate::{console, output, places};

pub fn run(global: &Global, command: &arguments::Schema) -> crate::Result {
    let state = places::state_for(global, &[]).ok();
    let modules = places::modules(global, state.as_deref(), None).map_err(Failure::environment)?;
    let all: Vec<_> = modules.names().into_iter().collect();
    let known = catalogue(&modules, &all, &[]).map_err(Failure::environment)?;
    if let Some(folder) = &command.write {
        let mut schemas = vec![
            (folder.join("pipeline.schema.json"), engine_spec::pipeline_schema(&known)),
            (folder.join("connections.schema.json"), engine_spec::connections_schema(&known)),
            (folder.join("state.schema.json"), engine_spec::state_schema(&known)),
        ];
        for name in names(&modules) {
            schemas.push((folder.join("plugins").join(format!("{name}.schema.json")), component(&modules, &name)?));
        }
        for (path, schema) in &schemas {
            write(path, schema)?;
            if !global.json {
                console::line(&path.display().to_string());
            }
        }
        if global.json {
            let written: Vec<_> = schemas.iter().map(|(path, _)| path).collect();
            output::json(&json!({"written": written}));
        }
        return Ok(Exit::Done);
    }
    let schema = match command.what.as_str() {
        "pipeline" => engine_spec::pipeline_schema(&known),
        "connections" => engine_spec::connections_schema(&known),
        "state" => engine_spec::state_schema(&known),
        name => component(&modules, name)?,
    };
    console::line(&pretty(&schema));
    Ok(Exit::Done)
}

fn names(modules: &Modules) -> Vec<String> {
    let mut names: Vec<_> = modules.names().into_iter().map(|(_, name)| name).collect();
    names.sort();
    names.dedup();
    names
}

/// The settings of every component of a name, by kind.
fn component(modules: &Modules, name: &str) -> Result<Value, Failure> {
    let mut kinds = serde_json::Map::new();
    for kind in ComponentKind::ALL {
        if modules.names().contains(&(kind, name.to_owned())) {
            let component = modules.component(kind, name)?;
            let description = component.description();
            let mut schema = description.schema.clone();
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("title".into(), json!(format!("{kind} {name}: {}", description.summary)));
                let examples: Vec<_> = description.examples.iter().map(|example| example.config.clone()).collect();
                schema.insert("examples".into(), examples.into());
            }
            kinds.insert(kind.to_string(), schema);
        }
    }
    if kinds.is_empty() {
        return Err(Error::config(format!("there is no component `{name}`"))
            .hint("`pipeline`, `connections`, `state`, or one of `engine plugins list`")
            .into());
    }
    Ok(json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "$defs": kinds}))
}

fn pretty(schema: &Value) -> String {
    serde_json::to_string_pretty(schema).unwrap_or_default()
}

fn write(path: &Path, schema: &Value) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Error::from(error).context(path.display());
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    std::fs::write(path, pretty(schema) + "\n").map_err(failed)?;
    Ok(())
}
