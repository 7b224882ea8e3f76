//! What goes wrong at a server, and what that means for the work.

use engine_sdk::prelude::Error;

use crate::wire::{Status, status};

/// Why a piece of work ended early.
#[derive(Debug)]
pub enum Fault {
    /// The server answered that it does not do this. The connection is as good as before.
    Refused(Status),
    /// Something that was said already. The connection is as good as before.
    Told(Error),
    /// Nothing more can be said over the connection.
    Broken(Error),
}

impl Fault {
    /// Says what was being done, and to what.
    pub fn about(self, doing: &str, path: &str) -> Self {
        match self {
            Self::Refused(status) => Self::Told(status.about(doing, path)),
            Self::Told(error) => Self::Told(error),
            Self::Broken(error) => Self::Broken(error.context(format_args!("{doing} {path}"))),
        }
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Told(error)
    }
}

impl Status {
    pub fn is_missing(&self) -> bool {
        matches!(self.code, status::NO_SUCH_FILE | status::NO_SUCH_PATH)
    }

    /// What it means when it comes while something is done to a path.
    pub fn about(&self, doing: &str, path: &str) -> Error {
        let said = said(&self.message);
        let told = match said.is_empty() {
            true => format!("{doing} {path}: the server answers with status {}", self.code),
            false => format!("{doing} {path}: the server answers with status {}, {said:?}", self.code),
        };
        match self.code {
            status::NO_SUCH_FILE | status::NO_SUCH_PATH => Error::config(told)
                .hint("there is no such file or folder; a relative `path` begins in the folder of the login"),
            status::PERMISSION_DENIED | status::WRITE_PROTECT => {
                Error::denied(told).hint("let the user that logs in have this file and its folder")
            }
            status::BAD_MESSAGE => Error::config(told)
                .hint("the server cannot do this with such a name: shorten it, or leave out unusual characters"),
            status::UNSUPPORTED => {
                Error::config(told).hint("the server has no such command, or its operator forbids it")
            }
            status::ALREADY_EXISTS => Error::config(told).hint("something of this name is there already"),
            status::NO_SPACE | status::QUOTA_EXCEEDED => Error::unavailable(told)
                .hint("the server's disk is full, or the login's share of it is used up; make room there"),
            status::NO_CONNECTION | status::CONNECTION_LOST => {
                Error::unavailable(told).hint("the server has lost what stands behind it")
            }
            // Version 3 has one number for a full disk, a broken one, and all else.
            _ => Error::unavailable(told)
                .hint("the server does not say why; its disk may be full, or its log may tell more"),
        }
    }
}

/// What a server says, on one line and not too long.
pub fn said(text: &str) -> String {
    let words: Vec<_> =
        text.split(|it: char| it.is_control() || it.is_whitespace()).filter(|it| !it.is_empty()).collect();
    words.join(" ").chars().take(300).collect()
}
