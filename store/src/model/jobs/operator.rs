//! What an operator does by hand: retry and drop.

use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::photos::{self, Failure, Photo, Settling, State};
use crate::model::{Epoch, JobId, LeaseId, PhotoId, Timestamp};

use super::queue::{change, enqueue, get, of_photo, remove};
use super::{Entry, Job, Lease, Standing, Work, dead, unbury};

/// One command of an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Random: left on what the command changed, so that a second run of its transaction knows it.
    pub id: LeaseId,
    /// When.
    pub now: Timestamp,
    /// See [`Identity::history`](crate::model::identity::Identity::history).
    pub history: u64,
}

/// What became of a job that was to be retried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retried {
    /// It is due.
    Due(Job),
    /// A node is working on it: nothing changed.
    Held(Job),
    /// It was given up, and what it was to do is no longer wanted: its photo is gone, was uploaded again, or has
    /// another job. Nothing changed.
    Unneeded,
    /// There is no such job.
    NotFound,
}

/// Makes a job due now: one that backs off, or one that was given up, whose photo is then `processing` again.
///
/// A second run finds the command's id on the job. (If the job was worked off in between, it finds none, and answers
/// so.)
///
/// # Errors
/// Those of the engine.
pub async fn retry(tx: &Transaction, id: JobId, by: &Operation) -> Result<Retried, StoreError> {
    if let Some(mut job) = get(tx, id).await? {
        if job.retried == Some(by.id) {
            return Ok(Retried::Due(job));
        }
        if Standing::of(&job, by.now) == Standing::Leased {
            return Ok(Retried::Held(job));
        }
        change(tx, &mut job, |job| {
            job.vesting = job.vesting.min(by.now);
            job.interruptions = 0;
            job.retried = Some(by.id);
        })?;
        return Ok(Retried::Due(job));
    }
    let Some(letter) = dead(tx, id).await? else { return Ok(Retried::NotFound) };
    match letter.job.work {
        Work::Process { photo } => match wanting(tx, photo, State::Failed).await? {
            Some(photo) => photos::revive(tx, photo, by.now).await?,
            None => return Ok(Retried::Unneeded),
        },
        Work::Render { photo } => match wanting(tx, photo, State::Ready).await? {
            Some(photo) => photos::forget_unrenderable(tx, photo).await?,
            None => return Ok(Retried::Unneeded),
        },
    }
    unbury(tx, &letter)?;
    let job = letter.job.afresh(by.now, by.id);
    enqueue(tx, &job)?;
    Ok(Retried::Due(job))
}

/// The photo, if it is in this state and nothing is being done for it.
async fn wanting(tx: &Transaction, photo: PhotoId, state: State) -> Result<Option<Photo>, StoreError> {
    let found = photos::get(tx, photo).await?.filter(|photo| photo.state == state);
    Ok(if of_photo(tx, photo).await?.is_some() { None } else { found })
}

/// What became of a job that was to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// It is gone.
    Done,
    /// There is no such job.
    NotFound,
}

/// Removes a job, also one that a node holds, which will find its lease lost; or the letter of one that was given up. A
/// photo that was to be processed ends `failed`; one that was ready keeps the variants it has.
///
/// `seen` is what the caller found under this id before the transaction: a second run finds no job any more, and tells
/// by the command's id on the photo, or by the letter that was seen, that it was this command that took it away.
///
/// # Errors
/// Those of the engine.
pub async fn drop_job(tx: &Transaction, seen: &Entry, by: &Operation) -> Result<Dropped, StoreError> {
    let id = seen.job().id;
    if let Some(job) = get(tx, id).await? {
        remove(tx, &job)?;
        if let Some(photo) = job.photo() {
            let failure = Failure {
                code: "dropped".to_owned(),
                detail: "an operator dropped the processing of this photo; the original is kept, and uploading it \
                         again tries again"
                    .to_owned(),
            };
            // Nobody's lease: only its id counts, as the mark of who settled the photo.
            let lease = Lease { id: by.id, epoch: Epoch(0) };
            let by = Settling { photo, job: id, lease, now: by.now, history: by.history };
            photos::give_up_unfinished(tx, &by, &failure).await?;
        }
        return Ok(Dropped::Done);
    }
    if let Some(letter) = dead(tx, id).await? {
        unbury(tx, &letter)?;
        return Ok(Dropped::Done);
    }
    let by_this_command = match (seen, seen.job().photo()) {
        // A letter goes away by a drop, a retry (then there is a job) or by age: in any case it is gone.
        (Entry::Dead(_), _) => true,
        (Entry::Live(_), Some(photo)) => {
            photos::get(tx, photo).await?.is_some_and(|photo| photo.settled_by == Some(by.id))
        }
        (Entry::Live(_), None) => false,
    };
    Ok(if by_this_command { Dropped::Done } else { Dropped::NotFound })
}
