//! Who follows whom, and who has blocked whom.
//!
//! Both ways of each stand in rows of their own, so that either side can be listed; the row of the follower is the marker
//! by which a second run knows its own work. Counts change with the rows.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::changes::{self, Change, What};
use super::subspaces::{BLOCKED_BY, BLOCKS, FOLLOWERS, FOLLOWING, FOLLOWING_MERGED, Subspace};
use super::users::counts::{self, Counted};
use super::{Timestamp, UserId, conversations, fanout, record, users, visibility};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// That somebody follows somebody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Follow {
    /// Since when.
    pub since: Timestamp,
}

/// Somebody does something to somebody else.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    /// Who.
    pub by: UserId,
    /// To whom; somebody else.
    pub to: UserId,
    /// When.
    pub now: Timestamp,
    /// See [`identity::Identity::history`](super::identity::Identity::history).
    pub history: u64,
}

impl Act {
    fn append(&self, tx: &Transaction, what: What) -> Result<(), StoreError> {
        changes::append(tx, self.history, &Change { at: self.now, what })
    }
}

/// What became of a wish to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// They follow now, and did not before.
    New,
    /// They did before; nothing changed.
    Before,
    /// There is nobody to follow, or one has blocked the other.
    Nobody,
    /// They follow as many as one may.
    TooMany,
}

/// Has `act.by` follow `act.to`. Who follows as many as `following_max` follows nobody more; of several at once a few more
/// may pass.
///
/// # Errors
/// Those of the engine.
pub async fn follow(tx: &Transaction, act: &Act, following_max: u64) -> Result<Followed, StoreError> {
    let (by, to) = (act.by, act.to);
    if users::get(tx, to).await?.is_none() || visibility::is_blocked(tx, by, to).await? {
        return Ok(Followed::Nobody);
    }
    let following = FOLLOWING.key(&(by.0, to.0));
    if tx.get(&following).await?.is_some() {
        return Ok(if tx.may_repeat() { Followed::New } else { Followed::Before });
    }
    if counts::read(tx, by, Counted::Following).await? >= following_max {
        return Ok(Followed::TooMany);
    }
    tx.set(&following, &record::encode(&Follow { since: act.now })?)?;
    tx.set(&FOLLOWERS.key(&(to.0, by.0)), &[])?;
    if fanout::manner(tx, to).await?.is_some_and(fanout::Manner::takes_followers_in) {
        tx.set(&FOLLOWING_MERGED.key(&(by.0, to.0)), &[])?;
    }
    counts::add(tx, by, Counted::Following, 1)?;
    counts::add(tx, to, Counted::Followers, 1)?;
    act.append(tx, What::UserFollowed { user: to, by })?;
    Ok(Followed::New)
}

/// Ends that; whether it was so.
///
/// # Errors
/// Those of the engine.
pub async fn unfollow(tx: &Transaction, act: &Act) -> Result<bool, StoreError> {
    let ended = end(tx, act.by, act.to).await?;
    if ended {
        act.append(tx, What::UserUnfollowed { user: act.to, by: act.by })?;
    }
    Ok(ended || tx.may_repeat())
}

/// `by` follows `to` no more; whether they did.
async fn end(tx: &Transaction, by: UserId, to: UserId) -> Result<bool, StoreError> {
    let following = FOLLOWING.key(&(by.0, to.0));
    if tx.get(&following).await?.is_none() {
        return Ok(false);
    }
    tx.clear(&following)?;
    tx.clear(&FOLLOWERS.key(&(to.0, by.0)))?;
    tx.clear(&FOLLOWING_MERGED.key(&(by.0, to.0)))?;
    counts::add(tx, by, Counted::Following, -1)?;
    counts::add(tx, to, Counted::Followers, -1)?;
    Ok(true)
}

/// Blocks: neither follows the other any more, and neither sees anything of the other. False if there is no such user.
///
/// # Errors
/// Those of the engine.
pub async fn block(tx: &Transaction, act: &Act) -> Result<bool, StoreError> {
    let (by, to) = (act.by, act.to);
    if users::get(tx, to).await?.is_none() {
        return Ok(false);
    }
    let blocks = BLOCKS.key(&(by.0, to.0));
    if tx.get(&blocks).await?.is_some() {
        return Ok(true);
    }
    end(tx, by, to).await?;
    end(tx, to, by).await?;
    tx.set(&blocks, &record::encode(&act.now)?)?;
    tx.set(&BLOCKED_BY.key(&(to.0, by.0)), &[])?;
    conversations::set_hidden(tx, by, to, true).await?;
    act.append(tx, What::UserBlocked { user: to, by })?;
    Ok(true)
}

/// Ends that; whether it was so. Who followed whom before does not come back.
///
/// # Errors
/// Those of the engine.
pub async fn unblock(tx: &Transaction, act: &Act) -> Result<bool, StoreError> {
    let blocks = BLOCKS.key(&(act.by.0, act.to.0));
    if tx.get(&blocks).await?.is_none() {
        return Ok(tx.may_repeat());
    }
    tx.clear(&blocks)?;
    tx.clear(&BLOCKED_BY.key(&(act.to.0, act.by.0)))?;
    if !visibility::is_blocked(tx, act.by, act.to).await? {
        conversations::set_hidden(tx, act.by, act.to, false).await?;
    }
    act.append(tx, What::UserUnblocked { user: act.to, by: act.by })?;
    Ok(true)
}

/// Whether `by` follows `to`.
///
/// # Errors
/// Those of the engine.
pub async fn is_following(tx: &Transaction, by: UserId, to: UserId) -> Result<bool, StoreError> {
    Ok(tx.get(&FOLLOWING.key(&(by.0, to.0))).await?.is_some())
}

/// Whether `by` has blocked `to`.
///
/// # Errors
/// Those of the engine.
pub async fn has_blocked(tx: &Transaction, by: UserId, to: UserId) -> Result<bool, StoreError> {
    Ok(tx.get(&BLOCKS.key(&(by.0, to.0))).await?.is_some())
}

/// Users who follow `user`, after one of them, in the order of their ids, at most `limit`. The transaction conflicts with
/// whoever begins or ends to follow between them.
///
/// # Errors
/// Those of the engine.
pub async fn followers(
    tx: &Transaction,
    user: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    others(tx, (FOLLOWERS, user), after, limit).await
}

/// Users whom `user` follows, as [`followers`].
///
/// # Errors
/// Those of the engine.
pub async fn following(
    tx: &Transaction,
    user: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    others(tx, (FOLLOWING, user), after, limit).await
}

/// Users whom `user` has blocked, as [`followers`].
///
/// # Errors
/// Those of the engine.
pub async fn blocked(
    tx: &Transaction,
    user: UserId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    others(tx, (BLOCKS, user), after, limit).await
}

async fn others(
    tx: &Transaction,
    (subspace, user): (Subspace, UserId),
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<UserId>, StoreError> {
    let all = subspace.range(&(user.0,));
    let range: KeyRange = match after {
        Some(after) => all.after(&subspace.key(&(user.0, after.0))),
        None => all,
    };
    let rows = tx.get_range(&range, RangeOptions::first(limit)).await?;
    rows.iter().map(|(key, _)| Ok(UserId(subspace.unpack::<(Uuid, Uuid)>(key)?.1))).collect()
}
