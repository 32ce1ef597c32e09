//! Epochs: one for each life of a node.
//!
//! Intents and leases carry the epoch of the process that made them, so that what a dead process left
//! behind is known as such. On the embedded engine there is one node, and every epoch before the newest
//! is dead.

use serde::{Deserialize, Serialize};

use super::{Epoch, Timestamp, objects, record, subspaces::NODES};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};

/// What is known of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// When this life began.
    pub started: Timestamp,
    /// Random, made by the process: tells a second run of the transaction that the epoch is its own.
    pub process: uuid::Uuid,
}

/// Begins a new epoch and returns it. `process` is a random id made by the caller.
///
/// # Errors
/// Those of the engine.
pub async fn begin_epoch(tx: &Transaction, process: uuid::Uuid, now: Timestamp) -> Result<Epoch, StoreError> {
    let newest_key = NODES.key(&());
    let newest = match tx.get(&newest_key).await? {
        Some(bytes) => record::decode(&newest_key, &bytes)?,
        None => Epoch(0),
    };
    // After a commit whose outcome was unknown this function runs again: the epoch may be ours already.
    if let Some(node) = get(tx, newest).await?
        && node.process == process
    {
        return Ok(newest);
    }
    let epoch = Epoch(newest.0 + 1);
    tx.set(&newest_key, &record::encode(&epoch)?)?;
    tx.set(&NODES.key(&(epoch.0,)), &record::encode(&Node { started: now, process })?)?;
    Ok(epoch)
}

async fn get(tx: &Transaction, epoch: Epoch) -> Result<Option<Node>, StoreError> {
    let key = NODES.key(&(epoch.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// Epochs before `newest` that still have a record, oldest first, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn epochs_before(tx: &Transaction, newest: Epoch, limit: usize) -> Result<Vec<Epoch>, StoreError> {
    let rows =
        tx.get_range(&NODES.range(&()), RangeOptions { limit, snapshot: true, ..Default::default() }).await?;
    let mut epochs = Vec::new();
    for (key, _) in rows {
        let (epoch,) = NODES.unpack::<(u64,)>(&key)?;
        if epoch < newest.0 {
            epochs.push(Epoch(epoch));
        }
    }
    Ok(epochs)
}

/// Whether the epoch has its record. Read by whoever adds what carries the epoch, so that nothing is added to one that
/// was forgotten: nobody would ever look for it.
///
/// # Errors
/// Those of the engine.
pub async fn is_known(tx: &Transaction, epoch: Epoch) -> Result<bool, StoreError> {
    Ok(tx.get(&NODES.key(&(epoch.0,))).await?.is_some())
}

/// Forgets a dead epoch, unless it has an intent left, or again: a process that was taken for dead may go on until it
/// finds out. Returns whether the epoch is forgotten.
///
/// # Errors
/// Those of the engine.
pub async fn forget(tx: &Transaction, epoch: Epoch) -> Result<bool, StoreError> {
    if objects::has_intents(tx, epoch).await? {
        return Ok(false);
    }
    tx.clear(&NODES.key(&(epoch.0,)))?;
    Ok(true)
}
