//! The thread on which an instance's requests are on their way, while the engine's own thread does something else.

use std::future::Future;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use engine_sdk::prelude::{Context, Error, Result};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// How often whoever waits looks whether to stop.
const CANCEL_CHECK: Duration = Duration::from_millis(50);

/// A thread with a runtime. It ends with this value, and with it all that was begun on it.
#[derive(Debug)]
pub struct Background {
    handle: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Something on its way. Dropped, it is given up.
#[derive(Debug)]
pub struct Pending<T> {
    answer: Receiver<Result<T>>,
    task: AbortHandle,
}

impl Background {
    pub fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::from(error).context("the connector's async runtime cannot be made"))?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("s3".into())
            // Ends by a word as well as by the sender's end.
            .spawn(move || {
                drop(runtime.block_on(stopped));
                // As engine_sdk::Runtime: nobody waits for a name that is still being looked up.
                runtime.shutdown_background();
            })
            .map_err(|error| Error::from(error).context("the connector's thread cannot be made"))?;
        Ok(Self { handle, stop: Some(stop), thread: Some(thread) })
    }

    /// Sets something on its way.
    pub fn begin<T: Send + 'static>(&self, work: impl Future<Output = Result<T>> + Send + 'static) -> Pending<T> {
        let (sender, answer) = sync_channel(1);
        let task = self.handle.spawn(async move {
            // Whoever does not wait any more needs no answer.
            let _ = sender.send(work.await);
        });
        Pending { answer, task: task.abort_handle() }
    }

    /// Does something, until it is done or the work is to stop.
    pub fn run<T: Send + 'static>(
        &self,
        cx: &Context,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.begin(work).wait(cx)
    }

    /// Takes back what was begun: also where the work was asked to stop, but not beyond a limit.
    pub fn take_back<T: Send + 'static>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let pending = self.begin(work);
        match pending.answer.recv_timeout(limit) {
            Ok(answer) => answer,
            Err(RecvTimeoutError::Timeout) => Err(no_answer()),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }
}

impl<T> Pending<T> {
    /// Waits until it is done or the work is to stop.
    pub fn wait(self, cx: &Context) -> Result<T> {
        let begun = Instant::now();
        let deadline = cx.deadline();
        loop {
            match self.answer.recv_timeout(CANCEL_CHECK) {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(RecvTimeoutError::Timeout) => {
                    cx.check_cancelled()?;
                    if deadline.is_some_and(|left| begun.elapsed() >= left) {
                        return Err(no_answer());
                    }
                }
            }
        }
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic of a task has been told as its error.
            let _ = thread.join();
        }
    }
}

fn no_answer() -> Error {
    Error::unavailable("the store did not answer in time")
}

fn gone() -> Error {
    Error::internal("a request has ended without an answer")
}

#[cfg(test)]
mod tests {
    use engine_sdk::ErrorKind;
    use engine_sdk::testing::Host;

    use super::*;
    use crate::S3Source;

    #[test]
    fn work_goes_on_while_nobody_waits_and_ends_when_it_is_to_stop() {
        let host = Host::new();
        let source: S3Source = host.open(crate::tests::example()).unwrap();
        let cx = source.context();
        let background = Background::new().unwrap();
        let (sender, seen) = sync_channel(1);
        let pending = background.begin(async move {
            sender.send(7).unwrap();
            Ok(8)
        });
        assert_eq!(seen.recv().unwrap(), 7);
        assert_eq!(pending.wait(cx).unwrap(), 8);
        let panics: Result<()> = background.run(cx, async { panic!("a test's own") });
        assert_eq!(panics.unwrap_err().kind, ErrorKind::Internal);
        host.cancel();
        let never = background.run(cx, std::future::pending::<Result<()>>());
        assert_eq!(never.unwrap_err().kind, ErrorKind::Cancelled);
        assert_eq!(background.take_back(Duration::from_secs(60), async { Ok(9) }).unwrap(), 9);
        let never = background.take_back(Duration::from_millis(1), std::future::pending::<Result<()>>());
        assert_eq!(never.unwrap_err().kind, ErrorKind::Unavailable);
    }
}
