//! What the store asks of an S3 server: looked at from the server's side.

use bytes::Bytes;
use darkroom_store::objects::s3::{Checksum, S3Options, ServerSideEncryption};
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};
use darkroom_test_s3::Server;
use futures_util::{StreamExt, stream};
use hyper::Method;

use crate::cases::{content, list, put, stream as write, whole};
use crate::store::{PART_BYTES, THRESHOLD_BYTES, options};

/// One object in one request and one in parts.
const SIZES: [usize; 2] = [1_000, THRESHOLD_BYTES + PART_BYTES];

#[tokio::test]
async fn every_put_carries_a_checksum() {
    let server = Server::start();
    let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
    for size in SIZES {
        let key = ObjectKey::new(ObjectKind::Original);
        write(&objects, &key, &content(size)).await;
        assert_eq!(server.stored(key.as_str()).unwrap().checksums, ["x-amz-checksum-crc32c"], "{size} bytes");
    }
}

#[tokio::test]
async fn a_server_that_knows_no_new_checksums_gets_others() {
    let kinds: [(_, &[&str]); 2] = [(Checksum::Md5, &["content-md5"]), (Checksum::Off, &[])];
    for (checksum, expected) in kinds {
        let server = Server::start();
        let objects = ObjectStore::open_s3(S3Options { checksum, ..options(&server) }).await.unwrap();
        for size in SIZES {
            let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(size));
            write(&objects, &key, &bytes).await;
            assert_eq!(server.stored(key.as_str()).unwrap().checksums, expected, "{size} bytes");
            assert!(whole(&objects, &key, bytes.len()).await == bytes);
        }
    }
}

#[tokio::test]
async fn each_kind_has_its_class_and_all_are_encrypted_as_configured() {
    let server = Server::start();
    let objects = ObjectStore::open_s3(S3Options {
        storage_class_original: Some("STANDARD_IA".to_owned()),
        storage_class_variant: Some("ONEZONE_IA".to_owned()),
        server_side_encryption: ServerSideEncryption::Aes256,
        ..options(&server)
    });
    let objects = objects.await.unwrap();
    for (kind, class) in [(ObjectKind::Original, "STANDARD_IA"), (ObjectKind::Variant, "ONEZONE_IA")] {
        for size in SIZES {
            let key = ObjectKey::new(kind);
            write(&objects, &key, &content(size)).await;
            let stored = server.stored(key.as_str()).unwrap();
            assert_eq!(stored.storage_class.as_deref(), Some(class), "{size} bytes");
            assert_eq!(stored.encryption.as_deref(), Some("AES256"), "{size} bytes");
        }
    }
}

#[tokio::test]
async fn without_configuration_the_bucket_decides() {
    let server = Server::start();
    let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
    let key = put(&objects, ObjectKind::Original).await;
    let stored = server.stored(key.as_str()).unwrap();
    assert_eq!((stored.storage_class, stored.encryption), (None, None));
}

#[tokio::test]
async fn a_large_object_goes_in_parts_and_a_small_one_in_one_request() {
    let server = Server::start();
    let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
    for (size, parts) in [(THRESHOLD_BYTES, 0), (2 * PART_BYTES, 2), (3 * PART_BYTES + 1, 4)] {
        let key = ObjectKey::new(ObjectKind::Original);
        write(&objects, &key, &content(size)).await;
        let seen = server.seen();
        let puts: Vec<_> =
            seen.iter().filter(|seen| seen.key == key.as_str() && seen.method == Method::PUT).collect();
        let of_parts = puts.iter().filter(|seen| seen.query.contains("partNumber=")).count();
        assert_eq!((puts.len(), of_parts), (parts.max(1), parts), "{size} bytes");
    }
}

/// What others keep in the bucket is neither seen nor touched.
#[tokio::test]
async fn a_prefix_is_a_store_of_its_own() {
    let server = Server::start();
    let open =
        |prefix: &str| ObjectStore::open_s3(S3Options { prefix: prefix.to_owned(), ..options(&server) });
    let (all, a, b) = (open("").await.unwrap(), open("a/").await.unwrap(), open("b/").await.unwrap());
    let key = put(&a, ObjectKind::Original).await;
    assert_eq!(server.objects().keys().collect::<Vec<_>>(), [&format!("a/{key}")]);
    for other in [&all, &b] {
        assert!(other.get(&key, None).await.unwrap().is_none());
        assert!(list(other, ObjectKind::Original, 10).await.is_empty());
        other.delete(std::slice::from_ref(&key)).await.unwrap();
    }
    a.set_store_id(uuid::Uuid::new_v4()).await.unwrap();
    assert_eq!((all.store_id().await.unwrap(), b.store_id().await.unwrap()), (None, None));
    assert_eq!(list(&a, ObjectKind::Original, 10).await, [key]);
}

/// S3 lists a thousand at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_an_answer_holds_is_listed_and_deleted() {
    let server = Server::start();
    let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
    let puts = stream::iter(0..2_003).map(|n: u32| {
        let objects = objects.clone();
        async move {
            let key = ObjectKey::new(ObjectKind::Variant);
            objects.put(&key, Bytes::copy_from_slice(&n.to_be_bytes())).await.unwrap();
            key
        }
    });
    let mut keys: Vec<_> = puts.buffer_unordered(32).collect().await;
    keys.sort();
    assert_eq!(objects.list(ObjectKind::Variant, None, 5_000).await.unwrap(), keys);
    assert_eq!(objects.list(ObjectKind::Variant, None, 1_001).await.unwrap(), keys[..1_001]);
    assert_eq!(list(&objects, ObjectKind::Variant, 1_500).await, keys);
    objects.delete(&keys).await.unwrap();
    assert!(server.objects().is_empty(), "{:?}", server.objects());
}
