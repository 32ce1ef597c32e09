//! Photos that clients send to the bucket by themselves; in `events`, what the bucket tells.

mod events;
mod keys;
mod queue;

use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_test_s3::{BUCKET, KEY_ID, REGION, SECRET_KEY, Server};
use darkroom_tests::{Answer, Client, Daemon, Setup, photos};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use events::event;

/// How long what is awaited may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at what tells nobody when it changes.
const POLL: Duration = Duration::from_millis(20);
/// What the webhook is configured to send.
const TOKEN: &str = "a-token-of-this-test-s";

fn on(server: &Server, more: &str) -> Setup {
    let config = format!(
        "[objects]\nstore = 's3'\n[objects.s3]\nbucket = '{BUCKET}'\nendpoint = '{}'\nregion = '{REGION}'\n\
         path_style = true\nattempt_timeout = '2s'\noperation_deadline = '4s'\nlate_request_max = '1s'\n\
         upload_rate_min = '1 GiB'\n{more}",
        server.endpoint(),
    );
    let variables = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Setup { environment: variables, ..Setup::config(&config) }
}

pub(super) async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    client.send(Method::POST, path, &[("content-type", "application/json")], body.to_string()).await
}

pub(super) async fn announce(client: &Client, body: &Value) -> Value {
    let answer = post(client, "/v1/direct-uploads", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let upload = answer.json();
    assert_eq!(answer.header("location"), format!("/v1/direct-uploads/{}", id_of(&upload)));
    upload
}

pub(super) fn id_of(value: &Value) -> &str {
    value["id"].as_str().unwrap()
}

/// Makes a request that the daemon has signed, as a client does that knows nothing of S3.
pub(super) async fn make(request: &Value, body: Bytes) -> Answer {
    let url = request["url"].as_str().unwrap();
    let (host, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let client = Client::new(&format!("http://{host}"));
    let headers = request["headers"].as_object().unwrap();
    let headers: Vec<_> =
        headers.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
    let method: Method = request["method"].as_str().unwrap().parse().unwrap();
    // hyper would say the length a second time.
    let headers: Vec<_> = headers.into_iter().filter(|(name, _)| *name != "content-length").collect();
    client.send(method, &format!("/{path}"), &headers, body).await
}

pub(super) async fn complete(client: &Client, upload: &Value) -> Answer {
    let path = format!("/v1/direct-uploads/{}/complete", id_of(upload));
    client.send(Method::POST, &path, &[], Bytes::new()).await
}

/// Waits until the bucket has no object under an upload key, with sweeps in between.
async fn nothing_under_upload_keys(server: &Server, client: &Client) {
    let began = Instant::now();
    while server.objects().keys().any(|key| key.starts_with("uploads/")) {
        client.sweep().await;
        assert!(began.elapsed() < PATIENCE, "{:?}", server.objects());
        tokio::time::sleep(POLL).await;
    }
}

pub(super) async fn original(client: &Client, id: &str) -> Bytes {
    client.get(&format!("/v1/photos/{id}/original")).await.body
}

#[tokio::test]
async fn a_photo_that_was_put_into_the_bucket_is_ready_and_was_read_once() {
    let server = Server::start();
    let daemon = Daemon::start_with(&on(&server, ""));
    let client = daemon.client();
    let photo = photos::phone(1);
    let blake3 = blake3::hash(&photo).to_hex().to_string();
    let announced = json!({
        "bytes": photo.len(), "media_type": "image/jpeg", "blake3": blake3, "filename": "a.jpg"
    });
    let upload = announce(&client, &announced).await;
    assert_eq!(complete(&client, &upload).await.problem(), "direct-upload-incomplete");
    let put = make(&upload["put"], photo.clone()).await;
    assert_eq!(put.status, StatusCode::OK, "{put:?}");
    let completed = complete(&client, &upload).await;
    assert_eq!(completed.status, StatusCode::CREATED, "{completed:?}");
    let id = id_of(&completed.json()).to_owned();
    assert_eq!(completed.header("location"), format!("/v1/photos/{id}"));
    let ready = client.settled(&id).await;
    assert_eq!(ready["state"], "ready", "{ready}");
    assert!(original(&client, &id).await == photo);
    // By us the original was never written.
    let seen = server.seen();
    let puts = seen.iter().filter(|seen| seen.method == Method::PUT && seen.key.starts_with("originals/"));
    assert_eq!(puts.count(), 1, "the copy alone");

    // Again, and the URL is still valid: it is the same photo, whatever is put now.
    let again = complete(&client, &upload).await;
    assert_eq!((again.status, id_of(&again.json())), (StatusCode::CREATED, &*id));
    nothing_under_upload_keys(&server, &client).await;
    let other = photos::photo(2, 300, 200);
    assert_ne!(make(&upload["put"], other).await.status, StatusCode::OK, "its length is signed");
    let shown = client.get(&format!("/v1/direct-uploads/{}", id_of(&upload))).await.json();
    assert_eq!((shown["state"].as_str(), shown["photo"]["id"].as_str()), (Some("done"), Some(&*id)));

    // The same bytes once more are the same photo.
    let upload = announce(&client, &json!({ "bytes": photo.len() })).await;
    make(&upload["put"], photo).await;
    let duplicate = complete(&client, &upload).await;
    assert_eq!((duplicate.status, id_of(&duplicate.json())), (StatusCode::OK, &*id));
    let line = r#"darkroom_direct_uploads_settled_total{outcome="done"}"#;
    assert!((client.metric(line).await - 2.0).abs() < 0.1);
}

#[tokio::test]
async fn a_large_photo_goes_in_parts_and_its_completion_says_what_is_missing() {
    let server = Server::start();
    let config = "[direct]\npart_bytes = '5 MiB'\nparts_above = '6 MiB'\npart_urls_max = 2\n";
    let daemon = Daemon::start_with(&on(&server, config));
    let client = daemon.client();
    // What follows the end marker belongs to the file, not to the picture.
    let photo: Bytes = [&photos::phone(1)[..], vec![7; 12 << 20].as_slice()].concat().into();
    let upload = announce(&client, &json!({ "bytes": photo.len() })).await;
    assert_eq!(upload["next"], 3, "{upload}");
    let path = format!("/v1/direct-uploads/{}", id_of(&upload));
    let more = post(&client, &format!("{path}/parts"), &json!({ "from": 3 })).await.json();
    assert_eq!(more["next"], Value::Null);
    let parts = upload["parts"].as_array().unwrap().iter().chain(more["parts"].as_array().unwrap());
    let (mut left, mut sent) = (photo.clone(), Vec::new());
    for part in parts {
        let bytes = left.split_to(usize::try_from(part["bytes"].as_u64().unwrap()).unwrap());
        let answer = make(part, bytes).await;
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        sent.push(json!({ "number": part["number"], "etag": answer.header("etag") }));
    }
    assert!(left.is_empty());
    let finish =
        async |parts: &[Value]| post(&client, &format!("{path}/complete"), &json!({ "parts": parts })).await;
    assert_eq!(finish(&[]).await.problem(), "direct-upload-incomplete");
    assert_eq!(finish(&sent[1..]).await.problem(), "direct-upload-incomplete");
    let completed = finish(&sent).await;
    assert_eq!(completed.status, StatusCode::CREATED, "{completed:?}");
    let id = id_of(&completed.json()).to_owned();
    assert!(original(&client, &id).await == photo);
    assert_eq!(id_of(&finish(&sent).await.json()), id);
    nothing_under_upload_keys(&server, &client).await;
    assert_eq!(post(&client, &format!("{path}/parts"), &json!({})).await.problem(), "direct-upload-over");
    assert!(server.open_uploads().is_empty());
}

#[tokio::test]
async fn what_is_no_photo_or_another_one_is_refused_for_good_and_deleted() {
    let server = Server::start();
    let daemon = Daemon::start_with(&on(&server, ""));
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    let text = Bytes::from(vec![b'x'; 5000]);
    let (zeros, wrong) = ("0".repeat(64), blake3::hash(b"another").to_hex().to_string());
    for (body, announced, problem) in [
        (&text, json!({}), "unsupported-image"),
        (&photo, json!({ "media_type": "image/png" }), "type-mismatch"),
        (&photo, json!({ "blake3": wrong }), "direct-upload-mismatch"),
    ] {
        let mut announced = announced;
        announced["bytes"] = body.len().into();
        let upload = announce(&client, &announced).await;
        assert_eq!(make(&upload["put"], body.clone()).await.status, StatusCode::OK);
        assert_eq!(complete(&client, &upload).await.problem(), problem, "{announced}");
        assert_eq!(complete(&client, &upload).await.problem(), problem, "again");
        let shown = client.get(&format!("/v1/direct-uploads/{}", id_of(&upload))).await.json();
        assert_eq!(shown["state"], "refused");
        assert_eq!(shown["problem"]["type"], format!("/problems/{problem}"));
    }
    // The bucket itself compares this one.
    let upload = announce(&client, &json!({ "bytes": photo.len(), "sha256": zeros })).await;
    assert_eq!(make(&upload["put"], photo.clone()).await.status, StatusCode::BAD_REQUEST);
    nothing_under_upload_keys(&server, &client).await;
    // The copies too, when no put of one can be on its way any more.
    let began = Instant::now();
    while server.objects().keys().any(|key| key.starts_with("originals/")) {
        client.sweep().await;
        assert!(began.elapsed() < PATIENCE, "{:?}", server.objects());
        tokio::time::sleep(POLL).await;
    }
    assert!(client.all().await.is_empty());
}

/// What a batch counts, and of its items name, state and problem.
async fn told(client: &Client, batch: &str) -> (Value, Vec<(String, String, String)>) {
    let items = client.get(&format!("/v1/batches/{batch}/items")).await.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let item = |item: &Value| (text(&item["name"]), text(&item["state"]), text(&item["problem"]["type"]));
    let items = items["items"].as_array().unwrap().iter().map(item).collect();
    (client.get(&format!("/v1/batches/{batch}")).await.json()["counts"].clone(), items)
}

#[tokio::test]
async fn what_becomes_of_a_direct_upload_is_told_in_its_batch() {
    let server = Server::start();
    let config = format!("[limits]\nupload_bytes_max = '1 MiB'\n[direct]\nwebhook_token = '{TOKEN}'\n");
    let daemon = Daemon::start_with(&on(&server, &config));
    let client = daemon.client();
    let batch = id_of(&post(&client, "/v1/batches", &json!({})).await.json()).to_owned();
    let (photo, text) = (photos::photo(1, 300, 200), Bytes::from(vec![b'x'; 5000]));
    let wrong = blake3::hash(b"another").to_hex().to_string();
    let mut uploads = Vec::new();
    for (name, body, mut announced) in [
        ("a.jpg", &photo, json!({})),
        ("again.jpg", &photo, json!({})),
        ("text.jpg", &text, json!({})),
        ("photo.png", &photo, json!({ "media_type": "image/png" })),
        ("wrong.jpg", &photo, json!({ "blake3": wrong })),
        ("told.jpg", &text, json!({})),
    ] {
        announced["bytes"] = body.len().into();
        announced["filename"] = name.into();
        announced["batch_id"] = batch.clone().into();
        let upload = announce(&client, &announced).await;
        assert_eq!(make(&upload["put"], body.clone()).await.status, StatusCode::OK);
        if name == "told.jpg" {
            // By an event of the bucket; again and again it is the same.
            for _ in 0..2 {
                let answer = event(&client, TOKEN, &format!("uploads/{}", id_of(&upload))).await;
                assert_eq!(answer.json()["events"]["refused"], 1, "{answer:?}");
            }
        }
        for _ in 0..2 {
            complete(&client, &upload).await;
        }
        uploads.push(upload);
    }
    let too_large = json!({ "bytes": 2 << 20, "filename": "huge.jpg", "batch_id": batch });
    assert_eq!(post(&client, "/v1/direct-uploads", &too_large).await.problem(), "body-too-large");
    let made = client.settled(id_of(&complete(&client, &uploads[0]).await.json())).await;
    assert_eq!((&made["name"], &made["batch_id"]), (&json!("a.jpg"), &json!(batch)));
    let (counts, mut items) = told(&client, &batch).await;
    assert_eq!(
        (&counts["received"], &counts["ready"], &counts["duplicates"], &counts["refused"]),
        (&json!(2), &json!(1), &json!(1), &json!(5)),
        "{counts}"
    );
    items.sort();
    let expected = [
        ("a.jpg", "ready", ""),
        ("again.jpg", "duplicate", ""),
        ("huge.jpg", "refused", "/problems/body-too-large"),
        ("photo.png", "refused", "/problems/type-mismatch"),
        ("text.jpg", "refused", "/problems/unsupported-image"),
        ("told.jpg", "refused", "/problems/unsupported-image"),
        ("wrong.jpg", "refused", "/problems/direct-upload-mismatch"),
    ];
    let expected =
        expected.map(|(name, state, problem)| (name.to_owned(), state.to_owned(), problem.to_owned()));
    assert_eq!(items, expected);
    // What a closed batch does not take is said before anything is sent.
    post(&client, &format!("/v1/batches/{batch}/close"), &json!({})).await;
    let late = json!({ "bytes": 10, "batch_id": batch });
    assert_eq!(post(&client, "/v1/direct-uploads", &late).await.problem(), "batch-closed");
    let unknown = json!({ "bytes": 10, "batch_id": "00000000-0000-7000-8000-000000000000" });
    assert_eq!(post(&client, "/v1/direct-uploads", &unknown).await.problem(), "batch-not-found");
}

#[tokio::test]
async fn what_was_put_stays_when_its_batch_ends_and_may_be_completed_without_it() {
    let server = Server::start();
    let daemon = Daemon::start_with(&on(&server, &format!("[direct]\nwebhook_token = '{TOKEN}'\n")));
    let client = daemon.client();
    let batch = async || id_of(&post(&client, "/v1/batches", &json!({})).await.json()).to_owned();
    let another = batch().await;
    for (seed, how, problem, instead) in
        [(1, "close", "batch-closed", json!(another)), (2, "cancel", "batch-cancelled", Value::Null)]
    {
        let (photo, named) = (photos::photo(seed, 300, 200), batch().await);
        let upload = announce(&client, &json!({ "bytes": photo.len(), "batch_id": named })).await;
        assert_eq!(make(&upload["put"], photo.clone()).await.status, StatusCode::OK);
        let ended = post(&client, &format!("/v1/batches/{named}/{how}"), &json!({})).await;
        assert!(ended.status.is_success(), "{ended:?}");
        let path = format!("/v1/direct-uploads/{}", id_of(&upload));
        let key = format!("uploads/{}", id_of(&upload));
        for _ in 0..2 {
            assert_eq!(complete(&client, &upload).await.problem(), problem);
            let told = event(&client, TOKEN, &key).await;
            assert_eq!(told.json()["events"]["ignored"], 1, "{told:?}");
        }
        client.sweep().await;
        assert_eq!(client.get(&path).await.json()["state"], "open");
        assert!(server.objects().contains_key(&key), "{:?}", server.objects());
        let completed = post(&client, &format!("{path}/complete"), &json!({ "batch_id": instead })).await;
        assert_eq!(completed.status, StatusCode::CREATED, "{completed:?}");
        let made = client.settled(id_of(&completed.json())).await;
        assert_eq!((&made["state"], &made["batch_id"]), (&json!("ready"), &instead), "{made}");
    }
    let (counts, _) = told(&client, &another).await;
    assert_eq!(counts["ready"], 1, "{counts}");
}

/// A request whose body has not come yet.
async fn half_sent(client: &Client, path: &str, body: &str, length: usize) -> TcpStream {
    let mut stream = TcpStream::connect(client.address()).await.unwrap();
    // The token is the bucket's, and nobody's elsewhere.
    let bearer = if path.starts_with("/v1/hooks") {
        format!("authorization: Bearer {TOKEN}\r\n")
    } else {
        String::new()
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\n{bearer}content-length: {length}\r\n\r\n{body}",
        client.address()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// What is answered, up to the end of its head.
async fn answered(stream: &mut TcpStream) -> String {
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    let reading = async {
        while !answer.windows(4).any(|end| end == b"\r\n\r\n") {
            let read = stream.read(&mut piece).await.unwrap();
            assert!(read > 0, "no answer");
            answer.extend_from_slice(&piece[..read]);
        }
    };
    timeout(PATIENCE / 4, reading).await.expect("the body is waited for");
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn no_more_of_a_completion_is_read_than_its_upload_has_parts() {
    let server = Server::start();
    let daemon = Daemon::start_with(&on(&server, "[direct]\npart_bytes = '5 MiB'\n"));
    let client = daemon.client();
    let unknown = "/v1/direct-uploads/00000000-0000-7000-8000-000000000000";
    for what in ["complete", "parts"] {
        let mut stream = half_sent(&client, &format!("{unknown}/{what}"), "{", 1000).await;
        let answer = answered(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{what}: {answer}");
    }
    let put = announce(&client, &json!({ "bytes": 5000 })).await;
    let parts = announce(&client, &json!({ "bytes": 11 << 20, "parts": true })).await;
    let complete = async |upload: &Value, bytes: usize| {
        let etag = "x".repeat(bytes);
        let body = json!({ "parts": [{ "number": 1, "etag": etag }] });
        post(&client, &format!("/v1/direct-uploads/{}/complete", id_of(upload)), &body).await.problem()
    };
    assert_eq!(complete(&put, 4050).await, "direct-upload-incomplete");
    assert_eq!(complete(&put, 4100).await, "body-too-large");
    assert_eq!(complete(&parts, 4650).await, "direct-upload-incomplete");
    assert_eq!(complete(&parts, 4700).await, "body-too-large");
}

#[tokio::test]
async fn what_is_announced_is_limited_given_up_and_expires() {
    let server = Server::start();
    let config = "[direct]\nopen_max = 2\nopen_bytes_max = '10 MB'\nexpires = '2s'\npart_bytes = '5 MiB'\n";
    let daemon = Daemon::start_with(&on(&server, config));
    let client = daemon.client();
    let open = async |bytes: u64| post(&client, "/v1/direct-uploads", &json!({ "bytes": bytes })).await;
    assert_eq!(open(0).await.problem(), "invalid-parameter");
    assert_eq!(open(1 << 40).await.problem(), "body-too-large");
    assert_eq!(open(11_000_000).await.problem(), "too-many-direct-uploads");
    let first = announce(&client, &json!({ "bytes": 5000, "parts": true })).await;
    let second = announce(&client, &json!({ "bytes": 5000 })).await;
    let third = open(1).await;
    assert_eq!(third.problem(), "too-many-direct-uploads");
    assert!(!third.header("retry-after").is_empty());
    let path = |upload: &Value| format!("/v1/direct-uploads/{}", id_of(upload));
    assert_eq!(server.open_uploads().len(), 1);
    assert_eq!(client.delete(&path(&first)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.delete(&path(&first)).await.status, StatusCode::NO_CONTENT, "again");
    assert!(server.open_uploads().is_empty());
    assert_eq!(complete(&client, &first).await.problem(), "direct-upload-over");
    let parts = announce(&client, &json!({ "bytes": 6000, "parts": true })).await;
    assert_eq!(make(&parts["parts"][0], vec![1; 6000].into()).await.status, StatusCode::OK);
    assert_eq!(make(&second["put"], vec![1; 5000].into()).await.status, StatusCode::OK);
    // Nobody completes these.
    let began = Instant::now();
    for upload in [&second, &parts] {
        while client.get(&path(upload)).await.json()["state"] != "expired" {
            client.sweep().await;
            assert!(began.elapsed() < PATIENCE);
            tokio::time::sleep(POLL).await;
        }
    }
    nothing_under_upload_keys(&server, &client).await;
    assert!(server.open_uploads().is_empty());
    assert_eq!(complete(&client, &second).await.problem(), "direct-upload-over");
    announce(&client, &json!({ "bytes": 9_000_000 })).await;
}

#[tokio::test]
async fn a_daemon_without_a_bucket_says_which_ways_in_there_are() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let answer = post(&client, "/v1/direct-uploads", &json!({ "bytes": 5 })).await;
    assert_eq!((answer.status, &*answer.problem()), (StatusCode::NOT_IMPLEMENTED, "no-direct-uploads"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("POST /v1/photos"));
    assert_eq!(post(&client, "/v1/hooks/s3", &json!({})).await.problem(), "hook-not-configured");
}

#[tokio::test]
async fn a_daemon_that_is_killed_while_it_completes_makes_one_photo_in_the_end() {
    for point in ["original_stored", "before_commit", "photo_committed"] {
        let server = Server::start();
        let faults = format!("[[testing.faults]]\npoint = '{point}'\naction = 'kill'\nwidth = 333\n");
        let mut daemon = Daemon::start_with(&on(&server, &faults));
        let photo = photos::photo(1, 333, 200);
        let client = daemon.client();
        // With what would make two photos of it, were it taken in twice.
        let upload = announce(&client, &json!({ "bytes": photo.len(), "duplicate": "allow" })).await;
        make(&upload["put"], photo.clone()).await;
        let path = format!("/v1/direct-uploads/{}/complete", id_of(&upload));
        let request = client.request(Method::POST, &path, &[], Bytes::new());
        client.try_send(request).await.unwrap_err();
        daemon.wait();
        let daemon = Daemon::start_on(daemon.home(), &on(&server, ""));
        let client = daemon.client();
        let completed = complete(&client, &upload).await;
        assert_eq!(completed.status, StatusCode::CREATED, "{point}: {completed:?}");
        let id = id_of(&completed.json()).to_owned();
        assert_eq!(client.settled(&id).await["state"], "ready");
        assert_eq!(client.all().await.len(), 1, "{point}");
        assert!(original(&client, &id).await == photo);
    }
}

#[tokio::test]
async fn many_completions_and_events_at_once_make_one_photo() {
    let server = Server::start();
    let daemon = Daemon::start_with(&on(&server, &format!("[direct]\nwebhook_token = '{TOKEN}'\n")));
    let client = daemon.client();
    let photo = photos::phone(3);
    let upload = announce(&client, &json!({ "bytes": photo.len(), "duplicate": "allow" })).await;
    make(&upload["put"], photo).await;
    let completions = futures_util::future::join_all((0..6).map(|_| complete(&client, &upload)));
    let key = format!("uploads/{}", id_of(&upload));
    let events = futures_util::future::join_all((0..6).map(|_| event(&client, TOKEN, &key)));
    let (completions, events) = tokio::join!(completions, events);
    let ids: Vec<_> = completions.iter().map(|answer| id_of(&answer.json()).to_owned()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!(client.all().await.len(), 1);
    for answer in events {
        // SNS would take a 409 for the end of it.
        assert!(answer.status == StatusCode::OK || answer.problem() == "hook-later", "{answer:?}");
    }
    assert_eq!(event(&client, TOKEN, &key).await.json()["events"]["photos"], 1);
}
