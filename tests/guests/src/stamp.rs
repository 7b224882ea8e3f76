//! Whether something was made of what lies there now.

use std::path::{Path, PathBuf};

use engine_abi::Result;
use sha2::{Digest, Sha256};

/// The hash of some sources, and where the one of the last build stands.
pub struct Stamp {
    place: PathBuf,
    now: String,
}

impl Stamp {
    /// Hashes files and all that lies in folders.
    pub fn of(place: &Path, sources: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut hasher = Sha256::new();
        for source in sources {
            add(&mut hasher, &source, &source);
        }
        let now = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Self { place: place.to_owned(), now }
    }

    /// Nothing has changed.
    pub fn holds(&self) -> bool {
        std::fs::read_to_string(&self.place).is_ok_and(|then| then == self.now)
    }

    /// The build is done.
    pub fn set(&self) -> Result<()> {
        Ok(std::fs::write(&self.place, &self.now)?)
    }
}

fn add(hasher: &mut Sha256, base: &Path, path: &Path) {
    if path.is_dir() {
        let mut entries: Vec<_> = std::fs::read_dir(path).into_iter().flatten().flatten().map(|it| it.path()).collect();
        entries.sort();
        for entry in entries {
            add(hasher, base, &entry);
        }
    } else if let Ok(content) = std::fs::read(path) {
        // Relative to the source: a clone in another folder has the same hash.
        hasher.update(path.strip_prefix(base).unwrap_or(path).display().to_string());
        hasher.update([0]);
        hasher.update(content.len().to_le_bytes());
        hasher.update(content);
    }
}
