//! What readers see: the version of the last durable group, and fjall's snapshot of exactly that.

use std::sync::{Arc, Mutex, PoisonError};

use fjall::Snapshot;

use super::disk::Disk;
use crate::error::StoreError;
use crate::metadata::range::KeyRange;

/// The state after one group.
pub(super) struct Published {
    pub(super) version: u64,
    // Before the disk, so that it goes before the database closes.
    snapshot: Snapshot,
    disk: Arc<Disk>,
}

impl Published {
    /// The state after group `version`, which the writer has just committed.
    pub(super) fn now(disk: &Arc<Disk>, version: u64) -> Arc<Self> {
        Arc::new(Self { version, snapshot: disk.snapshot(), disk: Arc::clone(disk) })
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.disk.get(&self.snapshot, key)
    }

    pub(super) fn rows(
        &self,
        range: &KeyRange,
    ) -> impl DoubleEndedIterator<Item = Result<(Vec<u8>, Vec<u8>), StoreError>> + use<> {
        self.disk.rows(&self.snapshot, range)
    }

    pub(super) fn keys(&self, range: &KeyRange) -> impl Iterator<Item = Result<Vec<u8>, StoreError>> + use<> {
        self.disk.keys(&self.snapshot, range)
    }

    pub(super) fn disk(&self) -> &Disk {
        &self.disk
    }
}

/// The publishing lock and the latest state behind it; none once the store is closed. Version and snapshot
/// are swapped, and taken, together: a reader with an old version and a new snapshot would meet conflicts with
/// what it has seen, and one with a new version and an old snapshot would lose updates.
pub(super) struct Latest(Mutex<Option<Arc<Published>>>);

impl Latest {
    pub(super) fn new(published: Arc<Published>) -> Self {
        Self(Mutex::new(Some(published)))
    }

    /// The latest state.
    pub(super) fn get(&self) -> Result<Arc<Published>, StoreError> {
        self.lock().clone().ok_or(StoreError::Closed)
    }

    /// Shows `published` to all who begin from now on.
    pub(super) fn publish(&self, published: Arc<Published>) {
        let previous = self.lock().replace(published);
        // Dropped outside of the lock: it may be the last reference to the snapshot, whose end takes time.
        drop(previous);
    }

    /// Shows nothing any more, so that the database closes when its last reader is done.
    pub(super) fn close(&self) {
        let last = self.lock().take();
        drop(last);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Arc<Published>>> {
        // Nothing panics while holding it, and what it guards is replaced as a whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
