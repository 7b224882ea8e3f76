//! A page of memory that the engine and a module's process share: what the
//! process must see at once, without asking.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use engine_abi::{Error, Result};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};
use rustix::time::{ClockId, clock_gettime};

/// `deadline`: there is none.
const NO_DEADLINE: i64 = -1;

/// The shared page. Everything is written by the engine, and the process's
/// neighbours in memory may write whatever they like: nothing that the engine
/// reads here decides anything but words.
#[repr(C)]
struct Page {
    /// Not 0: the work should stop.
    cancelled: AtomicU64,
    /// In nanoseconds of the monotonic clock, which all processes share.
    deadline: AtomicI64,
    /// Written by the process when it crashes: the memory that it had.
    memory_at_crash: AtomicU64,
}

/// One side's view of the page.
pub struct Control {
    page: NonNull<Page>,
    memory: OwnedFd,
}

// SAFETY: all access to the page is atomic.
unsafe impl Send for Control {}
// SAFETY: as above.
unsafe impl Sync for Control {}

impl Control {
    /// A new page.
    pub fn new() -> Result<Self> {
        let failed = |error: rustix::io::Errno| {
            Error::from(std::io::Error::from(error)).context("memory to share with a module's process")
        };
        let memory = rustix::fs::memfd_create("engine-module", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
            .map_err(failed)?;
        rustix::fs::ftruncate(&memory, size_of::<Page>() as u64).map_err(failed)?;
        // A page that the process could take away would end the engine at its next look.
        rustix::fs::fcntl_add_seals(&memory, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL).map_err(failed)?;
        let control = Self::map(memory).map_err(failed)?;
        control.page().deadline.store(NO_DEADLINE, Ordering::Relaxed);
        Ok(control)
    }

    /// The page behind a descriptor.
    pub fn map(memory: OwnedFd) -> rustix::io::Result<Self> {
        if rustix::fs::fstat(&memory)?.st_size < size_of::<Page>() as i64 {
            return Err(rustix::io::Errno::INVAL);
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at a place that the kernel chooses; the file is as long as it, and sealed.
        let page = unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), size_of::<Page>(), protection, MapFlags::SHARED, &memory, 0)
        }?;
        Ok(Self { page: NonNull::new(page.cast()).ok_or(rustix::io::Errno::NOMEM)?, memory })
    }

    fn page(&self) -> &Page {
        // SAFETY: mapped until `drop`, and any bytes are valid numbers.
        unsafe { self.page.as_ref() }
    }

    /// The descriptor to hand over.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.memory.as_fd()
    }

    /// Says whether the work should stop.
    pub fn set_cancelled(&self, cancelled: bool) {
        self.page().cancelled.store(cancelled.into(), Ordering::Relaxed);
    }

    /// Whether the work should stop.
    pub fn cancelled(&self) -> bool {
        self.page().cancelled.load(Ordering::Relaxed) != 0
    }

    /// Says how long the present operation may still take.
    pub fn set_deadline(&self, left: Option<Duration>) {
        let nanoseconds = |left: Duration| i64::try_from(left.as_nanos()).unwrap_or(i64::MAX);
        let deadline = left.map_or(NO_DEADLINE, |left| now().saturating_add(nanoseconds(left)));
        self.page().deadline.store(deadline, Ordering::Relaxed);
    }

    /// How long the present operation may still take.
    pub fn deadline(&self) -> Option<Duration> {
        let deadline = self.page().deadline.load(Ordering::Relaxed);
        let left = || Duration::from_nanos(u64::try_from(deadline.saturating_sub(now())).unwrap_or(0));
        (deadline != NO_DEADLINE).then(left)
    }

    /// Notes the memory that a crashing process has.
    pub fn set_memory_at_crash(&self, bytes: u64) {
        self.page().memory_at_crash.store(bytes, Ordering::Relaxed);
    }

    /// The memory that the process said it had when it crashed; 0: it said nothing.
    pub fn memory_at_crash(&self) -> u64 {
        self.page().memory_at_crash.load(Ordering::Relaxed)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // SAFETY: what `map` mapped; nobody has a reference any more.
        let _ = unsafe { rustix::mm::munmap(self.page.as_ptr().cast(), size_of::<Page>()) };
    }
}

fn now() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000_000_000).saturating_add(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_see_the_same_page_and_none_can_take_it_away() {
        let engine = Control::new().unwrap();
        let process = Control::map(engine.descriptor().try_clone_to_owned().unwrap()).unwrap();
        assert!(!process.cancelled() && process.deadline().is_none());
        engine.set_cancelled(true);
        engine.set_deadline(Some(Duration::from_secs(3600)));
        process.set_memory_at_crash(7);
        assert!(process.cancelled());
        assert!(process.deadline().is_some_and(|left| left > Duration::from_secs(3000)));
        assert_eq!(engine.memory_at_crash(), 7);
        engine.set_deadline(Some(Duration::ZERO));
        assert_eq!(process.deadline(), Some(Duration::ZERO));
        assert!(rustix::fs::ftruncate(process.descriptor(), 0).is_err());
    }
}
