//! What a newer darkroom wrote is refused, with a sentence that says what to do, and left as it is.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test fails by panicking"
)]

#[macro_use]
mod engines;

use std::collections::BTreeMap;
use std::path::Path;

use darkroom_store::metadata::{EmbeddedOptions, KeyRange, Metadata, RangeOptions, Transaction};
use darkroom_store::model::identity::FORMAT_VERSION;
use darkroom_store::model::record;
use darkroom_store::model::subspaces::IDENTITY;
use darkroom_store::objects::ObjectStore;
use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::{StoreError, life};
use engines::{Engine, Place};

cases! { crate::run:
    a_store_of_a_newer_format_does_not_start,
}

/// Runs a case on an empty store of `engine`.
async fn run(engine: Engine, case: impl AsyncFnOnce(Metadata)) {
    engines::run(engine, |place: Place| async move { case(place.open().await).await }).await;
}

async fn rows(metadata: &Metadata) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = |tx: Transaction| async move { tx.get_range(&KeyRange::all(), RangeOptions::default()).await };
    metadata.read("rows", all).await.unwrap()
}

/// Of a newer format's identity nothing is sure but the id and the version.
async fn a_store_of_a_newer_format_does_not_start(metadata: Metadata) {
    let folder = tempfile::tempdir().unwrap();
    let objects = ObjectStore::open_filesystem(folder.path(), FilesystemOptions::default()).await.unwrap();
    let store_id = life::begin(&metadata, &objects).await.unwrap().store_id;
    let newer = FORMAT_VERSION + 1;
    let identity =
        serde_json::json!({"store_id": store_id, "format_version": newer, "history": {"of": "another kind"}});
    let identity = &record::encode(&identity).unwrap();
    let write = |tx: Transaction| async move { tx.set(&IDENTITY.key(&()), identity) };
    metadata.transact("write", write).await.unwrap();

    let before = rows(&metadata).await;
    let refusal = life::begin(&metadata, &objects).await.unwrap_err();
    assert!(matches!(refusal, StoreError::Mismatch(_)), "{refusal:?}");
    let said = refusal.to_string();
    let versions = [format!("has format version {newer}"), format!("this daemon knows {FORMAT_VERSION}")];
    for told in [&versions[0], &versions[1], &store_id.to_string(), "run the darkroomd that wrote it"] {
        assert!(said.contains(told), "{told:?} is missing in: {said}");
    }
    assert_eq!(rows(&metadata).await, before, "no epoch is begun in it");
}

/// Every file below `folder`, with its bytes.
fn files(folder: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let bytes = std::fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// Above all its journals are not cut where an older engine understands them no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_a_newer_format_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let open = || Metadata::open_embedded(folder.path(), EmbeddedOptions::default());
    let metadata = open().await.unwrap();
    metadata.transact("set", |tx| async move { tx.set(b"k", b"v") }).await.unwrap();
    metadata.close().await;
    drop(metadata);
    let database = folder.path().join("fjall");
    let marker = database.join("version");
    assert_eq!(std::fs::read(&marker).unwrap(), b"FJL\x03", "the format that is written today");
    let journals: Vec<_> = files(&database)
        .into_keys()
        .filter(|path| path.extension().is_some_and(|end| end == "jnl"))
        .collect();
    assert!(!journals.is_empty());
    for journal in journals {
        std::fs::write(journal, b"what a newer engine writes").unwrap();
    }
    let refused = async |marked: Option<&[u8]>| {
        match marked {
            Some(bytes) => std::fs::write(&marker, bytes).unwrap(),
            None => std::fs::remove_file(&marker).unwrap(),
        }
        let before = files(folder.path());
        let refusal = open().await.err().expect("it does not open");
        assert!(files(folder.path()) == before, "it is left as it is");
        refusal
    };
    let newer = refused(Some(b"FJL\x04")).await;
    assert!(matches!(newer, StoreError::Mismatch(_)), "{newer:?}");
    let said = newer.to_string();
    for told in [database.to_str().unwrap(), "format version 4", "knows 3", "run the darkroomd that wrote it"]
    {
        assert!(said.contains(told), "{told:?} is missing in: {said}");
    }
    for damaged in [Some(&b"FJ"[..]), Some(b"another"), None] {
        let refusal = refused(damaged).await;
        assert!(
            matches!(&refusal, StoreError::Corrupt { what, .. } if what.contains("version")),
            "{refusal:?}"
        );
    }
}
