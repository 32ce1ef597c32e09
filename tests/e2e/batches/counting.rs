//! What a batch counts and lists, whatever happens to its uploads and to the daemon.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use darkroom_tests::{Daemon, Setup, photos};
use futures_util::{StreamExt, stream};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{Batch, PATIENCE, counts};

#[tokio::test]
async fn every_file_of_a_batch_is_accounted_for() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({"name": "Iceland", "expected": 7})).await;
    let before = photos::photo(1, 90, 60);
    client.upload_settled(&before).await;
    let small = photos::photo(2, 120, 80);
    assert_eq!(batch.upload("a.jpg", small.clone()).await.status, StatusCode::CREATED);
    assert_eq!(batch.upload("b.jpg", photos::photo(3, 120, 80)).await.status, StatusCode::CREATED);
    assert_eq!(batch.upload("again.jpg", small.clone()).await.status, StatusCode::OK);
    assert_eq!(batch.upload("before.jpg", before.clone()).await.status, StatusCode::OK);
    assert_eq!(batch.upload("notes.txt", "no photo ".repeat(9000)).await.problem(), "unsupported-image");
    assert_eq!(batch.upload("cut.jpg", small.slice(..300)).await.problem(), "truncated-image");
    let form = [("content-type", "multipart/form-data; boundary=edge")];
    let mut body =
        b"--edge\r\nContent-Disposition: form-data; name=\"p\"; filename=\"c.jpg\"\r\n\r\n".to_vec();
    body.extend_from_slice(&photos::photo(4, 120, 80));
    body.extend_from_slice(b"\r\n--edge--\r\n");
    let path = format!("/v1/photos?batch_id={}", batch.id);
    assert_eq!(client.send(Method::POST, &path, &form, body).await.status, StatusCode::CREATED);

    let settled = batch.settled().await;
    let expected = [("received", 5), ("ready", 3), ("duplicates", 2), ("refused", 2)];
    assert_eq!(counts(&settled), BTreeMap::from(expected), "{settled}");
    assert_eq!((&settled["complete"], &settled["state"]), (&json!(true), &json!("open")));
    assert_eq!((&settled["estimated_seconds"], &settled["name"]), (&json!(0), &json!("Iceland")));
    assert!(settled["rate"]["photos_per_second"].as_f64().unwrap() > 0.0, "{settled}");
    let items = batch.items("").await;
    let names: Vec<_> = items.iter().map(|item| item["name"].as_str().unwrap()).collect();
    assert_eq!(names[..6], ["a.jpg", "b.jpg", "again.jpg", "before.jpg", "notes.txt", "cut.jpg"]);
    assert_eq!(items[2]["photo"], items[0]["photo"]);
    assert_eq!((&items[2]["duplicate"], &items[0]["duplicate"]), (&json!(true), &json!(false)));
    assert_eq!(items[0]["blake3"], blake3::hash(&small).to_hex().as_str());
    assert_eq!(items[4]["problem"]["type"], "/problems/unsupported-image");

    client.delete(&format!("/v1/photos/{}", items[0]["photo"].as_str().unwrap())).await;
    let settled = batch.settled().await;
    let expected = [("received", 5), ("ready", 2), ("deleted", 1), ("duplicates", 2), ("refused", 2)];
    assert_eq!(counts(&settled), BTreeMap::from(expected), "{settled}");
    let listed = client.get("/v1/batches").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert_eq!(listed["items"][0]["counts"], settled["counts"]);
    assert_eq!(client.metric("darkroom_batches_open").await, 1.0);
}

#[tokio::test]
async fn many_uploads_at_once_are_counted_exactly() {
    const PHOTOS: u64 = 120;
    let daemon = Daemon::start();
    let batch = Batch::open(&daemon.client(), &json!({"expected": PHOTOS + 20})).await;
    let batch = &batch;
    // Every sixth twice.
    let seeds = (0..PHOTOS).chain((0..PHOTOS).step_by(6));
    let statuses: Vec<_> = stream::iter(seeds)
        .map(|seed| async move {
            loop {
                let answer = batch.upload(&format!("{seed}.jpg"), photos::photo(seed, 48, 32)).await;
                if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                    return answer.status;
                }
            }
        })
        .buffer_unordered(8)
        .collect()
        .await;
    assert_eq!(statuses.iter().filter(|status| **status == StatusCode::CREATED).count() as u64, PHOTOS);
    let settled = batch.settled().await;
    let expected = BTreeMap::from([("received", PHOTOS + 20), ("ready", PHOTOS), ("duplicates", 20)]);
    assert_eq!(counts(&settled), expected, "{settled}");
    assert_eq!(settled["complete"], true);
}

#[tokio::test]
async fn a_kill_in_the_middle_of_a_batch_loses_and_doubles_nothing() {
    const PHOTOS: u64 = 90;
    let mut daemon = Daemon::start();
    let id = Batch::open(&daemon.client(), &json!({})).await.id;
    let mut acknowledged = BTreeSet::new();
    // Twice: a third death in the middle of one photo would be the end of it.
    for round in 0..2 {
        let client = daemon.client();
        let batch = &Batch { client: client.clone(), id: id.clone() };
        let seeds = stream::iter(round * PHOTOS / 2..(round + 1) * PHOTOS / 2);
        let mut uploads = seeds
            .map(|seed| async move {
                let path = format!("/v1/photos?batch_id={}&filename={seed}.jpg", batch.id);
                let body = photos::photo(seed, 64, 48);
                let request = batch.client.request(Method::POST, &path, &[], body);
                batch.client.try_send(request).await.ok().filter(|answer| answer.status.is_success())
            })
            .buffer_unordered(8);
        let mut taken = 0;
        while let Some(outcome) = uploads.next().await {
            if let Some(answer) = outcome {
                acknowledged.insert(answer.json()["id"].as_str().unwrap().to_owned());
                taken += 1;
            }
            if taken == PHOTOS / 9 {
                // The rest of them are on their way, and some photos in the stages.
                break;
            }
        }
        drop(uploads);
        daemon = Daemon::start_on(daemon.kill(), &Setup::default());
    }
    let batch = Batch { client: daemon.client(), id };
    for seed in 0..PHOTOS {
        assert!(batch.upload(&format!("{seed}.jpg"), photos::photo(seed, 64, 48)).await.status.is_success());
    }
    assert_eq!(batch.post("/close", "").await.status, StatusCode::OK);
    let settled = batch.settled().await;
    let counts = counts(&settled);
    assert_eq!(counts["ready"], PHOTOS, "{settled}");
    // What was acknowledged, or at least committed, before a kill has come twice.
    assert!(counts["duplicates"] >= acknowledged.len() as u64, "{settled}");
    assert_eq!((&settled["complete"], &settled["state"]), (&json!(true), &json!("closed")));
    let found = batch.items("&state=ready").await;
    let found: BTreeSet<_> = found.iter().map(|item| item["photo"].as_str().unwrap().to_owned()).collect();
    assert!(acknowledged.is_subset(&found));
}

#[tokio::test]
async fn a_batch_that_has_ended_takes_no_uploads() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({})).await;
    let (first, late) = (photos::photo(1, 90, 60), photos::photo(2, 90, 60));
    assert_eq!(batch.upload("a.jpg", first.clone()).await.status, StatusCode::CREATED);
    for _ in 0..2 {
        assert_eq!(batch.post("/close", "").await.json()["state"], "closed");
    }
    assert_eq!(batch.upload("late.jpg", late.clone()).await.problem(), "batch-closed");
    for _ in 0..2 {
        assert_eq!(batch.post("/cancel", "").await.json()["state"], "cancelled");
    }
    let refused = batch.upload("late.jpg", late.clone()).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::CONFLICT, "batch-cancelled"));
    assert_eq!(batch.post("/close", "").await.problem(), "batch-cancelled");
    let settled = batch.settled().await;
    assert_eq!(
        counts(&settled),
        BTreeMap::from([("received", 1), ("ready", 1)]),
        "what was acknowledged stays"
    );
    assert_eq!(settled["complete"], true);
    // A body that nobody reads: the answer comes at once, whatever is announced.
    let unknown = Batch { client: client.clone(), id: "01890000-0000-7000-8000-000000000000".to_owned() };
    let refused = unknown.upload("a.jpg", vec![0; 20_000_000]).await;
    assert_eq!((refused.status, refused.problem().as_str()), (StatusCode::NOT_FOUND, "batch-not-found"));
    for path in ["", "/items", "/events"] {
        assert_eq!(client.get(&unknown.path(path)).await.problem(), "batch-not-found", "{path}");
    }
    for path in ["/close", "/cancel", "/check"] {
        let answer = unknown.post(path, r#"{"items": []}"#).await;
        assert_eq!(answer.problem(), "batch-not-found", "{path}");
    }
    assert_eq!(client.get("/v1/batches/nonsense").await.problem(), "batch-not-found");
    let path = "/v1/photos?batch_id=nonsense";
    assert_eq!(client.send(Method::POST, path, &[], late).await.problem(), "invalid-parameter");
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn batches_and_what_they_keep_are_bounded() {
    let setup = Setup::config("[batches]\nopen_max = 2\nname_bytes_max = 5\nrefused_max = 2");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let open = |body: &'static str| {
        let client = client.clone();
        async move { client.send(Method::POST, "/v1/batches", &[], body).await }
    };
    assert_eq!(open(r#"{"name": "longer"}"#).await.problem(), "invalid-parameter");
    assert_eq!(open(r#"{"nmae": "short"}"#).await.problem(), "invalid-json");
    let batch = Batch::open(&client, &json!({"name": "short"})).await;
    assert_eq!(open("").await.status, StatusCode::CREATED, "a body is not needed");
    let refused = open("{}").await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "too-many-batches")
    );
    for _ in 0..3 {
        assert_eq!(batch.upload("notes.text", "no photo ".repeat(9000)).await.status, 415);
    }
    assert_eq!(batch.show().await["counts"]["refused"], 3);
    let items = batch.items("").await;
    assert_eq!((items.len(), &items[0]["name"]), (2, &json!("notes")));
    batch.post("/close", "").await;
    assert_eq!(open("{}").await.status, StatusCode::CREATED);
    let first = client.get("/v1/batches?limit=2").await.json();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let rest = client.get(&format!("/v1/batches?cursor={}", first["next"].as_str().unwrap())).await.json();
    assert_eq!((&rest["items"][0]["id"], &rest["next"]), (&json!(batch.id), &Value::Null));
    for path in ["/v1/batches?limit=0", "/v1/batches?cursor=x"] {
        assert_eq!(client.get(path).await.problem(), "invalid-parameter", "{path}");
    }
    assert_eq!(client.get(&batch.path("/items?state=lost")).await.problem(), "invalid-parameter");
    assert_eq!(client.delete(&batch.path("")).await.problem(), "method-not-allowed");
}

#[tokio::test]
async fn a_batch_that_nothing_happens_to_goes_and_its_photos_stay() {
    let daemon = Daemon::start_with(&Setup::config("[batches]\nkeep = '10ms'"));
    let client = daemon.client();
    let batch = Batch::open(&client, &json!({})).await;
    let answer = batch.upload("a.jpg", photos::photo(1, 90, 60)).await;
    let began = Instant::now();
    while client.get(&batch.path("")).await.status == StatusCode::OK {
        client.sweep().await;
        assert!(began.elapsed() < PATIENCE, "it never goes");
    }
    assert_eq!(client.get("/v1/batches").await.json()["items"], json!([]));
    assert_eq!(client.metric("darkroom_batches_open").await, 0.0);
    // An upload of a batch that has just gone was refused; one that was acknowledged stays.
    if answer.status.is_success() {
        assert_eq!(client.settled(answer.json()["id"].as_str().unwrap()).await["state"], "ready");
    }
}
