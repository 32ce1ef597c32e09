//! How many of a batch's items are in which state, and how fast they get there.

use std::time::Duration;

use super::ItemState;
use super::batch::Batch;
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::model::subspaces::BATCH_COUNTS;
use crate::model::{BatchId, Timestamp, record};

/// How finely it is kept when items were finished: as coarse as is of use, since each such time is two rows.
pub const BUCKET: Duration = Duration::from_secs(10);

/// Which rows of a batch are counts.
const TOTALS: u64 = 0;
/// Which rows of a batch say what was finished when.
const FINISHED: u64 = 1;

/// Bytes of acknowledged files.
const BYTES: &str = "bytes";
/// The newest time of a change, in milliseconds.
const UPDATED: &str = "updated";
/// The newest time at which an item was finished, in milliseconds.
const LAST_FINISHED: &str = "last_finished";
/// Items finished in a bucket.
const ITEMS: &str = "items";

/// How many of a batch's items are in each state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Photos that are being processed, or wait for it.
    pub processing: u64,
    /// Photos that are ready.
    pub ready: u64,
    /// Photos that could not be processed.
    pub failed: u64,
    /// Photos that were deleted since.
    pub deleted: u64,
    /// Files whose bytes were a photo of the owner before.
    pub duplicates: u64,
    /// Files that no photo was made of.
    pub refused: u64,
}

impl Counts {
    /// Files that were acknowledged: each is in one of the other states, and no refused one among them.
    pub fn received(&self) -> u64 {
        self.processing + self.ready + self.failed + self.deleted + self.duplicates
    }

    /// Files that nothing more happens to by itself.
    pub fn finished(&self) -> u64 {
        self.received() + self.refused - self.processing
    }

    fn of_mut(&mut self, state: ItemState) -> &mut u64 {
        match state {
            ItemState::Processing => &mut self.processing,
            ItemState::Ready => &mut self.ready,
            ItemState::Failed => &mut self.failed,
            ItemState::Deleted => &mut self.deleted,
            ItemState::Duplicate => &mut self.duplicates,
            ItemState::Refused => &mut self.refused,
        }
    }
}

/// What was finished since some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recent {
    /// The time: the beginning of a bucket.
    pub since: Timestamp,
    /// Files.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// How far a batch has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Its record.
    pub batch: Batch,
    /// Its items, by state.
    pub counts: Counts,
    /// Bytes of acknowledged files, duplicates included.
    pub bytes: u64,
    /// When something last changed.
    pub updated: Timestamp,
    /// When an item was last finished; when the batch was opened, if none was.
    pub last_finished: Timestamp,
    /// What was finished lately.
    pub recent: Recent,
}

impl Progress {
    /// Whether nothing more is to come: nothing is being processed, and no more files are taken or expected.
    pub fn is_complete(&self) -> bool {
        let ended = self.batch.ended.is_some();
        let counts = &self.counts;
        let all = || self.batch.expected.is_some_and(|expected| counts.finished() >= expected);
        counts.processing == 0 && (ended || all())
    }
}

/// How far `batch` has come, with what was finished in the bucket of `since` and later. It conflicts with nobody, and
/// reads a few rows, however many items there are.
///
/// # Errors
/// Those of the engine.
pub async fn progress(tx: &Transaction, batch: Batch, since: Timestamp) -> Result<Progress, StoreError> {
    let mut progress = Progress {
        counts: Counts::default(),
        bytes: 0,
        updated: batch.created,
        last_finished: batch.created,
        recent: recent(tx, batch.id, since).await?,
        batch,
    };
    let range = BATCH_COUNTS.range(&(progress.batch.id.0, TOTALS));
    for (key, value) in tx.get_range(&range, RangeOptions::default().snapshot()).await? {
        let (_, _, what) = BATCH_COUNTS.unpack::<(uuid::Uuid, u64, String)>(&key)?;
        let count = unsigned(&key, &value)?;
        match ItemState::parse(&what) {
            Some(state) => *progress.counts.of_mut(state) = count,
            None if what == BYTES => progress.bytes = count,
            None if what == UPDATED => progress.updated = progress.updated.max(Timestamp(count)),
            None if what == LAST_FINISHED => {
                progress.last_finished = progress.last_finished.max(Timestamp(count));
            }
            // Of a newer daemon.
            None => {}
        }
    }
    Ok(progress)
}

async fn recent(tx: &Transaction, id: BatchId, since: Timestamp) -> Result<Recent, StoreError> {
    let first = bucket(since);
    let mut recent = Recent { since: Timestamp(first * bucket_ms()), ..Recent::default() };
    let end = BATCH_COUNTS.range(&(id.0, FINISHED)).end;
    let range = KeyRange::new(BATCH_COUNTS.key(&(id.0, FINISHED, first)), end);
    for (key, value) in tx.get_range(&range, RangeOptions::default().snapshot()).await? {
        let (_, _, _, what) = BATCH_COUNTS.unpack::<(uuid::Uuid, u64, u64, String)>(&key)?;
        let count = unsigned(&key, &value)?;
        match what.as_str() {
            ITEMS => recent.items += count,
            BYTES => recent.bytes += count,
            _ => {}
        }
    }
    Ok(recent)
}

fn bucket_ms() -> u64 {
    u64::try_from(BUCKET.as_millis()).unwrap_or(u64::MAX)
}

fn bucket(at: Timestamp) -> u64 {
    at.0 / bucket_ms()
}

fn total_key(id: BatchId, what: &str) -> Vec<u8> {
    BATCH_COUNTS.key(&(id.0, TOTALS, what))
}

/// Every row of [`BATCH_COUNTS`] that the batch has.
pub(super) fn all_of(id: BatchId) -> KeyRange {
    BATCH_COUNTS.range(&(id.0,))
}

/// One item more, or fewer, is in this state.
pub(super) fn count(tx: &Transaction, id: BatchId, state: ItemState, by: i64) -> Result<(), StoreError> {
    tx.atomic_add(&total_key(id, state.as_str()), by)
}

/// A file of so many bytes was acknowledged.
pub(super) fn add_bytes(tx: &Transaction, id: BatchId, bytes: u64) -> Result<(), StoreError> {
    tx.atomic_add(&total_key(id, BYTES), signed(bytes))
}

/// Something changed.
pub(super) fn touch(tx: &Transaction, id: BatchId, now: Timestamp) -> Result<(), StoreError> {
    tx.atomic_max(&total_key(id, UPDATED), now.0)
}

/// When something last changed. In a writing transaction it conflicts with every change.
pub(super) async fn updated(tx: &Transaction, id: BatchId) -> Result<Timestamp, StoreError> {
    let key = total_key(id, UPDATED);
    let value = tx.get(&key).await?;
    Ok(Timestamp(value.map_or(Ok(0), |value| unsigned(&key, &value))?))
}

/// An item of so many bytes was finished.
pub(super) fn finish(tx: &Transaction, id: BatchId, bytes: u64, now: Timestamp) -> Result<(), StoreError> {
    let key = |what: &str| BATCH_COUNTS.key(&(id.0, FINISHED, bucket(now), what));
    tx.atomic_max(&total_key(id, LAST_FINISHED), now.0)?;
    tx.atomic_add(&key(ITEMS), 1)?;
    tx.atomic_add(&key(BYTES), signed(bytes))
}

/// How many items are in this state, without a conflict.
pub(super) async fn of(tx: &Transaction, id: BatchId, state: ItemState) -> Result<u64, StoreError> {
    let count = read_one(tx, &total_key(id, state.as_str())).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

pub(super) async fn read_one(tx: &Transaction, key: &[u8]) -> Result<i64, StoreError> {
    let Some(bytes) = tx.snapshot_get(key).await? else { return Ok(0) };
    integer(key, &bytes)
}

fn integer(key: &[u8], bytes: &[u8]) -> Result<i64, StoreError> {
    let bytes = bytes.try_into().map_err(|_| record::corrupt_key(key, "not an 8-byte counter"))?;
    Ok(i64::from_le_bytes(bytes))
}

fn unsigned(key: &[u8], bytes: &[u8]) -> Result<u64, StoreError> {
    u64::try_from(integer(key, bytes)?).map_err(|_| record::corrupt_key(key, "a count below zero"))
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
