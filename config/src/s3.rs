//! `[objects.s3]`: a bucket in place of a folder. What a key is for is said in `darkroom.toml` beside this crate.

use std::time::Duration;

use bytesize::ByteSize;
use darkroom_store::objects::s3::{Checksum, LifecycleOptions, S3Options, ServerSideEncryption};
use serde::{Deserialize, Serialize};

use crate::error::in_keys;
use crate::sections::section;

/// The section's name.
pub(crate) const SECTION: &str = "objects.s3";

/// The checksum that goes with every put.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChecksumKind {
    /// `x-amz-checksum-crc32c`.
    Crc32c,
    /// `Content-MD5`.
    Md5,
    /// None.
    Off,
}

/// How the server encrypts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encryption {
    /// As the bucket's own default says.
    #[serde(rename = "bucket")]
    Bucket,
    /// By keys of S3.
    #[serde(rename = "AES256")]
    Aes256,
    /// By a key of KMS.
    #[serde(rename = "aws:kms")]
    Kms,
}

section! {
    /// `[objects.s3]`
    S3 {
        bucket: String = String::new(),
        prefix: String = String::new(),
        region: String = String::new(),
        endpoint: String = String::new(),
        path_style: bool = S3Options::default().path_style,
        checksum: ChecksumKind = ChecksumKind::Crc32c,
        encryption: Encryption = Encryption::Bucket,
        kms_key: String = String::new(),
        storage_class_original: String = String::new(),
        storage_class_variant: String = String::new(),
        multipart_threshold: ByteSize = ByteSize(S3Options::default().multipart_threshold_bytes),
        part_size: ByteSize = ByteSize(S3Options::default().part_bytes),
        parts_at_once: usize = S3Options::default().parts_at_once,
        #[serde(with = "humantime_serde")]
        connect_timeout: Duration = S3Options::default().connect_timeout,
        #[serde(with = "humantime_serde")]
        attempt_timeout: Duration = S3Options::default().attempt_timeout,
        #[serde(with = "humantime_serde")]
        operation_deadline: Duration = S3Options::default().operation_deadline,
        upload_rate_min: ByteSize = ByteSize(S3Options::default().upload_rate_min),
        breaker_failures: u32 = S3Options::default().breaker_failures,
        #[serde(with = "humantime_serde")]
        breaker_pause: Duration = S3Options::default().breaker_pause,
        #[serde(with = "humantime_serde")]
        late_request_max: Duration = S3Options::default().late_request_max,
        lifecycle_abort_uploads_days: u32 = LifecycleOptions::default().abort_uploads_after_days,
        lifecycle_originals_days: u32 = LifecycleOptions::default().originals_after_days.unwrap_or(0),
        lifecycle_originals_class: String = LifecycleOptions::default().originals_class,
    }
}

/// An empty string says nothing.
fn said(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl S3 {
    /// The store's options. Credentials are no part of a configuration file: they come from the SDK's own chain.
    pub(crate) fn options(&self) -> S3Options {
        S3Options {
            bucket: self.bucket.clone(),
            prefix: self.prefix.clone(),
            region: said(&self.region),
            endpoint: said(&self.endpoint),
            path_style: self.path_style,
            credentials: None,
            checksum: match self.checksum {
                ChecksumKind::Crc32c => Checksum::Crc32c,
                ChecksumKind::Md5 => Checksum::Md5,
                ChecksumKind::Off => Checksum::Off,
            },
            server_side_encryption: match self.encryption {
                Encryption::Bucket => ServerSideEncryption::BucketDefault,
                Encryption::Aes256 => ServerSideEncryption::Aes256,
                Encryption::Kms => ServerSideEncryption::Kms { key_id: said(&self.kms_key) },
            },
            storage_class_original: said(&self.storage_class_original),
            storage_class_variant: said(&self.storage_class_variant),
            multipart_threshold_bytes: self.multipart_threshold.0,
            part_bytes: self.part_size.0,
            parts_at_once: self.parts_at_once,
            connect_timeout: self.connect_timeout,
            attempt_timeout: self.attempt_timeout,
            operation_deadline: self.operation_deadline,
            upload_rate_min: self.upload_rate_min.0,
            breaker_failures: self.breaker_failures,
            breaker_pause: self.breaker_pause,
            late_request_max: self.late_request_max,
            lifecycle: LifecycleOptions {
                abort_uploads_after_days: self.lifecycle_abort_uploads_days,
                originals_after_days: Some(self.lifecycle_originals_days).filter(|days| *days > 0),
                originals_class: self.lifecycle_originals_class.clone(),
            },
        }
    }

    /// Refuses what S3 could not do, in a sentence that names the key.
    pub(crate) fn validate(&self) -> Result<(), String> {
        if !self.kms_key.is_empty() && self.encryption != Encryption::Kms {
            return Err("objects.s3.kms_key is set, and objects.s3.encryption is not \"aws:kms\": set that, or remove the \
                        key"
                .to_owned());
        }
        self.options().validate().map_err(|error| in_keys(&error, SECTION))
    }
}
