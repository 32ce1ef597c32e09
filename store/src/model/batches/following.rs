//! What the transactions of photos do for their batch: a file was received, its photo changed, a file was refused.
//!
//! Each adds to counts, which a second run of its transaction must not do again. Where a photo's record tells the second
//! run, its caller does not come here; elsewhere the item itself tells.

use super::items::{self, Item, ItemState, Outcome};
use super::{NotAdmitted, admission, counts};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::photos::{Failure, Photo};
use crate::model::{BatchId, ItemId, OwnerId, PhotoId, Timestamp};

fn item(photo: &Photo, state: ItemState, at: Timestamp) -> Item {
    Item {
        state,
        name: photo.name.clone(),
        outcome: Outcome {
            photo: Some(photo.id),
            problem: None,
            hash: Some(photo.original.hash),
            bytes: Some(photo.original.bytes),
        },
        duplicate: false,
        received: at,
        updated: at,
    }
}

/// A file has become this photo, which is `processing` now; or it has this photo, which had failed, processed again. The
/// caller has found the photo without it, and writes it with it.
pub(in crate::model) fn photo_received(
    tx: &Transaction,
    photo: &Photo,
    upload: &Photo,
) -> Result<(), StoreError> {
    let Some(batch) = photo.batch else { return Ok(()) };
    let at = upload.created;
    let item = Item {
        name: upload.name.clone(),
        duplicate: photo.id != upload.id,
        ..item(photo, ItemState::Processing, at)
    };
    items::add(tx, batch, photo.item(), &item)?;
    counts::count(tx, batch, ItemState::Processing, 1)?;
    counts::add_bytes(tx, batch, photo.original.bytes)?;
    counts::touch(tx, batch, at)
}

/// The file of `upload` has bytes that are the photo `same` already.
pub(in crate::model) async fn duplicate_received(
    tx: &Transaction,
    upload: &Photo,
    same: PhotoId,
) -> Result<(), StoreError> {
    let Some(batch) = upload.batch else { return Ok(()) };
    let id = ItemId::from(upload.id);
    if items::get(tx, batch, id).await?.is_some() {
        return Ok(()); // An earlier run of this transaction has committed.
    }
    let at = upload.created;
    let mut item = Item { duplicate: true, ..item(upload, ItemState::Duplicate, at) };
    item.outcome.photo = Some(same);
    items::add(tx, batch, id, &item)?;
    counts::count(tx, batch, ItemState::Duplicate, 1)?;
    counts::add_bytes(tx, batch, upload.original.bytes)?;
    counts::finish(tx, batch, upload.original.bytes, at)?;
    counts::touch(tx, batch, at)
}

/// The photo goes from its state to another. The caller writes its record, which a second run reads. An item that is no
/// longer there has gone with its batch.
pub(in crate::model) async fn photo_moved(
    tx: &Transaction,
    photo: &Photo,
    to: ItemState,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (Some(batch), id) = (photo.batch, photo.item()) else { return Ok(()) };
    if to == photo.state.into() {
        return Ok(());
    }
    let Some(mut item) = items::get(tx, batch, id).await? else { return Ok(()) };
    let before = std::mem::replace(&mut item.state, to);
    item.outcome.problem = failure.cloned();
    item.updated = now;
    items::change(tx, batch, id, before, &item)?;
    counts::count(tx, batch, before, -1)?;
    counts::count(tx, batch, to, 1)?;
    if before == ItemState::Processing {
        counts::finish(tx, batch, photo.original.bytes, now)?;
    }
    counts::touch(tx, batch, now)
}

/// Bytes of a refusal's sentence that an item keeps.
const DETAIL_BYTES_MAX: usize = 1000;

/// A file that no photo is made of.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// The batch that its upload named.
    pub batch: BatchId,
    /// Whose upload it was.
    pub owner: OwnerId,
    /// New: a second run of the transaction finds the item.
    pub item: ItemId,
    /// The file's name.
    pub name: Option<String>,
    /// Its size, where that is known.
    pub bytes: Option<u64>,
    /// Why.
    pub problem: Failure,
    /// When.
    pub now: Timestamp,
    /// How many refused files are kept as items: further ones are only counted.
    pub kept_max: u64,
}

/// Notes a file that was refused. Of those that are only counted, one whose commit's outcome was unknown may be missing
/// in the count: nothing is left by which a second run could tell.
///
/// # Errors
/// Those of the engine.
pub async fn refused(tx: &Transaction, refusal: &Refusal) -> Result<Result<(), NotAdmitted>, StoreError> {
    let Refusal { batch, item: id, now, .. } = *refusal;
    if let Err(why) = admission(tx, batch, &refusal.owner).await? {
        return Ok(Err(why));
    }
    if items::get(tx, batch, id).await?.is_some() {
        return Ok(Ok(())); // An earlier run of this transaction has committed.
    }
    if counts::of(tx, batch, ItemState::Refused).await? < refusal.kept_max {
        let mut problem = refusal.problem.clone();
        problem.detail.truncate(problem.detail.floor_char_boundary(DETAIL_BYTES_MAX));
        let outcome = Outcome { problem: Some(problem), bytes: refusal.bytes, ..Outcome::default() };
        let (name, state) = (refusal.name.clone(), ItemState::Refused);
        let item = Item { state, name, outcome, duplicate: false, received: now, updated: now };
        items::add(tx, batch, id, &item)?;
    } else if tx.may_repeat() {
        return Ok(Ok(()));
    }
    counts::count(tx, batch, ItemState::Refused, 1)?;
    counts::finish(tx, batch, refusal.bytes.unwrap_or(0), now)?;
    counts::touch(tx, batch, now)?;
    Ok(Ok(()))
}
