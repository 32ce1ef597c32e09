//! A batch that nothing has happened to for long is removed, a few rows at a time. Its photos stay.
//!
//! Each batch has one row that says when to look at it. Changes of the batch do not move that row, since there are many of
//! them: whoever looks moves it to where the last change says. Once the record is gone, nothing is added to the batch any
//! more, and the row leads to what is left of it until nothing is.

use super::{batch, counts, items};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::model::subspaces::BATCHES_BY_EXPIRY;
use crate::model::{BatchId, Timestamp};

/// What became of a batch that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expired {
    /// It stays: something has happened to it since. It is looked at again later.
    Kept,
    /// A part of it is gone: come again.
    InPart,
    /// Nothing of it is left.
    Whole,
}

/// Batches to be looked at now, each with the time that its row names: at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn due(
    tx: &Transaction,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<(Timestamp, BatchId)>, StoreError> {
    let all = BATCHES_BY_EXPIRY.all();
    let range = KeyRange::new(all.begin, BATCHES_BY_EXPIRY.key(&(now.0.saturating_add(1),)));
    let rows = tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?;
    rows.into_iter()
        .map(|(key, _)| {
            let (due, id) = BATCHES_BY_EXPIRY.unpack::<(u64, uuid::Uuid)>(&key)?;
            Ok((Timestamp(due), BatchId(id)))
        })
        .collect()
}

/// Removes the batch, whose row names the time `due`, if nothing has happened to it for as long as it is kept: its record, or at most
/// `limit` rows of what is left without that.
///
/// # Errors
/// Those of the engine.
pub async fn expire(
    tx: &Transaction,
    (due, id): (Timestamp, BatchId),
    now: Timestamp,
    limit: usize,
) -> Result<Expired, StoreError> {
    let row = BATCHES_BY_EXPIRY.key(&(due.0, id.0));
    if let Some(batch) = batch::get(tx, id).await? {
        let last = counts::updated(tx, id).await?.max(batch.created);
        let expires = batch.expires(last);
        if expires > now {
            tx.clear(&row)?;
            tx.set(&BATCHES_BY_EXPIRY.key(&(expires.0, id.0)), &[])?;
            return Ok(Expired::Kept);
        }
        batch::remove(tx, &batch)?;
        return Ok(Expired::InPart);
    }
    for range in [items::all_of(id), counts::all_of(id)] {
        let rows = tx.get_range(&range, RangeOptions::first(limit)).await?;
        if !rows.is_empty() {
            rows.iter().try_for_each(|(key, _)| tx.clear(key))?;
            return Ok(Expired::InPart);
        }
    }
    tx.clear(&row)?;
    Ok(Expired::Whole)
}
