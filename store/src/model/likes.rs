//! Who likes which post, and how. A user likes a post in one way at a time.
//!
//! The row of post and user is the marker by which a second run knows its own work; counts change with it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::changes::{self, Change, What};
use super::posts::counts::{self, Counted};
use super::posts::{self, Post};
use super::subspaces::{LIKES, LIKES_BY_USER, POSTS};
use super::visibility::Viewer;
use super::{PostId, Timestamp, UserId, record};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};

/// In which way somebody likes a post.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// They like it.
    #[default]
    Like,
    /// They love it.
    Love,
    /// It makes them laugh.
    Laugh,
    /// It makes them angry.
    Angry,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Like, Self::Love, Self::Laugh, Self::Angry];

    /// The word in the API and in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Like => "like",
            Self::Love => "love",
            Self::Laugh => "laugh",
            Self::Angry => "angry",
        }
    }
}

/// That somebody likes a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Like {
    /// How.
    pub kind: Kind,
    /// Since when, in whatever way.
    pub since: Timestamp,
}

/// Somebody does something to a post.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    /// The post.
    pub post: PostId,
    /// Who.
    pub by: UserId,
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

/// Has `act.by` like a post in this way, and in no other; false if there is none that they may see. Who likes it so already
/// changes nothing.
///
/// # Errors
/// Those of the engine.
pub async fn like(tx: &Transaction, act: &Act, kind: Kind) -> Result<bool, StoreError> {
    let Some(post) = posts::seen(tx, Viewer::User(act.by), act.post).await? else { return Ok(false) };
    let before = of(tx, act.post, act.by).await?;
    if before.is_some_and(|before| before.kind == kind) {
        return Ok(true);
    }
    if let Some(before) = before {
        counts::add(tx, act.post, Counted::LikesOf(before.kind), -1)?;
    } else {
        counts::add(tx, act.post, Counted::Likes, 1)?;
        tx.set(&LIKES_BY_USER.key(&(act.by.0, act.post.0)), &[])?;
    }
    counts::add(tx, act.post, Counted::LikesOf(kind), 1)?;
    let since = before.map_or(act.now, |before| before.since);
    tx.set(&LIKES.key(&(act.post.0, act.by.0)), &record::encode(&Like { kind, since })?)?;
    let kind = kind.as_str().to_owned();
    act.append(tx, What::PostLiked { post: act.post, author: post.author, by: act.by, kind })?;
    Ok(true)
}

/// Ends that; false if there is no post that they may see. Who does not like it changes nothing.
///
/// # Errors
/// Those of the engine.
pub async fn unlike(tx: &Transaction, act: &Act) -> Result<bool, StoreError> {
    let Some(post) = posts::seen(tx, Viewer::User(act.by), act.post).await? else { return Ok(false) };
    end(tx, act, &post).await?;
    Ok(true)
}

/// As [`unlike`], whatever the user may see: of a user who is being deleted.
///
/// # Errors
/// Those of the engine.
pub async fn withdraw(tx: &Transaction, act: &Act) -> Result<(), StoreError> {
    match posts::get(tx, act.post).await? {
        Some(post) => end(tx, act, &post).await,
        // The post's rows are being erased, and are counted no more.
        None => clear(tx, act),
    }
}

async fn end(tx: &Transaction, act: &Act, post: &Post) -> Result<(), StoreError> {
    let Some(like) = of(tx, act.post, act.by).await? else { return Ok(()) };
    clear(tx, act)?;
    counts::add(tx, act.post, Counted::Likes, -1)?;
    counts::add(tx, act.post, Counted::LikesOf(like.kind), -1)?;
    act.append(tx, What::PostUnliked { post: act.post, author: post.author, by: act.by })
}

fn clear(tx: &Transaction, act: &Act) -> Result<(), StoreError> {
    tx.clear(&LIKES.key(&(act.post.0, act.by.0)))?;
    tx.clear(&LIKES_BY_USER.key(&(act.by.0, act.post.0)))
}

/// Whether and how a user likes a post. Not asked whether it is there: whoever asks has read it.
///
/// # Errors
/// Those of the engine.
pub async fn of(tx: &Transaction, post: PostId, user: UserId) -> Result<Option<Like>, StoreError> {
    let key = LIKES.key(&(post.0, user.0));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// Who likes a post, after one of them, in the order of their ids, at most `limit`. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn list(
    tx: &Transaction,
    post: PostId,
    after: Option<UserId>,
    limit: usize,
) -> Result<Vec<(UserId, Like)>, StoreError> {
    let mut range = LIKES.range(&(post.0,));
    if let Some(after) = after {
        range = range.after(&LIKES.key(&(post.0, after.0)));
    }
    let rows = tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?;
    rows.iter()
        .map(|(key, bytes)| {
            let (_, user): (Uuid, Uuid) = LIKES.unpack(key)?;
            Ok((UserId(user), record::decode(key, bytes)?))
        })
        .collect()
}

/// The posts that a user likes, after one of them, in the order of their ids, from at most `limit` rows; and after which to
/// go on, if there may be more. Posts that are gone are left out: their rows are yet to be erased.
///
/// # Errors
/// Those of the engine.
pub async fn of_user(
    tx: &Transaction,
    user: UserId,
    after: Option<PostId>,
    limit: usize,
) -> Result<(Vec<PostId>, Option<PostId>), StoreError> {
    let mut range = LIKES_BY_USER.range(&(user.0,));
    if let Some(after) = after {
        range = range.after(&LIKES_BY_USER.key(&(user.0, after.0)));
    }
    let rows = tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?;
    let (mut posts, mut last) = (Vec::new(), None);
    for (key, _) in &rows {
        let (_, post): (Uuid, Uuid) = LIKES_BY_USER.unpack(key)?;
        last = Some(PostId(post));
        if tx.snapshot_get(&POSTS.key(&(post,))).await?.is_some() {
            posts.push(PostId(post));
        }
    }
    Ok((posts, last.filter(|_| rows.len() == limit)))
}
