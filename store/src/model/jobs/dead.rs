//! The letters of jobs that were given up: what they were to do, and why they could not.
//!
//! They are kept for people, who look at them and retry or drop them, and are trimmed after a time and beyond a count.
//! What was given up has ended elsewhere (its photo is `failed`) and waits for nobody.

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::model::subspaces::{COUNTS, DEAD_JOBS, DEAD_JOBS_BY_DEATH};
use crate::model::{JobId, Timestamp, record};

use super::Job;
use super::job::shortened;

/// A job that was given up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadJob {
    /// The job as it was when it was given up, with its attempts and their failures.
    pub job: Job,
    /// Why: stable, kebab-case.
    pub code: String,
    /// Why, for people.
    pub detail: String,
    /// When.
    pub died: Timestamp,
}

fn by_death(letter: &DeadJob) -> Vec<u8> {
    DEAD_JOBS_BY_DEATH.key(&(letter.died.0, letter.job.id.0))
}

fn count_key() -> Vec<u8> {
    COUNTS.key(&("jobs", "dead"))
}

/// Keeps the letter of a job that the caller removes in the same transaction.
///
/// The caller has read the job and found it: a second run finds it no more and does not come here, so that the count is
/// right.
///
/// # Errors
/// Those of the engine.
pub fn bury(tx: &Transaction, letter: &DeadJob) -> Result<(), StoreError> {
    let letter = &DeadJob { detail: shortened(&letter.detail).to_owned(), ..letter.clone() };
    tx.set(&DEAD_JOBS.key(&(letter.job.id.0,)), &record::encode(letter)?)?;
    tx.set(&by_death(letter), &[])?;
    tx.atomic_add(&count_key(), 1)
}

/// Takes the letter away. The caller has read it in the same transaction: a second run finds none.
///
/// # Errors
/// Those of the engine.
pub fn unbury(tx: &Transaction, letter: &DeadJob) -> Result<(), StoreError> {
    tx.clear(&DEAD_JOBS.key(&(letter.job.id.0,)))?;
    tx.clear(&by_death(letter))?;
    tx.atomic_add(&count_key(), -1)
}

/// The letter of this job, if there is one.
///
/// # Errors
/// Those of the engine.
pub async fn dead(tx: &Transaction, id: JobId) -> Result<Option<DeadJob>, StoreError> {
    let key = DEAD_JOBS.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// How many letters there are. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn count_dead(tx: &Transaction) -> Result<u64, StoreError> {
    let key = count_key();
    let Some(bytes) = tx.snapshot_get(&key).await? else { return Ok(0) };
    let bytes: [u8; 8] =
        (&bytes[..]).try_into().map_err(|_| record::corrupt_key(&key, "not an 8-byte counter"))?;
    Ok(u64::try_from(i64::from_le_bytes(bytes)).unwrap_or(0))
}

/// Takes the oldest letters away: those from before `before`, and those beyond the newest `keep`; at most `limit` in
/// all. To be called until it answers 0.
///
/// What was taken away is no longer among the rows that this reads: a second run goes on with the next.
///
/// # Errors
/// Those of the engine.
pub async fn trim_dead(
    tx: &Transaction,
    before: Timestamp,
    keep: u64,
    limit: usize,
) -> Result<usize, StoreError> {
    let superfluous = count_dead(tx).await?.saturating_sub(keep);
    let rows = tx.get_range(&DEAD_JOBS_BY_DEATH.all(), RangeOptions::first(limit)).await?;
    let mut trimmed = 0;
    for (key, _) in rows {
        let (died, id) = DEAD_JOBS_BY_DEATH.unpack::<(u64, uuid::Uuid)>(&key)?;
        if died >= before.0 && trimmed as u64 >= superfluous {
            break; // Those behind it are younger.
        }
        tx.clear(&DEAD_JOBS.key(&(id,)))?;
        tx.clear(&key)?;
        tx.atomic_add(&count_key(), -1)?;
        trimmed += 1;
    }
    Ok(trimmed)
}
