//! A YAML document as a tree in which everything knows its place.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Number, Value};

use crate::source::Span;

/// A value and where it is written.
#[derive(Clone, PartialEq)]
pub struct Node {
    /// The value.
    pub kind: NodeKind,
    /// Where it is written. What came in by an alias keeps the place of its
    /// anchor.
    pub span: Span,
}

/// What a [`Node`] is, by the core schema of YAML 1.2.
#[derive(Clone, PartialEq)]
pub enum NodeKind {
    /// `null`, `~` or nothing at all.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number that JSON can carry without loss.
    Number(Number),
    /// Anything else that is not a collection.
    Text(String),
    /// A list.
    Sequence(Vec<Node>),
    /// Keys and values in the order of the file. Keys are unique.
    Mapping(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key is written.
    pub key_span: Span,
    /// What it holds.
    pub value: Node,
}

impl Node {
    /// The value of a key, if this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entries().iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The entries of a mapping; none of anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            NodeKind::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// The items of a list; none of anything else.
    pub fn items(&self) -> &[Self] {
        match &self.kind {
            NodeKind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The text, if it is one.
    pub fn as_text(&self) -> Option<&str> {
        match &self.kind {
            NodeKind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether nothing stands there.
    pub fn is_null(&self) -> bool {
        matches!(self.kind, NodeKind::Null)
    }

    /// What it is, for messages, without the value.
    pub fn describe(&self) -> &'static str {
        match &self.kind {
            NodeKind::Null => "nothing",
            NodeKind::Bool(true) => "`true`",
            NodeKind::Bool(false) => "`false`",
            NodeKind::Number(_) => "a number",
            NodeKind::Text(_) => "text",
            NodeKind::Sequence(_) => "a list",
            NodeKind::Mapping(_) => "a mapping",
        }
    }

    /// The value as JSON, with the place of every part of it.
    pub fn to_config(&self) -> Config {
        let mut config = Config::default();
        config.value = self.collect("", None, &mut config.places);
        config
    }

    fn collect(&self, pointer: &str, key: Option<&Span>, places: &mut BTreeMap<String, Place>) -> Value {
        places.insert(pointer.to_owned(), Place { key: key.cloned(), value: self.span.clone() });
        match &self.kind {
            NodeKind::Null => Value::Null,
            NodeKind::Bool(value) => Value::Bool(*value),
            NodeKind::Number(value) => Value::Number(value.clone()),
            NodeKind::Text(value) => Value::String(value.clone()),
            NodeKind::Sequence(items) => items
                .iter()
                .enumerate()
                .map(|(at, item)| item.collect(&format!("{pointer}/{at}"), None, places))
                .collect(),
            NodeKind::Mapping(entries) => entries
                .iter()
                .map(|entry| {
                    let below = child(pointer, &entry.key);
                    (entry.key.clone(), entry.value.collect(&below, Some(&entry.key_span), places))
                })
                .collect::<Map<_, _>>()
                .into(),
        }
    }

    /// The value as JSON.
    pub fn to_json(&self) -> Value {
        self.to_config().value
    }
}

/// The kind and the place: values may be secrets.
impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.describe(), self.span)
    }
}

/// Where a part of a config is written.
#[derive(Debug, Clone, PartialEq)]
pub struct Place {
    /// The key, unless it is an item of a list or the whole.
    pub key: Option<Span>,
    /// The value.
    pub value: Span,
}

/// The config of a component as written, references unresolved, with the place
/// of every part of it. `Debug` shows no value.
#[derive(Clone, Default, PartialEq)]
pub struct Config {
    /// The config as JSON; `null` when the stage has none.
    pub value: Value,
    /// The place of every part, by JSON Pointer.
    pub places: BTreeMap<String, Place>,
    /// JSON Pointers of what the component's schema calls a secret. Filled in by
    /// [`crate::check`].
    pub secrets: Vec<String>,
}

impl Config {
    /// The value, with an empty mapping for nothing.
    pub fn object(&self) -> Value {
        if self.value.is_null() { Value::Object(Map::new()) } else { self.value.clone() }
    }

    /// The place of a part, or of the nearest part around it that has one.
    pub fn place(&self, pointer: &str) -> Option<&Place> {
        let mut at = pointer;
        loop {
            if let Some(place) = self.places.get(at) {
                return Some(place);
            }
            at = &at[..at.rfind('/')?];
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.places.keys()).finish()
    }
}

/// The JSON Pointer of a key below another.
pub(crate) fn child(pointer: &str, key: &str) -> String {
    format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))
}

/// What a copy of a node costs.
#[derive(Clone, Copy)]
pub(crate) struct Weight {
    pub(crate) nodes: usize,
    /// Bytes of keys and texts.
    pub(crate) bytes: usize,
    /// Levels of lists and mappings.
    pub(crate) depth: usize,
}

impl Weight {
    pub(crate) fn of(node: &Node) -> Self {
        let mut weight = Self { nodes: 0, bytes: 0, depth: 0 };
        let mut left = vec![(node, 0)];
        while let Some((node, above)) = left.pop() {
            let depth = above + usize::from(matches!(node.kind, NodeKind::Sequence(_) | NodeKind::Mapping(_)));
            weight.nodes += 1;
            weight.bytes += node.as_text().map_or(0, str::len);
            weight.depth = weight.depth.max(depth);
            left.extend(node.items().iter().map(|item| (item, depth)));
            for entry in node.entries() {
                weight.bytes += entry.key.len();
                left.push((&entry.value, depth));
            }
        }
        weight
    }
}
