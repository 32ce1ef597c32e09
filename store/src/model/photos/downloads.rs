//! How often a photo's original was sent to somebody else than its owner.
//!
//! No ledger: a node sums in memory and writes every few seconds, so what it has not written is lost when it dies, and a
//! write whose outcome stays unknown may be counted twice.

use super::get;
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::subspaces::PHOTO_DOWNLOADS;
use crate::model::{PhotoId, counters};

/// Adds to the counts of photos; those that are gone are passed over.
///
/// # Errors
/// Those of the engine.
pub async fn downloaded(tx: &Transaction, photos: &[(PhotoId, u64)]) -> Result<(), StoreError> {
    for (photo, times) in photos {
        // Read so that a deletion at the same time leaves no counter behind.
        if get(tx, *photo).await?.is_some() {
            let times = i64::try_from(*times).unwrap_or(i64::MAX);
            counters::add(tx, PHOTO_DOWNLOADS, &(photo.0,), times)?;
        }
    }
    Ok(())
}

/// How often the photo was downloaded, as far as nodes have written it. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn downloads(tx: &Transaction, photo: PhotoId) -> Result<u64, StoreError> {
    let count = counters::read(tx, PHOTO_DOWNLOADS, &(photo.0,)).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

pub(super) fn forget(tx: &Transaction, photo: PhotoId) -> Result<(), StoreError> {
    tx.clear(&PHOTO_DOWNLOADS.key(&(photo.0,)))
}
