//! What a deleted post leaves behind is erased in chunks.

use darkroom_store::model::likes::Kind;
use darkroom_store::model::posts;
use darkroom_store::model::subspaces::{
    COMMENTS, COMMENTS_BY_USER, LIKES, LIKES_BY_USER, POST_COUNTS, REPLIES, REPLY_COUNTS, REPLY_PARENTS,
    SHARES,
};
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{PostId, subspaces::Subspace};

use crate::scene::Scene;

cases! { crate::scene::run:
    rows_of_a_deleted_post_go_in_chunks_and_those_of_others_stay,
}

const ALL: [Subspace; 9] = [
    LIKES,
    LIKES_BY_USER,
    COMMENTS,
    COMMENTS_BY_USER,
    REPLIES,
    REPLY_COUNTS,
    REPLY_PARENTS,
    SHARES,
    POST_COUNTS,
];

async fn rows(scene: &Scene) -> usize {
    let mut rows = 0;
    for subspace in ALL {
        rows += scene.rows(subspace).await.len();
    }
    rows
}

async fn answered(scene: &Scene) -> PostId {
    let ann = scene.user(&format!("a{}", PostId::new())).await;
    let post = scene.published(ann, Visibility::Public).await;
    for number in 0..5 {
        let user = scene.user(&format!("{number}{post}")).await;
        scene.like(user, post, Kind::ALL[number % 4]).await;
        let comment = scene.comment(user, post, None).await.id;
        scene.comment(ann, post, Some(comment)).await;
        scene.share(user, post).await;
    }
    post
}

async fn rows_of_a_deleted_post_go_in_chunks_and_those_of_others_stay(scene: &Scene) {
    let kept = answered(scene).await;
    let kept_rows = rows(scene).await;
    let gone = answered(scene).await;
    let erase = async |rows_max: usize| {
        scene.done(|tx| async move { posts::erase_rows(&tx, gone, rows_max).await }).await
    };
    let before = rows(scene).await;
    assert!(erase(1000).await, "of a post that is there nothing is erased");
    assert_eq!(rows(scene).await, before);
    scene.delete(gone).await;
    let (mut left, mut chunks) = (rows(scene).await, 0);
    while !erase(3).await {
        let now = rows(scene).await;
        assert!(now < left, "each chunk erases some");
        (left, chunks) = (now, chunks + 1);
    }
    assert!(chunks >= 5, "{chunks}");
    assert_eq!(rows(scene).await, kept_rows);
    assert!(erase(1).await, "nothing is left");
    assert_eq!(scene.counts(gone).await, posts::counts::Counts::default());
    assert_eq!(scene.counts(kept).await.likes, 5);
}
