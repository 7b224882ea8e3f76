//! Why a line is no record, and how much of that goes to the log.

use engine_sdk::{Context, Level, Result};

/// What is wrong with a line, as dead letters are grouped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    TooLong,
    NotUtf8,
    BadCharacter,
    TooFewFields,
    TooManyFields,
    BadDate,
    BadTime,
    BadDuration,
}

impl Code {
    const ALL: [Self; 8] = [
        Self::TooLong,
        Self::NotUtf8,
        Self::BadCharacter,
        Self::TooFewFields,
        Self::TooManyFields,
        Self::BadDate,
        Self::BadTime,
        Self::BadDuration,
    ];

    const fn as_str(self) -> &'static str {
        match self {
            Self::TooLong => "too_long",
            Self::NotUtf8 => "not_utf8",
            Self::BadCharacter => "bad_character",
            Self::TooFewFields => "too_few_fields",
            Self::TooManyFields => "too_many_fields",
            Self::BadDate => "bad_date",
            Self::BadTime => "bad_time",
            Self::BadDuration => "bad_duration",
        }
    }
}

/// A line that is no record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    pub code: Code,
    /// For a person: the value, its place, what was expected.
    pub reason: String,
}

impl Malformed {
    /// Kept out of the way of good records.
    #[cold]
    pub fn new(code: Code, reason: String) -> Self {
        Self { code, reason }
    }
}

/// A value in quotes, with its special characters escaped and its far end cut off.
pub fn shown(value: &[u8]) -> String {
    /// Longer than every field that is right.
    const LONGEST: usize = 32;
    let (value, more) = value.split_at(value.len().min(LONGEST));
    let dots = if more.is_empty() { "" } else { "…" };
    format!("\"{}{dots}\"", value.escape_ascii())
}

/// Malformed lines that one stream describes in the log; the others are
/// counted, so that a wrong PBX cannot fill the disk with messages.
const LOGGED: u64 = 5;

/// The malformed lines of one stream.
#[derive(Debug, Default)]
pub struct Refused {
    count: u64,
    by_code: [u64; Code::ALL.len()],
}

impl Refused {
    /// Keeps a line as a dead letter.
    #[cold]
    pub fn add(&mut self, cx: &Context, name: &str, line: &[u8], malformed: &Malformed) -> Result<()> {
        let Malformed { code, reason } = malformed;
        self.count += 1;
        self.by_code[*code as usize] += 1;
        if self.count <= LOGGED {
            cx.log(Level::Warn, format!("{name}: kept a malformed line as a dead letter: {}: {reason}", code.as_str()));
        }
        cx.reject_bytes(name, line, code.as_str(), reason)
    }

    /// At the end of the stream: says how many there were beyond those described.
    pub fn summarise(&self, cx: &Context) {
        if self.count <= LOGGED {
            return;
        }
        let codes: Vec<String> = Code::ALL
            .into_iter()
            .zip(self.by_code)
            .filter(|(_, count)| *count > 0)
            .map(|(code, count)| format!("{} {count}", code.as_str()))
            .collect();
        cx.log(
            Level::Warn,
            format!("kept {} malformed lines as dead letters in all: {}", self.count, codes.join(", ")),
        );
    }
}
