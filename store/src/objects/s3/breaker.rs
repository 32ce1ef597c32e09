//! The circuit breaker: a server that does not answer is left alone for a while, so that those who ask for it hear
//! so at once, and it is not met by a crowd when it comes back.
//!
//! Closed, everything goes through, and failed attempts in a row are counted. At the limit it opens: nothing goes
//! through until the pause is over. Then it is half open: one attempt goes through, and its outcome closes the
//! breaker or opens it again. Pure: the clock is passed in.

use std::time::{Duration, Instant};

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
    /// One attempt is under way since this moment.
    HalfOpen { since: Instant },
}

impl State {
    /// As the gauge shows it.
    pub(super) fn number(self) -> u8 {
        match self {
            Self::Closed { .. } => 0,
            Self::HalfOpen { .. } => 1,
            Self::Open { .. } => 2,
        }
    }
}

impl Breaker {
    pub(super) fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, state: State::Closed { failures: 0 } }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// How long nothing is asked of the server from `now` on, if so. Looks only.
    pub(super) fn closed_for(&self, now: Instant) -> Option<Duration> {
        let until = match self.state {
            State::Closed { .. } => return None,
            State::Open { until } => until,
            // One whose outcome never came (its asker went away) does not hold up the others for ever.
            State::HalfOpen { since } => since + self.pause,
        };
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Whether an attempt may be made now, else how long none may. Who gets leave after a pause is the one who
    /// tries for all.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        if let Some(left) = self.closed_for(now) {
            return Err(left);
        }
        if !matches!(self.state, State::Closed { .. }) {
            self.state = State::HalfOpen { since: now };
        }
        Ok(())
    }

    /// An attempt was answered. Also one that was made before the breaker opened tells that the server is back.
    pub(super) fn succeeded(&mut self) {
        self.state = State::Closed { failures: 0 };
    }

    /// An attempt came to nothing. Returns whether that opened the breaker.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let failures = match self.state {
            State::Closed { failures } => failures + 1,
            State::HalfOpen { .. } => self.failures_max,
            // Of an attempt from before: it says nothing new.
            State::Open { .. } => return false,
        };
        let opens = failures >= self.failures_max;
        self.state = if opens { State::Open { until: now + self.pause } } else { State::Closed { failures } };
        opens
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
        assert_eq!(breaker.admit(now), Ok(()));
        assert_eq!(opened(now).admit(now), Err(PAUSE));
    }

    #[test]
    fn one_tries_for_all_after_the_pause() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert_eq!(breaker.closed_for(now + PAUSE / 2), Some(PAUSE / 2));
        let later = now + PAUSE;
        assert_eq!(breaker.closed_for(later), None);
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.state().number(), 1);
        assert_eq!(breaker.admit(later), Err(PAUSE), "the others wait for the outcome");
        breaker.succeeded();
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.state(), State::Closed { failures: 0 });
    }

    #[test]
    fn a_trial_that_fails_opens_it_again() {
        let now = Instant::now();
        let mut breaker = opened(now);
        let later = now + PAUSE;
        breaker.admit(later).unwrap();
        assert!(breaker.failed(later));
        assert_eq!(breaker.admit(later), Err(PAUSE));
    }

    #[test]
    fn late_failures_prolong_nothing_and_late_successes_close_it() {
        let now = Instant::now();
        let mut breaker = opened(now);
        assert!(!breaker.failed(now + PAUSE / 2));
        assert_eq!(breaker.closed_for(now + PAUSE / 2), Some(PAUSE / 2));
        breaker.succeeded();
        assert_eq!(breaker.admit(now), Ok(()));
    }

    #[test]
    fn a_trial_without_an_outcome_is_followed_by_another() {
        let now = Instant::now();
        let mut breaker = opened(now);
        breaker.admit(now + PAUSE).unwrap();
        assert_eq!(breaker.admit(now + 2 * PAUSE), Ok(()));
    }
}
