//! What a module and its components say about themselves.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a component is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ComponentKind {
    /// Gives rows or files.
    Source,
    /// Rows in, rows out.
    Transform,
    /// Translates between files and rows, or between files and files.
    Format,
    /// Takes rows or files.
    Sink,
    /// Keeps what the engine remembers.
    State,
}

impl ComponentKind {
    /// All kinds, in the order of their numbers in `plugin.h` (1 and up).
    pub const ALL: [Self; 5] = [Self::Source, Self::Transform, Self::Format, Self::Sink, Self::State];

    /// The number that stands for this kind in `plugin.h`.
    pub const fn number(self) -> i32 {
        self as i32 + 1
    }

    /// The kind for a number of `plugin.h`.
    pub fn from_number(number: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Transform => "transform",
            Self::Format => "format",
            Self::Sink => "sink",
            Self::State => "state",
        }
    }
}

impl std::fmt::Display for ComponentKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What crosses a component's border: rows of named columns, or pieces of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Record batches of any columns.
    #[default]
    Rows,
    /// Record batches of `{name: Utf8, data: Binary}`.
    Files,
}

/// What a sink takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Takes {
    /// Rows.
    #[default]
    Rows,
    /// Files.
    Files,
    /// Rows, or files where a pipeline makes or copies some; `open` tells which.
    Either,
}

impl Takes {
    /// What comes to an instance of it, where the stages before it give files or not.
    pub const fn shape(self, files: bool) -> Shape {
        match self {
            Self::Files => Shape::Files,
            Self::Either if files => Shape::Files,
            Self::Rows | Self::Either => Shape::Rows,
        }
    }
}

/// What a sink guarantees when a delivery is repeated. Ordered from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promise {
    /// A repeated delivery may arrive twice.
    #[default]
    AtLeastOnce,
    /// A repeated delivery overwrites itself.
    Idempotent,
    /// The delivery's key is kept by the target in the same transaction as the data.
    EffectivelyOnce,
}

impl Promise {
    /// The word for it in pipelines and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AtLeastOnce => "at-least-once",
            Self::Idempotent => "idempotent",
            Self::EffectivelyOnce => "effectively-once",
        }
    }
}

impl std::fmt::Display for Promise {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much of a window a sink publishes at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Every split for itself: tables.
    #[default]
    Split,
    /// All splits of the window joined in their order: files.
    Run,
}

/// How much of the stream a transform must see to work on a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Each row for itself.
    #[default]
    Row,
    /// The rows of one batch.
    Batch,
    /// The whole window as one stream: sort, group, deduplicate.
    Window,
}

/// A configuration that works, shown in the reference and tried by the tests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Example {
    /// What it shows, in a few words.
    pub title: String,
    /// The configuration, as under `with:`.
    pub config: Value,
}

/// What `describe` answers: everything that the engine knows about a component
/// without running it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComponentDescription {
    /// As written in `use:`. Filled in by the host from the module's table.
    #[serde(default)]
    pub name: String,
    /// Filled in by the host from the module's table.
    #[serde(default = "source")]
    pub kind: ComponentKind,
    /// One line on what it does.
    pub summary: String,
    /// JSON Schema (2020-12) of the configuration.
    pub schema: Value,
    /// Configurations that work.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Example>,
    /// Sources: it receives on its own and needs the spool.
    #[serde(default)]
    pub push: bool,
    /// Sources: what it gives. Formats: what decoding gives and encoding takes;
    /// one of files is a compression.
    #[serde(default)]
    pub gives: Shape,
    /// Sources: reading a split again gives the same rows as long as nobody
    /// changes them at the other side.
    #[serde(default)]
    pub repeatable: bool,
    /// Sources: `plan` ends where `upper` says.
    #[serde(default)]
    pub ranges: bool,
    /// Sinks: what it takes.
    #[serde(default)]
    pub takes: Takes,
    /// Sinks: what it guarantees.
    #[serde(default)]
    pub promise: Promise,
    /// Sinks: how much it publishes at a time.
    #[serde(default)]
    pub unit: Unit,
    /// Transforms: how much it must see, at most.
    #[serde(default)]
    pub scope: Scope,
    /// Transforms: an instance may need to see less than `scope`, by its configuration, and is asked.
    #[serde(default)]
    pub narrows: bool,
    /// Formats: it turns files into rows; a compression decompresses them.
    #[serde(default)]
    pub decodes: bool,
    /// Formats: it turns rows into files; a compression compresses them.
    #[serde(default)]
    pub encodes: bool,
    /// Formats: it tells where a file can be cut.
    #[serde(default)]
    pub cuts: bool,
}

impl ComponentDescription {
    /// Whether it is a format of files on both sides: what stands under
    /// `compression:`, and not under `format:`.
    pub fn is_compression(&self) -> bool {
        self.kind == ComponentKind::Format && self.gives == Shape::Files
    }

    /// Sinks: how much an instance publishes at a time that is given rows, or files. A file is whole.
    pub fn unit_of(&self, shape: Shape) -> Unit {
        match (self.takes, shape) {
            (Takes::Either, Shape::Files) => Unit::Run,
            _ => self.unit,
        }
    }
}

const fn source() -> ComponentKind {
    ComponentKind::Source
}

/// Who a component is, as the module's manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentIdentity {
    /// What it is.
    pub kind: ComponentKind,
    /// As written in `use:`.
    pub name: String,
}

/// Who a module is: the content of its section [`crate::MANIFEST_SECTION`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleIdentity {
    /// The version of `plugin.h` that it was built with.
    pub abi: u32,
    /// The module's name.
    pub name: String,
    /// The module's own version.
    pub version: String,
    /// What it holds.
    pub components: Vec<ComponentIdentity>,
    /// How rows cross the border of a WASM module.
    #[serde(default, skip_serializing_if = "RowForm::is_arrow")]
    pub rows: RowForm,
}

/// How the rows of a WASM module cross its border.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowForm {
    /// As pieces of an Arrow IPC stream.
    #[default]
    Arrow,
    /// As arrays of JSON objects.
    Json,
}

impl RowForm {
    fn is_arrow(&self) -> bool {
        *self == Self::Arrow
    }
}

/// Whether a component may have this name: `[a-z][a-z0-9_]*`, so that it can be
/// written everywhere, in YAML, in a file's name, in the name of a variable.
pub const fn is_component_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let later = at > 0 && (bytes[at].is_ascii_digit() || bytes[at] == b'_');
        if !bytes[at].is_ascii_lowercase() && !later {
            return false;
        }
        at += 1;
    }
    !bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::is_component_name;

    #[test]
    fn a_name_is_small_letters_digits_and_underscores() {
        for name in ["a", "csv", "avaya_cdr", "s3", "a_"] {
            assert!(is_component_name(name), "{name}");
        }
        for name in ["", "CSV", "3s", "_a", "a-b", "a b", "a.b", "größe"] {
            assert!(!is_component_name(name), "{name}");
        }
    }
}
