//! The circuit breaker: a server that does not answer is left alone for a while, so that those who ask for it hear
//! so at once, and it is not met by a crowd when it comes back.
//!
//! Closed, everything goes through, and failed attempts in a row are counted. At the limit it opens: nothing goes
//! through until the pause is over. Then it is half open: one attempt, the trial, goes through; whoever comes
//! meanwhile waits for its outcome, which closes the breaker or opens it again. Pure: the clock is passed in.

use std::time::Duration;

use tokio::time::Instant;

/// See the module.
#[derive(Debug)]
pub(super) struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The server answers, but for so many attempts in a row.
    Closed { failures: u32 },
    /// Nothing is asked of it before this moment.
    Open { until: Instant },
    /// The trial is under way.
    HalfOpen,
}

impl State {
    /// As the gauge shows it.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Closed { .. } => 0,
            Self::HalfOpen => 1,
            Self::Open { .. } => 2,
        }
    }
}

/// What is said to who wants to make an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Make it.
    Granted,
    /// Make it for all: it is the trial, and must be told of its end.
    Trial,
    /// A trial is under way: ask again when it has ended.
    Wait,
    /// Nobody may for so long.
    Refused(Duration),
}

impl Breaker {
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, state: State::Closed { failures: 0 } }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// How long nothing is asked of the server from `now` on, if so. Looks only.
    pub(super) fn open_for(&self, now: Instant) -> Option<Duration> {
        let State::Open { until } = self.state else { return None };
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Whether an attempt may be made now. Who comes first after a pause makes the trial.
    pub(super) fn admit(&mut self, now: Instant) -> Leave {
        match self.state {
            State::Closed { .. } => Leave::Granted,
            State::HalfOpen => Leave::Wait,
            State::Open { .. } => {
                if let Some(left) = self.open_for(now) {
                    return Leave::Refused(left);
                }
                self.state = State::HalfOpen;
                Leave::Trial
            }
        }
    }

    /// An attempt was answered. Also one that was made before the breaker opened tells that the server is back.
    pub(super) fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// An attempt came to nothing that was not the trial. Returns whether that opened the breaker.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        // Where it is not closed, the attempt is from before, and says nothing new.
        let State::Closed { failures } = self.state else { return false };
        let failures = failures + 1;
        if failures >= self.failures_max {
            return self.open(now);
        }
        self.state = State::Closed { failures };
        false
    }

    /// The trial came to nothing. Returns whether that opened the breaker.
    pub(super) fn trial_failed(&mut self, now: Instant) -> bool {
        match self.state {
            State::HalfOpen => self.open(now),
            // An attempt from before was answered meanwhile: then this is one failure among others.
            State::Closed { .. } | State::Open { .. } => self.failed(now),
        }
    }

    /// Whoever made the trial went away before its end: another may be made at once.
    pub(super) fn trial_abandoned(&mut self, now: Instant) {
        if self.state == State::HalfOpen {
            self.state = State::Open { until: now };
        }
    }

    fn open(&mut self, now: Instant) -> bool {
        self.state = State::Open { until: now + self.pause };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAUSE: Duration = Duration::from_secs(5);

    fn opened(now: Instant) -> Breaker {
        let mut breaker = Breaker::new(3, PAUSE);
        assert!(!breaker.failed(now) && !breaker.failed(now));
        assert!(breaker.failed(now));
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(3, PAUSE);
        for _ in 0..10 {
            assert!(!breaker.failed(now) && !breaker.failed(now));
            breaker.succeeded();
        }
        assert_eq!(breaker.admit(now), Leave::Granted);
        assert_eq!(opened(now).admit(now), Leave::Refused(PAUSE));
    }

    #[test]
    fn one_tries_for_all_after_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.open_for(now + PAUSE / 2), Some(PAUSE / 2));
        let later = now + PAUSE;
        assert_eq!(breaker.open_for(later), None);
        assert_eq!(breaker.admit(later), Leave::Trial);
        assert_eq!(breaker.state().number(), 1);
        assert_eq!(breaker.admit(later + 10 * PAUSE), Leave::Wait, "for as long as the trial takes");
        breaker.succeeded();
        assert_eq!(breaker.admit(later), Leave::Granted);
        assert_eq!(breaker.state(), State::Closed { failures: 0 });
    }

    #[test]
    fn a_trial_that_fails_opens_it_again() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + PAUSE;
        assert_eq!(breaker.admit(later), Leave::Trial);
        assert!(breaker.trial_failed(later));
        assert_eq!(breaker.admit(later), Leave::Refused(PAUSE));
    }

    #[test]
    fn late_failures_prolong_nothing_and_late_successes_close_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.failed(now + PAUSE / 2));
        assert_eq!(breaker.open_for(now + PAUSE / 2), Some(PAUSE / 2));
        assert_eq!(breaker.admit(now + PAUSE), Leave::Trial);
        assert!(!breaker.failed(now + PAUSE), "it is no trial");
        assert_eq!(breaker.state(), State::HalfOpen);
        breaker.succeeded();
        assert!(!breaker.trial_failed(now + PAUSE), "one failure after a success");
        assert_eq!(breaker.state(), State::Closed { failures: 1 });
    }

    #[test]
    fn a_trial_without_an_outcome_is_followed_by_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.admit(now + PAUSE), Leave::Trial);
        breaker.trial_abandoned(now + PAUSE);
        assert_eq!(breaker.admit(now + PAUSE), Leave::Trial);
        breaker.succeeded();
        breaker.trial_abandoned(now + PAUSE);
        assert_eq!(breaker.admit(now + PAUSE), Leave::Granted, "it has ended otherwise");
    }
}
