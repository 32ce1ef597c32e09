//! How long and how often a transaction that meets conflicts is tried again.

use std::time::{Duration, Instant};

use crate::error::StoreError;

/// The bounds of `transact`'s and `read`'s retries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryOptions {
    /// From the first attempt on; after it the caller gets [`StoreError::Contended`]. Default 5 s.
    pub deadline: Duration,
    /// The longest first pause; it doubles with each attempt. Default 2 ms, about half an fsync.
    pub backoff_initial: Duration,
    /// The longest pause. Default 250 ms.
    pub backoff_max: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(5),
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
    /// Whether the outcome of an attempt's commit is unknown: then it may have taken effect, whatever followed.
    unknown: bool,
    pause_max: Duration,
}

impl<'a> Attempts<'a> {
    pub(crate) fn new(name: &'static str, options: &'a RetryOptions) -> Self {
        Self {
            options,
            name,
            started: Instant::now(),
            made: 0,
            unknown: false,
            pause_max: options.backoff_initial,
        }
    }

    /// Notes that an attempt failed with `error` in a way that another may not, and waits before it, or answers
    /// `Contended` when the deadline would pass meanwhile: `CommitUnknown` if one of them may have been committed.
    pub(crate) async fn pause(&mut self, error: &StoreError) -> Result<(), StoreError> {
        self.made = self.made.saturating_add(1);
        self.unknown |= matches!(error, StoreError::CommitUnknown);
        // Anything between nothing and the bound ("full jitter"), so that those who collided once do not
        // collide again in step.
        let pause = self.pause_max.mul_f64(rand::random::<f64>());
        if self.started.elapsed() + pause >= self.options.deadline {
            return Err(if self.unknown {
                StoreError::CommitUnknown
            } else {
                StoreError::Contended { name: self.name, attempts: self.made }
            });
        }
        tokio::time::sleep(pause).await;
        self.pause_max = (self.pause_max * 2).min(self.options.backoff_max);
        Ok(())
    }
}
