//! A module-local tokio runtime, for connectors built on async crates.

use std::future::Future;
use std::time::Duration;

use engine_abi::{Error, Result};

use crate::Context;

/// How often a waiting future looks whether it should stop.
const CANCEL_CHECK: Duration = Duration::from_millis(50);

/// Runs futures on the calling thread. Each instance makes its own.
#[derive(Debug)]
pub struct Runtime {
    runtime: tokio::runtime::Runtime,
}

impl Runtime {
    /// A runtime with network and timers.
    pub fn new() -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::from(error).context("the connector's async runtime cannot be made"))?;
        Ok(Self { runtime })
    }

    /// Runs a future to its end, whatever it takes. For clean-up.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Runs a future until it ends, the work is cancelled or its deadline
    /// passes; the future is dropped in the last two cases.
    pub fn run<T>(&self, cx: &Context, future: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(async {
            let mut future = std::pin::pin!(future);
            loop {
                tokio::select! {
                    biased;
                    output = &mut future => return output,
                    () = tokio::time::sleep(CANCEL_CHECK) => {
                        cx.check_cancelled()?;
                        if cx.deadline().is_some_and(|left| left.is_zero()) {
                            return Err(Error::unavailable("the other side did not answer in time"));
                        }
                    }
                }
            }
        })
    }
}
