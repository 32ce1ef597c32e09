//! How long and how often a transaction that meets conflicts is tried again.

use std::time::{Duration, Instant};

use crate::error::StoreError;

/// The bounds of `transact`'s and `read`'s retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOptions {
    /// From the first attempt on; after it the caller gets [`StoreError::Contended`]. Default 5 s.
    pub deadline: Duration,
    /// Most attempts, the first included. Default 100, which the pauses leave no time for within the default deadline.
    pub attempts_max: u32,
    /// The longest first pause; it doubles with each attempt. Default 2 ms, about half an fsync.
    pub backoff_initial: Duration,
    /// The longest pause. Default 250 ms.
    pub backoff_max: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
            attempts_max: 100,
            backoff_initial: Duration::from_millis(2),
            backoff_max: Duration::from_millis(250),
        }
    }
}

/// Counts one transaction's attempts and spaces them.
pub(crate) struct Attempts<'a> {
    options: &'a RetryOptions,
    name: &'static str,
    started: Instant,
    made: u32,
    pause_max: Duration,
    /// Whether the outcome of any of them is unknown. `FoundationDB`'s own `maybe_committed` tells of the last only,
    /// and an unknown commit may be followed by a conflict.
    unknown: bool,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(name: &'static str, options: &'a RetryOptions) -> Self {
        let (started, pause_max) = (Instant::now(), options.backoff_initial);
        Self { options, name, started, made: 0, pause_max, unknown: false }
    }

    /// Whether an earlier attempt may have taken effect.
    pub(crate) fn may_have_committed(&self) -> bool {
        self.unknown
    }

    /// Notes that an attempt failed in a way that another may not, and waits before it, or answers why there is none
    /// when the deadline would pass meanwhile.
    pub(crate) async fn pause(&mut self, error: StoreError) -> Result<(), StoreError> {
        self.made = self.made.saturating_add(1);
        self.unknown |= matches!(error, StoreError::CommitUnknown);
        // Anything between nothing and the bound ("full jitter"), so that those who collided once do not
        // collide again in step.
        let pause = self.pause_max.mul_f64(rand::random::<f64>());
        if self.made >= self.options.attempts_max || self.started.elapsed() + pause >= self.options.deadline {
            return Err(self.given_up(error));
        }
        tokio::time::sleep(pause).await;
        self.pause_max = (self.pause_max * 2).min(self.options.backoff_max);
        Ok(())
    }

    fn given_up(&self, error: StoreError) -> StoreError {
        let (name, attempts) = (self.name, self.made);
        self.last(match error {
            StoreError::Busy { reason } => {
                let reason = format!("{reason}; transaction `{name}` gave up after {attempts} attempts");
                StoreError::Unavailable { reason }
            }
            // Nobody was in its way: it, or the store under it, is too slow.
            StoreError::TooOld => {
                let reason = format!(
                    "transaction `{name}` was still reading when the time of a transaction was over, in {attempts} \
                     attempts: the metadata answers too slowly"
                );
                StoreError::Unavailable { reason }
            }
            _ => StoreError::Contended { name, attempts },
        })
    }

    /// What the caller is told in the end. Errors that say that nothing was written do so of their own attempt only.
    pub(crate) fn last(&self, error: StoreError) -> StoreError {
        match error {
            StoreError::Contended { .. } | StoreError::Unavailable { .. } | StoreError::Closed
                if self.unknown =>
            {
                StoreError::CommitUnknown
            }
            error => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempts(options: &RetryOptions) -> Attempts<'_> {
        Attempts::new("test", options)
    }

    #[tokio::test]
    async fn what_took_too_long_is_not_said_to_be_in_others_way() {
        let options = RetryOptions { attempts_max: 1, ..RetryOptions::default() };
        let given_up = attempts(&options).pause(StoreError::TooOld).await;
        let Err(StoreError::Unavailable { reason }) = given_up else { panic!("{given_up:?}") };
        assert!(reason.contains("`test`") && reason.contains("too slowly"), "{reason}");
    }

    #[tokio::test]
    async fn the_last_attempt_is_not_waited_for() {
        let options = RetryOptions { attempts_max: 2, ..RetryOptions::default() };
        let mut attempts = attempts(&options);
        attempts.pause(StoreError::Conflict).await.expect("one more");
        let given_up = attempts.pause(StoreError::Conflict).await;
        assert!(matches!(given_up, Err(StoreError::Contended { name: "test", attempts: 2 })), "{given_up:?}");
    }

    #[tokio::test]
    async fn an_unknown_outcome_stays_unknown_after_a_conflict() {
        let options = RetryOptions { attempts_max: 2, ..RetryOptions::default() };
        let mut attempts = attempts(&options);
        assert!(!attempts.may_have_committed());
        attempts.pause(StoreError::CommitUnknown).await.expect("one more");
        assert!(attempts.may_have_committed());
        assert!(matches!(attempts.pause(StoreError::Conflict).await, Err(StoreError::CommitUnknown)));
        assert!(matches!(attempts.last(StoreError::Closed), StoreError::CommitUnknown));
        assert!(
            matches!(attempts.last(StoreError::ReadOnly), StoreError::ReadOnly),
            "the function's own error"
        );
    }

    #[tokio::test]
    async fn a_busy_store_is_named_as_such() {
        let options = RetryOptions { deadline: Duration::ZERO, ..RetryOptions::default() };
        let busy = StoreError::Busy { reason: "recovering".to_owned() };
        match attempts(&options).pause(busy).await {
            Err(StoreError::Unavailable { reason }) => {
                assert!(reason.starts_with("recovering; "), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }
}
