//! Asking work to stop: first to finish what it has begun, then at once.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine_abi::{Error, Result};

const DRAIN: u8 = 1;
const NOW: u8 = 2;

struct Node {
    level: AtomicU8,
    parent: Option<Arc<Node>>,
    /// Requests to drain stop here.
    outlasts_draining: bool,
}

/// Shared by all that works on something. Clones are the same token; a
/// [`child`](Stop::child) can be stopped alone and stops with its parent.
#[derive(Clone)]
pub struct Stop {
    node: Arc<Node>,
    /// One for the whole tree, so that a sleeper hears of every ancestor.
    changed: Arc<(Mutex<()>, Condvar)>,
}

impl Default for Stop {
    fn default() -> Self {
        Self {
            node: Arc::new(Node { level: AtomicU8::new(0), parent: None, outlasts_draining: false }),
            changed: Arc::default(),
        }
    }
}

impl Stop {
    /// A token that nobody has stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that stops with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        self.below(false)
    }

    /// A token that goes on while this one drains: for the work that draining
    /// is there to finish.
    #[must_use]
    pub fn through_draining(&self) -> Self {
        self.below(true)
    }

    fn below(&self, outlasts_draining: bool) -> Self {
        let parent = Some(Arc::clone(&self.node));
        let node = Node { level: AtomicU8::new(0), parent, outlasts_draining };
        Self { node: Arc::new(node), changed: Arc::clone(&self.changed) }
    }

    /// Asks to finish what has begun and to begin nothing more.
    pub fn drain(&self) {
        self.raise(DRAIN);
    }

    /// Asks to stop at once; what is unfinished is finished by the next run.
    pub fn now(&self) {
        self.raise(NOW);
    }

    fn raise(&self, level: u8) {
        self.node.level.fetch_max(level, Ordering::SeqCst);
        drop(self.changed.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.1.notify_all();
    }

    fn level(&self) -> u8 {
        let mut level = 0;
        let mut outlasts = false;
        let mut node = Some(&self.node);
        while let Some(here) = node {
            match here.level.load(Ordering::SeqCst) {
                DRAIN if outlasts => {}
                own => level = level.max(own),
            }
            outlasts |= here.outlasts_draining;
            node = here.parent.as_ref();
        }
        level
    }

    /// Whether nothing new should begin.
    pub fn draining(&self) -> bool {
        self.level() >= DRAIN
    }

    /// Whether it was asked to stop by itself, and what it is a part of was not.
    pub fn stops_alone(&self) -> bool {
        let above =
            self.node.parent.as_ref().map(|node| Self { node: Arc::clone(node), changed: Arc::clone(&self.changed) });
        self.draining() && above.is_some_and(|above| !above.draining())
    }

    /// Whether work should stop at once.
    pub fn stopped(&self) -> bool {
        self.level() >= NOW
    }

    /// [`Error::cancelled`] once work should stop at once.
    pub fn check(&self) -> Result<()> {
        if self.stopped() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Sleeps, unless it is asked to drain or stop; then answers false at once.
    pub fn sleep(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut guard = self.changed.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.draining() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            guard = self.changed.1.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_stops_alone_or_with_its_parent() {
        let all = Stop::new();
        let (one, other) = (all.child(), all.child());
        one.now();
        assert!(one.stopped() && one.draining());
        assert!(!all.stopped() && !other.stopped());
        all.drain();
        assert!(other.draining() && !other.stopped());
        all.now();
        assert!(other.stopped());
    }

    #[test]
    fn what_draining_waits_for_goes_on_until_it_is_stopped_at_once() {
        let all = Stop::new();
        let pass = all.child().through_draining();
        let lane = pass.child();
        all.drain();
        assert!(!pass.draining() && !lane.draining());
        lane.drain();
        assert!(lane.draining() && !pass.draining());
        all.now();
        assert!(pass.stopped() && lane.stopped());
    }

    #[test]
    fn sleeping_ends_as_soon_as_it_is_asked_to() {
        let stop = Stop::new();
        let sleeper = stop.child();
        let thread = std::thread::spawn(move || sleeper.sleep(Duration::from_secs(600)));
        stop.drain();
        assert!(!thread.join().unwrap());
    }
}
