//! `engine connections`: the named connections of a folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_abi::message::{OpenRequest, Sandbox};
use engine_abi::{ComponentKind, Error, Shape, Takes};
use engine_host::{Host, Modules};
use engine_runtime::{Collected, Letters, StageHost, Stop};
use engine_spec::{Connection, Diagnostics};
use serde_json::{Value, json};

use crate::arguments::{Connections, Folder, Global};
use crate::exit::{Exit, Failure};
use crate::project::{Around, CONNECTIONS, catalogue, connected};
use crate::{console, output, places};

pub fn run(global: &Global, command: &Connections) -> crate::Result {
    match command {
        Connections::List(folder) => list(global, &find(folder)?),
        Connections::Check(folder) => check(global, &find(folder)?),
    }
}

fn find(folder: &Folder) -> Result<PathBuf, Failure> {
    if let Some(folder) = &folder.folder {
        if !folder.is_dir() {
            return Err(Error::config(format!("there is no folder {}", folder.display())).into());
        }
        if !folder.join(CONNECTIONS).exists() {
            return Err(Error::config(format!("there is no {CONNECTIONS} in {}", folder.display())).into());
        }
        return Ok(folder.clone());
    }
    let found = [".", "pipelines"].map(PathBuf::from).into_iter().find(|folder| folder.join(CONNECTIONS).exists());
    Ok(found.ok_or_else(|| {
        Error::config(format!("there is no {CONNECTIONS} here, and none in pipelines"))
            .hint("name its folder with --folder DIR")
    })?)
}

fn list(global: &Global, folder: &Path) -> crate::Result {
    let around = Around::of(folder)?;
    if around.diagnostics.has_errors() {
        return Err(around.diagnostics.into());
    }
    if global.json {
        for (name, connection) in &around.connections.entries {
            output::json(&json!({"name": name, "use": connection.component}));
        }
        return Ok(Exit::Done);
    }
    let rows: Vec<_> =
        around.connections.entries.iter().map(|(name, it)| vec![name.clone(), it.component.clone()]).collect();
    output::list("no connections", &["NAME", "USE"], &rows);
    Ok(Exit::Done)
}

/// The connections of a folder, what is around them, and all that is wrong with them.
pub fn examine(global: &Global, folder: &Path) -> Result<(Around, Modules, Diagnostics), Failure> {
    let around = Around::of(folder)?;
    let state = places::state_for(global, &[]).ok();
    let modules = places::modules(global, state.as_deref(), Some(folder)).map_err(Failure::environment)?;
    let known = catalogue(&modules, &connected(&around.connections), &[]).map_err(Failure::environment)?;
    let mut diagnostics = around.diagnostics.clone();
    diagnostics.extend(engine_spec::check_connections(&around.connections, &known, &around.outside));
    Ok((around, modules, diagnostics))
}

fn check(global: &Global, folder: &Path) -> crate::Result {
    let (around, modules, diagnostics) = examine(global, folder)?;
    if diagnostics.has_errors() {
        return Err(diagnostics.into());
    }
    let mut all_well = true;
    for (name, connection) in &around.connections.entries {
        let tried = try_out(&modules, &around, connection, folder);
        all_well &= tried.is_ok();
        match (&tried, global.json) {
            (Ok(summary), true) => output::json(&json!({"name": name, "ok": true, "summary": summary})),
            (Err(error), true) => output::json(&json!({"name": name, "ok": false, "error": error})),
            (Ok(summary), false) => console::line(&format!("{name}: {summary}")),
            (Err(error), false) => console::error_line(&format!("{name}: {}: {error}", error.kind)),
        }
    }
    Ok(if all_well { Exit::Done } else { Exit::Environment })
}

/// Tries one connection of a folder out. None: it has none of that name.
pub fn check_one(global: &Global, folder: &Path, name: &str) -> engine_abi::Result<Option<String>> {
    let (around, modules, diagnostics) = match examine(global, folder) {
        Ok(found) => found,
        Err(failure) => return Err(failure.into_error()),
    };
    let Some(connection) = around.connections.entries.get(name) else { return Ok(None) };
    if diagnostics.has_errors() {
        return Err(Failure::from(diagnostics).into_error());
    }
    try_out(&modules, &around, connection, folder).map(Some)
}

/// Tries a connection out as what can use it: as a source, and where that is not well, as a sink. An API that only
/// takes records refuses to be asked for them.
fn try_out(modules: &Modules, around: &Around, connection: &Connection, folder: &Path) -> engine_abi::Result<String> {
    let kinds = [ComponentKind::Source, ComponentKind::Sink];
    let mut kinds = kinds.into_iter().filter(|kind| modules.names().contains(&(*kind, connection.component.clone())));
    let Some(first) = kinds.next() else {
        return Err(Error::config(format!("no module has `{}`", connection.component)));
    };
    let tried = try_out_as(first, modules, around, connection, folder);
    match (tried, kinds.next()) {
        (Err(error), Some(other)) => try_out_as(other, modules, around, connection, folder).map_err(|_| error),
        (tried, _) => tried,
    }
}

/// Opens a connection's component with nothing but the connection, and lets it
/// check what it can.
fn try_out_as(
    kind: ComponentKind,
    modules: &Modules,
    around: &Around,
    connection: &Connection,
    folder: &Path,
) -> engine_abi::Result<String> {
    let component = modules.component(kind, &connection.component)?;
    let description = component.description();
    let resolved = engine_spec::resolve_connection(connection, description, &around.outside)?;
    console::hide(resolved.secret_texts(), std::slice::from_ref(&connection.component));
    let mut config = resolved.value;
    // A database wants to be told what to read; a connection alone does not say.
    let query = description.schema.pointer("/properties/query/type");
    let takes_query =
        query.is_some_and(|kind| kind == "string" || kind.as_array().is_some_and(|all| all.contains(&json!("string"))));
    if let Some(object) = config.as_object_mut()
        && takes_query
        && !object.contains_key("table")
    {
        object.entry("query").or_insert_with(|| Value::from("SELECT 1"));
    }
    // What a stage has to say besides is what the component's own example says: a check sends nothing, to nobody.
    let required = description.schema.get("required").and_then(Value::as_array);
    let example = description.examples.first().map(|example| &example.config);
    for name in required.into_iter().flatten().filter_map(Value::as_str) {
        if let Some(object) = config.as_object_mut()
            && let Some(value) = example.and_then(|example| example.get(name))
        {
            object.entry(name).or_insert_with(|| value.clone());
        }
    }
    let letters = Letters::Collected(Arc::new(Collected::default()));
    let host = StageHost::new("connections", &connection.component, &Stop::new(), letters);
    let folder = std::path::absolute(folder).map_err(Error::from)?.display().to_string();
    let request = |takes: Shape| OpenRequest {
        config: config.clone(),
        pipeline: "connections".into(),
        stage: connection.component.clone(),
        folder: folder.clone(),
        takes: Some(takes),
        ..OpenRequest::default()
    };
    let open = |takes| component.open(&request(takes), &Sandbox::default(), Arc::clone(&host) as Arc<dyn Host>);
    let takes = description.takes.shape(false);
    // What it says may be about files, where it takes either.
    let opened = open(takes).or_else(|error| match description.takes {
        Takes::Either => open(Shape::Files).map_err(|_| error),
        _ => Err(error),
    });
    Ok(opened?.check()?.summary)
}
