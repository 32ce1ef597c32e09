//! A post is created and changed.

use darkroom_store::model::changes::{self, What};
use darkroom_store::model::posts::{self, Created, Deleted, Edit, Edited, POSTS_PER_PHOTO_MAX, Post, State};
use darkroom_store::model::visibility::{PhotoVisibility, Visibility};
use darkroom_store::model::{Position, PostId, UserId};

use crate::scene::{HISTORY, NOW, Scene};

cases! { crate::scene::run:
    a_caption_brings_its_tags_and_mentions,
    what_was_never_shown_gets_a_new_place_and_what_was_keeps_its_own,
    photos_change_their_order_and_leave_but_one_stays,
    no_post_becomes_wider_than_its_photos,
    only_its_author_changes_a_post,
    a_photo_is_in_so_many_posts_and_no_more,
}

fn visibility(visibility: Visibility) -> Edit {
    Edit { visibility: Some(visibility), ..Edit::default() }
}

async fn position(scene: &Scene, post: PostId) -> Position {
    scene.read(|tx| async move { posts::position(&tx, post).await }).await.unwrap()
}

/// What the change log tells of a post, in order.
async fn told(scene: &Scene, post: PostId) -> Vec<&'static str> {
    let shard = changes::shard_of(post.0);
    let read = |tx| async move { changes::after(&tx, shard, Position::START, 1000).await };
    let of_post = |what: &What| match what {
        What::PostPublished { post: other, .. } => (*other == post).then_some("published"),
        What::PostChanged { post: other, .. } => (*other == post).then_some("changed"),
        What::PostDeleted { post: other, .. } => (*other == post).then_some("deleted"),
        _ => None,
    };
    scene.read(read).await.iter().filter_map(|(_, change)| of_post(&change.what)).collect()
}

async fn a_caption_brings_its_tags_and_mentions(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let carl = scene.user("Carl").await;
    scene.block(carl, ann).await;
    let photo = scene.ready(ann).await;
    let caption = "#Sun and ＃Sea with @bob, @carl, @ann and @nobody";
    let post = scene.post(ann, Visibility::Public, caption, &[photo]).await;
    assert_eq!((post.tags.clone(), post.mentions.clone()), (vec!["sun".into(), "sea".into()], vec![bob]));
    let place = position(scene, post.id).await;
    let edit = Edit { caption: Some("#Sea #SKY".to_owned()), ..Edit::default() };
    let Edited::Done(edited) = scene.edit(ann, post.id, edit.clone()).await else { panic!() };
    assert_eq!(edited.tags, ["sea", "sky"]);
    assert!(edited.mentions.is_empty() && edited.edited.is_some());
    assert_eq!(position(scene, post.id).await, place);
    // Nothing to change is nothing to tell.
    assert_eq!(scene.edit(ann, post.id, edit).await, Edited::Done(edited));
    assert_eq!(told(scene, post.id).await, ["published", "changed"]);
}

async fn what_was_never_shown_gets_a_new_place_and_what_was_keeps_its_own(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let post = scene.published(ann, Visibility::Private).await;
    let drafted = position(scene, post).await;
    scene.edit(ann, post, visibility(Visibility::Followers)).await;
    let shown = position(scene, post).await;
    assert!(shown > drafted);
    scene.audit().await;
    for next in [Visibility::Private, Visibility::Public, Visibility::Followers] {
        scene.edit(ann, post, visibility(next)).await;
        assert_eq!(position(scene, post).await, shown, "{next:?}");
        scene.audit().await;
    }
    assert_eq!(told(scene, post).await, ["published", "published", "changed", "changed", "changed"]);
}

async fn photos_change_their_order_and_leave_but_one_stays(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let [one, two] = [scene.ready(ann).await, scene.ready(ann).await];
    let late = scene.photo(ann, PhotoVisibility::Inherit).await;
    let post = scene.post(ann, Visibility::Public, "", &[one, late.0.id, two]).await;
    assert_eq!(post.state, State::Waiting);
    let photos = |photos: &[_]| Edit { photos: Some(photos.to_vec()), ..Edit::default() };
    let Edited::Done(edited) = scene.edit(ann, post.id, photos(&[late.0.id, two])).await else { panic!() };
    assert_eq!((edited.state, told(scene, post.id).await), (State::Waiting, vec!["changed"]));
    scene.audit().await;
    // What it has waited for is gone: it appears.
    let Edited::Done(edited) = scene.edit(ann, post.id, photos(&[two])).await else { panic!() };
    assert_eq!((edited.state, edited.photos), (State::Published, vec![two]));
    assert_eq!(scene.edit(ann, post.id, photos(&[])).await, Edited::NoPhotos);
    assert_eq!(scene.edit(ann, post.id, photos(&[one])).await, Edited::NotInPost(one));
    assert_eq!(scene.edit(ann, post.id, photos(&[two, two])).await, Edited::NotInPost(two));
    scene.settle(&late, true).await;

    let [one, two] = [scene.ready(ann).await, scene.ready(ann).await];
    let post = scene.post(ann, Visibility::Public, "", &[one, two]).await.id;
    let place = position(scene, post).await;
    scene.edit(ann, post, photos(&[two, one])).await;
    assert_eq!(scene.found(post).await.unwrap().photos, [two, one]);
    scene.edit(ann, post, photos(&[two])).await;
    assert_eq!(position(scene, post).await, place);
}

async fn no_post_becomes_wider_than_its_photos(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let (free, bound) = (scene.ready(ann).await, scene.ready_of(ann, PhotoVisibility::Followers).await);
    let post = scene.post(ann, Visibility::Private, "", &[free, bound]).await.id;
    assert_eq!(scene.edit(ann, post, visibility(Visibility::Public)).await, Edited::Wider(bound));
    assert!(matches!(scene.edit(ann, post, visibility(Visibility::Followers)).await, Edited::Done(_)));
    // Without that photo it may be.
    let wide = Edit { photos: Some(vec![free]), ..visibility(Visibility::Public) };
    assert!(matches!(scene.edit(ann, post, wide).await, Edited::Done(_)));
}

async fn only_its_author_changes_a_post(scene: &Scene) {
    let (ann, bob) = (scene.user("Ann").await, scene.user("Bob").await);
    let (public, private) =
        (scene.published(ann, Visibility::Public).await, scene.published(ann, Visibility::Private).await);
    let delete = async |post: PostId, by: UserId| {
        scene.done(|tx| async move { posts::delete_by(&tx, (post, by), NOW, HISTORY).await }).await
    };
    assert_eq!(scene.edit(bob, public, Edit::default()).await, Edited::Others);
    assert_eq!(scene.edit(bob, private, Edit::default()).await, Edited::Unseen);
    assert_eq!(delete(public, bob).await, Deleted::Others);
    assert_eq!(scene.edit(ann, PostId::new(), Edit::default()).await, Edited::Unseen);
    assert_eq!(delete(public, ann).await, Deleted::Done);
    assert_eq!(told(scene, public).await, ["published", "deleted"]);
    assert_eq!(scene.found(public).await, None);
}

async fn a_photo_is_in_so_many_posts_and_no_more(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let photo = scene.photo(ann, PhotoVisibility::Inherit).await;
    for _ in 0..POSTS_PER_PHOTO_MAX {
        scene.post(ann, Visibility::Public, "", &[photo.0.id]).await;
    }
    let draft = Post::new((PostId::new(), ann), String::new(), Visibility::Public, NOW);
    let one_more = Post { photos: vec![photo.0.id], ..draft };
    assert_eq!(scene.create(one_more).await, Created::ShownTooOften(photo.0.id));
    // All of them are published in one transaction, and go in one.
    scene.settle(&photo, true).await;
    scene.audit().await;
    scene.delete_photo(photo.0.id).await;
    assert!(scene.rows(darkroom_store::model::subspaces::POSTS).await.is_empty());
}
