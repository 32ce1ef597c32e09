//! The Supervisor: starts the generation of stages sink first, and starts a new one when any of them dies.
//!
//! Restarting all of them is simpler than restarting one: no stage holds a reference to a dead one, and
//! whatever the old ones held comes back by `Drop` and through the Reconciler.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorStatus, RpcReplyPort, SpawnErr,
    SupervisionEvent,
};
use tokio::sync::watch;

use crate::indexer::{Indexer, IndexerArguments};
use crate::janitor::{Janitor, JanitorArguments, JanitorMessage};
use crate::line::StageCounters;
use crate::reconciler::{Reconciler, ReconcilerArguments};
use crate::stages::House;
use crate::stages::decoder::{Decoder, DecoderArguments};
use crate::stages::ingestor::{Ingestor, IngestorArguments, IngestorMessage};
use crate::stages::publisher::{Publisher, PublisherArguments};
use crate::stages::resizer::{Resizer, ResizerArguments};
use crate::stages::uploader::{Uploader, UploaderArguments};

/// More restarts than this within [`RESTART_WINDOW`] end the process.
const RESTARTS_MAX: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(60);
/// Wait before the first restart; doubles with each within the window.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// How long each actor may take to handle what it has when the pipeline is drained.
const DRAIN_EACH: Duration = Duration::from_secs(1);

/// The stages and loops, in the order in which a photo meets them.
pub(crate) const STAGES: [&str; 5] = ["ingestor", "decoder", "resizer", "uploader", "publisher"];

/// Loops that belong to no generation: each is restarted by itself.
const LOOPS: [&str; 2] = ["janitor", "indexer"];

/// What the stages tell of themselves, kept over restarts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counters {
    /// One for each of [`STAGES`].
    pub(crate) stages: [Arc<StageCounters>; STAGES.len()],
    /// Jobs: found due, being claimed, claimed.
    pub(crate) reconciler: Arc<StageCounters>,
    /// Sweeps.
    pub(crate) janitor: Arc<StageCounters>,
    /// Entries of the change log: those of the last look, shards that are carried, applied, passed by.
    pub(crate) indexer: Arc<StageCounters>,
    /// How often a generation was replaced.
    pub(crate) restarts: Arc<AtomicU64>,
    /// How often the Janitor was.
    pub(crate) janitor_restarts: Arc<AtomicU64>,
    /// How often the Indexer was.
    pub(crate) indexer_restarts: Arc<AtomicU64>,
}

/// The actors that run now, for those outside.
#[derive(Clone, Debug)]
pub(crate) struct Running {
    pub(crate) ingestor: ActorRef<IngestorMessage>,
    pub(crate) janitor: ActorRef<JanitorMessage>,
    /// Name and cell of each, source first.
    pub(crate) cells: Vec<(&'static str, ActorCell)>,
}

/// What others see of the supervisor's work.
#[derive(Clone, Debug)]
pub(crate) enum Health {
    /// Every actor runs.
    Running(Running),
    /// A new generation is about to start.
    Restarting,
    /// The actors have died too often: the process must end.
    Dead,
}

pub(crate) enum SupervisorMessage {
    /// Start what does not run.
    Restart,
    /// Handle what is queued, source first, then stop.
    Drain(RpcReplyPort<()>),
}

pub(crate) struct Supervisor;

pub(crate) struct SupervisorArguments {
    pub(crate) house: House,
    pub(crate) counters: Counters,
    pub(crate) sweep: crate::janitor::Sweep,
    pub(crate) nudge: Arc<tokio::sync::Notify>,
    pub(crate) health: watch::Sender<Health>,
}

pub(crate) struct SupervisorState {
    arguments: SupervisorArguments,
    /// Source first; the [`LOOPS`] last.
    cells: Vec<(&'static str, ActorCell)>,
    ingestor: Option<ActorRef<IngestorMessage>>,
    janitor: Option<ActorRef<JanitorMessage>>,
    restarts: VecDeque<Instant>,
    draining: bool,
}

impl Actor for Supervisor {
    type Msg = SupervisorMessage;
    type State = SupervisorState;
    type Arguments = SupervisorArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let mut state = SupervisorState {
            arguments,
            cells: Vec::new(),
            ingestor: None,
            janitor: None,
            restarts: VecDeque::new(),
            draining: false,
        };
        state.start_missing(&myself).await?;
        Ok(state)
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            SupervisorMessage::Restart if !state.draining => state.start_missing(&myself).await?,
            SupervisorMessage::Restart => {}
            SupervisorMessage::Drain(reply) => {
                state.drain().await;
                // Who asked may have gone away.
                let _ = reply.send(());
            }
        }
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        let (id, why) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell.get_id(), error.to_string()),
            SupervisionEvent::ActorTerminated(cell, _, reason) => {
                (cell.get_id(), reason.unwrap_or_else(|| "stopped".to_owned()))
            }
            _ => return Ok(()),
        };
        // Those of an earlier generation, and those that we stopped, are no longer in the list.
        if let Some(name) = state.name_of(id)
            && !state.draining
        {
            state.died(&myself, name, &why);
        }
        Ok(())
    }
}

impl SupervisorState {
    fn name_of(&self, id: ActorId) -> Option<&'static str> {
        self.cells.iter().find(|(_, cell)| cell.get_id() == id).map(|(name, _)| *name)
    }

    fn died(&mut self, myself: &ActorRef<SupervisorMessage>, name: &'static str, why: &str) {
        let counters = &self.arguments.counters;
        // Uploads are refused until the next generation stands; without one of the loops they go on.
        match name {
            "janitor" => {
                counters.janitor_restarts.fetch_add(1, Ordering::Relaxed);
                self.janitor = None;
            }
            "indexer" => {
                counters.indexer_restarts.fetch_add(1, Ordering::Relaxed);
            }
            _ => {
                self.arguments.health.send_replace(Health::Restarting);
                counters.restarts.fetch_add(1, Ordering::Relaxed);
                self.ingestor = None;
                for (_, cell) in self.cells.extract_if(.., |(other, _)| !LOOPS.contains(other)) {
                    cell.stop(Some("another stage of the generation died".to_owned()));
                }
            }
        }
        self.cells.retain(|(other, _)| *other != name);
        metrics::counter!("darkroom_actor_restarts_total", "actor" => name).increment(1);
        let now = Instant::now();
        self.restarts.retain(|at| now - *at < RESTART_WINDOW);
        self.restarts.push_back(now);
        if self.restarts.len() > RESTARTS_MAX {
            tracing::error!(
                actor = name,
                why,
                restarts = self.restarts.len(),
                "actors die too often; ending the process"
            );
            self.arguments.health.send_replace(Health::Dead);
            return;
        }
        let backoff = (BACKOFF_MIN * 2_u32.pow(self.restarts.len() as u32 - 1)).min(BACKOFF_MAX);
        tracing::error!(actor = name, why, ?backoff, "an actor died; starting its successors");
        myself.send_after(backoff, || SupervisorMessage::Restart);
    }

    async fn start_missing(&mut self, myself: &ActorRef<SupervisorMessage>) -> Result<(), SpawnErr> {
        let supervisor = myself.get_cell();
        if self.ingestor.is_none() {
            self.start_generation(&supervisor).await?;
        }
        if self.janitor.is_none() {
            let arguments = JanitorArguments {
                sweep: self.arguments.sweep.clone(),
                nudge: self.arguments.nudge.clone(),
                counters: self.arguments.counters.janitor.clone(),
                idle_poll: self.arguments.house.options.idle_poll,
            };
            let (janitor, _) = Actor::spawn_linked(None, Janitor, arguments, supervisor).await?;
            self.cells.push(("janitor", janitor.get_cell()));
            self.janitor = Some(janitor);
        }
        if !self.cells.iter().any(|(name, _)| *name == "indexer") {
            let arguments = IndexerArguments {
                house: self.arguments.house.clone(),
                counters: self.arguments.counters.indexer.clone(),
            };
            let supervisor = myself.get_cell();
            let (indexer, _) = Actor::spawn_linked(None, Indexer, arguments, supervisor).await?;
            self.cells.push(("indexer", indexer.get_cell()));
        }
        if let (Some(ingestor), Some(janitor)) = (&self.ingestor, &self.janitor) {
            self.arguments.health.send_replace(Health::Running(Running {
                ingestor: ingestor.clone(),
                janitor: janitor.clone(),
                cells: self.cells.clone(),
            }));
        }
        Ok(())
    }

    /// The way of a photo, sink first: who sends to whom is read here.
    async fn start_generation(&mut self, supervisor: &ActorCell) -> Result<(), SpawnErr> {
        let SupervisorArguments { house, counters, .. } = &self.arguments;
        let [ingest, decode, resize, upload, publish] = counters.stages.clone();
        let house = || house.clone();

        let arguments = PublisherArguments { house: house(), counters: publish };
        let (publisher, _) = Actor::spawn_linked(None, Publisher, arguments, supervisor.clone()).await?;

        let arguments = UploaderArguments { house: house(), counters: upload, publisher: publisher.clone() };
        let (uploader, _) = Actor::spawn_linked(None, Uploader, arguments, supervisor.clone()).await?;

        let arguments = ResizerArguments {
            house: house(),
            counters: resize,
            uploader: uploader.clone(),
            publisher: publisher.clone(),
        };
        let (resizer, _) = Actor::spawn_linked(None, Resizer, arguments, supervisor.clone()).await?;

        let arguments = DecoderArguments {
            house: house(),
            counters: decode,
            resizer: resizer.clone(),
            publisher: publisher.clone(),
        };
        let (decoder, _) = Actor::spawn_linked(None, Decoder, arguments, supervisor.clone()).await?;

        let arguments = ReconcilerArguments {
            house: house(),
            counters: counters.reconciler.clone(),
            decoder: decoder.clone(),
            publisher: publisher.clone(),
            nudge_janitor: self.arguments.nudge.clone(),
        };
        let (reconciler, _) = Actor::spawn_linked(None, Reconciler, arguments, supervisor.clone()).await?;

        let arguments = IngestorArguments { house: house(), counters: ingest, decoder: decoder.clone() };
        let (ingestor, _) = Actor::spawn_linked(None, Ingestor, arguments, supervisor.clone()).await?;

        let loops: Vec<_> = self.cells.extract_if(.., |(name, _)| LOOPS.contains(name)).collect();
        self.cells = vec![
            ("ingestor", ingestor.get_cell()),
            ("reconciler", reconciler.get_cell()),
            ("decoder", decoder.get_cell()),
            ("resizer", resizer.get_cell()),
            ("uploader", uploader.get_cell()),
            ("publisher", publisher.get_cell()),
        ];
        self.cells.extend(loops);
        self.ingestor = Some(ingestor);
        Ok(())
    }

    async fn drain(&mut self) {
        self.draining = true;
        for (name, cell) in self.cells.drain(..) {
            if cell.get_status() != ActorStatus::Running {
                continue;
            }
            if let Err(error) = cell.drain_and_wait(Some(DRAIN_EACH)).await {
                tracing::warn!(actor = name, %error, "the actor did not end in time");
            }
        }
    }
}
