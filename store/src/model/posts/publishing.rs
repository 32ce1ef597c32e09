//! A post is created, waits for its photos, and comes into its author's list.

use uuid::Uuid;

use super::post::{self, Post, State, get, mentioned, put};
use super::{PHOTOS_MAX, POSTS_PER_PHOTO_MAX, sharing};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::model::changes::{self, Change, What};
use crate::model::photos::{self, Photo};
use crate::model::position::{mark_at_commit, set_at_commit};
use crate::model::subspaces::{
    POST_POSITIONS, POSTS_BY_AUTHOR, POSTS_BY_PHOTO, POSTS_BY_TAG, POSTS_UNPUBLISHED, POSTS_WAITING,
};
use crate::model::users::counts::{self, Counted};
use crate::model::visibility::Visibility;
use crate::model::{OwnerId, PhotoId, PostId, Timestamp, record};

/// A post to be created.
#[derive(Clone, Debug)]
pub struct Creation {
    /// The record. Its state and whom it mentions are found out here, and of a share that is shared, the original.
    pub post: Post,
    /// See [`identity::Identity::history`](crate::model::identity::Identity::history).
    pub history: u64,
}

/// What became of a [`Creation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Created {
    /// It is there: published, or waiting for photos.
    New(Post),
    /// There is no such photo, or it is not the author's.
    NoPhoto(PhotoId),
    /// The photo has a visibility of its own, and the post is wider than that.
    Wider(PhotoId),
    /// The photo is in as many posts as it may be.
    ShownTooOften(PhotoId),
    /// More photos than [`PHOTOS_MAX`].
    TooManyPhotos,
    /// There is no such post to share, or none that the author may see.
    NoPost(PostId),
    /// The post may not be shared: it is not public, or not published yet.
    NotShareable(PostId),
}

/// Creates a post. It is published at once if all of its photos are ready. A second run finds its own.
///
/// # Errors
/// Those of the engine.
pub async fn create(tx: &Transaction, creation: &Creation) -> Result<Created, StoreError> {
    let mut post = creation.post.clone();
    if let Some(there) = get(tx, post.id).await? {
        return Ok(Created::New(there)); // An earlier run of this transaction has committed.
    }
    if post.photos.len() > PHOTOS_MAX {
        return Ok(Created::TooManyPhotos);
    }
    let mut states = Vec::with_capacity(post.photos.len());
    for id in &post.photos {
        let photo = photos::get(tx, *id).await?.filter(|photo| photo.owner == OwnerId::of(post.author));
        let Some(photo) = photo else { return Ok(Created::NoPhoto(*id)) };
        if let Err(refused) = look(tx, &photo, &post).await? {
            return Ok(refused);
        }
        states.push(photo.state);
    }
    if let Some(shared) = post.shared {
        let original = match sharing::original(tx, post.author, shared).await? {
            Ok(original) => original,
            Err(refused) => return Ok(refused),
        };
        post.shared = Some(original.id);
        sharing::begin(tx, &post, &original, creation.history)?;
    }
    post.mentions = mentioned(tx, &post).await?;
    post.state = state_of(&states);
    if post.state == State::Published {
        publish(tx, &mut post, (creation.history, 0), creation.post.created)?;
    } else {
        wait(tx, &post)?;
        put(tx, &post)?;
    }
    Ok(Created::New(post))
}

/// Whether the post may show the author's photo.
pub(super) async fn look(
    tx: &Transaction,
    photo: &Photo,
    post: &Post,
) -> Result<Result<(), Created>, StoreError> {
    let id = photo.id;
    if !photo.visibility.may_be_in(post.visibility) {
        return Ok(Err(Created::Wider(id)));
    }
    let most = RangeOptions::first(POSTS_PER_PHOTO_MAX).snapshot();
    let shown = tx.get_range(&POSTS_BY_PHOTO.range(&(id.0,)), most).await?.len();
    let waiting = tx.get_range(&POSTS_WAITING.range(&(id.0,)), most).await?.len();
    if shown + waiting >= POSTS_PER_PHOTO_MAX {
        return Ok(Err(Created::ShownTooOften(id)));
    }
    Ok(Ok(()))
}

/// The state that a post's photos put it in.
pub(super) async fn state_by_photos(tx: &Transaction, post: &Post) -> Result<State, StoreError> {
    let mut states = Vec::with_capacity(post.photos.len());
    for photo in &post.photos {
        states.extend(photos::get(tx, *photo).await?.map(|photo| photo.state));
    }
    Ok(state_of(&states))
}

fn state_of(photos: &[photos::State]) -> State {
    if photos.contains(&photos::State::Failed) {
        State::Failed
    } else if photos.contains(&photos::State::Processing) {
        State::Waiting
    } else {
        State::Published
    }
}

/// The post waits for its photos.
pub(super) fn wait(tx: &Transaction, post: &Post) -> Result<(), StoreError> {
    for photo in &post.photos {
        tx.set(&POSTS_WAITING.key(&(photo.0, post.id.0)), &[])?;
    }
    tx.set(&POSTS_UNPUBLISHED.key(&(post.author.0, post.id.0)), &[])
}

/// It does no longer.
pub(super) fn wait_no_more(tx: &Transaction, post: &Post) -> Result<(), StoreError> {
    for photo in &post.photos {
        tx.clear(&POSTS_WAITING.key(&(photo.0, post.id.0)))?;
    }
    tx.clear(&POSTS_UNPUBLISHED.key(&(post.author.0, post.id.0)))
}

/// A photo has become ready, or has failed: posts that wait for it are published, or fail with it. To be called by who
/// follows the change log. A second run finds them so.
///
/// # Errors
/// Those of the engine.
pub async fn photo_settled(
    tx: &Transaction,
    photo: PhotoId,
    now: Timestamp,
    history: u64,
) -> Result<(), StoreError> {
    let rows = tx.get_range(&POSTS_WAITING.range(&(photo.0,)), RangeOptions::default()).await?;
    for (order, (key, _)) in (0..).zip(rows) {
        let (_, id): (Uuid, Uuid) = POSTS_WAITING.unpack(&key)?;
        let Some(mut post) = get(tx, PostId(id)).await? else {
            tx.clear(&key)?;
            continue;
        };
        let state = state_by_photos(tx, &post).await?;
        if state == State::Published {
            wait_no_more(tx, &post)?;
            publish(tx, &mut post, (history, order), now)?;
        } else if state != post.state {
            post.state = state;
            put(tx, &post)?;
        }
    }
    Ok(())
}

/// Puts a post into its author's list, at the position of this transaction; `order` is another for each post that one
/// transaction publishes. One that stands there already is [withdrawn](withdraw) first.
pub(super) fn publish(
    tx: &Transaction,
    post: &mut Post,
    (history, order): (u64, u16),
    now: Timestamp,
) -> Result<(), StoreError> {
    post.state = State::Published;
    post.published = Some(now);
    post.was_shown |= post.is_shown();
    set_at_commit(tx, (POSTS_BY_AUTHOR, &(post.author.0,)), (history, order), &record::encode(&post.id)?)?;
    mark_at_commit(tx, &POST_POSITIONS.key(&(post.id.0,)), (history, order))?;
    if post.visibility != Visibility::Private {
        for tag in &post.tags {
            set_at_commit(tx, (POSTS_BY_TAG, &(tag,)), (history, order), &record::encode(&post.id)?)?;
        }
        counts::add(tx, post.author, Counted::Posts, 1)?;
    }
    show_photos(tx, post)?;
    put(tx, post)?;
    let what = What::PostPublished { post: post.id, author: post.author };
    changes::append_in_order(tx, (history, order), &Change { at: now, what })
}

/// Takes a published post out of every list, before it is put there anew or deleted. It must be as it is stored.
pub(super) async fn withdraw(tx: &Transaction, post: &Post) -> Result<(), StoreError> {
    let Some(position) = post::position(tx, post.id).await? else { return Ok(()) };
    tx.clear(&position.key(POSTS_BY_AUTHOR, &(post.author.0,)))?;
    for tag in &post.tags {
        tx.clear(&position.key(POSTS_BY_TAG, &(tag,)))?;
    }
    tx.clear(&POST_POSITIONS.key(&(post.id.0,)))?;
    for photo in &post.photos {
        tx.clear(&POSTS_BY_PHOTO.key(&(photo.0, post.id.0)))?;
    }
    if post.is_shown() { counts::add(tx, post.author, Counted::Posts, -1) } else { Ok(()) }
}

/// Writes how visible the post's photos are by it.
pub(super) fn show_photos(tx: &Transaction, post: &Post) -> Result<(), StoreError> {
    for photo in &post.photos {
        tx.set(&POSTS_BY_PHOTO.key(&(photo.0, post.id.0)), &record::encode(&post.visibility)?)?;
    }
    Ok(())
}
