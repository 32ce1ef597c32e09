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
    /// Where it was before its bytes were lost and uploaded again; see [`healing`](super::healing).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<ObjectKey>,
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
    ask_to_check(tx, hash)
}

/// Asks the Janitor to look at the blob.
pub(super) fn ask_to_check(tx: &Transaction, hash: &ContentHash) -> Result<(), StoreError> {
    tx.set(&BLOBS_TO_CHECK.key(&hash_key(hash)), &[])
}

/// Photos that have this content, those after `after`, at most `limit`. A look that conflicts with nobody.
pub(super) async fn references(
    tx: &Transaction,
    hash: &ContentHash,
    after: Option<PhotoId>,
    limit: usize,
) -> Result<Vec<PhotoId>, StoreError> {
    let all = BLOB_REFERENCES.range(&hash_key(hash));
    let range = match after {
        Some(photo) => all.after(&BLOB_REFERENCES.key(&(&hash.0[..], photo.0))),
        None => all,
    };
    let rows = tx.get_range(&range, RangeOptions { limit, snapshot: true, ..Default::default() }).await?;
    let id =
        |(key, _): &(Vec<u8>, Vec<u8>)| Ok(PhotoId(BLOB_REFERENCES.unpack::<(Vec<u8>, uuid::Uuid)>(key)?.1));
    rows.iter().map(id).collect()
}

/// Blobs that lost a reference or were replaced, in the order of their hashes, those after `after`, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn to_check(
    tx: &Transaction,
    after: Option<&ContentHash>,
    limit: usize,
) -> Result<Vec<ContentHash>, StoreError> {
    let options = RangeOptions { limit, snapshot: true, ..Default::default() };
    let all = BLOBS_TO_CHECK.all();
    let range = after.map_or(all.clone(), |after| all.after(&BLOBS_TO_CHECK.key(&hash_key(after))));
    let rows = tx.get_range(&range, options).await?;
    rows.iter()
        .map(|(key, _)| {
            let (bytes,) = BLOBS_TO_CHECK.unpack::<(Vec<u8>,)>(key)?;
            let hash = bytes.try_into().map_err(|_| record::corrupt_key(key, "not a BLAKE3 digest"))?;
            Ok(ContentHash(hash))
        })
        .collect()
}

/// What the Janitor found a blob to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// Gone already, or some photo refers to it.
    Kept,
    /// No photo referred to it: its object has a tombstone now.
    Buried,
    /// It was replaced by this object, which its photos have to be told. It is to be checked again afterwards.
    Replaced(ObjectKey),
}

/// Moves the blob's object to a tombstone if no photo refers to it any more.
///
/// # Errors
/// Those of the engine.
pub async fn collect(tx: &Transaction, hash: &ContentHash) -> Result<Checked, StoreError> {
    let blob = get(tx, hash).await?;
    let references = BLOB_REFERENCES.range(&hash_key(hash));
    let referenced =
        !tx.get_range(&references, RangeOptions { limit: 1, ..Default::default() }).await?.is_empty();
    match blob {
        Some(blob) if referenced && !blob.former.is_empty() => Ok(Checked::Replaced(blob.object)),
        Some(blob) if !referenced => {
            tx.clear(&BLOBS_TO_CHECK.key(&hash_key(hash)))?;
            tx.clear(&BLOBS.key(&hash_key(hash)))?;
            blob.former.iter().try_for_each(|former| objects::bury(tx, former))?;
            objects::bury(tx, &blob.object)?;
            Ok(Checked::Buried)
        }
        _ => {
            tx.clear(&BLOBS_TO_CHECK.key(&hash_key(hash)))?;
            Ok(Checked::Kept)
        }
    }
}
