//! What only files have: what a process leaves that died, and a disk that fills up.

use darkroom_store::StoreError;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};

use crate::cases::content;

#[tokio::test]
async fn what_a_dead_process_left_is_removed_at_the_next_opening() {
    let home = tempfile::tempdir().unwrap();
    ObjectStore::open_filesystem(home.path(), 0).await.unwrap();
    std::fs::write(home.path().join("tmp/0"), b"half").unwrap();
    ObjectStore::open_filesystem(home.path(), 0).await.unwrap();
    assert_eq!(std::fs::read_dir(home.path().join("tmp")).unwrap().count(), 0);
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

#[tokio::test]
async fn a_put_leaves_room_on_the_disk() {
    let home = tempfile::tempdir().unwrap();
    let objects = ObjectStore::open_filesystem(home.path(), u64::MAX).await.unwrap();
    let key = ObjectKey::new(ObjectKind::Original);
    assert!(matches!(objects.put(&key, content(10)).await, Err(StoreError::DiskFull { .. })));
    assert!(matches!(objects.begin_put(&key).await, Err(StoreError::DiskFull { .. })));
    assert_eq!(objects.delete(&[key]).await.unwrap(), 0, "deleting is always possible");
}
