//! Who carries out what the entries of a shard of the change log lead to, and how far it has come.
//!
//! A shard is carried by one node at a time. Its lease names the epoch of that node and a random id, which every transaction
//! with effects of the shard reads: whoever has lost the shard writes nothing more. **A lease has no end in time.** It is
//! void once its epoch is dead, which the nodes find out by clocks of their own that only go forward ([`nodes`]), and over
//! once its holder lets go of it. So no two wall clocks are compared, and after a restart on an engine that one process at a
//! time can have open all shards are taken at once.
//!
//! Nodes that live at once share the shards evenly: each says that it wants some (`SHARD_SEEKERS`), takes what is free up to
//! its part, and lets go of what it holds above that. What a shard leads to is done once all the same: its cursor moves in
//! the transaction that does it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::changes::{self, SHARDS};
use super::subspaces::{SHARD_CURSORS, SHARD_LEASES, SHARD_SEEKERS};
use super::{Epoch, LeaseId, Position, Timestamp, nodes, record};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};

/// The consumer that carries out [`effects`](super::effects).
pub const INDEXER: &str = "indexer";
/// Every consumer whose part must be done before an entry may go.
pub const DURABLE_CONSUMERS: [&str; 1] = [INDEXER];

/// Who carries a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardLease {
    /// The life of a node. The lease is void once that is over.
    pub epoch: Epoch,
    /// Random: tells apart two holdings of one node.
    pub lease: LeaseId,
    /// When it was taken, for people who look.
    pub since: Timestamp,
}

/// A shard that the caller holds, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which.
    pub shard: u8,
    /// By which lease.
    pub lease: LeaseId,
}

/// The shard is not the caller's any more: nothing was written, and nothing of it must be done any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {0} of the change log is carried by another")]
pub struct Lost(pub u8);

/// A node's wish for its part of the shards.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The node.
    pub epoch: Epoch,
    /// What it holds so far. What else carries its epoch is of a part of the process that has died.
    pub held: &'a [Held],
    /// For what it takes now: random, and another one for each claim.
    pub lease: LeaseId,
    /// When.
    pub now: Timestamp,
}

/// Takes shards that nobody carries, up to the node's part, and lets go of those above it; what the node holds from now on.
/// Nothing, for a node that was declared dead.
///
/// A second run finds its own leases.
///
/// # Errors
/// Those of the engine.
pub async fn balance(tx: &Transaction, claim: &Claim<'_>) -> Result<Vec<Held>, StoreError> {
    if nodes::is_dead(tx, claim.epoch).await? {
        return Ok(Vec::new());
    }
    let part = usize::from(SHARDS).div_ceil(seekers(tx, claim.epoch).await?);
    let (mut held, free) = divided(tx, claim).await?;
    for surplus in held.drain(part.min(held.len())..) {
        tx.clear(&SHARD_LEASES.key(&(u64::from(surplus.shard),)))?;
    }
    for shard in free.into_iter().take(part - held.len()) {
        let lease = ShardLease { epoch: claim.epoch, lease: claim.lease, since: claim.now };
        tx.set(&SHARD_LEASES.key(&(u64::from(shard),)), &record::encode(&lease)?)?;
        held.push(Held { shard, lease: claim.lease });
    }
    Ok(held)
}

/// How many nodes share the shards, this one among them. Those that are dead are forgotten.
async fn seekers(tx: &Transaction, epoch: Epoch) -> Result<usize, StoreError> {
    let (mut living, mut known) = (1, false);
    for (key, _) in tx.get_range(&SHARD_SEEKERS.range(&()), RangeOptions::default()).await? {
        let seeker = Epoch(SHARD_SEEKERS.unpack::<(u64,)>(&key)?.0);
        if seeker == epoch {
            known = true;
        } else if nodes::is_dead(tx, seeker).await? {
            tx.clear(&key)?;
        } else {
            living += 1;
        }
    }
    if !known {
        tx.set(&SHARD_SEEKERS.key(&(epoch.0,)), &[])?;
    }
    Ok(living)
}

/// What the node holds, and what is free.
async fn divided(tx: &Transaction, claim: &Claim<'_>) -> Result<(Vec<Held>, Vec<u8>), StoreError> {
    let (mut held, mut free) = (Vec::new(), Vec::new());
    let leases = leases(tx).await?;
    for shard in 0..SHARDS {
        match leases.get(&shard) {
            Some(found) if found.epoch == claim.epoch => {
                let ours = Held { shard, lease: found.lease };
                let is_known = found.lease == claim.lease || claim.held.contains(&ours);
                if is_known { held.push(ours) } else { free.push(shard) }
            }
            Some(found) if !nodes::is_dead(tx, found.epoch).await? => {}
            _ => free.push(shard),
        }
    }
    Ok((held, free))
}

/// Who carries which shard. The transaction conflicts with whoever changes that.
///
/// # Errors
/// Those of the engine.
pub async fn leases(tx: &Transaction) -> Result<BTreeMap<u8, ShardLease>, StoreError> {
    let rows = tx.get_range(&SHARD_LEASES.range(&()), RangeOptions::default()).await?;
    rows.iter()
        .map(|(key, bytes)| {
            let (shard,): (u64,) = SHARD_LEASES.unpack(key)?;
            let shard = u8::try_from(shard).map_err(|_| record::corrupt_key(key, "no such shard"))?;
            Ok((shard, record::decode(key, bytes)?))
        })
        .collect()
}

/// Lets go of everything that the node holds, and wants nothing more: it ends in order.
///
/// # Errors
/// Those of the engine.
pub async fn release(tx: &Transaction, epoch: Epoch) -> Result<(), StoreError> {
    for (shard, lease) in leases(tx).await? {
        if lease.epoch == epoch {
            tx.clear(&SHARD_LEASES.key(&(u64::from(shard),)))?;
        }
    }
    tx.clear(&SHARD_SEEKERS.key(&(epoch.0,)))
}

/// Whether the shard is still the caller's when this transaction commits: whoever takes it conflicts with that.
///
/// # Errors
/// Those of the engine.
pub async fn check(tx: &Transaction, held: Held) -> Result<Result<(), Lost>, StoreError> {
    let key = SHARD_LEASES.key(&(u64::from(held.shard),));
    let found: Option<ShardLease> =
        tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()?;
    Ok(if found.is_some_and(|found| found.lease == held.lease) { Ok(()) } else { Err(Lost(held.shard)) })
}

/// How far a consumer has come; [`Position::START`] for one that has not begun.
///
/// # Errors
/// Those of the engine.
pub async fn cursor(tx: &Transaction, shard: u8, consumer: &str) -> Result<Position, StoreError> {
    let key = SHARD_CURSORS.key(&(u64::from(shard), consumer));
    tx.get(&key).await?.map_or(Ok(Position::START), |bytes| Position::of_value(&key, &bytes))
}

/// Notes how far a consumer has come, in the transaction that does its part of what lies before.
///
/// # Errors
/// Those of the engine.
pub fn set_cursor(tx: &Transaction, shard: u8, consumer: &str, position: Position) -> Result<(), StoreError> {
    tx.set(&SHARD_CURSORS.key(&(u64::from(shard), consumer)), &position.to_value())
}

/// Removes entries of a shard that are older than `before` and that every durable consumer has passed, at most `limit`; how
/// many.
///
/// # Errors
/// Those of the engine.
pub async fn trim(
    tx: &Transaction,
    held: Held,
    before: Timestamp,
    limit: usize,
) -> Result<Result<usize, Lost>, StoreError> {
    if let Err(lost) = check(tx, held).await? {
        return Ok(Err(lost));
    }
    let mut passed: Option<Position> = None;
    for consumer in DURABLE_CONSUMERS {
        let cursor = cursor(tx, held.shard, consumer).await?;
        passed = Some(passed.map_or(cursor, |passed| passed.min(cursor)));
    }
    let passed = passed.unwrap_or(Position::START);
    let entries = changes::readable_after(tx, held.shard, Position::START, limit).await?;
    let over = entries.iter().take_while(|(position, change)| {
        // One that nobody can read was passed by, and is as old as those around it.
        *position <= passed && !change.as_ref().is_ok_and(|change| change.at >= before)
    });
    let Some((last, count)) = over.zip(1..).map(|((position, _), count)| (*position, count)).last() else {
        return Ok(Ok(0));
    };
    changes::remove_until(tx, held.shard, last)?;
    Ok(Ok(count))
}
