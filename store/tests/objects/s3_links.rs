//! What clients do by themselves with a URL that the store has signed: plain HTTP, nothing of the SDK's.

use std::time::Duration;

use bytes::Bytes;
use darkroom_store::StoreError;
use darkroom_store::objects::filesystem::FilesystemOptions;
use darkroom_store::objects::s3::{Announced, Bucket, Completion, PresignedRequest};
use darkroom_store::objects::{ObjectKey, ObjectKind, ObjectStore};
use darkroom_test_s3::Server;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::cases::{content, whole};
use crate::store::{PART_BYTES, options};

const MINUTE: Duration = Duration::from_secs(60);

/// What came for a request that a client made by itself.
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

async fn send(request: &PresignedRequest, more: &[(&str, &str)], body: Bytes) -> Answer {
    let uri: Uri = request.url.parse().unwrap();
    let host = uri.authority().unwrap().as_str();
    let stream = TcpStream::connect(host).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let path = uri.path_and_query().unwrap().as_str();
    let mut sent = Request::builder().method(request.method.as_str()).uri(path).header("host", host);
    let signed = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    // Said already, and told by hyper itself.
    let said = |name: &str| ["host", "content-length"].contains(&name);
    for (name, value) in signed.chain(more.iter().copied()).filter(|(name, _)| !said(name)) {
        sent = sent.header(name, value);
    }
    let (head, body) = sender.send_request(sent.body(Full::new(body)).unwrap()).await.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    connection.abort();
    Answer { status: head.status, headers: head.headers, body }
}

#[tokio::test]
async fn a_signed_get_is_read_by_anyone_who_has_it() {
    let server = Server::start();
    let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(1_000_000));
    objects.put(&key, bytes.clone()).await.unwrap();
    let signed = objects.presign_get(&key, MINUTE).await.unwrap().unwrap();
    assert_eq!(signed.method, "GET");
    let whole = send(&signed, &[], Bytes::new()).await;
    assert!(whole.status == StatusCode::OK && whole.body == bytes, "{}", whole.status);
    let part = send(&signed, &[("range", "bytes=10-19")], Bytes::new()).await;
    assert_eq!((part.status, &part.body[..]), (StatusCode::PARTIAL_CONTENT, &bytes[10..20]));
}

#[tokio::test]
async fn a_signed_put_takes_one_object_of_its_length() {
    let server = Server::start();
    let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(70_000));
    let signed = objects.presign_put(&key, Some(bytes.len() as u64), MINUTE).await.unwrap().unwrap();
    assert_eq!(signed.method, "PUT");
    let longer = send(&signed, &[], content(70_001)).await;
    assert_eq!(longer.status, StatusCode::FORBIDDEN, "{:?}", longer.body);
    assert!(objects.head(&key).await.unwrap().is_none());
    let put = send(&signed, &[], bytes.clone()).await;
    assert_eq!(put.status, StatusCode::OK, "{:?}", put.body);
    assert_eq!(whole(&objects, &key, bytes.len()).await, bytes);
}

#[tokio::test]
async fn a_url_is_for_one_object_and_one_purpose() {
    let server = Server::start();
    let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
    let (key, other) = (ObjectKey::new(ObjectKind::Original), ObjectKey::new(ObjectKind::Original));
    for key in [&key, &other] {
        objects.put(key, content(10)).await.unwrap();
    }
    let signed = objects.presign_get(&key, MINUTE).await.unwrap().unwrap();
    let elsewhere =
        PresignedRequest { url: signed.url.replace(key.as_str(), other.as_str()), ..signed.clone() };
    let otherwise = PresignedRequest { method: "PUT".to_owned(), ..signed.clone() };
    for forged in [elsewhere, otherwise] {
        let answer = send(&forged, &[], Bytes::from_static(b"forged")).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{forged:?}");
    }
    assert_eq!(whole(&objects, &other, 10).await, content(10));
    let too_long = objects.presign_get(&key, Duration::from_secs(8 * 24 * 3600)).await;
    assert!(matches!(too_long, Err(StoreError::InvalidOption { .. })), "{too_long:?}");
}

#[tokio::test]
async fn an_upload_in_parts_is_sent_by_the_client_and_completed_by_the_server() {
    let server = Server::start();
    let bucket = Bucket::connect(options(&server)).await.unwrap();
    let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
    let (key, bytes) = (ObjectKey::new(ObjectKind::Original), content(2 * PART_BYTES + 77));
    let upload = bucket.begin_parts(&key).await.unwrap();
    let mut sent = Vec::new();
    for (number, part) in (1..).zip(bytes.chunks(PART_BYTES)) {
        let length = Some(part.len() as u64);
        let signed = bucket.presign_part(&key, &upload, number, length, MINUTE).await.unwrap();
        let answer = send(&signed, &[], Bytes::copy_from_slice(part)).await;
        assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
        sent.push((number, answer.headers["etag"].to_str().unwrap().to_owned()));
    }
    assert!(objects.head(&key).await.unwrap().is_none());
    bucket.complete_parts(&key, &upload, &sent).await.unwrap();
    assert!(whole(&objects, &key, bytes.len()).await == bytes);
    let given_up = bucket.begin_parts(&key).await.unwrap();
    bucket.abort_parts(&key, &given_up).await.unwrap();
    assert!(server.open_uploads().is_empty());
    assert!(bucket.complete_parts(&key, &given_up, &sent).await.is_err());
}

#[tokio::test]
async fn an_announced_put_takes_the_bytes_that_were_announced() {
    let server = Server::start();
    let bucket = Bucket::connect(options(&server)).await.unwrap();
    let (key, bytes) = (ObjectKey::new(ObjectKind::Upload), content(70_000));
    let sha256 = "Mu9dyl3Rl1RTcmWyp1lxnwCxqKLFPKKt/wNmgs2XYWY=";
    let announced = Announced { bytes: 70_000, media_type: Some("image/jpeg"), sha256: Some(sha256) };
    let signed = bucket.presign_announced(&key, &announced, MINUTE).await.unwrap();
    let header =
        |name| signed.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
    assert_eq!(header("x-amz-checksum-sha256"), Some(sha256), "{signed:?}");
    assert_eq!(header("content-type"), Some("image/jpeg"), "{signed:?}");
    let other = send(&signed, &[], bytes).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST, "{:?}", other.body);
    let name = bucket.name_of(&key).unwrap();
    assert_eq!(bucket.look_at(&name).await.unwrap(), None);
}

#[tokio::test]
async fn the_server_copies_whole_and_in_parts() {
    let server = Server::start();
    let bucket = Bucket::connect(options(&server)).await.unwrap();
    let objects = ObjectStore::open_s3(options(&server)).await.unwrap();
    let bytes = content(2 * PART_BYTES + 77);
    let name = "in/a photo+ä&?#%.jpg";
    server.put(name, &bytes);
    let found = bucket.look_at(name).await.unwrap().unwrap();
    assert_eq!(found.bytes, bytes.len() as u64);
    let (whole_copy, in_parts) = (ObjectKey::new(ObjectKind::Original), ObjectKey::new(ObjectKind::Original));
    assert!(bucket.copy(name, found.bytes, &whole_copy).await.unwrap());
    let part = PART_BYTES as u64;
    assert!(Box::pin(bucket.copy_in(name, found.bytes, &in_parts, part, part)).await.unwrap());
    for copy in [&whole_copy, &in_parts] {
        assert!(whole(&objects, copy, bytes.len()).await == bytes);
    }
    let absent = ObjectKey::new(ObjectKind::Original);
    assert!(!bucket.copy("in/absent", 5, &absent).await.unwrap());
    assert!(!Box::pin(bucket.copy_in("in/absent", 2 * part, &absent, part, part)).await.unwrap());
    assert!(objects.head(&absent).await.unwrap().is_none());
    assert!(server.open_uploads().is_empty());
    bucket.delete_found(name).await.unwrap();
    assert_eq!(bucket.look_at(name).await.unwrap(), None);
}

#[tokio::test]
async fn parts_that_are_not_there_are_told_and_an_upload_is_completed_once() {
    let server = Server::start();
    let bucket = Bucket::connect(options(&server)).await.unwrap();
    let key = ObjectKey::new(ObjectKind::Upload);
    let upload = bucket.begin_parts(&key).await.unwrap();
    let signed = bucket.presign_part(&key, &upload, 1, Some(10), MINUTE).await.unwrap();
    let sent = send(&signed, &[], content(10)).await.headers["etag"].to_str().unwrap().to_owned();
    let absent = [(1, sent.clone()), (2, sent.clone())];
    let completed = bucket.complete_sent(&key, &upload, &absent).await.unwrap();
    assert!(matches!(completed, Completion::Wrong(_)), "{completed:?}");
    let complete = async || bucket.complete_sent(&key, &upload, &[(1, sent.clone())]).await.unwrap();
    assert_eq!(complete().await, Completion::Done);
    let unknown =
        bucket.complete_sent(&key, "00000000-0000-0000-0000-000000000000", &[(1, sent.clone())]).await;
    assert_eq!(unknown.unwrap(), Completion::Unknown);
    let other = ObjectKey::new(ObjectKind::Upload);
    bucket.begin_parts(&other).await.unwrap();
    assert_eq!(bucket.abort_all_parts(&other).await.unwrap(), 1);
    assert!(server.open_uploads().is_empty());
}

#[tokio::test]
async fn files_have_no_urls() {
    let home = tempfile::tempdir().unwrap();
    let objects = ObjectStore::open_filesystem(home.path(), FilesystemOptions::default()).await.unwrap();
    let key = ObjectKey::new(ObjectKind::Original);
    assert_eq!(objects.presign_get(&key, MINUTE).await.unwrap(), None);
    assert_eq!(objects.presign_put(&key, None, MINUTE).await.unwrap(), None);
}
