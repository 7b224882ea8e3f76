//! From bytes to a pipeline that fits together, with everything that is wrong.

use engine_abi::ComponentKind;

use crate::alarms::Alarms;
use crate::catalogue::Catalogue;
use crate::config_check::Examination;
use crate::connections::{self, Connections};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::fit;
use crate::node::{Config, Node};
use crate::params::Params;
use crate::pipeline::{Event, OnExhausted, Pipeline};
use crate::reader;
use crate::references::Environment;
use crate::sandbox::Isolation;
use crate::source::{Source, Span};
use crate::template;
use crate::yaml;

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// Its tree, unless it is not YAML.
    pub document: Option<Node>,
    /// Its text.
    pub source: Source,
    /// What is wrong with the YAML. [`check`] repeats it.
    pub diagnostics: Diagnostics,
}

impl Parsed {
    /// The components that the file names, each once, in the order of the file.
    /// Works on files with errors too: whoever fills the [`Catalogue`] need not
    /// describe more than these.
    pub fn components(&self) -> Vec<(ComponentKind, String)> {
        self.named(|_| true)
    }

    /// Those of them that the engine's own process is not to load, somewhere at least.
    pub fn isolated(&self) -> Vec<(ComponentKind, String)> {
        let process = Isolation::Process.as_str();
        self.named(|user| user.get("isolation").and_then(Node::as_text) == Some(process))
    }

    /// The components whose stages, or formats as mappings, are `wanted`.
    fn named(&self, wanted: impl Fn(&Node) -> bool) -> Vec<(ComponentKind, String)> {
        let mut found = Vec::new();
        let Some(root) = &self.document else { return found };
        let mut add = |kind, user: &Node, name: Option<&Node>| {
            if let Some(name) = name.and_then(Node::as_text)
                && wanted(user)
                && !found.contains(&(kind, name.to_owned()))
            {
                found.push((kind, name.to_owned()));
            }
        };
        let mut stage = |kind, stage: &Node| {
            add(kind, stage, stage.get("use"));
            for format in ["compression", "format"].into_iter().filter_map(|key| stage.get(key)) {
                add(ComponentKind::Format, format, Some(format).filter(|format| format.as_text().is_some()));
                add(ComponentKind::Format, format, format.get("use"));
            }
        };
        root.get("source").into_iter().for_each(|node| stage(ComponentKind::Source, node));
        let transforms = root.get("transforms").map(Node::items).unwrap_or_default();
        transforms.iter().for_each(|node| stage(ComponentKind::Transform, node));
        let sinks = root.get("sinks").map(Node::items).unwrap_or_default();
        let notices = Event::ALL.into_iter().filter_map(|event| root.get(event.key()));
        sinks.iter().chain(root.get("sink")).chain(notices).for_each(|node| stage(ComponentKind::Sink, node));
        found
    }
}

/// Reads a pipeline file. `file_name` is what diagnostics show, and its stem the
/// pipeline's name unless the file has another.
pub fn parse(bytes: &[u8], file_name: &str) -> Parsed {
    parsed(yaml::read(bytes, file_name))
}

/// Reads a pipeline that a program has made, as JSON. `title` is what diagnostics show; they quote no line of it,
/// since secrets may stand in any.
pub fn parse_made(pipeline: &serde_json::Value, title: &str) -> Parsed {
    let text = serde_json::to_string_pretty(pipeline).unwrap_or_default();
    parsed(yaml::read_source(&Source::unquotable(title, text)))
}

fn parsed(file: yaml::Read) -> Parsed {
    let mut diagnostics = file.diagnostics;
    let is_empty = file.root.as_ref().map_or(diagnostics.is_empty(), Node::is_null);
    if is_empty {
        let found = crate::Diagnostic::error("empty-file", "the file has no pipeline in it");
        let found = found.at(&file.source.span(0..0));
        diagnostics.push(found.hint("a pipeline has `source:` and `sinks:`"));
    }
    let document = file.root.filter(|root| !root.is_null());
    Parsed { document, source: file.source, diagnostics }
}

/// Finds everything that is wrong with a pipeline, as far as it can be known
/// without running it. The pipeline is given when nothing is an error; its
/// connections are merged in and its references are left as written. References
/// that lead nowhere are warnings here and errors in [`crate::resolve()`].
pub fn check(
    parsed: &Parsed,
    catalogue: &Catalogue,
    connections: &Connections,
    environment: &dyn Environment,
) -> (Option<Pipeline>, Diagnostics) {
    let mut diagnostics = parsed.diagnostics.clone();
    let Some(root) = &parsed.document else { return (None, diagnostics) };
    let source = root.get("source").and_then(|source| source.get("use")).and_then(Node::as_text);
    let push = source.and_then(|name| catalogue.get(ComponentKind::Source, name)).is_some_and(|source| source.push);
    let exhausted = if push { OnExhausted::Wait } else { OnExhausted::Fail };
    let Some(mut draft) = reader::read(root, exhausted, &mut diagnostics) else { return (None, diagnostics) };
    let params = draft.params.clone();
    let mut work = Work { catalogue, environment, params: &params, diagnostics: &mut diagnostics };
    for stage in draft.stages_mut() {
        connections::merge(stage, connections, work.diagnostics);
        let kind = stage.position.kind();
        // Without its connection a config would lack what it does not lack.
        let partial = stage.connection.as_ref().is_some_and(|named| {
            connections.entries.get(&named.name).is_none_or(|found| found.component != stage.component)
        });
        work.config(kind, &stage.component, &stage.component_span, &mut stage.with, partial);
        stage.sandbox.resolve(environment, Severity::Warning, work.diagnostics);
        for format in stage.compression.iter_mut().chain(&mut stage.format) {
            work.config(ComponentKind::Format, &format.component, &format.component_span, &mut format.with, false);
            format.sandbox.resolve(environment, Severity::Warning, work.diagnostics);
        }
    }
    for stage in draft.stages() {
        let Some(burst) = &stage.burst else { continue };
        if let Err(fault) = template::check_with(&burst.filename, &params, &["value"]) {
            let found = Diagnostic::error("bad-template", fault.message).hint(fault.hint);
            let span = stage.span.find(&burst.filename);
            diagnostics.push(found.at(&fault.part.map_or(span.clone(), |part| span.find(&part))));
        }
    }
    if let (true, Some(schedule)) = (push, &draft.schedule) {
        let found = Diagnostic::error("useless-key", "a source that receives on its own runs all the time");
        diagnostics.push(found.at(&schedule.span).hint("remove `schedule:`"));
    }
    if let (None, Some(span)) = (&draft.schedule, draft.alarms.as_ref().and_then(Alarms::late_span)) {
        let found = Diagnostic::error("useless-key", "without a schedule no run is late").at(span);
        diagnostics.push(found.hint("remove `late:`, or add `schedule:`"));
    }
    if let (None, Some(notice)) = (&draft.alarms, draft.notices.iter().find(|it| it.event == Event::Alarm)) {
        let found = Diagnostic::error("useless-key", "no alarm is ever raised").at(&notice.stage.span);
        diagnostics.push(found.hint("add `alarms:` with `late:` or `silence:`, or remove `on_alarm:`"));
    }
    fit::check(&draft, catalogue, &mut diagnostics);
    diagnostics.sort();
    let pipeline = draft.finish().filter(|_| !diagnostics.has_errors());
    (pipeline, diagnostics)
}

struct Work<'a> {
    catalogue: &'a Catalogue,
    environment: &'a dyn Environment,
    params: &'a Params,
    diagnostics: &'a mut Diagnostics,
}

impl Work<'_> {
    fn config(&mut self, kind: ComponentKind, name: &str, span: &Span, config: &mut Config, partial: bool) {
        let catalogue = self.catalogue;
        if !catalogue.contains(kind, name) {
            self.diagnostics.push(catalogue.unknown(kind, name, span));
        }
        let Some(component) = catalogue.get(kind, name) else { return };
        let (environment, params) = (self.environment, self.params);
        let examination = Examination { component, span, environment, params, missing: Severity::Warning, partial };
        config.secrets = examination.of(config, self.diagnostics).secrets;
    }
}
