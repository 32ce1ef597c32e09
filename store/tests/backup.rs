//! Backups: one moment of a store that goes on changing, told from a damaged one, and restored whole or not at all.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "a seed must be printed to be used again")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use darkroom_store::StoreError;
use darkroom_store::backup::{Backup, Restored, Summary, Target, check_not_cut_off, inspect, restore};
use darkroom_store::life;
use darkroom_store::metadata::{
    EmbeddedOptions, Gate, KeyRange, Metadata, Moment, Passing, RangeOptions, Transaction,
};
use darkroom_store::model::jobs::{self, Job, Kind, Lease};
use darkroom_store::model::subspaces::{IDENTITY, INTENTS, NODES};
use darkroom_store::model::{Epoch, JobId, LeaseId, PhotoId, Timestamp, identity, objects};
use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use uuid::Uuid;

const NOW: Timestamp = Timestamp(1_000_000);
type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// A folder with stores and files.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    async fn open(&self, name: &str) -> Metadata {
        Metadata::open_embedded(&self.0.path().join(name), EmbeddedOptions::default()).await.unwrap()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A backup of `metadata` in a file of this name.
    async fn back_up(&self, metadata: &Metadata, name: &str) -> (PathBuf, Summary) {
        let path = self.file(name);
        let mut target = Target::create(&path).unwrap();
        let mut backup = Backup::begin(metadata, NOW).await.unwrap();
        while let Some(bytes) = backup.next().await.unwrap() {
            target.write(&bytes).unwrap();
        }
        let summary = target.finish().unwrap();
        (path, summary)
    }
}

async fn restore_into(metadata: &Metadata, path: &Path) -> Result<Restored, StoreError> {
    restore(metadata, path, Uuid::new_v4(), NOW).await
}

async fn set(metadata: &Metadata, key: &[u8], value: &[u8]) {
    metadata.transact("set", |tx| async move { tx.set(key, value) }).await.unwrap();
}

async fn rows(metadata: &Metadata) -> Rows {
    let mut rows = Rows::new();
    let mut pages = metadata.pages("rows", KeyRange::all(), 1000);
    while let Some(page) = pages.next().await.unwrap() {
        rows.extend(page);
    }
    rows
}

/// Rows without those that a restore makes anew: epochs.
fn without_epochs(mut rows: Rows) -> Rows {
    rows.retain(|key, _| !NODES.all().contains(key));
    rows
}

/// Random rows, small ones and some at the limits, enough for several blocks.
async fn fill(metadata: &Metadata, random: &mut StdRng) -> Rows {
    let mut written = Rows::new();
    for _ in 0..12 {
        let mut batch = Rows::new();
        for _ in 0..60 {
            let mut key = vec![0x60; 1 + random.random_range(0..30)];
            random.fill_bytes(&mut key[1..]);
            let mut value = vec![0; random.random_range(0..500)];
            random.fill_bytes(&mut value);
            batch.insert(key, value);
        }
        batch.insert([&[0x61][..], &random.random::<[u8; 8]>(), &[7; 9_000]].concat(), vec![7; 100_000]);
        let rows = &batch;
        let fill =
            |tx: Transaction| async move { rows.iter().try_for_each(|(key, value)| tx.set(key, value)) };
        metadata.transact("fill", fill).await.unwrap();
        written.extend(batch);
    }
    written
}

fn random_generator(test: &str) -> StdRng {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("{test}: SEED={seed}");
    StdRng::seed_from_u64(seed)
}

#[tokio::test]
async fn a_restored_store_equals_the_one_that_was_backed_up() {
    let (home, mut random) = (Home::new(), random_generator("a_restored_store_equals"));
    let source = home.open("source").await;
    let written = fill(&source, &mut random).await;
    let (path, summary) = home.back_up(&source, "backup").await;
    assert_eq!(summary.rows, written.len() as u64);
    assert_eq!(summary.bytes, std::fs::metadata(&path).unwrap().len());
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600, "every record is in it");

    let copy = home.open("copy").await;
    let restored = restore_into(&copy, &path).await.unwrap();
    assert_eq!(restored.rows, written.len() as u64);
    assert_eq!(without_epochs(rows(&copy).await), written);
    copy.close().await;
    assert_eq!(
        without_epochs(rows(&home.open("copy").await).await),
        written,
        "also after it was opened again"
    );
}

#[tokio::test]
async fn an_empty_store_is_backed_up_too() {
    let home = Home::new();
    let (path, summary) = home.back_up(&home.open("source").await, "backup").await;
    assert_eq!((summary.rows, summary.header.store_id), (0, None));
    let copy = home.open("copy").await;
    restore_into(&copy, &path).await.unwrap();
    assert!(without_epochs(rows(&copy).await).is_empty());
}

/// Money goes round while the backup is taken: in the backup there is as much of it as there was at any moment, and the
/// entry of every transfer in it, and of no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_writes_is_one_moment() {
    const ACCOUNTS: u8 = 50;
    let (home, mut random) = (Home::new(), random_generator("a_backup_under_writes"));
    let source = home.open("source").await;
    // So many other rows between the accounts that reading all of them takes many transfers' time.
    fill(&source, &mut random).await;
    for account in 0..ACCOUNTS {
        set(&source, &[0x60 + account % 2, account, 0], &1000_i64.to_le_bytes()).await;
    }
    let (stop, made) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let (metadata, stop, made) = (source.clone(), Arc::clone(&stop), Arc::clone(&made));
            let mut random = StdRng::from_rng(&mut random);
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let (from, to) = (random.random_range(0..ACCOUNTS), random.random_range(0..ACCOUNTS));
                    let amount = random.random_range(1..50_i64);
                    let transfer = |tx: Transaction| async move {
                        tx.atomic_add(&[0x60 + from % 2, from, 0], -amount)?;
                        tx.atomic_add(&[0x60 + to % 2, to, 0], amount)?;
                        tx.atomic_add(b"transfers", 1)?;
                        tx.set_versionstamped_key(b"log/", b"", b"")
                    };
                    metadata.transact("transfer", transfer).await.unwrap();
                    made.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for round in 0..3 {
        while made.load(Ordering::Relaxed) < 50 * (round + 1) {
            tokio::task::yield_now().await;
        }
        let (path, _) = home.back_up(&source, &format!("backup-{round}")).await;
        let copy = home.open(&format!("copy-{round}")).await;
        restore_into(&copy, &path).await.unwrap();
        let rows = rows(&copy).await;
        let number = |value: &Vec<u8>| i64::from_le_bytes(value[..].try_into().unwrap());
        let sum: i64 =
            (0..ACCOUNTS).map(|account| number(&rows[&[0x60 + account % 2, account, 0][..]])).sum();
        assert_eq!(sum, 1000 * i64::from(ACCOUNTS), "round {round}");
        let logged = rows.keys().filter(|key| key.starts_with(b"log/")).count();
        assert_eq!(number(&rows[&b"transfers"[..]]), logged as i64, "round {round}");
        assert!(logged >= 50, "there was something to be torn apart");
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
}

#[tokio::test]
async fn versionstamps_go_on_above_the_backups() {
    let home = Home::new();
    let source = home.open("source").await;
    let append = |metadata: Metadata| async move {
        let append = |tx: Transaction| async move { tx.set_versionstamped_key(b"log/", b"", b"") };
        metadata.transact("append", append).await.unwrap();
    };
    for _ in 0..30 {
        append(source.clone()).await;
    }
    let (path, summary) = home.back_up(&source, "backup").await;
    let last = rows(&source).await.into_keys().next_back().unwrap();
    assert!(last[4..12] <= summary.header.version.to_be_bytes()[..]);
    let copy = home.open("copy").await;
    restore_into(&copy, &path).await.unwrap();
    for turn in 0..2 {
        append(copy.clone()).await;
        let log: Vec<_> = rows(&copy).await.into_keys().filter(|key| key.starts_with(b"log/")).collect();
        assert_eq!(log.len(), 31 + turn);
        assert!(log[30] > last && log.contains(&last), "new ones stand after those of the backup");
    }
    copy.close().await;
    append(home.open("copy").await).await;
    let log = rows(&home.open("copy").await).await.into_keys().filter(|key| key.starts_with(b"log/")).count();
    assert_eq!(log, 33, "also after it was opened again");
}

/// What a store that was started differs in from its backup: history, epochs, leases, intents. Its objects are untouched.
#[tokio::test]
async fn a_restored_store_is_a_new_history() {
    let home = Home::new();
    let source = home.open("source").await;
    let objects_store =
        ObjectStore::open_filesystem(&home.file("objects"), FilesystemOptions::default()).await.unwrap();
    let life = life::begin(&source, &objects_store).await.unwrap();
    let (intended, job) = (ObjectKey::new(ObjectKind::Original), JobId::new());
    objects_store.put(&intended, "an original".into()).await.unwrap();
    let lease = Lease { id: LeaseId::new(), epoch: life.epoch };
    let held = &Job::new(job, Kind::Process, PhotoId::new(), NOW).leased(lease, Timestamp(u64::MAX));
    let keys = std::slice::from_ref(&intended);
    let write = |tx: Transaction| async move {
        objects::intend(&tx, life.epoch, keys)?;
        jobs::enqueue(&tx, held)
    };
    source.transact("write", write).await.unwrap();
    let (path, summary) = home.back_up(&source, "backup").await;
    assert_eq!(summary.header.store_id, Some(life.store_id));

    let copy = home.open("copy").await;
    let restored = restore_into(&copy, &path).await.unwrap();
    assert_eq!((restored.intents_dropped, restored.leases_voided), (1, 1));
    let found = copy.read("identity", |tx| async move { identity::get(&tx).await }).await.unwrap().unwrap();
    assert_eq!((found.store_id, found.history, found.confirmed), (life.store_id, life.history + 1, true));
    let due = copy.read("due", |tx| async move { jobs::due(&tx, NOW, 10).await }).await.unwrap();
    assert_eq!(due.iter().map(|job| job.id).collect::<Vec<_>>(), [job]);
    assert!(
        rows(&copy).await.keys().all(|key| !INTENTS.all().contains(key)),
        "nobody will delete its object"
    );
    let again = life::begin(&copy, &objects_store).await.unwrap();
    assert!(again.epoch > Epoch(life.epoch.0 + 1) && again.history == life.history + 1);
    assert!(objects_store.head(&intended).await.unwrap().is_some());
    // Restored once more, from a backup of the restored one.
    let (path, summary) = home.back_up(&copy, "backup of the copy").await;
    assert_eq!(summary.header.history, life.history + 1);
    let third = home.open("third").await;
    restore_into(&third, &path).await.unwrap();
    assert!(rows(&third).await.contains_key(&IDENTITY.key(&())));
}

/// A byte turned over anywhere, and a file cut anywhere, is refused with a place at or before the damage; nothing is
/// written.
#[tokio::test]
async fn damaged_and_cut_files_are_refused() {
    let (home, mut random) = (Home::new(), random_generator("damaged_and_cut_files"));
    let source = home.open("source").await;
    fill(&source, &mut random).await;
    let (path, _) = home.back_up(&source, "backup").await;
    let whole = std::fs::read(&path).unwrap();
    let damaged = home.file("damaged");
    let refused = |bytes: &[u8], at: usize, how: &str| {
        std::fs::write(&damaged, bytes).unwrap();
        match inspect(&damaged) {
            Err(StoreError::BadBackup { offset, .. }) => {
                assert!(offset <= at as u64, "{how} at {at}: told from byte {offset} on");
            }
            other => panic!("{how} at {at}: {other:?}"),
        }
    };
    let near_the_ends = (0..140).chain(whole.len() - 60..whole.len());
    let anywhere: Vec<usize> = (0..60).map(|_| random.random_range(0..whole.len())).collect();
    for at in near_the_ends.chain(anywhere) {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << random.random_range(0..8);
        refused(&bytes, at, "a bit turned over");
        refused(&whole[..at], at, "cut");
    }
    refused(&[&whole[..], b"more"].concat(), whole.len(), "something follows");

    let copy = home.open("copy").await;
    std::fs::write(&damaged, &whole[..whole.len() - 1]).unwrap();
    assert!(matches!(restore_into(&copy, &damaged).await, Err(StoreError::BadBackup { .. })));
    assert!(rows(&copy).await.is_empty(), "the whole file is read before anything is written");
    check_not_cut_off(&copy).await.unwrap();
}

/// Blocks of one file in another order, twice or left out are each in themselves whole, and still refused.
#[tokio::test]
async fn blocks_out_of_their_place_are_refused() {
    let (home, mut random) = (Home::new(), random_generator("blocks_out_of_their_place"));
    let source = home.open("source").await;
    fill(&source, &mut random).await;
    let (path, _) = home.back_up(&source, "backup").await;
    let whole = std::fs::read(&path).unwrap();
    let header = 64 + 32;
    let length = |at: usize| 9 + u32::from_le_bytes(whole[at + 1..at + 5].try_into().unwrap()) as usize + 32;
    let second = header + length(header);
    let third = second + length(second);
    let wrong = [
        [&whole[..header], &whole[second..third], &whole[header..second], &whole[third..]].concat(),
        [&whole[..second], &whole[header..]].concat(),
        [&whole[..header], &whole[second..]].concat(),
    ];
    for bytes in wrong {
        let path = home.file("wrong");
        std::fs::write(&path, bytes).unwrap();
        assert!(matches!(inspect(&path), Err(StoreError::BadBackup { .. })));
    }
}

#[tokio::test]
async fn other_files_and_versions_are_named() {
    let home = Home::new();
    let (path, _) = home.back_up(&home.open("source").await, "backup").await;
    let whole = std::fs::read(&path).unwrap();
    let said = |bytes: &[u8]| {
        let path = home.file("other");
        std::fs::write(&path, bytes).unwrap();
        inspect(&path).unwrap_err().to_string()
    };
    assert!(said(&[b'x'; 200]).contains("no backup of darkroom's metadata"));
    assert!(said(b"").contains("cut"));
    let mut newer = whole.clone();
    newer[16] = 2;
    let newer = said(&newer);
    assert!(newer.contains("format version 2") && newer.contains("reads 1"), "{newer}");
    assert!(matches!(inspect(&home.file("absent")), Err(StoreError::Io { .. })));
}

#[tokio::test]
async fn only_an_empty_store_is_restored_into() {
    let home = Home::new();
    let source = home.open("source").await;
    let objects_store =
        ObjectStore::open_filesystem(&home.file("objects"), FilesystemOptions::default()).await.unwrap();
    let life = life::begin(&source, &objects_store).await.unwrap();
    let (path, _) = home.back_up(&source, "backup").await;
    let before = rows(&source).await;
    let refusal = restore_into(&source, &path).await.unwrap_err().to_string();
    assert!(refusal.contains(&life.store_id.to_string()) && refusal.contains("0 photos"), "{refusal}");
    assert_eq!(rows(&source).await, before);
}

/// A restore that ended anywhere between its first and its last transaction is told at the next start, is not backed up,
/// and is begun anew.
/// Has one transaction fail for a passing reason.
struct FailsOnce(AtomicBool);

impl Gate for FailsOnce {
    fn pass(&self, _: &'static str, _: Moment) -> Passing {
        let fails = !self.0.swap(true, Ordering::SeqCst);
        let reason = "for a moment".to_owned();
        Box::pin(async move { if fails { Err(StoreError::Unavailable { reason }) } else { Ok(()) } })
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_read_for_a_moment_is_not_taken_for_half_restored() {
    let home = Home::new();
    let (path, _) = home.back_up(&home.open("from").await, "backup").await;
    let metadata = home.open("into").await;
    set(&metadata, b"kept", b"").await;
    let before = rows(&metadata).await;
    let gated = metadata.gated(Arc::new(FailsOnce(AtomicBool::new(false))));
    let error = restore_into(&gated, &path).await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    assert_eq!(rows(&metadata).await, before);
}

#[tokio::test]
async fn a_restore_that_was_cut_off_is_told_and_begun_anew() {
    let (home, mut random) = (Home::new(), random_generator("a_restore_that_was_cut_off"));
    let source = home.open("source").await;
    let objects_store =
        ObjectStore::open_filesystem(&home.file("objects"), FilesystemOptions::default()).await.unwrap();
    life::begin(&source, &objects_store).await.unwrap();
    let written = fill(&source, &mut random).await;
    let (path, _) = home.back_up(&source, "backup").await;
    let mut cut_off = 0;
    for commits in 1.. {
        let name = format!("copy-{commits}");
        let copy = home.open(&name).await;
        let left = Arc::new(AtomicU64::new(commits));
        // The process ends after so many commits: what follows never happens.
        let dying = copy.with_faults(move || {
            let ended =
                left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err();
            assert!(!ended, "the end of the process");
            darkroom_store::metadata::CommitFault::None
        });
        let file = path.clone();
        let outcome = tokio::spawn(async move { restore_into(&dying, &file).await }).await;
        if let Ok(restored) = outcome {
            restored.unwrap();
            break;
        }
        cut_off += 1;
        copy.close().await;
        drop(copy);
        let copy = home.open(&name).await;
        let told = life::begin(&copy, &objects_store).await.unwrap_err().to_string();
        assert!(told.contains("cut off") && told.contains("darkroomd restore"), "{told}");
        assert!(matches!(Backup::begin(&copy, NOW).await, Err(StoreError::Mismatch(_))));
        restore_into(&copy, &path).await.unwrap();
        life::begin(&copy, &objects_store).await.unwrap();
        let mut found = without_epochs(rows(&copy).await);
        assert!(found.remove(&IDENTITY.key(&())).is_some());
        assert_eq!(found, written, "after {commits} commits");
    }
    assert!(cut_off >= 4, "marker, rows, epoch and leases lie between: {cut_off}");
}

#[tokio::test]
async fn a_file_that_is_there_is_not_written_over_and_half_a_file_does_not_stay() {
    let home = Home::new();
    let path = home.file("backup");
    std::fs::write(&path, b"precious").unwrap();
    assert!(matches!(Target::create(&path), Err(StoreError::Io { .. })));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    let half = home.file("half");
    let mut target = Target::create(&half).unwrap();
    target.write(b"DARKROOM").unwrap();
    assert!(matches!(target.finish(), Err(StoreError::BadBackup { .. })));
    let left: Vec<_> =
        std::fs::read_dir(home.0.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["backup"]);
}

/// A snapshot that is read for longer than a transaction may live stays what it was.
#[tokio::test]
async fn an_export_outlives_what_is_written_over() {
    let home = Home::new();
    let metadata = home.open("source").await;
    for row in 0..200_u8 {
        set(&metadata, &[row], b"before").await;
    }
    let mut export = metadata.export().unwrap();
    let mut seen = export.next(100).await.unwrap();
    assert!(seen.len() < 200);
    let clear = |tx: Transaction| async move { tx.clear_range(&KeyRange::all()) };
    metadata.transact("clear", clear).await.unwrap();
    set(&metadata, &[201], b"after").await;
    loop {
        let page = export.next(100).await.unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page);
    }
    let before: Vec<_> = (0..200_u8).map(|row| (vec![row], b"before".to_vec())).collect();
    assert_eq!(seen, before);
    let now = metadata
        .read("now", |tx| async move { tx.get_range(&KeyRange::all(), RangeOptions::default()).await })
        .await
        .unwrap();
    assert_eq!(now.len(), 1);
}
