//! Every file of a closed store, damaged: what was acknowledged is then as it was, or there is an error. It is never
//! silently absent. And what a power cut may leave of a commit that nobody was told of is no damage.
#![allow(clippy::expect_used, clippy::print_stdout, reason = "a test that cannot go on should say where")]

use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{EmbeddedOptions, KeyRange, Metadata, RangeOptions, Transaction};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn random_generator(test: &str) -> StdRng {
    let seed = std::env::var("SEED").map_or_else(|_| rand::random(), |seed| seed.parse().expect("a number"));
    println!("{test}: SEED={seed}");
    StdRng::seed_from_u64(seed)
}

async fn open(path: &Path) -> Result<Metadata, StoreError> {
    let options = EmbeddedOptions { memtable_bytes: 1024 * 1024, ..EmbeddedOptions::default() };
    Metadata::open_embedded(path, options).await
}

async fn all(metadata: &Metadata) -> Result<Rows, StoreError> {
    metadata
        .read("all", |tx| async move { tx.get_range(&KeyRange::all(), RangeOptions::default()).await })
        .await
}

/// Commits `rows` rows of 1,000 bytes that do not compress away, 20 in each transaction.
async fn fill(metadata: &Metadata, first: u32, rows: u32, random: &mut StdRng) {
    for from in (first..first + rows).step_by(20) {
        let values: Vec<Vec<u8>> = (0..20).map(|_| (0..1_000).map(|_| random.random()).collect()).collect();
        let values = &values;
        let fill = |tx: Transaction| async move {
            (from..from + 20).zip(values).try_for_each(|(row, value)| tx.set(&row.to_be_bytes(), value))
        };
        metadata.transact("fill", fill).await.expect("fill");
    }
}

/// A closed store with table files and a journal, and its rows.
async fn closed_store(folder: &Path, random: &mut StdRng) -> Rows {
    let metadata = open(folder).await.expect("open");
    fill(&metadata, 0, 3_000, random).await;
    metadata.close().await;
    drop(metadata);
    // Opened again, so that what was in memory lies in tables, and the rest in a journal that is not filled up with zeros.
    let metadata = open(folder).await.expect("open");
    fill(&metadata, 3_000, 200, random).await;
    let rows = all(&metadata).await.expect("all");
    metadata.close().await;
    rows
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { files.extend(files_in(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// A copy of a folder. Without another process, which could for a moment inherit the lock of a store that is open here.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("create");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).expect("an entry");
        if path.is_dir() { copy(&path, &to.join(name)) } else { copy_file(&path, &to.join(name)) }
    }
}

/// A copy of a file whose holes stay holes: a new journal is 64 MiB of nothing.
fn copy_file(from: &Path, to: &Path) {
    const PIECE_BYTES: u64 = 1 << 16;
    let mut source = std::fs::File::open(from).expect("open");
    let mut target = std::fs::File::create(to).expect("create");
    let length = source.metadata().expect("its size").len();
    target.set_len(length).expect("its size");
    for at in (0..length).step_by(PIECE_BYTES as usize) {
        let mut piece = Vec::new();
        Read::by_ref(&mut source).take(PIECE_BYTES).read_to_end(&mut piece).expect("read");
        if piece.iter().any(|byte| *byte != 0) {
            target.seek(SeekFrom::Start(at)).expect("seek");
            target.write_all(&piece).expect("write");
        }
    }
}

/// Turns over the bits of `mask` in one byte of a file.
fn flip(file: &Path, at: u64, mask: u8) {
    let mut file = std::fs::File::options().read(true).write(true).open(file).expect("open");
    let mut byte = [0];
    file.seek(SeekFrom::Start(at)).expect("seek");
    file.read_exact(&mut byte).expect("read");
    file.seek(SeekFrom::Start(at)).expect("seek");
    file.write_all(&[byte[0] ^ mask]).expect("write");
}

/// Opens what may be damaged and reads all of it. A panic of the engine's is an error too: it is not silence.
async fn read_damaged(folder: PathBuf) -> Result<Rows, String> {
    let reading = tokio::spawn(async move {
        let metadata = open(&folder).await?;
        let rows = all(&metadata).await;
        metadata.close().await;
        rows
    });
    match reading.await {
        Ok(outcome) => outcome.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

/// A byte turned over: anywhere in each file, and where it has something to say, at its ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_is_an_error_or_harmless() {
    let mut random = random_generator("a_flipped_byte_is_an_error_or_harmless");
    let home = tempfile::tempdir().expect("a temporary folder");
    let whole = home.path().join("whole");
    let rows = closed_store(&whole, &mut random).await;
    assert_eq!(rows.len(), 3_200);
    let (mut errors, mut harmless) = (0, 0);
    for file in files_in(&whole) {
        let name = file.strip_prefix(&whole).expect("below it").to_owned();
        let length = std::fs::metadata(&file).expect("its size").len();
        if length == 0 {
            continue;
        }
        let mut places: Vec<u64> = (0..8).map(|_| random.random_range(0..length)).collect();
        places.extend([0, length / 2, length - 1]);
        for at in places {
            let damaged = home.path().join("damaged");
            copy(&whole, &damaged);
            flip(&damaged.join(&name), at, 0xFF);
            match read_damaged(damaged.clone()).await {
                Ok(found) => {
                    assert!(
                        found == rows,
                        "{} at {at}: {} of {} rows",
                        name.display(),
                        found.len(),
                        rows.len()
                    );
                    harmless += 1;
                }
                Err(_) => errors += 1,
            }
            std::fs::remove_dir_all(&damaged).expect("remove");
        }
    }
    println!("{errors} errors, {harmless} harmless");
    assert!(errors > 20, "most of these files matter");
}

/// Every byte of the lists of tables, which the storage engine would believe: a length among them would have it ask for more
/// memory than there is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_a_list_of_tables_is_told() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let rows = closed_store(home.path(), &mut random_generator("damage_in_a_list_of_tables")).await;
    let is_list = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name == "current" || name.strip_prefix('v').is_some_and(|number| number.parse::<u64>().is_ok())
    };
    let lists: Vec<_> =
        files_in(&home.path().join("fjall").join("keyspaces")).into_iter().filter(is_list).collect();
    assert!(lists.len() >= 4, "two keyspaces: {lists:?}");
    for list in lists {
        // The last byte of `current` names the kind of the sum, of which there is one.
        let length = std::fs::metadata(&list).expect("its size").len() - u64::from(list.ends_with("current"));
        for at in 0..length {
            flip(&list, at, 0x40);
            let refused = open(home.path()).await.map(drop);
            assert!(
                matches!(refused, Err(StoreError::Corrupt { .. })),
                "{} at {at}: {refused:?}",
                list.display()
            );
            flip(&list, at, 0x40);
        }
    }
    let metadata = open(home.path()).await.expect("open");
    assert!(all(&metadata).await.expect("all") == rows);
    metadata.close().await;
}

/// The newest journal of a store.
fn newest_journal(folder: &Path) -> PathBuf {
    let journals =
        files_in(folder).into_iter().filter(|path| path.extension().is_some_and(|end| end == "jnl"));
    let number = |path: &PathBuf| path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
    journals.max_by_key(number).expect("a journal")
}

/// Every byte of the journal's last commits, one after the other: whichever is damaged, nothing acknowledged is missing
/// without a word, though fjall alone would take the damage for the journal's end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_in_the_journal_is_not_taken_for_its_end() {
    let mut random = random_generator("damage_in_the_journal");
    let home = tempfile::tempdir().expect("a temporary folder");
    let whole = home.path().join("whole");
    let metadata = open(&whole).await.expect("open");
    metadata.close().await;
    drop(metadata);
    let metadata = open(&whole).await.expect("open");
    for row in 0..6_u8 {
        metadata.transact("set", |tx| async move { tx.set(&[row], &[row; 20]) }).await.expect("set");
    }
    let rows = all(&metadata).await.expect("all");
    metadata.close().await;
    drop(metadata);
    let journal = newest_journal(&whole);
    let length = std::fs::metadata(&journal).expect("its size").len();
    assert!(length < 10_000, "six small commits");
    let damaged = home.path().join("damaged");
    let name = damaged.join(journal.strip_prefix(&whole).expect("below it"));
    let step = (length as usize / 150).max(1);
    for at in (random.random_range(0..step as u64)..length).step_by(step) {
        copy(&whole, &damaged);
        flip(&name, at, 1 << random.random_range(0..8));
        if let Ok(found) = read_damaged(damaged.clone()).await {
            assert_eq!(found, rows, "byte {at} of {length}");
        }
        std::fs::remove_dir_all(&damaged).expect("remove");
    }
}

/// A power cut while a commit is being written leaves any part of it: the store opens without it, and goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_torn_commit_that_nobody_was_told_of_is_removed() {
    const TORN_BYTES: usize = 512;
    let mut random = random_generator("a_torn_commit");
    let home = tempfile::tempdir().expect("a temporary folder");
    let before = home.path().join("before");
    let metadata = open(&before).await.expect("open");
    fill(&metadata, 0, 100, &mut random).await;
    let rows = all(&metadata).await.expect("all");
    metadata.close().await;
    drop(metadata);
    // Opening cuts the zeros off, so that a commit stands at the end.
    open(&before).await.expect("open").close().await;
    let after = home.path().join("after");
    copy(&before, &after);
    let metadata = open(&after).await.expect("open");
    fill(&metadata, 100, 20, &mut random).await;
    metadata.close().await;
    drop(metadata);
    let journal = newest_journal(&before).strip_prefix(&before).expect("below it").to_owned();
    let new = std::fs::read(after.join(&journal)).expect("read");
    let begin = new.len() - 20 * 1_000;
    for _ in 0..40 {
        let torn = home.path().join("torn");
        copy(&before, &torn);
        let mut bytes = new.clone();
        for sector in (begin / TORN_BYTES * TORN_BYTES..new.len()).step_by(TORN_BYTES) {
            if random.random() {
                let end = (sector + TORN_BYTES).min(new.len());
                let lost = &mut bytes[sector.max(begin)..end];
                lost.fill(0);
            }
        }
        bytes.truncate(random.random_range(begin..=new.len()));
        std::fs::write(torn.join(&journal), &bytes).expect("write");
        let metadata = open(&torn).await.expect("a torn commit is no damage");
        let found = all(&metadata).await.expect("all");
        assert!(found[..100] == rows[..], "all that was acknowledged");
        assert!(
            [100, 120].contains(&found.len()),
            "and the torn commit whole or not at all: {}",
            found.len()
        );
        fill(&metadata, 200, 20, &mut random).await;
        metadata.close().await;
        drop(metadata);
        let again = all(&open(&torn).await.expect("open")).await.expect("all");
        assert_eq!(again.len(), found.len() + 20, "and it goes on");
        std::fs::remove_dir_all(&torn).expect("remove");
    }
}
