//! Likes, comments, shares.

use darkroom_store::model::comments::{self, Deleted, REPLIES_DELETED_MAX, Written};
use darkroom_store::model::likes::{self, Kind};
use darkroom_store::model::posts::Created;
use darkroom_store::model::subspaces::REPLY_PARENTS;
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{CommentId, PostId, UserId};

use crate::audit::ids;
use crate::scene::{self, Scene};

cases! { crate::scene::run:
    a_like_is_counted_once_and_its_kind_changes_no_total,
    likes_are_listed_in_pages,
    comments_have_one_level_of_replies,
    a_comment_takes_its_replies_with_it,
    a_comment_with_many_replies_stands_in_for_itself_until_the_last_is_gone,
    a_comment_is_deleted_by_its_author_and_the_posts,
    who_is_blocked_is_not_replied_to,
    of_a_share_the_original_is_shared,
    a_share_counts_until_it_is_deleted,
}

async fn a_like_is_counted_once_and_its_kind_changes_no_total(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let post = scene.published(ann, Visibility::Public).await;
    for kind in [Kind::Like, Kind::Like, Kind::Angry, Kind::Love] {
        assert!(scene.like(bob, post, kind).await);
    }
    scene.like(ann, post, Kind::Laugh).await;
    let counts = scene.counts(post).await;
    assert_eq!((counts.likes, counts.by_kind), (2, [0, 1, 1, 0]));
    assert_eq!(counts.of_kind(Kind::Love), 1);
    let like = scene.read(|tx| async move { likes::of(&tx, post, bob).await }).await;
    assert_eq!(like.map(|like| like.kind), Some(Kind::Love));
    for _ in 0..2 {
        assert!(scene.unlike(bob, post).await);
        assert_eq!(scene.counts(post).await.likes, 1);
    }
    // A user who is being deleted leaves no like behind, also where they see nothing any more.
    scene.like(bob, post, Kind::Like).await;
    scene.block(ann, bob).await;
    assert!(!scene.unlike(bob, post).await);
    scene.done(|tx| async move { likes::withdraw(&tx, &scene::act(bob, post)).await }).await;
    assert_eq!(scene.counts(post).await.likes, 1);
    assert!(!scene.like(ann, PostId::new(), Kind::Like).await);
}

async fn likes_are_listed_in_pages(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let posts = [
        scene.published(ann, Visibility::Public).await,
        scene.published(ann, Visibility::Public).await,
        scene.published(ann, Visibility::Public).await,
    ];
    let mut users = vec![ann];
    for number in 0..4 {
        users.push(scene.user(&format!("U{number}")).await);
    }
    for user in &users {
        for post in posts {
            scene.like(*user, post, Kind::Like).await;
        }
    }
    let list = async |after: Option<UserId>| {
        let rows = scene.read(|tx| async move { likes::list(&tx, posts[0], after, 2).await }).await;
        rows.into_iter().map(|(user, _)| user).collect::<Vec<_>>()
    };
    assert_eq!(list(None).await, users[..2]);
    assert_eq!(list(Some(users[1])).await, users[2..4]);
    assert_eq!(list(Some(users[3])).await, users[4..]);
    // What is gone is in nobody's list, whether its rows are erased or not.
    scene.delete(posts[1]).await;
    let liked = async |after: Option<PostId>| {
        scene.read(|tx| async move { likes::of_user(&tx, ann, after, 2).await }).await
    };
    assert_eq!(liked(None).await, (vec![posts[0]], Some(posts[1])));
    assert_eq!(liked(Some(posts[1])).await, (vec![posts[2]], None));
}

async fn replies(scene: &Scene, post: PostId, comment: CommentId) -> Vec<CommentId> {
    ids(&scene.read(|tx| async move { comments::replies(&tx, (post, comment), None, 1000).await }).await)
}

async fn comments_have_one_level_of_replies(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let post = scene.published(ann, Visibility::Public).await;
    let first = scene.comment(bob, post, None).await.id;
    let second = scene.comment(ann, post, None).await.id;
    let mut to_first = Vec::new();
    for by in [ann, bob, ann] {
        to_first.push(scene.comment(by, post, Some(first)).await.id);
    }
    assert_eq!(scene.counts(post).await.comments, 5);
    let list = async |after: Option<CommentId>, limit: usize| {
        ids(&scene.read(|tx| async move { comments::list(&tx, post, after, limit).await }).await)
    };
    assert_eq!(list(None, 10).await, [first, second]);
    assert_eq!(list(None, 1).await, [first]);
    assert_eq!(list(Some(first), 10).await, [second]);
    assert_eq!(replies(scene, post, first).await, to_first);
    assert!(replies(scene, post, second).await.is_empty());
    let reply = to_first[0];
    assert_eq!(scene.write(bob, post, Some(reply)).await, Written::IsReply { reply, to: first });
    let nobody = CommentId::new();
    assert_eq!(scene.write(bob, post, Some(nobody)).await, Written::NoComment(nobody));
    let (of_bob, next) = scene.read(|tx| async move { comments::of_user(&tx, bob, None, 10).await }).await;
    assert_eq!((ids(&of_bob), next), (vec![first, to_first[1]], None));
    scene.delete(post).await;
    let (of_bob, _) = scene.read(|tx| async move { comments::of_user(&tx, bob, None, 10).await }).await;
    assert!(of_bob.is_empty());
    assert_eq!(scene.write(bob, post, None).await, Written::NoPost);
}

async fn a_comment_takes_its_replies_with_it(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let post = scene.published(ann, Visibility::Public).await;
    let kept = scene.comment(ann, post, None).await.id;
    let gone = scene.comment(bob, post, None).await.id;
    for _ in 0..3 {
        scene.comment(ann, post, Some(gone)).await;
    }
    scene.comment(bob, post, Some(kept)).await;
    assert_eq!(scene.delete_comment(bob, post, gone).await, Deleted::Done);
    assert_eq!(scene.counts(post).await.comments, 2);
    assert!(replies(scene, post, gone).await.is_empty());
    assert_eq!(scene.write(ann, post, Some(gone)).await, Written::NoComment(gone));
}

async fn a_comment_with_many_replies_stands_in_for_itself_until_the_last_is_gone(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let post = scene.published(ann, Visibility::Public).await;
    let parent = scene.comment(bob, post, None).await.id;
    let mut replies = Vec::new();
    for _ in 0..=REPLIES_DELETED_MAX {
        replies.push(scene.comment(ann, post, Some(parent)).await.id);
    }
    assert_eq!(scene.delete_comment(bob, post, parent).await, Deleted::Done);
    let found = || scene.read(|tx| async move { comments::get(&tx, post, parent).await });
    let there = found().await.unwrap();
    assert!(there.deleted.is_some() && there.text.is_empty());
    assert_eq!(scene.counts(post).await.comments, replies.len() as u64);
    scene.audit().await;
    assert_eq!(scene.write(ann, post, Some(parent)).await, Written::NoComment(parent));
    for reply in replies {
        assert!(found().await.is_some());
        scene.delete_comment(ann, post, reply).await;
    }
    assert_eq!(found().await, None);
    assert_eq!(scene.counts(post).await.comments, 0);
    assert!(scene.rows(REPLY_PARENTS).await.is_empty());
}

async fn a_comment_is_deleted_by_its_author_and_the_posts(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let carl = scene.user("Carl").await;
    let post = scene.published(ann, Visibility::Public).await;
    let one = scene.comment(bob, post, None).await.id;
    let two = scene.comment(bob, post, Some(one)).await.id;
    // The first attempts are on a handle that loses no answer, so that nothing counts as done before.
    let delete = async |by: UserId, comment: CommentId| {
        let deleting = &comments::Deleting { post, comment, by, now: scene::NOW, history: scene::HISTORY };
        let delete = |tx| async move { comments::delete(&tx, deleting).await };
        scene.metadata.transact("delete", delete).await.unwrap()
    };
    assert_eq!(delete(carl, two).await, Deleted::Others);
    scene.block(carl, bob).await;
    assert_eq!(delete(carl, two).await, Deleted::NoComment);
    assert_eq!(delete(ann, two).await, Deleted::Done);
    assert_eq!(delete(ann, two).await, Deleted::NoComment);
    assert_eq!(delete(bob, one).await, Deleted::Done);
    scene.block(ann, bob).await;
    assert_eq!(delete(bob, one).await, Deleted::NoPost);
}

async fn who_is_blocked_is_not_replied_to(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let carl = scene.user("Carl").await;
    let post = scene.published(ann, Visibility::Public).await;
    let comment = scene.comment(bob, post, None).await.id;
    scene.block(bob, carl).await;
    assert_eq!(scene.write(carl, post, Some(comment)).await, Written::NoComment(comment));
    assert!(matches!(scene.write(carl, post, None).await, Written::New(_)));
}

async fn of_a_share_the_original_is_shared(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let carl = scene.user("Carl").await;
    let post = scene.published(ann, Visibility::Public).await;
    let Created::New(share) = scene.share(bob, post).await else { panic!() };
    let Created::New(second) = scene.share(carl, share.id).await else { panic!() };
    assert_eq!((share.shared, second.shared), (Some(post), Some(post)));
    assert_eq!(scene.counts(post).await.shares, 2);
    assert_eq!(scene.counts(share.id).await.shares, 0);
    // An original that is gone, or not to be seen, is not shared by way of another's share.
    let dan = scene.user("Dan").await;
    scene.block(ann, dan).await;
    assert_eq!(scene.share(dan, share.id).await, Created::NoPost(post));
    scene.delete(post).await;
    assert_eq!(scene.share(carl, share.id).await, Created::NoPost(post));
}

async fn a_share_counts_until_it_is_deleted(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let post = scene.published(ann, Visibility::Public).await;
    let Created::New(first) = scene.share(bob, post).await else { panic!() };
    let Created::New(second) = scene.share(bob, post).await else { panic!() };
    assert_eq!(scene.counts(post).await.shares, 2);
    scene.delete(first.id).await;
    assert_eq!(scene.counts(post).await.shares, 1);
    scene.delete(post).await;
    assert!(scene.found(second.id).await.is_some(), "who shared it keeps their own words");
    scene.delete(second.id).await;
}
