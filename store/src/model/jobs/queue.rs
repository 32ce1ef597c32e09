//! Adding and removing jobs, and what is due.

use std::time::Duration;

use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::model::subspaces::{JOBS, JOBS_BY_PHOTO, JOBS_BY_VESTING};
use crate::model::{JobId, PhotoId, Timestamp, record};

use super::{Class, Job};

/// The job, if it still exists.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: JobId) -> Result<Option<Job>, StoreError> {
    let key = JOBS.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// The job of a photo, if it has one.
///
/// # Errors
/// Those of the engine.
pub async fn of_photo(tx: &Transaction, photo: PhotoId) -> Result<Option<Job>, StoreError> {
    let key = JOBS_BY_PHOTO.key(&(photo.0,));
    match tx.get(&key).await? {
        Some(bytes) => get(tx, record::decode(&key, &bytes)?).await,
        None => Ok(None),
    }
}

/// Adds a job. The caller knows that its photo has none, and by a marker of its own (the photo that it creates, the
/// state that it changes) that this is no second run.
///
/// # Errors
/// Those of the engine.
pub fn enqueue(tx: &Transaction, job: &Job) -> Result<(), StoreError> {
    if let Some(photo) = job.photo() {
        tx.set(&JOBS_BY_PHOTO.key(&(photo.0,)), &record::encode(&job.id)?)?;
    }
    write(tx, job)
}

/// Removes a job that is done, or whose photo is gone. The caller has read the job: a second run finds none.
///
/// # Errors
/// Those of the engine.
pub fn remove(tx: &Transaction, job: &Job) -> Result<(), StoreError> {
    unlist(tx, job)?;
    if let Some(photo) = job.photo() {
        tx.clear(&JOBS_BY_PHOTO.key(&(photo.0,)))?;
    }
    tx.clear(&JOBS.key(&(job.id.0,)))
}

/// Writes the record alone, where neither vesting time nor holder has changed.
pub(super) fn write_record(tx: &Transaction, job: &Job) -> Result<(), StoreError> {
    tx.set(&JOBS.key(&(job.id.0,)), &record::encode(job)?)
}

fn write(tx: &Transaction, job: &Job) -> Result<(), StoreError> {
    write_record(tx, job)?;
    tx.set(&job.queue_key(), &[])?;
    job.lease_key().map_or(Ok(()), |key| tx.set(&key, &[]))
}

fn unlist(tx: &Transaction, job: &Job) -> Result<(), StoreError> {
    tx.clear(&job.queue_key())?;
    job.lease_key().map_or(Ok(()), |key| tx.clear(&key))
}

/// Changes a job, its row in the queue and its row among those held together.
pub(super) fn change(tx: &Transaction, job: &mut Job, how: impl FnOnce(&mut Job)) -> Result<(), StoreError> {
    unlist(tx, job)?;
    how(job);
    write(tx, job)
}

/// A job that is due, as the queue alone tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Which.
    pub id: JobId,
    /// How urgent.
    pub class: Class,
    /// Since when.
    pub vesting: Timestamp,
}

/// Before which row the queue of each class was found empty.
///
/// Rows at the head of a queue come and go, and an engine that merges sorted files walks over the marks of all that
/// have gone, thousands under load, until it has compacted them. So whoever looks often begins where the last look found
/// the first row, and from time to time at the beginning: a row that was written meanwhile by a clock that is behind, or
/// by a slow transaction, may stand before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Horizon([Vec<u8>; 3]);

impl Horizon {
    /// After a look at `now` that found `due`. Where it found nothing of a class, nothing was due before `now` less
    /// `slack`, by which clocks may disagree.
    pub fn after(due: &[Due], now: Timestamp, slack: Duration) -> Self {
        let slack = u64::try_from(slack.as_millis()).unwrap_or(u64::MAX);
        Self(Class::ALL.map(|class| match due.iter().find(|due| due.class == class) {
            Some(first) => JOBS_BY_VESTING.key(&(class.number(), first.vesting.0, first.id.0)),
            None => JOBS_BY_VESTING.key(&(class.number(), now.0.saturating_sub(slack))),
        }))
    }
}

/// Jobs that are due at `now`, the most urgent class and in it the longest due first, at most `limit` of each class. A
/// look, not a claim: it conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn due(tx: &Transaction, now: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
    due_beyond(tx, &Horizon::default(), now, limit).await
}

/// As [`due`], of the rows behind the horizon.
///
/// # Errors
/// Those of the engine.
pub async fn due_beyond(
    tx: &Transaction,
    horizon: &Horizon,
    now: Timestamp,
    limit: usize,
) -> Result<Vec<Due>, StoreError> {
    let mut due = Vec::new();
    for (class, begin) in Class::ALL.into_iter().zip(&horizon.0) {
        let options = RangeOptions::first(limit).snapshot();
        let all = due_range(class, now);
        let range = KeyRange::new(all.begin.max(begin.clone()), all.end);
        if range.is_empty() {
            continue; // The clock was set back since the last look.
        }
        for (key, _) in tx.get_range(&range, options).await? {
            let (_, vesting, id) = JOBS_BY_VESTING.unpack::<(u64, u64, uuid::Uuid)>(&key)?;
            due.push(Due { id: JobId(id), class, vesting: Timestamp(vesting) });
        }
    }
    Ok(due)
}

/// The rows of this class that have vested at `now`.
pub(super) fn due_range(class: Class, now: Timestamp) -> KeyRange {
    let key = |vesting: u64| JOBS_BY_VESTING.key(&(class.number(), vesting));
    KeyRange::new(key(0), key(now.0.saturating_add(1)))
}

/// How much there is of a class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depth {
    /// Of which.
    pub class: Class,
    /// Jobs that are due.
    pub due: usize,
    /// Jobs that are held, or back off.
    pub later: usize,
    /// When the longest due vested.
    pub oldest: Option<Timestamp>,
}

/// How much there is of each class, each count up to `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn depths(tx: &Transaction, now: Timestamp, limit: usize) -> Result<[Depth; 3], StoreError> {
    let mut depths = Class::ALL.map(|class| Depth { class, due: 0, later: 0, oldest: None });
    for depth in &mut depths {
        let due = due_range(depth.class, now);
        let later = KeyRange::new(due.end.clone(), JOBS_BY_VESTING.range(&(depth.class.number(),)).end);
        let rows = tx.get_range(&due, RangeOptions::first(limit).snapshot()).await?;
        if let Some((key, _)) = rows.first() {
            let (_, vesting, _) = JOBS_BY_VESTING.unpack::<(u64, u64, uuid::Uuid)>(key)?;
            depth.oldest = Some(Timestamp(vesting));
        }
        depth.due = rows.len();
        depth.later = tx.get_range(&later, RangeOptions::first(limit).snapshot()).await?.len();
    }
    Ok(depths)
}
