//! Objects: the bytes of originals and variants.
//!
//! An object key is written once and never used again, so an object never changes under a reader, and no
//! conditional write is ever needed. [`ObjectStore`] is the interface; the engine behind it is chosen by
//! configuration. [`filesystem`] is the only one so far.

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::StoreError;
use crate::model::ContentHash;

pub mod filesystem;

use filesystem::Filesystem;

/// What an object is. Part of its key, so that storage classes and lifecycle rules can tell by prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObjectKind {
    /// The bytes that a user uploaded.
    Original,
    /// A photo in a preset.
    Variant,
}

impl ObjectKind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Original, Self::Variant];

    /// The prefix of keys of this kind.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Original => "originals",
            Self::Variant => "variants",
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
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
#[derive(Clone, Debug)]
pub enum ObjectStore {
    /// Files in a folder of this machine.
    Filesystem(Filesystem),
}

impl ObjectStore {
    /// Opens the folder `root` as an object store, making it where needed, and removes temporary files that
    /// an earlier process left. Puts are refused where they would leave less than `free_space_min` bytes of disk.
    ///
    /// # Errors
    /// [`StoreError::Io`] naming the path.
    pub async fn open_filesystem(root: &Path, free_space_min: u64) -> Result<Self, StoreError> {
        Ok(Self::Filesystem(Filesystem::open(root, free_space_min).await?))
    }

    /// Begins to write an object whose size is not known yet.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`].
    pub async fn begin_put(&self, key: &ObjectKey) -> Result<ObjectWriter, StoreError> {
        match self {
            Self::Filesystem(files) => Ok(ObjectWriter::Filesystem(files.begin_put(key).await?)),
        }
    }

    /// Writes a whole object; when this returns, it is durable.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`].
    pub async fn put(&self, key: &ObjectKey, bytes: Bytes) -> Result<Receipt, StoreError> {
        match self {
            Self::Filesystem(files) => files.put(key, bytes).await,
        }
    }

    /// Opens an object for reading, `None` if there is none. `range` is of bytes and lies within the object.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn get(
        &self,
        key: &ObjectKey,
        range: Option<std::ops::Range<u64>>,
    ) -> Result<Option<ObjectReader>, StoreError> {
        match self {
            Self::Filesystem(files) => Ok(files.get(key, range).await?.map(ObjectReader::Filesystem)),
        }
    }

    /// The whole object in memory, `None` if there is none. The caller has charged its size.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn get_whole(&self, key: &ObjectKey) -> Result<Option<Vec<u8>>, StoreError> {
        match self {
            Self::Filesystem(files) => files.get_whole(key).await,
        }
    }

    /// What is known of the object, `None` if there is none.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn head(&self, key: &ObjectKey) -> Result<Option<ObjectInfo>, StoreError> {
        match self {
            Self::Filesystem(files) => files.head(key).await,
        }
    }

    /// Deletes objects, durably; those that do not exist are passed over. Returns how many existed.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn delete(&self, keys: &[ObjectKey]) -> Result<usize, StoreError> {
        match self {
            Self::Filesystem(files) => files.delete(keys).await,
        }
    }

    /// How long after its process has died, or has given up waiting for it, a put may still arrive. Until then what may
    /// have been put is not deleted for good.
    pub fn late_put_max(&self) -> Duration {
        match self {
            // The lock on the data directory is free only when the last file call of its process has ended.
            Self::Filesystem(_) => Duration::ZERO,
        }
    }

    /// Keys of a kind in their own order, after `after`, at most `limit`. For `verify` and tests only: what
    /// is an orphan is known from the metadata.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn list(
        &self,
        kind: ObjectKind,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Vec<ObjectKey>, StoreError> {
        match self {
            Self::Filesystem(files) => files.list(kind, after, limit).await,
        }
    }

    /// A URL at which a client may fetch the object by itself, where the store offers that.
    pub fn presign_get(&self, _key: &ObjectKey, _valid: Duration) -> Option<String> {
        match self {
            Self::Filesystem(_) => None,
        }
    }

    /// The store's id, if one was ever written.
    ///
    /// # Errors
    /// [`StoreError::Io`]; [`StoreError::Corrupt`] if it is no UUID.
    pub async fn store_id(&self) -> Result<Option<Uuid>, StoreError> {
        match self {
            Self::Filesystem(files) => files.store_id().await,
        }
    }

    /// Writes the store's id.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn set_store_id(&self, id: Uuid) -> Result<(), StoreError> {
        match self {
            Self::Filesystem(files) => files.set_store_id(id).await,
        }
    }
}

/// An object being written. Dropped unfinished, it leaves nothing.
#[derive(Debug)]
pub enum ObjectWriter {
    /// Into a temporary file.
    Filesystem(filesystem::FileWriter),
}

impl ObjectWriter {
    /// Appends bytes. Holds at most two windows of [`filesystem::WINDOW_BYTES`].
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`].
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        match self {
            Self::Filesystem(writer) => writer.write(bytes).await,
        }
    }

    /// Makes the object durable under its key.
    ///
    /// # Errors
    /// [`StoreError::Io`], [`StoreError::DiskFull`].
    pub async fn finish(self) -> Result<Receipt, StoreError> {
        match self {
            Self::Filesystem(writer) => writer.finish().await,
        }
    }
}

/// An object being read.
#[derive(Debug)]
pub enum ObjectReader {
    /// From a file.
    Filesystem(filesystem::FileReader),
}

impl ObjectReader {
    /// The next bytes, `None` at the end.
    ///
    /// # Errors
    /// [`StoreError::Io`], also when the object is shorter than was promised.
    pub async fn next(&mut self) -> Result<Option<Bytes>, StoreError> {
        match self {
            Self::Filesystem(reader) => reader.next().await,
        }
    }

    /// Bytes not read yet.
    pub fn remaining(&self) -> u64 {
        match self {
            Self::Filesystem(reader) => reader.remaining(),
        }
    }
}
