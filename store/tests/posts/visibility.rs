//! Who sees a post, and who may answer it: every visibility, relation and state.

use darkroom_store::model::comments::Written;
use darkroom_store::model::likes::Kind;
use darkroom_store::model::posts::{self, Created, Post, State};
use darkroom_store::model::visibility::{PhotoVisibility, Relation, Viewer, Visibility};
use darkroom_store::model::{PostId, UserId};

use crate::scene::Scene;

cases! { crate::scene::run:
    a_post_is_seen_by_whom_it_is_for,
    who_sees_a_post_may_answer_it_and_nobody_else,
    what_is_public_may_be_shared_and_an_author_shares_anything_of_theirs,
}

/// A user's relations, and whether such a viewer sees a post.
struct Circle {
    author: UserId,
    viewers: [(Relation, Viewer); 5],
}

impl Circle {
    async fn of(scene: &Scene) -> Self {
        let author = scene.user("Author").await;
        let (follower, stranger) = (scene.user("Follower").await, scene.user("Stranger").await);
        let blocked = scene.user("Blocked").await;
        scene.follow(follower, author).await;
        scene.block(author, blocked).await;
        let viewers = [
            (Relation::Owner, Viewer::User(author)),
            (Relation::Follower, Viewer::User(follower)),
            (Relation::Stranger, Viewer::User(stranger)),
            (Relation::Blocked, Viewer::User(blocked)),
            (Relation::SignedOut, Viewer::SignedOut),
        ];
        Self { author, viewers }
    }

    async fn seen(&self, scene: &Scene, post: PostId) -> [bool; 5] {
        let mut seen = [false; 5];
        for (seen, (_, viewer)) in seen.iter_mut().zip(self.viewers) {
            *seen = scene.read(|tx| async move { posts::seen(&tx, viewer, post).await }).await.is_some();
        }
        seen
    }
}

const OWNER_ALONE: [bool; 5] = [true, false, false, false, false];
//                                             owner, follower, stranger, blocked, signed out
const BY_VISIBILITY: [(Visibility, [bool; 5]); 3] = [
    (Visibility::Private, OWNER_ALONE),
    (Visibility::Followers, [true, true, false, false, false]),
    (Visibility::Public, [true, true, true, false, true]),
];

async fn a_post_is_seen_by_whom_it_is_for(scene: &Scene) {
    let circle = Circle::of(scene).await;
    for (visibility, expected) in BY_VISIBILITY {
        let photo = scene.photo(circle.author, PhotoVisibility::Inherit).await;
        let post = scene.post(circle.author, visibility, "Soon", &[photo.0.id]).await;
        assert_eq!(post.state, State::Waiting);
        assert_eq!(circle.seen(scene, post.id).await, OWNER_ALONE, "{visibility:?}, waiting");
        scene.settle(&photo, true).await;
        assert_eq!(circle.seen(scene, post.id).await, expected, "{visibility:?}, published");
        scene.delete(post.id).await;
        assert_eq!(circle.seen(scene, post.id).await, [false; 5], "{visibility:?}, deleted");

        let photo = scene.photo(circle.author, PhotoVisibility::Inherit).await;
        let post = scene.post(circle.author, visibility, "Never", &[photo.0.id]).await;
        scene.settle(&photo, false).await;
        assert_eq!(scene.found(post.id).await.unwrap().state, State::Failed);
        assert_eq!(circle.seen(scene, post.id).await, OWNER_ALONE, "{visibility:?}, failed");
    }
}

async fn who_sees_a_post_may_answer_it_and_nobody_else(scene: &Scene) {
    let circle = Circle::of(scene).await;
    for (visibility, expected) in BY_VISIBILITY {
        let post = scene.published(circle.author, visibility).await;
        for ((relation, viewer), sees) in circle.viewers.into_iter().zip(expected) {
            let Some(user) = viewer.user() else { continue };
            let case = format!("{visibility:?}, {relation:?}");
            assert_eq!(scene.like(user, post, Kind::Love).await, sees, "{case}");
            assert_eq!(scene.unlike(user, post).await, sees, "{case}");
            let written = scene.write(user, post, None).await;
            assert_eq!(matches!(written, Written::New(_)), sees, "{case}: {written:?}");
        }
    }
}

async fn what_is_public_may_be_shared_and_an_author_shares_anything_of_theirs(scene: &Scene) {
    let circle = Circle::of(scene).await;
    for (visibility, expected) in BY_VISIBILITY {
        let post = scene.published(circle.author, visibility).await;
        for ((relation, viewer), sees) in circle.viewers.into_iter().zip(expected) {
            let Some(user) = viewer.user() else { continue };
            let shared = scene.share(user, post).await;
            let case = format!("{visibility:?}, {relation:?}: {shared:?}");
            let may = visibility == Visibility::Public || relation == Relation::Owner;
            match shared {
                Created::New(_) => assert!(may && sees, "{case}"),
                Created::NotShareable(named) => assert!(!may && sees && named == post, "{case}"),
                Created::NoPost(named) => assert!(!sees && named == post, "{case}"),
                _ => panic!("{case}"),
            }
        }
    }
    // What nobody else sees yet is not shared, either.
    let photo = scene.photo(circle.author, PhotoVisibility::Inherit).await;
    let waiting: Post = scene.post(circle.author, Visibility::Public, "Soon", &[photo.0.id]).await;
    assert_eq!(scene.share(circle.author, waiting.id).await, Created::NotShareable(waiting.id));
}
