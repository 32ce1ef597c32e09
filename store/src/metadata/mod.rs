//! The metadata: an ordered, transactional key-value store behind one small interface.
//!
//! The contract is `FoundationDB`'s, on every engine: strictly serializable transactions that fail with a
//! conflict instead of waiting, and are run again by [`Metadata::transact`]; ranges both ways; snapshot reads;
//! atomic operations; versionstamps; watches; and its limits. In the order in which a transaction meets them:
//!
//! - `retry`: runs a transaction's function until it commits or its deadline passes;
//! - `transaction`: what a transaction can do, and the limits;
//! - `range`, `watch`: the ranges it reads and the changes it waits for;
//! - `pages`: ranges that are too long for one transaction;
//! - `export`: every row as of one moment, for a backup;
//! - `limits`, `size`: what every engine refuses alike;
//! - `embedded`: the engine in this process, over fjall;
//! - `foundationdb`: a cluster of machines, with the cargo feature of that name;
//! - `faults`: commits whose outcome is unknown, for tests;
//! - `gate`: where tests hold transactions up;
//! - `telemetry`: their metrics.

mod embedded;
mod export;
mod faults;
mod foundationdb;
mod gate;
mod limits;
mod pages;
mod range;
mod retry;
mod size;
mod telemetry;
mod transaction;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub use self::foundationdb::FoundationDbOptions;
pub use embedded::EmbeddedOptions;
pub use export::Export;
pub use faults::CommitFault;
pub use gate::{Gate, Moment, Passing};
pub use limits::{
    KEY_BYTES_MAX, PREFIX_BYTES_MAX, STAMPED_VALUE_BYTES_MAX, TRANSACTION_AGE_MAX, TRANSACTION_BYTES_MAX,
    VALUE_BYTES_MAX,
};
pub use pages::Pages;
pub use range::{KeyRange, RangeOptions};
pub use retry::RetryOptions;
pub use telemetry::describe_metrics;
pub use transaction::Transaction;
pub use watch::Watch;

use crate::error::StoreError;
use faults::Faults;
use retry::Attempts;
use transaction::Mode;

/// A handle to the metadata store. Clones are cheap and mean the same store.
#[derive(Clone)]
pub struct Metadata {
    engine: Engine,
    retry: Arc<RetryOptions>,
    #[cfg_attr(
        not(feature = "foundationdb"),
        expect(dead_code, reason = "the embedded engine has nobody to hold back")
    )]
    urgency: Urgency,
    faults: Option<Faults>,
    gate: Option<Arc<dyn Gate>>,
}

/// The engines behind the interface. Everything above it is written once and does not know which it has.
#[derive(Clone)]
enum Engine {
    Embedded(Arc<embedded::Engine>),
    #[cfg(feature = "foundationdb")]
    FoundationDb(Arc<foundationdb::Engine>),
}

/// `$call` on whichever `$engine` it is.
macro_rules! on_engine {
    ($self:expr, $engine:ident => $call:expr) => {
        match &$self.engine {
            Engine::Embedded($engine) => $call,
            #[cfg(feature = "foundationdb")]
            Engine::FoundationDb($engine) => $call,
        }
    };
}

/// Whether somebody waits for a handle's transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Urgency {
    Usual,
    /// Nobody does: a cluster may hold them back for others.
    Background,
}

/// What the store did since it was opened. The same figures, and times, are in its metrics. On `FoundationDB` the
/// groups and the bytes are 0: its cluster knows them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MetadataStats {
    /// Writing transactions committed and durable.
    pub commits: u64,
    /// Writing transactions refused because of a conflict.
    pub conflicts: u64,
    /// Syncs that made the commits durable; `commits / groups` transactions shared each.
    pub groups: u64,
    /// Watches that somebody waits for.
    pub watches: u64,
    /// Bytes of the database files on disk.
    pub disk_bytes: u64,
    /// Bytes of rows in memory that are not yet in a table file.
    pub write_buffer_bytes: u64,
}

impl Metadata {
    /// Opens the embedded engine's store in the directory `path`, creating it if there is none, and replays
    /// what was acknowledged before a crash.
    ///
    /// Fails with [`StoreError::InUse`] when another process, or another handle in this one, has it open, and
    /// with [`StoreError::Corrupt`] when its files do not match their checksums.
    pub async fn open_embedded(path: &Path, options: EmbeddedOptions) -> Result<Self, StoreError> {
        let retry = Arc::new(options.retry.clone());
        let engine = Engine::Embedded(embedded::Engine::open(path, options).await?);
        Ok(Self { engine, retry, urgency: Urgency::Usual, faults: None, gate: None })
    }

    /// Opens the store that lies below [`FoundationDbOptions::prefix`] in a `FoundationDB` cluster, and waits until
    /// the cluster answers.
    ///
    /// Fails with a sentence that says what to do when the cluster file cannot be read, when the installed client
    /// library is too old, and when the cluster does not answer within [`FoundationDbOptions::open_deadline`].
    #[cfg(feature = "foundationdb")]
    pub async fn open_foundationdb(options: FoundationDbOptions) -> Result<Self, StoreError> {
        let retry = Arc::new(options.retry.clone());
        let engine = Engine::FoundationDb(foundationdb::Engine::open(&options).await?);
        Ok(Self { engine, retry, urgency: Urgency::Usual, faults: None, gate: None })
    }

    /// A handle to the same store that tries again within other bounds.
    #[must_use]
    pub fn with_retry(&self, retry: RetryOptions) -> Self {
        Self { retry: Arc::new(retry), ..self.clone() }
    }

    /// A handle to the same store for work that nobody waits for. On `FoundationDB` its transactions have batch
    /// priority, and a tag by which they can be throttled: under load they wait, and may be refused with
    /// [`StoreError::Unavailable`]. On the embedded engine it is no different from others.
    #[must_use]
    pub fn in_background(&self) -> Self {
        Self { urgency: Urgency::Background, ..self.clone() }
    }

    /// Whether other processes may have the store open at the same time.
    pub fn is_shared(&self) -> bool {
        match &self.engine {
            Engine::Embedded(engine) => engine.is_shared(),
            #[cfg(feature = "foundationdb")]
            Engine::FoundationDb(_) => true,
        }
    }

    /// The same store through a handle whose writing transactions meet the faults that `next` answers, one asked for
    /// before each commit. After a commit whose outcome is unknown they run again, as on a cluster. For tests.
    #[must_use]
    pub fn with_faults(&self, next: impl Fn() -> CommitFault + Send + Sync + 'static) -> Self {
        Self { faults: Some(Faults::new(next)), ..self.clone() }
    }

    /// The same store through a handle whose transactions pass `gate`. For tests.
    #[must_use]
    pub fn gated(&self, gate: Arc<dyn Gate>) -> Self {
        Self { gate: Some(gate), ..self.clone() }
    }

    /// Runs `f` in a transaction until it commits, and answers what it returned then.
    ///
    /// `f` may run more than once, so it has no side effects: ids and times are made outside of it. When `f`
    /// returns an error nothing is committed. Conflicts and transactions that became too old are tried again
    /// with a random pause, within [`RetryOptions::deadline`]; after that the answer is
    /// [`StoreError::Contended`] with `name`, which also labels the metrics. A caller that stops waiting (drops the
    /// future) during the commit does not know its outcome.
    ///
    /// On `FoundationDB` an unknown outcome ([`StoreError::CommitUnknown`]) is tried again, too. So `f` reads a marker
    /// of its own and finds what an earlier run did: the record that it makes, a lease, a random id of its caller.
    /// It writes that marker together with everything else, so that of two runs at once only one commits. On the
    /// embedded engine the process must end after an unknown outcome, and the caller gets it at once. Injected faults
    /// ([`Self::with_faults`]) are survived as on a cluster.
    pub async fn transact<T, F, Fut>(&self, name: &'static str, f: F) -> Result<T, StoreError>
    where
        F: Fn(Transaction) -> Fut + Send,
        Fut: Future<Output = Result<T, StoreError>> + Send,
        T: Send,
    {
        self.run(name, Mode::ReadWrite, f).await
    }

    /// Runs `f` over one consistent snapshot of everything acknowledged before. It meets no conflicts and no
    /// writer; writing in it is [`StoreError::ReadOnly`].
    pub async fn read<T, F, Fut>(&self, name: &'static str, f: F) -> Result<T, StoreError>
    where
        F: Fn(Transaction) -> Fut + Send,
        Fut: Future<Output = Result<T, StoreError>> + Send,
        T: Send,
    {
        self.run(name, Mode::ReadOnly, f).await
    }

    async fn run<T, F, Fut>(&self, name: &'static str, mode: Mode, f: F) -> Result<T, StoreError>
    where
        F: Fn(Transaction) -> Fut + Send,
        Fut: Future<Output = Result<T, StoreError>> + Send,
        T: Send,
    {
        let mut attempts = Attempts::new(name, &self.retry);
        loop {
            let error = match self.begin(name, mode).await {
                Ok(transaction) => {
                    let transaction = transaction.repeating(attempts.may_have_committed());
                    // Bound first: a borrow of `f` held while waiting would ask for `F: Sync`.
                    let running = f(transaction.clone());
                    match running.await {
                        Ok(value) => match self.commit(name, &transaction, mode).await {
                            Ok(()) => return Ok(value),
                            Err(error) => error,
                        },
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if !self.may_run_again_after(&error) {
                return Err(attempts.last(error));
            }
            telemetry::count_retry(name, &error);
            attempts.pause(error).await?;
        }
    }

    fn may_run_again_after(&self, error: &StoreError) -> bool {
        match &self.engine {
            // An injected fault is survived like one of a cluster.
            Engine::Embedded(_) if self.faults.is_some() => {
                error.is_retryable() || matches!(error, StoreError::CommitUnknown)
            }
            // An unknown outcome means that the disk has failed: the process must end.
            Engine::Embedded(_) => error.is_retryable(),
            #[cfg(feature = "foundationdb")]
            Engine::FoundationDb(_) => error.is_retryable() || matches!(error, StoreError::CommitUnknown),
        }
    }

    async fn begin(&self, name: &'static str, mode: Mode) -> Result<Transaction, StoreError> {
        self.pass(name, Moment::Begun).await?;
        match &self.engine {
            Engine::Embedded(engine) => Ok(Transaction::embedded(engine.begin(mode))),
            #[cfg(feature = "foundationdb")]
            Engine::FoundationDb(engine) => {
                let background = self.urgency == Urgency::Background;
                Ok(Transaction::foundationdb(engine.begin(mode, background).await?))
            }
        }
    }

    async fn commit(
        &self,
        name: &'static str,
        transaction: &Transaction,
        mode: Mode,
    ) -> Result<(), StoreError> {
        self.pass(name, Moment::Decided).await?;
        let started = Instant::now();
        let wrote = match &self.faults {
            Some(faults) if mode == Mode::ReadWrite => faults.commit(transaction).await?,
            _ => transaction.commit().await?,
        };
        if !wrote {
            return Ok(());
        }
        metrics::histogram!(telemetry::COMMIT_SECONDS).record(started.elapsed());
        self.pass(name, Moment::Committed).await
    }

    async fn pass(&self, name: &'static str, moment: Moment) -> Result<(), StoreError> {
        match &self.gate {
            Some(gate) => gate.pass(name, moment).await,
            None => Ok(()),
        }
    }

    /// Every row as of now, for a backup: one snapshot, however long reading it takes.
    ///
    /// Fails with [`StoreError::Unsupported`] on an engine whose transactions are too short for that.
    pub fn export(&self) -> Result<Export, StoreError> {
        match &self.engine {
            Engine::Embedded(engine) => Ok(Export::embedded(engine.export()?)),
            #[cfg(feature = "foundationdb")]
            Engine::FoundationDb(_) => Err(StoreError::no_backup_on_foundationdb()),
        }
    }

    /// The rows of `range`, read page by page of at most `rows` rows, each page in a transaction of its own, which
    /// `name` labels. See [`Pages`] for what that promises.
    pub fn pages(&self, name: &'static str, range: KeyRange, rows: usize) -> Pages {
        Pages::new(self.clone(), name, range, rows)
    }

    /// Ends, with a sentence that says why, when the store can never commit again in this process: a failed
    /// write or sync leaves unknown what the disk holds, so the process must end with a non-zero status and
    /// start again from the disk. Never ends otherwise, and never on `FoundationDB`: a cluster that is away may come
    /// back.
    pub fn fatal(&self) -> impl Future<Output = String> + Send + 'static + use<> {
        let failure = match &self.engine {
            Engine::Embedded(engine) => Some(engine.fatal()),
            #[cfg(feature = "foundationdb")]
            Engine::FoundationDb(_) => None,
        };
        async move {
            match failure {
                Some(failure) => failure.await,
                None => std::future::pending().await,
            }
        }
    }

    /// Commits what is already queued, then stops the writer and frees the directory, or leaves the cluster.
    /// Transactions that come later fail with [`StoreError::Closed`]. Without this call, dropping the last handle and
    /// transaction does the same, but blocks its thread for the length of a sync.
    pub async fn close(&self) {
        on_engine!(self, engine => engine.close().await);
    }

    /// What the store did since it was opened.
    pub fn stats(&self) -> MetadataStats {
        on_engine!(self, engine => engine.stats())
    }
}
