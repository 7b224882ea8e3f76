//! What the sink asks of the file system: hashing, durable folders, and
//! publishing under a name without replacing what has it.

use std::fs::{DirBuilder, File};
use std::io::{ErrorKind as Io, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};

use engine_sdk::hexadecimal;
use engine_sdk::prelude::*;
use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;
use sha2::{Digest, Sha256};

/// How much is read at a time, in bytes.
const CHUNK: usize = 256 * 1024;

/// An operation on a path that failed, with what to do about it.
pub fn fault(doing: &str, path: &Path, error: std::io::Error) -> Error {
    let kind = error.kind();
    let fault = Error::from(error).context(format_args!("{doing} {}", path.display()));
    match kind {
        Io::StorageFull => fault.hint("the disk is full; make room, or let `path` point at another disk"),
        Io::QuotaExceeded => fault.hint("the user's quota is used up; make room, or let `path` point at another disk"),
        Io::PermissionDenied => fault.hint("let the user that runs the engine have this file and its folder"),
        Io::ReadOnlyFilesystem => fault.hint("the disk is mounted read-only; let `path` point at another disk"),
        _ => fault,
    }
}

/// The SHA-256 of a file; `None` where there is no file.
pub fn sha256_of(path: &Path) -> Result<Option<String>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == Io::NotFound => return Ok(None),
        Err(error) => return Err(fault("reading", path, error)),
    };
    let mut hash = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(Some(hexadecimal::write(&hash.finalize()))),
            Ok(length) => hash.update(&chunk[..length]),
            Err(error) if error.kind() == Io::Interrupted => {}
            Err(error) => return Err(fault("reading", path, error)),
        }
    }
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| fault("syncing", folder, error))
}

/// Makes a folder and those above it, durably: a file in a folder that a power
/// cut takes away is lost too.
pub fn create_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(above) = folder.parent().filter(|above| !above.as_os_str().is_empty()) {
        create_folder(above)?;
    }
    match DirBuilder::new().mode(0o755).create(folder) {
        Ok(()) => sync_folder(&parent(folder)),
        Err(error) if error.kind() == Io::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) => Err(fault("making the folder", folder, error)),
    }
}

/// The folder that a path is in.
pub fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above.to_owned(),
        _ => ".".into(),
    }
}

/// A path without `.`, `..` and `//`, as far as its text tells.
pub fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if plain.file_name().is_some() => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

/// Removes a file that may be gone already.
pub fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != Io::NotFound => Err(fault("removing", path, error)),
        _ => Ok(()),
    }
}

/// Gives a file its final name unless that is taken. `false`: it is taken.
pub fn rename_without_replacing(from: &Path, to: &Path) -> std::io::Result<bool> {
    match rustix::fs::renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // Network file systems often have no such rename, but can link.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => link_and_unlink(from, to),
        Err(error) => Err(error.into()),
    }
}

/// The same in two steps. A crash between them leaves both names on one file,
/// which the next commit takes for published.
fn link_and_unlink(from: &Path, to: &Path) -> std::io::Result<bool> {
    match std::fs::hard_link(from, to) {
        Ok(()) => std::fs::remove_file(from).map(|()| true),
        Err(error) if error.kind() == Io::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_taken_is_not_replaced_by_either_way() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("new"), folder.path().join("taken"));
        for publish in [rename_without_replacing, link_and_unlink] {
            std::fs::write(&from, "new").unwrap();
            std::fs::write(&to, "old").unwrap();
            assert!(!publish(&from, &to).unwrap());
            assert_eq!(std::fs::read_to_string(&to).unwrap(), "old");
            std::fs::remove_file(&to).unwrap();
            assert!(publish(&from, &to).unwrap());
            assert_eq!(std::fs::read_to_string(&to).unwrap(), "new");
            assert!(!from.exists());
        }
    }

    #[test]
    fn paths_are_plain_as_far_as_their_texts_tell() {
        for (path, expected) in [
            ("a/./b//c", "a/b/c"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("/a/b/../../c", "/c"),
            ("./in/**/*.csv", "in/**/*.csv"),
        ] {
            assert_eq!(plain(Path::new(path)), Path::new(expected));
        }
    }

    #[test]
    fn a_full_disk_is_tried_again_and_says_which_path() {
        let error = fault("writing", Path::new("out/a.csv"), Io::StorageFull.into());
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("out/a.csv"));
        assert!(error.hint.unwrap().contains("make room"));
    }
}
