//! `plugins.lock`: which files may be loaded.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use engine_abi::{Error, Result};

use crate::ModuleFile;

/// Says to a reader what the file is.
const HEADER: &str = "# Only these modules may be loaded, in the form of sha256sum: \
                      written by `engine plugins lock`, compared by `engine plugins verify`.";

/// The hashes of the modules that may be loaded, as `sha256sum` writes them:
/// one line a module, the hash in hexadecimal, white space, the file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock {
    path: PathBuf,
    entries: BTreeSet<Entry>,
}

/// One line. The hash admits, the name explains.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Entry {
    name: String,
    sha256: String,
}

/// How a module stands to a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Locked, and there with its hash.
    Locked,
    /// Locked, but the file of that name has another hash.
    Changed,
    /// Locked, but no file has the name or the hash.
    Missing,
    /// Used, and not locked: it will not be loaded.
    Unlocked,
    /// Neither locked nor used. Nothing is wrong with that.
    Extra,
}

/// A module, and how it stands to a lock.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Compared {
    /// How it stands.
    pub standing: Standing,
    /// The file's name.
    pub name: String,
    /// The hash that is locked, if one is under this name.
    pub locked: Option<String>,
    /// The hash of the file, if it is there.
    pub found: Option<String>,
    /// The file, if it is there.
    pub path: Option<PathBuf>,
}

impl Standing {
    /// Whether the lock and the modules agree as far as this one goes.
    pub const fn is_sound(self) -> bool {
        matches!(self, Self::Locked | Self::Extra)
    }
}

impl Lock {
    /// Reads a lock's text; `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut entries = BTreeSet::new();
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
                .hint(
                    "each line holds a sha256 and a file name, as `sha256sum` prints them; \
                     `engine plugins lock` writes the file anew",
                ));
            }
            let name = name.trim().trim_start_matches('*').rsplit('/').next().unwrap_or_default().to_owned();
            entries.insert(Entry { name, sha256: hash.to_ascii_lowercase() });
        }
        Ok(Self { path: path.to_owned(), entries })
    }

    /// A lock that holds these modules as their files are now; `path` is where it will stand.
    pub fn of<'a>(modules: impl IntoIterator<Item = &'a Arc<ModuleFile>>, path: &Path) -> Result<Self> {
        let entries = modules.into_iter().map(|module| {
            let name = file_name(module.path());
            if name.chars().any(char::is_control) {
                return Err(Error::config(format!(
                    "module {} cannot be locked: its name would break the line",
                    format_args!("{:?}", module.path())
                ))
                .hint("give the file a name without control characters"));
            }
            Ok(Entry { name, sha256: module.sha256()?.to_owned() })
        });
        Ok(Self { path: path.to_owned(), entries: entries.collect::<Result<_>>()? })
    }

    /// The file that it stands in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Refuses a file that the lock does not hold.
    pub(crate) fn admit(&self, file: &Path, sha256: &str) -> Result<()> {
        if self.entries.iter().any(|entry| entry.sha256 == sha256) {
            return Ok(());
        }
        let name = file_name(file);
        let what = if self.entries.iter().any(|entry| entry.name == name) {
            format!("module {} has changed since it was locked", file.display())
        } else {
            format!("module {} is not in the lock", file.display())
        };
        let lock = self.path.display();
        Err(Error::denied(format!("{what}: its sha256 is {sha256}, and {lock} does not hold it"))
            .hint("if you trust the file, `engine plugins lock` with the pipeline files writes the lock anew"))
    }

    /// How each locked module, and each that was found, stands to the lock.
    /// `used` says of a file's path whether some pipeline needs it.
    pub fn compare(&self, found: &[Arc<ModuleFile>], used: impl Fn(&Path) -> bool) -> Result<Vec<Compared>> {
        let files = found.iter().map(|module| {
            let path = module.path().to_owned();
            Ok(Found { name: file_name(&path), sha256: module.sha256()?.to_owned(), used: used(&path), path })
        });
        Ok(self.compare_files(&files.collect::<Result<Vec<_>>>()?))
    }

    fn compare_files(&self, files: &[Found]) -> Vec<Compared> {
        let mut all = Vec::new();
        let mut explained = BTreeSet::new();
        for Entry { name, sha256 } in &self.entries {
            let with_hash: Vec<_> = files.iter().filter(|file| file.sha256 == *sha256).collect();
            let with_name = files.iter().filter(|file| file.name == *name);
            let (standing, files) = match with_hash.is_empty() {
                false => (Standing::Locked, with_hash),
                true => (Standing::Changed, with_name.collect()),
            };
            if files.is_empty() {
                let locked = Some(sha256.clone());
                let name = name.clone();
                all.push(Compared { standing: Standing::Missing, name, locked, found: None, path: None });
            }
            for file in files {
                if explained.insert(&file.path) {
                    all.push(file.compared(standing, Some(sha256)));
                }
            }
        }
        for file in files.iter().filter(|file| !explained.contains(&file.path)) {
            all.push(file.compared(if file.used { Standing::Unlocked } else { Standing::Extra }, None));
        }
        all
    }
}

/// The text of the file, its lines in the order of names.
impl fmt::Display for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{HEADER}")?;
        for Entry { name, sha256 } in &self.entries {
            writeln!(f, "{sha256}  {name}")?;
        }
        Ok(())
    }
}

/// A module's file, as far as a lock is concerned.
struct Found {
    name: String,
    sha256: String,
    used: bool,
    path: PathBuf,
}

impl Found {
    fn compared(&self, standing: Standing, locked: Option<&String>) -> Compared {
        let (name, found, path) = (self.name.clone(), Some(self.sha256.clone()), Some(self.path.clone()));
        Compared { standing, name, locked: locked.cloned(), found, path }
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(digit: &str) -> String {
        digit.repeat(64)
    }

    fn found(path: &str, digit: &str, used: bool) -> Found {
        Found { name: file_name(Path::new(path)), sha256: hash(digit), used, path: path.into() }
    }

    /// Standing, name and path of each.
    fn standings(lock: &str, files: &[Found]) -> Vec<(Standing, String, String)> {
        let lock = Lock::parse(lock, Path::new("plugins.lock")).unwrap();
        let path = |it: &Compared| it.path.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        lock.compare_files(files).iter().map(|it| (it.standing, it.name.clone(), path(it))).collect()
    }

    #[test]
    fn a_lock_is_what_sha256sum_prints() {
        let hash = "a".repeat(64);
        let lock = Lock::parse(&format!("# pinned\n{hash}  plugins/libx.so\n\n"), Path::new("plugins.lock")).unwrap();
        assert!(lock.admit(Path::new("/p/libx.so"), &hash).is_ok());
        let changed = lock.admit(Path::new("/p/libx.so"), &"b".repeat(64)).unwrap_err();
        assert!(changed.message.starts_with("module /p/libx.so has changed since it was locked"), "{changed}");
        let unknown = lock.admit(Path::new("/p/liby.so"), &"b".repeat(64)).unwrap_err();
        assert!(unknown.message.starts_with("module /p/liby.so is not in the lock"), "{unknown}");
        assert!(unknown.hint.is_some_and(|hint| hint.contains("`engine plugins lock`")));
        let bad = Lock::parse("abc  libx.so", Path::new("plugins.lock")).unwrap_err();
        assert!(bad.message.starts_with("plugins.lock:1: not a line of a lock"), "{bad}");
    }

    #[test]
    fn what_is_written_is_read_again_and_stands_in_the_order_of_names() {
        let (a, b) = (hash("a"), hash("b"));
        let text = format!("{b}  libz.so\n{a}  liby.so\n{b}  libx.so\n");
        let lock = Lock::parse(&text, Path::new("plugins.lock")).unwrap();
        let written = lock.to_string();
        assert_eq!(written, format!("{HEADER}\n{b}  libx.so\n{a}  liby.so\n{b}  libz.so\n"));
        assert_eq!(HEADER.lines().count(), 1);
        assert_eq!(Lock::parse(&written, Path::new("plugins.lock")).unwrap(), lock);
    }

    #[test]
    fn every_locked_module_and_every_file_is_accounted_for_once() {
        let lock = ["same", "changed", "gone"].iter().zip(["a", "b", "c"]);
        let lock: String = lock.map(|(name, digit)| format!("{}  {name}\n", hash(digit))).collect();
        let files = [
            found("/p/same", "a", true),
            found("/p/changed", "d", true),
            found("/p/new", "e", true),
            found("/p/idle", "f", false),
        ];
        let expected = [
            (Standing::Changed, "changed", "/p/changed"),
            (Standing::Missing, "gone", ""),
            (Standing::Locked, "same", "/p/same"),
            (Standing::Unlocked, "new", "/p/new"),
            (Standing::Extra, "idle", "/p/idle"),
        ];
        let expected = expected.map(|(standing, name, path)| (standing, name.to_owned(), path.to_owned()));
        assert_eq!(standings(&lock, &files), expected);
        let sound: Vec<_> = expected.iter().map(|(standing, ..)| standing.is_sound()).collect();
        assert_eq!(sound, [false, false, true, false, true]);
    }

    #[test]
    fn a_renamed_module_is_locked_and_another_version_beside_it_is_not() {
        let lock = format!("{}  libx.so\n", hash("a"));
        let files = [found("/p/renamed.so", "a", true), found("/q/libx.so", "b", true)];
        let expected = [
            (Standing::Locked, "renamed.so".to_owned(), "/p/renamed.so".to_owned()),
            (Standing::Unlocked, "libx.so".to_owned(), "/q/libx.so".to_owned()),
        ];
        assert_eq!(standings(&lock, &files), expected);
    }
}
