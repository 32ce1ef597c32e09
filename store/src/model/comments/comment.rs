//! A comment's record, and what reads it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::model::subspaces::{COMMENTS, COMMENTS_BY_USER, POSTS, REPLIES, REPLY_COUNTS, REPLY_PARENTS};
use crate::model::{CommentId, PostId, Timestamp, UserId, counters, record};

/// What somebody says about a post, or about a comment on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Comment {
    /// Its id.
    pub id: CommentId,
    /// What it is about.
    pub post: PostId,
    /// Who says it.
    pub author: UserId,
    /// What. Nothing in one that is deleted.
    pub text: String,
    /// The comment that it replies to, which replies to none itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<CommentId>,
    /// When it was written.
    pub created: Timestamp,
    /// When it was deleted: it stands in for itself while it has replies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Timestamp>,
}

impl Comment {
    /// Where its record stands.
    pub(super) fn key(&self) -> Vec<u8> {
        match self.reply_to {
            Some(parent) => REPLIES.key(&(self.post.0, parent.0, self.id.0)),
            None => COMMENTS.key(&(self.post.0, self.id.0)),
        }
    }

    pub(super) fn put(&self, tx: &Transaction) -> Result<(), StoreError> {
        tx.set(&self.key(), &record::encode(self)?)
    }
}

/// The comment or reply of this id, if the post has it; also one that is deleted and stands in for itself. Not asked whether
/// the post is there: whoever asks has read it.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, post: PostId, id: CommentId) -> Result<Option<Comment>, StoreError> {
    let key = COMMENTS.key(&(post.0, id.0));
    if let Some(bytes) = tx.get(&key).await? {
        return record::decode(&key, &bytes).map(Some);
    }
    let pointer = REPLY_PARENTS.key(&(post.0, id.0));
    let Some(bytes) = tx.get(&pointer).await? else { return Ok(None) };
    let parent: CommentId = record::decode(&pointer, &bytes)?;
    let key = REPLIES.key(&(post.0, parent.0, id.0));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// A post's comments that reply to none, after one of them, the earliest first, at most `limit`. A look that conflicts with
/// nobody.
///
/// # Errors
/// Those of the engine.
pub async fn list(
    tx: &Transaction,
    post: PostId,
    after: Option<CommentId>,
    limit: usize,
) -> Result<Vec<Comment>, StoreError> {
    let all = COMMENTS.range(&(post.0,));
    let range = after.map_or(all.clone(), |after| all.after(&COMMENTS.key(&(post.0, after.0))));
    records(tx, &range, RangeOptions::first(limit).snapshot()).await
}

/// The replies to a comment, as [`list`].
///
/// # Errors
/// Those of the engine.
pub async fn replies(
    tx: &Transaction,
    (post, comment): (PostId, CommentId),
    after: Option<CommentId>,
    limit: usize,
) -> Result<Vec<Comment>, StoreError> {
    let all = REPLIES.range(&(post.0, comment.0));
    let range = after.map_or(all.clone(), |after| all.after(&REPLIES.key(&(post.0, comment.0, after.0))));
    records(tx, &range, RangeOptions::first(limit).snapshot()).await
}

pub(super) async fn records(
    tx: &Transaction,
    range: &KeyRange,
    options: RangeOptions,
) -> Result<Vec<Comment>, StoreError> {
    let rows = tx.get_range(range, options).await?;
    rows.iter().map(|(key, bytes)| record::decode(key, bytes)).collect()
}

/// How many replies a comment has. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn replies_count(tx: &Transaction, post: PostId, comment: CommentId) -> Result<u64, StoreError> {
    let count = counters::read(tx, REPLY_COUNTS, &(post.0, comment.0)).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// A user's comments and replies, after one of them, the earliest first, from at most `limit` rows; and after which to go on,
/// if there may be more. Those on posts that are gone are left out: their rows are yet to be erased.
///
/// # Errors
/// Those of the engine.
pub async fn of_user(
    tx: &Transaction,
    user: UserId,
    after: Option<CommentId>,
    limit: usize,
) -> Result<(Vec<Comment>, Option<CommentId>), StoreError> {
    let all = COMMENTS_BY_USER.range(&(user.0,));
    let range = after.map_or(all.clone(), |after| all.after(&COMMENTS_BY_USER.key(&(user.0, after.0))));
    let rows = tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?;
    let (mut comments, mut last) = (Vec::new(), None);
    for (key, bytes) in &rows {
        let (_, id): (Uuid, Uuid) = COMMENTS_BY_USER.unpack(key)?;
        let post: PostId = record::decode(key, bytes)?;
        last = Some(CommentId(id));
        if tx.snapshot_get(&POSTS.key(&(post.0,))).await?.is_some() {
            comments.extend(get(tx, post, CommentId(id)).await?);
        }
    }
    Ok((comments, last.filter(|_| rows.len() == limit)))
}
