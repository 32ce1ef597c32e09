//! What ends by time. The Janitor goes through it with each sweep; each noun says by itself what of it is over.

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::Timestamp;

use crate::uploads;

/// Removes what is over at `now`, in bounded transactions; how many there were.
///
/// # Errors
/// Those of the engine. What was begun goes on with the next sweep.
pub(crate) async fn run(metadata: &Metadata, now: Timestamp) -> Result<usize, StoreError> {
    let mut expired = 0;
    expired += uploads::expire(metadata, now).await?;
    Ok(expired)
}
