//! Batches over a real engine: counts that are exact, whoever comes at once and however often a transaction runs.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use darkroom_store::metadata::{CommitFault, Metadata};
use darkroom_store::model::batches::{
    self, Batch, Counts, Expired, Item, ItemState, NotAdmitted, Opened, Opening, Progress, Refusal, Standing,
    Told,
};
use darkroom_store::model::jobs::{Job, Lease};
use darkroom_store::model::photos::{self, Created, Creation, Failure, Made, Photo, Seen, Settled, Settling};
use darkroom_store::model::{BatchId, Epoch, ItemId, LeaseId, OwnerId, PhotoId, Timestamp, objects};

#[macro_use]
mod engines;
mod fixtures;

use engines::{Engine, Place};

cases! { crate::run:
    counts_are_exact_under_many_uploads_and_faults_at_once,
    every_change_of_a_photo_moves_its_item_once,
    a_duplicate_is_counted_beside_the_photos,
    a_failed_photo_that_comes_in_another_batch_is_followed_there,
    a_failed_photo_that_comes_again_in_its_batch_is_processed_again,
    refused_files_are_items_up_to_a_bound,
    a_batch_that_is_closed_or_cancelled_takes_nothing_more,
    another_owners_batch_is_none,
    open_batches_are_bounded,
    items_are_listed_by_page_and_by_state,
    what_was_finished_lately_is_told,
    a_batch_goes_after_its_last_change_and_its_photos_stay,
}

const EPOCH: Epoch = Epoch(1);
const NOW: Timestamp = Timestamp(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const KEEP_MS: u64 = 3_600_000;

async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = |place: Place| async move { case(Store { metadata: place.open().await }).await };
    engines::run(engine, opened).await;
}

#[derive(Clone)]
struct Store {
    metadata: Metadata,
}

/// Runs `$body` in a transaction with `$tx`.
macro_rules! tx {
    ($store:expr, |$tx:ident| $body:expr) => {
        $store.metadata.transact("test", |$tx| async move { $body }).await.expect("a transaction")
    };
}

fn batch() -> Batch {
    Batch {
        id: BatchId::new(),
        owner: OwnerId::open(),
        name: Some("holidays".to_owned()),
        standing: Standing::Open,
        expected: None,
        expected_bytes: None,
        created: NOW,
        keep_ms: KEEP_MS,
        ended: None,
    }
}

fn other_owner() -> OwnerId {
    serde_json::from_str("\"somebody else\"").unwrap()
}

fn failure() -> Failure {
    Failure { code: "corrupt-image".to_owned(), detail: "bad".to_owned() }
}

impl Store {
    /// The same store, in which commits go as `course` says, one after the other.
    fn faulty(&self, course: &[CommitFault]) -> Self {
        let course = Mutex::new(course.iter().copied().collect::<VecDeque<_>>());
        let next = move || course.lock().expect("a course").pop_front().unwrap_or(CommitFault::None);
        Self { metadata: self.metadata.with_faults(next) }
    }

    async fn opened(&self) -> BatchId {
        let opening = &Opening { batch: batch(), open_max: 100 };
        match tx!(self, |tx| batches::open(&tx, opening).await) {
            Opened::Done(batch) => batch.id,
            Opened::TooMany => panic!("there is room"),
        }
    }

    /// An upload of these bytes that names `batch`, its job leased, its object put.
    async fn creation(&self, batch: BatchId, content: &[u8]) -> Creation {
        let mut creation = fixtures::creation(content, EPOCH, NOW);
        creation.photo.batch = Some(batch);
        creation.photo.name = Some(format!("{}.jpg", String::from_utf8_lossy(content)));
        let keys = std::slice::from_ref(&creation.photo.original.object);
        tx!(self, |tx| objects::intend(&tx, EPOCH, keys));
        let lease = Lease { id: LeaseId::new(), epoch: EPOCH };
        Creation { job: creation.job.clone().leased(lease, NOW.after(MINUTE)), ..creation }
    }

    async fn create(&self, creation: &Creation) -> Created {
        let created = tx!(self, |tx| photos::create(&tx, creation).await);
        let Created::Stored(object) = created else { return created };
        let creation = &Creation { seen: Some(Seen::Present(object)), ..creation.clone() };
        tx!(self, |tx| photos::create(&tx, creation).await)
    }

    async fn created(&self, batch: BatchId, content: &[u8]) -> (Photo, Job) {
        let creation = self.creation(batch, content).await;
        match self.create(&creation).await {
            Created::New(photo) => (photo, creation.job),
            other => panic!("{other:?}"),
        }
    }

    async fn publish(&self, photo: &Photo, job: &Job) {
        let by = settling(photo, job);
        let made = &Made::default();
        let settled = tx!(self, |tx| photos::publish(&tx, &by, made).await);
        assert!(matches!(settled, Settled::Done(_)), "{settled:?}");
    }

    async fn fail(&self, photo: &Photo, job: &Job) {
        let (by, failure) = (settling(photo, job), &failure());
        let settled = tx!(self, |tx| photos::fail(&tx, &by, failure, &[]).await);
        assert!(matches!(settled, Settled::Done(_)), "{settled:?}");
    }

    async fn delete(&self, photo: PhotoId) {
        assert!(tx!(self, |tx| photos::delete(&tx, photo, NOW, 0).await));
    }

    async fn refuse(&self, refusal: &Refusal) -> Result<(), NotAdmitted> {
        tx!(self, |tx| batches::refused(&tx, refusal).await)
    }

    async fn progress(&self, id: BatchId) -> Progress {
        tx!(self, |tx| {
            let batch = batches::get(&tx, id).await?.expect("a batch");
            batches::progress(&tx, batch, Timestamp(0)).await
        })
    }

    async fn items(&self, id: BatchId, state: Option<ItemState>) -> Vec<(ItemId, Item)> {
        let (mut items, mut after) = (Vec::new(), None);
        loop {
            let page = tx!(self, |tx| batches::list_items(&tx, id, state, after, 3).await);
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                return items;
            }
        }
    }

    /// The counts, which are those of the items, by whichever way these are found.
    async fn audited(&self, id: BatchId) -> Counts {
        let progress = self.progress(id).await;
        let items = self.items(id, None).await;
        assert!(items.is_sorted_by_key(|(id, _)| *id));
        let counts = progress.counts;
        for state in ItemState::ALL {
            let of_state = items.iter().filter(|(_, item)| item.state == state).cloned().collect::<Vec<_>>();
            assert_eq!(self.items(id, Some(state)).await, of_state, "{state:?}");
            let counted = match state {
                ItemState::Processing => counts.processing,
                ItemState::Ready => counts.ready,
                ItemState::Failed => counts.failed,
                ItemState::Deleted => counts.deleted,
                ItemState::Duplicate => counts.duplicates,
                ItemState::Refused => counts.refused,
            };
            assert_eq!(of_state.len() as u64, counted, "{state:?} in {counts:?}");
        }
        let received = items.iter().filter(|(_, item)| item.state != ItemState::Refused);
        assert_eq!(received.clone().count() as u64, counts.received());
        assert_eq!(received.map(|(_, item)| item.outcome.bytes.unwrap()).sum::<u64>(), progress.bytes);
        counts
    }
}

fn settling(photo: &Photo, job: &Job) -> Settling {
    Settling { photo: photo.id, job: job.id, lease: job.lease.unwrap(), now: NOW.after(MINUTE), history: 0 }
}

/// A course of faults as a seed gives it: most commits go through.
fn course(seed: u64) -> Vec<CommitFault> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let draw = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        match state % 5 {
            0 => CommitFault::AnswerLost,
            1 => CommitFault::CommitLost,
            2 => CommitFault::Conflict,
            _ => CommitFault::None,
        }
    };
    std::iter::repeat_with(draw).take(8).collect()
}

async fn counts_are_exact_under_many_uploads_and_faults_at_once(store: Store) {
    const UPLOADERS: usize = 8;
    const EACH: usize = 30;
    let id = store.opened().await;
    let uploaders = (0..UPLOADERS).map(|uploader| {
        let store = store.clone();
        tokio::spawn(async move {
            for turn in 0..EACH {
                // Every third has bytes that another uploader sends, too, perhaps at the same time.
                let shared = turn % 3 == 0;
                let content = if shared { format!("shared {turn}") } else { format!("{uploader} {turn}") };
                let creation = store.creation(id, content.as_bytes()).await;
                let faulty = store.faulty(&course((uploader * EACH + turn) as u64));
                if let Created::New(photo) = faulty.create(&creation).await {
                    match turn % 5 {
                        0 => {}
                        1 => faulty.fail(&photo, &creation.job).await,
                        _ => faulty.publish(&photo, &creation.job).await,
                    }
                }
            }
        })
    });
    for uploader in uploaders.collect::<Vec<_>>() {
        uploader.await.expect("an uploader");
    }
    let counts = store.audited(id).await;
    assert_eq!(counts.received(), (UPLOADERS * EACH) as u64, "{counts:?}");
    let shared = EACH.div_ceil(3);
    assert!(counts.duplicates <= ((UPLOADERS - 1) * shared) as u64, "{counts:?}");
    assert!(counts.processing > 0 && counts.ready > 0 && counts.failed > 0, "{counts:?}");
}

/// What a commit may go through, one after the other.
const COURSES: [&[CommitFault]; 4] = [
    &[],
    &[CommitFault::AnswerLost],
    &[CommitFault::CommitLost, CommitFault::Conflict],
    &[CommitFault::AnswerLost, CommitFault::AnswerLost, CommitFault::Conflict],
];

async fn every_change_of_a_photo_moves_its_item_once(store: Store) {
    for (number, course) in COURSES.into_iter().enumerate() {
        let id = store.opened().await;
        let creation = store.creation(id, format!("a {number}").as_bytes()).await;
        let Created::New(photo) = store.faulty(course).create(&creation).await else { panic!("a new one") };
        let expected = Counts { processing: 1, ..Counts::default() };
        assert_eq!(store.audited(id).await, expected, "{course:?}");
        store.faulty(course).fail(&photo, &creation.job).await;
        assert_eq!(store.audited(id).await, Counts { failed: 1, ..Counts::default() }, "{course:?}");
        let (_, item) = store.items(id, None).await.remove(0);
        assert_eq!(item.outcome.problem, Some(failure()));
        assert_eq!((item.received, item.updated), (NOW, NOW.after(MINUTE)));
        assert_eq!(item.name, Some(format!("a {number}.jpg")));
        store.faulty(course).delete(photo.id).await;
        assert_eq!(store.audited(id).await, Counts { deleted: 1, ..Counts::default() }, "{course:?}");
        let (_, item) = store.items(id, None).await.remove(0);
        assert_eq!((item.outcome.photo, item.outcome.problem), (Some(photo.id), None));
    }
}

async fn a_duplicate_is_counted_beside_the_photos(store: Store) {
    let (first, second) = (store.opened().await, store.opened().await);
    let (photo, job) = store.created(first, b"same").await;
    store.publish(&photo, &job).await;
    for course in COURSES {
        let again = store.creation(second, b"same").await;
        let created = store.faulty(course).create(&again).await;
        assert!(matches!(&created, Created::Duplicate(same) if same.id == photo.id), "{created:?}");
    }
    let counts = store.audited(second).await;
    assert_eq!(counts, Counts { duplicates: 4, ..Counts::default() });
    assert_eq!((counts.received(), counts.finished()), (4, 4));
    for (_, item) in store.items(second, Some(ItemState::Duplicate)).await {
        assert!(item.duplicate && item.outcome.photo == Some(photo.id), "{item:?}");
    }
    assert_eq!(store.audited(first).await, Counts { ready: 1, ..Counts::default() });
}

/// The same bytes again, with a job of its own.
async fn again(store: &Store, batch: BatchId, content: &[u8], course: &[CommitFault]) -> (Photo, Job) {
    let creation = store.creation(batch, content).await;
    match store.faulty(course).create(&creation).await {
        Created::Retried(photo) => {
            let job = creation.job.clone().for_photo(photo.id);
            (photo, job)
        }
        other => panic!("{other:?}"),
    }
}

async fn a_failed_photo_that_comes_in_another_batch_is_followed_there(store: Store) {
    for (number, course) in COURSES.into_iter().enumerate() {
        let (first, second) = (store.opened().await, store.opened().await);
        let content = format!("bad {number}");
        let (photo, job) = store.created(first, content.as_bytes()).await;
        store.fail(&photo, &job).await;
        let (retried, job) = again(&store, second, content.as_bytes(), course).await;
        assert_eq!((retried.id, retried.batch), (photo.id, Some(second)));
        assert_eq!(store.audited(second).await, Counts { processing: 1, ..Counts::default() });
        assert!(store.items(second, None).await[0].1.duplicate);
        store.faulty(course).publish(&retried, &job).await;
        assert_eq!(store.audited(second).await, Counts { ready: 1, ..Counts::default() });
        let came_to = Counts { failed: 1, ..Counts::default() };
        assert_eq!(store.audited(first).await, came_to, "what it came to there");
        store.delete(photo.id).await;
        assert_eq!(store.audited(second).await, Counts { deleted: 1, ..Counts::default() });
        assert_eq!(store.audited(first).await, came_to);
    }
}

async fn a_failed_photo_that_comes_again_in_its_batch_is_processed_again(store: Store) {
    for (number, course) in COURSES.into_iter().enumerate() {
        let id = store.opened().await;
        let content = format!("bad {number}");
        let (photo, job) = store.created(id, content.as_bytes()).await;
        store.fail(&photo, &job).await;
        let (retried, job) = again(&store, id, content.as_bytes(), course).await;
        let expected = Counts { processing: 1, duplicates: 1, ..Counts::default() };
        assert_eq!(store.audited(id).await, expected, "two files were received");
        store.faulty(course).fail(&retried, &job).await;
        assert_eq!(store.audited(id).await, Counts { failed: 1, duplicates: 1, ..Counts::default() });
    }
}

fn refusal(batch: BatchId, kept_max: u64) -> Refusal {
    Refusal {
        batch,
        owner: OwnerId::open(),
        item: ItemId::new(),
        name: Some("notes.txt".to_owned()),
        bytes: Some(7),
        problem: failure(),
        now: NOW,
        kept_max,
    }
}

async fn refused_files_are_items_up_to_a_bound(store: Store) {
    let id = store.opened().await;
    for course in COURSES {
        store.faulty(course).refuse(&refusal(id, 10)).await.unwrap();
    }
    let counts = store.audited(id).await;
    assert_eq!(counts, Counts { refused: 4, ..Counts::default() });
    assert_eq!((counts.received(), counts.finished()), (0, 4));
    store.refuse(&refusal(id, 4)).await.unwrap();
    assert_eq!(store.progress(id).await.counts.refused, 5, "counted");
    assert_eq!(store.items(id, None).await.len(), 4, "and not kept");
}

async fn a_batch_that_is_closed_or_cancelled_takes_nothing_more(store: Store) {
    let id = store.opened().await;
    let (photo, job) = store.created(id, b"a").await;
    assert!(!store.progress(id).await.is_complete());
    let owner = &OwnerId::open();
    for course in COURSES {
        let closed = tx!(store.faulty(course), |tx| batches::close(&tx, id, owner, NOW).await);
        assert!(matches!(&closed, Told::Done(batch) if batch.standing == Standing::Closed), "{closed:?}");
    }
    let late = store.creation(id, b"late").await;
    let created = store.create(&late).await;
    assert!(matches!(created, Created::NotAdmitted(NotAdmitted::Closed)), "{created:?}");
    assert_eq!(store.refuse(&refusal(id, 10)).await, Err(NotAdmitted::Closed));
    for course in COURSES {
        let cancelled = tx!(store.faulty(course), |tx| batches::cancel(&tx, id, owner, NOW).await);
        assert!(matches!(&cancelled, Told::Done(batch) if batch.standing == Standing::Cancelled));
    }
    assert_eq!(tx!(store, |tx| batches::close(&tx, id, owner, NOW).await), Told::Cancelled);
    let created = store.create(&late).await;
    assert!(matches!(created, Created::NotAdmitted(NotAdmitted::Cancelled)), "{created:?}");
    assert!(tx!(store, |tx| photos::get(&tx, late.photo.id).await).is_none());
    assert!(!store.progress(id).await.is_complete(), "one is still being processed");
    store.publish(&photo, &job).await;
    assert_eq!(store.audited(id).await, Counts { ready: 1, ..Counts::default() });
    assert!(store.progress(id).await.is_complete());
}

async fn another_owners_batch_is_none(store: Store) {
    let id = store.opened().await;
    let other = &other_owner();
    let admitted = tx!(store, |tx| batches::admission(&tx, id, other).await);
    assert_eq!(admitted, Err(NotAdmitted::Unknown));
    assert_eq!(tx!(store, |tx| batches::close(&tx, id, other, NOW).await), Told::NotFound);
    assert_eq!(tx!(store, |tx| batches::cancel(&tx, id, other, NOW).await), Told::NotFound);
    let theirs = Refusal { owner: other.clone(), ..refusal(id, 10) };
    assert_eq!(store.refuse(&theirs).await, Err(NotAdmitted::Unknown));
    assert!(tx!(store, |tx| batches::list(&tx, other, None, 10).await).is_empty());
    let mut creation = store.creation(id, b"a").await;
    creation.photo.owner = other.clone();
    assert!(matches!(store.create(&creation).await, Created::NotAdmitted(NotAdmitted::Unknown)));
    assert_eq!(store.audited(id).await, Counts::default());
}

async fn open_batches_are_bounded(store: Store) {
    let opening = || Opening { batch: batch(), open_max: 2 };
    let (first, second, third) = (opening(), opening(), opening());
    for (opening, course) in [(&first, COURSES[1]), (&second, COURSES[3])] {
        let opened = tx!(store.faulty(course), |tx| batches::open(&tx, opening).await);
        assert!(matches!(opened, Opened::Done(_)), "also when it runs again with the last place taken");
    }
    let refused = &third;
    assert_eq!(tx!(store, |tx| batches::open(&tx, refused).await), Opened::TooMany);
    let mut theirs = opening();
    theirs.batch.owner = other_owner();
    let theirs = &theirs;
    assert!(matches!(tx!(store, |tx| batches::open(&tx, theirs).await), Opened::Done(_)));
    assert_eq!(tx!(store, |tx| batches::count_open(&tx).await), 3);
    let (id, owner) = (first.batch.id, &OwnerId::open());
    tx!(store, |tx| batches::close(&tx, id, owner, NOW).await);
    assert_eq!(tx!(store, |tx| batches::count_open(&tx).await), 2);
    assert!(matches!(tx!(store, |tx| batches::open(&tx, refused).await), Opened::Done(_)));
    let listed = tx!(store, |tx| batches::list(&tx, owner, None, 2).await);
    let ids: Vec<_> = listed.iter().map(|batch| batch.id).collect();
    assert_eq!(ids, [third.batch.id, second.batch.id], "newest first");
    let rest = tx!(store, |tx| batches::list(&tx, owner, Some(second.batch.id), 2).await);
    assert_eq!(rest.iter().map(|batch| batch.id).collect::<Vec<_>>(), [first.batch.id]);
}

async fn items_are_listed_by_page_and_by_state(store: Store) {
    let id = store.opened().await;
    let mut failed = Vec::new();
    for number in 0..10 {
        let (photo, job) = store.created(id, format!("{number}").as_bytes()).await;
        if number % 4 == 1 {
            store.fail(&photo, &job).await;
            failed.push(ItemId::from(photo.id));
        } else if number % 2 == 0 {
            store.publish(&photo, &job).await;
        }
    }
    let counts = store.audited(id).await;
    assert_eq!(counts, Counts { processing: 2, ready: 5, failed: 3, ..Counts::default() });
    let found: Vec<_> =
        store.items(id, Some(ItemState::Failed)).await.into_iter().map(|(id, _)| id).collect();
    assert_eq!(found, failed);
    // Another batch's rows lie beside them.
    let other = store.opened().await;
    store.created(other, b"x").await;
    assert_eq!(store.items(id, None).await.len(), 10);
    assert_eq!(store.items(other, None).await.len(), 1);
}

async fn what_was_finished_lately_is_told(store: Store) {
    let id = store.opened().await;
    let (photo, job) = store.created(id, b"four").await;
    let since = |at: Timestamp| {
        let store = store.clone();
        async move {
            tx!(store, |tx| {
                let batch = batches::get(&tx, id).await?.expect("a batch");
                Ok(batches::progress(&tx, batch, at).await?.recent)
            })
        }
    };
    assert_eq!(since(Timestamp(0)).await.items, 0, "received is not finished");
    store.publish(&photo, &job).await;
    let at = NOW.after(MINUTE);
    let recent = since(at).await;
    assert_eq!((recent.items, recent.bytes), (1, 4));
    assert!(recent.since <= at && at.since(recent.since) < batches::BUCKET);
    assert_eq!(since(at.after(batches::BUCKET)).await.items, 0);
    let progress = store.progress(id).await;
    assert_eq!((progress.updated, progress.bytes), (at, 4));
}

async fn a_batch_goes_after_its_last_change_and_its_photos_stay(store: Store) {
    let id = store.opened().await;
    let (first, job) = store.created(id, b"first").await;
    let (second, waiting) = store.created(id, b"second").await;
    store.refuse(&refusal(id, 10)).await.unwrap();
    store.publish(&first, &job).await; // A minute after the rest.
    let due = |now: Timestamp| {
        let store = store.clone();
        async move { tx!(store, |tx| batches::due(&tx, now, 10).await) }
    };
    let opened_until = Timestamp(NOW.0 + KEEP_MS);
    assert!(due(Timestamp(opened_until.0 - 1)).await.is_empty());
    let row = due(opened_until).await[0];
    assert_eq!(row, (opened_until, id));
    let expire = |row, now, course: &'static [CommitFault]| {
        let store = store.faulty(course);
        async move { tx!(store, |tx| batches::expire(&tx, row, now, 2).await) }
    };
    assert_eq!(expire(row, opened_until, COURSES[1]).await, Expired::Kept, "it has changed since");
    let until = opened_until.after(MINUTE);
    assert!(due(opened_until).await.is_empty());
    let row = due(until).await[0];
    assert_eq!(row, (until, id));
    let mut steps = 0;
    while expire(row, until, COURSES[steps % COURSES.len()]).await == Expired::InPart {
        steps += 1;
        assert!(steps < 100);
        if steps == 1 {
            // A photo whose batch is on its way out is settled all the same.
            store.publish(&second, &waiting).await;
        }
    }
    assert!(steps > 3, "{steps}");
    assert!(due(Timestamp(u64::MAX - 1)).await.is_empty());
    assert!(tx!(store, |tx| batches::get(&tx, id).await).is_none());
    assert!(store.items(id, None).await.is_empty());
    assert_eq!(tx!(store, |tx| batches::count_open(&tx).await), 0);
    for photo in [first.id, second.id] {
        assert!(tx!(store, |tx| photos::get(&tx, photo).await).is_some());
    }
    store.delete(first.id).await;
    let all = darkroom_store::model::subspaces::BATCH_COUNTS.all();
    let all = &all;
    let left = tx!(store, |tx| tx.get_range(all, darkroom_store::metadata::RangeOptions::default()).await);
    assert!(left.is_empty(), "nothing is added to a batch that is gone: {left:?}");
}
