//! One call, and the line that a PBX writes about it.

use std::io::Write as _;

use chrono::{NaiveDateTime, TimeDelta};

/// One finished call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// When it ended, in the PBX's own time, to the minute.
    pub end: NaiveDateTime,
    /// Seconds; below 36,000, since the line has one digit for the hours.
    pub duration: u32,
    /// The number that was called.
    pub called: String,
    /// How it was handled; some records have none.
    pub code: Option<String>,
    /// The number that called; some records have none.
    pub calling: Option<String>,
}

/// How a PBX fills the space between the fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// Numbers in fixed columns, as most exchanges print them.
    Columns,
    /// Numbers in wider columns. Only for calls that have every field, as is the next: nobody could tell
    /// which one is missing.
    Wide,
    /// One space between two fields.
    Compact,
}

impl Call {
    /// When the call began: what the table's `date` column holds.
    pub fn start(&self) -> NaiveDateTime {
        self.end - TimeDelta::seconds(i64::from(self.duration))
    }

    /// Appends the line without its end: `DDMMYY HHMM HMMSS called code calling`.
    pub fn write_line(&self, spacing: Spacing, line: &mut Vec<u8>) {
        let (hours, minutes, seconds) = (self.duration / 3600, self.duration / 60 % 60, self.duration % 60);
        let called = &self.called;
        let code = self.code.as_deref().unwrap_or("");
        let calling = self.calling.as_deref().unwrap_or("");
        let _ = write!(line, "{} {hours}{minutes:02}{seconds:02}", self.end.format("%d%m%y %H%M"));
        let _ = match spacing {
            Spacing::Columns => write!(line, "{:20}{called} {code:16} {calling}", ""),
            Spacing::Wide => write!(line, "{:4}{called:<18} {code:<2}{:20}{calling}", "", ""),
            Spacing::Compact => write!(line, " {called} {code} {calling}"),
        };
        if self.calling.is_none() {
            line.truncate(line.trim_ascii_end().len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call() -> Call {
        Call {
            end: "2025-09-17T15:47:00".parse().unwrap(),
            duration: 172,
            called: "2434".into(),
            code: Some("0".into()),
            calling: Some("2432".into()),
        }
    }

    fn line(call: &Call, spacing: Spacing) -> String {
        let mut line = Vec::new();
        call.write_line(spacing, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_line_looks_as_an_exchange_prints_it() {
        assert_eq!(line(&call(), Spacing::Columns), "170925 1547 00252                    2434 0                2432");
        assert_eq!(line(&call(), Spacing::Compact), "170925 1547 00252 2434 0 2432");
        assert_eq!(call().start().to_string(), "2025-09-17 15:44:08");
    }

    #[test]
    fn a_missing_field_leaves_its_column_empty() {
        let without_code = Call { code: None, ..call() };
        assert_eq!(
            line(&without_code, Spacing::Columns),
            "170925 1547 00252                    2434                  2432"
        );
        let without_calling = Call { calling: None, ..call() };
        assert_eq!(line(&without_calling, Spacing::Columns), "170925 1547 00252                    2434 0");
    }
}
