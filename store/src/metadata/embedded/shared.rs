//! What the writer's thread and the tasks share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use super::disk::Disk;
use super::published::{Latest, Published};
use super::watches::Watches;
use crate::error::StoreError;
use crate::metadata::MetadataStats;
use crate::metadata::watch::WatchSender;

/// The state after the last group, and what happened on the way to it.
pub(super) struct Shared {
    pub(super) latest: Latest,
    pub(super) watches: Watches,
    /// Why nothing can be committed any more.
    failure: watch::Sender<Option<String>>,
    pub(super) commits: AtomicU64,
    pub(super) conflicts: AtomicU64,
    pub(super) groups: AtomicU64,
}

impl Shared {
    pub(super) fn new(published: Arc<Published>) -> Self {
        Self {
            latest: Latest::new(published),
            watches: Watches::default(),
            failure: watch::Sender::new(None),
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            groups: AtomicU64::new(0),
        }
    }

    /// Notes that the store can never commit again in this process. The first reason stays.
    pub(super) fn fail(&self, reason: String) {
        self.failure.send_if_modified(|failure| {
            let first = failure.is_none();
            if first {
                tracing::error!(reason, "the metadata store has failed; the process must end");
                *failure = Some(reason);
            }
            first
        });
    }

    /// Ends with the reason when the store has failed, and never otherwise.
    pub(super) fn fatal(&self) -> impl Future<Output = String> + Send + 'static + use<> {
        let mut failure = self.failure.subscribe();
        async move {
            // Copied out at once, because what `wait_for` answers holds a lock.
            let reason = failure.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
            match reason {
                Some(reason) => reason,
                // The store is gone, and it went well.
                None => std::future::pending().await,
            }
        }
    }

    /// Why the writer takes nothing any more. Nothing was written.
    pub(super) fn ended(&self) -> StoreError {
        match self.failure.borrow().clone() {
            Some(reason) => StoreError::Unavailable { reason },
            None => StoreError::Closed,
        }
    }

    /// Lets a watch wait until `key` differs from `seen`.
    pub(super) fn watch(&self, key: &[u8], watch: WatchSender, seen: Option<&[u8]>) {
        self.watches.add(key, watch, || Ok(self.latest.get()?.get(key)?.as_deref() == seen));
    }

    /// Shows nothing any more, and ends all watches.
    pub(super) fn close(&self) {
        self.latest.close();
        self.watches.close();
    }

    pub(super) fn stats(&self) -> MetadataStats {
        let published = self.latest.get().ok();
        let disk = published.as_ref().map(|published| published.disk());
        MetadataStats {
            commits: self.commits.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            groups: self.groups.load(Ordering::Relaxed),
            watches: self.watches.count() as u64,
            disk_bytes: disk.map_or(0, Disk::disk_bytes),
            write_buffer_bytes: disk.map_or(0, Disk::write_buffer_bytes),
        }
    }
}
