//! A tree into a typed pipeline: keys, types and names, without a look at what
//! components exist.

use std::num::NonZeroUsize;

use serde_json::Value;

use crate::alarms::Alarms;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::fields::{Fields, Reader};
use crate::node::{Config, Entry, Node, NodeKind};
use crate::params::Params;
use crate::pipeline::{
    Burst, ConnectionUse, Event, FormatUse, Growth, Notice, OnEmpty, OnExhausted, OnSchemaChange, Pipeline, Position,
    Retry, SpoolOptions, Stage, TestCase, TestInput, Unfinished,
};
use crate::sandbox::SandboxWords;
use crate::schedule::Schedule;

const PIPELINE_KEYS: [&str; 23] = [
    "name",
    "description",
    "params",
    "timezone",
    "schedule",
    "alarms",
    "source",
    "transforms",
    "sinks",
    "sink",
    "retry",
    "parallelism",
    "max_rows",
    "on_schema_change",
    "unfinished",
    "spool",
    Event::Failure.key(),
    Event::Recovered.key(),
    Event::Success.key(),
    Event::Empty.key(),
    Event::Alert.key(),
    Event::Alarm.key(),
    "tests",
];
/// More would only be more connections.
const MAX_PARALLELISM: u64 = 64;
const STAGE_KEYS: [&str; 9] =
    ["use", "name", "with", "compression", "format", "retry", "isolation", "limits", "permissions"];
const SINK_KEYS: [&str; 12] = [
    "use",
    "name",
    "with",
    "compression",
    "format",
    "retry",
    "keep",
    "burst",
    "empty",
    "isolation",
    "limits",
    "permissions",
];
const NOTICE_KEYS: [&str; 9] =
    ["use", "with", "compression", "format", "retry", "isolation", "limits", "permissions", "every"];
const TRANSFORM_KEYS: [&str; 6] = ["use", "name", "with", "isolation", "limits", "permissions"];
const FORMAT_KEYS: [&str; 5] = ["use", "with", "isolation", "limits", "permissions"];

/// A pipeline of which parts may be missing; every gap has its diagnostic.
pub(crate) struct Draft {
    name: Option<String>,
    description: Option<String>,
    pub(crate) params: Params,
    pub(crate) schedule: Option<Schedule>,
    pub(crate) alarms: Option<Alarms>,
    pub(crate) source: Option<Stage>,
    pub(crate) transforms: Vec<Stage>,
    pub(crate) sinks: Vec<Stage>,
    parallelism: Option<NonZeroUsize>,
    max_rows: Option<u64>,
    on_schema_change: OnSchemaChange,
    unfinished: Unfinished,
    pub(crate) spool: SpoolOptions,
    pub(crate) notices: Vec<Notice>,
    tests: Vec<TestCase>,
}

impl Draft {
    /// The pipeline, unless an essential part is missing.
    pub(crate) fn finish(self) -> Option<Pipeline> {
        if self.sinks.is_empty() {
            return None;
        }
        Some(Pipeline {
            name: self.name?,
            description: self.description,
            params: self.params,
            schedule: self.schedule,
            alarms: self.alarms,
            source: self.source?,
            transforms: self.transforms,
            sinks: self.sinks,
            parallelism: self.parallelism,
            max_rows: self.max_rows,
            on_schema_change: self.on_schema_change,
            unfinished: self.unfinished,
            spool: self.spool,
            notices: self.notices,
            tests: self.tests,
        })
    }

    pub(crate) fn stages(&self) -> impl Iterator<Item = &Stage> {
        let notices = self.notices.iter().map(|notice| &notice.stage);
        self.source.iter().chain(&self.transforms).chain(&self.sinks).chain(notices)
    }

    pub(crate) fn stages_mut(&mut self) -> impl Iterator<Item = &mut Stage> {
        let notices = self.notices.iter_mut().map(|notice| &mut notice.stage);
        self.source.iter_mut().chain(&mut self.transforms).chain(&mut self.sinks).chain(notices)
    }
}

/// Reads a pipeline. `exhausted` is what a spent retry does where the file does
/// not say.
pub(crate) fn read(root: &Node, exhausted: OnExhausted, diagnostics: &mut Diagnostics) -> Option<Draft> {
    let mut reader = Reader { diagnostics };
    let fields = reader.fields(root, "a pipeline", &PIPELINE_KEYS)?;
    let name = name(&mut reader, &fields, root);
    let retry = RetryWords::read(&mut reader, fields.get("retry"));
    let default = retry.over(&Retry { on_exhausted: exhausted, ..Retry::default() });
    let description = fields.get("description").and_then(|entry| reader.text(entry));
    let params = Params::read(&mut reader, fields.get("params"), fields.get("timezone"));
    let schedule = fields.get("schedule").and_then(|entry| Schedule::read(&mut reader, entry, params.zone));
    let alarms = fields.get("alarms").and_then(|entry| Alarms::read(&mut reader, entry));
    let source = reader
        .required(&fields, "source", "add `source:` with `use:` and `with:`")
        .and_then(|entry| stage(&mut reader, &entry.value, Position::Source, &default));
    let transforms = fields.get("transforms").map(|entry| reader.list(entry)).unwrap_or_default();
    let transforms = transforms
        .iter()
        .enumerate()
        .filter_map(|(at, node)| stage(&mut reader, node, Position::Transform(at), &default))
        .collect();
    let sinks = sinks(&mut reader, &fields, &default);
    let parallelism = fields.get("parallelism").and_then(|entry| reader.integer(entry, 1, MAX_PARALLELISM));
    let parallelism = parallelism.and_then(|number| NonZeroUsize::new(number as usize));
    let max_rows = fields.get("max_rows").and_then(|entry| reader.integer(entry, 1, u64::MAX));
    let unfinished = fields
        .get("unfinished")
        .and_then(|entry| reader.choice(entry, &Unfinished::ALL, Unfinished::as_str))
        .unwrap_or_default();
    let on_schema_change = fields
        .get("on_schema_change")
        .and_then(|entry| reader.choice(entry, &OnSchemaChange::ALL, OnSchemaChange::as_str))
        .unwrap_or_default();
    let spool = fields.get("spool").map(|entry| spool(&mut reader, entry)).unwrap_or_default();
    // Who is told must not be told otherwise than at once or never: waiting for ever would hold the run's end up.
    let told = retry.over(&Retry { on_exhausted: OnExhausted::Fail, ..Retry::default() });
    let told = Retry { on_exhausted: OnExhausted::Fail, ..told };
    let notices =
        Event::ALL.into_iter().filter_map(|event| notice(&mut reader, fields.get(event.key())?, event, &told));
    let notices = notices.collect();
    let tests = fields.get("tests").map(|entry| reader.list(entry)).unwrap_or_default();
    let tests = tests.iter().filter_map(|node| test(&mut reader, node)).collect();
    Some(Draft {
        name,
        description,
        params,
        schedule,
        alarms,
        source,
        transforms,
        sinks,
        parallelism,
        max_rows,
        on_schema_change,
        unfinished,
        spool,
        notices,
        tests,
    })
}

fn name(reader: &mut Reader<'_>, fields: &Fields<'_>, root: &Node) -> Option<String> {
    let Some(entry) = fields.get("name") else {
        let file = root.span.source().name();
        let file = file.rsplit(['/', '\\']).next().unwrap_or(file);
        let stem = file.strip_suffix(".yaml").or_else(|| file.strip_suffix(".yml")).unwrap_or(file);
        if is_name(stem) {
            return Some(stem.to_owned());
        }
        let found = Diagnostic::error("missing-key", "the file's name makes no name for the pipeline").at(&root.span);
        reader.diagnostics.push(found.hint("add `name:` with small letters, digits, `_` and `-`"));
        return None;
    };
    let name = reader.text(entry)?;
    check_name(reader, entry, &name).then_some(name)
}

fn is_name(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-');
    !text.is_empty() && text.len() <= 100 && text.bytes().all(allowed)
}

fn check_name(reader: &mut Reader<'_>, entry: &Entry, name: &str) -> bool {
    if is_name(name) {
        return true;
    }
    let found = Diagnostic::error("bad-name", "a name has small letters, digits, `_` and `-`, 100 at most");
    let found = found.at(&entry.value.span);
    let mended = name.to_lowercase().replace([' ', '.', '/'], "_");
    let found = if is_name(&mended) { found.hint(format!("write `{mended}`")) } else { found };
    reader.diagnostics.push(found);
    false
}

fn sinks(reader: &mut Reader<'_>, fields: &Fields<'_>, default: &Retry) -> Vec<Stage> {
    let list = fields.get("sinks");
    let single = fields.get("sink");
    if let (Some(list), Some(single)) = (list, single) {
        let found = Diagnostic::error("conflicting-keys", "`sink` and `sinks` say the same thing twice");
        let found = found.at(&single.key_span).note_at("the other is here", &list.key_span);
        reader.diagnostics.push(found.hint("put all of them under `sinks:`"));
    }
    let nodes: &[Node] = match (list, single) {
        (Some(entry), _) => reader.list(entry),
        (None, Some(entry)) => std::slice::from_ref(&entry.value),
        (None, None) => {
            reader.required(fields, "sinks", "add `sinks:`, a list of stages with `use:` and `with:`");
            return Vec::new();
        }
    };
    if let (Some(entry), []) = (list, nodes)
        && matches!(entry.value.kind, NodeKind::Sequence(_))
    {
        let found = Diagnostic::error("missing-key", "the list of sinks is empty").at(&entry.key_span);
        reader.diagnostics.push(found.hint("add a sink, such as `- use: file`"));
    }
    let sinks: Vec<Stage> =
        nodes.iter().enumerate().filter_map(|(at, node)| stage(reader, node, Position::Sink(at), default)).collect();
    for (at, sink) in sinks.iter().enumerate() {
        if Event::of_key(&sink.name).is_some() {
            let found =
                Diagnostic::error("bad-name", format!("`{}` is the name of a notice", sink.name)).at(&sink.span);
            reader.diagnostics.push(found.hint("give the sink another `name:`: deliveries are remembered under it"));
        }
        if let Some(first) = sinks[..at].iter().find(|first| first.name == sink.name) {
            let found = Diagnostic::error("same-name", format!("two sinks have the name `{}`", sink.name));
            let found = found.at(&sink.span).note_at("the first is here", &first.span);
            let hint = "give each a `name:` of its own: deliveries are remembered under it";
            reader.diagnostics.push(found.hint(hint));
        }
    }
    sinks
}

fn stage(reader: &mut Reader<'_>, node: &Node, position: Position, default: &Retry) -> Option<Stage> {
    let (what, keys): (_, &[&'static str]) = match position {
        Position::Source => ("a source", &STAGE_KEYS),
        Position::Transform(_) => ("a transform", &TRANSFORM_KEYS),
        Position::Sink(_) => ("a sink", &SINK_KEYS),
        Position::Notice(_) => ("a notice", &NOTICE_KEYS),
    };
    let fields = reader.fields(node, what, keys)?;
    let retry = RetryWords::read(reader, fields.get("retry")).over(default);
    let (mut with, connection) = with(reader, &fields);
    with.places.entry(String::new()).or_insert_with(|| fields.place());
    let compression = fields.get("compression").and_then(|entry| format(reader, entry, "a compression"));
    let format = fields.get("format").and_then(|entry| format(reader, entry, "a format"));
    let keep = fields.get("keep").and_then(|entry| reader.duration(entry));
    let empty = fields.get("empty").and_then(|entry| reader.choice(entry, &OnEmpty::ALL, OnEmpty::as_str));
    let empty = empty.unwrap_or_default();
    let burst = fields.get("burst").and_then(|entry| burst(reader, entry));
    let sandbox = SandboxWords::read(reader, &fields);
    let component = reader.required(&fields, "use", &format!("add `use:` with the name of {what}"));
    let component_entry = component?;
    let component = reader.text(component_entry)?;
    let name = match fields.get("name") {
        Some(entry) => {
            let name = reader.text(entry)?;
            check_name(reader, entry, &name);
            name
        }
        None => match position {
            Position::Notice(event) => event.key().to_owned(),
            _ => component.clone(),
        },
    };
    Some(Stage {
        position,
        component,
        component_span: component_entry.value.span.clone(),
        name,
        with,
        connection,
        compression,
        format,
        sandbox,
        retry,
        keep,
        empty,
        burst,
        span: node.span.clone(),
    })
}

fn burst(reader: &mut Reader<'_>, entry: &Entry) -> Option<Burst> {
    let fields = reader.fields(&entry.value, "`burst`", &["by", "filename"])?;
    let by = reader.required(&fields, "by", "add `by:`, the column whose values get a file each");
    let by = by.and_then(|entry| reader.text(entry));
    let hint = "add `filename:`, such as `sales-{{ value }}.csv`";
    let named = reader.required(&fields, "filename", hint);
    let filename = named.and_then(|entry| reader.text(entry));
    Some(Burst { by: by?, filename: filename? })
}

fn notice(reader: &mut Reader<'_>, entry: &Entry, event: Event, default: &Retry) -> Option<Notice> {
    let stage = stage(reader, &entry.value, Position::Notice(event), default)?;
    if stage.retry.on_exhausted != OnExhausted::Fail {
        let found = Diagnostic::error("useless-key", "a notice that cannot be told is kept for the next run");
        reader.diagnostics.push(found.at(&entry.key_span).hint("remove `on_exhausted:` from its `retry:`"));
    }
    let every = entry.value.entries().iter().find(|entry| entry.key == "every");
    if let (Some(every), false) = (every, event == Event::Failure) {
        let found = Diagnostic::error("useless-key", format!("`{}` is told each time", event.key()));
        reader.diagnostics.push(found.at(&every.key_span).hint("remove `every:`, which belongs to `on_failure:`"));
    }
    let every = every.and_then(|entry| reader.duration(entry)).unwrap_or(Notice::EVERY);
    Some(Notice { event, stage, every })
}

/// The config under `with:`, and the connection that it names.
pub(crate) fn with(reader: &mut Reader<'_>, fields: &Fields<'_>) -> (Config, Option<ConnectionUse>) {
    let Some(entry) = fields.get("with") else { return (Config::default(), None) };
    let mut config = config(reader, entry);
    let Some(named) = entry.value.get("connection") else { return (config, None) };
    if let Value::Object(object) = &mut config.value {
        object.shift_remove("connection");
    }
    config.places.retain(|pointer, _| pointer != "/connection" && !pointer.starts_with("/connection/"));
    match named.as_text() {
        Some(name) => (config, Some(ConnectionUse { name: name.to_owned(), span: named.span.clone() })),
        None => {
            let found =
                Diagnostic::error("wrong-type", format!("expected a connection's name, found {}", named.describe()));
            let found = found.at(&named.span);
            reader.diagnostics.push(found.hint("connections are defined in `connections.yaml` and named here"));
            (config, None)
        }
    }
}

/// The config under `with:`, which must be a mapping.
pub(crate) fn config(reader: &mut Reader<'_>, entry: &Entry) -> Config {
    if !matches!(entry.value.kind, NodeKind::Mapping(_)) {
        reader.wrong_type(&entry.value, "a mapping of settings", Some("write each setting as `key: value`"));
        return Config::default();
    }
    let mut config = entry.value.to_config();
    if let Some(place) = config.places.get_mut("") {
        place.key = Some(entry.key_span.clone());
    }
    config
}

/// Reads `what`, which is a name or a mapping.
fn format(reader: &mut Reader<'_>, entry: &Entry, what: &'static str) -> Option<FormatUse> {
    let node = &entry.value;
    if let Some(component) = node.as_text() {
        let mut with = Config::default();
        let place = crate::node::Place { key: None, value: node.span.clone() };
        with.places.insert(String::new(), place);
        return Some(FormatUse {
            component: component.to_owned(),
            component_span: node.span.clone(),
            with,
            sandbox: SandboxWords::default(),
            span: node.span.clone(),
        });
    }
    if !matches!(node.kind, NodeKind::Mapping(_)) {
        reader.wrong_type(node, &format!("the name of {what}, or a mapping with `use:` and `with:`"), None);
        return None;
    }
    let fields = reader.fields(node, what, &FORMAT_KEYS)?;
    let mut with = fields.get("with").map(|entry| config(reader, entry)).unwrap_or_default();
    with.places.entry(String::new()).or_insert_with(|| fields.place());
    let sandbox = SandboxWords::read(reader, &fields);
    let named = reader.required(&fields, "use", &format!("add `use:` with the name of {what}"))?;
    let component = reader.text(named)?;
    let (component_span, span) = (named.value.span.clone(), node.span.clone());
    Some(FormatUse { component, component_span, with, sandbox, span })
}

/// What a file says about retries; the rest comes from further up.
#[derive(Default)]
struct RetryWords {
    attempts: Option<u32>,
    backoff: Option<std::time::Duration>,
    growth: Option<Growth>,
    max: Option<std::time::Duration>,
    deadline: Option<std::time::Duration>,
    on_exhausted: Option<OnExhausted>,
}

impl RetryWords {
    fn read(reader: &mut Reader<'_>, entry: Option<&Entry>) -> Self {
        const KEYS: [&str; 6] = ["attempts", "backoff", "growth", "max", "deadline", "on_exhausted"];
        let fields = entry.and_then(|entry| reader.fields(&entry.value, "`retry`", &KEYS));
        let Some(fields) = fields else { return Self::default() };
        Self {
            attempts: fields.get("attempts").and_then(|entry| reader.integer(entry, 1, 1_000_000)).map(|n| n as u32),
            backoff: fields.get("backoff").and_then(|entry| reader.duration(entry)),
            growth: fields.get("growth").and_then(|entry| reader.choice(entry, &Growth::ALL, Growth::as_str)),
            max: fields.get("max").and_then(|entry| reader.duration(entry)),
            deadline: fields.get("deadline").and_then(|entry| reader.duration(entry)),
            on_exhausted: fields
                .get("on_exhausted")
                .and_then(|entry| reader.choice(entry, &OnExhausted::ALL, OnExhausted::as_str)),
        }
    }

    fn over(&self, default: &Retry) -> Retry {
        Retry {
            attempts: self.attempts.unwrap_or(default.attempts),
            backoff: self.backoff.unwrap_or(default.backoff),
            growth: self.growth.unwrap_or(default.growth),
            max: self.max.unwrap_or(default.max),
            deadline: self.deadline.or(default.deadline),
            on_exhausted: self.on_exhausted.unwrap_or(default.on_exhausted),
        }
    }
}

fn spool(reader: &mut Reader<'_>, entry: &Entry) -> SpoolOptions {
    let default = SpoolOptions { span: Some(entry.key_span.clone()), ..SpoolOptions::default() };
    let Some(fields) = reader.fields(&entry.value, "`spool`", &["max", "segment"]) else { return default };
    let max = fields.get("max").and_then(|entry| reader.bytes(entry)).unwrap_or(default.max);
    let segment = fields.get("segment").and_then(|entry| reader.bytes(entry)).unwrap_or(default.segment.min(max));
    if segment > max || segment == 0 {
        let found = Diagnostic::error("out-of-range", "a segment is at least 1 byte and no larger than the spool");
        reader.diagnostics.push(found.at(&entry.key_span).hint("make `segment` smaller or `max` larger"));
    }
    SpoolOptions { max, segment, ..default }
}

fn test(reader: &mut Reader<'_>, node: &Node) -> Option<TestCase> {
    let fields = reader.fields(node, "a test", &["name", "input", "expect", "dead_letters"])?;
    let name = reader.required(&fields, "name", "add `name:` that says what the test shows");
    let name = name.and_then(|entry| reader.text(entry));
    let input = reader.required(&fields, "input", "add `input:`, a text or a list of records");
    let input = input.and_then(|entry| match &entry.value.kind {
        NodeKind::Text(text) => Some(TestInput::Text(text.clone())),
        NodeKind::Sequence(_) => records(reader, entry).map(TestInput::Records),
        _ => {
            reader.wrong_type(&entry.value, "a text or a list of records", None);
            None
        }
    });
    let dead_letters = fields.get("dead_letters").and_then(|entry| reader.integer(entry, 0, u64::MAX));
    let expect = match fields.get("expect") {
        Some(entry) => Some(records(reader, entry)?),
        None if dead_letters.is_some() => None,
        None => {
            reader.required(&fields, "expect", "add `expect:`, the list of records that must come out");
            return None;
        }
    };
    let dead_letters = dead_letters.unwrap_or(0);
    Some(TestCase { name: name?, input: input?, expect, dead_letters, span: node.span.clone() })
}

fn records(reader: &mut Reader<'_>, entry: &Entry) -> Option<Vec<Value>> {
    if !matches!(entry.value.kind, NodeKind::Sequence(_)) {
        reader.wrong_type(&entry.value, "a list of records", Some("put `- ` in front of each record"));
        return None;
    }
    let mut records = Vec::new();
    for item in entry.value.items() {
        if !matches!(item.kind, NodeKind::Mapping(_)) {
            reader.wrong_type(item, "a record, which is a mapping of columns", None);
            return None;
        }
        records.push(item.to_json());
    }
    Some(records)
}
