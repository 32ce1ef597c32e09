//! The commit thread: takes all transactions that wait, in order, and makes them durable as one group.
//!
//! It has a thread of its own because it sleeps: in the sync, and in fjall's stalls.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use tokio::sync::mpsc;

use super::Persist;
use super::conflicts::Conflicts;
use super::disk::Disk;
use super::group::{Effects, Group};
use super::options::EmbeddedOptions;
use super::published::Published;
use super::request::{CommitRequest, Message, PendingWatch, Reply, Seen};
use super::shared::Shared;
use crate::error::{NoRoom, StoreError};
use crate::metadata::telemetry;
use crate::metadata::watch::WatchSender;

/// Most transactions in a group; a versionstamp could count 65,536.
const GROUP_TRANSACTIONS_MAX: usize = 8192;
/// Bytes after which a group takes no more transactions: it holds its rows in memory twice while it is written.
const GROUP_BYTES: usize = 8 * 1024 * 1024;

/// The one writer of the store.
pub(super) struct Writer {
    disk: Arc<Disk>,
    published: Arc<Published>,
    shared: Arc<Shared>,
    inbox: mpsc::Receiver<Message>,
    conflicts: Conflicts,
    free_space_min_bytes: u64,
    persist: Persist,
    closing: bool,
}

/// A transaction of the current group.
struct Waiting {
    request: Box<CommitRequest>,
    reply: Reply,
}

/// What became of a transaction of the current group, to be told after the sync.
struct Answer {
    reply: Reply,
    outcome: Result<(), StoreError>,
}

/// A watch whose transaction has been accepted, and the value from which its key has to differ.
struct AcceptedWatch {
    key: Vec<u8>,
    sender: WatchSender,
    seen: Option<Vec<u8>>,
}

impl Writer {
    pub(super) fn new(
        disk: Arc<Disk>,
        published: Arc<Published>,
        shared: Arc<Shared>,
        inbox: mpsc::Receiver<Message>,
        options: &EmbeddedOptions,
        persist: Persist,
    ) -> Self {
        let conflicts =
            Conflicts::new(published.version, options.transaction_age_max, options.conflict_window_bytes);
        let free_space_min_bytes = options.free_space_min_bytes;
        Self { disk, published, shared, inbox, conflicts, free_space_min_bytes, persist, closing: false }
    }

    /// Commits until it is told to close, nobody can commit any more, or the disk has failed.
    pub(super) fn run(mut self) {
        let _report = ReportPanic(Arc::clone(&self.shared));
        let mut failed = false;
        while !self.closing && !failed {
            let waiting = self.gather();
            if waiting.is_empty() {
                break;
            }
            if let Err(reason) = self.commit(waiting) {
                self.shared.fail(reason);
                failed = true;
            }
        }
        self.refuse_the_rest();
        if !failed {
            self.disk.note_close(self.published.version);
        }
    }

    /// Waits for a transaction and takes with it what else is there. Empty when there will be none.
    fn gather(&mut self) -> Vec<Waiting> {
        let mut group = Vec::new();
        let mut bytes = 0;
        let mut next = self.inbox.blocking_recv();
        while let Some(message) = next {
            let Message::Commit(request, reply) = message else {
                self.closing = true;
                break;
            };
            bytes += request.bytes;
            group.push(Waiting { request, reply });
            if group.len() >= GROUP_TRANSACTIONS_MAX || bytes >= GROUP_BYTES {
                break;
            }
            next = self.inbox.try_recv().ok();
        }
        group
    }

    /// Makes one group durable, then visible, and only then known to its owners and to those who watch: whoever
    /// has an answer and begins again must see what the answer was about. Fails with the reason when the disk did.
    fn commit(&mut self, waiting: Vec<Waiting>) -> Result<(), String> {
        let free_bytes = self.disk.free_bytes();
        if free_bytes < self.free_space_min_bytes {
            self.refuse_for_space(waiting, free_bytes);
            return Ok(());
        }
        let base = Arc::clone(&self.published);
        let floor = waiting.iter().map(|waiting| waiting.request.version_floor).max();
        let version = base.version.max(floor.unwrap_or_default()) + 1;
        self.conflicts.begin(version);
        let mut group = Group::new(&base, version);
        let mut answers = Vec::with_capacity(waiting.len());
        let mut watches = Vec::new();
        for Waiting { request, reply } in waiting {
            let outcome = self.admit(&mut group, *request, &mut watches);
            answers.push(Answer { reply, outcome });
        }
        let accepted = group.accepted();
        if accepted == 0 {
            self.answer(answers);
            return Ok(());
        }
        let mut effects = group.into_effects();
        if let Err(error) = self.persist(version, &mut effects) {
            for answer in &mut answers {
                answer.outcome = Err(StoreError::CommitUnknown);
            }
            self.answer(answers);
            return Err(format!("a commit failed, and what the disk holds of it is unknown: {error}"));
        }
        self.publish(version);
        self.count(accepted);
        self.answer(answers);
        self.shared.watches.fire(effects.keys());
        for AcceptedWatch { key, sender, seen } in watches {
            self.shared.watch(&key, sender, seen.as_deref());
        }
        self.disk.bound_memory();
        Ok(())
    }

    /// Checks one transaction against all before it and, if it stands, evaluates it into the group.
    fn admit(
        &mut self,
        group: &mut Group<'_>,
        request: CommitRequest,
        watches: &mut Vec<AcceptedWatch>,
    ) -> Result<(), StoreError> {
        self.conflicts.check(request.read_version, &request.read_keys, &request.read_ranges)?;
        let mut written = group.apply(request.mutations)?;
        written.ranges.extend(request.write_ranges);
        self.conflicts.add(written.keys, written.ranges);
        for PendingWatch { key, sender, seen } in request.watches {
            let seen = match seen {
                Seen::Stored(value) => value,
                Seen::OwnWrite => match group.get(&key) {
                    Ok(value) => value,
                    // Dropping the sender ends the watch early, and its owner meets the error when it looks.
                    Err(_) => continue,
                },
            };
            watches.push(AcceptedWatch { key, sender, seen });
        }
        Ok(())
    }

    fn persist(&self, version: u64, effects: &mut Effects) -> Result<(), StoreError> {
        let mut batch = self.disk.batch(version, effects.len());
        for (key, value) in effects {
            batch.put(key, value.take());
        }
        let started = Instant::now();
        (self.persist)(batch)?;
        metrics::histogram!(telemetry::FSYNC_SECONDS).record(started.elapsed());
        Ok(())
    }

    fn publish(&mut self, version: u64) {
        self.published = Published::now(&self.disk, version);
        self.shared.latest.publish(Arc::clone(&self.published));
        self.conflicts.seal(Instant::now());
    }

    fn count(&self, accepted: u16) {
        self.shared.commits.fetch_add(u64::from(accepted), Ordering::Relaxed);
        self.shared.groups.fetch_add(1, Ordering::Relaxed);
        metrics::counter!(telemetry::COMMITS).increment(u64::from(accepted));
        metrics::histogram!(telemetry::GROUP_TRANSACTIONS).record(f64::from(accepted));
    }

    fn answer(&self, answers: Vec<Answer>) {
        for Answer { reply, outcome } in answers {
            if matches!(outcome, Err(StoreError::Conflict)) {
                self.shared.conflicts.fetch_add(1, Ordering::Relaxed);
            }
            // Whoever has stopped waiting has given up knowing.
            let _ = reply.send(outcome);
        }
    }

    fn refuse_for_space(&self, waiting: Vec<Waiting>, free_bytes: u64) {
        for Waiting { reply, .. } in waiting {
            let why = NoRoom::Reserved { free_bytes, reserve: self.free_space_min_bytes };
            let _ = reply.send(Err(StoreError::DiskFull { path: self.disk.path().to_owned(), why }));
        }
    }

    /// Answers what came too late, or after a failure.
    fn refuse_the_rest(&mut self) {
        self.inbox.close();
        while let Some(message) = self.inbox.blocking_recv() {
            if let Message::Commit(_, reply) = message {
                let _ = reply.send(Err(self.shared.ended()));
            }
        }
    }
}

/// Reports a writer that ended by a panic, which is a bug, instead of leaving everyone waiting.
struct ReportPanic(Arc<Shared>);

impl Drop for ReportPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the writer panicked".to_owned());
        }
    }
}
