//! Objects in a bucket of an S3 server, AWS's own or any other's.
//!
//! In the order in which an operation meets them:
//!
//! - [`options`](S3Options): how the bucket is used. `start`: is it there, and may we use it?
//! - `retry`: attempts within a deadline. `breaker`: a server that is away is left alone. `error`: what answers mean.
//! - `writer`: a put, in one request or in parts. `beginning`: of the latter. `checksum`: what goes with it.
//! - `reader`: a get that goes on where a connection broke.
//! - `presign`: URLs for clients. `copy`: what the server does by itself with what they sent.
//! - [`lifecycle`]: what the bucket does by itself. [`cross_origin`]: for which sites' pages.
//!
//! A key is `<prefix><kind>/<uuidv7>`, written once and never used again. So no write is conditional (which some
//! servers ignore), every operation may be repeated, and a read may be continued.

mod beginning;
mod breaker;
mod checksum;
mod copy;
pub mod cross_origin;
mod error;
pub mod lifecycle;
mod options;
mod presign;
mod reader;
mod retry;
mod start;
mod writer;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_config::retry::RetryConfig;
use aws_config::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedCredentialsProvider,
};
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::ChecksumMode;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use uuid::Uuid;

pub use copy::{Completion, FoundObject};
pub use options::{Checksum, LifecycleOptions, PART_BYTES_MIN, S3Options, ServerSideEncryption};
pub use presign::{Announced, PresignedRequest};
pub use reader::BucketReader;
pub use writer::BucketWriter;

use super::{ObjectInfo, ObjectKey, ObjectKind, Receipt, STORE_ID_BYTES_MAX};
use crate::StoreError;
use error::Failure;
use retry::Line;

/// Objects deleted at once.
const DELETES_AT_ONCE: usize = 16;
/// Keys that S3 lists in one answer at most.
const LIST_MAX: usize = 1000;
/// The region of servers that have none, where nothing else is said.
const REGION_OF_SERVERS: &str = "us-east-1";
/// The object that holds the store's id, after the prefix.
const STORE_ID: &str = "store-id";

/// A bucket as an object store. Cheap to clone.
#[derive(Clone)]
pub struct Bucket(Arc<Inner>);

struct Inner {
    client: Client,
    line: Line,
    options: S3Options,
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Bucket").field(&self.0.options).finish()
    }
}

impl Bucket {
    /// A handle on the bucket; nothing is asked of the server yet.
    ///
    /// # Errors
    /// [`StoreError::InvalidOption`].
    pub async fn connect(options: S3Options) -> Result<Self, StoreError> {
        options.validate()?;
        let client = client(&options).await?;
        Ok(Self(Arc::new(Inner { client, line: Line::new(&options), options })))
    }

    /// How long after a caller gave up a put its object may still appear: see [`S3Options::late_put_max`].
    #[must_use]
    pub fn late_put_max(&self) -> Duration {
        self.options().late_put_max()
    }

    /// Opens the bucket, and checks that objects can be written, read, listed and deleted in it.
    ///
    /// # Errors
    /// [`StoreError::InvalidOption`]; [`StoreError::Unavailable`] with what is wrong and what to do.
    pub(super) async fn open(options: S3Options) -> Result<Self, StoreError> {
        let bucket = Self::connect(options).await?;
        start::check(&bucket).await?;
        Ok(bucket)
    }

    pub(super) fn window_bytes(&self) -> u64 {
        self.0.options.window_bytes()
    }

    pub(super) fn available(&self) -> Result<(), StoreError> {
        self.0.line.available()
    }

    fn options(&self) -> &S3Options {
        &self.0.options
    }

    fn client(&self) -> &Client {
        &self.0.client
    }

    fn line(&self) -> &Line {
        &self.0.line
    }

    fn bucket(&self) -> &str {
        &self.0.options.bucket
    }

    /// The key in the bucket.
    fn name(&self, key: &ObjectKey) -> Result<String, StoreError> {
        let (kind, id) = key.parts()?;
        Ok(format!("{}{}/{}", self.0.options.prefix, kind.prefix(), id.as_hyphenated()))
    }

    pub(super) fn begin_put(&self, key: &ObjectKey) -> Result<BucketWriter, StoreError> {
        // Said before the body is read, where it is known already.
        self.line().may_be_asked()?;
        BucketWriter::new(self.clone(), key)
    }

    pub(super) async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<Receipt, StoreError> {
        let mut writer = BucketWriter::new(self.clone(), key)?;
        Box::pin(writer.write(bytes)).await?;
        Box::pin(writer.finish()).await
    }

    pub(super) async fn get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<BucketReader>, StoreError> {
        BucketReader::open(self.clone(), self.name(key)?, range).await
    }

    pub(super) async fn get_whole(&self, key: &ObjectKey, bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
        reader::read_whole(self, &self.name(key)?, bytes..=bytes).await
    }

    pub(super) async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectInfo>, StoreError> {
        self.head_name(&self.name(key)?).await
    }

    async fn head_name(&self, name: &str) -> Result<Option<ObjectInfo>, StoreError> {
        let Some(found) = self.ask_head(name, None).await? else { return Ok(None) };
        let modified = found.last_modified().and_then(|time| SystemTime::try_from(*time).ok());
        let bytes = length(name, &found)?;
        Ok(Some(ObjectInfo { bytes, modified: modified.unwrap_or(SystemTime::UNIX_EPOCH) }))
    }

    /// Length of an object, and its CRC-32C, where the server tells it.
    async fn head_sum(&self, name: &str) -> Result<Option<(u64, Option<String>)>, StoreError> {
        let Some(found) = self.ask_head(name, Some(ChecksumMode::Enabled)).await? else { return Ok(None) };
        Ok(Some((length(name, &found)?, found.checksum_crc32_c().map(str::to_owned))))
    }

    async fn ask_head(
        &self,
        name: &str,
        checksum: Option<ChecksumMode>,
    ) -> Result<Option<HeadObjectOutput>, StoreError> {
        let asked = self.line().call("head", || async {
            let request = self.client().head_object().bucket(self.bucket()).key(name);
            // The answer to HEAD has no body, and so no code.
            request.set_checksum_mode(checksum.clone()).send().await.map_err(Failure::of_bare)
        });
        match asked.await? {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_missing() || failure.is_bare_404() => Ok(None),
            Err(failure) => Err(failure.into_error(&format!("head of {name}"))),
        }
    }

    pub(super) async fn delete(&self, keys: &[ObjectKey]) -> Result<usize, StoreError> {
        let names = keys.iter().map(|key| self.name(key)).collect::<Result<Vec<_>, _>>()?;
        // One request each: DeleteObjects is not there on every server, and wants checksums of its own.
        let deletes = stream::iter(names).map(|name| async move { self.delete_name(&name).await });
        let deleted: Vec<bool> = deletes.buffer_unordered(DELETES_AT_ONCE).try_collect().await?;
        Ok(deleted.into_iter().filter(|deleted| *deleted).count())
    }

    /// Deletes what has this name. Most servers answer the same whether it was there or not.
    async fn delete_name(&self, name: &str) -> Result<bool, StoreError> {
        let asked = self.line().call("delete", || async {
            self.client().delete_object().bucket(self.bucket()).key(name).send().await.map_err(Failure::of)
        });
        match asked.await? {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_missing() => Ok(false),
            Err(failure) => Err(failure.into_error(&format!("delete of {name}"))),
        }
    }

    pub(super) async fn list(
        &self,
        kind: ObjectKind,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectKey>, StoreError> {
        let prefix = &self.options().prefix;
        let folder = format!("{prefix}{}/", kind.prefix());
        let mut after = after.map(|key| format!("{prefix}{key}"));
        let mut keys = Vec::new();
        while keys.len() < limit {
            let wanted = (limit - keys.len()).min(LIST_MAX);
            let asked = self.line().ask("list", &folder, || async {
                let request = self.client().list_objects_v2().bucket(self.bucket()).prefix(&folder);
                let request = request.set_start_after(after.clone()).max_keys(wanted as i32);
                request.send().await.map_err(Failure::of)
            });
            let page = asked.await?;
            let names: Vec<_> = page.contents().iter().filter_map(|object| object.key()).collect();
            let Some(last) = names.last() else { break };
            let stored = names.iter().filter_map(|name| name.strip_prefix(prefix.as_str()));
            keys.extend(stored.map(|key| ObjectKey::from_stored(key.to_owned())));
            if !page.is_truncated().unwrap_or(false) {
                break;
            }
            after = Some((*last).to_owned());
        }
        Ok(keys)
    }

    fn store_id_name(&self) -> String {
        format!("{}{STORE_ID}", self.options().prefix)
    }

    pub(super) async fn store_id(&self) -> Result<Option<Uuid>, StoreError> {
        let name = self.store_id_name();
        let Some(bytes) = reader::read_whole(self, &name, 0..=STORE_ID_BYTES_MAX).await? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&bytes);
        let id = Uuid::parse_str(text.trim()).map_err(|error| StoreError::Corrupt {
            what: format!("store id in {name} of bucket {}", self.bucket()),
            detail: error.to_string(),
        })?;
        Ok(Some(id))
    }

    pub(super) async fn set_store_id(&self, id: Uuid) -> Result<(), StoreError> {
        let content = Bytes::from(format!("{id}\n"));
        writer::put_one(self, &self.store_id_name(), None, &[content]).await
    }
}

fn length(name: &str, found: &HeadObjectOutput) -> Result<u64, StoreError> {
    let bytes = found.content_length().and_then(|bytes| u64::try_from(bytes).ok());
    bytes.ok_or_else(|| no_length(name))
}

fn no_length(name: &str) -> StoreError {
    StoreError::Unavailable { reason: format!("the S3 server did not say how long {name} is") }
}

/// The SDK's client, with its retries, checksums and protections off where we have our own.
async fn client(options: &S3Options) -> Result<Client, StoreError> {
    let tls = Provider::Rustls(CryptoMode::Ring);
    let http = aws_smithy_http_client::Builder::new().tls_provider(tls).build_https();
    let timeouts = TimeoutConfig::builder().connect_timeout(options.connect_timeout).build();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        // A client that reads slowly lets a body wait, which is no fault of the server's.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some((id, secret)) = &options.credentials {
        let credentials = Credentials::new(id, secret, None, None, "darkroom");
        loader = loader.credentials_provider(SharedCredentialsProvider::new(credentials));
    }
    let shared = loader.load().await;
    let mut config = Builder::from(&shared)
        .force_path_style(options.path_style)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if options.endpoint.as_ref().is_some_and(|url| url.starts_with("http://")) {
        // Needs no certificates, which a small container may not have. (The call is hidden from the SDK's
        // documentation; its version is exact.)
        config = config.http_client(aws_smithy_http_client::Builder::new().build_http());
    }
    if shared.region().is_none() {
        if options.endpoint.is_none() {
            return Err(StoreError::InvalidOption {
                option: "region",
                detail: "is set neither here, nor in AWS_REGION, nor in the profile: set it to the bucket's region, \
                         such as \"eu-central-1\""
                    .to_owned(),
            });
        }
        config = config.region(Region::new(REGION_OF_SERVERS));
    }
    Ok(Client::from_conf(config.build()))
}

/// What is left of the time until then, in the words of an error.
fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f32())
}
