//! What a split says about its file: enough to know it again.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use engine_sdk::hexadecimal;
use engine_sdk::prelude::*;
use sha2::{Digest, Sha256};

/// How much of either end of a file is remembered.
const END: u64 = 4096;

/// A file as it was when a run was planned.
#[derive(Debug, Serialize, Deserialize)]
pub struct Planned {
    /// As matched: relative, if the pattern was.
    pub path: String,
    /// Bytes to read; what was appended later belongs to a later run.
    pub size: u64,
    /// When the file was written last, in nanoseconds since 1970.
    pub modified_ns: i64,
    inode: u64,
    /// The hash of what it begins and ends with. A file that was only appended to keeps it, and one that was
    /// written over does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ends: Option<String>,
    /// Only this much of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ByteRange>,
}

impl Planned {
    /// A file that was found.
    pub fn new(path: String, found: &Metadata) -> Self {
        let (modified_ns, inode) = (modified_ns(found), found.ino());
        Self { path, size: found.len(), modified_ns, inode, ends: None, range: None }
    }

    /// Remembers what it begins and ends with.
    pub fn remember_ends(&mut self, file: &File) -> io::Result<()> {
        self.ends = Some(ends(file, self.size)?);
        Ok(())
    }

    /// Whether nobody has touched the file at all since.
    pub fn is_as_planned(&self, found: &Metadata) -> bool {
        found.len() == self.size && modified_ns(found) == self.modified_ns && found.ino() == self.inode
    }

    /// Why the planned bytes are no longer what the file begins with. `None`: nobody has touched it, or it is the
    /// same file and has grown.
    pub fn is_another(&self, file: &File) -> io::Result<Option<String>> {
        let found = file.metadata()?;
        let was_written = "was written to since it was planned";
        Ok(if found.len() < self.size {
            Some(format!("is shorter than planned: {} bytes instead of {}", found.len(), self.size))
        } else if found.len() == self.size {
            (modified_ns(&found) != self.modified_ns).then(|| was_written.to_owned())
        } else if found.ino() != self.inode {
            Some("is another file than the one that was planned".into())
        } else {
            let same = match &self.ends {
                Some(planned) => *planned == ends(file, self.size)?,
                None => true,
            };
            (!same).then(|| format!("{was_written}, and not only at its end"))
        })
    }
}

fn modified_ns(found: &Metadata) -> i64 {
    found.mtime().saturating_mul(1_000_000_000).saturating_add(found.mtime_nsec())
}

/// The hash of the first and the last bytes of what a file was when it had this size.
fn ends(file: &File, size: u64) -> io::Result<String> {
    let mut bytes = [0; END as usize];
    let length = size.min(END);
    let bytes = &mut bytes[..length as usize];
    let mut hash = Sha256::new();
    for from in [0, size - length] {
        file.read_exact_at(bytes, from)?;
        hash.update(&bytes);
    }
    Ok(hexadecimal::write(&hash.finalize()))
}
