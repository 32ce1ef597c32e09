//! A photo that is deleted leaves its posts.

use darkroom_store::model::posts::State;
use darkroom_store::model::visibility::{PhotoVisibility, Visibility};

use crate::scene::Scene;

cases! { crate::scene::run:
    a_deleted_photo_leaves_its_posts_and_takes_those_with_it_that_had_no_other,
    a_post_that_waited_for_a_deleted_photo_alone_is_published,
}

async fn a_deleted_photo_leaves_its_posts_and_takes_those_with_it_that_had_no_other(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let (gone, stays) = (scene.ready(ann).await, scene.ready(ann).await);
    let alone = scene.post(ann, Visibility::Public, "#alone", &[gone]).await.id;
    let private = scene.post(ann, Visibility::Private, "#private", &[gone]).await.id;
    let together = scene.post(ann, Visibility::Public, "#together", &[gone, stays]).await.id;
    scene.delete_photo(gone).await;
    assert_eq!(scene.found(alone).await, None);
    assert_eq!(scene.found(private).await, None);
    assert_eq!(scene.found(together).await.unwrap().photos, [stays]);
    scene.audit().await;
    scene.delete_photo(stays).await;
    assert_eq!(scene.found(together).await, None);
}

async fn a_post_that_waited_for_a_deleted_photo_alone_is_published(scene: &Scene) {
    let ann = scene.user("Ann").await;
    let ready = scene.ready(ann).await;
    let inherit = PhotoVisibility::Inherit;
    let (late, broken) = (scene.photo(ann, inherit).await, scene.photo(ann, inherit).await);
    let waiting = scene.post(ann, Visibility::Public, "#w", &[ready, late.0.id]).await.id;
    let failed = scene.post(ann, Visibility::Public, "#f", &[broken.0.id, ready]).await.id;
    let both = scene.post(ann, Visibility::Public, "#b", &[broken.0.id, late.0.id]).await.id;
    let alone = scene.post(ann, Visibility::Public, "#a", &[broken.0.id]).await.id;
    scene.settle(&broken, false).await;
    assert_eq!(scene.found(failed).await.unwrap().state, State::Failed);
    scene.delete_photo(broken.0.id).await;
    assert_eq!(scene.found(failed).await.unwrap().state, State::Published);
    assert_eq!(scene.found(both).await.unwrap().state, State::Waiting);
    assert_eq!(scene.found(alone).await, None);
    scene.audit().await;
    scene.delete_photo(late.0.id).await;
    assert_eq!(scene.found(waiting).await.unwrap().state, State::Published);
    assert_eq!(scene.found(both).await, None);
}
