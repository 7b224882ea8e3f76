//! Readers: they take the splits of a window and read each for the sinks of their crew.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use engine_abi::message::Split;
use engine_abi::stream::Batches;
use engine_abi::{Error, Result};

use crate::lane::Lane;
use crate::letters::At;
use crate::pass::PassContext;
use crate::shared::is_stop;
use crate::spans::{self, carried};
use crate::upstream::Upstream;

/// Lets every crew's reader work until no split is left.
pub(crate) fn read(context: &PassContext, upstream: &mut Upstream, crews: Vec<Vec<Lane>>) -> Result<()> {
    let work = Work::new(context.window.splits.len(), crews.len());
    let mut crews = crews.into_iter();
    let Some(lanes) = crews.next() else { return Ok(()) };
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let work = &work;
        let others: Vec<_> = crews
            .enumerate()
            .filter_map(|(at, lanes)| {
                let read = move || {
                    let mut upstream =
                        Upstream::new(&context.assembly, &context.state, &context.stop, context.on_schema_change);
                    Reader { context, upstream: &mut upstream, lanes, work, is_first: false }.read()
                };
                let spawned =
                    std::thread::Builder::new().name(format!("reader-{}", at + 2)).spawn_scoped(scope, carried(read));
                if let Err(error) = &spawned {
                    tracing::warn!("a thread cannot be started, and fewer splits are read at the same time: {error}");
                    work.leave();
                }
                spawned.ok()
            })
            .collect();
        let first = Reader { context, upstream, lanes, work, is_first: true }.read();
        let joined = others.into_iter().map(|thread| thread.join());
        let others = joined.map(|result| result.unwrap_or_else(|payload| std::panic::resume_unwind(payload)));
        std::iter::once(first).chain(others).collect()
    });
    let mut failures: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    // A failure comes before the stops that it has caused.
    failures.sort_by_key(is_stop);
    failures.into_iter().next().map_or(Ok(()), Err)
}

/// The splits of a pass, handed out in their order.
struct Work {
    splits: Mutex<Splits>,
    /// A split was opened, or given back.
    changed: Condvar,
    /// A reader has failed: what has begun is finished, and nothing else begins.
    failed: AtomicBool,
    /// Rows so far.
    rows: AtomicU64,
}

struct Splits {
    /// By their places in the window.
    left: VecDeque<usize>,
    /// Taken, and not open yet: they may come back.
    opening: usize,
    /// Readers that will ask again.
    readers: usize,
}

/// A split that a reader is about to open.
struct Claim<'a> {
    work: &'a Work,
    split: usize,
}

impl Work {
    fn new(splits: usize, readers: usize) -> Self {
        let splits = Splits { left: (0..splits).collect(), opening: 0, readers };
        Self {
            splits: Mutex::new(splits),
            changed: Condvar::new(),
            failed: AtomicBool::new(false),
            rows: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Splits> {
        self.splits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next split; without one the reader is done.
    fn next(&self) -> Option<Claim<'_>> {
        let mut splits = self.lock();
        loop {
            if let Some(split) = splits.left.pop_front() {
                splits.opening += 1;
                return Some(Claim { work: self, split });
            }
            if splits.opening == 0 {
                splits.readers -= 1;
                return None;
            }
            splits = self.changed.wait(splits).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Counts rows, and refuses more than there may be.
    fn count(&self, rows: u64, most: Option<u64>) -> Result<()> {
        let rows = self.rows.fetch_add(rows, Ordering::SeqCst) + rows;
        match most.filter(|most| rows > *most) {
            None => Ok(()),
            Some(most) => {
                Err(Error::config(format!("there are more than {most} rows, which is the pipeline's `max_rows`"))
                    .hint("narrow the query, or raise `max_rows`")
                    .at("source"))
            }
        }
    }

    /// A reader goes before it is done.
    fn leave(&self) {
        self.lock().readers -= 1;
    }
}

impl Claim<'_> {
    /// Leaves the split to the other readers, of which this one is none any more. False: there are none.
    fn give_back(&self) -> bool {
        let mut splits = self.work.lock();
        if splits.readers < 2 {
            return false;
        }
        splits.left.push_front(self.split);
        splits.readers -= 1;
        true
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.work.lock().opening -= 1;
        self.work.changed.notify_all();
    }
}

/// Reads splits for the sinks of its crew.
struct Reader<'a> {
    context: &'a PassContext,
    upstream: &'a mut Upstream,
    lanes: Vec<Lane>,
    work: &'a Work,
    is_first: bool,
}

impl Reader<'_> {
    fn read(mut self) -> Result<()> {
        self.upstream.bind(&self.context.stop, self.context.queue_bytes);
        let read = self.read_all();
        if let Err(error) = &read {
            self.work.failed.store(true, Ordering::SeqCst);
            self.lanes.iter_mut().for_each(|lane| lane.fail(error));
        }
        read
    }

    fn read_all(&mut self) -> Result<()> {
        let context = self.context;
        while let Some(claim) = self.work.next() {
            let split = &context.window.splits[claim.split];
            if self.work.failed.load(Ordering::SeqCst) {
                return Err(Error::cancelled());
            }
            if !self.lanes.iter().any(|lane| lane.wants(split)) {
                continue;
            }
            // What has begun is finished; a window's one artefact counts as one piece.
            if context.stop.draining() && !self.lanes.iter().any(Lane::is_joining) {
                return Err(Error::cancelled());
            }
            let place = At { window: context.window.id, split: split.id.clone(), run: context.run.clone() };
            let _span = spans::of_reading(context.window.id, &split.id).entered();
            match self.upstream.open(split, &place, &context.feed, &context.variables, &context.stop) {
                Ok(stream) => {
                    drop(claim);
                    self.deliver(split, stream)?;
                }
                // A server may give away no further connection: those that there are go on.
                Err(error) if !self.is_first && error.kind.is_retryable() && claim.give_back() => {
                    tracing::warn!(
                        pipeline = context.window.pipeline,
                        kind = %error.kind,
                        "fewer splits are read at the same time: {error}"
                    );
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.lanes.iter_mut().for_each(|lane| lane.end_run(context));
        Ok(())
    }

    fn deliver(&mut self, split: &Split, stream: Batches) -> Result<()> {
        let Self { context, upstream, lanes, work, .. } = self;
        let schema = stream.schema();
        // Asked once: a sink that is gone meanwhile still takes the end of what it has begun.
        let wanted: Vec<usize> = (0..lanes.len()).filter(|at| lanes[*at].wants(split)).collect();
        if wanted.is_empty() {
            return Ok(());
        }
        wanted.iter().for_each(|at| lanes[*at].begin(context, split, &schema));
        for batch in stream {
            let batch = batch?;
            context.stop.check()?;
            if batch.num_rows() == 0 {
                continue;
            }
            context.meters.passing(batch.num_rows() as u64);
            work.count(batch.num_rows() as u64, context.assembly.max_rows)?;
            for at in &wanted {
                let others = lanes.iter().enumerate().filter(|(other, lane)| other != at && lane.alive());
                let others: Vec<_> = others.map(|(_, lane)| Arc::clone(&lane.of)).collect();
                if lanes[*at].alive() {
                    lanes[*at].rows(context, batch.clone(), || others.iter().any(|of| of.goes_on()));
                }
            }
            if !wanted.iter().any(|at| lanes[*at].alive()) {
                // Nobody takes it: what the stages counted so far means nothing.
                return Ok(());
            }
        }
        let counts = upstream.finish(&context.feed)?;
        context.meters.split(context.window.id, &split.id, counts);
        wanted.iter().for_each(|at| lanes[*at].end_split(context));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_that_is_given_back_is_taken_by_a_reader_that_found_none_left() {
        let work = Work::new(2, 2);
        std::thread::scope(|scope| {
            let (first, second) = (work.next().unwrap(), work.next().unwrap());
            drop(first);
            // Nothing is left, but the second split is not open yet.
            let other = scope.spawn(|| work.next().map(|claim| claim.split));
            assert!(second.give_back());
            drop(second);
            assert_eq!(other.join().unwrap(), Some(1));
        });
        assert!(work.next().is_none());
    }

    #[test]
    fn the_last_reader_keeps_its_split() {
        let work = Work::new(1, 2);
        work.leave();
        let claim = work.next().unwrap();
        assert!(!claim.give_back());
    }
}
