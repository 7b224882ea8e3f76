//! How long the engine waits for a module's process.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;

use super::socket::Broken;

/// How often somebody who waits looks whether to stop.
const LOOK: Duration = Duration::from_millis(20);

/// How long a process may take to stop once the engine has asked it to.
pub const GRACE: Duration = Duration::from_secs(2);

/// What a process has used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The time of a call.
    Deadline,
    /// The time to stop.
    Grace,
}

/// The time that the engine has waited for a process in one call: what the engine
/// itself takes in between, to make its input or to keep what it gave, is not in it.
#[derive(Debug)]
pub struct Clock {
    limit: Option<Duration>,
    waited: Duration,
    /// Of that, the time since the engine has asked it to stop.
    stopping: Option<Duration>,
}

impl Clock {
    pub fn new(limit: Option<Duration>) -> Self {
        Self { limit, waited: Duration::ZERO, stopping: None }
    }

    /// What the process has used up of the time of its call.
    pub fn waited(&self) -> Duration {
        self.waited
    }

    /// The process has shown that it is at work.
    pub fn restart(&mut self) {
        self.waited = Duration::ZERO;
    }

    /// Says whether the engine asks to stop.
    pub fn set_stopping(&mut self, stopping: bool) {
        self.stopping = stopping.then(|| self.stopping.unwrap_or_default());
    }

    /// Waits until the socket is ready, or until it is time to look around.
    pub fn wait(&mut self, socket: BorrowedFd<'_>, ready: PollFlags) -> Result<(), Broken> {
        let left = self.limit.map_or(LOOK, |limit| limit.saturating_sub(self.waited).min(LOOK));
        let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(left.subsec_nanos()) };
        let began = Instant::now();
        match poll(&mut [PollFd::new(&socket, ready)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Broken::Error(std::io::Error::from(error).into())),
        }
        self.spend(began.elapsed())
    }

    /// Counts time that the process has kept the engine busy for nothing but itself.
    pub fn spend(&mut self, time: Duration) -> Result<(), Broken> {
        self.waited += time;
        if let Some(stopping) = &mut self.stopping {
            *stopping += time;
        }
        match (self.limit, self.stopping) {
            (_, Some(stopping)) if stopping >= GRACE => Err(Broken::Over(Limit::Grace)),
            (Some(limit), _) if self.waited >= limit => Err(Broken::Over(Limit::Deadline)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    fn wait_for_nothing(clock: &mut Clock) -> Broken {
        let (silent, _other) = std::os::unix::net::UnixStream::pair().unwrap();
        loop {
            if let Err(broken) = clock.wait(silent.as_fd(), PollFlags::IN) {
                return broken;
            }
        }
    }

    #[test]
    fn only_waiting_counts_and_work_begins_it_anew() {
        let mut clock = Clock::new(Some(Duration::from_millis(60)));
        assert!(matches!(wait_for_nothing(&mut clock), Broken::Over(Limit::Deadline)));
        assert!(clock.waited >= Duration::from_millis(60));
        clock.restart();
        assert_eq!(clock.waited, Duration::ZERO);
    }

    #[test]
    fn who_was_asked_to_stop_has_little_time_whatever_the_limit() {
        let mut clock = Clock::new(None);
        clock.set_stopping(true);
        clock.stopping = Some(GRACE - Duration::from_millis(30));
        clock.set_stopping(true);
        assert!(matches!(wait_for_nothing(&mut clock), Broken::Over(Limit::Grace)));
        clock.set_stopping(false);
        assert_eq!(clock.stopping, None);
    }

    #[test]
    fn a_process_that_keeps_the_engine_busy_uses_up_its_time_without_a_wait() {
        let mut clock = Clock::new(Some(Duration::from_millis(60)));
        assert!(clock.spend(Duration::from_millis(59)).is_ok());
        assert!(matches!(clock.spend(Duration::from_millis(1)), Err(Broken::Over(Limit::Deadline))));
        let mut clock = Clock::new(None);
        clock.set_stopping(true);
        assert!(matches!(clock.spend(GRACE), Err(Broken::Over(Limit::Grace))));
    }
}
