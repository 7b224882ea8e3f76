//! Exit codes, and the one table from error kinds to them.

use std::process::ExitCode;

use engine_abi::{Error, ErrorKind};
use engine_spec::{Diagnostics, Style};

use crate::console;

/// How the program ends. Of several, the highest counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// Everything was done.
    Done = 0,
    /// A run failed.
    Failed = 1,
    /// The pipeline or its configuration is wrong.
    Config = 2,
    /// The environment is: a server, a module, the state folder.
    Environment = 3,
}

impl Exit {
    pub fn code(self) -> ExitCode {
        ExitCode::from(self as u8)
    }

    /// The code for an error that ended a command.
    pub fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Config => Self::Config,
            ErrorKind::Denied | ErrorKind::Unavailable | ErrorKind::RateLimited => Self::Environment,
            ErrorKind::Rejected | ErrorKind::Internal | ErrorKind::Cancelled => Self::Failed,
        }
    }
}

/// Why a command could not do what it was asked to.
pub enum Failure {
    /// One error.
    Error(Error, Option<Exit>),
    /// Several.
    Errors(Vec<Error>),
    /// Everything that is wrong with some files.
    Diagnostics(Diagnostics),
}

impl Failure {
    /// An error of the environment, whatever its kind.
    pub fn environment(error: Error) -> Self {
        Self::Error(error, Some(Exit::Environment))
    }

    /// One error that says it all.
    pub fn into_error(self) -> Error {
        match self {
            Self::Error(error, _) => error,
            Self::Errors(errors) => {
                let messages: Vec<_> = errors.iter().map(ToString::to_string).collect();
                Error::config(messages.join("\n"))
            }
            Self::Diagnostics(diagnostics) => Error::config(diagnostics.render(Style::Plain).trim_end()),
        }
    }

    /// Tells it on stderr (as JSON where that was asked for).
    pub fn print(self, json: bool) -> Exit {
        match self {
            Self::Error(error, exit) => {
                if json {
                    console::error_line(&serde_json::json!({"error": error}).to_string());
                } else {
                    console::error_line(&format!("error: {error}"));
                }
                exit.unwrap_or(Exit::of(error.kind))
            }
            Self::Errors(errors) => {
                if json {
                    console::error_line(&serde_json::json!({"errors": errors}).to_string());
                } else {
                    errors.iter().for_each(|error| console::error_line(&format!("error: {error}")));
                }
                errors.first().map_or(Exit::Failed, |error| Exit::of(error.kind))
            }
            Self::Diagnostics(diagnostics) => {
                if json {
                    let found = serde_json::to_value(&diagnostics).unwrap_or_default();
                    console::error_line(&serde_json::json!({"diagnostics": found}).to_string());
                } else {
                    console::error_line(diagnostics.render(style()).trim_end());
                    console::error_line(&diagnostics.summary());
                }
                Exit::Config
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error, None)
    }
}

impl From<Diagnostics> for Failure {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Diagnostics(diagnostics)
    }
}

/// Colour where a person looks on.
pub fn style() -> Style {
    if console::is_terminal() { Style::Coloured } else { Style::Plain }
}
