//! Long work over many rows, as it stands in the store.

use foundationdb_tuple::Versionstamp;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::model::shards::{self, Held, Lost};
use crate::model::subspaces::FEED_TASKS;
use crate::model::{Position, PostId, UserId, record};

/// Which task: the entry of the change log that it follows from, and a number among those of that entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Of the change log, whose holder works on the task.
    pub shard: u8,
    /// The entry's.
    pub position: Position,
    /// Its own, and those of the tasks that follow from it.
    pub number: u64,
}

/// Numbers that lie between the tasks of one entry, for those that follow from them.
const NUMBERS_EACH: u64 = 1 << 32;

impl TaskKey {
    /// Of the entry at a position, its `nth` task.
    pub fn of_entry(shard: u8, position: Position, nth: u32) -> Self {
        Self { shard, position, number: u64::from(nth) * NUMBERS_EACH }
    }

    pub(super) fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }

    pub(super) fn key(self) -> Vec<u8> {
        let mut key = self.position.key(FEED_TASKS, &(u64::from(self.shard),));
        foundationdb_tuple::pack_into(&(self.number,), &mut key);
        key
    }

    fn of_key(shard: u8, key: &[u8]) -> Result<Self, StoreError> {
        let (_, history, stamp, number): (u64, u64, Versionstamp, u64) = FEED_TASKS.unpack(key)?;
        Ok(Self { shard, position: Position { history, stamp: *stamp.as_bytes() }, number })
    }
}

/// What is to be done, and how much of it has been. Moves on in the transaction of each chunk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum Task {
    /// A post comes into the timelines of its author's followers.
    FanOut {
        /// The post.
        post: PostId,
        /// Whose it is.
        author: UserId,
        /// Where it stands.
        position: Position,
        /// The last follower who has it.
        after: Option<UserId>,
    },
    /// The recent past of somebody comes into the timeline of a new follower.
    Backfill {
        /// Whose timeline.
        follower: UserId,
        /// Whose posts.
        author: UserId,
        /// The last of them that it has: they come newest first.
        before: Option<Position>,
        /// How many more.
        left: usize,
    },
    /// Each follower is told to merge the author's list.
    Promote {
        /// Whose.
        author: UserId,
        /// The last follower who was.
        after: Option<UserId>,
    },
    /// Each follower gets the author's posts into the timeline, and merges the list no longer.
    Demote {
        /// Whose.
        author: UserId,
        /// The last follower who has them.
        after: Option<UserId>,
    },
    /// What somebody has published goes from the timeline of one who does not follow any more, so that it takes no room
    /// there.
    Sweep {
        /// Whose timeline.
        user: UserId,
        /// Whose posts.
        author: UserId,
        /// The last entry that was looked at: from the newest on.
        before: Option<Position>,
    },
    /// What others have made of a post that is gone goes, too.
    Erase {
        /// The post.
        post: PostId,
    },
}

impl Task {
    /// A word for metrics and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::FanOut { .. } => "fan_out",
            Self::Backfill { .. } => "backfill",
            Self::Promote { .. } => "promote",
            Self::Demote { .. } => "demote",
            Self::Sweep { .. } => "sweep",
            Self::Erase { .. } => "erase",
        }
    }
}

/// Adds a task, or notes how far it has come.
pub(in crate::model) fn add(tx: &Transaction, key: TaskKey, task: &Task) -> Result<(), StoreError> {
    tx.set(&key.key(), &record::encode(task)?)
}

pub(super) async fn get(tx: &Transaction, key: TaskKey) -> Result<Option<Task>, StoreError> {
    let key = key.key();
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// The tasks of a shard after one of them, the oldest first, at most `limit`. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn tasks(
    tx: &Transaction,
    shard: u8,
    after: Option<TaskKey>,
    limit: usize,
) -> Result<Vec<TaskKey>, StoreError> {
    let all = FEED_TASKS.range(&(u64::from(shard),));
    let range = match after {
        Some(after) => all.after(&after.key()),
        None => all,
    };
    let rows = tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?;
    rows.iter().map(|(key, _)| TaskKey::of_key(shard, key)).collect()
}

/// How many tasks a shard has, at most `limit`. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn count(tx: &Transaction, shard: u8, limit: usize) -> Result<usize, StoreError> {
    let all = FEED_TASKS.range(&(u64::from(shard),));
    Ok(tx.get_range(&all, RangeOptions::first(limit).snapshot()).await?.len())
}

/// Gives up a task that fails every time.
///
/// # Errors
/// Those of the engine.
pub async fn drop_task(tx: &Transaction, held: Held, key: TaskKey) -> Result<Result<(), Lost>, StoreError> {
    if let Err(lost) = shards::check(tx, held).await? {
        return Ok(Err(lost));
    }
    tx.clear(&key.key()).map(Ok)
}
