//! A comment is deleted, with the replies to it.

use super::Comment;
use super::comment::{get, records};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::model::changes::{self, Change, What};
use crate::model::posts::counts::{self, Counted};
use crate::model::posts::{self, Post};
use crate::model::subspaces::{COMMENTS_BY_USER, REPLIES, REPLY_COUNTS, REPLY_PARENTS};
use crate::model::visibility::{Viewer, is_blocked};
use crate::model::{CommentId, PostId, Timestamp, UserId, counters};

/// Most replies that are deleted with a comment. One that has more stays in its place without author and text, so that a
/// transaction stays small; it goes with the last of its replies.
pub const REPLIES_DELETED_MAX: usize = 100;

/// A comment to be deleted.
#[derive(Clone, Copy, Debug)]
pub struct Deleting {
    /// The post.
    pub post: PostId,
    /// The comment on it, or the reply.
    pub comment: CommentId,
    /// Who wants it: its author, or the post's.
    pub by: UserId,
    /// When.
    pub now: Timestamp,
    /// See [`identity::Identity::history`](crate::model::identity::Identity::history).
    pub history: u64,
}

/// What became of a [`Deleting`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// It is gone, or stands in for itself.
    Done,
    /// Neither the comment nor the post is theirs.
    Others,
    /// There is no such post, or none that they may see.
    NoPost,
    /// There is no such comment, or none that they may see.
    NoComment,
}

/// Deletes a comment and the replies to it; of more than [`REPLIES_DELETED_MAX`] none. A second run finds it gone.
///
/// # Errors
/// Those of the engine.
pub async fn delete(tx: &Transaction, deleting: &Deleting) -> Result<Deleted, StoreError> {
    let Deleting { by, .. } = *deleting;
    let Some(post) = posts::seen(tx, Viewer::User(by), deleting.post).await? else {
        return Ok(Deleted::NoPost);
    };
    let found = get(tx, post.id, deleting.comment).await?.filter(|comment| comment.deleted.is_none());
    let Some(comment) = found else {
        return Ok(if tx.may_repeat() { Deleted::Done } else { Deleted::NoComment });
    };
    if comment.author != by && post.author != by {
        let is_hidden = is_blocked(tx, by, comment.author).await?;
        return Ok(if is_hidden { Deleted::NoComment } else { Deleted::Others });
    }
    match comment.reply_to {
        Some(parent) => delete_reply(tx, deleting, &post, &comment, parent).await?,
        None => delete_thread(tx, deleting, &post, comment).await?,
    }
    Ok(Deleted::Done)
}

/// Removes a reply, and what it replies to if that stood there for its replies alone and this was the last.
async fn delete_reply(
    tx: &Transaction,
    deleting: &Deleting,
    post: &Post,
    reply: &Comment,
    parent: CommentId,
) -> Result<(), StoreError> {
    remove(tx, (deleting, 0), post, reply)?;
    counters::add(tx, REPLY_COUNTS, &(post.id.0, parent.0), -1)?;
    let Some(parent) = get(tx, post.id, parent).await?.filter(|parent| parent.deleted.is_some()) else {
        return Ok(());
    };
    let others = tx.get_range(&REPLIES.range(&(post.id.0, parent.id.0)), RangeOptions::first(1)).await?;
    if others.is_empty() {
        tx.clear(&parent.key())?;
        tx.clear(&REPLY_COUNTS.key(&(post.id.0, parent.id.0)))?;
    }
    Ok(())
}

async fn delete_thread(
    tx: &Transaction,
    deleting: &Deleting,
    post: &Post,
    mut comment: Comment,
) -> Result<(), StoreError> {
    let range = REPLIES.range(&(post.id.0, comment.id.0));
    // Whoever replies meanwhile writes into what is read here.
    let replies = records(tx, &range, RangeOptions::first(REPLIES_DELETED_MAX + 1)).await?;
    remove(tx, (deleting, 0), post, &comment)?;
    if replies.len() > REPLIES_DELETED_MAX {
        comment.text.clear();
        comment.deleted = Some(deleting.now);
        return comment.put(tx);
    }
    for (order, reply) in (1..).zip(&replies) {
        remove(tx, (deleting, order), post, reply)?;
    }
    tx.clear(&REPLY_COUNTS.key(&(post.id.0, comment.id.0)))
}

/// Removes one record with its rows, and tells of it.
fn remove(
    tx: &Transaction,
    (deleting, order): (&Deleting, u16),
    post: &Post,
    comment: &Comment,
) -> Result<(), StoreError> {
    tx.clear(&comment.key())?;
    tx.clear(&COMMENTS_BY_USER.key(&(comment.author.0, comment.id.0)))?;
    if comment.reply_to.is_some() {
        tx.clear(&REPLY_PARENTS.key(&(post.id.0, comment.id.0)))?;
    }
    counts::add(tx, post.id, Counted::Comments, -1)?;
    let (author, by) = (post.author, comment.author);
    let what = What::CommentDeleted { post: post.id, author, by, comment: comment.id };
    changes::append_in_order(tx, (deleting.history, order), &Change { at: deleting.now, what })
}
