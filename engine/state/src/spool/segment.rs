//! Segments: the files of the spool, each named by the offset at which it starts.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::record::{self, HEADER_BYTES, Header, StoredRecord};

const SUFFIX: &str = ".spool";
const NAME_DIGITS: usize = 20;
/// How much is read at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// The file of the segment that starts at `start`.
pub(crate) fn path(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("{start:020}{SUFFIX}"))
}

/// The starts and lengths of the segments in `folder`, in order. Other files are left alone.
pub(crate) fn list(folder: &Path) -> io::Result<Vec<(u64, u64)>> {
    let mut segments = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(digits) = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)) else { continue };
        if digits.len() == NAME_DIGITS
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(start) = digits.parse()
        {
            segments.push((start, entry.metadata()?.len()));
        }
    }
    segments.sort_unstable();
    Ok(segments)
}

/// Makes the file of a new segment. Its name is durable once the folder is synced.
pub(crate) fn create(folder: &Path, start: u64) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path(folder, start))
}

/// Walks over the records of one segment through one reused buffer.
pub(crate) struct Scanner {
    file: File,
    start: u64,
    /// The offset of the next record.
    at: u64,
    /// Nothing is read beyond this offset.
    limit: u64,
    buffer: Vec<u8>,
    /// What of `buffer` is read and not passed: the bytes from `at` on.
    ready: std::ops::Range<usize>,
    current: Option<(Header, u64)>,
}

/// What the scanner found at its place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// A record; it ends where the scanner now is.
    Record,
    /// The limit.
    Limit,
    /// Something that is no whole, good record. The scanner stays before it.
    Bad,
}

impl Scanner {
    /// Over the segment that starts at `start`, from `at` to `limit` (all of them offsets).
    pub(crate) fn new(file: File, start: u64, at: u64, limit: u64) -> Self {
        Self::reusing(Vec::new(), file, start, at, limit)
    }

    /// The same, with the buffer of another one.
    pub(crate) fn reusing(buffer: Vec<u8>, file: File, start: u64, at: u64, limit: u64) -> Self {
        Self { file, start, at, limit, buffer, ready: 0..0, current: None }
    }

    pub(crate) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The offset of the next record.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Moves over the next record. Without `verify` only its header is looked at.
    pub(crate) fn advance(&mut self, verify: bool) -> io::Result<Found> {
        if let Some((header, _)) = self.current.take() {
            self.ready.start += header.length;
        }
        if self.at == self.limit {
            return Ok(Found::Limit);
        }
        if !self.fill(HEADER_BYTES)? {
            return Ok(Found::Bad);
        }
        let Some(header) = record::parse_header(&self.buffer[self.ready.clone()], self.at) else {
            return Ok(Found::Bad);
        };
        if !self.fill(header.length)? {
            return Ok(Found::Bad);
        }
        let bytes = &self.buffer[self.ready.start..][..header.length];
        if verify && !(record::verify(bytes, self.at) && record::view(bytes, &header, self.at).is_some()) {
            return Ok(Found::Bad);
        }
        self.current = Some((header, self.at));
        self.at += header.length as u64;
        Ok(Found::Record)
    }

    /// The header of the record that was moved over last.
    pub(crate) fn header(&self) -> Option<Header> {
        self.current.map(|(header, _)| header)
    }

    /// The record that was moved over last.
    pub(crate) fn record(&self) -> Option<StoredRecord<'_>> {
        let (header, offset) = self.current.as_ref()?;
        record::view(&self.buffer[self.ready.start..][..header.length], header, *offset)
    }

    /// Makes the next `wanted` bytes ready; false: they do not lie before the limit.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.ready.len() >= wanted {
            return Ok(true);
        }
        let left = self.limit - self.at;
        if (wanted as u64) > left {
            return Ok(false);
        }
        self.buffer.copy_within(self.ready.clone(), 0);
        self.ready = 0..self.ready.len();
        let size = usize::try_from(left).unwrap_or(usize::MAX).min(wanted.max(CHUNK_BYTES));
        if self.buffer.len() < size {
            self.buffer.resize(size, 0);
        }
        while self.ready.end < wanted {
            let place = self.at - self.start + self.ready.end as u64;
            match self.file.read_at(&mut self.buffer[self.ready.end..size], place) {
                Ok(0) => return Ok(false),
                Ok(read) => self.ready.end += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}
