//! Bad input: each gets its own clear problem, leaves nothing behind, and the photos behind it go on.

use std::time::Duration;

use bytes::Bytes;
use darkroom_tests::daemon::files;
use darkroom_tests::{Answer, Client, Daemon, Setup, photos};
use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Small limits, so that they are met quickly.
const CONFIG: &str = "
[http]
body_idle_timeout = '1s'
[limits]
upload_bytes_max = '2 MiB'
pixels_max = 16000000
[budgets]
pixels = '256 MiB'
";

/// Asserts that nothing of the refused is left, and that a good photo still goes through.
async fn nothing_left_and_goes_on(daemon: &Daemon, client: &Client) {
    client.idle().await;
    assert!(client.all().await.is_empty(), "a refused upload became a photo");
    client.sweep().await;
    let left = files(&daemon.data().join("objects"));
    assert_eq!(left.len(), 1, "only the store id may be there: {left:?}");
    let photo = client.upload_settled(&photos::photo(99, 320, 200)).await;
    assert_eq!(photo["state"], "ready");
}

/// Uploads `body` and expects this refusal.
async fn refused(content_type: Option<&str>, body: Bytes, status: u16, code: &str) -> Answer {
    let daemon = Daemon::start_with(&Setup::config(CONFIG));
    let client = daemon.client();
    let headers: Vec<_> = content_type.map(|value| ("content-type", value)).into_iter().collect();
    let answer = client.send(Method::POST, "/v1/photos", &headers, body).await;
    assert_eq!((answer.problem().as_str(), answer.status.as_u16()), (code, status), "{answer:?}");
    nothing_left_and_goes_on(&daemon, &client).await;
    answer
}

#[tokio::test]
async fn an_empty_body() {
    refused(Some("image/jpeg"), Bytes::new(), 422, "empty-image").await;
}

#[tokio::test]
async fn a_truncated_photo() {
    let photo = photos::photo(1, 1000, 800);
    // Before its pixels begin. What is cut later is shown as far as it goes.
    refused(None, photo.slice(..300), 422, "truncated-image").await;
}

#[tokio::test]
async fn something_that_is_no_image() {
    let answer = refused(None, Bytes::from_static(b"%PDF-1.7 not a photo"), 415, "unsupported-image").await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("PDF"));
    refused(Some("image/jpeg"), Bytes::from(vec![7; 100_000]), 415, "unsupported-image").await;
}

#[tokio::test]
async fn a_photo_under_a_wrong_content_type() {
    let answer = refused(Some("image/png"), photos::photo(1, 100, 80), 415, "type-mismatch").await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("JPEG") && detail.contains("image/png"), "{detail}");
}

/// A PNG's signature and header that claim a size, and little more.
fn claimed_png(width: u32, height: u32) -> Bytes {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend_from_slice(&width.to_be_bytes());
    png.extend_from_slice(&height.to_be_bytes());
    png.extend_from_slice(&[8, 2, 0, 0, 0, 0, 0, 0, 0]);
    png.resize(1000, 0);
    png.into()
}

#[tokio::test]
async fn a_claimed_size_beyond_all_memory() {
    let answer = refused(None, claimed_png(60_000, 60_000), 422, "image-too-large").await;
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("60000") && detail.contains("16000000"), "{detail}");
}

#[tokio::test]
async fn a_claimed_size_costs_no_memory() {
    let daemon = Daemon::start_with(&Setup::config(CONFIG));
    let client = daemon.client();
    client.upload(&photos::photo(1, 64, 64)).await;
    client.idle().await;
    let before = daemon.memory_peak();
    for _ in 0..100 {
        assert_eq!(client.upload(&claimed_png(60_000, 60_000)).await.problem(), "image-too-large");
    }
    let grown = daemon.memory_peak() - before;
    assert!(grown < 20 << 20, "{grown} bytes for 100 refusals");
}

#[tokio::test]
async fn one_by_one_and_65500_by_one_are_photos() {
    let daemon = Daemon::start_with(&Setup::config(CONFIG));
    let client = daemon.client();
    for photo in [photos::photo(1, 1, 1), photos::photo(2, 65_500, 1)] {
        assert_eq!(client.upload_settled(&photo).await["state"], "ready");
    }
}

#[tokio::test]
async fn a_photo_whose_pixels_are_damaged_fails_with_a_reason_and_can_be_sent_again() {
    let daemon = Daemon::start_with(&Setup::config(CONFIG));
    let client = daemon.client();
    let mut damaged = photos::photo(1, 1000, 800).to_vec();
    let middle = damaged.len() / 2;
    // A Huffman stream of nothing but ones has no code; byte stuffing keeps the markers right.
    for pair in damaged[middle..middle + 20_000].chunks_exact_mut(2) {
        pair.copy_from_slice(&[0xFF, 0x00]);
    }
    let damaged = Bytes::from(damaged);
    let photo = client.upload_settled(&damaged).await;
    assert_eq!(
        (&photo["state"], &photo["failure"]["code"]),
        (&"failed".into(), &"corrupt-image".into()),
        "{photo}"
    );
    let path = format!("/v1/photos/{}", photo["id"].as_str().unwrap());
    assert_eq!(client.get(&format!("{path}/variants/large")).await.problem(), "photo-failed");
    assert_eq!(client.get(&format!("{path}/original")).await.body, damaged);
    // The same bytes again try again, as the same photo.
    let again = client.upload(&damaged).await;
    assert_eq!((again.status, &again.json()["id"]), (StatusCode::OK, &photo["id"]));
    assert_eq!(client.settled(photo["id"].as_str().unwrap()).await["state"], "failed");
    assert_eq!(client.delete(&path).await.status, StatusCode::NO_CONTENT);
    nothing_left_and_goes_on(&daemon, &client).await;
}

#[tokio::test]
async fn a_body_larger_than_the_limit_with_and_without_its_length() {
    let large = Bytes::from([&photos::photo(1, 1000, 800)[..], &vec![0; 3 << 20]].concat());
    let answer = refused(None, large.clone(), 413, "body-too-large").await;
    assert!(answer.json()["detail"].as_str().unwrap().contains("2097152"), "{answer:?}");

    let daemon = Daemon::start_with(&Setup::config(CONFIG));
    let client = daemon.client();
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    stream
        .write_all(b"POST /v1/photos HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    for chunk in large.chunks(64 << 10) {
        let framed = [format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat();
        stream.write_all(&framed).await.unwrap();
    }
    stream.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("/problems/body-too-large"), "{answer}");
    nothing_left_and_goes_on(&daemon, &client).await;
}

/// A connection that has sent a photo's first half.
async fn half_sent(client: &Client) -> TcpStream {
    let photo = photos::photo(1, 1500, 1000);
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    let head = format!("POST /v1/photos HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", photo.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&photo[..photo.len() / 2]).await.unwrap();
    stream
}

#[tokio::test]
async fn a_client_that_stops_half_way() {
    let daemon = Daemon::start_with(&Setup::config(CONFIG));
    let client = daemon.client();
    let mut stream = half_sent(&client).await;
    let mut answer = String::new();
    tokio::time::timeout(Duration::from_secs(30), stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("/problems/body-timeout"), "{answer}");
    nothing_left_and_goes_on(&daemon, &client).await;
}

#[tokio::test]
async fn a_client_that_hangs_up_half_way() {
    let daemon = Daemon::start_with(&Setup::config(CONFIG));
    let client = daemon.client();
    for _ in 0..20 {
        drop(half_sent(&client).await);
    }
    nothing_left_and_goes_on(&daemon, &client).await;
}
