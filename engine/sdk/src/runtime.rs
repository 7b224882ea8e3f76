//! A module-local tokio runtime, for connectors built on async crates.

use std::future::Future;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use engine_abi::{Error, Result};

use crate::{Context, too_late};

/// How often a waiting future looks whether it should stop.
const CANCEL_CHECK: Duration = Duration::from_millis(50);

/// Runs futures on the calling thread. Each instance makes its own.
#[derive(Debug)]
pub struct Runtime {
    /// There until it is dropped.
    runtime: ManuallyDrop<tokio::runtime::Runtime>,
    answer_timeout: Option<Duration>,
}

impl Runtime {
    /// A runtime with network and timers.
    pub fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::from(error).context("the connector's async runtime cannot be made"))?;
        Ok(Self { runtime: ManuallyDrop::new(runtime), answer_timeout: None })
    }

    /// Limits how long [`Runtime::run`] waits for one future: a source's setting
    /// `timeout`. None: as long as it takes.
    #[must_use]
    pub fn answering_within(mut self, answer_timeout: Option<Duration>) -> Self {
        self.answer_timeout = answer_timeout;
        self
    }

    /// Runs a future to its end, whatever it takes. For clean-up.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Runs a future that takes back what was begun: to its end although the
    /// work is cancelled and its deadline has passed, but not beyond `limit`.
    pub fn take_back<T>(&self, limit: Duration, future: impl Future<Output = Result<T>>) -> Result<T> {
        let done = self.runtime.block_on(async { tokio::time::timeout(limit, future).await });
        done.unwrap_or_else(|_| Err(no_answer()))
    }

    /// Runs a future until it ends, the work is cancelled, its deadline passes, or it
    /// has been waited for as long as may be; the future is dropped in all cases but
    /// the first.
    pub fn run<T>(&self, cx: &Context, future: impl Future<Output = Result<T>>) -> Result<T> {
        let begun = Instant::now();
        self.runtime.block_on(async {
            let mut future = std::pin::pin!(future);
            loop {
                tokio::select! {
                    biased;
                    output = &mut future => return output,
                    () = tokio::time::sleep(CANCEL_CHECK) => {
                        cx.check_cancelled()?;
                        if cx.deadline().is_some_and(|left| left.is_zero()) {
                            return Err(no_answer());
                        }
                        if let Some(limit) = self.answer_timeout.filter(|limit| begun.elapsed() >= *limit) {
                            return Err(too_late(limit));
                        }
                    }
                }
            }
        })
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        // SAFETY: nothing uses it after this, and it is dropped once.
        let runtime = unsafe { ManuallyDrop::take(&mut self.runtime) };
        // A name that no server answers for may still be being looked up: nobody waits for that.
        runtime.shutdown_background();
    }
}

fn no_answer() -> Error {
    Error::unavailable("the other side did not answer in time")
}

#[cfg(test)]
mod tests {
    use engine_abi::ErrorKind;

    use super::*;
    use crate::testing::Host;

    /// What answers only after the question whether to stop.
    async fn slow_answer() -> Result<u8> {
        tokio::time::sleep(CANCEL_CHECK * 3).await;
        Ok(7)
    }

    #[test]
    fn cancelled_work_ends_and_what_takes_it_back_does_not() {
        let host = Host::new();
        host.cancel();
        let runtime = Runtime::new().unwrap();
        let cancelled = runtime.run(&host.context(serde_json::json!({})), slow_answer());
        assert_eq!(cancelled.unwrap_err().kind, ErrorKind::Cancelled);
        assert_eq!(runtime.take_back(Duration::from_secs(60), slow_answer()).unwrap(), 7);
    }

    #[test]
    fn an_answer_is_waited_for_as_long_as_is_said() {
        let (host, runtime) = (Host::new(), Runtime::new().unwrap().answering_within(Some(Duration::from_millis(1))));
        let cx = host.context(serde_json::json!({}));
        let error = runtime.run(&cx, std::future::pending::<Result<u8>>()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.hint.unwrap().contains("`timeout`"));
        let patient = Runtime::new().unwrap().answering_within(Some(Duration::from_secs(60)));
        assert_eq!(patient.run(&cx, slow_answer()).unwrap(), 7);
    }

    #[test]
    fn what_takes_work_back_has_a_limit() {
        let runtime = Runtime::new().unwrap();
        let never = runtime.take_back(Duration::from_millis(1), std::future::pending::<Result<u8>>());
        assert_eq!(never.unwrap_err().kind, ErrorKind::Unavailable);
    }
}
