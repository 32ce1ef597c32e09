//! How a process's life on a store begins.

use darkroom_store::life;
use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use darkroom_store::model::Epoch;
use darkroom_store::objects::ObjectStore;

#[tokio::test]
async fn nodes_that_start_at_once_on_a_new_store_agree_on_one() {
    let home = tempfile::tempdir().unwrap();
    let metadata =
        Metadata::open_embedded(&home.path().join("metadata"), EmbeddedOptions::default()).await.unwrap();
    let objects = ObjectStore::open_filesystem(&home.path().join("objects"), 0).await.unwrap();
    let start = || life::begin(&metadata, &objects);
    let (first, second, third) = tokio::join!(start(), start(), start());
    let lives = [first.unwrap(), second.unwrap(), third.unwrap(), start().await.unwrap()];
    assert!(lives.iter().all(|life| life.store_id == lives[0].store_id), "{lives:?}");
    assert_eq!(objects.store_id().await.unwrap(), Some(lives[0].store_id));
    let mut epochs = lives.map(|life| life.epoch);
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2, 3, 4].map(Epoch), "each has an epoch of its own");
}
