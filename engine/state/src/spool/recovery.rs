//! What opening a spool finds, and what it does about a tail that a crash tore.
//!
//! Bytes that are no record are cut when nothing says that they were durable, and
//! refused when a later record does. Damage to the very last group that was durable has
//! no such witness and is cut like a torn tail; a window that was to be read from it then
//! ends beyond the spool, which is an error when it is read.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use engine_abi::{Error, ErrorKind, Result};
use memchr::memmem;
use rustix::fs::fdatasync;

use super::record::{self, HEADER_BYTES, MAGIC};
use super::segment::{self, Found, Scanner};
use crate::error;
use crate::lock::sync_folder;

/// A search for records behind a damaged place gives up after checking so many bytes.
const SEARCH_BUDGET_BYTES: u64 = 1 << 30;
const SEARCH_CHUNK_BYTES: usize = 1 << 20;

/// A spool's files, made whole.
pub(crate) struct Recovered {
    /// The start of every segment, in order; never empty.
    pub starts: Vec<u64>,
    /// Where the next record goes.
    pub end: u64,
    /// The next record's number.
    pub sequence: u64,
    /// The last segment, open for writing and durable up to `end`.
    pub active: std::fs::File,
    /// How many bytes of a torn tail were cut.
    pub cut: u64,
}

/// Makes the spool in `folder` whole, or a new one that begins at `first_offset`.
pub(crate) fn recover(folder: &Path, first_offset: u64) -> Result<Recovered> {
    let segments = segment::list(folder).map_err(|cause| error::io(folder, "list", &cause))?;
    let Some(&(start, length)) = segments.last() else { return begin(folder, first_offset) };
    for pair in segments.windows(2) {
        let ((start, length), (next, _)) = (pair[0], pair[1]);
        if start + length != next {
            let what = format!("is {length} bytes long and the next segment begins {} bytes later", next - start);
            return Err(damaged(&segment::path(folder, start), &what));
        }
    }
    let path = segment::path(folder, start);
    let active =
        OpenOptions::new().read(true).write(true).open(&path).map_err(|cause| error::io(&path, "open", &cause))?;
    let mut recovered = Recovered {
        starts: segments.iter().map(|(start, _)| *start).collect(),
        end: start + length,
        sequence: 0,
        active,
        cut: 0,
    };
    let last = scan(folder, start, length, Tail::MayBeTorn, &mut recovered)?;
    // A segment is empty when a crash came between making it and its first record;
    // the one before it is kept for its numbers.
    let last = match (last, segments.len().checked_sub(2).map(|before| segments[before])) {
        (None, Some((start, length))) => scan(folder, start, length, Tail::IsWhole, &mut recovered)?,
        (last, _) => last,
    };
    recovered.sequence = last.map_or(0, |sequence| sequence + 1);
    fdatasync(&recovered.active).map_err(|errno| error::io(&path, "sync", &errno.into()))?;
    sync_folder(folder)?;
    Ok(recovered)
}

fn begin(folder: &Path, start: u64) -> Result<Recovered> {
    let active = segment::create(folder, start)
        .map_err(|cause| error::io(&segment::path(folder, start), "make the segment", &cause))?;
    sync_folder(folder)?;
    Ok(Recovered { starts: vec![start], end: start, sequence: 0, active, cut: 0 })
}

enum Tail {
    MayBeTorn,
    IsWhole,
}

/// Checks a segment's records and answers the last one's number. Cuts a torn tail.
fn scan(folder: &Path, start: u64, length: u64, tail: Tail, recovered: &mut Recovered) -> Result<Option<u64>> {
    let path = segment::path(folder, start);
    let read = |cause: io::Error| error::io(&path, "read", &cause);
    let file = std::fs::File::open(&path).map_err(read)?;
    let mut scanner = Scanner::new(file, start, start, start + length);
    let mut last = None;
    loop {
        match scanner.advance(true).map_err(read)? {
            Found::Record => last = scanner.header().map(|header| header.sequence),
            Found::Limit => return Ok(last),
            Found::Bad => break,
        }
    }
    let at = scanner.at();
    let promised = match tail {
        Tail::IsWhole => true,
        Tail::MayBeTorn => was_durable(&recovered.active, start, at, start + length).map_err(read)?,
    };
    if promised {
        return Err(damaged(&path, &format!("has no good record at byte {}, before others that are good", at - start)));
    }
    recovered.active.set_len(at - start).map_err(|cause| error::io(&path, "cut the torn tail of", &cause))?;
    recovered.cut = recovered.end - at;
    recovered.end = at;
    tracing::warn!(
        segment = %path.display(),
        bytes = recovered.cut,
        "cut a torn tail off the spool: it was never acknowledged"
    );
    Ok(last)
}

/// Whether the bytes at `at` were durable before they were damaged: a later record
/// says so. Without one they are the tail that was being written in a crash.
fn was_durable(file: &std::fs::File, start: u64, at: u64, end: u64) -> io::Result<bool> {
    let finder = memmem::Finder::new(MAGIC);
    let mut budget = SEARCH_BUDGET_BYTES;
    let mut chunk = vec![0; SEARCH_CHUNK_BYTES];
    let mut record = Vec::new();
    let mut from = at + 1;
    while from + (HEADER_BYTES as u64) <= end {
        let size = usize::try_from(end - from).unwrap_or(usize::MAX).min(chunk.len());
        file.read_exact_at(&mut chunk[..size], from - start)?;
        for found in finder.find_iter(&chunk[..size]) {
            let offset = from + found as u64;
            let Some(header) = chunk[..size].get(found..found + HEADER_BYTES) else { break };
            let Some(header) = record::parse_header(header, offset) else { continue };
            let length = header.length as u64;
            if header.synced <= at || offset + length > end {
                continue;
            }
            let Some(left) = budget.checked_sub(length) else { return Ok(false) };
            budget = left;
            record.resize(header.length, 0);
            file.read_exact_at(&mut record, offset - start)?;
            if record::verify(&record, offset) {
                return Ok(true);
            }
        }
        // A header may lie across two chunks.
        from += (size - (HEADER_BYTES - 1)) as u64;
    }
    Ok(false)
}

/// Records that were durable are not as they were written.
pub(crate) fn damaged(path: &Path, what: &str) -> Error {
    Error::new(ErrorKind::Internal, format!("the spool is damaged: {} {what}", path.display())).hint(
        "what it held from there on is not read, and nothing is skipped silently: look for a failing disk, put back a \
         copy of the folder, or move it away and set the pipeline's position anew",
    )
}

#[cfg(test)]
mod tests {
    use super::super::record::{Framing, Record};
    use super::*;

    /// A good record, `hole` bytes of nothing, and a good record that says how far the
    /// spool was durable when it was written.
    fn with_hole(folder: &Path, hole: usize, synced: impl Fn(u64) -> u64) -> u64 {
        let record =
            Record { connection: 1, peer: "p", received: 0, frames: 1, framing: Framing::Complete, bytes: b"line" };
        let (mut bytes, mut later) = (Vec::new(), Vec::new());
        record::encode(&mut bytes, &record, 0, 0, 0);
        let end = bytes.len() as u64;
        let offset = end + hole as u64;
        record::encode(&mut later, &record, offset, 2, synced(end));
        bytes.resize(bytes.len() + hole, 0);
        bytes.extend_from_slice(&later);
        std::fs::write(segment::path(folder, 0), bytes).unwrap();
        end
    }

    #[test]
    fn after_a_power_cut_unsynced_blocks_may_be_there_in_any_order_and_are_cut() {
        for hole in [1, 54, SEARCH_CHUNK_BYTES - 60, SEARCH_CHUNK_BYTES, 3 * SEARCH_CHUNK_BYTES] {
            let folder = tempfile::tempdir().unwrap();
            let end = with_hole(folder.path(), hole, |end| end);
            let recovered = recover(folder.path(), 0).unwrap();
            assert_eq!((recovered.end, recovered.sequence), (end, 1), "hole of {hole}");
        }
    }

    #[test]
    fn a_hole_that_a_later_record_knows_to_have_been_durable_is_damage() {
        for hole in [1, 54, SEARCH_CHUNK_BYTES - 60, SEARCH_CHUNK_BYTES, 3 * SEARCH_CHUNK_BYTES] {
            let folder = tempfile::tempdir().unwrap();
            with_hole(folder.path(), hole, |end| end + 1);
            let error = recover(folder.path(), 0).map(|_| ()).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Internal, "hole of {hole}");
        }
    }
}
