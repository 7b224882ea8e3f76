//! Waiting for something to become true, never for time to pass.

use std::time::{Duration, Instant};

/// How long anything may take. Far beyond what it takes, so that a slow machine
/// is no failure.
pub const LIMIT: Duration = Duration::from_secs(60);

/// How often is looked.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `look` answers; `None` when it has not after [`LIMIT`].
pub(crate) fn in_time<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + LIMIT;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits until `look` answers.
///
/// # Panics
/// When it has not after [`LIMIT`]; `what` says what was waited for.
#[track_caller]
pub fn until_some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    in_time(look).unwrap_or_else(|| panic!("not within {LIMIT:?}: {what}"))
}

/// Waits until `look` answers true.
///
/// # Panics
/// As [`until_some`].
#[track_caller]
pub fn until(what: &str, mut look: impl FnMut() -> bool) {
    until_some(what, || look().then_some(()));
}

/// Runs a future to its end.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(future)
}
