//! What ends by time. The Janitor goes through it with each sweep; each noun says by itself what of it is over.

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::batches::{self, Expired};
use darkroom_store::model::{Timestamp, albums, idempotency, sessions, signing_keys, usage};

use crate::uploads;

/// Batches looked for at once.
const BATCHES: usize = 50;
/// Items of a batch removed in one transaction.
const ITEMS: usize = 500;
/// Rows of deleted albums removed in one transaction.
const ALBUM_ROWS: usize = 500;
/// Idempotency keys removed in one transaction.
const KEYS: usize = 200;
/// Sessions forgotten in one transaction.
const SESSIONS: usize = 200;
/// Photos that one transaction counts for the usage of their owners.
const COUNTED_AT_ONCE: usize = 200;
/// Such transactions in one sweep.
const COUNTS_PER_SWEEP: usize = 500;

/// Removes what is over at `now`, in bounded transactions; how many there were.
///
/// # Errors
/// Those of the engine. What was begun goes on with the next sweep.
pub(crate) async fn run(metadata: &Metadata, now: Timestamp) -> Result<usize, StoreError> {
    count_existing(metadata, COUNTS_PER_SWEEP).await?;
    clear_albums(metadata).await?;
    let expired = [
        uploads::expire(metadata, now).await?,
        expire_batches(metadata, now).await?,
        expire_keys(metadata, now).await?,
        expire_sessions(metadata, now).await?,
        metadata
            .transact("prune signing keys", |tx| async move { signing_keys::prune(&tx, now).await })
            .await?,
    ];
    Ok(expired.into_iter().sum())
}

/// Batches that nothing has happened to for as long as they are kept. Their photos stay.
async fn expire_batches(metadata: &Metadata, now: Timestamp) -> Result<usize, StoreError> {
    let mut expired = 0;
    loop {
        let due = |tx| async move { batches::due(&tx, now, BATCHES).await };
        let due = metadata.read("list batches that may go", due).await?;
        if due.is_empty() {
            return Ok(expired);
        }
        for row in due {
            loop {
                let expire = |tx| async move { batches::expire(&tx, row, now, ITEMS).await };
                match metadata.transact("expire batch", expire).await? {
                    Expired::InPart => {}
                    Expired::Kept => break,
                    Expired::Whole => {
                        expired += 1;
                        break;
                    }
                }
            }
        }
    }
}

/// The rows of albums that were deleted. Nobody sees them any more.
async fn clear_albums(metadata: &Metadata) -> Result<(), StoreError> {
    let clear = |tx| async move { albums::clear_ended(&tx, ALBUM_ROWS).await };
    while metadata.transact("clear a deleted album", clear).await? {}
    Ok(())
}

async fn expire_keys(metadata: &Metadata, now: Timestamp) -> Result<usize, StoreError> {
    let mut removed = 0;
    loop {
        let expire = |tx| async move { idempotency::expire(&tx, now, KEYS).await };
        let expired = metadata.transact("forget idempotency keys", expire).await?;
        removed += expired.removed;
        if !expired.more {
            return Ok(removed);
        }
    }
}

/// Sessions whose tokens were not renewed in time.
async fn expire_sessions(metadata: &Metadata, now: Timestamp) -> Result<usize, StoreError> {
    let mut forgotten = 0;
    loop {
        let forget = |tx| async move { sessions::forget_expired(&tx, now, SESSIONS).await };
        let count = metadata.transact("forget sessions", forget).await?;
        forgotten += count;
        if count < SESSIONS {
            return Ok(forgotten);
        }
    }
}

/// Counts photos that are older than the usage of their owners, in at most so many transactions.
///
/// # Errors
/// Those of the engine. What was begun goes on with the next sweep.
pub(crate) async fn count_existing(metadata: &Metadata, transactions_max: usize) -> Result<(), StoreError> {
    let is_done = |tx| async move { usage::is_counted(&tx).await };
    if metadata.read("look for uncounted photos", is_done).await? {
        return Ok(());
    }
    let step = |tx| async move { usage::count_existing(&tx, COUNTED_AT_ONCE).await };
    for _ in 0..transactions_max {
        if metadata.transact("count photos", step).await? {
            tracing::info!("every photo is counted for its owner's usage");
            break;
        }
    }
    Ok(())
}
