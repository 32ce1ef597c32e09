//! Intents and tombstones: why no orphan is ever looked for by listing a bucket.
//!
//! Before an object is put, its key stands here as an *intent* under the epoch of the node that will put
//! it. The transaction that makes the object referenced reads and clears the intent, and must not go on if
//! it is gone. Whatever is put and never referenced is thereby known. Deleting goes the other way: a
//! transaction moves the key to a *tombstone*, then the object is deleted, then the tombstone.
//!
//! The put of a process that is dead, or that gave up waiting, may still arrive at a store on another machine. So
//! the tombstone of what may never have been put whole says from when on the object is to be deleted: by then no
//! put of it is on its way any more. Of what was put whole there may have been an earlier attempt, which was given up and
//! arrives after the object was deleted: such a tombstone is kept for as long, and the object deleted once more.

use super::{Epoch, Timestamp, record, subspaces};
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

/// Takes the intents of `keys` away and lays tombstones, due at `due`, for those that still had one: the objects, if
/// they exist, are nobody's. A key whose intent is gone has been referenced or abandoned before, and stays as it is.
/// Returns how many were buried.
///
/// # Errors
/// Those of the engine.
pub async fn abandon(
    tx: &Transaction,
    epoch: Epoch,
    keys: &[ObjectKey],
    due: Timestamp,
) -> Result<usize, StoreError> {
    let mut buried = 0;
    for key in keys {
        if is_intended(tx, epoch, key).await? {
            fulfil(tx, epoch, key)?;
            bury_until(tx, key, due)?;
            buried += 1;
        }
    }
    Ok(buried)
}

/// Takes the intents of `keys` away where they still stand, and lays tombstones, due at `due`, for all of them. The
/// caller knows that nothing refers to them and nothing ever will: the transaction that would have did not find its
/// intents. Whoever took those away may have deleted the object before it was put.
///
/// # Errors
/// Those of the engine.
pub fn disown(tx: &Transaction, epoch: Epoch, keys: &[ObjectKey], due: Timestamp) -> Result<(), StoreError> {
    keys.iter().try_for_each(|key| {
        fulfil(tx, epoch, key)?;
        bury_until(tx, key, due)
    })
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

/// Lays a tombstone: the object, which was put whole, is to be deleted.
///
/// # Errors
/// Those of the engine.
pub fn bury(tx: &Transaction, key: &ObjectKey) -> Result<(), StoreError> {
    bury_until(tx, key, Timestamp::default())
}

/// The objects, which were put whole, are deleted. Their tombstones stay, and are due once more at `due`: by then no
/// attempt of a put that was given up is on its way any more.
///
/// # Errors
/// Those of the engine.
pub fn keep_buried(tx: &Transaction, keys: &[ObjectKey], due: Timestamp) -> Result<(), StoreError> {
    keys.iter().try_for_each(|key| bury_until(tx, key, due))
}

fn bury_until(tx: &Transaction, key: &ObjectKey, due: Timestamp) -> Result<(), StoreError> {
    tx.set(&TOMBSTONES.key(&(key.as_str(),)), &due.0.to_be_bytes())
}

/// An object to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Which.
    pub key: ObjectKey,
    /// From when on. Before, a put of it may still be on its way.
    pub due: Timestamp,
}

impl Tombstone {
    /// Whether the object was put whole, and has not been deleted yet.
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        self.due == Timestamp::default()
    }
}

/// Objects to be deleted, in the order of their keys, those after `after`, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn tombstones(
    tx: &Transaction,
    after: Option<&ObjectKey>,
    limit: usize,
) -> Result<Vec<Tombstone>, StoreError> {
    let options = RangeOptions { limit, snapshot: true, ..Default::default() };
    let all = TOMBSTONES.all();
    let range = after.map_or(all.clone(), |after| all.after(&TOMBSTONES.key(&(after.as_str(),))));
    let rows = tx.get_range(&range, options).await?;
    let read = |(key, due): &(Vec<u8>, Vec<u8>)| {
        // A daemon one version older wrote none: due at once.
        let due = if due.is_empty() { [0; 8] } else { due[..].try_into().map_err(|_| no_time(key))? };
        Ok(Tombstone {
            key: ObjectKey::from_stored(TOMBSTONES.unpack::<(String,)>(key)?.0),
            due: Timestamp(u64::from_be_bytes(due)),
        })
    };
    rows.iter().map(read).collect()
}

fn no_time(key: &[u8]) -> StoreError {
    record::corrupt_key(key, "not an 8-byte time")
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
