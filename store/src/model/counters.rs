//! Counters: 8 bytes little-endian, changed by atomic adds in the transactions that change what they count.
//!
//! Exact as long as whoever adds reads, in the same transaction, the row that says whether there is anything to add: a
//! transaction that runs again after an unknown outcome then finds its own row.

use super::record;
use super::subspaces::Subspace;
use crate::StoreError;
use crate::metadata::Transaction;
use foundationdb_tuple::TuplePack;

/// Adds to a counter, without a conflict.
///
/// # Errors
/// Those of the engine.
pub fn add<T: TuplePack>(tx: &Transaction, subspace: Subspace, tuple: &T, by: i64) -> Result<(), StoreError> {
    tx.atomic_add(&subspace.key(tuple), by)
}

/// What a counter stands at; one that nobody has added to is 0. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn read<T: TuplePack>(tx: &Transaction, subspace: Subspace, tuple: &T) -> Result<i64, StoreError> {
    let key = subspace.key(tuple);
    tx.snapshot_get(&key).await?.map_or(Ok(0), |bytes| value(&key, &bytes))
}

/// What stands under a counter's key.
pub(super) fn value(key: &[u8], bytes: &[u8]) -> Result<i64, StoreError> {
    let bytes: [u8; 8] = bytes.try_into().map_err(|_| record::corrupt_key(key, "not an 8-byte counter"))?;
    Ok(i64::from_le_bytes(bytes))
}
