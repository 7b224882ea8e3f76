//! `connections.yaml`: named addresses with their secrets, shared by pipelines.

use std::collections::BTreeMap;

use engine_abi::{ComponentDescription, ComponentKind};
use serde_json::Value;

use crate::catalogue::Catalogue;
use crate::config_check::Examination;
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::fields::Reader;
use crate::names::nearest;
use crate::node::Config;
use crate::params::Params;
use crate::pipeline::{ConnectionUse, Stage};
use crate::references::Environment;
use crate::resolve::ResolvedConfig;
use crate::source::Span;
use crate::yaml;

/// The connections of one file.
#[derive(Debug, Clone, Default)]
pub struct Connections {
    /// By name, which is `[^/]+` as written.
    pub entries: BTreeMap<String, Connection>,
    /// The file's name; empty when there is none.
    pub file_name: String,
}

/// A named config that stages of one component share.
#[derive(Debug, Clone)]
pub struct Connection {
    /// The component that it is for.
    pub component: String,
    /// Where the component is named.
    pub component_span: Span,
    /// The config, references unresolved.
    pub with: Config,
    /// Where the connection is named.
    pub span: Span,
}

/// Reads `connections.yaml`. An empty file has no connections. The diagnostics
/// belong to those of the pipelines that use the file.
pub fn parse_connections(bytes: &[u8], file_name: &str) -> (Connections, Diagnostics) {
    let file = yaml::read(bytes, file_name);
    let mut diagnostics = file.diagnostics;
    let mut connections = Connections { entries: BTreeMap::new(), file_name: file_name.to_owned() };
    let Some(root) = file.root.filter(|root| !root.is_null()) else { return (connections, diagnostics) };
    let mut reader = Reader { diagnostics: &mut diagnostics };
    if root.entries().is_empty() {
        reader.wrong_type(&root, "a mapping of names to connections", Some("write `NAME: { use: …, with: { … } }`"));
    }
    for entry in root.entries() {
        let Some(fields) = reader.fields(&entry.value, "a connection", &["use", "with"]) else { continue };
        let mut with = fields.get("with").map(|entry| crate::reader::config(&mut reader, entry)).unwrap_or_default();
        with.places.entry(String::new()).or_insert_with(|| fields.place());
        let component = reader.required(&fields, "use", "add `use:` with the component that it is for");
        let Some(named) = component else { continue };
        let Some(component) = reader.text(named) else { continue };
        let component_span = named.value.span.clone();
        let connection = Connection { component, component_span, with, span: entry.key_span.clone() };
        connections.entries.insert(entry.key.clone(), connection);
    }
    (connections, diagnostics)
}

/// What is wrong with the connections themselves, used or not. Settings may be
/// missing: stages add theirs.
pub fn check_connections(
    connections: &Connections,
    catalogue: &Catalogue,
    environment: &dyn Environment,
) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    for connection in connections.entries.values() {
        let name = &connection.component;
        let kinds = [ComponentKind::Source, ComponentKind::Sink, ComponentKind::State];
        if !kinds.iter().any(|kind| catalogue.contains(*kind, name)) {
            let known = || kinds.iter().flat_map(|kind| catalogue.names(*kind));
            let found = Diagnostic::error("unknown-component", format!("there is no source, sink or state `{name}`"));
            let found = found.at(&connection.component_span);
            diagnostics.push(match nearest(name, known()) {
                Some(right) => found.label(format!("did you mean `{right}`?")),
                None => found.hint("`engine plugins list` shows what is installed"),
            });
            continue;
        }
        // A setting that any of them knows is right for the connection.
        let mut fewest: Option<Diagnostics> = None;
        for component in kinds.iter().filter_map(|kind| catalogue.get(*kind, name)) {
            let mut found = Diagnostics::new();
            let span = &connection.component_span;
            let params = &Params::default();
            let examination =
                Examination { component, span, environment, params, missing: Severity::Warning, partial: true };
            examination.of(&connection.with, &mut found);
            if fewest.as_ref().is_none_or(|fewest| found.errors() < fewest.errors()) {
                fewest = Some(found);
            }
        }
        diagnostics.extend(fewest.unwrap_or_default());
    }
    diagnostics
}

/// The values of a connection alone, for trying it out with `component`. Settings
/// may be missing: stages add theirs.
///
/// # Errors
/// Variables that are not set, files that cannot be read, values that do not fit.
pub fn resolve_connection(
    connection: &Connection,
    component: &ComponentDescription,
    environment: &dyn Environment,
) -> Result<ResolvedConfig, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let span = &connection.component_span;
    let params = &Params::default();
    let examination = Examination { component, span, environment, params, missing: Severity::Error, partial: true };
    let examined = examination.of(&connection.with, &mut diagnostics);
    if diagnostics.has_errors() {
        return Err(diagnostics);
    }
    Ok(ResolvedConfig::of(examined))
}

/// Puts the connection that a stage names under the stage's own settings.
pub(crate) fn merge(stage: &mut Stage, connections: &Connections, diagnostics: &mut Diagnostics) {
    add(&mut stage.with, &stage.component, stage.connection.as_ref(), connections, diagnostics);
}

/// Puts the connection that `component` names under its own settings.
pub(crate) fn add(
    with: &mut Config,
    component: &str,
    named: Option<&ConnectionUse>,
    connections: &Connections,
    diagnostics: &mut Diagnostics,
) {
    let Some(named) = named else { return };
    let Some(connection) = connections.entries.get(&named.name) else {
        let found = Diagnostic::error("unknown-connection", format!("there is no connection `{}`", named.name));
        let found = found.at(&named.span);
        let known: Vec<&str> = connections.entries.keys().map(String::as_str).collect();
        let near = nearest(&named.name, known.iter().copied());
        diagnostics.push(match (near, known.as_slice()) {
            (Some(right), _) => found.label(format!("did you mean `{right}`?")),
            (None, []) => found.hint("define it in `connections.yaml` beside the pipeline file"),
            (None, _) => {
                let file = &connections.file_name;
                found.hint(format!("define it in `{file}`; it has {}", crate::names::either(&known)))
            }
        });
        return;
    };
    if connection.component != component {
        let message =
            format!("the connection `{}` is for `{}`, not for `{}`", named.name, connection.component, component);
        let found = Diagnostic::error("wrong-connection", message).at(&named.span);
        diagnostics.push(found.note_at("it is defined here", &connection.component_span));
        return;
    }
    let mut value = connection.with.object();
    let mut own = with.object();
    if let (Value::Object(value), Value::Object(own)) = (&mut value, &mut own) {
        value.retain(|key, _| !own.contains_key(key));
        for (pointer, place) in &connection.with.places {
            let key = pointer.get(1..).unwrap_or_default().split('/').next().unwrap_or_default();
            let key = key.replace("~1", "/").replace("~0", "~");
            if !pointer.is_empty() && value.contains_key(&key) {
                with.places.insert(pointer.clone(), place.clone());
            }
        }
        value.append(own);
    }
    with.value = value;
}
