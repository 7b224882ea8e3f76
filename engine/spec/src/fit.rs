//! Whether the stages of a pipeline fit each other.

use engine_abi::{ComponentDescription, ComponentKind, Scope, Shape, Takes};

use crate::catalogue::Catalogue;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::names::either;
use crate::pipeline::Stage;
use crate::reader::Draft;
use crate::sandbox::{Isolation, SandboxWords};
use crate::source::Span;

pub(crate) fn check(draft: &Draft, catalogue: &Catalogue, diagnostics: &mut Diagnostics) {
    let source = draft.source.as_ref();
    let described = source.and_then(|stage| Some((stage, catalogue.get(ComponentKind::Source, &stage.component)?)));
    let copies = copies_files(draft, catalogue);
    if let Some((stage, component)) = described {
        if !copies {
            format_fits(stage, component.gives, catalogue, diagnostics);
        }
        compression_fits(stage, component.gives, component.push, catalogue, diagnostics);
        if component.push {
            refuse_windows(stage, &draft.transforms, catalogue, diagnostics);
        } else if let Some(span) = &draft.spool.span {
            let message = format!("`{}` reads on demand and has no spool", stage.component);
            let found = Diagnostic::error("useless-key", message).at(span);
            diagnostics.push(found.hint("remove `spool:`; only sources that receive on their own are spooled"));
        }
    }
    for stage in &draft.sinks {
        let Some(component) = catalogue.get(ComponentKind::Sink, &stage.component) else { continue };
        let takes = component.takes.shape(copies || stage.format.is_some());
        if !copies {
            format_fits(stage, takes, catalogue, diagnostics);
        }
        compression_fits(stage, takes, false, catalogue, diagnostics);
    }
    // The records of notices are the engine's own.
    for stage in draft.notices.iter().map(|notice| &notice.stage) {
        let Some(component) = catalogue.get(ComponentKind::Sink, &stage.component) else { continue };
        let takes = component.takes.shape(stage.format.is_some());
        format_fits(stage, takes, catalogue, diagnostics);
        compression_fits(stage, takes, false, catalogue, diagnostics);
    }
    refuse_shared_files(draft, catalogue, diagnostics);
    for stage in draft.stages() {
        sandbox_holds(stage.position.kind(), &stage.component, &stage.sandbox, catalogue, diagnostics);
        for format in stage.formats() {
            sandbox_holds(ComponentKind::Format, &format.component, &format.sandbox, catalogue, diagnostics);
        }
    }
}

/// Warns of words about a sandbox that hold nothing back.
fn sandbox_holds(
    kind: ComponentKind,
    name: &str,
    words: &SandboxWords,
    catalogue: &Catalogue,
    diagnostics: &mut Diagnostics,
) {
    // Who runs a component is known of those that were looked at.
    if catalogue.get(kind, name).is_none() {
        return;
    }
    if catalogue.is_sandboxed(kind, name) {
        if let (Isolation::Process, Some(span)) = (words.isolation, &words.isolation_span) {
            let message = format!("`{name}` is a WASM module, which has a sandbox of its own");
            let found = Diagnostic::warning("useless-isolation", message).at(span);
            diagnostics.push(found.hint("remove `isolation:`; `permissions:` and `limits:` hold without it"));
        }
        return;
    }
    let mut warn = |span: &Option<Span>, message: String, hint: String| {
        if let Some(span) = span {
            diagnostics.push(Diagnostic::warning("no-sandbox", message).at(span).hint(hint));
        }
    };
    if words.isolation == Isolation::None {
        let message =
            |key| format!("`{key}` restricts nothing: `{name}` is a native module in the engine's own process");
        let hint = "write `isolation: process` to restrict the environment that it sees, use a WASM module to restrict everything, or remove `permissions:`";
        warn(&words.permissions.span, message("permissions"), hint.to_owned());
        let hint = "write `isolation: process`, or remove `limits:`";
        warn(&words.limits.span, message("limits"), hint.to_owned());
        return;
    }
    for (key, grants) in words.permissions.lists().into_iter().filter(|(key, _)| *key != "environment") {
        let message = format!("`{key}` restricts nothing: in a child process, `{name}` is held to `environment` alone");
        warn(&grants.span, message, format!("use a WASM module to restrict everything, or remove `{key}:`"));
    }
}

/// Two sinks would replace each other's file, and a sink its own source.
fn refuse_shared_files(draft: &Draft, catalogue: &Catalogue, diagnostics: &mut Diagnostics) {
    let is_file = |stage: &&Stage| {
        catalogue.get(stage.position.kind(), &stage.component).is_some_and(|it| match stage.position.kind() {
            ComponentKind::Source => it.gives == Shape::Files && !it.push,
            _ => it.takes == Takes::Files,
        })
    };
    let path = |stage: &Stage| {
        let text = stage.with.value.get("path")?.as_str()?;
        Some(text.strip_prefix("./").unwrap_or(text).to_owned())
    };
    let mut users: Vec<&Stage> = draft.source.iter().filter(is_file).collect();
    for stage in draft.sinks.iter().filter(is_file) {
        let same = |other: &&&Stage| other.component == stage.component && path(other) == path(stage);
        if path(stage).is_some()
            && let Some(other) = users.iter().find(same)
        {
            let span = |stage: &Stage| {
                stage.with.place("/path").map_or_else(|| stage.component_span.clone(), |place| place.value.clone())
            };
            let message = match other.position.kind() {
                ComponentKind::Source => "the sink writes the file that the source reads",
                _ => "two sinks write the same file",
            };
            let found = Diagnostic::error("shared-file", message).at(&span(stage));
            diagnostics.push(found.note_at("the other is here", &span(other)).hint("give it another `path`"));
        }
        users.push(stage);
    }
}

/// Whether files go from the source to every sink as they are, with no row made of them.
fn copies_files(draft: &Draft, catalogue: &Catalogue) -> bool {
    let plain = |stage: &Stage| {
        stage.format.is_none().then(|| catalogue.get(stage.position.kind(), &stage.component)).flatten()
    };
    draft.source.as_ref().and_then(plain).is_some_and(|it| it.gives == Shape::Files && !it.push)
        && draft.transforms.is_empty()
        && !draft.sinks.is_empty()
        && draft.sinks.iter().all(|stage| plain(stage).is_some_and(|it| it.takes.shape(true) == Shape::Files))
}

/// The formats, or the compressions, that work in the direction of a source or a sink.
fn able(catalogue: &Catalogue, compressions: bool, is_source: bool) -> Vec<&str> {
    let fits = |component: &&ComponentDescription| {
        component.kind == ComponentKind::Format
            && component.is_compression() == compressions
            && if is_source { component.decodes } else { component.encodes }
    };
    catalogue.components().filter(fits).map(|component| component.name.as_str()).collect()
}

/// A compression stands where a source reads files, or where a sink takes them.
fn compression_fits(stage: &Stage, shape: Shape, push: bool, catalogue: &Catalogue, diagnostics: &mut Diagnostics) {
    let Some(compression) = &stage.compression else { return };
    let is_source = stage.position.kind() == ComponentKind::Source;
    let name = &stage.component;
    if push || shape == Shape::Rows {
        let message = match (push, is_source) {
            (true, _) => format!("`{name}` receives records, and only whole files can be decompressed"),
            (_, true) => format!("`{name}` gives rows and has no use for a compression"),
            (_, false) => format!("`{name}` takes rows and has no use for a compression"),
        };
        let found = Diagnostic::error("useless-compression", message).at(&compression.span);
        return diagnostics.push(found.hint("remove `compression:`"));
    }
    let Some(component) = catalogue.get(ComponentKind::Format, &compression.component) else { return };
    let able = able(catalogue, true, is_source);
    if able.contains(&component.name.as_str()) {
        return;
    }
    let verb = if is_source { "decompress" } else { "compress" };
    let (message, hint) = if component.is_compression() {
        (format!("the compression `{}` cannot {verb}", component.name), format!("name one that can {verb}"))
    } else {
        let message = format!("`{}` is no compression: it stands between files and rows", component.name);
        (
            message,
            format!("write `format: {}`, and under `compression:` what the files are compressed with", component.name),
        )
    };
    let choices = if able.is_empty() { String::new() } else { format!(", such as {}", either(&able)) };
    let found = Diagnostic::error("wrong-compression", message).at(&compression.component_span);
    diagnostics.push(found.hint(hint + &choices));
}

/// A format stands exactly where files meet rows.
fn format_fits(stage: &Stage, shape: Shape, catalogue: &Catalogue, diagnostics: &mut Diagnostics) {
    let is_source = stage.position.kind() == ComponentKind::Source;
    let name = &stage.component;
    let able = able(catalogue, false, is_source);
    let choices = if able.is_empty() { String::new() } else { format!(", such as {}", either(&able)) };
    match (shape, &stage.format) {
        (Shape::Files, None) => {
            let message = if is_source {
                format!("`{name}` gives files, and a pipeline needs rows")
            } else {
                format!("`{name}` takes files, and a pipeline gives rows")
            };
            let verb = if is_source { "reads" } else { "writes" };
            let found = Diagnostic::error("missing-format", message).at(&stage.component_span);
            diagnostics.push(found.hint(format!("add `format:` with a format that {verb} them{choices}")));
        }
        (Shape::Rows, Some(format)) => {
            let verb = if is_source { "gives" } else { "takes" };
            let found =
                Diagnostic::error("useless-format", format!("`{name}` {verb} rows and has no use for a format"));
            diagnostics.push(found.at(&format.span).hint("remove `format:`"));
        }
        (Shape::Files, Some(format)) => {
            let Some(component) = catalogue.get(ComponentKind::Format, &format.component) else { return };
            if able.contains(&component.name.as_str()) {
                return;
            }
            let verb = if is_source { "read" } else { "write" };
            if component.is_compression() {
                let (name, other) = (&component.name, if is_source { "gives" } else { "takes" });
                let message = format!("`{name}` is a compression: it {other} files, not rows");
                let found = Diagnostic::error("wrong-format", message).at(&format.component_span);
                let hint = format!("write `compression: {name}`, and under `format:` a format that {verb}s the files");
                return diagnostics.push(found.hint(hint + &choices));
            }
            let found = Diagnostic::error("wrong-format", format!("the format `{}` cannot {verb}", component.name));
            let found = found.at(&format.component_span);
            diagnostics.push(match able.as_slice() {
                [] => found.hint(format!("no installed format can {verb}")),
                _ => found.hint(format!("formats that can: {}", either(&able))),
            });
        }
        (Shape::Rows, None) => {}
    }
}

/// What needs a whole window cannot stand behind a source that never ends.
fn refuse_windows(source: &Stage, transforms: &[Stage], catalogue: &Catalogue, diagnostics: &mut Diagnostics) {
    for stage in transforms {
        let component = catalogue.get(ComponentKind::Transform, &stage.component);
        if component.is_some_and(|component| component.scope == Scope::Window && !component.narrows) {
            let message = format!("`{}` needs a whole window, and `{}` never ends", stage.component, source.component);
            let found = Diagnostic::error("endless-window", message).at(&stage.component_span);
            let found = found.note_at("the source receives on its own", &source.component_span);
            diagnostics.push(found.hint("write the rows into a table first and read them in a second pipeline"));
        }
    }
}
