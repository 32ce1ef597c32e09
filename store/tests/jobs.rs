//! Jobs and nodes over a real engine. A transaction whose commit's outcome was unknown runs again: so each test here
//! runs each transaction twice, and expects the answer and the state of one run.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fmt::Debug;
use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::metadata::{EmbeddedOptions, KeyRange, Metadata, RangeOptions};
use darkroom_store::model::jobs::{
    self, Class, DeadJob, Dropped, Entry, GiveBack, Job, Kind, Lease, Operation, Retried, Standing, Turns,
    Wanted,
};
use darkroom_store::model::photos::{
    self, Created, Creation, Failure, Made, Original, Photo, Settled, Settling, State,
};
use darkroom_store::model::{
    ContentHash, Epoch, JobId, LeaseId, OwnerId, PhotoId, Timestamp, nodes, objects, subspaces,
};
use darkroom_store::objects::{ObjectKey, ObjectKind};

const NOW: Timestamp = Timestamp(1_000_000);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Runs `$body` with `$tx` in two transactions, as after a commit whose outcome was unknown.
macro_rules! twice {
    ($store:expr, |$tx:ident| $body:expr) => {{
        let store: &Store = $store;
        let run = |$tx: darkroom_store::metadata::Transaction| async move { $body };
        let first = once(store, run).await;
        let (state, changes) = (store.state().await, store.changes().await);
        let second = once(store, run).await;
        assert_same(&first, &second);
        assert!(state == store.state().await, "the second run changes nothing");
        assert_eq!(changes, store.changes().await, "and tells nobody");
        second
    }};
}

struct Store {
    metadata: Metadata,
    _home: tempfile::TempDir,
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

impl Store {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let metadata = Metadata::open_embedded(home.path(), EmbeddedOptions::default()).await.unwrap();
        Self { metadata, _home: home }
    }

    /// A node of its own.
    async fn node(&self) -> Epoch {
        let process = uuid::Uuid::new_v4();
        twice!(self, |tx| nodes::begin_epoch(&tx, process, NOW).await)
    }

    /// Everything stored but the change log, whose keys differ from run to run.
    async fn state(&self) -> Rows {
        let rows = |range: KeyRange| async move {
            self.metadata
                .read("state", |tx| {
                    let range = range.clone();
                    async move { tx.get_range(&range, RangeOptions::default()).await }
                })
                .await
                .unwrap()
        };
        let changes = subspaces::CHANGES.all();
        let mut state = rows(KeyRange::new([], changes.begin)).await;
        state.extend(rows(KeyRange::new(changes.end, KeyRange::all().end)).await);
        state
    }

    async fn changes(&self) -> usize {
        let all = &subspaces::CHANGES.all();
        self.metadata
            .read("changes", |tx| async move { tx.get_range(all, RangeOptions::default()).await })
            .await
            .unwrap()
            .len()
    }

    /// A photo that is being processed, with its job due.
    async fn photo(&self, epoch: Epoch) -> (Photo, Job) {
        let id = PhotoId::new();
        let object = ObjectKey::new(ObjectKind::Original);
        let keys = std::slice::from_ref(&object);
        twice!(self, |tx| objects::intend(&tx, epoch, keys));
        let photo = Photo {
            id,
            owner: OwnerId::open(),
            state: State::Processing,
            created: NOW,
            updated: NOW,
            original: Original {
                media_type: "image/jpeg".to_owned(),
                width: 4,
                height: 3,
                bytes: 9,
                hash: ContentHash::of(id.0.as_bytes()),
                object,
                probe: serde_json::Value::Null,
                capture: None,
            },
            variants: Vec::new(),
            looks: None,
            damage: None,
            failure: None,
            unrenderable: Vec::new(),
            settled_by: None,
        };
        let job = Job::new(JobId::new(), Kind::Process, id, NOW);
        let creation = &Creation { photo, job: job.clone(), epoch, allow_duplicate: false };
        let created = once(self, |tx| async move { photos::create(&tx, creation).await }).await;
        let Created::New(photo) = created else { panic!("{created:?}") };
        (photo, job)
    }

    async fn job(&self, id: JobId) -> Option<Job> {
        once(self, |tx| async move { jobs::get(&tx, id).await }).await
    }

    async fn show(&self, id: JobId) -> Option<Entry> {
        once(self, |tx| async move { jobs::show(&tx, id).await }).await
    }

    async fn get(&self, id: PhotoId) -> Photo {
        once(self, |tx| async move { photos::get(&tx, id).await }).await.unwrap()
    }

    async fn count(&self, state: State) -> i64 {
        once(self, |tx| async move { photos::count_of(&tx, state).await }).await
    }

    async fn claim(&self, id: JobId, lease: Lease, now: Timestamp) -> Option<Job> {
        let until = now.after(MINUTE);
        twice!(self, |tx| jobs::claim(&tx, id, lease, now, until).await)
    }

    async fn begin(&self, id: JobId, lease: Lease) -> bool {
        twice!(self, |tx| jobs::begin_attempt(&tx, id, lease).await).is_continue()
    }

    async fn die(&self, epoch: Epoch) {
        twice!(self, |tx| nodes::end(&tx, epoch, NOW).await);
        let void = |tx| async move { jobs::void_leases_of(&tx, epoch, NOW, 1).await };
        while once(self, void).await > 0 {}
    }

    async fn page(&self, wanted: &Wanted) -> jobs::Page {
        once(self, |tx| async move { jobs::list(&tx, wanted, NOW).await }).await
    }
}

async fn once<T, F, Fut>(store: &Store, run: F) -> T
where
    F: Fn(darkroom_store::metadata::Transaction) -> Fut + Send,
    Fut: Future<Output = Result<T, StoreError>> + Send,
    T: Send,
{
    store.metadata.transact("test", run).await.unwrap()
}

fn assert_same<T: Debug>(first: &T, second: &T) {
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "the second run answers as the first");
}

fn lease(epoch: Epoch) -> Lease {
    Lease { id: LeaseId::new(), epoch }
}

fn operation() -> Operation {
    Operation { id: LeaseId::new(), now: NOW, history: 0 }
}

fn give_back(counts: bool, error: Option<&str>) -> GiveBack {
    GiveBack { now: NOW, due: NOW, counts, error: error.map(ToOwned::to_owned) }
}

#[tokio::test]
async fn jobs_vest_are_claimed_once_and_extended_by_their_holder() {
    let store = &Store::new().await;
    let (slow, thief) = (store.node().await, store.node().await);
    let (_, job) = store.photo(slow).await;
    let id = job.id;
    let first = lease(slow);
    let claimed = store.claim(id, first, NOW).await.unwrap();
    assert_eq!(claimed.taken_from, None);
    assert!(store.claim(id, lease(thief), NOW).await.is_none(), "it is held");

    let later = NOW.after(MINUTE * 2);
    let due = once(store, |tx| async move { jobs::due(&tx, later, 9).await }).await;
    assert_eq!(due.iter().map(|due| due.id).collect::<Vec<_>>(), [id], "the holder gave no sign of life");
    let second = lease(thief);
    let claimed = store.claim(id, second, later).await.unwrap();
    assert_eq!(claimed.taken_from, Some(first), "stolen");
    assert!(store.claim(id, lease(slow), later).await.is_none(), "somebody else was faster");

    let until = later.after(MINUTE * 3);
    assert!(!twice!(store, |tx| jobs::extend(&tx, id, first.id, until).await), "it has lost its lease");
    assert!(twice!(store, |tx| jobs::extend(&tx, id, second.id, until).await));
    assert!(twice!(store, |tx| jobs::extend(&tx, id, second.id, later).await), "never back");
    assert_eq!(store.job(id).await.unwrap().vesting, until);
}

#[tokio::test]
async fn attempts_count_only_what_is_the_photos_own_fault() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let (_, mut job) = store.photo(epoch).await;
    let (id, mut now) = (job.id, NOW);
    for (counts, attempts, interruptions) in [(true, 1, 0), (false, 1, 1), (true, 2, 1), (false, 2, 2)] {
        let held = lease(epoch);
        assert!(store.claim(id, held, now).await.is_some());
        assert!(store.begin(id, held).await);
        twice!(store, |tx| jobs::end_attempt(&tx, id, held).await);
        let pause = store.job(id).await.unwrap().interruption_pause(MINUTE);
        assert_eq!(pause, SECOND / 2 * 2_u32.pow(job.interruptions), "it waits longer each time");
        let how = &GiveBack { due: NOW.after(pause), ..give_back(counts, Some("why")) };
        assert!(twice!(store, |tx| jobs::give_back(&tx, id, held.id, how).await));
        job = store.job(id).await.unwrap();
        assert_eq!((job.attempts, job.deaths, job.interruptions), (attempts, 0, interruptions));
        assert_eq!((job.last_error.as_deref(), job.vesting), (Some("why"), NOW.after(pause)));
        now = now.after(MINUTE);
    }
    assert_eq!(store.job(id).await.unwrap().failures.len(), 4);
    // Given back before its attempt began: nothing was counted, and nothing is taken back.
    let held = lease(epoch);
    store.claim(id, held, now).await.unwrap();
    let how = &give_back(false, None);
    assert!(twice!(store, |tx| jobs::give_back(&tx, id, held.id, how).await));
    assert_eq!(store.job(id).await.unwrap().attempts, 2);
}

#[tokio::test]
async fn an_attempt_that_lost_its_lease_does_not_count_and_is_no_death_while_its_node_lives() {
    let store = &Store::new().await;
    let (slow, thief) = (store.node().await, store.node().await);
    let (_, job) = store.photo(slow).await;
    let (id, first, second) = (job.id, lease(slow), lease(thief));
    store.claim(id, first, NOW).await.unwrap();
    assert!(store.begin(id, first).await);
    let later = NOW.after(MINUTE * 2);
    let stolen = store.claim(id, second, later).await.unwrap();
    assert_eq!((stolen.attempts, stolen.deaths, &stolen.unsettled[..]), (0, 0, &[first][..]));
    assert!(!store.begin(id, first).await, "it has lost its lease");
    // Its decode ends well: whatever becomes of its node later is not of this photo.
    twice!(store, |tx| jobs::end_attempt(&tx, id, first).await);
    store.die(slow).await;
    let job = store.job(id).await.unwrap();
    assert!(job.unsettled.is_empty());
    assert_eq!(twice!(store, |tx| jobs::deaths(&tx, &jobs::get(&tx, id).await?.unwrap()).await), 0);
    let how = &give_back(false, None);
    assert!(!twice!(store, |tx| jobs::give_back(&tx, id, first.id, how).await));
    assert_eq!(store.job(id).await.unwrap().lease, Some(second), "the thief holds it as before");
}

#[tokio::test]
async fn a_node_that_lost_its_lease_by_vesting_and_turns_out_dead_is_a_death() {
    let store = &Store::new().await;
    let (slow, thief) = (store.node().await, store.node().await);
    let (_, job) = store.photo(slow).await;
    let (id, first) = (job.id, lease(slow));
    store.claim(id, first, NOW).await.unwrap();
    assert!(store.begin(id, first).await);
    store.claim(id, lease(thief), NOW.after(MINUTE * 2)).await.unwrap();
    store.die(slow).await;
    assert_eq!(
        once(store, |tx| async move { jobs::deaths(&tx, &jobs::get(&tx, id).await?.unwrap()).await }).await,
        1
    );
    let third = store.claim(id, lease(thief), NOW.after(MINUTE * 4)).await.unwrap();
    assert_eq!((third.deaths, third.attempts, third.unsettled.len()), (1, 1, 0));
}

#[tokio::test]
async fn a_dead_nodes_jobs_are_due_at_once_and_its_cut_off_attempts_are_deaths() {
    let store = &Store::new().await;
    let (dying, other) = (store.node().await, store.node().await);
    let (_, idle) = store.photo(dying).await;
    let (_, decoding) = store.photo(dying).await;
    let (_, uploading) = store.photo(dying).await;
    let (_, theirs) = store.photo(other).await;
    let held = lease(dying);
    for job in [&idle, &decoding, &uploading] {
        store.claim(job.id, held, NOW).await.unwrap();
    }
    let kept = lease(other);
    store.claim(theirs.id, kept, NOW).await.unwrap();
    assert!(store.begin(decoding.id, held).await);
    assert!(store.begin(uploading.id, held).await);
    let id = uploading.id;
    twice!(store, |tx| jobs::end_attempt(&tx, id, held).await);
    store.die(dying).await;
    assert_eq!(store.job(theirs.id).await.unwrap().lease, Some(kept), "a living node keeps its own");
    for (job, deaths, attempts) in [(&idle, 0, 0), (&decoding, 1, 1), (&uploading, 0, 0)] {
        let claimed = store.claim(job.id, lease(other), NOW).await.unwrap();
        assert_eq!((claimed.deaths, claimed.attempts), (deaths, attempts));
        assert_eq!((claimed.decoding, claimed.taken_from), (None, None), "not stolen: it was void");
    }
}

#[tokio::test]
async fn an_epoch_is_begun_once_also_when_another_begins_in_between() {
    let store = &Store::new().await;
    let (first, second) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    for (process, epoch) in [(first, 1), (second, 2), (first, 1), (second, 2)] {
        assert_eq!(twice!(store, |tx| nodes::begin_epoch(&tx, process, NOW).await), Epoch(epoch));
    }
    // On an engine that is one node's own, whoever begins is alone.
    twice!(store, |tx| nodes::declare_earlier_dead(&tx, Epoch(2), NOW).await);
    assert_eq!(once(store, |tx| async move { nodes::dead(&tx, NOW).await }).await, [(Epoch(1), true)]);
    twice!(store, |tx| nodes::forget(&tx, Epoch(1)));
    assert!(once(store, |tx| async move { nodes::dead(&tx, NOW).await }).await.is_empty());
    assert!(once(store, |tx| async move { nodes::is_dead(&tx, Epoch(1)).await }).await, "forgotten is dead");
}

#[tokio::test]
async fn a_node_that_gives_no_sign_of_life_is_declared_dead_and_notices() {
    let store = &Store::new().await;
    let (silent, other) = (store.node().await, store.node().await);
    let (timeout, margin) = (SECOND * 30, SECOND * 10);
    let mut now = NOW.after(MINUTE);
    let until = now.after(timeout);
    for epoch in [silent, other] {
        assert!(twice!(store, |tx| nodes::renew(&tx, epoch, until).await));
    }
    let overdue =
        |now| async move { once(store, |tx| async move { nodes::overdue(&tx, now, margin).await }).await };
    now = until.after(margin);
    assert!(overdue(now).await.is_empty(), "their clocks may disagree");
    let later = now.after(timeout);
    assert!(twice!(store, |tx| nodes::renew(&tx, other, later).await));
    now = now.after(SECOND);
    assert_eq!(overdue(now).await, [silent]);
    let sweep = now.after(MINUTE);
    assert!(!twice!(store, |tx| nodes::declare_dead(&tx, other, now, margin, sweep).await), "it lives");
    assert!(twice!(store, |tx| nodes::declare_dead(&tx, silent, now, margin, sweep).await));
    assert!(!twice!(store, |tx| nodes::renew(&tx, silent, later).await), "too late");
    assert!(twice!(store, |tx| nodes::is_dead(&tx, silent).await));
    assert!(!twice!(store, |tx| nodes::is_alive(&tx, silent).await));
    assert!(twice!(store, |tx| nodes::is_alive(&tx, other).await));
    // It may live all the same, and put objects until it notices: then it ends its epoch itself.
    let dead = |now| async move { once(store, |tx| async move { nodes::dead(&tx, now).await }).await };
    assert_eq!((dead(now).await, dead(sweep).await), (vec![(silent, false)], vec![(silent, true)]));
    twice!(store, |tx| nodes::end(&tx, silent, now).await);
    assert_eq!(dead(now).await, [(silent, true)]);
}

#[tokio::test]
async fn a_declaration_of_death_and_a_renewal_at_once_see_each_other() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let late = NOW.after(MINUTE * 5);
    let (raced, until) = (&std::sync::atomic::AtomicBool::new(false), late.after(MINUTE));
    let dead = once(store, |tx| async move {
        let dead = nodes::declare_dead(&tx, epoch, late, SECOND, late).await?;
        // On the first run the node wakes up before this commits.
        if !raced.swap(true, std::sync::atomic::Ordering::SeqCst) {
            assert!(once(store, |tx| async move { nodes::renew(&tx, epoch, until).await }).await);
        }
        Ok(dead)
    })
    .await;
    assert!(!dead, "the second run sees the renewal");
    assert!(once(store, |tx| async move { nodes::is_alive(&tx, epoch).await }).await);
}

#[tokio::test]
async fn nothing_is_intended_any_more_once_a_node_is_declared_dead() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let raced = &std::sync::atomic::AtomicBool::new(false);
    let keys = &[ObjectKey::new(ObjectKind::Variant)];
    let intended = once(store, |tx| async move {
        if !nodes::is_alive(&tx, epoch).await? {
            return Ok(false);
        }
        if !raced.swap(true, std::sync::atomic::Ordering::SeqCst) {
            once(store, |tx| async move { nodes::end(&tx, epoch, NOW).await }).await;
        }
        objects::intend(&tx, epoch, keys)?;
        Ok(true)
    })
    .await;
    assert!(!intended, "the second run sees the death");
    assert!(once(store, |tx| async move { objects::intents_of(&tx, epoch, 9).await }).await.is_empty());
}

#[tokio::test]
async fn a_job_that_is_given_up_leaves_a_letter_and_a_retry_has_its_photo_processed_again() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let (photo, job) = store.photo(epoch).await;
    let (id, held) = (job.id, lease(epoch));
    store.claim(id, held, NOW).await.unwrap();
    assert!(store.begin(id, held).await);
    let how = &give_back(true, Some("it panicked"));
    twice!(store, |tx| jobs::give_back(&tx, id, held.id, how).await);
    let held = lease(epoch);
    store.claim(id, held, NOW).await.unwrap();
    assert!(store.begin(id, held).await);
    let failure = &Failure { code: "processing-panicked".to_owned(), detail: "why".to_owned() };
    let by = Settling { photo: photo.id, job: id, lease: held, now: NOW.after(MINUTE), history: 0 };
    let settled = twice!(store, |tx| photos::give_up(&tx, &by, failure, &[]).await);
    assert!(matches!(settled, Settled::Done(Photo { state: State::Failed, .. })));

    let Some(Entry::Dead(letter)) = store.show(id).await else { panic!("a letter") };
    assert_eq!((&letter.code, letter.died, letter.job.attempts), (&failure.code, by.now, 2));
    assert_eq!(letter.job.failures[0].error, "it panicked");
    assert_eq!(once(store, |tx| async move { jobs::count_dead(&tx).await }).await, 1);

    let command = &operation();
    let Retried::Due(again) = twice!(store, |tx| jobs::retry(&tx, id, command).await) else { panic!("due") };
    assert_eq!((again.attempts, again.deaths, again.vesting), (0, 0, NOW));
    assert_eq!(again.failures.len(), 1, "what went wrong before is still told");
    let revived = store.get(photo.id).await;
    assert_eq!((revived.state, revived.failure), (State::Processing, None));
    assert_eq!((store.count(State::Processing).await, store.count(State::Failed).await), (1, 0));
    assert_eq!(once(store, |tx| async move { jobs::count_dead(&tx).await }).await, 0);

    let held = lease(epoch);
    assert!(store.claim(id, held, NOW).await.is_some());
    let other = &operation();
    assert!(matches!(twice!(store, |tx| jobs::retry(&tx, id, other).await), Retried::Held(_)));
    let by = Settling { lease: held, ..by };
    let made = &Made::default();
    assert!(matches!(twice!(store, |tx| photos::publish(&tx, &by, made).await), Settled::Done(_)));
    assert_eq!(twice!(store, |tx| jobs::retry(&tx, id, other).await), Retried::NotFound);
}

#[tokio::test]
async fn a_job_that_backs_off_is_due_at_once_when_retried() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let (_, job) = store.photo(epoch).await;
    let (id, held) = (job.id, lease(epoch));
    store.claim(id, held, NOW).await.unwrap();
    let how = &GiveBack { due: NOW.after(MINUTE), ..give_back(false, Some("the store was away")) };
    twice!(store, |tx| jobs::give_back(&tx, id, held.id, how).await);
    assert_eq!(store.show(id).await.unwrap().standing(NOW), Standing::Waiting);
    let command = &operation();
    assert!(matches!(twice!(store, |tx| jobs::retry(&tx, id, command).await), Retried::Due(_)));
    assert_eq!(store.show(id).await.unwrap().standing(NOW), Standing::Due);
}

#[tokio::test]
async fn a_retry_of_what_nobody_wants_any_more_changes_nothing() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let (photo, job) = store.photo(epoch).await;
    let (id, held, photo) = (job.id, lease(epoch), photo.id);
    store.claim(id, held, NOW).await.unwrap();
    let failure = &Failure { code: "processing-crashed".to_owned(), detail: "why".to_owned() };
    let by = Settling { photo, job: id, lease: held, now: NOW, history: 0 };
    twice!(store, |tx| photos::give_up(&tx, &by, failure, &[]).await);
    once(store, |tx| async move { photos::delete(&tx, photo, NOW, 0).await }).await;
    let command = &operation();
    assert_eq!(twice!(store, |tx| jobs::retry(&tx, id, command).await), Retried::Unneeded);
    let seen = &store.show(id).await.unwrap();
    assert_eq!(twice!(store, |tx| jobs::drop_job(&tx, seen, command).await), Dropped::Done);
    assert!(store.show(id).await.is_none());
}

#[tokio::test]
async fn a_dropped_jobs_photo_fails_with_that_reason_and_its_holder_finds_out() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let (photo, job) = store.photo(epoch).await;
    let (id, held) = (job.id, lease(epoch));
    store.claim(id, held, NOW).await.unwrap();
    let (seen, command) = (&store.show(id).await.unwrap(), &operation());
    assert_eq!(twice!(store, |tx| jobs::drop_job(&tx, seen, command).await), Dropped::Done);
    let failed = store.get(photo.id).await;
    assert_eq!((failed.state, failed.failure.unwrap().code.as_str()), (State::Failed, "dropped"));
    assert_eq!((store.count(State::Processing).await, store.count(State::Failed).await), (0, 1));
    let by = Settling { photo: photo.id, job: id, lease: held, now: NOW, history: 0 };
    let made = &Made::default();
    assert!(matches!(twice!(store, |tx| photos::publish(&tx, &by, made).await), Settled::LeaseLost));
    let other = &operation();
    assert_eq!(twice!(store, |tx| jobs::drop_job(&tx, seen, other).await), Dropped::NotFound);
}

#[tokio::test]
async fn dropping_a_render_leaves_its_photo_ready() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let (photo, job) = store.photo(epoch).await;
    let held = lease(epoch);
    store.claim(job.id, held, NOW).await.unwrap();
    let by = Settling { photo: photo.id, job: job.id, lease: held, now: NOW, history: 0 };
    let made = &Made::default();
    twice!(store, |tx| photos::publish(&tx, &by, made).await);
    let render = &Job::new(JobId::new(), Kind::Render, photo.id, NOW);
    assert!(twice!(store, |tx| photos::request_render(&tx, render).await));
    let (seen, command) = (&store.show(render.id).await.unwrap(), &operation());
    assert_eq!(twice!(store, |tx| jobs::drop_job(&tx, seen, command).await), Dropped::Done);
    assert_eq!(store.get(photo.id).await.state, State::Ready);
    assert!(store.show(render.id).await.is_none());
}

#[tokio::test]
async fn letters_are_trimmed_by_age_and_by_count_the_oldest_first() {
    let store = &Store::new().await;
    let mut ids = Vec::new();
    for died in 0..10 {
        // A letter needs no photo: any kind of job may leave one.
        let job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW);
        ids.push(job.id);
        let letter =
            &DeadJob { job, code: "code".to_owned(), detail: "why".to_owned(), died: Timestamp(died) };
        once(store, |tx| async move { jobs::bury(&tx, letter) }).await;
    }
    let left = || async move { store.page(&Wanted { limit: 99, ..Default::default() }).await.entries };
    let trim = |before, keep| async move {
        let trim = |tx| async move { jobs::trim_dead(&tx, Timestamp(before), keep, 2).await };
        let mut trimmed = 0;
        loop {
            match once(store, trim).await {
                0 => return trimmed,
                count => trimmed += count,
            }
        }
    };
    assert_eq!(trim(3, 100).await, 3, "by age");
    assert_eq!(trim(0, 5).await, 2, "by count");
    let left: Vec<_> = left().await.iter().map(|entry| entry.job().id).collect();
    assert_eq!(left, ids[5..]);
    assert_eq!(once(store, |tx| async move { jobs::count_dead(&tx).await }).await, 5);
}

#[tokio::test]
async fn every_page_of_a_list_shows_what_was_asked_for_and_together_they_show_all() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let mut expected = Vec::new();
    for index in 0..25 {
        let mut job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW);
        job.class = Class::ALL[index % 3];
        match index % 4 {
            0 => {}
            1 => job = job.leased(lease(epoch), NOW.after(SECOND)),
            2 => job.vesting = NOW.after(MINUTE),
            _ => {
                let letter = &DeadJob { job, code: "c".to_owned(), detail: "d".to_owned(), died: NOW };
                once(store, |tx| async move { jobs::bury(&tx, letter) }).await;
                expected.push(Entry::Dead(letter.clone()));
                continue;
            }
        }
        let added = &job;
        once(store, |tx| async move { jobs::enqueue(&tx, added) }).await;
        expected.push(Entry::Live(job));
    }
    let classes = std::iter::once(None).chain(Class::ALL.map(Some));
    for class in classes {
        for standing in std::iter::once(None).chain(Standing::ALL.map(Some)) {
            let mut found = Vec::new();
            let mut wanted = Wanted { class, standing, after: None, limit: 3 };
            loop {
                let page = store.page(&wanted).await;
                assert!(page.entries.len() <= 3);
                found.extend(page.entries);
                match page.next {
                    Some(next) => wanted.after = Some(next),
                    None => break,
                }
            }
            let mut fitting: Vec<_> = expected.clone();
            fitting.retain(|entry| class.is_none_or(|class| class == entry.job().class));
            fitting.retain(|entry| standing.is_none_or(|standing| standing == entry.standing(NOW)));
            let key = |entry: &Entry| entry.job().id;
            found.sort_by_key(key);
            fitting.sort_by_key(key);
            assert_eq!(found, fitting, "{class:?} {standing:?}");
        }
    }
}

#[tokio::test]
async fn under_a_flood_of_interactive_jobs_a_background_job_is_claimed_within_a_bounded_number_of_claims() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let mut background = Job::new(JobId::new(), Kind::Render, PhotoId::new(), NOW.after(SECOND));
    background.class = Class::Background;
    let flood = |count: usize| async move {
        let jobs = &(0..count)
            .map(|_| Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW))
            .collect::<Vec<_>>();
        once(store, |tx| async move { jobs.iter().try_for_each(|job| jobs::enqueue(&tx, job)) }).await;
    };
    flood(100).await;
    let job = &background;
    once(store, |tx| async move { jobs::enqueue(&tx, job) }).await;
    let (mut turns, now, mut claims) = (Turns::default(), NOW.after(MINUTE), 0);
    loop {
        let due = once(store, |tx| async move { jobs::due(&tx, now, 64).await }).await;
        let chosen = jobs::choose(&due, turns, jobs::SHARES_DEFAULT, (1, 1), |_| 0);
        turns = chosen[0].after;
        let id = chosen[0].due.id;
        let lease = lease(epoch);
        let until = now.after(MINUTE);
        once(store, |tx| async move { jobs::claim(&tx, id, lease, now, until).await }).await.unwrap();
        claims += 1;
        if id == background.id {
            break;
        }
        flood(2).await; // They come faster than they are taken.
    }
    let bound = 1 + jobs::SHARES_DEFAULT[0] / jobs::SHARES_DEFAULT[2];
    assert!(claims <= bound, "{claims} claims");
}

#[tokio::test]
async fn claims_of_different_jobs_do_not_conflict_and_of_one_only_one_wins() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let (_, one) = store.photo(epoch).await;
    let (_, other) = store.photo(epoch).await;
    let until = NOW.after(MINUTE);
    let claim_during = |mine: JobId, theirs: JobId| async move {
        let runs = &std::sync::atomic::AtomicU32::new(0);
        let lease_now = lease(epoch);
        let claimed = once(store, |tx| async move {
            // A look at the queue is part of no claim's conflicts.
            jobs::due(&tx, NOW, 9).await?;
            let claimed = jobs::claim(&tx, mine, lease_now, NOW, until).await?;
            if runs.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0 {
                let lease = lease(epoch);
                let theirs =
                    once(store, |tx| async move { jobs::claim(&tx, theirs, lease, NOW, until).await });
                assert!(theirs.await.is_some());
            }
            Ok(claimed)
        })
        .await;
        (claimed.is_some(), runs.load(std::sync::atomic::Ordering::SeqCst))
    };
    assert_eq!(claim_during(one.id, other.id).await, (true, 1), "no conflict");
    let (_, contended) = store.photo(epoch).await;
    assert_eq!(claim_during(contended.id, contended.id).await, (false, 2), "the second run sees the winner");
}

#[tokio::test]
async fn a_look_behind_the_horizon_finds_what_the_last_one_left_and_what_came_since() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let (_, first) = store.photo(epoch).await;
    let (_, second) = store.photo(epoch).await;
    let look = |horizon: jobs::Horizon, now: Timestamp| async move {
        let horizon = &horizon;
        let due = once(store, |tx| async move { jobs::due_beyond(&tx, horizon, now, 9).await }).await;
        let ids: Vec<_> = due.iter().map(|due| due.id).collect();
        (ids, jobs::Horizon::after(&due, now, SECOND))
    };
    let (found, horizon) = look(jobs::Horizon::default(), NOW).await;
    assert_eq!(found, [first.id, second.id]);
    store.claim(first.id, lease(epoch), NOW).await.unwrap();
    let (found, horizon) = look(horizon, NOW).await;
    assert_eq!(found, [second.id]);
    store.claim(second.id, lease(epoch), NOW).await.unwrap();
    let (found, horizon) = look(horizon, NOW).await;
    assert!(found.is_empty());
    // One that comes by a clock that is a little behind.
    let mut late = Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW);
    late.vesting = Timestamp(NOW.0 - 500);
    let added = &late;
    once(store, |tx| async move { jobs::enqueue(&tx, added) }).await;
    let (found, horizon) = look(horizon, NOW).await;
    assert_eq!(found, [late.id]);
    // By one that is far behind, it takes a look from the beginning.
    let mut lost = Job::new(JobId::new(), Kind::Process, PhotoId::new(), NOW);
    lost.vesting = Timestamp(1);
    let added = &lost;
    once(store, |tx| async move { jobs::enqueue(&tx, added) }).await;
    assert_eq!(look(horizon.clone(), NOW).await.0, [late.id]);
    assert_eq!(look(jobs::Horizon::default(), NOW).await.0, [lost.id, late.id]);
    assert!(look(horizon, Timestamp(5)).await.0.is_empty(), "the clock was set back");
}

#[tokio::test]
async fn depths_count_each_class_and_tell_the_longest_due() {
    let store = &Store::new().await;
    let epoch = store.node().await;
    let (_, job) = store.photo(epoch).await;
    store.photo(epoch).await;
    store.claim(job.id, lease(epoch), NOW).await.unwrap();
    let depths = once(store, |tx| async move { jobs::depths(&tx, NOW, 10).await }).await;
    let [interactive, bulk, background] = depths;
    assert_eq!((interactive.due, interactive.later, interactive.oldest), (1, 1, Some(NOW)));
    assert_eq!((bulk.due, bulk.later, bulk.oldest), (0, 0, None));
    assert_eq!(background.class, Class::Background);
}
