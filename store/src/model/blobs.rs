//! Blobs: content stored once, however many photos have it.
//!
//! A blob has one reference key per photo instead of a counter: a counter that is off by one deletes
//! somebody's photo, and an atomic add cannot be repeated after an unknown commit. Only the Janitor
//! deletes; losing a reference merely asks it to look.

use serde::{Deserialize, Serialize};

use super::subspaces::{BLOB_REFERENCES, BLOBS, BLOBS_TO_CHECK};
use super::{ContentHash, PhotoId, objects, record};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::objects::ObjectKey;

/// A content that is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Where.
    pub object: ObjectKey,
    /// Its size in bytes.
    pub bytes: u64,
}

fn hash_key(hash: &ContentHash) -> (&[u8],) {
    (&hash.0[..],)
}

/// The blob with this content.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, hash: &ContentHash) -> Result<Option<Blob>, StoreError> {
    let key = BLOBS.key(&hash_key(hash));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// Writes a new blob.
///
/// # Errors
/// Those of the engine.
pub fn put(tx: &Transaction, hash: &ContentHash, blob: &Blob) -> Result<(), StoreError> {
    tx.set(&BLOBS.key(&hash_key(hash)), &record::encode(blob)?)
}

/// Notes that `photo` has this content. The caller has read the blob in the same transaction, so that a
/// collection at the same time conflicts with it.
///
/// # Errors
/// Those of the engine.
pub fn add_reference(tx: &Transaction, hash: &ContentHash, photo: PhotoId) -> Result<(), StoreError> {
    tx.set(&BLOB_REFERENCES.key(&(&hash.0[..], photo.0)), &[])
}

/// Takes the reference of `photo` away and asks the Janitor to look at the blob.
///
/// # Errors
/// Those of the engine.
pub fn remove_reference(tx: &Transaction, hash: &ContentHash, photo: PhotoId) -> Result<(), StoreError> {
    tx.clear(&BLOB_REFERENCES.key(&(&hash.0[..], photo.0)))?;
    tx.set(&BLOBS_TO_CHECK.key(&hash_key(hash)), &[])
}

/// Blobs that lost a reference, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn to_check(tx: &Transaction, limit: usize) -> Result<Vec<ContentHash>, StoreError> {
    let options = RangeOptions { limit, snapshot: true, ..Default::default() };
    let rows = tx.get_range(&BLOBS_TO_CHECK.all(), options).await?;
    rows.iter()
        .map(|(key, _)| {
            let (bytes,) = BLOBS_TO_CHECK.unpack::<(Vec<u8>,)>(key)?;
            let hash = bytes.try_into().map_err(|_| record::corrupt_key(key, "not a BLAKE3 digest"))?;
            Ok(ContentHash(hash))
        })
        .collect()
}

/// Moves the blob's object to a tombstone if no photo refers to it any more; returns whether it did.
///
/// # Errors
/// Those of the engine.
pub async fn collect(tx: &Transaction, hash: &ContentHash) -> Result<bool, StoreError> {
    let blob = get(tx, hash).await?;
    let references = BLOB_REFERENCES.range(&hash_key(hash));
    let referenced =
        !tx.get_range(&references, RangeOptions { limit: 1, ..Default::default() }).await?.is_empty();
    tx.clear(&BLOBS_TO_CHECK.key(&hash_key(hash)))?;
    match blob {
        Some(blob) if !referenced => {
            tx.clear(&BLOBS.key(&hash_key(hash)))?;
            objects::bury(tx, &blob.object)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}
