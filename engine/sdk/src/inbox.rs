//! What sources of files share: which files are new, and what becomes of them once every sink has them.

use std::collections::BTreeSet;

use engine_abi::message::PlanRequest;
use engine_abi::{Error, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::types::Template;

/// How many files of one name are numbered in a folder, before their times tell them apart.
const NUMBERED: u32 = 9;
/// How many of one name and one time.
const OF_ONE_TIME: u32 = 99;

/// What becomes of a file once every sink has it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum After {
    /// It stays, and is read again by the next run, unless only new files are.
    #[default]
    Keep,
    /// It is deleted.
    Delete,
    /// It goes into this folder, which is made where it is missing.
    Move(Template),
}

impl After {
    /// Whether a source must know what was delivered.
    pub fn tells(&self) -> bool {
        *self != Self::Keep
    }

    /// Refuses a folder without a name.
    pub fn checked(&self) -> Result<()> {
        match self {
            Self::Move(folder) if folder.trim_matches([' ', '/']).is_empty() => {
                Err(Error::config("`after: {move: …}` names no folder")
                    .hint("write the folder to which files that were delivered go, such as `done`"))
            }
            _ => Ok(()),
        }
    }

    /// What to say of files that `path` would find again where they are moved to.
    pub fn is_read_again(&self, path: &str) -> Error {
        let folder = match self {
            Self::Move(folder) => &**folder,
            Self::Keep | Self::Delete => "",
        };
        Error::config(format!("`after` moves files to {folder}, where `path` finds them again: {path}"))
            .hint("let `after` name a folder in which the pattern matches nothing, such as one beside the files' own")
    }
}

/// Leaves out files that an earlier window holds and some sink still misses, told by what they are called.
pub fn leave_out_undelivered<T: DeserializeOwned>(files: &mut Vec<T>, request: &PlanRequest, name: fn(&T) -> &str) {
    let undelivered: Vec<T> = request.undelivered_as().collect();
    let names: BTreeSet<&str> = undelivered.iter().map(name).collect();
    files.retain(|file| !names.contains(name(file)));
}

/// The names under which a file can be moved into a folder, the first that is free being the right one: its own, then
/// `calls.2.csv` and so on, then `calls.1769850000000000.csv` by the microseconds since 1970 when it was written. They
/// are the same whenever they are asked for.
pub fn names_for_moving(name: &str, modified: i64) -> impl Iterator<Item = String> {
    let last = name.rsplit('/').next().unwrap_or(name).to_owned();
    let (stem, extension) = match last.find('.').filter(|at| *at > 0) {
        Some(at) => (last[..at].to_owned(), last[at..].to_owned()),
        None => (last.clone(), String::new()),
    };
    let of_one_time = (2..=OF_ONE_TIME).map(move |number| format!("{modified}.{number}"));
    let between = (2..=NUMBERED).map(|number| number.to_string()).chain([modified.to_string()]).chain(of_one_time);
    std::iter::once(last).chain(between.map(move |between| format!("{stem}.{between}{extension}")))
}

/// The newest files that were read: the cursor of a source that reads only what is newer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest {
    /// When they were written, in nanoseconds since 1970, or what else grows with time.
    modified: i64,
    /// All that were read of that moment.
    names: BTreeSet<String>,
}

impl Newest {
    /// Whether a file has come or has changed since.
    pub fn is_before(&self, name: &str, modified: i64) -> bool {
        modified > self.modified || (modified == self.modified && !self.names.contains(name))
    }

    /// With a file more.
    pub fn note(&mut self, name: &str, modified: i64) {
        if modified > self.modified || self.names.is_empty() {
            *self = Self { modified, names: BTreeSet::new() };
        }
        if modified == self.modified {
            self.names.insert(name.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_new_that_were_written_later_or_at_the_same_moment_under_another_name() {
        let mut newest = Newest::default();
        assert!(newest.is_before("a", 0) && newest.is_before("a", -5 + 5));
        for (name, modified) in [("a", 7), ("b", 9), ("c", 9), ("d", 8)] {
            assert!(newest.is_before(name, modified + 2));
            newest.note(name, modified);
        }
        for (name, modified, new) in
            [("b", 9, false), ("c", 9, false), ("e", 9, true), ("b", 10, true), ("x", 8, false)]
        {
            assert_eq!(newest.is_before(name, modified), new, "{name} {modified}");
        }
    }

    #[test]
    fn a_file_older_than_1970_is_new_once() {
        let mut newest = Newest::default();
        newest.note("old", -3);
        assert!(!newest.is_before("old", -3) && newest.is_before("new", -2));
    }

    #[test]
    fn a_name_that_is_taken_gets_a_number() {
        let names: Vec<_> = names_for_moving("in/calls.tar.gz", 1_769_850_000_000_000).collect();
        assert_eq!(names[..3], ["calls.tar.gz", "calls.2.tar.gz", "calls.3.tar.gz"]);
        let timed = ["calls.9.tar.gz", "calls.1769850000000000.tar.gz", "calls.1769850000000000.2.tar.gz"];
        assert_eq!(names[8..11], timed);
        assert_eq!((names.len(), names.last().unwrap().as_str()), (108, "calls.1769850000000000.99.tar.gz"));
        assert_eq!(names_for_moving(".hidden", 0).nth(1).unwrap(), ".hidden.2");
    }
}
