//! Many do everything at once, from a seed, while commits get lost: at the end every count is that of its rows.

use std::sync::{Arc, Mutex};

use darkroom_store::StoreError;
use darkroom_store::metadata::{CommitFault, Metadata};
use darkroom_store::model::comments::{self, Deleting, Writing, Written};
use darkroom_store::model::follows;
use darkroom_store::model::likes::{self, Kind};
use darkroom_store::model::posts::{self, Creation, Edit, Editing, Post};
use darkroom_store::model::subspaces::{
    COMMENTS_BY_USER, LIKES_BY_USER, POST_COUNTS, POSTS, POSTS_BY_AUTHOR, POSTS_BY_TAG, REPLY_COUNTS,
};
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{CommentId, PostId, UserId, record};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::scene::{self, HISTORY, LATER, NOW, Scene};

cases! { crate::scene::run:
    counts_are_exact_whatever_happens_at_once,
}

const SEED: u64 = 6;
const TASKS: u64 = 64;
const STEPS: usize = 25;
const POSTS_AT_FIRST: usize = 6;

/// What all tasks do things to.
#[derive(Default)]
struct Ground {
    users: Vec<UserId>,
    posts: Mutex<Vec<(PostId, UserId)>>,
    comments: Mutex<Vec<(PostId, CommentId)>>,
}

impl Ground {
    fn any_post(&self, random: &mut StdRng) -> (PostId, UserId) {
        let posts = self.posts.lock().unwrap();
        posts[random.random_range(0..posts.len())]
    }

    fn any_comment(&self, random: &mut StdRng) -> Option<(PostId, CommentId)> {
        let comments = self.comments.lock().unwrap();
        (!comments.is_empty()).then(|| comments[random.random_range(0..comments.len())])
    }
}

/// A handle whose commits go wrong in every way, every other one, as a seed has it.
fn faulty(metadata: &Metadata, seed: u64) -> Metadata {
    let random = Mutex::new(StdRng::seed_from_u64(seed));
    metadata.with_faults(move || match random.lock().unwrap().random_range(0..6) {
        0 => CommitFault::AnswerLost,
        1 => CommitFault::CommitLost,
        2 => CommitFault::Conflict,
        _ => CommitFault::None,
    })
}

async fn counts_are_exact_whatever_happens_at_once(scene: &Scene) {
    let mut ground = Ground::default();
    for number in 0..TASKS {
        ground.users.push(scene.user(&format!("U{number}")).await);
    }
    for number in 0..POSTS_AT_FIRST {
        let author = ground.users[number];
        let post = scene.published(author, Visibility::Public).await;
        ground.posts.lock().unwrap().push((post, author));
    }
    let ground = Arc::new(ground);
    let tasks = (0..TASKS).map(|number| {
        let (ground, metadata) = (Arc::clone(&ground), faulty(&scene.metadata, SEED + number));
        tokio::spawn(async move {
            let mut random = StdRng::seed_from_u64(SEED * 1000 + number);
            let by = ground.users[usize::try_from(number).unwrap()];
            for _ in 0..STEPS {
                step(&ground, &metadata, &mut random, by).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    clear_rows_of_deleted(scene, &ground).await;
    scene.audit().await;
    erase_everything(scene).await;
}

/// One user does one thing.
async fn step(
    ground: &Ground,
    metadata: &Metadata,
    random: &mut StdRng,
    by: UserId,
) -> Result<(), StoreError> {
    let (post, author) = ground.any_post(random);
    let act = &scene::act(by, post);
    let kind = Kind::ALL[random.random_range(0..4)];
    let other = ground.users[random.random_range(0..ground.users.len())];
    let to_other = &follows::Act { by, to: other, now: NOW, history: HISTORY };
    let me_and_other = by != other;
    match random.random_range(0..100) {
        0..30 => {
            metadata.transact("like", |tx| async move { likes::like(&tx, act, kind).await }).await?;
        }
        30..45 => {
            metadata.transact("unlike", |tx| async move { likes::unlike(&tx, act).await }).await?;
        }
        45..60 => comment(ground, metadata, (by, post), None).await?,
        60..70 => {
            let Some((post, comment_id)) = ground.any_comment(random) else { return Ok(()) };
            comment(ground, metadata, (by, post), Some(comment_id)).await?;
        }
        70..78 => {
            let Some((post, comment)) = ground.any_comment(random) else { return Ok(()) };
            let deleting = &Deleting { post, comment, by, now: NOW, history: HISTORY };
            let delete = |tx| async move { comments::delete(&tx, deleting).await };
            metadata.transact("delete comment", delete).await?;
        }
        78..84 if me_and_other => {
            let follow = |tx| async move { follows::follow(&tx, to_other, 1000).await };
            metadata.transact("follow", follow).await?;
        }
        84..88 if me_and_other => {
            let unfollow = |tx| async move { follows::unfollow(&tx, to_other).await };
            metadata.transact("unfollow", unfollow).await?;
        }
        88..89 if me_and_other => {
            metadata.transact("block", |tx| async move { follows::block(&tx, to_other).await }).await?;
        }
        89..94 => share(ground, metadata, (by, post)).await?,
        94..97 => {
            let visibility = Visibility::ALL.get(random.random_range(0..6)).copied();
            let caption =
                Some(format!("#t{} and #t{}", random.random_range(0..9), random.random_range(0..9)));
            let edit = Edit { caption, visibility, photos: None };
            let editing = &Editing { post, by: author, edit, now: LATER, history: HISTORY };
            metadata.transact("edit", |tx| async move { posts::edit(&tx, editing).await }).await?;
        }
        97..99 => {
            let delete = |tx| async move { posts::delete_by(&tx, (post, by), NOW, HISTORY).await };
            metadata.transact("delete", delete).await?;
        }
        _ => {}
    }
    Ok(())
}

async fn comment(
    ground: &Ground,
    metadata: &Metadata,
    (by, post): (UserId, PostId),
    reply_to: Option<CommentId>,
) -> Result<(), StoreError> {
    let (id, text) = (CommentId::new(), "Well".to_owned());
    let writing = &Writing { id, post, by, text, reply_to, now: NOW, history: HISTORY };
    let written =
        metadata.transact("comment", |tx| async move { comments::write(&tx, writing).await }).await?;
    if matches!(written, Written::New(_)) {
        ground.comments.lock().unwrap().push((post, id));
    }
    Ok(())
}

async fn share(
    ground: &Ground,
    metadata: &Metadata,
    (by, shared): (UserId, PostId),
) -> Result<(), StoreError> {
    let post = Post::new((PostId::new(), by), "Look #shared".to_owned(), Visibility::Public, NOW);
    let creation = &Creation { post: Post { shared: Some(shared), ..post }, history: HISTORY };
    let created = metadata.transact("share", |tx| async move { posts::create(&tx, creation).await }).await?;
    if let posts::Created::New(share) = created {
        ground.posts.lock().unwrap().push((share.id, by));
    }
    Ok(())
}

/// What the feeds do for each post that is deleted.
async fn clear_rows_of_deleted(scene: &Scene, ground: &Ground) {
    let posts = ground.posts.lock().unwrap().clone();
    let mut deleted = 0;
    for (post, _) in posts {
        if scene.found(post).await.is_none() {
            deleted += 1;
            erase(scene, post).await;
        }
    }
    println!("{deleted} posts were deleted, {} comments written", ground.comments.lock().unwrap().len());
}

async fn erase(scene: &Scene, post: PostId) {
    let metadata = faulty(&scene.metadata, SEED);
    let erase = |tx| async move { posts::erase_rows(&tx, post, 7).await };
    while !metadata.transact("erase", erase).await.unwrap() {}
}

/// When every post is gone nothing is left of what was made of any.
async fn erase_everything(scene: &Scene) {
    for (key, bytes) in scene.rows(POSTS).await {
        let post: Post = record::decode(&key, &bytes).unwrap();
        scene.delete(post.id).await;
        erase(scene, post.id).await;
    }
    for subspace in
        [POSTS_BY_AUTHOR, POSTS_BY_TAG, LIKES_BY_USER, COMMENTS_BY_USER, POST_COUNTS, REPLY_COUNTS]
    {
        assert!(scene.rows(subspace).await.is_empty(), "{subspace:?}");
    }
}
