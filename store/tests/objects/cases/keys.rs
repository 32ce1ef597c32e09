//! Keys: what they keep apart, and what is none.

use bytes::Bytes;
use darkroom_store::StoreError;
use darkroom_store::objects::{ObjectKey, ObjectKind};

use super::whole;
use crate::store::Store;

pub(crate) async fn kinds_do_not_meet(store: &Store) {
    let original = ObjectKey::new(ObjectKind::Original);
    let id = original.as_str().split_once('/').unwrap().1;
    let variant = ObjectKey::from_stored(format!("{}/{id}", ObjectKind::Variant.prefix()));
    store.objects.put(&original, Bytes::from_static(b"original")).await.unwrap();
    assert!(store.objects.head(&variant).await.unwrap().is_none());
    store.objects.put(&variant, Bytes::from_static(b"variant")).await.unwrap();
    assert_eq!(whole(&store.objects, &original, 8).await, b"original");
    store.objects.delete(&[original]).await.unwrap();
    assert_eq!(whole(&store.objects, &variant, 7).await, b"variant");
}

/// Keys come from metadata; a damaged one must not lead to anything else.
pub(crate) async fn damaged_keys_are_refused(store: &Store) {
    for bad in [
        "",
        "../../etc/passwd",
        "originals/../store-id",
        "originals",
        "originals/",
        "store-id",
        "others/01890000-0000-7000-8000-000000000000",
        "originals/01890000-0000-7000-8000-000000000000/..",
    ] {
        let key = ObjectKey::from_stored(bad.to_owned());
        let keys = std::slice::from_ref(&key);
        let answers = [
            store.objects.get_whole(&key, 10).await.err(),
            store.objects.get(&key, None).await.err(),
            store.objects.head(&key).await.err(),
            store.objects.put(&key, Bytes::new()).await.err(),
            store.objects.begin_put(&key).await.err(),
            store.objects.delete(keys).await.err(),
        ];
        for (operation, error) in answers.into_iter().enumerate() {
            assert!(
                matches!(error, Some(StoreError::Corrupt { .. })),
                "{bad:?} to operation {operation}: {error:?}"
            );
        }
    }
}
