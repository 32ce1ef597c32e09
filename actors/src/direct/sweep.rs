//! What of direct uploads ends by time.

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::direct::{self, DirectUpload, Source, Swept};
use darkroom_store::model::{Timestamp, UploadId};
use darkroom_store::objects::ObjectStore;
use darkroom_store::objects::s3::Bucket;

use super::open::note;

/// Rows read at once.
const BATCH: usize = 200;

/// Goes through the uploads that are due at `now`; how many have expired or are forgotten. One whose parts cannot be
/// removed stays, and holds up no other.
///
/// # Errors
/// Those of the engine, and of an object store that is away.
pub(crate) async fn sweep(
    metadata: &Metadata,
    objects: &ObjectStore,
    now: Timestamp,
) -> Result<usize, StoreError> {
    let (mut after, mut ended) = (None, 0);
    loop {
        let list = |tx| async move { direct::due(&tx, now, after, BATCH).await };
        let found = metadata.read("list direct uploads", list).await?;
        let Some(last) = found.last() else { return Ok(ended) };
        after = Some(*last);
        for (_, id) in found {
            match step(metadata, objects, id, now).await {
                Ok(Swept::Expired) => {
                    note("expired");
                    ended += 1;
                }
                Ok(Swept::Forgotten) => ended += 1,
                Ok(Swept::Buried | Swept::Kept) => {}
                Err(error @ StoreError::Unavailable { .. }) if objects.available().is_ok() => {
                    tracing::warn!(upload = %id, %error, "the parts of a direct upload cannot be removed; the next sweep tries");
                }
                Err(error) => return Err(error),
            }
        }
    }
}

async fn step(
    metadata: &Metadata,
    objects: &ObjectStore,
    id: UploadId,
    now: Timestamp,
) -> Result<Swept, StoreError> {
    let upload = metadata.read("direct upload", |tx| async move { direct::get(&tx, id).await }).await?;
    if let (Some(upload), ObjectStore::S3(bucket)) = (upload, objects)
        && upload.due <= now
        && upload.claim.is_none_or(|claim| claim.until <= now)
    {
        // Parts that arrived while it was given up may have stayed, and those of a slow client came later still.
        abort_parts(bucket, &upload).await?;
    }
    metadata.transact("sweep direct upload", |tx| async move { direct::sweep(&tx, id, now).await }).await
}

/// Removes the parts of an upload that were not put together.
pub(super) async fn abort_parts(bucket: &Bucket, upload: &DirectUpload) -> Result<(), StoreError> {
    let (Source::Uploaded(key), Some(parts)) = (&upload.source, &upload.parts) else { return Ok(()) };
    match &parts.upload {
        Some(begun) => Box::pin(bucket.abort_parts(key, begun)).await,
        // Whoever began it died before it could say so.
        None => bucket.abort_all_parts(key).await.map(drop),
    }
}
