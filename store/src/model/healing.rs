//! Lost bytes that are uploaded again.
//!
//! An original that is missing is found out when its photo is processed, which ends `failed`, or when the same bytes
//! are uploaded once more, by whomever, which is not acknowledged before somebody has looked for the object that has
//! them. Then the bytes just sent take the place of what was lost, for every photo that has them. The object that was
//! lost may come back all the same (a folder was not mounted, a backup was restored), and photos go on naming it until
//! the Janitor has corrected them, a few at a time. Only then is it nobody's: buried any earlier, it would be taken from
//! photos that have found it again; forgotten, it would stay for ever.

use super::blobs::{self, Blob};
use super::photos::{self, Original, Photo};
use super::{ContentHash, PhotoId, objects};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::objects::ObjectKey;

/// Lets the blob be where `fresh` was just put, and the photo with it. If there was one, `lost`, the other photos that
/// have it follow by [`follow`].
pub(super) fn heal(
    tx: &Transaction,
    photo: &mut Photo,
    lost: Option<Blob>,
    fresh: &Original,
) -> Result<(), StoreError> {
    let mut blob = Blob { object: fresh.object.clone(), bytes: fresh.bytes, former: Vec::new() };
    if let Some(lost) = lost {
        blob.former = lost.former;
        blob.former.push(lost.object);
        blobs::ask_to_check(tx, &fresh.hash)?;
    }
    blobs::put(tx, &fresh.hash, &blob)?;
    photo.original.object = fresh.object.clone();
    Ok(())
}

/// Corrects the records of photos that name another object than their blob does: those after `after`, looking at most
/// at `limit`. Returns where to go on, `None` at the end.
///
/// # Errors
/// Those of the engine.
pub async fn follow(
    tx: &Transaction,
    hash: &ContentHash,
    after: Option<PhotoId>,
    limit: usize,
) -> Result<Option<PhotoId>, StoreError> {
    let Some(blob) = blobs::get(tx, hash).await? else { return Ok(None) };
    let ids = blobs::references(tx, hash, after, limit).await?;
    for id in &ids {
        if let Some(mut photo) = photos::get(tx, *id).await?
            && photo.original.object != blob.object
        {
            photo.original.object = blob.object.clone();
            photos::put(tx, &photo).await?;
        }
    }
    Ok(ids.last().copied().filter(|_| ids.len() == limit))
}

/// Lays tombstones for what the blob was before, once every photo names `object`. Changes nothing if the blob has been
/// replaced once more since: then photos have to follow again.
///
/// # Errors
/// Those of the engine.
pub async fn bury_former(tx: &Transaction, hash: &ContentHash, object: &ObjectKey) -> Result<(), StoreError> {
    let Some(mut blob) = blobs::get(tx, hash).await? else { return Ok(()) };
    if blob.object != *object {
        return Ok(());
    }
    for former in std::mem::take(&mut blob.former) {
        objects::bury(tx, &former)?;
    }
    blobs::put(tx, hash, &blob)
}
