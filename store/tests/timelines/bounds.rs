//! Where lists end, what they cost, and what is filled in.

use darkroom_store::metadata::Metadata;
use darkroom_store::model::fanout::{self, FeedLimits, Manner};
use darkroom_store::model::timelines::{self, Wanted};
use darkroom_store::model::visibility::Visibility;

use super::world::{World, limits, listed};

cases! { crate::run:
    a_timeline_ends_at_its_most_entries_and_keeps_a_few_more,
    who_follows_gets_the_recent_past_and_no_more,
    a_page_costs_the_same_however_many_users_there_are,
    an_author_crosses_and_comes_back,
    posts_that_nobody_may_see_are_not_fanned_out,
}

async fn a_timeline_ends_at_its_most_entries_and_keeps_a_few_more(metadata: Metadata) {
    let limits = FeedLimits { timeline_entries_max: 10, ..limits() };
    let world = World::new(metadata.clone(), limits).await;
    let (ann, bob) = (world.user("Ann").await, world.user("Bob").await);
    world.follow(bob, ann).await;
    let mut posts = Vec::new();
    for _ in 0..30 {
        posts.push(world.publish(ann, Visibility::Public, "").await);
    }
    world.settle().await;
    let (mut shown, mut next) = (Vec::new(), None);
    loop {
        let page = world.page(bob, next, 4).await;
        shown.extend(listed(&page).into_iter().map(|(_, post)| post));
        next = page.next;
        if next.is_none() {
            break;
        }
    }
    assert_eq!(shown, posts.iter().rev().take(10).copied().collect::<Vec<_>>());
    let trim = |tx| async move { timelines::trim(&tx, bob, 10).await };
    metadata.transact("trim", trim).await.unwrap();
    let rows = |tx| async move { timelines::rows_of(&tx, bob, None, 100).await };
    assert_eq!(metadata.read("rows", rows).await.unwrap().len(), 20);
}

async fn who_follows_gets_the_recent_past_and_no_more(metadata: Metadata) {
    let limits = FeedLimits { backfill_posts_max: 5, chunk_followers: 2, ..limits() };
    let world = World::new(metadata, limits).await;
    let (ann, bob) = (world.user("Ann").await, world.user("Bob").await);
    let mut posts = Vec::new();
    for _ in 0..8 {
        posts.push(world.publish(ann, Visibility::Followers, "").await);
    }
    world.settle().await;
    assert_eq!(world.timeline(bob).await, []);
    assert_eq!(world.timeline(ann).await.len(), 8, "an author's own are in the author's timeline");
    world.follow(bob, ann).await;
    world.settle().await;
    let shown: Vec<_> = world.timeline(bob).await.into_iter().map(|(_, post)| post).collect();
    assert_eq!(shown, posts.iter().rev().take(5).copied().collect::<Vec<_>>());
    // Who leaves takes them along, so that they do not stand in the way of others.
    world.unfollow(bob, ann).await;
    assert_eq!(world.timeline(bob).await, []);
    world.settle().await;
    let rows = |tx| async move { timelines::rows_of(&tx, bob, None, 100).await };
    assert_eq!(world.metadata.read("rows", rows).await.unwrap(), []);
}

async fn a_page_costs_the_same_however_many_users_there_are(metadata: Metadata) {
    let limits = FeedLimits { merge_followers_min: 12, ..limits() };
    let world = World::new(metadata.clone(), limits).await;
    let (reader, pushed, merged) =
        (world.user("reader").await, world.user("pushed").await, world.user("merged").await);
    for author in [pushed, merged] {
        world.follow(reader, author).await;
    }
    let mut costs = Vec::new();
    for _ in 0..4 {
        for _ in 0..15 {
            let other = world.user("other").await;
            world.follow(other, merged).await;
            world.publish(other, Visibility::Public, "").await;
        }
        for _ in 0..10 {
            world.publish(pushed, Visibility::Public, "").await;
            world.publish(merged, Visibility::Public, "").await;
        }
        world.settle().await;
        let manner = |tx| async move { fanout::manner(&tx, merged).await };
        assert_eq!(metadata.read("manner", manner).await.unwrap(), Some(Manner::Merged));
        let wanted = &Wanted { after: None, limit: 10, entries_max: 1000 };
        let page = |tx: darkroom_store::metadata::Transaction| async move {
            let page = timelines::page(&tx, reader, wanted).await?;
            assert_eq!(page.entries.len(), 10);
            Ok(tx.reads())
        };
        costs.push(metadata.read("page", page).await.unwrap());
    }
    // The first time the lists are as short as a page.
    assert!(costs[1..].iter().all(|cost| *cost == costs[1] && *cost < 80), "{costs:?}");
}

async fn an_author_crosses_and_comes_back(metadata: Metadata) {
    let limits = FeedLimits { merge_followers_min: 4, chunk_followers: 2, ..limits() };
    let world = World::new(metadata.clone(), limits).await;
    let ann = world.user("Ann").await;
    let manner = || async {
        metadata.read("manner", |tx| async move { fanout::manner(&tx, ann).await }).await.unwrap()
    };
    let mut followers = Vec::new();
    let mut posts = 0;
    for number in 0..8 {
        let follower = world.user("follower").await;
        world.follow(follower, ann).await;
        world.publish(ann, Visibility::Public, "").await;
        posts += 1;
        world.settle().await;
        followers.push(follower);
        let is_merged = manner().await == Some(Manner::Merged);
        assert_eq!(is_merged, number >= 4, "with {} followers", number + 1);
        for follower in &followers {
            assert_eq!(world.timeline(*follower).await.len(), posts);
        }
    }
    for left in (0..8).rev() {
        let follower = followers.pop().unwrap();
        world.unfollow(follower, ann).await;
        world.publish(ann, Visibility::Public, "").await;
        posts += 1;
        world.settle().await;
        let is_merged = manner().await == Some(Manner::Merged);
        assert_eq!(is_merged, left >= 2, "with {left} followers");
        for follower in &followers {
            assert_eq!(world.timeline(*follower).await.len(), posts);
        }
        assert_eq!(world.timeline(follower).await, []);
    }
}

async fn posts_that_nobody_may_see_are_not_fanned_out(metadata: Metadata) {
    let world = World::new(metadata.clone(), limits()).await;
    let (ann, bob) = (world.user("Ann").await, world.user("Bob").await);
    world.follow(bob, ann).await;
    world.settle().await;
    let post = world.publish(ann, Visibility::Private, "").await;
    world.settle().await;
    let rows = || async {
        let rows = |tx| async move { timelines::rows_of(&tx, bob, None, 100).await };
        metadata.read("rows", rows).await.unwrap().len()
    };
    assert_eq!((rows().await, world.timeline(ann).await.len()), (0, 1));
    world.edit(post, Visibility::Followers).await;
    world.settle().await;
    assert_eq!((rows().await, world.timeline(bob).await.len()), (1, 1));
    // What was shown once keeps its row, and is hidden as long as it is private.
    world.edit(post, Visibility::Private).await;
    world.settle().await;
    assert_eq!((rows().await, world.timeline(bob).await.len()), (1, 0));
    world.edit(post, Visibility::Public).await;
    assert_eq!(world.timeline(bob).await.len(), 1);
}
