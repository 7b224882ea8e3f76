//! `engine plugins`: which modules there are, where they are looked for, and
//! whether they are what they should be.

mod author;
mod lock;
mod test;

use engine_abi::{ComponentDescription, ComponentKind, Error, Shape, Takes};
use engine_host::BUNDLED_PREFIX;
use serde_json::json;

use crate::arguments::{Global, Plugins};
use crate::exit::{Exit, Failure};
use crate::places::NamedBy;
use crate::{console, output, places};

pub fn run(global: &Global, command: &Plugins) -> crate::Result {
    let state = places::state_for(global, &[]).ok();
    match command {
        Plugins::Path => path(global, state.as_deref()),
        Plugins::List => list(global, state.as_deref()),
        Plugins::Show { name } => show(global, state.as_deref(), name),
        Plugins::New(command) => author::new(global, command),
        Plugins::Build(command) => author::build(global, command),
        Plugins::Test(command) => test::run(global, command),
        Plugins::Lock(command) => lock::lock(global, command),
        Plugins::Verify(command) => lock::verify(global, command),
    }
}

fn path(global: &Global, state: Option<&std::path::Path>) -> crate::Result {
    let folders = places::plugin_folders(global, state);
    if global.json {
        let folders: Vec<_> = folders
            .iter()
            .map(|it| json!({"path": it.path, "exists": it.path.is_dir(), "named_by": it.named_by}))
            .collect();
        output::json(&json!({"folders": folders}));
        return Ok(Exit::Done);
    }
    let rows: Vec<_> = folders
        .iter()
        .map(|it| {
            let note = match it.named_by {
                _ if !it.path.is_dir() => "(not there)".to_owned(),
                NamedBy::ProgramItself => format!("(only {BUNDLED_PREFIX}*)"),
                _ => String::new(),
            };
            vec![it.named_by.shown().to_owned(), it.path.display().to_string(), note]
        })
        .collect();
    output::table(&["NAMED BY", "FOLDER", ""], &rows);
    Ok(Exit::Done)
}

fn list(global: &Global, state: Option<&std::path::Path>) -> crate::Result {
    let modules = places::modules(global, state, None).map_err(Failure::environment)?;
    let mut rows = Vec::new();
    let mut found = Vec::new();
    for module in modules.list() {
        let identity = module.identity();
        for component in &identity.components {
            let sha256 = module.sha256()?;
            rows.push(vec![
                component.kind.to_string(),
                component.name.clone(),
                identity.version.clone(),
                module.origin().to_string(),
                module.origin().permissions().to_owned(),
                sha256[..12].to_owned(),
                module.path().display().to_string(),
            ]);
            found.push(json!({
                "kind": component.kind, "name": component.name, "module": identity.name,
                "version": identity.version, "origin": module.origin(), "permissions": module.origin().permissions(), "sha256": sha256, "path": module.path(),
            }));
        }
    }
    rows.sort();
    if global.json {
        let problems: Vec<_> = modules.problems().iter().map(|error| &error.message).collect();
        output::json(&json!({"components": found, "problems": problems}));
    } else {
        output::table(&["KIND", "NAME", "VERSION", "ORIGIN", "MAY REACH", "SHA256", "FILE"], &rows);
        for problem in modules.problems() {
            console::error_line(&format!("warning: {problem}"));
        }
    }
    Ok(Exit::Done)
}

fn show(global: &Global, state: Option<&std::path::Path>, name: &str) -> crate::Result {
    let modules = places::modules(global, state, None).map_err(Failure::environment)?;
    let kinds = ComponentKind::ALL.into_iter().filter(|kind| modules.names().contains(&(*kind, name.to_owned())));
    let components: Vec<_> = kinds.map(|kind| modules.component(kind, name)).collect::<Result<_, _>>()?;
    if components.is_empty() {
        let error = Error::config(format!("no module has a component named `{name}`"));
        return Err(Failure::environment(error.hint("`engine plugins list` shows what there is")));
    }
    for component in components {
        if global.json {
            output::json(component.description());
        } else {
            print(component.description(), &component.module().display().to_string());
        }
    }
    Ok(Exit::Done)
}

fn print(it: &ComponentDescription, module: &str) {
    console::line(&format!("{} {}: {}", it.kind, it.name, it.summary));
    console::line(&format!("  module: {module}"));
    let shape = |shape| if shape == Shape::Files { "files" } else { "rows" };
    match it.kind {
        ComponentKind::Source => {
            let how = if it.push { "receives" } else { "reads" };
            let again = if it.ranges { "; old windows again, by `engine backfill`" } else { "" };
            console::line(&format!("  {how} {}{again}", shape(it.gives)));
        }
        ComponentKind::Transform | ComponentKind::State => {}
        ComponentKind::Format => {
            let ways = [(it.decodes, "decodes"), (it.encodes, "encodes")];
            let ways: Vec<_> = ways.into_iter().filter(|(can, _)| *can).map(|(_, way)| way).collect();
            let what = if it.is_compression() { "a compression of files; " } else { "" };
            console::line(&format!("  {what}{}", ways.join(" and ")));
        }
        ComponentKind::Sink => {
            let takes = match it.takes {
                Takes::Rows => "rows",
                Takes::Files => "files",
                Takes::Either => "rows, or files with a `format`",
            };
            console::line(&format!("  takes {takes}; {}", it.promise));
        }
    }
    let none = serde_json::Map::new();
    let properties = it.schema.get("properties").and_then(|it| it.as_object()).unwrap_or(&none);
    let required = it.schema.get("required").and_then(|it| it.as_array());
    console::line("  settings:");
    for (name, property) in properties {
        let must = required.is_some_and(|names| names.iter().any(|it| it == name));
        let default = property.get("default").filter(|it| !it.is_null());
        let rest = match (must, default) {
            (true, _) => " (required)".to_owned(),
            (_, Some(default)) => format!(" (default {default})"),
            _ => String::new(),
        };
        let description = property.get("description").and_then(|it| it.as_str()).unwrap_or_default();
        console::line(&format!("    {name}{rest}: {}", description.replace('\n', " ")));
    }
    for example in &it.examples {
        console::line(&format!("  example, {}: {}", example.title, example.config));
    }
}
