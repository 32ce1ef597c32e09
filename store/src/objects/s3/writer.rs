//! A streamed put: one request for what is small, parts in parallel for what is not.
//!
//! What one put holds is bounded ([`S3Options::window_bytes`]): up to the threshold it gathers, since a request that
//! may have to be repeated needs its bytes until it is answered; beyond it, it holds the parts on their way and the
//! one being filled, and `write` waits while they are too many.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, ServerSideEncryption as SdkEncryption, StorageClass,
};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body::{Body, Frame, SizeHint};
use tokio::task::JoinSet;

use super::beginning::begin_upload;
use super::checksum::{SumOfParts, Sums};
use super::error::{Cause, Failure};
use super::options::PARTS_MAX;
use super::{Bucket, S3Options, ServerSideEncryption};
use crate::StoreError;
use crate::model::ContentHash;
use crate::objects::pieces::Pieces;
use crate::objects::{ObjectKey, ObjectKind, Receipt, telemetry};

/// An object being written.
#[derive(Debug)]
pub struct BucketWriter {
    bucket: Bucket,
    name: String,
    kind: ObjectKind,
    gathered: Pieces,
    hasher: blake3::Hasher,
    bytes: u64,
    /// Begun when the threshold is passed.
    upload: Option<Upload>,
}

impl BucketWriter {
    pub(super) fn new(bucket: Bucket, key: &ObjectKey) -> Result<Self, StoreError> {
        let ((kind, _), name) = (key.parts()?, bucket.name(key)?);
        let (gathered, hasher) = (Pieces::default(), blake3::Hasher::new());
        Ok(Self { bucket, name, kind, gathered, hasher, bytes: 0, upload: None })
    }

    pub(in crate::objects) async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.hasher.update(&bytes);
        self.bytes += bytes.len() as u64;
        self.gathered.push(bytes);
        let threshold = self.bucket.options().multipart_threshold_bytes;
        if self.upload.is_none() && self.gathered.len() as u64 > threshold {
            self.upload = Some(Upload::begin(&self.bucket, &self.name, self.kind).boxed().await?);
        }
        let part = self.bucket.options().part_bytes;
        while let Some(upload) = &mut self.upload
            && self.gathered.len() as u64 >= part
        {
            upload.send(self.gathered.take_first(usize::try_from(part).unwrap_or(usize::MAX))).await?;
        }
        Ok(())
    }

    pub(in crate::objects) async fn finish(mut self) -> Result<Receipt, StoreError> {
        let rest = self.gathered.take();
        match self.upload.take() {
            None => put_one(&self.bucket, &self.name, Some(self.kind), &rest).await?,
            Some(mut upload) => {
                if !rest.is_empty() {
                    upload.send(rest).await?;
                }
                upload.complete(self.bytes).await?;
            }
        }
        Ok(Receipt { bytes: self.bytes, hash: ContentHash::from(self.hasher.finalize()) })
    }
}

/// Puts an object in one request. `kind` decides its storage class.
pub(super) async fn put_one(
    bucket: &Bucket,
    name: &str,
    kind: Option<ObjectKind>,
    pieces: &[Bytes],
) -> Result<(), StoreError> {
    let options = bucket.options();
    let sums = Sums::of(options.checksum, pieces);
    let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
    let stored = bucket.line().send("put", name, options.sending_time(bytes), || async {
        let request = bucket.client().put_object().bucket(bucket.bucket()).key(name).body(body(pieces));
        let request = request
            .set_storage_class(storage_class(options, kind))
            .set_server_side_encryption(encryption(options))
            .set_ssekms_key_id(kms_key(options))
            .set_checksum_crc32_c(sums.crc32c())
            .set_content_md5(sums.md5.clone());
        let answer = request.customize().disable_payload_signing().send().await.map_err(Failure::of)?;
        sums.compare(answer.checksum_crc32_c())
    });
    stored.await?;
    telemetry::count_sent(bytes);
    Ok(())
}

pub(super) fn storage_class(options: &S3Options, kind: Option<ObjectKind>) -> Option<StorageClass> {
    let class = match kind? {
        ObjectKind::Original => options.storage_class_original.as_deref(),
        ObjectKind::Variant => options.storage_class_variant.as_deref(),
        ObjectKind::Upload => None,
    };
    class.map(StorageClass::from)
}

pub(super) fn encryption(options: &S3Options) -> Option<SdkEncryption> {
    match options.server_side_encryption {
        ServerSideEncryption::BucketDefault => None,
        ServerSideEncryption::Aes256 => Some(SdkEncryption::Aes256),
        ServerSideEncryption::Kms { .. } => Some(SdkEncryption::AwsKms),
    }
}

pub(super) fn kms_key(options: &S3Options) -> Option<String> {
    match &options.server_side_encryption {
        ServerSideEncryption::Kms { key_id } => key_id.clone(),
        _ => None,
    }
}

/// An upload in parts. Dropped before it is complete, it is aborted, and its parts are gone.
#[derive(Debug)]
struct Upload {
    /// Taken when there is nothing to abort any more.
    open: Option<OpenUpload>,
    running: JoinSet<Result<SentPart, StoreError>>,
    done: Vec<SentPart>,
    parts: i32,
}

/// A part that is stored.
#[derive(Debug)]
struct SentPart {
    number: i32,
    /// What the server calls it.
    tag: Option<String>,
    sums: Sums,
    bytes: u64,
}

/// What names an upload at the server.
#[derive(Clone, Debug)]
struct OpenUpload {
    bucket: Bucket,
    name: String,
    id: String,
}

impl Upload {
    async fn begin(bucket: &Bucket, name: &str, kind: ObjectKind) -> Result<Self, StoreError> {
        let id = Box::pin(begin_upload(bucket, name, Some(kind), bucket.options().checksum)).await?;
        let open = OpenUpload { bucket: bucket.clone(), name: name.to_owned(), id };
        Ok(Self { open: Some(open), running: JoinSet::new(), done: Vec::new(), parts: 0 })
    }

    fn open(&self) -> Result<OpenUpload, StoreError> {
        self.open.clone().ok_or(StoreError::Closed)
    }

    /// Sends a part, once there is room for it.
    async fn send(&mut self, pieces: Vec<Bytes>) -> Result<(), StoreError> {
        let open = self.open()?;
        while self.running.len() >= open.bucket.options().parts_at_once {
            self.one_done().await?;
        }
        self.parts += 1;
        let number = self.parts;
        if number as u64 > PARTS_MAX {
            return Err(StoreError::InvalidOption {
                option: "part_bytes",
                detail: format!(
                    "is too small for {}: S3 takes at most {PARTS_MAX} parts of an object",
                    open.name
                ),
            });
        }
        self.running.spawn(async move { open.put_part(number, &pieces).await });
        Ok(())
    }

    async fn one_done(&mut self) -> Result<(), StoreError> {
        match self.running.join_next().await {
            Some(Ok(part)) => self.done.push(part?),
            Some(Err(error)) => {
                return Err(StoreError::Io {
                    context: "send a part of an object".to_owned(),
                    source: std::io::Error::other(error),
                });
            }
            None => {}
        }
        Ok(())
    }

    async fn complete(mut self, bytes: u64) -> Result<(), StoreError> {
        while !self.running.is_empty() {
            self.one_done().await?;
        }
        let mut parts = std::mem::take(&mut self.done);
        parts.sort_by_key(|part| part.number);
        self.open()?.complete(&parts, bytes).await?;
        self.open = None;
        Ok(())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let mut running = std::mem::take(&mut self.running);
        // Outside a runtime, as at the end of the process, the bucket's lifecycle rule removes the parts.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            // A part that arrived after the abort would stay.
            running.shutdown().await;
            if let Err(error) = abort_upload(&open.bucket, &open.name, &open.id).await {
                tracing::warn!(
                    object = open.name, %error,
                    "the parts of an unfinished upload could not be removed; the bucket's lifecycle rule will (see \
                     `darkroomd bucket apply`)"
                );
            }
        });
    }
}

impl OpenUpload {
    async fn put_part(&self, number: i32, pieces: &[Bytes]) -> Result<SentPart, StoreError> {
        let bucket = &self.bucket;
        let sums = Sums::of(bucket.options().checksum, pieces);
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let sending = bucket.options().sending_time(bytes);
        let stored = bucket.line().send("put_part", &self.name, sending, || async {
            let request =
                bucket.client().upload_part().bucket(bucket.bucket()).key(&self.name).upload_id(&self.id);
            let request = request
                .part_number(number)
                .body(body(pieces))
                .set_checksum_crc32_c(sums.crc32c())
                .set_content_md5(sums.md5.clone());
            let answer = request.customize().disable_payload_signing().send().await.map_err(Failure::of)?;
            sums.compare(answer.checksum_crc32_c())?;
            Ok(answer)
        });
        let tag = stored.await?.e_tag().map(str::to_owned);
        telemetry::count_sent(bytes);
        Ok(SentPart { number, tag, sums, bytes })
    }

    /// Has the parts put together, and sees that this has come to what was sent.
    async fn complete(&self, parts: &[SentPart], bytes: u64) -> Result<(), StoreError> {
        let mut sum = SumOfParts::default();
        for part in parts {
            sum.add(&part.sums, part.bytes);
        }
        let what = format!("complete of {}", self.name);
        let stored = match complete_upload(&self.bucket, &self.name, &self.id, named(parts)).await? {
            Ok(stored) => stored,
            // Perhaps an attempt before this one was carried out, and only its answer was lost.
            Err(failure) if failure.is("NoSuchUpload") => match self.bucket.head_sum(&self.name).await? {
                Some((found, stored)) if found == bytes => stored,
                _ => return Err(failure.into_error(&what)),
            },
            Err(failure) => return Err(failure.into_error(&what)),
        };
        sum.compare(stored.as_deref()).map_err(|reason| {
            // Another attempt would be told the same, and the parts are gone. Nobody will refer to this object.
            telemetry::count_retry("complete_parts", Cause::Damaged.name());
            tracing::error!(object = self.name, reason, "the parts of an object were put together wrongly");
            StoreError::Unavailable { reason: format!("{what}: {reason}") }
        })
    }
}

/// The parts as a completion names them.
fn named(parts: &[SentPart]) -> Vec<CompletedPart> {
    let name = |part: &SentPart| {
        let named = CompletedPart::builder().part_number(part.number).set_e_tag(part.tag.clone());
        named.set_checksum_crc32_c(part.sums.crc32c()).build()
    };
    parts.iter().map(name).collect()
}

/// Makes one object of the parts; its checksum, where the server tells it.
pub(super) async fn complete_upload(
    bucket: &Bucket,
    name: &str,
    id: &str,
    parts: Vec<CompletedPart>,
) -> Result<Result<Option<String>, Failure>, StoreError> {
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
    let completed = bucket.line().call("complete_parts", || async {
        let request =
            bucket.client().complete_multipart_upload().bucket(bucket.bucket()).key(name).upload_id(id);
        let answer = request.multipart_upload(parts.clone()).send().await.map_err(Failure::of)?;
        Ok(answer.checksum_crc32_c().map(str::to_owned))
    });
    completed.await
}

/// Removes the parts of an upload.
pub(super) async fn abort_upload(bucket: &Bucket, name: &str, id: &str) -> Result<(), StoreError> {
    let aborted = bucket.line().call("abort_parts", || async {
        let request =
            bucket.client().abort_multipart_upload().bucket(bucket.bucket()).key(name).upload_id(id);
        request.send().await.map(drop).map_err(Failure::of)
    });
    match aborted.await? {
        Err(failure) if !failure.is("NoSuchUpload") => Err(failure.into_error(&format!("abort of {name}"))),
        _ => Ok(()),
    }
}

/// Pieces as the body of a request. What they hold is shared, not copied.
fn body(pieces: &[Bytes]) -> ByteStream {
    let left = pieces.iter().map(|piece| piece.len() as u64).sum();
    ByteStream::new(SdkBody::from_body_1_x(PiecesBody { pieces: pieces.to_vec().into(), left }))
}

struct PiecesBody {
    pieces: VecDeque<Bytes>,
    left: u64,
}

impl Body for PiecesBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pieces.pop_front();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
