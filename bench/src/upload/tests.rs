//! The load generator against a small server of its own.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use darkroom_media::SourceFormat;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::folder::Photo;

/// What the server has seen.
#[derive(Debug, Default)]
struct Seen {
    uploads: AtomicU64,
    allowed: AtomicU64,
    connections: AtomicU64,
    questions: Mutex<HashMap<String, u32>>,
}

fn answer(status: u16, body: String) -> Response<Full<Bytes>> {
    let response = Response::builder().status(status).header("retry-after", "0");
    response.body(Full::new(body.into())).unwrap()
}

/// Refuses every third upload, acknowledges the others, and has a photo ready when it is asked for the third time; the
/// photo number 1 fails.
async fn serve(seen: &Seen, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET {
        let id = request.uri().path().trim_start_matches("/v1/photos/").to_owned();
        let mut questions = seen.questions.lock().unwrap();
        let asked = questions.entry(id.clone()).or_default();
        *asked += 1;
        let state = match (*asked, id.as_str()) {
            (..3, _) => "processing",
            (_, "1") => "failed",
            _ => "ready",
        };
        return Ok(answer(200, format!("{{\"id\":\"{id}\",\"state\":\"{state}\",\"more\":1}}")));
    }
    assert_eq!(request.uri().path(), "/v1/photos");
    assert_eq!(request.headers()["content-type"], "image/jpeg");
    assert_eq!(request.headers()["authorization"], "Bearer secret");
    let allowed = request.uri().query() == Some("duplicate=allow");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let number = seen.uploads.fetch_add(1, Ordering::Relaxed);
    if number % 3 == 2 {
        return Ok(answer(if number.is_multiple_of(2) { 503 } else { 429 }, "{}".to_owned()));
    }
    if body.as_ref() == b"bad" {
        return Ok(answer(422, "no photo".to_owned()));
    }
    seen.allowed.fetch_add(u64::from(allowed), Ordering::Relaxed);
    Ok(answer(201, format!("{{\"id\":\"{number}\",\"state\":\"processing\"}}")))
}

async fn start(seen: Arc<Seen>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            seen.connections.fetch_add(1, Ordering::Relaxed);
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let service = service_fn(|request| serve(&seen, request));
                let connection = hyper::server::conn::http1::Builder::new();
                drop(connection.serve_connection(TokioIo::new(stream), service).await);
            });
        }
    });
    address
}

fn photos(bodies: &[&str]) -> Vec<Photo> {
    let photo = |body: &&str| Photo {
        name: format!("{body}.jpg"),
        format: SourceFormat::Jpeg,
        pixels: 1,
        bytes: body.as_bytes().to_vec().into(),
    };
    bodies.iter().map(photo).collect()
}

#[tokio::test]
async fn every_photo_is_sent_once_and_followed_until_it_is_ready() {
    let seen = Arc::new(Seen::default());
    let address = start(Arc::clone(&seen)).await;
    let target = Target::parse(&format!("http://{address}/"), Some("secret".to_owned())).unwrap();
    let photos = photos(&["a", "b", "c", "d", "e", "f", "g", "bad"]);
    let load = Load {
        target: target.clone(),
        photos: Source::Folder(photos),
        amount: Amount::Uploads(8),
        query: String::new(),
    };
    let started = Instant::now();
    let uploaded = load::run(load, 2, ProgressBar::hidden()).await;
    assert_eq!((uploaded.created, uploaded.duplicates, uploaded.failures), (7, 0, 1));
    assert!(uploaded.refusals >= 3, "{uploaded:?}");
    assert_eq!(uploaded.bytes, 7);
    assert_eq!(uploaded.latency.len(), 7);
    assert_eq!(
        seen.allowed.load(Ordering::Relaxed),
        0,
        "photos that are sent once are not sent as duplicates"
    );
    assert_eq!(seen.connections.load(Ordering::Relaxed), 2, "connections are kept");
    assert!(uploaded.first_failure.as_deref().unwrap().contains("bad.jpg: 422"), "{uploaded:?}");

    let mut report = Report::of_uploads(2, &uploaded, started.elapsed());
    let ready = ready::wait(&target, uploaded.ids, Duration::from_secs(20), ProgressBar::hidden()).await;
    assert_eq!((ready.ready, ready.failed, ready.unfinished), (6, 1, 0));
    report.add_ready(&ready, started);
    let json = serde_json::to_value(report.with_own_cpu(started.elapsed())).unwrap();
    assert_eq!(json["ready"]["ready"], 6);
    assert!(json["generator_cpu_seconds"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn for_a_time_photos_are_repeated_as_allowed_duplicates() {
    let seen = Arc::new(Seen::default());
    let address = start(Arc::clone(&seen)).await;
    let target = Target::parse(&format!("http://{address}"), Some("secret".to_owned())).unwrap();
    let load = Load {
        target,
        photos: Source::Folder(photos(&["a"])),
        amount: Amount::For(Duration::from_millis(300)),
        query: "?duplicate=allow".to_owned(),
    };
    let uploaded = load::run(load, 3, ProgressBar::hidden()).await;
    assert!(uploaded.created > 3, "{uploaded:?}");
    assert_eq!(uploaded.created, seen.allowed.load(Ordering::Relaxed));
    assert_eq!(uploaded.failures, 0);
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_failure_with_a_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::parse(&format!("http://{}", listener.local_addr().unwrap()), None).unwrap();
    drop(listener);
    let load = Load {
        target,
        photos: Source::Folder(photos(&["a"])),
        amount: Amount::Uploads(1),
        query: String::new(),
    };
    let uploaded = load::run(load, 1, ProgressBar::hidden()).await;
    assert_eq!((uploaded.created, uploaded.failures), (0, 1));
    assert!(uploaded.first_failure.unwrap().starts_with("a.jpg: "));
}
