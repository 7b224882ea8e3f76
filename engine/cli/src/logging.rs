//! The log: lines for a person on stderr, and a file a day under the state folder.

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Local};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::util::SubscriberInitExt;

use crate::console;

/// How many daily files are kept.
const KEPT_FILES: usize = 30;

/// Sends the log to stderr and to `<state>/logs`. `verbose` 1 shows what helps
/// an author, 2 everything; the file has the same.
pub fn start(state: &Path, verbose: u8) {
    let most = match verbose {
        0 => Level::INFO,
        1 => Level::DEBUG,
        _ => Level::TRACE,
    };
    let file = DailyFile { folder: state.join("logs"), open: None };
    let log = Log { file: Mutex::new(file) };
    let only_ours = tracing_subscriber::filter::filter_fn(move |metadata| {
        *metadata.level() <= most && (metadata.target().starts_with("engine") || *metadata.level() <= Level::WARN)
    });
    // A second start in one process (a test) keeps the first.
    let _ = tracing_subscriber::registry().with(log.with_filter(only_ours)).try_init();
}

struct Log {
    file: Mutex<DailyFile>,
}

struct DailyFile {
    folder: PathBuf,
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
        for old in files.iter().rev().skip(KEPT_FILES) {
            std::fs::remove_file(old)?;
        }
        Ok(())
    }
}

/// An event's fields as text.
#[derive(Default)]
struct Fields {
    message: String,
    pipeline: String,
    stage: String,
    rest: String,
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field.name(), &format!("{value:?}"));
    }
}

impl Fields {
    fn put(&mut self, name: &str, value: &str) {
        match name {
            "message" => self.message = value.to_owned(),
            "pipeline" => self.pipeline = value.to_owned(),
            "stage" => self.stage = value.to_owned(),
            "sink" => self.stage = format!("sinks.{value}"),
            _ => _ = write!(self.rest, " {name}={value}"),
        }
    }

    /// Where it happened, what, the other fields, and what to do about it: one line.
    fn line(&self) -> String {
        let (message, help) = match self.message.split_once("\n  help: ") {
            Some((message, help)) => (message, format!(" (help: {help})")),
            None => (self.message.as_str(), String::new()),
        };
        // An error in the message says its stage as well.
        let told = format!("{}: ", self.stage);
        let message = match message.strip_prefix(&told) {
            Some(rest) if !self.stage.is_empty() => rest.to_owned(),
            _ if self.stage.is_empty() => message.to_owned(),
            _ => message.replacen(&format!(": {told}"), ": ", 1),
        };
        let place = format!("{} {}", self.pipeline, self.stage);
        let colon = if place.trim().is_empty() { "" } else { ": " };
        format!("{}{colon}{message}{}{help}", place.trim(), self.rest)
    }
}

impl<S: Subscriber> Layer<S> for Log {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = Local::now();
        let (level, text) = (*event.metadata().level(), console::masked(&fields.line()));
        let stamp = now.format("%Y-%m-%d %H:%M:%S");
        let shown = match (console::is_terminal(), level) {
            (true, Level::ERROR) => format!("\x1b[31m{stamp} - {level} - {text}\x1b[0m"),
            (true, Level::WARN) => format!("\x1b[33m{stamp} - {level} - {text}\x1b[0m"),
            _ => format!("{stamp} - {level} - {text}"),
        };
        console::error_line(&shown);
        let line = format!("{stamp} - {level} - {text}");
        // A full disk must not stop a run; stderr has the line.
        let _ = self.file.lock().unwrap_or_else(PoisonError::into_inner).write(now, &line);
    }
}

#[cfg(test)]
mod tests {
    use super::Fields;

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
}
