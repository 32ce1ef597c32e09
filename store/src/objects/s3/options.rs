//! How an S3 bucket is used, with defaults and what is refused.

use std::fmt;
use std::time::Duration;

use crate::StoreError;

/// One mebibyte.
const MIB: u64 = 1 << 20;
/// S3 takes no smaller part but the last (AWS, "Amazon S3 multipart upload limits").
pub const PART_BYTES_MIN: u64 = 5 * MIB;
/// S3 takes no larger part, and no larger single put.
pub(super) const PART_BYTES_MAX: u64 = 5 << 30;
/// Parts of one object that S3 takes.
pub(super) const PARTS_MAX: u64 = 10_000;
/// What a put may hold beside its parts: the piece that overflowed one.
const PIECE_BYTES: u64 = MIB;

/// The checksum that goes with every put. The server computes it again and refuses bytes that were changed on
/// their way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Checksum {
    /// `x-amz-checksum-crc32c`: kept with the object, and compared again when the whole object is read.
    #[default]
    Crc32c,
    /// `Content-MD5`: for servers that do not know the `x-amz-checksum-*` headers. Compared by the server only.
    Md5,
    /// None: for servers that refuse both. TLS, or nothing, protects the bytes on their way.
    Off,
}

/// How the server encrypts what it stores.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum ServerSideEncryption {
    /// As the bucket's own default says.
    #[default]
    BucketDefault,
    /// `AES256`: keys of S3.
    Aes256,
    /// `aws:kms`, by this key, or by the account's own for S3.
    Kms {
        /// The key's id, ARN or alias.
        key_id: Option<String>,
    },
}

/// How a bucket is reached and used. Credentials come from the SDK's own chain (environment, profile, web identity,
/// container, instance), unless `credentials` says otherwise.
#[derive(Clone, PartialEq, Eq)]
pub struct S3Options {
    /// The bucket. It must exist.
    pub bucket: String,
    /// What every key begins with; empty, or ending with a slash. Nothing else may use that prefix.
    pub prefix: String,
    /// The bucket's region; `None`: from the SDK's chain, or `us-east-1` where an endpoint is given.
    pub region: Option<String>,
    /// The URL of a server other than AWS; `None`: AWS's for the region.
    pub endpoint: Option<String>,
    /// `https://endpoint/bucket/key` in place of `https://bucket.endpoint/key`.
    pub path_style: bool,
    /// Key id and secret, for tests. `None`: the SDK's own chain.
    pub credentials: Option<(String, String)>,
    /// What goes with every put.
    pub checksum: Checksum,
    /// Asked for with every put.
    pub server_side_encryption: ServerSideEncryption,
    /// Storage class of originals; `None`: the bucket's default.
    pub storage_class_original: Option<String>,
    /// Storage class of variants; `None`: the bucket's default.
    pub storage_class_variant: Option<String>,
    /// Largest object that is put in one request. It is held whole until then.
    pub multipart_threshold_bytes: u64,
    /// Size of each part of a larger one.
    pub part_bytes: u64,
    /// Parts of one object that are sent at once.
    pub parts_at_once: usize,
    /// Until a connection must stand.
    pub connect_timeout: Duration,
    /// Until a request must be answered, beside the time that the bytes it sends may take.
    pub attempt_timeout: Duration,
    /// Until an operation must have succeeded, all its attempts and pauses included, beside the time that the bytes it
    /// sends may take once. For a put of many parts: each part. For a get: each time that the next bytes are asked for.
    pub operation_deadline: Duration,
    /// The bytes per second that a put must come to, or is given up. Of one put or part: what the way to the server
    /// carries is shared by as many as are under way.
    pub upload_rate_min: u64,
    /// Failed attempts in a row after which nothing is asked any more for a while.
    pub breaker_failures: u32,
    /// For how long.
    pub breaker_pause: Duration,
    /// How long a request that nobody waits for any more may still be on its way, and be carried out. What the kernel
    /// holds of a connection that was closed it goes on sending: Linux for some 100 s (`tcp_orphan_retries`), longer on
    /// slow ways. A server that has a request whole carries it out in its own time: AWS has the completion of an upload
    /// in parts take "several minutes" (API reference, CompleteMultipartUpload).
    pub late_request_max: Duration,
    /// Rules that `bucket apply` gives the bucket.
    pub lifecycle: LifecycleOptions,
}

/// What the bucket is to do by itself. Applied only on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LifecycleOptions {
    /// Days after which parts of uploads that were never completed are removed.
    pub abort_uploads_after_days: u32,
    /// Days after which originals move to `originals_class`; `None`: never.
    pub originals_after_days: Option<u32>,
    /// The colder class. It must be one that is read at once: originals are read again when presets change.
    pub originals_class: String,
}

impl Default for LifecycleOptions {
    fn default() -> Self {
        Self {
            abort_uploads_after_days: 1,
            originals_after_days: None,
            originals_class: "STANDARD_IA".to_owned(),
        }
    }
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            path_style: false,
            credentials: None,
            checksum: Checksum::default(),
            server_side_encryption: ServerSideEncryption::default(),
            storage_class_original: None,
            storage_class_variant: None,
            // Three parts are held in any case: what fits into them goes in one request.
            multipart_threshold_bytes: 15 * MIB,
            part_bytes: PART_BYTES_MIN,
            parts_at_once: 2,
            connect_timeout: Duration::from_secs(3),
            attempt_timeout: Duration::from_secs(10),
            operation_deadline: Duration::from_secs(20),
            upload_rate_min: MIB,
            breaker_failures: 10,
            breaker_pause: Duration::from_secs(5),
            late_request_max: Duration::from_secs(600),
            lifecycle: LifecycleOptions::default(),
        }
    }
}

impl S3Options {
    /// Most that one streamed put holds in memory: what is gathered for a single request, or the parts on their way
    /// and the one being filled.
    #[must_use]
    pub fn window_bytes(&self) -> u64 {
        let parts = self.part_bytes.saturating_mul(self.parts_at_once as u64 + 1);
        self.multipart_threshold_bytes.max(parts).saturating_add(PIECE_BYTES)
    }

    /// What an attempt that sends so many bytes is granted for them, beside [`S3Options::attempt_timeout`].
    pub(super) fn sending_time(&self, bytes: u64) -> Duration {
        let milliseconds = u128::from(bytes) * 1000 / u128::from(self.upload_rate_min.max(1));
        Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
    }

    /// Most bytes that one request sends.
    fn request_bytes_max(&self) -> u64 {
        self.multipart_threshold_bytes.max(self.part_bytes)
    }

    /// How long after whoever had asked for a put has gone, died or got an error its object may still appear. For
    /// whoever deletes what such puts leave: a DELETE before that may come before its PUT.
    ///
    /// An operation that goes on although nobody waits for it ends with `operation_deadline` and what its bytes may take,
    /// all its attempts and pauses included, and nothing is begun after it: a put in parts that was dropped sends no
    /// further part, and is not completed. Then its last request may be on its way for `late_request_max`.
    #[must_use]
    pub fn late_put_max(&self) -> Duration {
        let sending = self.sending_time(self.request_bytes_max());
        self.operation_deadline.saturating_add(sending).saturating_add(self.late_request_max)
    }

    /// Refuses what S3 or its client could not do.
    ///
    /// # Errors
    /// [`StoreError::InvalidOption`] with the option and its range.
    pub fn validate(&self) -> Result<(), StoreError> {
        self.validate_place()?;
        self.validate_sizes()?;
        self.validate_times()?;
        self.validate_lifecycle()
    }

    fn validate_place(&self) -> Result<(), StoreError> {
        if self.bucket.is_empty() {
            return Err(invalid("bucket", "is not set: name the bucket that holds the objects"));
        }
        if !(3..=255).contains(&self.bucket.len()) || self.bucket.contains(['/', ' ']) {
            return Err(invalid(
                "bucket",
                format!(
                    "is {:?}, which is no bucket's name: give the name alone, without s3:// or a path",
                    self.bucket
                ),
            ));
        }
        if !self.prefix.is_empty() && (!self.prefix.ends_with('/') || self.prefix.starts_with('/')) {
            return Err(invalid(
                "prefix",
                format!(
                    "is {:?}: let it end with a slash and not begin with one, like \"darkroom/\"",
                    self.prefix
                ),
            ));
        }
        let of_http = |url: &String| url.starts_with("http://") || url.starts_with("https://");
        if let Some(endpoint) = self.endpoint.as_ref().filter(|url| !of_http(url)) {
            return Err(invalid("endpoint", format!("is {endpoint:?}: begin it with https:// or http://")));
        }
        Ok(())
    }

    fn validate_sizes(&self) -> Result<(), StoreError> {
        if !(PART_BYTES_MIN..=PART_BYTES_MAX).contains(&self.part_bytes) {
            return Err(invalid(
                "part_bytes",
                format!("is {}: S3 takes parts of 5 MiB to 5 GiB, so set it between them", self.part_bytes),
            ));
        }
        if !(1..=PART_BYTES_MAX).contains(&self.multipart_threshold_bytes) {
            return Err(invalid(
                "multipart_threshold_bytes",
                format!("is {}: set it from 1 byte to 5 GiB", self.multipart_threshold_bytes),
            ));
        }
        if !(1..=64).contains(&self.parts_at_once) {
            return Err(invalid("parts_at_once", format!("is {}: set it from 1 to 64", self.parts_at_once)));
        }
        Ok(())
    }

    fn validate_times(&self) -> Result<(), StoreError> {
        for (option, time) in [
            ("connect_timeout", self.connect_timeout),
            ("attempt_timeout", self.attempt_timeout),
            ("operation_deadline", self.operation_deadline),
            ("breaker_pause", self.breaker_pause),
            ("late_request_max", self.late_request_max),
        ] {
            if time.is_zero() {
                return Err(invalid(option, "is 0: set it to some seconds"));
            }
        }
        if self.operation_deadline < self.attempt_timeout {
            return Err(invalid(
                "operation_deadline",
                format!(
                    "is {:?}, less than attempt_timeout ({:?}): an operation would not get one whole attempt",
                    self.operation_deadline, self.attempt_timeout
                ),
            ));
        }
        if self.upload_rate_min == 0 {
            return Err(invalid(
                "upload_rate_min",
                "is 0: set it to the bytes per second that a put must come to",
            ));
        }
        if self.breaker_failures == 0 {
            return Err(invalid("breaker_failures", "is 0: set it to 1 or more"));
        }
        Ok(())
    }

    fn validate_lifecycle(&self) -> Result<(), StoreError> {
        if self.lifecycle.abort_uploads_after_days == 0 {
            return Err(invalid("lifecycle_abort_uploads_days", "is 0: set it to a day or more"));
        }
        if self.lifecycle.originals_after_days == Some(0) {
            return Err(invalid(
                "lifecycle_originals_days",
                "is 0: set it to a day or more, or leave it out",
            ));
        }
        if ["GLACIER", "DEEP_ARCHIVE"].contains(&self.lifecycle.originals_class.as_str()) {
            return Err(invalid(
                "lifecycle_originals_class",
                format!(
                    "is {}: originals there cannot be read before they are restored, and they are read again when a \
                     preset changes; take STANDARD_IA or GLACIER_IR",
                    self.lifecycle.originals_class
                ),
            ));
        }
        Ok(())
    }
}

/// Says nothing of the secret.
impl fmt::Debug for S3Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Options")
            .field("bucket", &self.bucket)
            .field("prefix", &self.prefix)
            .field("region", &self.region)
            .field("endpoint", &self.endpoint)
            .field("path_style", &self.path_style)
            .field("credentials", &self.credentials.as_ref().map(|(id, _)| id))
            .field("checksum", &self.checksum)
            .finish_non_exhaustive()
    }
}

fn invalid(option: &'static str, detail: impl Into<String>) -> StoreError {
    StoreError::InvalidOption { option, detail: detail.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> S3Options {
        S3Options { bucket: "photos".to_owned(), ..Default::default() }
    }

    #[test]
    fn the_defaults_want_only_a_bucket() {
        options().validate().unwrap();
        let error = S3Options::default().validate().unwrap_err().to_string();
        assert!(error.contains("`bucket`"), "{error}");
    }

    #[test]
    fn what_s3_would_refuse_is_refused_by_name() {
        let parts = S3Options { part_bytes: PART_BYTES_MIN - 1, ..options() };
        let prefix = S3Options { prefix: "photos".to_owned(), ..options() };
        let endpoint = S3Options { endpoint: Some("localhost:3900".to_owned()), ..options() };
        let deadline = S3Options { operation_deadline: Duration::from_secs(1), ..options() };
        let rate = S3Options { upload_rate_min: 0, ..options() };
        let glacier = LifecycleOptions {
            originals_class: "GLACIER".to_owned(),
            originals_after_days: Some(30),
            ..Default::default()
        };
        let lifecycle = S3Options { lifecycle: glacier, ..options() };
        for (bad, name) in [
            (parts, "part_bytes"),
            (prefix, "prefix"),
            (endpoint, "endpoint"),
            (deadline, "operation_deadline"),
            (rate, "upload_rate_min"),
            (lifecycle, "originals_class"),
        ] {
            let error = bad.validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn a_put_holds_its_parts_and_the_one_being_filled() {
        let mut options = options();
        assert_eq!(options.window_bytes(), 16 * MIB);
        options.parts_at_once = 4;
        assert_eq!(options.window_bytes(), 26 * MIB);
        options.multipart_threshold_bytes = 64 * MIB;
        assert_eq!(options.window_bytes(), 65 * MIB);
    }

    #[test]
    fn a_put_may_be_late_by_all_its_attempts_and_what_its_last_request_takes() {
        let options = S3Options { operation_deadline: Duration::from_secs(90), ..options() };
        assert_eq!(
            options.late_put_max(),
            Duration::from_secs(705),
            "with 15 MiB and the default for one request"
        );
        let slow = S3Options { upload_rate_min: MIB / 2, part_bytes: 20 * MIB, ..options.clone() };
        assert_eq!(slow.late_put_max(), Duration::from_secs(730), "the largest request is a part");
        let forever = S3Options { operation_deadline: Duration::MAX, ..options };
        assert_eq!(forever.late_put_max(), Duration::MAX);
    }

    #[test]
    fn bytes_are_granted_the_time_that_they_take_at_the_lowest_rate() {
        let options = options();
        assert_eq!(options.sending_time(0), Duration::ZERO);
        assert_eq!(options.sending_time(MIB / 4), Duration::from_millis(250));
        assert_eq!(options.sending_time(15 * MIB), Duration::from_secs(15));
        let crawling = S3Options { upload_rate_min: 1, ..options };
        assert_eq!(crawling.sending_time(u64::MAX), Duration::from_millis(u64::MAX));
    }

    #[test]
    fn a_secret_is_not_shown() {
        let credentials = Some(("AKIA1".to_owned(), "hush".to_owned()));
        let shown = format!("{:?}", S3Options { credentials, ..options() });
        assert!(shown.contains("AKIA1") && !shown.contains("hush"), "{shown}");
    }
}
