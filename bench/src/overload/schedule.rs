//! Arrivals at a fixed rate, whatever becomes of them.
//!
//! Users do not wait for each other's answers. A generator that sends the next request after the last one's answer slows down
//! with the server, and never sees what those who came meanwhile would have seen (Tene's "coordinated omission"). So each
//! request has a time at which it is due, and its latency counts from there, whether or not a connection was free.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// When requests are due. Shared by all who send them.
#[derive(Debug)]
pub(super) struct Schedule {
    begin: Instant,
    end: Instant,
    per_second: f64,
    next: AtomicU64,
}

impl Schedule {
    /// So many a second, from now on.
    pub(super) fn new(per_second: f64, time: Duration) -> Self {
        let begin = Instant::now();
        Self { begin, end: begin + time, per_second, next: AtomicU64::new(0) }
    }

    /// The next request's number and when it is due; `None` when the time is over.
    pub(super) fn take(&self) -> Option<(u64, Instant)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let due = self.begin + Duration::from_secs_f64(number as f64 / self.per_second);
        (due < self.end).then_some((number, due))
    }

    /// Whether the time is over: what was due and could not be sent is not sent any more.
    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn requests_are_due_at_a_fixed_rate_whoever_takes_them() {
        let schedule = Schedule::new(4.0, Duration::from_secs(2));
        let begin = Instant::now();
        for number in 0..8 {
            // That it is taken late changes nothing.
            tokio::time::advance(Duration::from_millis(300)).await;
            let (taken, due) = schedule.take().unwrap();
            assert_eq!((taken, due - begin), (number, Duration::from_millis(250) * number as u32));
        }
        assert!(schedule.take().is_none() && schedule.is_over());
    }
}
