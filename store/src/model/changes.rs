//! The change log: what happened, in order per subject, for whoever follows it.
//!
//! A fixed number of shards, chosen by the subject, so that order holds per subject and followers can
//! share the work. Entries are ordered by the versionstamp of the transaction that made them true.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::position::{self, Position};
use super::subspaces::{CHANGE_SIGNALS, CHANGES, SHARD_CURSORS};
use super::{CommentId, ConversationId, MessageId, OwnerId, PhotoId, PostId, Timestamp, UserId, record};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// How many shards the log has. Part of the format: a subject's shard must never change.
pub const SHARDS: u8 = 16;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, by the clock of the node that made it.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
}

/// What happened to which subject, which is named first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
#[expect(missing_docs, reason = "a field is named after what its type is the id of")]
pub enum What {
    /// All of the photo's variants are stored.
    PhotoReady {
        photo: PhotoId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<OwnerId>,
    },
    /// The photo cannot be processed.
    PhotoFailed {
        photo: PhotoId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<OwnerId>,
    },
    /// What its owner says of the photo, or who may see it, is another.
    PhotoChanged { photo: PhotoId, owner: OwnerId },
    /// The photo is gone.
    PhotoDeleted {
        photo: PhotoId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<OwnerId>,
    },
    /// The post is to be seen, by whom it is for. The entry's position is the post's, or that of a change of it.
    PostPublished { post: PostId, author: UserId },
    /// Its caption, its photos or its visibility is another.
    PostChanged { post: PostId, author: UserId },
    /// The post is gone.
    PostDeleted { post: PostId, author: UserId },
    /// Somebody likes the post, or likes it in another way than before.
    PostLiked { post: PostId, author: UserId, by: UserId, kind: String },
    /// Somebody no longer does.
    PostUnliked { post: PostId, author: UserId, by: UserId },
    /// Somebody has said something about the post; in reply to whom, if it is a reply.
    PostCommented {
        post: PostId,
        author: UserId,
        by: UserId,
        comment: CommentId,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        in_reply_to: Option<UserId>,
    },
    /// The comment is gone.
    CommentDeleted { post: PostId, author: UserId, by: UserId, comment: CommentId },
    /// Somebody shows the post in one of their own.
    PostShared { post: PostId, author: UserId, by: UserId, share: PostId },
    /// Somebody follows the user.
    UserFollowed { user: UserId, by: UserId },
    /// Somebody no longer does.
    UserUnfollowed { user: UserId, by: UserId },
    /// Somebody has blocked the user: neither follows the other any more.
    UserBlocked { user: UserId, by: UserId },
    /// Somebody no longer does.
    UserUnblocked { user: UserId, by: UserId },
    /// What the user says of themselves is another.
    UserChanged { user: UserId },
    /// The user is gone; all that was theirs goes.
    UserDeleted { user: UserId },
    /// Somebody has written to the others of a conversation.
    MessageSent { conversation: ConversationId, message: MessageId, from: UserId, to: Vec<UserId> },
}

impl What {
    /// What it is about. Changes of one subject are in order.
    pub fn subject(&self) -> Uuid {
        match self {
            Self::PhotoReady { photo, .. }
            | Self::PhotoFailed { photo, .. }
            | Self::PhotoChanged { photo, .. }
            | Self::PhotoDeleted { photo, .. } => photo.0,
            Self::PostPublished { post, .. }
            | Self::PostChanged { post, .. }
            | Self::PostDeleted { post, .. }
            | Self::PostLiked { post, .. }
            | Self::PostUnliked { post, .. }
            | Self::PostCommented { post, .. }
            | Self::CommentDeleted { post, .. }
            | Self::PostShared { post, .. } => post.0,
            Self::UserFollowed { user, .. }
            | Self::UserUnfollowed { user, .. }
            | Self::UserBlocked { user, .. }
            | Self::UserUnblocked { user, .. }
            | Self::UserChanged { user }
            | Self::UserDeleted { user } => user.0,
            Self::MessageSent { conversation, .. } => conversation.0,
        }
    }
}

/// Appends an entry in the transaction that makes it true. Of two entries that one transaction appends to one shard, each
/// has an order of its own.
///
/// # Errors
/// Those of the engine.
pub fn append(tx: &Transaction, history: u64, change: &Change) -> Result<(), StoreError> {
    append_in_order(tx, (history, 0), change)
}

/// As [`append`], of a transaction that appends more than one: `order` ascends.
///
/// # Errors
/// Those of the engine.
pub fn append_in_order(
    tx: &Transaction,
    (history, order): (u64, u16),
    change: &Change,
) -> Result<(), StoreError> {
    let shard = shard_of(change.what.subject());
    let list = (CHANGES, &(u64::from(shard),));
    position::set_at_commit(tx, list, (history, order), &record::encode(change)?)?;
    signal(tx, shard)
}

/// Wakes who follows the shard, once the transaction has committed.
///
/// # Errors
/// Those of the engine.
pub fn signal(tx: &Transaction, shard: u8) -> Result<(), StoreError> {
    tx.atomic_add(&signal_key(shard), 1)
}

/// The key that every entry of a shard changes: what a follower watches, **at most one watch per node and shard**.
pub fn signal_key(shard: u8) -> Vec<u8> {
    CHANGE_SIGNALS.key(&(u64::from(shard),))
}

/// Entries of a shard after a position, the earliest first, at most `limit`. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn after(
    tx: &Transaction,
    shard: u8,
    position: Position,
    limit: usize,
) -> Result<Vec<(Position, Change)>, StoreError> {
    let list = (u64::from(shard),);
    let range = CHANGES.range(&list).after(&position.key(CHANGES, &list));
    let rows = tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?;
    rows.iter().map(|(key, bytes)| entry(shard, key, bytes)).collect()
}

/// As [`after`], with the error of each entry that cannot be read in its place, so that whoever must go on can pass it by.
///
/// # Errors
/// Those of the engine, and keys that are none of the log's.
pub async fn readable_after(
    tx: &Transaction,
    shard: u8,
    position: Position,
    limit: usize,
) -> Result<Vec<(Position, Result<Change, StoreError>)>, StoreError> {
    let list = (u64::from(shard),);
    let range = CHANGES.range(&list).after(&position.key(CHANGES, &list));
    let rows = tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?;
    rows.iter()
        .map(|(key, bytes)| Ok((Position::of_key(CHANGES, &list, key)?, record::decode(key, bytes))))
        .collect()
}

/// How many entries of a shard lie after a position, at most `limit`. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn count_after(
    tx: &Transaction,
    shard: u8,
    position: Position,
    limit: usize,
) -> Result<usize, StoreError> {
    let list = (u64::from(shard),);
    let range = CHANGES.range(&list).after(&position.key(CHANGES, &list));
    Ok(tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?.len())
}

/// The last position of a shard; [`Position::START`] while it has no entries. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn last(tx: &Transaction, shard: u8) -> Result<Position, StoreError> {
    end(tx, shard, RangeOptions::last(1)).await
}

/// The first position of a shard that is still kept; [`Position::START`] while it has no entries.
///
/// # Errors
/// Those of the engine.
pub async fn first(tx: &Transaction, shard: u8) -> Result<Position, StoreError> {
    end(tx, shard, RangeOptions::first(1)).await
}

async fn end(tx: &Transaction, shard: u8, which: RangeOptions) -> Result<Position, StoreError> {
    let list = (u64::from(shard),);
    let rows = tx.get_range(&CHANGES.range(&list), which.snapshot()).await?;
    rows.first().map_or(Ok(Position::START), |(key, _)| Position::of_key(CHANGES, &list, key))
}

/// The last position whose entry was removed, since it was old; [`Position::START`] if none was.
///
/// # Errors
/// Those of the engine.
pub async fn trimmed(tx: &Transaction, shard: u8) -> Result<Position, StoreError> {
    let key = trimmed_key(shard);
    tx.snapshot_get(&key).await?.map_or(Ok(Position::START), |bytes| Position::of_value(&key, &bytes))
}

/// Removes the entries of a shard up to a position, this one included.
///
/// # Errors
/// Those of the engine.
pub fn remove_until(tx: &Transaction, shard: u8, position: Position) -> Result<(), StoreError> {
    tx.clear_range(&until(shard, position))?;
    tx.set(&trimmed_key(shard), &position.to_value())
}

fn trimmed_key(shard: u8) -> Vec<u8> {
    SHARD_CURSORS.key(&(u64::from(shard), "trimmed"))
}

/// The entries of a shard up to a position, this one included.
fn until(shard: u8, position: Position) -> KeyRange {
    let list = (u64::from(shard),);
    let end = CHANGES.range(&list).after(&position.key(CHANGES, &list)).begin;
    KeyRange::new(CHANGES.range(&list).begin, end)
}

fn entry(shard: u8, key: &[u8], bytes: &[u8]) -> Result<(Position, Change), StoreError> {
    Ok((Position::of_key(CHANGES, &(u64::from(shard),), key)?, record::decode(key, bytes)?))
}

/// The shard of a subject.
pub fn shard_of(subject: Uuid) -> u8 {
    // The last byte of a UUIDv7 is random.
    subject.as_bytes()[15] % SHARDS
}
