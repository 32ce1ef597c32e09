//! What only files have: what a process leaves that died, a folder that nodes share, and a disk that fills up.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use darkroom_store::StoreError;
use darkroom_store::model::Epoch;
use darkroom_store::objects::filesystem::Leftover;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore, ObjectWriter};

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
    let one = ObjectStore::open_shared_filesystem(home.path(), 0).await.unwrap().of_epoch(Epoch(1));
    let keys = [ObjectKey::new(ObjectKind::Original), ObjectKey::new(ObjectKind::Original)];
    let first = half_a_put(&one, &keys[0]).await;
    let two = ObjectStore::open_shared_filesystem(home.path(), 0).await.unwrap().of_epoch(Epoch(2));
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
    let open = async || ObjectStore::open_shared_filesystem(home.path(), 0).await.unwrap();
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
    let objects = ObjectStore::open_shared_filesystem(home.path(), 0).await.unwrap();
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
    ObjectStore::open_filesystem(home.path(), 0).await.unwrap();
    fs::write(home.path().join("tmp/0"), b"half").unwrap();
    let objects = ObjectStore::open_filesystem(home.path(), 0).await.unwrap();
    assert_eq!(temporary_files(home.path()), 0);
    std::mem::forget(half_a_put(&objects, &ObjectKey::new(ObjectKind::Variant)).await);
    assert_eq!(temporary_files(home.path()), 1);
    ObjectStore::open_filesystem(home.path(), 0).await.unwrap();
    assert_eq!(temporary_files(home.path()), 0);
}

#[tokio::test]
async fn deleting_tells_how_many_there_were() {
    let home = tempfile::tempdir().unwrap();
    let objects = ObjectStore::open_filesystem(home.path(), 0).await.unwrap();
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
    let objects = ObjectStore::open_filesystem(home.path(), 0).await.unwrap();
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
    let objects = ObjectStore::open_filesystem(home.path(), 0).await.unwrap();
    fs::write(home.path().join("store-id"), [b' '; 65]).unwrap();
    let error = objects.store_id().await.unwrap_err().to_string();
    assert!(error.contains("65 bytes") && error.contains("at most 64"), "{error}");
}

#[tokio::test]
async fn a_put_leaves_room_on_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let objects = ObjectStore::open_filesystem(home.path(), u64::MAX).await.unwrap();
    let key = ObjectKey::new(ObjectKind::Original);
    assert!(matches!(objects.put(&key, content(10)).await, Err(StoreError::DiskFull { .. })));
    assert!(matches!(objects.begin_put(&key).await, Err(StoreError::DiskFull { .. })));
    assert_eq!(objects.delete(&[key]).await.unwrap(), 0, "deleting is always possible");
}
