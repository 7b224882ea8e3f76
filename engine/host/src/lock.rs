//! `plugins.lock`: which files may be loaded.

use std::collections::BTreeMap;
use std::path::Path;

use engine_abi::{Error, Result};

/// The hashes of the modules that may be loaded, as `sha256sum` writes them:
/// one line a module, the hash in hexadecimal, white space, the file's name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lock {
    path: String,
    names: BTreeMap<String, String>,
}

impl Lock {
    /// Reads a lock's text; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut names = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (hash, name) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) || name.trim().is_empty() {
                return Err(Error::config(format!(
                    "{}:{}: not a line of a lock: `{line}`",
                    path.display(),
                    number + 1
                ))
                .hint("each line holds a sha256 and a file name, as `sha256sum` prints them"));
            }
            let name = name.trim().trim_start_matches('*').rsplit('/').next().unwrap_or_default().to_owned();
            names.insert(hash.to_ascii_lowercase(), name);
        }
        Ok(Self { path: path.display().to_string(), names })
    }

    /// Refuses a file that the lock does not hold.
    pub(crate) fn admit(&self, file: &Path, sha256: &str) -> Result<()> {
        if self.names.contains_key(sha256) {
            return Ok(());
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let what = if self.names.values().any(|locked| *locked == name) {
            format!("module {} has changed since it was locked", file.display())
        } else {
            format!("module {} is not in the lock", file.display())
        };
        Err(Error::denied(format!("{what}: its sha256 is {sha256}, and {} does not hold it", self.path))
            .hint(format!("if you trust the file, put `{sha256}  {name}` into {}", self.path)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_what_sha256sum_prints() {
        let hash = "a".repeat(64);
        let lock = Lock::parse(&format!("# pinned\n{hash}  plugins/libx.so\n\n"), Path::new("plugins.lock")).unwrap();
        assert!(lock.admit(Path::new("/p/libx.so"), &hash).is_ok());
        let changed = lock.admit(Path::new("/p/libx.so"), &"b".repeat(64)).unwrap_err();
        assert!(changed.message.starts_with("module /p/libx.so has changed since it was locked"), "{changed}");
        let unknown = lock.admit(Path::new("/p/liby.so"), &"b".repeat(64)).unwrap_err();
        assert!(unknown.message.starts_with("module /p/liby.so is not in the lock"), "{unknown}");
        let bad = Lock::parse("abc  libx.so", Path::new("plugins.lock")).unwrap_err();
        assert!(bad.message.starts_with("plugins.lock:1: not a line of a lock"), "{bad}");
    }
}
