//! Byte-bounded queues between stages, each on a thread of its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use engine_abi::stream::Batches;
use engine_abi::{Error, Result};

use crate::spans::carried;
use crate::stop::Stop;

/// What a queue between two stages may hold. Two batches of the size that
/// sources are asked for fit in; a single larger one passes alone. From 1 to
/// 16 MiB a run takes the same time on two cores, and memory grows with them.
pub const QUEUE_BYTES: usize = 2 << 20;

/// What all queues of this process hold, in bytes.
static QUEUED: AtomicUsize = AtomicUsize::new(0);

/// What all queues of this process hold, in bytes.
pub fn queued_bytes() -> usize {
    QUEUED.load(Ordering::Relaxed)
}

/// How often a blocked sender looks whether it should stop.
const STOP_CHECK: Duration = Duration::from_millis(50);

/// Something whose size in memory is known.
pub trait Weight {
    /// In bytes.
    fn weight(&self) -> usize;
}

impl Weight for RecordBatch {
    fn weight(&self) -> usize {
        self.get_array_memory_size()
    }
}

impl<T: Weight> Weight for Result<T> {
    fn weight(&self) -> usize {
        self.as_ref().map_or(0, Weight::weight)
    }
}

struct Inner<T> {
    items: VecDeque<(T, usize)>,
    bytes: usize,
    /// How many items have come out.
    taken: u64,
    sender_gone: bool,
    receiver_gone: bool,
}

struct Shared<T> {
    inner: Mutex<Inner<T>>,
    changed: Condvar,
    capacity: usize,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why an item was not taken. It is given back.
#[derive(Debug)]
pub enum Refused<T> {
    /// The receiver is gone.
    Closed(T),
    /// There was no room in time.
    Full(T),
}

/// The end that items are put in.
pub struct Sender<T>(Arc<Shared<T>>);

/// The end that items come out of.
pub struct Receiver<T>(Arc<Shared<T>>);

/// A queue that holds at most `capacity` bytes, or one item.
pub fn queue<T: Weight>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let inner = Inner { items: VecDeque::new(), bytes: 0, taken: 0, sender_gone: false, receiver_gone: false };
    let shared = Arc::new(Shared { inner: Mutex::new(inner), changed: Condvar::new(), capacity });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T: Weight> Sender<T> {
    /// Waits for room, at most for `patience`.
    pub fn send(&self, item: T, patience: Duration) -> Result<(), Refused<T>> {
        let weight = item.weight();
        let until = Instant::now() + patience;
        let mut inner = self.0.lock();
        loop {
            if inner.receiver_gone {
                return Err(Refused::Closed(item));
            }
            // What weighs nothing always fits: nobody waits to hear that a split has ended.
            if weight == 0 || inner.items.is_empty() || inner.bytes + weight <= self.0.capacity {
                inner.bytes += weight;
                QUEUED.fetch_add(weight, Ordering::Relaxed);
                inner.items.push_back((item, weight));
                self.0.changed.notify_all();
                return Ok(());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Refused::Full(item));
            }
            inner = self.0.changed.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// How many items have been received.
    pub fn taken(&self) -> u64 {
        self.0.lock().taken
    }

    /// Waits for room until `stop` says otherwise. False: the item was not taken.
    pub fn send_until(&self, mut item: T, stop: &Stop) -> bool {
        loop {
            match self.send(item, STOP_CHECK) {
                Ok(()) => return true,
                Err(Refused::Closed(_)) => return false,
                Err(Refused::Full(_)) if stop.stopped() => return false,
                Err(Refused::Full(back)) => item = back,
            }
        }
    }
}

impl<T> Receiver<T> {
    /// The next item; `None` when the sender is gone and all is taken.
    pub fn receive(&self) -> Option<T> {
        let mut inner = self.0.lock();
        loop {
            if let Some((item, weight)) = inner.items.pop_front() {
                inner.bytes -= weight;
                QUEUED.fetch_sub(weight, Ordering::Relaxed);
                inner.taken += 1;
                self.0.changed.notify_all();
                return Some(item);
            }
            if inner.sender_gone {
                return None;
            }
            inner = self.0.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.0.lock().sender_gone = true;
        self.0.changed.notify_all();
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let mut inner = self.0.lock();
        inner.receiver_gone = true;
        // What nobody will take need not stay in memory.
        inner.items.clear();
        QUEUED.fetch_sub(std::mem::take(&mut inner.bytes), Ordering::Relaxed);
        self.0.changed.notify_all();
    }
}

/// Lets a stream run ahead on a thread of its own, as far as a queue goes.
/// The thread ends with the stream, or when the result is dropped.
pub fn ahead(name: &str, batches: Batches, stop: &Stop, bytes: usize) -> Result<Batches> {
    let schema = batches.schema();
    let (sender, receiver) = queue::<Result<RecordBatch>>(bytes);
    let stop = stop.clone();
    let run = move || {
        for item in batches {
            let failed = item.is_err();
            if !sender.send_until(item, &stop) || failed {
                return;
            }
        }
        // An end that was not reached must not look like one.
        sender.send_until(Ok(RecordBatch::new_empty(std::sync::Arc::new(arrow_schema::Schema::empty()))), &stop);
    };
    let thread = std::thread::Builder::new()
        .name(name.chars().take(15).collect())
        .spawn(carried(run))
        .map_err(|error| Error::from(error).context("a thread cannot be started"))?;
    Ok(Batches::new(schema, Ahead { receiver: Some(receiver), thread: Some(thread) }))
}

struct Ahead {
    receiver: Option<Receiver<Result<RecordBatch>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Iterator for Ahead {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.receiver.as_ref()?.receive();
        match item {
            Some(Ok(batch)) if batch.num_columns() == 0 && batch.num_rows() == 0 => {
                self.receiver = None;
                None
            }
            Some(Ok(batch)) => Some(Ok(batch)),
            Some(Err(error)) => {
                self.receiver = None;
                Some(Err(error))
            }
            None => {
                self.receiver = None;
                let thread = self.thread.take().map(std::thread::JoinHandle::join);
                // A request to stop would make the work vanish instead of fail.
                Some(Err(if matches!(thread, Some(Err(_))) {
                    Error::internal("a stage panicked").hint("this is a bug: the log has the panic's message")
                } else {
                    Error::cancelled()
                }))
            }
        }
    }
}

impl Drop for Ahead {
    /// Waits for the thread: the stream's instance may only be used again (or
    /// closed) when nobody reads from it.
    fn drop(&mut self) {
        self.receiver = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::Int32Array;
    use arrow_schema::{DataType, Field, Schema};

    impl Weight for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    #[test]
    fn a_queue_is_bounded_by_bytes_and_lets_one_large_item_pass() {
        let (sender, receiver) = queue::<usize>(10);
        sender.send(50, Duration::ZERO).unwrap();
        assert!(matches!(sender.send(1, Duration::ZERO), Err(Refused::Full(1))));
        assert_eq!(receiver.receive(), Some(50));
        sender.send(6, Duration::ZERO).unwrap();
        sender.send(4, Duration::ZERO).unwrap();
        sender.send(0, Duration::ZERO).unwrap();
        assert!(matches!(sender.send(1, Duration::ZERO), Err(Refused::Full(1))));
        drop(sender);
        let rest: Vec<_> = std::iter::from_fn(|| receiver.receive()).collect();
        assert_eq!(rest, [6, 4, 0]);
    }

    #[test]
    fn a_sender_learns_that_nobody_receives() {
        let (sender, receiver) = queue::<usize>(10);
        drop(receiver);
        assert!(matches!(sender.send(1, Duration::from_secs(600)), Err(Refused::Closed(1))));
    }

    fn batches(count: i32, end: Option<Error>) -> Batches {
        let schema = std::sync::Arc::new(Schema::new(vec![Field::new("n", DataType::Int32, false)]));
        let of = std::sync::Arc::clone(&schema);
        let rows = (0..count).map(move |n| {
            Ok(RecordBatch::try_new(std::sync::Arc::clone(&of), vec![std::sync::Arc::new(Int32Array::from(vec![n]))])
                .unwrap())
        });
        Batches::new(schema, rows.chain(end.map(Err)))
    }

    #[test]
    fn a_panic_is_no_request_to_stop() {
        let schema = std::sync::Arc::new(Schema::empty());
        let panics = Batches::new(schema, std::iter::from_fn(|| panic!("on purpose")));
        let error = ahead("test", panics, &Stop::new(), QUEUE_BYTES).unwrap().next().unwrap().unwrap_err();
        assert_eq!(error.kind, engine_abi::ErrorKind::Internal);
    }

    #[test]
    fn a_stream_that_runs_ahead_gives_the_same_batches_and_the_same_error() {
        let stop = Stop::new();
        let all: Vec<_> = ahead("test", batches(100, None), &stop, QUEUE_BYTES).unwrap().map(Result::unwrap).collect();
        assert_eq!(all, batches(100, None).map(Result::unwrap).collect::<Vec<_>>());
        let mut failing = ahead("test", batches(1, Some(Error::unavailable("gone"))), &stop, QUEUE_BYTES).unwrap();
        assert!(failing.next().unwrap().is_ok());
        assert_eq!(failing.next().unwrap().unwrap_err(), Error::unavailable("gone"));
        assert!(failing.next().is_none());
    }
}
