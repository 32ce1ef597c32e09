//! Which transactions conflict, and which do not.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{KeyRange, RangeOptions, RetryOptions, Transaction};

use super::{Store, integer};

async fn increment(tx: Transaction, key: &[u8]) -> Result<(), StoreError> {
    let stored = tx.get(key).await?.unwrap_or_else(|| integer(0));
    let value = i64::from_le_bytes(stored.try_into().expect("8 bytes"));
    tx.set(key, &integer(value + 1))
}

pub(crate) async fn lost_update(store: Store) {
    let attempts = store.attempts(|tx| increment(tx, b"n"), |tx| increment(tx, b"n")).await;
    assert_eq!(attempts, 2);
    assert_eq!(store.get(b"n").await, Some(integer(2)));

    let tasks = (0..32).map(|_| {
        let metadata = store.metadata.clone();
        tokio::spawn(async move { metadata.transact("increment", |tx| increment(tx, b"n")).await })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task").expect("increment");
    }
    assert_eq!(store.get(b"n").await, Some(integer(34)));
}

async fn leave(tx: Transaction, who: &[u8]) -> Result<(), StoreError> {
    let alice = tx.get(b"alice").await? == Some(b"on".to_vec());
    let bob = tx.get(b"bob").await? == Some(b"on".to_vec());
    if alice && bob { tx.set(who, b"off") } else { Ok(()) }
}

/// Two doctors, of whom one must stay on call: each goes only if the other is there.
pub(crate) async fn write_skew(store: Store) {
    store.set(b"alice", b"on").await;
    store.set(b"bob", b"on").await;
    assert_eq!(store.attempts(|tx| leave(tx, b"alice"), |tx| leave(tx, b"bob")).await, 2);
    assert_eq!(store.get(b"alice").await, Some(b"on".to_vec()));
    assert_eq!(store.get(b"bob").await, Some(b"off".to_vec()));
}

/// A reader that has seen one key before another transaction changed two sees the other as it was before, too.
pub(crate) async fn read_skew(store: Store) {
    store.set(b"x", b"1").await;
    store.set(b"y", b"1").await;
    let metadata = &store.metadata;
    let pair = metadata.read("pair", |tx| async move {
        let x = tx.get(b"x").await?;
        let change = |tx: Transaction| async move {
            tx.set(b"x", b"2")?;
            tx.set(b"y", b"2")
        };
        metadata.transact("change", change).await?;
        let range = tx.get_range(&KeyRange::single(b"y"), RangeOptions::default()).await?;
        Ok((x, tx.get(b"y").await?, range))
    });
    let one = Some(b"1".to_vec());
    assert_eq!(pair.await.expect("pair"), (one.clone(), one, super::rows(&[(b"y", b"1")])));
    assert_eq!(store.get(b"y").await, Some(b"2".to_vec()), "and a new reader sees the change");
}

pub(crate) async fn phantom_in_range(store: Store) {
    let count = |tx: Transaction| async move {
        let found = tx.get_range(&KeyRange::prefix(*b"job/"), RangeOptions::default()).await?;
        tx.set(b"count", &[u8::try_from(found.len()).expect("few")])
    };
    assert_eq!(store.attempts(count, |tx| async move { tx.set(b"job/1", b"") }).await, 2);
    assert_eq!(store.get(b"count").await, Some(vec![1]));
    assert_eq!(store.attempts(count, |tx| async move { tx.set(b"job0", b"beside it") }).await, 1);
}

pub(crate) async fn a_cleared_range_conflicts_with_its_readers(store: Store) {
    store.set(b"a/1", b"").await;
    let clear = |tx: Transaction| async move { tx.clear_range(&KeyRange::prefix(*b"a/")) };
    let reads = |key: &'static [u8]| {
        move |tx: Transaction| async move {
            tx.get(key).await?;
            tx.set(b"other", b"")
        }
    };
    assert_eq!(store.attempts(reads(b"a/1"), clear).await, 2);
    // Also where nothing was stored: the clear says that nothing is there.
    assert_eq!(store.attempts(reads(b"a/2"), clear).await, 2);
    assert_eq!(store.attempts(reads(b"b"), clear).await, 1);
}

pub(crate) async fn snapshot_reads_do_not_conflict(store: Store) {
    let victim = |tx: Transaction| async move {
        tx.snapshot_get(b"k").await?;
        tx.get_range(&KeyRange::all(), RangeOptions::default().snapshot()).await?;
        tx.set(b"own", b"")
    };
    assert_eq!(store.attempts(victim, |tx| async move { tx.set(b"k", b"rival") }).await, 1);
}

pub(crate) async fn blind_writes_do_not_conflict(store: Store) {
    let victim = |tx: Transaction| async move {
        tx.set(b"set", b"victim")?;
        tx.clear(b"cleared")?;
        tx.atomic_add(b"added", 1)?;
        tx.atomic_max(b"max", 1)?;
        tx.clear_range(&KeyRange::prefix(*b"range"))
    };
    let rival = |tx: Transaction| async move {
        for key in [&b"set"[..], b"cleared", b"added", b"max", b"range/1"] {
            tx.set(key, &integer(7))?;
        }
        Ok(())
    };
    assert_eq!(store.attempts(victim, rival).await, 1);
    assert_eq!(store.get(b"set").await, Some(b"victim".to_vec()), "the victim commits last");
    assert_eq!(store.get(b"cleared").await, None);
    assert_eq!(store.get(b"added").await, Some(integer(8)));
    assert_eq!(store.get(b"max").await, Some(integer(7)));
    assert_eq!(store.get(b"range/1").await, None);
}

pub(crate) async fn own_writes_read_back_do_not_conflict(store: Store) {
    let victim = |tx: Transaction| async move {
        tx.set(b"k", b"victim")?;
        assert_eq!(tx.get(b"k").await?, Some(b"victim".to_vec()));
        Ok(())
    };
    assert_eq!(store.attempts(victim, |tx| async move { tx.set(b"k", b"rival") }).await, 1);
    // What depends on the stored value does.
    let victim = |tx: Transaction| async move {
        tx.atomic_add(b"n", 1)?;
        tx.get(b"n").await.map(drop)
    };
    assert_eq!(store.attempts(victim, |tx| async move { tx.set(b"n", &integer(1)) }).await, 2);
}

pub(crate) async fn limited_range_conflicts_only_on_what_it_returned(store: Store) {
    for key in [b"q/2", b"q/4", b"q/6"] {
        store.set(key, b"").await;
    }
    let reads = |options: RangeOptions| {
        move |tx: Transaction| async move {
            assert!(!tx.get_range(&KeyRange::prefix(*b"q/"), options).await?.is_empty());
            tx.set(b"done", b"")
        }
    };
    let writes = |key: &'static [u8]| move |tx: Transaction| async move { tx.set(key, b"rival") };
    let first = RangeOptions::first(2);
    assert_eq!(store.attempts(reads(first), writes(b"q/5")).await, 1, "after the last one returned");
    assert_eq!(store.attempts(reads(first), writes(b"q/4")).await, 2, "the last one returned");
    assert_eq!(store.attempts(reads(first), writes(b"q/1")).await, 2, "before the first one returned");
    let last = RangeOptions::last(2);
    assert_eq!(store.attempts(reads(last), writes(b"q/3")).await, 1, "before the last one returned");
    assert_eq!(store.attempts(reads(last), writes(b"q/5")).await, 2, "the last one returned");
    assert_eq!(store.attempts(reads(last), writes(b"q/7")).await, 2, "after the first one returned");
    let more_than_there_are = RangeOptions::first(100);
    assert_eq!(store.attempts(reads(more_than_there_are), writes(b"q/9")).await, 2, "the whole range");
}

pub(crate) async fn explicit_conflict_ranges(store: Store) {
    let range = KeyRange::prefix(*b"r/");
    let range = &range;
    let victim = |tx: Transaction| async move {
        tx.add_read_conflict_range(range)?;
        tx.set(b"own", b"")
    };
    assert_eq!(store.attempts(victim, |tx| async move { tx.set(b"r/1", b"") }).await, 2);
    let victim = |tx: Transaction| async move {
        tx.get(b"r/1").await?;
        tx.set(b"own", b"")
    };
    let rival = |tx: Transaction| async move { tx.add_write_conflict_range(range) };
    assert_eq!(store.attempts(victim, rival).await, 2);
}

pub(crate) async fn read_only_transactions_cannot_write(store: Store) {
    type Write = fn(&Transaction) -> Result<(), StoreError>;
    let writes: [Write; 8] = [
        |tx| tx.set(b"k", b"v"),
        |tx| tx.clear(b"k"),
        |tx| tx.clear_range(&KeyRange::all()),
        |tx| tx.atomic_add(b"k", 1),
        |tx| tx.atomic_max(b"k", 1),
        |tx| tx.set_versionstamped_key(b"k", b"", b""),
        |tx| tx.set_versionstamped_value(b"k", b"", b""),
        |tx| tx.add_write_conflict_range(&KeyRange::all()),
    ];
    for write in writes {
        let outcome = store.metadata.read("write", |tx| async move { write(&tx) }).await;
        assert!(matches!(outcome, Err(StoreError::ReadOnly)), "{outcome:?}");
    }
    assert!(store.all().await.is_empty());
}

pub(crate) async fn a_function_that_fails_commits_nothing(store: Store) {
    let outcome: Result<(), _> = store
        .metadata
        .transact("fails", |tx| async move {
            tx.set(b"k", b"v")?;
            Err(StoreError::Unavailable { reason: "the function says no".to_owned() })
        })
        .await;
    assert!(matches!(outcome, Err(StoreError::Unavailable { .. })));
    assert_eq!(store.get(b"k").await, None);
}

/// A transaction that another one gets ahead of every time ends with its name, instead of going on for ever.
pub(crate) async fn contended_names_the_transaction(store: Store) {
    let retry = RetryOptions { deadline: Duration::from_millis(100), ..RetryOptions::default() };
    let (metadata, store) = (&store.metadata.with_retry(retry), &store);
    let attempts_made = &AtomicU32::new(0);
    let outcome = metadata.transact("unlucky", |tx| async move {
        attempts_made.fetch_add(1, Ordering::SeqCst);
        tx.get(b"k").await?;
        store.set(b"k", b"rival").await;
        tx.set(b"k", b"victim")
    });
    match outcome.await {
        Err(StoreError::Contended { name, attempts }) => {
            assert_eq!((name, attempts), ("unlucky", attempts_made.load(Ordering::SeqCst)));
        }
        other => panic!("expected to be contended, got {other:?}"),
    }
}
