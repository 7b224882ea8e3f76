//! A file's content where nobody can change it any more.
//!
//! An open file is not enough of a promise: whoever may write to it changes what
//! was hashed before it is loaded, and even what is mapped by then.

use std::fs::File;
use std::io::Seek;
use std::path::Path;

use engine_abi::{Error, Result};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;

/// How many characters of a file's name its copy is called by: the system takes 249 bytes.
const NAME: usize = 60;

/// Copies a file into memory that can be neither written nor resized from then
/// on, by this process either. `path` is for messages, and for whoever looks at
/// what the process has mapped.
pub(crate) fn copy(path: &Path, mut file: File) -> Result<File> {
    let failed = |error: std::io::Error| {
        Error::from(error).context(format_args!("module {} cannot be copied into memory", path.display())).hint(
            "with a plugins.lock, modules are loaded from a copy that nobody can change: \
             the system must allow memfd_create and have room for it",
        )
    };
    let mut sealed = create(path).map_err(|error| failed(error.into()))?;
    std::io::copy(&mut file, &mut sealed).map_err(failed)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    fcntl_add_seals(&sealed, seals).map_err(|error| failed(error.into()))?;
    sealed.rewind().map_err(failed)?;
    Ok(sealed)
}

fn create(path: &Path) -> Result<File, Errno> {
    let name: String = path.file_name().unwrap_or_default().to_string_lossy().chars().take(NAME).collect();
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // A library is mapped, never executed as a program, and some systems insist
    // on being told so. Those before Linux 6.3 do not know the flag.
    match memfd_create(name.as_str(), flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name.as_str(), flags),
        answer => answer,
    }
    .map(File::from)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_copy_holds_what_the_file_held_and_takes_nothing_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("lib{}.so", "ü".repeat(100)));
        std::fs::write(&path, "as it was").unwrap();
        let mut sealed = copy(&path, File::open(&path).unwrap()).unwrap();
        std::fs::write(&path, "as it is now, and longer").unwrap();

        let mut text = String::new();
        sealed.read_to_string(&mut text).unwrap();
        assert_eq!(text, "as it was");
        assert!(sealed.write(b"more").is_err() && sealed.set_len(0).is_err());
        sealed.rewind().unwrap();
        assert!(sealed.write(b"less").is_err());
        // Nor by another descriptor of it.
        let other = format!("/proc/self/fd/{}", sealed.as_raw_fd());
        let written = File::options().write(true).open(other).and_then(|mut other| other.write(b"less"));
        assert!(written.is_err());
    }
}
