//! Executions that the catalogue does not hold whole yet: a file in the state folder, so that they are written
//! whenever it can be reached again, also by another process.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, Utc};
use engine_abi::{Error, Result};
use serde::{Deserialize, Serialize};

/// The file's name.
const FILE: &str = "catalogue.json";

/// An execution that is to be written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// Its pipeline.
    pub(crate) pipeline: String,
    /// What its runs are called: what was said when it was asked for, or the id of the first.
    pub(crate) called: String,
    /// Who wanted it.
    pub(crate) executed_by: String,
    /// Since when it is wanted.
    pub(crate) since: DateTime<Utc>,
    /// Where it goes.
    pub(crate) deliveries: Vec<Place>,
}

/// A delivery of an execution.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) id: i64,
    pub(crate) name: String,
    pub(crate) method: String,
    pub(crate) recipients: u64,
}

/// All of them, by their ids.
pub(crate) struct Journal {
    path: PathBuf,
    open: Mutex<BTreeMap<String, Open>>,
}

impl Journal {
    /// The journal of a state folder.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let open = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| {
                Error::config(format!("{} cannot be read: {error}", path.display()))
                    .hint("it holds what the catalogue is still to be told; without it that is not told")
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(Error::from(error).context(path.display())),
        };
        Ok(Self { path, open: Mutex::new(open) })
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<(String, Open)> {
        self.open().iter().map(|(id, open)| (id.clone(), open.clone())).collect()
    }

    /// One of them.
    pub(crate) fn get(&self, id: &str) -> Option<Open> {
        self.open().get(id).cloned()
    }

    /// Adds one, or says of one that is there who wants it.
    pub(crate) fn put(&self, id: &str, new: Open, executed_by: Option<&str>) -> Result<()> {
        let mut open = self.open();
        let entry = open.entry(id.to_owned()).or_insert(new);
        if let Some(executed_by) = executed_by {
            executed_by.clone_into(&mut entry.executed_by);
        }
        self.store(&open)
    }

    /// Removes one, which the catalogue holds whole.
    pub(crate) fn remove(&self, id: &str) -> Result<()> {
        let mut open = self.open();
        if open.remove(id).is_some() { self.store(&open) } else { Ok(()) }
    }

    fn store(&self, open: &BTreeMap<String, Open>) -> Result<()> {
        let named = |error: std::io::Error| Error::from(error).context(self.path.display());
        let beside = self.path.with_extension("json.new");
        let text = serde_json::to_vec(open).map_err(|error| Error::internal(error.to_string()))?;
        let mut options = File::options();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside).map_err(named)?;
        file.write_all(&text).and_then(|()| file.sync_all()).map_err(named)?;
        std::fs::rename(&beside, &self.path).map_err(named)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_outlives_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let open = |called: &str| Open {
            pipeline: "report-1".into(),
            called: called.into(),
            executed_by: "api".into(),
            since: Utc::now(),
            deliveries: vec![Place { id: 1, name: "a".into(), method: "email".into(), recipients: 2 }],
        };
        let journal = Journal::read(folder.path()).unwrap();
        journal.put("a", open("a"), None).unwrap();
        journal.put("b", open("b"), None).unwrap();
        journal.put("a", open("other"), Some("ann")).unwrap();
        journal.remove("b").unwrap();
        let again = Journal::read(folder.path()).unwrap();
        assert_eq!(again.all(), journal.all());
        assert_eq!(
            (again.get("a").unwrap().called.as_str(), again.get("a").unwrap().executed_by.as_str()),
            ("a", "ann")
        );
    }
}
