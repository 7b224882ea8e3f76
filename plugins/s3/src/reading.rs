//! One object on its way down: ranges are fetched while those before them are worked on.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use engine_sdk::file_piece;
use engine_sdk::prelude::*;

use crate::background::{Background, Pending};
use crate::checksum::{Sums, Whole};
use crate::store::Store;

/// How many bytes a batch has, at most.
const PIECE: usize = 256 << 10;

/// An object as it was when a run was planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    pub key: String,
    pub size: u64,
    pub etag: String,
    /// When it was written, in nanoseconds since 1970, if the store says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modified_ns: Option<i64>,
}

/// Fetches an object's ranges in their order, some of them ahead.
pub struct Ahead {
    store: Store,
    background: Arc<Background>,
    cx: Context,
    object: Planned,
    part_size: u64,
    concurrency: usize,
    /// Where the next range begins.
    next: u64,
    pending: VecDeque<Pending<Bytes>>,
    whole: Option<Whole>,
}

impl Ahead {
    /// `sums`: what the store says of the object.
    pub fn new(
        (store, background, cx): (Store, Arc<Background>, Context),
        object: Planned,
        (part_size, concurrency): (u64, usize),
        sums: &Sums,
    ) -> Self {
        let whole = Some(Whole::new(sums));
        Self { store, background, cx, object, part_size, concurrency, next: 0, pending: VecDeque::new(), whole }
    }

    /// The next range. None: the object is at its end, and what was given is what the store had been given.
    pub fn next(&mut self) -> Result<Option<Bytes>> {
        self.cx.check_cancelled()?;
        while self.next < self.object.size && self.pending.len() < self.concurrency {
            let (from, to) = (self.next, self.object.size.min(self.next + self.part_size));
            let (store, Planned { key, etag, .. }) = (self.store.clone(), self.object.clone());
            self.pending.push_back(self.background.begin(async move { store.range(&key, &etag, from, to).await }));
            self.next = to;
        }
        let Some(first) = self.pending.pop_front() else {
            return match self.whole.take().is_none_or(Whole::holds) {
                true => Ok(None),
                false => Err(Error::unavailable(format!(
                    "{} came with another content than its checksum says",
                    self.store.shown(&self.object.key)
                ))
                .hint("if it stays so, the object is damaged: write it again")),
            };
        };
        let bytes = first.wait(&self.cx)?;
        if let Some(whole) = &mut self.whole {
            whole.add(&bytes);
        }
        Ok(Some(bytes))
    }
}

/// An object as batches.
pub struct Reading {
    ahead: Ahead,
    name: String,
    /// What of a range is still to be given.
    rest: Bytes,
    begun: bool,
    over: bool,
    cx: Context,
}

impl Reading {
    pub fn new(ahead: Ahead) -> Self {
        let (name, cx) = (ahead.object.key.clone(), ahead.cx.clone());
        Self { ahead, name, rest: Bytes::new(), begun: false, over: false, cx }
    }

    fn piece(&mut self) -> Result<Option<RecordBatch>> {
        self.cx.check_cancelled()?;
        if self.rest.is_empty() {
            match self.ahead.next()? {
                Some(range) => self.rest = range,
                // An empty object is one empty piece: it is a file all the same.
                None if !self.begun => {}
                None => return Ok(None),
            }
        }
        self.begun = true;
        let data = self.rest.split_to(self.rest.len().min(PIECE));
        self.cx.progress(0, data.len() as u64);
        Ok(Some(file_piece(&self.name, &data)))
    }
}

impl Iterator for Reading {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let piece = self.piece().transpose();
        // Behind an error, or the end, there is nothing.
        self.over = !matches!(piece, Some(Ok(_)));
        piece
    }
}
