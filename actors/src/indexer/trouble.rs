//! What fails: whether it may go better later, and when it is passed by.

use std::time::Duration;

use darkroom_store::StoreError;

/// So often is tried what cannot be carried out, before it is passed by.
pub(super) const ATTEMPTS_MAX: u32 = 5;
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// Whether the fault lies with the store as a whole, and not with what was to be done: that is tried again for ever.
pub(super) fn is_the_stores(error: &StoreError) -> bool {
    match error {
        StoreError::Conflict
        | StoreError::Contended { .. }
        | StoreError::Busy { .. }
        | StoreError::CommitUnknown
        | StoreError::InUse { .. }
        | StoreError::DiskFull { .. }
        | StoreError::Io { .. }
        | StoreError::Unavailable { .. }
        | StoreError::Closed => true,
        // Such as an entry that leads to more than a transaction holds, or to a row that nobody can read.
        StoreError::TooOld
        | StoreError::KeyTooLarge { .. }
        | StoreError::ValueTooLarge { .. }
        | StoreError::TransactionTooLarge { .. }
        | StoreError::ReservedKey
        | StoreError::ReadOnly
        | StoreError::UnreadableKey
        | StoreError::TransactionOver
        | StoreError::Corrupt { .. }
        | StoreError::Unreadable { .. }
        | StoreError::InvalidOption { .. }
        | StoreError::Mismatch(_)
        | StoreError::BadBackup { .. }
        | StoreError::Unsupported(_) => false,
    }
}

/// What has failed, and how often in a row.
#[derive(Debug)]
pub(super) struct Trouble<T> {
    failing: Option<T>,
    attempts: u32,
}

impl<T: PartialEq> Trouble<T> {
    pub(super) fn none() -> Self {
        Self { failing: None, attempts: 0 }
    }

    /// Whether anything has failed and has not gone well since: then it is tried alone.
    pub(super) fn is_there(&self) -> bool {
        self.failing.is_some()
    }

    /// It has gone well.
    pub(super) fn over(&mut self) {
        *self = Self::none();
    }

    /// Something failed again; whether it was tried often enough.
    pub(super) fn failed(&mut self, what: T) -> bool {
        if self.failing.as_ref() != Some(&what) {
            *self = Self { failing: Some(what), attempts: 0 };
        }
        self.attempts += 1;
        self.attempts >= ATTEMPTS_MAX
    }
}

/// How long to wait after so many failures in a row.
pub(super) fn pause(failures: u32) -> Duration {
    (PAUSE_MIN * 2_u32.pow(failures.min(10))).min(PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_in_a_row_is_tried_so_often_and_no_more() {
        let mut trouble = Trouble::none();
        assert_eq!([1, 1, 1, 1, 1].map(|what| trouble.failed(what)), [false, false, false, false, true]);
        assert!(!trouble.failed(2), "another");
        trouble.over();
        assert!(!trouble.is_there() && !trouble.failed(2));
        assert!(pause(0) < pause(3) && pause(100) == PAUSE_MAX);
    }
}
