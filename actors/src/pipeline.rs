//! The handle that everybody outside the actors holds.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use darkroom_media::Preset;
use darkroom_store::StoreError;
use darkroom_store::life::{self, Life};
use darkroom_store::metadata::Metadata;
use darkroom_store::model::jobs::{self, Dropped, Entry, Job, Kind, Operation, Retried};
use darkroom_store::model::{
    Epoch, JobId, LeaseId, OwnerId, PhotoId, Timestamp, UserId, batches, file_name, nodes, photos,
};
use darkroom_store::objects::ObjectStore;
use ractor::{Actor, ActorRef, call_t};
use serde::Serialize;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::AbortHandle;

use crate::compute::ComputePool;
use crate::error::{IngestError, StartError};
use crate::events::{Cursor, Hub, Subscription};
use crate::expiry;
use crate::faults::Faults;
use crate::heart::{Fate, void_leases};
use crate::held::{Abandoned, HeldJobs};
use crate::janitor::{JanitorMessage, JanitorReport, LettersKept, Sweep};
use crate::keys::Keys;
use crate::line::StageCounters;
use crate::outcomes::{Outcomes, Waiting};
use crate::permits::{Admission, SLOTS};
use crate::reconciler::give_back_abandoned;
use crate::stages::House;
use crate::stages::ingestor::{Ingested, IngestorMessage, Upload};
use crate::supervisor::{Counters, Health, STAGES, Supervisor, SupervisorArguments, SupervisorMessage};
use crate::uploads::Registry;
use crate::{Backlog, Lease, Party, PipelineOptions, Refused};

/// Longest that a sweep that somebody asked for may take, in milliseconds.
const SWEEP_MS_MAX: u64 = 300_000;
/// Longest that the actors together may take to end, in milliseconds.
const DRAIN_MS_MAX: u64 = 10_000;
/// Longest that a node which was declared dead waits for what it has in hand to come to nothing.
const LETTING_GO: Duration = Duration::from_secs(2);
/// Jobs counted for the metrics.
const JOBS_COUNTED_MAX: usize = 10_000;

/// The running pipeline. Cheap to clone.
#[derive(Clone)]
pub struct Pipeline(Arc<Inner>);

struct Inner {
    house: House,
    counters: Counters,
    health: watch::Receiver<Health>,
    supervisor: ActorRef<SupervisorMessage>,
    nudge_janitor: Arc<Notify>,
    sweep: Sweep,
    uploads: Registry,
    events: Hub,
    /// Follows the change log for those who are connected.
    following: Following,
}

/// Ends with the pipeline.
struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// One actor, as `GET /v1/admin/actors` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct ActorView {
    /// Its name.
    pub name: &'static str,
    /// ractor's word for its state, or `Restarting`.
    pub state: String,
    /// What waits for it: photos; for the Reconciler due jobs, up to 32, at its last look; for the Indexer entries of the
    /// change log.
    pub queue: usize,
    /// What it works on: photos; jobs being claimed; sweeps; shards of the change log.
    pub in_flight: usize,
    /// What it has finished since the start.
    pub finished: u64,
    /// What failed at it since the start.
    pub failed: u64,
    /// How often it was restarted.
    pub restarts: u64,
}

/// One budget, as `GET /v1/admin/actors` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct BudgetView {
    /// Its name.
    pub name: &'static str,
    /// Held now.
    pub used: u64,
    /// Everything there is.
    pub limit: u64,
}

/// The tree of actors, and what they hold.
#[derive(Clone, Debug, Serialize)]
pub struct ActorTree {
    /// The supervisor's state, in ractor's words.
    pub supervisor: String,
    /// How often a generation of stages was replaced.
    pub generation_restarts: u64,
    /// The supervisor's children, source first.
    pub actors: Vec<ActorView>,
    /// Slots and bytes.
    pub budgets: Vec<BudgetView>,
    /// Durable jobs that this process holds.
    pub held_jobs: usize,
}

impl Pipeline {
    /// Starts the pipeline: takes back the jobs of earlier lives, starts the compute pool and every actor.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start(
        mut options: PipelineOptions,
        metadata: Metadata,
        objects: ObjectStore,
        life: &Life,
    ) -> Result<Self, StartError> {
        options.validate().map_err(StartError::Options)?;
        let (charged, held) = (options.upload_window_bytes, objects.window_bytes());
        if charged < held {
            return Err(StartError::Options(format!(
                "budgets.upload_window is {charged} bytes, and an upload to this object store holds up to {held}: raise \
                 it, or leave it out"
            )));
        }
        void_old_leases(&metadata).await?;
        // Most stores are counted by one look; the Janitor goes on with a large one.
        expiry::count_existing(&metadata, 1).await.map_err(StartError::Store)?;
        let objects = objects.of_epoch(life.epoch);
        let compute = ComputePool::start(options.compute_threads)
            .map_err(|e| StartError::Spawn { what: "the compute pool", why: e.to_string() })?;
        let fate = Fate::of(life.nodes, options.node_timeout);
        let keys = Keys::new(metadata.clone(), life.epoch, fate.clone());
        let letters = LettersKept::by(&options);
        let admission = Admission::new(&options);
        // Motion that all pixels' memory could not hold is not kept: such a photo shows its first frame.
        let motion_bytes_max = &mut options.limits.motion_bytes_max;
        *motion_bytes_max = admission.pixels.total().min(*motion_bytes_max);
        let house = House {
            admission,
            faults: Faults::new(&options.faults),
            options: Arc::new(options),
            metadata: metadata.clone(),
            objects: objects.clone(),
            epoch: life.epoch,
            nodes: life.nodes,
            history: life.history,
            compute: Arc::new(compute),
            keys: keys.clone(),
            held: HeldJobs::default(),
            fate,
            outcomes: Outcomes::default(),
            backlog: Arc::new(Backlog::new()),
        };
        let (health_sender, health) = watch::channel(Health::Restarting);
        let (counters, nudge_janitor) = (Counters::default(), Arc::new(Notify::new()));
        let events = Hub::new(metadata.clone());
        let following = Following(tokio::spawn(events.clone().run()).abort_handle());
        let sweep = Sweep { letters, keys: Some(keys), ..Sweep::new(metadata, objects, life.epoch) };
        let arguments = SupervisorArguments {
            house: house.clone(),
            counters: counters.clone(),
            sweep: sweep.clone(),
            nudge: nudge_janitor.clone(),
            health: health_sender,
        };
        let (supervisor, _) = Actor::spawn(None, Supervisor, arguments)
            .await
            .map_err(|e| StartError::Spawn { what: "the supervisor", why: e.to_string() })?;
        Ok(Self(Arc::new(Inner {
            house,
            counters,
            health,
            supervisor,
            nudge_janitor,
            sweep,
            uploads: Registry::default(),
            events,
            following,
        })))
    }

    /// A lease for one upload, of at most `bytes` if that is known, at once or not at all. Ask before reading the body.
    ///
    /// # Errors
    /// Why not.
    pub fn lease(&self, bytes: Option<u64>) -> Result<Lease, Refused> {
        let lease = self.0.house.admission.lease(bytes)?;
        self.store_is_there()?;
        Ok(lease)
    }

    /// A lease for one upload of this party, of at most `bytes` if that is known: at once, or in its turn. Ask before
    /// reading the body.
    ///
    /// # Errors
    /// Why not.
    pub async fn admit(&self, party: Party, bytes: Option<u64>) -> Result<Lease, Refused> {
        self.store_is_there()?;
        let lease = self.0.house.admission.admit(party, bytes).await?;
        self.store_is_there()?;
        Ok(lease)
    }

    /// Whether [`Pipeline::admit`] would not refuse at once.
    ///
    /// # Errors
    /// Why it would.
    pub fn prospect(&self, party: Party, bytes: Option<u64>) -> Result<(), Refused> {
        self.0.house.admission.prospect(party, bytes)?;
        self.store_is_there()
    }

    fn store_is_there(&self) -> Result<(), Refused> {
        let house = &self.0.house;
        house.objects.available().and_then(|()| house.fate.in_touch()).map_err(|_| Refused::StoreAway)
    }

    /// Whether this node has lately given a sign of life where the other nodes look for one. Until it has, it takes no
    /// photos in.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] if not.
    pub fn in_touch(&self) -> Result<(), StoreError> {
        self.0.house.fate.in_touch()
    }

    /// Takes one photo in. When this returns `Ok`, it is durable.
    ///
    /// # Errors
    /// [`IngestError`]; then nothing of it is left behind.
    pub async fn ingest(&self, mut upload: Upload) -> Result<Ingested, IngestError> {
        let name_bytes_max = self.options().name_bytes_max;
        upload.name = upload.name.and_then(|name| file_name::tidied(&name, name_bytes_max));
        let ingestor = match &*self.0.health.borrow() {
            Health::Running(running) => running.ingestor.clone(),
            Health::Restarting | Health::Dead => return Err(IngestError::Restarting),
        };
        let (reply, answer) = oneshot::channel();
        ingestor
            .send_message(IngestorMessage::Ingest(Box::new(upload), reply))
            .map_err(|_| IngestError::Restarting)?;
        answer.await.unwrap_or(Err(IngestError::Restarting))
    }

    /// A place in the list of those who wait for this photo to be settled.
    pub fn wait_for(&self, photo: PhotoId) -> Waiting {
        self.0.house.outcomes.subscribe(photo)
    }

    /// Removes a photo from everybody's sight; false if there is none.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn delete(&self, photo: PhotoId) -> Result<bool, StoreError> {
        let (now, history) = (Timestamp::now(), self.0.house.history);
        let deleted = self
            .0
            .house
            .metadata
            .transact("delete photo", |tx| async move { photos::delete(&tx, photo, now, history).await })
            .await?;
        self.0.house.outcomes.settled(photo);
        self.0.nudge_janitor.notify_one();
        Ok(deleted)
    }

    /// As [`Pipeline::delete`], of a photo of this owner: those of others are none.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn delete_of(&self, photo: PhotoId, owner: &OwnerId) -> Result<bool, StoreError> {
        let (now, history) = (Timestamp::now(), self.0.house.history);
        let delete = |tx| async move { photos::delete_of(&tx, (photo, owner), now, history).await };
        let deleted = self.0.house.metadata.transact("delete photo", delete).await?;
        if deleted {
            self.0.house.outcomes.settled(photo);
            self.0.nudge_janitor.notify_one();
        }
        Ok(deleted)
    }

    /// Asks for the variants that a ready photo lacks or has under old settings.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn request_render(&self, photo: PhotoId) -> Result<(), StoreError> {
        let job = &Job::new(JobId::new(), Kind::Render, photo, Timestamp::now());
        let metadata = &self.0.house.metadata;
        let has_job = |tx| async move { Ok(jobs::of_photo(&tx, photo).await?.is_some()) };
        if metadata.read("look for a job", has_job).await? {
            return Ok(());
        }
        let added = metadata
            .transact("request render", |tx| async move { photos::request_render(&tx, job).await })
            .await?;
        if added {
            self.0.house.backlog.added();
        }
        Ok(())
    }

    /// Makes a job due now, on an operator's word: one that backs off, or one that was given up.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn retry_job(&self, job: JobId) -> Result<Retried, StoreError> {
        let by = &self.operation();
        let retried = self
            .metadata()
            .transact("retry job", |tx| async move { jobs::retry(&tx, job, by).await })
            .await?;
        if matches!(retried, Retried::Due(_)) {
            self.0.house.backlog.added();
        }
        Ok(retried)
    }

    /// Removes a job, or the letter of one that was given up, on an operator's word. `seen` is what was found under its
    /// id.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn drop_job(&self, seen: &Entry) -> Result<Dropped, StoreError> {
        let by = &self.operation();
        let dropped = self
            .metadata()
            .transact("drop job", |tx| async move { jobs::drop_job(&tx, seen, by).await })
            .await?;
        if let Some(photo) = seen.job().photo() {
            self.0.house.outcomes.settled(photo);
        }
        Ok(dropped)
    }

    fn operation(&self) -> Operation {
        Operation { id: LeaseId::new(), now: Timestamp::now(), history: self.0.house.history }
    }

    /// Deletes everything that nothing refers to, and says what that was.
    ///
    /// # Errors
    /// A sentence.
    pub async fn sweep(&self) -> Result<JanitorReport, String> {
        let janitor = match &*self.0.health.borrow() {
            Health::Running(running) => running.janitor.clone(),
            Health::Restarting | Health::Dead => return Err("the Janitor is being restarted".to_owned()),
        };
        call_t!(janitor, JanitorMessage::SweepNow, SWEEP_MS_MAX)
            .unwrap_or_else(|error| Err(format!("the Janitor did not answer: {error}")))
    }

    /// Which requests have an upload in hand.
    pub(crate) fn uploads(&self) -> &Registry {
        &self.0.uploads
    }

    /// There may be something to sweep.
    pub(crate) fn nudge_janitor(&self) {
        self.0.nudge_janitor.notify_one();
    }

    /// What every part of the pipeline works with.
    pub(crate) fn house(&self) -> &House {
        &self.0.house
    }

    /// The presets that photos are made in.
    pub fn presets(&self) -> &[Preset] {
        &self.0.house.options.presets
    }

    /// Every option.
    pub fn options(&self) -> &PipelineOptions {
        &self.0.house.options
    }

    /// Connects a user to what happens from now on, or happened after `after`, as far as it concerns them.
    ///
    /// # Errors
    /// Those of the engine.
    pub async fn subscribe(&self, user: UserId, after: Option<Cursor>) -> Result<Subscription, StoreError> {
        Subscription::begin(&self.0.events, user, after).await
    }

    /// The metadata that the pipeline works on.
    pub fn metadata(&self) -> &Metadata {
        &self.0.house.metadata
    }

    /// Goes before versionstamps: see [`Life::history`].
    pub fn history(&self) -> u64 {
        self.0.house.history
    }

    /// This life of the node.
    pub fn epoch(&self) -> Epoch {
        self.0.house.epoch
    }

    /// The object store that the pipeline works on.
    pub fn objects(&self) -> &ObjectStore {
        &self.0.house.objects
    }

    /// Whether the daemon is shutting down.
    pub fn is_draining(&self) -> bool {
        self.0.house.admission.is_draining()
    }

    /// Resolves, with a sentence that says why, when the process must end with a non-zero status: the actors have died
    /// too often, or another node has declared this one dead.
    pub async fn dead(&self) -> String {
        tokio::select! {
            () = self.actors_dead() => "the pipeline's actors die too often; the log says why".to_owned(),
            () = self.0.house.fate.sealed() => {
                self.let_go().await;
                "this node was declared dead by another; start it again, and see that it reaches the metadata"
                    .to_owned()
            }
        }
    }

    /// This node is dead to the others, and they have swept its intents, or will. Uploads that are under way find out,
    /// and what they have put is buried.
    async fn let_go(&self) {
        let slots = &self.0.house.admission.slots;
        // What takes longer is lost with the process.
        let _ = tokio::time::timeout(LETTING_GO, slots.all_returned()).await;
        self.0.sweep.bury_the_last().await;
    }

    async fn actors_dead(&self) {
        // An error means that the supervisor itself has ended, which only a drain does in order.
        let mut health = self.0.health.clone();
        let dead = health.wait_for(|health| matches!(health, Health::Dead)).await.is_ok();
        if !dead && self.is_draining() {
            std::future::pending::<()>().await;
        }
    }

    /// The tree of actors.
    pub fn actors(&self) -> ActorTree {
        let inner = &self.0;
        let health = inner.health.borrow().clone();
        let cells = if let Health::Running(running) = health { running.cells } else { Vec::new() };
        let state = |name| {
            let cell = cells.iter().find(|(other, _)| *other == name);
            cell.map_or_else(|| "Restarting".to_owned(), |(_, cell)| format!("{:?}", cell.get_status()))
        };
        let restarts = inner.counters.restarts.load(Ordering::Relaxed);
        let janitor_restarts = inner.counters.janitor_restarts.load(Ordering::Relaxed);
        let view = |name, counters: &StageCounters, restarts| ActorView {
            name,
            state: state(name),
            queue: counters.queue.load(Ordering::Relaxed),
            in_flight: counters.in_flight.load(Ordering::Relaxed),
            finished: counters.finished.load(Ordering::Relaxed),
            failed: counters.failed.load(Ordering::Relaxed),
            restarts,
        };
        let counters = &inner.counters;
        let stages = STAGES.iter().zip(&counters.stages);
        let mut actors: Vec<_> = stages.map(|(name, counters)| view(*name, counters, restarts)).collect();
        actors.push(view("reconciler", &counters.reconciler, restarts));
        actors.push(view("janitor", &counters.janitor, janitor_restarts));
        let indexer_restarts = inner.counters.indexer_restarts.load(Ordering::Relaxed);
        actors.push(view("indexer", &counters.indexer, indexer_restarts));
        let budgets = inner.house.admission.budgets().map(|budget| BudgetView {
            name: budget.name(),
            used: budget.used(),
            limit: budget.total(),
        });
        ActorTree {
            supervisor: format!("{:?}", inner.supervisor.get_status()),
            generation_restarts: restarts,
            actors,
            budgets: budgets.into(),
            held_jobs: inner.house.held.all().len(),
        }
    }

    /// Records the gauges that are looked at rather than counted. Call it before each scrape.
    pub async fn record_gauges(&self) {
        let tree = self.actors();
        for actor in tree.actors.iter().filter(|actor| STAGES.contains(&actor.name)) {
            metrics::gauge!("darkroom_stage_queue_photos", "stage" => actor.name).set(actor.queue as f64);
            metrics::gauge!("darkroom_stage_in_flight_photos", "stage" => actor.name)
                .set(actor.in_flight as f64);
        }
        metrics::gauge!("darkroom_admission_waiting").set(self.0.house.admission.waiting() as f64);
        for budget in tree.budgets {
            if budget.name == SLOTS {
                metrics::gauge!("darkroom_job_slots_used").set(budget.used as f64);
                metrics::gauge!("darkroom_job_slots_limit").set(budget.limit as f64);
            } else {
                metrics::gauge!("darkroom_permits_used_bytes", "budget" => budget.name)
                    .set(budget.used as f64);
                metrics::gauge!("darkroom_permits_limit_bytes", "budget" => budget.name)
                    .set(budget.limit as f64);
            }
        }
        let (threads, busy, queued) = self.0.house.compute.load();
        metrics::gauge!("darkroom_compute_threads").set(threads as f64);
        metrics::gauge!("darkroom_compute_busy_threads").set(busy as f64);
        metrics::gauge!("darkroom_compute_queue_tasks").set(queued as f64);
        if let Err(error) = self.record_stored_gauges().await {
            tracing::warn!(%error, "the gauges of photos and jobs were not updated");
        }
        if let Err(error) = self.record_upload_gauges().await {
            tracing::warn!(%error, "the gauges of uploads were not updated");
        }
    }

    async fn record_stored_gauges(&self) -> Result<(), StoreError> {
        let now = Timestamp::now();
        let (counts, depths, dead, nodes) = self
            .metadata()
            .read("read gauges", |tx| async move {
                let (counts, depths) =
                    (photos::counts(&tx).await?, jobs::depths(&tx, now, JOBS_COUNTED_MAX).await?);
                Ok((counts, depths, jobs::count_dead(&tx).await?, nodes::all(&tx).await?))
            })
            .await?;
        for (state, count) in counts {
            metrics::gauge!("darkroom_photos", "state" => state.as_str()).set(count as f64);
        }
        let jobs: usize = depths.iter().map(|depth| depth.due + depth.later).sum();
        metrics::gauge!("darkroom_jobs").set(jobs as f64);
        for depth in depths {
            let class = depth.class.as_str();
            metrics::gauge!("darkroom_jobs_due", "class" => class).set(depth.due as f64);
            let age = depth.oldest.map_or(Duration::ZERO, |oldest| now.since(oldest));
            metrics::gauge!("darkroom_jobs_oldest_due_seconds", "class" => class).set(age.as_secs_f64());
        }
        metrics::gauge!("darkroom_jobs_dead").set(dead as f64);
        let living = nodes.iter().filter(|(_, node)| node.dead.is_none()).count();
        metrics::gauge!("darkroom_nodes").set(living as f64);
        let open = self
            .metadata()
            .read("count open batches", |tx| async move { batches::count_open(&tx).await })
            .await?;
        metrics::gauge!("darkroom_batches_open").set(open as f64);
        Ok(())
    }

    /// Refuses uploads from now on, takes up no waiting job, and waits until `deadline` for what is in memory.
    pub async fn finish(&self, deadline: Instant) {
        let admission = &self.0.house.admission;
        admission.close();
        // What has come of uploads is committed; their clients go on elsewhere, or after the next start.
        self.0.uploads.stop_all();
        if tokio::time::timeout_at(deadline.into(), admission.slots.all_returned()).await.is_err() {
            let unfinished = self.0.house.held.all().len();
            tracing::warn!(
                photos = unfinished,
                "the deadline has passed; unfinished photos wait for the next start"
            );
        }
    }

    /// Ends the pipeline: gives what is unfinished back to the queue, lets every actor handle what it has,
    /// source first, and stops it. Call after [`Pipeline::finish`], when no request runs any more.
    ///
    /// # Errors
    /// Those of the engine: then unfinished jobs come back when their lease ends, or with the next start.
    pub async fn drain(&self) -> Result<(), StoreError> {
        let house = &self.0.house;
        house.admission.close();
        // An attempt that had begun counts for nothing: it was us who ended it.
        let ended = |(job, lease)| Abandoned { job, lease };
        house.held.keep_abandoned(house.held.all().into_iter().map(ended));
        give_back_abandoned(house).await?;
        if let Err(error) = call_t!(self.0.supervisor, SupervisorMessage::Drain, DRAIN_MS_MAX) {
            tracing::warn!(%error, "the actors did not end in time");
        }
        self.0.supervisor.stop(None);
        self.0.following.0.abort();
        // The Janitor has ended: what the last uploads gave up is left to us.
        self.0.sweep.bury_the_last().await;
        house.keys.release().await?;
        life::end(&house.metadata, house.epoch).await
    }
}

/// Leases of dead epochs are void.
pub(crate) async fn void_old_leases(metadata: &Metadata) -> Result<(), StoreError> {
    let now = Timestamp::now();
    let dead = metadata.read("list dead epochs", |tx| async move { nodes::dead(&tx, now).await }).await?;
    let mut voided = 0;
    for (epoch, _) in dead {
        voided += void_leases(metadata, epoch).await?;
    }
    if voided > 0 {
        tracing::info!(jobs = voided, "jobs that a dead process held are due again");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
