//! `darkroomd import` against a daemon that is none: it refuses, is full, and cuts connections when it is told to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// What the next request for a photo meets.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    /// 503, to come back in a second.
    Busy,
    /// The connection is cut before the body is read.
    Cut,
    /// The photo is taken, and the connection cut instead of an answer.
    CutAfter,
    /// 507.
    Full,
    /// Its body is read as far as it comes, and it is told that it did not come whole.
    Incomplete,
}

#[derive(Default)]
struct State {
    /// Photos by their digest, and how often each was sent.
    photos: BTreeMap<String, usize>,
    troubles: VecDeque<Trouble>,
    /// Bytes of uploads by number.
    uploads: Vec<Vec<u8>>,
    /// Uploads whose PATCHes are cut after so many bytes in all.
    cut_uploads_at: Option<usize>,
    requests: Vec<String>,
}

/// A server that keeps everything in memory.
#[derive(Clone, Default)]
struct Fake {
    state: Arc<Mutex<State>>,
}

impl Fake {
    async fn start(self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let stream = TokioIo::new(listener.accept().await.unwrap().0);
                let fake = self.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| fake.clone().answer(request));
                    // Cut connections are errors here.
                    let _ =
                        hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await;
                });
            }
        });
        address
    }

    fn with(troubles: &[Trouble]) -> Self {
        let fake = Self::default();
        fake.state.lock().unwrap().troubles = troubles.iter().copied().collect();
        fake
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        let path = request.uri().path().to_owned();
        self.state.lock().unwrap().requests.push(format!("{} {path}", request.method()));
        let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (request.method().clone(), segments.as_slice()) {
            (Method::POST, ["v1", "batches"]) => Ok(reply(201, &json!({"id": "b1"}))),
            (Method::POST, ["v1", "batches", "b1", "check"]) => {
                let question: Value = serde_json::from_slice(&whole(request).await?).unwrap();
                Ok(reply(200, &self.check(&question)))
            }
            (_, ["v1", "batches", "b1", ..]) => {
                Ok(reply(200, &json!({"counts": {"processing": 0, "ready": 1, "failed": 0}})))
            }
            (Method::POST, ["v1", "photos"]) => self.photo(request).await,
            (method, ["v1", "uploads", ..]) => self.upload(method, segments.get(2).copied(), request).await,
            _ => Ok(reply(404, &json!({"type": "/problems/not-found"}))),
        }
    }

    fn check(&self, question: &Value) -> Value {
        let state = self.state.lock().unwrap();
        let items = question["items"].as_array().unwrap().iter().map(|item| {
            if state.photos.contains_key(item["blake3"].as_str().unwrap()) {
                json!({"state": "have", "photo": "p"})
            } else if item["bytes"].as_u64().unwrap() == 13 {
                json!({"state": "refused", "problem": {"type": "/problems/unlucky", "detail": "13 bytes"}})
            } else {
                json!({"state": "need"})
            }
        });
        json!({"items": items.collect::<Vec<_>>()})
    }

    async fn photo(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        assert!(request.uri().query().unwrap().contains("batch_id=b1&filename="), "{:?}", request.uri());
        let trouble = self.state.lock().unwrap().troubles.pop_front();
        match trouble {
            Some(Trouble::Busy) => {
                let mut answer = reply(503, &json!({"type": "/problems/overloaded", "detail": "full"}));
                answer.headers_mut().insert("retry-after", "1".parse().unwrap());
                return Ok(answer);
            }
            Some(Trouble::Cut) => return Err(std::io::Error::other("cut")),
            Some(Trouble::Full) => {
                return Ok(reply(507, &json!({"type": "/problems/storage-full", "detail": "no room"})));
            }
            Some(Trouble::Incomplete) => {
                let _ = whole(request).await;
                return Ok(reply(400, &json!({"type": "/problems/body-incomplete", "detail": "broke off"})));
            }
            Some(Trouble::CutAfter) | None => {}
        }
        let body = whole(request).await?;
        let (status, photo) = self.take(&body);
        if trouble == Some(Trouble::CutAfter) {
            return Err(std::io::Error::other("cut"));
        }
        Ok(reply(status, &photo))
    }

    fn take(&self, body: &[u8]) -> (u16, Value) {
        if body.starts_with(b"text") {
            return (415, json!({"type": "/problems/unsupported-image", "detail": "it is text"}));
        }
        let hash = blake3::hash(body).to_hex().to_string();
        let mut state = self.state.lock().unwrap();
        let times = state.photos.entry(hash.clone()).or_default();
        *times += 1;
        let duplicate = *times > 1;
        (
            if duplicate { 200 } else { 201 },
            json!({"id": format!("photo-{hash}"), "blake3": hash, "duplicate": duplicate}),
        )
    }

    /// tus, as far as it is spoken here.
    async fn upload(
        &self,
        method: Method,
        id: Option<&str>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, std::io::Error> {
        assert_eq!(
            request.headers().get("tus-resumable").map(hyper::header::HeaderValue::as_bytes),
            Some(&b"1.0.0"[..])
        );
        let Some(id) = id else {
            let mut state = self.state.lock().unwrap();
            state.uploads.push(Vec::new());
            let mut answer = reply(201, &Value::Null);
            let place = format!("http://elsewhere/v1/uploads/{}", state.uploads.len() - 1);
            answer.headers_mut().insert("location", place.parse().unwrap());
            return Ok(answer);
        };
        let id: usize = id.parse().unwrap();
        let told = |offset: usize| {
            let mut answer = reply(204, &Value::Null);
            answer.headers_mut().insert("upload-offset", offset.to_string().parse().unwrap());
            answer
        };
        if method == Method::HEAD {
            return Ok(told(self.state.lock().unwrap().uploads[id].len()));
        }
        if method == Method::GET {
            let body = self.state.lock().unwrap().uploads[id].clone();
            return Ok(reply(200, &json!({"state": "done", "photo": self.take(&body).1})));
        }
        assert_eq!(method, Method::PATCH);
        let offset: usize = request.headers()["upload-offset"].to_str().unwrap().parse().unwrap();
        let mut body = request.into_body();
        while let Some(piece) = body.frame().await {
            let Ok(piece) = piece else { break };
            let mut state = self.state.lock().unwrap();
            let cut = state.cut_uploads_at;
            if offset <= state.uploads[id].len() {
                state.uploads[id].extend_from_slice(piece.data_ref().unwrap());
            }
            if cut.is_some_and(|cut| state.uploads[id].len() >= cut) {
                state.cut_uploads_at = None;
                return Err(std::io::Error::other("cut"));
            }
        }
        Ok(told(self.state.lock().unwrap().uploads[id].len()))
    }
}

async fn whole(request: Request<Incoming>) -> Result<Bytes, std::io::Error> {
    let announced = request.body().size_hint().exact();
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    assert_eq!(announced, Some(body.len() as u64), "a body without its length");
    Ok(body)
}

fn reply(status: u16, body: &Value) -> Response<Full<Bytes>> {
    let body = if body.is_null() { Bytes::new() } else { body.to_string().into() };
    Response::builder().status(status).body(Full::new(body)).unwrap()
}

/// Runs the command in a folder.
async fn import(address: SocketAddr, folder: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_darkroomd"));
    command.current_dir(folder).args(["import", "--url", &format!("http://{address}")]).args(arguments);
    command.stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

fn state_of<'l>(lines: &'l [Value], name: &str) -> &'l str {
    let line = lines
        .iter()
        .find(|line| line["path"] == name)
        .unwrap_or_else(|| panic!("{name} has no line: {lines:?}"));
    line["state"].as_str().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with files of these contents.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, content) in files {
        std::fs::create_dir_all(home.path().join(name).parent().unwrap()).unwrap();
        std::fs::write(home.path().join(name), content).unwrap();
    }
    home
}

#[tokio::test(flavor = "multi_thread")]
async fn each_file_has_an_outcome_of_its_own_and_the_second_time_nothing_is_sent() {
    let home = folder(&[
        ("a.jpg", b"photo a"),
        ("deep/b.png", b"photo b"),
        ("deep/same.jpg", b"photo a"),
        ("no.jpg", b"text in a photo's name"),
        ("unlucky.jpg", b"thirteen byte"),
        ("notes.txt", b"text"),
    ]);
    let fake = Fake::default();
    let address = fake.clone().start().await;
    let output = import(address, home.path(), &[".", "--json"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let told = lines(&output);
    assert_eq!(told.len(), 6, "{told:?}");
    let states =
        ["a.jpg", "deep/b.png", "deep/same.jpg", "no.jpg", "unlucky.jpg"].map(|name| state_of(&told, name));
    let (first, second) = (states[0].min(states[2]), states[0].max(states[2]));
    assert_eq!((first, second), ("duplicate", "sent"));
    assert_eq!([states[1], states[3], states[4]], ["sent", "refused", "refused"]);
    let summary = &told[5]["summary"];
    assert_eq!((&summary["files"], &summary["passed_over"]), (&5.into(), &1.into()));
    assert_eq!(summary["counts"]["refused"]["files"], 2);
    assert!(stderr(&output).contains("unsupported-image: it is text"), "{}", stderr(&output));

    let again = import(address, home.path(), &["a.jpg", "deep", "--json"]).await;
    assert_eq!(again.status.code(), Some(0), "{}", stderr(&again));
    assert_eq!(lines(&again)[3]["summary"]["bytes_moved"], 0);
    assert!(fake.state.lock().unwrap().photos.values().all(|times| *times == 1));
    let quiet = import(address, home.path(), &["deep", "--quiet"]).await;
    assert!(quiet.status.success() && quiet.stdout.is_empty() && quiet.stderr.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_house_and_broken_connections_are_tried_again_and_nothing_is_doubled() {
    use Trouble::{Busy, Cut, Incomplete};
    let large = vec![1; 3_000_000];
    let home = folder(&[("a.jpg", b"photo a"), ("b.jpg", b"photo b"), ("c.jpg", &large)]);
    let fake = Fake::with(&[Busy, Cut, Incomplete, Cut, Busy]);
    let address = fake.clone().start().await;
    let began = std::time::Instant::now();
    let output = import(address, home.path(), &[".", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(began.elapsed() >= std::time::Duration::from_secs(1), "Retry-After was not waited for");
    let told = lines(&output);
    assert!(told[..3].iter().all(|line| line["state"] == "sent"), "{told:?}");
    assert_eq!(told[3]["summary"]["repeated"], 5);
    let state = fake.state.lock().unwrap();
    assert!(state.photos.len() == 3 && state.photos.values().all(|times| *times == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photo_whose_answer_is_lost_is_not_sent_again() {
    let home = folder(&[("a.jpg", b"photo a")]);
    let fake = Fake::with(&[Trouble::CutAfter]);
    let address = fake.clone().start().await;
    let output = import(address, home.path(), &["a.jpg", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(state_of(&lines(&output), "a.jpg"), "sent");
    assert_eq!(fake.state.lock().unwrap().photos.values().sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_store_ends_it_and_says_so() {
    let home = tempfile::tempdir().unwrap();
    for number in 0..50 {
        std::fs::write(home.path().join(format!("{number}.jpg")), format!("photo {number}")).unwrap();
    }
    let address = Fake::with(&[Trouble::Full; 50]).start().await;
    let output = import(address, home.path(), &[".", "--jobs", "2"]).await;
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("ended early: no room") && text.contains("not sent"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_goes_on_where_it_was_cut() {
    let large: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let home = folder(&[("large.jpg", &large)]);
    let fake = Fake::default();
    fake.state.lock().unwrap().cut_uploads_at = Some(5_000_000);
    let address = fake.clone().start().await;
    let output = import(address, home.path(), &["large.jpg", "--resumable-from", "1MiB", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let moved = lines(&output)[1]["summary"]["bytes_moved"].as_u64().unwrap();
    // What lay in the sockets' buffers when it was cut is sent again, and no more.
    assert!((12_000_000..24_000_000).contains(&moved), "{moved} bytes moved");
    let state = fake.state.lock().unwrap();
    assert!(state.uploads.len() == 1 && state.uploads[0] == large, "other bytes arrived");
    assert!(state.requests.iter().any(|request| request.starts_with("HEAD")), "{:?}", state.requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_sends_nothing_and_says_what_it_would_send() {
    let home = folder(&[("a.jpg", b"photo a"), ("b.jpg", b"photo b")]);
    let fake = Fake::default();
    fake.state.lock().unwrap().photos.insert(blake3::hash(b"photo b").to_hex().to_string(), 1);
    let address = fake.clone().start().await;
    let output = import(address, home.path(), &[".", "--dry-run", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = lines(&output);
    assert_eq!((state_of(&told, "a.jpg"), state_of(&told, "b.jpg")), ("need", "have"));
    let state = fake.state.lock().unwrap();
    assert!(!state.requests.iter().any(|request| request.contains("photos")), "{:?}", state.requests);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_run_at_all_has_a_status_of_its_own() {
    let home = folder(&[("a.jpg", b"photo a")]);
    // Bound, and closed again: nobody is there.
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let output = import(nobody, home.path(), &["."]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains(&format!("http://{nobody} cannot be reached")), "{}", stderr(&output));
    let address = Fake::default().start().await;
    for (arguments, said) in [
        (&["nowhere"][..], "nowhere"),
        (&["*.gif"], "nothing matches"),
        (&[".", "--url", "https://photos.example"], "cannot be used multiple times"),
        (&[".", "--jobs", "0"], "--jobs"),
        (&[], "required"),
    ] {
        let output = import(address, home.path(), arguments).await;
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
    }
}
