//! The nouns, over a real engine: what each transaction promises, also when it runs twice.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use darkroom_store::model::blobs::Checked;
use darkroom_store::model::jobs::{self, GiveBack, Job, Kind, Lease};
use darkroom_store::model::photos::Variant;
use darkroom_store::model::photos::{
    self, Created, Creation, Failure, Made, Original, Photo, Settled, Settling, State,
};
use darkroom_store::model::{
    ContentHash, Epoch, JobId, LeaseId, OwnerId, PhotoId, Timestamp, blobs, healing, nodes, objects,
};
use darkroom_store::objects::{ObjectKey, ObjectKind};

const EPOCH: Epoch = Epoch(1);
const NOW: Timestamp = Timestamp(1_000_000);

/// A store, and what a pipeline would do with it.
struct Store {
    metadata: Metadata,
    _home: tempfile::TempDir,
}

/// Runs `$body` in a transaction with `$tx`.
macro_rules! tx {
    ($store:expr, |$tx:ident| $body:expr) => {
        $store.metadata.transact("test", |$tx| async move { $body }).await
    };
}

impl Store {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let metadata = Metadata::open_embedded(home.path(), EmbeddedOptions::default()).await.unwrap();
        Self { metadata, _home: home }
    }

    /// A key with its intent.
    async fn key(&self, kind: ObjectKind) -> ObjectKey {
        let keys = &[ObjectKey::new(kind)];
        tx!(self, |tx| objects::intend(&tx, EPOCH, keys)).unwrap();
        keys[0].clone()
    }

    /// A creation that would succeed, with its job leased.
    async fn creation(&self, content: &[u8]) -> Creation {
        let id = PhotoId::new();
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
                bytes: content.len() as u64,
                hash: ContentHash::of(content),
                object: self.key(ObjectKind::Original).await,
                probe: serde_json::json!({"width": 4}),
                capture: Some(serde_json::json!({"make": "Test"})),
            },
            variants: Vec::new(),
            looks: None,
            damage: None,
            failure: None,
            unrenderable: Vec::new(),
            settled_by: None,
        };
        let job = Job::new(JobId::new(), Kind::Process, id, NOW).leased(lease(), NOW.after(MINUTE));
        Creation { photo, job, epoch: EPOCH, allow_duplicate: false }
    }

    async fn create(&self, creation: &Creation) -> Created {
        tx!(self, |tx| photos::create(&tx, creation).await).unwrap()
    }

    async fn created(&self, content: &[u8]) -> (Photo, Job) {
        let creation = self.creation(content).await;
        match self.create(&creation).await {
            Created::New(photo) => (photo, creation.job),
            other => panic!("{other:?}"),
        }
    }

    async fn variant(&self, preset: &str) -> Variant {
        Variant {
            preset: preset.to_owned(),
            preset_digest: "digest".to_owned(),
            media_type: "image/jpeg".to_owned(),
            width: 2,
            height: 1,
            bytes: 9,
            hash: ContentHash::of(preset.as_bytes()),
            object: self.key(ObjectKind::Variant).await,
            made: NOW,
        }
    }

    async fn publish(&self, by: &Settling, variants: &[Variant]) -> Settled {
        let by = *by;
        let looks = Some(serde_json::json!({"dominant_color": "#123456"}));
        let made = &Made { variants: variants.to_vec(), looks, damage: Some("cut".to_owned()) };
        tx!(self, |tx| photos::publish(&tx, &by, made).await).unwrap()
    }

    async fn photo(&self, id: PhotoId) -> Option<Photo> {
        tx!(self, |tx| photos::get(&tx, id).await).unwrap()
    }

    async fn job(&self, id: JobId) -> Option<Job> {
        tx!(self, |tx| jobs::get(&tx, id).await).unwrap()
    }

    async fn due(&self, now: Timestamp) -> Vec<JobId> {
        let due = tx!(self, |tx| jobs::due(&tx, now, 100).await).unwrap();
        due.into_iter().map(|job| job.id).collect()
    }

    async fn tombstones(&self) -> Vec<ObjectKey> {
        let found = tx!(self, |tx| objects::tombstones(&tx, None, 100).await).unwrap();
        found.into_iter().map(|tombstone| tombstone.key).collect()
    }

    async fn count(&self, state: State) -> i64 {
        tx!(self, |tx| photos::count_of(&tx, state).await).unwrap()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn lease() -> Lease {
    Lease { id: LeaseId::new(), epoch: EPOCH }
}

fn settling(photo: &Photo, job: &Job) -> Settling {
    Settling { photo: photo.id, job: job.id, lease: job.lease.unwrap(), now: NOW, history: 0 }
}

#[tokio::test]
async fn a_creation_that_runs_twice_makes_one_photo() {
    let store = Store::new().await;
    let creation = store.creation(b"a").await;
    assert!(matches!(store.create(&creation).await, Created::New(_)));
    assert!(matches!(store.create(&creation).await, Created::New(_)));
    assert_eq!(store.count(State::Processing).await, 1);
    let outstanding = tx!(store, |tx| objects::outstanding(&tx, 10).await).unwrap();
    assert_eq!(outstanding, (0, 0), "the intent is fulfilled");
}

#[tokio::test]
async fn a_creation_without_its_intent_changes_nothing() {
    let store = Store::new().await;
    let creation = store.creation(b"a").await;
    let keys = std::slice::from_ref(&creation.photo.original.object);
    assert_eq!(tx!(store, |tx| objects::abandon(&tx, EPOCH, keys, NOW).await).unwrap(), 1);
    assert!(matches!(store.create(&creation).await, Created::IntentGone));
    assert!(store.photo(creation.photo.id).await.is_none());
    assert_eq!(store.tombstones().await, keys);
}

#[tokio::test]
async fn equal_content_is_stored_once_and_kept_for_as_long_as_anyone_has_it() {
    let store = Store::new().await;
    let (first, _) = store.created(b"same").await;
    let mut creation = store.creation(b"same").await;
    creation.allow_duplicate = true;
    let Created::New(second) = store.create(&creation).await else { panic!("a second photo was wanted") };
    assert_eq!(second.original.object, first.original.object);
    // The second object was put in vain; abandoning it leaves the shared one alone.
    let keys = &[creation.photo.original.object.clone(), first.original.object.clone()];
    assert_eq!(tx!(store, |tx| objects::abandon(&tx, EPOCH, keys, NOW).await).unwrap(), 1);
    assert_eq!(store.tombstones().await, keys[..1]);

    let hash = &first.original.hash;
    for (id, collected) in [(first.id, Checked::Kept), (second.id, Checked::Buried)] {
        assert!(tx!(store, |tx| photos::delete(&tx, id, NOW, 0).await).unwrap());
        assert_eq!(tx!(store, |tx| blobs::to_check(&tx, 10).await).unwrap(), [*hash]);
        assert_eq!(tx!(store, |tx| blobs::collect(&tx, hash).await).unwrap(), collected);
    }
    assert!(store.tombstones().await.contains(&first.original.object));
    assert!(!tx!(store, |tx| photos::delete(&tx, first.id, NOW, 0).await).unwrap(), "deleted already");
    assert_eq!(store.count(State::Processing).await, 0);
}

#[tokio::test]
async fn a_collection_that_races_with_a_new_reference_loses() {
    let store = Store::new().await;
    let (first, _) = store.created(b"same").await;
    let id = first.id;
    tx!(store, |tx| photos::delete(&tx, id, NOW, 0).await).unwrap();
    let creation = store.creation(b"same").await;
    let (store, hash, creation) = (&store, &first.original.hash, &creation);
    let raced = std::sync::atomic::AtomicBool::new(false);
    let raced = &raced;
    let collected = tx!(store, |tx| {
        let collected = blobs::collect(&tx, hash).await?;
        // On the first run, somebody takes the same content up before this commits.
        if !raced.swap(true, std::sync::atomic::Ordering::SeqCst) {
            assert!(matches!(store.create(creation).await, Created::New(_)));
        }
        Ok::<_, StoreError>(collected)
    });
    assert_eq!(collected.unwrap(), Checked::Kept, "the second run sees the reference");
    assert!(tx!(store, |tx| blobs::get(&tx, hash).await).unwrap().is_some());
}

#[tokio::test]
async fn only_the_holder_publishes_and_twice_is_once() {
    let store = Store::new().await;
    let (photo, job) = store.created(b"a").await;
    let variants = [store.variant("large").await, store.variant("small").await];
    let stranger = Settling { lease: lease(), ..settling(&photo, &job) };
    assert!(matches!(store.publish(&stranger, &variants).await, Settled::LeaseLost));
    assert_eq!(store.photo(photo.id).await.unwrap().state, State::Processing);
    let by = settling(&photo, &job);
    for _ in 0..2 {
        let Settled::Done(ready) = store.publish(&by, &variants).await else { panic!("the holder may") };
        assert_eq!((ready.state, &ready.variants[..]), (State::Ready, &variants[..]));
    }
    assert!(store.job(job.id).await.is_none());
    assert_eq!((store.count(State::Processing).await, store.count(State::Ready).await), (0, 1));
    assert!(store.due(Timestamp(u64::MAX - 1)).await.is_empty());
}

#[tokio::test]
async fn a_variant_whose_intent_is_gone_is_not_published() {
    let store = Store::new().await;
    let (photo, job) = store.created(b"a").await;
    let variants = [store.variant("large").await];
    let keys = &[variants[0].object.clone()];
    tx!(store, |tx| objects::abandon(&tx, EPOCH, keys, NOW).await).unwrap();
    assert!(matches!(store.publish(&settling(&photo, &job), &variants).await, Settled::IntentGone));
    assert_eq!(store.photo(photo.id).await.unwrap().state, State::Processing);
}

#[tokio::test]
async fn a_photo_deleted_while_it_is_processed_stays_deleted() {
    let store = Store::new().await;
    let (photo, job) = store.created(b"a").await;
    let variants = [store.variant("large").await];
    let id = photo.id;
    assert!(tx!(store, |tx| photos::delete(&tx, id, NOW, 0).await).unwrap());
    assert!(matches!(store.publish(&settling(&photo, &job), &variants).await, Settled::PhotoGone));
    assert!(store.photo(photo.id).await.is_none() && store.job(job.id).await.is_none());
}

#[tokio::test]
async fn a_replaced_variant_is_buried_and_the_others_stay() {
    let store = Store::new().await;
    let (photo, job) = store.created(b"a").await;
    let (large, small) = (store.variant("large").await, store.variant("small").await);
    store.publish(&settling(&photo, &job), &[large.clone(), small.clone()]).await;
    let render = &Job::new(JobId::new(), Kind::Render, photo.id, NOW).leased(lease(), NOW.after(MINUTE));
    assert!(tx!(store, |tx| photos::request_render(&tx, render).await).unwrap());
    let other = &Job::new(JobId::new(), Kind::Render, photo.id, NOW);
    assert!(!tx!(store, |tx| photos::request_render(&tx, other).await).unwrap(), "one job per photo");
    // Its format was left open meanwhile, so that it is two files now.
    let newer = [
        store.variant("large").await,
        Variant { media_type: "image/webp".to_owned(), ..store.variant("large").await },
    ];
    let Settled::Done(ready) = store.publish(&settling(&photo, render), &newer).await else {
        panic!("the holder may")
    };
    assert_eq!(ready.variants, [small, newer[0].clone(), newer[1].clone()]);
    assert_eq!(store.tombstones().await, [large.object]);

    let render = &Job::new(JobId::new(), Kind::Render, photo.id, NOW).leased(lease(), NOW.after(MINUTE));
    assert!(tx!(store, |tx| photos::request_render(&tx, render).await).unwrap());
    let one = [store.variant("large").await];
    let Settled::Done(ready) = store.publish(&settling(&photo, render), &one).await else {
        panic!("the holder may")
    };
    assert_eq!(ready.variants.len(), 2, "both files were replaced by one");
    assert_eq!(store.tombstones().await.len(), 3);
    assert_eq!(ready.damage.as_deref(), Some("cut"));
    assert!(ready.looks.is_some());
}

#[tokio::test]
async fn a_failed_photo_is_tried_again_by_its_own_bytes() {
    let store = Store::new().await;
    let (photo, job) = store.created(b"a").await;
    let (by, failure) =
        (settling(&photo, &job), &Failure { code: "corrupt-image".to_owned(), detail: "bad".to_owned() });
    let failed = tx!(store, |tx| photos::fail(&tx, &by, failure, &[]).await).unwrap();
    assert!(matches!(failed, Settled::Done(Photo { state: State::Failed, .. })));
    assert!(store.job(job.id).await.is_none());
    let mut again = store.creation(b"a").await;
    again.photo.original.probe = serde_json::json!({"width": 4, "frames": 1});
    again.photo.original.capture = Some(serde_json::json!({"make": "Test", "model": "T1"}));
    again.photo.damage = Some("cut".to_owned());
    for _ in 0..2 {
        let Created::Retried(revived) = store.create(&again).await else { panic!("it had failed") };
        assert_eq!((revived.id, revived.state, revived.failure), (photo.id, State::Processing, None));
        // What the daemon of today reads of the bytes takes the place of what an older one read.
        let (read, fresh) = (&revived.original, &again.photo.original);
        assert_eq!((&read.probe, &read.capture), (&fresh.probe, &fresh.capture));
        assert_eq!(revived.damage.as_deref(), Some("cut"));
    }
    assert_eq!(store.job(again.job.id).await.unwrap().photo, photo.id);
    assert_eq!((store.count(State::Processing).await, store.count(State::Failed).await), (1, 0));
    let third = store.creation(b"a").await;
    assert!(matches!(store.create(&third).await, Created::Duplicate(_)), "while it is being tried");
}

#[tokio::test]
async fn jobs_vest_are_claimed_once_and_extended_by_their_holder() {
    let store = Store::new().await;
    let (_, job) = store.created(b"a").await;
    let (id, first) = (job.id, job.lease.unwrap());
    assert!(store.due(NOW).await.is_empty(), "leased");
    let later = NOW.after(MINUTE * 2);
    assert_eq!(store.due(later).await, [id], "the holder gave no sign of life");
    let (thief, until) = (lease(), later.after(MINUTE));
    let claim = |lease| tx_claim(&store, id, lease, later, until);
    assert!(claim(thief).await.is_some());
    assert!(claim(thief).await.is_some(), "a second run of the same claim");
    assert!(claim(lease()).await.is_none(), "somebody else was faster");
    assert!(!tx!(store, |tx| jobs::extend(&tx, id, first.id, until).await).unwrap(), "it has lost its lease");
    assert!(tx!(store, |tx| jobs::extend(&tx, id, thief.id, until.after(MINUTE)).await).unwrap());
    assert!(store.due(until).await.is_empty());
}

async fn tx_claim(store: &Store, id: JobId, lease: Lease, now: Timestamp, until: Timestamp) -> Option<Job> {
    tx!(store, |tx| jobs::claim(&tx, id, lease, now, until).await).unwrap()
}

#[tokio::test]
async fn attempts_count_only_what_is_the_photos_own_fault() {
    let store = Store::new().await;
    let (_, job) = store.created(b"a").await;
    let (id, mut lease_now) = (job.id, job.lease.unwrap());
    for (counts, attempts) in [(true, 1), (false, 1), (true, 2)] {
        for _ in 0..2 {
            // The second run of the same transaction counts nothing more.
            let begun = tx!(store, |tx| jobs::begin_attempt(&tx, id, lease_now).await).unwrap();
            assert!(begun.is_continue());
        }
        let how = &GiveBack { due: NOW, counts, began: true, error: Some("why".to_owned()) };
        assert!(tx!(store, |tx| jobs::give_back(&tx, id, lease_now.id, how).await).unwrap());
        assert!(!tx!(store, |tx| jobs::give_back(&tx, id, lease_now.id, how).await).unwrap());
        let job = store.job(id).await.unwrap();
        assert_eq!((job.attempts, job.deaths, job.last_error.as_deref()), (attempts, 0, Some("why")));
        lease_now = lease();
        // An interruption has it wait a little.
        assert!(tx_claim(&store, id, lease_now, NOW.after(MINUTE), NOW.after(MINUTE * 2)).await.is_some());
    }
}

#[tokio::test]
async fn leases_of_dead_epochs_are_void_and_cut_off_attempts_are_deaths() {
    let store = Store::new().await;
    let (_, idle) = store.created(b"a").await;
    let (_, decoding) = store.created(b"b").await;
    let (id, held) = (decoding.id, decoding.lease.unwrap());
    assert!(tx!(store, |tx| jobs::begin_attempt(&tx, id, held).await).unwrap().is_continue());
    let next = Epoch(2);
    let (mut cursor, mut voided) = (None, 0);
    loop {
        let from: &Option<Vec<u8>> = &cursor;
        // One row at a time, so that paging is tried too.
        let (more, count) =
            tx!(store, |tx| jobs::void_leases_before(&tx, next, NOW, from.clone(), 1).await).unwrap();
        voided += count;
        if more.is_none() {
            break;
        }
        cursor = more;
    }
    assert_eq!(voided, 2);
    let lease = || Lease { id: LeaseId::new(), epoch: next };
    let claimed = tx_claim(&store, id, lease(), NOW, NOW.after(MINUTE)).await.unwrap();
    assert_eq!((claimed.deaths, claimed.decoding), (1, None));
    let claimed = tx_claim(&store, idle.id, lease(), NOW, NOW.after(MINUTE)).await.unwrap();
    assert_eq!(claimed.deaths, 0);
}

#[tokio::test]
async fn epochs_grow_and_a_second_run_gets_the_same() {
    let store = Store::new().await;
    let (first, second) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    for (process, epoch) in [(first, 1), (first, 1), (second, 2), (second, 2)] {
        let begun = tx!(store, |tx| nodes::begin_epoch(&tx, process, NOW).await).unwrap();
        assert_eq!(begun, Epoch(epoch));
    }
    let before = tx!(store, |tx| nodes::epochs_before(&tx, Epoch(2), 10).await).unwrap();
    assert_eq!(before, [Epoch(1)]);
    assert!(tx!(store, |tx| nodes::forget(&tx, Epoch(1)).await).unwrap());
    assert!(tx!(store, |tx| nodes::epochs_before(&tx, Epoch(2), 10).await).unwrap().is_empty());
}

#[tokio::test]
async fn an_epoch_is_not_forgotten_while_it_intends_and_intends_nothing_afterwards() {
    let store = Store::new().await;
    for process in [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()] {
        tx!(store, |tx| nodes::begin_epoch(&tx, process, NOW).await).unwrap();
    }
    let key = &[store.key(ObjectKind::Original).await];
    assert!(!tx!(store, |tx| nodes::forget(&tx, EPOCH).await).unwrap());
    assert!(tx!(store, |tx| nodes::is_known(&tx, EPOCH).await).unwrap());
    tx!(store, |tx| objects::abandon(&tx, EPOCH, key, NOW).await).unwrap();

    // The process that was taken for dead reserves keys between the look and the commit: one of the two runs again.
    let late = &[ObjectKey::new(ObjectKind::Original)];
    let raced = &std::sync::atomic::AtomicBool::new(false);
    let store = &store;
    let forgotten = tx!(store, |tx| {
        let forgotten = nodes::forget(&tx, EPOCH).await?;
        if !raced.swap(true, std::sync::atomic::Ordering::SeqCst) {
            tx!(store, |tx| objects::intend(&tx, EPOCH, late)).unwrap();
        }
        Ok::<_, StoreError>(forgotten)
    });
    assert!(!forgotten.unwrap());
    tx!(store, |tx| objects::release(&tx, EPOCH, late)).unwrap();
    assert!(tx!(store, |tx| nodes::forget(&tx, EPOCH).await).unwrap());
    assert!(!tx!(store, |tx| nodes::is_known(&tx, EPOCH).await).unwrap());
}

#[tokio::test]
async fn what_was_swept_too_early_is_buried_again() {
    let store = Store::new().await;
    let creation = store.creation(b"a").await;
    let keys = &[creation.photo.original.object.clone()];
    tx!(store, |tx| objects::abandon(&tx, EPOCH, keys, NOW).await).unwrap();
    // The object is deleted before it was put.
    tx!(store, |tx| objects::unbury(&tx, keys)).unwrap();
    assert!(matches!(store.create(&creation).await, Created::IntentGone));
    assert_eq!(tx!(store, |tx| objects::abandon(&tx, EPOCH, keys, NOW).await).unwrap(), 0);
    let late = NOW.after(MINUTE);
    tx!(store, |tx| objects::disown(&tx, EPOCH, keys, late)).unwrap();
    let found = tx!(store, |tx| objects::tombstones(&tx, None, 10).await).unwrap();
    assert_eq!(found, [objects::Tombstone { key: keys[0].clone(), due: late }]);
}

impl Store {
    /// A photo whose original was not found.
    async fn lost(&self, creation: &Creation) -> Photo {
        let Created::New(photo) = self.create(creation).await else { panic!("a photo of its own") };
        let by = settling(&photo, &creation.job);
        let failure = &Failure { code: photos::ORIGINAL_MISSING.to_owned(), detail: "not found".to_owned() };
        tx!(self, |tx| photos::fail(&tx, &by, failure, &[]).await).unwrap();
        photo
    }

    /// What the Janitor does with a blob that it was asked to check, one photo at a time.
    async fn check(&self, hash: &ContentHash) -> Checked {
        let checked = tx!(self, |tx| blobs::collect(&tx, hash).await).unwrap();
        if let Checked::Replaced(object) = &checked {
            let mut after = None;
            loop {
                after = tx!(self, |tx| healing::follow(&tx, hash, after, 1).await).unwrap();
                if after.is_none() {
                    break;
                }
            }
            tx!(self, |tx| healing::bury_former(&tx, hash, object).await).unwrap();
        }
        checked
    }
}

#[tokio::test]
async fn lost_bytes_that_come_again_are_found_by_every_photo_that_has_them() {
    let store = Store::new().await;
    let mut creations = Vec::new();
    for owner in ["\"a\"", "\"b\"", "\"c\""] {
        let mut creation = store.creation(b"same").await;
        creation.photo.owner = serde_json::from_str(owner).unwrap();
        creations.push(creation);
    }
    let [first, second, third] = &creations[..] else { unreachable!() };
    let (first, second) = (store.lost(first).await, store.lost(second).await);
    let Created::New(third) = store.create(third).await else { panic!("a photo of its own") };
    let (hash, lost) = (&first.original.hash, &first.original.object);

    let mut objects = Vec::new();
    for photo in [&first, &second] {
        let mut again = store.creation(b"same").await;
        again.photo.owner = photo.owner.clone();
        let Created::Retried(revived) = store.create(&again).await else { panic!("it had failed") };
        assert_eq!(revived.original.object, again.photo.original.object);
        objects.push(revived.original.object);
    }
    // The lost object may be back: until nobody names it, it stays.
    assert_eq!(store.photo(third.id).await.unwrap().original.object, *lost);
    assert!(store.tombstones().await.is_empty());

    assert_eq!(tx!(store, |tx| blobs::to_check(&tx, 10).await).unwrap(), [*hash]);
    assert_eq!(store.check(hash).await, Checked::Replaced(objects[1].clone()));
    for id in [first.id, second.id, third.id] {
        assert_eq!(store.photo(id).await.unwrap().original.object, objects[1]);
    }
    let mut buried = [lost.clone(), objects[0].clone()];
    buried.sort();
    assert_eq!(store.tombstones().await, buried);
    assert_eq!(store.check(hash).await, Checked::Kept);
    assert!(tx!(store, |tx| blobs::to_check(&tx, 10).await).unwrap().is_empty());
}

#[tokio::test]
async fn a_blob_that_is_replaced_while_photos_follow_is_followed_again() {
    let store = Store::new().await;
    let photo = store.lost(&store.creation(b"same").await).await;
    let hash = &photo.original.hash;
    let Created::Retried(revived) = store.create(&store.creation(b"same").await).await else {
        panic!("it had failed")
    };
    let Checked::Replaced(object) = tx!(store, |tx| blobs::collect(&tx, hash).await).unwrap() else {
        panic!("it was replaced")
    };
    assert_eq!(object, revived.original.object);
    let stale = &ObjectKey::new(ObjectKind::Original);
    tx!(store, |tx| healing::bury_former(&tx, hash, stale).await).unwrap();
    assert!(store.tombstones().await.is_empty(), "another object has its place meanwhile");
    let id = photo.id;
    assert!(tx!(store, |tx| photos::delete(&tx, id, NOW, 0).await).unwrap());
    assert_eq!(store.check(hash).await, Checked::Buried);
    assert_eq!(store.tombstones().await.len(), 2, "where it is, and where it was");
}
