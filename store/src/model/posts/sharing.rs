//! A post is shown again, in a post of somebody else or of its author.

use super::counts::{self, Counted};
use super::{Created, Post, State, get, seen};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::changes::{self, Change, What};
use crate::model::subspaces::SHARES;
use crate::model::visibility::{Viewer, Visibility};
use crate::model::{PostId, UserId};

/// The post that `by` shares by sharing `id`: of a share it is the one that is shared there. Anybody may share what everybody
/// sees, and an author whatever is theirs and published.
pub(super) async fn original(
    tx: &Transaction,
    by: UserId,
    id: PostId,
) -> Result<Result<Post, Created>, StoreError> {
    let viewer = Viewer::User(by);
    let Some(mut post) = seen(tx, viewer, id).await? else { return Ok(Err(Created::NoPost(id))) };
    if let Some(shared) = post.shared {
        let Some(original) = seen(tx, viewer, shared).await? else { return Ok(Err(Created::NoPost(shared))) };
        post = original;
    }
    let is_theirs_to_share = post.visibility == Visibility::Public || post.author == by;
    if post.state != State::Published || !is_theirs_to_share {
        return Ok(Err(Created::NotShareable(post.id)));
    }
    Ok(Ok(post))
}

/// `share` shows `original`, which this transaction has read.
pub(super) fn begin(tx: &Transaction, share: &Post, original: &Post, history: u64) -> Result<(), StoreError> {
    tx.set(&SHARES.key(&(original.id.0, share.id.0)), &[])?;
    counts::add(tx, original.id, Counted::Shares, 1)?;
    let what =
        What::PostShared { post: original.id, author: original.author, by: share.author, share: share.id };
    // The share itself is published with order 0, in what may be the same shard.
    changes::append_in_order(tx, (history, 1), &Change { at: share.created, what })
}

/// `share` is deleted.
pub(super) async fn end(tx: &Transaction, share: PostId, original: PostId) -> Result<(), StoreError> {
    let row = SHARES.key(&(original.0, share.0));
    // The rows of an original that is gone are being erased, and are counted no more.
    if get(tx, original).await?.is_some() && tx.get(&row).await?.is_some() {
        counts::add(tx, original, Counted::Shares, -1)?;
    }
    tx.clear(&row)
}
