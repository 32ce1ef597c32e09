//! Uploads of bytes that the metadata know and whose object is gone, as after `restore` of a backup that is older than a
//! DELETE: they are not acknowledged against nothing, but bring the original back to everybody who has it.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use bytes::Bytes;
use darkroom_actors::{IngestError, Ingested, Pipeline, PipelineOptions, Preset, Upload};
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use darkroom_store::model::PhotoId;
use darkroom_store::model::photos::{self, Photo, State};
use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::objects::s3::S3Options;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};
use darkroom_store::{StoreError, life};
use darkroom_test_s3::{BUCKET, Fault, KEY_ID, SECRET_KEY, Server};
use futures_util::{StreamExt, stream};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

struct House {
    metadata: Metadata,
    objects: ObjectStore,
    pipeline: Pipeline,
    photo: Bytes,
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

    async fn on_s3(server: &Server) -> Self {
        let options = S3Options {
            bucket: BUCKET.to_owned(),
            endpoint: Some(server.endpoint()),
            credentials: Some((KEY_ID.to_owned(), SECRET_KEY.to_owned())),
            path_style: true,
            attempt_timeout: Duration::from_secs(2),
            operation_deadline: Duration::from_secs(2),
            breaker_failures: 1000,
            ..S3Options::default()
        };
        let objects = ObjectStore::open_s3(options).await.unwrap();
        Self::new(tempfile::tempdir().unwrap(), objects).await
    }

    async fn new(home: tempfile::TempDir, objects: ObjectStore) -> Self {
        let metadata =
            Metadata::open_embedded(&home.path().join("metadata"), EmbeddedOptions::default()).await.unwrap();
        let life = life::begin(&metadata, &objects).await.unwrap();
        let mut presets = Preset::default_ladder();
        presets.truncate(1);
        let options = PipelineOptions {
            presets,
            compute_threads: 1,
            upload_window_bytes: objects.window_bytes(),
            idle_poll: Duration::from_millis(50),
            ..PipelineOptions::default()
        };
        let pipeline = Pipeline::start(options, metadata.clone(), objects.clone(), &life).await.unwrap();
        let photo = Bytes::from(jpeg(&PhotoSpec { width: 320, height: 240, ..PhotoSpec::default() }));
        Self { metadata, objects, pipeline, photo, _home: home }
    }

    async fn upload(&self, owner: &str, allow_duplicate: bool) -> Result<Ingested, IngestError> {
        let (lease, owner) =
            (self.pipeline.lease(None).unwrap(), serde_json::from_value(owner.into()).unwrap());
        let body = stream::iter([Ok(self.photo.clone())]).boxed();
        self.pipeline.ingest(Upload { allow_duplicate, ..Upload::new(lease, body, owner) }).await
    }

    async fn ready(&self, owner: &str) -> Photo {
        let id = self.upload(owner, false).await.unwrap().photo.id;
        self.settled(id).await
    }

    async fn photo(&self, id: PhotoId) -> Photo {
        let get = |tx| async move { photos::get(&tx, id).await };
        self.metadata.read("photo", get).await.unwrap().unwrap()
    }

    async fn settled(&self, id: PhotoId) -> Photo {
        let settling = async {
            loop {
                let photo = self.photo(id).await;
                if photo.state != State::Processing {
                    return photo;
                }
                tokio::time::sleep(Duration::from_millis(10)).await; // Polling for the condition.
            }
        };
        let photo = tokio::time::timeout(PATIENCE, settling).await.unwrap();
        assert_eq!(photo.state, State::Ready, "{:?}", photo.failure);
        photo
    }

    /// Takes an object away behind everybody's back, as a restore finds it that comes after a DELETE.
    async fn lose(&self, key: &ObjectKey) {
        assert_eq!(self.objects.delete(std::slice::from_ref(key)).await.unwrap(), 1);
    }

    /// After the Janitor has been there, every photo is ready, all have the original, and nothing else is stored.
    async fn all_have_it_back(&self, ids: &[PhotoId]) {
        self.pipeline.sweep().await.unwrap();
        let mut found = Vec::new();
        for id in ids {
            let photo = self.settled(*id).await;
            let original = &photo.original;
            let bytes = self.objects.get_whole(&original.object, original.bytes).await.unwrap();
            assert_eq!(bytes.as_deref(), Some(&self.photo[..]), "{photo:?}");
            found.push(photo.original.object);
        }
        found.dedup();
        let stored = self.objects.list(ObjectKind::Original, None, 100).await.unwrap();
        assert_eq!(stored, found, "each byte once, and what was put in vain is deleted");
    }

    async fn end(self) {
        self.pipeline.drain().await.unwrap();
        self.metadata.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_original_comes_back_with_the_same_bytes_from_whomever() {
    let house = House::on_files().await;
    let (ada, ben) = (house.ready("ada").await, house.ready("ben").await);
    let lost = ada.original.object.clone();
    assert_eq!(ben.original.object, lost);

    house.lose(&lost).await;
    let again = house.upload("ada", false).await.unwrap();
    assert!(again.duplicate && again.photo.id == ada.id && again.photo.state == State::Ready);
    assert_ne!(again.photo.original.object, lost, "the bytes just sent are kept");
    house.all_have_it_back(&[ada.id, ben.id]).await;

    house.lose(&house.photo(ada.id).await.original.object).await;
    let cleo = house.upload("cleo", false).await.unwrap();
    assert!(!cleo.duplicate);
    house.all_have_it_back(&[ada.id, ben.id, cleo.photo.id]).await;

    house.lose(&house.photo(ada.id).await.original.object).await;
    let second = house.upload("ada", true).await.unwrap();
    assert!(!second.duplicate && second.photo.id != ada.id);
    house.all_have_it_back(&[ada.id, ben.id, cleo.photo.id, second.photo.id]).await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_that_is_cut_is_replaced_too() {
    let house = House::on_files().await;
    let ada = house.ready("ada").await;
    house.lose(&ada.original.object).await;
    house.objects.put(&ada.original.object, house.photo.slice(..100)).await.unwrap();
    assert!(house.upload("ada", false).await.unwrap().duplicate);
    house.all_have_it_back(&[ada.id]).await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_be_asked_is_not_taken_for_one_that_has_lost_the_original() {
    let server = Server::start();
    let house = House::on_s3(&server).await;
    let ada = house.ready("ada").await;
    server.faults().set([Fault::slow_down().on(hyper::Method::HEAD, "originals/")]);
    for (owner, allow_duplicate) in [("ada", false), ("ada", true), ("ben", false)] {
        let refused = house.upload(owner, allow_duplicate).await.unwrap_err();
        assert!(matches!(&refused, IngestError::Store(StoreError::Unavailable { .. })), "{refused}");
    }
    server.faults().clear();
    let again = house.upload("ada", false).await.unwrap();
    assert!(again.duplicate);
    assert_eq!(again.photo.original.object, ada.original.object, "it was there all the time");

    house.lose(&ada.original.object).await;
    let ben = house.upload("ben", false).await.unwrap();
    for id in [ada.id, ben.photo.id] {
        house.settled(id).await;
    }
    house.pipeline.sweep().await.unwrap();
    let healed = house.photo(ada.id).await.original;
    assert_eq!(healed.object, ben.photo.original.object);
    assert!(house.objects.get_whole(&healed.object, healed.bytes).await.unwrap().is_some());
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_owners_bytes_are_stored_once_and_neither_can_tell() {
    let house = House::on_files().await;
    let ada = house.ready("ada").await;
    let ben = house.upload("ben", false).await.unwrap();
    assert!(!ben.duplicate && ben.photo.id != ada.id, "what another has says nothing");
    assert_eq!((ben.photo.state, ben.photo.original.object), (State::Processing, ada.original.object));
    assert!(house.upload("ben", false).await.unwrap().duplicate, "of his own");
    house.all_have_it_back(&[ada.id, ben.photo.id]).await;
    // It goes with the last who has it.
    for (photo, stored) in [(ada.id, 1), (ben.photo.id, 0)] {
        assert!(house.pipeline.delete(photo).await.unwrap());
        house.pipeline.sweep().await.unwrap();
        let originals = house.objects.list(ObjectKind::Original, None, 100).await.unwrap();
        assert_eq!(originals.len(), stored);
    }
    house.end().await;
}
