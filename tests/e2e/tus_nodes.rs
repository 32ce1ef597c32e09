//! Resumable uploads to a bucket, with requests of sizes that no part of a multipart upload has, each to another node than
//! the one before.

use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_test_s3::Server;
use darkroom_tests::{Answer, Client, Clients, Cutting, Daemon, Weather, photos};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::nodes::two_nodes;
use super::s3::{nothing_is_left_behind, on, whole};

/// One less than 5 MB, the least size of a part of a multipart upload, and a single byte.
const SIZES: [usize; 3] = [5_000_000 - 1, 5 << 20, 1];
/// How long a node may take to give up what another wants.
const PATIENCE: Duration = Duration::from_secs(60);
const TUS: (&str, &str) = ("tus-resumable", "1.0.0");

/// A photo of so many rounds of [`SIZES`], and a rest.
fn file(rounds: usize) -> Bytes {
    let picture = photos::photo(7, 640, 480);
    let length = rounds * SIZES.iter().sum::<usize>() + 12_345;
    let rest = (picture.len()..length).map(|at| (at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) as u8);
    picture.iter().copied().chain(rest).collect()
}

/// The file in pieces of these sizes in turn.
fn pieces(file: &Bytes) -> Vec<Bytes> {
    let (mut left, mut pieces) = (file.clone(), Vec::new());
    for size in SIZES.into_iter().cycle() {
        if left.is_empty() {
            break;
        }
        pieces.push(left.split_to(size.min(left.len())));
    }
    pieces
}

async fn create(client: &Client, length: usize) -> String {
    let length = length.to_string();
    let answer = client.send(Method::POST, "/v1/uploads", &[TUS, ("upload-length", &length)], "").await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let location = answer.header("location");
    location[location.find("/v1/").unwrap()..].to_owned()
}

async fn patch(client: &Client, upload: &str, offset: usize, piece: Bytes) -> Answer {
    let offset = offset.to_string();
    let headers = [TUS, ("upload-offset", &offset), ("content-type", "application/offset+octet-stream")];
    client.send(Method::PATCH, upload, &headers, piece).await
}

/// The offset, from a node that may have to end what another still does.
async fn offset(client: &Client, upload: &str) -> usize {
    let began = Instant::now();
    loop {
        let head = client.send(Method::HEAD, upload, &[TUS], "").await;
        if head.status == StatusCode::OK {
            return head.header("upload-offset").parse().unwrap();
        }
        assert!(matches!(head.status.as_u16(), 423 | 503), "{head:?}");
        assert!(began.elapsed() < PATIENCE, "never told: {head:?}");
        tokio::time::sleep(Duration::from_millis(100)).await; // Polling for the condition.
    }
}

/// The file has become a photo, by the answer to its last request.
async fn became(client: &Client, last: &Answer, upload: &str, file: &Bytes) {
    let photo = last.header("photo-location");
    let id = photo.rsplit('/').next().unwrap();
    assert!(photo.ends_with(&format!("/v1/photos/{id}")) && !id.is_empty(), "{last:?}");
    assert_eq!(client.get(upload).await.json()["state"], "done");
    whole(client, id, blake3::hash(file).to_hex().as_str()).await;
}

#[tokio::test]
async fn pieces_of_any_size_arrive_in_a_bucket_each_by_another_life_of_the_node() {
    let server = Server::start();
    let setup = on(&server, "");
    let file = file(3);
    let mut daemon = Daemon::start_with(&setup);
    let upload = create(&daemon.client(), file.len()).await;
    let (mut sent, mut last) = (0, None);
    for (number, piece) in pieces(&file).into_iter().enumerate() {
        let home = if number % 2 == 0 { daemon.kill() } else { daemon.stop() };
        daemon = Daemon::start_on(home, &setup);
        assert_eq!(offset(&daemon.client(), &upload).await, sent, "before piece {number}");
        let length = piece.len();
        let answer = patch(&daemon.client(), &upload, sent, piece).await;
        sent += length;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "piece {number}: {answer:?}");
        assert_eq!(answer.header("upload-offset"), sent.to_string(), "piece {number}");
        last = Some(answer);
    }
    assert_eq!(sent, file.len());
    became(&daemon.client(), &last.unwrap(), &upload, &file).await;
    nothing_is_left_behind(&server, daemon, &setup).await;
}

#[tokio::test]
async fn two_nodes_take_turns_at_one_upload() {
    let server = Server::start();
    let Some((_, nodes)) = two_nodes(&server, "") else { return };
    let clients = [nodes[0].client(), nodes[1].client()];
    let file = file(2);
    let upload = create(&clients[1], file.len()).await;
    let (mut sent, mut last) = (0, None);
    for (number, piece) in pieces(&file).into_iter().enumerate() {
        let (node, other) = (&clients[number % 2], &clients[(number + 1) % 2]);
        let length = piece.len();
        let answer = patch(node, &upload, sent, piece).await;
        sent += length;
        assert_eq!(answer.status, StatusCode::NO_CONTENT, "piece {number}: {answer:?}");
        assert_eq!(offset(other, &upload).await, sent, "the other node knows, too");
        last = Some(answer);
    }
    became(&clients[0], &last.unwrap(), &upload, &file).await;
}

/// Every connection to the node that the one before was not to, and many of them cut: the last that holds an upload may be
/// on the other node, and know nothing of its client's being gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_need_not_come_back_to_the_node_that_they_left() {
    let server = Server::start();
    let (Some(clients), Some((_, nodes))) = (Clients::installed(), two_nodes(&server, "")) else { return };
    let file = file(3);
    let path = clients.folder().join("photo.jpg");
    std::fs::write(&path, &file).unwrap();
    for (seed, script, chunk) in
        [(1, "upload.mjs", "chunkSize"), (2, "upload.py", "chunk_size"), (3, "upload.mjs", "chunkSize")]
    {
        // Every connection is cut, since one that were spared would be kept by its client.
        let weather = Weather {
            seed,
            cut_share: 1.0,
            sent: 0..15_000_000,
            answered: 0..1_000,
            delay_max: Duration::from_micros(500),
        };
        let network = Cutting::start(nodes[0].url(), weather).await;
        network.point_at_each(&[nodes[0].url(), nodes[1].url()]);
        let mut options = json!({ "endpoint": format!("{}/v1/uploads", network.url()), "file": path });
        options[chunk] = 5_000_000.into();
        if seed == 3 {
            options["parallelUploads"] = 3.into();
        }
        let report: Value = clients.start(script, &options).succeeds().await;
        println!("{script}: {} cuts, {report}", network.cuts());
        assert!(network.cuts() > 0, "no connection was cut: the test shows nothing");
        let url = report["url"].as_str().unwrap();
        let upload = nodes[0].client().get(&url[url.find("/v1/").unwrap()..]).await.json();
        assert_eq!(upload["state"], "done", "{upload}");
        let id = upload["photo"]["id"].as_str().unwrap();
        whole(&nodes[1].client(), id, blake3::hash(&file).to_hex().as_str()).await;
    }
}
