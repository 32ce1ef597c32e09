//! The embedded engine's directory: who may open it, what a crash leaves, what bad bytes become.

#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test that cannot go on should say where")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{EmbeddedOptions, KeyRange, Metadata, RangeOptions, Transaction};

/// Names the directory to a copy of this program that is to be killed.
const CRASH_FOLDER: &str = "DARKROOM_TEST_CRASH_FOLDER";

async fn open(path: &Path) -> Result<Metadata, StoreError> {
    Metadata::open_embedded(path, EmbeddedOptions::default()).await
}

async fn set(metadata: &Metadata, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
    metadata.transact("set", |tx| async move { tx.set(key, value) }).await
}

async fn get(metadata: &Metadata, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    metadata.read("get", |tx| async move { tx.get(key).await }).await
}

#[tokio::test]
async fn a_directory_in_use_is_refused_until_it_is_closed() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let first = open(folder.path()).await.expect("open");
    set(&first, b"k", b"v").await.expect("set");
    match open(folder.path()).await {
        Err(StoreError::InUse { path }) => assert_eq!(path, folder.path()),
        other => panic!("expected to be in use, got {:?}", other.map(|_| "a store")),
    }
    first.close().await;
    // The handle is still there, but holds nothing.
    let second = open(folder.path()).await.expect("open after close");
    assert_eq!(get(&second, b"k").await.expect("get"), Some(b"v".to_vec()));
    assert!(matches!(set(&first, b"k", b"late").await, Err(StoreError::Closed)));
    assert!(matches!(get(&first, b"k").await, Err(StoreError::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_commits_what_is_queued() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metadata = open(folder.path()).await.expect("open");
    let tasks: Vec<_> = (0..64_u8)
        .map(|index| {
            let metadata = metadata.clone();
            tokio::spawn(async move { set(&metadata, &[index], b"v").await })
        })
        .collect();
    metadata.close().await;
    let mut acknowledged = Vec::new();
    for (index, task) in (0..64_u8).zip(tasks) {
        match task.await.expect("task") {
            Ok(()) => acknowledged.push(vec![index]),
            Err(error) => assert!(matches!(error, StoreError::Closed), "{error}"),
        }
    }
    let metadata = open(folder.path()).await.expect("open again");
    assert_eq!(keys(&metadata).await, acknowledged, "all that was acknowledged, and nothing else");
}

#[tokio::test]
async fn a_watch_ends_when_the_store_closes() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let metadata = open(folder.path()).await.expect("open");
    let watch = metadata.read("watch", |tx| async move { tx.watch(b"k") }).await.expect("watch");
    metadata.close().await;
    watch.await;
}

#[tokio::test]
async fn an_unfinished_creation_is_begun_anew() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let unfinished = folder.path().join("fjall.new");
    std::fs::create_dir(&unfinished).expect("create");
    std::fs::write(unfinished.join("0.jnl"), b"a crash left this").expect("write");
    let metadata = open(folder.path()).await.expect("open");
    set(&metadata, b"k", b"v").await.expect("set");
    assert!(!unfinished.exists());
}

/// A copy of this program commits rows and prints each key once it is acknowledged, until it is killed. All that it
/// printed must be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commits_survive_a_kill() {
    if let Some(folder) = std::env::var_os(CRASH_FOLDER) {
        return commit_until_killed(Path::new(&folder)).await;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut acknowledged = BTreeSet::new();
    for round in 1..=3 {
        acknowledged.extend(keys_acknowledged_before_a_kill(folder.path()));
        let metadata = open(folder.path()).await.expect("open after the kill");
        let stored: BTreeSet<_> = keys(&metadata).await.into_iter().collect();
        let lost: Vec<_> = acknowledged.difference(&stored).collect();
        assert!(lost.is_empty(), "round {round}: acknowledged and lost: {lost:?}");
    }
}

fn keys_acknowledged_before_a_kill(folder: &Path) -> Vec<Vec<u8>> {
    const ENOUGH: usize = 300;
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "acknowledged_commits_survive_a_kill", "--nocapture"])
        .env(CRASH_FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .expect("start");
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut acknowledged = Vec::new();
    for line in lines.map_while(Result::ok) {
        // The full stop tells a whole line from one that the kill has cut short.
        let Some(key) = line.strip_prefix("acknowledged ").and_then(|rest| rest.strip_suffix('.')) else {
            continue;
        };
        acknowledged.push(key.as_bytes().to_vec());
        if acknowledged.len() == ENOUGH {
            child.kill().expect("kill");
        }
    }
    child.wait().expect("wait");
    assert!(acknowledged.len() >= ENOUGH, "it ended by itself after {}", acknowledged.len());
    acknowledged
}

async fn commit_until_killed(folder: &Path) {
    let metadata = open(folder).await.expect("open");
    // So that no line of the test's own output stands before the first.
    println!();
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let metadata = metadata.clone();
            tokio::spawn(async move {
                for turn in 0_u64.. {
                    let key = format!("{}/{task}/{turn}", std::process::id());
                    set(&metadata, key.as_bytes(), &[7; 300]).await.expect("set");
                    println!("acknowledged {key}.");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("task");
    }
}

/// Bytes of the table files are spoilt: a row is then as it was, or reading it is an error. It is never absent, and
/// never another one.
#[tokio::test]
async fn corruption_is_told_from_absence() {
    const ROWS: u32 = 4_000;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = EmbeddedOptions { memtable_bytes: 1024 * 1024, ..EmbeddedOptions::default() };
    let metadata = Metadata::open_embedded(folder.path(), options).await.expect("open");
    for first in (0..ROWS).step_by(100) {
        let fill = |tx: Transaction| async move {
            (first..first + 100).try_for_each(|row| tx.set(&row.to_be_bytes(), &value_of(row)))
        };
        metadata.transact("fill", fill).await.expect("fill");
    }
    metadata.close().await;
    drop(metadata);
    let tables = tables_in(folder.path());
    assert!(!tables.is_empty(), "enough was written to fill a table");
    for table in &tables {
        spoil(table);
    }

    let metadata = open(folder.path()).await.expect("blocks are read when they are needed");
    let mut corrupt = 0;
    for row in 0..ROWS {
        match get(&metadata, &row.to_be_bytes()).await {
            Ok(value) => assert_eq!(value, Some(value_of(row)), "row {row}"),
            Err(StoreError::Corrupt { .. }) => corrupt += 1,
            Err(error) => panic!("row {row}: {error}"),
        }
    }
    assert!(corrupt > 0, "some rows were spoilt");
    let all = metadata
        .read("all", |tx| async move { tx.get_range(&KeyRange::all(), RangeOptions::default()).await })
        .await;
    assert!(matches!(all, Err(StoreError::Corrupt { .. })), "{:?}", all.map(|rows| rows.len()));
}

/// 1,000 bytes that belong to `row` alone and do not compress away.
fn value_of(row: u32) -> Vec<u8> {
    let mut state = row;
    let bytes = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    bytes.take(1_000).collect()
}

fn tables_in(folder: &Path) -> Vec<PathBuf> {
    let mut tables = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            tables.extend(tables_in(&path));
        } else if folder.ends_with("tables") && path.metadata().is_ok_and(|file| file.len() > 100_000) {
            tables.push(path);
        }
    }
    tables
}

/// Turns over one byte in 10,000 in the second quarter of the file. There are rows; the engine's own, which opening
/// reads, stand before them, and the index after.
fn spoil(table: &Path) {
    let mut file = std::fs::File::options().read(true).write(true).open(table).expect("open");
    let half = file.metadata().expect("its size").len() / 2;
    for at in (half / 2..half).step_by(10_000) {
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).expect("seek");
        file.read_exact(&mut byte).expect("read");
        file.seek(SeekFrom::Start(at)).expect("seek");
        file.write_all(&[!byte[0]]).expect("write");
    }
}

async fn keys(metadata: &Metadata) -> Vec<Vec<u8>> {
    let rows = metadata
        .read("keys", |tx| async move { tx.get_range(&KeyRange::all(), RangeOptions::default()).await })
        .await
        .expect("all rows");
    rows.into_iter().map(|(key, _)| key).collect()
}
