//! Direct uploads that are announced under an idempotency key: the key tells the upload, whoever dies in between.

use bytes::Bytes;
use darkroom_test_s3::Server;
use darkroom_tests::{Answer, Client, Daemon, photos};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{PATIENCE, POLL, complete, id_of, make, on};

const PATH: &str = "/v1/direct-uploads";

async fn keyed(client: &Client, key: &str, body: &Value) -> Answer {
    client.send(Method::POST, PATH, &[("idempotency-key", key)], body.to_string()).await
}

#[tokio::test]
async fn a_key_tells_the_upload_that_was_announced_under_it() {
    let server = Server::start();
    let daemon = Daemon::start_with(&on(&server, "[direct]\nopen_max = 1"));
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    let announced = json!({ "bytes": photo.len(), "filename": "a.jpg" });
    let first = keyed(&client, "k", &announced).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    // However it is written: what is announced is the same. And it takes no second place.
    let written = format!("{{ \"filename\": \"a.jpg\",\n \"bytes\": {} }}", photo.len());
    let again = client.send(Method::POST, PATH, &[("idempotency-key", "\"k\"")], written).await;
    assert_eq!((again.status, again.header("location")), (StatusCode::CREATED, first.header("location")));
    assert_eq!(again.json()["id"], first.json()["id"]);
    let other = keyed(&client, "k", &json!({ "bytes": 5 })).await;
    assert_eq!((other.status.as_u16(), &*other.problem()), (422, "idempotency-key-reused"));
    assert_eq!(keyed(&client, "other", &announced).await.problem(), "too-many-direct-uploads");
    // The URL of the second answer is as good as that of the first, and so over a restart.
    let daemon = Daemon::start_on(daemon.kill(), &on(&server, "[direct]\nopen_max = 1"));
    let client = daemon.client();
    let upload = keyed(&client, "k", &announced).await.json();
    assert_eq!(upload["id"], first.json()["id"]);
    assert_eq!(make(&upload["put"], photo).await.status, StatusCode::OK);
    let completed = complete(&client, &upload).await;
    assert_eq!(completed.status, StatusCode::CREATED, "{completed:?}");
    // It is over: nothing can be put any more, and it says what has become of it.
    let done = keyed(&client, "k", &announced).await;
    assert_eq!((done.status, &done.json()["id"]), (StatusCode::CREATED, &upload["id"]));
    assert_eq!((&done.json()["state"], &done.json()["put"]), (&json!("done"), &Value::Null));
    assert_eq!(done.json()["photo"]["id"], completed.json()["id"]);
    // A refused announcement had freed its key.
    assert_eq!(keyed(&client, "other", &json!({ "bytes": 5 })).await.status, StatusCode::CREATED);
}

#[tokio::test]
async fn announcements_at_once_under_one_key_open_one_upload() {
    let server = Server::start();
    let daemon = Daemon::start_with(&on(&server, ""));
    let client = daemon.client();
    let announced = json!({ "bytes": 9_000_000, "parts": true });
    let answers = futures_util::future::join_all((0..8).map(|_| keyed(&client, "k", &announced))).await;
    let last = keyed(&client, "k", &announced).await;
    assert_eq!(last.status, StatusCode::CREATED, "{last:?}");
    for answer in answers {
        match answer.status {
            StatusCode::CREATED => assert_eq!(answer.json()["id"], last.json()["id"]),
            _ => assert_eq!(answer.problem(), "request-in-progress", "{answer:?}"),
        }
    }
    assert_eq!(server.open_uploads().len(), 1);
}

#[tokio::test]
async fn an_announcement_that_is_under_way_is_told_to_wait() {
    let server = Server::start();
    let fault =
        "[testing]\nfaults = [{ point = 'upload_begun', action = 'pause', millis = 3000, times = 1 }]";
    let daemon = Daemon::start_with(&on(&server, fault));
    let client = daemon.client();
    let announced = json!({ "bytes": 5000 });
    let first = keyed(&client, "k", &announced);
    let second = async {
        let began = std::time::Instant::now();
        while client.metric("darkroom_direct_uploads_opened_total").await < 1.0 {
            assert!(began.elapsed() < PATIENCE, "it is never opened");
            tokio::time::sleep(POLL).await;
        }
        keyed(&client, "k", &announced).await
    };
    let (first, second) = tokio::join!(first, second);
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    assert_eq!((second.status.as_u16(), &*second.problem()), (409, "request-in-progress"));
    assert_eq!(second.header("retry-after"), "1");
}

#[tokio::test]
async fn a_crash_leaves_the_announcement_and_its_key_or_neither() {
    let server = Server::start();
    let fault = "[testing]\nfaults = [{ point = 'upload_begun', action = 'kill', times = 1 }]";
    let mut daemon = Daemon::start_with(&on(&server, fault));
    let client = daemon.client();
    // In parts, which are not begun yet when it dies.
    let announced = json!({ "bytes": 9_000_000, "parts": true });
    let body = Bytes::from(announced.to_string());
    let request = client.request(Method::POST, PATH, &[("idempotency-key", "k")], body);
    client.try_send(request).await.unwrap_err();
    daemon.wait();
    let daemon = Daemon::start_on(daemon.home(), &on(&server, "[direct]\nopen_max = 1"));
    let client = daemon.client();
    assert_eq!(keyed(&client, "k", &json!({ "bytes": 5 })).await.problem(), "idempotency-key-reused");
    let upload = keyed(&client, "k", &announced).await;
    assert_eq!(upload.status, StatusCode::CREATED, "{upload:?}");
    let upload = upload.json();
    assert_eq!(keyed(&client, "k", &announced).await.json()["id"], upload["id"]);
    assert_eq!(server.open_uploads().len(), 1);
    assert_eq!(make(&upload["parts"][0], vec![1; 9_000_000].into()).await.status, StatusCode::OK);
    let path = format!("{PATH}/{}", id_of(&upload));
    assert_eq!(client.delete(&path).await.status, StatusCode::NO_CONTENT);
    let over = keyed(&client, "k", &announced).await;
    assert_eq!((over.status, &over.json()["state"]), (StatusCode::CREATED, &json!("aborted")));
}
