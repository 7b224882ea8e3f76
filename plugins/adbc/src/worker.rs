//! Calls of a driver that can be given up: a driver answers when it wants to, and the engine may
//! want to stop before that.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adbc_core::{CancelHandle, Statement as _};
use adbc_driver_manager::ManagedStatement;
use engine_sdk::prelude::*;
use engine_sdk::too_late;

/// How often somebody who waits looks whether to stop.
const CANCEL_CHECK: Duration = Duration::from_millis(50);
/// How long a driver has to stop once it is asked to. A thread that does not end by then is left to itself:
/// it holds nothing but its own connection, and ends with the call of the driver that it is in.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// How the present statement is cancelled.
#[derive(Clone, Default)]
pub struct Handle(Arc<Mutex<Option<Box<dyn CancelHandle>>>>);

impl Handle {
    /// From now on it is this one.
    pub fn hold(&self, statement: &ManagedStatement) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(statement.get_cancel_handle());
    }

    fn cancel(&self) {
        if let Some(handle) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            // Not every driver can, and one that has just ended need not.
            let _ = handle.try_cancel();
        }
    }
}

/// A thread that works with a driver and gives one thing after another.
pub struct Worker<T> {
    receiver: Option<Receiver<Result<T>>>,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    /// How long each thing may take.
    timeout: Option<Duration>,
    cx: Context,
}

/// The thread's end of it.
pub struct Port<T> {
    sender: SyncSender<Result<T>>,
    handle: Handle,
}

impl<T> Port<T> {
    /// Hands something on. False: nobody wants any more.
    pub fn send(&self, item: T) -> bool {
        self.sender.send(Ok(item)).is_ok()
    }

    /// What is cancelled, should the work be given up.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl<T: Send + 'static> Worker<T> {
    /// Starts it. One thing is made ready while the last one is used; none may take longer than `timeout`.
    pub fn start(
        cx: &Context,
        timeout: Option<Duration>,
        work: impl FnOnce(&Port<T>) -> Result<()> + Send + 'static,
    ) -> Result<Self> {
        let (sender, receiver) = sync_channel(1);
        let handle = Handle::default();
        let port = Port { sender, handle: handle.clone() };
        let run = move || {
            if let Err(error) = work(&port) {
                // The receiver may be gone: then nobody wants to know.
                let _ = port.sender.send(Err(error));
            }
        };
        let thread = std::thread::Builder::new().name("adbc".into()).spawn(run);
        let thread = thread.map_err(|error| Error::from(error).context("a thread for the driver cannot be started"))?;
        Ok(Self { receiver: Some(receiver), handle, thread: Some(thread), timeout, cx: cx.clone() })
    }

    /// The one thing that the work gives.
    pub fn only(mut self) -> Result<T> {
        self.next().unwrap_or_else(|| Err(Error::internal("the driver's thread ended without an answer")))
    }
}

impl<T> Iterator for Worker<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let begun = Instant::now();
        let received = loop {
            let receiver = self.receiver.as_ref()?;
            // Before every item: they may come so fast that nobody ever waits for them.
            if let Err(cancelled) = self.cx.check_cancelled() {
                break Err(cancelled);
            }
            match receiver.recv_timeout(CANCEL_CHECK) {
                Ok(received) => break received,
                Err(RecvTimeoutError::Disconnected) => {
                    self.receiver = None;
                    return match self.thread.take()?.join() {
                        Ok(()) => None,
                        Err(_) => Some(Err(Error::internal("the thread that works with the driver panicked"))),
                    };
                }
                Err(RecvTimeoutError::Timeout) => {
                    if self.cx.deadline().is_some_and(|left| left.is_zero()) {
                        break Err(Error::unavailable("the driver did not answer in time"));
                    }
                    if let Some(limit) = self.timeout.filter(|limit| begun.elapsed() >= *limit) {
                        break Err(too_late(limit));
                    }
                }
            }
        };
        if received.is_err() {
            self.receiver = None;
        }
        Some(received)
    }
}

impl<T> Drop for Worker<T> {
    fn drop(&mut self) {
        // The thread ends at its next answer from the driver.
        self.receiver = None;
        let Some(thread) = self.thread.take() else { return };
        let asked = Instant::now();
        let mut next = Duration::ZERO;
        while !thread.is_finished() {
            if asked.elapsed() > STOP_LIMIT {
                self.cx.log(Level::Warn, "the driver does not stop; its connection is left to itself");
                return;
            }
            if asked.elapsed() >= next {
                // Again and again: a cancel stops only a statement that is already under way.
                self.handle.cancel();
                next += CANCEL_CHECK;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = thread.join();
    }
}

/// Runs a statement that takes rows, on this thread: the rows come from the engine, and end when it wants to
/// stop. Cancels the statement if it is needed beyond that.
pub fn watched<T>(cx: &Context, statement: &mut ManagedStatement, work: impl FnOnce(&mut ManagedStatement) -> T) -> T {
    let handle = Handle::default();
    handle.hold(statement);
    let (done, ended) = sync_channel::<()>(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let ended = ended;
            while ended.recv_timeout(CANCEL_CHECK) == Err(RecvTimeoutError::Timeout) {
                if cx.cancelled() || cx.deadline().is_some_and(|left| left.is_zero()) {
                    handle.cancel();
                }
            }
        });
        let result = work(statement);
        drop(done);
        result
    })
}
