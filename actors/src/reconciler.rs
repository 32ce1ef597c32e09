//! The Reconciler: brings waiting jobs (from a crash, a full house, another node) back into the pipeline,
//! keeps this process's leases alive, and gives abandoned jobs back to the queue.
//!
//! One round at a time: permits first, in order of arrival, then one transaction that claims as many jobs
//! as there were permits for. A round runs as a task, so that the actor answers while it waits.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use darkroom_media::{Preset, Probe};
use darkroom_store::StoreError;
use darkroom_store::life::Nodes;
use darkroom_store::metadata::Transaction;
use darkroom_store::model::jobs::{self, Class, Due, GiveBack, Horizon, Job, Turn, Turns, Work};
use darkroom_store::model::photos::{self, Failure, Photo, State};
use darkroom_store::model::{LeaseId, Timestamp, nodes};
use ractor::{Actor, ActorProcessingErr, ActorRef};
use rand::Rng;
use tokio::sync::Notify;

use crate::errand::Errand;
use crate::faults::Point;
use crate::heart::{self, Heart};
use crate::held::{Abandoned, HeldJob};
use crate::line::StageCounters;
use crate::permits::Permit;
use crate::stages::decoder::DecoderMessage;
use crate::stages::publisher::PublisherMessage;
use crate::stages::{House, send, start};
use crate::work::{AcceptedPhoto, Envelope, FailedPhoto, Fault};

/// Jobs looked at, and at most claimed, in one round.
const ROUND: usize = 32;
/// Abandoned jobs given back in one transaction.
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
    /// The others were looked after.
    LookedAround,
    /// There may be leases to extend.
    Extend,
    /// They were extended.
    Extended,
    /// Abandoned jobs were given back.
    Tended,
}

pub(crate) struct Reconciler;

pub(crate) struct ReconcilerArguments {
    pub(crate) house: House,
    pub(crate) counters: Arc<StageCounters>,
    pub(crate) decoder: ActorRef<DecoderMessage>,
    pub(crate) publisher: ActorRef<PublisherMessage>,
    /// Told when a node has died.
    pub(crate) nudge_janitor: Arc<Notify>,
}

/// What rounds and beats work with.
struct Reach {
    arguments: ReconcilerArguments,
    /// Whose turn it is. One round runs at a time.
    turns: Mutex<Turns>,
    /// Where the last look found the head of the queue.
    view: Mutex<View>,
    heart: Mutex<Heart>,
}

/// What a look leaves for the next.
#[derive(Debug, Default)]
struct View {
    horizon: Horizon,
    /// When a look began at the beginning.
    whole: Option<Instant>,
}

impl std::ops::Deref for Reach {
    type Target = ReconcilerArguments;

    fn deref(&self) -> &ReconcilerArguments {
        &self.arguments
    }
}

impl Reach {
    fn turns(&self) -> std::sync::MutexGuard<'_, Turns> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self) -> std::sync::MutexGuard<'_, View> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where to begin to look: from time to time at the beginning.
    fn horizon(&self) -> Horizon {
        let mut view = self.view();
        if view.whole.is_none_or(|last| last.elapsed() >= self.house.options.idle_poll) {
            *view = View { horizon: Horizon::default(), whole: Some(Instant::now()) };
        }
        view.horizon.clone()
    }
}

pub(crate) struct ReconcilerState {
    reach: Arc<Reach>,
    round: Errand,
    /// A beat waits neither for leases nor for the others: it says that this node lives.
    beat: Errand,
    looking_around: Errand,
    extending: Errand,
    /// A test has the heart stand still.
    standstill: bool,
    tending: Errand,
    _timers: tokio::task::JoinSet<()>,
}

impl ReconcilerState {
    /// Begins what keeps this node, and what it holds, alive, and finds out who is not.
    fn begin_signs_of_life(&mut self, myself: &ActorRef<ReconcilerMessage>) {
        if self.beat.begins() {
            let reach = self.reach.clone();
            let work = async move { heart::beat(&reach.house, &reach.heart).await };
            start(myself, work, |(), _| ReconcilerMessage::BeatEnded);
        }
        if self.looking_around.begins() {
            let reach = self.reach.clone();
            let work =
                async move { heart::look_around(&reach.house, &reach.heart, &reach.nudge_janitor).await };
            start(myself, work, |(), _| ReconcilerMessage::LookedAround);
        }
        if self.extending.begins() {
            let reach = self.reach.clone();
            let work = async move { heart::extend_leases(&reach.house).await };
            start(myself, work, |(), _| ReconcilerMessage::Extended);
        }
    }
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
            reach: Arc::new(Reach {
                arguments,
                turns: Mutex::default(),
                view: Mutex::default(),
                heart: Mutex::default(),
            }),
            round: Errand::default(),
            beat: Errand::default(),
            looking_around: Errand::default(),
            extending: Errand::default(),
            standstill: false,
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
            ReconcilerMessage::Beat => {
                state.standstill = state.reach.house.faults.skips(Point::Heartbeat);
                if !state.standstill {
                    state.beat.want();
                }
            }
            ReconcilerMessage::BeatEnded => {
                state.beat.ended();
                state.looking_around.want();
            }
            ReconcilerMessage::LookedAround => state.looking_around.ended(),
            ReconcilerMessage::Extend if state.standstill => {}
            ReconcilerMessage::Extend => state.extending.want(),
            ReconcilerMessage::Extended => state.extending.ended(),
        }
        state.begin_signs_of_life(&myself);
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

/// Wakes the actor when a job is added or abandoned and from time to time, beats its heart, and has it extend leases. The
/// tasks end with the state that holds them.
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
    let mut every = |interval, message: fn() -> ReconcilerMessage| {
        let actor = myself.clone();
        timers.spawn(async move {
            let mut ticks = tokio::time::interval(interval);
            loop {
                ticks.tick().await;
                send(&actor, message());
            }
        });
    };
    every(heart::interval(house), || ReconcilerMessage::Beat);
    every(heart::extension_interval(house), || ReconcilerMessage::Extend);
    timers
}

/// A due job whose turn it is.
struct Found {
    job: Job,
    /// None if it was deleted.
    photo: Option<Photo>,
    /// How often the process died while decoding it.
    deaths: u32,
    /// Whose turn it is after it.
    after: Turns,
}

/// One round. Returns whether another should follow at once.
async fn round(reach: &Reach) -> Result<bool, StoreError> {
    let house = &reach.house;
    // While the object store is away, jobs wait where they are: to claim them would only count interruptions.
    if house.admission.is_draining() || house.objects.available().is_err() {
        return Ok(false);
    }
    let look = house.backlog.before_look();
    let chosen = choose(reach, &look_for_due(reach).await?);
    reach.counters.queue.store(chosen.len(), Ordering::Relaxed);
    // Fresh uploads are interactive: they queue behind their like, not behind what is less urgent.
    if !chosen.iter().any(|turn| turn.due.class == Class::Interactive) {
        house.backlog.found_empty(look);
    }
    let mut candidates = Candidates::new(house, chosen);
    let Some(first) = candidates.next().await? else {
        house.backlog.found_empty(look); // Settled since the look, all of them, or unreadable.
        return Ok(false);
    };
    let Some(permits) = Permits::in_order(house, &first).await else { return Ok(false) };
    if house.admission.is_draining() {
        return Ok(false); // The wait may have been long.
    }
    let mut reserved = vec![(first, permits)];
    while let Some(entry) = candidates.next().await? {
        let Some(permits) = Permits::at_once(house, &entry) else { break };
        reserved.push((entry, permits));
    }
    if let Some((last, _)) = reserved.last() {
        *reach.turns() = last.after;
    }
    reach.counters.in_flight.store(reserved.len(), Ordering::Relaxed);
    let claimed = claim(reach, reserved).await;
    reach.counters.in_flight.store(0, Ordering::Relaxed);
    let counter = if claimed.is_ok() { &reach.counters.finished } else { &reach.counters.failed };
    counter.fetch_add(*claimed.as_ref().unwrap_or(&1), Ordering::Relaxed);
    claimed.map(|_| true)
}

/// Among how many of the longest due one is chosen.
fn among(house: &House) -> usize {
    match house.nodes {
        Nodes::Alone => 1,
        Nodes::Many => house.options.claim_among,
    }
}

async fn look_for_due(reach: &Reach) -> Result<Vec<Due>, StoreError> {
    let house = &reach.house;
    let (now, limit, horizon) = (Timestamp::now(), ROUND + among(house), &reach.horizon());
    let mut due = house
        .metadata
        .read("look for due jobs", |tx| async move { jobs::due_beyond(&tx, horizon, now, limit).await })
        .await?;
    reach.view().horizon = Horizon::after(&due, now, house.options.clock_skew_max);
    // One that this process holds has vested because process or clock stood still; its lease is about to be
    // extended.
    due.retain(|due| !house.held.holds(due.id));
    Ok(due)
}

fn choose(reach: &Reach, due: &[Due]) -> Vec<Turn> {
    let house = &reach.house;
    let mut random = rand::rng();
    let dice = |among: usize| random.random_range(0..among);
    jobs::choose(due, *reach.turns(), house.options.class_shares, (ROUND, among(house)), dice)
}

/// What was chosen, read with its photos as it is asked for: one, then two, then four. Where one place comes free at a
/// time, to read all that wait for it would cost more than the round does.
struct Candidates<'a> {
    house: &'a House,
    chosen: std::vec::IntoIter<Turn>,
    read: std::vec::IntoIter<Found>,
    /// How many to read next.
    step: usize,
}

impl<'a> Candidates<'a> {
    fn new(house: &'a House, chosen: Vec<Turn>) -> Self {
        Self { house, chosen: chosen.into_iter(), read: Vec::new().into_iter(), step: 1 }
    }

    async fn next(&mut self) -> Result<Option<Found>, StoreError> {
        loop {
            if let Some(found) = self.read.next() {
                return Ok(Some(found));
            }
            let turns: Vec<_> = self.chosen.by_ref().take(self.step).collect();
            if turns.is_empty() {
                return Ok(None);
            }
            self.step *= 2;
            self.read = load(self.house, turns).await?.into_iter();
        }
    }
}

/// Reads what was chosen, with its photos.
async fn load(house: &House, chosen: Vec<Turn>) -> Result<Vec<Found>, StoreError> {
    let chosen = &chosen;
    let load = |tx| async move {
        let mut found = Vec::with_capacity(chosen.len());
        for Turn { due, after } in chosen {
            match load_one(&tx, due).await {
                Ok(Some((job, photo, deaths))) => found.push(Found { job, photo, deaths, after: *after }),
                Ok(None) => {} // Settled since the look.
                // One record that cannot be read must not hold up those behind it.
                Err(error @ StoreError::Corrupt { .. }) => {
                    tracing::error!(job = %due.id, %error, "a due job or its photo cannot be read; it is passed over");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    };
    house.metadata.read("read due jobs", load).await
}

async fn load_one(tx: &Transaction, due: &Due) -> Result<Option<(Job, Option<Photo>, u32)>, StoreError> {
    let Some(job) = jobs::get(tx, due.id).await? else { return Ok(None) };
    let photo = photo_of(tx, &job).await?;
    let deaths = jobs::deaths(tx, &job).await?;
    Ok(Some((job, photo, deaths)))
}

/// The photo that the job is about, unless it was deleted.
pub(crate) async fn photo_of(tx: &Transaction, job: &Job) -> Result<Option<Photo>, StoreError> {
    match &job.work {
        Work::Process { photo } | Work::Render { photo } => photos::get(tx, *photo).await,
    }
}

/// What one waiting photo needs to come into memory.
struct Permits {
    slot: Permit,
    body: Permit,
    pixels: Permit,
}

impl Permits {
    async fn in_order(house: &House, entry: &Found) -> Option<Self> {
        let (body, pixels) = price(house, entry);
        Some(Self {
            slot: house.admission.slots.waiting(1).await?,
            body: house.admission.bodies.waiting(body).await?,
            pixels: house.admission.pixels.waiting(pixels).await?,
        })
    }

    fn at_once(house: &House, entry: &Found) -> Option<Self> {
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
fn price(house: &House, found: &Found) -> (u64, u64) {
    let Some(photo) = &found.photo else { return (0, 0) };
    if found.deaths >= jobs::DEATHS_BEFORE_ALONE {
        return (photo.original.bytes, house.admission.pixels.total());
    }
    let wanted = wanted(house, &found.job, photo);
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
    match job.work {
        Work::Process { .. } => house.options.presets.clone().into(),
        Work::Render { .. } => house.options.presets.iter().filter(|preset| !has(preset)).cloned().collect(),
    }
}

/// Claims the jobs that there are permits for and hands them over; how many.
async fn claim(reach: &Reach, reserved: Vec<(Found, Permits)>) -> Result<u64, StoreError> {
    let house = &reach.house;
    let now = Timestamp::now();
    let until = now.after(house.options.lease_duration);
    let epoch = house.epoch;
    let wishes: Vec<_> =
        reserved.iter().map(|(found, _)| (found.job.id, jobs::Lease { id: LeaseId::new(), epoch })).collect();
    let wishes = &wishes;
    let claimed = house
        .metadata
        .transact("claim jobs", |tx| async move {
            if nodes::is_dead(&tx, epoch).await? {
                return Ok(None);
            }
            let mut claimed = Vec::with_capacity(wishes.len());
            for (id, lease) in wishes {
                let Some(job) = jobs::claim(&tx, *id, *lease, now, until).await? else {
                    claimed.push(Claimed::BySomebodyElse);
                    continue;
                };
                claimed.push(if let Some(photo) = photo_of(&tx, &job).await? {
                    Claimed::ByUs(Box::new((job, photo)))
                } else {
                    jobs::remove(&tx, &job)?; // Its photo was deleted.
                    Claimed::Superfluous
                });
            }
            Ok(Some(claimed))
        })
        .await?;
    let Some(claimed) = claimed else {
        heart::declared_dead(house);
        return Ok(0);
    };
    let mut taken = 0;
    for ((claimed, (_, lease)), (_, permits)) in claimed.into_iter().zip(wishes).zip(reserved) {
        match claimed {
            Claimed::ByUs(claimed) => {
                let (job, photo) = *claimed;
                taken += 1;
                count_claim(&job);
                let held = house.held.hold(job, *lease);
                hand_over(reach, photo, held, permits);
            }
            Claimed::BySomebodyElse => {
                metrics::counter!("darkroom_jobs_claim_conflicts_total").increment(1);
            }
            Claimed::Superfluous => {}
        }
    }
    Ok(taken)
}

/// What became of a job that was to be claimed.
enum Claimed {
    ByUs(Box<(Job, Photo)>),
    /// Or it was settled meanwhile.
    BySomebodyElse,
    Superfluous,
}

fn count_claim(job: &Job) {
    metrics::counter!("darkroom_jobs_claimed_total", "class" => job.class.as_str()).increment(1);
    if job.taken_from.is_some() {
        metrics::counter!("darkroom_jobs_stolen_total").increment(1);
    }
}

fn hand_over(reach: &Reach, photo: Photo, held: HeldJob, permits: Permits) {
    let house = &reach.house;
    let probe = probe(&photo);
    let wanted = wanted(house, &held.job, &photo);
    let deaths = held.job.deaths;
    let envelope = Envelope { photo, held, wanted, taken_up: Instant::now(), _slot: permits.slot };
    let give_up = |envelope, code: &str, detail: String| {
        let why = Fault::GivenUp(Failure { code: code.to_owned(), detail });
        send(&reach.publisher, PublisherMessage::Fail(Box::new(FailedPhoto { envelope, why })));
    };
    if deaths >= jobs::DEATHS_MAX {
        let detail =
            format!("the process died {deaths} times while decoding this photo; it is not tried again");
        return give_up(envelope, "processing-crashed", detail);
    }
    let Some(probe) = probe else {
        let detail = "what the probe found cannot be read any more; upload the photo again".to_owned();
        return give_up(envelope, "probe-unreadable", detail);
    };
    let Permits { body, pixels, .. } = permits;
    let accepted = AcceptedPhoto { envelope, probe, body, pixels };
    send(&reach.decoder, DecoderMessage::Decode(Box::new(accepted)));
}

/// What must not wait behind a round that waits for permits: abandoned jobs, and how many photos wait.
async fn tend(house: &House) -> Result<(), StoreError> {
    let processing = &house.admission.processing;
    let before = processing.before_count();
    let count = house
        .metadata
        .read("count photos", |tx| async move { photos::count_of(&tx, State::Processing).await })
        .await?;
    processing.counted(count, before);
    give_back_abandoned(house).await
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
                let how = &GiveBack { now, due: now, counts: false, error: None };
                let mut unreadable = Vec::new();
                for Abandoned { job, lease } in batch {
                    match jobs::give_back(&tx, *job, *lease, how).await {
                        Ok(_) => {}
                        // It would hold up the others for ever, and the end of the process.
                        Err(error @ StoreError::Corrupt { .. }) => unreadable.push((*job, error)),
                        Err(error) => return Err(error),
                    }
                }
                Ok(unreadable)
            })
            .await;
        match given {
            Ok(unreadable) => {
                for (job, error) in unreadable {
                    tracing::error!(%job, %error, "an abandoned job cannot be read; it is not given back");
                }
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
