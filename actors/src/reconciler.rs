//! The Reconciler: brings waiting jobs (from a crash, a full house, another node) back into the pipeline,
//! keeps this process's leases alive, and gives abandoned jobs back to the queue.
//!
//! One round at a time: permits first, in order of arrival, then one transaction that claims as many jobs
//! as there were permits for. A round runs as a task, so that the actor answers while it waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use darkroom_media::{Preset, Probe};
use darkroom_store::StoreError;
use darkroom_store::model::jobs::{self, GiveBack, Job, Kind};
use darkroom_store::model::photos::{self, Failure, Photo, State};
use darkroom_store::model::{LeaseId, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef};

use crate::errand::Errand;
use crate::held::{Abandoned, HeldJob};
use crate::line::StageCounters;
use crate::permits::Permit;
use crate::stages::decoder::DecoderMessage;
use crate::stages::publisher::PublisherMessage;
use crate::stages::{House, send, start};
use crate::work::{AcceptedPhoto, Envelope, FailedPhoto, Fault};

/// Jobs looked at, and at most claimed, in one round.
const ROUND: usize = 32;
/// Leases extended, or abandoned jobs given back, in one transaction.
const BATCH: usize = 200;

pub(crate) enum ReconcilerMessage {
    /// There may be work.
    Wake,
    /// The heartbeat is due.
    Beat,
    /// A round has ended; `more` if the next should begin at once.
    RoundEnded { more: bool },
    /// The heartbeat has ended.
    BeatEnded,
    /// Abandoned jobs were given back.
    Tended,
}

pub(crate) struct Reconciler;

pub(crate) struct ReconcilerArguments {
    pub(crate) house: House,
    pub(crate) counters: Arc<StageCounters>,
    pub(crate) decoder: ActorRef<DecoderMessage>,
    pub(crate) publisher: ActorRef<PublisherMessage>,
}

pub(crate) struct ReconcilerState {
    reach: Arc<ReconcilerArguments>,
    round: Errand,
    beat: Errand,
    tending: Errand,
    _timers: tokio::task::JoinSet<()>,
}

impl Actor for Reconciler {
    type Msg = ReconcilerMessage;
    type State = ReconcilerState;
    type Arguments = ReconcilerArguments;

    async fn pre_start(
        &self,
        myself: ActorRef<Self::Msg>,
        arguments: Self::Arguments,
    ) -> Result<Self::State, ActorProcessingErr> {
        let timers = timers(&myself, &arguments.house);
        Ok(ReconcilerState {
            reach: Arc::new(arguments),
            round: Errand::default(),
            beat: Errand::default(),
            tending: Errand::default(),
            _timers: timers,
        })
    }

    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        state: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ReconcilerMessage::Wake => {
                state.round.want();
                state.tending.want();
            }
            ReconcilerMessage::RoundEnded { more } => {
                state.round.ended();
                if more {
                    state.round.want();
                }
            }
            ReconcilerMessage::Tended => state.tending.ended(),
            ReconcilerMessage::Beat => state.beat.want(),
            ReconcilerMessage::BeatEnded => state.beat.ended(),
        }
        if state.beat.begins() {
            let reach = state.reach.clone();
            start(&myself, async move { beat(&reach.house).await }, |(), _| ReconcilerMessage::BeatEnded);
        }
        if state.tending.begins() {
            let reach = state.reach.clone();
            let work = async move {
                if let Err(error) = tend(&reach.house).await {
                    tracing::warn!(%error, "could not give abandoned jobs back; trying again");
                }
            };
            start(&myself, work, |(), _| ReconcilerMessage::Tended);
        }
        if state.round.begins() {
            let reach = state.reach.clone();
            let work = async move {
                round(&reach).await.unwrap_or_else(|error| {
                    tracing::warn!(%error, "could not look for waiting jobs; trying again");
                    false
                })
            };
            start(&myself, work, |more, _| ReconcilerMessage::RoundEnded { more });
        }
        Ok(())
    }
}

/// Wakes the actor when a job is added or abandoned and from time to time, and beats its heart. The tasks
/// end with the state that holds them.
fn timers(myself: &ActorRef<ReconcilerMessage>, house: &House) -> tokio::task::JoinSet<()> {
    let mut timers = tokio::task::JoinSet::new();
    let (actor, wakers) = (myself.clone(), house.clone());
    timers.spawn(async move {
        let mut poll = tokio::time::interval(wakers.options.idle_poll);
        loop {
            tokio::select! {
                _ = poll.tick() => {}
                () = wakers.backlog.addition() => {}
                () = wakers.held.abandonment() => {}
            }
            send(&actor, ReconcilerMessage::Wake);
        }
    });
    let (actor, every) = (myself.clone(), house.options.lease_duration / 3);
    timers.spawn(async move {
        let mut beat = tokio::time::interval(every);
        loop {
            beat.tick().await;
            send(&actor, ReconcilerMessage::Beat);
        }
    });
    timers
}

/// One round. Returns whether another should follow at once.
async fn round(reach: &ReconcilerArguments) -> Result<bool, StoreError> {
    let house = &reach.house;
    // While the object store is away, jobs wait where they are: to claim them would only count interruptions.
    if house.admission.is_draining() || house.objects.available().is_err() {
        return Ok(false);
    }
    let look = house.backlog.before_look();
    let now = Timestamp::now();
    let due = house
        .metadata
        .read("look for due jobs", |tx| async move {
            let mut found = Vec::new();
            for job in jobs::due(&tx, now, ROUND).await? {
                // One that this process holds has vested because process or clock stood still; its lease is
                // about to be extended.
                if house.held.holds(job.id) {
                    continue;
                }
                match photos::get(&tx, job.photo).await {
                    Ok(photo) => found.push((job, photo)),
                    // One record that cannot be read must not hold up those behind it.
                    Err(error @ StoreError::Corrupt { .. }) => {
                        tracing::error!(photo = %job.photo, %error, "a photo's record cannot be read; its job is passed over");
                    }
                    Err(error) => return Err(error),
                }
            }
            Ok(found)
        })
        .await?;
    reach.counters.queue.store(due.len(), Ordering::Relaxed);
    let Some(first) = due.first() else {
        house.backlog.found_empty(look);
        return Ok(false);
    };
    let Some(permits) = Permits::in_order(house, first).await else { return Ok(false) };
    if house.admission.is_draining() {
        return Ok(false); // The wait may have been long.
    }
    let mut reserved = vec![(first, permits)];
    for entry in &due[1..] {
        let Some(permits) = Permits::at_once(house, entry) else { break };
        reserved.push((entry, permits));
    }
    reach.counters.in_flight.store(reserved.len(), Ordering::Relaxed);
    let claimed = claim(reach, reserved).await;
    reach.counters.in_flight.store(0, Ordering::Relaxed);
    let counter = if claimed.is_ok() { &reach.counters.finished } else { &reach.counters.failed };
    counter.fetch_add(*claimed.as_ref().unwrap_or(&1), Ordering::Relaxed);
    claimed.map(|_| true)
}

/// What one waiting photo needs to come into memory.
struct Permits {
    slot: Permit,
    body: Permit,
    pixels: Permit,
}

impl Permits {
    async fn in_order(house: &House, entry: &(Job, Option<Photo>)) -> Option<Self> {
        let (body, pixels) = price(house, entry);
        Some(Self {
            slot: house.admission.slots.waiting(1).await?,
            body: house.admission.bodies.waiting(body).await?,
            pixels: house.admission.pixels.waiting(pixels).await?,
        })
    }

    fn at_once(house: &House, entry: &(Job, Option<Photo>)) -> Option<Self> {
        let (body, pixels) = price(house, entry);
        Some(Self {
            slot: house.admission.slots.try_waiting(1)?,
            body: house.admission.bodies.try_waiting(body)?,
            pixels: house.admission.pixels.try_waiting(pixels)?,
        })
    }
}

/// Bytes for the original, bytes for pixels. A job that took the process with it twice pays with the whole
/// pixel budget, and so runs alone.
fn price(house: &House, (job, photo): &(Job, Option<Photo>)) -> (u64, u64) {
    let Some(photo) = photo else { return (0, 0) };
    if job.deaths_seen_from(house.epoch) >= jobs::DEATHS_BEFORE_ALONE {
        return (photo.original.bytes, house.admission.pixels.total());
    }
    let wanted = wanted(house, job, photo);
    let limits = &house.options.limits;
    let pixels = probe(photo).map_or(0, |probe| probe.cost(&wanted, limits).peak_bytes);
    (photo.original.bytes, pixels)
}

fn probe(photo: &Photo) -> Option<Probe> {
    serde_json::from_value(photo.original.probe.clone()).ok()
}

/// Every preset for a new photo; those that the record lacks, or has under other settings, for a ready one.
fn wanted(house: &House, job: &Job, photo: &Photo) -> Arc<[Preset]> {
    let has = |preset: &&Preset| {
        photo.variants.iter().any(|v| v.preset == preset.name && v.preset_digest == preset.digest())
    };
    match job.kind {
        Kind::Process => house.options.presets.clone().into(),
        Kind::Render => house.options.presets.iter().filter(|preset| !has(preset)).cloned().collect(),
    }
}

/// Claims the jobs that there are permits for and hands them over; how many.
async fn claim(
    reach: &ReconcilerArguments,
    reserved: Vec<(&(Job, Option<Photo>), Permits)>,
) -> Result<u64, StoreError> {
    let house = &reach.house;
    let now = Timestamp::now();
    let until = now.after(house.options.lease_duration);
    let wishes: Vec<_> = reserved
        .iter()
        .map(|((job, _), _)| (job.id, jobs::Lease { id: LeaseId::new(), epoch: house.epoch }))
        .collect();
    let wishes = &wishes;
    let claimed = house
        .metadata
        .transact("claim jobs", |tx| async move {
            let mut claimed = Vec::with_capacity(wishes.len());
            for (id, lease) in wishes {
                let job = jobs::claim(&tx, *id, *lease, now, until).await?;
                let photo = match &job {
                    Some(job) => photos::get(&tx, job.photo).await?,
                    None => None,
                };
                if let (Some(job), None) = (&job, &photo) {
                    jobs::remove(&tx, job)?; // Its photo was deleted.
                }
                claimed.push(job.zip(photo));
            }
            Ok(claimed)
        })
        .await?;
    let mut taken = 0;
    for ((claimed, (_, lease)), (_, permits)) in claimed.into_iter().zip(wishes).zip(reserved) {
        if let Some((job, photo)) = claimed {
            taken += 1;
            metrics::counter!("darkroom_jobs_claimed_total").increment(1);
            let held = house.held.hold(job, *lease);
            hand_over(reach, photo, held, permits);
        }
    }
    Ok(taken)
}

fn hand_over(reach: &ReconcilerArguments, photo: Photo, held: HeldJob, permits: Permits) {
    let house = &reach.house;
    let probe = probe(&photo);
    let wanted = wanted(house, &held.job, &photo);
    let deaths = held.job.deaths;
    let envelope = Envelope { photo, held, wanted, taken_up: Instant::now(), _slot: permits.slot };
    let fail = |envelope, code: &str, detail: String| {
        let why = Fault::Photo(Failure { code: code.to_owned(), detail });
        send(&reach.publisher, PublisherMessage::Fail(Box::new(FailedPhoto { envelope, why })));
    };
    if deaths >= jobs::DEATHS_MAX {
        let detail =
            format!("the process died {deaths} times while decoding this photo; it is not tried again");
        return fail(envelope, "processing-crashed", detail);
    }
    let Some(probe) = probe else {
        let detail = "what the probe found cannot be read any more; upload the photo again".to_owned();
        return fail(envelope, "probe-unreadable", detail);
    };
    let Permits { body, pixels, .. } = permits;
    let accepted = AcceptedPhoto { envelope, probe, body, pixels };
    send(&reach.decoder, DecoderMessage::Decode(Box::new(accepted)));
}

/// What must not wait behind a round that waits for permits: abandoned jobs, and whether too many photos wait.
async fn tend(house: &House) -> Result<(), StoreError> {
    let processing = house
        .metadata
        .read("count photos", |tx| async move { photos::count_of(&tx, State::Processing).await })
        .await?;
    let full = u64::try_from(processing).is_ok_and(|count| count >= house.options.backlog_photos_max);
    house.admission.set_backlog_full(full);
    give_back_abandoned(house).await
}

/// Extends every lease that this process holds.
async fn beat(house: &House) {
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

/// Gives back jobs whose holder in this process has gone: an actor died, or the store failed under it.
pub(crate) async fn give_back_abandoned(house: &House) -> Result<(), StoreError> {
    let now = Timestamp::now();
    loop {
        let mut abandoned = house.held.take_abandoned();
        let later = abandoned.split_off(abandoned.len().min(BATCH));
        let more = !later.is_empty();
        house.held.keep_abandoned(later);
        if abandoned.is_empty() {
            return Ok(());
        }
        let batch = &abandoned;
        let given = house
            .metadata
            .transact("give abandoned jobs back", |tx| async move {
                for Abandoned { job, lease, began } in batch {
                    let how = GiveBack { due: now, counts: false, began: *began, error: None };
                    jobs::give_back(&tx, *job, *lease, &how).await?;
                }
                Ok(())
            })
            .await;
        match given {
            Ok(()) => {
                metrics::counter!("darkroom_jobs_abandoned_total").increment(abandoned.len() as u64);
                house.backlog.added();
            }
            Err(error) => {
                house.held.keep_abandoned(abandoned);
                return Err(error);
            }
        }
        if !more {
            return Ok(());
        }
    }
}
