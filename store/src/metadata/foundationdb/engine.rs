//! A connection to a cluster: opened, handing out transactions, closed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use ::foundationdb::options::{DatabaseOption, TransactionOption};
use ::foundationdb::{Database, FdbError};
use tokio::sync::{RwLockReadGuard, watch};
use tokio::time::{Instant, timeout_at};

use super::errors::{self, Phase};
use super::network;
use super::options::FoundationDbOptions;
use super::prefix::Prefix;
use super::transaction::Transaction;
use crate::error::StoreError;
use crate::metadata::transaction::Mode;
use crate::metadata::{MetadataStats, TRANSACTION_BYTES_MAX};

/// Names darkroom's transactions to the cluster, which can bound them by it (`fdbcli`, `quota`). At most 16 bytes.
const TAG: &str = "darkroom";
/// Its place with those that nobody waits for, which the cluster may also bound by itself. A transaction has one tag:
/// of several a 7.3 cluster takes whichever comes first, and warns in its log (`GrvProxyTagThrottler_MultipleTags`).
const BACKGROUND_TAG: &str = "darkroom-batch";

/// An open store.
pub(in crate::metadata) struct Engine {
    /// None once it is closed.
    database: RwLock<Option<Arc<Database>>>,
    pub(super) prefix: Prefix,
    cluster_file: PathBuf,
    /// Held by every commit on its way, and whole by closing.
    commits_on_their_way: tokio::sync::RwLock<()>,
    closed: watch::Sender<bool>,
    commits: AtomicU64,
    conflicts: AtomicU64,
    pub(super) watches: AtomicU64,
}

impl Engine {
    /// Connects, and waits until the cluster answers.
    pub(in crate::metadata) async fn open(options: &FoundationDbOptions) -> Result<Arc<Self>, StoreError> {
        options.validate()?;
        let database = connect(options).await?;
        let engine = Arc::new(Self {
            database: RwLock::new(Some(Arc::new(database))),
            prefix: Prefix::new(&options.prefix),
            cluster_file: options.cluster_file.clone(),
            commits_on_their_way: tokio::sync::RwLock::default(),
            closed: watch::Sender::new(false),
            commits: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
            watches: AtomicU64::new(0),
        });
        engine.answer(options.open_deadline).await?;
        Ok(engine)
    }

    /// Reads a key until that succeeds: the cluster has a read version to give, and a server for the store's keys.
    async fn answer(&self, patience: Duration) -> Result<(), StoreError> {
        const PAUSE: Duration = Duration::from_millis(100);
        let deadline = Instant::now() + patience;
        let mut refusal = None;
        loop {
            // Held until the answer is there: what a dropped transaction reads is cancelled.
            let native = self.create(false)?;
            let read = native.get(&self.prefix.key(&[]), true);
            match timeout_at(deadline, read).await {
                Ok(Ok(_)) => return Ok(()),
                // The deadline of opening may be longer than a transaction's.
                Ok(Err(error)) if error.code() == errors::TRANSACTION_TIMED_OUT => {}
                Ok(Err(error)) if error.is_retryable() => refusal = Some(error),
                Ok(Err(error)) => return Err(self.error(error, Phase::Reading)),
                Err(_) => return Err(errors::no_answer(refusal, &self.cluster_file)),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A new transaction that already has its read version.
    ///
    /// By itself the library asks for the version at the first read. Asked for now, conflicts count from here for a
    /// transaction that names a conflict range without reading, and what others appended before a versionstamped
    /// write stays readable: the library can tell that from what will be appended only when it knows the version. It
    /// costs nothing, since a blind write needs a version for its commit.
    ///
    /// Every version is asked for anew. The library could take one from a cache (`USE_GRV_CACHE`), but a reader would
    /// then miss what it has just been told is committed, and a writer conflict more often.
    pub(in crate::metadata) async fn begin(
        self: &Arc<Self>,
        mode: Mode,
        background: bool,
    ) -> Result<Transaction, StoreError> {
        let native = self.create(background)?;
        native.get_read_version().await.map_err(|error| self.error(error, Phase::Reading))?;
        Ok(Transaction::new(Arc::clone(self), mode, native))
    }

    /// A transaction of the library.
    pub(super) fn create(&self, background: bool) -> Result<::foundationdb::Transaction, StoreError> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or(StoreError::Closed)?;
        let create = || {
            let native = database.create_trx()?;
            if background {
                native.set_option(TransactionOption::PriorityBatch)?;
                native.set_option(TransactionOption::AutoThrottleTag(BACKGROUND_TAG.to_owned()))?;
            } else {
                native.set_option(TransactionOption::Tag(TAG.to_owned()))?;
            }
            Ok(native)
        };
        create().map_err(|error| self.error(error, Phase::Reading))
    }

    /// The error of this crate for one of the library's.
    pub(super) fn error(&self, error: FdbError, phase: Phase) -> StoreError {
        let error = errors::named(error, phase, &self.cluster_file);
        if matches!(error, StoreError::Conflict) {
            self.conflicts.fetch_add(1, Ordering::Relaxed);
        }
        error
    }

    /// Lets a commit begin. Closing waits until what this answers is dropped.
    pub(super) async fn commit_begins(&self) -> Result<RwLockReadGuard<'_, ()>, StoreError> {
        let on_its_way = self.commits_on_their_way.read().await;
        if *self.closed.borrow() { Err(StoreError::Closed) } else { Ok(on_its_way) }
    }

    /// Counts a commit that is durable.
    pub(super) fn committed(&self) {
        self.commits.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(crate::metadata::telemetry::COMMITS).increment(1);
    }

    /// Ends when the store is closed.
    pub(super) fn closed(&self) -> impl Future<Output = ()> + Send + 'static + use<> {
        let mut closed = self.closed.subscribe();
        async move {
            // An error means that the store is gone without having been closed, which ends it as well.
            let _ = closed.wait_for(|closed| *closed).await;
        }
    }

    /// Refuses what comes from now on, ends all watches, and waits for the commits on their way, each of which ends
    /// by its timeout at the latest. The library's thread stays, for other stores of this process.
    pub(in crate::metadata) async fn close(&self) {
        self.closed.send_replace(true);
        let _none_on_its_way = self.commits_on_their_way.write().await;
        *self.database.write().unwrap_or_else(PoisonError::into_inner) = None;
        // Whoever still holds the store may do so until the process has ended: then it is not dropped in time.
        let _ = network::stop_before_the_library_ends();
    }

    pub(in crate::metadata) fn stats(&self) -> MetadataStats {
        MetadataStats {
            commits: self.commits.load(Ordering::Relaxed),
            conflicts: self.conflicts.load(Ordering::Relaxed),
            watches: self.watches.load(Ordering::Relaxed),
            ..MetadataStats::default()
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It was possible when the network was started, and what was registered then still stands.
        let _ = network::stop_before_the_library_ends();
    }
}

async fn connect(options: &FoundationDbOptions) -> Result<Database, StoreError> {
    let path = readable(&options.cluster_file).await?;
    // It waits for a lock and for a thread to start.
    tokio::task::spawn_blocking(network::start).await.map_err(|error| StoreError::Unavailable {
        reason: format!("starting FoundationDB's client: {error}"),
    })??;
    let open = || {
        let database = Database::from_path(&path)?;
        let milliseconds = i32::try_from(options.transaction_timeout.as_millis()).unwrap_or(i32::MAX);
        let bytes = i32::try_from(TRANSACTION_BYTES_MAX).unwrap_or(i32::MAX);
        let watches = i32::try_from(options.watches_max).unwrap_or(i32::MAX);
        // How each transaction begins. The retries are those of `Metadata`, on every engine, and each has a transaction
        // of its own: the library's are off.
        let defaults = [
            DatabaseOption::TransactionTimeout(milliseconds),
            DatabaseOption::TransactionRetryLimit(0),
            DatabaseOption::TransactionSizeLimit(bytes),
            DatabaseOption::MaxWatches(watches),
        ];
        defaults.into_iter().try_for_each(|option| database.set_option(option))?;
        Ok(database)
    };
    open().map_err(|error| errors::named(error, Phase::Reading, &options.cluster_file))
}

/// The path of the cluster file in the library's form, once it is known that the file can be read: the library itself
/// would say nothing, and wait.
async fn readable(cluster_file: &Path) -> Result<String, StoreError> {
    let invalid = |detail: &str| errors::bad_cluster_file(cluster_file, detail);
    let text = tokio::fs::read(cluster_file).await.map_err(|error| {
        invalid(&format!(
            "which cannot be read ({error}): name your cluster's file, a copy of /etc/foundationdb/fdb.cluster of one of its \
             servers, and let this user read it"
        ))
    })?;
    // description:id@address,address, between comments.
    if !text.contains(&b'@') {
        return Err(errors::no_cluster_file(cluster_file));
    }
    let path = cluster_file.to_str().ok_or_else(|| invalid("which is not a path in UTF-8: rename it"))?;
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_cluster_file_that_is_missing_or_none_is_named() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("fdb.cluster");
        let missing = readable(&path).await.expect_err("missing").to_string();
        assert!(missing.contains("fdb.cluster") && missing.contains("cluster_file"), "{missing}");
        std::fs::write(&path, "nonsense").expect("write");
        assert!(matches!(
            readable(&path).await,
            Err(StoreError::InvalidOption { option: "cluster_file", .. })
        ));
        std::fs::write(&path, "# mine\ntest:id@127.0.0.1:4500\n").expect("write");
        assert_eq!(readable(&path).await.expect("a cluster file"), path.to_str().expect("UTF-8"));
    }
}
