//! Deleting one and many.

use darkroom_store::objects::{ObjectKey, ObjectKind};

use super::{list, put};
use crate::store::Store;

pub(crate) async fn deleting_is_repeatable(store: &Store) {
    let keys =
        [put(&store.objects, ObjectKind::Variant).await, put(&store.objects, ObjectKind::Original).await];
    store.objects.delete(&keys).await.unwrap();
    for key in &keys {
        assert!(store.objects.get(key, None).await.unwrap().is_none());
        assert!(store.objects.get_whole(key, 10).await.unwrap().is_none());
        assert!(store.objects.head(key).await.unwrap().is_none());
    }
    store.objects.delete(&keys).await.unwrap();
}

/// More than one request to S3 takes, and most of them not there.
pub(crate) async fn many_keys_are_deleted_at_once(store: &Store) {
    let mut keys: Vec<_> = (0..2_100).map(|_| ObjectKey::new(ObjectKind::Variant)).collect();
    for at in [0, 998, 999, 1_000, 1_001, 1_999, 2_000, 2_099] {
        keys[at] = put(&store.objects, ObjectKind::Variant).await;
    }
    let kept = put(&store.objects, ObjectKind::Variant).await;
    store.objects.delete(&keys).await.unwrap();
    assert_eq!(list(&store.objects, ObjectKind::Variant, 10).await, [kept]);
}

pub(crate) async fn deleting_nothing_is_nothing(store: &Store) {
    let kept = put(&store.objects, ObjectKind::Original).await;
    assert_eq!(store.objects.delete(&[]).await.unwrap(), 0);
    assert!(store.objects.head(&kept).await.unwrap().is_some());
}
