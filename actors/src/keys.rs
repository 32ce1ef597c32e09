//! Object keys whose intents are already durable.
//!
//! An intent must be committed before its object is put. Reserving keys in blocks takes that commit off
//! every photo's way. A key that was handed out and not referenced in the end is abandoned: the Janitor
//! takes its intent away and deletes what may have been put. So it must not be before the put has ended: puts run in
//! tasks of their own that own the key, however many of those who wait for them are cut off.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::{Epoch, nodes, objects};
use darkroom_store::objects::s3::Bucket;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore, ObjectWriter, Receipt};

use crate::heart::Fate;

/// Keys reserved in one transaction. Few in tests, so that they meet the end of a block.
const BLOCK: usize = if cfg!(test) { 16 } else { 256 };
/// When so few are left, the next block is reserved in the background.
const LOW: usize = BLOCK / 4;

/// The reserved keys of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keys(Arc<Shared>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("epoch", &self.0.epoch).finish_non_exhaustive()
    }
}

struct Shared {
    metadata: Metadata,
    epoch: Epoch,
    fate: Fate,
    originals: Pool,
    variants: Pool,
    uploads: Pool,
    given_up: Mutex<GivenUp>,
}

/// Keys that were handed out and came to nothing.
#[derive(Debug, Default)]
pub(crate) struct GivenUp {
    /// A transaction may have referred to them all the same: their intents tell.
    pub(crate) abandoned: Vec<ObjectKey>,
    /// Nothing refers to them, and their intents are gone.
    pub(crate) disowned: Vec<ObjectKey>,
}

#[derive(Debug)]
struct Pool {
    kind: ObjectKind,
    free: Mutex<Vec<ObjectKey>>,
    /// Held while a block is reserved, so that many who find the pool empty reserve one block.
    refill: tokio::sync::Mutex<()>,
}

impl Pool {
    fn new(kind: ObjectKind) -> Self {
        Self { kind, free: Mutex::default(), refill: tokio::sync::Mutex::default() }
    }

    fn pop(&self) -> (Option<ObjectKey>, usize) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let key = free.pop();
        (key, free.len())
    }
}

impl Keys {
    pub(crate) fn new(metadata: Metadata, epoch: Epoch, fate: Fate) -> Self {
        Self(Arc::new(Shared {
            metadata,
            epoch,
            fate,
            originals: Pool::new(ObjectKind::Original),
            variants: Pool::new(ObjectKind::Variant),
            uploads: Pool::new(ObjectKind::Upload),
            given_up: Mutex::default(),
        }))
    }

    /// A key whose intent is durable.
    ///
    /// # Errors
    /// Those of the engine, when a block had to be reserved.
    pub(crate) async fn take(&self, kind: ObjectKind) -> Result<ReservedKey, StoreError> {
        // Keys that are left may have been swept since they were reserved.
        self.0.fate.in_touch()?;
        loop {
            let (key, left) = self.pool(kind).pop();
            if left < LOW {
                self.refill_in_background(kind);
            }
            if let Some(key) = key {
                return Ok(ReservedKey { key, keys: Some(self.clone()) });
            }
            let keys = self.clone();
            // Whoever waits may be cut off: a block that is reserved then is not lost.
            to_the_end(async move { keys.refill(kind).await }).await?;
        }
    }

    fn pool(&self, kind: ObjectKind) -> &Pool {
        match kind {
            ObjectKind::Original => &self.0.originals,
            ObjectKind::Variant => &self.0.variants,
            ObjectKind::Upload => &self.0.uploads,
        }
    }

    fn refill_in_background(&self, kind: ObjectKind) {
        if self.pool(kind).refill.try_lock().is_ok() {
            let keys = self.clone();
            tokio::spawn(async move {
                if let Err(error) = keys.refill(kind).await {
                    tracing::warn!(%error, "could not reserve object keys ahead; the next upload tries again");
                }
            });
        }
    }

    async fn refill(&self, kind: ObjectKind) -> Result<(), StoreError> {
        let pool = self.pool(kind);
        let _refilling = pool.refill.lock().await;
        if pool.free.lock().unwrap_or_else(PoisonError::into_inner).len() >= LOW {
            return Ok(()); // Somebody else did while we waited.
        }
        let block: Vec<_> = (0..BLOCK).map(|_| ObjectKey::new(pool.kind)).collect();
        let (epoch, keys) = (self.0.epoch, &block);
        self.0
            .metadata
            .transact("reserve object keys", |tx| async move {
                // What is intended after the death was declared would never be swept.
                if !nodes::is_alive(&tx, epoch).await? {
                    return Err(StoreError::Unavailable {
                        reason: "this node was declared dead; start the process again".to_owned(),
                    });
                }
                objects::intend(&tx, epoch, keys)
            })
            .await?;
        pool.free.lock().unwrap_or_else(PoisonError::into_inner).extend(block);
        Ok(())
    }

    /// Keys that came to nothing since the last call.
    pub(crate) fn take_given_up(&self) -> GivenUp {
        std::mem::take(&mut *self.given_up())
    }

    /// Puts back what the Janitor could not bury now.
    pub(crate) fn keep_given_up(&self, keys: GivenUp) {
        let mut given_up = self.given_up();
        given_up.abandoned.extend(keys.abandoned);
        given_up.disowned.extend(keys.disowned);
    }

    fn given_up(&self) -> MutexGuard<'_, GivenUp> {
        self.0.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells, afterwards too, whether anybody has these keys or one of them.
    #[cfg(test)]
    pub(crate) fn in_use(&self) -> impl Fn() -> bool + use<> {
        let keys = Arc::downgrade(&self.0);
        move || keys.strong_count() > 0
    }

    /// Forgets the intents of keys that nobody took, at a clean shutdown.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn release(&self) -> Result<(), StoreError> {
        let mut unused = Vec::new();
        for pool in [&self.0.originals, &self.0.variants, &self.0.uploads] {
            unused.append(&mut pool.free.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let (epoch, unused) = (self.0.epoch, &unused);
        self.0
            .metadata
            .transact("release object keys", |tx| async move { objects::release(&tx, epoch, unused) })
            .await
    }
}

/// A key that one object may be put under. Dropped without [`ReservedKey::referenced`], it is abandoned.
#[derive(Debug)]
pub(crate) struct ReservedKey {
    key: ObjectKey,
    keys: Option<Keys>,
}

impl ReservedKey {
    pub(crate) fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// Puts a whole object under this key.
    ///
    /// # Errors
    /// Those of the object store. Then the key is abandoned.
    pub(crate) async fn put(
        self,
        objects: &ObjectStore,
        bytes: Bytes,
    ) -> Result<(Self, Receipt), StoreError> {
        let objects = objects.clone();
        to_the_end(async move {
            let receipt = objects.put(&self.key, bytes).await?;
            Ok((self, receipt))
        })
        .await
    }

    /// Finishes the object that `writer` has begun under this key.
    ///
    /// # Errors
    /// Those of the object store. Then the key is abandoned.
    pub(crate) async fn finish(self, writer: ObjectWriter) -> Result<(Self, Receipt), StoreError> {
        to_the_end(async move {
            let receipt = writer.finish().await?;
            Ok((self, receipt))
        })
        .await
    }

    /// Has the server of a bucket copy an object of any name, which has so many bytes, to this key; `None` if there is no
    /// such object.
    ///
    /// # Errors
    /// Those of the object store. Then the key is abandoned.
    pub(crate) async fn copy(
        self,
        bucket: Bucket,
        from: String,
        bytes: u64,
    ) -> Result<Option<Self>, StoreError> {
        to_the_end(async move { Ok(bucket.copy(&from, bytes, &self.key).await?.then_some(self)) }).await
    }

    /// The object is referenced: its intent was cleared by the transaction that refers to it.
    pub(crate) fn referenced(mut self) {
        self.keys = None;
    }

    /// The transaction that was to refer to the object did not find its intent, and never will: it was swept by somebody
    /// who took this process for dead, perhaps before the object was put.
    pub(crate) fn swept(mut self) {
        if let Some(keys) = self.keys.take() {
            keys.given_up().disowned.push(self.key.clone());
        }
    }
}

/// Has `work` run to its end, also if nobody waits for it any more.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    let cut_off =
        |error| StoreError::Unavailable { reason: format!("the work on an object key was cut off: {error}") };
    tokio::spawn(work).await.unwrap_or_else(|error| Err(cut_off(error)))
}

impl Drop for ReservedKey {
    fn drop(&mut self) {
        if let Some(keys) = self.keys.take() {
            keys.given_up().abandoned.push(self.key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use darkroom_store::life::{self, Nodes};
    use darkroom_store::metadata::EmbeddedOptions;
    use darkroom_store::objects::filesystem::FilesystemOptions;
    use futures_util::FutureExt;

    use super::*;

    async fn keys(home: &tempfile::TempDir) -> (Keys, ObjectStore) {
        let options = EmbeddedOptions::default();
        let metadata = Metadata::open_embedded(&home.path().join("metadata"), options).await.unwrap();
        let objects =
            ObjectStore::open_filesystem(&home.path().join("objects"), FilesystemOptions::default())
                .await
                .unwrap();
        let life = life::begin(&metadata, &objects).await.unwrap();
        (Keys::new(metadata, life.epoch, Fate::default()), objects)
    }

    #[tokio::test]
    async fn a_key_is_not_given_up_before_its_put_has_ended() {
        let home = tempfile::tempdir().unwrap();
        let (keys, objects) = keys(&home).await;
        let key = keys.take(ObjectKind::Original).await.unwrap();
        let name = key.key().clone();
        // Begun, and cut off at once.
        assert!(key.put(&objects, Bytes::from_static(b"a photo")).now_or_never().is_none());
        let given_up = loop {
            let given_up = keys.take_given_up().abandoned;
            if !given_up.is_empty() {
                break given_up;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(given_up, std::slice::from_ref(&name));
        assert!(objects.head(&name).await.unwrap().is_some(), "it would appear after it was swept");
    }

    #[tokio::test]
    async fn a_node_that_gives_no_sign_of_life_hands_out_no_key_that_it_has_left() {
        let home = tempfile::tempdir().unwrap();
        let (keys, _) = keys(&home).await;
        let fate = Fate::of(Nodes::Many, Duration::ZERO);
        let keys = Keys::new(keys.0.metadata.clone(), keys.0.epoch, fate.clone());
        let soon = Instant::now() + Duration::from_secs(3600);
        fate.gave_sign(soon);
        keys.take(ObjectKind::Original).await.unwrap();
        fate.gave_sign(Instant::now());
        while keys.0.fate.in_touch().is_ok() {
            std::hint::spin_loop(); // Until the clock has moved.
        }
        let error = keys.take(ObjectKind::Original).await.unwrap_err();
        assert!(matches!(&error, StoreError::Unavailable { .. }), "{error}");
        assert!(keys.pool(ObjectKind::Original).pop().0.is_some(), "it has some");
        fate.gave_sign(soon);
        keys.take(ObjectKind::Original).await.unwrap();
    }

    #[tokio::test]
    async fn a_process_that_was_taken_for_dead_reserves_nothing_more() {
        let home = tempfile::tempdir().unwrap();
        let (keys, _) = keys(&home).await;
        let (metadata, epoch) = (&keys.0.metadata, keys.0.epoch);
        metadata.transact("forget epoch", |tx| async move { nodes::forget(&tx, epoch) }).await.unwrap();
        let error = keys.take(ObjectKind::Variant).await.unwrap_err();
        assert!(matches!(&error, StoreError::Unavailable { .. }), "{error}");
    }
}
