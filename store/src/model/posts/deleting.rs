//! A post is deleted: out of everybody's sight at once.

use super::post::{Owned, owned};
use super::publishing::{wait_no_more, withdraw};
use super::{Post, State, get, sharing};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::changes::{self, Change, What};
use crate::model::subspaces::POSTS;
use crate::model::{PostId, Timestamp, UserId};

/// Removes a post from everybody's sight; false if there is none. The rows of what others made of it are left, to be
/// [erased](super::erase_rows).
///
/// # Errors
/// Those of the engine.
pub async fn delete(tx: &Transaction, id: PostId, now: Timestamp, history: u64) -> Result<bool, StoreError> {
    // Its absence is the marker: an earlier run of this transaction that may have committed had seen it.
    let Some(post) = get(tx, id).await? else { return Ok(tx.may_repeat()) };
    remove(tx, &post, (history, 0), now).await?;
    Ok(true)
}

/// What became of somebody's wish to delete a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone.
    Done,
    /// It is somebody else's.
    Others,
    /// There is none that they may see.
    Unseen,
}

/// As [`delete`], if the post is `by`'s.
///
/// # Errors
/// Those of the engine.
pub async fn delete_by(
    tx: &Transaction,
    (id, by): (PostId, UserId),
    now: Timestamp,
    history: u64,
) -> Result<Deleted, StoreError> {
    match owned(tx, by, id).await? {
        Owned::Theirs(post) => {
            remove(tx, &post, (history, 0), now).await?;
            Ok(Deleted::Done)
        }
        Owned::Others => Ok(Deleted::Others),
        Owned::Unseen if tx.may_repeat() => Ok(Deleted::Done),
        Owned::Unseen => Ok(Deleted::Unseen),
    }
}

/// Removes a post that is stored so.
pub(super) async fn remove(
    tx: &Transaction,
    post: &Post,
    (history, order): (u64, u16),
    now: Timestamp,
) -> Result<(), StoreError> {
    if post.state == State::Published {
        withdraw(tx, post).await?;
    } else {
        wait_no_more(tx, post)?;
    }
    if let Some(original) = post.shared {
        sharing::end(tx, post.id, original).await?;
    }
    tx.clear(&POSTS.key(&(post.id.0,)))?;
    let what = What::PostDeleted { post: post.id, author: post.author };
    changes::append_in_order(tx, (history, order), &Change { at: now, what })
}
