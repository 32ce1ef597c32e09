//! Object keys whose intents are already durable.
//!
//! An intent must be committed before its object is put. Reserving keys in blocks takes that commit off
//! every photo's way. A key that was handed out and not referenced in the end is abandoned: the Janitor
//! takes its intent away and deletes what may have been put.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::{Epoch, nodes, objects};
use darkroom_store::objects::{ObjectKey, ObjectKind};

/// Keys reserved in one transaction.
const BLOCK: usize = 256;
/// When so few are left, the next block is reserved in the background.
const LOW: usize = 64;

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
    originals: Pool,
    variants: Pool,
    abandoned: Mutex<Vec<ObjectKey>>,
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
    pub(crate) fn new(metadata: Metadata, epoch: Epoch) -> Self {
        Self(Arc::new(Shared {
            metadata,
            epoch,
            originals: Pool::new(ObjectKind::Original),
            variants: Pool::new(ObjectKind::Variant),
            abandoned: Mutex::default(),
        }))
    }

    /// A key whose intent is durable.
    ///
    /// # Errors
    /// Those of the engine, when a block had to be reserved.
    pub(crate) async fn take(&self, kind: ObjectKind) -> Result<ReservedKey, StoreError> {
        loop {
            let (key, left) = self.pool(kind).pop();
            if left < LOW {
                self.refill_in_background(kind);
            }
            if let Some(key) = key {
                return Ok(ReservedKey { key, keys: Some(self.clone()) });
            }
            self.refill(kind).await?;
        }
    }

    fn pool(&self, kind: ObjectKind) -> &Pool {
        match kind {
            ObjectKind::Original => &self.0.originals,
            ObjectKind::Variant => &self.0.variants,
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

    /// Keys that were handed out and came to nothing since the last call.
    pub(crate) fn take_abandoned(&self) -> Vec<ObjectKey> {
        std::mem::take(&mut *self.0.abandoned.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts back what the Janitor could not bury now.
    pub(crate) fn keep_abandoned(&self, keys: Vec<ObjectKey>) {
        self.0.abandoned.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
    }

    /// Forgets the intents of keys that nobody took, at a clean shutdown.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn release(&self) -> Result<(), StoreError> {
        let mut unused = Vec::new();
        for pool in [&self.0.originals, &self.0.variants] {
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

    /// The object is referenced: its intent was cleared by the transaction that refers to it.
    pub(crate) fn referenced(mut self) {
        self.keys = None;
    }
}

impl Drop for ReservedKey {
    fn drop(&mut self) {
        if let Some(keys) = self.keys.take() {
            keys.keep_abandoned(vec![self.key.clone()]);
        }
    }
}
