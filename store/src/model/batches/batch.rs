//! A batch's record.

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::model::subspaces::{BATCHES, BATCHES_BY_EXPIRY, BATCHES_BY_OWNER, BATCHES_OPEN, COUNTS};
use crate::model::{BatchId, OwnerId, Timestamp, record};

/// Whether a batch takes uploads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It does.
    Open,
    /// Its client has sent everything.
    Closed,
    /// Its client has given it up. Photos that were acknowledged before stay, and are processed.
    Cancelled,
}

/// Many uploads that are followed as one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// Whose it is. Only their uploads may name it.
    pub owner: OwnerId,
    /// What its client calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whether it takes uploads.
    pub standing: Standing,
    /// How many files its client means to send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u64>,
    /// How many bytes these have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_bytes: Option<u64>,
    /// When it was opened.
    pub created: Timestamp,
    /// How long it is kept after its last change, in milliseconds.
    pub keep_ms: u64,
    /// When it was closed or cancelled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
}

impl Batch {
    /// When it may go, after this last change.
    pub fn expires(&self, updated: Timestamp) -> Timestamp {
        Timestamp(updated.0.saturating_add(self.keep_ms))
    }
}

/// A batch to be opened.
#[derive(Clone, Debug)]
pub struct Opening {
    /// Its record.
    pub batch: Batch,
    /// How many open ones its owner may have.
    pub open_max: usize,
}

/// What became of an [`Opening`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Opened {
    /// It takes uploads.
    Done(Batch),
    /// Its owner has as many open ones as may be. Nothing changed.
    TooMany,
}

/// Why an upload may not name a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// There is none, or it is another owner's, or it has expired.
    #[error("there is no such batch: it has expired, or the id is wrong")]
    Unknown,
    /// It was closed.
    #[error("the batch was closed, and takes no more uploads")]
    Closed,
    /// It was cancelled.
    #[error("the batch was cancelled, and takes no more uploads")]
    Cancelled,
}

/// What became of a batch that was to be closed or cancelled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is as it was to be, perhaps since long.
    Done(Batch),
    /// It was to be closed, and was cancelled before. Nothing changed.
    Cancelled,
    /// There is no such batch of this owner.
    NotFound,
}

/// The batch, if it exists.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: BatchId) -> Result<Option<Batch>, StoreError> {
    let key = BATCHES.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

pub(super) fn put(tx: &Transaction, batch: &Batch) -> Result<(), StoreError> {
    tx.set(&BATCHES.key(&(batch.id.0,)), &record::encode(batch)?)
}

/// Opens a batch.
///
/// # Errors
/// Those of the engine.
pub async fn open(tx: &Transaction, opening: &Opening) -> Result<Opened, StoreError> {
    let batch = &opening.batch;
    if let Some(batch) = get(tx, batch.id).await? {
        return Ok(Opened::Done(batch)); // An earlier run of this transaction has committed.
    }
    let others = BATCHES_OPEN.range(&(batch.owner.as_str(),));
    if tx.get_range(&others, RangeOptions::first(opening.open_max)).await?.len() >= opening.open_max {
        return Ok(Opened::TooMany);
    }
    put(tx, batch)?;
    tx.set(&BATCHES_BY_OWNER.key(&(batch.owner.as_str(), batch.id.0)), &[])?;
    tx.set(&open_key(batch), &[])?;
    tx.set(&BATCHES_BY_EXPIRY.key(&(batch.expires(batch.created).0, batch.id.0)), &[])?;
    tx.atomic_add(&count_key(), 1)?;
    Ok(Opened::Done(batch.clone()))
}

fn open_key(batch: &Batch) -> Vec<u8> {
    BATCHES_OPEN.key(&(batch.owner.as_str(), batch.id.0))
}

fn count_key() -> Vec<u8> {
    COUNTS.key(&("batches", "open"))
}

/// How many batches of all owners are open. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn count_open(tx: &Transaction) -> Result<i64, StoreError> {
    super::counts::read_one(tx, &count_key()).await
}

/// Whether an upload of `owner` may name the batch now. In a writing transaction it conflicts with whoever closes,
/// cancels or removes the batch: what is not admitted in time is not acknowledged either.
///
/// # Errors
/// Those of the engine.
pub async fn admission(
    tx: &Transaction,
    id: BatchId,
    owner: &OwnerId,
) -> Result<Result<Batch, NotAdmitted>, StoreError> {
    Ok(match get(tx, id).await?.filter(|batch| batch.owner == *owner) {
        None => Err(NotAdmitted::Unknown),
        Some(batch) => match batch.standing {
            Standing::Open => Ok(batch),
            Standing::Closed => Err(NotAdmitted::Closed),
            Standing::Cancelled => Err(NotAdmitted::Cancelled),
        },
    })
}

/// The owner has sent everything. A second run finds the batch closed.
///
/// # Errors
/// Those of the engine.
pub async fn close(
    tx: &Transaction,
    id: BatchId,
    owner: &OwnerId,
    now: Timestamp,
) -> Result<Told, StoreError> {
    match get(tx, id).await?.filter(|batch| batch.owner == *owner) {
        None => Ok(Told::NotFound),
        Some(batch) => match batch.standing {
            Standing::Open => end(tx, batch, Standing::Closed, now).map(Told::Done),
            Standing::Closed => Ok(Told::Done(batch)),
            Standing::Cancelled => Ok(Told::Cancelled),
        },
    }
}

/// The owner gives the batch up, also a closed one. A second run finds it cancelled.
///
/// # Errors
/// Those of the engine.
pub async fn cancel(
    tx: &Transaction,
    id: BatchId,
    owner: &OwnerId,
    now: Timestamp,
) -> Result<Told, StoreError> {
    match get(tx, id).await?.filter(|batch| batch.owner == *owner) {
        None => Ok(Told::NotFound),
        Some(batch) if batch.standing == Standing::Cancelled => Ok(Told::Done(batch)),
        Some(batch) => end(tx, batch, Standing::Cancelled, now).map(Told::Done),
    }
}

fn end(tx: &Transaction, mut batch: Batch, standing: Standing, now: Timestamp) -> Result<Batch, StoreError> {
    no_longer_open(tx, &batch)?;
    batch.standing = standing;
    batch.ended = Some(now);
    super::counts::touch(tx, batch.id, now)?;
    put(tx, &batch)?;
    Ok(batch)
}

/// Nothing of the batch's record is left, nor of what leads to it. Its items and counts are.
pub(super) fn remove(tx: &Transaction, batch: &Batch) -> Result<(), StoreError> {
    no_longer_open(tx, batch)?;
    tx.clear(&BATCHES_BY_OWNER.key(&(batch.owner.as_str(), batch.id.0)))?;
    tx.clear(&BATCHES.key(&(batch.id.0,)))
}

fn no_longer_open(tx: &Transaction, batch: &Batch) -> Result<(), StoreError> {
    if batch.standing == Standing::Open {
        tx.clear(&open_key(batch))?;
        tx.atomic_add(&count_key(), -1)?;
    }
    Ok(())
}

/// The owner's batches, newest first, older than `before`, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn list(
    tx: &Transaction,
    owner: &OwnerId,
    before: Option<BatchId>,
    limit: usize,
) -> Result<Vec<Batch>, StoreError> {
    let mut range = BATCHES_BY_OWNER.range(&(owner.as_str(),));
    if let Some(before) = before {
        range = KeyRange::new(range.begin, BATCHES_BY_OWNER.key(&(owner.as_str(), before.0)));
    }
    let rows = tx.get_range(&range, RangeOptions::last(limit).snapshot()).await?;
    let mut batches = Vec::with_capacity(rows.len());
    for (key, _) in rows {
        let (_, id) = BATCHES_BY_OWNER.unpack::<(String, uuid::Uuid)>(&key)?;
        batches.extend(get(tx, BatchId(id)).await?);
    }
    Ok(batches)
}
