//! A post is deleted: out of everybody's sight at once.

use super::publishing::{wait_no_more, withdraw};
use super::{State, get};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::changes::{self, Change, What};
use crate::model::subspaces::POSTS;
use crate::model::{PostId, Timestamp};

/// Removes a post from everybody's sight; false if there is none.
///
/// # Errors
/// Those of the engine.
pub async fn delete(tx: &Transaction, id: PostId, now: Timestamp, history: u64) -> Result<bool, StoreError> {
    // Its absence is the marker: an earlier run of this transaction that may have committed had seen it.
    let Some(post) = get(tx, id).await? else { return Ok(tx.may_repeat()) };
    if post.state == State::Published {
        withdraw(tx, &post).await?;
    } else {
        wait_no_more(tx, &post)?;
    }
    tx.clear(&POSTS.key(&(id.0,)))?;
    let what = What::PostDeleted { post: id, author: post.author };
    changes::append(tx, history, &Change { at: now, what })?;
    Ok(true)
}
