//! The log: lines for a person on stderr, and a file a day under the state folder.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Local, SecondsFormat};
use engine_abi::Result;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::arguments::{Global, LogFormat};
use crate::{console, telemetry};

/// Sends the log to stderr and to `<state>/logs`. `verbose` 1 shows what helps an author, 2 everything; the file has
/// the same.
///
/// # Errors
/// `Config` when the collector's address is none.
pub fn start(state: &Path, global: &Global) -> Result<()> {
    let most = match global.verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let file = DailyFile { folder: state.join("logs"), kept: global.log_days.get().into(), open: None };
    let log = Log { file: Mutex::new(file), form: global.log_format };
    let only_ours = tracing_subscriber::filter::filter_fn(move |metadata| {
        *metadata.level() <= most && (metadata.target().starts_with("engine") || *metadata.level() <= Level::WARN)
    });
    let traces = global.otlp.as_deref().map(telemetry::layer).transpose()?;
    let spans =
        tracing_subscriber::filter::filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("engine"));
    // A second start in one process (a test) keeps the first.
    let _ = tracing_subscriber::registry().with(log.with_filter(only_ours)).with(traces.with_filter(spans)).try_init();
    Ok(())
}

struct Log {
    file: Mutex<DailyFile>,
    form: LogFormat,
}

/// One file a day.
struct DailyFile {
    folder: PathBuf,
    /// How many are kept.
    kept: usize,
    open: Option<(String, File)>,
}

impl DailyFile {
    fn write(&mut self, now: DateTime<Local>, line: &str) -> std::io::Result<()> {
        let day = now.format("%Y%m%d").to_string();
        if self.open.as_ref().is_none_or(|(of, _)| *of != day) {
            std::fs::create_dir_all(&self.folder)?;
            let path = self.folder.join(format!("engine_{day}.log"));
            let mut options = File::options();
            let file =
                std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600).create(true).append(true).open(path)?;
            self.open = Some((day, file));
            self.forget_old()?;
        }
        let Some((_, file)) = &mut self.open else { return Ok(()) };
        writeln!(file, "{line}")
    }

    fn forget_old(&self) -> std::io::Result<()> {
        let mut files: Vec<_> = std::fs::read_dir(&self.folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("engine_")))
            .collect();
        files.sort();
        for old in files.iter().rev().skip(self.kept) {
            std::fs::remove_file(old)?;
        }
        Ok(())
    }
}

/// An event's fields and those of the spans that it is in, as text.
#[derive(Clone, Default)]
struct Fields {
    message: String,
    pipeline: String,
    stage: String,
    /// In order; the innermost value of a name counts.
    rest: Vec<(&'static str, String)>,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }
}

/// Without what would end a line, or have a terminal do something: a text that somebody has sent looks like no other
/// entry.
fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}

impl Fields {
    fn put(&mut self, name: &'static str, value: &str) {
        match name {
            "message" => value.clone_into(&mut self.message),
            "pipeline" => value.clone_into(&mut self.pipeline),
            "stage" => value.clone_into(&mut self.stage),
            "sink" => self.stage = format!("sinks.{value}"),
            _ => {
                self.rest.retain(|(known, _)| *known != name);
                self.rest.push((name, value.to_owned()));
            }
        }
    }

    /// The message without its stage, which stands in front of it, and the help that comes with it.
    fn parts(&self) -> (String, Option<&str>) {
        let (message, help) = match self.message.split_once("\n  help: ") {
            Some((message, help)) => (message, Some(help)),
            None => (self.message.as_str(), None),
        };
        // An error in the message says its stage as well.
        let told = format!("{}: ", self.stage);
        let message = match message.strip_prefix(&told) {
            Some(rest) if !self.stage.is_empty() => rest.to_owned(),
            _ if self.stage.is_empty() => message.to_owned(),
            _ => message.replacen(&format!(": {told}"), ": ", 1),
        };
        (message, help)
    }

    /// Where it happened, what, the other fields, and what to do about it: one line.
    fn line(&self) -> String {
        let (message, help) = self.parts();
        let help = help.map(|help| format!(" (help: {help})")).unwrap_or_default();
        let rest: String = self.rest.iter().map(|(name, value)| format!(" {name}={value}")).collect();
        let place = format!("{} {}", self.pipeline, self.stage);
        let colon = if place.trim().is_empty() { "" } else { ": " };
        one_line(&format!("{}{colon}{message}{rest}{help}", place.trim()))
    }

    /// The same as an object.
    fn object(&self, time: &str, level: Level) -> String {
        let (message, help) = self.parts();
        let mut object = serde_json::Map::new();
        // Before it is written in quotes, in which a secret would look otherwise.
        let mut put = |name: &str, value: &str| _ = object.insert(name.to_owned(), console::masked(value).into());
        put("time", time);
        put("level", level.as_str());
        for (name, value) in [("pipeline", &self.pipeline), ("stage", &self.stage)] {
            if !value.is_empty() {
                put(name, value);
            }
        }
        put("message", &message);
        help.iter().for_each(|help| put("help", help));
        self.rest.iter().for_each(|(name, value)| put(name, value));
        serde_json::Value::Object(object).to_string()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            let extensions = span.extensions();
            let Some(outer) = extensions.get::<Fields>() else { continue };
            if !outer.pipeline.is_empty() {
                fields.pipeline.clone_from(&outer.pipeline);
            }
            if !outer.stage.is_empty() {
                fields.stage.clone_from(&outer.stage);
            }
            outer.rest.iter().for_each(|(name, value)| fields.put(name, value));
        }
        event.record(&mut fields);
        let now = Local::now();
        let level = *event.metadata().level();
        let (line, shown) = match self.form {
            LogFormat::Json => {
                let line = fields.object(&now.to_rfc3339_opts(SecondsFormat::Millis, false), level);
                (line.clone(), line)
            }
            LogFormat::Text => {
                let stamp = now.format("%Y-%m-%d %H:%M:%S");
                let line = format!("{stamp} - {level} - {}", console::masked(&fields.line()));
                let shown = match (console::is_terminal(), level) {
                    (true, Level::ERROR) => format!("\x1b[31m{line}\x1b[0m"),
                    (true, Level::WARN) => format!("\x1b[33m{line}\x1b[0m"),
                    _ => line.clone(),
                };
                (line, shown)
            }
        };
        console::error_line(&shown);
        // A full disk must not stop a run; stderr has the line.
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write(now, &line);
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

    #[test]
    fn a_text_of_somebody_looks_like_no_other_entry() {
        let mut fields = Fields::default();
        fields.put("message", "bad\n2026-11-30 04:00:00 - ERROR - forged \u{1b}[31mred\0");
        assert_eq!(fields.line(), "bad\\n2026-11-30 04:00:00 - ERROR - forged \\u{1b}[31mred\\u{0}");
    }

    #[test]
    fn a_line_names_the_stage_once_and_ends_with_the_help() {
        let mut fields = Fields::default();
        fields.put("message", "not delivered: sinks.db: no answer\n  help: start the server");
        fields.put("kind", "unavailable");
        fields.put("sink", "db");
        fields.put("pipeline", "calls");
        let expected = "calls sinks.db: not delivered: no answer kind=unavailable (help: start the server)";
        assert_eq!(fields.line(), expected);
        fields.put("message", "sinks.db: no answer");
        assert_eq!(fields.line(), "calls sinks.db: no answer kind=unavailable");
        assert_eq!(Fields { message: "stopping".into(), ..Fields::default() }.line(), "stopping");
    }

    #[test]
    fn an_object_has_the_same_parts() {
        let mut fields = Fields::default();
        fields.put("run", "outer");
        fields.put("message", "sinks.db: no answer\n  help: start the server");
        fields.put("sink", "db");
        fields.put("run", "7");
        let expected = r#"{"time":"now","level":"WARN","stage":"sinks.db","message":"no answer","help":"start the server","run":"7"}"#;
        assert_eq!(fields.object("now", tracing::Level::WARN), expected);
    }
}
