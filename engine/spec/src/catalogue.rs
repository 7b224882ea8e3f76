//! The components that exist, as data.

use std::collections::{BTreeMap, BTreeSet};

use engine_abi::{ComponentDescription, ComponentKind};

use crate::diagnostic::Diagnostic;
use crate::names::nearest;
use crate::source::Span;

/// What components exist and what is known of them.
#[derive(Debug, Clone, Default)]
pub struct Catalogue {
    described: BTreeMap<(ComponentKind, String), ComponentDescription>,
    named: BTreeSet<(ComponentKind, String)>,
    sandboxed: BTreeSet<(ComponentKind, String)>,
}

impl Catalogue {
    /// No component at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a component. One of the same kind and name is replaced.
    pub fn add(&mut self, component: ComponentDescription) {
        self.named.insert((component.kind, component.name.clone()));
        self.described.insert((component.kind, component.name.clone()), component);
    }

    /// Says that a component exists that is not described: it can be used and
    /// offered as the right name, but its config and its fit are not checked.
    pub fn add_name(&mut self, kind: ComponentKind, name: impl Into<String>) {
        self.named.insert((kind, name.into()));
    }

    /// Says that a component is never run by the engine's own process, because its
    /// module is none of native code.
    pub fn add_sandboxed(&mut self, kind: ComponentKind, name: impl Into<String>) {
        self.sandboxed.insert((kind, name.into()));
    }

    /// Whether a component has a sandbox without being given one.
    pub fn is_sandboxed(&self, kind: ComponentKind, name: &str) -> bool {
        self.sandboxed.contains(&(kind, name.to_owned()))
    }

    /// The description of a component.
    pub fn get(&self, kind: ComponentKind, name: &str) -> Option<&ComponentDescription> {
        self.described.get(&(kind, name.to_owned()))
    }

    /// All described components, by kind and name.
    pub fn components(&self) -> impl Iterator<Item = &ComponentDescription> {
        self.described.values()
    }

    /// The names of a kind, in order.
    pub fn names(&self, kind: ComponentKind) -> impl Iterator<Item = &str> {
        self.named.iter().filter(move |(of, _)| *of == kind).map(|(_, name)| name.as_str())
    }

    /// Whether a component of this kind and name exists, described or not.
    pub fn contains(&self, kind: ComponentKind, name: &str) -> bool {
        self.named.contains(&(kind, name.to_owned()))
    }

    /// The kinds under which a name exists.
    pub(crate) fn kinds(&self, name: &str) -> Vec<ComponentKind> {
        ComponentKind::ALL.into_iter().filter(|kind| self.contains(*kind, name)).collect()
    }

    /// What to say about a component that does not exist.
    pub(crate) fn unknown(&self, kind: ComponentKind, name: &str, span: &Span) -> Diagnostic {
        let found = Diagnostic::error("unknown-component", format!("there is no {kind} `{name}`")).at(span);
        if let [other, ..] = self.kinds(name).as_slice() {
            let known: Vec<&str> = self.names(kind).collect();
            let found = found.label(format!("`{name}` is a {other}"));
            return match known.as_slice() {
                [] => found.hint(format!("no {kind} is installed; `engine plugins list` shows what is")),
                _ => found.hint(format!("installed {kind}s: {}", list(&known))),
            };
        }
        if let Some(right) = nearest(name, self.names(kind)) {
            return found.label(format!("did you mean `{right}`?"));
        }
        let known: Vec<&str> = self.names(kind).collect();
        let hint = match known.as_slice() {
            [] => format!("no {kind} is installed; `engine plugins path` shows where modules are looked for"),
            _ => {
                format!("installed {kind}s: {}; `engine plugins path` shows where others are looked for", list(&known))
            }
        };
        found.hint(hint)
    }
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}
