//! The beginning of an upload in parts, and uploads that have begun without anybody's knowing.
//!
//! The answer to a beginning tells the id without which nothing can be done to the upload. Where that answer is lost,
//! the server may have an upload that nobody will ever use or abort, and which the bucket's lifecycle rule removes
//! after a day, if there is one. So whenever the outcome of an attempt is unknown, the uploads of its key are listed,
//! and those that nobody uses are aborted. This can be told from the key alone: it is that of one object, and has one
//! upload at a time.
//!
//! It is done once, and only for tidiness: what has begun so holds no part, and is seen by nobody. What it misses,
//! since the server is still away or begins the upload later, is left to the lifecycle rule.

use std::sync::atomic::{AtomicU32, Ordering};

use aws_sdk_s3::types::ChecksumAlgorithm;

use super::error::{Cause, Failure};
use super::writer::{abort_upload, encryption, kms_key, storage_class};
use super::{Bucket, Checksum};
use crate::StoreError;
use crate::objects::ObjectKind;

/// Begins an upload in parts, each of which has to come with this checksum; its id. After an error another key is to be
/// taken: what may have begun under this one is about to be removed.
pub(super) async fn begin_upload(
    bucket: &Bucket,
    name: &str,
    kind: Option<ObjectKind>,
    checksum: Checksum,
) -> Result<String, StoreError> {
    let options = bucket.options();
    let mut beginning = Beginning::of(bucket, name);
    let begun = bucket.line().ask("begin_parts", name, || async {
        beginning.asked();
        let request = bucket.client().create_multipart_upload().bucket(bucket.bucket()).key(name);
        let request = request
            .set_storage_class(storage_class(options, kind))
            .set_server_side_encryption(encryption(options))
            .set_ssekms_key_id(kms_key(options))
            .set_checksum_algorithm((checksum == Checksum::Crc32c).then_some(ChecksumAlgorithm::Crc32C));
        let answer = request.send().await.map_err(Failure::of);
        beginning.answered(&answer);
        answer
    });
    let id = Box::pin(begun).await?.upload_id().unwrap_or_default().to_owned();
    if id.is_empty() {
        return Err(StoreError::Unavailable { reason: format!("S3 gave no id for the upload of {name}") });
    }
    if beginning.is_in_doubt() {
        beginning.settled();
        // Before the first part: what is told of the uploads of this key is then still true.
        told(name, remove_others(bucket, name, Some(&id)).await);
    }
    Ok(id)
}

/// Attempts to begin one upload. Dropped while what has become of one is unknown, it sees to what that may have left.
#[derive(Debug)]
struct Beginning {
    bucket: Bucket,
    name: String,
    /// Attempts that may have begun an upload that is not known.
    in_doubt: AtomicU32,
}

impl Beginning {
    fn of(bucket: &Bucket, name: &str) -> Self {
        Self { bucket: bucket.clone(), name: name.to_owned(), in_doubt: AtomicU32::new(0) }
    }

    /// An attempt is made. One that ends without an answer (its time was up, or its asker went away) stays in doubt.
    fn asked(&self) {
        self.in_doubt.fetch_add(1, Ordering::Relaxed);
    }

    fn answered<T>(&self, answer: &Result<T, Failure>) {
        let is_known = match answer {
            Ok(_) | Err(Failure::Refused(_)) => true,
            // Who asks for fewer requests has not carried out this one.
            Err(Failure::Passing { cause, .. }) => *cause == Cause::Throttled,
            Err(Failure::Corrupt(_)) => false,
        };
        if is_known {
            self.in_doubt.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed) > 0
    }

    fn settled(&mut self) {
        *self.in_doubt.get_mut() = 0;
    }
}

impl Drop for Beginning {
    fn drop(&mut self) {
        if !self.is_in_doubt() {
            return;
        }
        // Outside a runtime, as at the end of the process, there is the lifecycle rule.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (bucket, name) = (self.bucket.clone(), std::mem::take(&mut self.name));
        runtime.spawn(async move { told(&name, remove_others(&bucket, &name, None).await) });
    }
}

/// Aborts the uploads of this key but the one that is `used`; how many.
pub(super) async fn remove_others(
    bucket: &Bucket,
    name: &str,
    used: Option<&str>,
) -> Result<usize, StoreError> {
    // The first thousand that begin so: those of this key alone, since none is the beginning of another.
    let listed = bucket.line().ask("list_uploads", name, || async {
        let request = bucket.client().list_multipart_uploads().bucket(bucket.bucket()).prefix(name);
        request.send().await.map_err(Failure::of)
    });
    let listed = listed.await?;
    let of_this_key = listed.uploads().iter().filter(|upload| upload.key() == Some(name));
    let ids: Vec<_> = of_this_key.filter_map(|upload| upload.upload_id()).collect();
    if used.is_some_and(|used| !ids.contains(&used)) {
        // A server that does not list what it has just begun, or under another id, cannot tell what is in use.
        return Ok(0);
    }
    let mut removed = 0;
    for id in ids.into_iter().filter(|id| Some(*id) != used) {
        abort_upload(bucket, name, id).await?;
        removed += 1;
    }
    Ok(removed)
}

fn told(name: &str, removed: Result<usize, StoreError>) {
    match removed {
        Ok(0) => {}
        Ok(uploads) => {
            tracing::info!(object = name, uploads, "uploads whose beginning was not answered are removed");
        }
        Err(error) => tracing::warn!(
            object = name, %error,
            "an upload may have begun whose answer was lost, and could not be looked for; the bucket's lifecycle rule \
             will remove it (see `darkroomd bucket apply`)"
        ),
    }
}
