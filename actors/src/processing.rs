//! How many photos are to be processed: what the metadata last said, and what this process has done since.
//!
//! The number in the metadata counts every node's photos. To read it for each upload would cost more than the refusal
//! should, and to go by the last look alone would let in whatever arrives between two looks: after each photo that is
//! done a burst, behind which reads wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// An estimate that is exact on one node, up to what is deleted. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Processing(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    /// The metadata's count less `changes` when it was read.
    base: AtomicI64,
    /// What this process has added, less what it has settled, since it began.
    changes: AtomicI64,
}

impl Processing {
    /// A photo of this process was committed, and is to be processed.
    pub(crate) fn added(&self) {
        self.0.changes.fetch_add(1, Ordering::Relaxed);
    }

    /// This process has committed what became of one.
    pub(crate) fn settled(&self) {
        self.0.changes.fetch_sub(1, Ordering::Relaxed);
    }

    /// To be handed to [`Processing::counted`] after the count is read.
    pub(crate) fn before_count(&self) -> i64 {
        self.0.changes.load(Ordering::Relaxed)
    }

    /// The metadata's count, read after `before_count`. What changed while it was read is counted twice until the next.
    pub(crate) fn counted(&self, count: i64, before_count: i64) {
        self.0.base.store(count.saturating_sub(before_count), Ordering::Relaxed);
    }

    /// So many photos are to be processed.
    pub(crate) fn count(&self) -> u64 {
        let (base, changes) = (self.0.base.load(Ordering::Relaxed), self.0.changes.load(Ordering::Relaxed));
        u64::try_from(base.saturating_add(changes)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_replaces_what_was_estimated_and_own_changes_go_on_from_it() {
        let processing = Processing::default();
        processing.added();
        processing.added();
        processing.settled();
        assert_eq!(processing.count(), 1);
        let before = processing.before_count();
        processing.counted(7, before); // Others have six.
        assert_eq!(processing.count(), 7);
        processing.added();
        assert_eq!(processing.count(), 8);
        let before = processing.before_count();
        processing.counted(0, before); // All were deleted.
        assert_eq!(processing.count(), 0);
        processing.settled(); // And this one was done all the same.
        assert_eq!(processing.count(), 0, "never below none");
    }
}
