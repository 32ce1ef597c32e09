//! A direct upload is announced, and its client gets URLs.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use darkroom_store::model::batches;
use darkroom_store::model::direct::{self, Claimed, DirectUpload, OpenLimits, Opened, Parts, Source, State};
use darkroom_store::model::idempotency::UploadKey;
use darkroom_store::model::photos::Fields;
use darkroom_store::model::posts::Draft;
use darkroom_store::model::{BatchId, ContentHash, OwnerId, Timestamp, UploadId};
use darkroom_store::objects::ObjectStore;
use darkroom_store::objects::s3::{Announced, Bucket, PresignedRequest};

use super::error::refusal;
use super::options::{DirectOptions, PUT_BYTES_MAX, PUT_RATE_MIN};
use super::{DirectError, hex, sweep};
use crate::error::{BodyError, IngestError};
use crate::faults::Point;
use crate::pipeline::Pipeline;

/// What a client announces.
#[derive(Clone, Debug)]
pub struct NewDirect {
    /// Whose photo it will be.
    pub owner: OwnerId,
    /// How many bytes.
    pub bytes: u64,
    /// Their type.
    pub media_type: Option<String>,
    /// Their BLAKE3.
    pub blake3: Option<ContentHash>,
    /// Their SHA-256.
    pub sha256: Option<[u8; 32]>,
    /// The file's name.
    pub name: Option<String>,
    /// The batch that the photo belongs to.
    pub batch: Option<BatchId>,
    /// What is said of the photo.
    pub fields: Fields,
    /// Make a photo of its own even if the owner has one with these bytes.
    pub allow_duplicate: bool,
    /// The post in which it is to be shown.
    pub publish: Option<Draft>,
    /// Whether to send it in parts; `None`: by its size.
    pub parts: Option<bool>,
}

/// Where a client sends one part.
#[derive(Clone, Debug)]
pub struct PartUrl {
    /// Its number, from 1.
    pub number: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// The request.
    pub request: PresignedRequest,
}

impl Pipeline {
    /// The bucket, where there is one.
    pub(crate) fn bucket(&self) -> Result<&Bucket, DirectError> {
        match self.objects() {
            ObjectStore::S3(bucket) => Ok(bucket),
            ObjectStore::Filesystem(_) => Err(DirectError::NoBucket),
        }
    }

    fn direct_options(&self) -> &DirectOptions {
        &self.options().direct
    }

    /// Opens a direct upload, or finds the one that an earlier attempt at the same request under a key has opened, as it is
    /// now. Its record stands before anything can be put.
    ///
    /// # Errors
    /// [`DirectError`].
    pub async fn open_direct(
        &self,
        new: NewDirect,
        key: Option<UploadKey>,
    ) -> Result<DirectUpload, DirectError> {
        let bucket = self.bucket()?;
        let (options, limit) = (self.direct_options(), self.options().upload_bytes_max);
        let mut upload = record(options, new, self.objects().late_put_max());
        if upload.bytes > limit {
            let error = IngestError::Body(BodyError::TooLarge { limit });
            self.refused_unopened(&upload, &error).await;
            return Err(error.into());
        }
        if let Some(earlier) = self.open_record(&upload, key.as_ref()).await? {
            upload = self.direct_upload(&upload.owner, earlier).await?;
            if has_begun(&upload) {
                return Ok(upload);
            }
            // Whoever opened it may have begun its parts and died before that was noted.
            bucket.abort_all_parts(&direct::upload_key(earlier)).await?;
        } else {
            metrics::counter!("darkroom_direct_uploads_opened_total").increment(1);
            self.house().faults.pass(Point::UploadBegun, 0);
        }
        if upload.parts.is_none() {
            return Ok(upload);
        }
        match self.begin_parts(bucket, upload.id).await {
            Ok(begun) => upload.parts.iter_mut().for_each(|parts| parts.upload = Some(begun.clone())),
            // The same request, sent again, goes on with it.
            Err(error) if key.is_some() => return Err(error),
            Err(error) => {
                // Nobody has its id. What cannot be ended now expires.
                if let Err(error) = self.abort_direct(&upload.owner, upload.id).await {
                    tracing::warn!(upload = %upload.id, %error, "a direct upload that could not begin is left to expire");
                }
                return Err(error);
            }
        }
        Ok(upload)
    }

    /// Notes in the batch that an upload was not even opened because its file can be no photo. Its client is told in any
    /// case: what goes wrong here goes to the log.
    async fn refused_unopened(&self, upload: &DirectUpload, error: &IngestError) {
        let Some(failure) = refusal(error) else { return };
        let Some(refusal) = &self.refusal_in_batch(upload, &failure, upload.created) else { return };
        let note = |tx| async move { batches::refused(&tx, refusal).await };
        match self.metadata().transact("note refused file", note).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => {
                tracing::debug!(batch = %refusal.batch, %why, "a refused direct upload is not noted");
            }
            Err(error) => {
                tracing::warn!(batch = %refusal.batch, %error, "a refused file could not be noted in its batch");
            }
        }
    }

    /// Makes the record of an upload; or the id of the one that an earlier attempt has opened under the same key.
    pub(super) async fn open_record(
        &self,
        upload: &DirectUpload,
        key: Option<&UploadKey>,
    ) -> Result<Option<UploadId>, DirectError> {
        let options = self.direct_options();
        let limits = OpenLimits { uploads_max: options.open_max, bytes_max: options.open_bytes_max };
        let open = |tx| async move { direct::open(&tx, upload, limits, key).await };
        match self.metadata().transact("open direct upload", open).await? {
            Opened::New => Ok(None),
            Opened::Before(earlier) => Ok(Some(earlier)),
            Opened::NotAdmitted(why) => Err(IngestError::from(why).into()),
            Opened::TooMany(open) => Err(DirectError::TooMany { open, max: limits.uploads_max }),
            Opened::TooLarge(open) => Err(DirectError::TooManyBytes { open, max: limits.bytes_max }),
        }
    }

    async fn begin_parts(&self, bucket: &Bucket, id: UploadId) -> Result<String, DirectError> {
        let key = direct::upload_key(id);
        let begun = &bucket.begin_parts(&key).await?;
        let note = |tx| async move { direct::begun(&tx, id, begun).await };
        let counts = self.metadata().transact("begin direct upload", note).await?;
        if let Some(earlier) = counts.as_ref().filter(|counts| *counts != begun)
            && let Err(error) = Box::pin(bucket.abort_parts(&key, begun)).await
        {
            tracing::warn!(upload = %id, %earlier, %error, "parts were begun twice; the second are left to the bucket");
        }
        counts.ok_or(DirectError::Over { id, state: "over" })
    }

    /// The request by which the client puts an upload that is sent in one piece.
    ///
    /// # Errors
    /// [`DirectError`].
    pub async fn put_url(&self, upload: &DirectUpload) -> Result<PresignedRequest, DirectError> {
        let sha256 = upload.sha256.as_deref().and_then(from_hex).map(|digest| STANDARD.encode(digest));
        let announced = Announced {
            bytes: upload.bytes,
            media_type: upload.media_type.as_deref(),
            sha256: sha256.as_deref(),
        };
        let (key, valid) = (direct::upload_key(upload.id), valid(upload));
        Ok(Box::pin(self.bucket()?.presign_announced(&key, &announced, valid)).await?)
    }

    /// The requests by which the client puts parts, from the one numbered `from` on, as many as one answer has.
    ///
    /// # Errors
    /// [`DirectError::NoSuchPart`] where there is no part of this number; [`DirectError`].
    pub async fn part_urls(&self, upload: &DirectUpload, from: u64) -> Result<Vec<PartUrl>, DirectError> {
        let id = upload.id;
        if upload.state != State::Open || valid(upload).is_zero() {
            return Err(DirectError::Over { id, state: over(upload) });
        }
        let Some((parts, begun)) =
            upload.parts.as_ref().and_then(|parts| Some((parts, parts.upload.as_ref()?)))
        else {
            return Err(DirectError::NoSuchPart { id, count: 0 });
        };
        let mut urls = Vec::new();
        for number in (from..).take(self.direct_options().part_urls_max) {
            let Some(bytes) = parts.size(upload.bytes, number) else { break };
            let (key, of_s3) = (direct::upload_key(id), i32::try_from(number).unwrap_or(i32::MAX));
            let request = self.bucket()?.presign_part(&key, begun, of_s3, Some(bytes), valid(upload));
            urls.push(PartUrl { number, bytes, request: Box::pin(request).await? });
        }
        if urls.is_empty() {
            return Err(DirectError::NoSuchPart { id, count: parts.count(upload.bytes) });
        }
        Ok(urls)
    }

    /// An upload of this owner.
    ///
    /// # Errors
    /// [`DirectError::Unknown`], also for one of another owner; those of the engine.
    pub async fn direct_upload(&self, owner: &OwnerId, id: UploadId) -> Result<DirectUpload, DirectError> {
        self.bucket()?;
        let look = |tx| async move { direct::get(&tx, id).await };
        let upload = self.metadata().read("direct upload", look).await?;
        upload.filter(|upload| upload.owner == *owner).ok_or(DirectError::Unknown(id))
    }

    /// The upload of this id, whoever's it is: for whoever was told of it by the bucket. `None` also without one.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn find_direct(&self, id: UploadId) -> Result<Option<DirectUpload>, DirectError> {
        let look = |tx| async move { direct::get(&tx, id).await };
        Ok(self.metadata().read("direct upload", look).await?)
    }

    /// Gives an upload up, at its owner's word; what was sent is deleted. True the first time.
    ///
    /// # Errors
    /// [`DirectError::Busy`] while it is being finished; [`DirectError::Over`] where it is a photo; [`DirectError`].
    pub async fn abort_direct(&self, owner: &OwnerId, id: UploadId) -> Result<bool, DirectError> {
        let found = self.direct_upload(owner, id).await?;
        if matches!(found.source, Source::Found { .. }) {
            return Err(DirectError::Unknown(id));
        }
        let now = Timestamp::now();
        let abort = |tx| async move { direct::abort(&tx, id, now).await };
        match self.metadata().transact("abort direct upload", abort).await? {
            Claimed::Ours(upload) => {
                note("aborted");
                // Parts that arrive after this are removed when its URLs are not valid any more.
                if let Err(error) = sweep::abort_parts(self.bucket()?, &upload).await {
                    tracing::warn!(upload = %id, %error, "the parts of a direct upload are removed later");
                }
                Ok(true)
            }
            Claimed::Busy => Err(DirectError::Busy(id)),
            Claimed::Settled(upload) if matches!(upload.state, State::Done { .. }) => {
                Err(DirectError::Over { id, state: "done" })
            }
            Claimed::Settled(_) => Ok(false),
            Claimed::Absent => Err(DirectError::Unknown(id)),
        }
    }
}

/// Whether nothing is left to do before an upload's bytes can be put.
fn has_begun(upload: &DirectUpload) -> bool {
    let has_begun = upload.parts.as_ref().is_none_or(|parts| parts.upload.is_some());
    has_begun || upload.state != State::Open
}

/// Counts an upload that was settled.
pub(super) fn note(outcome: &'static str) {
    metrics::counter!("darkroom_direct_uploads_settled_total", "outcome" => outcome).increment(1);
}

/// Why nothing can be sent any more, in one word.
fn over(upload: &DirectUpload) -> &'static str {
    match &upload.state {
        State::Open => "expired",
        settled => settled.as_str(),
    }
}

/// How long its URLs are valid from now on, in whole seconds.
fn valid(upload: &DirectUpload) -> Duration {
    Duration::from_secs(upload.expires.since(Timestamp::now()).as_secs())
}

fn from_hex(hex: &str) -> Option<Vec<u8>> {
    let digits = (0..hex.len()).step_by(2).map(|at| hex.get(at..at + 2));
    digits.map(|pair| u8::from_str_radix(pair?, 16).ok()).collect()
}

fn record(options: &DirectOptions, new: NewDirect, late: Duration) -> DirectUpload {
    let (id, now) = (UploadId::new(), Timestamp::now());
    let NewDirect {
        owner,
        bytes,
        media_type,
        blake3,
        sha256,
        name,
        batch,
        fields,
        allow_duplicate,
        publish,
        parts,
    } = new;
    let in_parts = bytes > PUT_BYTES_MAX || parts.unwrap_or(bytes > options.parts_above_bytes);
    let expires = now.after(options.expires);
    let part_bytes = in_parts.then(|| options.part_bytes_of(bytes));
    // A put that was begun with a URL goes on when the URL is not valid any more.
    let sending = Duration::from_secs(part_bytes.unwrap_or(bytes).min(bytes) / PUT_RATE_MIN);
    DirectUpload {
        id,
        owner,
        source: Source::Uploaded(direct::upload_key(id)),
        bytes,
        media_type,
        blake3,
        sha256: sha256.map(|digest| hex(&digest)),
        name,
        batch,
        fields,
        allow_duplicate,
        publish,
        parts: part_bytes.map(|part_bytes| Parts { part_bytes, upload: None }),
        created: now,
        expires,
        kept_ms: milliseconds(options.kept),
        // What was begun with its URLs has arrived by then, unless it comes very slowly: that is looked for once more when
        // the record is forgotten.
        due: expires.after(late.saturating_add(sending)),
        state: State::Open,
        claim: None,
        swept: false,
    }
}

pub(super) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_the_time_that_its_largest_request_may_take() {
        let options = DirectOptions::default();
        let grace = |bytes, parts| {
            let new = NewDirect {
                owner: OwnerId::open(),
                bytes,
                media_type: None,
                blake3: None,
                sha256: None,
                name: None,
                batch: None,
                fields: Fields::default(),
                allow_duplicate: false,
                publish: None,
                parts: Some(parts),
            };
            let upload = record(&options, new, Duration::from_secs(60));
            upload.due.since(upload.expires).as_secs()
        };
        assert_eq!(grace(1000, false), 60);
        assert_eq!(grace(64 << 20, false), 60 + 1024);
        assert_eq!(grace(64 << 20, true), 60 + 256, "of a part");
        assert_eq!(grace(5000, true), 60, "of a part that is no more than the file");
    }

    #[test]
    fn hex_is_read_back() {
        assert_eq!(from_hex("00ff10"), Some(vec![0, 255, 16]));
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("123"), None);
    }
}
