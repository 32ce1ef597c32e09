//! Two nodes over one store, and thousands of leases that run out under their holders: every effect exactly once.
//!
//! The nodes run the queue's real transactions: look, choose, claim, begin an attempt, extend, publish. Publishing is
//! not idempotent by itself: it adds to counters and appends to the change log. Some workers stand still for longer
//! than their lease, others take their jobs, and the first wake up and publish as if nothing had happened. Some transactions
//! run a second time, as after a commit whose outcome was unknown. The nodes' clocks disagree.
//!
//! Time is virtual: it passes with each transaction, and where everybody waits it jumps to when some need not any
//! more. So nothing here depends on the speed of the disk. What is drawn is drawn from a seed, which is printed;
//! `SEED` gives it back.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[macro_use]
mod engines;
mod fixtures;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::metadata::{Metadata, RangeOptions, Transaction};
use darkroom_store::model::changes::{Change, What};
use darkroom_store::model::jobs::{self, Class, Horizon, Job, Lease, Turns};
use darkroom_store::model::photos::{self, Created, Creation, Made, Settled, Settling, State};
use darkroom_store::model::{Epoch, JobId, LeaseId, PhotoId, Timestamp, nodes, objects, record, subspaces};
use engines::{Engine, Place};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::oneshot;

const JOBS: usize = 10_000;
/// One job becomes due so often, in virtual milliseconds: about as fast as the workers take them.
const ARRIVAL_MS: u64 = 5;
const WORKERS: usize = 96;
const LEASE_MS: u64 = 1000;
const AMONG: usize = 16;
const WHOLE_LOOK_MS: u64 = 1000;
/// Share of attempts in which a worker stands still for longer than its lease.
const STANDSTILLS: f64 = 0.2;
/// Share of transactions that run twice.
const UNKNOWN: f64 = 0.1;
const STOLEN_MIN: usize = 1000;
/// How far time jumps where everybody waits: so many wake up together, and share their syncs.
const JUMP_MS: u64 = 100;
const START: u64 = 1_000_000;
/// The test has failed when nothing was published for so much real time: something is never settled.
const PATIENCE: Duration = Duration::from_secs(60);

cases! { crate::run:
    ten_thousand_jobs_under_random_pauses_have_every_effect_exactly_once,
}

/// Runs a case on an empty store of `engine`.
async fn run(engine: Engine, case: impl AsyncFnOnce(Metadata)) {
    engines::run(engine, |place: Place| async move { case(place.open().await).await }).await;
}

/// Virtual time.
struct Clock(Mutex<Hands>);

struct Hands {
    now: u64,
    waiting: BTreeMap<(u64, u64), oneshot::Sender<()>>,
    waits: u64,
    participants: usize,
}

impl Hands {
    fn wake(&mut self) {
        if self.waiting.len() == self.participants
            && let Some(((first, _), _)) = self.waiting.first_key_value()
        {
            self.now = self.now.max(*first + JUMP_MS);
        }
        while self.waiting.first_key_value().is_some_and(|((at, _), _)| *at <= self.now) {
            let (_, sleeper) = self.waiting.pop_first().unwrap();
            // Nobody stops waiting.
            let _ = sleeper.send(());
        }
    }
}

impl Clock {
    fn now(&self) -> u64 {
        self.0.lock().unwrap().now
    }

    fn tick(&self) {
        let mut hands = self.0.lock().unwrap();
        hands.now += 1;
        hands.wake();
    }

    async fn sleep(&self, millis: u64) {
        let (sleeper, woken) = oneshot::channel();
        {
            let mut hands = self.0.lock().unwrap();
            hands.waits += 1;
            let key = (hands.now + millis, hands.waits);
            hands.waiting.insert(key, sleeper);
            hands.wake();
        }
        woken.await.unwrap();
    }

    fn leave(&self) {
        let mut hands = self.0.lock().unwrap();
        hands.participants -= 1;
        hands.wake();
    }
}

#[derive(Default)]
struct Counts {
    published: AtomicUsize,
    stolen: AtomicUsize,
    lost: AtomicUsize,
    beaten: AtomicUsize,
    repeated: AtomicUsize,
}

impl Counts {
    fn add(counter: &AtomicUsize) {
        counter.fetch_add(1, Ordering::SeqCst);
    }
}

struct World {
    metadata: Metadata,
    clock: Clock,
    counts: Counts,
}

impl World {
    fn unfinished(&self) -> bool {
        self.counts.published.load(Ordering::SeqCst) < JOBS
    }

    /// Runs a transaction, sometimes twice.
    async fn transact<T, F, Fut>(&self, random: &mut StdRng, run: F) -> T
    where
        F: Fn(Transaction) -> Fut + Send + Sync,
        Fut: Future<Output = Result<T, StoreError>> + Send,
        T: Send,
    {
        let answer = self.metadata.transact("test", &run).await.unwrap();
        self.clock.tick();
        if !random.random_bool(UNKNOWN) {
            return answer;
        }
        Counts::add(&self.counts.repeated);
        self.metadata.transact("test again", &run).await.unwrap()
    }
}

/// One node: its clock differs, and its heartbeat extends what its workers hold.
struct Node {
    world: Arc<World>,
    epoch: Epoch,
    skew: u64,
    held: Mutex<HashMap<JobId, LeaseId>>,
    /// Where the last look found the head of the queue, and when one began at the beginning.
    view: Mutex<(Horizon, u64)>,
}

impl Node {
    fn now(&self) -> Timestamp {
        Timestamp(self.world.clock.now() + self.skew)
    }

    async fn beat(&self, mut random: StdRng) {
        while self.world.unfinished() {
            self.world.clock.sleep(LEASE_MS / 3).await;
            let held: Vec<_> = self.held.lock().unwrap().iter().map(|(job, lease)| (*job, *lease)).collect();
            let (held, until) = (&held, self.now().after(Duration::from_millis(LEASE_MS)));
            let lost = self.world.transact(&mut random, |tx| async move {
                let mut lost = Vec::new();
                for (job, lease) in held {
                    if !jobs::extend(&tx, *job, *lease, until).await? {
                        lost.push(*job);
                    }
                }
                Ok(lost)
            });
            for job in lost.await {
                self.held.lock().unwrap().remove(&job);
            }
        }
        self.world.clock.leave();
    }

    async fn work(&self, mut random: StdRng) {
        let mut turns = Turns::default();
        while self.world.unfinished() {
            match self.claim(&mut turns, &mut random).await {
                Some((job, lease)) => self.process(job, lease, &mut random).await,
                None => self.world.clock.sleep(random.random_range(50..300)).await,
            }
        }
        self.world.clock.leave();
    }

    fn horizon(&self) -> Horizon {
        let (mut view, now) = (self.view.lock().unwrap(), self.world.clock.now());
        if now >= view.1 + WHOLE_LOOK_MS {
            *view = (Horizon::default(), now);
        }
        view.0.clone()
    }

    async fn claim(&self, turns: &mut Turns, random: &mut StdRng) -> Option<(Job, Lease)> {
        let (world, now) = (&self.world, self.now());
        let horizon = &self.horizon();
        let look = |tx| async move { jobs::due_beyond(&tx, horizon, now, AMONG).await };
        let mut due = world.metadata.read("look", look).await.unwrap();
        self.view.lock().unwrap().0 = Horizon::after(&due, now, Duration::from_millis(LEASE_MS));
        due.retain(|due| !self.held.lock().unwrap().contains_key(&due.id));
        let dice = |among: usize| random.random_range(0..among);
        let chosen = *jobs::choose(&due, *turns, jobs::SHARES_DEFAULT, (1, AMONG), dice).first()?;
        *turns = chosen.after;
        let lease = Lease { id: LeaseId::new(), epoch: self.epoch };
        let (id, until) = (chosen.due.id, now.after(Duration::from_millis(LEASE_MS)));
        let claimed =
            world.transact(random, |tx| async move { jobs::claim(&tx, id, lease, now, until).await }).await;
        let Some(job) = claimed else {
            Counts::add(&world.counts.beaten);
            return None;
        };
        if job.taken_from.is_some() {
            Counts::add(&world.counts.stolen);
        }
        self.held.lock().unwrap().insert(id, lease.id);
        Some((job, lease))
    }

    async fn process(&self, job: Job, lease: Lease, random: &mut StdRng) {
        let (world, id) = (&self.world, job.id);
        let begun =
            world.transact(random, |tx| async move { jobs::begin_attempt(&tx, id, lease).await }).await;
        if begun.is_break() {
            return self.let_go(id, lease);
        }
        if random.random_bool(STANDSTILLS) {
            // It stands still: no heartbeat either.
            self.let_go(id, lease);
            world.clock.sleep(random.random_range(LEASE_MS..3 * LEASE_MS)).await;
        } else {
            world.clock.sleep(random.random_range(0..LEASE_MS / 2)).await;
        }
        let photo = job.photo().unwrap();
        let by = Settling { photo, job: id, lease, now: self.now(), history: 0 };
        let made = &Made::default();
        match world.transact(random, |tx| async move { photos::publish(&tx, &by, made).await }).await {
            Settled::Done(_) => Counts::add(&world.counts.published),
            Settled::LeaseLost => {
                Counts::add(&world.counts.lost);
                world.transact(random, |tx| async move { jobs::end_attempt(&tx, id, lease).await }).await;
            }
            other => panic!("{other:?}"),
        }
        self.let_go(id, lease);
    }

    fn let_go(&self, job: JobId, lease: Lease) {
        let mut held = self.held.lock().unwrap();
        if held.get(&job) == Some(&lease.id) {
            held.remove(&job);
        }
    }
}

async fn fill(metadata: &Metadata, epoch: Epoch) -> Vec<PhotoId> {
    let mut ids = Vec::with_capacity(JOBS);
    for batch in (0..JOBS).collect::<Vec<_>>().chunks(200) {
        let creations: Vec<_> = batch.iter().map(|number| creation(*number, epoch)).collect();
        let creations = &creations;
        metadata
            .transact("fill", |tx| async move {
                for creation in creations {
                    objects::intend(&tx, epoch, std::slice::from_ref(&creation.photo.original.object))?;
                    assert!(matches!(photos::create(&tx, creation).await?, Created::New(_)));
                }
                Ok(())
            })
            .await
            .unwrap();
        ids.extend(creations.iter().map(|creation| creation.photo.id));
    }
    ids
}

fn creation(number: usize, epoch: Epoch) -> Creation {
    let due = Timestamp(START + number as u64 * ARRIVAL_MS);
    let mut creation = fixtures::creation(&number.to_le_bytes(), epoch, due);
    creation.job.class = Class::ALL[number % 3];
    creation
}

async fn ten_thousand_jobs_under_random_pauses_have_every_effect_exactly_once(metadata: Metadata) {
    let seed: u64 = std::env::var("SEED").map_or_else(|_| rand::random(), |text| text.parse().unwrap());
    println!("SEED={seed}");
    let mut epochs = Vec::new();
    for _ in 0..2 {
        let (process, now) = (uuid::Uuid::new_v4(), Timestamp(START));
        let begin = |tx| async move { nodes::begin_epoch(&tx, process, now).await };
        epochs.push(metadata.transact("begin", begin).await.unwrap());
    }
    let ids = fill(&metadata, epochs[0]).await;

    let hands =
        Hands { now: START, waiting: BTreeMap::new(), waits: 0, participants: epochs.len() * (WORKERS + 1) };
    let (clock, counts) = (Clock(Mutex::new(hands)), Counts::default());
    let world = Arc::new(World { metadata, clock, counts });
    let began = std::time::Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (number, epoch) in epochs.into_iter().enumerate() {
        let node = Node {
            world: world.clone(),
            epoch,
            skew: number as u64 * LEASE_MS / 5,
            held: Mutex::default(),
            view: Mutex::default(),
        };
        let node = Arc::new(node);
        let random = |worker: usize| StdRng::seed_from_u64(seed ^ ((number * 1000 + worker) as u64) << 32);
        for worker in 0..WORKERS {
            let (node, random) = (node.clone(), random(worker));
            tasks.spawn(async move { node.work(random).await });
        }
        let random = random(WORKERS);
        tasks.spawn(async move { node.beat(random).await });
    }
    let settled = all_settled(&world.counts.published, tasks).await;
    let count = |counter: &AtomicUsize| counter.load(Ordering::SeqCst);
    let Counts { published, stolen, lost, beaten, repeated } = &world.counts;
    println!(
        "{} published, {} leases stolen by vesting, {} results discarded because their lease was lost, {} claims lost \
         to another, {} transactions run twice, in {:.1?}",
        count(published),
        count(stolen),
        count(lost),
        count(beaten),
        count(repeated),
        began.elapsed()
    );
    assert!(settled, "some jobs are never settled");
    check(&world.metadata, &ids).await;
    assert!(count(stolen) >= STOLEN_MIN, "{} stolen", count(stolen));
    assert!(count(lost) > 0, "somebody woke after its lease had gone");
}

/// Waits for the workers for as long as they get on; whether all came to their end.
async fn all_settled(published: &AtomicUsize, workers: tokio::task::JoinSet<()>) -> bool {
    let mut ended = std::pin::pin!(workers.join_all());
    let mut before = 0;
    loop {
        if tokio::time::timeout(PATIENCE, &mut ended).await.is_ok() {
            return true;
        }
        let now = published.load(Ordering::SeqCst);
        if now == before {
            return false;
        }
        before = now;
    }
}

/// Every photo is ready, was counted once and announced once, and nothing is left of any job.
async fn check(metadata: &Metadata, ids: &[PhotoId]) {
    let counts = metadata.read("counts", |tx| async move { photos::counts(&tx).await }).await.unwrap();
    assert_eq!(counts, [(State::Processing, 0), (State::Ready, JOBS as i64), (State::Failed, 0)]);

    let mut announced: HashMap<PhotoId, usize> = HashMap::new();
    let mut left = subspaces::CHANGES.all();
    loop {
        let range = &left;
        let page = |tx: Transaction| async move { tx.get_range(range, RangeOptions::first(1000)).await };
        let rows = metadata.read("changes", page).await.unwrap();
        let Some((last, _)) = rows.last() else { break };
        let next = left.after(last);
        for (key, value) in &rows {
            match record::decode::<Change>(key, value).unwrap().what {
                What::PhotoReady { photo, .. } => *announced.entry(photo).or_default() += 1,
                other => panic!("{other:?}"),
            }
        }
        left = next;
    }
    assert_eq!(announced.len(), JOBS);
    assert!(ids.iter().all(|id| announced.get(id) == Some(&1)), "each exactly once");

    let spaces =
        [subspaces::JOBS, subspaces::JOBS_BY_VESTING, subspaces::JOBS_BY_PHOTO, subspaces::JOBS_BY_EPOCH];
    for space in spaces {
        let all = &space.all();
        let rows = |tx: Transaction| async move { tx.get_range(all, RangeOptions::first(1)).await };
        assert!(metadata.read("left", rows).await.unwrap().is_empty(), "{space:?}");
    }
}
