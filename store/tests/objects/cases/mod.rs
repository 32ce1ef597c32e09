//! The cases of the contract, by subject, and what they share. They use the public interface only.

pub(crate) mod deleting;
pub(crate) mod identity;
pub(crate) mod keys;
pub(crate) mod listing;
pub(crate) mod reading;
pub(crate) mod writing;

use std::ops::Range;

use bytes::Bytes;
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};

/// Bytes that are not the same anywhere.
pub(crate) fn content(size: usize) -> Bytes {
    (0..size).map(|n| (n * 7 + n / 251) as u8).collect()
}

/// What is read in pieces, to the end.
pub(crate) async fn read(objects: &ObjectStore, key: &ObjectKey, range: Option<Range<u64>>) -> Vec<u8> {
    let mut reader = objects.get(key, range).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    while let Some(piece) = reader.next().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    assert_eq!(reader.remaining(), 0);
    bytes
}

/// What is read at once, into memory.
pub(crate) async fn whole(objects: &ObjectStore, key: &ObjectKey, bytes: usize) -> Vec<u8> {
    objects.get_whole(key, bytes as u64).await.unwrap().unwrap()
}

/// Puts a small object of this kind.
pub(crate) async fn put(objects: &ObjectStore, kind: ObjectKind) -> ObjectKey {
    let key = ObjectKey::new(kind);
    objects.put(&key, content(10)).await.unwrap();
    key
}

/// Writes in pieces of sizes that fit nothing.
pub(crate) async fn stream(
    objects: &ObjectStore,
    key: &ObjectKey,
    bytes: &Bytes,
) -> darkroom_store::objects::Receipt {
    let mut writer = objects.begin_put(key).await.unwrap();
    let (mut rest, mut size) = (bytes.clone(), 1);
    while !rest.is_empty() {
        writer.write(rest.split_to(size.min(rest.len()))).await.unwrap();
        size = size * 7 % 70_001;
    }
    writer.finish().await.unwrap()
}

/// Every key of a kind, by pages of so many.
pub(crate) async fn list(objects: &ObjectStore, kind: ObjectKind, page: usize) -> Vec<ObjectKey> {
    let mut listed: Vec<ObjectKey> = Vec::new();
    loop {
        let keys = objects.list(kind, listed.last(), page).await.unwrap();
        assert!(keys.len() <= page, "{} keys where at most {page} were wanted", keys.len());
        if keys.is_empty() {
            return listed;
        }
        listed.extend(keys);
    }
}
