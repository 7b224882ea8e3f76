//! What is said of a module's process that did not do what it should.

use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use engine_abi::message::Limits;
use engine_abi::{ComponentKind, Error, ErrorKind};

use super::clock::{GRACE, Limit};

/// The exit code of a process that cannot reach the engine any more.
pub const LEFT: i32 = 113;

/// Whose process it is.
#[derive(Debug, Clone)]
pub struct Who {
    component: Option<(ComponentKind, String)>,
    module: PathBuf,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some((kind, name)) = &self.component {
            write!(f, "{kind} `{name}` of ")?;
        }
        write!(f, "module {}", self.module.display())
    }
}

/// What is known of the memory of a process that has ended.
pub struct Memory {
    /// What it had when it crashed, without what it had before its module; 0: unknown.
    pub at_crash: u64,
    /// It said itself that it could get no more.
    pub ran_out: bool,
}

const MEBIBYTE: u64 = 1 << 20;

impl Who {
    pub fn component(kind: ComponentKind, name: &str, module: &Path) -> Self {
        Self { component: Some((kind, name.to_owned())), module: module.to_owned() }
    }

    pub fn module(module: &Path) -> Self {
        Self { component: None, module: module.to_owned() }
    }

    /// It has used up its time.
    pub fn over(&self, call: &str, limit: Limit, limits: &Limits) -> Error {
        match limit {
            Limit::Deadline => {
                let limit = Duration::from_millis(limits.deadline_ms);
                Error::unavailable(format!("{self} did not answer `{call}` within {limit:?} and was ended"))
                    .hint("if it needs longer, raise `limits: {deadline: …}` of its stage")
            }
            Limit::Grace => Error::new(
                ErrorKind::Cancelled,
                format!("{self} went on with `{call}` for {GRACE:?} after it was asked to stop, and was ended"),
            ),
        }
    }

    /// It has ended by itself, or was ended by the system. Another attempt gets
    /// another process, so this is no reason to give up at once.
    pub fn ended(&self, call: &str, status: ExitStatus, limits: &Limits, memory: &Memory) -> Error {
        let (cap, had) = (limits.memory_bytes / MEBIBYTE, memory.at_crash / MEBIBYTE);
        if memory.ran_out || memory.at_crash >= limits.memory_bytes.max(1) {
            return Error::unavailable(format!("{self} ran out of its {cap} MiB of memory in `{call}` and was ended"))
                .hint("if it needs more, raise `limits: {memory: …}` of its stage");
        }
        if status.code() == Some(LEFT) {
            return self.hung_up(call);
        }
        let how = match (status.signal(), status.code()) {
            (Some(signal), _) => match describe_signal(signal) {
                Some((name, meaning)) => format!("crashed in `{call}`: {name}, {meaning}"),
                None => format!("crashed in `{call}`: signal {signal}"),
            },
            (None, code) => {
                format!("ended its process in `{call}`, with the exit code {}", code.unwrap_or_default())
            }
        };
        let memory = match memory.at_crash {
            0 => String::new(),
            _ => format!("; it had {had} of its {cap} MiB of memory then"),
        };
        Error::unavailable(format!("{self} {how}")).hint(format!(
            "this is a bug in the module; report it to its author with this message and what the log has of it{memory}"
        ))
    }

    /// It still runs, and has closed its socket.
    pub fn hung_up(&self, call: &str) -> Error {
        Error::unavailable(format!("{self} closed its connection to the engine in `{call}` and was ended"))
            .hint("this is a bug in the module: it closes files that are not its own; report it to its author")
    }
}

fn describe_signal(signal: i32) -> Option<(&'static str, &'static str)> {
    Some(match signal {
        libc::SIGSEGV => ("SIGSEGV", "a pointer that leads nowhere, or a stack that is too deep"),
        libc::SIGBUS => ("SIGBUS", "memory that is not there, such as that of a file that became shorter"),
        libc::SIGABRT => ("SIGABRT", "it gave up by itself"),
        libc::SIGILL => ("SIGILL", "an instruction that this processor does not have"),
        libc::SIGFPE => ("SIGFPE", "a calculation without a result"),
        libc::SIGTRAP => ("SIGTRAP", "a trap of its own"),
        libc::SIGSYS => ("SIGSYS", "a system call that it may not make"),
        libc::SIGPIPE => ("SIGPIPE", "it wrote to somebody who is gone"),
        libc::SIGTERM => ("SIGTERM", "it was told to end"),
        libc::SIGKILL => ("SIGKILL", "it was ended from outside, perhaps because the machine ran out of memory"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { memory_bytes: 256 << 20, deadline_ms: 30_000 };

    fn said(wait_status: i32, at_crash: u64, ran_out: bool) -> String {
        let who = Who::component(ComponentKind::Sink, "x", Path::new("/p/libx.so"));
        who.ended("write", ExitStatus::from_raw(wait_status), &LIMITS, &Memory { at_crash, ran_out }).to_string()
    }

    #[test]
    fn an_end_says_who_where_and_how() {
        let signal = said(libc::SIGSEGV, 100 << 20, false);
        let begin = "sink `x` of module /p/libx.so crashed in `write`: SIGSEGV, a pointer that leads nowhere, or";
        assert!(signal.starts_with(begin), "{signal}");
        assert!(signal.ends_with("; it had 100 of its 256 MiB of memory then"), "{signal}");
        let exit = said(3 << 8, 0, false);
        assert!(exit.starts_with("sink `x` of module /p/libx.so ended its process in `write`, with the exit code 3\n"));
        assert!(said(64, 0, false).contains("crashed in `write`: signal 64\n"));
    }

    #[test]
    fn who_ran_out_of_memory_is_told_so_and_not_that_it_crashed() {
        for said in [said(libc::SIGABRT, 0, true), said(libc::SIGSEGV, 300 << 20, false)] {
            assert_eq!(
                said,
                "sink `x` of module /p/libx.so ran out of its 256 MiB of memory in `write` and was ended\n  \
                 help: if it needs more, raise `limits: {memory: …}` of its stage"
            );
        }
    }

    #[test]
    fn a_deadline_says_how_long_it_was_and_how_to_raise_it() {
        let error = Who::module(Path::new("/p/libx.so")).over("check", Limit::Deadline, &LIMITS);
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert_eq!(
            error.to_string(),
            "module /p/libx.so did not answer `check` within 30s and was ended\n  \
             help: if it needs longer, raise `limits: {deadline: …}` of its stage"
        );
    }
}
