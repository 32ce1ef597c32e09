//! How a process's life on a store begins.

use darkroom_store::metadata::{EmbeddedOptions, Metadata};
use darkroom_store::model::Epoch;
use darkroom_store::objects::ObjectStore;
use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::{StoreError, life};

#[tokio::test]
async fn nodes_that_start_at_once_on_a_new_store_agree_on_one() {
    let home = tempfile::tempdir().unwrap();
    let metadata =
        Metadata::open_embedded(&home.path().join("metadata"), EmbeddedOptions::default()).await.unwrap();
    let objects = ObjectStore::open_filesystem(&home.path().join("objects"), FilesystemOptions::default())
        .await
        .unwrap();
    let start = || life::begin(&metadata, &objects);
    let (first, second, third) = tokio::join!(start(), start(), start());
    let lives = [first.unwrap(), second.unwrap(), third.unwrap(), start().await.unwrap()];
    assert!(lives.iter().all(|life| life.store_id == lives[0].store_id), "{lives:?}");
    assert_eq!(objects.store_id().await.unwrap(), Some(lives[0].store_id));
    let mut epochs = lives.map(|life| life.epoch);
    epochs.sort_unstable();
    assert_eq!(epochs, [1, 2, 3, 4].map(Epoch), "each has an epoch of its own");
}

#[tokio::test]
async fn a_folder_that_is_not_the_stores_is_told_before_anything_is_made_in_it() {
    let home = tempfile::tempdir().unwrap();
    let metadata =
        Metadata::open_embedded(&home.path().join("metadata"), EmbeddedOptions::default()).await.unwrap();
    let (folder, mount_point) = (home.path().join("objects"), home.path().join("not-mounted"));
    // Before the first start there is no store yet.
    life::check_folder(&metadata, &folder).await.unwrap();
    let objects = ObjectStore::open_filesystem(&folder, FilesystemOptions::default()).await.unwrap();
    life::begin(&metadata, &objects).await.unwrap();

    life::check_folder(&metadata, &folder).await.unwrap();
    let told = life::check_folder(&metadata, &mount_point).await.unwrap_err();
    assert!(matches!(told, StoreError::Mismatch(_)), "{told}");
    assert!(told.to_string().contains("is the folder mounted?"), "{told}");
    assert!(!mount_point.exists());
}
