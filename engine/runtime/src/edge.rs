//! Counting what an edge between two stages carries.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arrow_array::StringArray;
use engine_abi::stream::Batches;
use engine_abi::{Error, Result};

/// Rows that went over one edge since its split began.
#[derive(Debug, Clone, Default)]
pub(crate) struct Edge {
    rows: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
}

impl Edge {
    pub(crate) fn rows(&self) -> u64 {
        self.rows.load(Ordering::SeqCst)
    }

    /// Whether the stream was read to its end.
    pub(crate) fn ended(&self) -> bool {
        self.ended.load(Ordering::SeqCst)
    }

    /// A split begins.
    pub(crate) fn reset(&self) {
        self.rows.store(0, Ordering::SeqCst);
        self.ended.store(false, Ordering::SeqCst);
    }

    pub(crate) fn add(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::SeqCst);
    }

    /// Counts the files of a stream of pieces on its way.
    pub(crate) fn count_files(&self, batches: Batches) -> Batches {
        let edge = self.clone();
        let mut last: Option<String> = None;
        let schema = batches.schema();
        let counted = batches.inspect(move |item| {
            let names =
                item.as_ref().ok().and_then(|batch| batch.columns().first()?.as_any().downcast_ref::<StringArray>());
            for name in names.into_iter().flatten().flatten() {
                if last.as_deref() != Some(name) {
                    edge.add(1);
                    last = Some(name.to_owned());
                }
            }
        });
        Batches::new(schema, self.until_end(counted))
    }

    fn until_end<I>(&self, mut items: I) -> impl Iterator<Item = I::Item> + Send + use<I>
    where
        I: Iterator + Send,
    {
        let ended = Arc::clone(&self.ended);
        std::iter::from_fn(move || {
            let item = items.next();
            if item.is_none() {
                ended.store(true, Ordering::SeqCst);
            }
            item
        })
    }

    /// Counts a stream on its way.
    pub(crate) fn count(&self, batches: Batches) -> Batches {
        let edge = self.clone();
        let schema = batches.schema();
        let counted = batches.inspect(move |item| {
            if let Ok(batch) = item {
                edge.add(batch.num_rows() as u64);
            }
        });
        Batches::new(schema, self.until_end(counted))
    }
}

/// The error of a stage whose rows do not add up. It fails the run: a row has
/// been lost or made up by a bug.
pub(crate) fn add_up(stage: &str, taken: u64, accounted: &[(&str, u64)]) -> Result<()> {
    let sum: u64 = accounted.iter().map(|(_, rows)| rows).sum();
    if sum == taken {
        return Ok(());
    }
    let parts: Vec<_> = accounted.iter().map(|(what, rows)| format!("{rows} {what}")).collect();
    Err(Error::internal(format!("the rows do not add up: {taken} came in, but {} makes {sum}", parts.join(" + ")))
        .hint("nothing of this split was delivered; this is a bug in the component, report it to its author")
        .at(stage))
}
