//! The state for writing: in its folder, or in a database that `state.yaml` names.

use std::path::{Path, PathBuf};

use engine_abi::ComponentKind;
use engine_runtime::RemoteState;
use engine_state::State;

use crate::arguments::Global;
use crate::exit::Failure;
use crate::project::{Around, STATE};
use crate::{console, places};

/// Opens the state in `folder`, wherever it stands.
pub fn open_state(global: &Global, folder: &Path) -> Result<State, Failure> {
    let Some(beside) = beside(folder) else { return State::open(folder).map_err(Failure::environment) };
    let around = Around::of(&beside)?;
    if around.diagnostics.has_errors() {
        return Err(around.diagnostics.into());
    }
    let Some(state) = &around.state else { return State::open(folder).map_err(Failure::environment) };
    let modules = places::modules(global, Some(folder), Some(&beside)).map_err(Failure::environment)?;
    let component = modules.component(ComponentKind::State, &state.component).map_err(Failure::environment)?;
    let resolved = engine_spec::resolve_state(state, &around.connections, component.description(), &around.outside)?;
    console::hide(resolved.secret_texts(), std::slice::from_ref(&state.component));
    let remote = RemoteState::open(&component, resolved.value, folder, &beside)?;
    State::open_mirrored(folder, Box::new(remote)).map_err(Failure::environment)
}

/// Lets another engine have a state that stands in a database.
pub fn give_back(state: &State) {
    if let Err(error) = state.release() {
        console::error_line(&format!("warning: the state was not given back, and is free in half a minute: {error}"));
    }
}

/// The folder with the `state.yaml` of a state folder: itself, or the one with the
/// pipeline files where it has its usual name.
fn beside(folder: &Path) -> Option<PathBuf> {
    let above = folder.parent().filter(|_| folder.file_name().is_some_and(|name| name == places::STATE));
    [Some(folder), above].into_iter().flatten().find(|folder| folder.join(STATE).exists()).map(Path::to_owned)
}
