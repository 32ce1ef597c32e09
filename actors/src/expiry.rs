//! What ends by time. The Janitor goes through it with each sweep; each noun says by itself what of it is over.

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::{Timestamp, idempotency};

/// Rows removed in one transaction.
const BATCH: usize = 200;

/// Removes what is over at `now`, in bounded transactions; how many there were.
///
/// # Errors
/// Those of the engine. What was begun goes on with the next sweep.
pub(crate) async fn run(metadata: &Metadata, now: Timestamp) -> Result<usize, StoreError> {
    idempotency_keys(metadata, now).await
}

async fn idempotency_keys(metadata: &Metadata, now: Timestamp) -> Result<usize, StoreError> {
    let mut removed = 0;
    loop {
        let expired = metadata
            .transact("forget idempotency keys", |tx| async move {
                idempotency::expire(&tx, now, BATCH).await
            })
            .await?;
        removed += expired.removed;
        if !expired.more {
            return Ok(removed);
        }
    }
}
