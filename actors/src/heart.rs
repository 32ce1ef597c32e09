//! The heartbeat: what says that this node lives, keeps its leases, and finds out that others have died.
//!
//! On an engine that one process has to itself only leases are extended. On a shared one each beat also renews the
//! node's own record, and looks for nodes whose time has passed by the margin for clocks that disagree. Such a node is
//! declared dead: its leases are void at once, and the Janitor sweeps its intents a while later, in case it lives all
//! the same and still puts objects.
//!
//! A node that was declared dead although it lives (it stood still, or could not reach the store) notices at its next
//! renewal or claim. Nothing that it still has in hand can be published any more, and beginning a new epoch inside a
//! running process would leave the old one's keys in every corner of it: so it takes nothing up any more, and the
//! process ends with an error, to be started again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use darkroom_store::StoreError;
use darkroom_store::life::Nodes;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::{Epoch, Timestamp, jobs, nodes};
use tokio::sync::{Notify, watch};

use crate::faults::Point;
use crate::stages::House;

/// Leases extended, or made void, in one transaction.
const BATCH: usize = 200;

/// Whether this node was declared dead. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Fate(Arc<watch::Sender<bool>>);

impl Default for Fate {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }
}

impl Fate {
    /// Resolves once it was.
    pub(crate) async fn sealed(&self) {
        // The sender is ours: it is not closed while we wait.
        let _ = self.0.subscribe().wait_for(|dead| *dead).await;
    }

    fn is_sealed(&self) -> bool {
        *self.0.borrow()
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
         nodes.clock_skew_max: it stood still, could not reach the metadata, or its clock is wrong"
    );
    house.admission.close();
    for (job, lease) in house.held.all() {
        house.held.lost(job, lease);
    }
    house.fate.0.send_replace(true);
}

/// What one beat remembers for the next.
#[derive(Debug, Default)]
pub(crate) struct Heart {
    /// Since when every renewal has succeeded in time.
    in_touch_since: Option<Instant>,
    last_renewal: Option<Instant>,
}

impl Heart {
    fn renewed(&mut self, now: Instant, timeout: Duration) {
        let in_time = self.last_renewal.is_some_and(|last| now.duration_since(last) < timeout);
        if !in_time {
            self.in_touch_since = Some(now);
        }
        self.last_renewal = Some(now);
    }

    fn out_of_touch(&mut self) {
        *self = Self::default();
    }

    /// Whether this node may judge others: not before it has been in touch for as long as a dead one is out of it.
    /// After the metadata was away from everybody, everybody is overdue, and the first to come back must not declare
    /// the others dead.
    fn may_judge(&self, now: Instant, patience: Duration) -> bool {
        self.in_touch_since.is_some_and(|since| now.duration_since(since) > patience)
    }
}

/// How often the heart beats.
pub(crate) fn interval(house: &House) -> Duration {
    let lease = house.options.lease_duration;
    let shortest = if house.nodes == Nodes::Many { lease.min(house.options.node_timeout) } else { lease };
    shortest / 3
}

/// One beat.
pub(crate) async fn beat(house: &House, heart: &mut Heart, nudge_janitor: &Notify) {
    if house.faults.skips(Point::Heartbeat) {
        return;
    }
    if house.nodes == Nodes::Many && !renew(house, heart).await {
        return declared_dead(house);
    }
    extend_leases(house).await;
    if house.nodes == Nodes::Many
        && let Err(error) = judge_others(house, heart, nudge_janitor).await
    {
        tracing::warn!(%error, "could not look after other nodes; trying again");
    }
}

/// Renews this node's record; false if it is dead.
async fn renew(house: &House, heart: &mut Heart) -> bool {
    let (epoch, timeout) = (house.epoch, house.options.node_timeout);
    let until = Timestamp::now().after(timeout);
    let renewed = house
        .metadata
        .transact("renew node", |tx| async move { nodes::renew(&tx, epoch, until).await })
        .await;
    match renewed {
        Ok(alive) => {
            heart.renewed(Instant::now(), timeout);
            alive
        }
        Err(error) => {
            heart.out_of_touch();
            tracing::warn!(%error, "could not renew this node's record; trying again");
            true
        }
    }
}

/// Extends every lease that this process holds.
async fn extend_leases(house: &House) {
    for batch in house.held.all().chunks(BATCH) {
        let until = Timestamp::now().after(house.options.lease_duration);
        let lost = house
            .metadata
            .transact("extend leases", |tx| async move {
                let mut lost = Vec::new();
                for (job, lease) in batch {
                    if !jobs::extend(&tx, *job, *lease, until).await? {
                        lost.push((*job, *lease));
                    }
                }
                Ok(lost)
            })
            .await;
        match lost {
            // Settled since the list was made, or taken by another process.
            Ok(lost) => lost.into_iter().for_each(|(job, lease)| house.held.lost(job, lease)),
            Err(error) => tracing::warn!(%error, "could not extend leases; trying again"),
        }
    }
}

/// Declares nodes dead that have given no sign of life for too long, and makes the jobs that they held due.
async fn judge_others(house: &House, heart: &Heart, nudge_janitor: &Notify) -> Result<(), StoreError> {
    let margin = house.options.clock_skew_max;
    if !heart.may_judge(Instant::now(), house.options.node_timeout + margin) {
        return Ok(());
    }
    let now = Timestamp::now();
    let sweep_from = now.after(house.options.dead_node_sweep_delay);
    let overdue = house
        .metadata
        .read("look for dead nodes", |tx| async move { nodes::overdue(&tx, now, margin).await })
        .await?;
    for epoch in overdue {
        let dead = house
            .metadata
            .transact("declare node dead", |tx| async move {
                nodes::declare_dead(&tx, epoch, now, margin, sweep_from).await
            })
            .await?;
        if dead {
            metrics::counter!("darkroom_nodes_declared_dead_total").increment(1);
            let jobs = void_leases(&house.metadata, epoch).await?;
            tracing::warn!(%epoch, jobs, "a node gave no sign of life and was declared dead; its jobs are due again");
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

    #[test]
    fn a_node_judges_others_only_after_it_has_been_in_touch_for_long_enough() {
        let second = Duration::from_secs(1);
        let (timeout, patience) = (3 * second, 4 * second);
        let start = Instant::now();
        let mut heart = Heart::default();
        assert!(!heart.may_judge(start + 60 * second, patience), "before the first renewal");
        for at in 0..5 {
            heart.renewed(start + at * second, timeout);
            assert!(!heart.may_judge(start + at * second, patience));
        }
        heart.renewed(start + 5 * second, timeout);
        assert!(heart.may_judge(start + 5 * second, patience));
        heart.renewed(start + 9 * second, timeout);
        assert!(!heart.may_judge(start + 9 * second, patience), "it stood still");
        heart.renewed(start + 11 * second, timeout);
        heart.renewed(start + 13 * second, timeout);
        heart.renewed(start + 14 * second, timeout);
        assert!(heart.may_judge(start + 14 * second, patience));
        heart.out_of_touch();
        heart.renewed(start + 15 * second, timeout);
        assert!(!heart.may_judge(start + 15 * second, patience), "the store was away");
    }
}
