//! A transaction of the embedded engine: one snapshot, with the transaction's own writes on top.
//!
//! Reads run on the calling task. Nearly all are answered from a memtable or a cached block within
//! microseconds, and a hop to a blocking thread costs more than that; one that misses the caches reads one block
//! of 4 KiB. Each takes from tokio's cooperative budget, so a task that reads a lot lets others run.

use std::iter::Peekable;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use super::Engine;
use super::buffer::{Buffer, Pending};
use super::mutation::Atomic;
use super::published::Published;
use super::request::{CommitRequest, PendingWatch, Seen};
use crate::error::StoreError;
use crate::metadata::range::{KeyRange, RangeOptions};
use crate::metadata::transaction::Mode;
use crate::metadata::watch::Watch;

/// Rows between two looks at the clock in a long range.
const ROWS_PER_AGE_CHECK: usize = 1024;

type Row = (Vec<u8>, Vec<u8>);

/// One attempt at a transaction.
pub(in crate::metadata) struct Transaction {
    engine: Arc<Engine>,
    mode: Mode,
    read_point: OnceLock<ReadPoint>,
    buffer: Mutex<Buffer>,
}

/// What the transaction sees, and since when. Taken at the first read, so that time before it does not count.
struct ReadPoint {
    published: Arc<Published>,
    taken: Instant,
}

impl Transaction {
    pub(super) fn new(engine: Arc<Engine>, mode: Mode) -> Self {
        Self { engine, mode, read_point: OnceLock::new(), buffer: Mutex::default() }
    }

    /// The value of `key`, without a read conflict if `snapshot`.
    pub(in crate::metadata) async fn get(
        &self,
        key: &[u8],
        snapshot: bool,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        tokio::task::coop::consume_budget().await;
        let published = self.published()?;
        let operations = {
            let mut buffer = self.buffer()?;
            buffer.check_readable_key(key, published.version)?;
            let operations = match buffer.pending(key) {
                // Its own write is what it is, whatever others do: no read conflict.
                Some(Pending::Known(value)) => return Ok(value),
                Some(Pending::Unreadable) => return Err(StoreError::UnreadableKey),
                Some(Pending::Operations(operations)) => operations,
                None => Vec::new(),
            };
            if !snapshot && self.mode == Mode::ReadWrite {
                buffer.add_read_key(key)?;
            }
            operations
        };
        Ok(evaluate(&operations, published.get(key)?))
    }

    /// The rows of `range`.
    pub(in crate::metadata) async fn get_range(
        &self,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<Vec<Row>, StoreError> {
        tokio::task::coop::consume_budget().await;
        let published = self.published()?;
        if range.is_empty() || options.limit == 0 {
            return Ok(Vec::new());
        }
        let mut buffer = self.buffer()?;
        let rows = self.merged(&buffer, &published, range, options)?;
        let examined = examined(range, options, &rows);
        buffer.check_readable(&examined, published.version)?;
        if !options.snapshot && self.mode == Mode::ReadWrite {
            buffer.add_read_range(examined)?;
        }
        Ok(rows)
    }

    /// The stored rows of `range` and the transaction's own, in the order asked for.
    fn merged(
        &self,
        buffer: &Buffer,
        published: &Published,
        range: &KeyRange,
        options: RangeOptions,
    ) -> Result<Vec<Row>, StoreError> {
        let stored = published.rows(range);
        let own = buffer.pending_in(range);
        if options.reverse {
            self.merge(buffer, stored.rev().peekable(), own.rev().peekable(), options)
        } else {
            self.merge(buffer, stored.peekable(), own.peekable(), options)
        }
    }

    fn merge<'b>(
        &self,
        buffer: &Buffer,
        mut stored: Peekable<impl Iterator<Item = Result<Row, StoreError>>>,
        mut own: Peekable<impl Iterator<Item = (&'b Vec<u8>, &'b Pending)>>,
        options: RangeOptions,
    ) -> Result<Vec<Row>, StoreError> {
        let mut rows = Vec::new();
        let mut steps = 0_usize;
        while rows.len() < options.limit {
            steps += 1;
            if steps.is_multiple_of(ROWS_PER_AGE_CHECK) {
                self.check_age()?;
            }
            // Takes the nearer key of the two, and both rows when it is the same key.
            let nearer_or_same = |own: &[u8], stored: &[u8]| {
                if options.reverse { own >= stored } else { own <= stored }
            };
            let own_next = match (own.peek(), stored.peek()) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) | (_, Some(Err(_))) => false,
                (Some((key, _)), Some(Ok((stored_key, _)))) => nearer_or_same(key, stored_key),
            };
            if own_next {
                let Some((key, pending)) = own.next() else { break };
                let same = |row: &Result<Row, StoreError>| matches!(row, Ok((stored, _)) if stored == key);
                let stored = stored.next_if(same).transpose()?.map(|(_, value)| value);
                rows.extend(resolve(pending, stored)?.map(|value| (key.clone(), value)));
            } else if let Some(row) = stored.next() {
                let (key, value) = row?;
                if !buffer.is_cleared(&key) {
                    rows.push((key, value));
                }
            }
        }
        Ok(rows)
    }

    pub(in crate::metadata) fn set(&self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.writing()?.set(key, value)
    }

    pub(in crate::metadata) fn clear(&self, key: &[u8]) -> Result<(), StoreError> {
        self.writing()?.clear(key)
    }

    pub(in crate::metadata) fn clear_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        self.writing()?.clear_range(range)
    }

    pub(in crate::metadata) fn atomic_add(&self, key: &[u8], delta: i64) -> Result<(), StoreError> {
        self.writing()?.atomic(key, Atomic::Add(delta))
    }

    pub(in crate::metadata) fn atomic_max(&self, key: &[u8], value: u64) -> Result<(), StoreError> {
        self.writing()?.atomic(key, Atomic::Max(value))
    }

    pub(in crate::metadata) fn set_versionstamped_key(
        &self,
        prefix: &[u8],
        suffix: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.writing()?.set_stamped_key(prefix, suffix, value)
    }

    pub(in crate::metadata) fn set_versionstamped_value(
        &self,
        key: &[u8],
        prefix: &[u8],
        suffix: &[u8],
    ) -> Result<(), StoreError> {
        self.writing()?.set_stamped_value(key, prefix, suffix)
    }

    pub(in crate::metadata) fn add_read_conflict_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        // A conflict is with what is committed after the read point, so there has to be one.
        self.published()?;
        let mut buffer = self.buffer()?;
        if self.mode == Mode::ReadOnly {
            return Ok(());
        }
        buffer.add_read_range(range.clone())
    }

    pub(in crate::metadata) fn add_write_conflict_range(&self, range: &KeyRange) -> Result<(), StoreError> {
        self.writing()?.add_write_range(range)
    }

    pub(in crate::metadata) fn raise_version(&self, floor: u64) -> Result<(), StoreError> {
        self.writing()?.version_floor = floor;
        Ok(())
    }

    pub(in crate::metadata) fn watch(&self, key: &[u8]) -> Result<Watch, StoreError> {
        // What the watch compares with is this transaction's view.
        self.published()?;
        let (sender, watch) = Watch::pair();
        self.buffer()?.watches.push((key.to_vec(), sender));
        Ok(watch)
    }

    /// Commits, and answers whether there was anything to write. The transaction is over afterwards.
    pub(in crate::metadata) async fn commit(&self) -> Result<bool, StoreError> {
        let buffer = {
            let mut buffer = self.buffer()?;
            std::mem::replace(&mut *buffer, Buffer::over())
        };
        if buffer.writes_nothing() {
            // What it read is one snapshot, so it took place at that moment: nothing to check.
            self.watch_read(buffer)?;
            return Ok(false);
        }
        let reads_nothing = buffer.read_keys.is_empty() && buffer.read_ranges.is_empty();
        if !reads_nothing {
            self.check_age()?;
        }
        let request = self.request(buffer)?;
        self.engine.commit(request).await?;
        Ok(true)
    }

    fn request(&self, mut buffer: Buffer) -> Result<CommitRequest, StoreError> {
        let mut watches = Vec::new();
        for (key, sender) in std::mem::take(&mut buffer.watches) {
            let seen = match buffer.pending(&key) {
                Some(_) => Seen::OwnWrite,
                None => Seen::Stored(self.published()?.get(&key)?),
            };
            watches.push(PendingWatch { key, sender, seen });
        }
        Ok(CommitRequest {
            read_version: self.read_point.get().map_or(u64::MAX, |point| point.published.version),
            bytes: buffer.bytes(),
            read_keys: buffer.read_keys,
            read_ranges: buffer.read_ranges,
            mutations: buffer.mutations,
            write_ranges: buffer.write_ranges,
            version_floor: buffer.version_floor,
            watches,
        })
    }

    /// Starts the watches of a transaction that only read.
    fn watch_read(&self, buffer: Buffer) -> Result<(), StoreError> {
        for (key, sender) in buffer.watches {
            let seen = self.published()?.get(&key)?;
            self.engine.watch(&key, sender, seen.as_deref());
        }
        Ok(())
    }

    /// What this transaction sees, if it is still young enough.
    fn published(&self) -> Result<Arc<Published>, StoreError> {
        if self.read_point.get().is_none() {
            let point = ReadPoint { published: self.engine.latest()?, taken: Instant::now() };
            // Another clone of this transaction may have been first: then its point counts.
            let _ = self.read_point.set(point);
        }
        self.check_age()?;
        let point = self.read_point.get().ok_or(StoreError::TransactionOver)?;
        Ok(Arc::clone(&point.published))
    }

    fn check_age(&self) -> Result<(), StoreError> {
        let age_max = self.engine.transaction_age_max();
        let too_old = self.read_point.get().is_some_and(|point| point.taken.elapsed() > age_max);
        if too_old { Err(StoreError::TooOld) } else { Ok(()) }
    }

    fn writing(&self) -> Result<MutexGuard<'_, Buffer>, StoreError> {
        if self.mode == Mode::ReadOnly {
            return Err(StoreError::ReadOnly);
        }
        self.buffer()
    }

    fn buffer(&self) -> Result<MutexGuard<'_, Buffer>, StoreError> {
        // After a panic in here the buffer may lack its last write, but the panic is on its way to the caller of
        // `transact`, which then commits nothing.
        let buffer = self.buffer.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.is_over() { Err(StoreError::TransactionOver) } else { Ok(buffer) }
    }
}

/// The part of `range` that reading `rows` looked at: when the limit ended it, only as far as the last row.
fn examined(range: &KeyRange, options: RangeOptions, rows: &[Row]) -> KeyRange {
    match rows.last() {
        Some((last, _)) if rows.len() == options.limit => {
            if options.reverse {
                KeyRange::new(last.clone(), range.end.clone())
            } else {
                KeyRange::new(range.begin.clone(), KeyRange::single(last).end)
            }
        }
        _ => range.clone(),
    }
}

/// What the transaction sees of a key that it wrote.
fn resolve(pending: &Pending, stored: Option<Vec<u8>>) -> Result<Option<Vec<u8>>, StoreError> {
    match pending {
        Pending::Known(value) => Ok(value.clone()),
        Pending::Operations(operations) => Ok(evaluate(operations, stored)),
        Pending::Unreadable => Err(StoreError::UnreadableKey),
    }
}

fn evaluate(operations: &[Atomic], stored: Option<Vec<u8>>) -> Option<Vec<u8>> {
    operations.iter().fold(stored, |value, operation| Some(operation.apply(value.as_deref())))
}
