//! What every object store promises, on the filesystem.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use darkroom_store::StoreError;
use darkroom_store::model::ContentHash;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};

struct Store {
    objects: ObjectStore,
    home: tempfile::TempDir,
}

impl Store {
    async fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let objects = ObjectStore::open_filesystem(home.path(), 0).await.unwrap();
        Self { objects, home }
    }

    fn temporary_files(&self) -> usize {
        std::fs::read_dir(self.home.path().join("tmp")).unwrap().count()
    }
}

/// Bytes that are not the same anywhere.
fn content(size: usize) -> Bytes {
    (0..size).map(|n| (n * 7 + n / 251) as u8).collect()
}

async fn read(objects: &ObjectStore, key: &ObjectKey, range: Option<std::ops::Range<u64>>) -> Vec<u8> {
    let mut reader = objects.get(key, range).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(reader.remaining(), 0);
    bytes
}

#[tokio::test]
async fn an_object_is_read_as_it_was_written() {
    let store = Store::new().await;
    for size in [0, 1, 256 * 1024, 256 * 1024 + 1, 3_000_000] {
        let (key, bytes) = (ObjectKey::new(ObjectKind::Variant), content(size));
        let receipt = store.objects.put(&key, bytes.clone()).await.unwrap();
        assert_eq!((receipt.bytes, receipt.hash), (size as u64, ContentHash::of(&bytes)));
        assert_eq!(read(&store.objects, &key, None).await, bytes);
        assert_eq!(store.objects.get_whole(&key).await.unwrap().unwrap(), bytes);
        assert_eq!(store.objects.head(&key).await.unwrap().unwrap().bytes, size as u64);
    }
    assert_eq!(store.temporary_files(), 0);
}

#[tokio::test]
async fn a_streamed_object_is_the_sum_of_its_pieces() {
    let store = Store::new().await;
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(2_000_003));
    let mut writer = store.objects.begin_put(&key).await.unwrap();
    // Large pieces and small ones, which are copied together, in turns.
    let (mut rest, mut size) = (&bytes[..], 1);
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(size.min(rest.len()));
        writer.write(Bytes::copy_from_slice(piece)).await.unwrap();
        (rest, size) = (after, size * 7 % 70_001);
    }
    assert!(store.objects.head(&key).await.unwrap().is_none(), "not there before it is whole");
    let receipt = writer.finish().await.unwrap();
    assert_eq!((receipt.bytes, receipt.hash), (bytes.len() as u64, ContentHash::of(&bytes)));
    assert_eq!(read(&store.objects, &key, None).await, bytes);
}

#[tokio::test]
async fn any_range_is_read_alone() {
    let store = Store::new().await;
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(1_000_000));
    store.objects.put(&key, bytes.clone()).await.unwrap();
    for range in [0..1, 999_999..1_000_000, 5..5, 100..900_000, 0..1_000_000] {
        let expected = &bytes[range.start as usize..range.end as usize];
        assert_eq!(read(&store.objects, &key, Some(range)).await, expected);
    }
}

#[tokio::test]
async fn an_unfinished_object_leaves_nothing() {
    let store = Store::new().await;
    let key = ObjectKey::new(ObjectKind::Original);
    let mut writer = store.objects.begin_put(&key).await.unwrap();
    writer.write(content(600_000)).await.unwrap();
    assert_eq!(store.temporary_files(), 1);
    drop(writer);
    // A write may still run on another thread, which removes the file when it ends.
    while store.temporary_files() > 0 {
        tokio::task::yield_now().await;
    }
    assert!(store.objects.head(&key).await.unwrap().is_none());
}

#[tokio::test]
async fn what_a_dead_process_left_is_removed_at_the_next_opening() {
    let store = Store::new().await;
    std::fs::write(store.home.path().join("tmp/0"), b"half").unwrap();
    ObjectStore::open_filesystem(store.home.path(), 0).await.unwrap();
    assert_eq!(store.temporary_files(), 0);
}

#[tokio::test]
async fn deleting_is_repeatable_and_listing_is_in_order() {
    let store = Store::new().await;
    let keys: Vec<_> = (0..20).map(|_| ObjectKey::new(ObjectKind::Variant)).collect();
    for key in &keys {
        store.objects.put(key, content(10)).await.unwrap();
    }
    let mut listed = Vec::new();
    loop {
        let page = store.objects.list(ObjectKind::Variant, listed.last(), 7).await.unwrap();
        if page.is_empty() {
            break;
        }
        listed.extend(page);
    }
    let mut sorted = keys.clone();
    sorted.sort();
    assert_eq!(listed, sorted);
    assert_eq!(store.objects.delete(&keys).await.unwrap(), 20);
    assert_eq!(store.objects.delete(&keys).await.unwrap(), 0);
    assert!(store.objects.get(&keys[0], None).await.unwrap().is_none());
    assert!(store.objects.get_whole(&keys[0]).await.unwrap().is_none());
}

#[tokio::test]
async fn a_key_never_leads_out_of_the_folder() {
    let store = Store::new().await;
    for bad in [
        "../../etc/passwd",
        "originals/../store-id",
        "originals",
        "others/01890000-0000-7000-8000-000000000000",
    ] {
        let key = ObjectKey::from_stored(bad.to_owned());
        let error = store.objects.get_whole(&key).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{bad}: {error}");
    }
}

#[tokio::test]
async fn the_store_id_is_kept() {
    let store = Store::new().await;
    assert_eq!(store.objects.store_id().await.unwrap(), None);
    let id = uuid::Uuid::new_v4();
    store.objects.set_store_id(id).await.unwrap();
    let again = ObjectStore::open_filesystem(store.home.path(), 0).await.unwrap();
    assert_eq!(again.store_id().await.unwrap(), Some(id));
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
