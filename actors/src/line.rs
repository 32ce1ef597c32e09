//! The queue of one stage: what waits, how much may run, and the numbers that others may read.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

/// What one stage tells of itself. Only its actor writes.
#[derive(Debug, Default)]
pub(crate) struct StageCounters {
    pub(crate) queue: AtomicUsize,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) finished: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// A stage's queue. The queue needs no limit of its own: every item holds a job slot.
#[derive(Debug)]
pub(crate) struct Line<T> {
    stage: &'static str,
    waiting: VecDeque<(Instant, T)>,
    running: usize,
    limit: usize,
    counters: Arc<StageCounters>,
}

impl<T> Line<T> {
    pub(crate) fn new(stage: &'static str, limit: usize, counters: Arc<StageCounters>) -> Self {
        // Those of an earlier generation died with it.
        counters.queue.store(0, Ordering::Relaxed);
        counters.in_flight.store(0, Ordering::Relaxed);
        Self { stage, waiting: VecDeque::new(), running: 0, limit, counters }
    }

    /// Puts an item at the end.
    pub(crate) fn push(&mut self, item: T) {
        self.waiting.push_back((Instant::now(), item));
        self.publish();
    }

    /// The next item, if one waits and the stage may start it. Follow with [`Line::finished`].
    pub(crate) fn start_next(&mut self) -> Option<T> {
        if self.running >= self.limit {
            return None;
        }
        let (since, item) = self.waiting.pop_front()?;
        self.running += 1;
        metrics::histogram!("darkroom_stage_wait_seconds", "stage" => self.stage).record(since.elapsed());
        self.publish();
        Some(item)
    }

    /// An item that was started has ended, after `took`.
    pub(crate) fn finished(&mut self, took: std::time::Duration, ok: bool) {
        self.running -= 1;
        let counter = if ok { &self.counters.finished } else { &self.counters.failed };
        counter.fetch_add(1, Ordering::Relaxed);
        metrics::histogram!("darkroom_stage_duration_seconds", "stage" => self.stage).record(took);
        self.publish();
    }

    fn publish(&self) {
        self.counters.queue.store(self.waiting.len(), Ordering::Relaxed);
        self.counters.in_flight.store(self.running, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_line_keeps_order_and_its_limit() {
        let counters = Arc::new(StageCounters::default());
        let mut line = Line::new("test", 2, counters.clone());
        (0..4).for_each(|n| line.push(n));
        assert_eq!((line.start_next(), line.start_next(), line.start_next()), (Some(0), Some(1), None));
        assert_eq!(counters.queue.load(Ordering::Relaxed), 2);
        line.finished(Duration::ZERO, true);
        assert_eq!(line.start_next(), Some(2));
        assert_eq!(counters.in_flight.load(Ordering::Relaxed), 2);
        assert_eq!(counters.finished.load(Ordering::Relaxed), 1);
    }
}
