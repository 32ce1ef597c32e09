//! Putting, whole and in pieces.

use darkroom_store::model::ContentHash;
use darkroom_store::objects::filesystem::WINDOW_BYTES;
use darkroom_store::objects::{ObjectKey, ObjectKind};
use futures_util::future::join_all;

use super::{content, list, put, read, stream, whole};
use crate::store::{PART_BYTES, Store, THRESHOLD_BYTES};

pub(crate) async fn an_object_is_read_as_it_was_written(store: &Store) {
    let sizes =
        [0, 1, WINDOW_BYTES - 1, WINDOW_BYTES, WINDOW_BYTES + 1, 256 * 1024, 256 * 1024 + 1, 3_000_000];
    for size in sizes {
        let (key, bytes) = (ObjectKey::new(ObjectKind::Variant), content(size));
        let receipt = store.objects.put(&key, bytes.clone()).await.unwrap();
        assert_eq!((receipt.bytes, receipt.hash), (size as u64, ContentHash::of(&bytes)));
        assert_eq!(read(&store.objects, &key, None).await, bytes, "{size}");
        assert_eq!(whole(&store.objects, &key, size).await, bytes, "{size}");
        assert_eq!(store.objects.head(&key).await.unwrap().unwrap().bytes, size as u64);
    }
}

pub(crate) async fn objects_around_the_edges_of_parts(store: &Store) {
    let sizes = [
        THRESHOLD_BYTES - 1,
        THRESHOLD_BYTES,
        THRESHOLD_BYTES + 1,
        2 * PART_BYTES - 1,
        2 * PART_BYTES,
        2 * PART_BYTES + 1,
        4 * PART_BYTES + 12_345,
    ];
    for size in sizes {
        let bytes = content(size);
        let (streamed, whole) = (ObjectKey::new(ObjectKind::Original), ObjectKey::new(ObjectKind::Original));
        let receipts = [
            stream(&store.objects, &streamed, &bytes).await,
            store.objects.put(&whole, bytes.clone()).await.unwrap(),
        ];
        for (key, receipt) in [&streamed, &whole].into_iter().zip(receipts) {
            assert_eq!((receipt.bytes, receipt.hash), (size as u64, ContentHash::of(&bytes)), "{size}");
            assert!(
                read(&store.objects, key, None).await == bytes,
                "{size} bytes are not those that were written"
            );
            assert_eq!(store.objects.head(key).await.unwrap().unwrap().bytes, size as u64);
        }
        store.objects.delete(&[streamed, whole]).await.unwrap();
    }
}

pub(crate) async fn a_streamed_object_is_the_sum_of_its_pieces(store: &Store) {
    for size in [0, 1, 2_000_003] {
        let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(size));
        let receipt = stream(&store.objects, &key, &bytes).await;
        assert_eq!((receipt.bytes, receipt.hash), (size as u64, ContentHash::of(&bytes)));
        assert_eq!(read(&store.objects, &key, None).await, bytes, "{size}");
    }
}

pub(crate) async fn an_object_is_invisible_until_it_is_finished(store: &Store) {
    for size in [100, THRESHOLD_BYTES + PART_BYTES] {
        let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(size));
        let mut writer = store.objects.begin_put(&key).await.unwrap();
        writer.write(bytes.clone()).await.unwrap();
        assert!(store.objects.head(&key).await.unwrap().is_none());
        assert!(store.objects.get(&key, None).await.unwrap().is_none());
        assert!(list(&store.objects, ObjectKind::Original, 10).await.is_empty());
        writer.finish().await.unwrap();
        assert_eq!(list(&store.objects, ObjectKind::Original, 10).await, std::slice::from_ref(&key));
        store.objects.delete(&[key]).await.unwrap();
    }
}

pub(crate) async fn a_writer_that_is_dropped_leaves_nothing(store: &Store) {
    for size in [0, 100, 600_000, THRESHOLD_BYTES + 1, 3 * PART_BYTES] {
        let key = ObjectKey::new(ObjectKind::Original);
        let mut writer = store.objects.begin_put(&key).await.unwrap();
        writer.write(content(size)).await.unwrap();
        drop(writer);
        // It is cleared away by a task or a thread of its own.
        store.nothing_unfinished().await;
        assert!(store.objects.head(&key).await.unwrap().is_none());
    }
    assert!(list(&store.objects, ObjectKind::Original, 10).await.is_empty());
}

pub(crate) async fn many_puts_at_once(store: &Store) {
    let small = join_all((0..64).map(|_| put(&store.objects, ObjectKind::Variant)));
    let large = join_all((0..4).map(|n| async move {
        let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(THRESHOLD_BYTES + n * 1_000_003));
        stream(&store.objects, &key, &bytes).await;
        (key, bytes)
    }));
    let (mut small, large) = tokio::join!(small, large);
    for (key, bytes) in &large {
        assert!(read(&store.objects, key, None).await == *bytes, "{key} is not what was written");
    }
    small.sort();
    assert_eq!(list(&store.objects, ObjectKind::Variant, 1000).await, small);
    assert_eq!(list(&store.objects, ObjectKind::Original, 1000).await.len(), large.len());
}
