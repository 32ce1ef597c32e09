//! What an owner uses is counted with what it has, also where that is older than the counters.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "a test says what it skips")]

use darkroom_store::metadata::Metadata;
use darkroom_store::model::photos::{self, Created, Creation, Photo, Seen};
use darkroom_store::model::subspaces::{USAGE, USAGE_COUNTED};
use darkroom_store::model::usage::{self, Quota, Usage};
use darkroom_store::model::{Epoch, OwnerId, Timestamp, objects};

const EPOCH: Epoch = Epoch(1);
const NOW: Timestamp = Timestamp(1_000_000);

#[macro_use]
mod engines;
mod fixtures;

use engines::{Engine, Place};

cases! { crate::run:
    photos_are_counted_as_they_come_and_go,
    photos_that_are_older_than_the_counters_are_counted_once,
    photos_that_come_and_go_while_the_old_are_counted_are_counted_once,
    a_quota_is_not_exceeded_however_many_come_at_once,
}

async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Metadata) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = |place: Place| async move { case(place.open().await).await };
    engines::run(engine, opened).await;
}

/// Runs `$body` in a transaction with `$tx`.
macro_rules! tx {
    ($metadata:expr, |$tx:ident| $body:expr) => {
        $metadata.transact("test", |$tx| async move { $body }).await.unwrap()
    };
}

async fn creation(metadata: &Metadata, content: &[u8], quota: Quota) -> Creation {
    let creation = Creation { quota, ..fixtures::creation(content, EPOCH, NOW) };
    let key = std::slice::from_ref(&creation.photo.original.object);
    tx!(metadata, |tx| objects::intend(&tx, EPOCH, key));
    creation
}

async fn create(metadata: &Metadata, content: &[u8], quota: Quota) -> Created {
    let creation = creation(metadata, content, quota).await;
    commit(metadata, Creation { allow_duplicate: true, ..creation }).await
}

async fn commit(metadata: &Metadata, creation: Creation) -> Created {
    let once = &creation;
    let created = tx!(metadata, |tx| photos::create(&tx, once).await);
    let Created::Stored(object) = created else { return created };
    let seen = &Creation { seen: Some(Seen::Present(object)), ..creation };
    tx!(metadata, |tx| photos::create(&tx, seen).await)
}

async fn created(metadata: &Metadata, content: &[u8]) -> Photo {
    match create(metadata, content, Quota::default()).await {
        Created::New(photo) => photo,
        other => panic!("{other:?}"),
    }
}

async fn delete(metadata: &Metadata, photo: &Photo) {
    let id = photo.id;
    assert!(tx!(metadata, |tx| photos::delete(&tx, id, NOW, 1).await));
}

async fn used(metadata: &Metadata) -> (u64, u64) {
    let owner = &OwnerId::open();
    let Usage { photos, bytes, .. } = tx!(metadata, |tx| usage::of(&tx, owner).await);
    (photos, bytes)
}

async fn count(metadata: &Metadata, rows: usize) -> bool {
    tx!(metadata, |tx| usage::count_existing(&tx, rows).await)
}

/// As a daemon of a version without counters would leave the store.
async fn forget_counters(metadata: &Metadata) {
    tx!(metadata, |tx| {
        tx.clear_range(&USAGE.all())?;
        tx.clear(&USAGE_COUNTED.key(&()))
    });
}

async fn photos_are_counted_as_they_come_and_go(metadata: Metadata) {
    assert!(count(&metadata, 10).await, "an empty store is counted at once");
    let first = created(&metadata, b"1234").await;
    created(&metadata, b"1234").await;
    assert_eq!(used(&metadata).await, (2, 8), "equal bytes count for each, though they are stored once");
    let again = creation(&metadata, b"1234", Quota::default()).await;
    assert!(matches!(commit(&metadata, again).await, Created::Duplicate(_)));
    assert_eq!(used(&metadata).await, (2, 8), "a duplicate makes no photo");
    delete(&metadata, &first).await;
    assert_eq!(used(&metadata).await, (1, 4));
}

async fn photos_that_are_older_than_the_counters_are_counted_once(metadata: Metadata) {
    count(&metadata, 10).await;
    for content in [&b"1"[..], b"22", b"333", b"4444", b"55555"] {
        created(&metadata, content).await;
    }
    let known = used(&metadata).await;
    assert_eq!(known, (5, 15));
    forget_counters(&metadata).await;
    let mut steps = 1;
    while !count(&metadata, 2).await {
        steps += 1;
    }
    assert_eq!((used(&metadata).await, steps), (known, 3));
    assert!(count(&metadata, 2).await, "once all are counted, nothing is counted again");
    assert_eq!(used(&metadata).await, known);
}

async fn photos_that_come_and_go_while_the_old_are_counted_are_counted_once(metadata: Metadata) {
    count(&metadata, 10).await;
    let mut old = Vec::new();
    for content in [&b"1"[..], b"22", b"333", b"4444"] {
        old.push(created(&metadata, content).await);
    }
    forget_counters(&metadata).await;
    assert!(!count(&metadata, 2).await);
    assert_eq!(used(&metadata).await, (2, 3));
    // One that is counted, one that is not yet, and a new one, behind all of them.
    delete(&metadata, &old[0]).await;
    assert_eq!(used(&metadata).await, (1, 2));
    delete(&metadata, &old[3]).await;
    created(&metadata, b"666666").await;
    assert_eq!(used(&metadata).await, (1, 2));
    while !count(&metadata, 1).await {}
    assert_eq!(used(&metadata).await, (3, 2 + 3 + 6));
}

async fn a_quota_is_not_exceeded_however_many_come_at_once(metadata: Metadata) {
    count(&metadata, 10).await;
    let quota = Quota { photos_max: Some(7), bytes_max: None };
    let mut creating = tokio::task::JoinSet::new();
    for number in 0..30 {
        let metadata = metadata.clone();
        creating.spawn(async move { create(&metadata, format!("photo {number}").as_bytes(), quota).await });
    }
    let outcomes = creating.join_all().await;
    let made = outcomes.iter().filter(|created| matches!(created, Created::New(_))).count();
    let refused = outcomes.iter().filter(|created| matches!(created, Created::OverQuota(_))).count();
    assert_eq!((made, refused), (7, 23));
    assert_eq!(used(&metadata).await.0, 7);
    let bytes = Quota { photos_max: None, bytes_max: Some(used(&metadata).await.1 + 4) };
    assert!(matches!(create(&metadata, b"12345", bytes).await, Created::OverQuota(Usage { photos: 7, .. })));
    assert!(matches!(create(&metadata, b"1234", bytes).await, Created::New(_)));
}
