//! Whether acknowledged photos wait on disk: then fresh ones queue behind them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// What this process knows of waiting jobs. The queue itself is in the metadata.
#[derive(Debug)]
pub(crate) struct Backlog {
    waiting: AtomicBool,
    /// Counts additions, so that one that comes while the queue is looked at is not overlooked.
    additions: AtomicU64,
    wake: Notify,
}

impl Backlog {
    /// At start the queue has not been looked at: assume that something waits.
    pub(crate) fn new() -> Self {
        Self { waiting: AtomicBool::new(true), additions: AtomicU64::new(0), wake: Notify::new() }
    }

    /// A due job was put on disk.
    pub(crate) fn added(&self) {
        self.additions.fetch_add(1, Ordering::SeqCst);
        self.waiting.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// Whether fresh work must queue.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.load(Ordering::SeqCst)
    }

    /// To be handed to [`Backlog::found_empty`] after looking at the queue.
    pub(crate) fn before_look(&self) -> u64 {
        self.additions.load(Ordering::SeqCst)
    }

    /// The queue was empty when it was looked at after `before_look`.
    pub(crate) fn found_empty(&self, before_look: u64) {
        self.waiting.store(false, Ordering::SeqCst);
        if self.additions.load(Ordering::SeqCst) != before_look {
            self.waiting.store(true, Ordering::SeqCst);
            self.wake.notify_one();
        }
    }

    /// Returns once a job was added since the last return.
    pub(crate) async fn addition(&self) {
        self.wake.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_added_while_the_queue_is_looked_at_is_not_overlooked() {
        let backlog = Backlog::new();
        assert!(backlog.is_waiting(), "before the first look");
        let look = backlog.before_look();
        backlog.found_empty(look);
        assert!(!backlog.is_waiting());
        let look = backlog.before_look();
        backlog.added();
        backlog.found_empty(look);
        assert!(backlog.is_waiting());
    }
}
