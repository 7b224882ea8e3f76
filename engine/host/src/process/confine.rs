//! What a module's process does to itself before it runs anything of the module.

use std::io::Read;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, Ordering};

use engine_abi::{Error, Result};
use rustix::process::{Resource, Rlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::control::Control;

/// Open files and sockets.
const DESCRIPTORS: u64 = 4096;

/// What the process itself needs beside its module: batches on their way in both
/// directions, and the stacks of its threads.
const OWN_BYTES: u64 = 64 << 20;

/// Makes it the first to go when the machine runs out of memory.
const OUT_OF_MEMORY_SCORE: &str = "500";

/// Restricts this process. Must be called while it has one thread.
pub fn confine() -> Result<()> {
    let failed = |what: &str, error: std::io::Error| {
        Error::from(error).context(format_args!("the process of an isolated module cannot be restricted: {what}"))
    };
    ignore_requests_to_stop();
    limit(Resource::Core, 0).map_err(|error| failed("core dumps", error))?;
    limit(Resource::Nofile, DESCRIPTORS).map_err(|error| failed("open files", error))?;
    // A courtesy only, which some systems do not allow.
    let _ = std::fs::write("/proc/self/oom_score_adj", OUT_OF_MEMORY_SCORE);
    rustix::thread::set_no_new_privs(true).map_err(|error| failed("privileges", error.into()))?;
    refuse_processes().map_err(|error| failed("new processes", std::io::Error::other(error)))
}

/// Whoever stops the engine may tell all its processes to stop. The engine then
/// drains, and needs this one until it says otherwise.
fn ignore_requests_to_stop() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        // SAFETY: sets the action of a signal to one of the system's own.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// Caps the memory from now on: what there is already, what the process needs, and `bytes`.
///
/// It is the data that is capped, not the address space: libraries, reserved but
/// untouched arenas of the allocator and memory shared with the engine cost nothing.
pub fn cap_memory(bytes: u64) -> Result<()> {
    let cap = data_bytes().unwrap_or(0).saturating_add(OWN_BYTES).saturating_add(bytes);
    limit(Resource::Data, cap)
        .map_err(|error| Error::from(error).context("the memory of an isolated module cannot be capped"))
}

/// Sets a limit, or leaves it where it is lower already.
fn limit(resource: Resource, value: u64) -> std::io::Result<()> {
    let present = rustix::process::getrlimit(resource);
    let value = Some(present.maximum.map_or(value, |maximum| maximum.min(value)));
    Ok(rustix::process::setrlimit(resource, Rlimit { current: value, maximum: value })?)
}

/// New threads are made as ever, new processes not at all: nothing can be left
/// behind that way, nor multiply.
fn refuse_processes() -> Result<(), seccompiler::Error> {
    const CLONE_THREAD: u64 = libc::CLONE_THREAD as u64;
    let no_thread = || {
        let condition = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(CLONE_THREAD), 0)?;
        SeccompRule::new(vec![condition])
    };
    let mut processes = vec![(libc::SYS_clone, vec![no_thread()?])];
    // Its flags lie in memory, where no filter sees them: without it, libraries fall back to `clone`.
    let mut unreadable = vec![(libc::SYS_clone3, vec![])];
    #[cfg(target_arch = "x86_64")]
    {
        /// The other set of system calls that such a process may use.
        const X32: i64 = 0x4000_0000;
        processes.extend([(libc::SYS_fork, vec![]), (libc::SYS_vfork, vec![])]);
        processes.extend([libc::SYS_clone, libc::SYS_fork, libc::SYS_vfork].map(|call| (call | X32, vec![])));
        unreadable.push((libc::SYS_clone3 | X32, vec![]));
    }
    for (calls, error) in [(processes, libc::EPERM), (unreadable, libc::ENOSYS)] {
        let refused = SeccompAction::Errno(error.cast_unsigned());
        let target = std::env::consts::ARCH.try_into()?;
        let filter = SeccompFilter::new(calls.into_iter().collect(), SeccompAction::Allow, refused, target)?;
        let program: BpfProgram = filter.try_into()?;
        seccompiler::apply_filter(&program)?;
    }
    Ok(())
}

/// The memory that counts towards the cap.
fn data_bytes() -> Option<u64> {
    let mut text = [0; 128];
    let read = std::fs::File::open("/proc/self/statm").and_then(|mut file| file.read(&mut text)).ok()?;
    // Size, resident, shared, text, libraries and data, in pages. Read without an allocation: see `crashed`.
    let data = text.get(..read)?.split(|byte| *byte == b' ').nth(5)?;
    let pages = data
        .iter()
        .take_while(|byte| byte.is_ascii_digit())
        .fold(0, |number: u64, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')));
    Some(pages.saturating_mul(rustix::param::page_size() as u64))
}

/// What `crashed` tells; never freed.
static CONTROL: AtomicPtr<Control> = AtomicPtr::new(std::ptr::null_mut());

/// The data that the process had before its module.
static BEFORE: OnceLock<u64> = OnceLock::new();

/// From now on a crash leaves a note of the memory that the process had: a
/// failed allocation ends in one more often than in an error.
pub fn note_crashes(control: &'static Control) {
    let _ = BEFORE.set(data_bytes().unwrap_or(0));
    CONTROL.store(std::ptr::from_ref(control).cast_mut(), Ordering::Release);
    for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT] {
        // SAFETY: all-zero is a valid `sigaction`, which is then filled in; `crashed` makes system
        // calls and touches memory that was there before. After it the default action is in place:
        // the instruction that failed fails again, `abort` raises its signal again.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = crashed as *const () as usize;
            action.sa_flags = libc::SA_RESETHAND | libc::SA_ONSTACK;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

extern "C" fn crashed(_signal: i32) {
    // SAFETY: NULL or what `note_crashes` was given for ever.
    let control = unsafe { CONTROL.load(Ordering::Acquire).as_ref() };
    let before = BEFORE.get().copied().unwrap_or(0);
    if let (Some(control), Some(data)) = (control, data_bytes()) {
        control.set_memory_at_crash(data.saturating_sub(before));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_of_this_process_is_found() {
        let before = data_bytes().unwrap();
        assert!(before > 64 * 1024, "{before}");
        let more = vec![1_u8; 64 << 20];
        assert!(data_bytes().unwrap() >= before + more.len() as u64 / 2);
    }
}
