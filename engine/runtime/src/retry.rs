//! The one place where attempts are counted.

use std::time::{Duration, Instant};

use engine_abi::{Error, ErrorKind};
use engine_spec::{Growth, OnExhausted, Retry};

/// What is left of the attempts of one outside operation.
#[derive(Debug)]
pub struct Budget {
    retry: Retry,
    failed: u32,
    since: Option<Instant>,
    random: u64,
    patient: bool,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Try again after this long.
    After(Duration),
    /// Trying again cannot help, or has been tried often enough.
    Spent,
}

/// The longest pause that the other side can ask for: no answer stops a pipeline for days.
const LONGEST_ASKED: Duration = Duration::from_secs(3600);

impl Budget {
    /// An unused budget.
    pub fn new(retry: &Retry) -> Self {
        let seed = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(1, |time| u64::from(time.subsec_nanos()));
        Self { retry: retry.clone(), failed: 0, since: None, random: seed | 1, patient: false }
    }

    /// The budget of a sink behind a push source: with `on_exhausted: wait`, it
    /// also waits for a person to mend a table or a password. Ending the engine
    /// would lose what senders send meanwhile.
    pub fn patient(retry: &Retry) -> Self {
        Self { patient: true, ..Self::new(retry) }
    }

    /// What happens once it is spent.
    pub fn on_exhausted(&self) -> OnExhausted {
        self.retry.on_exhausted
    }

    /// How many attempts have failed in a row.
    pub fn failed(&self) -> u32 {
        self.failed
    }

    /// An attempt got somewhere: the next failure is a first one again.
    pub fn succeeded(&mut self) {
        self.failed = 0;
        self.since = None;
    }

    /// An attempt failed.
    pub fn failed_with(&mut self, error: &Error) -> Next {
        self.failed = self.failed.saturating_add(1);
        let since = *self.since.get_or_insert_with(Instant::now);
        let waits = self.retry.on_exhausted == OnExhausted::Wait;
        if !error.kind.is_retryable() {
            let mendable = matches!(error.kind, ErrorKind::Config | ErrorKind::Denied);
            return if self.patient && waits && mendable { Next::After(self.retry.max) } else { Next::Spent };
        }
        let pause = self.pause(error);
        let late = self.retry.deadline.is_some_and(|deadline| since.elapsed() + pause > deadline);
        let spent = late || self.failed >= self.retry.attempts;
        if spent && !waits { Next::Spent } else { Next::After(pause) }
    }

    /// The backoff grows up to its maximum. Where it doubles, half of it is chance, so that
    /// many clients of a server that comes back do not come at once. What the
    /// other side asked for is a minimum.
    fn pause(&mut self, error: &Error) -> Duration {
        let asked = Duration::from_millis(error.retry_after_ms.unwrap_or(0)).min(LONGEST_ASKED);
        if self.retry.growth == Growth::Linear {
            return self.retry.backoff.saturating_mul(self.failed).min(self.retry.max).max(asked);
        }
        let doubled = self.retry.backoff.saturating_mul(1 << (self.failed - 1).min(20)).min(self.retry.max);
        // xorshift: no need for more than a spread.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let spread = doubled.mul_f64(0.5 + 0.5 * (self.random % 1024) as f64 / 1024.0);
        spread.max(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(attempts: u32, on_exhausted: OnExhausted) -> Retry {
        let (backoff, max) = (Duration::from_secs(2), Duration::from_secs(10));
        Retry { attempts, backoff, growth: Growth::Double, max, deadline: None, on_exhausted }
    }

    fn pauses(budget: &mut Budget, count: usize) -> Vec<Next> {
        (0..count).map(|_| budget.failed_with(&Error::unavailable("gone"))).collect()
    }

    #[test]
    fn attempts_include_the_first_and_the_backoff_doubles_up_to_its_maximum() {
        let mut budget = Budget::new(&retry(5, OnExhausted::Fail));
        let pauses = pauses(&mut budget, 5);
        for (next, most) in pauses.iter().zip([2, 4, 8, 10]) {
            let Next::After(pause) = next else { panic!("{pauses:?}") };
            assert!(*pause <= Duration::from_secs(most) && *pause >= Duration::from_secs(most) / 2, "{pauses:?}");
        }
        assert_eq!(pauses[4], Next::Spent);
    }

    #[test]
    fn linear_pauses_are_exact_and_have_the_same_maximum() {
        let mut budget = Budget::new(&Retry { growth: Growth::Linear, ..retry(9, OnExhausted::Fail) });
        let seconds = |next: &Next| match next {
            Next::After(pause) => pause.as_secs_f64(),
            Next::Spent => panic!("it is not spent"),
        };
        assert_eq!(
            pauses(&mut budget, 7).iter().map(seconds).collect::<Vec<_>>(),
            [2.0, 4.0, 6.0, 8.0, 10.0, 10.0, 10.0]
        );
    }

    #[test]
    fn waiting_never_ends_but_a_wrong_configuration_ends_at_once() {
        let mut budget = Budget::new(&retry(1, OnExhausted::Wait));
        assert!(pauses(&mut budget, 50).iter().all(|next| matches!(next, Next::After(_))));
        assert_eq!(budget.failed_with(&Error::config("no such table")), Next::Spent);
        assert_eq!(budget.failed_with(&Error::denied("wrong password")), Next::Spent);
        let mut patient = Budget::patient(&retry(1, OnExhausted::Wait));
        assert_eq!(patient.failed_with(&Error::denied("wrong password")), Next::After(Duration::from_secs(10)));
        assert_eq!(patient.failed_with(&Error::internal("a bug")), Next::Spent);
    }

    #[test]
    fn what_the_other_side_asks_for_is_kept() {
        let mut budget = Budget::new(&retry(5, OnExhausted::Fail));
        let asked = Error::rate_limited("slow down", Duration::from_secs(30));
        assert_eq!(budget.failed_with(&asked), Next::After(Duration::from_secs(30)));
        let down = Error { retry_after_ms: Some(40_000), ..Error::unavailable("down for maintenance") };
        assert_eq!(budget.failed_with(&down), Next::After(Duration::from_secs(40)));
        let for_ever = Error::rate_limited("slow down", Duration::MAX);
        assert_eq!(budget.failed_with(&for_ever), Next::After(LONGEST_ASKED));
    }

    #[test]
    fn an_attempt_that_gets_somewhere_gives_the_budget_back() {
        let mut budget = Budget::new(&retry(2, OnExhausted::Fail));
        pauses(&mut budget, 1);
        budget.succeeded();
        assert!(matches!(pauses(&mut budget, 1)[0], Next::After(_)));
    }
}
