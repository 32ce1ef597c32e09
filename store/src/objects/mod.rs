//! Objects: the bytes of originals, of variants, and of what is on its way to become an original.
//!
//! An object key is written once and never used again, so an object never changes under a reader, and no
//! conditional write is ever needed. [`ObjectStore`] is the interface; the engine behind it is chosen by
//! configuration: [`filesystem`], or a bucket of an S3 server ([`s3`]).

use std::fmt;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::FutureExt;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreError;
use crate::model::{ContentHash, Epoch};

pub mod filesystem;
mod pieces;
pub mod s3;
mod telemetry;

use filesystem::{Filesystem, FilesystemOptions, Leftover, Writers};
use s3::{Bucket, PresignedRequest, S3Options};
use telemetry::timed;

pub use telemetry::describe_metrics;

/// What an object is. Part of its key, so that storage classes and lifecycle rules can tell by prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// The bytes that a user uploaded.
    Original,
    /// A photo in a preset.
    Variant,
    /// Bytes that are on their way to become an original.
    Upload,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Original, Self::Variant, Self::Upload];

    /// The prefix of keys of this kind.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Original => "originals",
            Self::Variant => "variants",
            Self::Upload => "uploads",
        }
    }
}

/// `<kind>/<uuidv7>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ObjectKey(String);

impl ObjectKey {
    /// A key that was never used before.
    pub fn new(kind: ObjectKind) -> Self {
        Self(format!("{}/{}", kind.prefix(), Uuid::now_v7().as_hyphenated()))
    }

    /// A key read back from metadata.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Kind and id. Keys come from metadata; a damaged one must not lead out of the store's folder or prefix.
    fn parts(&self) -> Result<(ObjectKind, Uuid), StoreError> {
        let parsed = self.0.split_once('/').and_then(|(kind, id)| {
            let kind = ObjectKind::ALL.into_iter().find(|known| known.prefix() == kind)?;
            Some((kind, Uuid::parse_str(id).ok()?))
        });
        parsed.ok_or_else(|| StoreError::Corrupt {
            what: format!("object key {:?}", self.0),
            detail: "is not of the form <kind>/<uuid>".to_owned(),
        })
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Most bytes that are read of what should be the store's id: a UUID as text, and a line's end.
const STORE_ID_BYTES_MAX: u64 = 64;

/// The answer to a whole read of something that has another length than is known of it.
fn other_length(what: String, found: u64, recorded: &RangeInclusive<u64>) -> StoreError {
    let recorded = if recorded.start() == recorded.end() {
        format!("{} are recorded of it", recorded.end())
    } else {
        format!("it should have at most {}", recorded.end())
    };
    StoreError::Corrupt { what, detail: format!("it has {found} bytes, and {recorded}") }
}

/// What a finished put tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Bytes written.
    pub bytes: u64,
    /// Their BLAKE3.
    pub hash: ContentHash,
}

/// What is known of an object without reading it.
#[derive(Clone, Copy, Debug)]
pub struct ObjectInfo {
    /// Its size.
    pub bytes: u64,
    /// When it was written.
    pub modified: SystemTime,
}

/// An object store. Cheap to clone.
///
/// What asks an S3 server is boxed: the SDK's futures are large and deep, and every future that waits for one would be
/// too.
#[derive(Clone, Debug)]
pub enum ObjectStore {
    /// Files in a folder of this machine.
    Filesystem(Filesystem),
    /// Objects in a bucket of an S3 server.
    S3(Bucket),
}

impl ObjectStore {
    /// Opens the folder `root` as an object store, making it where needed, and removes temporary files that
    /// an earlier process left. No other process may have the folder.
    ///
    /// # Errors
    /// [`StoreError::InvalidOption`]; [`StoreError::Io`] naming the path.
    pub async fn open_filesystem(root: &Path, options: FilesystemOptions) -> Result<Self, StoreError> {
        Ok(Self::Filesystem(Filesystem::open(root, options, Writers::One).await?))
    }

    /// As [`ObjectStore::open_filesystem`], where other nodes may have the folder as well. Nobody's temporary files are
    /// touched: see [`ObjectStore::leftovers`].
    ///
    /// # Errors
    /// [`StoreError::InvalidOption`]; [`StoreError::Io`] naming the path.
    pub async fn open_shared_filesystem(root: &Path, options: FilesystemOptions) -> Result<Self, StoreError> {
        Ok(Self::Filesystem(Filesystem::open(root, options, Writers::Many).await?))
    }

    /// Opens a bucket as an object store, and checks that it can be listed, written, read and deleted from.
    ///
    /// # Errors
    /// [`StoreError::InvalidOption`]; [`StoreError::Unavailable`] with a sentence that says what is wrong and what to
    /// do about it.
    pub async fn open_s3(options: S3Options) -> Result<Self, StoreError> {
        Ok(Self::S3(Bucket::open(options).boxed().await?))
    }

    /// The same store for what the process of `epoch` puts: unfinished objects tell whose they are.
    #[must_use]
    pub fn of_epoch(&self, epoch: Epoch) -> Self {
        match self {
            Self::Filesystem(files) => Self::Filesystem(files.of_epoch(epoch)),
            // A bucket's own lifecycle rule removes what is unfinished.
            Self::S3(_) => self.clone(),
        }
    }

    /// What other nodes, or their earlier lives, have not finished: written now, or left by a process that died. Whoever
    /// knows which epochs are dead gives those to [`ObjectStore::remove_leftovers`].
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn leftovers(&self) -> Result<Vec<Leftover>, StoreError> {
        match self {
            Self::Filesystem(files) => files.leftovers().await,
            Self::S3(_) => Ok(Vec::new()),
        }
    }

    /// Removes what nobody will finish. A put that is after all still going on fails. How many there were.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn remove_leftovers(&self, leftovers: Vec<Leftover>) -> Result<usize, StoreError> {
        match self {
            Self::Filesystem(files) if !leftovers.is_empty() => files.remove_leftovers(leftovers).await,
            _ => Ok(0),
        }
    }

    /// Most that one streamed put holds in memory: what an upload must be charged.
    pub fn window_bytes(&self) -> u64 {
        match self {
            Self::Filesystem(_) => filesystem::PUT_BYTES_MAX,
            Self::S3(bucket) => bucket.window_bytes(),
        }
    }

    /// Whether the store is not known to be away: asked before a body is read that could not be stored. Looks at what is
    /// known already, and waits for nothing; a disk is asked by each put.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`].
    pub fn available(&self) -> Result<(), StoreError> {
        match self {
            Self::Filesystem(_) => Ok(()),
            Self::S3(bucket) => bucket.available(),
        }
    }

    /// Begins to write an object whose size is not known yet.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`], [`StoreError::Unavailable`].
    pub async fn begin_put(&self, key: &ObjectKey) -> Result<ObjectWriter, StoreError> {
        match self {
            Self::Filesystem(files) => {
                timed("begin_put", async { Ok(ObjectWriter::Filesystem(files.begin_put(key).await?)) }).await
            }
            // Nothing is asked of the server before there is something to send.
            Self::S3(bucket) => Ok(ObjectWriter::S3(Box::new(bucket.begin_put(key)?))),
        }
    }

    /// Writes a whole object; when this returns, it is durable.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`], [`StoreError::Unavailable`].
    pub async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<Receipt, StoreError> {
        match self {
            Self::Filesystem(files) => timed("put", files.put(key, bytes)).await,
            Self::S3(bucket) => timed("put", bucket.put(key, bytes).boxed()).await,
        }
    }

    /// Opens an object for reading, `None` if there is none. `range` is of bytes and lies within the object. Without one
    /// the reader compares the whole with its checksum, where the store has one.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Unavailable`]; [`StoreError::Corrupt`] where the object ends before the range
    /// does; [`StoreError::Unreadable`].
    pub async fn get(
        &self,
        key: &ObjectKey,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<ObjectReader>, StoreError> {
        match self {
            Self::Filesystem(files) => {
                let reader = timed("get", files.get(key, range)).await?;
                Ok(reader.map(ObjectReader::Filesystem))
            }
            Self::S3(bucket) => {
                let reader = timed("get", bucket.get(key, range).boxed()).await?;
                Ok(reader.map(|reader| ObjectReader::S3(Box::new(reader))))
            }
        }
    }

    /// The whole object in memory, `None` if there is none. The caller has charged its `bytes`, as they are recorded:
    /// nothing is allocated for one that has more or fewer.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Unavailable`]; [`StoreError::Corrupt`] where its length or its checksum tells that
    /// it is not what was written; [`StoreError::Unreadable`].
    pub async fn get_whole(&self, key: &ObjectKey, bytes: u64) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Filesystem(files) => timed("get_whole", files.get_whole(key, bytes)).await,
            Self::S3(bucket) => timed("get_whole", bucket.get_whole(key, bytes).boxed()).await,
        }
    }

    /// What is known of the object, `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Unavailable`].
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectInfo>, StoreError> {
        match self {
            Self::Filesystem(files) => timed("head", files.head(key)).await,
            Self::S3(bucket) => timed("head", bucket.head(key).boxed()).await,
        }
    }

    /// Deletes objects, durably; those that do not exist are passed over. Returns how many existed, as far as the
    /// store tells: most S3 servers answer the same for one that was not there.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Unavailable`].
    pub async fn delete(&self, keys: &[ObjectKey]) -> Result<usize, StoreError> {
        match self {
            Self::Filesystem(files) => timed("delete", files.delete(keys)).await,
            Self::S3(bucket) => timed("delete", bucket.delete(keys).boxed()).await,
        }
    }

    /// How long after its process has died, or has given up waiting for it, a put may still arrive. Until then what may
    /// have been put is not deleted for good.
    pub fn late_put_max(&self) -> Duration {
        match self {
            // The lock on the data directory is free only when the last file call of its process has ended.
            Self::Filesystem(_) => Duration::ZERO,
            Self::S3(bucket) => bucket.late_put_max(),
        }
    }

    /// Keys of a kind in their own order, after `after`, at most `limit`. For `verify` and tests only: what
    /// is an orphan is known from the metadata.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Unavailable`].
    pub async fn list(
        &self,
        kind: ObjectKind,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectKey>, StoreError> {
        match self {
            Self::Filesystem(files) => timed("list", files.list(kind, after, limit)).await,
            Self::S3(bucket) => timed("list", bucket.list(kind, after, limit).boxed()).await,
        }
    }

    /// A request by which a client may fetch the object by itself, where the store offers that.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], [`StoreError::InvalidOption`] for more than seven days.
    pub async fn presign_get(
        &self,
        key: &ObjectKey,
        valid: Duration,
    ) -> Result<Option<PresignedRequest>, StoreError> {
        match self {
            Self::Filesystem(_) => Ok(None),
            Self::S3(bucket) => bucket.presign_get(key, valid).boxed().await.map(Some),
        }
    }

    /// A request by which a client may put the object by itself, where the store offers that. With `bytes`, it takes
    /// exactly so many. Puts in many parts are [`Bucket`]'s own.
    ///
    /// # Errors
    /// As [`ObjectStore::presign_get`].
    pub async fn presign_put(
        &self,
        key: &ObjectKey,
        bytes: Option<u64>,
        valid: Duration,
    ) -> Result<Option<PresignedRequest>, StoreError> {
        match self {
            Self::Filesystem(_) => Ok(None),
            Self::S3(bucket) => bucket.presign_put(key, bytes, valid).boxed().await.map(Some),
        }
    }

    /// The store's id, if one was ever written.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Unavailable`]; [`StoreError::Corrupt`] if it is no UUID.
    pub async fn store_id(&self) -> Result<Option<Uuid>, StoreError> {
        match self {
            Self::Filesystem(files) => files.store_id().await,
            Self::S3(bucket) => bucket.store_id().boxed().await,
        }
    }

    /// Writes the store's id.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::Unavailable`].
    pub async fn set_store_id(&self, id: Uuid) -> Result<(), StoreError> {
        match self {
            Self::Filesystem(files) => files.set_store_id(id).await,
            Self::S3(bucket) => bucket.set_store_id(id).boxed().await,
        }
    }
}

/// An object being written. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub enum ObjectWriter {
    /// Into a temporary file.
    Filesystem(filesystem::FileWriter),
    /// In one request, or in parts.
    S3(Box<s3::BucketWriter>),
}

impl ObjectWriter {
    /// Appends bytes. Holds at most [`ObjectStore::window_bytes`].
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`], [`StoreError::Unavailable`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        match self {
            Self::Filesystem(writer) => writer.write(bytes).await,
            Self::S3(writer) => writer.write(bytes).await,
        }
    }

    /// Makes the object durable under its key.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`], [`StoreError::Unavailable`].
    pub async fn finish(self) -> Result<Receipt, StoreError> {
        match self {
            Self::Filesystem(writer) => timed("finish", writer.finish()).await,
            Self::S3(writer) => timed("finish", writer.finish().boxed()).await,
        }
    }
}

/// An object being read.
#[derive(Debug)]
pub enum ObjectReader {
    /// From a file.
    Filesystem(filesystem::FileReader),
    /// From a server, going on where a connection broke.
    S3(Box<s3::BucketReader>),
}

impl ObjectReader {
    /// The next bytes, `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Unavailable`]; [`StoreError::Corrupt`] where the object is shorter than was
    /// promised and, in place of the last bytes, where the store knows that they are not what was written;
    /// [`StoreError::Unreadable`].
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Filesystem(reader) => reader.next().await,
            Self::S3(reader) => reader.next().await,
        }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> u64 {
        match self {
            Self::Filesystem(reader) => reader.remaining(),
            Self::S3(reader) => reader.remaining(),
        }
    }
}
