//! A post's record, and what reads it.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::caption;
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::model::subspaces::{POST_POSITIONS, POSTS, POSTS_BY_AUTHOR, POSTS_BY_PHOTO};
use crate::model::visibility::{self, Relation, Viewer, Visibility};
use crate::model::{PhotoId, Position, PostId, Timestamp, UserId, record, users};

/// Where a post stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its photos are not all ready; only its author sees it.
    Waiting,
    /// It is in its author's list.
    Published,
    /// One of its photos cannot be processed; only its author sees it. It is published if that changes.
    Failed,
}

impl State {
    /// The word in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Published => "published",
            Self::Failed => "failed",
        }
    }
}

/// Photos published with a caption, or another post that is shown again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Post {
    /// Its id.
    pub id: PostId,
    /// Whose it is. Its photos are theirs, too.
    pub author: UserId,
    /// Where it stands.
    pub state: State,
    /// How visible it is once it is published.
    pub visibility: Visibility,
    /// What it shows, in order. None in a post that shares another.
    pub photos: Vec<PhotoId>,
    /// The post that it shares. That may be gone, or not to be seen by whoever sees this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared: Option<PostId>,
    /// What its author says.
    pub caption: String,
    /// The tags in that, folded, each once.
    pub tags: Vec<String>,
    /// Users mentioned in that who were there when it was written, each once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mentions: Vec<UserId>,
    /// Whether it ever was published to others than its author. Until then, to be made visible gives it a new position.
    #[serde(default)]
    pub was_shown: bool,
    /// When it was written.
    pub created: Timestamp,
    /// When it was published, the last time that it got a position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub published: Option<Timestamp>,
    /// When its author last changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edited: Option<Timestamp>,
}

impl Post {
    /// A post that shows nothing yet, as its author writes it: the tags are those of the caption.
    pub fn new(
        (id, author): (PostId, UserId),
        caption: String,
        visibility: Visibility,
        now: Timestamp,
    ) -> Self {
        Self {
            id,
            author,
            state: State::Waiting,
            visibility,
            photos: Vec::new(),
            shared: None,
            tags: caption::tags(&caption),
            caption,
            mentions: Vec::new(),
            was_shown: false,
            created: now,
            published: None,
            edited: None,
        }
    }

    /// Whether it is in lists that others than its author see.
    pub fn is_shown(&self) -> bool {
        self.state == State::Published && self.visibility != Visibility::Private
    }

    /// Whether somebody may see it who stands so to its author.
    pub fn admits(&self, relation: Relation) -> bool {
        relation == Relation::Owner || (self.state == State::Published && self.visibility.admits(relation))
    }
}

/// That a photo is in a published post: what is looked at for whether the photo may be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The post.
    pub post: PostId,
    /// How visible that is.
    pub visibility: Visibility,
}

/// The post, if it exists.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: PostId) -> Result<Option<Post>, StoreError> {
    let key = POSTS.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// The post, if it exists and `viewer` may see it. The transaction conflicts with whoever changes that.
///
/// # Errors
/// Those of the engine.
pub async fn seen(tx: &Transaction, viewer: Viewer, id: PostId) -> Result<Option<Post>, StoreError> {
    let Some(post) = get(tx, id).await? else { return Ok(None) };
    let may = visibility::may_see_post(tx, viewer, &post).await?;
    Ok(may.then_some(post))
}

/// A post, as it is to somebody who wants to change it.
#[derive(Clone, Debug)]
pub enum Owned {
    /// It is theirs.
    Theirs(Post),
    /// It is somebody else's, and they may see it.
    Others,
    /// There is none that they may see.
    Unseen,
}

/// The post that `by` wants to change.
///
/// # Errors
/// Those of the engine.
pub async fn owned(tx: &Transaction, by: UserId, id: PostId) -> Result<Owned, StoreError> {
    Ok(match seen(tx, Viewer::User(by), id).await? {
        Some(post) if post.author == by => Owned::Theirs(post),
        Some(_) => Owned::Others,
        None => Owned::Unseen,
    })
}

/// The users whom a post's caption mentions: those who are there, but its author, and none where one of the two has blocked
/// the other.
pub(super) async fn mentioned(tx: &Transaction, post: &Post) -> Result<Vec<UserId>, StoreError> {
    let mut mentioned = Vec::new();
    for handle in caption::handles(&post.caption) {
        let Some(user) = users::by_handle(tx, &handle).await? else { continue };
        if user != post.author && !visibility::is_blocked(tx, post.author, user).await? {
            mentioned.push(user);
        }
    }
    Ok(mentioned)
}

pub(in crate::model) fn put(tx: &Transaction, post: &Post) -> Result<(), StoreError> {
    tx.set(&POSTS.key(&(post.id.0,)), &record::encode(post)?)
}

/// The position of a published post. Not to be read in the transaction that gives it one.
///
/// # Errors
/// Those of the engine.
pub async fn position(tx: &Transaction, id: PostId) -> Result<Option<Position>, StoreError> {
    let key = POST_POSITIONS.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| Position::of_value(&key, &bytes)).transpose()
}

/// An author's published posts, of every visibility, newest first, older than `before`, at most `limit`: ids and
/// positions.
///
/// # Errors
/// Those of the engine.
pub async fn of_author(
    tx: &Transaction,
    author: UserId,
    before: Option<Position>,
    limit: usize,
) -> Result<Vec<(Position, PostId)>, StoreError> {
    let list = (author.0,);
    let all = POSTS_BY_AUTHOR.range(&list);
    let range: KeyRange = match before {
        Some(before) => all.before(&before.key(POSTS_BY_AUTHOR, &list)),
        None => all,
    };
    let rows = tx.get_range(&range, RangeOptions::last(limit).snapshot()).await?;
    rows.iter()
        .map(|(key, bytes)| Ok((Position::of_key(POSTS_BY_AUTHOR, &list, key)?, record::decode(key, bytes)?)))
        .collect()
}

/// The published posts that show a photo. The transaction conflicts with whoever changes them.
///
/// # Errors
/// Those of the engine.
pub async fn showing(tx: &Transaction, photo: PhotoId) -> Result<Vec<Shown>, StoreError> {
    let rows = tx.get_range(&POSTS_BY_PHOTO.range(&(photo.0,)), RangeOptions::default()).await?;
    rows.iter()
        .map(|(key, bytes)| {
            let (_, post): (Uuid, Uuid) = POSTS_BY_PHOTO.unpack(key)?;
            Ok(Shown { post: PostId(post), visibility: record::decode(key, bytes)? })
        })
        .collect()
}
