//! What only this engine can be made to do: a disk that fails or hangs, a full disk, a short memory.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use super::{Batch, EmbeddedOptions, Engine, Persist};
use crate::error::StoreError;
use crate::metadata::transaction::Transaction;
use crate::metadata::{KeyRange, Metadata, RangeOptions, RetryOptions};

async fn open(path: &Path, options: EmbeddedOptions) -> Metadata {
    Metadata::open_embedded(path, options).await.expect("open")
}

async fn open_with(path: &Path, options: EmbeddedOptions, persist: Persist) -> Metadata {
    let engine = Engine::open_with(path, options, persist).await.expect("open");
    let retry = Arc::new(RetryOptions::default());
    Metadata {
        engine: crate::metadata::Engine::Embedded(engine),
        retry,
        urgency: crate::metadata::Urgency::Usual,
        faults: None,
        gate: None,
    }
}

async fn set(metadata: &Metadata, key: &[u8]) -> Result<(), StoreError> {
    metadata.transact("set", |tx| async move { tx.set(key, b"v") }).await
}

async fn get(metadata: &Metadata, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    metadata.read("get", |tx| async move { tx.get(key).await }).await
}

fn failing(_: Batch<'_>) -> Result<(), StoreError> {
    Err(StoreError::io("syncing", std::io::Error::other("the disk is on fire")))
}

#[tokio::test]
async fn a_failed_sync_is_an_unknown_outcome_and_the_end() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metadata = open_with(folder.path(), EmbeddedOptions::default(), failing).await;
    let fatal = metadata.fatal();
    assert!(matches!(set(&metadata, b"k").await, Err(StoreError::CommitUnknown)));
    assert!(fatal.await.contains("the disk is on fire"));
    assert!(metadata.fatal().now_or_never().is_some(), "it is told to those who ask later, too");
    assert!(
        matches!(set(&metadata, b"k").await, Err(StoreError::Unavailable { .. })),
        "nothing more is written"
    );
    assert_eq!(
        get(&metadata, b"k").await.expect("reading goes on"),
        None,
        "what is not on disk is not shown"
    );
}

#[tokio::test]
async fn a_failed_sync_answers_every_waiter() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metadata = open_with(folder.path(), EmbeddedOptions::default(), failing).await;
    let waiters: Vec<_> = (0..50_u8)
        .map(|index| {
            let metadata = metadata.clone();
            tokio::spawn(async move { set(&metadata, &[index]).await })
        })
        .collect();
    for waiter in waiters {
        let outcome = waiter.await.expect("task");
        assert!(
            matches!(outcome, Err(StoreError::CommitUnknown | StoreError::Unavailable { .. })),
            "{outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_writer_that_hangs_is_the_end() {
    static RELEASED: AtomicBool = AtomicBool::new(false);
    fn hanging(batch: Batch<'_>) -> Result<(), StoreError> {
        while !RELEASED.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        batch.commit()
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = EmbeddedOptions { stall_max: Duration::from_secs(1), ..EmbeddedOptions::default() };
    let metadata = open_with(folder.path(), options, hanging).await;
    assert!(matches!(set(&metadata, b"k").await, Err(StoreError::CommitUnknown)));
    assert!(metadata.fatal().await.contains("hangs"));
    RELEASED.store(true, Ordering::SeqCst);
}

#[tokio::test]
async fn nobody_sees_what_is_not_yet_durable() {
    static SYNCING: AtomicBool = AtomicBool::new(false);
    static RELEASED: AtomicBool = AtomicBool::new(false);
    fn slow(batch: Batch<'_>) -> Result<(), StoreError> {
        SYNCING.store(true, Ordering::SeqCst);
        while !RELEASED.load(Ordering::SeqCst) {
            std::thread::yield_now();
        }
        batch.commit()
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metadata = open_with(folder.path(), EmbeddedOptions::default(), slow).await;
    let writer = {
        let metadata = metadata.clone();
        tokio::spawn(async move { set(&metadata, b"k").await })
    };
    while !SYNCING.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    assert_eq!(get(&metadata, b"k").await.expect("a reader does not wait for the writer"), None);
    RELEASED.store(true, Ordering::SeqCst);
    writer.await.expect("task").expect("set");
    assert_eq!(get(&metadata, b"k").await.expect("get"), Some(b"v".to_vec()));
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_goes_on_reading() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    set(&open(folder.path(), EmbeddedOptions::default()).await, b"k").await.expect("set");
    let options = EmbeddedOptions { free_space_min_bytes: u64::MAX, ..EmbeddedOptions::default() };
    let metadata = open(folder.path(), options).await;
    assert!(matches!(set(&metadata, b"l").await, Err(StoreError::DiskFull { .. })));
    assert_eq!(get(&metadata, b"k").await.expect("get"), Some(b"v".to_vec()));
    assert!(metadata.fatal().now_or_never().is_none(), "it is no reason to end");
}

#[tokio::test]
async fn an_old_transaction_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let age_max = Duration::from_millis(50);
    let options = EmbeddedOptions { transaction_age_max: age_max, ..EmbeddedOptions::default() };
    let metadata = open(folder.path(), options).await;
    let ages = |tx: Transaction| async move {
        let started = Instant::now();
        let refused = loop {
            if let Err(error) = tx.get(b"k").await {
                break error;
            }
        };
        assert!(matches!(refused, StoreError::TooOld), "{refused:?}");
        assert!(started.elapsed() >= age_max);
        tx.set(b"k", b"too late")
    };
    let (attempts, ages) = (&AtomicBool::new(false), &ages);
    let transaction = |tx: Transaction| async move {
        if attempts.swap(true, Ordering::SeqCst) { Ok(()) } else { ages(tx).await }
    };
    metadata.transact("ages", transaction).await.expect("the second attempt is young");
    assert_eq!(get(&metadata, b"k").await.expect("get"), None, "the old one was not committed");
}

#[tokio::test]
async fn what_the_window_has_forgotten_is_too_old() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = EmbeddedOptions { conflict_window_bytes: 1024 * 1024, ..EmbeddedOptions::default() };
    let metadata = &open(folder.path(), options).await;
    let attempts = &std::sync::atomic::AtomicU32::new(0);
    let outlived = |tx: Transaction| async move {
        tx.get(b"k").await?;
        if attempts.fetch_add(1, Ordering::SeqCst) == 0 {
            for round in 0..2_u8 {
                let fill = |tx: Transaction| async move {
                    (0..100_u8)
                        .try_for_each(|index| tx.set(&[&[round, index], &[7; 9_000][..]].concat(), b""))
                };
                metadata.transact("fill", fill).await?;
            }
        }
        tx.set(b"own", b"")
    };
    metadata.transact("outlived", outlived).await.expect("outlived");
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn clearing_too_many_rows_at_once_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metadata = &open(folder.path(), EmbeddedOptions::default()).await;
    for round in 0..6_u8 {
        let fill = |tx: Transaction| async move {
            (0..200_u8).try_for_each(|index| tx.set(&[&[round, index], &[7; 9_000][..]].concat(), b""))
        };
        metadata.transact("fill", fill).await.expect("fill");
    }
    let clear = |range: KeyRange| {
        move |tx: Transaction| {
            let range = range.clone();
            async move { tx.clear_range(&range) }
        }
    };
    let outcome = metadata.transact("clear all", clear(KeyRange::all())).await;
    assert!(matches!(outcome, Err(StoreError::TransactionTooLarge { .. })), "{outcome:?}");
    metadata.transact("clear some", clear(KeyRange::new([0], [3]))).await.expect("half of it");
    let left = metadata
        .read("left", |tx| async move { tx.get_range(&KeyRange::all(), RangeOptions::default()).await })
        .await
        .expect("left");
    assert_eq!(left.len(), 3 * 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_share_a_sync() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metadata = open(folder.path(), EmbeddedOptions::default()).await;
    let tasks: Vec<_> = (0..256_u32)
        .map(|index| {
            let metadata = metadata.clone();
            tokio::spawn(async move { set(&metadata, &index.to_be_bytes()).await })
        })
        .collect();
    for task in tasks {
        task.await.expect("task").expect("set");
    }
    let stats = metadata.stats();
    assert_eq!(stats.commits, 256);
    assert!(stats.groups < stats.commits, "{stats:?}");
    assert!(stats.disk_bytes > 0 && stats.write_buffer_bytes > 0, "{stats:?}");
}
