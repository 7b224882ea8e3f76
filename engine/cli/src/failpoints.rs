//! Ending the process at a named point, for crash tests.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::console;
use crate::exit::Exit;

/// `NAME` or `NAME:N`: SIGKILL on ourselves when the point is reached for the N-th time.
const VARIABLE: &str = "ENGINE_FAILPOINT";

pub fn arm() {
    let Ok(wanted) = std::env::var(VARIABLE) else { return };
    let (name, count) = wanted.rsplit_once(':').filter(|(_, n)| n.parse::<u64>().is_ok()).unwrap_or((&wanted, "1"));
    // `state::settled` holds colons itself; only a number behind the last one counts.
    let left = AtomicU64::new(count.parse().unwrap_or(1));
    let end = move || {
        if left.fetch_sub(1, Ordering::SeqCst) == 1 {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
            loop {
                std::thread::park();
            }
        }
    };
    fail::cfg_callback(name, end).unwrap_or_else(|error| panic!("{VARIABLE}={wanted}: {error}"));
}

pub fn list() -> crate::Result {
    engine_runtime::failpoints().for_each(console::line);
    Ok(Exit::Done)
}
