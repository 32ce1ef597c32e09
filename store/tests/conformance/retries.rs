//! What is run again, and what is not.

use std::sync::atomic::{AtomicU32, Ordering};

use darkroom_store::error::StoreError;
use darkroom_store::metadata::Transaction;

use super::{Store, integer};

/// Each attempt reads anew, and what an attempt that lost had written is not there.
pub(crate) async fn an_attempt_begins_from_nothing(store: Store) {
    let attempts = &AtomicU32::new(0);
    let metadata = &store.metadata;
    let transaction = |tx: Transaction| async move {
        let attempt = attempts.fetch_add(1, Ordering::SeqCst);
        assert_eq!(tx.get(b"n").await?, (attempt > 0).then(|| integer(i64::from(attempt))));
        assert_eq!(tx.get(b"left by an attempt").await?, None);
        if attempt < 3 {
            tx.set(b"left by an attempt", b"")?;
            metadata.transact("rival", |tx| async move { tx.atomic_add(b"n", 1) }).await?;
        }
        tx.atomic_add(b"done", 1)
    };
    metadata.transact("victim", transaction).await.expect("the fourth attempt meets nobody");
    assert_eq!(attempts.load(Ordering::SeqCst), 4);
    assert_eq!(store.get(b"done").await, Some(integer(1)));
    assert_eq!(store.get(b"left by an attempt").await, None);
}

/// A function may ask for another attempt itself, by the errors that an engine would answer.
pub(crate) async fn errors_that_may_pass_are_tried_again(store: Store) {
    let attempts = &AtomicU32::new(0);
    let transaction = |tx: Transaction| async move {
        match attempts.fetch_add(1, Ordering::SeqCst) {
            0 => Err(StoreError::Conflict),
            1 => Err(StoreError::TooOld),
            _ => tx.set(b"k", b"v"),
        }
    };
    store.metadata.transact("tried again", transaction).await.expect("the third attempt");
    assert_eq!(attempts.load(Ordering::SeqCst), 3);
    assert_eq!(store.get(b"k").await, Some(b"v".to_vec()));
}

/// Any other error ends the transaction at once, and is answered as it is.
pub(crate) async fn other_errors_end_at_once(store: Store) {
    let attempts = &AtomicU32::new(0);
    let transaction = |tx: Transaction| async move {
        attempts.fetch_add(1, Ordering::SeqCst);
        tx.set(b"k", b"v")?;
        Err::<(), _>(StoreError::Corrupt { what: "a record".to_owned(), detail: "of a test".to_owned() })
    };
    let outcome = store.metadata.transact("ends", transaction).await;
    assert!(matches!(outcome, Err(StoreError::Corrupt { .. })), "{outcome:?}");
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_eq!(store.get(b"k").await, None);
}

/// Many that all change one row get through, each exactly once.
pub(crate) async fn everyone_gets_through(store: Store) {
    const WRITERS: i64 = 24;
    let tasks = (0..WRITERS).map(|_| {
        let metadata = store.metadata.clone();
        tokio::spawn(async move {
            let add = |tx: Transaction| async move {
                let stored = tx.get(b"n").await?.unwrap_or_else(|| integer(0));
                let number = i64::from_le_bytes(stored.try_into().expect("8 bytes"));
                // Others get their turn between the read and the commit.
                tokio::task::yield_now().await;
                tx.set(b"n", &integer(number + 1))
            };
            metadata.transact("add", add).await.expect("add");
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("task");
    }
    assert_eq!(store.get(b"n").await, Some(integer(WRITERS)));
}
