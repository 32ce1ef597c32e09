//! How an author's posts reach followers, and when that changes.

use serde::{Deserialize, Serialize};

use super::{FeedLimits, Task, TaskKey, add};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::subspaces::FANOUT_MANNERS;
use crate::model::users::counts::{self, Counted};
use crate::model::{UserId, record};

/// How the posts of an author reach followers who are many, or were. Most authors have none: theirs are fanned out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Manner {
    /// They are fanned out, while each follower is told to merge them.
    Promoting,
    /// They are merged when timelines are read.
    Merged,
    /// They are fanned out, while each follower gets those of before into the timeline.
    Demoting,
}

impl Manner {
    /// Whether posts are written into the timelines of followers.
    pub fn is_fanned_out(manner: Option<Self>) -> bool {
        manner != Some(Self::Merged)
    }

    /// Whether who follows the author from now on merges the author's list.
    pub fn takes_followers_in(self) -> bool {
        matches!(self, Self::Promoting | Self::Merged)
    }
}

/// The author's manner, if there is one. The transaction conflicts with whoever changes it.
///
/// # Errors
/// Those of the engine.
pub async fn manner(tx: &Transaction, author: UserId) -> Result<Option<Manner>, StoreError> {
    let key = FANOUT_MANNERS.key(&(author.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

pub(super) fn set(tx: &Transaction, author: UserId, manner: Option<Manner>) -> Result<(), StoreError> {
    let key = FANOUT_MANNERS.key(&(author.0,));
    match manner {
        Some(manner) => tx.set(&key, &record::encode(&manner)?),
        None => tx.clear(&key),
    }
}

/// Which way an author with so many followers has to go.
fn due(followers: u64, limits: &FeedLimits) -> Option<Manner> {
    if followers > limits.merge_followers_min {
        Some(Manner::Promoting)
    } else if followers < limits.merge_followers_min / 2 {
        Some(Manner::Demoting)
    } else {
        None
    }
}

/// The author has won or lost followers: changes the manner if it is time to, and starts the walk that this takes, as
/// `task`. Whoever crosses while a walk goes on is looked at when it ends.
///
/// # Errors
/// Those of the engine.
pub async fn crossed(
    tx: &Transaction,
    author: UserId,
    limits: &FeedLimits,
    task: TaskKey,
) -> Result<bool, StoreError> {
    let followers = counts::read(tx, author, Counted::Followers).await?;
    // The manner is read whatever the count is: it conflicts with the end of a walk, which looks at the count, too, and
    // may have seen an older one.
    let manner = manner(tx, author).await?;
    match (manner, due(followers, limits)) {
        (None, Some(Manner::Promoting)) => {
            set(tx, author, Some(Manner::Promoting))?;
            add(tx, task, &Task::Promote { author, after: None })?;
        }
        (Some(Manner::Merged), Some(Manner::Demoting)) => {
            set(tx, author, Some(Manner::Demoting))?;
            add(tx, task, &Task::Demote { author, after: None })?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

/// A walk has come to its end: what the author's manner is now, and the next walk, if the count has crossed back meanwhile.
pub(super) async fn walked(
    tx: &Transaction,
    author: UserId,
    was: Manner,
    limits: &FeedLimits,
) -> Result<Option<Task>, StoreError> {
    let followers = counts::read(tx, author, Counted::Followers).await?;
    let (manner, next) = match (was, due(followers, limits)) {
        (Manner::Promoting, Some(Manner::Demoting)) => {
            (Some(Manner::Demoting), Some(Task::Demote { author, after: None }))
        }
        (Manner::Promoting | Manner::Merged, _) => (Some(Manner::Merged), None),
        (Manner::Demoting, Some(Manner::Promoting)) => {
            (Some(Manner::Promoting), Some(Task::Promote { author, after: None }))
        }
        (Manner::Demoting, _) => (None, None),
    };
    set(tx, author, manner)?;
    Ok(next)
}
