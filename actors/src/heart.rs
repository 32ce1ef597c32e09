//! The heartbeat: what says that this node lives, keeps its leases, and finds out that others have died.
//!
//! On an engine that one process has to itself only leases are extended. On a shared one each beat renews the node's own
//! record. That waits for nothing: leases are extended, and others looked after, beside it. One that this node has seen
//! unchanged for too long, by its own clock that only goes forward, is declared dead: its leases are void at once, and the
//! Janitor sweeps its intents a while later, in case it lives all the same and still puts objects. What the others' clocks
//! say makes no difference.
//!
//! A node whose record could not be renewed for so long that others may take it for dead stores nothing until it is.
//!
//! A node that was declared dead although it lives (it stood still, or could not reach the store) notices at its next
//! renewal or claim. Nothing that it still has in hand can be published any more, and beginning a new epoch inside a
//! running process would leave the old one's keys in every corner of it: so it takes nothing up any more, and the
//! process ends with an error, to be started again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use darkroom_store::StoreError;
use darkroom_store::life::Nodes;
use darkroom_store::metadata::{Metadata, Transaction};
use darkroom_store::model::nodes::{self, Node};
use darkroom_store::model::{Epoch, JobId, LeaseId, Timestamp, jobs};
use futures_util::future::try_join_all;
use tokio::sync::{Notify, watch};

use crate::stages::House;

/// Leases made void in one transaction: those of a dead node, which nobody writes any more.
const BATCH: usize = 200;
/// Leases extended in one transaction. Few: the stages write the same records, and one such write has the whole
/// transaction run again.
const EXTENDED_TOGETHER: usize = 10;
/// A lease is extended once it has been held for one part of its time in so many.
const EXTENDED_AFTER: u32 = 3;
/// How often in a lease's time it is looked whether it is to be extended: a look at memory alone.
const LOOKS: u32 = 12;

/// What this node knows of its own life. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fate(Arc<Life>);

#[derive(Debug)]
struct Life {
    /// Whether it was declared dead.
    dead: watch::Sender<bool>,
    /// None where nobody else could take it for dead.
    sign: Option<Sign>,
}

/// The last sign of life that others could see.
#[derive(Debug)]
struct Sign {
    given: Mutex<Instant>,
    /// After such a silence others may take it for dead.
    timeout: Duration,
}

impl Default for Life {
    fn default() -> Self {
        Self { dead: watch::Sender::new(false), sign: None }
    }
}

impl Fate {
    /// Of a node that has just begun its epoch.
    pub(crate) fn of(nodes: Nodes, timeout: Duration) -> Self {
        let sign = match nodes {
            Nodes::Alone => None,
            Nodes::Many => Some(Sign { given: Mutex::new(Instant::now()), timeout }),
        };
        Self(Arc::new(Life { sign, ..Life::default() }))
    }

    /// Resolves once it was declared dead.
    pub(crate) async fn sealed(&self) {
        // The sender is ours: it is not closed while we wait.
        let _ = self.0.dead.subscribe().wait_for(|dead| *dead).await;
    }

    fn is_sealed(&self) -> bool {
        *self.0.dead.borrow()
    }

    /// Its record was renewed, not before `time`.
    pub(crate) fn gave_sign(&self, time: Instant) {
        if let Some(sign) = &self.0.sign {
            *sign.given.lock().unwrap_or_else(PoisonError::into_inner) = time;
        }
    }

    /// Whether others have seen a sign of life lately. Else they may have declared this node dead without its knowing, and
    /// will sweep what it meant to write: an object that it puts after that would be nobody's.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`], until its record is renewed.
    pub(crate) fn in_touch(&self) -> Result<(), StoreError> {
        let Some(sign) = &self.0.sign else { return Ok(()) };
        let silence = sign.given.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        if silence <= sign.timeout {
            return Ok(());
        }
        Err(StoreError::Unavailable {
            reason: format!(
                "this node has not renewed its record in the metadata for {} s, so that others may take it for dead; it \
                 stores nothing until it has",
                silence.as_secs()
            ),
        })
    }
}

/// This node was declared dead: it takes nothing up any more, and lets go of what it holds.
pub(crate) fn declared_dead(house: &House) {
    if house.fate.is_sealed() {
        return;
    }
    tracing::error!(
        epoch = %house.epoch,
        "this node was declared dead by another, because it gave no sign of life for longer than nodes.timeout and \
         nodes.clock_skew_max together: it stood still, or could not reach the metadata"
    );
    house.admission.close();
    for (job, lease) in house.held.all() {
        house.held.lost(job, lease);
    }
    house.fate.0.dead.send_replace(true);
}

/// What one beat, and one look at the others, remembers for the next.
#[derive(Debug, Default)]
pub(crate) struct Heart {
    last_renewal: Option<Instant>,
    /// What was seen of nodes that live, for as long as this node is in touch with the metadata.
    seen: HashMap<Epoch, Seen>,
}

/// A node's record as it was at the last look.
#[derive(Clone, Copy, Debug)]
struct Seen {
    alive_until: Timestamp,
    /// When it was first seen so, by this process's clock.
    since: Instant,
}

impl Heart {
    /// After a silence of its own this node judges nobody by what it saw before: the metadata may have been away from
    /// everybody, or every node may have stood still, and the first to come back must not declare the others dead.
    fn renewed(&mut self, now: Instant, timeout: Duration) {
        let in_time = self.last_renewal.is_some_and(|last| now.duration_since(last) < timeout);
        if !in_time {
            self.seen.clear();
        }
        self.last_renewal = Some(now);
    }

    fn out_of_touch(&mut self) {
        *self = Self::default();
    }

    /// Takes in a look at all nodes' records, and tells which have been the same for so long that their nodes are dead:
    /// longer than `timeout` and `margin`, each with what it says. One that is seen for the first time starts its time
    /// then. A record was read at some time from `began` to `ended`; what is not known is taken in its node's favour.
    fn overdue(
        &mut self,
        nodes: &[(Epoch, Node)],
        (began, ended): (Instant, Instant),
        (timeout, margin): (Duration, Duration),
    ) -> Vec<(Epoch, Timestamp)> {
        let mut seen = HashMap::with_capacity(nodes.len());
        let mut overdue = Vec::new();
        for (epoch, node) in nodes.iter().filter(|(_, node)| node.dead.is_none()) {
            let before = self.seen.get(epoch).filter(|before| before.alive_until == node.alive_until);
            let now = before.copied().unwrap_or(Seen { alive_until: node.alive_until, since: ended });
            if began.saturating_duration_since(now.since) > node.silence_max(timeout) + margin {
                overdue.push((*epoch, node.alive_until));
            }
            seen.insert(*epoch, now);
        }
        self.seen = seen;
        overdue
    }
}

/// How often the heart beats.
pub(crate) fn interval(house: &House) -> Duration {
    let lease = house.options.lease_duration;
    let shortest = if house.nodes == Nodes::Many { lease.min(house.options.node_timeout) } else { lease };
    shortest / 3
}

/// How often it is looked which leases are to be extended.
pub(crate) fn extension_interval(house: &House) -> Duration {
    house.options.lease_duration / LOOKS
}

fn lock(heart: &Mutex<Heart>) -> MutexGuard<'_, Heart> {
    heart.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One beat: renews this node's record, where others look at it.
pub(crate) async fn beat(house: &House, heart: &Mutex<Heart>) {
    if house.nodes == Nodes::Alone {
        return;
    }
    let (epoch, timeout) = (house.epoch, house.options.node_timeout);
    let (began, until) = (Instant::now(), Timestamp::now().after(timeout));
    let renewed = house
        .metadata
        .transact("renew node", |tx| async move { nodes::renew(&tx, epoch, until).await })
        .await;
    match renewed {
        Ok(true) => {
            house.fate.gave_sign(began);
            lock(heart).renewed(Instant::now(), timeout);
        }
        Ok(false) => declared_dead(house),
        Err(error) => {
            lock(heart).out_of_touch();
            tracing::warn!(%error, "could not renew this node's record; trying again");
        }
    }
}

/// Extends the leases that this process has held for a part of their time, the longest held first.
pub(crate) async fn extend_leases(house: &House) {
    let age = house.options.lease_duration / EXTENDED_AFTER;
    let Some(since) = Instant::now().checked_sub(age) else { return };
    let old = house.held.not_extended_since(since);
    let extended = in_batches(&old, EXTENDED_TOGETHER, |batch| extend(house, batch)).await;
    if let Err(error) = extended {
        tracing::warn!(%error, "could not extend leases; trying again");
    }
}

/// Does `work` with a few of `all` at a time, and after a failure with one at a time, so that one that fails holds up no
/// other.
async fn in_batches<'a, T: std::fmt::Debug, F>(
    all: &'a [T],
    mut together: usize,
    work: impl Fn(&'a [T]) -> F,
) -> Result<(), StoreError>
where
    F: Future<Output = Result<(), StoreError>>,
{
    let mut left = all;
    while !left.is_empty() {
        let (batch, rest) = left.split_at(together.min(left.len()));
        match work(batch).await {
            Ok(()) => left = rest,
            // The others would fare no better.
            Err(error @ StoreError::Unavailable { .. }) => return Err(error),
            Err(_) if batch.len() > 1 => together = 1,
            Err(error) => {
                tracing::warn!(lease = ?batch, %error, "could not extend a lease; trying again");
                left = rest;
            }
        }
    }
    Ok(())
}

async fn extend(house: &House, batch: &[(JobId, LeaseId)]) -> Result<(), StoreError> {
    let began = Instant::now();
    let until = Timestamp::now().after(house.options.lease_duration);
    let extend = |tx: Transaction| async move {
        let tx = &tx;
        let each = |(job, lease): &(JobId, LeaseId)| {
            let (job, lease) = (*job, *lease);
            async move {
                match jobs::extend(tx, job, lease, until).await {
                    // One record that cannot be read must not hold up the others.
                    Err(error @ StoreError::Corrupt { .. }) => Ok(Err(error)),
                    other => other.map(Ok),
                }
            }
        };
        let each: Vec<_> = batch.iter().map(each).collect();
        try_join_all(each).await
    };
    let extended = house.metadata.transact("extend leases", extend).await?;
    for ((job, lease), extended) in batch.iter().zip(extended) {
        match extended {
            Ok(true) => {}
            // Settled since the list was made, or taken by another process.
            Ok(false) => house.held.lost(*job, *lease),
            Err(error) => tracing::error!(%job, %error, "a job's record cannot be read; its lease runs out"),
        }
        house.held.extended(*job, *lease, began);
    }
    Ok(())
}

/// Looks after the other nodes, where there are any.
pub(crate) async fn look_around(house: &House, heart: &Mutex<Heart>, nudge_janitor: &Notify) {
    if house.nodes == Nodes::Many
        && let Err(error) = judge_others(house, heart, nudge_janitor).await
    {
        tracing::warn!(%error, "could not look after other nodes; trying again");
    }
}

/// Declares nodes dead that have given no sign of life for too long, and makes the jobs that they held due.
async fn judge_others(house: &House, heart: &Mutex<Heart>, nudge_janitor: &Notify) -> Result<(), StoreError> {
    let began = Instant::now();
    let mut others = house.metadata.read("look at nodes", |tx| async move { nodes::all(&tx).await }).await?;
    others.retain(|(epoch, _)| *epoch != house.epoch);
    let patience = (house.options.node_timeout, house.options.clock_skew_max);
    let overdue = lock(heart).overdue(&others, (began, Instant::now()), patience);
    for (epoch, seen) in overdue {
        let now = Timestamp::now();
        let sweep_from = now.after(house.options.dead_node_sweep_delay);
        let dead = house
            .metadata
            .transact("declare node dead", |tx| async move {
                nodes::declare_dead(&tx, epoch, seen, now, sweep_from).await
            })
            .await?;
        if dead {
            metrics::counter!("darkroom_nodes_declared_dead_total").increment(1);
            tracing::warn!(%epoch, judge = %house.epoch, "a node gave no sign of life and was declared dead");
            let jobs = void_leases(&house.metadata, epoch).await?;
            tracing::info!(%epoch, jobs, "the jobs that a dead node held are due again");
            house.backlog.added();
            nudge_janitor.notify_one();
        }
    }
    Ok(())
}

/// Makes every job due that a dead epoch held; how many.
///
/// # Errors
/// Those of the engine.
pub(crate) async fn void_leases(metadata: &Metadata, epoch: Epoch) -> Result<usize, StoreError> {
    let (now, mut voided) = (Timestamp::now(), 0);
    loop {
        let count = metadata
            .transact("void leases of a dead node", |tx| async move {
                jobs::void_leases_of(&tx, epoch, now, BATCH).await
            })
            .await?;
        if count == 0 {
            return Ok(voided);
        }
        voided += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const PATIENCE: (Duration, Duration) = (Duration::from_secs(3), SECOND);

    /// A node whose record says this, and that has renewed it.
    fn node(alive_until: u64) -> (Epoch, Node) {
        let nobody = "00000000-0000-0000-0000-000000000000";
        let record = serde_json::json!({ "started": 7, "process": nobody, "alive_until": alive_until });
        (Epoch(2), serde_json::from_value(record).unwrap())
    }

    #[test]
    fn a_node_is_overdue_when_its_record_stays_the_same_whatever_time_it_says() {
        // An hour behind everybody, an hour ahead.
        let now = Timestamp::now().0;
        for says in [now - 3_600_000, now + 3_600_000] {
            let (mut heart, start) = (Heart::default(), Instant::now());
            let mut look = |at: u32, alive_until| {
                heart.renewed(start + at * SECOND, PATIENCE.0);
                heart.overdue(&[node(alive_until)], (start + at * SECOND, start + at * SECOND), PATIENCE)
            };
            for at in 0..9 {
                assert!(look(at, says + u64::from(at)).is_empty(), "it is renewed");
            }
            for at in 9..13 {
                assert!(look(at, says + 8).is_empty(), "{at}");
            }
            assert_eq!(look(13, says + 8), [(Epoch(2), Timestamp(says + 8))]);
            assert!(look(14, says + 14).is_empty(), "it has come back");
        }
    }

    #[test]
    fn a_node_judges_nobody_by_what_it_saw_before_it_was_out_of_touch() {
        let start = Instant::now();
        let mut heart = Heart::default();
        let look = |heart: &mut Heart, at: u32| {
            !heart.overdue(&[node(1)], (start + at * SECOND, start + at * SECOND), PATIENCE).is_empty()
        };
        for at in 0..5 {
            heart.renewed(start + at * SECOND, PATIENCE.0);
            assert!(!look(&mut heart, at), "{at}");
        }
        heart.renewed(start + 9 * SECOND, PATIENCE.0);
        assert!(!look(&mut heart, 9), "it stood still itself");
        for at in 10..14 {
            heart.renewed(start + at * SECOND, PATIENCE.0);
            assert!(!look(&mut heart, at), "{at}");
        }
        heart.out_of_touch();
        heart.renewed(start + 14 * SECOND, PATIENCE.0);
        assert!(!look(&mut heart, 14), "the store was away");
        for at in 15..20 {
            heart.renewed(start + at * SECOND, PATIENCE.0);
            assert_eq!(look(&mut heart, at), at == 19, "{at}");
        }
    }

    #[test]
    fn a_node_that_starts_has_more_time_and_a_slow_look_counts_in_a_nodes_favour() {
        let start = Instant::now();
        let mut heart = Heart::default();
        let (epoch, mut fresh) = node(0);
        fresh.alive_until = fresh.started.after(60 * SECOND); // As `begin_epoch` writes it.
        let fresh = [(epoch, fresh)];
        assert!(heart.overdue(&fresh, (start, start), PATIENCE).is_empty());
        let at = start + 61 * SECOND;
        assert!(heart.overdue(&fresh, (at, at), PATIENCE).is_empty());
        assert_eq!(heart.overdue(&fresh, (at + SECOND, at + SECOND), PATIENCE).len(), 1);

        let mut heart = Heart::default();
        assert!(heart.overdue(&[node(1)], (start, start + 5 * SECOND), PATIENCE).is_empty());
        let slow = (start + 9 * SECOND, start + 20 * SECOND);
        assert!(heart.overdue(&[node(1)], slow, PATIENCE).is_empty(), "it may have been read at once");
    }

    #[tokio::test]
    async fn a_lease_that_cannot_be_extended_holds_up_no_other() {
        let (all, done) = ((0..25).collect::<Vec<_>>(), &Mutex::new(Vec::new()));
        let extend = |batch: &'_ [i32]| {
            let batch = batch.to_vec();
            async move {
                if batch.contains(&13) {
                    return Err(StoreError::Contended { name: "extend leases", attempts: 7 });
                }
                done.lock().unwrap().push(batch);
                Ok(())
            }
        };
        in_batches(&all, 10, extend).await.unwrap();
        let done = done.lock().unwrap();
        assert_eq!(done[0], all[..10]);
        let alone = [10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24];
        assert_eq!(done[1..].concat(), alone);
        assert!(done[1..].iter().all(|batch| batch.len() == 1));
    }
}
