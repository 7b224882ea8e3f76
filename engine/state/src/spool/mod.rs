//! The spool: a durable log of what push sources receive, before anything else
//! happens to it.
//!
//! Offsets are byte positions over the spool's whole life. They are never used
//! twice: truncation and restarts move the ends, not the scale. The bytes lie in
//! segment files named by the offset at which each starts; only the last one is
//! written to.
//!
//! # Invariants
//!
//! - What lies below [`Spool::durable_end`] survives a crash of the machine; readers
//!   see nothing else.
//! - A segment is whole and durable before the next one exists. So only the last can
//!   have a torn tail, which opening cuts; damage anywhere else is an error.
//! - Of a record that finds no room nothing is left behind, and its appender waits.
//! - At least one record is kept, whatever is truncated, so that numbers go on.

mod commit;
mod reader;
mod record;
mod recovery;
mod segment;
mod writer;

use std::fs;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine_abi::{Error, ErrorKind, Result};
use fail::fail_point;

pub use reader::Records;
use writer::{Inner, Refusal, Shared};

pub use record::{Framing, MAX_RECORD_BYTES, Record, StoredRecord};

use crate::error;
use crate::lock::{create_private_folder, sync_folder};

/// A group commit waits no longer than this for others to join.
pub const MAX_GROUP_COMMIT: Duration = Duration::from_millis(10);
/// How often an appender that found the disk full tries again.
const RETRY_FULL_DISK: Duration = Duration::from_millis(200);

/// The bounds of a spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpoolOptions {
    /// Appenders wait rather than let it hold more bytes than this. 16 GiB by default.
    pub max_bytes: u64,
    /// A new segment begins rather than let one grow beyond this many bytes; at most half
    /// of `max_bytes`. 64 MiB by default.
    pub segment_bytes: u64,
    /// How long a group commit waits for others to join; at most [`MAX_GROUP_COMMIT`].
    /// 5 ms by default.
    pub group_commit: Duration,
    /// Where an empty spool begins. The pipeline's position, so that a spool whose folder
    /// was lost does not use its offsets again.
    pub first_offset: u64,
}

impl Default for SpoolOptions {
    fn default() -> Self {
        Self { max_bytes: 16 << 30, segment_bytes: 64 << 20, group_commit: Duration::from_millis(5), first_offset: 0 }
    }
}

/// A durable log of received bytes. See the [module](self).
///
/// Any number of threads may append, read and truncate at the same time. The caller
/// sees to it that a folder is opened once (the lock of the state folder does).
pub struct Spool {
    shared: Arc<Shared>,
    committer: Option<JoinHandle<()>>,
    cut: u64,
}

impl Spool {
    /// Opens the spool in `folder`, making it where it is missing. A tail that a crash
    /// tore, and that nobody was promised, is cut ([`Spool::cut_bytes`]).
    ///
    /// # Errors
    /// `Internal` when records that were durable are damaged or missing; `Unavailable`,
    /// `Denied` from the file system.
    pub fn open(folder: &Path, options: SpoolOptions) -> Result<Self> {
        let options = SpoolOptions {
            segment_bytes: options.segment_bytes.clamp(1, (options.max_bytes / 2).max(1)),
            group_commit: options.group_commit.min(MAX_GROUP_COMMIT),
            ..options
        };
        create_private_folder(folder)?;
        let recovered = recovery::recover(folder, options.first_offset)?;
        let cut = recovered.cut;
        let shared = Arc::new(Shared::new(folder, options, recovered));
        let committer = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || commit::run(&shared)
            })
            .map_err(|cause| error::io(folder, "start the thread of the spool in", &cause))?;
        Ok(Self { shared, committer: Some(committer), cut })
    }

    /// How many bytes of a torn tail were cut when it was opened.
    pub fn cut_bytes(&self) -> u64 {
        self.cut
    }

    /// Appends a record and answers where it ends. It is durable when
    /// [`Spool::durable_end`] has reached that, within the group commit at the latest.
    ///
    /// Waits while the spool holds as much as it may, or the disk is full, and says so
    /// once in the log, and once when it goes on.
    ///
    /// # Errors
    /// `Cancelled` after [`Spool::cancel`]; `Rejected` when the record is longer than
    /// [`MAX_RECORD_BYTES`] or half of the spool; else what the file system says.
    pub fn append(&self, record: &Record<'_>) -> Result<u64> {
        let shared = &*self.shared;
        let length = record::encoded_length(record)? as u64;
        if length > shared.options.max_bytes / 2 {
            let message = format!("a record of {length} bytes is more than half of what the spool may hold");
            return Err(Error::new(ErrorKind::Rejected, message).hint("raise `spool.max` in the pipeline"));
        }
        let mut inner = shared.lock();
        let (end, was_dirty) = loop {
            inner.check()?;
            if inner.cancelled {
                return Err(Error::cancelled());
            }
            // As it is now: nobody holds the committer up while this waits for room.
            let was_dirty = inner.is_dirty();
            match shared.try_append(&mut inner, record, length) {
                Ok(end) => break (end, was_dirty),
                Err(Refusal::Failed(error)) => return Err(error),
                Err(Refusal::Full(why)) => {
                    if !inner.stalled {
                        inner.stalled = true;
                        tracing::warn!(spool = %shared.folder.display(), "{why}; senders wait until there is room");
                    }
                }
            }
            inner = shared.room.wait_timeout(inner, RETRY_FULL_DISK).unwrap_or_else(PoisonError::into_inner).0;
        };
        if std::mem::take(&mut inner.stalled) {
            tracing::info!(spool = %shared.folder.display(), "there is room again; senders go on");
            shared.room.notify_all();
        }
        // What was dirty is on the committer's mind: to wake it again for each record would be a call
        // into the kernel for nothing.
        if !was_dirty {
            shared.dirty.notify_one();
        }
        drop(inner);
        fail_point!("spool::appended");
        Ok(end)
    }

    /// Ends appending for good: those who wait for room, and all later calls, get
    /// `Cancelled`. What was appended stays and becomes durable.
    pub fn cancel(&self) {
        self.shared.lock().cancelled = true;
        self.shared.room.notify_all();
    }

    /// Makes everything durable that is appended now, and answers where that ends.
    pub fn flush(&self) -> Result<u64> {
        let end = self.shared.lock().end;
        self.wait_durable(end)?;
        Ok(end)
    }

    /// Waits until the spool is durable up to `offset`, which is not beyond its end.
    pub fn wait_durable(&self, offset: u64) -> Result<()> {
        let mut inner = self.shared.lock();
        while inner.durable < offset {
            inner.check()?;
            if offset > inner.end {
                return Err(self.outside(offset, &inner));
            }
            inner.urgent = true;
            self.shared.dirty.notify_one();
            inner = self.shared.durable.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }

    /// Waits until the spool is durable beyond `offset`; false: it is not, `timeout` has passed.
    pub fn wait_beyond(&self, offset: u64, timeout: Duration) -> Result<bool> {
        let deadline = Instant::now() + timeout;
        let mut inner = self.shared.lock();
        loop {
            if inner.durable > offset {
                return Ok(true);
            }
            inner.check()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            inner = self.shared.durable.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Where what is durable ends; always between two records.
    pub fn durable_end(&self) -> u64 {
        self.shared.lock().durable
    }

    /// Where what is kept begins; always between two records.
    pub fn start(&self) -> u64 {
        self.shared.lock().start()
    }

    /// How many bytes it holds on the disk.
    pub fn held_bytes(&self) -> u64 {
        let inner = self.shared.lock();
        inner.end - inner.start()
    }

    /// Whether appenders wait for room.
    pub fn is_full(&self) -> bool {
        self.shared.lock().stalled
    }

    /// The end of a range that begins at `from`: as many durable records as fit into
    /// `max_bytes`, one at least if there is one.
    pub fn cut(&self, from: u64, max_bytes: u64) -> Result<u64> {
        let durable = self.durable_end();
        if durable.saturating_sub(from) <= max_bytes {
            return self.records(from, durable, false).map(|_| durable);
        }
        let mut records = self.records(from, durable, false)?;
        let mut to = from;
        while records.advance()? && (to == from || records.at() - from <= max_bytes) {
            to = records.at();
        }
        Ok(to)
    }

    /// The records from `from` to `to`, both between two records and durable.
    ///
    /// # Errors
    /// `Internal` when the range is not durable or was truncated.
    pub fn read(&self, from: u64, to: u64) -> Result<Records> {
        self.records(from, to, true)
    }

    fn records(&self, from: u64, to: u64, verify: bool) -> Result<Records> {
        let inner = self.shared.lock();
        for offset in [from, to] {
            if offset < inner.start() || offset > inner.durable || to < from {
                return Err(self.outside(offset, &inner));
            }
        }
        Ok(Records::new(self.shared.folder.clone(), &inner.starts, from, to, verify))
    }

    fn outside(&self, offset: u64, inner: &Inner) -> Error {
        let folder = self.shared.folder.display();
        let (start, end) = (inner.start(), inner.durable);
        Error::new(ErrorKind::Internal, format!("offset {offset} is not in the spool {folder} ({start} to {end})"))
            .hint("the spool and the state are not of one time: put back copies of both, or set the position anew")
    }

    /// Deletes the segments that lie wholly below `offset`, and answers how many bytes
    /// that were.
    pub fn truncate_before(&self, offset: u64) -> Result<u64> {
        let shared = &*self.shared;
        let _one = shared.truncation.lock().unwrap_or_else(PoisonError::into_inner);
        let doomed: Vec<(u64, u64)> = {
            let inner = shared.lock();
            let whole = inner.starts.windows(2).map(|pair| (pair[0], pair[1]));
            // The next one's first record is durable, so the numbers go on from there.
            whole.take_while(|(_, next)| *next <= offset && *next < inner.durable).collect()
        };
        let mut freed = 0;
        for (start, next) in doomed {
            let path = shared.segment(start);
            fs::remove_file(&path).map_err(|cause| error::io(&path, "delete", &cause))?;
            // In this order also after a power cut: a gap would be damage.
            sync_folder(&shared.folder)?;
            shared.lock().starts.remove(0);
            shared.room.notify_all();
            freed += next - start;
            fail_point!("spool::truncated");
        }
        Ok(freed)
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.dirty.notify_all();
        if let Some(committer) = self.committer.take() {
            let _ = committer.join();
        }
    }
}
