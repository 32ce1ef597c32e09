//! A process without its actors: the work of the stages, called in the order in which messages would call it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_store::StoreError;
use darkroom_store::life;
use darkroom_store::metadata::Metadata;
use darkroom_store::model::jobs::{self, Lease};
use darkroom_store::model::photos::{self, Failure, ORIGINAL_MISSING};
use darkroom_store::model::{LeaseId, OwnerId, PhotoId, Timestamp, nodes};
use darkroom_store::objects::ObjectStore;
use futures_util::StreamExt;
use futures_util::stream;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::Semaphore;

use super::turns::Pause;
use crate::compute::ComputePool;
use crate::error::{BodyError, IngestError};
use crate::faults::Faults;
use crate::heart;
use crate::held::HeldJobs;
use crate::janitor::Sweep;
use crate::keys::Keys;
use crate::outcomes::Outcomes;
use crate::permits::Admission;
use crate::reconciler::{give_back_abandoned, photo_of};
use crate::stages::{House, decoder, ingestor, publisher, resizer, uploader};
use crate::work::{AcceptedPhoto, Envelope, FailedPhoto, Fault};
use crate::{Backlog, PipelineOptions, Upload};

/// Photos that a client looks at to choose one.
const LISTED: usize = 100;
/// Pieces in which the body of a slow upload comes.
const SLOW_PIECES: usize = 60;
/// Jobs that it looks at.
const DUE: usize = 4;

/// A process that serves uploads. Cheap to clone.
#[derive(Clone)]
pub(super) struct Node {
    house: House,
    pub(super) sweep: Sweep,
    network: Arc<Semaphore>,
    /// Uploads whose place in the object store was swept before they were there.
    pub(super) swept: Arc<AtomicU32>,
}

/// What becomes of a photo that is processed.
#[derive(Clone, Copy)]
enum Fate {
    Made,
    /// Whoever processed it is gone.
    Dropped,
    /// Its bytes show to be no photo.
    Bad,
    /// Its original could not be found for a moment.
    Unfound,
}

impl Node {
    /// Begins a process's life as `Pipeline::start` does. `late_put_max` is what its object store would say.
    pub(super) async fn begin(
        metadata: Metadata,
        objects: ObjectStore,
        compute: Arc<ComputePool>,
        late_put_max: Duration,
    ) -> Self {
        let life = life::begin(&metadata, &objects).await.unwrap();
        let (epoch, now) = (life.epoch, Timestamp::now());
        // Where many may live, the new one takes all others for dead, at the worst moment and for no reason.
        let declare = |tx| async move { nodes::declare_earlier_dead(&tx, epoch, now).await };
        metadata.transact("declare the others dead", declare).await.unwrap();
        crate::pipeline::void_old_leases(&metadata).await.unwrap();
        let options = PipelineOptions {
            presets: darkroom_media::Preset::default_ladder().split_off(3),
            ..PipelineOptions::default()
        };
        let keys = Keys::new(metadata.clone(), epoch, heart::Fate::default());
        let sweep = Sweep::new(metadata.clone(), objects.clone(), epoch);
        let sweep = Sweep { keys: Some(keys.clone()), late_put_max, ..sweep };
        let house = House {
            admission: Admission::new(&options),
            faults: Faults::new(&[]),
            options: Arc::new(options),
            metadata,
            objects,
            epoch,
            nodes: life.nodes,
            history: life.history,
            compute,
            keys,
            held: HeldJobs::default(),
            fate: heart::Fate::default(),
            outcomes: Outcomes::default(),
            backlog: Arc::new(Backlog::new()),
        };
        Self { house, sweep, network: Arc::new(Semaphore::new(32)), swept: Arc::default() }
    }

    /// Ends it, and waits as the lock on a data directory does: until what it had begun to write is written.
    pub(super) async fn end(self) {
        let in_use = self.house.keys.in_use();
        drop(self);
        while in_use() {
            tokio::time::sleep(Duration::from_micros(100)).await; // Polling for the condition.
        }
    }

    /// Uploads a photo, and processes it if it can go on in memory.
    pub(super) async fn upload(self, owner: OwnerId, content: Bytes, mut random: StdRng) {
        let Ok(lease) = self.house.admission.lease(None) else { return };
        let cut = random.random_ratio(1, 12);
        // Some clients are so slow that their process is taken for dead, and swept, before their last byte is here.
        let pieces = if random.random_ratio(1, 3) { SLOW_PIECES } else { 2 };
        let mut pieces: Vec<_> = content
            .chunks(content.len().div_ceil(pieces))
            .map(|piece| Ok(content.slice_ref(piece)))
            .collect();
        if cut && let Some(last) = pieces.last_mut() {
            *last = Err(BodyError::Broken("the client is gone".to_owned()));
        }
        let body = stream::iter(pieces).then(|piece| async move {
            Pause::default().await;
            piece
        });
        let allow_duplicate = random.random_ratio(1, 4);
        let upload = Upload { allow_duplicate, ..Upload::new(lease, body.boxed(), owner) };
        match ingestor::ingest(&self.house, upload).await {
            Ok((Some(accepted), _)) => Box::pin(self.process(accepted, &mut random)).await,
            Ok((None, _)) => {}
            Err(IngestError::Body(BodyError::Broken(_))) if cut => {}
            Err(IngestError::Store(error)) => {
                let swept =
                    matches!(&error, StoreError::Unavailable { reason } if reason.contains("was swept"));
                self.swept.fetch_add(u32::from(swept), Ordering::Relaxed);
                expected(&error);
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn process(&self, accepted: AcceptedPhoto, random: &mut StdRng) {
        let fate = match random.random_range(0..16) {
            0 => Fate::Dropped,
            1 => Fate::Bad,
            2 | 3 => Fate::Unfound,
            _ => Fate::Made,
        };
        Pause::default().await;
        let failed = |envelope, why: fn(Failure) -> Fault, code: &str| FailedPhoto {
            envelope,
            why: why(Failure { code: code.to_owned(), detail: "injected".to_owned() }),
        };
        let failed = match fate {
            Fate::Dropped => return,
            Fate::Bad => failed(accepted.envelope, Fault::Photo, "corrupt-image"),
            Fate::Unfound => failed(accepted.envelope, Fault::GivenUp, ORIGINAL_MISSING),
            Fate::Made => match self.make(accepted).await {
                Ok(()) => return,
                Err(failed) => *failed,
            },
        };
        publisher::fail(&self.house, failed).await;
    }

    /// The way of a photo through the stages.
    async fn make(&self, accepted: AcceptedPhoto) -> Result<(), Box<FailedPhoto>> {
        let (house, id) = (&self.house, accepted.envelope.photo.id);
        let decoded = match decoder::decode(house.clone(), accepted).await {
            Ok(decoded) => decoded,
            Err(failed) => {
                if matches!(&failed.why, Fault::GivenUp(failure) if failure.code == ORIGINAL_MISSING) {
                    assert!(!self.exists(id).await, "the original of the live photo {id} was not found");
                }
                return Err(failed);
            }
        };
        let encoded = resizer::resize(house.clone(), *decoded).await?;
        Pause::default().await;
        let stored = uploader::upload(house.clone(), self.network.clone(), *encoded).await?;
        Pause::default().await;
        publisher::publish(house, *stored).await;
        Ok(())
    }

    async fn exists(&self, id: PhotoId) -> bool {
        let get = |tx| async move { photos::get(&tx, id).await };
        self.house.metadata.read("look for a photo", get).await.unwrap().is_some()
    }

    /// Deletes one of the owner's photos.
    pub(super) async fn delete(self, owner: OwnerId, mut random: StdRng) {
        let (metadata, owner) = (&self.house.metadata, &owner);
        let list = |tx| async move { photos::list(&tx, owner, None, LISTED).await };
        let all = metadata.read("list photos", list).await.unwrap();
        if all.is_empty() {
            return;
        }
        let (id, now) = (all[random.random_range(0..all.len())].id, Timestamp::now());
        Pause::default().await;
        let history = self.house.history;
        let delete = |tx| async move { photos::delete(&tx, id, now, history).await };
        if let Err(error) = metadata.transact("delete photo", delete).await {
            expected(&error);
        }
    }

    /// A sweep of the Janitor's.
    pub(super) async fn sweep_now(self) {
        if let Err(error) = self.sweep.run().await {
            expected(&error);
        }
    }

    /// Gives back what was dropped, then takes up one of the jobs that are due at `now`, as the Reconciler does. Returns
    /// whether there was one.
    pub(super) async fn reconcile(self, now: Timestamp, mut random: StdRng) -> bool {
        if let Err(error) = give_back_abandoned(&self.house).await {
            expected(&error);
        }
        let house = &self.house;
        let look = house.backlog.before_look();
        let due =
            house.metadata.read("look for due jobs", |tx| async move { jobs::due(&tx, now, DUE).await });
        let mut due = due.await.unwrap();
        due.retain(|job| !house.held.holds(job.id));
        if due.is_empty() {
            house.backlog.found_empty(look);
            return false;
        }
        let id = due[random.random_range(0..due.len())].id;
        let lease = Lease { id: LeaseId::new(), epoch: house.epoch };
        let until = now.after(house.options.lease_duration);
        let claim = |tx| async move {
            if nodes::is_dead(&tx, lease.epoch).await? {
                return Ok(None);
            }
            let Some(job) = jobs::claim(&tx, id, lease, now, until).await? else { return Ok(None) };
            Ok(photo_of(&tx, &job).await?.map(|photo| (job, photo)))
        };
        match house.metadata.transact("claim job", claim).await {
            Ok(Some((job, photo))) => {
                let admission = &house.admission;
                let probe = serde_json::from_value(photo.original.probe.clone()).unwrap();
                let accepted = AcceptedPhoto {
                    envelope: Envelope {
                        photo,
                        held: house.held.hold(job, lease),
                        wanted: house.options.presets.clone().into(),
                        taken_up: Instant::now(),
                        _slot: admission.slots.waiting(1).await.unwrap(),
                    },
                    probe,
                    body: admission.bodies.waiting(1).await.unwrap(),
                    pixels: admission.pixels.waiting(1).await.unwrap(),
                };
                Box::pin(self.process(accepted, &mut random)).await;
            }
            Ok(None) => {}
            Err(error) => expected(&error),
        }
        true
    }
}

/// What a client may be told. All else is a bug.
fn expected(error: &StoreError) {
    let expected = matches!(
        error,
        StoreError::CommitUnknown | StoreError::Contended { .. } | StoreError::Unavailable { .. }
    );
    assert!(expected, "{error}");
}
