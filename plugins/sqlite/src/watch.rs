//! Statements that are stopped when nobody waits for them any more.

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

use engine_sdk::prelude::*;
use rusqlite::Connection;

/// How often it is looked whether somebody still waits.
pub const LOOK: Duration = Duration::from_millis(50);
/// How often a statement is interrupted that has not ended: an interrupt stops only one that is under way.
const AGAIN: Duration = Duration::from_millis(1);

/// Does what runs statements on this thread, until the engine wants to stop or the time is over.
pub fn watched<T>(
    connection: &Connection,
    cx: &Context,
    limit: Option<Duration>,
    work: impl FnOnce() -> Result<T>,
) -> Result<T> {
    let interrupt = connection.get_interrupt_handle();
    let (working, over) = sync_channel::<()>(0);
    std::thread::scope(|scope| {
        let watch = move || {
            let begun = Instant::now();
            let mut why = None;
            while over.recv_timeout(if why.is_some() { AGAIN } else { LOOK }) == Err(RecvTimeoutError::Timeout) {
                let late = || limit.filter(|limit| begun.elapsed() > *limit).map(engine_sdk::too_late);
                why = why.or_else(|| cx.check_cancelled().err()).or_else(late);
                if why.is_some() {
                    interrupt.interrupt();
                }
            }
            why
        };
        let watcher = std::thread::Builder::new()
            .name("sqlite watcher".into())
            .spawn_scoped(scope, watch)
            .map_err(|error| Error::from(error).context("a thread cannot be started"))?;
        let done = work();
        drop(working);
        let why = watcher.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match (done, why) {
            (Err(error), Some(why)) if error.kind == ErrorKind::Cancelled => Err(why),
            (done, _) => done,
        }
    })
}
