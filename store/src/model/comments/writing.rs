//! A comment is written.

use super::Comment;
use super::comment::get;
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::changes::{self, Change, What};
use crate::model::posts::counts::{self, Counted};
use crate::model::subspaces::{COMMENTS_BY_USER, REPLY_COUNTS, REPLY_PARENTS};
use crate::model::visibility::{Viewer, is_blocked};
use crate::model::{CommentId, PostId, Timestamp, UserId, counters, posts, record};

/// A comment to be written.
#[derive(Clone, Debug)]
pub struct Writing {
    /// Its id.
    pub id: CommentId,
    /// What it is about.
    pub post: PostId,
    /// Who says it.
    pub by: UserId,
    /// What: from 1 to [`TEXT_CHARS_MAX`](super::TEXT_CHARS_MAX) characters.
    pub text: String,
    /// The comment that it replies to.
    pub reply_to: Option<CommentId>,
    /// When.
    pub now: Timestamp,
    /// See [`identity::Identity::history`](crate::model::identity::Identity::history).
    pub history: u64,
}

/// What became of a [`Writing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// It is there.
    New(Comment),
    /// There is no such post, or none that they may see.
    NoPost,
    /// There is no such comment to reply to: it is gone, or one of the two has blocked the other.
    NoComment(CommentId),
    /// What was to be replied to is a reply itself, to this comment.
    IsReply {
        /// What was to be replied to.
        reply: CommentId,
        /// What to reply to instead.
        to: CommentId,
    },
}

/// Writes a comment. A second run finds its own.
///
/// # Errors
/// Those of the engine.
pub async fn write(tx: &Transaction, writing: &Writing) -> Result<Written, StoreError> {
    let Writing { id, post, by, reply_to, .. } = *writing;
    let Some(about) = posts::seen(tx, Viewer::User(by), post).await? else { return Ok(Written::NoPost) };
    if let Some(there) = get(tx, post, id).await? {
        return Ok(Written::New(there)); // An earlier run of this transaction has committed.
    }
    let parent = match reply_to {
        None => None,
        Some(to) => match parent(tx, writing, to).await? {
            Ok(parent) => Some(parent),
            Err(refused) => return Ok(refused),
        },
    };
    let comment = Comment {
        id,
        post,
        author: by,
        text: writing.text.clone(),
        reply_to,
        created: writing.now,
        deleted: None,
    };
    comment.put(tx)?;
    tx.set(&COMMENTS_BY_USER.key(&(by.0, id.0)), &record::encode(&post)?)?;
    counts::add(tx, post, Counted::Comments, 1)?;
    if let Some(parent) = &parent {
        tx.set(&REPLY_PARENTS.key(&(post.0, id.0)), &record::encode(&parent.id)?)?;
        counters::add(tx, REPLY_COUNTS, &(post.0, parent.id.0), 1)?;
    }
    let in_reply_to = parent.map(|parent| parent.author);
    let what = What::PostCommented { post, author: about.author, by, comment: id, in_reply_to };
    changes::append(tx, writing.history, &Change { at: writing.now, what })?;
    Ok(Written::New(comment))
}

/// The comment that is replied to, which this transaction conflicts over with whoever deletes it.
async fn parent(
    tx: &Transaction,
    writing: &Writing,
    to: CommentId,
) -> Result<Result<Comment, Written>, StoreError> {
    let parent = get(tx, writing.post, to).await?.filter(|parent| parent.deleted.is_none());
    let Some(parent) = parent else { return Ok(Err(Written::NoComment(to))) };
    if parent.author != writing.by && is_blocked(tx, writing.by, parent.author).await? {
        return Ok(Err(Written::NoComment(to)));
    }
    match parent.reply_to {
        Some(instead) => Ok(Err(Written::IsReply { reply: to, to: instead })),
        None => Ok(Ok(parent)),
    }
}
