//! Epochs: how they begin, how a death comes to be known, and what it puts an end to.

use darkroom_store::life;
use darkroom_store::model::{Epoch, nodes, objects};
use darkroom_store::objects::{ObjectKey, ObjectKind};

use crate::store::{MINUTE, NOW, SECOND, Store, once, twice};

cases! { crate::store::run:
    an_epoch_is_begun_once_also_when_another_begins_in_between,
    a_node_that_gives_no_sign_of_life_is_declared_dead_and_notices,
    a_declaration_of_death_and_a_renewal_at_once_see_each_other,
    nothing_is_intended_any_more_once_a_node_is_declared_dead,
    a_process_without_a_pipeline_keeps_its_record_changing_until_it_is_dead,
}

async fn an_epoch_is_begun_once_also_when_another_begins_in_between(store: &Store) {
    let (first, second) = (uuid::Uuid::new_v4(), uuid::Uuid::new_v4());
    for (process, epoch) in [(first, 1), (second, 2), (first, 1), (second, 2)] {
        assert_eq!(twice!(store, |tx| nodes::begin_epoch(&tx, process, NOW).await), Epoch(epoch));
    }
    // On an engine that is one node's own, whoever begins is alone.
    twice!(store, |tx| nodes::declare_earlier_dead(&tx, Epoch(2), NOW).await);
    assert_eq!(once(store, |tx| async move { nodes::dead(&tx, NOW).await }).await, [(Epoch(1), true)]);
    twice!(store, |tx| nodes::forget(&tx, Epoch(1)));
    assert!(once(store, |tx| async move { nodes::dead(&tx, NOW).await }).await.is_empty());
    assert!(once(store, |tx| async move { nodes::is_dead(&tx, Epoch(1)).await }).await, "forgotten is dead");
}

async fn a_node_that_gives_no_sign_of_life_is_declared_dead_and_notices(store: &Store) {
    let (silent, other) = (store.node().await, store.node().await);
    // Whatever the clocks of the three say: that of the second is an hour behind the first's.
    let (now, behind) = (NOW.after(MINUTE * 60), NOW);
    let (until, sweep) = (now.after(MINUTE), now.after(MINUTE));
    assert!(twice!(store, |tx| nodes::renew(&tx, silent, until).await));
    assert!(twice!(store, |tx| nodes::renew(&tx, other, behind).await));
    let later = behind.after(SECOND);
    assert!(twice!(store, |tx| nodes::renew(&tx, other, later).await));
    let dead = twice!(store, |tx| nodes::declare_dead(&tx, other, behind, now, sweep).await);
    assert!(!dead, "it has renewed since that was seen, however long ago by anybody's clock");
    assert!(twice!(store, |tx| nodes::declare_dead(&tx, silent, until, now, sweep).await));
    assert!(!twice!(store, |tx| nodes::renew(&tx, silent, later).await), "too late");
    assert!(twice!(store, |tx| nodes::is_dead(&tx, silent).await));
    assert!(!twice!(store, |tx| nodes::is_alive(&tx, silent).await));
    assert!(twice!(store, |tx| nodes::is_alive(&tx, other).await));
    // It may live all the same, and put objects until it notices: then it ends its epoch itself.
    let dead = |now| async move { once(store, |tx| async move { nodes::dead(&tx, now).await }).await };
    assert_eq!((dead(now).await, dead(sweep).await), (vec![(silent, false)], vec![(silent, true)]));
    twice!(store, |tx| nodes::end(&tx, silent, now).await);
    assert_eq!(dead(now).await, [(silent, true)]);
}

async fn a_declaration_of_death_and_a_renewal_at_once_see_each_other(store: &Store) {
    let epoch = store.node().await;
    let seen = NOW.after(MINUTE);
    assert!(once(store, |tx| async move { nodes::renew(&tx, epoch, seen).await }).await);
    let (raced, until) = (&std::sync::atomic::AtomicBool::new(false), seen.after(MINUTE));
    let dead = once(store, |tx| async move {
        let dead = nodes::declare_dead(&tx, epoch, seen, NOW, NOW).await?;
        // On the first run the node wakes up before this commits.
        if !raced.swap(true, std::sync::atomic::Ordering::SeqCst) {
            assert!(once(store, |tx| async move { nodes::renew(&tx, epoch, until).await }).await);
        }
        Ok(dead)
    })
    .await;
    assert!(!dead, "the second run sees the renewal");
    assert!(once(store, |tx| async move { nodes::is_alive(&tx, epoch).await }).await);
}

async fn nothing_is_intended_any_more_once_a_node_is_declared_dead(store: &Store) {
    let epoch = store.node().await;
    let raced = &std::sync::atomic::AtomicBool::new(false);
    let keys = &[ObjectKey::new(ObjectKind::Variant)];
    let intended = once(store, |tx| async move {
        if !nodes::is_alive(&tx, epoch).await? {
            return Ok(false);
        }
        if !raced.swap(true, std::sync::atomic::Ordering::SeqCst) {
            once(store, |tx| async move { nodes::end(&tx, epoch, NOW).await }).await;
        }
        objects::intend(&tx, epoch, keys)?;
        Ok(true)
    })
    .await;
    assert!(!intended, "the second run sees the death");
    assert!(once(store, |tx| async move { objects::intents_of(&tx, epoch, 9).await }).await.is_empty());
}

async fn a_process_without_a_pipeline_keeps_its_record_changing_until_it_is_dead(store: &Store) {
    let epoch = store.node().await;
    let record = || async {
        let all = once(store, |tx| async move { nodes::all(&tx).await }).await;
        all.into_iter().find(|(other, _)| *other == epoch).unwrap().1.alive_until
    };
    let changes = async {
        for _ in 0..3 {
            let before = record().await;
            while record().await == before {
                tokio::task::yield_now().await;
            }
        }
        once(store, |tx| async move { nodes::end(&tx, epoch, NOW).await }).await;
    };
    tokio::join!(life::keep(&store.metadata, epoch, SECOND / 10), changes);
    assert!(once(store, |tx| async move { nodes::is_dead(&tx, epoch).await }).await);
}
