//! A folder for what does not fit into memory, which goes with the stream that it is for, or, where the process was
//! killed, with the next stream of any process that uses the same place.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind as Io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use engine_sdk::prelude::*;

/// What the folders are called by, and beside each the file that says whether somebody is still at work there.
const PREFIX: &str = "engine-sql-";
const LOCK: &str = ".lock";
/// Links are not followed: anybody may write into the system's folder for temporary files.
const NOFOLLOW: i32 = rustix::fs::OFlags::NOFOLLOW.bits() as i32;
/// How often a name is tried that another process takes for one that was left.
const ATTEMPTS: usize = 16;

/// A folder of its own. It goes when this does.
#[derive(Debug)]
pub struct Workspace {
    folder: PathBuf,
    lock: PathBuf,
    /// Held as long as the process lives.
    _held: File,
}

impl Workspace {
    /// Makes one below a folder that is there, and removes those there whose processes are gone.
    pub fn new(place: &Path) -> Result<Self> {
        sweep(place);
        let making = |error: std::io::Error| {
            Error::from(error)
                .context(format_args!("making a folder for what does not fit into memory in {}", place.display()))
        };
        for _ in 0..ATTEMPTS {
            let name = tempfile::Builder::new().prefix(PREFIX).suffix(LOCK).tempfile_in(place).map_err(making)?;
            let (held, lock) = name.keep().map_err(|error| making(error.error))?;
            let folder = lock.with_extension("");
            held.lock().map_err(making)?;
            // Between making and locking it, another process may have taken it for one that was left.
            if !is_still(&held, &lock) {
                continue;
            }
            DirBuilder::new().mode(0o700).create(&folder).map_err(making)?;
            return Ok(Self { folder, lock, _held: held });
        }
        Err(Error::unavailable(format!("{} has no room for a folder of its own", place.display()))
            .hint("let `spill` name a folder that no other program clears"))
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        remove(&self.folder, &self.lock);
    }
}

/// The folder first: as long as the lock is there, somebody clears up.
fn remove(folder: &Path, lock: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != Io::NotFound => {}
        _ => drop(std::fs::remove_file(lock)),
    }
}

/// Whether the name is still that of the open file.
fn is_still(held: &File, lock: &Path) -> bool {
    let of = |found: std::io::Result<std::fs::Metadata>| found.ok().map(|found| (found.dev(), found.ino()));
    of(held.metadata()).is_some_and(|it| of(std::fs::symlink_metadata(lock)) == Some(it))
}

/// Removes what processes have left that are gone. What cannot be removed is another user's, or stays for the next.
fn sweep(place: &Path) {
    let Ok(entries) = std::fs::read_dir(place) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        if !name.starts_with(PREFIX) || !name.ends_with(LOCK) {
            continue;
        }
        let lock = entry.path();
        let opened = OpenOptions::new().write(true).custom_flags(NOFOLLOW).open(&lock);
        if let Ok(held) = opened
            && held.try_lock().is_ok()
            && is_still(&held, &lock)
        {
            remove(&lock.with_extension(""), &lock);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(place: &Path) -> usize {
        std::fs::read_dir(place).unwrap().count()
    }

    #[test]
    fn it_goes_with_its_stream_and_what_a_killed_process_left_with_the_next_one() {
        let place = tempfile::tempdir().unwrap();
        let one = Workspace::new(place.path()).unwrap();
        std::fs::write(one.folder().join("rows"), "rows").unwrap();
        // As after a kill: nobody holds the lock.
        std::fs::write(place.path().join("engine-sql-dead.lock"), "").unwrap();
        std::fs::create_dir(place.path().join("engine-sql-dead")).unwrap();
        std::fs::write(place.path().join("engine-sql-dead/rows"), "rows").unwrap();
        std::fs::write(place.path().join("other.lock"), "").unwrap();
        let two = Workspace::new(place.path()).unwrap();
        assert!(one.folder().join("rows").exists() && two.folder().is_dir());
        assert!(!place.path().join("engine-sql-dead").exists());
        drop((one, two));
        assert_eq!(names(place.path()), 1, "the other program's file");
    }
}
