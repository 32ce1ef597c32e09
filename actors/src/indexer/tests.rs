//! The Indexer within a pipeline: what it carries out by itself, and goes on with when it was killed.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use darkroom_media::synth::{PhotoSpec, jpeg};
use darkroom_store::life;
use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use darkroom_store::model::changes::{self, SHARDS};
use darkroom_store::model::follows::{self, Act};
use darkroom_store::model::posts::{self, Creation, Post, State};
use darkroom_store::model::subspaces::CHANGES;
use darkroom_store::model::timelines::{self, Wanted};
use darkroom_store::model::users::{self, User};
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{OwnerId, PhotoId, PostId, UserId, effects, position};
use darkroom_store::objects::ObjectStore;
use darkroom_store::objects::filesystem::FilesystemOptions;

use futures_util::{StreamExt, stream};

use super::*;
use crate::faults::{Action, Fault, Point};
use crate::{Pipeline, PipelineOptions, Upload};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);
const NOW: Timestamp = Timestamp(1_763_000_000_000);

struct Home {
    metadata: Metadata,
    folder: tempfile::TempDir,
}

impl Home {
    async fn new(shared: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = EmbeddedOptions { shared, ..EmbeddedOptions::default() };
        let metadata = Metadata::open_embedded(&folder.path().join("metadata"), options).await.unwrap();
        Self { metadata, folder }
    }

    async fn pipeline(&self, faults: Vec<Fault>) -> Pipeline {
        let folder = self.folder.path().join("objects");
        let options = FilesystemOptions::default();
        let objects = if self.metadata.is_shared() {
            ObjectStore::open_shared_filesystem(&folder, options).await.unwrap()
        } else {
            ObjectStore::open_filesystem(&folder, options).await.unwrap()
        };
        let life = life::begin(&self.metadata, &objects).await.unwrap();
        let feeds = FeedOptions { merge_followers_min: 4, chunk_followers: 2, ..FeedOptions::default() };
        let options = PipelineOptions {
            compute_threads: 1,
            idle_poll: Duration::from_millis(50),
            feeds,
            faults,
            ..PipelineOptions::default()
        };
        Pipeline::start(options, self.metadata.clone(), objects, &life).await.unwrap()
    }

    async fn user(&self) -> UserId {
        let user = &User {
            id: UserId::new(),
            name: "Ann".to_owned(),
            handle: None,
            email: None,
            bio: String::new(),
            avatar: None,
            created: NOW,
            updated: NOW,
        };
        let create = |tx| async move { users::create(&tx, user).await };
        self.metadata.transact("create user", create).await.unwrap().unwrap().id
    }

    async fn follow(&self, by: UserId, to: UserId) {
        let act = Act { by, to, now: NOW, history: 0 };
        let follow = |tx| async move { follows::follow(&tx, &act, 100).await };
        self.metadata.transact("follow", follow).await.unwrap();
    }

    async fn publish(&self, author: UserId) -> PostId {
        self.publish_with(author, Vec::new()).await
    }

    async fn publish_with(&self, author: UserId, photos: Vec<PhotoId>) -> PostId {
        let post = Post {
            id: PostId::new(),
            author,
            state: State::Published,
            visibility: Visibility::Followers,
            photos,
            shared: None,
            caption: String::new(),
            tags: Vec::new(),
            mentions: Vec::new(),
            was_shown: false,
            created: NOW,
            published: None,
            edited: None,
        };
        let creation = &Creation { post, history: 0 };
        let create = |tx| async move { posts::create(&tx, creation).await };
        self.metadata.transact("create post", create).await.unwrap();
        creation.post.id
    }

    async fn timeline(&self, user: UserId) -> Vec<PostId> {
        let wanted = &Wanted { after: None, limit: 100, entries_max: 100 };
        let page = |tx| async move { timelines::page(&tx, user, wanted).await };
        let page = self.metadata.read("page", page).await.unwrap();
        page.entries.iter().map(|(entry, _)| entry.post).collect()
    }

    /// Waits until each of these has these posts, newest first.
    async fn until_shown(&self, users: &[UserId], posts: &[PostId]) {
        until("the posts are in every timeline", async || {
            for user in users {
                if self.timeline(*user).await != posts {
                    return false;
                }
            }
            true
        })
        .await;
    }
}

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(10)).await; // Polling for the condition.
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{what}");
}

fn view(pipeline: &Pipeline) -> crate::pipeline::ActorView {
    pipeline.actors().actors.into_iter().find(|actor| actor.name == "indexer").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_somebody_publishes_comes_to_those_who_follow_also_when_the_indexer_dies_again_and_again() {
    let home = Home::new(false).await;
    // Every seventh thing that it does kills it, three times.
    let dies = |skip| Fault { skip, times: Some(1), ..Fault::at(Point::IndexerChunk, Action::Panic) };
    let pipeline = home.pipeline(vec![dies(6), dies(13), dies(20)]).await;
    let ann = home.user().await;
    let (mut followers, mut posts) = (Vec::new(), vec![home.publish(ann).await]);
    for _ in 0..7 {
        let follower = home.user().await;
        home.follow(follower, ann).await;
        followers.push(follower);
        posts.insert(0, home.publish(ann).await);
    }
    home.until_shown(&followers, &posts).await;
    // Two that strike at once, in different shards, end one life.
    until("it has died", async || (1..=3).contains(&view(&pipeline).restarts)).await;
    posts.insert(0, home.publish(ann).await);
    home.until_shown(&followers, &posts).await;
    assert_eq!(view(&pipeline).failed, 0, "nothing was passed by");
    pipeline.drain().await.unwrap();
    let leases = |tx| async move { shards::leases(&tx).await };
    assert!(home.metadata.read("leases", leases).await.unwrap().is_empty(), "it lets go of what it held");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_to_do_is_done_after_a_restart() {
    let home = Home::new(false).await;
    let (ann, bob) = (home.user().await, home.user().await);
    home.follow(bob, ann).await;
    let post = home.publish(ann).await;
    let pipeline = home.pipeline(Vec::new()).await;
    home.until_shown(&[ann, bob], &[post]).await;
    pipeline.drain().await.unwrap();
    let later = home.publish(ann).await;
    let pipeline = home.pipeline(Vec::new()).await;
    home.until_shown(&[ann, bob], &[later, post]).await;
    pipeline.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_share_the_shards_and_one_goes_on_with_those_of_another() {
    let home = Home::new(true).await;
    let one = home.pipeline(Vec::new()).await;
    until("alone it carries all", async || view(&one).in_flight == usize::from(SHARDS)).await;
    let two = home.pipeline(Vec::new()).await;
    let half = usize::from(SHARDS) / 2;
    until("they share", async || view(&one).in_flight == half && view(&two).in_flight == half).await;
    let (ann, bob) = (home.user().await, home.user().await);
    home.follow(bob, ann).await;
    let post = home.publish(ann).await;
    home.until_shown(&[ann, bob], &[post]).await;
    one.drain().await.unwrap();
    let mut posts = vec![post];
    for _ in 0..8 {
        posts.insert(0, home.publish(ann).await);
    }
    home.until_shown(&[ann, bob], &posts).await;
    two.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_that_nobody_can_read_holds_up_none_behind_it() {
    let home = Home::new(false).await;
    let (ann, bob) = (home.user().await, home.user().await);
    let shard = changes::shard_of(ann.0);
    let append = |tx| async move {
        position::set_at_commit(&tx, (CHANGES, &(u64::from(shard),)), (0, 0), b"\x09 of a later time")
    };
    let post = home.publish(ann).await;
    home.metadata.transact("append", append).await.unwrap();
    home.follow(bob, ann).await;
    let pipeline = home.pipeline(Vec::new()).await;
    home.until_shown(&[ann, bob], &[post]).await;
    // The post is fanned out by now: only what lies behind that entry brings it to who follows later.
    let eve = home.user().await;
    home.follow(eve, ann).await;
    home.until_shown(&[eve], &[post]).await;
    let passed = |tx| async move { effects::passed_by(&tx).await };
    assert_eq!(home.metadata.read("passed by", passed).await.unwrap(), 1);
    assert_eq!(view(&pipeline).failed, 1);
    pipeline.drain().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_post_comes_to_followers_once_its_photo_is_ready() {
    let home = Home::new(false).await;
    let pipeline = home.pipeline(Vec::new()).await;
    let (ann, bob) = (home.user().await, home.user().await);
    home.follow(bob, ann).await;
    let bytes = Bytes::from(jpeg(&PhotoSpec { width: 320, height: 240, ..PhotoSpec::default() }));
    let (lease, body) = (pipeline.lease(None).unwrap(), stream::iter([Ok(bytes)]).boxed());
    let ingested = pipeline.ingest(Upload::new(lease, body, OwnerId::of(ann))).await.unwrap();
    let post = home.publish_with(ann, vec![ingested.photo.id]).await;
    home.until_shown(&[ann, bob], &[post]).await;
    let published = home.metadata.read("post", |tx| async move { posts::get(&tx, post).await });
    assert_eq!(published.await.unwrap().unwrap().state, State::Published);
    pipeline.drain().await.unwrap();
}
