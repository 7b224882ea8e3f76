//! The engine as a process.

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::process::{Pid, Signal, kill_process};

use crate::report::Report;
use crate::wait::{in_time, until_some};

/// An engine at work. Dropped, it is killed.
pub struct Engine {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    readers: Option<(JoinHandle<String>, JoinHandle<()>)>,
    peak: Arc<Mutex<u64>>,
}

/// How an engine ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The exit code; none after a signal.
    pub code: Option<i32>,
    /// Everything it printed.
    pub stdout: String,
    /// Everything it logged.
    pub stderr: String,
    /// The most memory it ever held, in KiB.
    pub peak_kib: u64,
}

impl Ended {
    /// Its report.
    #[track_caller]
    pub fn report(&self) -> Report {
        Report::of(&self.stdout)
    }

    /// Itself, if it ended with this code.
    ///
    /// # Panics
    /// When it ended with another.
    #[track_caller]
    pub fn with_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout:\n{}\nstderr:\n{}", self.stdout, self.stderr);
        self
    }

    /// Fails unless it logged all of these texts.
    ///
    /// # Panics
    /// When one is missing.
    #[track_caller]
    pub fn says(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not in\n{}", self.stderr);
        }
    }
}

impl Engine {
    /// Starts `command`.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut stdout = child.stdout.take().expect("it is piped");
        let stderr = child.stderr.take().expect("it is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let lines = Arc::clone(&log);
        let printed = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stdout.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        });
        let logged = std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Self { child, log, readers: Some((printed, logged)), peak: Arc::default() }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until it has logged a line that holds `text`, and answers with it.
    ///
    /// # Panics
    /// When it does not, or ends before.
    #[track_caller]
    pub fn logs(&mut self, text: &str) -> String {
        let found = in_time(|| {
            let ended = !self.runs();
            let found = self.log().into_iter().find(|line| line.contains(text));
            (ended || found.is_some()).then_some(found)
        });
        found.flatten().unwrap_or_else(|| panic!("it does not log {text:?}:\n{}", self.log().join("\n")))
    }

    /// Where it listens, once it does; none when it ends before.
    pub fn address(&mut self) -> Option<SocketAddr> {
        until_some("the engine listens", || {
            let ended = !self.runs();
            let found = self.log().iter().find_map(|line| {
                let (_, address) = line.split_once("listening on ")?;
                address.split_whitespace().next()?.parse().ok()
            });
            (ended || found.is_some()).then_some(found)
        })
    }

    /// Whether it has not ended.
    pub fn runs(&mut self) -> bool {
        self.remember_peak();
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it without warning.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    /// Has it look at its files again, as an init system does.
    pub fn hang_up(&mut self) {
        self.signal(Signal::HUP);
    }

    /// Asks it to end, as an init system does.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    fn signal(&mut self, signal: Signal) {
        self.remember_peak();
        // Not once it was waited for: its number may be another's by now.
        if let (Ok(None), Some(pid)) = (self.child.try_wait(), Pid::from_raw(self.id() as i32)) {
            let _ = kill_process(pid, signal);
        }
    }

    /// The most memory it has held, in KiB.
    fn remember_peak(&self) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
        let mut known = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        *known = peak.max(*known);
    }

    /// Waits until it ends.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait(mut self) -> Ended {
        let ended = in_time(|| (!self.runs()).then_some(()));
        assert!(ended.is_some(), "it does not end:\n{}", self.log().join("\n"));
        let status: ExitStatus = self.child.wait().expect("it has ended");
        let (printed, logged) = self.readers.take().expect("waited for once");
        let stdout = printed.join().expect("a reader does not panic");
        logged.join().expect("a reader does not panic");
        let peak_kib = *self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        Ended { code: status.code(), stdout, stderr: self.log().join("\n"), peak_kib }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
