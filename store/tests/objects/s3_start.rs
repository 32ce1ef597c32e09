//! The mistakes that people make with a bucket: each is found at the start, and named.

use std::time::{Duration, Instant};

use darkroom_store::StoreError;
use darkroom_store::objects::ObjectStore;
use darkroom_store::objects::s3::{S3Options, ServerSideEncryption};
use darkroom_test_s3::{Fault, KEY_ID, Manner, REGION, SECRET_KEY, Server};
use hyper::{Method, StatusCode};

use crate::store::options;

/// A start that fails does so within this time, so that someone who waits for it does not give up first.
const FAILS_WITHIN: Duration = Duration::from_secs(20);

/// What a start says that must fail.
async fn refused(options: S3Options) -> String {
    let began = Instant::now();
    let error = ObjectStore::open_s3(options).await.map(drop).unwrap_err();
    assert!(began.elapsed() < FAILS_WITHIN, "it took {:?}", began.elapsed());
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error:?}");
    let sentence = error.to_string();
    assert!(!sentence.contains(SECRET_KEY), "it tells the secret: {sentence}");
    sentence
}

/// Each of these words is in the sentence.
#[track_caller]
fn says(sentence: &str, words: &[&str]) {
    for word in words {
        assert!(sentence.contains(word), "{word:?} is missing: {sentence}");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there() {
    let server = Server::start();
    let said = refused(S3Options { bucket: "phtoos".to_owned(), ..options(&server) }).await;
    says(&said, &["phtoos", "no such bucket"]);
}

#[tokio::test]
async fn a_key_id_that_nobody_has() {
    let server = Server::start();
    let credentials = Some(("AKIANOBODY".to_owned(), SECRET_KEY.to_owned()));
    says(
        &refused(S3Options { credentials, ..options(&server) }).await,
        &["InvalidAccessKeyId", "AWS_ACCESS_KEY_ID"],
    );
}

#[tokio::test]
async fn a_secret_that_is_not_the_keys() {
    let server = Server::start();
    let credentials = Some((KEY_ID.to_owned(), "nonsense".to_owned()));
    let said = refused(S3Options { credentials, ..options(&server) }).await;
    says(&said, &["SignatureDoesNotMatch", "AWS_SECRET_ACCESS_KEY"]);
}

/// Garage has one code for all that it denies.
#[tokio::test]
async fn wrong_keys_where_they_are_denied_access() {
    let server = Server::start_as(Manner::Garage);
    for (id, secret, variable) in
        [("GKNOBODY", SECRET_KEY, "AWS_ACCESS_KEY_ID"), (KEY_ID, "nonsense", "AWS_SECRET_ACCESS_KEY")]
    {
        let credentials = Some((id.to_owned(), secret.to_owned()));
        let said = refused(S3Options { credentials, ..options(&server) }).await;
        says(&said, &["AccessDenied", variable]);
        assert!(!said.contains("s3:ListBucket"), "{said}");
    }
}

#[tokio::test]
async fn a_key_that_may_not() {
    let server = Server::start();
    server.faults().set([Fault::Refuse(StatusCode::FORBIDDEN, "AccessDenied").always()]);
    says(&refused(options(&server)).await, &["AccessDenied"]);
}

#[tokio::test]
async fn a_clock_that_is_wrong() {
    let server = Server::start();
    server.faults().set([Fault::Refuse(StatusCode::FORBIDDEN, "RequestTimeTooSkewed").always()]);
    says(&refused(options(&server)).await, &["clock"]);
}

#[tokio::test]
async fn another_region() {
    let server = Server::start();
    server.only_in("eu-central-1");
    let said = refused(S3Options { region: Some(REGION.to_owned()), ..options(&server) }).await;
    says(&said, &["region", "eu-central-1"]);
}

#[tokio::test]
async fn another_region_that_is_told_in_a_scope() {
    let server = Server::start_as(Manner::Garage);
    server.only_in("garage");
    let said = refused(S3Options { region: Some(REGION.to_owned()), ..options(&server) }).await;
    says(&said, &["objects.s3.region = \"garage\""]);
}

#[tokio::test]
async fn another_region_that_redirects() {
    let server = Server::start();
    server.faults().set([Fault::Refuse(StatusCode::MOVED_PERMANENTLY, "PermanentRedirect").always()]);
    says(&refused(options(&server)).await, &["region"]);
}

#[tokio::test]
async fn nobody_there() {
    let server = Server::start();
    let options = options(&server);
    let endpoint = server.endpoint();
    server.go().await;
    says(&refused(options).await, &[&endpoint]);
}

#[tokio::test]
async fn a_server_that_never_answers() {
    let server = Server::start();
    server.faults().set([Fault::Slow(Duration::from_secs(3600)).always()]);
    says(&refused(options(&server)).await, &[&server.endpoint()]);
}

/// A server that takes nothing but reads is found at the start, not with the first photo.
#[tokio::test]
async fn a_bucket_that_cannot_be_written() {
    let server = Server::start();
    let denied = Fault::Refuse(StatusCode::FORBIDDEN, "AccessDenied");
    server.faults().set([denied.on(Method::PUT, "")]);
    says(&refused(options(&server)).await, &["AccessDenied"]);
}

#[tokio::test]
async fn a_start_leaves_nothing_in_the_bucket() {
    let server = Server::start();
    ObjectStore::open_s3(options(&server)).await.unwrap();
    assert!(server.objects().is_empty(), "{:?}", server.objects());
    assert!(server.open_uploads().is_empty());
}

/// A passing fault at the start is no mistake.
#[tokio::test]
async fn a_server_that_stumbles_at_the_start() {
    let server = Server::start();
    server.faults().set([Fault::internal_error().always().times(1)]);
    ObjectStore::open_s3(options(&server)).await.unwrap();
    assert_eq!(server.faults().hits(), 1);
}

/// The objects that a start has tried, by their keys.
fn tried(server: &Server) -> Vec<String> {
    let puts = server.seen().into_iter().filter(|seen| seen.method == Method::PUT);
    puts.map(|seen| seen.key).filter(|key| key.starts_with("start-check/")).collect()
}

#[tokio::test]
async fn a_start_asks_for_what_every_put_will_ask_for() {
    let server = Server::start();
    let class = |name: &str| Some(name.to_owned());
    let classes = S3Options {
        storage_class_original: class("STANDARD_IA"),
        storage_class_variant: class("ONEZONE_IA"),
        server_side_encryption: ServerSideEncryption::Kms { key_id: None },
        ..options(&server)
    };
    ObjectStore::open_s3(classes).await.unwrap();
    let stored: Vec<_> = tried(&server).iter().map(|key| server.stored(key).unwrap()).collect();
    let asked: Vec<_> = stored.iter().map(|stored| stored.storage_class.as_deref()).collect();
    assert_eq!(asked, [Some("STANDARD_IA"), Some("ONEZONE_IA")]);
    assert!(stored.iter().all(|stored| stored.encryption.as_deref() == Some("aws:kms")), "{stored:?}");
    assert!(server.objects().is_empty(), "{:?}", server.objects());
}

/// Whoever has asked for encryption would believe that there is some.
#[tokio::test]
async fn a_server_that_encrypts_nothing_where_encryption_is_asked_for() {
    let server = Server::start_as(Manner::Garage);
    for (encryption, name) in [
        (ServerSideEncryption::Aes256, "\"AES256\""),
        (ServerSideEncryption::Kms { key_id: None }, "\"aws:kms\""),
    ] {
        let said = refused(S3Options { server_side_encryption: encryption, ..options(&server) }).await;
        says(
            &said,
            &["objects.s3.encryption", name, "does not encrypt", "objects.s3.encryption = \"bucket\""],
        );
        assert!(server.objects().is_empty(), "{:?}", server.objects());
    }
    ObjectStore::open_s3(options(&server)).await.unwrap();
}

/// It costs money, and no more: a warning says it.
#[tokio::test]
async fn a_server_that_keeps_no_storage_class() {
    let server = Server::start_as(Manner::Garage);
    let storage_class_original = Some("STANDARD_IA".to_owned());
    ObjectStore::open_s3(S3Options { storage_class_original, ..options(&server) }).await.unwrap();
    assert!(server.objects().is_empty(), "{:?}", server.objects());
}

#[tokio::test]
async fn a_start_that_fails_leaves_nothing_in_the_bucket() {
    let server = Server::start();
    let denied = Fault::Refuse(StatusCode::FORBIDDEN, "AccessDenied");
    server.faults().set([denied.on(Method::GET, "start-check/")]);
    says(&refused(options(&server)).await, &["AccessDenied"]);
    assert_eq!((tried(&server).len(), server.objects().len()), (1, 0), "{:?}", server.objects());
}

/// Once is an accident.
#[tokio::test]
async fn bytes_that_are_damaged_on_their_way() {
    let server = Server::start_as(Manner::Garage);
    let time = Duration::from_secs(2);
    let hasty = || S3Options { attempt_timeout: time, operation_deadline: time, ..options(&server) };
    server.faults().set([Fault::CorruptRequest.on(Method::PUT, "start-check/").times(1)]);
    ObjectStore::open_s3(hasty()).await.unwrap();
    assert_eq!(server.faults().hits(), 1);
    server.faults().set([Fault::CorruptRequest.on(Method::PUT, "start-check/")]);
    says(&refused(hasty()).await, &["InvalidDigest", "other bytes", "objects.s3.checksum"]);
}
