//! A post that is created with the upload of its photo, in the same transaction.
//!
//! It has the id of its photo. So an upload that is sent again makes no second post, whether it has an idempotency key or is
//! told of a duplicate.

use serde::{Deserialize, Serialize};

use super::publishing::look;
use super::{Created, Creation, Post, create, get};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::photos::Photo;
use crate::model::visibility::Visibility;
use crate::model::{PhotoId, PostId, Timestamp};

/// The post in which an uploaded photo is to be shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Draft {
    /// How visible it is.
    pub visibility: Visibility,
    /// What its author says.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub caption: String,
}

impl Draft {
    /// The post's id.
    fn id(photo: PhotoId) -> PostId {
        PostId(photo.0)
    }

    /// The post; `None` for a photo whose owner no user can be.
    fn post(&self, photo: &Photo, now: Timestamp) -> Option<Post> {
        let ids = (Self::id(photo.id), photo.owner.user()?);
        let post = Post::new(ids, self.caption.clone(), self.visibility, now);
        Some(Post { photos: vec![photo.id], ..post })
    }
}

/// Why the photo, which is stored or is to be, cannot be shown in such a post. To be asked before anything is written.
pub(in crate::model) async fn refused_with_photo(
    tx: &Transaction,
    draft: &Draft,
    photo: &Photo,
) -> Result<Option<Created>, StoreError> {
    if get(tx, Draft::id(photo.id)).await?.is_some() {
        return Ok(None); // It stays as it is.
    }
    let Some(post) = draft.post(photo, photo.created) else { return Ok(None) };
    Ok(look(tx, photo, &post).await?.err())
}

/// Creates the post, unless it is there. The photo is stored, in this transaction or before.
pub(in crate::model) async fn create_with_photo(
    tx: &Transaction,
    (draft, history): (&Draft, u64),
    photo: &Photo,
    now: Timestamp,
) -> Result<(), StoreError> {
    let Some(post) = draft.post(photo, now) else { return Ok(()) };
    // What could be refused was, before the photo was stored.
    create(tx, &Creation { post, history }).await.map(|_| ())
}
