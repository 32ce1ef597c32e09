//! The store's id.

use darkroom_store::objects::ObjectKind;
use uuid::Uuid;

use super::{list, put};
use crate::store::Store;

pub(crate) async fn the_store_id_is_kept(store: &Store) {
    assert_eq!(store.objects.store_id().await.unwrap(), None);
    let id = Uuid::new_v4();
    store.objects.set_store_id(id).await.unwrap();
    assert_eq!(store.objects.store_id().await.unwrap(), Some(id));
    assert_eq!(store.open_again().await.store_id().await.unwrap(), Some(id));
}

pub(crate) async fn the_store_id_is_no_object(store: &Store) {
    store.objects.set_store_id(Uuid::new_v4()).await.unwrap();
    let key = put(&store.objects, ObjectKind::Original).await;
    assert_eq!(list(&store.objects, ObjectKind::Original, 10).await, [key]);
    assert!(list(&store.objects, ObjectKind::Variant, 10).await.is_empty());
}
