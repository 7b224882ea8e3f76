//! The writing end: what appenders, the committer and truncation share.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use engine_abi::{Error, Result};
use rustix::fs::fdatasync;

use super::recovery::Recovered;
use super::{Record, SpoolOptions, record, segment};
use crate::error;

pub(super) struct Shared {
    pub(super) folder: PathBuf,
    pub(super) options: SpoolOptions,
    pub(super) inner: Mutex<Inner>,
    /// Something waits to be synced, or the spool closes.
    pub(super) dirty: Condvar,
    /// `durable` moved.
    pub(super) durable: Condvar,
    /// There may be room again.
    pub(super) room: Condvar,
    /// One truncation at a time.
    pub(super) truncation: Mutex<()>,
    /// One sync at a time, and none after one failed: the kernel tells of a write that
    /// it could not do once, and may drop it then.
    pub(super) sync: Mutex<Option<Error>>,
}

pub(super) struct Inner {
    /// The start of every segment, in order; the last one is written to.
    pub(super) starts: Vec<u64>,
    pub(super) active: Arc<File>,
    /// Where the next record goes.
    pub(super) end: u64,
    pub(super) durable: u64,
    pub(super) sequence: u64,
    pub(super) buffer: Vec<u8>,
    /// Someone waits for `durable`.
    pub(super) urgent: bool,
    /// Appenders wait for room, and it has been said.
    pub(super) stalled: bool,
    pub(super) cancelled: bool,
    pub(super) closing: bool,
    /// Why nothing can be made durable any more.
    pub(super) broken: Option<Error>,
}

/// Why a record was not appended.
pub(super) enum Refusal {
    /// Room may come.
    Full(&'static str),
    /// It is an error.
    Failed(Error),
}

impl Inner {
    pub(super) fn active_start(&self) -> u64 {
        *self.starts.last().expect("a spool has a segment")
    }

    pub(super) fn start(&self) -> u64 {
        self.starts[0]
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.durable < self.end
    }

    pub(super) fn check(&self) -> Result<()> {
        self.broken.as_ref().map_or(Ok(()), |error| Err(error.clone()))
    }
}

impl Shared {
    pub(super) fn new(folder: &Path, options: SpoolOptions, recovered: Recovered) -> Self {
        Self {
            folder: folder.to_owned(),
            options,
            inner: Mutex::new(Inner {
                starts: recovered.starts,
                active: Arc::new(recovered.active),
                end: recovered.end,
                durable: recovered.end,
                sequence: recovered.sequence,
                buffer: Vec::new(),
                urgent: false,
                stalled: false,
                cancelled: false,
                closing: false,
                broken: None,
            }),
            dirty: Condvar::new(),
            durable: Condvar::new(),
            room: Condvar::new(),
            truncation: Mutex::new(()),
            sync: Mutex::new(None),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn segment(&self, start: u64) -> PathBuf {
        segment::path(&self.folder, start)
    }

    /// Makes the segment that starts at `start` durable. Only a new look at the files, by
    /// opening the spool again, tells what is there once that has failed.
    pub(super) fn sync(&self, file: &File, start: u64) -> Result<()> {
        let mut failed = self.sync.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.is_none() {
            *failed = fdatasync(file).err().map(|errno| error::io(&self.segment(start), "sync", &errno.into()));
        }
        failed.as_ref().map_or(Ok(()), |error| Err(error.clone()))
    }

    /// Fails everyone who waits, now and later, with `error`.
    pub(super) fn give_up(&self, inner: &mut Inner, error: Error) {
        inner.broken = Some(error);
        self.dirty.notify_all();
        self.durable.notify_all();
        self.room.notify_all();
    }

    /// Writes a record of `length` bytes at the end, or leaves everything as it was.
    pub(super) fn try_append(&self, inner: &mut Inner, record: &Record<'_>, length: u64) -> Result<u64, Refusal> {
        if inner.end - inner.start() + length > self.options.max_bytes {
            return Err(Refusal::Full("the spool holds as much as it may (`spool.max`)"));
        }
        let filled = inner.end - inner.active_start();
        if filled > 0 && filled + length > self.options.segment_bytes {
            self.rotate(inner)?;
        }
        let place = inner.end - inner.active_start();
        record::encode(&mut inner.buffer, record, inner.end, inner.sequence, inner.durable);
        if let Err(cause) = inner.active.write_all_at(&inner.buffer, place) {
            let path = self.segment(inner.active_start());
            if let Err(cause) = inner.active.set_len(place) {
                let error = error::io(&path, "cut back", &cause);
                self.give_up(inner, error.clone());
                return Err(Refusal::Failed(error));
            }
            return Err(self.refusal(&path, "write", &cause));
        }
        inner.end += length;
        inner.sequence += 1;
        Ok(inner.end)
    }

    /// Makes the active segment durable and begins the next one.
    fn rotate(&self, inner: &mut Inner) -> Result<(), Refusal> {
        if let Err(error) = self.sync(&inner.active, inner.active_start()) {
            self.give_up(inner, error.clone());
            return Err(Refusal::Failed(error));
        }
        inner.durable = inner.end;
        self.durable.notify_all();
        let path = self.segment(inner.end);
        let made = segment::create(&self.folder, inner.end).and_then(|file| {
            File::open(&self.folder).and_then(|folder| folder.sync_all()).inspect_err(|_| {
                let _ = fs::remove_file(&path);
            })?;
            Ok(file)
        });
        let file = made.map_err(|cause| self.refusal(&path, "make the segment", &cause))?;
        inner.active = Arc::new(file);
        inner.starts.push(inner.end);
        Ok(())
    }

    fn refusal(&self, path: &Path, doing: &str, cause: &io::Error) -> Refusal {
        if error::is_full(cause) {
            return Refusal::Full("no space left on the disk of the spool");
        }
        Refusal::Failed(error::io(path, doing, cause))
    }
}
