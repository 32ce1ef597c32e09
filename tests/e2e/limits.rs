//! Nobody gets more than is due: of slots, of requests, of what may be stored. Refusals come early, and say how much.

use std::net::SocketAddr;

use bytes::Bytes;
use darkroom_tests::{Client, Daemon, Setup, eventually, photos};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::{Method, StatusCode};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpSocket, TcpStream};

/// A connection from another address of this machine: another client.
pub(crate) async fn connect_from(client: &Client, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    socket.connect(client.address().parse().unwrap()).await.unwrap()
}

fn head(length: usize, more: &str) -> String {
    format!(
        "POST /v1/photos HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n{more}\r\n"
    )
}

/// An upload that has sent half, and keeps its lease.
pub(crate) async fn stalled(client: &Client, photo: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    stream.write_all(head(photo.len(), "").as_bytes()).await.unwrap();
    stream.write_all(&photo[..photo.len() / 2]).await.unwrap();
    stream
}

/// The rest of what the daemon says.
async fn rest(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// Waits until the daemon's metrics have this line with this value.
pub(crate) async fn until_metric(client: &Client, line: &str, value: f64) {
    eventually(&format!("{line} is {value}"), async || client.metric(line).await >= value).await;
}

#[tokio::test]
async fn another_clients_single_upload_gets_the_next_slot() {
    // Three slots for fresh uploads.
    let config = "[budgets]\njob_slots = 4\n[limits]\nadmission_wait = '10s'";
    let daemon = Daemon::start_with(&Setup::config(config));
    let client = daemon.client();
    let photo = photos::photo(1, 1500, 1000);
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(stalled(&client, &photo).await);
    }
    client.holds("job_slots", 3).await;
    let mut single = connect_from(&client, "127.0.0.2").await;
    single.write_all(head(photo.len(), "").as_bytes()).await.unwrap();
    single.write_all(&photo).await.unwrap();
    until_metric(&client, "darkroom_admission_waiting", 1.0).await;
    for _ in 0..20 {
        let refused = client.upload(&photo).await;
        assert_eq!(refused.problem(), "overloaded", "the crowd has its share, and is refused at once");
    }
    crowd.pop();
    let answer = rest(&mut single).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    assert!(client.metric("darkroom_refusals_total{reason=\"full\"}").await >= 20.0);
}

#[tokio::test]
async fn who_asks_first_is_refused_before_it_sends_anything() {
    let daemon = Daemon::start_with(&Setup::config("[budgets]\njob_slots = 4"));
    let client = daemon.client();
    let photo = photos::photo(1, 1500, 1000);
    let mut crowd = Vec::new();
    for _ in 0..3 {
        crowd.push(stalled(&client, &photo).await);
    }
    client.holds("job_slots", 3).await;
    let asking = head(photo.len(), "expect: 100-continue\r\n");
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    stream.write_all(asking.as_bytes()).await.unwrap();
    let mut line = String::new();
    let mut reader = BufReader::new(&mut stream);
    reader.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 503"), "no 100 comes first: {line}");
    drop(crowd);
    client.idle().await;
    let mut stream = BufReader::new(TcpStream::connect(client.address()).await.unwrap());
    stream.write_all(asking.as_bytes()).await.unwrap();
    line.clear();
    stream.read_line(&mut line).await.unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
    stream.write_all(&photo).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.contains("HTTP/1.1 201"), "{answer}");
}

#[tokio::test]
async fn requests_beyond_the_rate_are_told_when_to_come_back() {
    let config = "[limits]\nrequests_per_second = 1\nrequests_burst = 3";
    let daemon = Daemon::start_with(&Setup::config(config));
    let client = daemon.client();
    let first = client.get("/v1/photos").await;
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(first.header("ratelimit-policy"), r#""requests";q=3;w=3"#);
    assert_eq!(first.header("ratelimit"), r#""requests";r=2;t=2"#);
    let mut refused = client.get("/v1/photos").await;
    while refused.status == StatusCode::OK {
        refused = client.get("/v1/photos").await;
    }
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (429, "too-many-requests"));
    assert_eq!((refused.header("retry-after"), refused.header("ratelimit")), ("1", r#""requests";r=0;t=1"#));
    assert_eq!(refused.json()["violated-policies"], serde_json::json!(["requests"]));
    for _ in 0..10 {
        assert_eq!(client.get("/readyz").await.status, StatusCode::OK, "health is never limited");
    }
    assert!(daemon.command(&["jobs", "list"]).status.success(), "nor is the operator");
}

#[tokio::test]
async fn uploads_beyond_what_one_client_may_send_at_once_are_refused() {
    let daemon = Daemon::start_with(&Setup::config("[limits]\nuploads_at_once_max = 1"));
    let client = daemon.client();
    let photo = photos::photo(1, 1500, 1000);
    let first = stalled(&client, &photo).await;
    client.holds("job_slots", 1).await;
    let refused = client.upload(&photo).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (429, "too-many-uploads"));
    assert_eq!(refused.header("ratelimit-policy"), r#""uploads";q=1;qu="concurrent-requests""#);
    assert_eq!(refused.json()["usage"]["uploads"], serde_json::json!({"used": 1, "max": 1}));
    let mut other = connect_from(&client, "127.0.0.2").await;
    other.write_all(head(photo.len(), "").as_bytes()).await.unwrap();
    other.write_all(&photo).await.unwrap();
    let answer = rest(&mut other).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    drop(first);
    client.idle().await;
    assert_eq!(client.upload(&photo).await.status, StatusCode::OK, "a duplicate of the other's");
}

#[tokio::test]
async fn a_quota_of_photos_holds_before_the_body_and_over_restarts() {
    let setup = Setup::config("[limits]\nstored_photos_max = 2");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let first = client.upload_settled(&photos::photo(1, 400, 300)).await;
    client.upload_settled(&photos::photo(2, 400, 300)).await;
    let usage = client.get("/v1/usage").await.json();
    assert_eq!(usage["photos"], serde_json::json!({"used": 2, "max": 2}));
    let daemon = Daemon::start_on(daemon.kill(), &setup);
    let client = daemon.client();
    assert_eq!(client.get("/v1/usage").await.json(), usage, "it is as durable as the photos");
    let third = photos::photo(3, 400, 300);
    let refused = client.upload(&third).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (507, "quota-exceeded"));
    assert_eq!(refused.json()["usage"]["photos"], usage["photos"]);
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    stream.write_all(head(third.len(), "expect: 100-continue\r\n").as_bytes()).await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 507"), "no 100 comes first: {answer}");
    client.delete(&format!("/v1/photos/{}", first["id"].as_str().unwrap())).await;
    assert_eq!(client.upload(&third).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_quota_of_bytes_holds_also_where_the_length_was_not_announced() {
    let photo = photos::photo(1, 1500, 1000);
    let config = format!("[limits]\nstored_bytes_max = '{} B'", photo.len() + 100);
    let daemon = Daemon::start_with(&Setup::config(&config));
    let client = daemon.client();
    client.upload_settled(&photo).await;
    let other = photos::photo(2, 400, 300);
    let refused = client.upload(&other).await;
    assert_eq!(refused.problem(), "quota-exceeded", "by its announced length");
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    let head =
        "POST /v1/photos HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(format!("{head}{:x}\r\n", other.len()).as_bytes()).await.unwrap();
    stream.write_all(&other).await.unwrap();
    stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
    let answer = rest(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 507") && answer.contains("quota-exceeded"), "{answer}");
    client.idle().await;
    let usage = client.get("/v1/usage").await.json();
    assert_eq!((&usage["photos"]["used"], &usage["stored_bytes"]["used"]), (&1.into(), &photo.len().into()));
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn one_client_may_have_so_many_connections() {
    let daemon = Daemon::start_with(&Setup::config("[http]\nconnections_per_client_max = 2"));
    let client = daemon.client();
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = BufReader::new(TcpStream::connect(client.address()).await.unwrap());
        stream.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        open.push(stream);
    }
    let refused = client.get("/v1/photos").await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (429, "too-many-client-connections"));
    assert_eq!(client.get("/livez").await.status, StatusCode::OK, "health is answered");
    let mut other = connect_from(&client, "127.0.0.2").await;
    other.write_all(b"GET /v1/photos HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.unwrap();
    let answer = rest(&mut other).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(open);
    until_gone(&client).await;
    assert_eq!(client.send(Method::GET, "/v1/photos", &[], Bytes::new()).await.status, StatusCode::OK);
}

#[tokio::test]
async fn one_clients_connections_keep_no_other_out() {
    let daemon = Daemon::start_with(&Setup::config("[http]\nconnections_max = 8"));
    let client = daemon.client();
    let mut idle = Vec::new();
    for _ in 0..12 {
        idle.push(connect_from(&client, "127.0.0.2").await);
    }
    until_metric(&client, "darkroom_http_connections", 13.0).await;
    for _ in 0..4 {
        assert_eq!(client.get("/v1/photos").await.status, StatusCode::OK);
    }
    let mut theirs = idle.pop().unwrap();
    theirs.write_all(b"GET /v1/photos HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let answer = rest(&mut theirs).await;
    assert!(answer.contains("too-many-connections"), "{answer}");
}

#[tokio::test]
async fn one_clients_requests_on_http_2_keep_no_other_out() {
    let daemon = Daemon::start_with(&Setup::config("[http]\nh2_requests_max = 4"));
    let client = daemon.client();
    let batch = client.send(Method::POST, "/v1/batches", &[], "{}").await.json();
    let events = format!("/v1/batches/{}/events", batch["id"].as_str().unwrap());
    // Each follows a batch, which does not end: the first to have its whole answer is the one that is refused.
    let follow = async || {
        let stream = connect_from(&client, "127.0.0.2").await;
        client.send_h2_over(stream, Method::GET, &events, Bytes::new()).await
    };
    let mut following: FuturesUnordered<_> = (0..5).map(|_| follow()).collect();
    assert_eq!(following.next().await.unwrap().problem(), "too-many-connections");
    let stream = connect_from(&client, "127.0.0.3").await;
    let answer = client.send_h2_over(stream, Method::GET, "/v1/photos", Bytes::new()).await;
    assert_eq!(answer.status, StatusCode::OK, "{:?}", answer.body);
}

/// Waits until no connection but the one that asks is open.
pub(crate) async fn until_gone(client: &Client) {
    let gone = async || client.metric("darkroom_http_connections").await <= 1.0;
    eventually("the others are gone", gone).await;
}
