//! Uploads that are begun under an idempotency key: the key tells the upload, whoever dies in between.

use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_tests::{Answer, Client, Daemon, Setup};
use hyper::{Method, StatusCode};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{STREAM, TUS, append_rest, became, head, offset, patch, photo_of};

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);
/// `duplicate allow`: each upload that is carried out becomes a photo of its own.
const ALLOW: (&str, &str) = ("upload-metadata", "duplicate YWxsb3c=");
const VERSION: (&str, &str) = ("upload-draft-interop-version", "8");

/// Begins an upload of so many bytes under a key, with these of them.
async fn begin(client: &Client, key: &str, length: usize, bytes: &[u8]) -> Answer {
    let length = length.to_string();
    let mut headers = vec![TUS, ALLOW, ("idempotency-key", key), ("upload-length", &length)];
    headers.extend((!bytes.is_empty()).then_some(STREAM));
    client.send(Method::POST, "/v1/uploads", &headers, Bytes::copy_from_slice(bytes)).await
}

/// Status, place and offset.
fn told(answer: &Answer) -> (u16, &str, &str) {
    (answer.status.as_u16(), answer.header("location"), answer.header("upload-offset"))
}

/// Sends the head of a creation under a key, and `sent` of its bytes.
async fn halfway(client: &Client, key: &str, bytes: &[u8], sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    let (length, (metadata, allow)) = (bytes.len(), ALLOW);
    let head = format!(
        "POST /v1/uploads HTTP/1.1\r\nhost: x\r\ntus-resumable: 1.0.0\r\nidempotency-key: {key}\r\n\
         {metadata}: {allow}\r\ncontent-type: application/offset+octet-stream\r\n\
         upload-length: {length}\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..sent]).await.unwrap();
    stream
}

/// Once so many bytes of bodies have come.
async fn received(client: &Client, bytes: usize) {
    let began = Instant::now();
    while client.metric("darkroom_upload_received_bytes_total").await < bytes as f64 {
        assert!(began.elapsed() < PATIENCE, "{bytes} bytes never come");
        tokio::task::yield_now().await;
    }
}

/// Begins it again until it is not in progress any more.
async fn free(client: &Client, key: &str, photo: &[u8]) -> Answer {
    let began = Instant::now();
    loop {
        let answer = begin(client, key, photo.len(), photo).await;
        if answer.status != StatusCode::CONFLICT {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "never free: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await; // Polling for the condition.
    }
}

#[tokio::test]
async fn a_key_tells_the_upload_that_was_begun_under_it() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(1, 60_000);
    let first = begin(&client, "k", photo.len(), &[]).await;
    assert_eq!((first.status, first.header("upload-offset")), (StatusCode::CREATED, "0"), "{first:?}");
    assert_eq!(told(&begin(&client, "\"k\"", photo.len(), &[]).await), told(&first));
    // Another length, other metadata, another question and another protocol are other requests.
    let length = photo.len().to_string();
    let (length, key) = (("upload-length", length.as_str()), ("idempotency-key", "k"));
    let named = ("upload-metadata", "filename YS5qcGc=");
    let draft = [VERSION, key, length, ("upload-complete", "?0")];
    for (path, headers) in [
        ("/v1/uploads", &[TUS, ALLOW, key, ("upload-length", "5000")][..]),
        ("/v1/uploads", &[TUS, key, length]),
        ("/v1/uploads", &[TUS, named, key, length]),
        ("/v1/uploads?filename=a.jpg", &[TUS, ALLOW, key, length]),
        ("/v1/uploads", &draft),
    ] {
        let other = client.send(Method::POST, path, headers, Bytes::new()).await;
        assert_eq!(
            (other.status.as_u16(), &*other.problem()),
            (422, "idempotency-key-reused"),
            "{headers:?}"
        );
    }
    // It tells how far the upload has come, and never back.
    let path = first.header("location").to_owned();
    patch(&client, &path, 0, &photo[..20_000]).await;
    let daemon = Daemon::start_on(daemon.kill(), &Setup::default());
    let client = daemon.client();
    let later = begin(&client, "k", photo.len(), &[]).await;
    assert_eq!(told(&later), (201, path.as_str(), "20000"));
    let last = append_rest(&client, &path, &photo, 20_000, 40_000).await;
    let done = begin(&client, "k", photo.len(), &[]).await;
    assert_eq!((told(&done).0, told(&done).1), (201, path.as_str()));
    assert_eq!(done.header("photo-location"), last.header("photo-location"));
    became(&client, done.header("photo-location"), &photo).await;
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn an_upload_that_has_gone_is_told_and_not_begun_again() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let first = begin(&client, "k", 5000, &[]).await;
    let path = first.header("location").to_owned();
    assert_eq!(client.delete(&path).await.status, StatusCode::NO_CONTENT);
    client.sweep().await;
    let again = begin(&client, "k", 5000, &[]).await;
    assert_eq!((again.status, again.header("location")), (StatusCode::CREATED, path.as_str()));
    assert_eq!(head(&client, &path).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn bytes_that_come_with_a_creation_are_taken_once() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(2, 50_000);
    let first = begin(&client, "some", photo.len(), &photo[..20_000]).await;
    assert_eq!((first.status, first.header("upload-offset")), (StatusCode::CREATED, "20000"));
    let path = first.header("location").to_owned();
    assert_eq!(told(&begin(&client, "some", photo.len(), &photo[..20_000]).await), told(&first));
    assert_eq!(offset(&client, &path).await, 20_000);
    let fewer = begin(&client, "some", photo.len(), &photo[..10_000]).await;
    assert_eq!(fewer.problem(), "idempotency-key-reused");
    let last = append_rest(&client, &path, &photo, 20_000, 30_000).await;
    became(&client, last.header("photo-location"), &photo).await;

    let whole = begin(&client, "all", photo.len(), &photo).await;
    let place = whole.header("photo-location").to_owned();
    let again = begin(&client, "all", photo.len(), &photo).await;
    assert_eq!((told(&again), again.header("photo-location")), (told(&whole), &*place), "{again:?}");
    assert_eq!(client.all().await.len(), 2);
    // The last word is kept, whatever becomes of the photo and of the upload.
    client.delete(&place).await;
    client.delete(whole.header("location")).await;
    let again = begin(&client, "all", photo.len(), &photo).await;
    assert_eq!((told(&again), again.header("photo-location")), (told(&whole), &*place), "{again:?}");
}

#[tokio::test]
async fn a_creation_that_is_under_way_is_not_begun_twice_and_goes_on_where_it_broke_off() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(3, 400_000);
    let slow = halfway(&client, "k", &photo, 150_000).await;
    received(&client, 150_000).await;
    let meanwhile = begin(&client, "k", photo.len(), &photo).await;
    assert_eq!((meanwhile.status.as_u16(), &*meanwhile.problem()), (409, "request-in-progress"));
    assert_eq!(meanwhile.header("retry-after"), "1");
    drop(slow);
    let again = free(&client, "k", &photo).await;
    assert_eq!((again.status, again.header("upload-offset")), (StatusCode::CREATED, "150000"), "{again:?}");
    let last = append_rest(&client, again.header("location"), &photo, 150_000, 250_000).await;
    became(&client, last.header("photo-location"), &photo).await;
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn a_crash_leaves_the_upload_and_its_key_or_neither() {
    let photo = photo_of(4, 300_000);
    for (point, bytes) in [("upload_begun", 0), ("upload_begun", 300_000), ("piece_committed", 300_000)] {
        let fault = format!("[testing]\nfaults = [{{ point = '{point}', action = 'kill', times = 1 }}]");
        let mut daemon = Daemon::start_with(&Setup::config(&fault));
        let (client, length) = (daemon.client(), photo.len().to_string());
        let mut headers = vec![TUS, ALLOW, ("idempotency-key", "k"), ("upload-length", &*length)];
        headers.extend((bytes > 0).then_some(STREAM));
        let request = client.request(Method::POST, "/v1/uploads", &headers, photo.slice(..bytes));
        assert!(client.try_send(request).await.is_err(), "{point}: it was to die");
        daemon.wait();
        let daemon = Daemon::start_on(daemon.home(), &Setup::default());
        let client = daemon.client();
        let other = begin(&client, "k", 5000, &[]).await;
        assert_eq!(other.problem(), "idempotency-key-reused", "{point}: it was begun");
        let again = begin(&client, "k", photo.len(), &photo[..bytes]).await;
        assert_eq!(again.status, StatusCode::CREATED, "{point}: {again:?}");
        client.sweep().await;
        let path = again.header("location").to_owned();
        assert_eq!(told(&begin(&client, "k", photo.len(), &photo[..bytes]).await), told(&again));
        let last = if bytes == 0 { append_rest(&client, &path, &photo, 0, 300_000).await } else { again };
        became(&client, last.header("photo-location"), &photo).await;
        assert_eq!(client.all().await.len(), 1, "{point}");
        client.sweep().await;
        assert_eq!(client.metric("darkroom_upload_open").await, 0.0, "{point}: nothing else was begun");
    }
}

#[tokio::test]
async fn creations_at_once_under_one_key_begin_one_upload() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(5, 50_000);
    for (key, bytes) in [("empty", &[][..]), ("whole", &photo)] {
        let all = (0..8).map(|_| begin(&client, key, photo.len(), bytes));
        let answers = futures_util::future::join_all(all).await;
        let last = begin(&client, key, photo.len(), bytes).await;
        assert_eq!(last.status, StatusCode::CREATED);
        for answer in answers {
            match answer.status {
                StatusCode::CREATED => assert_eq!(told(&answer), told(&last)),
                _ => assert_eq!(answer.problem(), "request-in-progress", "{answer:?}"),
            }
        }
    }
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn a_refused_creation_frees_its_key() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(6, 50_000);
    let text = "no photo at all, but some text".repeat(100);
    let refused = begin(&client, "k", text.len(), text.as_bytes()).await;
    assert_eq!(refused.problem(), "unsupported-image", "{refused:?}");
    let length = photo.len().to_string();
    let headers = [TUS, STREAM, ("upload-length", &length), ("idempotency-key", "k")];
    // A wrong digest leaves nothing, and may be mended.
    let wrong = [&headers[..], &[("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")]].concat();
    let refused = client.send(Method::POST, "/v1/uploads", &wrong, photo.clone()).await;
    assert_eq!((refused.status.as_u16(), &*refused.problem()), (422, "digest-mismatch"), "{refused:?}");
    let large = begin(&client, "k", 1 << 40, &[]).await;
    assert_eq!(large.problem(), "body-too-large");
    let taken = begin(&client, "k", photo.len(), &photo).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{taken:?}");
    became(&client, taken.header("photo-location"), &photo).await;
    let key = [TUS, ("idempotency-key", "\"open"), ("upload-length", "5")];
    let malformed = client.send(Method::POST, "/v1/uploads", &key, Bytes::new()).await;
    assert_eq!(malformed.problem(), "idempotency-key-malformed");
}

#[tokio::test]
async fn parts_are_joined_once_under_a_key() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(7, 50_000);
    let mut parts = Vec::new();
    for (key, bytes) in [("a", &photo[..20_000]), ("b", &photo[20_000..])] {
        let length = bytes.len().to_string();
        let headers =
            [TUS, STREAM, ("upload-concat", "partial"), ("upload-length", &length), ("idempotency-key", key)];
        let begin = || client.send(Method::POST, "/v1/uploads", &headers, Bytes::copy_from_slice(bytes));
        let (part, again) = (begin().await, begin().await);
        assert_eq!(told(&part), told(&again));
        parts.push(part.header("location").to_owned());
    }
    let joined = format!("final;{}", parts.join(" "));
    let join = async |key: &str, parts: &str| {
        let headers = [TUS, ("upload-concat", parts), ("idempotency-key", key)];
        client.send(Method::POST, "/v1/uploads", &headers, Bytes::new()).await
    };
    let whole = join("c", &joined).await;
    became(&client, whole.header("photo-location"), &photo).await;
    let again = join("c", &joined).await;
    assert_eq!(
        (told(&again), again.header("photo-location")),
        (told(&whole), whole.header("photo-location"))
    );
    let other = join("c", &format!("final;{}", parts[0])).await;
    assert_eq!(other.problem(), "idempotency-key-reused");
}

#[tokio::test]
async fn the_drafts_uploads_are_begun_once_too() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(8, 50_000);
    let send = async |key: &str, complete: &str, bytes: &[u8]| {
        let headers = [VERSION, ("idempotency-key", key), ("upload-complete", complete)];
        let path = "/v1/uploads?duplicate=allow";
        client.send(Method::POST, path, &headers, Bytes::copy_from_slice(bytes)).await
    };
    let whole = send("whole", "?1", &photo).await;
    assert_eq!((whole.status, whole.header("upload-complete")), (StatusCode::CREATED, "?1"), "{whole:?}");
    let again = send("whole", "?1", &photo).await;
    assert_eq!((again.status, &again.body), (whole.status, &whole.body));
    assert_eq!(told(&again), told(&whole));
    let begun = send("begun", "?0", &photo[..20_000]).await;
    assert_eq!((begun.status, begun.header("upload-offset")), (StatusCode::CREATED, "20000"));
    assert_eq!(told(&send("begun", "?0", &photo[..20_000]).await), told(&begun));
    assert_eq!(send("begun", "?1", &photo).await.problem(), "idempotency-key-reused");
    assert_eq!(client.all().await.len(), 1);
}
