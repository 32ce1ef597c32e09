//! What others made of a post goes after it: likes, comments, shares.

use foundationdb_tuple::TuplePack;
use uuid::Uuid;

use super::get;
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::model::comments::Comment;
use crate::model::subspaces::{
    COMMENTS, COMMENTS_BY_USER, LIKES, LIKES_BY_USER, POST_COUNTS, REPLIES, REPLY_COUNTS, REPLY_PARENTS,
    SHARES, Subspace,
};
use crate::model::{PostId, record};

/// Erases at most `rows_max` rows that a deleted post has left behind, with what lists them by user, which is up to two rows
/// more for each; whether none is left. To be called in one transaction after another once the post is
/// [deleted](super::delete), until it answers true. Nobody sees these rows meanwhile, and nobody adds any, since whoever
/// does reads the post. It erases nothing of a post that is there, and answers true.
///
/// # Errors
/// Those of the engine.
pub async fn erase_rows(tx: &Transaction, post: PostId, rows_max: usize) -> Result<bool, StoreError> {
    if get(tx, post).await?.is_some() {
        return Ok(true);
    }
    let mut left = rows_max;
    for subspace in [LIKES, COMMENTS, REPLIES, REPLY_PARENTS, REPLY_COUNTS, SHARES, POST_COUNTS] {
        // One more than may be erased tells whether any is left.
        let range = subspace.range(&(post.0,));
        let rows = tx.get_range(&range, RangeOptions::first(left.saturating_add(1)).snapshot()).await?;
        for (key, value) in rows.iter().take(left) {
            unlist(tx, subspace, key, value)?;
            tx.clear(key)?;
        }
        if rows.len() > left {
            return Ok(false);
        }
        left -= rows.len();
    }
    Ok(true)
}

/// Clears the row that lists another one by its user.
fn unlist(tx: &Transaction, subspace: Subspace, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    if subspace == LIKES {
        let (post, user): (Uuid, Uuid) = LIKES.unpack(key)?;
        return clear(tx, LIKES_BY_USER, &(user, post));
    }
    if subspace == COMMENTS || subspace == REPLIES {
        let comment: Comment = record::decode(key, value)?;
        return clear(tx, COMMENTS_BY_USER, &(comment.author.0, comment.id.0));
    }
    Ok(())
}

fn clear<T: TuplePack>(tx: &Transaction, subspace: Subspace, tuple: &T) -> Result<(), StoreError> {
    tx.clear(&subspace.key(tuple))
}
