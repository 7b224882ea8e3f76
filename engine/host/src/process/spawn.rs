//! Starts the process of a module, and ends it.

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError, mpsc};
use std::time::Duration;

use engine_abi::message::Permissions;
use engine_abi::{Error, Result};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::{Pid, Resource, Signal};

use super::control::Control;
use super::output::{self, Output};

/// What a native module needs of the engine's environment to work at all: where
/// programs and certificates are, how to write times and texts. Everything else
/// may be a secret.
const ENVIRONMENT: [&str; 7] = ["PATH", "HOME", "LANG", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"];

/// The stack of a thread that does not say how large its own is to be, as Rust
/// has it. Stacks count as memory, and 8 MiB each would soon use it up.
const STACK_BYTES: u64 = 2 << 20;

/// What one side may have sent and the other not yet read: a batch or so.
const SOCKET_BYTES: usize = 1 << 20;

/// How long an ended process may take to be gone: it is in the kernel's hands.
const GONE: Duration = Duration::from_secs(1);

/// A process that runs, and the engine's end of its socket.
pub struct Started {
    pub process: Process,
    pub socket: OwnedFd,
}

/// Starts `program` as the process of a module.
pub fn start(
    program: &Path,
    module: &File,
    control: &Control,
    permissions: &Permissions,
    output: Output,
) -> Result<Started> {
    let failed = |error: std::io::Error| {
        Error::from(error)
            .context(format_args!("the process of an isolated module cannot be started from {}", program.display()))
    };
    let (socket, its_socket) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|error| failed(error.into()))?;
    for end in [&socket, &its_socket] {
        // As much as the system gives: what does not fit costs a wake-up more.
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(end, SOCKET_BYTES);
    }
    let inherited = [its_socket.as_raw_fd(), module.as_raw_fd(), control.descriptor().as_raw_fd()];
    let mut command = Command::new(program);
    command
        .arg0("engine")
        .arg("plugin-host")
        .args(inherited.map(|descriptor| descriptor.to_string()))
        .env_clear()
        .envs(environment(permissions))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let parent = rustix::process::getpid();
    // SAFETY: `prepare` makes system calls only, which a forked process may.
    unsafe { command.pre_exec(move || prepare(parent, inherited)) };
    let child = spawn(command).map_err(failed)?;
    Ok(Started { process: Process::watch(child, output)?, socket })
}

/// The environment of the process.
fn environment(permissions: &Permissions) -> Vec<(OsString, OsString)> {
    let kept = ENVIRONMENT.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    let granted = permissions.environment.iter().map(|(name, value)| (name.into(), value.into()));
    kept.chain(granted).collect()
}

/// Runs in the new process before the program does.
fn prepare(parent: Pid, inherited: [RawFd; 3]) -> std::io::Result<()> {
    // Its own session: what is sent to the engine's terminal does not reach it.
    rustix::process::setsid()?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    if rustix::process::getppid() != Some(parent) {
        // The engine has ended before it could be noticed.
        return Err(std::io::ErrorKind::NotConnected.into());
    }
    let stack = rustix::process::getrlimit(Resource::Stack);
    let bytes = stack.maximum.map_or(STACK_BYTES, |maximum| maximum.min(STACK_BYTES));
    let stack = rustix::process::Rlimit { current: Some(bytes), maximum: stack.maximum };
    rustix::process::setrlimit(Resource::Stack, stack)?;
    // Whatever else is open in the engine, by a module that forgot to say so, stays there.
    // SAFETY: close_range with this flag changes flags of descriptors, and closes none before the
    // program begins. An old kernel that does not know it leaves things as they are.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    for descriptor in inherited {
        // SAFETY: the caller of `spawn` holds them open until it returns.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
    }
    Ok(())
}

/// Starts a process from a thread that never ends: the kernel takes the end of
/// the thread that started a process for the end of its parent.
fn spawn(command: Command) -> std::io::Result<Child> {
    type Request = (Command, mpsc::SyncSender<std::io::Result<Child>>);
    static STARTER: OnceLock<Mutex<mpsc::Sender<Request>>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (sender, requests) = mpsc::channel::<Request>();
        // Without the thread every request fails, which is said there.
        let _ = std::thread::Builder::new().name("module-starter".into()).spawn(move || {
            for (mut command, answer) in requests {
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, started) = mpsc::sync_channel(1);
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    starter.lock().unwrap_or_else(PoisonError::into_inner).send((command, answer)).map_err(|_| gone())?;
    started.recv().map_err(|_| gone())?
}

/// A process of a module. It is ended when this is dropped.
pub struct Process {
    pid: Pid,
    end: Arc<End>,
}

/// How a process ended, once it has and is reaped.
#[derive(Default)]
struct End {
    status: Mutex<Option<ExitStatus>>,
    known: Condvar,
}

impl Process {
    /// Takes a new process over: a thread of its own forwards what it prints and reaps it.
    fn watch(mut child: Child, output: Output) -> Result<Self> {
        let failed = |error: std::io::Error| Error::from(error).context("the process of an isolated module");
        let pid = Pid::from_child(&child);
        let end = Arc::new(End::default());
        let process = Self { pid, end: Arc::clone(&end) };
        let (printed, errors) = (child.stdout.take(), child.stderr.take());
        let watching = std::thread::Builder::new().name("module-watch".into()).spawn(move || {
            output::forward(pid, printed, errors, output);
            end.reap(child);
        });
        watching.map_err(failed)?;
        Ok(process)
    }

    /// Ends it and its group at once, whatever it does.
    pub fn kill(&self) {
        let status = self.end.status.lock().unwrap_or_else(PoisonError::into_inner);
        // Once it is reaped, its number may be another's. Until then it is at least a zombie.
        if status.is_none() {
            let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
            let _ = rustix::process::kill_process(self.pid, Signal::KILL);
        }
    }

    /// How it ended, if it does so soon.
    pub fn wait(&self, limit: Duration) -> Option<ExitStatus> {
        let status = self.end.status.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.end.known.wait_timeout_while(status, limit, |status| status.is_none());
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Ends it, and waits until it is gone.
    pub fn end(&self) {
        self.kill();
        let _ = self.wait(GONE);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

impl End {
    fn reap(&self, mut child: Child) {
        let id = rustix::process::WaitId::Pid(Pid::from_child(&child));
        let ended = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        while matches!(rustix::process::waitid(id.clone(), ended), Err(rustix::io::Errno::INTR)) {}
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status = child.wait().ok();
        self.known.notify_all();
    }
}

/// A descriptor that becomes readable when a process ends.
pub fn end_of(pid: Pid) -> Option<OwnedFd> {
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

/// Makes a descriptor that was inherited stay in this process.
pub fn keep(descriptor: BorrowedFd<'_>) -> rustix::io::Result<()> {
    rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::CLOEXEC)
}
