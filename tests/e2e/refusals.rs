//! An early refusal is readable, however the client sends.

use std::process::Command;

use bytes::Bytes;
use darkroom_tests::{Daemon, Setup, has_program, photos};
use futures_util::future::join_all;
use http_body_util::Full;
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};

/// How often each client must read its refusal, of as many tries.
const TRIES: usize = 100;
/// What is sent.
const BODY_BYTES: usize = 20_000_000;

fn daemon() -> Daemon {
    Daemon::start_with(&Setup::config("[limits]\nupload_bytes_max = '1 MiB'"))
}

/// A file as long as the body that begins with a photo: without its length known, only the limit ends it.
fn body(daemon: &Daemon) -> std::path::PathBuf {
    let path = daemon.home().path().join("body");
    let mut bytes = photos::photo(1, 400, 300).to_vec();
    bytes.resize(BODY_BYTES, 0);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn curl_reads_it() {
    if !has_program("curl") {
        eprintln!("skipped: curl is not installed");
        return;
    }
    let daemon = daemon();
    let body = body(&daemon);
    // With its length known beforehand, and chunked, where the limit is met on the way.
    for chunked in [false, true] {
        for attempt in 0..TRIES {
            let mut curl = Command::new("curl");
            curl.args(["-sS", "-w", "\n%{http_code}", "-H", "Expect:", "--data-binary"]);
            curl.arg(format!("@{}", body.display()));
            if chunked {
                curl.args(["-H", "Transfer-Encoding: chunked"]);
            }
            let output = curl.arg(format!("{}/v1/photos", daemon.url())).output().unwrap();
            let answer = String::from_utf8_lossy(&output.stdout);
            assert!(
                output.status.success()
                    && answer.ends_with("413")
                    && answer.contains("/problems/body-too-large"),
                "try {attempt}, chunked {chunked}: {answer} {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
    }
}

#[test]
fn python_reads_it() {
    if !has_program("python3") {
        eprintln!("skipped: python3 is not installed");
        return;
    }
    let daemon = daemon();
    let script = format!(
        "
import http.client, json
body = bytes({BODY_BYTES})
for attempt in range({TRIES}):
    connection = http.client.HTTPConnection('{address}', timeout=30)
    connection.request('POST', '/v1/photos', body)
    answer = connection.getresponse()
    problem = json.loads(answer.read())
    assert (answer.status, problem['type']) == (413, '/problems/body-too-large'), (attempt, answer.status, problem)
    connection.close()
",
        address = daemon.client().address()
    );
    let output = Command::new("python3").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
async fn hyper_reads_it() {
    let daemon = daemon();
    let client = daemon.client();
    let body = Bytes::from(vec![0; BODY_BYTES]);
    for attempt in 0..TRIES {
        let request = client.request(hyper::Method::POST, "/v1/photos", &[], body.clone());
        match client.try_send(request).await {
            Ok(answer) => assert_eq!(answer.problem(), "body-too-large", "try {attempt}"),
            Err(error) => panic!("try {attempt}: {error}"),
        }
    }
}

#[tokio::test]
async fn a_client_that_asks_first_sends_nothing() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let daemon = daemon();
    let mut stream = tokio::net::TcpStream::connect(daemon.client().address()).await.unwrap();
    let head = format!(
        "POST /v1/photos HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: {BODY_BYTES}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "no 100 Continue comes first: {answer}");
}

/// On one connection of HTTP/2, where bytes of what was refused still arrive when others are asked for.
#[tokio::test]
async fn http2_reads_it_and_keeps_its_connection() {
    let daemon = daemon();
    let stream = tokio::net::TcpStream::connect(daemon.client().address()).await.unwrap();
    let (sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let body = Bytes::from(vec![0; BODY_BYTES]);
    for round in 0..10 {
        let asked = (0..30).map(|_| {
            let mut sender = sender.clone();
            let request = Request::post(format!("{}/v1/photos", daemon.url()));
            let request = request.body(Full::new(body.clone())).unwrap();
            async move { sender.send_request(request).await.map(|answer| answer.status()) }
        });
        for answer in join_all(asked).await {
            assert_eq!(answer.unwrap(), StatusCode::PAYLOAD_TOO_LARGE, "round {round}");
        }
    }
    assert!(!connection.is_finished());
}
