//! A store with users, their photos and posts.

use std::sync::atomic::{AtomicU64, Ordering};

use darkroom_store::StoreError;
use darkroom_store::metadata::{CommitFault, Metadata, RetryOptions, Transaction};
use darkroom_store::model::comments::{self, Comment, Writing, Written};
use darkroom_store::model::follows;
use darkroom_store::model::jobs::{Job, Lease};
use darkroom_store::model::likes::{self, Kind};
use darkroom_store::model::photos::{self, Failure, Made, Photo, Settled, Settling};
use darkroom_store::model::posts::{self, Created, Creation, Edit, Edited, Editing, Post};
use darkroom_store::model::users::{self, User};
use darkroom_store::model::visibility::{PhotoVisibility, Visibility};
use darkroom_store::model::{
    CommentId, Epoch, LeaseId, OwnerId, PhotoId, PostId, Timestamp, UserId, objects,
};

use crate::engines::{self, Engine, Place};
use crate::fixtures;

pub(crate) const NOW: Timestamp = Timestamp(1_000_000);
pub(crate) const LATER: Timestamp = Timestamp(2_000_000);
pub(crate) const HISTORY: u64 = 0;
pub(crate) const EPOCH: Epoch = Epoch(1);

/// A store, and a handle to it that loses the answer to every other commit.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) metadata: Metadata,
    pub(crate) faulty: Metadata,
}

/// Runs a case on an empty store of `engine`, and then compares what is listed and counted with the records.
pub(crate) async fn run(engine: Engine, case: impl AsyncFnOnce(&Scene)) {
    let opened = |place: Place| async move {
        let metadata = place.open().await;
        let retry = RetryOptions { deadline: std::time::Duration::from_mins(2), ..RetryOptions::default() };
        let metadata = metadata.with_retry(retry);
        let commits = AtomicU64::new(0);
        let faulty = metadata.with_faults(move || {
            let is_lost = commits.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            if is_lost { CommitFault::AnswerLost } else { CommitFault::None }
        });
        let scene = Scene { metadata: metadata.clone(), faulty };
        case(&scene).await;
        scene.audit().await;
        metadata.close().await;
    };
    engines::run(engine, opened).await;
}

pub(crate) fn act(by: UserId, post: PostId) -> likes::Act {
    likes::Act { post, by, now: NOW, history: HISTORY }
}

impl Scene {
    /// Does something for which a lost answer makes no difference.
    pub(crate) async fn done<T: Send, Fut>(&self, f: impl Fn(Transaction) -> Fut + Send) -> T
    where
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        self.faulty.transact("test", f).await.unwrap()
    }

    pub(crate) async fn read<T: Send, Fut>(&self, f: impl Fn(Transaction) -> Fut + Send) -> T
    where
        Fut: Future<Output = Result<T, StoreError>> + Send,
    {
        self.metadata.read("test", f).await.unwrap()
    }

    pub(crate) async fn user(&self, name: &str) -> UserId {
        let user = &User {
            id: UserId::new(),
            name: name.to_owned(),
            handle: Some(name.to_lowercase()),
            email: None,
            bio: String::new(),
            avatar: None,
            created: NOW,
            updated: NOW,
        };
        self.done(|tx| async move { users::create(&tx, user).await }).await.unwrap().id
    }

    pub(crate) async fn follow(&self, by: UserId, to: UserId) {
        let act = &follows::Act { by, to, now: NOW, history: HISTORY };
        self.done(|tx| async move { follows::follow(&tx, act, 1000).await }).await;
    }

    pub(crate) async fn block(&self, by: UserId, to: UserId) {
        let act = &follows::Act { by, to, now: NOW, history: HISTORY };
        self.done(|tx| async move { follows::block(&tx, act).await }).await;
    }

    /// A photo that is being processed, and the job of that.
    pub(crate) async fn photo(&self, owner: UserId, visibility: PhotoVisibility) -> (Photo, Job) {
        let content = PhotoId::new().to_string();
        let mut creation = fixtures::creation(content.as_bytes(), EPOCH, NOW);
        creation.photo.owner = OwnerId::of(owner);
        creation.photo.visibility = visibility;
        let lease = Lease { id: LeaseId::new(), epoch: EPOCH };
        creation.job = creation.job.leased(lease, LATER);
        let keys = &[creation.photo.original.object.clone()];
        self.done(|tx| async move { objects::intend(&tx, EPOCH, keys) }).await;
        let creation = &creation;
        match self.done(|tx| async move { photos::create(&tx, creation).await }).await {
            photos::Created::New(photo) => (photo, creation.job.clone()),
            other => panic!("{other:?}"),
        }
    }

    /// It is ready or has failed, and its posts are told.
    pub(crate) async fn settle(&self, (photo, job): &(Photo, Job), is_good: bool) {
        let by =
            &Settling { photo: photo.id, job: job.id, lease: job.lease.unwrap(), now: NOW, history: HISTORY };
        let failure = &Failure { code: "corrupt-image".to_owned(), detail: "It is damaged.".to_owned() };
        let settled = self.done(|tx| async move {
            if is_good {
                photos::publish(&tx, by, &Made::default()).await
            } else {
                photos::fail(&tx, by, failure, &[]).await
            }
        });
        assert!(matches!(settled.await, Settled::Done(_)));
        let id = photo.id;
        self.done(|tx| async move { posts::photo_settled(&tx, id, LATER, HISTORY).await }).await;
    }

    pub(crate) async fn ready(&self, owner: UserId) -> PhotoId {
        self.ready_of(owner, PhotoVisibility::Inherit).await
    }

    pub(crate) async fn ready_of(&self, owner: UserId, visibility: PhotoVisibility) -> PhotoId {
        let photo = self.photo(owner, visibility).await;
        self.settle(&photo, true).await;
        photo.0.id
    }

    pub(crate) async fn delete_photo(&self, photo: PhotoId) {
        assert!(self.done(|tx| async move { photos::delete(&tx, photo, NOW, HISTORY).await }).await);
    }

    pub(crate) async fn create(&self, post: Post) -> Created {
        let creation = &Creation { post, history: HISTORY };
        self.done(|tx| async move { posts::create(&tx, creation).await }).await
    }

    pub(crate) async fn post(
        &self,
        author: UserId,
        visibility: Visibility,
        caption: &str,
        photos: &[PhotoId],
    ) -> Post {
        let post = Post::new((PostId::new(), author), caption.to_owned(), visibility, NOW);
        match self.create(Post { photos: photos.to_vec(), ..post }).await {
            Created::New(post) => post,
            other => panic!("{other:?}"),
        }
    }

    /// A published post with a photo of its own.
    pub(crate) async fn published(&self, author: UserId, visibility: Visibility) -> PostId {
        let photo = self.ready(author).await;
        self.post(author, visibility, "A #test", &[photo]).await.id
    }

    pub(crate) async fn share(&self, by: UserId, shared: PostId) -> Created {
        let post = Post::new((PostId::new(), by), "Look".to_owned(), Visibility::Public, NOW);
        self.create(Post { shared: Some(shared), ..post }).await
    }

    pub(crate) async fn found(&self, post: PostId) -> Option<Post> {
        self.read(|tx| async move { posts::get(&tx, post).await }).await
    }

    pub(crate) async fn delete(&self, post: PostId) {
        assert!(self.done(|tx| async move { posts::delete(&tx, post, NOW, HISTORY).await }).await);
    }

    pub(crate) async fn edit(&self, by: UserId, post: PostId, edit: Edit) -> Edited {
        let editing = &Editing { post, by, edit, now: LATER, history: HISTORY };
        self.done(|tx| async move { posts::edit(&tx, editing).await }).await
    }

    pub(crate) async fn like(&self, by: UserId, post: PostId, kind: Kind) -> bool {
        self.done(|tx| async move { likes::like(&tx, &act(by, post), kind).await }).await
    }

    pub(crate) async fn unlike(&self, by: UserId, post: PostId) -> bool {
        self.done(|tx| async move { likes::unlike(&tx, &act(by, post)).await }).await
    }

    pub(crate) async fn write(&self, by: UserId, post: PostId, reply_to: Option<CommentId>) -> Written {
        let (id, text) = (CommentId::new(), "Well".to_owned());
        let writing = &Writing { id, post, by, text, reply_to, now: NOW, history: HISTORY };
        self.done(|tx| async move { comments::write(&tx, writing).await }).await
    }

    pub(crate) async fn comment(&self, by: UserId, post: PostId, reply_to: Option<CommentId>) -> Comment {
        match self.write(by, post, reply_to).await {
            Written::New(comment) => comment,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn delete_comment(
        &self,
        by: UserId,
        post: PostId,
        comment: CommentId,
    ) -> comments::Deleted {
        let deleting = &comments::Deleting { post, comment, by, now: NOW, history: HISTORY };
        self.done(|tx| async move { comments::delete(&tx, deleting).await }).await
    }

    pub(crate) async fn counts(&self, post: PostId) -> posts::counts::Counts {
        self.read(|tx| async move { posts::counts::of(&tx, post).await }).await
    }
}
