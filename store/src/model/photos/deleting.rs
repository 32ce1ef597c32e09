//! A photo is deleted: gone from every reader's sight at once, its bytes later.

use super::photo::count;
use super::{Photo, downloads, get};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::model::batches::{self, ItemState};
use crate::model::changes::{self, Change, What};
use crate::model::subspaces::{PHOTO_DOUBLES, PHOTOS, PHOTOS_BY_CONTENT, PHOTOS_BY_OWNER};
use crate::model::{OwnerId, PhotoId, Timestamp, albums, blobs, chunks, jobs, objects, posts, record, usage};

/// As [`delete`], of a photo of this owner: those of others are none.
///
/// # Errors
/// Those of the engine.
pub async fn delete_of(
    tx: &Transaction,
    (id, owner): (PhotoId, &OwnerId),
    now: Timestamp,
    history: u64,
) -> Result<bool, StoreError> {
    if get(tx, id).await?.is_some_and(|photo| photo.owner != *owner) {
        return Ok(false);
    }
    delete(tx, id, now, history).await
}

/// Removes a photo from every reader's sight, and from its posts; false if there is none. Its variants get tombstones, its
/// blob is left to the Janitor.
///
/// # Errors
/// Those of the engine.
pub async fn delete(tx: &Transaction, id: PhotoId, now: Timestamp, history: u64) -> Result<bool, StoreError> {
    // The photo's absence is the marker: an earlier run of this transaction that may have committed had seen it.
    let Some(photo) = get(tx, id).await? else { return Ok(tx.may_repeat()) };
    posts::photo_deleted(tx, id, now, history).await?;
    for variant in &photo.variants {
        objects::bury(tx, &variant.object)?;
    }
    blobs::remove_reference(tx, &photo.original.hash, id)?;
    if let Some(job) = jobs::of_photo(tx, id).await? {
        jobs::remove(tx, &job)?;
    }
    forget_content(tx, &photo).await?;
    if let Some(album) = photo.album {
        albums::remove_photo(tx, album, id).await?;
    }
    downloads::forget(tx, id)?;
    tx.clear(&PHOTOS_BY_OWNER.key(&(photo.owner.as_str(), id.0)))?;
    chunks::clear(tx, &PHOTOS.key(&(id.0,))).await?;
    count(tx, photo.state, -1)?;
    usage::deleted(tx, &photo).await?;
    batches::photo_moved(tx, &photo, ItemState::Deleted, None, now).await?;
    let what = What::PhotoDeleted { photo: id, owner: Some(photo.owner.clone()) };
    changes::append(tx, history, &Change { at: now, what })?;
    Ok(true)
}

/// The photo is no longer the one that duplicates of its bytes are told of: a double of it is, if there is one.
async fn forget_content(tx: &Transaction, photo: &Photo) -> Result<(), StoreError> {
    let (owner, hash) = (photo.owner.as_str(), &photo.original.hash.0[..]);
    let by_content = PHOTOS_BY_CONTENT.key(&(owner, hash));
    tx.clear(&PHOTO_DOUBLES.key(&(owner, hash, photo.id.0)))?;
    let Some(bytes) = tx.get(&by_content).await? else { return Ok(()) };
    if record::decode::<PhotoId>(&by_content, &bytes)? != photo.id {
        return Ok(());
    }
    let doubles = tx.get_range(&PHOTO_DOUBLES.range(&(owner, hash)), RangeOptions::first(1)).await?;
    match doubles.first() {
        Some((double, _)) => {
            let (_, _, next) = PHOTO_DOUBLES.unpack::<(String, Vec<u8>, _)>(double)?;
            tx.set(&by_content, &record::encode(&PhotoId(next))?)?;
            tx.clear(double)
        }
        None => tx.clear(&by_content),
    }
}
