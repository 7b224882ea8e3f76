//! Rows that a sink does not take at the moment, kept on disk, so that they hold up no other sink.
//!
//! A file without a name in the state's folder: it is gone with the process. It is a ring: batches are taken in the
//! order in which they were put aside, and the next ones go to the places of those.

use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use engine_abi::{Error, Result, ipc};

/// How many times as much as in its queue a lane may have on disk: 256 MiB for each sink of a pass with one reader.
pub(crate) const SPILL_QUEUES: u64 = 128;
/// What is left free on the disk: the state and the spool, whose writes are promises, come first.
pub(crate) const RESERVE_BYTES: u64 = 1 << 30;

/// Where a lane puts rows aside.
pub(crate) struct Spill {
    store: Arc<Store>,
    /// Where the next batch goes.
    end: u64,
    capacity: u64,
}

struct Store {
    file: File,
    /// Begin and end of the batches that have not been taken yet, the oldest first.
    held: Mutex<VecDeque<(u64, u64)>>,
}

/// A batch that was put aside.
pub(crate) struct Spilled {
    store: Arc<Store>,
    schema: SchemaRef,
    at: u64,
    bytes: u64,
}

impl Store {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(u64, u64)>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the disk has so many bytes beside what is left free on it.
    fn has_disk(&self, bytes: u64) -> bool {
        rustix::fs::fstatvfs(&self.file)
            .is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) >= RESERVE_BYTES.saturating_add(bytes))
    }
}

impl Spill {
    pub(crate) fn new(folder: &Path, capacity: u64) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| {
            Error::from(error).context(format_args!("rows cannot be put aside in {}", folder.display()))
        })?;
        Ok(Self { store: Arc::new(Store { file, held: Mutex::default() }), end: 0, capacity })
    }

    /// Puts a batch aside; `None` where there is no room.
    pub(crate) fn keep(&mut self, batch: &RecordBatch) -> Result<Option<Spilled>> {
        // What is written is hardly larger than what lies in memory: a look that spares writing it for nothing.
        if self.place(batch.get_array_memory_size() as u64).is_none() {
            return Ok(None);
        }
        let piece = ipc::whole(batch)?;
        let bytes = piece.len() as u64;
        let Some(at) = self.place(bytes).filter(|_| self.store.has_disk(bytes)) else { return Ok(None) };
        let written = self.store.file.write_all_at(&piece, at);
        written.map_err(|error| Error::from(error).context("rows cannot be put aside"))?;
        self.end = at + bytes;
        self.store.lock().push_back((at, self.end));
        Ok(Some(Spilled { store: Arc::clone(&self.store), schema: batch.schema(), at, bytes }))
    }

    /// Where so many bytes go.
    fn place(&mut self, bytes: u64) -> Option<u64> {
        let oldest = self.store.lock().front().map(|(begin, _)| *begin);
        match oldest {
            None if bytes <= self.capacity => {
                // The disk has back what a backlog took.
                if self.end > 0 {
                    let _ = self.store.file.set_len(0);
                }
                self.end = 0;
                Some(0)
            }
            None => None,
            // Behind the newest and up to the oldest, or to the end and then from the beginning.
            Some(oldest) if self.end <= oldest => (self.end + bytes <= oldest).then_some(self.end),
            Some(_) if self.end + bytes <= self.capacity => Some(self.end),
            Some(oldest) => (bytes <= oldest).then_some(0),
        }
    }
}

impl Spilled {
    /// The batch, as it was.
    pub(crate) fn take(self) -> Result<RecordBatch> {
        let unreadable = |error: Error| error.context("rows that were put aside cannot be read");
        let mut piece = vec![0; self.bytes as usize];
        self.store.file.read_exact_at(&mut piece, self.at).map_err(|error| unreadable(error.into()))?;
        let mut batches = ipc::read_whole(piece).map_err(unreadable)?;
        match (batches.pop(), batches.is_empty()) {
            // What it tells of its columns is what it told before.
            (Some(batch), true) => Ok(RecordBatch::try_new_with_options(
                Arc::clone(&self.schema),
                batch.columns().to_vec(),
                &arrow_array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
            )?),
            _ => Err(Error::internal("rows that were put aside are not one batch")),
        }
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        let mut held = self.store.lock();
        if let Some(mine) = held.iter().position(|(begin, _)| *begin == self.at) {
            held.remove(mine);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    use arrow_array::types::Int32Type;
    use arrow_array::{ArrayRef, DictionaryArray, Int64Array, StringArray};
    use arrow_schema::{DataType, Field, Schema};

    fn batch(from: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(from..from + 100));
        let words: ArrayRef = Arc::new(StringArray::from_iter((0..100).map(|at| (at % 3 > 0).then_some("word"))));
        let kinds: DictionaryArray<Int32Type> = (0..100).map(|at| (at % 5 > 0).then_some("kind")).collect();
        let kinds: ArrayRef = Arc::new(kinds);
        let told = HashMap::from([("source.type".to_owned(), "numeric".to_owned())]);
        let schema = Schema::new(vec![
            Field::new("number", DataType::Int64, false).with_metadata(told.clone()),
            Field::new("word", DataType::Utf8, true),
            Field::new("kind", kinds.data_type().clone(), true),
        ]);
        RecordBatch::try_new(Arc::new(schema.with_metadata(told)), vec![numbers, words, kinds]).unwrap()
    }

    #[test]
    fn batches_come_back_as_they_were_and_leave_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(folder.path(), 1 << 20).unwrap();
        let parts = [batch(0), batch(1000).slice(7, 11), batch(0).slice(0, 0)];
        let kept: Vec<_> = parts.iter().map(|part| spill.keep(part).unwrap().unwrap()).collect();
        for (spilled, part) in kept.into_iter().zip(&parts) {
            let back = spilled.take().unwrap();
            assert_eq!(&back, part);
            assert_eq!(back.schema(), part.schema());
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn places_are_used_anew_as_soon_as_they_are_free_and_never_before() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(folder.path(), 20_000).unwrap();
        let mut held = VecDeque::new();
        let (mut next, mut seen) = (0, 0);
        // A sink that takes one batch for every one that comes, once there is no room.
        for _ in 0..100 {
            while let Some(spilled) = spill.keep(&batch(next)).unwrap() {
                held.push_back(spilled);
                next += 1;
                assert!(spill.end <= 20_000);
            }
            assert!(held.len() > 1, "{}", held.len());
            assert_eq!(held.pop_front().unwrap().take().unwrap(), batch(seen));
            seen += 1;
        }
        assert!(next > 100);
        drop(held);
        assert!(spill.keep(&batch(0)).unwrap().is_some_and(|spilled| spilled.at == 0));
        assert!(spill.store.file.metadata().unwrap().len() < 10_000);
    }
}
