//! What only files have: what a process leaves that died, a folder that nodes share or that is mounted, and a disk that
//! fills up.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use darkroom_store::StoreError;
use darkroom_store::model::Epoch;
use darkroom_store::objects::filesystem::{FilesystemOptions, Leftover};
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore, ObjectWriter};
use tempfile::TempDir;
use uuid::Uuid;

use crate::cases::{content, read, whole};

fn temporary_files(home: &Path) -> usize {
    fs::read_dir(home.join("tmp")).unwrap().count()
}

fn epochs(left: &[Leftover]) -> Vec<Option<Epoch>> {
    left.iter().map(Leftover::epoch).collect()
}

/// A put of which half is on disk.
async fn half_a_put(objects: &ObjectStore, key: &ObjectKey) -> ObjectWriter {
    let mut writer = objects.begin_put(key).await.unwrap();
    writer.write(content(600_000)).await.unwrap();
    writer
}

#[tokio::test]
async fn a_node_that_opens_a_shared_folder_leaves_the_puts_of_others_alone() {
    let home = tempfile::tempdir().unwrap();
    let one = ObjectStore::open_shared_filesystem(home.path(), FilesystemOptions::default())
        .await
        .unwrap()
        .of_epoch(Epoch(1));
    let keys = [ObjectKey::new(ObjectKind::Original), ObjectKey::new(ObjectKind::Original)];
    let first = half_a_put(&one, &keys[0]).await;
    let two = ObjectStore::open_shared_filesystem(home.path(), FilesystemOptions::default())
        .await
        .unwrap()
        .of_epoch(Epoch(2));
    // Both number their files from 0.
    let second = half_a_put(&two, &keys[1]).await;
    assert_eq!(temporary_files(home.path()), 2);
    first.finish().await.unwrap();
    second.finish().await.unwrap();
    for key in &keys {
        assert_eq!(whole(&two, key, 600_000).await, content(600_000));
    }
    assert_eq!(temporary_files(home.path()), 0);
}

#[tokio::test]
async fn what_a_dead_node_left_in_a_shared_folder_is_found_under_its_epoch_and_removed_on_request() {
    let home = tempfile::tempdir().unwrap();
    let open = async || {
        ObjectStore::open_shared_filesystem(home.path(), FilesystemOptions::default()).await.unwrap()
    };
    let dead = open().await.of_epoch(Epoch(7));
    // The process ends without any cleaning up.
    std::mem::forget(half_a_put(&dead, &ObjectKey::new(ObjectKind::Variant)).await);
    let living = open().await.of_epoch(Epoch(8));
    let writing = half_a_put(&living, &ObjectKey::new(ObjectKind::Variant)).await;

    let mut left = living.leftovers().await.unwrap();
    assert_eq!(epochs(&left), [Some(Epoch(7))], "not its own");
    assert_eq!(living.remove_leftovers(left.clone()).await.unwrap(), 1);
    assert_eq!(living.remove_leftovers(left).await.unwrap(), 0, "another node was faster");
    left = dead.leftovers().await.unwrap();
    assert_eq!(epochs(&left), [Some(Epoch(8))]);
    writing.finish().await.unwrap();
    assert_eq!(temporary_files(home.path()), 0);
}

#[tokio::test]
async fn a_temporary_file_without_an_epoch_is_nobodys_after_a_day() {
    let home = tempfile::tempdir().unwrap();
    let objects =
        ObjectStore::open_shared_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
    // Named as an older version did; and one of a node that is beginning.
    for name in ["0", "new.0123456789abcdef0123456789abcdef.0"] {
        let file = File::create(home.path().join("tmp").join(name)).unwrap();
        assert_eq!(objects.leftovers().await.unwrap(), []);
        file.set_modified(SystemTime::now() - Duration::from_secs(25 * 3600)).unwrap();
        let left = objects.leftovers().await.unwrap();
        assert_eq!((left.len(), left[0].epoch()), (1, None));
        assert_eq!(objects.remove_leftovers(left).await.unwrap(), 1);
    }
    assert_eq!(temporary_files(home.path()), 0);
}

#[tokio::test]
async fn what_a_dead_process_left_is_removed_at_the_next_opening() {
    let home = tempfile::tempdir().unwrap();
    ObjectStore::open_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
    fs::write(home.path().join("tmp/0"), b"half").unwrap();
    let objects = ObjectStore::open_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
    assert_eq!(temporary_files(home.path()), 0);
    std::mem::forget(half_a_put(&objects, &ObjectKey::new(ObjectKind::Variant)).await);
    assert_eq!(temporary_files(home.path()), 1);
    ObjectStore::open_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
    assert_eq!(temporary_files(home.path()), 0);
}

#[tokio::test]
async fn deleting_tells_how_many_there_were() {
    let home = tempfile::tempdir().unwrap();
    let objects = ObjectStore::open_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
    let keys: Vec<_> = (0..20).map(|_| ObjectKey::new(ObjectKind::Variant)).collect();
    for key in &keys[3..] {
        objects.put(key, content(10)).await.unwrap();
    }
    assert_eq!(objects.delete(&keys).await.unwrap(), 17);
    assert_eq!(objects.delete(&keys).await.unwrap(), 0);
}

/// The file of an object, in the folder of its kind.
fn file_of(home: &Path, key: &ObjectKey) -> PathBuf {
    let (kind, id) = key.as_str().split_once('/').unwrap();
    let shards = fs::read_dir(home.join(kind)).unwrap().map(|shard| shard.unwrap().path());
    shards.map(|shard| shard.join(id)).find(|file| file.exists()).unwrap()
}

#[tokio::test]
async fn what_the_disk_cannot_read_is_told_from_what_the_store_cannot() {
    let home = tempfile::tempdir().unwrap();
    let objects = ObjectStore::open_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
    let key = ObjectKey::new(ObjectKind::Original);
    objects.put(&key, content(10)).await.unwrap();
    let file = file_of(home.path(), &key);
    assert_eq!(read(&objects, &key, Some(2..10)).await, content(10)[2..]);
    let short = objects.get(&key, Some(2..11)).await.unwrap_err();
    assert!(matches!(short, StoreError::Corrupt { .. }), "{short}");
    // Nothing is at the beginning of a process's memory: the kernel answers EIO, as it does for a bad sector.
    fs::remove_file(&file).unwrap();
    std::os::unix::fs::symlink("/proc/self/mem", &file).unwrap();
    let lost = objects.get(&key, Some(0..10)).await.unwrap_err();
    assert!(matches!(lost, StoreError::Unreadable { .. }), "{lost}");
    assert!(lost.to_string().contains(file.to_str().unwrap()), "{lost}");
    // Not so what is no file at all.
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    let refused = objects.get(&key, Some(0..10)).await.unwrap_err();
    assert!(matches!(refused, StoreError::Io { .. }), "{refused}");
}

#[tokio::test]
async fn a_store_id_is_no_larger_than_one() {
    let home = tempfile::tempdir().unwrap();
    let objects = ObjectStore::open_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
    fs::write(home.path().join("store-id"), [b' '; 65]).unwrap();
    let error = objects.store_id().await.unwrap_err().to_string();
    assert!(error.contains("65 bytes") && error.contains("at most 64"), "{error}");
}

#[tokio::test]
async fn a_put_leaves_room_on_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let objects = ObjectStore::open_filesystem(
        home.path(),
        FilesystemOptions { free_space_min_bytes: u64::MAX, ..FilesystemOptions::default() },
    )
    .await
    .unwrap();
    let key = ObjectKey::new(ObjectKind::Original);
    let told = objects.put(&key, content(10)).await.unwrap_err().to_string();
    assert!(told.contains("are kept free; make room"), "{told}");
    assert!(matches!(objects.begin_put(&key).await, Err(StoreError::DiskFull { .. })));
    assert_eq!(objects.delete(&[key]).await.unwrap(), 0, "deleting is always possible");
}

/// A folder that is now on one file system and now on another, as a mount point is. A link stands for it.
struct MountPoint {
    path: PathBuf,
    /// What is seen while nothing is mounted. On the disk of the link.
    below: TempDir,
    /// In memory, and so another device.
    mounted: TempDir,
}

impl MountPoint {
    /// None where this machine has no file system in memory.
    fn mounted() -> Option<Self> {
        let (below, mounted) = (tempfile::tempdir().unwrap(), tempfile::tempdir_in("/dev/shm").ok()?);
        let device = |folder: &TempDir| fs::metadata(folder.path()).unwrap().dev();
        if device(&below) == device(&mounted) {
            return None;
        }
        let point = Self { path: below.path().join("mount-point"), below, mounted };
        symlink(point.mounted.path(), &point.path).unwrap();
        Some(point)
    }

    fn leads_to(&self, folder: &Path) {
        fs::remove_file(&self.path).unwrap();
        symlink(folder, &self.path).unwrap();
    }

    /// The folder below has all that a start makes which does not look.
    async fn unmount(&self) -> PathBuf {
        let below = self.below.path().join("below");
        ObjectStore::open_shared_filesystem(&below, FilesystemOptions::default()).await.unwrap();
        self.leads_to(&below);
        below
    }
}

fn is_told<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    match outcome {
        Err(StoreError::Unavailable { reason }) => assert!(reason.contains("mount it again"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn nothing_is_put_below_a_folder_that_was_unmounted_nor_missed_in_it() {
    let Some(point) = MountPoint::mounted() else { return println!("/dev/shm is no other device here") };
    let objects =
        ObjectStore::open_shared_filesystem(&point.path, FilesystemOptions::default()).await.unwrap();
    objects.set_store_id(Uuid::new_v4()).await.unwrap();
    let keys = [(); 3].map(|()| ObjectKey::new(ObjectKind::Original));
    objects.put(&keys[0], content(10)).await.unwrap();
    let begun = half_a_put(&objects, &keys[1]).await;

    let below = point.unmount().await;
    is_told(objects.put(&keys[2], content(10)).await);
    is_told(objects.begin_put(&keys[2]).await);
    is_told(begun.finish().await);
    is_told(objects.get(&keys[0], None).await);
    is_told(objects.get_whole(&keys[0], 10).await);
    is_told(objects.head(&keys[0]).await);
    is_told(objects.delete(&keys).await);
    is_told(objects.list(ObjectKind::Original, None, 10).await);
    is_told(objects.leftovers().await);
    assert_eq!(temporary_files(&below), 0);

    point.leads_to(point.mounted.path());
    objects.put(&keys[2], content(10)).await.unwrap();
    let mut found = vec![keys[0].clone(), keys[2].clone()];
    found.sort();
    assert_eq!(objects.list(ObjectKind::Original, None, 10).await.unwrap(), found);
    assert_eq!(objects.get_whole(&keys[1], 10).await.unwrap(), None, "nothing of it came about");
}

#[tokio::test]
async fn the_same_store_on_another_device_is_known_by_its_id() {
    let Some(point) = MountPoint::mounted() else { return println!("/dev/shm is no other device here") };
    let before =
        ObjectStore::open_shared_filesystem(&point.path, FilesystemOptions::default()).await.unwrap();
    before.set_store_id(Uuid::new_v4()).await.unwrap();
    // As it is with every start but the first: the id is read.
    let objects =
        ObjectStore::open_shared_filesystem(&point.path, FilesystemOptions::default()).await.unwrap();
    objects.store_id().await.unwrap();
    let below = point.unmount().await;
    fs::write(below.join("store-id"), format!("{}\n", Uuid::new_v4())).unwrap();
    let key = ObjectKey::new(ObjectKind::Original);
    is_told(objects.put(&key, content(10)).await);
    fs::copy(point.mounted.path().join("store-id"), below.join("store-id")).unwrap();
    objects.put(&key, content(10)).await.unwrap();
    assert_eq!(whole(&objects, &key, 10).await, content(10));
}
