//! The IETF's draft, at interop versions 6 and 8.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use darkroom_tests::{Answer, Client, Daemon};
use hyper::{Method, StatusCode};
use sha2::Digest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{became, photo_of};

const PARTIAL: (&str, &str) = ("content-type", "application/partial-upload");
const VERSION: &str = "upload-draft-interop-version";

async fn append(
    client: &Client,
    version: &str,
    path: &str,
    offset: usize,
    complete: &str,
    bytes: &[u8],
) -> Answer {
    let offset = offset.to_string();
    let headers =
        [(VERSION, version), PARTIAL, ("upload-offset", offset.as_str()), ("upload-complete", complete)];
    client.send(Method::PATCH, path, &headers, Bytes::copy_from_slice(bytes)).await
}

async fn goes_on(version: &str, appended: StatusCode, lifetime: &str) {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(1, 60_000);
    let length = photo.len().to_string();
    let headers = [(VERSION, version), ("upload-complete", "?0"), ("upload-length", length.as_str())];
    let begun =
        client.send(Method::POST, "/v1/uploads?filename=a.jpg", &headers, photo.slice(..10_000)).await;
    assert_eq!((begun.status, begun.header("upload-complete")), (StatusCode::CREATED, "?0"), "{begun:?}");
    let path = begun.header("location");
    assert!(begun.header("upload-limit").contains(&format!("{lifetime}=8")), "{begun:?}");
    let stands = client.send(Method::HEAD, path, &[(VERSION, version)], Bytes::new()).await;
    assert_eq!(stands.status, StatusCode::NO_CONTENT);
    assert_eq!((stands.header("upload-offset"), stands.header("upload-complete")), ("10000", "?0"));
    assert_eq!(
        (stands.header("upload-length"), stands.header("cache-control")),
        (length.as_str(), "no-store")
    );
    let next = append(&client, version, path, 10_000, "?0", &photo[10_000..]).await;
    assert_eq!((next.status, next.header("upload-offset")), (appended, length.as_str()), "{next:?}");
    assert_eq!(next.header("upload-complete"), "?0", "all bytes are here, but the client has not said so");
    let last = append(&client, version, path, photo.len(), "?1", &[]).await;
    assert_eq!((last.status, last.header("upload-complete")), (StatusCode::CREATED, "?1"), "{last:?}");
    assert_eq!(last.json()["id"], became(&client, last.header("photo-location"), &photo).await);
    // The last answer was lost: it is given again.
    let again = append(&client, version, path, photo.len(), "?1", &[]).await;
    assert_eq!((again.status.is_success(), again.json()["id"].clone()), (true, last.json()["id"].clone()));
    assert_eq!(client.get(path).await.json()["filename"], "a.jpg");
    let late = append(&client, version, path, photo.len(), "?0", b"more").await;
    assert!(late.status.is_client_error(), "{late:?}");
    assert_eq!(late.json()["type"], "https://iana.org/assignments/http-problem-types#completed-upload");
}

#[tokio::test]
async fn version_6_goes_on_where_it_stopped() {
    goes_on("6", StatusCode::CREATED, "expires").await;
}

#[tokio::test]
async fn version_8_goes_on_where_it_stopped() {
    goes_on("8", StatusCode::NO_CONTENT, "max-age").await;
}

#[tokio::test]
async fn a_whole_file_in_one_request_is_a_photo() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(2, 60_000);
    let headers = [(VERSION, "8"), ("upload-complete", "?1"), ("content-type", "image/jpeg")];
    let answer = client.send(Method::POST, "/v1/uploads", &headers, photo.clone()).await;
    assert_eq!((answer.status, answer.header("upload-complete")), (StatusCode::CREATED, "?1"), "{answer:?}");
    became(&client, answer.header("photo-location"), &photo).await;
    let text =
        client.send(Method::POST, "/v1/uploads", &headers, "no photo at all, but some text".repeat(9)).await;
    assert_eq!((text.problem().as_str(), text.header("upload-complete")), ("unsupported-image", "?1"));
}

#[tokio::test]
async fn bytes_that_are_not_those_of_their_digest_are_not_kept() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(4, 60_000);
    let digest = |bytes: &[u8]| format!("sha-256=:{}:", STANDARD.encode(sha2::Sha256::digest(bytes)));
    let begin = async |complete: &str, name: &str, of: &[u8], bytes: &[u8]| {
        let headers = [(VERSION, "8"), ("upload-complete", complete), (name, &digest(of))];
        client.send(Method::POST, "/v1/uploads", &headers, Bytes::copy_from_slice(bytes)).await
    };
    // Of a first request that is the whole file both are the same; nothing is left of it.
    for name in ["content-digest", "repr-digest"] {
        let refused = begin("?1", name, &photo[1..], &photo).await;
        assert_eq!((refused.status.as_u16(), &*refused.problem()), (422, "digest-mismatch"), "{refused:?}");
    }
    let begun = begin("?0", "content-digest", &photo[..20_000], &photo[..20_000]).await;
    assert_eq!(begun.header("upload-offset"), "20000", "{begun:?}");
    let path = begun.header("location");
    let append = async |of: &[u8]| {
        let digest = digest(of);
        let headers = [
            (VERSION, "8"),
            PARTIAL,
            ("upload-offset", "20000"),
            ("upload-complete", "?1"),
            ("content-digest", &digest),
        ];
        client.send(Method::PATCH, path, &headers, photo.slice(20_000..)).await
    };
    let refused = append(&photo).await;
    assert_eq!((refused.status.as_u16(), &*refused.problem()), (422, "digest-mismatch"), "{refused:?}");
    assert_eq!((refused.header("upload-offset"), refused.header("upload-complete")), ("20000", "?0"));
    let stands = client.send(Method::HEAD, path, &[(VERSION, "8")], Bytes::new()).await;
    assert_eq!(stands.header("upload-offset"), "20000");
    let last = append(&photo[20_000..]).await;
    became(&client, last.header("photo-location"), &photo).await;
}

#[tokio::test]
async fn what_does_not_agree_is_told_in_the_drafts_own_words() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(3, 60_000);
    let headers = [(VERSION, "8"), ("upload-complete", "?0"), ("upload-length", "60000")];
    let begun = client.send(Method::POST, "/v1/uploads", &headers, Bytes::new()).await;
    let path = begun.header("location");
    let elsewhere = append(&client, "8", path, 5, "?0", &photo[5..100]).await;
    assert_eq!((elsewhere.status, elsewhere.header("upload-offset")), (StatusCode::CONFLICT, "0"));
    let problem = elsewhere.json();
    assert_eq!(problem["type"], "https://iana.org/assignments/http-problem-types#mismatching-upload-offset");
    assert_eq!((&problem["expected-offset"], &problem["provided-offset"]), (&0.into(), &5.into()));
    let shorter = append(&client, "8", path, 0, "?1", &photo[..100]).await;
    assert_eq!(shorter.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        shorter.json()["type"],
        "https://iana.org/assignments/http-problem-types#inconsistent-upload-length"
    );
    let old = append(&client, "3", path, 0, "?0", &photo[..100]).await;
    assert_eq!(old.problem(), "invalid-header");
    let headers = [(VERSION, "8"), ("upload-complete", "?0"), ("upload-length", "99999999999")];
    let large = client.send(Method::POST, "/v1/uploads", &headers, Bytes::new()).await;
    assert_eq!(
        (large.status, large.header("upload-limit")),
        (StatusCode::PAYLOAD_TOO_LARGE, "max-size=67108864")
    );
    let last = append(&client, "8", path, 0, "?1", &photo).await;
    became(&client, last.header("photo-location"), &photo).await;
}

/// The answer to a request that says of no length before its bytes, which are said to be the last.
async fn append_chunked(client: &Client, path: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nhost: x\r\n{VERSION}: 8\r\nupload-complete: ?1\r\nupload-offset: 0\r\n\
         content-type: application/partial-upload\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n{:x}\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).to_lowercase()
}

#[tokio::test]
async fn a_file_that_lacks_bytes_of_its_length_is_not_complete() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(4, 60_000);
    let headers = [(VERSION, "8"), ("upload-complete", "?0"), ("upload-length", "60000")];
    let begun = client.send(Method::POST, "/v1/uploads", &headers, Bytes::new()).await;
    let path = begun.header("location");
    let short = append_chunked(&client, path, &photo[..40_000]).await;
    assert!(short.starts_with("http/1.1 400") && short.contains("#inconsistent-upload-length"), "{short}");
    assert!(short.contains("upload-offset: 40000"), "{short}");
    let last = append(&client, "8", path, 40_000, "?1", &photo[40_000..]).await;
    became(&client, last.header("photo-location"), &photo).await;
}
