//! What trends, and what it costs to know.

use std::time::Duration;

use darkroom_store::metadata::{Metadata, Transaction};
use darkroom_store::model::changes::What;
use darkroom_store::model::trending::{self, Kind, Trends};
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{PostId, Timestamp, UserId};

use super::world::{NOW, World, limits};

cases! { crate::run:
    likes_count_once_decay_and_are_taken_back,
    tags_trend_by_public_posts_alone,
    an_event_and_a_look_cost_the_same_however_many_posts_there_are,
    what_has_decayed_is_forgotten_in_steps,
}

const HALF_LIFE: Duration = Duration::from_hours(12);

async fn top(metadata: &Metadata, kind: Kind, now: Timestamp) -> Vec<(String, f64)> {
    let top = |tx| async move { trending::top(&tx, kind, HALF_LIFE, now, 10).await };
    metadata.read("top", top).await.unwrap()
}

fn rounded(top: Vec<(String, f64)>) -> Vec<(String, f64)> {
    top.into_iter().map(|(what, sum)| (what, (sum * 1000.0).round() / 1000.0)).collect()
}

async fn like(world: &World, post: PostId, author: UserId, by: UserId, at: Timestamp) {
    world.append(at, What::PostLiked { post, author, by, kind: "like".to_owned() }).await;
}

async fn likes_count_once_decay_and_are_taken_back(metadata: Metadata) {
    let world = World::new(metadata.clone(), limits()).await;
    let (ann, bob, eve) = (world.user("Ann").await, world.user("Bob").await, world.user("Eve").await);
    let post = world.publish(ann, Visibility::Public, "").await;
    let hidden = world.publish(ann, Visibility::Followers, "").await;
    like(&world, post, ann, bob, NOW).await;
    like(&world, post, ann, bob, NOW).await;
    like(&world, post, ann, ann, NOW).await;
    like(&world, hidden, ann, bob, NOW).await;
    world.settle().await;
    let name = post.to_string();
    assert_eq!(rounded(top(&metadata, Kind::Posts, NOW).await), [(name.clone(), 1.25)]);
    let later = NOW.after(HALF_LIFE);
    like(&world, post, ann, eve, later).await;
    world.settle().await;
    assert_eq!(rounded(top(&metadata, Kind::Posts, later).await), [(name.clone(), 1.625)]);
    world.append(later, What::PostUnliked { post, author: ann, by: bob }).await;
    world.append(later, What::PostUnliked { post, author: ann, by: bob }).await;
    world.settle().await;
    assert_eq!(rounded(top(&metadata, Kind::Posts, later).await), [(name.clone(), 1.125)]);
    world.append(later, What::PostShared { post, author: ann, by: bob, share: PostId::new() }).await;
    world.settle().await;
    assert_eq!(rounded(top(&metadata, Kind::Posts, later).await), [(name, 4.125)]);
    world.delete(post).await;
    world.settle().await;
    assert_eq!(top(&metadata, Kind::Posts, later).await, []);
}

async fn tags_trend_by_public_posts_alone(metadata: Metadata) {
    let world = World::new(metadata.clone(), limits()).await;
    let ann = world.user("Ann").await;
    let mut last = None;
    for caption in ["#sea #sun", "#sea", "#sea"] {
        last = Some(world.publish(ann, Visibility::Public, caption).await);
    }
    world.publish(ann, Visibility::Followers, "#secret").await;
    world.settle().await;
    let tags = |sea: f64| vec![("sea".to_owned(), sea), ("sun".to_owned(), 1.0)];
    assert_eq!(rounded(top(&metadata, Kind::Tags, NOW).await), tags(3.0));
    world.edit(last.unwrap(), Visibility::Private).await;
    world.settle().await;
    assert_eq!(rounded(top(&metadata, Kind::Tags, NOW).await), tags(2.0));
    world.edit(last.unwrap(), Visibility::Public).await;
    world.settle().await;
    assert_eq!(rounded(top(&metadata, Kind::Tags, NOW).await), tags(3.0));
    world.delete(last.unwrap()).await;
    world.settle().await;
    assert_eq!(rounded(top(&metadata, Kind::Tags, NOW).await), tags(2.0));
}

async fn an_event_and_a_look_cost_the_same_however_many_posts_there_are(metadata: Metadata) {
    let world = World::new(metadata.clone(), limits()).await;
    let (ann, mut costs) = (world.user("Ann").await, Vec::new());
    for _ in 0..2 {
        for _ in 0..40 {
            for shard in 0..16 {
                let give = |tx: Transaction| async move {
                    let trends = Trends { shard, half_life: HALF_LIFE };
                    trending::shared(&tx, &trends, PostId::new(), NOW).await
                };
                metadata.transact("fill", give).await.unwrap();
            }
        }
        let post = &world.publish(ann, Visibility::Public, "").await;
        let trends = &Trends { shard: 0, half_life: HALF_LIFE };
        let event = |tx: Transaction| async move {
            trending::liked(&tx, trends, (*post, ann), NOW).await?;
            Ok(tx.reads())
        };
        let look = |tx: Transaction| async move {
            trending::top(&tx, Kind::Posts, HALF_LIFE, NOW, 10).await?;
            Ok(tx.reads())
        };
        let event = metadata.transact("like", event).await.unwrap();
        costs.push((event, metadata.read("look", look).await.unwrap()));
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0], (2, 16 * 21));
}

async fn what_has_decayed_is_forgotten_in_steps(metadata: Metadata) {
    let world = World::new(metadata.clone(), limits()).await;
    let (ann, mut likes) = (world.user("Ann").await, 0);
    let post = world.publish(ann, Visibility::Public, "#sea").await;
    for _ in 0..7 {
        let by = UserId::new();
        like(&world, post, ann, by, NOW).await;
        likes += 1;
    }
    world.settle().await;
    let held = world.held[usize::from(darkroom_store::model::changes::shard_of(post.0))];
    let forget = |half_life, now, limit| {
        let metadata = metadata.clone();
        async move {
            let forget = |tx| async move { trending::forget(&tx, held, half_life, now, limit).await };
            metadata.transact("forget", forget).await.unwrap().unwrap()
        }
    };
    assert_eq!(forget(HALF_LIFE, NOW, 100).await, 0, "they trend");
    let late = NOW.after(20 * HALF_LIFE);
    assert_eq!(forget(HALF_LIFE, late, 5).await, 5);
    assert_eq!(forget(HALF_LIFE, late, 100).await, likes - 5 + 2, "the other likes, the post and the tag");
    assert_eq!(forget(HALF_LIFE, late, 100).await, 0);
    like(&world, post, ann, UserId::new(), NOW).await;
    world.settle().await;
    assert_eq!(forget(HALF_LIFE * 2, NOW, 100).await, 2, "what stands by another half-life is of no use");
}
