//! The Indexer: carries out what follows from the change log, for the shards that this node holds.
//!
//! - this file: the actor. It takes this node's part of the shards, and has one carrier for each.
//! - `carrier`: follows one shard, applies its entries, and does what they lead to piece by piece.
//! - `trouble`: what fails every time is passed by in the end.
//! - `options`: what can be set.
//!
//! Everything that it does is a transaction which reads the shard's lease and moves its own cursor: a carrier that dies, or
//! that another has taken the place of, leaves nothing half done and does nothing twice.

mod carrier;
mod options;
mod trouble;

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::model::shards::{self, Claim, Held};
use darkroom_store::model::{LeaseId, Timestamp};
use futures_util::FutureExt;
use ractor::{Actor, ActorProcessingErr, ActorRef};
use tokio::task::{AbortHandle, JoinSet};

use crate::errand::Errand;
use crate::line::StageCounters;
use crate::stages::{House, send, start};
use carrier::Carrier;
pub use options::FeedOptions;

/// How many idle polls lie between two looks at who carries which shard.
const POLLS_PER_BALANCE: u32 = 3;
/// Longest that an end in order waits for the shards to be let go of. They are free with the epoch's end anyway.
const RELEASE_MAX: Duration = Duration::from_millis(500);

pub(crate) enum IndexerMessage {
    /// Look at who carries which shard.
    Balance,
    /// What this node carries from now on.
    Balanced(Result<Vec<Held>, StoreError>),
    /// The shard is another's by now.
    Lost(Held),
}

pub(crate) struct Indexer;

pub(crate) struct IndexerArguments {
    pub(crate) house: House,
    pub(crate) counters: Arc<StageCounters>,
}

pub(crate) struct IndexerState {
    house: House,
    counters: Arc<StageCounters>,
    balance: Errand,
    carried: HashMap<u8, (Held, AbortHandle)>,
    /// Ends them with the actor, however that ends.
    carriers: JoinSet<()>,
    _timer: JoinSet<()>,
}

impl Actor for Indexer {
    type Msg = IndexerMessage;
    type State = IndexerState;
    type Arguments = IndexerArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let IndexerArguments { house, counters } = arguments;
        let (mut timer, every) = (JoinSet::new(), house.options.idle_poll * POLLS_PER_BALANCE);
        timer.spawn(async move {
            let mut poll = tokio::time::interval(every);
            loop {
                poll.tick().await;
                send(&myself, IndexerMessage::Balance);
            }
        });
        // Those of an earlier one died with it.
        counters.in_flight.store(0, Ordering::Relaxed);
        Ok(IndexerState {
            house,
            counters,
            balance: Errand::default(),
            carried: HashMap::new(),
            carriers: JoinSet::new(),
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
            IndexerMessage::Balance => state.balance.want(),
            IndexerMessage::Balanced(held) => {
                state.balance.ended();
                match held {
                    Ok(held) => state.carry(&myself, &held),
                    Err(error) => {
                        tracing::warn!(%error, "shards of the change log were not shared out; trying again");
                    }
                }
            }
            IndexerMessage::Lost(held) => {
                state.let_go(held);
                state.balance.want();
            }
        }
        if state.balance.begins() {
            state.look(&myself);
        }
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Self::Msg>,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        state.carriers.shutdown().await;
        let (metadata, epoch) = (&state.house.metadata, state.house.epoch);
        let release = |tx| async move { shards::release(&tx, epoch).await };
        match tokio::time::timeout(RELEASE_MAX, metadata.transact("release shards", release)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(%error, "shards of the change log are free when this epoch has ended");
            }
            Err(_) => tracing::warn!("shards of the change log are free when this epoch has ended"),
        }
        Ok(())
    }
}

impl IndexerState {
    /// Takes this node's part of the shards.
    fn look(&self, myself: &ActorRef<IndexerMessage>) {
        let (metadata, epoch) = (self.house.metadata.clone(), self.house.epoch);
        let held: Vec<_> = self.carried.values().map(|(held, _)| *held).collect();
        let (lease, now) = (LeaseId::new(), Timestamp::now());
        let balance = async move {
            let claim = &Claim { epoch, held: &held, lease, now };
            metadata.transact("share shards", |tx| async move { shards::balance(&tx, claim).await }).await
        };
        start(myself, balance, |held, _| IndexerMessage::Balanced(held));
    }

    /// Begins to carry what is new among `held`, and stops to carry the rest.
    fn carry(&mut self, myself: &ActorRef<IndexerMessage>, held: &[Held]) {
        let over: Vec<_> =
            self.carried.values().map(|(held, _)| *held).filter(|carried| !held.contains(carried)).collect();
        for over in over {
            self.let_go(over);
        }
        for held in held {
            if !self.carried.contains_key(&held.shard) {
                let carrier = self.begin(myself.clone(), *held);
                self.carried.insert(held.shard, (*held, carrier));
            }
        }
        self.count();
    }

    /// A panic in a carrier is a bug of the actor's, and ends it, and with it all others: its successor begins anew.
    fn begin(&mut self, myself: ActorRef<IndexerMessage>, held: Held) -> AbortHandle {
        let carrier = Carrier::new(&self.house, held, self.counters.clone());
        self.carriers.spawn(async move {
            match AssertUnwindSafe(carrier.run()).catch_unwind().await {
                Ok(_) => send(&myself, IndexerMessage::Lost(held)),
                Err(panic) => {
                    myself.stop(Some(format!("a carrier panicked: {}", crate::compute::message(&*panic))));
                }
            }
        })
    }

    fn let_go(&mut self, held: Held) {
        if self.carried.get(&held.shard).is_some_and(|(carried, _)| *carried == held)
            && let Some((_, carrier)) = self.carried.remove(&held.shard)
        {
            carrier.abort();
            carrier::forget_gauges(held.shard);
        }
        while self.carriers.try_join_next().is_some() {}
        self.count();
    }

    fn count(&self) {
        self.counters.in_flight.store(self.carried.len(), Ordering::Relaxed);
        metrics::gauge!("darkroom_indexer_shards").set(self.carried.len() as f64);
    }
}

#[cfg(test)]
mod tests;
