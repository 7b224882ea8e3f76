//! Rows that a sink does not take at the moment, kept on disk, so that they hold up no other sink.
//!
//! A file without a name in the state's folder: it is gone with the process. Its places are used anew once all that
//! it holds has been taken.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::RecordBatch;
use engine_abi::{Error, Result, ipc};

/// How many times as much as in its queue a lane may have on disk: 256 MiB for each sink of a pass with one reader.
pub(crate) const SPILL_QUEUES: u64 = 128;

/// Where a lane puts rows aside.
pub(crate) struct Spill {
    store: Arc<Store>,
    /// Where the next batch goes.
    end: u64,
    capacity: u64,
    /// It was full, and takes nothing until it is empty.
    was_full: bool,
}

struct Store {
    file: File,
    /// Bytes that have not been taken yet.
    held: AtomicU64,
}

/// A batch that was put aside.
pub(crate) struct Spilled {
    store: Arc<Store>,
    at: u64,
    bytes: u64,
}

impl Spill {
    pub(crate) fn new(folder: &Path, capacity: u64) -> Result<Self> {
        let file = tempfile::tempfile_in(folder).map_err(|error| {
            Error::from(error).context(format_args!("rows cannot be put aside in {}", folder.display()))
        })?;
        let store = Arc::new(Store { file, held: AtomicU64::new(0) });
        Ok(Self { store, end: 0, capacity, was_full: false })
    }

    /// Puts a batch aside; `None` where there is no room.
    pub(crate) fn keep(&mut self, batch: &RecordBatch) -> Result<Option<Spilled>> {
        if self.store.held.load(Ordering::SeqCst) == 0 {
            (self.end, self.was_full) = (0, false);
        }
        // What is written is no larger than what lies in memory, but for its head.
        self.was_full |= self.end + batch.get_array_memory_size() as u64 > self.capacity;
        if self.was_full {
            return Ok(None);
        }
        let piece = ipc::whole(batch)?;
        self.store
            .file
            .write_all_at(&piece, self.end)
            .map_err(|error| Error::from(error).context("rows cannot be put aside"))?;
        let (at, bytes) = (self.end, piece.len() as u64);
        self.end += bytes;
        self.store.held.fetch_add(bytes, Ordering::SeqCst);
        Ok(Some(Spilled { store: Arc::clone(&self.store), at, bytes }))
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
            (Some(batch), true) => Ok(batch),
            _ => Err(Error::internal("rows that were put aside are not one batch")),
        }
    }
}

impl Drop for Spilled {
    fn drop(&mut self) {
        self.store.held.fetch_sub(self.bytes, Ordering::SeqCst);
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
        let kinds: ArrayRef =
            Arc::new((0..100).map(|at| (at % 5 > 0).then_some("kind")).collect::<DictionaryArray<Int32Type>>());
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
    fn one_that_was_full_takes_more_only_once_it_is_empty() {
        let folder = tempfile::tempdir().unwrap();
        let mut spill = Spill::new(folder.path(), 10_000).unwrap();
        let mut kept: Vec<_> = std::iter::from_fn(|| spill.keep(&batch(0)).unwrap()).collect();
        assert!(kept.len() > 1 && spill.end <= 10_000, "{}", spill.end);
        drop(kept.pop());
        assert!(spill.keep(&batch(0)).unwrap().is_none());
        drop(kept);
        let first = spill.keep(&batch(7)).unwrap().unwrap();
        assert_eq!((first.at, first.take().unwrap()), (0, batch(7)));
    }
}
