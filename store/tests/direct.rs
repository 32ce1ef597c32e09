//! Direct uploads over a real engine: what each transaction promises, also when it runs twice.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

use std::time::Duration;

use darkroom_store::metadata::Metadata;
use darkroom_store::model::batches::{self, Batch, Counts, ItemState, Opening, Refusal};
use darkroom_store::model::direct::{
    self, Claim, Claimed, DirectUpload, OpenLimits, Opened, Parts, Source, Standing, State, Swept,
};
use darkroom_store::model::photos::{self, Failure, Fields};
use darkroom_store::model::{
    BatchId, Epoch, ItemId, JobId, OwnerId, PhotoId, Timestamp, UploadId, nodes, objects,
};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_000_000);
const LIMITS: OpenLimits = OpenLimits { uploads_max: 3, bytes_max: 1000 };

#[macro_use]
mod engines;
#[allow(dead_code, reason = "not everything that an upload commits is needed")]
mod fixtures;

use engines::{Engine, Place};

cases! { crate::run:
    an_owner_opens_up_to_the_limits_and_what_is_settled_does_not_count,
    one_at_a_time_claims_and_the_claims_of_the_dead_are_void,
    one_creation_makes_the_photo_and_runs_as_often_as_it_must,
    what_is_over_makes_no_photo,
    parts_are_begun_once,
    an_upload_that_nobody_completes_expires_is_buried_and_forgotten,
    a_settled_upload_is_buried_again_when_its_urls_have_ended,
    what_is_being_finished_is_not_swept,
    a_found_object_is_never_buried,
    a_refused_upload_is_one_item_of_its_batch,
}

async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = |place: Place| async move {
        let metadata = place.open().await;
        let process = Uuid::new_v4();
        let begin = |tx| async move { nodes::begin_epoch(&tx, process, NOW).await };
        let epoch = metadata.transact("begin", begin).await.unwrap();
        case(Store { metadata, epoch }).await;
    };
    engines::run(engine, opened).await;
}

struct Store {
    metadata: Metadata,
    epoch: Epoch,
}

/// Runs `$body` in a transaction with `$tx`, twice, as after a commit whose outcome is unknown; what the first gave.
macro_rules! tx {
    ($store:expr, |$tx:ident| $body:expr) => {{
        let run = || $store.metadata.transact("test", |$tx| async move { $body });
        let first = run().await.unwrap();
        run().await.unwrap();
        first
    }};
}

impl Store {
    async fn open(&self, bytes: u64) -> (Opened, UploadId) {
        let upload = &upload(bytes);
        (tx!(self, |tx| direct::open(&tx, upload, LIMITS, None).await), upload.id)
    }

    async fn get(&self, id: UploadId) -> Option<DirectUpload> {
        self.metadata.read("test", |tx| async move { direct::get(&tx, id).await }).await.unwrap()
    }

    async fn claim(&self, id: UploadId, claim: Claim, now: Timestamp) -> Claimed {
        tx!(self, |tx| direct::claim(&tx, id, claim, now).await)
    }

    fn new_claim(&self) -> Claim {
        Claim { id: Uuid::new_v4(), epoch: self.epoch, until: NOW.after(Duration::from_secs(60)) }
    }

    async fn counted(&self) -> (u64, u64) {
        let open = |tx| async move { direct::open_of(&tx, &OwnerId::open()).await };
        self.metadata.read("test", open).await.unwrap()
    }

    async fn sweep(&self, id: UploadId, now: Timestamp) -> Swept {
        tx!(self, |tx| direct::sweep(&tx, id, now).await)
    }

    async fn due(&self, now: Timestamp) -> Vec<UploadId> {
        let due = |tx| async move { direct::due(&tx, now, None, 100).await };
        self.metadata.read("test", due).await.unwrap().into_iter().map(|(_, id)| id).collect()
    }

    async fn buried(&self) -> Vec<String> {
        let list = |tx| async move { objects::tombstones(&tx, None, 100).await };
        let buried = self.metadata.read("test", list).await.unwrap();
        buried.into_iter().map(|tombstone| tombstone.key.as_str().to_owned()).collect()
    }

    async fn unbury(&self, id: UploadId) {
        let keys = &[direct::upload_key(id)];
        tx!(self, |tx| objects::unbury(&tx, keys));
    }
}

fn upload(bytes: u64) -> DirectUpload {
    let id = UploadId::new();
    DirectUpload {
        id,
        owner: OwnerId::open(),
        source: Source::Uploaded(direct::upload_key(id)),
        bytes,
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
        expires: Timestamp(NOW.0 + 1000),
        kept_ms: 10_000,
        due: Timestamp(NOW.0 + 2000),
        state: State::Open,
        claim: None,
        swept: false,
    }
}

fn failure() -> Failure {
    Failure { code: "empty-image".to_owned(), detail: "it is empty".to_owned() }
}

async fn an_owner_opens_up_to_the_limits_and_what_is_settled_does_not_count(store: Store) {
    let (opened, first) = store.open(900).await;
    assert_eq!(opened, Opened::New);
    assert_eq!(store.open(101).await.0, Opened::TooLarge(900));
    let (_, second) = store.open(50).await;
    store.open(50).await;
    assert_eq!(store.open(0).await.0, Opened::TooMany(3));
    assert_eq!(store.counted().await, (3, 1000));
    // Each is counted once, however often its transaction runs.
    assert!(matches!(tx!(store, |tx| direct::abort(&tx, first, NOW).await), Claimed::Ours(_)));
    let claim = store.new_claim();
    store.claim(second, claim, NOW).await;
    assert!(tx!(store, |tx| direct::refuse(&tx, second, claim.id, &failure(), None, NOW).await));
    assert_eq!(store.counted().await, (1, 50));
    assert_eq!(store.open(900).await.0, Opened::New);
}

async fn one_at_a_time_claims_and_the_claims_of_the_dead_are_void(store: Store) {
    let (_, id) = store.open(5).await;
    let (one, other) = (store.new_claim(), store.new_claim());
    assert!(matches!(store.claim(id, one, NOW).await, Claimed::Ours(_)));
    assert_eq!(store.claim(id, other, NOW).await, Claimed::Busy);
    assert_eq!(tx!(store, |tx| direct::abort(&tx, id, NOW).await), Claimed::Busy);
    assert!(matches!(store.claim(id, other, one.until).await, Claimed::Ours(_)), "its time is up");
    tx!(store, |tx| direct::give_back(&tx, id, one.id).await);
    assert_eq!(store.claim(id, one, NOW).await, Claimed::Busy, "it was not its own to give back");
    tx!(store, |tx| direct::give_back(&tx, id, other.id).await);
    assert!(matches!(store.claim(id, one, NOW).await, Claimed::Ours(_)));
    let epoch = store.epoch;
    tx!(store, |tx| nodes::end(&tx, epoch, NOW).await);
    assert!(matches!(store.claim(id, other, NOW).await, Claimed::Ours(_)), "its node is dead");
    assert_eq!(store.claim(UploadId::new(), one, NOW).await, Claimed::Absent);
}

async fn one_creation_makes_the_photo_and_runs_as_often_as_it_must(store: Store) {
    let (_, id) = store.open(5).await;
    let creation = &fixtures::creation(b"photo", store.epoch, NOW);
    let (keys, epoch) = (std::slice::from_ref(&creation.photo.original.object), store.epoch);
    store.metadata.transact("intend", |tx| async move { objects::intend(&tx, epoch, keys) }).await.unwrap();
    let job = creation.job.id;
    let make = async || {
        tx!(store, |tx| {
            let standing = direct::standing(&tx, id, job).await?;
            photos::create(&tx, creation).await?;
            direct::done(&tx, id, creation.photo.id, false, job, NOW).await?;
            Ok(standing)
        })
    };
    assert_eq!(make().await, Standing::Free);
    assert_eq!(make().await, Standing::Free, "as after a commit whose outcome is unknown");
    let standing = tx!(store, |tx| direct::standing(&tx, id, JobId::new()).await);
    assert_eq!(standing, Standing::Done(creation.photo.id, false));
    let upload = store.get(id).await.unwrap();
    assert!(
        matches!(upload.state, State::Done { photo, duplicate: false, .. } if photo == creation.photo.id)
    );
    assert_eq!(store.claim(id, store.new_claim(), NOW).await, Claimed::Settled(upload));
    assert_eq!(store.buried().await, [direct::upload_key(id).as_str()]);
    assert_eq!(store.counted().await, (0, 0));
}

async fn what_is_over_makes_no_photo(store: Store) {
    let (_, id) = store.open(5).await;
    tx!(store, |tx| direct::abort(&tx, id, NOW).await);
    for absent in [id, UploadId::new()] {
        assert_eq!(tx!(store, |tx| direct::standing(&tx, absent, JobId::new()).await), Standing::Over);
        tx!(store, |tx| direct::done(&tx, absent, PhotoId::new(), false, JobId::new(), NOW).await);
    }
    assert_eq!(store.get(id).await.unwrap().state, State::Aborted { at: NOW });
    assert_eq!(tx!(store, |tx| direct::begun(&tx, id, "an upload of S3's").await), None);
}

async fn parts_are_begun_once(store: Store) {
    let upload = &DirectUpload { parts: Some(Parts { part_bytes: 3, upload: None }), ..upload(5) };
    tx!(store, |tx| direct::open(&tx, upload, LIMITS, None).await);
    for begun in ["first", "second"] {
        let counts = tx!(store, |tx| direct::begun(&tx, upload.id, begun).await);
        assert_eq!(counts.as_deref(), Some("first"));
    }
}

async fn an_upload_that_nobody_completes_expires_is_buried_and_forgotten(store: Store) {
    let (_, id) = store.open(5).await;
    let at = |later| Timestamp(NOW.0 + later);
    assert!(store.due(at(1999)).await.is_empty());
    assert_eq!(store.sweep(id, at(1999)).await, Swept::Kept);
    assert_eq!(store.due(at(2000)).await, [id]);
    assert_eq!(store.sweep(id, at(2000)).await, Swept::Expired);
    assert_eq!(store.get(id).await.unwrap().state, State::Expired { at: at(2000) });
    assert_eq!(store.buried().await, [direct::upload_key(id).as_str()]);
    assert_eq!(store.counted().await, (0, 0));
    store.unbury(id).await; // The Janitor has deleted the object.
    assert!(store.due(at(11_999)).await.is_empty());
    assert_eq!(store.sweep(id, at(12_000)).await, Swept::Forgotten);
    // A put that was begun in time may have ended since.
    assert_eq!(store.buried().await, [direct::upload_key(id).as_str()]);
    assert!(store.get(id).await.is_none() && store.due(at(1 << 40)).await.is_empty());
}

async fn a_settled_upload_is_buried_again_when_its_urls_have_ended(store: Store) {
    let (_, id) = store.open(5).await;
    tx!(store, |tx| direct::abort(&tx, id, NOW).await);
    store.unbury(id).await; // The Janitor has deleted the object.
    let at = |later| Timestamp(NOW.0 + later);
    assert!(store.due(at(1999)).await.is_empty());
    // Something may have been put with the URL since.
    assert_eq!(store.sweep(id, at(2000)).await, Swept::Buried);
    assert_eq!(store.buried().await, [direct::upload_key(id).as_str()]);
    assert_eq!(store.due(at(10_000)).await, [id]);
    store.unbury(id).await;
    assert_eq!(store.sweep(id, at(10_000)).await, Swept::Forgotten);
    assert_eq!(store.buried().await, [direct::upload_key(id).as_str()]);
}

async fn what_is_being_finished_is_not_swept(store: Store) {
    let (_, id) = store.open(5).await;
    let claim = store.new_claim();
    store.claim(id, claim, NOW).await;
    assert_eq!(store.sweep(id, Timestamp(NOW.0 + 2000)).await, Swept::Kept);
    assert!(store.due(Timestamp(claim.until.0 - 1)).await.is_empty());
    assert_eq!(store.sweep(id, claim.until).await, Swept::Expired);
}

async fn a_found_object_is_never_buried(store: Store) {
    let source = Source::Found { name: "in/a.jpg".to_owned(), tag: "1".to_owned() };
    let (settled, open) =
        (DirectUpload { source: source.clone(), ..upload(5) }, DirectUpload { source, ..upload(5) });
    for upload in [&settled, &open] {
        assert_eq!(tx!(store, |tx| direct::open(&tx, upload, LIMITS, None).await), Opened::New);
    }
    assert_eq!(store.counted().await, (0, 0));
    let (id, claim) = (settled.id, store.new_claim());
    store.claim(id, claim, NOW).await;
    tx!(store, |tx| direct::refuse(&tx, id, claim.id, &failure(), None, NOW).await);
    let due = Timestamp(NOW.0 + 2000);
    assert_eq!(store.sweep(id, due).await, Swept::Buried);
    // Whoever is told of it again may try again.
    assert_eq!(store.sweep(open.id, due).await, Swept::Forgotten);
    assert!(store.buried().await.is_empty());
}

async fn a_refused_upload_is_one_item_of_its_batch(store: Store) {
    for is_open in [true, false] {
        let batch = Batch {
            id: BatchId::new(),
            owner: OwnerId::open(),
            name: None,
            standing: batches::Standing::Open,
            expected: None,
            expected_bytes: None,
            created: NOW,
            keep_ms: 10_000,
            ended: None,
        };
        let opening = &Opening { batch: batch.clone(), open_max: 10 };
        tx!(store, |tx| batches::open(&tx, opening).await);
        if !is_open {
            tx!(store, |tx| batches::close(&tx, opening.batch.id, &OwnerId::open(), NOW).await);
        }
        let (_, id) = store.open(7).await;
        let claim = store.new_claim();
        store.claim(id, claim, NOW).await;
        let noted = &Refusal {
            batch: batch.id,
            owner: OwnerId::open(),
            item: ItemId(id.0),
            name: Some("notes.txt".to_owned()),
            bytes: Some(7),
            problem: Failure { detail: "ö".repeat(2000), ..failure() },
            now: NOW,
            kept_max: 10,
        };
        let why = &failure();
        // Another one's claim notes nothing.
        let not_ours = Uuid::new_v4();
        assert!(!tx!(store, |tx| direct::refuse(&tx, id, not_ours, why, Some(noted), NOW).await));
        assert!(tx!(store, |tx| direct::refuse(&tx, id, claim.id, why, Some(noted), NOW).await));
        assert!(matches!(store.get(id).await.unwrap().state, State::Refused { .. }));
        let progress = tx!(store, |tx| batches::progress(&tx, opening.batch.clone(), Timestamp(0)).await);
        let listed = tx!(store, |tx| batches::list_items(&tx, opening.batch.id, None, None, 10).await);
        let refused = u64::from(is_open);
        assert_eq!(
            progress.counts,
            Counts { refused, ..Counts::default() },
            "what is closed is told no more"
        );
        assert_eq!(listed.items.len() as u64, refused);
        for (item_id, item) in listed.items {
            assert_eq!(
                (item_id.0, item.state, item.name.as_deref()),
                (id.0, ItemState::Refused, Some("notes.txt"))
            );
            let problem = item.outcome.problem.unwrap();
            assert_eq!((problem.code.as_str(), problem.detail.len()), ("empty-image", 1000), "cut");
        }
    }
}
