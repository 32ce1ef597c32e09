//! Photos whose originals the object store does not give: while it is away they wait, and go on soon after it is back;
//! damaged ones fail with that reason, and hold up nobody.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_actors::faults::{Action, Fault, Point};
use darkroom_actors::{Pipeline, PipelineOptions, Preset, Upload};
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_store::life;
use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use darkroom_store::model::jobs::{self, DeadJob, Job};
use darkroom_store::model::photos::{self, Photo, State};
use darkroom_store::model::{OwnerId, PhotoId};
use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::objects::s3::{Checksum, S3Options};
use darkroom_store::objects::{ObjectKey, ObjectStore};
use darkroom_test_s3::{BUCKET, Fault as S3Fault, KEY_ID, SECRET_KEY, Server};
use futures_util::{StreamExt, stream};
use hyper::{Method, StatusCode};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// What a busy machine may take for a few small photos.
const SLACK: Duration = Duration::from_secs(20);

/// One store, which pipelines use one after the other.
struct House {
    metadata: Metadata,
    objects: ObjectStore,
    server: Option<Server>,
    home: tempfile::TempDir,
}

impl House {
    async fn on_files() -> Self {
        let home = tempfile::tempdir().unwrap();
        let objects =
            ObjectStore::open_filesystem(&home.path().join("objects"), FilesystemOptions::default())
                .await
                .unwrap();
        Self::new(home, objects, None).await
    }

    async fn on_s3(checksum: Checksum) -> Self {
        let server = Server::start();
        let options = S3Options {
            bucket: BUCKET.to_owned(),
            endpoint: Some(server.endpoint()),
            credentials: Some((KEY_ID.to_owned(), SECRET_KEY.to_owned())),
            path_style: true,
            checksum,
            attempt_timeout: Duration::from_secs(2),
            operation_deadline: Duration::from_secs(2),
            breaker_failures: 3,
            breaker_pause: Duration::from_millis(500),
            ..S3Options::default()
        };
        let objects = ObjectStore::open_s3(options).await.unwrap();
        Self::new(tempfile::tempdir().unwrap(), objects, Some(server)).await
    }

    async fn new(home: tempfile::TempDir, objects: ObjectStore, server: Option<Server>) -> Self {
        let options = EmbeddedOptions::default();
        let metadata = Metadata::open_embedded(&home.path().join("metadata"), options).await.unwrap();
        Self { metadata, objects, server, home }
    }

    async fn pipeline(&self, more: PipelineOptions) -> Pipeline {
        let life = life::begin(&self.metadata, &self.objects).await.unwrap();
        let mut presets = Preset::default_ladder();
        presets.truncate(1);
        let options = PipelineOptions {
            presets,
            compute_threads: 1,
            upload_window_bytes: self.objects.window_bytes(),
            idle_poll: Duration::from_millis(50),
            ..more
        };
        Pipeline::start(options, self.metadata.clone(), self.objects.clone(), &life).await.unwrap()
    }

    async fn photo(&self, id: PhotoId) -> Photo {
        let photo = self.metadata.read("photo", |tx| async move { photos::get(&tx, id).await });
        photo.await.unwrap().unwrap()
    }

    async fn job(&self, photo: PhotoId) -> Option<Job> {
        self.metadata.read("job", |tx| async move { jobs::of_photo(&tx, photo).await }).await.unwrap()
    }

    async fn letter(&self, job: &Job) -> Option<DeadJob> {
        let id = job.id;
        self.metadata.read("letter", |tx| async move { jobs::dead(&tx, id).await }).await.unwrap()
    }

    async fn settled(&self, id: PhotoId) -> Photo {
        until("the photo is settled", || async { self.photo(id).await.state != State::Processing }).await;
        self.photo(id).await
    }

    /// Changes one bit of an object.
    fn damage(&self, key: &ObjectKey) {
        if let Some(server) = &self.server {
            return server.damage(key.as_str());
        }
        let name = key.as_str().split_once('/').unwrap().1;
        let path = find(&self.home.path().join("objects"), name).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }
}

/// The file whose name has this in it.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    std::fs::read_dir(folder).unwrap().find_map(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return find(&path, name);
        }
        path.file_name()?.to_str()?.contains(name).then_some(path)
    })
}

/// A small photo; its id.
async fn upload(pipeline: &Pipeline, seed: u64) -> PhotoId {
    let spec = PhotoSpec { seed, width: 320, height: 240, ..PhotoSpec::default() };
    let body = stream::iter([Ok(Bytes::from(jpeg(&spec)))]).boxed();
    let upload = Upload::new(pipeline.lease(None).unwrap(), body, OwnerId::open());
    pipeline.ingest(upload).await.unwrap().photo.id
}

async fn until<F, Fut>(what: &str, condition: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool>,
{
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await; // Polling for the condition.
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}

async fn a_damaged_original_fails_its_photo(house: &House) {
    // A pipeline that gets nowhere, so that the photo waits while its original is damaged.
    let stuck = PipelineOptions {
        attempts_max: u32::MAX,
        faults: vec![Fault::at(Point::Decode, Action::Panic)],
        ..PipelineOptions::default()
    };
    let stuck = house.pipeline(stuck).await;
    let id = upload(&stuck, 1).await;
    stuck.finish(Instant::now() + PATIENCE).await;
    stuck.drain().await.unwrap();
    let waiting = house.job(id).await.unwrap();
    house.damage(&house.photo(id).await.original.object);

    let attempts_max = waiting.attempts + 2;
    let pipeline = house.pipeline(PipelineOptions { attempts_max, ..PipelineOptions::default() }).await;
    let other = upload(&pipeline, 2).await;
    let failed = house.settled(id).await;
    let failure = failed.failure.unwrap();
    assert_eq!((failed.state, failure.code.as_str()), (State::Failed, photos::ORIGINAL_MISSING));
    assert!(failure.detail.contains("damaged") && failure.detail.contains("upload"), "{}", failure.detail);
    let letter = house.letter(&waiting).await.unwrap();
    assert_eq!((letter.job.attempts, letter.job.interruptions), (attempts_max, 0), "each attempt counts");
    assert!(letter.job.last_error.unwrap().contains("damaged"));
    assert!(house.job(id).await.is_none(), "and it is not tried for ever");
    assert_eq!(house.settled(other).await.state, State::Ready, "others are not held up");

    // The same bytes again take the place of the damaged ones.
    assert_eq!(upload(&pipeline, 1).await, id);
    assert_eq!(house.settled(id).await.state, State::Ready);
    pipeline.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_that_is_damaged_on_disk_fails_its_photo() {
    a_damaged_original_fails_its_photo(&House::on_files().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_that_the_bucket_knows_to_be_damaged_fails_its_photo() {
    a_damaged_original_fails_its_photo(&House::on_s3(Checksum::Crc32c).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_that_is_damaged_in_a_bucket_without_checksums_fails_its_photo() {
    a_damaged_original_fails_its_photo(&House::on_s3(Checksum::Off).await).await;
}

/// A pause between two looks that is short enough to wait for some.
fn soon() -> PipelineOptions {
    PipelineOptions {
        interruption_pause_max: Duration::from_millis(500),
        attempts_max: 1,
        ..PipelineOptions::default()
    }
}

impl House {
    /// Waits until the photo's job was interrupted so often more, and sees that nothing else has become of it.
    async fn interrupted(&self, id: PhotoId, times: u32) {
        let before = self.job(id).await.unwrap().interruptions;
        let often = || async { self.job(id).await.is_none_or(|job| job.interruptions >= before + times) };
        until("it is taken up again", often).await;
        let photo = self.photo(id).await;
        assert_eq!(photo.state, State::Processing, "{:?}", photo.failure);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_404_from_before_the_bucket_ends_no_photo() {
    let house = &House::on_s3(Checksum::Crc32c).await;
    let server = house.server.as_ref().unwrap();
    let pipeline = house.pipeline(soon()).await;
    server.faults().set([S3Fault::Page(StatusCode::NOT_FOUND).on(Method::GET, "originals/")]);
    let id = upload(&pipeline, 1).await;
    house.interrupted(id, 2).await;
    server.faults().clear();
    assert_eq!(house.settled(id).await.state, State::Ready);
    pipeline.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_that_another_store_does_not_have_is_not_lost() {
    let house = &House::on_s3(Checksum::Crc32c).await;
    let server = house.server.as_ref().unwrap();
    let pipeline = house.pipeline(soon()).await;
    // The bucket of somebody else, or one that was made anew.
    let missing = |key| S3Fault::Refuse(StatusCode::NOT_FOUND, "NoSuchKey").on(Method::GET, key);
    server.faults().set([missing("originals/"), missing("store-id")]);
    let id = upload(&pipeline, 1).await;
    house.interrupted(id, 2).await;
    assert!(house.job(id).await.unwrap().last_error.unwrap().contains("store-id"));
    // In the bucket that is this one's, it is.
    server.faults().set([missing("originals/")]);
    let failed = house.settled(id).await;
    assert_eq!(failed.failure.unwrap().code, photos::ORIGINAL_MISSING);
    pipeline.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_in_a_folder_that_is_not_mounted_is_not_lost() {
    let house = &House::on_files().await;
    let home = house.home.path();
    let (folder, elsewhere, stuck) = (home.join("objects"), home.join("elsewhere"), home.join("stuck"));
    std::fs::write(&stuck, []).unwrap();
    let panic = Fault { armed_by: Some(stuck.clone()), ..Fault::at(Point::Decode, Action::Panic) };
    let options = PipelineOptions { attempts_max: u32::MAX, faults: vec![panic], ..soon() };
    let pipeline = house.pipeline(options).await;
    let id = upload(&pipeline, 1).await;
    std::fs::rename(&folder, &elsewhere).unwrap();
    house.interrupted(id, 2).await;
    std::fs::remove_file(&stuck).unwrap();
    std::fs::rename(&elsewhere, &folder).unwrap();
    assert_eq!(house.settled(id).await.state, State::Ready);
    pipeline.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_original_that_was_moved_to_an_archive_fails_its_photo() {
    let house = &House::on_s3(Checksum::Crc32c).await;
    let server = house.server.as_ref().unwrap();
    let pipeline = house.pipeline(PipelineOptions { attempts_max: 2, ..soon() }).await;
    let archived = S3Fault::Refuse(StatusCode::FORBIDDEN, "InvalidObjectState");
    server.faults().set([archived.on(Method::GET, "originals/")]);
    let id = upload(&pipeline, 1).await;
    let job = house.job(id).await.unwrap();
    let failure = house.settled(id).await.failure.unwrap();
    assert_eq!(failure.code, photos::ORIGINAL_MISSING);
    assert!(failure.detail.contains("cannot be read"), "{}", failure.detail);
    let letter = house.letter(&job).await.unwrap().job;
    assert_eq!((letter.attempts, letter.interruptions), (2, 0));
    assert!(letter.last_error.unwrap().contains("cannot be read"));
    pipeline.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waited_long_for_a_bucket_goes_on_soon_after_it_is_back() {
    let house = &House::on_s3(Checksum::Crc32c).await;
    let server = house.server.as_ref().unwrap();
    let pause = Duration::from_millis(500);
    let options =
        PipelineOptions { interruption_pause_max: pause, attempts_max: 1, ..PipelineOptions::default() };
    let pipeline = house.pipeline(options).await;
    // Originals can be written and not read: each photo is taken up again and again, as in a minute without the bucket.
    let denied = S3Fault::Refuse(StatusCode::FORBIDDEN, "AccessDenied");
    server.faults().set([denied.on(Method::GET, "originals/")]);
    let mut photos = Vec::new();
    for seed in 0..6 {
        photos.push(upload(&pipeline, seed).await);
    }
    let interrupted = |photo| async move { house.job(photo).await.unwrap().interruptions };
    for photo in &photos {
        until("it is taken up again", || async { interrupted(*photo).await >= 9 }).await;
    }
    let waits = house.job(photos[0]).await.unwrap().interruption_pause(Duration::MAX);
    assert!(
        waits > 2 * SLACK,
        "without a bound of its own it would wait {waits:?} more: the test shows nothing"
    );
    server.go().await;
    until("it is known that the bucket is away", || async { house.objects.available().is_err() }).await;

    server.faults().clear();
    server.come_back();
    let back = Instant::now();
    for photo in &photos {
        assert_eq!(house.settled(*photo).await.state, State::Ready, "none of it counts as an attempt");
    }
    println!("all ready {:?} after the bucket was back", back.elapsed());
    assert!(back.elapsed() < SLACK, "it took {:?}", back.elapsed());
    pipeline.drain().await.unwrap();
    house.metadata.close().await;
}
