//! What a client that sends a photo twice, or over a bad line, may rely on.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use darkroom_tests::daemon::files;
use darkroom_tests::{Answer, Client, Daemon, Setup, photos};
use hyper::{Method, StatusCode};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(60);

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=edge");
/// A photo of its own at each upload that is carried out.
pub(super) const ALLOW: &str = "/v1/photos?duplicate=allow";

fn sha256(bytes: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(bytes)))
}

fn md5(bytes: &[u8]) -> String {
    STANDARD.encode(md5::Md5::digest(bytes))
}

/// A form of these files, each with its headers.
fn form(files: &[(&str, &str, &[u8])]) -> Bytes {
    let mut body = Vec::new();
    for (name, headers, bytes) in files {
        let disposition = format!("Content-Disposition: form-data; name=\"p\"; filename=\"{name}\"");
        body.extend_from_slice(format!("--edge\r\n{disposition}\r\n{headers}\r\n").as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    body.into()
}

/// Status and problem of each item.
fn outcomes(answer: &Answer) -> Vec<(u64, String)> {
    let outcome = |item: &serde_json::Value| {
        let problem = item["problem"]["type"].as_str().unwrap_or_default();
        (item["status"].as_u64().unwrap(), problem.trim_start_matches("/problems/").to_owned())
    };
    answer.json()["items"].as_array().unwrap().iter().map(outcome).collect()
}

fn ids(answer: &Answer) -> Vec<String> {
    let id = |item: &serde_json::Value| item["photo"]["id"].as_str().unwrap_or_default().to_owned();
    answer.json()["items"].as_array().unwrap().iter().map(id).collect()
}

async fn post(client: &Client, path: &str, headers: &[(&str, &str)], body: &Bytes) -> Answer {
    client.send(Method::POST, path, headers, body.clone()).await
}

/// Under a key.
pub(super) async fn keyed(client: &Client, path: &str, key: &str, body: &Bytes) -> Answer {
    post(client, path, &[("idempotency-key", key)], body).await
}

pub(super) fn assert_same(again: &Answer, first: &Answer) {
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.header("location"), first.header("location"));
}

/// A request of which only the head and a piece of the body has been sent.
pub(super) struct Halfway {
    stream: TcpStream,
    rest: Bytes,
}

impl Halfway {
    pub(super) async fn send(
        client: &Client,
        path: &str,
        headers: &[(&str, &str)],
        body: &Bytes,
        cut: usize,
    ) -> Self {
        let mut stream = TcpStream::connect(client.address()).await.unwrap();
        let mut head = format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n", body.len());
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
        stream.write_all(&body[..cut]).await.unwrap();
        Self { stream, rest: body.slice(cut..) }
    }

    /// The status of its answer.
    pub(super) async fn finish(mut self) -> u16 {
        self.stream.write_all(&self.rest).await.unwrap();
        let mut start = [0; 12];
        self.stream.read_exact(&mut start).await.unwrap();
        std::str::from_utf8(&start[9..]).unwrap().parse().unwrap()
    }
}

/// Sends until the answer has this status: under another the request changes nothing.
pub(super) async fn until(status: StatusCode, send: impl AsyncFn() -> Answer) -> Answer {
    let began = Instant::now();
    loop {
        let answer = send().await;
        if answer.status == status {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "never {status}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await; // Polling for the condition.
    }
}

/// Waits until a request is being carried out under a key.
pub(super) async fn claimed(client: &Client) {
    let began = Instant::now();
    while client.metric("darkroom_idempotent_requests_total{outcome=\"claimed\"}").await < 1.0 {
        assert!(began.elapsed() < PATIENCE, "no key is ever claimed");
        tokio::time::sleep(Duration::from_millis(5)).await; // Polling for the condition.
    }
}

#[tokio::test]
async fn bytes_that_are_not_what_a_digest_announces_leave_nothing() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let (photo, other) = (photos::photo(1, 300, 200), photos::photo(2, 300, 200));
    for (header, wrong) in
        [("content-digest", sha256(&other)), ("repr-digest", sha256(&other)), ("content-md5", md5(&other))]
    {
        let answer = post(&client, "/v1/photos", &[(header, &wrong)], &photo).await;
        assert_eq!((answer.status.as_u16(), answer.problem().as_str()), (422, "digest-mismatch"));
        let came = if header == "content-md5" { md5(&photo) } else { sha256(&photo) };
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(&wrong) && detail.contains(&came), "{detail}");
        assert!(detail.to_lowercase().starts_with(header), "{detail}");
    }
    assert!(client.all().await.is_empty());
    client.idle().await;
    client.sweep().await;
    assert_eq!(files(&daemon.data().join("objects")).len(), 1, "only the store id is there");

    let right = [
        ("content-digest", &*format!("{}, unknown=:AAAA:", sha256(&photo))),
        ("repr-digest", &sha256(&photo)),
        ("content-md5", &md5(&photo)),
    ];
    assert_eq!(post(&client, "/v1/photos", &right, &photo).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn each_file_of_a_form_has_its_own_digest() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let [a, b, c] = [1, 2, 3].map(|seed| photos::photo(seed, 300, 200));
    let digest = |bytes: &[u8]| format!("Content-Digest: {}\r\n", sha256(bytes));
    let body = form(&[
        ("a.jpg", &digest(&a), &a),
        ("b.jpg", &digest(&a), &b),
        ("c.jpg", "Content-MD5: nonsense\r\n", &c),
        ("d.jpg", "Content-Encoding: gzip\r\n", &c),
        ("e.jpg", &format!("Content-MD5: {}\r\n", md5(&c)), &c),
    ]);
    let answer = post(&client, "/v1/photos", &[FORM], &body).await;
    let refused = |status, problem: &str| (status, problem.to_owned());
    let expected = [
        refused(201, ""),
        refused(422, "digest-mismatch"),
        refused(400, "digest-malformed"),
        refused(415, "content-encoding-unsupported"),
        refused(201, ""),
    ];
    assert_eq!((answer.status, &outcomes(&answer)[..]), (StatusCode::MULTI_STATUS, &expected[..]));
    assert_eq!(client.all().await.len(), 2);
    // Of the whole form it would be known too late.
    let whole = post(&client, "/v1/photos", &[FORM, ("content-digest", &sha256(&body))], &body).await;
    assert_eq!(whole.problem(), "digest-unsupported");
}

#[tokio::test]
async fn what_cannot_be_checked_or_decoded_is_refused_at_once() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    for (header, value, problem) in [
        ("content-digest", "sha-256=abc", "digest-malformed"),
        ("content-md5", "abc", "digest-malformed"),
        ("content-encoding", "gzip", "content-encoding-unsupported"),
        ("idempotency-key", "", "idempotency-key-malformed"),
        ("idempotency-key", "\"open", "idempotency-key-malformed"),
    ] {
        assert_eq!(post(&client, "/v1/photos", &[(header, value)], &photo).await.problem(), problem);
    }
    assert!(client.all().await.is_empty());
}

#[tokio::test]
async fn a_request_that_is_repeated_is_answered_as_before() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let (photo, other) = (photos::photo(1, 300, 200), photos::photo(2, 300, 200));
    let first = keyed(&client, ALLOW, "\"once\"", &photo).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let id = first.json()["id"].as_str().unwrap().to_owned();
    client.settled(&id).await;
    assert_same(&keyed(&client, ALLOW, "once", &photo).await, &first);
    // Who waits is told of the same photo, as it is by now.
    let headers = [("idempotency-key", "once"), ("prefer", "wait=30")];
    let waited = post(&client, ALLOW, &headers, &photo).await;
    let json = waited.json();
    assert_eq!(
        (waited.status, &json["id"], &json["state"]),
        (first.status, &id.clone().into(), &"ready".into())
    );
    assert_same(&post(&client, ALLOW, &headers, &photo).await, &waited);

    // Another photo, photo or not, another question, and another shape, are other requests.
    let (text, longer) = (Bytes::from_static(b"no photo"), [&photo[..], b"x"].concat().into());
    for body in [&other, &text, &longer] {
        assert_eq!(keyed(&client, ALLOW, "once", body).await.problem(), "idempotency-key-reused");
    }
    let elsewhere = keyed(&client, "/v1/photos", "once", &photo).await;
    assert_eq!((elsewhere.status.as_u16(), elsewhere.problem().as_str()), (422, "idempotency-key-reused"));
    let form = form(&[("a.jpg", "", &photo)]);
    let shaped = post(&client, ALLOW, &[FORM, ("idempotency-key", "once")], &form).await;
    assert_eq!(shaped.problem(), "idempotency-key-reused");
    assert_eq!(client.all().await.len(), 1);

    // A duplicate is answered as one, by its own key, and under no key as ever.
    let duplicate = keyed(&client, "/v1/photos", "twice", &photo).await;
    assert_eq!((duplicate.status, &duplicate.json()["duplicate"]), (StatusCode::OK, &true.into()));
    assert_same(&keyed(&client, "/v1/photos", "twice", &photo).await, &duplicate);

    // Also over a restart, and when the photo is gone.
    let daemon = Daemon::start_on(daemon.stop(), &Setup::default());
    let client = daemon.client();
    assert_eq!(client.delete(&format!("/v1/photos/{id}")).await.status, StatusCode::NO_CONTENT);
    assert_same(&keyed(&client, ALLOW, "once", &photo).await, &first);
    assert!(client.all().await.is_empty());
}

#[tokio::test]
async fn a_refused_request_frees_its_key() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    let cut = photo.slice(..300);
    assert_eq!(keyed(&client, "/v1/photos", "k", &Bytes::from_static(b"text")).await.status.as_u16(), 415);
    assert_eq!(keyed(&client, "/v1/photos", "k", &cut).await.status.as_u16(), 422);
    let wrong = [("idempotency-key", "k"), ("content-digest", &*sha256(&cut))];
    assert_eq!(post(&client, "/v1/photos", &wrong, &photo).await.problem(), "digest-mismatch");
    assert_eq!(keyed(&client, ALLOW, "k", &photo).await.status, StatusCode::CREATED);
    assert_eq!(keyed(&client, ALLOW, "k", &photo).await.status, StatusCode::CREATED);
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn a_request_that_is_under_way_is_not_begun_twice() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    let key = [("idempotency-key", "slow")];
    let slow = Halfway::send(&client, ALLOW, &key, &photo, 1000).await;
    claimed(&client).await;
    let meanwhile = post(&client, ALLOW, &key, &photo).await;
    assert_eq!(meanwhile.status, StatusCode::CONFLICT);
    assert_eq!((meanwhile.problem().as_str(), meanwhile.header("retry-after")), ("request-in-progress", "1"));
    assert_eq!(slow.finish().await, 201);
    assert_eq!(post(&client, ALLOW, &key, &photo).await.status, StatusCode::CREATED);
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn whoever_goes_away_frees_the_key() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    let key = [("idempotency-key", "gone")];
    drop(Halfway::send(&client, ALLOW, &key, &photo, 1000).await);
    until(StatusCode::CREATED, async || post(&client, ALLOW, &key, &photo).await).await;
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn a_crash_while_a_body_comes_frees_the_key_at_once() {
    let daemon = Daemon::start();
    let (client, photo) = (daemon.client(), photos::photo(1, 300, 200));
    let key = [("idempotency-key", "crash")];
    let _halfway = Halfway::send(&client, ALLOW, &key, &photo, 1000).await;
    claimed(&client).await;
    assert_eq!(post(&client, ALLOW, &key, &photo).await.status, StatusCode::CONFLICT);
    let daemon = Daemon::start_on(daemon.kill(), &Setup::default());
    let client = daemon.client();
    assert_eq!(post(&client, ALLOW, &key, &photo).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn a_crash_between_the_photo_and_its_answer_doubles_nothing() {
    let fault = "[[testing.faults]]\npoint = 'photo_committed'\naction = 'kill'\n";
    let mut daemon = Daemon::start_with(&Setup::config(fault));
    let photo = photos::photo(1, 300, 200);
    let key = [("idempotency-key", "crash")];
    let client = daemon.client();
    assert!(client.try_send(client.request(Method::POST, ALLOW, &key, photo.clone())).await.is_err());
    assert!(!daemon.wait(), "it ended in order instead of dying");
    let daemon = Daemon::start_on(daemon.home(), &Setup::default());
    let client = daemon.client();
    let made = client.all().await;
    assert_eq!(made.len(), 1, "the photo was committed");
    let again = post(&client, ALLOW, &key, &photo).await;
    assert_eq!((again.status, &again.json()["id"]), (StatusCode::CREATED, &made[0]["id"]));
    assert_same(&post(&client, ALLOW, &key, &photo).await, &again);
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn a_form_that_was_cut_off_goes_on_where_it_was() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photos: Vec<_> = (1..=4).map(|seed| photos::photo(seed, 300, 200)).collect();
    let names = ["a.jpg", "b.jpg", "c.jpg", "d.jpg"];
    let parts: Vec<_> = names.iter().zip(&photos).map(|(name, photo)| (*name, "", &photo[..])).collect();
    let headers = [FORM, ("idempotency-key", "form")];
    let (body, two) = (form(&parts), form(&parts[..2]).len());
    let cut = Halfway::send(&client, ALLOW, &headers, &body, two + 200).await;
    let began = Instant::now();
    while client.all().await.len() < 2 {
        assert!(began.elapsed() < PATIENCE, "the first two are never there");
        tokio::time::sleep(Duration::from_millis(20)).await; // Polling for the condition.
    }
    drop(cut);
    let first = until(StatusCode::CREATED, async || post(&client, ALLOW, &headers, &body).await).await;
    assert_eq!(client.all().await.len(), 4);
    let again = post(&client, ALLOW, &headers, &body).await;
    assert_same(&again, &first);
    // Another file in the place of one of them, and one more behind them.
    let mut others = parts.clone();
    others[1].2 = &photos[2];
    others.push(("e.jpg", "", &photos[0]));
    let answer = post(&client, ALLOW, &headers, &form(&others)).await;
    let statuses: Vec<_> = outcomes(&answer).into_iter().map(|(status, _)| status).collect();
    assert_eq!((answer.status, &statuses[..]), (StatusCode::MULTI_STATUS, &[201, 422, 201, 201, 201][..]));
    assert_eq!(ids(&answer)[2..4], ids(&first)[2..4]);
    assert_eq!(client.all().await.len(), 5);
}

#[tokio::test]
async fn a_bad_file_of_a_form_is_tried_again_and_the_others_are_not() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    let headers = [FORM, ("idempotency-key", "form")];
    let body = form(&[("a.jpg", "", &photo), ("b.txt", "", b"no photo")]);
    let first = post(&client, ALLOW, &headers, &body).await;
    assert_eq!(first.status, StatusCode::MULTI_STATUS);
    assert_same(&post(&client, ALLOW, &headers, &body).await, &first);
    let mended = form(&[("a.jpg", "", &photo), ("b.txt", "", &photo)]);
    let answer = post(&client, ALLOW, &headers, &mended).await;
    assert_eq!((answer.status, &ids(&answer)[0]), (StatusCode::CREATED, &ids(&first)[0]));
    assert_eq!(client.all().await.len(), 2);
}

#[tokio::test]
async fn equal_requests_at_once_under_one_key_make_one_photo() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(1, 400, 300);
    let answers = futures_util::future::join_all((0..8).map(|_| keyed(&client, ALLOW, "k", &photo))).await;
    for answer in &answers {
        assert!([StatusCode::CREATED, StatusCode::CONFLICT].contains(&answer.status), "{answer:?}");
    }
    let last = keyed(&client, ALLOW, "k", &photo).await;
    for answer in answers.iter().filter(|answer| answer.status == StatusCode::CREATED) {
        assert_same(answer, &last);
    }
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn keys_are_limited_and_forgotten() {
    let daemon = Daemon::start_with(&Setup::config("[idempotency]\nkeep = '1s'\nkeys_max = 2"));
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    // The key, and the photo under it.
    let body = form(&[("a.jpg", "", &photo)]);
    let send = async |key| post(&client, ALLOW, &[FORM, ("idempotency-key", key)], &body).await;
    let first = send("a").await;
    assert_eq!(first.status, StatusCode::CREATED);
    let refused = keyed(&client, ALLOW, "b", &photo).await;
    assert_eq!((refused.status.as_u16(), refused.problem().as_str()), (429, "too-many-idempotency-keys"));
    assert_eq!(refused.header("retry-after"), "60");
    assert_eq!(post(&client, ALLOW, &[], &photo).await.status, StatusCode::CREATED, "without a key");
    let second = until(StatusCode::CREATED, async || {
        client.sweep().await;
        send("b").await
    })
    .await;
    assert_ne!(ids(&second), ids(&first), "the first was forgotten");
}
