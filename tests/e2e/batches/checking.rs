//! Which files are to be sent.

use std::collections::BTreeMap;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use darkroom_tests::{Daemon, Setup, photos};
use hyper::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Batch, PATIENCE, counts};
use crate::limits::connect_from;

#[tokio::test]
async fn a_check_tells_what_is_to_be_sent() {
    let setup = Setup::config("[limits]\nupload_bytes_max = '1 MiB'\n[batches]\ncheck_max = 5");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({})).await;
    let (here, missing) = (photos::photo(1, 90, 60), photos::photo(2, 90, 60));
    let id = client.upload_settled(&here).await["id"].clone();
    let unknown = Bytes::from_static(b"whatever it is");
    let digest = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    let file = |bytes: &Bytes| json!({"blake3": digest(bytes), "bytes": bytes.len()});
    let mut named = file(&missing);
    named["name"] = json!("missing.jpg");
    let large = json!({"blake3": digest(b"large"), "bytes": 2 << 20});
    let question = json!({"items": [file(&here), named, large, file(&Bytes::new()), file(&unknown)]});
    let answer = batch.post("/check", question.to_string()).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    let items = answer.json()["items"].clone();
    assert_eq!(items[0], json!({"state": "have", "photo": id}));
    assert_eq!(items[1], json!({"state": "need", "name": "missing.jpg"}));
    assert_eq!((&items[2]["state"], &items[2]["problem"]["status"]), (&json!("refused"), &json!(413)));
    assert_eq!(items[3]["problem"]["type"], "/problems/empty-image");
    assert_eq!(items[4]["state"], "need");
    let wrong = json!({"items": [{"blake3": digest(&here), "bytes": 1}]});
    let items = batch.post("/check", wrong.to_string()).await.json()["items"].clone();
    assert_eq!(items[0]["state"], "refused");

    // A resumable upload that was announced with its digest goes on where it stands.
    let length = missing.len().to_string();
    let query = format!("/v1/uploads?batch_id={}", batch.id);
    let metadata = [("tus-resumable", "1.0.0"), ("upload-length", length.as_str())];
    let content = STANDARD.encode(digest(&missing));
    let said = format!("blake3 {content}");
    let headers = [metadata[0], metadata[1], ("upload-metadata", said.as_str())];
    let begun = client.send(Method::POST, &query, &headers, "").await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let location = begun.header("location").to_owned();
    let part = missing.slice(..500);
    let headers = [metadata[0], ("upload-offset", "0"), ("content-type", "application/offset+octet-stream")];
    assert_eq!(client.send(Method::PATCH, &location, &headers, part).await.status, StatusCode::NO_CONTENT);
    let items = batch.post("/check", question.to_string()).await.json()["items"].clone();
    assert_eq!((&items[1]["state"], &items[1]["offset"]), (&json!("need"), &json!(500)), "{items}");
    let upload = items[1]["upload"].as_str().unwrap();
    assert!(location.ends_with(upload), "{location} {upload}");
    let headers =
        [metadata[0], ("upload-offset", "500"), ("content-type", "application/offset+octet-stream")];
    let rest = missing.slice(500..);
    assert_eq!(client.send(Method::PATCH, upload, &headers, rest).await.status, StatusCode::NO_CONTENT);
    let settled = batch.settled().await;
    assert_eq!(counts(&settled), BTreeMap::from([("received", 1), ("ready", 1)]), "{settled}");
    let items = batch.post("/check", question.to_string()).await.json()["items"].clone();
    assert_eq!(items[1]["state"], "have");

    let six = json!({"items": vec![file(&here); 6]});
    assert_eq!(batch.post("/check", six.to_string()).await.problem(), "too-many-items");
    assert_eq!(
        batch.post("/check", r#"{"items": [{"blake3": "xyz", "bytes": 1}]}"#).await.problem(),
        "invalid-json"
    );
    assert_eq!(batch.post("/check", vec![b' '; 1 << 20]).await.problem(), "body-too-large");
    batch.post("/cancel", "").await;
    let items = batch.post("/check", question.to_string()).await.json()["items"].clone();
    assert_eq!(items[0]["state"], "have", "that it is here is still so");
    assert_eq!(items[4]["problem"]["type"], "/problems/batch-cancelled");
    let late = client.send(Method::POST, &query, &metadata, "").await;
    assert_eq!(late.problem(), "batch-cancelled");
}

/// The body of each is in memory while it arrives.
#[tokio::test]
async fn checks_at_once_are_bounded() {
    let daemon = Daemon::start_with(&Setup::config("[batches]\nchecks_at_once = 2"));
    let batch = Batch::open(&daemon.client(), &json!({})).await;
    let mut slow = TcpStream::connect(batch.client.address()).await.unwrap();
    let head = format!("POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{{", batch.path("/check"));
    slow.write_all(head.as_bytes()).await.unwrap();
    let began = Instant::now();
    let refused = loop {
        let answer = batch.post("/check", r#"{"items": []}"#).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE, "the slow one is never there");
    };
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("overloaded", "1"));
    // One place is left for others.
    let mut other = connect_from(&batch.client, "127.0.0.2").await;
    let whole = format!(
        "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: 13\r\n\r\n{{\"items\": []}}",
        batch.path("/check")
    );
    other.write_all(whole.as_bytes()).await.unwrap();
    let mut answer = [0; 15];
    other.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    slow.write_all(br#""items": []}"#).await.unwrap();
    slow.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200 OK");
    assert_eq!(batch.post("/check", r#"{"items": []}"#).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_photo_that_failed_is_needed_and_followed_where_it_comes_again() {
    // Decoding this width panics, until the fault is used up.
    let config = "[pipeline]\nattempts_max = 1\n[[testing.faults]]\npoint = 'decode'\naction = 'panic'\nwidth = 333\ntimes = 1";
    let daemon = Daemon::start_with(&Setup::config(config));
    let client = daemon.client();
    let (first, second) = (Batch::open(&client, &json!({})).await, Batch::open(&client, &json!({})).await);
    let photo = photos::photo(1, 333, 200);
    first.upload("a.jpg", photo.clone()).await;
    let settled = first.settled().await;
    assert_eq!(counts(&settled), BTreeMap::from([("received", 1), ("failed", 1)]), "{settled}");
    let items = first.items("&state=failed").await;
    assert_eq!(items[0]["failure"]["code"], "processing-panicked");
    let file = json!({"blake3": blake3::hash(&photo).to_hex().as_str(), "bytes": photo.len()});
    let question = json!({"items": [file]}).to_string();
    let verdict = second.post("/check", question.clone()).await.json();
    assert_eq!(verdict["items"][0]["state"], "need");
    assert_eq!(second.upload("a again.jpg".replace(' ', "+").as_str(), photo).await.status, StatusCode::OK);
    let settled = second.settled().await;
    assert_eq!(counts(&settled), BTreeMap::from([("received", 1), ("ready", 1)]), "{settled}");
    assert_eq!(second.items("").await[0]["name"], "a again.jpg");
    assert_eq!(second.post("/check", question).await.json()["items"][0]["state"], "have");
    let settled = first.settled().await;
    assert_eq!(counts(&settled), BTreeMap::from([("received", 1), ("failed", 1)]), "{settled}");
}
