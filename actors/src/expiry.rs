//! What ends by time. The Janitor goes through it with each sweep; each noun says by itself what of it is over.

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::Timestamp;

/// Removes what is over at `now`, in bounded transactions; how many there were.
///
/// # Errors
/// Those of the engine. What was begun goes on with the next sweep.
#[expect(clippy::unused_async, reason = "each noun adds its line")]
pub(crate) async fn run(_metadata: &Metadata, _now: Timestamp) -> Result<usize, StoreError> {
    Ok(0)
}
