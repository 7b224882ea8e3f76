//! Asking work to stop: first to finish what it has begun, then at once.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use engine_abi::{Error, Result};

const DRAIN: u8 = 1;
const NOW: u8 = 2;

#[derive(Default)]
struct Shared {
    level: AtomicU8,
    changed: (Mutex<()>, Condvar),
}

/// Shared by all that works on a run. Clones are the same token; a
/// [`child`](Stop::child) can be stopped alone and stops with its parent.
#[derive(Clone, Default)]
pub struct Stop {
    shared: Arc<Shared>,
    own: Arc<AtomicBool>,
}

impl Stop {
    /// A token that nobody has stopped.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token that ends with this one, or alone through [`Stop::now`] on it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), own: Arc::default() }
    }

    /// Asks to finish what has begun and to begin nothing more.
    pub fn drain(&self) {
        self.raise(DRAIN);
    }

    /// Asks to stop at once; what is unfinished is finished by the next run.
    pub fn all_now(&self) {
        self.raise(NOW);
    }

    /// Stops this token alone.
    pub fn now(&self) {
        self.own.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn raise(&self, level: u8) {
        self.shared.level.fetch_max(level, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        drop(self.shared.changed.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.shared.changed.1.notify_all();
    }

    /// Whether nothing new should begin.
    pub fn draining(&self) -> bool {
        self.shared.level.load(Ordering::SeqCst) >= DRAIN || self.stopped()
    }

    /// Whether work should stop at once.
    pub fn stopped(&self) -> bool {
        self.own.load(Ordering::SeqCst) || self.shared.level.load(Ordering::SeqCst) >= NOW
    }

    /// [`Error::cancelled`] once work should stop at once.
    pub fn check(&self) -> Result<()> {
        if self.stopped() { Err(Error::cancelled()) } else { Ok(()) }
    }

    /// Sleeps, unless it is asked to drain or stop; then answers false at once.
    pub fn sleep(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut guard = self.shared.changed.0.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if self.draining() {
                return false;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            guard = self.shared.changed.1.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner).0;
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
        all.all_now();
        assert!(other.stopped());
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
