//! The engine in this process: fjall under a conflict check of our own and one batching writer.
//!
//! Readers take the latest durable state and never wait. Writers buffer, and hand their transactions to one
//! thread, which checks, evaluates and syncs all that wait as one group: a sync takes milliseconds, so sharing
//! it is what makes the engine fast. In the order in which a transaction meets them:
//!
//! - `options`: how much memory and disk, how patient;
//! - `published`: the latest durable state, which readers take;
//! - `transaction`, `buffer`, `mutation`: reads over that state, and writes on top of it;
//! - `request`, `writer`: the way to the commit thread, and its loop;
//! - `conflicts`: whether somebody wrote what a transaction had read;
//! - `group`: what the accepted transactions make of the keys;
//! - `disk`: fjall; `format`, `manifest`, `journal`: its files, before it opens them; `closed`: how far they reached at the last end;
//! - `export`: all rows of one state, for a backup;
//! - `watches`: who is told afterwards.

mod buffer;
mod closed;
mod conflicts;
mod disk;
mod export;
mod format;
mod group;
mod journal;
mod manifest;
mod mutation;
mod options;
mod published;
mod request;
mod shared;
mod transaction;
mod watches;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

pub(super) use export::Export;
pub use options::EmbeddedOptions;
pub(super) use transaction::Transaction;

use super::MetadataStats;
use super::transaction::Mode;
use super::watch::WatchSender;
use crate::error::StoreError;
use disk::{Batch, Disk};
use published::Published;
use request::{CommitRequest, Message};
use shared::Shared;
use writer::Writer;

/// Transactions that may wait for the writer; those beyond wait for a place.
const INBOX_TRANSACTIONS: usize = 4096;

/// How a group gets to the disk: [`persist`], or what a test puts in its place.
type Persist = fn(Batch<'_>) -> Result<(), StoreError>;

fn persist(batch: Batch<'_>) -> Result<(), StoreError> {
    batch.commit()
}

/// An open store.
pub(super) struct Engine {
    shared: Arc<Shared>,
    /// None only while it is dropped.
    inbox: Option<mpsc::Sender<Message>>,
    writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    stall_max: Duration,
    transaction_age_max: Duration,
    declared_shared: bool,
}

impl Engine {
    /// Opens or creates the store in `path` and starts its writer.
    pub(super) async fn open(path: &Path, options: EmbeddedOptions) -> Result<Arc<Self>, StoreError> {
        Self::open_with(path, options, persist).await
    }

    async fn open_with(
        path: &Path,
        options: EmbeddedOptions,
        persist: Persist,
    ) -> Result<Arc<Self>, StoreError> {
        options.validate()?;
        let path = path.to_owned();
        // Replaying a journal takes as long as the disk does.
        let opening = tokio::task::spawn_blocking(move || Self::start(&path, &options, persist));
        match opening.await {
            Ok(engine) => engine.map(Arc::new),
            Err(error) => {
                Err(StoreError::Unavailable { reason: format!("opening the store was cut off: {error}") })
            }
        }
    }

    fn start(path: &Path, options: &EmbeddedOptions, persist: Persist) -> Result<Self, StoreError> {
        let disk = Arc::new(Disk::open(path, options)?);
        let published = Published::now(&disk, disk.version()?);
        let shared = Arc::new(Shared::new(Arc::clone(&published)));
        let (inbox, messages) = mpsc::channel(INBOX_TRANSACTIONS);
        let writer = Writer::new(disk, published, Arc::clone(&shared), messages, options, persist);
        let thread = std::thread::Builder::new()
            .name("metadata-writer".to_owned())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::io("starting the writer's thread", error))?;
        Ok(Self {
            shared,
            inbox: Some(inbox),
            writer: tokio::sync::Mutex::new(Some(thread)),
            stall_max: options.stall_max,
            transaction_age_max: options.transaction_age_max,
            declared_shared: options.shared,
        })
    }

    pub(super) fn begin(self: &Arc<Self>, mode: Mode) -> Transaction {
        Transaction::new(Arc::clone(self), mode)
    }

    /// The latest durable state.
    fn latest(&self) -> Result<Arc<Published>, StoreError> {
        self.shared.latest.get()
    }

    pub(super) fn is_shared(&self) -> bool {
        self.declared_shared
    }

    /// All rows as of now.
    pub(super) fn export(&self) -> Result<Export, StoreError> {
        Ok(Export::new(self.latest()?))
    }

    fn transaction_age_max(&self) -> Duration {
        self.transaction_age_max
    }

    /// Lets a watch wait from a reader's view of the key.
    fn watch(&self, key: &[u8], watch: WatchSender, seen: Option<&[u8]>) {
        self.shared.watch(key, watch, seen);
    }

    /// Waits until the writer has made the transaction durable and visible, or refused it.
    async fn commit(&self, request: CommitRequest) -> Result<(), StoreError> {
        let Some(inbox) = &self.inbox else { return Err(StoreError::Closed) };
        let (reply, answer) = oneshot::channel();
        match timeout(self.stall_max, inbox.send(Message::Commit(Box::new(request), reply))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(self.shared.ended()),
            Err(_) => {
                self.shared.fail(self.stalled());
                return Err(self.shared.ended());
            }
        }
        match timeout(self.stall_max, answer).await {
            Ok(Ok(outcome)) => outcome,
            // The writer died with the transaction in its hands.
            Ok(Err(_)) => Err(StoreError::CommitUnknown),
            Err(_) => {
                self.shared.fail(self.stalled());
                Err(StoreError::CommitUnknown)
            }
        }
    }

    fn stalled(&self) -> String {
        format!("a commit took longer than {:?}: the disk or the writer hangs", self.stall_max)
    }

    pub(super) fn fatal(&self) -> impl Future<Output = String> + Send + 'static + use<> {
        self.shared.fatal()
    }

    pub(super) async fn close(&self) {
        if let Some(inbox) = &self.inbox {
            // Refused only by a writer that has ended already. One that hangs is not waited for.
            let _ = timeout(self.stall_max, inbox.send(Message::Close)).await;
        }
        // Held while joining, so that a second caller waits too.
        let mut writer = self.writer.lock().await;
        if let Some(thread) = writer.take() {
            let shared = Arc::clone(&self.shared);
            // Closing the database waits for fjall's threads, which may be in the middle of a merge.
            let ended = tokio::task::spawn_blocking(move || {
                // A panic of the writer has been reported by `fatal` already.
                let _ = thread.join();
                shared.close();
            });
            if timeout(self.stall_max, ended).await.is_err() {
                tracing::error!("the writer did not end in {:?}", self.stall_max);
            }
        }
    }

    pub(super) fn stats(&self) -> MetadataStats {
        self.shared.stats()
    }
}

impl Drop for Engine {
    /// Commits what is queued and frees the directory before returning, so that it can be opened again.
    fn drop(&mut self) {
        // Without a sender the writer ends after its last group.
        self.inbox = None;
        if let Some(thread) = self.writer.get_mut().take() {
            // A panic of the writer has been reported by `fatal` already.
            let _ = thread.join();
        }
        self.shared.close();
    }
}

#[cfg(test)]
mod tests;
