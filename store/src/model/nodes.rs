//! Epochs: one for each life of a node; which of them live, and which are dead.
//!
//! Intents and leases carry the epoch of the process that made them, so that what a dead process left behind is
//! known as such. An epoch is dead once its record says so, or once it has none any more; **death is final**, which
//! is why it may be read from a snapshot, without a conflict.
//!
//! How a death comes to be known depends on the engine ([`Nodes`](crate::life::Nodes)). Where there is one node at a
//! time, the next one declares every earlier epoch dead when it begins. Where many live at once, each changes its record
//! from time to time ([`renew`]). Whoever has seen the record of another unchanged for long enough, by a clock of its
//! own that only goes forward, declares that node dead ([`declare_dead`]). No node's wall clock is compared with
//! another's: clocks that disagree kill nobody. The declaration reads the record that a renewal writes, so that of the two
//! at once one sees the other. A declaration that is wrong costs work that is done twice, and never a result: whoever was
//! declared dead finds its leases lost, its intents gone, and no way to intend anything new ([`is_alive`]), and ends.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Epoch, Timestamp, record, subspaces::NODES};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};

/// How long an epoch counts as alive before it has been renewed for the first time: a start may have much to do.
const STARTING: Duration = Duration::from_secs(60);
/// Records of the newest epochs among which a second run looks for its own.
const NEWEST: usize = 64;

/// What is known of one epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// When this life began.
    pub started: Timestamp,
    /// Random, made by the process: tells a second run of the transaction that the epoch is its own.
    pub process: uuid::Uuid,
    /// Until when it counts as alive, by its own clock: another time after each renewal. Others only look whether it has
    /// changed.
    #[serde(default)]
    pub alive_until: Timestamp,
    /// When it was declared dead, or ended in order.
    #[serde(default)]
    pub dead: Option<Timestamp>,
    /// Once it is dead: from when on what it intended may be swept. Later than its death where it was declared dead and
    /// may live: an object that it puts after the sweep would be nobody's.
    #[serde(default)]
    pub sweep_from: Timestamp,
}

impl Node {
    /// How long the record may stay as it is before its node counts as dead, where one that is renewed may for
    /// `timeout`: a node that starts has renewed nothing yet.
    pub fn silence_max(&self, timeout: Duration) -> Duration {
        let starts = self.alive_until == self.started.after(STARTING);
        if starts { timeout.max(STARTING) } else { timeout }
    }
}

fn key_of(epoch: Epoch) -> Vec<u8> {
    NODES.key(&(epoch.0,))
}

fn decode(key: &[u8], bytes: &[u8]) -> Result<Node, StoreError> {
    record::decode(key, bytes)
}

fn put(tx: &Transaction, epoch: Epoch, node: &Node) -> Result<(), StoreError> {
    tx.set(&key_of(epoch), &record::encode(node)?)
}

async fn get(tx: &Transaction, epoch: Epoch) -> Result<Option<Node>, StoreError> {
    let key = key_of(epoch);
    tx.get(&key).await?.map(|bytes| decode(&key, &bytes)).transpose()
}

/// Begins a new epoch and returns it. `process` is a random id made by the caller.
///
/// A second run finds that id on one of the newest records, also when others have begun since.
///
/// # Errors
/// Those of the engine.
pub async fn begin_epoch(tx: &Transaction, process: uuid::Uuid, now: Timestamp) -> Result<Epoch, StoreError> {
    let newest_key = NODES.key(&());
    // This read is what two beginnings at once conflict on.
    let newest = match tx.get(&newest_key).await? {
        Some(bytes) => record::decode(&newest_key, &bytes)?,
        None => Epoch(0),
    };
    let recent = tx.get_range(&NODES.range(&()), RangeOptions::last(NEWEST).snapshot()).await?;
    for (key, bytes) in recent {
        if decode(&key, &bytes)?.process == process {
            return Ok(Epoch(NODES.unpack::<(u64,)>(&key)?.0));
        }
    }
    let epoch = Epoch(newest.0 + 1);
    tx.set(&newest_key, &record::encode(&epoch)?)?;
    put(
        tx,
        epoch,
        &Node { started: now, process, alive_until: now.after(STARTING), dead: None, sweep_from: now },
    )?;
    Ok(epoch)
}

/// Declares every epoch before `epoch` dead: for an engine that only one process at a time can have open.
///
/// A second run writes the same.
///
/// # Errors
/// Those of the engine.
pub async fn declare_earlier_dead(tx: &Transaction, epoch: Epoch, now: Timestamp) -> Result<(), StoreError> {
    for (earlier, mut node) in all(tx).await? {
        if earlier < epoch && (node.dead.is_none() || node.sweep_from > now) {
            finish(&mut node, now);
            put(tx, earlier, &node)?;
        }
    }
    Ok(())
}

/// Says that `epoch` lives until `until`; false if it is dead: then its process must end, or begin a new epoch.
///
/// A second run writes the same.
///
/// # Errors
/// Those of the engine.
pub async fn renew(tx: &Transaction, epoch: Epoch, until: Timestamp) -> Result<bool, StoreError> {
    match get(tx, epoch).await? {
        Some(mut node) if node.dead.is_none() => {
            node.alive_until = until;
            put(tx, epoch, &node).map(|()| true)
        }
        _ => Ok(false),
    }
}

/// Its process is certainly over.
fn finish(node: &mut Node, now: Timestamp) {
    node.dead.get_or_insert(now);
    node.sweep_from = node.sweep_from.min(now);
}

/// Declares an epoch dead whose record has not changed since `alive_until` was read from it, which the caller knows to be
/// too long ago; whether it is dead now. One that has renewed meanwhile lives. What it intended is left alone until
/// `sweep_from`, in case it lives all the same.
///
/// A second run finds it dead.
///
/// # Errors
/// Those of the engine.
pub async fn declare_dead(
    tx: &Transaction,
    epoch: Epoch,
    alive_until: Timestamp,
    now: Timestamp,
    sweep_from: Timestamp,
) -> Result<bool, StoreError> {
    match get(tx, epoch).await? {
        Some(mut node) if node.dead.is_none() && node.alive_until == alive_until => {
            node.dead = Some(now);
            node.sweep_from = sweep_from;
            put(tx, epoch, &node).map(|()| true)
        }
        Some(node) => Ok(node.dead.is_some()),
        None => Ok(true),
    }
}

/// Ends one's own epoch, in order, also where it was declared dead: nobody needs to wait for its time to pass.
///
/// A second run finds it ended.
///
/// # Errors
/// Those of the engine.
pub async fn end(tx: &Transaction, epoch: Epoch, now: Timestamp) -> Result<(), StoreError> {
    match get(tx, epoch).await? {
        Some(mut node) if node.dead.is_none() || node.sweep_from > now => {
            finish(&mut node, now);
            put(tx, epoch, &node)
        }
        _ => Ok(()),
    }
}

/// Whether the epoch is dead, as far as is known by now. Conflicts with nobody: what is dead stays so, and who must
/// not overlook a death asks [`is_alive`].
///
/// # Errors
/// Those of the engine.
pub async fn is_dead(tx: &Transaction, epoch: Epoch) -> Result<bool, StoreError> {
    let key = key_of(epoch);
    match tx.snapshot_get(&key).await? {
        Some(bytes) => Ok(decode(&key, &bytes)?.dead.is_some()),
        None => Ok(true),
    }
}

/// Whether the epoch is alive when this transaction commits: a declaration of its death conflicts with it. So after
/// the declaration nothing is added any more to what an epoch leaves behind.
///
/// # Errors
/// Those of the engine.
pub async fn is_alive(tx: &Transaction, epoch: Epoch) -> Result<bool, StoreError> {
    Ok(get(tx, epoch).await?.is_some_and(|node| node.dead.is_none()))
}

/// Dead epochs that still have a record, oldest first, each with whether what it intended may be swept at `now`.
///
/// # Errors
/// Those of the engine.
pub async fn dead(tx: &Transaction, now: Timestamp) -> Result<Vec<(Epoch, bool)>, StoreError> {
    let mut nodes = all(tx).await?;
    nodes.retain(|(_, node)| node.dead.is_some());
    Ok(nodes.into_iter().map(|(epoch, node)| (epoch, node.sweep_from <= now)).collect())
}

/// Every epoch that has a record, oldest first: those alive, and the dead whose leavings have not been swept yet. A
/// look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn all(tx: &Transaction) -> Result<Vec<(Epoch, Node)>, StoreError> {
    let rows = tx.get_range(&NODES.range(&()), RangeOptions::default().snapshot()).await?;
    rows.iter().map(|(key, bytes)| Ok((Epoch(NODES.unpack::<(u64,)>(key)?.0), decode(key, bytes)?))).collect()
}

/// Forgets a dead epoch, once nothing is left that carries it: whoever adds anything reads [`is_alive`].
///
/// # Errors
/// Those of the engine.
pub fn forget(tx: &Transaction, epoch: Epoch) -> Result<(), StoreError> {
    tx.clear(&key_of(epoch))
}
