//! What only the engine on a cluster has, and what it has not: prefixes, priorities, a cluster that is not there, and
//! backups.
#![cfg(feature = "foundationdb")]
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test that cannot go on should say where")]

#[expect(dead_code, reason = "the other tests run on both engines")]
mod engines;

use std::time::Duration;

use darkroom_store::backup::{Backup, restore};
use darkroom_store::error::StoreError;
use darkroom_store::metadata::{FoundationDbOptions, KeyRange, Metadata, RangeOptions};
use darkroom_store::model::Timestamp;
use engines::{Engine, Place};

async fn set(metadata: &Metadata, key: &[u8]) -> Result<(), StoreError> {
    metadata.transact("set", |tx| async move { tx.set(key, b"") }).await
}

async fn keys(metadata: &Metadata) -> Vec<Vec<u8>> {
    let all = &KeyRange::all();
    let read = |tx: darkroom_store::metadata::Transaction| async move {
        tx.get_range(all, RangeOptions::default()).await
    };
    let rows = metadata.read("keys", read).await.expect("keys");
    rows.into_iter().map(|(key, _)| key).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stores_of_one_cluster_do_not_see_each_other() {
    let case = |first: Place| async move {
        engines::run(Engine::FoundationDb, |second| async move {
            let (one, other) = (first.open().await, second.open().await);
            set(&one, b"one").await.expect("set");
            set(&other, b"other").await.expect("set");
            assert_eq!(keys(&one).await, [b"one"]);
            let everything = &KeyRange::all();
            one.transact("clear", |tx| async move { tx.clear_range(everything) }).await.expect("clear");
            assert_eq!(keys(&one).await, Vec::<Vec<u8>>::new());
            assert_eq!(keys(&other).await, [b"other"]);
        })
        .await;
    };
    engines::run(Engine::FoundationDb, case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_store_refuses_and_ends_its_watches() {
    let case = |place: Place| async move {
        let metadata = place.open().await;
        let watch = metadata.read("watch", |tx| async move { tx.watch(b"k") }).await.expect("watch");
        metadata.close().await;
        watch.await;
        assert!(matches!(set(&metadata, b"k").await, Err(StoreError::Closed)));
        set(&place.open().await, b"k").await.expect("another handle is another matter");
    };
    engines::run(Engine::FoundationDb, case).await;
}

/// A process of its own, because the library's thread ends with the process: in one that looks at what is gone already
/// it dies, and the process with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_ends_in_order_while_somebody_holds_a_closed_store() {
    const INSIDE: &str = "DARKROOM_TEST_ENDING";
    let Ok(cluster_file) = std::env::var("DARKROOM_TEST_FDB_CLUSTER_FILE") else { return };
    if std::env::var_os(INSIDE).is_none() {
        let test = std::env::current_exe().expect("this test");
        for round in 0..5 {
            let mut process = std::process::Command::new(&test);
            process.args(["--exact", "a_process_ends_in_order_while_somebody_holds_a_closed_store"]);
            let ended = process.env(INSIDE, "1").output().expect("a process");
            assert!(ended.status.success(), "round {round}: {ended:?}");
        }
        return;
    }
    let options = FoundationDbOptions {
        cluster_file: cluster_file.into(),
        prefix: format!("test/{:016x}/", rand::random::<u64>()),
        ..FoundationDbOptions::default()
    };
    let metadata = Metadata::open_foundationdb(options).await.expect("open");
    set(&metadata, b"k").await.expect("set");
    let everything = &KeyRange::all();
    metadata.transact("clear", |tx| async move { tx.clear_range(everything) }).await.expect("clear");
    metadata.close().await;
    // As a thread does that nobody waits for.
    std::mem::forget(metadata);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_nobody_waits_for_commits_too() {
    let case = |place: Place| async move {
        let metadata = place.open().await;
        set(&metadata.in_background(), b"swept").await.expect("set");
        assert_eq!(keys(&metadata).await, [b"swept"]);
        assert_eq!(metadata.stats().commits, 1);
    };
    engines::run(Engine::FoundationDb, case).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_took_too_long_is_too_old() {
    let case = |place: Place| async move {
        let metadata = place.open().await;
        let retry = darkroom_store::metadata::RetryOptions { attempts_max: 1, ..Default::default() };
        let impatient = metadata.with_retry(retry);
        let slow = impatient.transact("slow", |tx| async move {
            tx.get(b"k").await?;
            tokio::time::sleep(darkroom_store::metadata::TRANSACTION_AGE_MAX + Duration::from_millis(100))
                .await;
            let late = tx.get(b"k").await;
            assert!(matches!(late, Err(StoreError::TooOld)), "{late:?}");
            tx.set(b"k", b"late")
        });
        let slow = slow.await;
        assert!(
            matches!(&slow, Err(StoreError::Unavailable { reason }) if reason.contains("too slowly")),
            "{slow:?}"
        );
        assert_eq!(keys(&metadata).await, Vec::<Vec<u8>>::new());
    };
    engines::run(Engine::FoundationDb, case).await;
}

/// A transaction is too short for a snapshot of everything.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_left_to_the_clusters_own_tools() {
    let case = |place: Place| async move {
        let metadata = place.open().await;
        set(&metadata, b"k").await.expect("set");
        let (process, now) = (uuid::Uuid::new_v4(), Timestamp(1));
        let refusals = [
            Backup::begin(&metadata, now).await.err(),
            restore(&metadata, std::path::Path::new("not looked at"), process, now).await.err(),
        ];
        for refusal in refusals {
            let refusal = refusal.expect("a refusal");
            assert!(matches!(refusal, StoreError::Unsupported(_)), "{refusal:?}");
            let said = refusal.to_string();
            assert!(said.contains("fdbbackup") && said.contains("fdbrestore"), "{said}");
        }
        assert_eq!(keys(&metadata).await, [b"k"]);
    };
    engines::run(Engine::FoundationDb, case).await;
}

/// Needs the client library, but no cluster.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_does_not_answer_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let cluster_file = folder.path().join("nobody.cluster");
    // A port that the system gave out and took back: nobody listens there.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its number");
    drop(listener);
    std::fs::write(&cluster_file, format!("test:nobody@{address}\n")).expect("write");
    let open_deadline = Duration::from_secs(1);
    let options = FoundationDbOptions { cluster_file, open_deadline, ..FoundationDbOptions::default() };
    match Metadata::open_foundationdb(options).await {
        Err(StoreError::Unavailable { reason }) => {
            assert!(reason.contains("nobody.cluster") && reason.contains("fdbcli"), "{reason}");
        }
        other => panic!("expected no answer, got {:?}", other.map(|_| "a store")),
    }
}
