//! The nouns, over a real engine: what each transaction promises, also when it runs twice.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it skips"
)]

use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::metadata::{Metadata, RangeOptions};
use darkroom_store::model::blobs::Checked;
use darkroom_store::model::jobs::{self, Job, Kind, Lease};
use darkroom_store::model::photos::Variant;
use darkroom_store::model::photos::{
    self, Created, Creation, Failure, Made, Photo, Seen, Settled, Settling, State,
};
use darkroom_store::model::subspaces::PHOTOS;
use darkroom_store::model::{
    ContentHash, Epoch, JobId, LeaseId, PhotoId, Timestamp, blobs, healing, objects,
};
use darkroom_store::objects::{ObjectKey, ObjectKind};

const EPOCH: Epoch = Epoch(1);
const NOW: Timestamp = Timestamp(1_000_000);

#[macro_use]
mod engines;
mod fixtures;

use engines::{Engine, Place};

cases! { crate::run:
    a_creation_that_runs_twice_makes_one_photo,
    a_creation_without_its_intent_changes_nothing,
    equal_content_is_stored_once_and_kept_for_as_long_as_anyone_has_it,
    whichever_of_equal_photos_is_deleted_the_bytes_stay_known,
    a_collection_that_races_with_a_new_reference_loses,
    only_the_holder_publishes_and_twice_is_once,
    a_variant_whose_intent_is_gone_is_not_published,
    a_photo_deleted_while_it_is_processed_stays_deleted,
    a_replaced_variant_is_buried_and_the_others_stay,
    a_photo_may_have_more_variants_than_a_value_holds,
    a_failed_photo_is_tried_again_by_its_own_bytes,
    what_was_swept_too_early_is_buried_again,
    lost_bytes_that_come_again_are_found_by_every_photo_that_has_them,
    a_blob_that_is_replaced_while_photos_follow_is_followed_again,
    nothing_is_made_of_stored_bytes_before_they_were_looked_for,
    a_ready_photo_whose_original_is_gone_has_it_back_by_its_own_bytes,
    a_new_photo_of_bytes_that_are_gone_brings_them_back_to_all,
    lost_bytes_whose_successor_was_swept_or_has_moved_are_not_replaced,
}

/// Runs a case on an empty store of `engine`.
async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = |place: Place| async move { case(Store { metadata: place.open().await }).await };
    engines::run(engine, opened).await;
}

/// A store, and what a pipeline would do with it.
struct Store {
    metadata: Metadata,
}

/// Runs `$body` in a transaction with `$tx`.
macro_rules! tx {
    ($store:expr, |$tx:ident| $body:expr) => {
        $store.metadata.transact("test", |$tx| async move { $body }).await
    };
}

impl Store {
    async fn intend(&self, key: &ObjectKey) {
        let keys = std::slice::from_ref(key);
        tx!(self, |tx| objects::intend(&tx, EPOCH, keys)).unwrap();
    }

    /// A creation that would succeed, with its job leased.
    async fn creation(&self, content: &[u8]) -> Creation {
        let creation = fixtures::creation(content, EPOCH, NOW);
        self.intend(&creation.photo.original.object).await;
        Creation { job: creation.job.clone().leased(lease(), NOW.after(MINUTE)), ..creation }
    }

    /// As the object store has every object.
    async fn create(&self, creation: &Creation) -> Created {
        let created = self.create_once(creation).await;
        let Created::Stored(object) = created else { return created };
        self.create_once(&Creation { seen: Some(Seen::Present(object)), ..creation.clone() }).await
    }

    async fn create_once(&self, creation: &Creation) -> Created {
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
        let variant = fixtures::variant(preset, NOW);
        self.intend(&variant.object).await;
        variant
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

async fn a_creation_that_runs_twice_makes_one_photo(store: Store) {
    let creation = store.creation(b"a").await;
    assert!(matches!(store.create(&creation).await, Created::New(_)));
    assert!(matches!(store.create(&creation).await, Created::New(_)));
    assert_eq!(store.count(State::Processing).await, 1);
    let outstanding = tx!(store, |tx| objects::outstanding(&tx, 10).await).unwrap();
    assert_eq!(outstanding, (0, 0), "the intent is fulfilled");
}

async fn a_creation_without_its_intent_changes_nothing(store: Store) {
    let creation = store.creation(b"a").await;
    let keys = std::slice::from_ref(&creation.photo.original.object);
    assert_eq!(tx!(store, |tx| objects::abandon(&tx, EPOCH, keys, NOW).await).unwrap(), 1);
    assert!(matches!(store.create(&creation).await, Created::IntentGone));
    assert!(store.photo(creation.photo.id).await.is_none());
    assert_eq!(store.tombstones().await, keys);
}

async fn equal_content_is_stored_once_and_kept_for_as_long_as_anyone_has_it(store: Store) {
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
        assert_eq!(tx!(store, |tx| blobs::to_check(&tx, None, 10).await).unwrap(), [*hash]);
        assert_eq!(tx!(store, |tx| blobs::collect(&tx, hash).await).unwrap(), collected);
    }
    assert!(store.tombstones().await.contains(&first.original.object));
    assert!(!tx!(store, |tx| photos::delete(&tx, first.id, NOW, 0).await).unwrap(), "deleted already");
    assert_eq!(store.count(State::Processing).await, 0);
}

async fn whichever_of_equal_photos_is_deleted_the_bytes_stay_known(store: Store) {
    let (first, _) = store.created(b"same").await;
    let mut doubles = Vec::new();
    for _ in 0..2 {
        let creation = Creation { allow_duplicate: true, ..store.creation(b"same").await };
        let Created::New(double) = store.create(&creation).await else {
            panic!("a photo of its own was wanted")
        };
        doubles.push(double.id);
    }
    let store = &store;
    let known = || async {
        let creation = store.creation(b"same").await;
        match store.create(&creation).await {
            Created::Duplicate(photo) => photo.id,
            other => panic!("the owner has these bytes: {other:?}"),
        }
    };
    let delete = |id| async move { tx!(store, |tx| photos::delete(&tx, id, NOW, 0).await).unwrap() };
    assert_eq!(known().await, first.id, "the first is the one that is told of");
    assert!(delete(doubles[1]).await);
    assert_eq!(known().await, first.id);
    assert!(delete(first.id).await);
    assert_eq!(known().await, doubles[0], "and then the next that is left");
    assert!(delete(doubles[0]).await);
    assert!(matches!(store.create(&store.creation(b"same").await).await, Created::New(_)));
}

async fn a_collection_that_races_with_a_new_reference_loses(store: Store) {
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

async fn only_the_holder_publishes_and_twice_is_once(store: Store) {
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

async fn a_variant_whose_intent_is_gone_is_not_published(store: Store) {
    let (photo, job) = store.created(b"a").await;
    let variants = [store.variant("large").await];
    let keys = &[variants[0].object.clone()];
    tx!(store, |tx| objects::abandon(&tx, EPOCH, keys, NOW).await).unwrap();
    assert!(matches!(store.publish(&settling(&photo, &job), &variants).await, Settled::IntentGone));
    assert_eq!(store.photo(photo.id).await.unwrap().state, State::Processing);
}

async fn a_photo_deleted_while_it_is_processed_stays_deleted(store: Store) {
    let (photo, job) = store.created(b"a").await;
    let variants = [store.variant("large").await];
    let id = photo.id;
    assert!(tx!(store, |tx| photos::delete(&tx, id, NOW, 0).await).unwrap());
    assert!(matches!(store.publish(&settling(&photo, &job), &variants).await, Settled::PhotoGone));
    assert!(store.photo(photo.id).await.is_none() && store.job(job.id).await.is_none());
}

async fn a_replaced_variant_is_buried_and_the_others_stay(store: Store) {
    let (photo, job) = store.created(b"a").await;
    let (large, small) = (store.variant("large").await, store.variant("small").await);
    store.publish(&settling(&photo, &job), &[large.clone(), small.clone()]).await;
    let render = &Job::new(JobId::new(), Kind::Render, photo.id, NOW).leased(lease(), NOW.after(MINUTE));
    assert!(tx!(store, |tx| photos::request_render(&tx, render).await).unwrap());
    assert!(tx!(store, |tx| photos::request_render(&tx, render).await).unwrap(), "a second run");
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

/// Presets that were renamed leave their variants in the record, so that it may outgrow a value.
async fn a_photo_may_have_more_variants_than_a_value_holds(store: Store) {
    let (photo, job) = store.created(b"a").await;
    let keys = &(0..400).map(|_| ObjectKey::new(ObjectKind::Variant)).collect::<Vec<_>>();
    tx!(store, |tx| objects::intend(&tx, EPOCH, keys)).unwrap();
    let template = store.variant("template").await;
    let variants: Vec<_> = (0..400)
        .map(|n| Variant { preset: format!("preset-{n}"), object: keys[n].clone(), ..template.clone() })
        .collect();
    assert!(matches!(store.publish(&settling(&photo, &job), &variants).await, Settled::Done(_)));
    assert_eq!(store.photo(photo.id).await.unwrap().variants, variants);
    let all = &PHOTOS.all();
    let rows = async || tx!(store, |tx| tx.get_range(all, RangeOptions::default()).await).unwrap().len();
    assert!(rows().await > 2, "it is in chunks");
    let id = photo.id;
    assert!(tx!(store, |tx| photos::delete(&tx, id, NOW, 0).await).unwrap());
    assert_eq!(
        (rows().await, store.tombstones().await.len()),
        (0, 100),
        "as many tombstones as were asked for"
    );
}

async fn a_failed_photo_is_tried_again_by_its_own_bytes(store: Store) {
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
    assert_eq!(store.job(again.job.id).await.unwrap().photo(), Some(photo.id));
    assert_eq!((store.count(State::Processing).await, store.count(State::Failed).await), (1, 0));
    let third = store.creation(b"a").await;
    assert!(matches!(store.create(&third).await, Created::Duplicate(_)), "while it is being tried");
}

async fn what_was_swept_too_early_is_buried_again(store: Store) {
    let creation = store.creation(b"a").await;
    let keys = std::slice::from_ref(&creation.photo.original.object);
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

async fn lost_bytes_that_come_again_are_found_by_every_photo_that_has_them(store: Store) {
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

    assert_eq!(tx!(store, |tx| blobs::to_check(&tx, None, 10).await).unwrap(), [*hash]);
    assert_eq!(store.check(hash).await, Checked::Replaced(objects[1].clone()));
    for id in [first.id, second.id, third.id] {
        assert_eq!(store.photo(id).await.unwrap().original.object, objects[1]);
    }
    let mut buried = [lost.clone(), objects[0].clone()];
    buried.sort();
    assert_eq!(store.tombstones().await, buried);
    assert_eq!(store.check(hash).await, Checked::Kept);
    assert!(tx!(store, |tx| blobs::to_check(&tx, None, 10).await).unwrap().is_empty());
}

async fn a_blob_that_is_replaced_while_photos_follow_is_followed_again(store: Store) {
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

/// The same bytes again, from this owner.
fn from(owner: &str, creation: Creation) -> Creation {
    let owner = serde_json::from_str(&format!("{owner:?}")).unwrap();
    Creation { photo: Photo { owner, ..creation.photo.clone() }, ..creation }
}

fn having_seen(seen: Seen, creation: &Creation) -> Creation {
    Creation { seen: Some(seen), ..creation.clone() }
}

async fn nothing_is_made_of_stored_bytes_before_they_were_looked_for(store: Store) {
    let (first, job) = store.created(b"same").await;
    store.publish(&settling(&first, &job), &[]).await;
    let object = &first.original.object;
    let again = store.creation(b"same").await;
    let others = from("b", store.creation(b"same").await);
    for creation in [&again, &others] {
        let Created::Stored(stored) = store.create_once(creation).await else { panic!("look first") };
        assert_eq!(stored, *object);
        assert!(store.photo(creation.photo.id).await.is_none() && store.job(creation.job.id).await.is_none());
    }
    let outstanding = tx!(store, |tx| objects::outstanding(&tx, 10).await).unwrap();
    assert_eq!(outstanding, (2, 0), "what was put is theirs still");

    let there = |creation| having_seen(Seen::Present(object.clone()), creation);
    let Created::Duplicate(found) = store.create_once(&there(&again)).await else { panic!("it is there") };
    let Created::New(new) = store.create_once(&there(&others)).await else { panic!("a photo of its own") };
    assert_eq!((found.id, &found.original.object, &new.original.object), (first.id, object, object));
    assert!(
        tx!(store, |tx| blobs::to_check(&tx, None, 10).await).unwrap().is_empty(),
        "nothing was replaced"
    );
}

async fn a_ready_photo_whose_original_is_gone_has_it_back_by_its_own_bytes(store: Store) {
    let (photo, job) = store.created(b"same").await;
    store.publish(&settling(&photo, &job), &[]).await;
    let (hash, lost) = (&photo.original.hash, photo.original.object.clone());
    let creation = store.creation(b"same").await;
    let fresh = &creation.photo.original.object;
    let again = having_seen(Seen::Lost(lost.clone()), &creation);
    for _ in 0..2 {
        let Created::Duplicate(found) = store.create_once(&again).await else { panic!("the owner has it") };
        assert_eq!((found.id, found.state, &found.original.object), (photo.id, State::Ready, fresh));
        assert_eq!(store.photo(photo.id).await.unwrap(), found);
    }
    let blob = tx!(store, |tx| blobs::get(&tx, hash).await).unwrap().unwrap();
    assert_eq!((&blob.object, &blob.former[..]), (fresh, std::slice::from_ref(&lost)), "once");
    assert_eq!(tx!(store, |tx| objects::outstanding(&tx, 10).await).unwrap(), (0, 0));
    assert_eq!(store.check(hash).await, Checked::Replaced(fresh.clone()));
    assert_eq!(store.tombstones().await, [lost]);
    assert_eq!((store.count(State::Ready).await, store.count(State::Processing).await), (1, 0));
}

async fn a_new_photo_of_bytes_that_are_gone_brings_them_back_to_all(store: Store) {
    let (first, job) = store.created(b"same").await;
    store.publish(&settling(&first, &job), &[]).await;
    let (hash, lost) = (&first.original.hash, first.original.object.clone());
    let creation = from("b", store.creation(b"same").await);
    let fresh = &creation.photo.original.object;
    let again = having_seen(Seen::Lost(lost.clone()), &creation);
    for _ in 0..2 {
        let Created::New(new) = store.create_once(&again).await else { panic!("a photo of its own") };
        assert_eq!((new.id, &new.original.object), (creation.photo.id, fresh));
    }
    assert_eq!(store.photo(first.id).await.unwrap().original.object, lost, "until the Janitor comes");
    assert_eq!(store.check(hash).await, Checked::Replaced(fresh.clone()));
    assert_eq!(store.photo(first.id).await.unwrap().original.object, *fresh);
    assert_eq!(store.tombstones().await, [lost]);
}

async fn lost_bytes_whose_successor_was_swept_or_has_moved_are_not_replaced(store: Store) {
    let (photo, job) = store.created(b"same").await;
    store.publish(&settling(&photo, &job), &[]).await;
    let lost = || Seen::Lost(photo.original.object.clone());
    let swept = having_seen(lost(), &store.creation(b"same").await);
    let keys = std::slice::from_ref(&swept.photo.original.object);
    tx!(store, |tx| objects::abandon(&tx, EPOCH, keys, NOW).await).unwrap();
    assert!(matches!(store.create_once(&swept).await, Created::IntentGone));
    assert_eq!(store.photo(photo.id).await.unwrap().original.object, photo.original.object);

    let (one, other) = (store.creation(b"same").await, store.creation(b"same").await);
    assert!(matches!(store.create_once(&having_seen(lost(), &one)).await, Created::Duplicate(_)));
    // Whoever looked at the same time is to look again, where they are now.
    let Created::Stored(now) = store.create_once(&having_seen(lost(), &other)).await else {
        panic!("they have moved")
    };
    assert_eq!(now, one.photo.original.object);
    let outstanding = tx!(store, |tx| objects::outstanding(&tx, 10).await).unwrap();
    assert_eq!(outstanding.0, 1, "the second one's object is nobody's");
}
