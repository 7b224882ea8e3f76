//! `state.yaml`: where the engine's state stands, when not in the state folder alone.

use engine_abi::{ComponentDescription, ComponentKind};

use crate::catalogue::Catalogue;
use crate::config_check::Examination;
use crate::connections::{self, Connections};
use crate::diagnostic::{Diagnostics, Severity};
use crate::fields::Reader;
use crate::node::Config;
use crate::params::Params;
use crate::pipeline::ConnectionUse;
use crate::references::Environment;
use crate::resolve::ResolvedConfig;
use crate::source::Span;
use crate::yaml;

/// The component that keeps the state.
#[derive(Debug, Clone)]
pub struct StateUse {
    /// As in `use:`.
    pub component: String,
    /// Where it is named.
    pub component_span: Span,
    /// Its config, references unresolved.
    pub with: Config,
    /// The connection that it names.
    pub connection: Option<ConnectionUse>,
}

/// Reads `state.yaml`. An empty file says nothing. The diagnostics belong to those
/// of the pipelines beside it.
pub fn parse_state(bytes: &[u8], file_name: &str) -> (Option<StateUse>, Diagnostics) {
    let file = yaml::read(bytes, file_name);
    let mut diagnostics = file.diagnostics;
    let Some(root) = file.root.filter(|root| !root.is_null()) else { return (None, diagnostics) };
    let mut reader = Reader { diagnostics: &mut diagnostics };
    let Some(fields) = reader.fields(&root, "a state", &["use", "with"]) else { return (None, diagnostics) };
    let (mut with, connection) = crate::reader::with(&mut reader, &fields);
    with.places.entry(String::new()).or_insert_with(|| fields.place());
    let named = reader.required(&fields, "use", "add `use:` with the component that keeps the state");
    let Some((component, span)) = named.and_then(|entry| Some((reader.text(entry)?, entry.value.span.clone()))) else {
        return (None, diagnostics);
    };
    (Some(StateUse { component, component_span: span, with, connection }), diagnostics)
}

/// What is wrong with a state.
pub fn check_state(
    state: &StateUse,
    connections: &Connections,
    catalogue: &Catalogue,
    environment: &dyn Environment,
) -> Diagnostics {
    let mut diagnostics = Diagnostics::new();
    match catalogue.get(ComponentKind::State, &state.component) {
        Some(component) => {
            examine(state, connections, component, environment, Severity::Warning, &mut diagnostics);
        }
        None if catalogue.contains(ComponentKind::State, &state.component) => {}
        None => diagnostics.push(catalogue.unknown(ComponentKind::State, &state.component, &state.component_span)),
    }
    diagnostics
}

/// The values of a state's config.
///
/// # Errors
/// Variables that are not set, files that cannot be read, values that do not fit.
pub fn resolve_state(
    state: &StateUse,
    connections: &Connections,
    component: &ComponentDescription,
    environment: &dyn Environment,
) -> Result<ResolvedConfig, Diagnostics> {
    let mut diagnostics = Diagnostics::new();
    let resolved = examine(state, connections, component, environment, Severity::Error, &mut diagnostics);
    if diagnostics.has_errors() { Err(diagnostics) } else { Ok(resolved) }
}

fn examine(
    state: &StateUse,
    connections: &Connections,
    component: &ComponentDescription,
    environment: &dyn Environment,
    missing: Severity,
    diagnostics: &mut Diagnostics,
) -> ResolvedConfig {
    let mut with = state.with.clone();
    connections::add(&mut with, &state.component, state.connection.as_ref(), connections, diagnostics);
    if diagnostics.has_errors() {
        return ResolvedConfig::nothing();
    }
    let span = &state.component_span;
    let params = &Params::default();
    ResolvedConfig::of(
        Examination { component, span, environment, params, missing, partial: false }.of(&with, diagnostics),
    )
}
