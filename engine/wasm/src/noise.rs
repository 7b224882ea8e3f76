//! What a guest prints: lines for the log.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use engine_abi::ffi::log_level;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};

use crate::state::Engine;

/// A line longer than this is cut into several.
const MAX_LINE: usize = 4096;

/// Passes lines on to the engine's log, for debugging.
#[derive(Clone)]
pub struct Noise {
    engine: Engine,
    line: Arc<Mutex<Vec<u8>>>,
}

impl Noise {
    pub fn new(engine: Engine) -> Self {
        Self { engine, line: Arc::default() }
    }

    fn take(&self, bytes: &[u8]) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in bytes {
            if *byte != b'\n' {
                line.push(*byte);
            }
            if *byte == b'\n' || line.len() >= MAX_LINE {
                self.engine.log(log_level::DEBUG, &String::from_utf8_lossy(&line));
                line.clear();
            }
        }
    }
}

impl IsTerminal for Noise {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Noise {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Noise {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        self.take(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
