//! The end of a process, and how many photos may wait in it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_store::metadata::EmbeddedOptions;
use darkroom_store::model::OwnerId;
use darkroom_store::model::objects;
use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::objects::{ObjectKey, ObjectKind};

use futures_util::{StreamExt, stream};

use super::*;
use crate::heart;

struct Home {
    metadata: Metadata,
    objects: ObjectStore,
    _folder: tempfile::TempDir,
}

impl Home {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let metadata = folder.path().join("metadata");
        let metadata = Metadata::open_embedded(&metadata, EmbeddedOptions::default()).await.unwrap();
        let objects =
            ObjectStore::open_filesystem(&folder.path().join("objects"), FilesystemOptions::default())
                .await
                .unwrap();
        Self { metadata, objects, _folder: folder }
    }

    /// A pipeline whose Janitor has been there, and comes no more by itself.
    async fn pipeline(&self) -> Pipeline {
        self.pipeline_with(PipelineOptions::default()).await
    }

    async fn pipeline_with(&self, more: PipelineOptions) -> Pipeline {
        let life = life::begin(&self.metadata, &self.objects).await.unwrap();
        let options = PipelineOptions { compute_threads: 1, idle_poll: Duration::from_secs(3600), ..more };
        let pipeline =
            Pipeline::start(options, self.metadata.clone(), self.objects.clone(), &life).await.unwrap();
        pipeline.sweep().await.unwrap();
        pipeline
    }

    /// An object whose intent was swept, and its tombstone forgotten, before it was put. Its process has found out.
    async fn disowned(&self, pipeline: &Pipeline) -> ObjectKey {
        let house = pipeline.house();
        let (epoch, key) = (house.epoch, house.keys.take(ObjectKind::Original).await.unwrap());
        let keys = &[key.key().clone()];
        let sweep = |tx| async move {
            objects::abandon(&tx, epoch, keys, Timestamp(0)).await?;
            objects::unbury(&tx, keys)
        };
        self.metadata.transact("sweep", sweep).await.unwrap();
        let (key, _) = key.put(&self.objects, Bytes::from_static(b"a photo")).await.unwrap();
        key.swept();
        keys[0].clone()
    }

    async fn tombstones(&self) -> Vec<ObjectKey> {
        let list = |tx| async move { objects::tombstones(&tx, None, 10).await };
        let found = self.metadata.read("tombstones", list).await.unwrap();
        found.into_iter().map(|tombstone| tombstone.key).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_this_process_knows_to_be_nobodys_is_buried_when_it_ends() {
    let home = Home::new().await;
    let pipeline = home.pipeline().await;
    let key = home.disowned(&pipeline).await;
    pipeline.finish(Instant::now() + Duration::from_secs(10)).await;
    pipeline.drain().await.unwrap();
    assert_eq!(home.tombstones().await, [key]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_this_process_knows_to_be_nobodys_is_buried_when_it_was_declared_dead() {
    let home = Home::new().await;
    let pipeline = home.pipeline().await;
    let key = home.disowned(&pipeline).await;
    heart::declared_dead(pipeline.house());
    let why = pipeline.dead().await;
    assert!(why.contains("declared dead"), "{why}");
    assert_eq!(home.tombstones().await, [key]);
    pipeline.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_as_many_photos_wait_as_may_one_is_taken_for_each_that_is_done() {
    let home = Home::new().await;
    let pipeline =
        home.pipeline_with(PipelineOptions { backlog_photos_max: 1, ..PipelineOptions::default() }).await;
    let admission = &pipeline.house().admission;
    let spec = PhotoSpec { width: 320, height: 240, ..PhotoSpec::default() };
    for seed in 0..3 {
        let pixels = admission.pixels.waiting(u64::MAX).await.unwrap();
        let body = stream::iter([Ok(Bytes::from(jpeg(&PhotoSpec { seed, ..spec })))]).boxed();
        let upload = Upload::new(pipeline.lease(None).unwrap(), body, OwnerId::open());
        let photo = pipeline.ingest(upload).await.unwrap().photo.id;
        // Neither waits for a look at the metadata: there is none before an hour is over.
        assert_eq!(pipeline.lease(None).unwrap_err(), Refused::Backlog);
        let mut outcome = pipeline.house().outcomes.subscribe(photo);
        drop(pixels);
        outcome.changed().await;
    }
    drop(pipeline.lease(None).unwrap());
    pipeline.finish(Instant::now() + Duration::from_secs(10)).await;
    pipeline.drain().await.unwrap();
}
