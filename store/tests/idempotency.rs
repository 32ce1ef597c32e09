//! Requests that are carried out once, over a real engine: also when attempts die, race and are told twice.
#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "it says what it skips")]

use std::time::Duration;

use darkroom_store::metadata::{Metadata, RangeOptions};
use darkroom_store::model::direct::{self, DirectUpload, OpenLimits, Opened, Source};
use darkroom_store::model::idempotency::{self, Answer, Attempt, Begun, Expired, Keyed, PhotoKey, UploadKey};
use darkroom_store::model::photos::{self, Created, Creation, Failure, Fields, Photo, Seen, Settling};
use darkroom_store::model::subspaces::{IDEMPOTENCY, IDEMPOTENCY_BY_EXPIRY, IDEMPOTENCY_PHOTOS};
use darkroom_store::model::uploads::{
    self, End, Join, Joined, Kind, Limits, NotBegun, State, Upload, Usage, Wishes,
};
use darkroom_store::model::{
    ContentHash, Epoch, LeaseId, OwnerId, SeriesId, Timestamp, UploadId, jobs, nodes, objects,
};

const NOW: Timestamp = Timestamp(1_000_000);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 3600);
const KEYS_MAX: u64 = 5;
const LIMITS: Limits =
    Limits { open_max: 10, open_per_owner_max: 5, bytes_max: 1000, bytes_per_owner_max: 1000 };

#[macro_use]
mod engines;
mod fixtures;

use engines::{Engine, Place};

cases! { crate::run:
    one_attempt_at_a_time_and_a_second_run_is_the_same,
    a_key_is_one_requests_and_one_owners,
    a_dead_node_and_a_passed_time_free_the_key,
    an_answer_is_kept_until_its_time,
    the_first_answer_of_two_attempts_is_both_ones,
    a_refused_attempt_frees_the_key_for_any_request,
    a_failed_attempt_is_continued_by_the_same_request_only,
    what_an_attempt_makes_after_its_client_has_gone_is_found,
    a_key_under_which_nothing_was_made_is_soon_forgotten,
    a_photo_is_made_once_for_each_place,
    a_place_belongs_to_its_bytes_and_parameters,
    a_crash_before_the_answer_doubles_nothing,
    what_a_duplicate_and_a_revived_photo_were_is_answered_again,
    a_creation_that_runs_twice_is_its_own,
    keys_are_counted_limited_and_forgotten_in_steps,
    a_series_that_took_a_forgotten_ones_key_stays,
    an_upload_and_its_key_are_one_transaction,
    attempts_that_race_begin_one_upload,
    an_upload_that_has_gone_is_not_begun_again,
    an_upload_that_came_to_nothing_frees_its_key,
    a_forgotten_key_binds_nothing,
    parts_are_joined_once_under_a_key,
    a_direct_upload_is_opened_once_under_a_key,
}

/// Runs a case on an empty store of `engine`, where two nodes live.
async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = |place: Place| async move {
        let metadata = place.open().await;
        let mut epochs = [Epoch(0); 2];
        for epoch in &mut epochs {
            let process = uuid::Uuid::new_v4();
            let begin = |tx| async move { nodes::begin_epoch(&tx, process, NOW).await };
            *epoch = metadata.transact("begin", begin).await.unwrap();
        }
        case(Store { metadata, epochs }).await;
    };
    engines::run(engine, opened).await;
}

/// A store, and what nodes would do with it.
struct Store {
    metadata: Metadata,
    epochs: [Epoch; 2],
}

/// Runs `$body` in a transaction with `$tx`.
macro_rules! tx {
    ($store:expr, |$tx:ident| $body:expr) => {
        $store.metadata.transact("test", |$tx| async move { $body }).await.unwrap()
    };
}

fn request(key: &str, content: &[u8]) -> Keyed {
    Keyed {
        owner: OwnerId::open(),
        key: key.to_owned(),
        fingerprint: ContentHash::of(content),
        single: false,
    }
}

fn answer(body: &str) -> Answer {
    let headers = vec![("location".to_owned(), "/v1/things/1".to_owned())];
    Answer { status: 201, headers, body: body.to_owned() }
}

fn upload(kind: Kind, length: u64) -> Upload {
    let expires = NOW.after(DAY);
    Upload {
        id: UploadId::new(),
        owner: OwnerId::open(),
        kind,
        state: State::Open,
        length: Some(length),
        offset: 0,
        reserved: length,
        pieces: 0,
        recognized: false,
        wishes: Wishes::default(),
        created: NOW,
        updated: NOW,
        expires,
        look: expires,
        lease: None,
        released_by: None,
    }
}

fn direct_upload() -> DirectUpload {
    let id = UploadId::new();
    DirectUpload {
        id,
        owner: OwnerId::open(),
        source: Source::Uploaded(direct::upload_key(id)),
        bytes: 5,
        media_type: None,
        blake3: None,
        sha256: None,
        name: None,
        batch: None,
        fields: Fields::default(),
        allow_duplicate: false,
        publish: None,
        parts: None,
        created: NOW,
        expires: NOW.after(MINUTE),
        kept_ms: 1000,
        due: NOW.after(MINUTE),
        state: direct::State::Open,
        claim: None,
        swept: false,
    }
}

fn failure() -> Failure {
    Failure { code: "corrupt-image".to_owned(), detail: "bad".to_owned() }
}

impl Store {
    /// An attempt of the first node.
    fn attempt(&self, now: Timestamp) -> Attempt {
        let until = now.after(MINUTE);
        let expires = until.after(DAY);
        Attempt { id: LeaseId::new(), series: SeriesId::new(), epoch: self.epochs[0], now, until, expires }
    }

    async fn begin(&self, request: &Keyed, attempt: &Attempt) -> Begun {
        tx!(self, |tx| idempotency::begin(&tx, request, attempt, KEYS_MAX).await)
    }

    async fn begun(&self, request: &Keyed, now: Timestamp) -> (SeriesId, LeaseId) {
        let attempt = self.attempt(now);
        match self.begin(request, &attempt).await {
            Begun::Go(series) => (series, attempt.id),
            other => panic!("{other:?}"),
        }
    }

    async fn release(&self, request: &Keyed, attempt: LeaseId, forget: bool) {
        let expires = NOW.after(DAY);
        tx!(self, |tx| idempotency::release(&tx, request, attempt, forget, expires).await);
    }

    async fn finish(&self, request: &Keyed, series: SeriesId, body: &str) -> Answer {
        let (answer, expires) = (&answer(body), NOW.after(DAY));
        tx!(self, |tx| idempotency::finish(&tx, request, series, answer, expires).await)
    }

    async fn creation(&self, content: &[u8], place: (SeriesId, u64)) -> Creation {
        let mut creation = fixtures::creation(content, self.epochs[0], NOW);
        let (series, number) = place;
        creation.key = Some(PhotoKey { series, number, parameters: ContentHash::of(b"a.jpg") });
        let keys = &[creation.photo.original.object.clone()];
        let epoch = self.epochs[0];
        tx!(self, |tx| objects::intend(&tx, epoch, keys));
        creation
    }

    async fn create(&self, creation: &Creation) -> Created {
        let created = tx!(self, |tx| photos::create(&tx, creation).await);
        let Created::Stored(object) = created else { return created };
        let seen = &Creation { seen: Some(Seen::Present(object)), ..creation.clone() };
        tx!(self, |tx| photos::create(&tx, seen).await)
    }

    /// Fails the photo of a creation whose job nobody holds.
    async fn fail(&self, creation: &Creation, photo: &Photo) {
        let (job, lease) = (creation.job.id, jobs::Lease { id: LeaseId::new(), epoch: self.epochs[0] });
        let leased = tx!(self, |tx| jobs::claim(&tx, job, lease, NOW, NOW.after(MINUTE)).await);
        assert!(leased.is_some());
        let by = Settling { photo: photo.id, job, lease, now: NOW, history: 0 };
        let failure = &failure();
        tx!(self, |tx| photos::fail(&tx, &by, failure, &[]).await);
    }

    /// Begins an upload under a key.
    async fn upload(&self, upload: &Upload, key: &UploadKey) -> Result<UploadId, NotBegun> {
        let begun = tx!(self, |tx| uploads::create(&tx, upload, &LIMITS, Some(key)).await);
        begun.map(|upload| upload.id)
    }

    async fn end(&self, id: UploadId, state: State) {
        let (owner, end) = (&OwnerId::open(), &End { id, state, holder: None, now: NOW, expires: NOW });
        tx!(self, |tx| uploads::end(&tx, owner, end).await);
    }

    async fn open_uploads(&self) -> u64 {
        let Usage { open, .. } = tx!(self, |tx| uploads::usage(&tx, None).await);
        open
    }

    async fn count(&self) -> i64 {
        let owner = &OwnerId::open();
        tx!(self, |tx| idempotency::count(&tx, owner).await)
    }

    async fn expire(&self, now: Timestamp, rows_max: usize) -> Expired {
        tx!(self, |tx| idempotency::expire(&tx, now, rows_max).await)
    }

    async fn photos(&self) -> usize {
        let owner = &OwnerId::open();
        tx!(self, |tx| photos::list(&tx, owner, None, 100).await).len()
    }

    /// Rows of keys, of photos, and by expiry.
    async fn rows(&self) -> [usize; 3] {
        let mut rows = [0; 3];
        for (rows, space) in rows.iter_mut().zip([IDEMPOTENCY, IDEMPOTENCY_PHOTOS, IDEMPOTENCY_BY_EXPIRY]) {
            let all = &space.all();
            *rows = tx!(self, |tx| tx.get_range(all, RangeOptions::default()).await).len();
        }
        rows
    }
}

async fn one_attempt_at_a_time_and_a_second_run_is_the_same(store: Store) {
    let request = request("a", b"x");
    let first = store.attempt(NOW);
    for _ in 0..2 {
        assert_eq!(store.begin(&request, &first).await, Begun::Go(first.series));
    }
    let second = Attempt { epoch: store.epochs[1], ..store.attempt(NOW) };
    assert_eq!(store.begin(&request, &second).await, Begun::InProgress(first.until));
    assert_eq!(store.count().await, 1);
}

async fn a_key_is_one_requests_and_one_owners(store: Store) {
    store.begun(&request("a", b"x"), NOW).await;
    assert_eq!(store.begin(&request("a", b"y"), &store.attempt(NOW)).await, Begun::Reused);
    store.begun(&request("b", b"y"), NOW).await;
    let other = Keyed { owner: serde_json::from_str("\"ada\"").unwrap(), ..request("a", b"y") };
    store.begun(&other, NOW).await;
}

async fn a_dead_node_and_a_passed_time_free_the_key(store: Store) {
    let (dying, slow) = (request("dying", b"x"), request("slow", b"x"));
    let theirs = Attempt { epoch: store.epochs[1], ..store.attempt(NOW) };
    let Begun::Go(series) = store.begin(&dying, &theirs).await else { panic!("it is free") };
    let late = store.attempt(NOW);
    store.begin(&slow, &late).await;
    let (dead, later) = (store.epochs[1], NOW.after(MINUTE));
    tx!(store, |tx| nodes::end(&tx, dead, NOW).await);
    // At once, and by whoever comes first; the series goes on.
    assert_eq!(store.begin(&dying, &store.attempt(NOW)).await, Begun::Go(series));
    assert!(matches!(store.begin(&slow, &store.attempt(NOW)).await, Begun::InProgress(_)));
    assert_eq!(store.begin(&slow, &store.attempt(later)).await, Begun::Go(late.series));
    // The first attempt lives all the same, and may not give up what is no longer its own.
    store.release(&slow, late.id, true).await;
    assert!(matches!(store.begin(&slow, &store.attempt(later)).await, Begun::InProgress(_)));
    // Nothing was made: another request may have the key of one that is lost.
    let end = later.after(MINUTE);
    store.begun(&request("slow", b"y"), end).await;
}

async fn an_answer_is_kept_until_its_time(store: Store) {
    let request = request("a", b"x");
    let (series, attempt) = store.begun(&request, NOW).await;
    let long = "x".repeat(200_000);
    for _ in 0..2 {
        assert_eq!(store.finish(&request, series, &long).await, answer(&long));
    }
    store.release(&request, attempt, true).await;
    let before = Timestamp(NOW.after(DAY).0 - 1);
    assert_eq!(store.begin(&request, &store.attempt(before)).await, Begun::Answered(answer(&long)));
    let other = Keyed { fingerprint: ContentHash::of(b"y"), ..request.clone() };
    assert_eq!(store.begin(&other, &store.attempt(before)).await, Begun::Reused);
    // Also before the Janitor has come by.
    let (again, _) = store.begun(&other, NOW.after(DAY)).await;
    assert_ne!(again, series);
}

async fn the_first_answer_of_two_attempts_is_both_ones(store: Store) {
    let request = request("a", b"x");
    let (series, _) = store.begun(&request, NOW).await;
    assert_eq!(store.begun(&request, NOW.after(MINUTE)).await.0, series);
    assert_eq!(store.finish(&request, series, "first").await, answer("first"));
    assert_eq!(store.finish(&request, series, "second").await, answer("first"));
}

async fn a_refused_attempt_frees_the_key_for_any_request(store: Store) {
    let (one, other) = (request("a", b"x"), request("a", b"y"));
    let (series, attempt) = store.begun(&one, NOW).await;
    for _ in 0..2 {
        store.release(&one, attempt, true).await;
    }
    assert_eq!((store.count().await, store.rows().await), (0, [0; 3]));
    let (again, attempt) = store.begun(&other, NOW).await;
    assert_ne!(again, series);
    // Not where a photo was made: that request is the key's.
    assert!(matches!(store.create(&store.creation(b"p", (again, 7)).await).await, Created::New(_)));
    store.release(&other, attempt, true).await;
    assert_eq!(store.begin(&one, &store.attempt(NOW)).await, Begun::Reused);
    assert_eq!(store.begun(&other, NOW).await.0, again);
}

async fn a_failed_attempt_is_continued_by_the_same_request_only(store: Store) {
    let (one, other) = (request("a", b"x"), request("a", b"y"));
    let (series, attempt) = store.begun(&one, NOW).await;
    store.release(&one, attempt, false).await;
    let (again, attempt) = store.begun(&one, NOW).await;
    assert_eq!(again, series, "what is made under the series' id is found there");
    store.release(&one, attempt, false).await;
    assert_ne!(store.begun(&other, NOW).await.0, series);
}

async fn what_an_attempt_makes_after_its_client_has_gone_is_found(store: Store) {
    let request = request("a", b"x");
    let (series, first) = store.begun(&request, NOW).await;
    let creation = Creation { allow_duplicate: true, ..store.creation(b"p", (series, 0)).await };
    // The client goes away while the bytes are stored, and its next attempt breaks off.
    store.release(&request, first, false).await;
    let (again, second) = store.begun(&request, NOW).await;
    assert_eq!(again, series);
    store.release(&request, second, true).await;
    assert!(matches!(store.create(&creation).await, Created::New(_)));
    let (again, _) = store.begun(&request, NOW).await;
    assert_eq!(again, series, "an attempt that is refused does not free what another may still make");
    // Not when the attempts are over, but when every key is.
    assert_eq!(store.expire(NOW.after(MINUTE), 100).await.removed, 0);
    let later = store.attempt(Timestamp(NOW.after(DAY).0 - 1));
    assert_eq!(store.begin(&request, &later).await, Begun::Go(series));
    assert_eq!(store.expire(later.expires, 100).await.removed, 2);
    assert_eq!((store.count().await, store.rows().await), (0, [0; 3]));
}

async fn a_key_under_which_nothing_was_made_is_soon_forgotten(store: Store) {
    let (none, late) = (request("none", b"x"), request("late", b"x"));
    let (_, attempt) = store.begun(&none, NOW).await;
    store.release(&none, attempt, false).await;
    let (series, attempt) = store.begun(&late, NOW).await;
    store.release(&late, attempt, false).await;
    assert!(matches!(store.create(&store.creation(b"p", (series, 0)).await).await, Created::New(_)));
    assert_eq!(store.count().await, 3);
    let over = NOW.after(MINUTE);
    // Also before the Janitor has come by.
    assert_eq!(store.begin(&late, &Attempt { id: attempt, ..store.attempt(over) }).await, Begun::Go(series));
    store.release(&late, attempt, false).await;
    assert_eq!(store.expire(over, 100).await.removed, 1);
    assert_eq!(store.count().await, 2, "what was made after the release keeps its key");
    assert_eq!(store.begun(&late, over).await.0, series);
}

async fn a_photo_is_made_once_for_each_place(store: Store) {
    let many = request("a", b"x");
    let (series, attempt) = store.begun(&many, NOW).await;
    let mut made = Vec::new();
    for number in 0..3 {
        let mut creation = store.creation(b"same", (series, number)).await;
        creation.allow_duplicate = true;
        let Created::New(photo) = store.create(&creation).await else { panic!("two were wanted") };
        made.push(photo);
    }
    store.release(&many, attempt, false).await;
    let (again, _) = store.begun(&many, NOW).await;
    for (number, first) in made.iter().enumerate() {
        let mut creation = store.creation(b"same", (again, number as u64)).await;
        creation.allow_duplicate = true;
        let Created::Replayed { photo, duplicate } = store.create(&creation).await else {
            panic!("it was made before")
        };
        assert_eq!((photo.id, photo.created, duplicate), (first.id, first.created, false));
    }
    assert_eq!((store.photos().await, store.count().await), (3, 4));
}

async fn a_place_belongs_to_its_bytes_and_parameters(store: Store) {
    let place = (SeriesId::new(), 0);
    assert!(matches!(store.create(&store.creation(b"a", place).await).await, Created::New(_)));
    let other = store.creation(b"b", place).await;
    assert!(matches!(store.create(&other).await, Created::KeyReused));
    let mut renamed = store.creation(b"a", place).await;
    renamed.key.as_mut().unwrap().parameters = ContentHash::of(b"b.jpg");
    assert!(matches!(store.create(&renamed).await, Created::KeyReused));
    assert_eq!(store.photos().await, 1);
    let key = other.key.unwrap();
    let bound = tx!(store, |tx| idempotency::bound(&tx, &key).await).unwrap();
    assert!(bound.is_of(&ContentHash::of(b"a"), &key) && bound.bytes() == 1);
    assert!(!bound.is_of(&ContentHash::of(b"b"), &key));
}

async fn a_crash_before_the_answer_doubles_nothing(store: Store) {
    let single = Keyed { single: true, ..request("a", b"x") };
    let theirs = Attempt { epoch: store.epochs[1], ..store.attempt(NOW) };
    let Begun::Go(series) = store.begin(&single, &theirs).await else { panic!("it is free") };
    let mut creation = store.creation(b"a", (series, 0)).await;
    creation.allow_duplicate = true;
    let Created::New(first) = store.create(&creation).await else { panic!("it is new") };
    // The photo says all there is, whether or not its node is known to be dead.
    assert_eq!(store.begin(&single, &store.attempt(NOW)).await, Begun::Go(series));
    let other = Keyed { fingerprint: ContentHash::of(b"y"), ..single.clone() };
    let dead = store.epochs[1];
    tx!(store, |tx| nodes::end(&tx, dead, NOW).await);
    assert_eq!(store.begin(&other, &store.attempt(NOW)).await, Begun::Reused);
    let mut again = store.creation(b"a", (series, 0)).await;
    again.allow_duplicate = true;
    let Created::Replayed { photo, .. } = store.create(&again).await else { panic!("it was made") };
    assert_eq!(photo.id, first.id);
    // And it is answered so when the photo is gone.
    let id = first.id;
    assert!(tx!(store, |tx| photos::delete(&tx, id, NOW, 0).await));
    assert!(matches!(store.create(&again).await, Created::Replayed { .. }));
    assert_eq!(store.photos().await, 0);
}

async fn what_a_duplicate_and_a_revived_photo_were_is_answered_again(store: Store) {
    let first = store.creation(b"a", (SeriesId::new(), 0)).await;
    let Created::New(photo) = store.create(&first).await else { panic!("it is new") };
    let duplicate = store.creation(b"a", (SeriesId::new(), 0)).await;
    assert!(matches!(store.create(&duplicate).await, Created::Duplicate(_)));
    store.fail(&first, &photo).await;
    let revived = store.creation(b"a", (SeriesId::new(), 0)).await;
    assert!(matches!(store.create(&revived).await, Created::Retried(_)));
    for (creation, was) in [(first, false), (duplicate, true), (revived, true)] {
        let place = creation.key.map(|key| (key.series, key.number)).unwrap();
        let again = store.creation(b"a", place).await;
        let Created::Replayed { photo, duplicate } = store.create(&again).await else {
            panic!("it was answered before")
        };
        assert_eq!((photo.id, photo.state, duplicate), (photo.id, photos::State::Processing, was));
    }
}

async fn a_creation_that_runs_twice_is_its_own(store: Store) {
    let new = store.creation(b"a", (SeriesId::new(), 0)).await;
    let mut first = None;
    for _ in 0..2 {
        let Created::New(photo) = store.create(&new).await else { panic!("it is its own") };
        assert!(!photo.original.probe.is_null(), "the record, and not what is kept of it");
        first = Some(photo);
    }
    let duplicate = store.creation(b"a", (SeriesId::new(), 0)).await;
    for _ in 0..2 {
        assert!(matches!(store.create(&duplicate).await, Created::Duplicate(_)));
    }
    store.fail(&new, &first.unwrap()).await;
    let revived = store.creation(b"a", (SeriesId::new(), 0)).await;
    for _ in 0..2 {
        assert!(matches!(store.create(&revived).await, Created::Retried(_)));
    }
    assert_eq!((store.count().await, store.rows().await[1]), (3, 3));
}

async fn keys_are_counted_limited_and_forgotten_in_steps(store: Store) {
    let many = request("a", b"x");
    let (series, _) = store.begun(&many, NOW).await;
    for number in 0..4 {
        let content = [number as u8];
        assert!(matches!(
            store.create(&store.creation(&content, (series, number)).await).await,
            Created::New(_)
        ));
    }
    assert_eq!(store.count().await, 5);
    assert_eq!(store.begin(&request("b", b"x"), &store.attempt(NOW)).await, Begun::TooMany);
    // What is there may be repeated all the same.
    let later = NOW.after(MINUTE);
    let (_, attempt) = store.begun(&many, later).await;
    let end = later.after(DAY);
    tx!(store, |tx| idempotency::release(&tx, &request("a", b"x"), attempt, false, end).await);
    assert_eq!(store.expire(Timestamp(end.0 - 1), 100).await, Expired::default());
    assert_eq!(store.expire(end, 3).await, Expired { removed: 3, more: true });
    assert_eq!((store.count().await, store.rows().await), (2, [1, 1, 1]));
    assert_eq!(store.expire(end, 3).await, Expired { removed: 2, more: false });
    assert_eq!((store.count().await, store.rows().await), (0, [0; 3]));
    assert_eq!(store.expire(end, 3).await, Expired::default());
    assert_eq!(store.photos().await, 4, "photos stay");
}

async fn a_series_that_took_a_forgotten_ones_key_stays(store: Store) {
    let (one, other) = (request("a", b"x"), request("a", b"y"));
    let (series, _) = store.begun(&one, NOW).await;
    store.finish(&one, series, "one").await;
    let end = NOW.after(DAY);
    let (second, _) = store.begun(&other, end).await;
    store.create(&store.creation(b"p", (second, 0)).await).await;
    assert_eq!(store.expire(end, 100).await, Expired { removed: 1, more: false });
    assert_eq!((store.count().await, store.rows().await), (2, [1, 1, 1]));
    assert!(matches!(store.begin(&other, &store.attempt(end)).await, Begun::InProgress(_)));
}

async fn an_upload_and_its_key_are_one_transaction(store: Store) {
    let (one, other) = (request("a", b"x"), request("a", b"y"));
    let theirs = Attempt { epoch: store.epochs[1], ..store.attempt(NOW) };
    let Begun::Go(series) = store.begin(&one, &theirs).await else { panic!("it is free") };
    let (key, first) = (UploadKey { request: one.clone(), series }, upload(Kind::Plain, 9));
    for _ in 0..2 {
        assert_eq!(store.upload(&first, &key).await, Ok(first.id), "a second run is its own");
    }
    assert!(matches!(store.begin(&one, &store.attempt(NOW)).await, Begun::InProgress(_)));
    // Its node dies before it has answered: the key is that request's all the same, and knows what it has made.
    let dead = store.epochs[1];
    tx!(store, |tx| nodes::end(&tx, dead, NOW).await);
    assert_eq!(store.begin(&other, &store.attempt(NOW)).await, Begun::Reused);
    let mine = store.attempt(NOW);
    for _ in 0..2 {
        assert_eq!(store.begin(&one, &mine).await, Begun::GoOn(series, first.id));
    }
    assert_eq!(store.upload(&upload(Kind::Plain, 9), &key).await, Ok(first.id));
    assert_eq!((store.open_uploads().await, store.count().await), (1, 1));
    // It is open: no refusal of a later attempt frees the key.
    store.release(&one, mine.id, true).await;
    assert_eq!(store.begin(&other, &store.attempt(NOW)).await, Begun::Reused);
    assert_eq!(store.begin(&one, &store.attempt(NOW)).await, Begun::GoOn(series, first.id));
}

async fn attempts_that_race_begin_one_upload(store: Store) {
    let request = request("a", b"x");
    let (series, _) = store.begun(&request, NOW).await;
    let key = &UploadKey { request, series };
    let all: Vec<_> = (0..4).map(|_| upload(Kind::Plain, 9)).collect();
    let begun = futures_util::future::join_all(all.iter().map(|upload| store.upload(upload, key))).await;
    assert!(begun.iter().all(|id| *id == begun[0] && id.is_ok()), "{begun:?}");
    assert_eq!(store.open_uploads().await, 1);
}

async fn an_upload_that_has_gone_is_not_begun_again(store: Store) {
    let request = request("a", b"x");
    let (series, attempt) = store.begun(&request, NOW).await;
    let (key, first) = (UploadKey { request: request.clone(), series }, upload(Kind::Plain, 9));
    store.upload(&first, &key).await.unwrap();
    store.release(&request, attempt, false).await;
    store.end(first.id, State::Terminated).await;
    let id = first.id;
    while tx!(store, |tx| uploads::get(&tx, id).await).is_some() {
        tx!(store, |tx| uploads::sweep(&tx, id, NOW.after(DAY), 10).await);
    }
    assert_eq!(store.begin(&request, &store.attempt(NOW)).await, Begun::GoOn(series, first.id));
    assert_eq!(store.upload(&upload(Kind::Plain, 9), &key).await, Err(NotBegun::Gone));
    assert_eq!(store.open_uploads().await, 0);
}

async fn an_upload_that_came_to_nothing_frees_its_key(store: Store) {
    let refused = State::Refused { code: "empty-image".to_owned(), detail: "it is empty".to_owned() };
    for state in [refused, State::Terminated] {
        let request = request("a", b"x");
        let (series, attempt) = store.begun(&request, NOW).await;
        let upload = upload(Kind::Plain, 9);
        store.upload(&upload, &UploadKey { request: request.clone(), series }).await.unwrap();
        store.end(upload.id, state).await;
        store.release(&request, attempt, true).await;
        assert_eq!((store.count().await, store.rows().await), (0, [0; 3]));
    }
}

async fn a_forgotten_key_binds_nothing(store: Store) {
    let request = request("a", b"x");
    let (series, _) = store.begun(&request, NOW).await;
    let end = NOW.after(MINUTE).after(DAY);
    store.expire(end, 100).await;
    let (first, key) = (upload(Kind::Plain, 9), UploadKey { request: request.clone(), series });
    assert_eq!(store.upload(&first, &key).await, Ok(first.id), "it is made all the same");
    assert_eq!(store.rows().await, [0; 3]);
    // Nor does an attempt that was given up write into the series that has taken its place.
    let (other, _) = store.begun(&request, end).await;
    assert_ne!(other, series);
    store.upload(&upload(Kind::Plain, 9), &key).await.unwrap();
    assert_eq!(store.begun(&request, end.after(MINUTE)).await.0, other);
}

async fn parts_are_joined_once_under_a_key(store: Store) {
    let part = &upload(Kind::Partial, 0);
    tx!(store, |tx| uploads::create(&tx, part, &LIMITS, None).await).unwrap();
    let request = request("a", b"x");
    let (series, attempt) = store.begun(&request, NOW).await;
    let key = Some(&UploadKey { request: request.clone(), series });
    let keep_to = &Join { bytes_max: 100, pieces_max: 10, parts_expire: NOW.after(DAY) };
    let whole = || upload(Kind::Final { parts: vec![part.id] }, 0);
    let first = &whole();
    for joined in [first, &whole(), first] {
        let joined = tx!(store, |tx| uploads::join(&tx, joined, keep_to, key).await);
        assert!(matches!(joined, Joined::Done(joined) if joined.id == first.id));
    }
    store.release(&request, attempt, false).await;
    assert_eq!(store.begin(&request, &store.attempt(NOW)).await, Begun::GoOn(series, first.id));
}

async fn a_direct_upload_is_opened_once_under_a_key(store: Store) {
    let request = request("a", b"x");
    let (series, attempt) = store.begun(&request, NOW).await;
    let key = Some(&UploadKey { request: request.clone(), series });
    let limits = OpenLimits { uploads_max: 1, bytes_max: 1000 };
    let (first, second) = (&direct_upload(), &direct_upload());
    for (upload, opened) in [(first, Opened::New), (first, Opened::New), (second, Opened::Before(first.id))] {
        assert_eq!(tx!(store, |tx| direct::open(&tx, upload, limits, key).await), opened);
    }
    // What was opened keeps the key, whatever a later attempt is refused for; also once it was given up.
    let id = first.id;
    tx!(store, |tx| direct::abort(&tx, id, NOW).await);
    store.release(&request, attempt, true).await;
    assert_eq!(store.begin(&request, &store.attempt(NOW)).await, Begun::GoOn(series, first.id));
    assert_eq!(tx!(store, |tx| direct::open(&tx, second, limits, key).await), Opened::Before(first.id));
}
