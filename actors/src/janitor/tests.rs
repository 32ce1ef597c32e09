//! Sweeps over stores that are not whole: what cannot be done holds up nothing else.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Mutex;
use std::time::Instant;

use bytes::Bytes;
use darkroom_store::life;
use darkroom_store::metadata::{EmbeddedOptions, Gate, Moment, Passing};
use darkroom_store::model::jobs::{DeadJob, Job, Kind};
use darkroom_store::model::subspaces::{BLOBS, BLOBS_TO_CHECK};
use darkroom_store::model::{JobId, PhotoId};
use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::objects::s3::S3Options;
use darkroom_store::objects::{ObjectKind, ObjectWriter};
use darkroom_test_s3::{BUCKET, Fault, KEY_ID, SECRET_KEY, Server};
use hyper::{Method, StatusCode};

use super::*;

struct House {
    sweep: Sweep,
    _home: tempfile::TempDir,
}

impl House {
    async fn on_files() -> Self {
        let home = tempfile::tempdir().unwrap();
        let objects =
            ObjectStore::open_filesystem(&home.path().join("objects"), FilesystemOptions::default())
                .await
                .unwrap();
        Self::new(home, objects).await
    }

    /// As if no put could be late.
    async fn on_s3(server: &Server) -> Self {
        let options = S3Options {
            bucket: BUCKET.to_owned(),
            endpoint: Some(server.endpoint()),
            credentials: Some((KEY_ID.to_owned(), SECRET_KEY.to_owned())),
            path_style: true,
            breaker_failures: 3,
            breaker_pause: Duration::from_secs(600),
            ..S3Options::default()
        };
        let objects = ObjectStore::open_s3(options).await.unwrap();
        let mut house = Self::new(tempfile::tempdir().unwrap(), objects).await;
        house.sweep.late_put_max = Duration::ZERO;
        house
    }

    async fn new(home: tempfile::TempDir, objects: ObjectStore) -> Self {
        let metadata = home.path().join("metadata");
        let metadata = Metadata::open_embedded(&metadata, EmbeddedOptions::default()).await.unwrap();
        let life = life::begin(&metadata, &objects).await.unwrap();
        Self { sweep: Sweep::new(metadata, objects, life.epoch), _home: home }
    }

    async fn put(&self, key: &ObjectKey) {
        self.sweep.objects.put(key, Bytes::from_static(b"a photo")).await.unwrap();
    }

    async fn bury(&self, keys: &[ObjectKey]) {
        let bury = |tx| async move { keys.iter().try_for_each(|key| objects::bury(&tx, key)) };
        self.sweep.metadata.transact("bury", bury).await.unwrap();
    }

    /// Objects that nothing refers to, in the order of their keys.
    async fn buried(&self, count: usize) -> Vec<ObjectKey> {
        let keys: Vec<_> = (0..count).map(|_| ObjectKey::new(ObjectKind::Original)).collect();
        for key in &keys {
            self.put(key).await;
        }
        self.bury(&keys).await;
        keys
    }

    async fn exists(&self, key: &ObjectKey) -> bool {
        self.sweep.objects.head(key).await.unwrap().is_some()
    }
}

fn denied() -> Fault {
    Fault::Refuse(StatusCode::FORBIDDEN, "AccessDenied")
}

#[tokio::test]
async fn an_object_that_may_not_be_deleted_holds_up_no_other() {
    let server = Server::start();
    let house = House::on_s3(&server).await;
    let keys = house.buried(5).await;
    server.faults().set([denied().on(Method::DELETE, keys[1].as_str().to_owned().leak())]);
    let report = house.sweep.run().await.unwrap();
    assert_eq!(report.tombstones_left, 1, "{report:?}");
    for key in &keys {
        assert_eq!(house.exists(key).await, *key == keys[1]);
    }
    server.faults().clear();
    let report = house.sweep.run().await.unwrap();
    assert_eq!((report.objects_deleted, report.tombstones_left), (1, 0));
}

#[tokio::test]
async fn a_store_that_deletes_nothing_is_not_asked_for_ever_and_letters_are_trimmed_all_the_same() {
    let server = Server::start();
    let house = House::on_s3(&server).await;
    let keys = house.buried(DELETE_BATCH).await;
    let job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), Timestamp(1));
    let letter = &DeadJob { job, code: "old".to_owned(), detail: "old".to_owned(), died: Timestamp(1) };
    let post = |tx| async move { jobs::bury(&tx, letter) };
    house.sweep.metadata.transact("post", post).await.unwrap();

    server.faults().set([denied().on(Method::DELETE, "originals/")]);
    let error = house.sweep.run().await.unwrap_err();
    assert!(error.to_string().contains("AccessDenied"), "{error}");
    assert!(server.faults().hits() < DELETE_BATCH, "{} requests", server.faults().hits());
    let id = letter.job.id;
    let trimmed = |tx| async move { Ok(jobs::dead(&tx, id).await?.is_none()) };
    assert!(house.sweep.metadata.read("letter", trimmed).await.unwrap());
    assert!(house.exists(&keys[0]).await);
}

#[tokio::test]
async fn a_store_that_is_away_is_left_alone() {
    let server = Server::start();
    let house = House::on_s3(&server).await;
    let keys = house.buried(3).await;
    // Its breaker opens, and stays so.
    server.faults().set([Fault::internal_error().on(Method::DELETE, "originals/")]);
    let began = Instant::now();
    assert!(matches!(house.sweep.run().await, Err(StoreError::Unavailable { .. })));
    let asked = server.faults().hits();
    assert!(matches!(house.sweep.run().await, Err(StoreError::Unavailable { .. })));
    assert_eq!(server.faults().hits(), asked, "it is known to be away");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(keys.len(), 3);
}

/// Looks at a folder before each look at the tombstones.
struct Watch(std::path::PathBuf, Mutex<Vec<usize>>);

impl Gate for Watch {
    fn pass(&self, name: &'static str, moment: Moment) -> Passing {
        if (name, moment) == ("list tombstones", Moment::Begun) {
            self.1.lock().unwrap().push(std::fs::read_dir(&self.0).unwrap().count());
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

#[tokio::test]
async fn what_a_dead_node_was_writing_is_removed_before_its_key_is_forgotten() {
    let home = tempfile::tempdir().unwrap();
    let open = || ObjectStore::open_shared_filesystem(home.path(), FilesystemOptions::default());
    let (dead, objects) = (open().await.unwrap(), open().await.unwrap());
    let mut house = House::new(tempfile::tempdir().unwrap(), objects).await;
    // Nobody knows its epoch any more.
    let dead = dead.of_epoch(Epoch(house.sweep.epoch.0 + 100));
    let key = ObjectKey::new(ObjectKind::Original);
    let mut writer: ObjectWriter = dead.begin_put(&key).await.unwrap();
    writer.write(Bytes::from_static(b"a photo")).await.unwrap();
    house.bury(std::slice::from_ref(&key)).await;
    let watch = Arc::new(Watch(home.path().join("tmp"), Mutex::default()));
    house.sweep.metadata = house.sweep.metadata.gated(watch.clone());
    let report = house.sweep.run().await.unwrap();
    assert_eq!((report.unfinished_removed, report.tombstones_left), (1, 0));
    assert_eq!(watch.1.lock().unwrap().first(), Some(&0), "it was removed first");
    assert!(writer.finish().await.is_err());
    assert!(!house.exists(&key).await);
}

#[tokio::test]
async fn a_damaged_record_of_a_blob_holds_up_no_other_and_no_object() {
    let house = House::on_files().await;
    let buried = house.buried(1).await;
    let hashes = [0_u8, 1, 2].map(|first| ContentHash([first; 32]));
    let objects = [(); 3].map(|()| ObjectKey::new(ObjectKind::Original));
    for key in &objects {
        house.put(key).await;
    }
    let record = |n: usize| blobs::Blob { object: objects[n].clone(), bytes: 7, former: Vec::new() };
    let write = |tx: darkroom_store::metadata::Transaction| async move {
        for (n, hash) in hashes.iter().enumerate() {
            blobs::put(&tx, hash, &record(n))?;
            tx.set(&BLOBS_TO_CHECK.key(&(&hash.0[..],)), &[])?;
        }
        tx.set(&BLOBS.key(&(&hashes[0].0[..],)), b"garbage")
    };
    house.sweep.metadata.transact("write", write).await.unwrap();
    let report = house.sweep.run().await.unwrap();
    assert_eq!((report.blobs_collected, report.objects_deleted, report.tombstones_left), (2, 3, 0));
    assert!(house.exists(&objects[0]).await, "what it was cannot be told: it is left alone");
    assert!(!house.exists(&objects[1]).await && !house.exists(&buried[0]).await);
    let left = |tx| async move { blobs::to_check(&tx, None, 10).await };
    assert_eq!(house.sweep.metadata.read("left", left).await.unwrap(), [hashes[0]]);
}

#[tokio::test]
async fn an_attempt_that_arrives_after_the_delete_does_not_bring_the_object_back() {
    let mut house = House::on_files().await;
    let late = Duration::from_secs(690);
    house.sweep.late_put_max = late;
    let keys = house.buried(2).await;
    let began = Timestamp::now();
    let report = house.sweep.run_at(began).await.unwrap();
    assert_eq!((report.objects_deleted, report.tombstones_left), (2, 2), "deleted at once");
    assert!(!house.exists(&keys[0]).await && !house.exists(&keys[1]).await);

    house.put(&keys[0]).await; // By a request that was given up when the next one had begun.
    let report = house.sweep.run().await.unwrap();
    assert_eq!((report.objects_deleted, report.tombstones_left), (0, 2), "another may yet come");
    let over = Timestamp::now().after(late);
    let report = house.sweep.run_at(over).await.unwrap();
    assert_eq!((report.objects_deleted, report.tombstones_left), (0, 0), "each is counted once");
    assert!(!house.exists(&keys[0]).await);
}

#[tokio::test]
async fn where_no_put_is_late_a_tombstone_goes_with_its_object() {
    let house = House::on_files().await;
    house.buried(BATCH + 1).await;
    let report = house.sweep.run().await.unwrap();
    assert_eq!((report.objects_deleted, report.tombstones_left), (BATCH + 1, 0));
}
