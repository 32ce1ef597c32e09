//! What a transaction can do. The limits are checked here, before any engine sees a key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::embedded;
#[cfg(feature = "foundationdb")]
use super::foundationdb;
use super::limits::{STAMPED_VALUE_BYTES_MAX, check_bound, check_key, check_value};
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
    may_repeat: bool,
    noted: Arc<Noted>,
}

/// What an attempt notes of its reads.
#[derive(Debug, Default)]
struct Noted {
    /// Whether one was refused as unreadable: such a transaction does not commit.
    refused: AtomicBool,
    /// Keys that were asked for, ranges, and rows of those.
    reads: AtomicU64,
}

/// The engines' own transactions.
#[derive(Clone)]
enum Engine {
    Embedded(Arc<embedded::Transaction>),
    #[cfg(feature = "foundationdb")]
    FoundationDb(Arc<foundationdb::Transaction>),
}

/// `$call` on whichever engine's `$transaction` it is.
macro_rules! on_engine {
    ($self:expr, $transaction:ident => $call:expr) => {
        match &$self.engine {
            Engine::Embedded($transaction) => $call,
            #[cfg(feature = "foundationdb")]
            Engine::FoundationDb($transaction) => $call,
        }
    };
}

/// Whether a transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    ReadOnly,
    ReadWrite,
}

impl Transaction {
    pub(super) fn embedded(transaction: embedded::Transaction) -> Self {
        Self::new(Engine::Embedded(Arc::new(transaction)))
    }

    #[cfg(feature = "foundationdb")]
    pub(super) fn foundationdb(transaction: foundationdb::Transaction) -> Self {
        Self::new(Engine::FoundationDb(Arc::new(transaction)))
    }

    fn new(engine: Engine) -> Self {
        Self { engine, may_repeat: false, noted: Arc::default() }
    }

    /// The same, after attempts of which one may have committed.
    pub(super) fn repeating(self, may_repeat: bool) -> Self {
        Self { may_repeat, ..self }
    }

    /// Whether an earlier attempt of the same `transact` may have committed: its outcome was unknown. For functions
    /// whose answer would be another one if they found their own work done. What they write must not hang on it:
    /// for that they read a marker.
    pub fn may_repeat(&self) -> bool {
        self.may_repeat
    }

    /// What this attempt has read so far: keys, ranges, and rows of those. It is what a transaction costs that does not
    /// wait for others, and what tests hold it to.
    pub fn reads(&self) -> u64 {
        self.noted.reads.load(Ordering::Relaxed)
    }

    fn note_reads(&self, reads: usize) {
        self.noted.reads.fetch_add(reads as u64, Ordering::Relaxed);
    }

    /// Commits, and answers whether there was anything to write.
    pub(super) async fn commit(&self) -> Result<bool, StoreError> {
        if self.noted.refused.load(Ordering::Relaxed) {
            return Err(StoreError::UnreadableKey);
        }
        on_engine!(self, transaction => transaction.commit().await)
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
        self.note_reads(1);
        self.noting_refusal(on_engine!(self, transaction => transaction.get(key, snapshot).await))
    }

    /// The rows of `range`, as `options` say. The transaction conflicts with others that write in the part of
    /// the range that was read: all of it, or up to the last row returned when the limit was reached.
    pub async fn get_range(
        &self,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        check_bounds(range)?;
        let read = on_engine!(self, transaction => transaction.get_range(range, options).await);
        self.note_reads(1 + read.as_ref().map_or(0, Vec::len));
        self.noting_refusal(read)
    }

    fn noting_refusal<T>(&self, outcome: Result<T, StoreError>) -> Result<T, StoreError> {
        if matches!(outcome, Err(StoreError::UnreadableKey)) {
            self.noted.refused.store(true, Ordering::Relaxed);
        }
        outcome
    }

    /// Sets `key` to `value`, whatever it was: a blind write, without a read conflict.
    pub fn set(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        check_key(key)?;
        check_value(value)?;
        on_engine!(self, transaction => transaction.set(key, value))
    }

    /// Removes `key`, whether or not it is there.
    pub fn clear(&self, key: &[u8]) -> Result<(), StoreError> {
        check_key(key)?;
        on_engine!(self, transaction => transaction.clear(key))
    }

    /// Removes every key of `range`. The embedded engine writes a mark per row that is there, and counts their
    /// keys towards the transaction's size: clear a large range in pieces.
    pub fn clear_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        check_bounds(range)?;
        on_engine!(self, transaction => transaction.clear_range(range))
    }

    /// Adds `delta` to the 8-byte little-endian integer at `key`, which counts as 0 when absent and wraps
    /// around at its ends. Without a read conflict: any number of transactions may add at once.
    pub fn atomic_add(&self, key: &[u8], delta: i64) -> Result<(), StoreError> {
        check_key(key)?;
        on_engine!(self, transaction => transaction.atomic_add(key, delta))
    }

    /// Raises the unsigned 8-byte little-endian integer at `key` to `value` if it is absent or smaller. Without
    /// a read conflict.
    pub fn atomic_max(&self, key: &[u8], value: u64) -> Result<(), StoreError> {
        check_key(key)?;
        on_engine!(self, transaction => transaction.atomic_max(key, value))
    }

    /// Sets the key `prefix`, versionstamp (10 bytes), `suffix` to `value`. Stamps ascend in the order of
    /// commits and are known only after it. Until then the keys that this could become cannot be read in this
    /// transaction, nor what the last commit before it wrote among them, unless they are cleared:
    /// [`StoreError::UnreadableKey`], after which it does not commit either. Two with the same prefix and suffix in one
    /// transaction are the same key.
    pub fn set_versionstamped_key(
        &self,
        prefix: &[u8],
        suffix: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        check_key(prefix)?;
        check_length(prefix, suffix, |bytes| StoreError::KeyTooLarge { bytes }, super::KEY_BYTES_MAX)?;
        check_value(value)?;
        on_engine!(self, transaction => transaction.set_versionstamped_key(prefix, suffix, value))
    }

    /// Sets `key` to the value `prefix`, versionstamp (10 bytes), `suffix`. The key cannot be read in this
    /// transaction afterwards, whatever it is set to, unless it is cleared first ([`StoreError::UnreadableKey`], after
    /// which the transaction does not commit either).
    pub fn set_versionstamped_value(
        &self,
        key: &[u8],
        prefix: &[u8],
        suffix: &[u8],
    ) -> Result<(), StoreError> {
        check_key(key)?;
        check_length(prefix, suffix, |bytes| StoreError::ValueTooLarge { bytes }, STAMPED_VALUE_BYTES_MAX)?;
        on_engine!(self, transaction => transaction.set_versionstamped_value(key, prefix, suffix))
    }

    /// Makes the transaction conflict with others that write in `range`, as if it had been read.
    pub fn add_read_conflict_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        check_bounds(range)?;
        on_engine!(self, transaction => transaction.add_read_conflict_range(range))
    }

    /// Makes others that read in `range` conflict with the transaction, as if it had been written.
    pub fn add_write_conflict_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        check_bounds(range)?;
        on_engine!(self, transaction => transaction.add_write_conflict_range(range))
    }

    /// Has the versionstamps of this transaction, and so of all later ones, begin with a number above `floor`. The
    /// transaction must also write something. For restoring a backup: stamps in it must stay below all new ones.
    pub(crate) fn raise_version(&self, floor: u64) -> Result<(), StoreError> {
        match &self.engine {
            Engine::Embedded(transaction) => transaction.raise_version(floor),
            #[cfg(feature = "foundationdb")]
            Engine::FoundationDb(_) => Err(StoreError::no_backup_on_foundationdb()),
        }
    }

    /// Watches `key` from this transaction's view of it: the watch, kept past the transaction, ends after the
    /// value has changed from what this transaction saw or wrote, or early. It starts when the transaction has
    /// committed, and ends at once if that fails. Watching adds no read conflict.
    pub fn watch(&self, key: &[u8]) -> Result<Watch, StoreError> {
        check_key(key)?;
        on_engine!(self, transaction => transaction.watch(key))
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
