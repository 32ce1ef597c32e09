//! Two pipelines in one process over one engine that is declared shared: what two nodes of a cluster are to each other.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use darkroom_actors::faults::{Action, Fault, Point};
use darkroom_actors::{Chunk, IngestError, Last, Pipeline, PipelineOptions, Preset, Refused, Upload};
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_store::life;
use darkroom_store::metadata::{EmbeddedOptions, Metadata, RangeOptions, Transaction};
use darkroom_store::model::changes::{Change, What};
use darkroom_store::model::jobs;
use darkroom_store::model::photos::{self, State};
use darkroom_store::model::uploads::{self, Ended, Kind, Wishes};
use darkroom_store::model::{OwnerId, PhotoId, Timestamp, nodes, record, subspaces};
use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};
use futures_util::{StreamExt, stream};

const PHOTOS: u64 = 36;
/// After such a silence a node is dead in this test, and ...
const SHORT: Duration = Duration::from_secs(1);
/// ... none is in that one, however busy the machine.
const LONG: Duration = Duration::from_secs(30);
/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(120);

struct House {
    metadata: Metadata,
    home: tempfile::TempDir,
}

impl House {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions { shared: true, ..EmbeddedOptions::default() };
        let metadata = Metadata::open_embedded(&home.path().join("metadata"), options).await.unwrap();
        Self { metadata, home }
    }

    /// The folder that the nodes share, opened by one of them.
    async fn objects(&self) -> ObjectStore {
        ObjectStore::open_shared_filesystem(&self.home.path().join("objects"), FilesystemOptions::default())
            .await
            .unwrap()
    }

    async fn node(&self, timeout: Duration, faults: Vec<Fault>) -> Pipeline {
        let objects = self.objects().await;
        let life = life::begin(&self.metadata, &objects).await.unwrap();
        let mut presets = Preset::default_ladder();
        presets.truncate(1);
        let options = PipelineOptions {
            presets,
            compute_threads: 1,
            lease_duration: Duration::from_secs(1),
            node_timeout: timeout,
            clock_skew_max: Duration::ZERO,
            idle_poll: Duration::from_millis(50),
            faults,
            ..PipelineOptions::default()
        };
        Pipeline::start(options, self.metadata.clone(), objects, &life).await.unwrap()
    }

    async fn count(&self, state: State) -> i64 {
        self.metadata.read("count", |tx| async move { photos::count_of(&tx, state).await }).await.unwrap()
    }

    /// How often each photo was announced ready.
    async fn announced(&self) -> HashMap<PhotoId, usize> {
        let all = &subspaces::CHANGES.all();
        let rows = |tx: Transaction| async move { tx.get_range(all, RangeOptions::default()).await };
        let mut announced = HashMap::new();
        for (key, value) in self.metadata.read("changes", rows).await.unwrap() {
            if let What::PhotoReady { photo, .. } = record::decode::<Change>(&key, &value).unwrap().what {
                *announced.entry(photo).or_default() += 1;
            }
        }
        announced
    }

    fn files(&self, kind: &str) -> usize {
        fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
            for entry in std::fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { walk(&path, found) } else { found.push(path) }
            }
        }
        let mut found = Vec::new();
        walk(&self.home.path().join("objects").join(kind), &mut found);
        found.len()
    }
}

async fn upload(node: &Pipeline, seed: u64) -> Result<PhotoId, IngestError> {
    let spec = PhotoSpec { seed, width: 320, height: 240, ..PhotoSpec::default() };
    let bytes = Bytes::from(jpeg(&spec));
    let lease = node.lease(None).map_err(|_| IngestError::Restarting)?;
    let body = stream::iter([Ok(bytes)]).boxed();
    node.ingest(Upload::new(lease, body, OwnerId::open())).await.map(|ingested| ingested.photo.id)
}

/// Waits for a condition.
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

/// Uploads to a node that takes it in the end: one that was held up for so long that others might take it for dead takes
/// nothing in until it has renewed its record.
async fn upload_in_the_end(node: &Pipeline, seed: u64) {
    until("the photo is taken in", || async { upload(node, seed).await.is_ok() }).await;
}

/// Waits until every node has renewed its record once: then it counts as alive for its own time and no longer for that
/// of a start.
async fn beating(house: &House, node_count: usize) {
    until("every heart beats", || async {
        let nodes = house.metadata.read("nodes", |tx| async move { nodes::all(&tx).await }).await.unwrap();
        let renewed = |node: &nodes::Node| node.alive_until < node.started.after(Duration::from_secs(50));
        nodes.len() == node_count && nodes.iter().all(|(_, node)| renewed(node))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_heart_stops_loses_its_photos_to_the_other_and_each_is_ready_exactly_once() {
    let house = &House::new().await;
    // Its heart beats a few times, then not for some seconds, in which its only compute thread stands still too: the
    // photos that it holds vest, and it is declared dead. Then it wakes up and goes on as if nothing had happened.
    let stopped = Fault { skip: 3, times: Some(24), ..Fault::at(Point::Heartbeat, Action::Skip) };
    let frozen = Fault { times: Some(1), millis: 4000, ..Fault::at(Point::Decode, Action::Pause) };
    let sleeper = house.node(SHORT, vec![stopped, frozen]).await;
    let other = house.node(SHORT, Vec::new()).await;
    beating(house, 2).await;
    for seed in 0..PHOTOS {
        // Where the uploads take so long that it has been silent for too long, or has noticed, it refuses them.
        if seed % 3 == 0 || upload(&sleeper, seed).await.is_err() {
            upload_in_the_end(&other, seed).await;
        }
    }

    let why =
        tokio::time::timeout(PATIENCE, sleeper.dead()).await.expect("it notices that it was declared dead");
    assert!(why.contains("declared dead"), "{why}");
    assert!(matches!(sleeper.lease(None), Err(Refused::Draining)), "it takes nothing in any more");
    until("every photo is ready", || async { house.count(State::Ready).await == PHOTOS as i64 }).await;
    assert_eq!((house.count(State::Processing).await, house.count(State::Failed).await), (0, 0));
    // Whatever it still had in hand comes to its end.
    until("the sleeper lets go", || async { sleeper.actors().budgets.iter().all(|budget| budget.used == 0) })
        .await;
    sleeper.drain().await.unwrap();

    let announced = house.announced().await;
    assert_eq!(announced.len(), PHOTOS as usize);
    assert!(announced.values().all(|times| *times == 1), "{announced:?}");

    // What it wrote in vain is swept, and nothing else.
    other.sweep().await.unwrap();
    assert_eq!((house.files("originals"), house.files("variants")), (PHOTOS as usize, PHOTOS as usize));
    let nodes = house.metadata.read("nodes", |tx| async move { nodes::all(&tx).await }).await.unwrap();
    assert_eq!(nodes.len(), 1, "the dead one is forgotten");
    other.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_that_live_share_the_work_and_leave_each_other_alone() {
    let house = &House::new().await;
    let (one, two) = (house.node(LONG, Vec::new()).await, house.node(LONG, Vec::new()).await);
    beating(house, 2).await;
    for seed in 0..PHOTOS {
        upload(if seed % 2 == 0 { &one } else { &two }, seed).await.unwrap();
        if seed % 10 == 0 {
            // A sweep must not take what the other is about to write.
            one.sweep().await.unwrap();
        }
    }
    until("every photo is ready", || async { house.count(State::Ready).await == PHOTOS as i64 }).await;
    let announced = house.announced().await;
    assert_eq!(announced.len(), PHOTOS as usize);
    assert!(announced.values().all(|times| *times == 1), "{announced:?}");
    one.drain().await.unwrap();
    let nodes = house.metadata.read("nodes", |tx| async move { nodes::all(&tx).await }).await.unwrap();
    assert_eq!(nodes.iter().filter(|(_, node)| node.dead.is_none()).count(), 1, "one ended in order");
    two.sweep().await.unwrap();
    assert_eq!((house.files("originals"), house.files("variants")), (PHOTOS as usize, PHOTOS as usize));
    two.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_a_node_is_writing_is_removed_when_that_node_is_dead_and_not_before() {
    let house = &House::new().await;
    let objects = house.objects().await;
    let life = life::begin(&house.metadata, &objects).await.unwrap();
    let objects = objects.of_epoch(life.epoch);
    let write = async || {
        let mut writer = objects.begin_put(&ObjectKey::new(ObjectKind::Original)).await.unwrap();
        writer.write(Bytes::from(vec![1; 300_000])).await.unwrap();
        writer
    };
    let (finished, abandoned) = (write().await, write().await);
    let other = house.node(LONG, Vec::new()).await;
    assert_eq!((other.sweep().await.unwrap().unfinished_removed, house.files("tmp")), (0, 2));
    finished.finish().await.unwrap();
    // The process ends without any cleaning up, and is known to be dead.
    std::mem::forget(abandoned);
    life::end(&house.metadata, life.epoch).await.unwrap();
    other.sweep().await.unwrap();
    until("it is removed", || async { house.files("tmp") == 0 }).await;
    other.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_job_that_cannot_be_read_keeps_no_other_from_being_held_nor_the_process_from_ending() {
    let house = &House::new().await;
    let frozen = Fault { times: Some(1), millis: 8000, ..Fault::at(Point::Decode, Action::Pause) };
    let node = house.node(LONG, vec![frozen]).await;
    for seed in 0..5 {
        upload(&node, seed).await.unwrap();
    }
    let held = || async {
        let rows = |tx: Transaction| async move {
            tx.get_range(&subspaces::JOBS.all(), RangeOptions::default()).await
        };
        let rows = house.metadata.read("jobs", rows).await.unwrap();
        let decoded = rows.into_iter().map(|(key, value)| {
            let job = record::decode::<jobs::Job>(&key, &value).ok();
            (key, job)
        });
        decoded.collect::<Vec<_>>()
    };
    let before = held().await;
    let damaged = &before[0].0;
    let damage = |tx: Transaction| async move { tx.set(damaged, b"no record") };
    house.metadata.transact("damage", damage).await.unwrap();
    let lease = Duration::from_secs(1);
    let first = before.iter().filter_map(|(_, job)| job.as_ref()).map(|job| job.vesting).max().unwrap();
    until("the others are extended, more than once", || async {
        let now = held().await;
        assert_eq!(now.len(), before.len(), "they are still held");
        let others: Vec<_> = now.iter().filter_map(|(_, job)| job.as_ref()).collect();
        others.len() == before.len() - 1 && others.iter().all(|job| job.vesting > first.after(lease))
    })
    .await;
    node.drain().await.unwrap();
    let given_back = held().await.into_iter().filter_map(|(_, job)| job).filter(|job| job.lease.is_none());
    assert_eq!(given_back.count(), before.len() - 1);
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_cannot_give_a_sign_of_life_takes_nothing_in_until_it_can() {
    let house = &House::new().await;
    // It cannot renew its record for a while, and knows nothing of others.
    let cut_off = Fault { skip: 3, times: Some(18), ..Fault::at(Point::Heartbeat, Action::Skip) };
    let node = &house.node(SHORT, vec![cut_off]).await;
    upload(node, 0).await.unwrap();
    until("it refuses", || async { matches!(node.lease(None), Err(Refused::StoreAway)) }).await;
    assert!(node.in_touch().unwrap_err().to_string().contains("has not renewed its record"));
    upload_in_the_end(node, 1).await;
    until("both are ready", || async { house.count(State::Ready).await == 2 }).await;
    node.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clocks_that_disagree_kill_no_node_and_save_none() {
    let house = &House::new().await;
    let objects = house.objects().await;
    let (behind, ahead) = (
        life::begin(&house.metadata, &objects).await.unwrap().epoch,
        life::begin(&house.metadata, &objects).await.unwrap().epoch,
    );
    let hour = Duration::from_secs(3600);
    let renew = async |epoch, until: Timestamp| {
        let renew = |tx| async move { nodes::renew(&tx, epoch, until).await };
        house.metadata.transact("renew", renew).await.unwrap()
    };
    // It is an hour ahead, and is never heard of again.
    assert!(renew(ahead, Timestamp::now().after(hour)).await);
    let judge = house.node(3 * SHORT, Vec::new()).await;
    until("the silent one is declared dead", || async {
        // It is an hour behind, and lives.
        let now = Timestamp(Timestamp::now().0 - hour.as_millis() as u64);
        assert!(renew(behind, now).await, "the other was declared dead");
        house.metadata.read("dead", |tx| async move { nodes::is_dead(&tx, ahead).await }).await.unwrap()
    })
    .await;
    assert!(renew(behind, Timestamp(1)).await);
    judge.drain().await.unwrap();
    house.metadata.close().await;
}

/// An upload whose bytes are all there, brought by this node.
async fn whole_upload(node: &Pipeline) -> uploads::Upload {
    let spec = PhotoSpec { width: 320, height: 240, ..PhotoSpec::default() };
    let bytes = Bytes::from(jpeg(&spec));
    let length = bytes.len() as u64;
    let begun = node.begin_upload(OwnerId::open(), Kind::Plain, Some(length), Wishes::default(), None).await;
    let id = begun.unwrap().unwrap().id;
    let held = node.hold_upload(id, &OwnerId::open(), 0).await.unwrap();
    let body = stream::iter([Ok(bytes)]).boxed();
    let chunk = Chunk { body, bytes: Some(length), check: None, length: None, last: Last::AtLength };
    node.append_upload(held, chunk, node.lease(None).unwrap()).await.0.unwrap()
}

/// One node that stands still for a while when it has stored the whole of an upload, and another.
async fn slow_and_quick(house: &House) -> (Pipeline, Pipeline) {
    let slow = Fault { times: Some(1), millis: 5000, ..Fault::at(Point::OriginalStored, Action::Pause) };
    let nodes = (house.node(LONG, vec![slow]).await, house.node(LONG, Vec::new()).await);
    beating(house, 2).await;
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_two_nodes_finish_at_once_is_one_photo_to_both() {
    let house = &House::new().await;
    let (slow, quick) = slow_and_quick(house).await;
    let whole = &whole_upload(&slow).await;
    let first = slow.finish_upload(whole, slow.lease(None).unwrap());
    let second = async {
        until("the other is about to make it", || async { house.files("originals") == 1 }).await;
        quick.finish_upload(whole, quick.lease(None).unwrap()).await
    };
    let (first, second) = tokio::join!(first, second);
    let (first, second) = (first.unwrap(), second.unwrap());
    assert_eq!((first.photo.id, first.duplicate), (second.photo.id, second.duplicate));
    assert!(!first.duplicate, "neither is told that the other was there before it");
    until("it is ready", || async { house.count(State::Ready).await == 1 }).await;
    assert_eq!(house.announced().await, HashMap::from([(first.photo.id, 1)]));
    slow.sweep().await.unwrap();
    quick.sweep().await.unwrap();
    until("what was stored in vain is gone", || async { house.files("originals") == 1 }).await;
    slow.drain().await.unwrap();
    quick.drain().await.unwrap();
    house.metadata.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_ended_while_the_other_node_finishes_it_is_no_photo() {
    let house = &House::new().await;
    let (slow, quick) = slow_and_quick(house).await;
    let whole = &whole_upload(&slow).await;
    let finished = slow.finish_upload(whole, slow.lease(None).unwrap());
    let ended = async {
        until("the other is about to make it", || async { house.files("originals") == 1 }).await;
        quick.end_upload(whole.id, &OwnerId::open(), (uploads::State::Terminated, None)).await
    };
    let (finished, ended) = tokio::join!(finished, ended);
    assert!(
        matches!(ended.unwrap(), Ended::Found(found) if !found.state.is_end()),
        "it was there to be ended"
    );
    assert!(matches!(finished, Err(IngestError::UploadGone)), "{finished:?}");
    slow.sweep().await.unwrap();
    quick.sweep().await.unwrap();
    until("no byte of it is left", || async { house.files("originals") + house.files("uploads") == 0 }).await;
    for state in [State::Processing, State::Ready, State::Failed] {
        assert_eq!(house.count(state).await, 0);
    }
    slow.drain().await.unwrap();
    quick.drain().await.unwrap();
    house.metadata.close().await;
}
