//! Slow and hostile clients hold no slot, little memory, and not for long.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use darkroom_tests::{Client, Daemon, Setup, eventually, photos};

use crate::limits::{until_gone, until_metric};
use futures_util::future::join_all;
use hyper::{Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// Longest that anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Connections of an attack.
const CONNECTIONS: usize = 1000;
/// What each of them may cost: its buffers, its task and its timers.
const CONNECTION_BYTES_MAX: u64 = 64 << 10;

/// An upload that has sent its head and one byte.
async fn trickling(client: &Client, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    let head = format!(
        "POST /v1/photos HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[0xff]).await.unwrap();
    stream
}

/// What the daemon says until it closes.
async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    // A reset ends it, too.
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is closed");
    answer
}

/// Resident memory in bytes.
fn memory(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
}

#[tokio::test]
async fn connections_that_trickle_hold_no_slot_and_are_cut_off() {
    let config = "[budgets]\njob_slots = 4\n[http]\nbody_rate_window = '2s'";
    let daemon = Daemon::start_with(&Setup::config(config));
    let client = daemon.client();
    let mut slow = Vec::new();
    for _ in 0..20 {
        slow.push(trickling(&client, 1_000_000).await);
    }
    for seed in 0..4 {
        // There are three slots for uploads, and none of the twenty has one.
        client.upload_settled(&photos::photo(seed, 400, 300)).await;
    }
    for mut stream in slow {
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body-too-slow"), "{answer}");
    }
}

/// A connection from another address of this machine: another client.
async fn connect_from(client: &Client, address: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::new(address.parse().unwrap(), 0)).unwrap();
    socket.connect(client.address().parse().unwrap()).await.unwrap()
}

/// What a slow client sends.
#[derive(Clone, Copy)]
enum Shape {
    Photo,
    Form,
    Archive,
}

/// Of a body that never comes to its end.
const ANNOUNCED: usize = 1_000_000;

impl Shape {
    fn of(number: usize) -> Self {
        [Self::Photo, Self::Form, Self::Archive][number % 3]
    }

    /// A request's head, and what comes before a photo in its body.
    fn begins(self) -> Vec<u8> {
        let (content_type, before) = match self {
            Self::Photo => ("image/jpeg", Vec::new()),
            Self::Form => (
                "multipart/form-data; boundary=x",
                b"--x\r\ncontent-disposition: form-data; name=\"a\"; filename=\"a.jpg\"\r\n\r\n".to_vec(),
            ),
            Self::Archive => ("application/x-tar", tar_header()),
        };
        let head = format!(
            "POST /v1/photos HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: {content_type}\r\n\
             content-length: {ANNOUNCED}\r\n\r\n"
        );
        [head.into_bytes(), before].concat()
    }
}

/// The header of a file in a tar archive (POSIX, ustar).
fn tar_header() -> Vec<u8> {
    let mut header = vec![0; 512];
    let size = format!("{:011o}", ANNOUNCED / 2);
    for (at, text) in [(0, "a.jpg"), (124, &*size), (148, "        "), (156, "0"), (257, "ustar\x0000")] {
        header[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// So many bytes of a JPEG that has nothing but comments, so that it could be a photo until the end.
fn comments(count: usize) -> Vec<u8> {
    let comment = [vec![0xff, 0xfe, 0xff, 0xff], vec![0; 0xfffd]].concat();
    [0xff, 0xd8].into_iter().chain(comment.into_iter().cycle()).take(count).collect()
}

/// Slow connections of another client: each has sent its head and so much of a photo, and goes on as slowly as it may until
/// this is dropped.
struct Crowd(JoinHandle<()>);

impl Drop for Crowd {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Crowd {
    async fn gather(client: &Client, at_once: usize, each_second: usize) -> Self {
        let mut streams = Vec::new();
        for number in 0..CONNECTIONS {
            let mut stream = connect_from(client, "127.0.0.2").await;
            let begins = [Shape::of(number).begins(), comments(at_once)].concat();
            // Most are refused, and may be closed before they have sent it all.
            let _ = stream.write_all(&begins).await;
            streams.push(stream);
        }
        Self(tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                for stream in &mut streams {
                    let _ = stream.write_all(&vec![0; each_second]).await;
                }
            }
        }))
    }
}

/// New photos of a normal client, one after the other and several at once: each is taken at once, and as a new one.
async fn behaves_as_ever(client: &Client) {
    for seed in 0..20 {
        let photos: Vec<_> = (0..8).map(|number| photos::photo(8 * seed + number, 300, 200)).collect();
        let first = client.upload(&photos[0]).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}: {:?}", 8 * seed, first.body);
        for answer in join_all(photos[1..].iter().map(|photo| client.upload(photo))).await {
            assert_eq!(answer.status, StatusCode::CREATED, "beside {}: {:?}", 8 * seed, answer.body);
        }
    }
}

#[tokio::test]
async fn pieces_of_uploads_that_trickle_hold_no_slot_and_are_cut_off() {
    let config = "[budgets]\njob_slots = 4\n[http]\nbody_rate_window = '2s'";
    let daemon = Daemon::start_with(&Setup::config(config));
    let client = daemon.client();
    let (tus, length) = (("tus-resumable", "1.0.0"), ("upload-length", "1000000"));
    let mut slow = Vec::new();
    for number in 0..20 {
        let begun = client.send(Method::POST, "/v1/uploads", &[tus, length], Bytes::new()).await;
        let path = begun.header("location").to_owned();
        // Half of them bring their bytes with the creation.
        let request = if number % 2 == 0 {
            format!("PATCH {path} HTTP/1.1\r\nupload-offset: 0")
        } else {
            "POST /v1/uploads HTTP/1.1\r\nupload-length: 1000000".to_owned()
        };
        let mut stream = TcpStream::connect(client.address()).await.unwrap();
        let head = format!(
            "{request}\r\nhost: x\r\nconnection: close\r\ntus-resumable: 1.0.0\r\n\
             content-type: application/offset+octet-stream\r\ncontent-length: 1000000\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&[0xff]).await.unwrap();
        slow.push((stream, path));
    }
    for seed in 0..4 {
        // There are three slots for uploads, and none of the twenty has one.
        client.upload_settled(&photos::photo(seed, 400, 300)).await;
    }
    for (mut stream, path) in slow {
        let answer = String::from_utf8(rest(&mut stream).await).unwrap();
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("upload-stalled"), "{answer}");
        assert_eq!(client.get(&path).await.json()["offset"], 0);
    }
}

#[tokio::test]
async fn a_thousand_that_send_a_byte_a_second_cost_a_normal_client_nothing_and_little_memory() {
    let daemon = Daemon::start();
    let client = daemon.client();
    client.upload_settled(&photos::photo(1000, 400, 300)).await;
    client.idle().await;
    let before = memory(&daemon);
    let mut slow = Vec::new();
    for _ in 0..CONNECTIONS {
        slow.push(trickling(&client, 1_000_000).await);
    }
    let come = async || client.metric("darkroom_http_connections").await >= CONNECTIONS as f64;
    eventually("all are connected", come).await;
    let each = memory(&daemon).saturating_sub(before) / CONNECTIONS as u64;
    println!("{CONNECTIONS} slow connections: {} KiB of memory each", each / 1024);
    assert!(each < CONNECTION_BYTES_MAX, "{} KiB each", each / 1024);
    assert_eq!(client.metric("darkroom_job_slots_used").await.to_bits(), 0_f64.to_bits());
    drop(slow);
    until_gone(&client).await;
    let _crowd = Crowd::gather(&client, 1, 1).await;
    behaves_as_ever(&client).await;
}

/// They have seen that a body is taken up when 16 KiB of it are there, and that 1 KiB a second is enough after that.
#[tokio::test]
async fn a_thousand_that_are_just_fast_enough_cost_a_normal_client_nothing() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let _crowd = Crowd::gather(&client, 17 << 10, 1126).await;
    // As many as one client gets.
    until_metric(&client, "darkroom_job_slots_used", 168.0).await;
    behaves_as_ever(&client).await;
    assert!(client.metric("darkroom_job_slots_used").await >= 168.0, "they still hold them");
}

#[tokio::test]
async fn headers_are_bounded() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let names: Vec<String> = (0..150).map(|number| format!("x-{number}")).collect();
    let many: Vec<_> = names.iter().map(|name| (name.as_str(), "1")).collect();
    assert_eq!(
        client.get_with("/v1/photos", &many).await.status,
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    );
    let long = "a".repeat(100_000);
    let answer = client.get_with("/v1/photos", &[("x-long", &long)]).await;
    assert_eq!(answer.status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    assert_eq!(client.get("/livez").await.status, StatusCode::OK);
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u32;
    let head = [&length.to_be_bytes()[1..], &[kind, flags][..], &stream.to_be_bytes()[..]].concat();
    [&head[..], payload].concat()
}

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM_AND_HEADERS: u8 = 0x5;
/// `GET http://x/`, by HPACK's static table.
const GET_ROOT: &[u8] = b"\x82\x86\x84\x41\x01x";
const ENHANCE_YOUR_CALM: u8 = 11;

async fn connect_h2(client: &Client) -> TcpStream {
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
    stream
}

/// The error of the GOAWAY in what the daemon said.
fn goaway(mut said: &[u8]) -> Option<u8> {
    while said.len() >= 9 {
        let length = u32::from_be_bytes([0, said[0], said[1], said[2]]) as usize;
        let payload = said.get(9..9 + length)?;
        if said[3] == GOAWAY && payload[7] != 0 {
            return Some(payload[7]);
        }
        said = &said[9 + length..];
    }
    None
}

#[tokio::test]
async fn streams_that_are_reset_as_soon_as_they_begin_end_their_connection() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let mut stream = connect_h2(&client).await;
    let mut flood = Vec::new();
    for number in 0..2000 {
        let id = 2 * number + 1;
        flood.extend(frame(HEADERS, END_STREAM_AND_HEADERS, id, GET_ROOT));
        flood.extend(frame(RST_STREAM, 0, id, &8_u32.to_be_bytes()));
    }
    let _ = stream.write_all(&flood).await; // It may be closed before all is sent.
    assert_eq!(goaway(&rest(&mut stream).await), Some(ENHANCE_YOUR_CALM));
    assert_eq!(client.get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn pings_and_settings_without_end_cost_no_memory() {
    let daemon = Daemon::start();
    let client = daemon.client();
    client.get("/livez").await;
    let before = memory(&daemon);
    let mut stream = connect_h2(&client).await;
    let flood: Vec<u8> =
        (0..1000).flat_map(|_| [frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[])].concat()).collect();
    // Nothing that comes back is read: what cannot be sent must not pile up.
    let sending = async { while stream.write_all(&flood).await.is_ok() {} };
    let _ = tokio::time::timeout(Duration::from_secs(2), sending).await;
    let grown = memory(&daemon).saturating_sub(before);
    assert!(grown < 16 << 20, "{} KiB", grown / 1024);
    assert_eq!(client.get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn who_keeps_a_connection_and_asks_nothing_is_sent_away() {
    let config = "[http]\nheader_timeout = '1s'";
    let daemon = Daemon::start_with(&Setup::config(config));
    let client = daemon.client();
    let mut silent = TcpStream::connect(client.address()).await.unwrap();
    let mut in_headers = TcpStream::connect(client.address()).await.unwrap();
    in_headers.write_all(b"GET / HTTP/1.1\r\nhost: ").await.unwrap();
    let mut h2 = connect_h2(&client).await;
    let mut asked = TcpStream::connect(client.address()).await.unwrap();
    asked.write_all(b"GET /livez HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    for stream in [&mut silent, &mut in_headers, &mut h2, &mut asked] {
        rest(stream).await;
    }
    assert_eq!(client.send_h2(hyper::Method::GET, "/livez", Bytes::new()).await.status, StatusCode::OK);
}
