//! The metadata: an ordered, transactional key-value store behind one small interface.
//!
//! The contract is `FoundationDB`'s, on every engine: strictly serializable transactions that fail with a
//! conflict instead of waiting, and are run again by [`Metadata::transact`]; ranges both ways; snapshot reads;
//! atomic operations; versionstamps; watches; and its limits. In the order in which a transaction meets them:
//!
//! - `retry`: runs a transaction's function until it commits or its deadline passes;
//! - `transaction`: what a transaction can do, and the limits;
//! - `range`, `watch`: the ranges it reads and the changes it waits for;
//! - `embedded`: the engine in this process, over fjall;
//! - `telemetry`: its metrics;
//! - `gate`: where tests hold transactions up.

mod embedded;
mod gate;
mod limits;
mod range;
mod retry;
mod telemetry;
mod transaction;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

pub use embedded::EmbeddedOptions;
pub use gate::{Gate, Moment, Passing};
pub use limits::{KEY_BYTES_MAX, TRANSACTION_AGE_MAX, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX};
pub use range::{KeyRange, RangeOptions};
pub use retry::RetryOptions;
pub use telemetry::describe_metrics;
pub use transaction::Transaction;
pub use watch::Watch;

use crate::error::StoreError;
use retry::Attempts;
use transaction::Mode;

/// A handle to the metadata store. Clones are cheap and mean the same store.
#[derive(Clone)]
pub struct Metadata {
    engine: Engine,
    retry: Arc<RetryOptions>,
    gate: Option<Arc<dyn Gate>>,
}

/// The engines behind the interface. Everything above it is written once and does not know which it has.
#[derive(Clone)]
enum Engine {
    Embedded(Arc<embedded::Engine>),
}

/// What the store did since it was opened. The same figures, and times, are in its metrics.
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
        Ok(Self { engine, retry, gate: None })
    }

    /// The same store, whose transactions pass `gate`. For tests.
    #[must_use]
    pub fn gated(self, gate: Arc<dyn Gate>) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Runs `f` in a transaction until it commits, and answers what it returned then.
    ///
    /// `f` may run more than once, so it has no side effects: ids and times are made outside of it. When `f`
    /// returns an error nothing is committed. Conflicts and transactions that became too old are tried again
    /// with a random pause, within [`RetryOptions::deadline`]; after that the answer is
    /// [`StoreError::Contended`] with `name`, which also labels the metrics. A caller that stops waiting (drops the
    /// future) during the commit does not know its outcome.
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
            self.pass(name, Moment::Begun).await?;
            let transaction = self.begin(mode);
            // Bound first: a borrow of `f` held while waiting would ask for `F: Sync`.
            let running = f(transaction.clone());
            let error = match running.await {
                Ok(value) => match self.commit(name, &transaction).await {
                    Ok(()) => return Ok(value),
                    Err(error) => error,
                },
                Err(error) => error,
            };
            if !error.is_retryable() {
                return Err(error);
            }
            telemetry::count_retry(name, &error);
            attempts.pause().await?;
        }
    }

    fn begin(&self, mode: Mode) -> Transaction {
        match &self.engine {
            Engine::Embedded(engine) => Transaction::embedded(engine.begin(mode)),
        }
    }

    async fn commit(&self, name: &'static str, transaction: &Transaction) -> Result<(), StoreError> {
        self.pass(name, Moment::Decided).await?;
        let started = Instant::now();
        if !transaction.commit().await? {
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

    /// Ends, with a sentence that says why, when the store can never commit again in this process: a failed
    /// write or sync leaves unknown what the disk holds, so the process must end with a non-zero status and
    /// start again from the disk. Never ends otherwise.
    pub fn fatal(&self) -> impl Future<Output = String> + Send + 'static + use<> {
        match &self.engine {
            Engine::Embedded(engine) => engine.fatal(),
        }
    }

    /// Commits what is already queued, then stops the writer and frees the directory. Transactions that come
    /// later fail with [`StoreError::Closed`]. Without this call, dropping the last handle and transaction
    /// does the same, but blocks its thread for the length of a sync.
    pub async fn close(&self) {
        match &self.engine {
            Engine::Embedded(engine) => engine.close().await,
        }
    }

    /// What the store did since it was opened.
    pub fn stats(&self) -> MetadataStats {
        match &self.engine {
            Engine::Embedded(engine) => engine.stats(),
        }
    }
}
