//! The model of a disk: what it must keep, what it may lose, and what it must be able to lose.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::log::What;
use super::recorder::compile;
use super::{Chance, Disk, Log, Recorder, Survivors, Tree};

/// Seeds after which everything that can happen in a small case has happened.
const SEEDS: std::ops::Range<u64> = 0..400;

fn empty() -> Disk<'static> {
    Disk::found(tempfile::tempdir().unwrap().path()).unwrap()
}

/// A disk to which this has happened.
fn after<'log>(events: &[What<'log>]) -> Disk<'log> {
    let mut disk: Disk<'log> = empty();
    for event in events {
        disk.apply(*event).unwrap();
    }
    disk
}

fn sync(number: u64, inode: u64) -> [What<'static>; 2] {
    [What::SyncBegun { inode, number, data_only: false }, What::SyncDone { number }]
}

/// Everything that cuts leave of one file.
fn outcomes(disk: &Disk<'_>, file: &str) -> BTreeSet<Option<Vec<u8>>> {
    let left = |seed| disk.after_the_cut(&mut Chance::new(Survivors::Any, seed));
    SEEDS.map(|seed| content(&left(seed), file)).collect()
}

fn content(tree: &Tree, file: &str) -> Option<Vec<u8>> {
    tree.files.get(Path::new(file)).map(super::content::Content::bytes)
}

/// A disk with an empty durable file `file`, inode 1.
fn durable_file() -> Disk<'static> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "").unwrap();
    let mut disk = Disk::found(folder.path()).unwrap();
    disk.known_as("file", 1);
    disk
}

fn write(at: u64, bytes: &[u8]) -> What<'_> {
    What::Written { inode: 1, at, bytes }
}

fn with<'log>(mut disk: Disk<'log>, events: &[What<'log>]) -> Disk<'log> {
    for event in events {
        disk.apply(*event).unwrap();
    }
    disk
}

#[test]
fn what_was_synced_is_there_and_what_follows_may_be() {
    let mut events = vec![write(0, b"first")];
    events.extend(sync(1, 1));
    events.push(write(5, b" second"));
    let left = outcomes(&with(durable_file(), &events), "file");
    assert!(left.iter().all(|left| left.as_ref().unwrap().starts_with(b"first")), "{left:?}");
    assert!(left.contains(&Some(b"first".to_vec())) && left.contains(&Some(b"first second".to_vec())));
    // The size may have arrived without the bytes.
    assert!(left.contains(&Some(b"first\0\0\0\0\0\0\0".to_vec())), "{left:?}");
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let begun = What::SyncBegun { inode: 1, number: 1, data_only: true };
    let done = What::SyncDone { number: 1 };
    let disk = with(durable_file(), &[write(0, b"a"), begun, write(1, b"b"), done]);
    assert_eq!(outcomes(&disk, "file"), [b"a".to_vec(), b"ab".to_vec(), b"a\0".to_vec()].map(Some).into());
    // One that has not returned promises nothing.
    let disk = with(durable_file(), &[write(0, b"a"), begun]);
    assert!(outcomes(&disk, "file").contains(&Some(Vec::new())));
}

#[test]
fn a_write_is_torn_between_sectors_and_not_within_one() {
    let bytes = vec![b'x'; 512 * 3];
    let disk = with(durable_file(), &[What::Resized { inode: 1, size: 512 * 3 }, write(0, &bytes)]);
    let mut patterns = BTreeSet::new();
    for left in outcomes(&disk, "file").into_iter().flatten().filter(|left| !left.is_empty()) {
        let sectors: Vec<bool> =
            left.chunks(512).map(|sector| sector.iter().all(|byte| *byte == b'x')).collect();
        assert!(
            left.chunks(512).all(|sector| sector.iter().all(|byte| *byte == sector[0])),
            "torn in a sector"
        );
        patterns.insert(sectors);
    }
    assert_eq!(patterns.len(), 8, "any combination of three sectors: {patterns:?}");
}

#[test]
fn a_sector_never_has_the_second_write_without_the_first() {
    let disk = with(durable_file(), &[write(0, b"one"), write(3, b"two")]);
    let left = outcomes(&disk, "file");
    assert!(!left.contains(&Some(b"\0\0\0two".to_vec())), "{left:?}");
    assert!(left.contains(&Some(b"one\0\0\0".to_vec())) && left.contains(&Some(b"onetwo".to_vec())));
}

#[test]
fn what_was_cut_off_does_not_come_back_under_what_was_written_later() {
    let (old, new) = (vec![b'o'; 2048], vec![b'n'; 2048]);
    let mut events = vec![write(0, &old)];
    events.extend(sync(1, 1));
    events.extend([What::Resized { inode: 1, size: 700 }, write(700, &new[700..])]);
    for left in outcomes(&with(durable_file(), &events), "file").into_iter().flatten() {
        assert!(left.len() >= 700 && left[..512] == old[..512], "nothing touched what lies before the cut");
        // Behind it is either all that was there before, or nothing of it.
        let beyond = left.get(1024..).unwrap_or_default();
        let (old, new) = (beyond.contains(&b'o'), beyond.contains(&b'n'));
        assert!(!(old && new), "old and new beyond one cut");
        assert!(!(old && left.len() < 2048), "the size of after the cut with bytes of before it");
    }
}

#[test]
fn a_name_needs_the_sync_of_its_folder() {
    let mut events = vec![What::FolderMade { path: "f", inode: 2 }];
    events.extend([What::Created { path: "f/file", inode: 1 }, write(0, b"bytes")]);
    events.extend(sync(1, 1));
    events.extend(sync(2, 2));
    // The folder's own name is in the root, which was not synced.
    let left = outcomes(&after(&events), "f/file");
    assert_eq!(left, [None, Some(b"bytes".to_vec())].into());
    let mut disk = after(&events);
    disk.known_as("", 0);
    let disk = with(disk, &sync(3, 0));
    assert_eq!(outcomes(&disk, "f/file"), [Some(b"bytes".to_vec())].into());
}

#[test]
fn a_rename_may_arrive_before_the_bytes() {
    let disk = with(
        durable_file(),
        &[
            What::Created { path: "new", inode: 3 },
            What::Written { inode: 3, at: 0, bytes: b"new" },
            What::Renamed { path: "new", target: "file" },
        ],
    );
    let left = outcomes(&disk, "file");
    assert_eq!(left, ["", "\0\0\0", "new"].map(|text| Some(text.as_bytes().to_vec())).into());
    // The rename is one step: its name is never gone, and the file is never there twice.
    for seed in SEEDS {
        let tree = disk.after_the_cut(&mut Chance::new(Survivors::Any, seed));
        assert!(tree.files.contains_key(Path::new("file")));
        assert!(tree.files.len() == 1 || content(&tree, "file") == Some(Vec::new()));
    }
}

#[test]
fn a_rename_between_folders_never_loses_the_file() {
    let mut disk = empty();
    disk.known_as("", 0);
    let made = ["a", "b"].map(|path| What::FolderMade { path, inode: if path == "a" { 2 } else { 3 } });
    let created = What::Created { path: "a/file", inode: 1 };
    for event in made.into_iter().chain([created, write(0, b"torn?")]).chain(sync(1, 0)).chain(sync(2, 2)) {
        disk.apply(event).unwrap();
    }
    disk.apply(What::Renamed { path: "a/file", target: "b/file" }).unwrap();
    let (a, b) = (PathBuf::from("a/file"), PathBuf::from("b/file"));
    assert_eq!(names(&disk), [vec![a.clone()], vec![b.clone()], vec![a.clone(), b.clone()]].into());
    for seed in SEEDS {
        let tree = disk.after_the_cut(&mut Chance::new(Survivors::Any, seed));
        let both = (content(&tree, "a/file"), content(&tree, "b/file"));
        assert!(
            both.0.is_none() || both.1.is_none() || both.0 == both.1,
            "one file under two names: {both:?}"
        );
    }
    let synced = with(disk.clone(), &sync(3, 3));
    assert_eq!(names(&synced), [vec![b.clone()], vec![a, b.clone()]].into());
    let synced = with(disk, &sync(3, 2));
    assert_eq!(names(&synced), [vec![b]].into(), "the old name is gone, so the new one is there");
}

/// The files that there may be.
fn names(disk: &Disk<'_>) -> BTreeSet<Vec<PathBuf>> {
    let left = |seed| disk.after_the_cut(&mut Chance::new(Survivors::Any, seed));
    SEEDS.map(|seed| left(seed).files.into_keys().collect()).collect()
}

#[test]
fn names_of_a_folder_arrive_in_order() {
    let disk = after(&["1", "2", "3"].map(|path| What::Created { path, inode: path.parse().unwrap() }));
    let mut found = BTreeSet::new();
    for seed in SEEDS {
        let tree = disk.after_the_cut(&mut Chance::new(Survivors::Any, seed));
        found.insert(tree.files.len());
        let names: Vec<&str> = tree.files.keys().filter_map(|path| path.to_str()).collect();
        assert_eq!(names, ["1", "2", "3"][..names.len()]);
    }
    assert_eq!(found.len(), 4, "{found:?}");
}

#[test]
fn a_deleted_file_may_be_back_until_its_folder_is_synced() {
    let mut disk = with(durable_file(), &[What::Unlinked { path: "file" }]);
    assert_eq!(outcomes(&disk, "file"), [None, Some(Vec::new())].into());
    disk.known_as("", 0);
    let disk = with(disk, &sync(1, 0));
    assert_eq!(outcomes(&disk, "file"), [None].into());
}

#[test]
fn an_inode_number_that_is_used_again_is_another_file() {
    let created = |path| What::Created { path, inode: 1 };
    let disk =
        after(&[created("a"), write(0, b"a"), What::Unlinked { path: "a" }, created("b"), write(0, b"b")]);
    let tree = disk.after_the_cut(&mut Chance::new(Survivors::Everything, 0));
    assert_eq!((content(&tree, "a"), content(&tree, "b")), (None, Some(b"b".to_vec())));
}

#[test]
fn what_is_saved_is_found_again() {
    let bytes: Vec<u8> = (0..5000_u32).map(|byte| byte as u8).collect();
    let events = [
        What::FolderMade { path: "f", inode: 2 },
        What::Created { path: "f/file", inode: 1 },
        write(100_000, &bytes),
        What::Resized { inode: 1, size: 64 << 20 },
    ];
    let tree = after(&events).after_the_cut(&mut Chance::new(Survivors::Everything, 0));
    let folder = tempfile::tempdir().unwrap();
    tree.save(folder.path()).unwrap();
    let found = Disk::found(folder.path()).unwrap();
    assert_eq!(found.after_the_cut(&mut Chance::new(Survivors::Nothing, 0)), tree);
}

/// A program that changes files in every way, also past libc: what the log says must be what is there.
#[test]
fn the_recorder_sees_everything() {
    let Some(recorder) = Recorder::build().unwrap() else { return };
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let found = Disk::found(&root).unwrap();
    let log = recorded_writer(&recorder, home.path(), &root, &[]);
    let disk = found.replay(&log.events().unwrap(), u64::MAX, &BTreeSet::new()).unwrap();
    let everything = || Chance::new(Survivors::Everything, 0);
    let (real, logged) =
        (Disk::found(&root).unwrap().after_the_cut(&mut everything()), disk.after_the_cut(&mut everything()));
    assert_eq!(real.differences(&logged, ""), Vec::<String>::new());
    assert!(real.files.len() >= 4 && real.files[Path::new("folder/by-hand")].size() == 9, "{real:?}");
}

/// What it cannot follow must fail the test rather than make it prove less.
#[test]
fn what_the_recorder_does_not_understand_is_refused() {
    let Some(recorder) = Recorder::build().unwrap() else { return };
    for change in ["link", "symlink", "mapping", "copy"] {
        let (home, root) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let log = recorded_writer(&recorder, home.path(), root.path(), &[change]);
        let error = log.events().unwrap_err().to_string();
        assert!(error.contains("nothing that the recorder understands"), "{change}: {error}");
    }
}

/// The log of `tests/power/writer.c`, which works in `root`.
fn recorded_writer(recorder: &Recorder, home: &Path, root: &Path, arguments: &[&str]) -> Log {
    let program = home.join("writer");
    compile("writer.c", &program, &[]).unwrap();
    let environment = recorder.environment(root).unwrap();
    let output = Command::new(&program).arg(root).args(arguments).envs(environment).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Log::read(&recorder.log()).unwrap()
}
