//! The mistakes that people make with a bucket: each is found at the start, and named.

use std::time::{Duration, Instant};

use darkroom_store::StoreError;
use darkroom_store::objects::ObjectStore;
use darkroom_store::objects::s3::S3Options;
use darkroom_test_s3::{Fault, KEY_ID, REGION, SECRET_KEY, Server};
use hyper::StatusCode;

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
    server.faults().set([denied.on(hyper::Method::PUT, "")]);
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
