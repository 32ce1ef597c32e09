//! Connections that break or hang, and a daemon that is killed: an offset that was told never goes back.

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use darkroom_tests::{Client, Daemon, Setup};
use hyper::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{append_rest, became, create, head, offset, patch, photo_of};

/// Sends the head of a request that appends, and the first `sent` of its bytes.
async fn begin_patch(client: &Client, path: &str, from: usize, bytes: &[u8], sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nhost: x\r\ntus-resumable: 1.0.0\r\nupload-offset: {from}\r\n\
         content-type: application/offset+octet-stream\r\ncontent-length: {}\r\n\r\n",
        bytes.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&bytes[..sent]).await.unwrap();
    stream
}

/// Once so many bytes of bodies have come.
async fn received(client: &Client, bytes: u64) {
    while client.metric("darkroom_upload_received_bytes_total").await < bytes as f64 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_came_before_a_connection_broke_is_kept() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(1, 400_000);
    let path = create(&client, photo.len(), &[]).await;
    let stream = begin_patch(&client, &path, 0, &photo, 150_000).await;
    received(&client, 150_000).await;
    drop(stream);
    assert_eq!(offset(&client, &path).await, 150_000);
    let last = append_rest(&client, &path, &photo, 150_000, 250_000).await;
    became(&client, last.header("photo-location"), &photo).await;
}

#[tokio::test]
async fn who_comes_back_is_not_locked_out_by_a_connection_that_hangs() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(2, 400_000);
    let path = create(&client, photo.len(), &[]).await;
    let mut hanging = begin_patch(&client, &path, 0, &photo, 150_000).await;
    received(&client, 150_000).await;
    // Whoever only looks stops nobody.
    assert_eq!(client.get(&path).await.json()["offset"], 0);
    let asked = Instant::now();
    assert_eq!(offset(&client, &path).await, 150_000);
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    let mut answer = vec![0; 12];
    hanging.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 409", "the old request is told");
    // Without asking first it goes as well.
    let mut hanging = begin_patch(&client, &path, 150_000, &photo[150_000..], 50_000).await;
    received(&client, 200_000).await;
    let late = patch(&client, &path, 150_000, &photo[150_000..]).await;
    assert_eq!((late.status, late.header("upload-offset")), (StatusCode::CONFLICT, "200000"), "{late:?}");
    hanging.read_exact(&mut answer).await.unwrap();
    let last = append_rest(&client, &path, &photo, 200_000, 200_000).await;
    became(&client, last.header("photo-location"), &photo).await;
}

#[tokio::test]
async fn who_is_behind_stops_nobody() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(6, 400_000);
    let path = create(&client, photo.len(), &[]).await;
    assert_eq!(patch(&client, &path, 0, &photo[..100_000]).await.status, StatusCode::NO_CONTENT);
    let mut running = begin_patch(&client, &path, 100_000, &photo[100_000..], 50_000).await;
    received(&client, 150_000).await;
    let behind = patch(&client, &path, 0, &photo).await;
    assert_eq!(
        (behind.status, behind.header("upload-offset")),
        (StatusCode::CONFLICT, "100000"),
        "{behind:?}"
    );
    running.write_all(&photo[150_000..]).await.unwrap();
    let mut answer = vec![0; 12];
    running.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 204", "it was let go on");
}

#[tokio::test]
async fn a_body_that_stalls_is_no_reason_to_give_up() {
    let daemon = Daemon::start_with(&Setup::config("[http]\nbody_idle_timeout = '1s'"));
    let client = daemon.client();
    let photo = photo_of(7, 400_000);
    let path = create(&client, photo.len(), &[]).await;
    let mut stalled = begin_patch(&client, &path, 0, &photo, 150_000).await;
    let mut answer = Vec::new();
    stalled.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).to_lowercase();
    assert!(answer.starts_with("http/1.1 503"), "{answer}");
    assert!(answer.contains("upload-offset: 150000") && answer.contains("retry-after: 1"), "{answer}");
    assert!(answer.contains("/problems/upload-stalled"), "{answer}");
    let last = append_rest(&client, &path, &photo, 150_000, 250_000).await;
    became(&client, last.header("photo-location"), &photo).await;
}

/// Sends the head of a creation that brings all of the photo, and `sent` bytes of it.
async fn begin_creation(client: &Client, photo: &[u8], sent: usize) -> TcpStream {
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    let length = photo.len();
    let head = format!(
        "POST /v1/uploads HTTP/1.1\r\nhost: x\r\ntus-resumable: 1.0.0\r\nupload-length: {length}\r\n\
         content-type: application/offset+octet-stream\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&photo[..sent]).await.unwrap();
    stream
}

#[tokio::test]
async fn a_creation_whose_client_leaves_comes_to_an_end() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(8, 400_000);
    let broken = begin_creation(&client, &photo, 150_000).await;
    received(&client, 150_000).await;
    drop(broken);
    // Nobody knows where it is.
    while client.metric("darkroom_upload_open").await > 0.0 {
        tokio::task::yield_now().await;
    }
    let whole = begin_creation(&client, &photo, photo.len()).await;
    received(&client, 550_000).await;
    drop(whole);
    while client.all().await.is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_look_at_an_upload_waits_for_nobody() {
    let pause =
        "[testing]\nfaults = [{ point = 'original_stored', action = 'pause', millis = 3000, times = 1 }]";
    let daemon = Daemon::start_with(&Setup::config(pause));
    let client = daemon.client();
    let photo = photo_of(9, 60_000);
    let path = create(&client, photo.len(), &[]).await;
    let looks = async {
        loop {
            let told = client.get(&path).await.json();
            match told["state"].as_str() {
                Some("open") => tokio::task::yield_now().await,
                state => return state.map(ToOwned::to_owned),
            }
        }
    };
    let (last, state) = tokio::join!(patch(&client, &path, 0, &photo), looks);
    assert_eq!(state.as_deref(), Some("finishing"));
    // Who comes in between makes no second photo of it.
    assert_eq!(last.status, StatusCode::NO_CONTENT, "{last:?}");
    became(&client, last.header("photo-location"), &photo).await;
}

/// Kills the daemon at a named point of one request, goes on after the next start as a client does, and looks at what
/// there is in the end.
async fn survives(point: &str, length: usize, seed: u64) {
    let fault = format!(
        "[uploads]\npiece = '1 MiB'\n[testing]\nfaults = [{{ point = '{point}', action = 'kill', times = 1 }}]"
    );
    let plain = Setup::config("[uploads]\npiece = '1 MiB'");
    let photo = photo_of(seed, length);
    let daemon = Daemon::start_with(&plain);
    // Another photo of these bytes: a second one made of the upload would be seen.
    daemon.client().upload_settled(&photo).await;
    let metadata = format!("duplicate {}", STANDARD.encode("allow"));
    let path = create(&daemon.client(), length, &[("upload-metadata", &metadata)]).await;
    let first = length / 3;
    assert_eq!(patch(&daemon.client(), &path, 0, &photo[..first]).await.status, StatusCode::NO_CONTENT);
    let mut daemon = Daemon::start_on(daemon.stop(), &Setup::config(&fault));
    let headers = [super::TUS, super::STREAM, ("upload-offset", &first.to_string())];
    let client = daemon.client();
    let rest = client.request(hyper::Method::PATCH, &path, &headers, photo.slice(first..));
    assert!(client.try_send(rest).await.is_err(), "{point}: it was to die");
    daemon.wait();
    let daemon = Daemon::start_on(daemon.home(), &plain);
    let client = daemon.client();
    let stands = head(&client, &path).await;
    let at: usize = stands.header("upload-offset").parse().unwrap();
    assert!(at >= first, "{point}: {at} bytes are left of {first}");
    let last = if at == length { stands } else { append_rest(&client, &path, &photo, at, length).await };
    became(&client, last.header("photo-location"), &photo).await;
    assert_eq!(client.all().await.len(), 2, "{point}");
    assert_eq!(client.get(&path).await.json()["state"], "done", "{point}");
    client.sweep().await;
    let left = darkroom_tests::daemon::files(&daemon.data().join("objects/uploads"));
    assert!(left.is_empty(), "{point}: {left:?}");
}

#[tokio::test]
async fn a_daemon_that_is_killed_while_bytes_come_loses_nothing_that_was_told() {
    survives("piece_stored", 5 << 20, 10).await;
    survives("piece_committed", 5 << 20, 11).await;
}

#[tokio::test]
async fn a_daemon_that_is_killed_while_it_makes_the_photo_makes_one() {
    survives("original_stored", 2 << 20, 12).await;
    survives("before_commit", 2 << 20, 13).await;
    survives("photo_committed", 2 << 20, 14).await;
}

#[tokio::test]
async fn a_daemon_that_ends_in_order_commits_what_came() {
    let mut daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(3, 300_000);
    let path = create(&client, photo.len(), &[]).await;
    let stream = begin_patch(&client, &path, 0, &photo, 120_000).await;
    received(&client, 120_000).await;
    daemon.signal(rustix::process::Signal::TERM);
    assert!(daemon.wait(), "{}", daemon.log());
    drop(stream);
    let daemon = Daemon::start_on(daemon.home(), &Setup::default());
    assert_eq!(offset(&daemon.client(), &path).await, 120_000);
    let last = append_rest(&daemon.client(), &path, &photo, 120_000, 180_000).await;
    became(&daemon.client(), last.header("photo-location"), &photo).await;
}
