//! Durable work, after `QuiCK` (Apple, SIGMOD 2021): a queue ordered by *vesting time*.
//!
//! A job is due once its vesting time has passed. Leasing it moves that time into the future, under a
//! random lease id that also carries the node's epoch; a holder that lives extends it, one that died lets
//! it vest again. Only the holder finishes a job, in the transaction that publishes its result.
//!
//! Every change of the vesting time rewrites the job's row in [`JOBS_BY_VESTING`], so that record and queue
//! never disagree.

use std::ops::ControlFlow;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::subspaces::{JOBS, JOBS_BY_PHOTO, JOBS_BY_VESTING};
use super::{Epoch, JobId, LeaseId, PhotoId, Timestamp, record};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// A job whose process died this often while decoding it runs alone next, so that it harms no other.
pub const DEATHS_BEFORE_ALONE: u32 = 2;
/// A job whose process died this often while decoding it is not tried again.
pub const DEATHS_MAX: u32 = 3;

/// How much later than asked for a job is due after its first interruption; doubles with each.
const INTERRUPTED: Duration = Duration::from_millis(500);
/// How often that doubles: up to four minutes.
const INTERRUPTIONS_DOUBLED: u32 = 9;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Make every variant of a new photo.
    Process,
    /// Make the variants that a ready photo lacks, or has under other settings.
    Render,
}

/// How urgent. A class goes before those after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Somebody waits for it.
    Interactive,
    /// Nobody waits for it.
    Background,
}

impl Class {
    const ALL: [Self; 2] = [Self::Interactive, Self::Background];

    fn number(self) -> u64 {
        match self {
            Self::Interactive => 0,
            Self::Background => 2,
        }
    }
}

/// Who holds a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Random, so that a holder who lost it can tell.
    pub id: LeaseId,
    /// The holder's life; when that is over, the lease is void.
    pub epoch: Epoch,
}

/// A piece of work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What is to be done.
    pub kind: Kind,
    /// To which photo.
    pub photo: PhotoId,
    /// How urgent.
    pub class: Class,
    /// When it was asked for.
    pub enqueued: Timestamp,
    /// When it is due; in the future while it is leased or backs off.
    pub vesting: Timestamp,
    /// How often decoding was started, without those runs that ended for reasons not the photo's.
    pub attempts: u32,
    /// How often the process died while decoding it.
    pub deaths: u32,
    /// The epoch in which decoding was started and has not ended.
    pub decoding: Option<Epoch>,
    /// Who holds it.
    pub lease: Option<Lease>,
    /// How often it was interrupted for reasons not the photo's: each time it waits longer.
    #[serde(default)]
    pub interruptions: u32,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
}

impl Job {
    /// A new job, due at `now` or, with a lease, held until `vesting`.
    pub fn new(id: JobId, kind: Kind, photo: PhotoId, now: Timestamp) -> Self {
        Self {
            id,
            kind,
            photo,
            class: match kind {
                Kind::Process => Class::Interactive,
                Kind::Render => Class::Background,
            },
            enqueued: now,
            vesting: now,
            attempts: 0,
            deaths: 0,
            decoding: None,
            lease: None,
            interruptions: 0,
            last_error: None,
        }
    }

    /// The same job, held by `lease` until `until`.
    #[must_use]
    pub fn leased(mut self, lease: Lease, until: Timestamp) -> Self {
        self.lease = Some(lease);
        self.vesting = until;
        self
    }

    /// Deaths, seen from a process of epoch `now`: an attempt that an earlier epoch began and did not end
    /// was cut off by that process's death.
    pub fn deaths_seen_from(&self, now: Epoch) -> u32 {
        self.deaths + u32::from(self.decoding.is_some_and(|begun| begun < now))
    }

    fn is_held_by(&self, lease: LeaseId) -> bool {
        self.lease.is_some_and(|held| held.id == lease)
    }

    fn queue_key(&self) -> Vec<u8> {
        JOBS_BY_VESTING.key(&(self.class.number(), self.vesting.0, self.id.0))
    }
}

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

/// The job, if `lease` still holds it.
///
/// # Errors
/// Those of the engine.
pub async fn held(tx: &Transaction, id: JobId, lease: LeaseId) -> Result<Option<Job>, StoreError> {
    Ok(get(tx, id).await?.filter(|job| job.is_held_by(lease)))
}

/// Adds a job. The caller knows that its photo has none.
///
/// # Errors
/// Those of the engine.
pub fn enqueue(tx: &Transaction, job: &Job) -> Result<(), StoreError> {
    tx.set(&JOBS_BY_PHOTO.key(&(job.photo.0,)), &record::encode(&job.id)?)?;
    write(tx, job)
}

/// Removes a job that is done, or whose photo is gone.
///
/// # Errors
/// Those of the engine.
pub fn remove(tx: &Transaction, job: &Job) -> Result<(), StoreError> {
    tx.clear(&job.queue_key())?;
    tx.clear(&JOBS_BY_PHOTO.key(&(job.photo.0,)))?;
    tx.clear(&JOBS.key(&(job.id.0,)))
}

fn write(tx: &Transaction, job: &Job) -> Result<(), StoreError> {
    tx.set(&JOBS.key(&(job.id.0,)), &record::encode(job)?)?;
    tx.set(&job.queue_key(), &[])
}

fn change(tx: &Transaction, job: &mut Job, how: impl FnOnce(&mut Job)) -> Result<(), StoreError> {
    tx.clear(&job.queue_key())?;
    how(job);
    write(tx, job)
}

/// Jobs that are due at `now`, the most urgent and longest due first, at most `limit`. A look, not a claim:
/// it conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn due(tx: &Transaction, now: Timestamp, limit: usize) -> Result<Vec<Job>, StoreError> {
    let mut due = Vec::new();
    for class in Class::ALL {
        let range = KeyRange::new(
            JOBS_BY_VESTING.key(&(class.number(),)),
            JOBS_BY_VESTING.key(&(class.number(), now.0 + 1)),
        );
        let options = RangeOptions { limit: limit - due.len(), snapshot: true, ..Default::default() };
        for (key, _) in tx.get_range(&range, options).await? {
            let (_, _, id) = JOBS_BY_VESTING.unpack::<(u64, u64, uuid::Uuid)>(&key)?;
            match get_snapshot(tx, JobId(id)).await {
                Ok(job) => due.extend(job),
                // One record that cannot be read must not hold up those behind it.
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(job = %id, %error, "a job's record cannot be read; it is passed over");
                }
                Err(error) => return Err(error),
            }
        }
        if due.len() >= limit {
            break;
        }
    }
    Ok(due)
}

async fn get_snapshot(tx: &Transaction, id: JobId) -> Result<Option<Job>, StoreError> {
    let key = JOBS.key(&(id.0,));
    tx.snapshot_get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// How many jobs wait or run, counted up to `limit`, and when the oldest of those due vested.
///
/// # Errors
/// Those of the engine.
pub async fn depth(tx: &Transaction, limit: usize) -> Result<(usize, Option<Timestamp>), StoreError> {
    let options = RangeOptions { limit, snapshot: true, ..Default::default() };
    let rows = tx.get_range(&JOBS_BY_VESTING.all(), options).await?;
    let mut oldest = None;
    for (key, _) in &rows {
        let (_, vesting, _) = JOBS_BY_VESTING.unpack::<(u64, u64, uuid::Uuid)>(key)?;
        oldest = Some(oldest.map_or(Timestamp(vesting), |oldest: Timestamp| oldest.min(Timestamp(vesting))));
    }
    Ok((rows.len(), oldest))
}

/// Takes a due job; `None` if it is gone or somebody else was faster.
///
/// An attempt that a dead process left unfinished is counted as a death here.
///
/// # Errors
/// Those of the engine.
pub async fn claim(
    tx: &Transaction,
    id: JobId,
    lease: Lease,
    now: Timestamp,
    until: Timestamp,
) -> Result<Option<Job>, StoreError> {
    let Some(mut job) = get(tx, id).await? else { return Ok(None) };
    if job.is_held_by(lease.id) {
        return Ok(Some(job)); // An earlier run of this transaction has committed.
    }
    if job.vesting > now {
        return Ok(None);
    }
    change(tx, &mut job, |job| {
        job.deaths = job.deaths_seen_from(lease.epoch);
        job.decoding = None;
        job.lease = Some(lease);
        job.vesting = until;
    })?;
    Ok(Some(job))
}

/// Counts an attempt durably, before decoding starts; `Break` if the lease is lost.
///
/// # Errors
/// Those of the engine.
pub async fn begin_attempt(
    tx: &Transaction,
    id: JobId,
    lease: Lease,
) -> Result<ControlFlow<(), Job>, StoreError> {
    let Some(mut job) = held(tx, id, lease.id).await? else { return Ok(ControlFlow::Break(())) };
    // A lease begins one attempt: a mark of this epoch is this transaction's own earlier run.
    if job.decoding != Some(lease.epoch) {
        job.decoding = Some(lease.epoch);
        job.attempts += 1;
        // The queue row does not change, since the vesting time does not.
        tx.set(&JOBS.key(&(job.id.0,)), &record::encode(&job)?)?;
    }
    Ok(ControlFlow::Continue(job))
}

/// Takes the mark of a begun attempt away: what could have killed the process is over. A lost lease is found
/// out by whoever settles the job.
///
/// # Errors
/// Those of the engine.
pub async fn end_attempt(tx: &Transaction, id: JobId, lease: Lease) -> Result<(), StoreError> {
    if let Some(mut job) = held(tx, id, lease.id).await?
        && job.decoding.take().is_some()
    {
        tx.set(&JOBS.key(&(job.id.0,)), &record::encode(&job)?)?;
    }
    Ok(())
}

/// Moves the vesting time of a held job; false if the lease is lost.
///
/// # Errors
/// Those of the engine.
pub async fn extend(
    tx: &Transaction,
    id: JobId,
    lease: LeaseId,
    until: Timestamp,
) -> Result<bool, StoreError> {
    match held(tx, id, lease).await? {
        Some(mut job) => change(tx, &mut job, |job| job.vesting = until).map(|()| true),
        None => Ok(false),
    }
}

/// Why a job goes back to the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GiveBack {
    /// When it is due again.
    pub due: Timestamp,
    /// Whether the attempt counts: false where the reason was not the photo's (store, shutdown).
    pub counts: bool,
    /// Whether the holder had begun an attempt, which is taken back where it does not count.
    pub began: bool,
    /// What went wrong, for people.
    pub error: Option<String>,
}

/// Gives a held job back to the queue; false if the lease is lost, in which case nothing changes.
///
/// # Errors
/// Those of the engine.
pub async fn give_back(
    tx: &Transaction,
    id: JobId,
    lease: LeaseId,
    how: &GiveBack,
) -> Result<bool, StoreError> {
    let Some(mut job) = held(tx, id, lease).await? else { return Ok(false) };
    change(tx, &mut job, |job| {
        job.decoding = None;
        job.lease = None;
        job.vesting = how.due;
        if !how.counts && how.began {
            job.attempts = job.attempts.saturating_sub(1);
        }
        if how.error.is_some() {
            job.last_error.clone_from(&how.error);
        }
        if how.error.is_some() && !how.counts {
            // A store that stays away must not have every waiting photo decoded again each second.
            job.vesting =
                how.due.after(INTERRUPTED * 2_u32.pow(job.interruptions.min(INTERRUPTIONS_DOUBLED)));
            job.interruptions = job.interruptions.saturating_add(1);
        }
    })?;
    Ok(true)
}

/// Makes jobs due whose lease belongs to an epoch before `newest`: on the embedded engine that process is
/// dead. Looks at rows from `cursor` on, at most `limit`; returns where to go on, or `None` at the end, and
/// how many leases were void.
///
/// # Errors
/// Those of the engine.
pub async fn void_leases_before(
    tx: &Transaction,
    newest: Epoch,
    now: Timestamp,
    cursor: Option<Vec<u8>>,
    limit: usize,
) -> Result<(Option<Vec<u8>>, usize), StoreError> {
    let mut range = JOBS_BY_VESTING.all();
    if let Some(cursor) = cursor {
        range.begin = cursor;
    }
    let rows = tx.get_range(&range, RangeOptions { limit, ..Default::default() }).await?;
    let next = (rows.len() == limit).then(|| rows.last().map(|(key, _)| [&key[..], &[0]].concat())).flatten();
    let mut void = 0;
    for (key, _) in rows {
        let (_, _, id) = JOBS_BY_VESTING.unpack::<(u64, u64, uuid::Uuid)>(&key)?;
        let Some(mut job) = get(tx, JobId(id)).await? else { continue };
        if job.lease.is_some_and(|lease| lease.epoch < newest) {
            change(tx, &mut job, |job| {
                job.lease = None;
                job.vesting = job.vesting.min(now);
            })?;
            void += 1;
        }
    }
    Ok((next, void))
}
