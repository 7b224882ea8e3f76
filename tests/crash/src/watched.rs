//! A file that is looked at all the time while engines are killed.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use engine_end_to_end_tests::Place;
use engine_state::State;

use crate::bounded::PIPELINE;

/// Where the file appears, and how it must be.
pub(crate) struct Target {
    pub(crate) file: PathBuf,
    /// What the file must hold whenever it is there.
    pub(crate) whole: Vec<u8>,
}

impl Target {
    /// Fails when a completed cycle has left anything else. Half of the next ones make the file, half replace it.
    pub(crate) fn make_room(&self, place: &Place, completed: u64) {
        let left = std::fs::read_dir(self.file.parent().expect("a folder")).expect("it is there").count();
        assert_eq!(left, 1, "something is left beside the file");
        // Such as an upload that was begun.
        let state = State::read(&place.state()).expect("the state can be read");
        let remembered = state.remembered(PIPELINE, "sink").expect("it can be looked up");
        assert!(remembered.is_null(), "something is left to be cleared: {remembered}");
        if completed.is_multiple_of(2) {
            std::fs::remove_file(&self.file).expect("it can be removed");
        }
    }
}

/// Looks at a file again and again.
pub(crate) struct Watcher {
    stop: Arc<AtomicBool>,
    torn: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    pub(crate) fn start(target: Arc<Target>) -> Self {
        let (stop, torn) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, seen) = (Arc::clone(&stop), Arc::clone(&torn));
        let thread = std::thread::spawn(move || {
            let mut looked_at = None;
            while !stopped.load(Ordering::SeqCst) {
                // One that was whole and that nobody has touched still is.
                let file = std::fs::metadata(&target.file).ok().map(|file| (file.ino(), file.len(), file.mtime_nsec()));
                if file != looked_at {
                    let is_whole = std::fs::read(&target.file).map(|found| found == target.whole);
                    looked_at = file.filter(|_| matches!(is_whole, Ok(true)));
                    seen.fetch_add(matches!(is_whole, Ok(false)).into(), Ordering::SeqCst);
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        });
        Self { stop, torn, thread: Some(thread) }
    }

    /// Answers how often the file was not whole.
    pub(crate) fn stop(&mut self) -> u64 {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("it does not panic");
        }
        self.torn.load(Ordering::SeqCst)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
