//! How large a transaction is, counted as `FoundationDB` does: keys and values written, and the bounds of all conflict
//! ranges. Every engine counts alike and refuses at the same write.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::range::KeyRange;
use super::{PREFIX_BYTES_MAX, TRANSACTION_BYTES_MAX};
use crate::error::StoreError;

/// What `FoundationDB` adds for a write beside its bytes: its own structures, which take less than 96 bytes, and the
/// store's prefix before the key and before both bounds of its conflict range, or before all four bounds of a cleared
/// range.
const WRITE_OVERHEAD: usize = 96 + 4 * PREFIX_BYTES_MAX;
/// The same for a conflict range, of whose structure there is less.
const CONFLICT_OVERHEAD: usize = 32 + 2 * PREFIX_BYTES_MAX;

/// Bytes charged so far.
#[derive(Debug, Default)]
pub(crate) struct Size(AtomicUsize);

impl Size {
    /// Adds `bytes`, or refuses what would be too large a transaction.
    pub(crate) fn charge(&self, bytes: usize) -> Result<(), StoreError> {
        let bytes = self.0.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if bytes > TRANSACTION_BYTES_MAX { Err(StoreError::TransactionTooLarge { bytes }) } else { Ok(()) }
    }

    /// Bytes charged so far.
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A write of one key costs its key and value, and the key twice again as a conflict range.
pub(crate) fn of_write(key_bytes: usize, value_bytes: usize) -> usize {
    3 * key_bytes + 1 + value_bytes + WRITE_OVERHEAD
}

/// A cleared range costs its bounds, and the same again as a conflict range.
pub(crate) fn of_clear(range: &KeyRange) -> usize {
    2 * range.bytes() + WRITE_OVERHEAD
}

/// A key that was read.
pub(crate) fn of_read_key(key: &[u8]) -> usize {
    2 * key.len() + 1 + CONFLICT_OVERHEAD
}

/// A range that was read, or that counts as read or written.
pub(crate) fn of_conflict(range: &KeyRange) -> usize {
    range.bytes() + CONFLICT_OVERHEAD
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_over_the_limit_is_refused() {
        let size = Size::default();
        size.charge(TRANSACTION_BYTES_MAX).expect("exactly the limit");
        assert!(matches!(size.charge(1), Err(StoreError::TransactionTooLarge { bytes: 10_000_001 })));
    }
}
