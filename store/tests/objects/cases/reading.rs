//! Getting, whole and in ranges.

use darkroom_store::StoreError;
use darkroom_store::objects::{ObjectKey, ObjectKind};

use super::{content, read, stream, whole};
use crate::store::{PART_BYTES, Store, THRESHOLD_BYTES};

pub(crate) async fn any_range_is_read_alone(store: &Store) {
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(1_000_000));
    store.objects.put(&key, bytes.clone()).await.unwrap();
    let ranges = [
        0..1,
        0..100,
        500_000..500_001,
        999_999..1_000_000,
        5..5,
        100..900_000,
        0..1_000_000,
        999_000..1_000_000,
    ];
    for range in ranges {
        let expected = &bytes[range.start as usize..range.end as usize];
        assert_eq!(read(&store.objects, &key, Some(range)).await, expected);
    }
}

pub(crate) async fn a_range_over_the_edges_of_parts(store: &Store) {
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(THRESHOLD_BYTES + 2 * PART_BYTES));
    stream(&store.objects, &key, &bytes).await;
    let (edge, end) = (PART_BYTES as u64, bytes.len() as u64);
    for range in
        [edge - 1..edge, edge..edge + 1, edge - 10..edge + 10, edge - 1..2 * edge + 1, end - 7..end, 0..end]
    {
        let expected = &bytes[range.start as usize..range.end as usize];
        assert!(read(&store.objects, &key, Some(range.clone())).await == expected, "{range:?}");
    }
}

pub(crate) async fn what_is_absent_is_none(store: &Store) {
    for kind in ObjectKind::ALL {
        let key = ObjectKey::new(kind);
        assert!(store.objects.get(&key, None).await.unwrap().is_none());
        assert!(store.objects.get(&key, Some(3..7)).await.unwrap().is_none());
        assert!(store.objects.get_whole(&key, 10).await.unwrap().is_none());
        assert!(store.objects.head(&key).await.unwrap().is_none());
    }
}

/// Whoever reads a whole object has charged what is recorded of it: no other length is read into memory.
pub(crate) async fn an_object_of_another_length_is_not_read_whole(store: &Store) {
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(1_000));
    store.objects.put(&key, bytes.clone()).await.unwrap();
    // A capacity of u64::MAX bytes would end the process.
    for recorded in [0, 999, 1_001, u64::MAX] {
        let error = store.objects.get_whole(&key, recorded).await.unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains("has 1000 bytes"), "{error}");
    }
    assert_eq!(whole(&store.objects, &key, 1_000).await, bytes);
}

pub(crate) async fn what_is_read_while_it_is_deleted_is_whole_or_an_error(store: &Store) {
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(4_000_000));
    store.objects.put(&key, bytes.clone()).await.unwrap();
    let mut reader = store.objects.get(&key, None).await.unwrap().unwrap();
    let mut got = reader.next().await.unwrap().unwrap().to_vec();
    store.objects.delete(std::slice::from_ref(&key)).await.unwrap();
    loop {
        match reader.next().await {
            Ok(Some(piece)) => got.extend_from_slice(&piece),
            Ok(None) => break assert!(got == bytes, "only {} bytes came, and the end", got.len()),
            Err(_) => break,
        }
    }
    assert!(store.objects.get(&key, None).await.unwrap().is_none());
}
