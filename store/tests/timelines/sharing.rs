//! Who carries which shard of the change log, and what may go from it.

use std::collections::BTreeSet;

use darkroom_store::metadata::Metadata;
use darkroom_store::model::changes::{self, SHARDS};
use darkroom_store::model::effects;
use darkroom_store::model::shards::{self, Lost};
use darkroom_store::model::visibility::Visibility;
use darkroom_store::model::{Epoch, Position, Timestamp, nodes};

use super::world::{NOW, World, limits};

cases! { crate::run:
    nodes_share_the_shards_and_take_over_those_of_the_dead,
    a_part_of_a_process_that_begins_anew_takes_its_shards_with_another_lease,
    entries_go_that_are_old_and_done_with,
    an_entry_that_cannot_be_applied_is_passed_by_and_counted,
}

async fn nodes_share_the_shards_and_take_over_those_of_the_dead(metadata: Metadata) {
    let world = World { metadata: metadata.clone(), limits: limits(), held: Vec::new() };
    let (one, two, three) = (world.begins().await, world.begins().await, world.begins().await);
    let mut of_one = world.balance(one, &[]).await;
    assert_eq!(of_one.len(), 16, "alone");
    let mut of_two = world.balance(two, &[]).await;
    assert_eq!(of_two, [], "what another carries is not free");
    let lost = of_one[15];
    of_one = world.balance(one, &of_one).await;
    assert_eq!(of_one.len(), 8, "it lets go of what is another's part");
    let check = |tx| async move { shards::check(&tx, lost).await };
    assert_eq!(metadata.read("check", check).await.unwrap(), Err(Lost(lost.shard)));
    of_two = world.balance(two, &of_two).await;
    assert_eq!(of_two.len(), 8);
    world.balance(three, &[]).await;
    of_one = world.balance(one, &of_one).await;
    of_two = world.balance(two, &of_two).await;
    let of_three = world.balance(three, &[]).await;
    assert_eq!([of_one.len(), of_two.len(), of_three.len()], [6, 6, 4]);
    end(&metadata, one).await;
    let of_two = world.balance(two, &of_two).await;
    let of_three = world.balance(three, &of_three).await;
    let all: BTreeSet<_> = of_two.iter().chain(&of_three).map(|held| held.shard).collect();
    assert_eq!((of_two.len(), of_three.len(), all.len()), (8, 8, usize::from(SHARDS)));
    assert_eq!(world.balance(one, &of_one).await, [], "the dead carry nothing");
    let release = |tx| async move { shards::release(&tx, two).await };
    metadata.transact("release", release).await.unwrap();
    assert_eq!(world.balance(three, &of_three).await.len(), 16);
}

async fn end(metadata: &Metadata, epoch: Epoch) {
    metadata.transact("end", |tx| async move { nodes::end(&tx, epoch, NOW).await }).await.unwrap();
}

async fn a_part_of_a_process_that_begins_anew_takes_its_shards_with_another_lease(metadata: Metadata) {
    let world = World { metadata: metadata.clone(), limits: limits(), held: Vec::new() };
    let epoch = world.begins().await;
    let before = world.balance(epoch, &[]).await;
    assert_eq!(world.balance(epoch, &before).await, before, "who goes on keeps its leases");
    let after = world.balance(epoch, &[]).await;
    assert_eq!(after.len(), 16);
    for held in before {
        let check = |tx| async move { shards::check(&tx, held).await };
        assert_eq!(metadata.read("check", check).await.unwrap(), Err(Lost(held.shard)));
    }
}

async fn entries_go_that_are_old_and_done_with(metadata: Metadata) {
    let world = World::new(metadata.clone(), limits()).await;
    let (ann, bob) = (world.user("Ann").await, world.user("Bob").await);
    for _ in 0..3 {
        world.follow(bob, ann).await;
        world.unfollow(bob, ann).await;
    }
    let held = world.held[usize::from(changes::shard_of(ann.0))];
    let trim = |before, limit| {
        let metadata = metadata.clone();
        async move {
            let trim = |tx| async move { shards::trim(&tx, held, before, limit).await };
            metadata.transact("trim", trim).await.unwrap().unwrap()
        }
    };
    let later = Timestamp(NOW.0 + 1);
    assert_eq!(trim(later, 100).await, 0, "nobody has done anything about them");
    world.index(held, 4).await.unwrap();
    assert_eq!(trim(NOW, 100).await, 0, "they are not old");
    assert_eq!(trim(later, 3).await, 3);
    assert_eq!(trim(later, 100).await, 1, "the others are still to be carried out");
    world.settle().await;
    let left = |tx| async move { changes::after(&tx, held.shard, Position::START, 100).await };
    assert_eq!(metadata.read("left", left).await.unwrap().len(), 2);
}

async fn an_entry_that_cannot_be_applied_is_passed_by_and_counted(metadata: Metadata) {
    let world = World::new(metadata.clone(), limits()).await;
    let (ann, bob) = (world.user("Ann").await, world.user("Bob").await);
    world.follow(bob, ann).await;
    world.settle().await;
    let post = world.publish(ann, Visibility::Public, "").await;
    let held = world.held[usize::from(changes::shard_of(post.0))];
    let first = |tx| async move { changes::last(&tx, held.shard).await };
    let position = metadata.read("last", first).await.unwrap();
    for _ in 0..2 {
        let pass_by = |tx| async move { effects::pass_by(&tx, held, position).await };
        metadata.transact("pass by", pass_by).await.unwrap().unwrap();
    }
    let count = |tx| async move { effects::passed_by(&tx).await };
    assert_eq!(metadata.read("count", count).await.unwrap(), 1, "also if it is done twice");
    world.settle().await;
    assert_eq!(world.timeline(bob).await, [], "what would have followed did not");
}
