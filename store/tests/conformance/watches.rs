//! Watches. They may end early, so these tests only ask that they do not end late.

use std::time::Duration;

use darkroom_store::metadata::{Transaction, Watch};

use super::Store;

/// Far longer than any change takes to be told.
const PATIENCE: Duration = Duration::from_secs(20);

async fn watch(store: &Store, key: &'static [u8]) -> Watch {
    store.metadata.read("watch", |tx| async move { tx.watch(key) }).await.expect("watch")
}

async fn ends(watch: Watch) {
    tokio::time::timeout(PATIENCE, watch).await.expect("the watch ends");
}

pub(crate) async fn a_watch_ends_after_a_change(store: Store) {
    store.set(b"k", b"1").await;
    for change in 0..4 {
        let watching = tokio::spawn(ends(watch(&store, b"k").await));
        let write = |tx: Transaction| async move {
            match change {
                0 => tx.set(b"k", b"2"),
                1 => tx.clear(b"k"),
                2 => tx.atomic_add(b"k", 1),
                _ => tx.clear_range(&darkroom_store::metadata::KeyRange::all()),
            }
        };
        store.metadata.transact("change", write).await.expect("change");
        watching.await.expect("the watch ends");
    }
}

/// A change between the read and the watch's start is not missed.
pub(crate) async fn a_watch_counts_from_what_was_seen(store: Store) {
    let (metadata, other) = (&store.metadata, &store);
    let read = metadata.read("read", |tx| async move {
        assert_eq!(tx.get(b"k").await?, None);
        other.set(b"k", b"changed").await;
        tx.watch(b"k")
    });
    ends(read.await.expect("read")).await;
    let write = metadata.transact("write", |tx| async move {
        tx.snapshot_get(b"k").await?;
        other.set(b"k", b"changed again").await;
        tx.set(b"elsewhere", b"")?;
        tx.watch(b"k")
    });
    ends(write.await.expect("write")).await;
}

pub(crate) async fn a_watch_of_an_own_write_ends_after_the_next_one(store: Store) {
    let write = |tx: Transaction| async move {
        tx.set(b"k", b"own")?;
        tx.watch(b"k")
    };
    let watch = store.metadata.transact("write", write).await.expect("write");
    store.set(b"k", b"next").await;
    ends(watch).await;
}

/// Whoever waits is told of every change that stays: here each writer waits for the other's.
pub(crate) async fn watchers_hand_a_turn_to_and_fro(store: Store) {
    const TURNS: u8 = 20;
    let player = |parity: u8| {
        let metadata = store.metadata.clone();
        tokio::spawn(async move {
            loop {
                let look = |tx: Transaction| async move {
                    let mut turn = tx.get(b"turn").await?.map_or(0, |value| value[0]);
                    if turn < TURNS && turn % 2 == parity {
                        turn += 1;
                        tx.set(b"turn", &[turn])?;
                    }
                    Ok((turn, tx.watch(b"turn")?))
                };
                let (turn, watch) = metadata.transact("look", look).await.expect("look");
                if turn >= TURNS {
                    return;
                }
                ends(watch).await;
            }
        })
    };
    let (even, odd) = (player(0), player(1));
    even.await.expect("even");
    odd.await.expect("odd");
    assert_eq!(store.get(b"turn").await, Some(vec![TURNS]));
}

/// Every watch of a key ends by one change, and those of other keys still wait for theirs.
pub(crate) async fn all_watches_of_a_key_end(store: Store) {
    let mut watches = Vec::new();
    for _ in 0..50 {
        watches.push(watch(&store, b"k").await);
    }
    let other = watch(&store, b"other").await;
    store.set(b"k", b"changed").await;
    for watch in watches {
        ends(watch).await;
    }
    store.set(b"other", b"changed").await;
    ends(other).await;
}
