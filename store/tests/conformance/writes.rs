//! What a transaction sees of its own writes, and what atomic operations come to.

use std::sync::atomic::{AtomicU32, Ordering};

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{KeyRange, RangeOptions, Transaction};

use super::{Store, integer, rows};

pub(crate) async fn read_your_writes(store: Store) {
    store.set(b"stored", b"old").await;
    let write = |tx: Transaction| async move {
        tx.set(b"stored", b"new")?;
        assert_eq!(tx.get(b"stored").await?, Some(b"new".to_vec()));
        tx.clear(b"stored")?;
        assert_eq!(tx.get(b"stored").await?, None);
        tx.set(b"stored", b"newer")?;
        tx.set(b"fresh", b"")?;
        assert_eq!(tx.get(b"fresh").await?, Some(Vec::new()), "an empty value is a value");
        let seen = tx.get_range(&KeyRange::all(), RangeOptions::default()).await?;
        assert_eq!(seen, rows(&[(b"fresh", b""), (b"stored", b"newer")]));
        Ok(())
    };
    store.metadata.transact("write", write).await.expect("write");
    assert_eq!(store.all().await, rows(&[(b"fresh", b""), (b"stored", b"newer")]));
}

pub(crate) async fn snapshot_reads_see_own_writes(store: Store) {
    let write = |tx: Transaction| async move {
        tx.set(b"k", b"own")?;
        assert_eq!(tx.snapshot_get(b"k").await?, Some(b"own".to_vec()));
        let seen = tx.get_range(&KeyRange::all(), RangeOptions::default().snapshot()).await?;
        assert_eq!(seen, rows(&[(b"k", b"own")]));
        Ok(())
    };
    store.metadata.transact("write", write).await.expect("write");
}

pub(crate) async fn a_cleared_range_is_empty_until_written_again(store: Store) {
    for key in [b"a", b"b", b"c", b"d"] {
        store.set(key, b"old").await;
    }
    let clear = |tx: Transaction| async move {
        tx.set(b"bb", b"swept away")?;
        tx.clear_range(&KeyRange::new(*b"b", *b"d"))?;
        assert_eq!(tx.get(b"b").await?, None);
        assert_eq!(tx.get(b"bb").await?, None);
        assert_eq!(tx.get(b"d").await?, Some(b"old".to_vec()), "the end is exclusive");
        tx.set(b"c", b"new")?;
        tx.atomic_add(b"cc", 3)?;
        assert_eq!(tx.get(b"cc").await?, Some(integer(3)));
        Ok(())
    };
    store.metadata.transact("clear", clear).await.expect("clear");
    let left = [(&b"a"[..], &b"old"[..]), (b"c", b"new"), (b"cc", &integer(3)), (b"d", b"old")];
    assert_eq!(store.all().await, rows(&left));
}

pub(crate) async fn atomic_operations_merge_on_read(store: Store) {
    store.set(b"n", &integer(40)).await;
    let add = |tx: Transaction| async move {
        tx.atomic_add(b"n", 3)?;
        tx.atomic_add(b"n", -1)?;
        assert_eq!(tx.get(b"n").await?, Some(integer(42)));
        tx.atomic_max(b"n", 50)?;
        let seen = tx.get_range(&KeyRange::all(), RangeOptions::default()).await?;
        assert_eq!(seen, rows(&[(b"n", &integer(50))]));
        tx.set(b"m", &integer(1))?;
        tx.atomic_add(b"m", 1)?;
        assert_eq!(tx.get(b"m").await?, Some(integer(2)));
        tx.clear(b"m")?;
        tx.atomic_add(b"m", -5)
    };
    store.metadata.transact("add", add).await.expect("add");
    assert_eq!(store.get(b"n").await, Some(integer(50)));
    assert_eq!(store.get(b"m").await, Some(integer(-5)));
}

pub(crate) async fn atomic_add_under_64_writers(store: Store) {
    const WRITERS: u32 = 64;
    const ADDS: u32 = 20;
    let attempts = &*Box::leak(Box::new(AtomicU32::new(0)));
    let tasks = (0..WRITERS).map(|_| {
        let metadata = store.metadata.clone();
        tokio::spawn(async move {
            for _ in 0..ADDS {
                let add = |tx: Transaction| async move {
                    attempts.fetch_add(1, Ordering::SeqCst);
                    tx.atomic_add(b"n", 1)
                };
                metadata.transact("add", add).await.expect("add");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task");
    }
    assert_eq!(store.get(b"n").await, Some(integer(i64::from(WRITERS * ADDS))));
    assert_eq!(attempts.load(Ordering::SeqCst), WRITERS * ADDS, "no add conflicts with another");
}

pub(crate) async fn atomic_max_under_writers(store: Store) {
    let tasks = (0..50_u64).map(|value| {
        let metadata = store.metadata.clone();
        let value = (value * 37) % 50;
        tokio::spawn(async move {
            metadata.transact("max", |tx| async move { tx.atomic_max(b"max", value) }).await.expect("max");
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task");
    }
    assert_eq!(store.get(b"max").await, Some(integer(49)));
}

pub(crate) async fn a_transaction_is_over_after_its_function(store: Store) {
    let kept = store.metadata.transact("kept", |tx| async move { Ok(tx) }).await.expect("kept");
    assert!(matches!(kept.set(b"k", b"v"), Err(StoreError::TransactionOver)));
    assert!(matches!(kept.get(b"k").await, Err(StoreError::TransactionOver)));
    assert!(store.all().await.is_empty());
}
