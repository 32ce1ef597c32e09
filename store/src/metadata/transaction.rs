//! What a transaction can do. The limits are checked here, before any engine sees a key.

use std::sync::Arc;

use super::embedded;
use super::limits::{check_bound, check_key, check_value};
use super::range::{KeyRange, RangeOptions};
use super::watch::Watch;
use crate::error::StoreError;

/// Bytes of a versionstamp: 8 of version and 2 of order within it, both big-endian.
const VERSIONSTAMP_BYTES: usize = 10;

/// One attempt at a transaction. Clones are cheap and mean the same attempt.
///
/// Reads see one snapshot, taken at the first read, with the transaction's own writes on top. Writes are
/// buffered and take effect, all or none, after the function given to `transact` has returned `Ok`.
#[derive(Clone)]
pub struct Transaction {
    engine: Engine,
}

/// The engines' own transactions.
#[derive(Clone)]
enum Engine {
    Embedded(Arc<embedded::Transaction>),
}

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    ReadOnly,
    ReadWrite,
}

impl Transaction {
    pub(super) fn embedded(transaction: embedded::Transaction) -> Self {
        Self { engine: Engine::Embedded(Arc::new(transaction)) }
    }

    /// Commits, and answers whether there was anything to write.
    pub(super) async fn commit(&self) -> Result<bool, StoreError> {
        match &self.engine {
            Engine::Embedded(transaction) => transaction.commit().await,
        }
    }

    /// The value of `key`, or `None`. The transaction conflicts with others that write `key`.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.get_with(key, false).await
    }

    /// The value of `key`, or `None`, without a conflict when another transaction writes it meanwhile.
    pub async fn snapshot_get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.get_with(key, true).await
    }

    async fn get_with(&self, key: &[u8], snapshot: bool) -> Result<Option<Vec<u8>>, StoreError> {
        check_key(key)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.get(key, snapshot).await,
        }
    }

    /// The rows of `range`, as `options` say. The transaction conflicts with others that write in the part of
    /// the range that was read: all of it, or up to the last row returned when the limit was reached.
    pub async fn get_range(
        &self,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        check_bounds(range)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.get_range(range, options).await,
        }
    }

    /// Sets `key` to `value`, whatever it was: a blind write, without a read conflict.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        check_key(key)?;
        check_value(value)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.set(key, value),
        }
    }

    /// Removes `key`, whether or not it is there.
    pub fn clear(&self, key: &[u8]) -> Result<(), StoreError> {
        check_key(key)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.clear(key),
        }
    }

    /// Removes every key of `range`. The embedded engine writes a mark per row that is there, and counts their
    /// keys towards the transaction's size: clear a large range in pieces.
    pub fn clear_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        check_bounds(range)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.clear_range(range),
        }
    }

    /// Adds `delta` to the 8-byte little-endian integer at `key`, which counts as 0 when absent and wraps
    /// around at its ends. Without a read conflict: any number of transactions may add at once.
    pub fn atomic_add(&self, key: &[u8], delta: i64) -> Result<(), StoreError> {
        check_key(key)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.atomic_add(key, delta),
        }
    }

    /// Raises the unsigned 8-byte little-endian integer at `key` to `value` if it is absent or smaller. Without
    /// a read conflict.
    pub fn atomic_max(&self, key: &[u8], value: u64) -> Result<(), StoreError> {
        check_key(key)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.atomic_max(key, value),
        }
    }

    /// Sets the key `prefix`, versionstamp (10 bytes), `suffix` to `value`. Stamps ascend in the order of
    /// commits and are known only after it; until then the keys this could become cannot be read in this
    /// transaction ([`StoreError::UnreadableKey`]). Two with the same prefix and suffix in one transaction are
    /// the same key.
    pub fn set_versionstamped_key(
        &self,
        prefix: &[u8],
        suffix: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        check_key(prefix)?;
        check_length(prefix, suffix, |bytes| StoreError::KeyTooLarge { bytes }, super::KEY_BYTES_MAX)?;
        check_value(value)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.set_versionstamped_key(prefix, suffix, value),
        }
    }

    /// Sets `key` to the value `prefix`, versionstamp (10 bytes), `suffix`. The key cannot be read in this
    /// transaction afterwards ([`StoreError::UnreadableKey`]).
    pub fn set_versionstamped_value(
        &self,
        key: &[u8],
        prefix: &[u8],
        suffix: &[u8],
    ) -> Result<(), StoreError> {
        check_key(key)?;
        check_length(prefix, suffix, |bytes| StoreError::ValueTooLarge { bytes }, super::VALUE_BYTES_MAX)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.set_versionstamped_value(key, prefix, suffix),
        }
    }

    /// Makes the transaction conflict with others that write in `range`, as if it had been read.
    pub fn add_read_conflict_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        check_bounds(range)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.add_read_conflict_range(range),
        }
    }

    /// Makes others that read in `range` conflict with the transaction, as if it had been written.
    pub fn add_write_conflict_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        check_bounds(range)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.add_write_conflict_range(range),
        }
    }

    /// Has the versionstamps of this transaction, and so of all later ones, begin with a number above `floor`. The
    /// transaction must also write something. For restoring a backup: stamps in it must stay below all new ones.
    pub(crate) fn raise_version(&self, floor: u64) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Embedded(transaction) => transaction.raise_version(floor),
        }
    }

    /// Watches `key` from this transaction's view of it: the watch, kept past the transaction, ends after the
    /// value has changed from what this transaction saw or wrote, or early. It starts when the transaction has
    /// committed, and ends at once if that fails.
    pub fn watch(&self, key: &[u8]) -> Result<Watch, StoreError> {
        check_key(key)?;
        match &self.engine {
            Engine::Embedded(transaction) => transaction.watch(key),
        }
    }
}

fn check_bounds(range: &KeyRange) -> Result<(), StoreError> {
    check_bound(&range.begin)?;
    check_bound(&range.end)
}

fn check_length(
    prefix: &[u8],
    suffix: &[u8],
    error: impl Fn(usize) -> StoreError,
    bytes_max: usize,
) -> Result<(), StoreError> {
    let bytes = prefix.len() + VERSIONSTAMP_BYTES + suffix.len();
    if bytes > bytes_max { Err(error(bytes)) } else { Ok(()) }
}
