//! What ends by time. The Janitor goes through it with each sweep; each noun says by itself what of it is over.

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::{Timestamp, usage};

/// Photos that one transaction counts for the usage of their owners.
const COUNTED_AT_ONCE: usize = 200;
/// Such transactions in one sweep.
const COUNTS_PER_SWEEP: usize = 500;

/// Removes what is over at `now`, in bounded transactions; how many there were.
///
/// # Errors
/// Those of the engine. What was begun goes on with the next sweep.
pub(crate) async fn run(metadata: &Metadata, _now: Timestamp) -> Result<usize, StoreError> {
    count_existing(metadata, COUNTS_PER_SWEEP).await?;
    Ok(0)
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
