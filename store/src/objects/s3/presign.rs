//! URLs with which a client may speak to the bucket by itself for a while.
//!
//! A URL says nothing of what is sent to it: whoever hands one out for a put looks at the object afterwards, and
//! copies it to a key that the URL does not reach (DESIGN §5).

use std::time::Duration;

use aws_sdk_s3::presigning::{PresignedRequest as SdkRequest, PresigningConfig};
use aws_sdk_s3::types::CompletedPart;

use super::beginning::begin_upload;
use super::writer::{abort_upload, complete_upload, encryption, kms_key, storage_class};
use super::{Bucket, Checksum, Failure};
use crate::StoreError;
use crate::objects::ObjectKey;

/// Longest that S3 lets a URL be valid.
const VALID_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// A request that a client may make by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresignedRequest {
    /// `GET` or `PUT`.
    pub method: String,
    /// Where to. Whoever has it may use it: it is a secret while it is valid.
    pub url: String,
    /// Headers that must be sent as they are, since they are signed.
    pub headers: Vec<(String, String)>,
}

/// What a client has said about the bytes that it will put.
#[derive(Clone, Copy, Debug)]
pub struct Announced<'a> {
    /// How many.
    pub bytes: u64,
    /// Their type.
    pub media_type: Option<&'a str>,
    /// Their SHA-256 in base64.
    pub sha256: Option<&'a str>,
}

impl Bucket {
    /// A URL that reads the object.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] without credentials; [`StoreError::InvalidOption`] for more than seven days.
    pub async fn presign_get(
        &self,
        key: &ObjectKey,
        valid: Duration,
    ) -> Result<PresignedRequest, StoreError> {
        let name = self.name(key)?;
        let request = self.client().get_object().bucket(self.bucket()).key(&name);
        request.presigned(config(valid)?).await.map(|signed| described(&signed)).map_err(|e| failed(&name, e))
    }

    /// A URL that writes the object. With `bytes`, it takes exactly so many.
    ///
    /// # Errors
    /// As [`Bucket::presign_get`].
    pub async fn presign_put(
        &self,
        key: &ObjectKey,
        bytes: Option<u64>,
        valid: Duration,
    ) -> Result<PresignedRequest, StoreError> {
        let ((kind, _), name, options) = (key.parts()?, self.name(key)?, self.options());
        let request = self.client().put_object().bucket(self.bucket()).key(&name);
        let request = request
            .set_storage_class(storage_class(options, Some(kind)))
            .set_server_side_encryption(encryption(options))
            .set_ssekms_key_id(kms_key(options))
            .set_content_length(bytes.map(signed_length));
        request.presigned(config(valid)?).await.map(|signed| described(&signed)).map_err(|e| failed(&name, e))
    }

    /// A URL that writes an object of exactly so many bytes, with the type and the SHA-256 (in base64) that the client
    /// has announced: the server refuses other bytes by itself.
    ///
    /// # Errors
    /// As [`Bucket::presign_get`].
    pub async fn presign_announced(
        &self,
        key: &ObjectKey,
        announced: &Announced<'_>,
        valid: Duration,
    ) -> Result<PresignedRequest, StoreError> {
        let ((kind, _), name, options) = (key.parts()?, self.name(key)?, self.options());
        let request = self.client().put_object().bucket(self.bucket()).key(&name);
        let request = request
            .set_storage_class(storage_class(options, Some(kind)))
            .set_server_side_encryption(encryption(options))
            .set_ssekms_key_id(kms_key(options))
            .set_content_type(announced.media_type.map(str::to_owned))
            // Servers that are told to be without the headers of checksums know none.
            .set_checksum_sha256(
                announced.sha256.filter(|_| options.checksum == Checksum::Crc32c).map(str::to_owned),
            )
            .content_length(signed_length(announced.bytes));
        request.presigned(config(valid)?).await.map(|signed| described(&signed)).map_err(|e| failed(&name, e))
    }

    /// Begins an upload in parts that a client sends by itself; its id, for the other calls. A key has one upload at a
    /// time.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`]: then take another key, since what may have begun under this one is about to be
    /// removed.
    pub async fn begin_parts(&self, key: &ObjectKey) -> Result<String, StoreError> {
        let (kind, _) = key.parts()?;
        // S3 refuses parts without the checksum that was announced, and clients send none.
        Box::pin(begin_upload(self, &self.name(key)?, Some(kind), Checksum::Off)).await
    }

    /// A URL that writes one part, numbered from 1. The `ETag` of its answer is needed to complete the upload.
    ///
    /// # Errors
    /// As [`Bucket::presign_get`].
    pub async fn presign_part(
        &self,
        key: &ObjectKey,
        upload: &str,
        number: i32,
        bytes: Option<u64>,
        valid: Duration,
    ) -> Result<PresignedRequest, StoreError> {
        let name = self.name(key)?;
        let request = self.client().upload_part().bucket(self.bucket()).key(&name).upload_id(upload);
        let request = request.part_number(number).set_content_length(bytes.map(signed_length));
        request.presigned(config(valid)?).await.map(|signed| described(&signed)).map_err(|e| failed(&name, e))
    }

    /// Makes one object of parts that were sent: their numbers and `ETag`s, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], also where S3 does not have these parts.
    pub async fn complete_parts(
        &self,
        key: &ObjectKey,
        upload: &str,
        parts: &[(i32, String)],
    ) -> Result<(), StoreError> {
        let name = self.name(key)?;
        let part =
            |(number, tag): &(i32, String)| CompletedPart::builder().part_number(*number).e_tag(tag).build();
        let parts = parts.iter().map(part).collect();
        complete_upload(self, &name, upload, parts)
            .await?
            .map(drop)
            .map_err(|failure: Failure| failure.into_error(&format!("complete of {name}")))
    }

    /// Gives up an upload in parts; what was sent is removed.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn abort_parts(&self, key: &ObjectKey, upload: &str) -> Result<(), StoreError> {
        abort_upload(self, &self.name(key)?, upload).await
    }
}

fn signed_length(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn config(valid: Duration) -> Result<PresigningConfig, StoreError> {
    PresigningConfig::expires_in(valid).map_err(|error| StoreError::InvalidOption {
        option: "valid",
        detail: format!("is {valid:?}, and S3 takes up to {VALID_MAX:?}: {error}"),
    })
}

fn described(request: &SdkRequest) -> PresignedRequest {
    PresignedRequest {
        method: request.method().to_owned(),
        url: request.uri().to_owned(),
        headers: request.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    }
}

fn failed(name: &str, error: impl std::error::Error) -> StoreError {
    StoreError::Unavailable { reason: format!("no URL could be signed for {name}: {error}") }
}
