//! A store with people in it, and a worker that carries out what follows from what they do, as far as it is told to.

use std::time::Duration;

use darkroom_store::metadata::Metadata;
use darkroom_store::model::changes::{self, Change, SHARDS, What};
use darkroom_store::model::effects::{self, Indexing};
use darkroom_store::model::fanout::{self, FeedLimits, TaskKey};
use darkroom_store::model::follows::{self, Act};
use darkroom_store::model::posts::{self, Created, Creation, Edit, Edited, Editing, Post, State};
use darkroom_store::model::shards::{self, Claim, Held, INDEXER, Lost};
use darkroom_store::model::timelines::{self, Cursor, Page, Wanted};
use darkroom_store::model::users::{self, User};
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{Epoch, LeaseId, Position, PostId, Timestamp, UserId, nodes};
use uuid::Uuid;

pub(crate) const HISTORY: u64 = 0;
pub(crate) const NOW: Timestamp = Timestamp(1_763_000_000_000);

pub(crate) fn limits() -> FeedLimits {
    FeedLimits {
        merge_followers_min: 1_000,
        timeline_entries_max: 10_000,
        chunk_followers: 100,
        backfill_posts_max: 10_000,
        trending_half_life: Duration::from_hours(12),
    }
}

pub(crate) struct World {
    /// What people act on: it may lose answers.
    pub(crate) metadata: Metadata,
    pub(crate) limits: FeedLimits,
    pub(crate) held: Vec<Held>,
}

impl World {
    /// With a worker that holds every shard.
    pub(crate) async fn new(metadata: Metadata, limits: FeedLimits) -> Self {
        let mut world = Self { metadata, limits, held: Vec::new() };
        world.held = world.take_over().await;
        assert_eq!(world.held.len(), usize::from(SHARDS));
        world
    }

    /// A new node takes every shard, once those before it are dead.
    pub(crate) async fn take_over(&self) -> Vec<Held> {
        let epoch = self.begins().await;
        let declare = |tx| async move { nodes::declare_earlier_dead(&tx, epoch, NOW).await };
        self.metadata.transact("declare dead", declare).await.unwrap();
        self.balance(epoch, &[]).await
    }

    pub(crate) async fn begins(&self) -> Epoch {
        let process = Uuid::new_v4();
        let begin = |tx| async move { nodes::begin_epoch(&tx, process, NOW).await };
        self.metadata.transact("begin epoch", begin).await.unwrap()
    }

    pub(crate) async fn balance(&self, epoch: Epoch, held: &[Held]) -> Vec<Held> {
        let claim = &Claim { epoch, held, lease: LeaseId::new(), now: NOW };
        let balance = |tx| async move { shards::balance(&tx, claim).await };
        self.metadata.transact("balance", balance).await.unwrap()
    }

    pub(crate) async fn user(&self, name: &str) -> UserId {
        let user = &User {
            id: UserId::new(),
            name: name.to_owned(),
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

    pub(crate) async fn publish(&self, author: UserId, visibility: Visibility, caption: &str) -> PostId {
        let tags = caption.split(' ').filter_map(|word| word.strip_prefix('#')).map(str::to_owned).collect();
        let post = Post {
            id: PostId::new(),
            author,
            state: State::Published,
            visibility,
            photos: Vec::new(),
            shared: None,
            caption: caption.to_owned(),
            tags,
            mentions: Vec::new(),
            was_shown: false,
            created: NOW,
            published: None,
            edited: None,
        };
        let creation = &Creation { post, history: HISTORY };
        let create = |tx| async move { posts::create(&tx, creation).await };
        match self.metadata.transact("create post", create).await.unwrap() {
            Created::New(post) => post.id,
            refused => panic!("{refused:?}"),
        }
    }

    pub(crate) async fn post(&self, id: PostId) -> Option<(Post, Position)> {
        let read = |tx| async move { Ok(posts::get(&tx, id).await?.zip(posts::position(&tx, id).await?)) };
        self.metadata.read("read post", read).await.unwrap()
    }

    /// Makes a post as visible as that: at a new position, if nobody but its author was ever to see it.
    pub(crate) async fn edit(&self, id: PostId, visibility: Visibility) {
        let read = |tx| async move { posts::get(&tx, id).await };
        let Some(post) = self.metadata.read("read post", read).await.unwrap() else { return };
        let edit = Edit { visibility: Some(visibility), ..Edit::default() };
        let editing = &Editing { post: id, by: post.author, edit, now: NOW, history: HISTORY };
        let edit = |tx| async move { posts::edit(&tx, editing).await };
        let edited = self.metadata.transact("edit post", edit).await.unwrap();
        assert!(matches!(edited, Edited::Done(_)), "{edited:?}");
    }

    pub(crate) async fn delete(&self, id: PostId) {
        let delete = |tx| async move { posts::delete(&tx, id, NOW, HISTORY).await };
        assert!(self.metadata.transact("delete post", delete).await.unwrap());
    }

    pub(crate) async fn follow(&self, by: UserId, to: UserId) {
        let act = Act { by, to, now: NOW, history: HISTORY };
        let follow = |tx| async move { follows::follow(&tx, &act, 10_000).await };
        self.metadata.transact("follow", follow).await.unwrap();
    }

    pub(crate) async fn unfollow(&self, by: UserId, to: UserId) {
        let act = Act { by, to, now: NOW, history: HISTORY };
        let unfollow = |tx| async move { follows::unfollow(&tx, &act).await };
        self.metadata.transact("unfollow", unfollow).await.unwrap();
    }

    pub(crate) async fn block(&self, by: UserId, to: UserId) {
        let act = Act { by, to, now: NOW, history: HISTORY };
        self.metadata.transact("block", |tx| async move { follows::block(&tx, &act).await }).await.unwrap();
    }

    pub(crate) async fn unblock(&self, by: UserId, to: UserId) {
        let act = Act { by, to, now: NOW, history: HISTORY };
        let unblock = |tx| async move { follows::unblock(&tx, &act).await };
        self.metadata.transact("unblock", unblock).await.unwrap();
    }

    /// Appends an entry whose rows are somebody else's to write.
    pub(crate) async fn append(&self, at: Timestamp, what: What) {
        let change = &Change { at, what };
        let append = |tx| async move { changes::append(&tx, HISTORY, change) };
        self.metadata.transact("append", append).await.unwrap();
    }

    /// Applies up to `most` entries; how many there were.
    pub(crate) async fn index(&self, held: Held, most: usize) -> Result<usize, Lost> {
        let read = |tx| async move {
            let cursor = shards::cursor(&tx, held.shard, INDEXER).await?;
            changes::after(&tx, held.shard, cursor, most).await
        };
        let entries = &self.metadata.read("read entries", read).await.unwrap()[..];
        if entries.is_empty() {
            return Ok(0);
        }
        let indexing = &Indexing { held, limits: &self.limits, now: NOW, history: HISTORY };
        let apply = |tx| async move { effects::apply(&tx, indexing, entries).await };
        self.metadata.transact("apply", apply).await.unwrap()
    }

    pub(crate) async fn tasks(&self, shard: u8) -> Vec<TaskKey> {
        let tasks = |tx| async move { fanout::tasks(&tx, shard, None, 1000).await };
        self.metadata.read("tasks", tasks).await.unwrap()
    }

    /// Does a piece of these tasks; how many pieces.
    pub(crate) async fn work(&self, held: Held, keys: &[TaskKey]) -> Result<usize, Lost> {
        let limits = &self.limits;
        let work = |tx| async move { fanout::work(&tx, held, keys, limits).await };
        Ok(self.metadata.transact("work", work).await.unwrap()?.chunks)
    }

    /// Carries out everything, until nothing is left to do.
    pub(crate) async fn settle(&self) {
        let mut busy = true;
        while busy {
            busy = false;
            for held in &self.held {
                while self.index(*held, 50).await.unwrap() > 0 {
                    busy = true;
                }
                loop {
                    let tasks = self.tasks(held.shard).await;
                    if tasks.is_empty() {
                        break;
                    }
                    busy = true;
                    self.work(*held, &tasks).await.unwrap();
                }
            }
        }
    }

    pub(crate) async fn page(&self, user: UserId, after: Option<Cursor>, limit: usize) -> Page {
        let wanted = &Wanted { after, limit, entries_max: self.limits.timeline_entries_max };
        let page = |tx| async move { timelines::page(&tx, user, wanted).await };
        self.metadata.read("page", page).await.unwrap()
    }

    /// The whole timeline, at one moment.
    pub(crate) async fn timeline(&self, user: UserId) -> Vec<(Position, PostId)> {
        let page = self.page(user, None, self.limits.timeline_entries_max).await;
        assert_eq!(page.next, None);
        listed(&page)
    }
}

pub(crate) fn listed(page: &Page) -> Vec<(Position, PostId)> {
    page.entries.iter().map(|(entry, _)| (entry.position, entry.post)).collect()
}
