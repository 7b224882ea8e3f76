//! When somebody is to be told that a pipeline does not do what it should: `alarms:` in its file.

use std::time::Duration;

use crate::diagnostic::Diagnostic;
use crate::fields::Reader;
use crate::node::Entry;
use crate::source::Span;

/// What a service that watches a pipeline raises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarms {
    /// No run for a time of the schedule has succeeded so long after it.
    pub late: Option<Duration>,
    /// No record was read for so long.
    pub silence: Option<Duration>,
    /// Where `late` stands, if it does.
    pub(crate) late_span: Option<Span>,
}

impl Alarms {
    pub(crate) fn read(reader: &mut Reader<'_>, entry: &Entry) -> Option<Self> {
        let fields = reader.fields(&entry.value, "`alarms`", &["late", "silence"])?;
        let late = fields.get("late");
        let alarms = Self {
            late: late.and_then(|entry| reader.duration(entry)),
            silence: fields.get("silence").and_then(|entry| reader.duration(entry)),
            late_span: late.map(|entry| entry.key_span.clone()),
        };
        if fields.get("late").or(fields.get("silence")).is_none() {
            let found = Diagnostic::error("missing-key", "`alarms` says nothing").at(&entry.key_span);
            reader.diagnostics.push(found.hint("add `late:` or `silence:`, such as `silence: 1h`"));
        }
        Some(alarms)
    }

    /// Where `late` stands, if it does.
    pub(crate) fn late_span(&self) -> Option<&Span> {
        self.late_span.as_ref()
    }
}
