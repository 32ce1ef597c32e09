//! A transaction of the cluster's client library, with the store's prefix and the limits of this crate.
//!
//! Buffered writes, reads through them, and which reads conflict are the library's own.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use ::foundationdb::options::{ConflictRangeType, MutationType, StreamingMode};
use ::foundationdb::{FdbError, RangeOption, Transaction as Native};

use super::engine::Engine;
use super::errors::Phase;
use super::prefix::with_place;
use super::watches::{self, Seen};
use crate::error::StoreError;
use crate::metadata::TRANSACTION_AGE_MAX;
use crate::metadata::range::{KeyRange, RangeOptions};
use crate::metadata::size::{self, Size};
use crate::metadata::transaction::Mode;
use crate::metadata::watch::{Watch, WatchSender};

type Row = (Vec<u8>, Vec<u8>);

/// One attempt at a transaction.
pub(in crate::metadata) struct Transaction {
    engine: Arc<Engine>,
    mode: Mode,
    /// None once it is committed. Never locked over an await: what the library answers holds nothing of it.
    native: RwLock<Option<Native>>,
    /// When its read version was taken.
    began: Instant,
    /// Whether it read anything, so that its age matters.
    reads: AtomicBool,
    /// Whether there is anything to commit.
    writes: AtomicBool,
    /// What is written. What is read, the library counts at the commit.
    size: Size,
    /// Those that start when the transaction ends well.
    watches: Mutex<Vec<(Vec<u8>, WatchSender)>>,
    /// What the keys begin with whose content a versionstamp decides, or did until they were written again.
    stamped: Mutex<Vec<Vec<u8>>>,
}

impl Transaction {
    pub(super) fn new(engine: Arc<Engine>, mode: Mode, native: Native) -> Self {
        Self {
            engine,
            mode,
            native: RwLock::new(Some(native)),
            began: Instant::now(),
            reads: AtomicBool::new(false),
            writes: AtomicBool::new(false),
            size: Size::default(),
            watches: Mutex::default(),
            stamped: Mutex::default(),
        }
    }

    /// The value of `key`, without a read conflict if `snapshot`.
    pub(in crate::metadata) async fn get(
        &self,
        key: &[u8],
        snapshot: bool,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let snapshot = self.begin_read(snapshot)?;
        let key = self.engine.prefix.key(key);
        let value = self.with(|native| native.get(&key, snapshot))?.await;
        let value = value.map_err(|error| self.error(error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    /// The rows of `range`. The library answers in batches, each of which conflicts with what it holds, and the last
    /// with what is left of the range, unless the limit ended it.
    pub(in crate::metadata) async fn get_range(
        &self,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<Vec<Row>, StoreError> {
        let snapshot = self.begin_read(options.snapshot)?;
        if range.is_empty() || options.limit == 0 {
            return self.with(|_| Vec::new());
        }
        let KeyRange { begin, end } = self.engine.prefix.range(range);
        let mut next = Some(RangeOption {
            // None means all.
            limit: i32::try_from(options.limit).is_ok().then_some(options.limit),
            mode: StreamingMode::WantAll,
            reverse: options.reverse,
            ..RangeOption::from((begin, end))
        });
        let mut rows = Vec::new();
        let mut batch = 0;
        while let Some(rest) = next {
            self.check_age()?;
            batch += 1;
            let values = self.with(|native| native.get_range(&rest, batch, snapshot))?.await;
            let values = values.map_err(|error| self.error(error))?;
            rows.extend(values.iter().map(|row| (self.engine.prefix.strip(row.key()), row.value().to_vec())));
            next = rest.next_range(&values);
        }
        Ok(rows)
    }

    pub(in crate::metadata) fn set(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.write(size::of_write(key.len(), value.len()), |native| {
            native.set(&self.engine.prefix.key(key), value);
        })
    }

    pub(in crate::metadata) fn clear(&self, key: &[u8]) -> Result<(), StoreError> {
        self.write(size::of_write(key.len(), 0), |native| native.clear(&self.engine.prefix.key(key)))
    }

    pub(in crate::metadata) fn clear_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        if range.is_empty() {
            return self.check_writable();
        }
        self.write(size::of_clear(range), |native| {
            let range = self.engine.prefix.range(range);
            native.clear_range(&range.begin, &range.end);
        })
    }

    pub(in crate::metadata) fn atomic_add(&self, key: &[u8], delta: i64) -> Result<(), StoreError> {
        self.atomic(key, delta.to_le_bytes(), MutationType::Add)
    }

    pub(in crate::metadata) fn atomic_max(&self, key: &[u8], value: u64) -> Result<(), StoreError> {
        self.atomic(key, value.to_le_bytes(), MutationType::Max)
    }

    fn atomic(&self, key: &[u8], operand: [u8; 8], operation: MutationType) -> Result<(), StoreError> {
        self.write(size::of_write(key.len(), operand.len()), |native| {
            native.atomic_op(&self.engine.prefix.key(key), &operand, operation);
        })
    }

    pub(in crate::metadata) fn set_versionstamped_key(
        &self,
        prefix: &[u8],
        suffix: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        let key = self.engine.prefix.stamped_key(prefix, suffix);
        self.write(size::of_write(prefix.len() + 10 + suffix.len(), value.len()), |native| {
            native.atomic_op(&key, value, MutationType::SetVersionstampedKey);
        })?;
        lock(&self.stamped).push(prefix.to_vec());
        Ok(())
    }

    pub(in crate::metadata) fn set_versionstamped_value(
        &self,
        key: &[u8],
        prefix: &[u8],
        suffix: &[u8],
    ) -> Result<(), StoreError> {
        self.write(size::of_write(key.len(), prefix.len() + 10 + suffix.len()), |native| {
            let value = with_place(prefix, suffix);
            native.atomic_op(&self.engine.prefix.key(key), &value, MutationType::SetVersionstampedValue);
        })?;
        lock(&self.stamped).push(key.to_vec());
        Ok(())
    }

    pub(in crate::metadata) fn add_read_conflict_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        if self.begin_read(false)? || range.is_empty() {
            return self.with(|_| ());
        }
        self.conflict(range, ConflictRangeType::Read)
    }

    pub(in crate::metadata) fn add_write_conflict_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        self.check_writable()?;
        if range.is_empty() {
            return Ok(());
        }
        self.conflict(range, ConflictRangeType::Write)?;
        self.writes.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn conflict(&self, range: &KeyRange, kind: ConflictRangeType) -> Result<(), StoreError> {
        self.size.charge(size::of_conflict(range))?;
        let range = self.engine.prefix.range(range);
        let added = self.with(|native| native.add_conflict_range(&range.begin, &range.end, kind))?;
        added.map_err(|error| self.error(error))
    }

    /// The library's own watches add a read conflict. So that watching conflicts with nobody, on no engine, the watch is
    /// set after the commit, from the value that was seen before it.
    pub(in crate::metadata) fn watch(&self, key: &[u8]) -> Result<Watch, StoreError> {
        self.begin_read(true)?;
        self.with(|_| ())?;
        let (sender, watch) = Watch::pair();
        lock(&self.watches).push((key.to_vec(), sender));
        Ok(watch)
    }

    /// Commits, and answers whether there was anything to write. The transaction is over afterwards.
    pub(in crate::metadata) async fn commit(&self) -> Result<bool, StoreError> {
        let watches = self.seen().await?;
        let native = self.native.write().unwrap_or_else(PoisonError::into_inner).take();
        let native = native.ok_or(StoreError::TransactionOver)?;
        let writes = self.writes.load(Ordering::Relaxed);
        if writes {
            if self.reads.load(Ordering::Relaxed) {
                self.check_age()?;
            }
            let _on_its_way = self.engine.commit_begins().await?;
            native.commit().await.map_err(|error| self.engine.error(*error, Phase::Committing))?;
            self.engine.committed();
        }
        watches::start(&self.engine, watches);
        Ok(writes)
    }

    /// The watches with what this transaction saw of their keys, its own writes included. One whose key may hold a
    /// versionstamp is dropped, and so ends early: trying to read it would fail the commit.
    async fn seen(&self) -> Result<Vec<Seen>, StoreError> {
        let watches = std::mem::take(&mut *lock(&self.watches));
        let mut seen = Vec::with_capacity(watches.len());
        for (key, sender) in watches {
            let stamped = lock(&self.stamped).iter().any(|beginning| key.starts_with(beginning));
            if !stamped {
                let value = self.get(&key, true).await?;
                seen.push(Seen { key: self.engine.prefix.key(&key), value, sender });
            }
        }
        Ok(seen)
    }

    /// Whether a read that is about to be made is one without conflicts.
    fn begin_read(&self, snapshot: bool) -> Result<bool, StoreError> {
        self.reads.store(true, Ordering::Relaxed);
        self.check_age()?;
        // What a read-only transaction read is one snapshot: there is nothing that it could conflict with.
        Ok(snapshot || self.mode == Mode::ReadOnly)
    }

    /// The cluster counts versions, which are about a second's millionth each. By the clock the limit is the same on
    /// every engine.
    fn check_age(&self) -> Result<(), StoreError> {
        if self.began.elapsed() > TRANSACTION_AGE_MAX { Err(StoreError::TooOld) } else { Ok(()) }
    }

    fn check_writable(&self) -> Result<(), StoreError> {
        match self.mode {
            Mode::ReadOnly => Err(StoreError::ReadOnly),
            Mode::ReadWrite => self.with(|_| ()),
        }
    }

    /// Hands a write of `bytes` to the library, which buffers it.
    fn write(&self, bytes: usize, write: impl FnOnce(&Native)) -> Result<(), StoreError> {
        self.check_writable()?;
        self.size.charge(bytes)?;
        self.with(write)?;
        self.writes.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Whatever `use_it` answers, if the transaction is not over.
    fn with<T>(&self, use_it: impl FnOnce(&Native) -> T) -> Result<T, StoreError> {
        let native = self.native.read().unwrap_or_else(PoisonError::into_inner);
        native.as_ref().map(use_it).ok_or(StoreError::TransactionOver)
    }

    fn error(&self, error: FdbError) -> StoreError {
        self.engine.error(error, Phase::Reading)
    }
}

fn lock<T>(list: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    // Nothing in here panics but for want of memory.
    list.lock().unwrap_or_else(PoisonError::into_inner)
}
