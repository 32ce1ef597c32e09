//! The Janitor: deletes what nothing refers to. It alone deletes objects.
//!
//! Nothing is found by listing the object store. What may be an orphan is known from the metadata: intents
//! of dead epochs, keys that this process handed out in vain, blobs that lost a reference, tombstones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::blobs::{self, Checked};
use darkroom_store::model::objects::Tombstone;
use darkroom_store::model::{ContentHash, Epoch, Timestamp, healing, jobs, nodes, objects};
use darkroom_store::objects::{ObjectKey, ObjectStore};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use crate::PipelineOptions;
use crate::direct;
use crate::errand::Errand;
use crate::expiry;
use crate::heart::void_leases;
use crate::keys::{GivenUp, Keys};
use crate::line::StageCounters;
use crate::stages::{send, start};

/// Rows handled in one transaction.
const BATCH: usize = 200;
/// Photos corrected in one transaction: each has a record of up to 100 kB.
const FOLLOWERS: usize = 20;
/// Objects deleted in one call.
const DELETE_BATCH: usize = 64;
/// Objects in a row that the store refuses to delete, or does not answer for, until a sweep gives up: each may take as
/// long as the store's deadline.
const REFUSED_MAX: u32 = 8;

/// Longest that a process which ends takes to say which of its objects are nobody's.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What one sweep did, and what is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JanitorReport {
    /// Keys whose intent was void: of dead processes, or handed out in vain.
    pub intents_voided: usize,
    /// Jobs that dead processes still held.
    #[serde(default)]
    pub leases_voided: usize,
    /// Letters of jobs that were given up, thrown away because they were too old or too many.
    #[serde(default)]
    pub dead_jobs_trimmed: usize,
    /// What ended by time.
    #[serde(default)]
    pub expired: usize,
    /// Blobs that no photo refers to any more.
    pub blobs_collected: usize,
    /// Objects deleted. On S3, which does not tell whether there was one, without those that may never have been put
    /// whole, and each once, although it is deleted a second time before its tombstone goes.
    pub objects_deleted: usize,
    /// Temporary files removed that dead nodes left in a folder of objects that nodes share.
    #[serde(default)]
    pub unfinished_removed: usize,
    /// Intents that stand: keys reserved by live processes.
    pub intents_standing: usize,
    /// Objects still to be deleted, or to be deleted once more. After a sweep without errors: those of which a put, or
    /// an attempt of one that was given up, may still be on its way, which never are any on a filesystem; and those that
    /// the store refuses to delete, which the log names.
    pub tombstones_left: usize,
}

/// Which letters of jobs that were given up are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LettersKept {
    /// Up to this age.
    pub age_max: Duration,
    /// The newest so many.
    pub count_max: u64,
}

impl LettersKept {
    /// As the options of a pipeline say.
    pub fn by(options: &PipelineOptions) -> Self {
        Self { age_max: options.dead_jobs_age_max, count_max: options.dead_jobs_max }
    }
}

/// What a sweep works on.
#[derive(Clone)]
pub struct Sweep {
    /// Records.
    pub metadata: Metadata,
    /// Bytes.
    pub objects: ObjectStore,
    /// This process's epoch.
    pub epoch: Epoch,
    /// Letters that are not thrown away.
    pub letters: LettersKept,
    /// This process's keys; none for a command that runs without a pipeline.
    pub(crate) keys: Option<Keys>,
    /// See [`ObjectStore::late_put_max`].
    pub(crate) late_put_max: Duration,
}

/// Objects that are to be deleted now.
#[derive(Clone, Copy)]
struct Due<'a> {
    keys: &'a [ObjectKey],
    /// See [`Tombstone::is_fresh`].
    fresh: bool,
    now: Timestamp,
}

impl Sweep {
    /// A sweep without a pipeline beside it.
    pub fn new(metadata: Metadata, objects: ObjectStore, epoch: Epoch) -> Self {
        let letters = LettersKept::by(&PipelineOptions::default());
        let late_put_max = objects.late_put_max();
        Self { metadata, objects, epoch, letters, keys: None, late_put_max }
    }

    /// The same, keeping these letters.
    #[must_use]
    pub fn keeping(self, letters: LettersKept) -> Self {
        Self { letters, ..self }
    }

    /// Deletes everything that nothing refers to.
    ///
    /// # Errors
    /// Those of the engine and of the object store. What was begun goes on with the next sweep.
    pub async fn run(&self) -> Result<JanitorReport, StoreError> {
        self.run_at(Timestamp::now()).await
    }

    pub(crate) async fn run_at(&self, now: Timestamp) -> Result<JanitorReport, StoreError> {
        let mut report = JanitorReport::default();
        let late = now.after(self.late_put_max);
        self.bury_abandoned(late, &mut report).await?;
        self.bury_dead_epochs(now, &mut report).await?;
        self.check_blobs(&mut report).await?;
        self.trim_letters(&mut report).await?;
        report.expired = expiry::run(&self.metadata, now).await?;
        report.expired += direct::sweep(&self.metadata, &self.objects, now).await?;
        // Before the tombstones: a file that a dead node still gave its name to after its key's tombstone was cleared
        // would stay for ever.
        self.remove_unfinished(&mut report).await?;
        self.delete_buried(now, &mut report).await?;
        (report.intents_standing, report.tombstones_left) = self
            .metadata
            .read("count what is left", |tx| async move { objects::outstanding(&tx, 10_000).await })
            .await?;
        Ok(report)
    }

    async fn bury_abandoned(&self, late: Timestamp, report: &mut JanitorReport) -> Result<(), StoreError> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let GivenUp { mut abandoned, mut disowned } = keys.take_given_up();
        while !(abandoned.is_empty() && disowned.is_empty()) {
            let later = |keys: &mut Vec<ObjectKey>| keys.split_off(keys.len().min(BATCH));
            let rest = GivenUp { abandoned: later(&mut abandoned), disowned: later(&mut disowned) };
            let (epoch, ours, nobodys) = (self.epoch, &abandoned, &disowned);
            let buried = self
                .metadata
                .transact("bury what was given up", |tx| async move {
                    objects::disown(&tx, epoch, nobodys, late)?;
                    objects::abandon(&tx, epoch, ours, late).await
                })
                .await;
            match buried {
                Ok(buried) => report.intents_voided += buried + disowned.len(),
                Err(error) => {
                    keys.keep_given_up(GivenUp { abandoned, disowned });
                    keys.keep_given_up(rest);
                    return Err(error);
                }
            }
            GivenUp { abandoned, disowned } = rest;
        }
        Ok(())
    }

    /// Buries what this process has given up, before it ends: of keys whose intents others have swept it alone knows
    /// that something may be stored under them. Does what it can in a short time.
    pub(crate) async fn bury_the_last(&self) {
        let late = Timestamp::now().after(self.late_put_max);
        let mut report = JanitorReport::default();
        let why = match tokio::time::timeout(LAST_WORDS, self.bury_abandoned(late, &mut report)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the metadata did not answer within {LAST_WORDS:?}"),
        };
        tracing::warn!(
            why,
            "objects that this process put in vain could not be noted as such: those whose place was swept by another \
             node stay in the object store, and nothing refers to them"
        );
    }

    async fn abandon(&self, epoch: Epoch, keys: &[ObjectKey], late: Timestamp) -> Result<usize, StoreError> {
        self.metadata
            .transact("void intents", |tx| async move { objects::abandon(&tx, epoch, keys, late).await })
            .await
    }

    /// Of dead epochs only: what another node that lives has intended is about to be written.
    async fn bury_dead_epochs(&self, now: Timestamp, report: &mut JanitorReport) -> Result<(), StoreError> {
        let late = now.after(self.late_put_max);
        let dead =
            self.metadata.read("list dead epochs", |tx| async move { nodes::dead(&tx, now).await }).await?;
        for (epoch, may_be_swept) in dead {
            // Whoever declared it dead has done so already, unless it died meanwhile. Jobs of photos that it took in
            // before it noticed are among them.
            report.leases_voided += void_leases(&self.metadata, epoch).await?;
            if may_be_swept {
                self.bury_epoch(epoch, late, report).await?;
            }
        }
        Ok(())
    }

    async fn bury_epoch(
        &self,
        epoch: Epoch,
        late: Timestamp,
        report: &mut JanitorReport,
    ) -> Result<(), StoreError> {
        loop {
            let keys = self
                .metadata
                .read("list intents", |tx| async move { objects::intents_of(&tx, epoch, BATCH).await })
                .await?;
            if keys.is_empty() {
                return self
                    .metadata
                    .transact("forget epoch", |tx| async move { nodes::forget(&tx, epoch) })
                    .await;
            }
            report.intents_voided += self.abandon(epoch, &keys, late).await?;
        }
    }

    async fn trim_letters(&self, report: &mut JanitorReport) -> Result<(), StoreError> {
        let age = u64::try_from(self.letters.age_max.as_millis()).unwrap_or(u64::MAX);
        let (before, keep) = (Timestamp(Timestamp::now().0.saturating_sub(age)), self.letters.count_max);
        loop {
            let trimmed =
                self.metadata
                    .transact("trim dead jobs", |tx| async move {
                        jobs::trim_dead(&tx, before, keep, BATCH).await
                    })
                    .await?;
            if trimmed == 0 {
                return Ok(());
            }
            report.dead_jobs_trimmed += trimmed;
        }
    }

    /// Goes once through the blobs that are to be checked. One whose records are damaged stays, and holds up no other.
    async fn check_blobs(&self, report: &mut JanitorReport) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let from = after.as_ref();
            let list = |tx| async move { blobs::to_check(&tx, from, BATCH).await };
            let hashes = self.metadata.read("list blobs to check", list).await?;
            let Some(last) = hashes.last() else { return Ok(()) };
            after = Some(*last);
            for hash in &hashes {
                match self.check_blob(hash).await {
                    Ok(Checked::Buried) => report.blobs_collected += 1,
                    Ok(_) => {}
                    Err(error @ StoreError::Corrupt { .. }) => {
                        tracing::error!(blob = %hash, %error, "a blob cannot be checked; it stays as it is");
                    }
                    Err(error) => return Err(error),
                }
            }
        }
    }

    async fn check_blob(&self, hash: &ContentHash) -> Result<Checked, StoreError> {
        loop {
            let check = |tx| async move { blobs::collect(&tx, hash).await };
            match self.metadata.transact("check blob", check).await? {
                Checked::Replaced(object) => self.replace(hash, &object).await?,
                checked => return Ok(checked),
            }
        }
    }

    /// Has the photos of a blob follow it to the object that took the place of a lost one, and buries that.
    async fn replace(&self, hash: &ContentHash, object: &ObjectKey) -> Result<(), StoreError> {
        let mut after = None;
        loop {
            let follow = |tx| async move { healing::follow(&tx, hash, after, FOLLOWERS).await };
            after = self.metadata.transact("follow blob", follow).await?;
            if after.is_none() {
                break;
            }
        }
        let bury = |tx| async move { healing::bury_former(&tx, hash, object).await };
        self.metadata.transact("bury former object", bury).await
    }

    /// Goes through the tombstones once. One that is not due, or whose object cannot be deleted, stays, and does not
    /// hold up those behind it, unless the store is away or refuses many in a row.
    async fn delete_buried(&self, now: Timestamp, report: &mut JanitorReport) -> Result<(), StoreError> {
        let (mut after, mut refused) = (None, 0);
        loop {
            let from: Option<&ObjectKey> = after.as_ref();
            let list = |tx| async move { objects::tombstones(&tx, from, BATCH).await };
            let found = self.metadata.read("list tombstones", list).await?;
            let Some(last) = found.last() else { return Ok(()) };
            after = Some(last.key.clone());
            let due = found.into_iter().filter(|tombstone| tombstone.due <= now);
            let (fresh, late): (Vec<_>, Vec<_>) = due.partition(Tombstone::is_fresh);
            for (tombstones, fresh) in [(fresh, true), (late, false)] {
                let keys: Vec<_> = tombstones.into_iter().map(|tombstone| tombstone.key).collect();
                for keys in keys.chunks(DELETE_BATCH) {
                    self.delete(&Due { keys, fresh, now }, &mut refused, report).await?;
                }
            }
        }
    }

    async fn delete(
        &self,
        due: &Due<'_>,
        refused: &mut u32,
        report: &mut JanitorReport,
    ) -> Result<(), StoreError> {
        match self.objects.delete(due.keys).await {
            Ok(existed) => {
                *refused = 0;
                self.deleted(due, existed, report).await
            }
            Err(error @ StoreError::Unavailable { .. }) if self.objects.available().is_err() => {
                Err(error) // Those behind it would fare no better.
            }
            Err(_) => self.delete_one_by_one(due, refused, report).await,
        }
    }

    /// One of these cannot be deleted, and no other waits for it. `refused` counts those in a row that the store would
    /// not delete: it may say so of all.
    async fn delete_one_by_one(
        &self,
        due: &Due<'_>,
        refused: &mut u32,
        report: &mut JanitorReport,
    ) -> Result<(), StoreError> {
        for key in due.keys {
            let one = Due { keys: std::slice::from_ref(key), ..*due };
            match self.objects.delete(one.keys).await {
                Ok(existed) => {
                    *refused = 0;
                    self.deleted(&one, existed, report).await?;
                }
                Err(error) => {
                    tracing::error!(object = %key, %error, "an object cannot be deleted; its tombstone stays");
                    *refused += u32::from(matches!(error, StoreError::Unavailable { .. }));
                    if *refused >= REFUSED_MAX || self.objects.available().is_err() {
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }

    /// Counts what is deleted, and clears its tombstones. Where a put may be late, an attempt that was given up before
    /// another succeeded would bring the object back for ever: there the tombstones of what was put whole stay until
    /// none is on its way any more.
    async fn deleted(
        &self,
        due: &Due<'_>,
        existed: usize,
        report: &mut JanitorReport,
    ) -> Result<(), StoreError> {
        let (keys, is_late) = (due.keys, !self.late_put_max.is_zero());
        // Such a store does not tell whether there was anything of what was given up, or deleted before.
        if due.fresh || !is_late {
            report.objects_deleted += existed;
            metrics::counter!("darkroom_objects_deleted_total").increment(existed as u64);
        }
        if due.fresh && is_late {
            // The sweep may have begun before the object was put.
            let late = due.now.max(Timestamp::now()).after(self.late_put_max);
            let keep = |tx| async move { objects::keep_buried(&tx, keys, late) };
            return self.metadata.transact("keep tombstones", keep).await;
        }
        self.metadata.transact("clear tombstones", |tx| async move { objects::unbury(&tx, keys) }).await
    }

    /// Removes what dead nodes were writing, once their intents may be swept, too.
    async fn remove_unfinished(&self, report: &mut JanitorReport) -> Result<(), StoreError> {
        let mut leftovers = self.objects.leftovers().await?;
        if leftovers.is_empty() {
            return Ok(());
        }
        // Read after they were listed: whose file was there has a record here, unless it is forgotten.
        let nodes = self.metadata.read("list nodes", |tx| async move { nodes::all(&tx).await }).await?;
        let (nodes, now) = (nodes.into_iter().collect::<BTreeMap<_, _>>(), Timestamp::now());
        let is_over =
            |epoch| nodes.get(&epoch).is_none_or(|node| node.dead.is_some() && node.sweep_from <= now);
        leftovers.retain(|left| left.epoch().is_none_or(is_over));
        report.unfinished_removed = self.objects.remove_leftovers(leftovers).await?;
        Ok(())
    }
}

/// The error as text, since several may have asked for one sweep.
pub(crate) type SweepReply = RpcReplyPort<Result<JanitorReport, String>>;

pub(crate) enum JanitorMessage {
    /// There may be something to sweep.
    Sweep,
    /// Sweep, and say what was done.
    SweepNow(SweepReply),
    /// A sweep has ended.
    Ended,
}

pub(crate) struct Janitor;

pub(crate) struct JanitorArguments {
    pub(crate) sweep: Sweep,
    /// Told when something was deleted.
    pub(crate) nudge: Arc<Notify>,
    pub(crate) counters: Arc<StageCounters>,
    pub(crate) idle_poll: Duration,
}

pub(crate) struct JanitorState {
    sweep: Sweep,
    counters: Arc<StageCounters>,
    errand: Errand,
    asked: Vec<SweepReply>,
    _timer: tokio::task::JoinSet<()>,
}

/// How many idle polls lie between two sweeps that nobody asked for.
const POLLS_PER_SWEEP: u32 = 10;

impl Actor for Janitor {
    type Msg = JanitorMessage;
    type State = JanitorState;
    type Arguments = JanitorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut timer = tokio::task::JoinSet::new();
        let (every, nudge) = (arguments.idle_poll * POLLS_PER_SWEEP, arguments.nudge);
        timer.spawn(async move {
            let mut poll = tokio::time::interval(every);
            loop {
                tokio::select! {
                    _ = poll.tick() => {}
                    () = nudge.notified() => {}
                }
                send(&myself, JanitorMessage::Sweep);
            }
        });
        Ok(JanitorState {
            sweep: arguments.sweep,
            counters: arguments.counters,
            errand: Errand::default(),
            asked: Vec::new(),
            _timer: timer,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            JanitorMessage::Sweep => state.errand.want(),
            JanitorMessage::SweepNow(reply) => {
                state.asked.push(reply);
                state.errand.want();
            }
            JanitorMessage::Ended => state.errand.ended(),
        }
        if !state.errand.begins() {
            return Ok(());
        }
        let (mut sweep, asked) = (state.sweep.clone(), std::mem::take(&mut state.asked));
        if asked.is_empty() {
            sweep.metadata = sweep.metadata.in_background();
        }
        let counters = state.counters.clone();
        counters.in_flight.store(1, Ordering::Relaxed);
        let work = async move {
            let result = sweep.run().await.map_err(|error| error.to_string());
            counters.in_flight.store(0, Ordering::Relaxed);
            let counter = if result.is_ok() { &counters.finished } else { &counters.failed };
            counter.fetch_add(1, Ordering::Relaxed);
            if let Err(error) = &result {
                tracing::warn!(error, "the sweep stopped; the next one goes on");
            }
            for reply in asked {
                // Who asked may have gone away.
                let _ = reply.send(result.clone());
            }
        };
        start(&myself, work, |(), _| JanitorMessage::Ended);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
