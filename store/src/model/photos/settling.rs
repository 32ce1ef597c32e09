//! A photo is made ready, failed, or processed again: always together with its job, and only by who holds that.

use super::photo::count;
use super::{Failure, Made, Photo, State, Variant, get, put};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::batches::{self, ItemState};
use crate::model::changes::{self, Change, What};
use crate::model::{JobId, PhotoId, Timestamp, jobs, objects};

/// Who settles a photo: the holder of its job.
#[derive(Clone, Copy, Debug)]
pub struct Settling {
    /// The photo.
    pub photo: PhotoId,
    /// Its job.
    pub job: JobId,
    /// The caller's lease on it.
    pub lease: jobs::Lease,
    /// When.
    pub now: Timestamp,
    /// See [`identity::Identity::history`](crate::model::identity::Identity::history).
    pub history: u64,
}

/// What became of a photo that was to be published or failed.
#[derive(Clone, Debug)]
pub enum Settled {
    /// It is as it was to be.
    Done(Photo),
    /// Somebody else holds the job now, or it is finished: nothing changed.
    LeaseLost,
    /// The photo was deleted in the meantime: nothing changed.
    PhotoGone,
    /// A variant's intent is gone: nothing changed, and its objects must be put again under other keys.
    IntentGone,
}

/// Either the photo and the job that the caller holds, or why not.
async fn settle(tx: &Transaction, by: &Settling) -> Result<Result<(Photo, jobs::Job), Settled>, StoreError> {
    let Some(photo) = get(tx, by.photo).await? else { return Ok(Err(Settled::PhotoGone)) };
    if photo.settled_by == Some(by.lease.id) {
        return Ok(Err(Settled::Done(photo))); // An earlier run of this transaction has committed.
    }
    match jobs::held(tx, by.job, by.lease.id).await? {
        Some(job) => Ok(Ok((photo, job))),
        None => Ok(Err(Settled::LeaseLost)),
    }
}

/// Makes a photo ready: its variants recorded, its job gone, all at once. A variant replaces the one of the
/// same preset, whose object gets a tombstone.
///
/// # Errors
/// Those of the engine.
pub async fn publish(tx: &Transaction, by: &Settling, made: &Made) -> Result<Settled, StoreError> {
    let Made { variants, looks, damage } = made;
    let (mut photo, job) = match settle(tx, by).await? {
        Ok(found) => found,
        Err(settled) => return Ok(settled),
    };
    for variant in variants {
        if !objects::is_intended(tx, by.lease.epoch, &variant.object).await? {
            return Ok(Settled::IntentGone);
        }
    }
    // A preset's variants are replaced together: it may have more of them, or fewer, than before.
    let remade = |old: &Variant| variants.iter().any(|variant| variant.preset == old.preset);
    for old in photo.variants.iter().filter(|old| remade(old)) {
        objects::bury(tx, &old.object)?;
    }
    photo.variants.retain(|old| !remade(old));
    for variant in variants {
        objects::fulfil(tx, by.lease.epoch, &variant.object)?;
        photo.variants.push(variant.clone());
    }
    photo.looks.clone_from(looks);
    photo.damage.clone_from(damage);
    let photo = transition(tx, photo, State::Ready, by).await?;
    jobs::remove(tx, &job)?;
    Ok(Settled::Done(photo))
}

/// Ends a photo as failed, with a reason that its user can read. A ready photo whose new variants could not
/// be made stays ready with those it has, and remembers the digests of those that were `wanted`.
///
/// # Errors
/// Those of the engine.
pub async fn fail(
    tx: &Transaction,
    by: &Settling,
    failure: &Failure,
    wanted: &[String],
) -> Result<Settled, StoreError> {
    let (photo, job) = match settle(tx, by).await? {
        Ok(found) => found,
        Err(settled) => return Ok(settled),
    };
    jobs::remove(tx, &job)?;
    end_failed(tx, photo, by, failure, wanted).await.map(Settled::Done)
}

/// As [`fail`], where another attempt might end otherwise and it is we who make none: the job's letter is kept for the
/// operator.
///
/// # Errors
/// Those of the engine.
pub async fn give_up(
    tx: &Transaction,
    by: &Settling,
    failure: &Failure,
    wanted: &[String],
) -> Result<Settled, StoreError> {
    let held = jobs::held(tx, by.job, by.lease.id).await?;
    let settled = fail(tx, by, failure, wanted).await?;
    // A second run finds no job that it holds: the first has left the letter.
    if let (Settled::Done(_), Some(job)) = (&settled, held) {
        let (code, detail) = (failure.code.clone(), failure.detail.clone());
        jobs::bury(tx, &jobs::DeadJob { job, code, detail, died: by.now })?;
    }
    Ok(settled)
}

async fn end_failed(
    tx: &Transaction,
    mut photo: Photo,
    by: &Settling,
    failure: &Failure,
    wanted: &[String],
) -> Result<Photo, StoreError> {
    if photo.state == State::Ready {
        photo.unrenderable = wanted.to_vec();
        return transition(tx, photo, State::Ready, by).await;
    }
    photo.failure = Some(failure.clone());
    transition(tx, photo, State::Failed, by).await
}

/// The photo's job is dropped: one that was being processed ends as failed, any other stays as it is. `by` is left on
/// it in either case. The caller has found the job in the same transaction.
///
/// # Errors
/// Those of the engine.
pub(in crate::model) async fn give_up_unfinished(
    tx: &Transaction,
    by: &Settling,
    failure: &Failure,
) -> Result<(), StoreError> {
    let Some(mut photo) = get(tx, by.photo).await? else { return Ok(()) };
    if photo.state == State::Processing {
        return end_failed(tx, photo, by, failure, &[]).await.map(|_| ());
    }
    photo.settled_by = Some(by.lease.id);
    put(tx, &photo).await
}

/// A failed photo is tried again. The caller adds its job.
///
/// # Errors
/// Those of the engine.
pub(in crate::model) async fn revive(
    tx: &Transaction,
    mut photo: Photo,
    now: Timestamp,
) -> Result<(), StoreError> {
    batches::photo_moved(tx, &photo, ItemState::Processing, None, now).await?;
    count(tx, photo.state, -1)?;
    photo.state = State::Processing;
    photo.failure = None;
    photo.updated = now;
    count(tx, photo.state, 1)?;
    put(tx, &photo).await
}

/// Variants that could not be made may be asked for again.
///
/// # Errors
/// Those of the engine.
pub(in crate::model) async fn forget_unrenderable(
    tx: &Transaction,
    mut photo: Photo,
) -> Result<(), StoreError> {
    photo.unrenderable.clear();
    put(tx, &photo).await
}

async fn transition(
    tx: &Transaction,
    mut photo: Photo,
    to: State,
    by: &Settling,
) -> Result<Photo, StoreError> {
    batches::photo_moved(tx, &photo, to.into(), photo.failure.as_ref(), by.now).await?;
    count(tx, photo.state, -1)?;
    count(tx, to, 1)?;
    photo.state = to;
    photo.updated = by.now;
    photo.settled_by = Some(by.lease.id);
    put(tx, &photo).await?;
    let owner = Some(photo.owner.clone());
    let what = match to {
        State::Failed => What::PhotoFailed { photo: photo.id, owner },
        State::Ready | State::Processing => What::PhotoReady { photo: photo.id, owner },
    };
    changes::append(tx, by.history, &Change { at: by.now, what })?;
    Ok(photo)
}

/// Asks for the variants that a ready photo lacks. Returns whether there is a job now that was not there
/// before. A second run finds its own job. (If that was done in between, it adds it once more, and nothing is
/// rendered, since nothing is lacking.)
///
/// # Errors
/// Those of the engine.
pub async fn request_render(tx: &Transaction, job: &jobs::Job) -> Result<bool, StoreError> {
    let Some(id) = job.photo() else { return Ok(false) };
    if let Some(there) = jobs::of_photo(tx, id).await? {
        return Ok(there.id == job.id); // By an earlier run of this transaction, if it is this one.
    }
    if get(tx, id).await?.is_none_or(|photo| photo.state != State::Ready) {
        return Ok(false);
    }
    jobs::enqueue(tx, job)?;
    Ok(true)
}
