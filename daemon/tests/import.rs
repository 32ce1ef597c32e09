//! `darkroomd import` against a daemon that is none: it refuses, is full, and cuts connections when it is told to.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

/// That of an import of which the daemon takes longer.
const PATIENCE: Duration = Duration::from_secs(1);

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
    /// The connection is cut, and the photo is taken only afterwards: a check does not know of it.
    CutBefore,
    /// 408: its body did not come in time.
    Slow,
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
    /// So many PATCHes come so slowly that only their beginnings arrive in time.
    slow_patches: usize,
    /// The next upload is made, and the connection cut instead of an answer.
    cut_creation: bool,
    requests: Vec<String>,
    connections: usize,
    /// What was answered, or is to be, under each idempotency key.
    keys: BTreeMap<String, Value>,
    /// It remembers no keys any more.
    keys_are_full: bool,
    /// Photos that a check does not know of.
    late: BTreeSet<String>,
    /// Files that may be asked about at once, and bytes of a batch's name.
    check_max: Option<usize>,
    name_bytes_max: Option<usize>,
    /// Names of batches that were opened.
    names: Vec<Value>,
    /// Where the files are removed that are asked about in the next check.
    removes_in: Option<PathBuf>,
    /// Whoever asks after the batch is told that there is none.
    forgets_batch: bool,
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
                self.state.lock().unwrap().connections += 1;
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
            (Method::POST, ["v1", "batches"]) => {
                let question: Value = serde_json::from_slice(&whole(request).await?).unwrap();
                Ok(self.open(&question))
            }
            (Method::POST, ["v1", "batches", "b1", "check"]) => {
                let question: Value = serde_json::from_slice(&whole(request).await?).unwrap();
                Ok(self.check(&question))
            }
            (Method::GET, ["v1", "batches", "b1"]) if self.state.lock().unwrap().forgets_batch => {
                Ok(reply(404, &json!({"type": "/problems/batch-not-found", "detail": "no batch"})))
            }
            (_, ["v1", "batches", "b1", ..]) => {
                Ok(reply(200, &json!({"counts": {"processing": 0, "ready": 1, "failed": 0}})))
            }
            (Method::POST, ["v1", "photos"]) => self.photo(request).await,
            (method, ["v1", "uploads", ..]) => self.upload(method, segments.get(2).copied(), request).await,
            _ => Ok(reply(404, &json!({"type": "/problems/not-found"}))),
        }
    }

    fn open(&self, question: &Value) -> Response<Full<Bytes>> {
        let mut state = self.state.lock().unwrap();
        let bytes = question["name"].as_str().unwrap_or_default().len();
        if state.name_bytes_max.is_some_and(|max| bytes > max) {
            return reply(400, &json!({"type": "/problems/invalid-parameter", "detail": "the name"}));
        }
        state.names.push(question["name"].clone());
        reply(201, &json!({"id": "b1"}))
    }

    fn check(&self, question: &Value) -> Response<Full<Bytes>> {
        let mut state = self.state.lock().unwrap();
        let asked = question["items"].as_array().unwrap();
        if state.check_max.is_some_and(|max| asked.len() > max) {
            return reply(413, &json!({"type": "/problems/too-many-items", "detail": "ask for less"}));
        }
        if let Some(folder) = state.removes_in.take() {
            for item in asked {
                std::fs::remove_file(folder.join(item["name"].as_str().unwrap())).unwrap();
            }
        }
        let items = asked.iter().map(|item| {
            let hash = item["blake3"].as_str().unwrap();
            if state.photos.contains_key(hash) && !state.late.contains(hash) {
                json!({"state": "have", "photo": "p"})
            } else if item["bytes"].as_u64().unwrap() == 13 {
                json!({"state": "refused", "problem": {"type": "/problems/unlucky", "detail": "13 bytes"}})
            } else {
                json!({"state": "need"})
            }
        });
        reply(200, &json!({"items": items.collect::<Vec<_>>()}))
    }

    /// The key of a request; an answer instead, if no more are remembered.
    fn key(&self, request: &Request<Incoming>) -> Result<Option<String>, Box<Response<Full<Bytes>>>> {
        let key = request.headers().get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
        if key.is_some() && self.state.lock().unwrap().keys_are_full {
            let mut answer = reply(429, &json!({"type": "/problems/too-many-idempotency-keys"}));
            answer.headers_mut().insert("retry-after", "60".parse().unwrap());
            return Err(Box::new(answer));
        }
        Ok(key)
    }

    async fn photo(&self, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, std::io::Error> {
        assert!(request.uri().query().unwrap().contains("batch_id=b1&filename="), "{:?}", request.uri());
        let key = match self.key(&request) {
            Ok(key) => key,
            Err(answer) => return Ok(*answer),
        };
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
            Some(Trouble::Slow) => {
                let _ = whole(request).await;
                return Ok(reply(408, &json!({"type": "/problems/body-timeout", "detail": "too slow"})));
            }
            Some(Trouble::CutAfter | Trouble::CutBefore) | None => {}
        }
        let body = whole(request).await?;
        if let Some(photo) = key.as_ref().and_then(|key| self.state.lock().unwrap().keys.get(key).cloned()) {
            return Ok(reply(201, &photo));
        }
        let (status, photo) = self.take(&body);
        let mut state = self.state.lock().unwrap();
        if let Some(key) = key {
            state.keys.insert(key, photo.clone());
        }
        if trouble == Some(Trouble::CutBefore) {
            state.late.insert(photo["blake3"].as_str().unwrap().to_owned());
        }
        if matches!(trouble, Some(Trouble::CutAfter | Trouble::CutBefore)) {
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
            let key = match self.key(&request) {
                Ok(key) => key,
                Err(answer) => return Ok(*answer),
            };
            let mut state = self.state.lock().unwrap();
            let made = key.as_ref().and_then(|key| state.keys.get(key)).and_then(Value::as_u64);
            let made = made.unwrap_or_else(|| {
                state.uploads.push(Vec::new());
                state.uploads.len() as u64 - 1
            });
            if let Some(key) = key {
                state.keys.insert(key, made.into());
            }
            if std::mem::take(&mut state.cut_creation) {
                return Err(std::io::Error::other("cut"));
            }
            let mut answer = reply(201, &Value::Null);
            let place = format!("http://elsewhere/v1/uploads/{made}");
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
        let is_slow = {
            let mut state = self.state.lock().unwrap();
            let slow = state.slow_patches > 0;
            state.slow_patches = state.slow_patches.saturating_sub(1);
            slow
        };
        let mut came = 0;
        while let Some(piece) = body.frame().await {
            let Ok(piece) = piece else { break };
            came += piece.data_ref().unwrap().len();
            {
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
            if is_slow && came > 100_000 {
                // As long as a daemon waits for a body, which is longer than there is patience.
                tokio::time::sleep(PATIENCE + PATIENCE / 2).await;
                return Ok(reply(408, &json!({"type": "/problems/body-timeout", "detail": "too slow"})));
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
async fn what_was_taken_unnoticed_is_told_as_sent_and_counted_once() {
    let large = vec![1; 300_000];
    let home = folder(&[("a.jpg", b"photo a"), ("large.jpg", &large)]);
    // A check does not know of the photo yet, and the upload is found by nothing but its key.
    let fake = Fake::with(&[Trouble::CutBefore]);
    fake.state.lock().unwrap().cut_creation = true;
    let address = fake.clone().start().await;
    let output = import(address, home.path(), &[".", "--json", "--resumable-from", "100KB"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = lines(&output);
    assert_eq!((state_of(&told, "a.jpg"), state_of(&told, "large.jpg")), ("sent", "sent"));
    let state = fake.state.lock().unwrap();
    assert!(state.photos.values().all(|times| *times == 1), "{:?}", state.photos);
    assert_eq!(state.uploads.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_remembers_no_more_keys_is_sent_none() {
    let large = vec![1; 300_000];
    let home = folder(&[("a.jpg", b"photo a"), ("b.jpg", b"photo b"), ("large.jpg", &large)]);
    let fake = Fake::default();
    fake.state.lock().unwrap().keys_are_full = true;
    let address = fake.clone().start().await;
    let began = Instant::now();
    let output = import(address, home.path(), &[".", "--json", "--resumable-from", "100KB"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(began.elapsed() < Duration::from_secs(60), "it waited for keys");
    assert_eq!(lines(&output)[3]["summary"]["counts"]["sent"]["files"], 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_too_slowly_for_one_request_goes_on_in_more_and_in_smaller_ones() {
    let (small, large) = (vec![1; 300_000], vec![2; 4_000_000]);
    let home = folder(&[("small.jpg", &small), ("large.jpg", &large)]);
    let fake = Fake::with(&[Trouble::Slow]);
    fake.state.lock().unwrap().slow_patches = 3;
    let address = fake.clone().start().await;
    let arguments = [".", "--json", "--jobs", "1", "--resumable-from", "1MiB", "--patience", "1s"];
    let output = import(address, home.path(), &arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let state = fake.state.lock().unwrap();
    let mut uploads: Vec<_> = state.uploads.iter().map(Vec::len).collect();
    uploads.sort_unstable();
    assert_eq!(uploads, [300_000, 4_000_000]);
    assert!(state.slow_patches == 0 && state.troubles.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_twin_of_a_file_that_is_lost_is_sent() {
    let home = folder(&[("a.jpg", b"photo a"), ("b.jpg", b"photo a"), ("c.jpg", b"photo a")]);
    let fake = Fake::default();
    fake.state.lock().unwrap().removes_in = Some(home.path().to_owned());
    let address = fake.clone().start().await;
    let output = import(address, home.path(), &[".", "--json"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let told = lines(&output);
    let mut states = ["a.jpg", "b.jpg", "c.jpg"].map(|name| state_of(&told, name));
    states.sort_unstable();
    assert_eq!(states, ["duplicate", "sent", "unreadable"]);
    assert_eq!(fake.state.lock().unwrap().photos.values().sum::<usize>(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_takes_little_at_once_is_asked_for_less() {
    let home = tempfile::tempdir().unwrap();
    for number in 0..40 {
        std::fs::write(home.path().join(format!("{number}.jpg")), format!("photo {number}")).unwrap();
    }
    let fake = Fake::default();
    {
        let mut state = fake.state.lock().unwrap();
        (state.check_max, state.name_bytes_max) = (Some(3), Some(5));
    }
    let address = fake.clone().start().await;
    let output = import(address, home.path(), &[home.path().to_str().unwrap(), "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let name = fake.state.lock().unwrap().names.remove(0).as_str().unwrap().to_owned();
    assert!((1..=5).contains(&name.len()) && home.path().to_str().unwrap().starts_with(&name), "{name}");
    // A name that was asked for is not altered.
    let output = import(address, home.path(), &[".", "--batch", "a long name"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("could not open a batch"), "{}", stderr(&output));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_is_reported_also_when_it_cannot_be_waited_for() {
    let home = folder(&[("a.jpg", b"photo a")]);
    let fake = Fake::default();
    fake.state.lock().unwrap().forgets_batch = true;
    let address = fake.clone().start().await;
    let output = import(address, home.path(), &[".", "--wait", "--json"]).await;
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    let told = lines(&output);
    let summary = &told[1]["summary"];
    assert_eq!((state_of(&told, "a.jpg"), &summary["counts"]["sent"]["files"]), ("sent", &1.into()));
    assert!(summary["stopped"].as_str().unwrap().contains("no batch"), "{summary}");
    let requests = fake.state.lock().unwrap().requests.clone();
    assert!(requests.iter().any(|request| request == "POST /v1/batches/b1/close"), "{requests:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_that_is_interrupted_before_its_walk_ends_has_a_summary_too() {
    let fake = Fake::default();
    let address = fake.clone().start().await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_darkroomd"));
    command.args(["import", "-", "--json", "--url", &format!("http://{address}")]);
    // Names that never end.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let names = child.stdin.take();
    let began = Instant::now();
    while fake.state.lock().unwrap().connections == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "the import never asks for the daemon");
        tokio::time::sleep(Duration::from_millis(5)).await; // Polling for the condition.
    }
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT)
        .unwrap();
    let output = tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap();
    drop(names);
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    let summary = &lines(&output)[0]["summary"];
    assert_eq!((&summary["stopped"], &summary["files"]), (&"interrupted".into(), &0.into()), "{summary}");
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
