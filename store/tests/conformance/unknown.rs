//! Commits whose outcome is unknown: a transaction that reads its own marker takes effect exactly once, whatever became
//! of the commits before the one that was heard of.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{CommitFault, Metadata, RetryOptions, Transaction};
use darkroom_store::model::jobs::{self, GiveBack, Job, Kind, Lease};
use darkroom_store::model::photos::{
    self, Created, Creation, Failure, Made, Photo, Settled, Settling, Variant,
};
use darkroom_store::model::subspaces::CHANGES;
use darkroom_store::model::{Epoch, JobId, LeaseId, PhotoId, Timestamp, blobs, nodes, objects};
use darkroom_store::objects::{ObjectKey, ObjectKind};
use rand::Rng;
use rand::rngs::StdRng;
use std::time::Duration;
use uuid::Uuid;

use super::model::random_generator;
use super::{Store, integer};
use crate::fixtures;

/// What becomes of the commits of one transaction, one after the other; nothing out of the ordinary after these.
const COURSES: [&[CommitFault]; 6] = [
    &[CommitFault::AnswerLost],
    &[CommitFault::CommitLost],
    &[CommitFault::AnswerLost, CommitFault::Conflict],
    &[CommitFault::CommitLost, CommitFault::Conflict],
    &[CommitFault::AnswerLost, CommitFault::AnswerLost, CommitFault::Conflict],
    &[CommitFault::CommitLost, CommitFault::AnswerLost, CommitFault::CommitLost],
];

/// A handle whose next transaction goes the course that was laid out.
struct Faulty {
    metadata: Metadata,
    course: Arc<Mutex<VecDeque<CommitFault>>>,
}

impl Faulty {
    fn new(store: &Store) -> Self {
        let course = Arc::<Mutex<VecDeque<CommitFault>>>::default();
        let next = Arc::clone(&course);
        let metadata = store
            .metadata
            .with_faults(move || next.lock().expect("a course").pop_front().unwrap_or(CommitFault::None));
        Self { metadata, course }
    }

    fn go(&self, course: &[CommitFault]) {
        *self.course.lock().expect("a course") = course.iter().copied().collect();
    }

    fn assert_gone(&self) {
        assert!(self.course.lock().expect("a course").is_empty(), "not every fault struck");
    }
}

/// Counts once by its marker, however often it runs.
async fn add_once(tx: &Transaction, marker: &[u8]) -> Result<(), StoreError> {
    if tx.get(marker).await?.is_none() {
        tx.set(marker, b"")?;
        tx.atomic_add(b"n", 1)?;
        tx.set_versionstamped_key(b"log/", b"", marker)?;
    }
    Ok(())
}

pub(crate) async fn a_marked_transaction_is_applied_exactly_once(store: Store) {
    let faulty = Faulty::new(&store);
    for (number, course) in COURSES.iter().enumerate() {
        faulty.go(course);
        let marker = &[b'm', number as u8];
        faulty
            .metadata
            .transact("once", |tx| async move { add_once(&tx, marker).await })
            .await
            .expect("once");
        faulty.assert_gone();
        assert_eq!(store.get(b"n").await, Some(integer(number as i64 + 1)), "{course:?}");
    }
    let logged = store.all().await.into_iter().filter(|(key, _)| key.starts_with(b"log/")).count();
    assert_eq!(logged, COURSES.len());
}

/// The same without a marker counts twice: what the markers are for, and that the faults are what they say.
pub(crate) async fn an_unmarked_one_is_not(store: Store) {
    let faulty = Faulty::new(&store);
    let add = |tx: Transaction| async move { tx.atomic_add(b"n", 1) };
    faulty.go(&[CommitFault::AnswerLost]);
    faulty.metadata.transact("twice", add).await.expect("twice");
    assert_eq!(store.get(b"n").await, Some(integer(2)));
    faulty.go(&[CommitFault::CommitLost]);
    faulty.metadata.transact("once", add).await.expect("once");
    assert_eq!(store.get(b"n").await, Some(integer(3)));
}

/// When the deadline passes before a commit was heard of, the answer is that nothing is known: not that nothing was
/// written.
pub(crate) async fn an_outcome_that_stays_unknown_is_told_as_such(store: Store) {
    let faults = Arc::new(Mutex::new(VecDeque::from([CommitFault::AnswerLost])));
    let metadata = store
        .metadata
        .with_faults(move || faults.lock().expect("faults").pop_front().unwrap_or(CommitFault::Conflict))
        .with_retry(RetryOptions { deadline: Duration::from_millis(50), ..RetryOptions::default() });
    let outcome = metadata.transact("unknown", |tx| async move { tx.set(b"k", b"v") }).await;
    assert!(matches!(outcome, Err(StoreError::CommitUnknown)), "{outcome:?}");
    assert_eq!(store.get(b"k").await, Some(b"v".to_vec()), "here it was written");
    let refused = store
        .metadata
        .with_faults(|| CommitFault::Conflict)
        .with_retry(RetryOptions { deadline: Duration::from_millis(50), ..RetryOptions::default() });
    let outcome = refused.transact("refused", |tx| async move { tx.set(b"l", b"v") }).await;
    assert!(matches!(outcome, Err(StoreError::Contended { .. })), "{outcome:?}");
    assert_eq!(store.get(b"l").await, None);
}

/// Many writers at once, faults from a seed: every marked transaction counts exactly once.
pub(crate) async fn random_faults_under_many_writers(store: Store) {
    const WRITERS: u8 = 8;
    const TURNS: u8 = 25;
    let mut random = random_generator("random_faults_under_many_writers");
    let seeds: Mutex<StdRng> = Mutex::new(rand::SeedableRng::from_rng(&mut random));
    let faulty = store.metadata.with_faults(move || match seeds.lock().expect("a seed").random_range(0..6) {
        0 => CommitFault::AnswerLost,
        1 => CommitFault::CommitLost,
        2 => CommitFault::Conflict,
        _ => CommitFault::None,
    });
    let tasks = (0..WRITERS).map(|writer| {
        let metadata = faulty.clone();
        tokio::spawn(async move {
            for turn in 0..TURNS {
                let marker = &[b'm', writer, turn];
                metadata
                    .transact("once", |tx| async move { add_once(&tx, marker).await })
                    .await
                    .expect("once");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task");
    }
    let expected = i64::from(WRITERS) * i64::from(TURNS);
    assert_eq!(store.get(b"n").await, Some(integer(expected)));
    let logged = store.all().await.into_iter().filter(|(key, _)| key.starts_with(b"log/")).count();
    assert_eq!(logged as i64, expected);
}

/// Everything that the model's transactions are given from outside.
struct Cast {
    first: Creation,
    second: Creation,
    third: Creation,
    variants: Vec<Variant>,
    newer: Vec<Variant>,
    unused: Vec<ObjectKey>,
    render: JobId,
    leases: [LeaseId; 4],
    process: Uuid,
}

const NOW: Timestamp = Timestamp(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const EPOCH: Epoch = Epoch(1);

fn creation(content: &[u8]) -> Creation {
    let lease = Lease { id: LeaseId::new(), epoch: EPOCH };
    let creation = fixtures::creation(content, EPOCH, NOW);
    Creation { job: creation.job.clone().leased(lease, NOW.after(MINUTE)), ..creation }
}

fn variant(preset: &str) -> Variant {
    fixtures::variant(preset, NOW)
}

impl Cast {
    fn new() -> Self {
        Self {
            first: creation(b"first"),
            second: creation(b"second"),
            third: creation(b"third"),
            variants: vec![variant("large"), variant("small")],
            newer: vec![variant("large")],
            unused: vec![ObjectKey::new(ObjectKind::Variant)],
            render: JobId::new(),
            leases: std::array::from_fn(|_| LeaseId::new()),
            process: Uuid::new_v4(),
        }
    }

    fn keys(&self) -> Vec<ObjectKey> {
        let originals =
            [&self.first, &self.second, &self.third].map(|creation| creation.photo.original.object.clone());
        let variants = self.variants.iter().chain(&self.newer).map(|variant| variant.object.clone());
        originals.into_iter().chain(variants).chain(self.unused.iter().cloned()).collect()
    }
}

fn settling(creation: &Creation, job: JobId, lease: LeaseId) -> Settling {
    let lease = Lease { id: lease, epoch: EPOCH };
    Settling { photo: creation.photo.id, job, lease, now: NOW.after(MINUTE), history: 0 }
}

/// Runs `$body` in a transaction of `$faulty` that goes the course.
macro_rules! step {
    ($faulty:expr, $course:expr, |$tx:ident| $body:expr) => {{
        $faulty.go($course);
        let outcome = $faulty.metadata.transact("step", |$tx| async move { $body }).await.expect("a step");
        $faulty.assert_gone();
        outcome
    }};
}

/// The life of three photos: one is made ready, rendered anew and deleted, one fails and is tried again, one is given
/// back, claimed and left. Every writing transaction of the model goes the course.
async fn live(faulty: &Faulty, cast: &Cast, course: &[CommitFault]) {
    let keys = &cast.keys();
    step!(faulty, course, |tx| nodes::begin_epoch(&tx, cast.process, NOW).await);
    step!(faulty, course, |tx| objects::intend(&tx, EPOCH, keys));
    for creation in [&cast.first, &cast.second, &cast.third] {
        let created = step!(faulty, course, |tx| photos::create(&tx, creation).await);
        assert!(matches!(created, Created::New(_)), "{created:?}");
    }
    publish(faulty, cast, course).await;
    render(faulty, cast, course).await;
    fail_and_retry(faulty, cast, course).await;
    give_back_and_claim(faulty, cast, course).await;
    let (id, hash) = (cast.first.photo.id, &cast.first.photo.original.hash);
    step!(faulty, course, |tx| photos::delete(&tx, id, NOW, 0).await);
    step!(faulty, course, |tx| blobs::collect(&tx, hash).await);
    step!(faulty, course, |tx| objects::abandon(&tx, EPOCH, &cast.unused, NOW).await);
    let buried = &keys[..1];
    step!(faulty, course, |tx| objects::unbury(&tx, buried));
}

async fn publish(faulty: &Faulty, cast: &Cast, course: &[CommitFault]) {
    let job = &cast.first.job;
    let (id, lease) = (job.id, job.lease.expect("leased"));
    let begun = step!(faulty, course, |tx| jobs::begin_attempt(&tx, id, lease).await);
    assert!(begun.is_continue());
    step!(faulty, course, |tx| jobs::end_attempt(&tx, id, lease).await);
    assert!(step!(faulty, course, |tx| jobs::extend(&tx, id, lease.id, NOW.after(MINUTE * 2)).await));
    let by = settling(&cast.first, id, lease.id);
    let made = &Made { variants: cast.variants.clone(), ..Made::default() };
    let settled = step!(faulty, course, |tx| photos::publish(&tx, &by, made).await);
    assert!(matches!(settled, Settled::Done(_)), "{settled:?}");
}

async fn render(faulty: &Faulty, cast: &Cast, course: &[CommitFault]) {
    let lease = Lease { id: cast.leases[0], epoch: EPOCH };
    let job = &Job::new(cast.render, Kind::Render, cast.first.photo.id, NOW).leased(lease, NOW.after(MINUTE));
    assert!(step!(faulty, course, |tx| photos::request_render(&tx, job).await), "{course:?}");
    let by = settling(&cast.first, cast.render, lease.id);
    let made = &Made { variants: cast.newer.clone(), ..Made::default() };
    let settled = step!(faulty, course, |tx| photos::publish(&tx, &by, made).await);
    assert!(matches!(settled, Settled::Done(_)), "{settled:?}");
}

async fn fail_and_retry(faulty: &Faulty, cast: &Cast, course: &[CommitFault]) {
    let job = &cast.second.job;
    let by = settling(&cast.second, job.id, job.lease.expect("leased").id);
    let failure = &Failure { code: "corrupt-image".to_owned(), detail: "bad".to_owned() };
    let settled = step!(faulty, course, |tx| photos::fail(&tx, &by, failure, &[]).await);
    assert!(matches!(settled, Settled::Done(_)), "{settled:?}");
    let lease = Lease { id: cast.leases[1], epoch: EPOCH };
    let job = Job::new(cast.second.job.id, Kind::Process, cast.second.photo.id, NOW)
        .leased(lease, NOW.after(MINUTE));
    let again = &Creation { job, ..cast.second.clone() };
    let again =
        &Creation { photo: Photo { id: PhotoId(cast.process), ..again.photo.clone() }, ..again.clone() };
    let created = step!(faulty, course, |tx| photos::create(&tx, again).await);
    assert!(matches!(created, Created::Retried(_)), "{created:?}");
}

async fn give_back_and_claim(faulty: &Faulty, cast: &Cast, course: &[CommitFault]) {
    let job = &cast.third.job;
    let (id, lease) = (job.id, job.lease.expect("leased"));
    let begun = step!(faulty, course, |tx| jobs::begin_attempt(&tx, id, lease).await);
    assert!(begun.is_continue());
    let how = &GiveBack { now: NOW, due: NOW, counts: false, error: Some("why".to_owned()) };
    step!(faulty, course, |tx| jobs::give_back(&tx, id, lease.id, how).await);
    let lease = Lease { id: cast.leases[2], epoch: EPOCH };
    let (now, until) = (NOW.after(MINUTE), NOW.after(MINUTE * 2));
    let claimed = step!(faulty, course, |tx| jobs::claim(&tx, id, lease, now, until).await);
    assert!(claimed.is_some(), "{course:?}");
    let begun = step!(faulty, course, |tx| jobs::begin_attempt(&tx, id, lease).await);
    assert!(begun.is_continue());
    step!(faulty, course, |tx| nodes::declare_earlier_dead(&tx, Epoch(2), now).await);
    step!(faulty, course, |tx| jobs::void_leases_of(&tx, EPOCH, now, 10).await);
    let lease = Lease { id: cast.leases[3], epoch: Epoch(2) };
    let claimed = step!(faulty, course, |tx| jobs::claim(&tx, id, lease, now, until).await);
    assert_eq!(claimed.expect("it is due").deaths, 1, "{course:?}");
}

/// Every row, the stamps of the change log aside.
async fn rows_without_stamps(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let log = CHANGES.all();
    let unstamped = |key: Vec<u8>| if log.contains(&key) { key[..key.len() - 12].to_vec() } else { key };
    let mut rows: Vec<_> =
        store.all().await.into_iter().map(|(key, value)| (unstamped(key), value)).collect();
    rows.sort();
    rows
}

async fn clear(store: &Store) {
    let all = darkroom_store::metadata::KeyRange::all();
    let all = &all;
    store.metadata.transact("clear", |tx| async move { tx.clear_range(all) }).await.expect("clear");
}

/// Photos, jobs, blobs, intents, counters and change log are row for row what they are without faults.
pub(crate) async fn the_models_transactions_are_applied_exactly_once(store: Store) {
    let (cast, faulty) = (Cast::new(), Faulty::new(&store));
    live(&faulty, &cast, &[]).await;
    let expected = rows_without_stamps(&store).await;
    assert!(expected.len() > 20, "the life of three photos leaves more: {}", expected.len());
    for course in COURSES {
        clear(&store).await;
        live(&faulty, &cast, course).await;
        let found = rows_without_stamps(&store).await;
        let more: Vec<_> = found.iter().filter(|row| !expected.contains(row)).collect();
        let less: Vec<_> = expected.iter().filter(|row| !found.contains(row)).collect();
        assert!(found == expected, "{course:?}: too much {more:?}, too little {less:?}");
    }
}
