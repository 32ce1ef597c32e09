//! A post is created with the upload of its photo.

use darkroom_store::model::photos::{self, Created, Photo, Seen};
use darkroom_store::model::posts::{self, Draft, Post, State};
use darkroom_store::model::subspaces::{PHOTOS, POSTS};
use darkroom_store::model::visibility::{PhotoVisibility, Visibility};
use darkroom_store::model::{OwnerId, PhotoId, PostId, UserId, objects};

use crate::fixtures;
use crate::scene::{EPOCH, HISTORY, NOW, Scene};

cases! { crate::scene::run:
    a_post_comes_with_its_photo_and_appears_when_that_is_ready,
    a_photo_that_is_sent_again_makes_no_second_post,
    a_photo_that_is_narrower_than_the_post_is_refused_and_nothing_is_made,
}

/// Uploads a photo of these bytes, to be shown in a public post.
async fn upload(scene: &Scene, owner: UserId, content: &[u8]) -> Created {
    let mut creation = fixtures::creation(content, EPOCH, NOW);
    creation.photo.owner = OwnerId::of(owner);
    let draft = Draft { visibility: Visibility::Public, caption: "At #once".to_owned() };
    creation.publish = Some((draft, HISTORY));
    let keys = &[creation.photo.original.object.clone()];
    scene.done(|tx| async move { objects::intend(&tx, EPOCH, keys) }).await;
    loop {
        let trial = &creation;
        match scene.done(|tx| async move { photos::create(&tx, trial).await }).await {
            Created::Stored(object) => creation.seen = Some(Seen::Present(object)),
            created => return created,
        }
    }
}

fn new(created: Created) -> Photo {
    match created {
        Created::New(photo) => photo,
        other => panic!("{other:?}"),
    }
}

async fn post_of(scene: &Scene, photo: PhotoId) -> Option<Post> {
    scene.found(PostId(photo.0)).await
}

async fn a_post_comes_with_its_photo_and_appears_when_that_is_ready(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let photo = new(upload(scene, ann, b"one").await);
    let post = post_of(scene, photo.id).await.unwrap();
    assert_eq!((post.author, post.state, &post.photos[..]), (ann, State::Waiting, &[photo.id][..]));
    assert_eq!(post.tags, ["once"]);
    scene.audit().await;
    let job =
        scene.read(|tx| async move { darkroom_store::model::jobs::of_photo(&tx, photo.id).await }).await;
    assert!(job.is_some());
    scene.delete_photo(photo.id).await;
    assert_eq!(post_of(scene, photo.id).await, None);
}

async fn a_photo_that_is_sent_again_makes_no_second_post(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let photo = new(upload(scene, ann, b"two").await);
    for _ in 0..2 {
        assert!(matches!(upload(scene, ann, b"two").await, Created::Duplicate(_)));
    }
    assert_eq!(scene.rows(POSTS).await.len(), 1);
    // One that was deleted comes back when it is asked for.
    let post = PostId(photo.id.0);
    assert!(scene.done(|tx| async move { posts::delete(&tx, post, NOW, HISTORY).await }).await);
    upload(scene, ann, b"two").await;
    assert_eq!(scene.found(post).await.map(|post| post.state), Some(State::Waiting));
}

async fn a_photo_that_is_narrower_than_the_post_is_refused_and_nothing_is_made(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let mut creation = fixtures::creation(b"three", EPOCH, NOW);
    creation.photo.owner = OwnerId::of(ann);
    creation.photo.visibility = PhotoVisibility::Followers;
    let keys = &[creation.photo.original.object.clone()];
    scene.done(|tx| async move { objects::intend(&tx, EPOCH, keys) }).await;
    let creation = &creation;
    let photo = new(scene.done(|tx| async move { photos::create(&tx, creation).await }).await);
    match upload(scene, ann, b"three").await {
        Created::NotPublished(why) => assert_eq!(why, posts::Created::Wider(photo.id)),
        other => panic!("{other:?}"),
    }
    assert_eq!((scene.rows(PHOTOS).await.len(), scene.rows(POSTS).await.len()), (1, 0));
}
