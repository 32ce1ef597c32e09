//! Intents and tombstones: why no orphan is ever looked for by listing a bucket.
//!
//! Before an object is put, its key stands here as an *intent* under the epoch of the node that will put
//! it. The transaction that makes the object referenced reads and clears the intent, and must not go on if
//! it is gone. Whatever is put and never referenced is thereby known. Deleting goes the other way: a
//! transaction moves the key to a *tombstone*, then the object is deleted, then the tombstone.

use super::{Epoch, subspaces};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::objects::ObjectKey;
use subspaces::{INTENTS, TOMBSTONES};

/// Records that these keys, which are new and not yet handed to anyone, may be written by the node of `epoch`.
///
/// # Errors
/// Those of the engine.
pub fn intend(tx: &Transaction, epoch: Epoch, keys: &[ObjectKey]) -> Result<(), StoreError> {
    // A run of which nobody knows whether it committed may still do so after a second run has, and after a photo has
    // fulfilled an intent: standing again, it would have the Janitor delete that photo's object. As if the first key had
    // been read, the late run meets the write of the one that came before it, and nothing of it is done.
    if let Some(first) = keys.first() {
        tx.add_read_conflict_range(&KeyRange::single(&INTENTS.key(&(epoch.0, first.as_str()))))?;
    }
    keys.iter().try_for_each(|key| tx.set(&INTENTS.key(&(epoch.0, key.as_str())), &[]))
}

/// Whether the intent still stands. Read by the transaction that is about to refer to the object, so
/// that it conflicts with a Janitor who takes the intent away.
///
/// # Errors
/// Those of the engine.
pub async fn is_intended(tx: &Transaction, epoch: Epoch, key: &ObjectKey) -> Result<bool, StoreError> {
    Ok(tx.get(&INTENTS.key(&(epoch.0, key.as_str()))).await?.is_some())
}

/// Clears the intent: the object is referenced now.
///
/// # Errors
/// Those of the engine.
pub fn fulfil(tx: &Transaction, epoch: Epoch, key: &ObjectKey) -> Result<(), StoreError> {
    tx.clear(&INTENTS.key(&(epoch.0, key.as_str())))
}

/// Takes the intents of `keys` away and lays tombstones for those that still had one: the objects, if they
/// exist, are nobody's. A key whose intent is gone has been referenced, and stays. Returns how many were
/// buried.
///
/// # Errors
/// Those of the engine.
pub async fn abandon(tx: &Transaction, epoch: Epoch, keys: &[ObjectKey]) -> Result<usize, StoreError> {
    let mut buried = 0;
    for key in keys {
        if is_intended(tx, epoch, key).await? {
            fulfil(tx, epoch, key)?;
            bury(tx, key)?;
            buried += 1;
        }
    }
    Ok(buried)
}

/// Forgets intents of keys that were never handed to anyone, at a clean shutdown.
///
/// # Errors
/// Those of the engine.
pub fn release(tx: &Transaction, epoch: Epoch, keys: &[ObjectKey]) -> Result<(), StoreError> {
    keys.iter().try_for_each(|key| fulfil(tx, epoch, key))
}

/// The keys that the node of `epoch` intended and nobody refers to, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn intents_of(tx: &Transaction, epoch: Epoch, limit: usize) -> Result<Vec<ObjectKey>, StoreError> {
    let options = RangeOptions { limit, snapshot: true, ..Default::default() };
    let rows = tx.get_range(&INTENTS.range(&(epoch.0,)), options).await?;
    rows.iter().map(|(key, _)| Ok(ObjectKey::from_stored(INTENTS.unpack::<(u64, String)>(key)?.1))).collect()
}

/// Lays a tombstone: the object is to be deleted.
///
/// # Errors
/// Those of the engine.
pub fn bury(tx: &Transaction, key: &ObjectKey) -> Result<(), StoreError> {
    tx.set(&TOMBSTONES.key(&(key.as_str(),)), &[])
}

/// Objects to be deleted, in the order of their keys, those after `after`, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn tombstones(
    tx: &Transaction,
    after: Option<&ObjectKey>,
    limit: usize,
) -> Result<Vec<ObjectKey>, StoreError> {
    let options = RangeOptions { limit, snapshot: true, ..Default::default() };
    let all = TOMBSTONES.all();
    let range = after.map_or(all.clone(), |after| all.after(&TOMBSTONES.key(&(after.as_str(),))));
    let rows = tx.get_range(&range, options).await?;
    rows.iter().map(|(key, _)| Ok(ObjectKey::from_stored(TOMBSTONES.unpack::<(String,)>(key)?.0))).collect()
}

/// Takes tombstones away, after their objects are gone.
///
/// # Errors
/// Those of the engine.
pub fn unbury(tx: &Transaction, keys: &[ObjectKey]) -> Result<(), StoreError> {
    keys.iter().try_for_each(|key| tx.clear(&TOMBSTONES.key(&(key.as_str(),))))
}

/// How many intents and tombstones stand, each counted up to `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn outstanding(tx: &Transaction, limit: usize) -> Result<(usize, usize), StoreError> {
    let count = |range: KeyRange| async move {
        let options = RangeOptions { limit, snapshot: true, ..Default::default() };
        Ok::<_, StoreError>(tx.get_range(&range, options).await?.len())
    };
    Ok((count(INTENTS.all()).await?, count(TOMBSTONES.all()).await?))
}
