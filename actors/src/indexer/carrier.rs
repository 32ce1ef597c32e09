//! Follows one shard of the change log, applies its entries, and does what they lead to piece by piece.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use darkroom_store::StoreError;
use darkroom_store::metadata::{Metadata, Transaction, Watch};
use darkroom_store::model::changes::{self, Change};
use darkroom_store::model::effects::{self, Indexing};
use darkroom_store::model::fanout::{self, FeedLimits, TaskKey};
use darkroom_store::model::shards::{self, Held, INDEXER, Lost};
use darkroom_store::model::{Position, Timestamp, trending};

use super::trouble::{Trouble, is_the_stores, pause};
use crate::faults::{Faults, Point};
use crate::line::StageCounters;
use crate::stages::House;

/// Entries that one transaction applies at most.
const ENTRIES: usize = 32;
/// Tasks that one transaction does a piece of at most.
const TASKS: usize = 64;
/// Rows that one step of tidying up removes at most.
const TIDIED: usize = 500;
/// How many idle polls lie between two looks at a shard whose watch has not ended.
const POLLS_PER_LOOK: u32 = 3;
/// How often entries that are old, and what no longer trends, are looked for.
const TIDY_EVERY: Duration = Duration::from_mins(1);
/// Where gauges of what is left to do end.
const COUNTED_MAX: usize = 1_000;
/// How often they are read while there is work.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Why a carrier does not go on.
enum Halt {
    /// It holds the shard no more.
    Lost(Lost),
    /// The store failed.
    Store(StoreError),
}

impl From<Lost> for Halt {
    fn from(lost: Lost) -> Self {
        Self::Lost(lost)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// An entry, or why it cannot be read.
type Read = (Position, Result<Change, StoreError>);

pub(super) struct Carrier {
    metadata: Metadata,
    held: Held,
    limits: FeedLimits,
    history: u64,
    poll: Duration,
    changes_age_max: Duration,
    faults: Faults,
    counters: Arc<StageCounters>,
    entries_trouble: Trouble<Position>,
    tasks_trouble: Trouble<TaskKey>,
    /// The last task that was worked on: those behind it come next, so that a long one does not hold up the others.
    turn: Option<TaskKey>,
    failures: u32,
    tidied: Option<Instant>,
    measured: Option<Instant>,
}

impl Carrier {
    pub(super) fn new(house: &House, held: Held, counters: Arc<StageCounters>) -> Self {
        let feeds = &house.options.feeds;
        Self {
            metadata: house.metadata.in_background(),
            held,
            limits: feeds.limits(),
            history: house.history,
            poll: house.options.idle_poll * POLLS_PER_LOOK,
            changes_age_max: feeds.changes_age_max,
            faults: house.faults.clone(),
            counters,
            entries_trouble: Trouble::none(),
            tasks_trouble: Trouble::none(),
            turn: None,
            failures: 0,
            tidied: None,
            measured: None,
        }
    }

    /// Carries the shard until it is another's.
    pub(super) async fn run(mut self) -> Lost {
        loop {
            match self.round().await {
                Ok(()) => self.failures = 0,
                Err(Halt::Lost(lost)) => return lost,
                Err(Halt::Store(error)) => {
                    let (shard, pause) = (self.held.shard, pause(self.failures));
                    self.failures += 1;
                    tracing::warn!(shard, %error, ?pause, "a shard of the change log waits for the store");
                    tokio::time::sleep(pause).await;
                }
            }
        }
    }

    /// Does what there is to do, or waits until there may be something.
    async fn round(&mut self) -> Result<(), Halt> {
        if self.work().await? {
            return self.measure(MEASURE_EVERY).await;
        }
        self.tidy().await?;
        self.measure(Duration::ZERO).await?;
        // What comes after the watch ends it; what came before is found by one more look.
        let watch = self.watch().await?;
        if self.work().await? {
            return Ok(());
        }
        tokio::select! {
            () = watch => {}
            // A watch is a hint.
            () = tokio::time::sleep(self.poll) => {}
        }
        Ok(())
    }

    /// A few entries, and a few pieces of what they led to; whether there was any.
    async fn work(&mut self) -> Result<bool, Halt> {
        let applied = self.apply_some().await?;
        Ok(self.work_some().await? || applied)
    }

    async fn watch(&self) -> Result<Watch, StoreError> {
        let key = &changes::signal_key(self.held.shard)[..];
        self.metadata.read("watch changes", |tx| async move { tx.watch(key) }).await
    }

    async fn apply_some(&mut self) -> Result<bool, Halt> {
        let (shard, limit) = (self.held.shard, if self.entries_trouble.is_there() { 1 } else { ENTRIES });
        let read = |tx: Transaction| async move {
            let cursor = shards::cursor(&tx, shard, INDEXER).await?;
            changes::readable_after(&tx, shard, cursor, limit).await
        };
        let read: Vec<Read> = self.metadata.read("read changes", read).await?;
        let Some((first, _)) = read.first() else { return Ok(false) };
        let first = *first;
        let mut entries = Vec::with_capacity(read.len());
        for (position, change) in read {
            match change {
                Ok(change) => entries.push((position, change)),
                Err(error) if entries.is_empty() => {
                    return self.entry_failed(position, error).await.map(|()| true);
                }
                // The next round begins with it.
                Err(_) => break,
            }
        }
        match self.apply(&entries).await {
            Ok(applied) => {
                self.entries_trouble.over();
                self.counters.finished.fetch_add(applied as u64, Ordering::Relaxed);
                metrics::counter!("darkroom_indexer_entries_total", "outcome" => "applied")
                    .increment(applied as u64);
                Ok(true)
            }
            Err(Halt::Store(error)) if !is_the_stores(&error) => {
                self.entry_failed(first, error).await.map(|()| true)
            }
            Err(halt) => Err(halt),
        }
    }

    async fn apply(&self, entries: &[(Position, Change)]) -> Result<usize, Halt> {
        self.faults.pass(Point::IndexerChunk, 0);
        let indexing =
            &Indexing { held: self.held, limits: &self.limits, now: Timestamp::now(), history: self.history };
        let apply = |tx| async move { effects::apply(&tx, indexing, entries).await };
        Ok(self.metadata.transact("apply changes", apply).await??)
    }

    /// Of several entries that failed together each is tried alone, and which fails every time is passed by.
    async fn entry_failed(&mut self, position: Position, error: StoreError) -> Result<(), Halt> {
        let (shard, held) = (self.held.shard, self.held);
        if !self.entries_trouble.failed(position) {
            return Err(Halt::Store(error));
        }
        tracing::error!(
            shard,
            %position,
            %error,
            "an entry of the change log cannot be applied, and is passed by: what would have followed from it does not"
        );
        let pass_by = |tx| async move { effects::pass_by(&tx, held, position).await };
        self.metadata.transact("pass a change by", pass_by).await??;
        self.entries_trouble.over();
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        metrics::counter!("darkroom_indexer_entries_total", "outcome" => "passed_by").increment(1);
        Ok(())
    }

    async fn work_some(&mut self) -> Result<bool, Halt> {
        let (shard, after) = (self.held.shard, self.turn);
        let limit = if self.tasks_trouble.is_there() { 1 } else { TASKS };
        let list = |tx| async move { fanout::tasks(&tx, shard, after, limit).await };
        let tasks = &self.metadata.read("list feed tasks", list).await?[..];
        let Some(first) = tasks.first().copied() else {
            // The next round begins with the first again.
            return Ok(self.turn.take().is_some());
        };
        self.faults.pass(Point::IndexerChunk, 0);
        let (held, limits) = (self.held, &self.limits);
        let work = |tx| async move { fanout::work(&tx, held, tasks, limits).await };
        match self.metadata.transact("work on feed tasks", work).await {
            Ok(worked) => {
                let worked = worked?;
                self.tasks_trouble.over();
                self.turn = worked.last;
                metrics::counter!("darkroom_indexer_chunks_total").increment(worked.chunks as u64);
                metrics::counter!("darkroom_indexer_tasks_total", "outcome" => "done")
                    .increment(worked.done as u64);
                Ok(true)
            }
            Err(error) if !is_the_stores(&error) => self.task_failed(first, error).await.map(|()| true),
            Err(error) => Err(error.into()),
        }
    }

    async fn task_failed(&mut self, task: TaskKey, error: StoreError) -> Result<(), Halt> {
        let (shard, held) = (self.held.shard, self.held);
        if !self.tasks_trouble.failed(task) {
            return Err(Halt::Store(error));
        }
        tracing::error!(shard, ?task, %error, "work on feeds fails every time, and is dropped");
        let drop = |tx| async move { fanout::drop_task(&tx, held, task).await };
        self.metadata.transact("drop feed task", drop).await??;
        self.tasks_trouble.over();
        metrics::counter!("darkroom_indexer_tasks_total", "outcome" => "dropped").increment(1);
        Ok(())
    }

    /// Removes entries that are old and done with, and what no longer trends.
    async fn tidy(&mut self) -> Result<(), Halt> {
        if self.tidied.is_some_and(|at| at.elapsed() < TIDY_EVERY) {
            return Ok(());
        }
        let (held, half_life, now) = (self.held, self.limits.trending_half_life, Timestamp::now());
        let age = u64::try_from(self.changes_age_max.as_millis()).unwrap_or(u64::MAX);
        let before = Timestamp(now.0.saturating_sub(age));
        let trim = |tx| async move { shards::trim(&tx, held, before, TIDIED).await };
        let trimmed = self.metadata.transact("trim changes", trim).await??;
        let forget = |tx| async move { trending::forget(&tx, held, half_life, now, TIDIED).await };
        let forgotten = self.metadata.transact("forget trends", forget).await??;
        if trimmed < TIDIED && forgotten < TIDIED {
            self.tidied = Some(Instant::now());
        }
        Ok(())
    }

    /// Reads what is left to do, for whoever watches.
    async fn measure(&mut self, every: Duration) -> Result<(), Halt> {
        if self.measured.is_some_and(|at| at.elapsed() < every) {
            return Ok(());
        }
        let (held, shard) = (self.held, self.held.shard);
        let look = |tx: Transaction| async move {
            let cursor = shards::cursor(&tx, shard, INDEXER).await?;
            let first = changes::readable_after(&tx, shard, cursor, 1).await?;
            let entries = changes::count_after(&tx, shard, cursor, COUNTED_MAX).await?;
            let tasks = fanout::count(&tx, shard, COUNTED_MAX).await?;
            Ok((shards::check(&tx, held).await?, first, entries, tasks))
        };
        let (check, first, entries, tasks) = self.metadata.read("measure shard", look).await?;
        check?;
        let oldest = first.first().and_then(|(_, change)| change.as_ref().ok()).map(|change| change.at);
        let age = oldest.map_or(Duration::ZERO, |oldest| Timestamp::now().since(oldest));
        set_gauges(shard, entries, age, tasks);
        self.measured = Some(Instant::now());
        Ok(())
    }
}

fn set_gauges(shard: u8, entries: usize, age: Duration, tasks: usize) {
    let shard = shard.to_string();
    metrics::gauge!("darkroom_indexer_lag_entries", "shard" => shard.clone()).set(entries as f64);
    metrics::gauge!("darkroom_indexer_lag_seconds", "shard" => shard.clone()).set(age.as_secs_f64());
    metrics::gauge!("darkroom_indexer_tasks_open", "shard" => shard).set(tasks as f64);
}

/// The shard is another's, and so is what is left to do in it.
pub(super) fn forget_gauges(shard: u8) {
    set_gauges(shard, 0, Duration::ZERO, 0);
}
