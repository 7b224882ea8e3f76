//! Who runs a module, and what its stage grants it, as a pipeline says it.

use std::time::Duration;

use engine_abi::message::Limits;

use crate::diagnostic::Diagnostic;
use crate::fields::{Fields, Reader};
use crate::names::quoted;
use crate::node::{Entry, Node, NodeKind};
use crate::references::is_variable;
use crate::source::Span;
use crate::units::{format_bytes, format_duration};

/// Less holds no module.
pub(crate) const MIN_MEMORY: u64 = 1 << 20;
/// A shorter call ends by chance on a busy machine.
pub(crate) const MIN_DEADLINE: Duration = Duration::from_millis(10);
/// A longer one never ends, as far as anybody waits for it.
pub(crate) const MAX_DEADLINE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where variables have their values, for hints.
const VALUES: &str = "values come from the environment, or from `.env` beside the pipeline file";

/// Who runs a native module. One of WASM has a sandbox of its own in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// The engine's own process.
    #[default]
    None,
    /// A child process.
    Process,
}

impl Isolation {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::None, Self::Process];

    /// The word for it in a pipeline.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Process => "process",
        }
    }
}

/// What a stage says of the module that it uses: `isolation`, `limits` and `permissions`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SandboxWords {
    /// Who runs the module.
    pub isolation: Isolation,
    /// Where the file says so, if it does.
    pub isolation_span: Option<Span>,
    /// What it may use up.
    pub limits: LimitWords,
    /// What it may reach.
    pub permissions: PermissionWords,
}

/// What a sandboxed module may use up, as far as the file says.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LimitWords {
    /// Memory of one instance, in bytes. At least 1 MiB.
    pub memory: Option<u64>,
    /// Time of one call, in whole milliseconds. From 10 ms to a day.
    pub deadline: Option<Duration>,
    /// Where the file says so, if it does.
    pub span: Option<Span>,
}

impl LimitWords {
    /// The limits, with the defaults where the file says nothing.
    pub fn limits(&self) -> Limits {
        let default = Limits::default();
        let milliseconds = |deadline: Duration| u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        Limits {
            memory_bytes: self.memory.unwrap_or(default.memory_bytes),
            deadline_ms: self.deadline.map_or(default.deadline_ms, milliseconds),
        }
    }
}

/// What a sandboxed module may reach, with references unresolved. By default nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PermissionWords {
    /// Hosts that it may send HTTP requests to: `api.example.com`, `*.example.org:8443`,
    /// `http://192.0.2.7:8080`.
    pub hosts: Grants,
    /// Private networks that the names of hosts may stand for: `10.1.0.0/16`.
    pub networks: Grants,
    /// Names of variables that it sees; their values are none of the pipeline's.
    pub environment: Grants,
    /// Folders that it may read; relative ones start at the pipeline's folder.
    pub read: Grants,
    /// Folders that it may read and write.
    pub write: Grants,
    /// Where the file says so, if it does.
    pub span: Option<Span>,
}

impl PermissionWords {
    /// Each list with its key.
    pub fn lists(&self) -> [(&'static str, &Grants); 5] {
        [
            ("hosts", &self.hosts),
            ("networks", &self.networks),
            ("environment", &self.environment),
            ("read", &self.read),
            ("write", &self.write),
        ]
    }
}

/// One list of permissions.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grants {
    /// In the order of the file.
    pub items: Vec<Grant>,
    /// Where the key stands, if it does.
    pub span: Option<Span>,
}

/// One item of a list of permissions.
#[derive(Debug, Clone, PartialEq)]
pub struct Grant {
    /// The text as written.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl SandboxWords {
    /// Reads the three keys of a stage, a format or a compression.
    pub(crate) fn read(reader: &mut Reader<'_>, fields: &Fields<'_>) -> Self {
        let isolation = fields.get("isolation");
        Self {
            isolation: isolation.map_or(Isolation::None, |entry| {
                // Whoever wrote a wrong word wanted something else than nothing.
                reader.choice(entry, &Isolation::ALL, Isolation::as_str).unwrap_or(Isolation::Process)
            }),
            isolation_span: isolation.map(|entry| entry.key_span.clone()),
            limits: fields.get("limits").map(|entry| limits(reader, entry)).unwrap_or_default(),
            permissions: fields.get("permissions").map(|entry| permissions(reader, entry)).unwrap_or_default(),
        }
    }
}

fn limits(reader: &mut Reader<'_>, entry: &Entry) -> LimitWords {
    let mut words = LimitWords { span: Some(entry.key_span.clone()), ..LimitWords::default() };
    let Some(fields) = reader.fields(&entry.value, "`limits`", &["memory", "deadline"]) else { return words };
    let default = Limits::default();
    if let Some(entry) = fields.get("memory")
        && let Some(memory) = reader.bytes(entry)
    {
        let bound = format!("is at least `{}`", format_bytes(MIN_MEMORY));
        within(reader, entry, memory >= MIN_MEMORY, &bound, &format_bytes(default.memory_bytes));
        words.memory = Some(memory);
    }
    if let Some(entry) = fields.get("deadline")
        && let Some(deadline) = reader.duration(entry)
    {
        let bound = format!("is from `{}` to `{}`", format_duration(MIN_DEADLINE), format_duration(MAX_DEADLINE));
        let is_right = (MIN_DEADLINE..=MAX_DEADLINE).contains(&deadline);
        within(reader, entry, is_right, &bound, &format_duration(Duration::from_millis(default.deadline_ms)));
        words.deadline = Some(deadline);
    }
    words
}

fn within(reader: &mut Reader<'_>, entry: &Entry, is_right: bool, bound: &str, default: &str) {
    if !is_right {
        let found = Diagnostic::error("out-of-range", format!("`{}` {bound}", entry.key)).at(&entry.value.span);
        reader.diagnostics.push(found.hint(format!("without it, it is `{default}`")));
    }
}

fn permissions(reader: &mut Reader<'_>, entry: &Entry) -> PermissionWords {
    const KEYS: [&str; 5] = ["hosts", "networks", "environment", "read", "write"];
    let span = Some(entry.key_span.clone());
    let Some(fields) = reader.fields(&entry.value, "`permissions`", &KEYS) else {
        return PermissionWords { span, ..PermissionWords::default() };
    };
    let environment = fields.get("environment").map(|entry| environment(reader, entry)).unwrap_or_default();
    let mut list = |key, expected| fields.get(key).map(|entry| grants(reader, entry, expected)).unwrap_or_default();
    PermissionWords {
        hosts: list("hosts", "the text of a host"),
        networks: list("networks", "the text of a network"),
        environment,
        read: list("read", "the path of a folder"),
        write: list("write", "the path of a folder"),
        span,
    }
}

fn grants(reader: &mut Reader<'_>, entry: &Entry, expected: &str) -> Grants {
    let nodes = reader.list(entry);
    let grant = |node: &Node| Some(Grant { text: reader.text_of(node, expected)?, span: node.span.clone() });
    Grants { items: nodes.iter().filter_map(grant).collect(), span: Some(entry.key_span.clone()) }
}

fn environment(reader: &mut Reader<'_>, entry: &Entry) -> Grants {
    hide_values(&entry.value);
    if matches!(entry.value.kind, NodeKind::Mapping(_)) {
        let hint = format!("write a list of the names alone, such as `[API_TOKEN]`: {VALUES}");
        reader.wrong_type(&entry.value, "a list for `environment`", Some(&hint));
        return Grants { span: Some(entry.key_span.clone()), ..Grants::default() };
    }
    let mut grants = grants(reader, entry, "the name of a variable");
    grants.items.retain(|grant| is_name(reader, grant));
    grants
}

/// Where names are expected, values are secrets that somebody has written out.
fn hide_values(node: &Node) {
    match &node.kind {
        NodeKind::Sequence(items) => items.iter().for_each(hide_values),
        NodeKind::Mapping(entries) => entries.iter().for_each(|entry| entry.value.span.hide()),
        NodeKind::Text(text) if text.contains('=') => node.span.hide(),
        _ => {}
    }
}

fn is_name(reader: &mut Reader<'_>, grant: &Grant) -> bool {
    const RULE: &str = "a name has letters, digits and `_`, and does not start with a digit";
    let Grant { text, span } = grant;
    if is_variable(text) {
        return true;
    }
    let bare = text.trim_start_matches(['$', '{']).trim_start_matches("env:");
    let end = bare.find(|character: char| !character.is_ascii_alphanumeric() && character != '_');
    let name = &bare[..end.unwrap_or(bare.len())];
    let has_value = text.contains('=');
    let shown = if has_value { "a name with a value".to_owned() } else { quoted(text) };
    let found = Diagnostic::error("bad-name", format!("{shown} cannot be the name of a variable")).at(span);
    reader.diagnostics.push(match (has_value || text.starts_with('$')) && is_variable(name) {
        true => found.hint(format!("write `{name}` alone: {VALUES}")),
        false => found.hint(RULE),
    });
    false
}
