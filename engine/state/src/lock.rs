//! One engine holds a state folder. The lock is the kernel's (`flock`), so it
//! ends with the process however the process ends.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use engine_abi::{Error, ErrorKind, Result};
use rustix::fs::{FlockOperation, flock};

use crate::error;

/// Held while its value lives.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Takes the lock of `folder`, or says which process has it.
    pub(crate) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join("lock");
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|cause| error::io(&path, "open", &cause))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(held(folder, &mut file)),
            Err(errno) => return Err(error::io(&path, "lock", &errno.into())),
        }
        // The lock stands without the text, which only serves the message of a
        // second engine: a full disk must not keep the first one from starting.
        let _ = file.set_len(0).and_then(|()| file.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Self { _file: file })
    }
}

fn held(folder: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let _ = file.take(32).read_to_string(&mut text);
    let holder = match text.trim() {
        "" => "another engine".to_owned(),
        pid => format!("the engine with process id {pid}"),
    };
    Error::new(ErrorKind::Unavailable, format!("{holder} holds the state folder {}", folder.display()))
        .hint("stop that engine, or give this one a folder of its own with --state")
}

/// Makes `folder`, readable by its owner alone, and the folders above it as usual.
pub fn create_private_folder(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent).map_err(|cause| error::io(parent, "make the folder", &cause))?;
    }
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(cause) if !folder.is_dir() => Err(error::io(folder, "make the folder", &cause)),
        _ => {
            if let Some(parent) = folder.parent() {
                sync_folder(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
            }
            Ok(())
        }
    }
}

/// Makes the names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|file| file.sync_all()).map_err(|cause| error::io(folder, "sync the folder", &cause))
}
