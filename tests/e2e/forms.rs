//! Forms with many photos: what their parts may be, and how many forms there may be at once.

use bytes::Bytes;
use darkroom_tests::{Client, Daemon, Setup, eventually, photos};
use hyper::{Method, StatusCode};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::limits::{connect_from, stalled, until_metric};

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=edge");

/// A part with this disposition.
fn part(disposition: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--edge\r\nContent-Disposition: form-data; {disposition}\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn photo(seed: u64) -> Vec<u8> {
    part(&format!("name=photo; filename={seed}.jpg"), &photos::photo(seed, 64, 48))
}

fn form(parts: &[Vec<u8>]) -> Bytes {
    [&parts.concat()[..], b"--edge--\r\n"].concat().into()
}

async fn send(client: &Client, parts: &[Vec<u8>]) -> darkroom_tests::Answer {
    client.send(Method::POST, "/v1/photos", &[FORM], form(parts)).await
}

/// Name, status and problem of each part.
fn told(answer: &Value) -> Vec<(&str, u64, &str)> {
    let items = answer["items"].as_array().unwrap().iter();
    items
        .map(|item| {
            let problem = item["problem"]["type"].as_str().unwrap_or_default();
            (item["name"].as_str().unwrap(), item["status"].as_u64().unwrap(), problem)
        })
        .collect()
}

/// A form that is sent piece by piece.
struct Sending(TcpStream);

impl Sending {
    async fn begin(mut stream: TcpStream) -> Self {
        let head = format!(
            "POST /v1/photos HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{}: {}\r\ntransfer-encoding: chunked\r\n\r\n",
            FORM.0, FORM.1
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        Self(stream)
    }

    async fn send(&mut self, bytes: &[u8]) {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.0.write_all(&chunk).await.unwrap();
    }

    /// The head of the answer, and its JSON.
    async fn end(mut self) -> (String, Value) {
        self.send(b"--edge--\r\n").await;
        self.0.write_all(b"0\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        self.0.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), serde_json::from_str(body).unwrap())
    }
}

async fn connect(client: &Client) -> TcpStream {
    TcpStream::connect(client.address()).await.unwrap()
}

#[tokio::test]
async fn a_forms_answer_is_small_whatever_its_parts_are_called() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let long = "n".repeat(15_000);
    let mut parts = vec![part(&format!("name=photo; filename=\"{long}.jpg\""), &photos::photo(1, 64, 48))];
    parts.extend((0..200).map(|_| part(&format!("name=\"{long}\""), b"")));
    let answer = send(&client, &parts).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS);
    let json = answer.json();
    let items = told(&json);
    assert_eq!((items.len(), items[0].1, items[200].2), (201, 201, "/problems/unknown-field"));
    assert!(items.iter().all(|(name, ..)| name.len() == 255), "{}", items[0].0);
    assert!(answer.body.len() < 201 * 1024, "{}", answer.body.len());
    // Headers that have no end.
    let endless = part(&format!("name=\"{}\"", "n".repeat(32_000)), b"");
    assert_eq!(send(&client, &[endless]).await.problem(), "multipart-malformed");
    client.idle().await;
}

/// As a browser sends a form with an input that was left empty, and clients whose names are not as they should be.
#[tokio::test]
async fn files_are_found_however_they_are_named() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = |seed| photos::photo(seed, 64, 48);
    let nothing = part("name=\"more\"; filename=\"\"\r\nContent-Type: application/octet-stream", b"");
    let parts = [
        part("name=photo; filename=a.jpg", &photo(1)),
        nothing.clone(),
        part("name=photo; filename*=UTF-8''gr%C3%B6%C3%9Fe.jpg", &photo(2)),
        part("name=photo; filename=\"\"", &photo(3)),
    ];
    let answer = send(&client, &parts).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert_eq!(told(&answer.json()), [("a.jpg", 201, ""), ("größe.jpg", 201, ""), ("photo", 201, "")]);
    let latin = [
        &b"--edge\r\nContent-Disposition: form-data; name=p; filename=\"gr\xf6.jpg\"\r\n\r\n"[..],
        &photo(4),
        b"\r\n",
    ];
    assert_eq!(send(&client, &[latin.concat()]).await.status, StatusCode::CREATED);
    assert_eq!(send(&client, &[nothing]).await.problem(), "multipart-without-file");
}

/// A form of which one file was taken, while others have each of the three slots.
async fn between_two_files(client: &Client) -> (Sending, Vec<TcpStream>) {
    let mut sending = Sending::begin(connect(client).await).await;
    sending.send(&photo(1)).await;
    // Only the next boundary ends it.
    sending.send(b"--edge").await;
    eventually("the first is taken", async || !client.all().await.is_empty()).await;
    client.idle().await;
    let large = photos::photo(9, 1500, 1000);
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(stalled(client, &large).await);
    }
    client.holds("job_slots", 3).await;
    (sending, crowd)
}

/// Where others have every slot, a form's next file is not refused after its bytes were read, but waited for.
#[tokio::test]
async fn a_forms_files_wait_for_room() {
    let daemon = Daemon::start_with(&Setup::config("[budgets]\njob_slots = 4"));
    let client = daemon.client();
    let (mut sending, crowd) = between_two_files(&client).await;
    sending.send(&photo(2)[6..]).await;
    until_metric(&client, "darkroom_refusals_total{reason=\"full\"}", 3.0).await;
    drop(crowd);
    let (head, answer) = sending.end().await;
    assert!(head.starts_with("HTTP/1.1 201"), "{head}: {answer}");
    client.idle().await;
}

/// A form whose file found no room in time says when to send it again, as the answer to a single photo would.
#[tokio::test]
async fn a_form_says_when_to_send_its_refused_files_again() {
    let config = "[budgets]\njob_slots = 4\n[http]\ntar_patience = '100ms'";
    let daemon = Daemon::start_with(&Setup::config(config));
    let client = daemon.client();
    let (mut sending, _crowd) = between_two_files(&client).await;
    sending.send(&photo(2)[6..]).await;
    let (head, answer) = sending.end().await;
    assert_eq!(told(&answer), [("1.jpg", 201, ""), ("2.jpg", 503, "/problems/overloaded")]);
    assert!(head.starts_with("HTTP/1.1 207") && head.contains("retry-after: 1"), "{head}");
}

/// What is told of files takes memory, until it is told.
#[tokio::test]
async fn so_many_outcomes_wait_to_be_told_and_some_are_left_for_others() {
    let daemon = Daemon::start_with(&Setup::config("[http]\nparts_max = 2\nform_outcomes_max = 4"));
    let client = daemon.client();
    let mut first = Sending::begin(connect(&client).await).await;
    first.send(&[photo(1), photo(2)].concat()).await;
    // All of them are there when the next part has begun.
    first.send(b"--edge").await;
    while client.all().await.len() < 2 {}
    let refused = send(&client, &[photo(3)]).await;
    assert_eq!((refused.problem().as_str(), refused.header("retry-after")), ("overloaded", "5"));
    assert!(client.metric("darkroom_refusals_total{reason=\"form_outcomes\"}").await >= 1.0);
    let mut other = Sending::begin(connect_from(&client, "127.0.0.2").await).await;
    other.send(&photo(4)).await;
    assert!(other.end().await.0.starts_with("HTTP/1.1 201"));
    first.send(b"\r\nContent-Disposition: form-data; name=duplicate\r\n\r\nallow\r\n").await;
    assert!(first.end().await.0.starts_with("HTTP/1.1 201"));
    // The room is free again, at once or soon.
    while send(&client, &[photo(3)]).await.status == StatusCode::SERVICE_UNAVAILABLE {}
    assert_eq!(client.all().await.len(), 4);
}
