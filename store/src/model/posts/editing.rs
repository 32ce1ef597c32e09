//! A post is changed: by its author, or because a photo of it is deleted.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::deleting::remove;
use super::post::{Owned, mentioned, owned, position, put};
use super::publishing::{publish, show_photos, state_by_photos, wait, wait_no_more, withdraw};
use super::{Post, State, caption, get, showing};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::model::changes::{self, Change, What};
use crate::model::photos;
use crate::model::subspaces::{POSTS_BY_PHOTO, POSTS_BY_TAG, POSTS_WAITING};
use crate::model::users::counts::{self, Counted};
use crate::model::visibility::Visibility;
use crate::model::{PhotoId, PostId, Timestamp, UserId, record};

/// What is to be another in a post; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// What its author says. Its tags and mentions follow.
    pub caption: Option<String>,
    /// How visible it is.
    pub visibility: Option<Visibility>,
    /// Its photos in another order, or fewer of them.
    pub photos: Option<Vec<PhotoId>>,
}

/// Somebody changes a post.
#[derive(Clone, Debug)]
pub struct Editing {
    /// The post.
    pub post: PostId,
    /// Who.
    pub by: UserId,
    /// What.
    pub edit: Edit,
    /// When.
    pub now: Timestamp,
    /// See [`identity::Identity::history`](crate::model::identity::Identity::history).
    pub history: u64,
}

/// What became of an [`Editing`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edited {
    /// It is so now, or was before.
    Done(Post),
    /// It is somebody else's.
    Others,
    /// There is none that they may see.
    Unseen,
    /// The photo is not in the post, or was named twice.
    NotInPost(PhotoId),
    /// No photo would be left, and the post shares no other.
    NoPhotos,
    /// The photo has a visibility of its own, and the post would be wider than that.
    Wider(PhotoId),
}

/// Changes a post. A second run finds nothing left to change.
///
/// A published post keeps its place in lists, unless it was never shown to anybody but its author and is to be now: then it
/// is published anew, at the position of this transaction.
///
/// # Errors
/// Those of the engine.
pub async fn edit(tx: &Transaction, editing: &Editing) -> Result<Edited, StoreError> {
    let before = match owned(tx, editing.by, editing.post).await? {
        Owned::Theirs(post) => post,
        Owned::Others => return Ok(Edited::Others),
        Owned::Unseen => return Ok(Edited::Unseen),
    };
    let mut post = before.clone();
    let Edit { caption, visibility, photos } = &editing.edit;
    if let Some(caption) = caption.as_ref().filter(|caption| **caption != before.caption) {
        post.tags = caption::tags(caption);
        post.caption.clone_from(caption);
        post.mentions = mentioned(tx, &post).await?;
    }
    if let Some(photos) = photos {
        if let Some(refused) = refused_photos(&before, photos) {
            return Ok(refused);
        }
        post.photos.clone_from(photos);
    }
    post.visibility = visibility.unwrap_or(before.visibility);
    if post == before {
        return Ok(Edited::Done(post));
    }
    if post.visibility > before.visibility
        && let Some(photo) = narrower(tx, &post).await?
    {
        return Ok(Edited::Wider(photo));
    }
    post.edited = Some(editing.now);
    replace(tx, &before, post, (editing.history, 0), editing.now).await.map(Edited::Done)
}

fn refused_photos(before: &Post, photos: &[PhotoId]) -> Option<Edited> {
    if photos.is_empty() && before.shared.is_none() {
        return Some(Edited::NoPhotos);
    }
    let mut left = before.photos.clone();
    for photo in photos {
        let Some(place) = left.iter().position(|known| known == photo) else {
            return Some(Edited::NotInPost(*photo));
        };
        left.remove(place);
    }
    None
}

/// A photo of the post that may not be in a post of its visibility.
async fn narrower(tx: &Transaction, post: &Post) -> Result<Option<PhotoId>, StoreError> {
    for id in &post.photos {
        let photo = photos::get(tx, *id).await?;
        if photo.is_some_and(|photo| !photo.visibility.may_be_in(post.visibility)) {
            return Ok(Some(*id));
        }
    }
    Ok(None)
}

/// Puts a post that is stored as `before` into the lists in which it belongs now, and tells of it.
async fn replace(
    tx: &Transaction,
    before: &Post,
    mut post: Post,
    (history, order): (u64, u16),
    now: Timestamp,
) -> Result<Post, StoreError> {
    if before.state != State::Published {
        wait_no_more(tx, before)?;
        post.state = state_by_photos(tx, &post).await?;
        if post.state == State::Published {
            publish(tx, &mut post, (history, order), now)?;
            return Ok(post);
        }
        wait(tx, &post)?;
    } else if post.is_shown() && !before.was_shown {
        withdraw(tx, before).await?;
        publish(tx, &mut post, (history, order), now)?;
        return Ok(post);
    } else {
        relist(tx, before, &post).await?;
    }
    put(tx, &post)?;
    let what = What::PostChanged { post: post.id, author: post.author };
    changes::append_in_order(tx, (history, order), &Change { at: now, what })?;
    Ok(post)
}

/// A published post stays where it stands: what lists it by tag, photo and author's count follows its record.
async fn relist(tx: &Transaction, before: &Post, post: &Post) -> Result<(), StoreError> {
    if let Some(position) = position(tx, post.id).await? {
        let (old, new) = (listed_tags(before), listed_tags(post));
        for gone in old.iter().filter(|tag| !new.contains(tag)) {
            tx.clear(&position.key(POSTS_BY_TAG, &(gone,)))?;
        }
        for added in new.iter().filter(|tag| !old.contains(tag)) {
            tx.set(&position.key(POSTS_BY_TAG, &(added,)), &record::encode(&post.id)?)?;
        }
    }
    for gone in before.photos.iter().filter(|photo| !post.photos.contains(photo)) {
        tx.clear(&POSTS_BY_PHOTO.key(&(gone.0, post.id.0)))?;
    }
    show_photos(tx, post)?;
    match (before.is_shown(), post.is_shown()) {
        (false, true) => counts::add(tx, post.author, Counted::Posts, 1),
        (true, false) => counts::add(tx, post.author, Counted::Posts, -1),
        _ => Ok(()),
    }
}

fn listed_tags(post: &Post) -> &[String] {
    if post.is_shown() { &post.tags } else { &[] }
}

/// A photo is deleted, in this transaction: it leaves the posts that show it or wait for it. One that has no photo left and
/// shares no other post is deleted with it; one that has waited for it alone is published. All of that is some forty rows
/// for each of at most [`POSTS_PER_PHOTO_MAX`](super::POSTS_PER_PHOTO_MAX) posts.
pub(in crate::model) async fn photo_deleted(
    tx: &Transaction,
    photo: PhotoId,
    now: Timestamp,
    history: u64,
) -> Result<(), StoreError> {
    let mut posts: BTreeSet<PostId> = showing(tx, photo).await?.iter().map(|shown| shown.post).collect();
    for (key, _) in tx.get_range(&POSTS_WAITING.range(&(photo.0,)), RangeOptions::default()).await? {
        let (_, post): (Uuid, Uuid) = POSTS_WAITING.unpack(&key)?;
        posts.insert(PostId(post));
    }
    // Order 0 is the photo's own entry.
    for (order, id) in (1..).zip(posts) {
        let Some(before) = get(tx, id).await? else { continue };
        let mut post = before.clone();
        post.photos.retain(|shown| *shown != photo);
        if post.photos.is_empty() && post.shared.is_none() {
            remove(tx, &before, (history, order), now).await?;
        } else {
            replace(tx, &before, post, (history, order), now).await?;
        }
    }
    Ok(())
}
