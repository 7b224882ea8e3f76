//! A pipeline with everything from outside put in, ready to run.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

use engine_abi::ComponentKind;
use serde_json::Value;

use crate::alarms::Alarms;
use crate::catalogue::Catalogue;
use crate::config_check::{Examination, Examined};
use crate::diagnostic::{Diagnostic, Diagnostics, Severity};
use crate::grants::ResolvedSandbox;
use crate::node::Config;
use crate::params::Params;
use crate::pipeline::{
    Burst, Event, FormatUse, OnEmpty, OnSchemaChange, Pipeline, Position, Retry, SpoolOptions, TestCase, Unfinished,
};
use crate::references::Environment;
use crate::render::url_passwords;
use crate::sandbox::SandboxWords;
use crate::schedule::Schedule;
use crate::source::Span;
use crate::template::{self, TemplateVariables, render_template};

/// A pipeline whose configs are plain values. `Debug` shows none of them.
#[derive(Debug, Clone)]
pub struct ResolvedPipeline {
    /// See [`Pipeline::name`].
    pub name: String,
    /// See [`Pipeline::description`].
    pub description: Option<String>,
    /// See [`Pipeline::params`].
    pub params: Params,
    /// See [`Pipeline::schedule`].
    pub schedule: Option<Schedule>,
    /// See [`Pipeline::alarms`].
    pub alarms: Option<Alarms>,
    /// Where rows come from.
    pub source: ResolvedStage,
    /// What happens to them, in order.
    pub transforms: Vec<ResolvedStage>,
    /// Where they go.
    pub sinks: Vec<ResolvedStage>,
    /// See [`Pipeline::parallelism`].
    pub parallelism: Option<NonZeroUsize>,
    /// See [`Pipeline::max_rows`].
    pub max_rows: Option<u64>,
    /// See [`Pipeline::on_schema_change`].
    pub on_schema_change: OnSchemaChange,
    /// See [`Pipeline::unfinished`].
    pub unfinished: Unfinished,
    /// How a push source is spooled.
    pub spool: SpoolOptions,
    /// Who is told of its runs.
    pub notices: Vec<ResolvedNotice>,
    /// What `engine test` runs.
    pub tests: Vec<TestCase>,
}

impl ResolvedPipeline {
    /// Source, transforms and sinks, in this order, and the sinks of notices.
    pub fn stages(&self) -> impl Iterator<Item = &ResolvedStage> {
        let notices = self.notices.iter().map(|notice| &notice.stage);
        std::iter::once(&self.source).chain(&self.transforms).chain(&self.sinks).chain(notices)
    }
}

/// Who is told of an event.
#[derive(Debug, Clone)]
pub struct ResolvedNotice {
    /// Of what.
    pub event: Event,
    /// The sink that tells it.
    pub stage: ResolvedStage,
    /// Failures: how long it says nothing of further ones.
    pub every: Duration,
}

/// One component at work, with its values.
#[derive(Debug, Clone)]
pub struct ResolvedStage {
    /// Where it stands.
    pub position: Position,
    /// The component.
    pub component: String,
    /// Its own name.
    pub name: String,
    /// Its config.
    pub with: ResolvedConfig,
    /// What decompresses or compresses its files.
    pub compression: Option<ResolvedFormat>,
    /// The translator between files and rows.
    pub format: Option<ResolvedFormat>,
    /// Who runs the component and what it may do.
    pub sandbox: ResolvedSandbox,
    /// See [`Stage::keep`](crate::Stage::keep).
    pub keep: Option<Duration>,
    /// See [`Stage::empty`](crate::Stage::empty).
    pub empty: OnEmpty,
    /// See [`Stage::burst`](crate::Stage::burst).
    pub burst: Option<Burst>,
    /// How its outside operations are tried again.
    pub retry: Retry,
}

/// A format or a compression at work, with its values.
#[derive(Debug, Clone)]
pub struct ResolvedFormat {
    /// The component.
    pub component: String,
    /// Its config.
    pub with: ResolvedConfig,
    /// Who runs it and what it may do.
    pub sandbox: ResolvedSandbox,
}

/// A config with its values. `Debug` shows none of them.
#[derive(Clone, PartialEq)]
pub struct ResolvedConfig {
    /// Plain JSON that fits the component's schema, templates not yet filled in.
    pub value: Value,
    /// JSON Pointers of the templates in it.
    pub templates: Vec<String>,
    /// Those of them that may also be numbers and truth values: what is nothing but a parameter keeps its type.
    pub typed: Vec<String>,
    /// JSON Pointers of the secrets in it.
    pub secrets: Vec<String>,
}

impl ResolvedConfig {
    pub(crate) fn of(examined: Examined) -> Self {
        let Examined { value, templates, typed, secrets } = examined;
        Self { value, templates, typed, secrets }
    }

    /// Of what could not be looked at.
    pub(crate) fn nothing() -> Self {
        Self { value: Value::Null, templates: Vec::new(), typed: Vec::new(), secrets: Vec::new() }
    }

    /// The config as the component gets it, with its templates filled in.
    ///
    /// # Errors
    /// `Config`, when a template is faulty.
    pub fn render(&self, variables: &TemplateVariables) -> engine_abi::Result<Value> {
        let mut value = self.value.clone();
        for pointer in &self.templates {
            let is_typed = self.typed.contains(pointer);
            let Some(found) = value.pointer_mut(pointer) else { continue };
            let param = found.as_str().and_then(only_param).and_then(|name| variables.params.get(name));
            if let (true, Some(param)) = (is_typed, param) {
                *found = param.clone();
            } else if let Value::String(text) = found {
                *text = render_template(text, variables).map_err(|error| error.context(format!("`{pointer}`")))?;
            }
        }
        Ok(value)
    }

    /// Whether values that others give to parameters stay parts of the names of files, and lead to no other folder.
    ///
    /// # Errors
    /// `Config`, naming the first that does not.
    pub fn check_paths(&self, set: &BTreeMap<String, String>) -> engine_abi::Result<()> {
        let paths = self.templates.iter().filter(|pointer| pointer.rsplit('/').next() == Some(PATH));
        let mut texts = paths.filter_map(|pointer| self.value.pointer(pointer)?.as_str());
        texts.try_for_each(|text| template::check_path(text, set))
    }
}

/// What settings are called that say where files are.
const PATH: &str = "path";

/// The parameter that is all of a template: `{{ params.NAME }}`.
fn only_param(template: &str) -> Option<&str> {
    let name = template.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim().strip_prefix("params.")?;
    name.bytes().all(|it| it.is_ascii_alphanumeric() || it == b'_').then_some(name)
}

impl ResolvedConfig {
    /// Every text in it that must not be seen; see [`secrets`].
    pub fn secret_texts(&self) -> Vec<String> {
        let mut found = BTreeSet::new();
        self.collect_secrets(&mut found);
        found.remove("");
        found.into_iter().collect()
    }

    fn collect_secrets(&self, found: &mut BTreeSet<String>) {
        for secret in self.secrets.iter().filter_map(|pointer| self.value.pointer(pointer)) {
            each_text(secret, &mut |text| {
                found.insert(text.to_owned());
            });
        }
        each_text(&self.value, &mut |text| {
            for range in url_passwords(text) {
                let password = &text[range];
                found.insert(password.to_owned());
                found.insert(percent_decoded(password));
            }
        });
    }
}

impl fmt::Debug for ResolvedConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.value.as_object().into_iter().flat_map(|object| object.keys());
        f.debug_list().entries(keys).finish()
    }
}

/// Puts in everything from outside, and checks the configs once more with it.
///
/// # Errors
/// All that is missing or wrong, at once: variables that are not set, files that
/// cannot be read, values that do not fit.
pub fn resolve(
    pipeline: &Pipeline,
    catalogue: &Catalogue,
    environment: &dyn Environment,
) -> Result<ResolvedPipeline, Diagnostics> {
    let mut work = Work { catalogue, environment, params: &pipeline.params, diagnostics: Diagnostics::new() };
    let source = work.stage(&pipeline.source);
    let transforms: Vec<_> = pipeline.transforms.iter().map(|stage| work.stage(stage)).collect();
    let sinks: Vec<_> = pipeline.sinks.iter().map(|stage| work.stage(stage)).collect();
    let notices = pipeline.notices.iter().map(|notice| ResolvedNotice {
        event: notice.event,
        stage: work.stage(&notice.stage),
        every: notice.every,
    });
    let notices: Vec<_> = notices.collect();
    let mut diagnostics = work.diagnostics;
    if diagnostics.has_errors() {
        diagnostics.sort();
        return Err(diagnostics);
    }
    Ok(ResolvedPipeline {
        name: pipeline.name.clone(),
        description: pipeline.description.clone(),
        params: pipeline.params.clone(),
        schedule: pipeline.schedule.clone(),
        alarms: pipeline.alarms.clone(),
        source,
        transforms,
        sinks,
        parallelism: pipeline.parallelism,
        max_rows: pipeline.max_rows,
        on_schema_change: pipeline.on_schema_change,
        unfinished: pipeline.unfinished,
        spool: pipeline.spool.clone(),
        notices,
        tests: pipeline.tests.clone(),
    })
}

struct Work<'a> {
    catalogue: &'a Catalogue,
    environment: &'a dyn Environment,
    params: &'a Params,
    diagnostics: Diagnostics,
}

impl Work<'_> {
    fn stage(&mut self, stage: &crate::pipeline::Stage) -> ResolvedStage {
        let kind = stage.position.kind();
        let with = self.config(kind, &stage.component, &stage.component_span, &stage.with);
        let sandbox = self.sandbox(&stage.sandbox);
        let mut format = |format: &FormatUse| ResolvedFormat {
            component: format.component.clone(),
            with: self.config(ComponentKind::Format, &format.component, &format.component_span, &format.with),
            sandbox: self.sandbox(&format.sandbox),
        };
        let (compression, format) = (stage.compression.as_ref().map(&mut format), stage.format.as_ref().map(format));
        ResolvedStage {
            position: stage.position,
            component: stage.component.clone(),
            name: stage.name.clone(),
            with,
            compression,
            format,
            sandbox,
            retry: stage.retry.clone(),
            keep: stage.keep,
            empty: stage.empty,
            burst: stage.burst.clone(),
        }
    }

    fn sandbox(&mut self, words: &SandboxWords) -> ResolvedSandbox {
        words.resolve(self.environment, Severity::Error, &mut self.diagnostics)
    }

    fn config(&mut self, kind: ComponentKind, name: &str, span: &Span, config: &Config) -> ResolvedConfig {
        let Some(component) = self.catalogue.get(kind, name) else {
            let found = if self.catalogue.contains(kind, name) {
                Diagnostic::error("component-not-loaded", format!("the {kind} `{name}` is not loaded")).at(span)
            } else {
                self.catalogue.unknown(kind, name, span)
            };
            self.diagnostics.push(found);
            return ResolvedConfig::nothing();
        };
        let (environment, params) = (self.environment, self.params);
        let examination =
            Examination { component, span, environment, params, missing: Severity::Error, partial: false };
        let examined = examination.of(config, &mut self.diagnostics);
        ResolvedConfig::of(examined)
    }
}

/// Every text that must not be seen: the values of secrets, the passwords within
/// addresses, and what sandboxed modules see of the environment. In order, each
/// once, none empty.
pub fn secrets(pipeline: &ResolvedPipeline) -> Vec<String> {
    let mut found = BTreeSet::new();
    for stage in pipeline.stages() {
        let formats = stage.compression.iter().chain(&stage.format).map(|format| &format.with);
        for config in std::iter::once(&stage.with).chain(formats) {
            config.collect_secrets(&mut found);
        }
        let formats = stage.compression.iter().chain(&stage.format).map(|format| &format.sandbox);
        for granted in std::iter::once(&stage.sandbox).chain(formats) {
            found.extend(granted.sandbox.permissions.environment.values().cloned());
        }
    }
    found.remove("");
    found.into_iter().collect()
}

fn each_text(value: &Value, visit: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) => visit(text),
        Value::Number(number) => visit(&number.to_string()),
        Value::Array(items) => items.iter().for_each(|item| each_text(item, visit)),
        Value::Object(object) => object.values().for_each(|value| each_text(value, visit)),
        Value::Null | Value::Bool(_) => {}
    }
}

/// A password as the other side sees it.
fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_| text.to_owned())
}
