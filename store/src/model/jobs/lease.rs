//! Taking jobs, keeping them, and giving them back.

use std::ops::ControlFlow;

use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::model::subspaces::JOBS_BY_EPOCH;
use crate::model::{Epoch, JobId, LeaseId, Timestamp, nodes};

use super::queue::{change, get, write_record};
use super::{Job, Lease};

/// The job, if `lease` still holds it.
///
/// # Errors
/// Those of the engine.
pub async fn held(tx: &Transaction, id: JobId, lease: LeaseId) -> Result<Option<Job>, StoreError> {
    Ok(get(tx, id).await?.filter(|job| job.is_held_by(lease)))
}

/// What is known by now of attempts that were begun and not ended.
struct Judged {
    /// Of those in doubt before: cut off by their process's death.
    deaths: u32,
    /// The last attempt, which the present holder has begun: whether its process's death cut it off.
    last: Option<bool>,
    /// Those whose node lives, as far as is known: they are still decoding, or will die of it.
    unsettled: Vec<Lease>,
}

async fn judge(tx: &Transaction, job: &Job) -> Result<Judged, StoreError> {
    let mut judged = Judged { deaths: 0, last: None, unsettled: Vec::new() };
    for lease in &job.unsettled {
        if nodes::is_dead(tx, lease.epoch).await? {
            judged.deaths += 1;
        } else {
            judged.unsettled.push(*lease);
        }
    }
    if let Some(epoch) = job.decoding {
        let dead = nodes::is_dead(tx, epoch).await?;
        judged.last = Some(dead);
        if let Some(lease) = job.lease.filter(|lease| !dead && lease.epoch == epoch) {
            judged.unsettled.push(lease);
        }
    }
    Ok(judged)
}

/// How often a process died while decoding this job, as is known by now.
///
/// # Errors
/// Those of the engine.
pub async fn deaths(tx: &Transaction, job: &Job) -> Result<u32, StoreError> {
    let judged = judge(tx, job).await?;
    Ok(job.deaths + judged.deaths + u32::from(judged.last == Some(true)))
}

/// Takes a due job; `None` if it is gone or somebody else was faster. [`Job::taken_from`] tells whose lease had
/// vested, if the job was not given back.
///
/// An attempt that was begun and not ended is accounted for here. Where its node is dead, it was cut off by that
/// death, which is counted. Where its node lives, it merely lost its lease by vesting, and does not count; but it stays
/// on the record as unsettled until that node ends it ([`end_attempt`], [`give_back`]), and becomes a death if the node
/// turns out to have died instead.
///
/// A second run finds the random lease id on the job.
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
        return Ok(Some(job));
    }
    if job.vesting > now {
        return Ok(None);
    }
    let judged = judge(tx, &job).await?;
    let last_died = judged.last == Some(true);
    change(tx, &mut job, |job| {
        job.deaths += judged.deaths + u32::from(last_died);
        // The attempts that turned out to be deaths were taken back when their leases vested.
        job.attempts += judged.deaths;
        if job.attempt.take().is_some() && !last_died {
            job.attempts = job.attempts.saturating_sub(1);
        }
        job.keep_unsettled(judged.unsettled);
        job.decoding = None;
        job.taken_from = job.lease;
        job.lease = Some(lease);
        job.vesting = until;
    })?;
    Ok(Some(job))
}

/// Counts an attempt durably, before decoding starts; `Break` if the lease is lost.
///
/// A lease begins one attempt: a second run finds its id on the record.
///
/// # Errors
/// Those of the engine.
pub async fn begin_attempt(
    tx: &Transaction,
    id: JobId,
    lease: Lease,
) -> Result<ControlFlow<(), Job>, StoreError> {
    let Some(mut job) = held(tx, id, lease.id).await? else { return Ok(ControlFlow::Break(())) };
    if job.attempt != Some(lease.id) {
        job.attempt = Some(lease.id);
        job.decoding = Some(lease.epoch);
        job.attempts += 1;
        write_record(tx, &job)?;
    }
    Ok(ControlFlow::Continue(job))
}

/// Takes the mark of a begun attempt away: what could have killed the process is over. Also where the lease is lost,
/// so that the attempt is not taken for a death later. (A lost lease itself is found out by whoever settles the job.)
///
/// A second run finds no mark any more.
///
/// # Errors
/// Those of the engine.
pub async fn end_attempt(tx: &Transaction, id: JobId, lease: Lease) -> Result<(), StoreError> {
    let Some(mut job) = get(tx, id).await? else { return Ok(()) };
    if !job.is_held_by(lease.id) {
        return survived(tx, &mut job, lease.id);
    }
    if job.decoding.take().is_some() {
        write_record(tx, &job)?;
    }
    Ok(())
}

/// An attempt under a lease that was lost has ended without harm.
fn survived(tx: &Transaction, job: &mut Job, lease: LeaseId) -> Result<(), StoreError> {
    let before = job.unsettled.len();
    job.unsettled.retain(|attempt| attempt.id != lease);
    if job.unsettled.len() == before { Ok(()) } else { write_record(tx, job) }
}

/// Moves the vesting time of a held job, never back; false if the lease is lost.
///
/// A second run writes the same.
///
/// # Errors
/// Those of the engine.
pub async fn extend(
    tx: &Transaction,
    id: JobId,
    lease: LeaseId,
    until: Timestamp,
) -> Result<bool, StoreError> {
    let Some(mut job) = held(tx, id, lease).await? else { return Ok(false) };
    if job.vesting < until {
        change(tx, &mut job, |job| job.vesting = until)?;
    }
    Ok(true)
}

/// Why a job goes back to the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GiveBack {
    /// By the caller's clock.
    pub now: Timestamp,
    /// When it is due again. A store that stays away must not have every waiting photo tried again each second: after
    /// an interruption not before [`Job::interruption_pause`], or about that.
    pub due: Timestamp,
    /// Whether the attempt that was begun under the lease, if any, counts: false where the reason was not the photo's
    /// (store, shutdown).
    pub counts: bool,
    /// What went wrong, for people.
    pub error: Option<String>,
}

/// Gives a held job back to the queue; false if the lease was lost before, in which case the job stays as it is.
///
/// A second run finds the lease as the one that was given back last, and counts nothing twice.
///
/// # Errors
/// Those of the engine.
pub async fn give_back(
    tx: &Transaction,
    id: JobId,
    lease: LeaseId,
    how: &GiveBack,
) -> Result<bool, StoreError> {
    let Some(mut job) = get(tx, id).await? else { return Ok(false) };
    if job.given_back == Some(lease) {
        return Ok(true);
    }
    if !job.is_held_by(lease) {
        survived(tx, &mut job, lease)?;
        return Ok(false);
    }
    change(tx, &mut job, |job| {
        job.decoding = None;
        job.lease = None;
        job.given_back = Some(lease);
        job.vesting = how.due;
        if job.attempt.take() == Some(lease) && !how.counts {
            job.attempts = job.attempts.saturating_sub(1);
        }
        let Some(error) = &how.error else { return };
        job.note_failure(how.now, error);
        if !how.counts {
            job.interruptions = job.interruptions.saturating_add(1);
        }
    })?;
    Ok(true)
}

/// Makes jobs due whose lease belongs to `epoch`, which is dead, at most `limit`; how many. To be called until there
/// are none.
///
/// A voided lease is gone from the rows that this reads: a second run goes on with the next.
///
/// # Errors
/// Those of the engine.
pub async fn void_leases_of(
    tx: &Transaction,
    epoch: Epoch,
    now: Timestamp,
    limit: usize,
) -> Result<usize, StoreError> {
    let rows = tx.get_range(&JOBS_BY_EPOCH.range(&(epoch.0,)), RangeOptions::first(limit)).await?;
    for (key, _) in &rows {
        let (_, id) = JOBS_BY_EPOCH.unpack::<(u64, uuid::Uuid)>(key)?;
        match get(tx, JobId(id)).await {
            Ok(Some(mut job)) if job.lease.is_some_and(|lease| lease.epoch == epoch) => {
                change(tx, &mut job, |job| {
                    job.lease = None;
                    job.vesting = job.vesting.min(now);
                })?;
            }
            Ok(_) => tx.clear(key)?,
            // One record that cannot be read must not hold up those behind it.
            Err(error @ StoreError::Corrupt { .. }) => {
                tracing::error!(job = %id, %error, "a job's record cannot be read; its lease is forgotten");
                tx.clear(key)?;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(rows.len())
}
