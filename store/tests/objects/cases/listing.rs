//! Listing, in order and in pages.

use darkroom_store::objects::ObjectKind;

use super::{list, put};
use crate::store::Store;

pub(crate) async fn lists_are_in_order_and_page(store: &Store) {
    let mut keys = Vec::new();
    for _ in 0..20 {
        keys.push(put(&store.objects, ObjectKind::Variant).await);
    }
    keys.sort();
    for page in [1, 7, 10, 20, 21, 5_000] {
        assert_eq!(list(&store.objects, ObjectKind::Variant, page).await, keys, "pages of {page}");
    }
    let after = store.objects.list(ObjectKind::Variant, Some(&keys[4]), 3).await.unwrap();
    assert_eq!(after, keys[5..8]);
    assert!(store.objects.list(ObjectKind::Variant, keys.last(), 3).await.unwrap().is_empty());
}

pub(crate) async fn kinds_are_listed_apart(store: &Store) {
    for kind in ObjectKind::ALL {
        assert!(list(&store.objects, kind, 10).await.is_empty());
    }
    let original = put(&store.objects, ObjectKind::Original).await;
    let variant = put(&store.objects, ObjectKind::Variant).await;
    assert_eq!(list(&store.objects, ObjectKind::Original, 10).await, [original]);
    assert_eq!(list(&store.objects, ObjectKind::Variant, 10).await, [variant]);
}

pub(crate) async fn a_list_goes_on_after_a_key_that_is_gone(store: &Store) {
    let mut keys = Vec::new();
    for _ in 0..5 {
        keys.push(put(&store.objects, ObjectKind::Original).await);
    }
    keys.sort();
    store.objects.delete(&keys[1..3]).await.unwrap();
    assert_eq!(store.objects.list(ObjectKind::Original, Some(&keys[1]), 10).await.unwrap(), keys[3..]);
}
