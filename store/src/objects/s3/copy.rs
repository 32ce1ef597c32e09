//! Copies that the server makes by itself, and looks at what others have put: nothing of an object passes through here.

use std::fmt::Write;

use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode, CompletedPart, MetadataDirective};
use futures_util::{StreamExt, TryStreamExt, stream};

use super::beginning::{begin_upload, remove_others};
use super::error::Failure;
use super::writer::{abort_upload, complete_upload, encryption, kms_key, storage_class};
use super::{Bucket, Checksum, length};
use crate::StoreError;
use crate::objects::ObjectKey;

/// Largest object that S3 copies in one request (API reference, CopyObject).
const COPY_BYTES_MAX: u64 = 5 << 30;
/// Size of the parts in which a larger one is copied. A part is copied within one request's time.
const COPY_PART_BYTES: u64 = 512 << 20;
/// Parts copied at once.
const COPIES_AT_ONCE: usize = 4;

/// What the server tells of an object that somebody else has put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundObject {
    /// Its size.
    pub bytes: u64,
    /// The server's word for this content of it; empty where it has none.
    pub tag: String,
    /// Its SHA-256 in base64, where it was put with one and the server keeps it.
    pub sha256: Option<String>,
}

/// What became of the completion of parts that a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Completion {
    /// They are one object.
    Done,
    /// The server knows no such upload: it was completed before, or is gone.
    Unknown,
    /// The server does not have these parts, or they cannot be put together; in its words.
    Wrong(String),
}

/// What S3 says of parts that are not as they must be (API reference, CompleteMultipartUpload).
const WRONG_PARTS: [&str; 5] =
    ["InvalidPart", "InvalidPartOrder", "EntityTooSmall", "InvalidRequest", "MalformedXML"];

impl Bucket {
    /// Makes one object of parts that a client has sent: their numbers and `ETag`s, in order.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn complete_sent(
        &self,
        key: &ObjectKey,
        upload: &str,
        parts: &[(i32, String)],
    ) -> Result<Completion, StoreError> {
        let name = self.name(key)?;
        let part =
            |(number, tag): &(i32, String)| CompletedPart::builder().part_number(*number).e_tag(tag).build();
        match Box::pin(complete_upload(self, &name, upload, parts.iter().map(part).collect())).await? {
            Ok(_) => Ok(Completion::Done),
            Err(failure) if failure.is("NoSuchUpload") => Ok(Completion::Unknown),
            Err(Failure::Refused(refusal)) if WRONG_PARTS.contains(&refusal.code.as_str()) => {
                Ok(Completion::Wrong(format!("{}: {}", refusal.code, refusal.message)))
            }
            Err(failure) => Err(failure.into_error(&format!("completion of {name}"))),
        }
    }

    /// Gives up whatever uploads in parts this key has.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn abort_all_parts(&self, key: &ObjectKey) -> Result<usize, StoreError> {
        let name = self.name(key)?;
        Box::pin(remove_others(self, &name, None)).await
    }

    /// What an object is called in the bucket: its key behind the prefix.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a key that is none.
    pub fn name_of(&self, key: &ObjectKey) -> Result<String, StoreError> {
        self.name(key)
    }

    /// The bucket's own name.
    #[must_use]
    pub fn bucket_name(&self) -> &str {
        self.bucket()
    }

    /// What every key begins with.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.options().prefix
    }

    /// Looks at an object that may be of any name, `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn look_at(&self, name: &str) -> Result<Option<FoundObject>, StoreError> {
        let Some(found) = Box::pin(self.ask_head(name, Some(ChecksumMode::Enabled))).await? else {
            return Ok(None);
        };
        Ok(Some(FoundObject {
            bytes: length(name, &found)?,
            tag: found.e_tag().unwrap_or_default().to_owned(),
            sha256: found.checksum_sha256().map(str::to_owned),
        }))
    }

    /// Has the server copy the object of the name `from`, which has so many bytes, to a new key; false if there is no
    /// such object. What was said about it when it was put (type, own metadata) is not copied with it.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn copy(&self, from: &str, bytes: u64, to: &ObjectKey) -> Result<bool, StoreError> {
        Box::pin(self.copy_in(from, bytes, to, COPY_BYTES_MAX, COPY_PART_BYTES)).await
    }

    /// As [`Bucket::copy`]: in parts of `part_bytes` where there are more than `whole_max`.
    ///
    /// # Errors
    /// As [`Bucket::copy`].
    #[doc(hidden)]
    pub async fn copy_in(
        &self,
        from: &str,
        bytes: u64,
        to: &ObjectKey,
        whole_max: u64,
        part_bytes: u64,
    ) -> Result<bool, StoreError> {
        if bytes <= whole_max {
            return Box::pin(self.copy_whole(from, bytes, to)).await;
        }
        let (kind, _) = to.parts()?;
        let name = self.name(to)?;
        // Parts that are copied come without a checksum of ours.
        let upload = begin_upload(self, &name, Some(kind), Checksum::Off).await?;
        let copied = self.copy_parts(from, bytes, &name, &upload, part_bytes).await;
        if !matches!(copied, Ok(true)) {
            // What cannot be removed now the bucket's lifecycle rule removes.
            if let Err(error) = abort_upload(self, &name, &upload).await {
                tracing::warn!(object = name, %error, "the parts of a copy that failed could not be removed");
            }
        }
        copied
    }

    async fn copy_whole(&self, from: &str, bytes: u64, to: &ObjectKey) -> Result<bool, StoreError> {
        let ((kind, _), name, options) = (to.parts()?, self.name(to)?, self.options());
        let source = self.source(from);
        let algorithm = (options.checksum == Checksum::Crc32c).then_some(ChecksumAlgorithm::Crc32C);
        let copied = Box::pin(self.line().call_sending("copy", options.sending_time(bytes), || async {
            let request = self.client().copy_object().bucket(self.bucket()).key(&name).copy_source(&source);
            let request = request
                .metadata_directive(MetadataDirective::Replace)
                .set_storage_class(storage_class(options, Some(kind)))
                .set_server_side_encryption(encryption(options))
                .set_ssekms_key_id(kms_key(options))
                .set_checksum_algorithm(algorithm.clone());
            request.send().await.map(drop).map_err(Failure::of)
        }));
        match copied.await? {
            Ok(()) => Ok(true),
            Err(failure) if failure.is_missing() => Ok(false),
            Err(failure) => Err(failure.into_error(&format!("copy of {from}"))),
        }
    }

    async fn copy_parts(
        &self,
        from: &str,
        bytes: u64,
        name: &str,
        upload: &str,
        part_bytes: u64,
    ) -> Result<bool, StoreError> {
        let numbers = 1..=i32::try_from(bytes.div_ceil(part_bytes)).unwrap_or(i32::MAX);
        let copies = stream::iter(numbers).map(|number| async move {
            let begins = (number as u64 - 1) * part_bytes;
            self.copy_part(from, begins..(begins + part_bytes).min(bytes), name, upload, number).await
        });
        let parts: Vec<Option<CompletedPart>> = copies.buffered(COPIES_AT_ONCE).try_collect().await?;
        let Some(parts) = parts.into_iter().collect::<Option<Vec<_>>>() else { return Ok(false) };
        match complete_upload(self, name, upload, parts).await? {
            Ok(_) => Ok(true),
            // Perhaps an attempt before this one was carried out, and only its answer was lost.
            Err(failure) if failure.is("NoSuchUpload") => match self.head_name(name).await? {
                Some(found) if found.bytes == bytes => Ok(true),
                _ => Err(failure.into_error(&format!("completion of the copy {name}"))),
            },
            Err(failure) => Err(failure.into_error(&format!("completion of the copy {name}"))),
        }
    }

    async fn copy_part(
        &self,
        from: &str,
        range: std::ops::Range<u64>,
        name: &str,
        upload: &str,
        number: i32,
    ) -> Result<Option<CompletedPart>, StoreError> {
        let (source, sending) = (self.source(from), self.options().sending_time(range.end - range.start));
        let copied = self.line().call_sending("copy_part", sending, || async {
            let request = self.client().upload_part_copy().bucket(self.bucket()).key(name).upload_id(upload);
            let request = request.part_number(number).copy_source(&source).copy_source_range(format!(
                "bytes={}-{}",
                range.start,
                range.end - 1
            ));
            request.send().await.map_err(Failure::of)
        });
        match copied.await? {
            Ok(answer) => {
                let tag = answer.copy_part_result().and_then(|result| result.e_tag()).map(str::to_owned);
                Ok(Some(CompletedPart::builder().part_number(number).set_e_tag(tag).build()))
            }
            Err(failure) if failure.is_missing() => Ok(None),
            Err(failure) => Err(failure.into_error(&format!("copy of a part of {from}"))),
        }
    }

    /// Deletes an object that is not ours, of any name.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub async fn delete_found(&self, name: &str) -> Result<(), StoreError> {
        Box::pin(self.delete_name(name)).await.map(drop)
    }

    /// What names the source of a copy: bucket and key, encoded as in a URL.
    fn source(&self, name: &str) -> String {
        let mut source = format!("{}/", self.bucket());
        for byte in name.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' | b'/' => {
                    source.push(char::from(byte));
                }
                // Writing to a string does not fail.
                _ => drop(write!(source, "%{byte:02X}")),
            }
        }
        source
    }
}
