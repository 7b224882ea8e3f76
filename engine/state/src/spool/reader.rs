//! Reading what is durable, in order, without holding up those who append.

use std::fs::File;
use std::path::PathBuf;

use engine_abi::{Error, ErrorKind, Result};

use super::record::StoredRecord;
use super::recovery::damaged;
use super::segment::{self, Found, Scanner};
use crate::error;

/// The records of a range, one at a time. Each lives until the next is asked for: they
/// share one buffer.
pub struct Records {
    folder: PathBuf,
    /// The starts of the segments that the range lies in, the next one last.
    segments: Vec<u64>,
    scanner: Option<(u64, Scanner)>,
    at: u64,
    to: u64,
    verify: bool,
}

impl Records {
    pub(crate) fn new(folder: PathBuf, starts: &[u64], from: u64, to: u64, verify: bool) -> Self {
        let first = starts.partition_point(|start| *start <= from).saturating_sub(1);
        let segments =
            starts[first..].iter().rev().copied().skip_while(|start| *start >= to && *start > from).collect();
        Self { folder, segments, scanner: None, at: from, to, verify }
    }

    /// The next record; None at the end of the range.
    ///
    /// # Errors
    /// `Internal` when a record is not as it was written, or the range does not begin and
    /// end between two records.
    #[expect(clippy::should_implement_trait, reason = "a record borrows the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<StoredRecord<'_>>> {
        if !self.advance()? {
            return Ok(None);
        }
        Ok(self.scanner.as_ref().and_then(|(_, scanner)| scanner.record()))
    }

    /// Where the next record begins.
    pub fn at(&self) -> u64 {
        self.at
    }

    /// Moves over the next record; false: the range is at its end.
    pub(crate) fn advance(&mut self) -> Result<bool> {
        while self.at < self.to {
            let Some((start, scanner)) = self.scanner.as_mut() else {
                self.open_next()?;
                continue;
            };
            let start = *start;
            let path = || segment::path(&self.folder, start);
            match scanner.advance(self.verify).map_err(|cause| error::io(&path(), "read", &cause))? {
                Found::Record => {
                    self.at = scanner.at();
                    return Ok(true);
                }
                Found::Limit => self.open_next()?,
                Found::Bad => {
                    return Err(damaged(&path(), &format!("has no good record at byte {}", self.at - start)));
                }
            }
        }
        Ok(false)
    }

    fn open_next(&mut self) -> Result<()> {
        let Some(start) = self.segments.pop() else {
            return Err(Error::new(ErrorKind::Internal, format!("the spool ends at {} before {}", self.at, self.to)));
        };
        let limit = self.segments.last().map_or(self.to, |next| self.to.min(*next));
        let path = segment::path(&self.folder, start);
        let file = File::open(&path).map_err(|cause| error::io(&path, "open", &cause))?;
        let buffer = self.scanner.take().map(|(_, scanner)| scanner.into_buffer()).unwrap_or_default();
        self.scanner = Some((start, Scanner::reusing(buffer, file, start, self.at, limit)));
        Ok(())
    }
}
