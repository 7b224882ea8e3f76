//! One error type for everything that crosses a border in the engine.

use arrow_schema::ArrowError;
use serde::{Deserialize, Serialize};

/// What an error means for the work at hand. The kind alone decides what the
/// engine does; no caller reads the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The configuration or the request is wrong; trying again cannot help.
    Config,
    /// The other side refused who we are or what we may do.
    Denied,
    /// The other side cannot be reached or is not ready. Tried again.
    Unavailable,
    /// The other side asks to wait. Tried again after [`Error::retry_after_ms`].
    RateLimited,
    /// The data was refused; the rows concerned become dead letters.
    Rejected,
    /// A bug, in the engine or in a component.
    Internal,
    /// The work was asked to stop. Not a failure.
    Cancelled,
}

impl ErrorKind {
    /// All kinds, in the order of their status numbers (1 and up).
    pub const ALL: [Self; 7] = [
        Self::Config,
        Self::Denied,
        Self::Unavailable,
        Self::RateLimited,
        Self::Rejected,
        Self::Internal,
        Self::Cancelled,
    ];

    /// The number that stands for this kind in `plugin.h`.
    pub const fn status(self) -> i32 {
        self as i32 + 1
    }

    /// The kind for a status other than 0. A number that this version does not
    /// know is a bug of the module that sent it.
    pub fn from_status(status: i32) -> Self {
        usize::try_from(i64::from(status) - 1).ok().and_then(|at| Self::ALL.get(at).copied()).unwrap_or(Self::Internal)
    }

    /// Whether the same attempt may succeed later.
    pub const fn is_retryable(self) -> bool {
        matches!(self, Self::Unavailable | Self::RateLimited)
    }

    /// The word for it in messages and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::RateLimited => "rate_limited",
            Self::Rejected => "rejected",
            Self::Internal => "internal",
            Self::Cancelled => "cancelled",
        }
    }
}

impl std::fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What happened, where, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Error {
    /// Decides what happens next. Absent in a module's answer: the call's status says it.
    #[serde(default = "internal")]
    pub kind: ErrorKind,
    /// What happened and where, for a person. Never holds a secret.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// How long the other side asked to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// The stage it happened in, such as `sinks.postgres`. Set by the engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
}

const fn internal() -> ErrorKind {
    ErrorKind::Internal
}

/// A result whose error is [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, retry_after_ms: None, stage: None }
    }

    /// See [`ErrorKind::Config`].
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// See [`ErrorKind::Denied`].
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    /// See [`ErrorKind::Unavailable`].
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// See [`ErrorKind::RateLimited`].
    pub fn rate_limited(message: impl Into<String>, retry_after: std::time::Duration) -> Self {
        let mut error = Self::new(ErrorKind::RateLimited, message);
        error.retry_after_ms = Some(u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX));
        error
    }

    /// See [`ErrorKind::Rejected`].
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, message)
    }

    /// See [`ErrorKind::Internal`].
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Internal, message)
    }

    /// See [`ErrorKind::Cancelled`].
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "stopped on request")
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says which stage it happened in, unless that is known already.
    #[must_use]
    pub fn at(mut self, stage: impl Into<String>) -> Self {
        self.stage.get_or_insert_with(|| stage.into());
        self
    }

    /// Puts what was being done in front of the message.
    #[must_use]
    pub fn context(mut self, doing: impl std::fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(stage) = &self.stage {
            write!(f, "{stage}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(hint) = &self.hint {
            write!(f, "\n  help: {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// Local files and sockets: the kind follows from what the system said.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::NotFound | Io::InvalidInput | Io::InvalidFilename | Io::NotADirectory | Io::IsADirectory => {
                ErrorKind::Config
            }
            Io::PermissionDenied | Io::ReadOnlyFilesystem => ErrorKind::Denied,
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

/// Arrow's functions fail where types or lengths do not go together: a bug, or an error of ours that
/// Arrow has carried. What is wrong with a single value is a rejection, not an error.
impl From<ArrowError> for Error {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::ExternalError(carried) => match carried.downcast::<Self>() {
                Ok(own) => *own,
                Err(other) => Self::internal(other.to_string()),
            },
            other => Self::internal(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_own_status_and_comes_back_from_it() {
        for (at, kind) in ErrorKind::ALL.into_iter().enumerate() {
            assert_eq!(kind.status(), at as i32 + 1);
            assert_eq!(ErrorKind::from_status(kind.status()), kind);
        }
        assert_eq!(ErrorKind::from_status(99), ErrorKind::Internal);
        assert_eq!(ErrorKind::from_status(-4), ErrorKind::Internal);
        assert_eq!(ErrorKind::from_status(i32::MIN + 1), ErrorKind::Internal);
    }

    #[test]
    fn a_module_needs_to_send_only_a_message() {
        let error: Error = serde_json::from_str(r#"{"message": "no such table"}"#).unwrap();
        assert_eq!(error.kind, ErrorKind::Internal);
        assert_eq!(error.message, "no such table");
    }

    #[test]
    fn an_error_that_arrow_carried_stays_itself() {
        let own = Error::unavailable("the server went away").hint("wait");
        assert_eq!(Error::from(ArrowError::ExternalError(Box::new(own.clone()))), own);
        let other = Error::from(ArrowError::InvalidArgumentError("two lengths".into()));
        assert_eq!(other, Error::internal("Invalid argument error: two lengths"));
    }
}
