//! Events of the bucket: the webhook and the queue.

use darkroom_test_s3::Fault;

use super::*;

/// A message as MinIO sends it.
pub(super) async fn event(client: &Client, token: &str, key: &str) -> Answer {
    let body = message(key).to_string();
    client.send(Method::POST, "/v1/hooks/s3", &[("authorization", &format!("Bearer {token}"))], body).await
}

fn message(key: &str) -> Value {
    let record = json!({
        "eventName": "s3:ObjectCreated:Put",
        "s3": { "bucket": { "name": BUCKET }, "object": { "key": key.replace(' ', "+"), "size": 1 } }
    });
    json!({ "EventName": "s3:ObjectCreated:Put", "Key": format!("{BUCKET}/{key}"), "Records": [record] })
}

#[tokio::test]
async fn an_import_is_deleted_when_whoever_told_of_it_has_hung_up() {
    let server = Server::start();
    let config =
        format!("[direct]\nwebhook_token = '{TOKEN}'\nimport_prefix = 'in/'\nimport_delete = true\n");
    let daemon = Daemon::start_with(&on(&server, &config));
    let client = daemon.client();
    server.put("in/a.jpg", &photos::photo(1, 300, 200));
    server.faults().set([Fault::Slow(Duration::from_secs(1)).on(Method::PUT, "originals/")]);
    let body = message("in/a.jpg").to_string();
    let stream = half_sent(&client, "/v1/hooks/s3", &body, body.len()).await;
    // The copy is on its way.
    server.faults().hit(1).await;
    drop(stream);
    let began = Instant::now();
    while server.objects().contains_key("in/a.jpg") {
        assert!(began.elapsed() < PATIENCE, "{:?}", server.objects());
        tokio::time::sleep(POLL).await;
    }
    assert_eq!(client.all().await.len(), 1);
}

#[tokio::test]
async fn a_message_that_cannot_be_done_holds_up_no_other_and_is_hidden_ever_longer() {
    let server = Server::start();
    let queue = queue::Queue::start().await;
    let config = format!(
        "[limits]\nstored_photos_max = 1\n[direct]\nimport_prefix = 'in/'\nsqs_queue_url = '{}'\n\
         sqs_region = 'eu-west-1'\nsqs_visibility = '33s'\n",
        queue.url()
    );
    let daemon = Daemon::start_with(&on(&server, &config));
    let client = daemon.client();
    client.upload_settled(&photos::photo(1, 300, 200)).await;
    // More than the quota, however often it is told.
    server.put("in/a.jpg", &photos::photo(2, 300, 200));
    queue.send(&message("in/a.jpg"));
    let began = Instant::now();
    for hidden in [66, 132] {
        let is_hidden = || queue.asked().iter().any(|asked| asked["VisibilityTimeout"] == hidden);
        while !is_hidden() {
            queue.show_again();
            assert!(began.elapsed() < PATIENCE, "{}", daemon.log());
            tokio::time::sleep(POLL).await;
        }
    }
    let copied = "darkroom_direct_uploads_copied_bytes_total";
    assert!(client.metric(copied).await < 1.0, "its quota is asked before the copy");
    // Those beside it are done with.
    queue.send(&message("elsewhere/b.jpg"));
    queue.left(1).await;
    daemon.stop();
}

#[tokio::test]
async fn objects_that_others_put_become_photos_once_and_forged_events_become_nothing() {
    let server = Server::start();
    let config =
        format!("[direct]\nwebhook_token = '{TOKEN}'\nimport_prefix = 'in/'\nimport_delete = true\n");
    let daemon = Daemon::start_with(&on(&server, &config));
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    server.put("in/a photo.jpg", &photo);
    server.put("in/no photo.txt", b"nothing but text");
    server.put("elsewhere/a.jpg", &photo);
    let wrong = event(&client, "another token", "in/a photo.jpg").await;
    assert_eq!(wrong.problem(), "hook-not-authentic");
    assert!(client.all().await.is_empty());

    let first = event(&client, TOKEN, "in/a photo.jpg").await;
    assert_eq!(first.json()["events"]["photos"], 1, "{first:?}");
    let all = client.all().await;
    assert_eq!(all.len(), 1);
    let id = id_of(&all[0]).to_owned();
    assert_eq!(client.settled(&id).await["state"], "ready");
    assert!(original(&client, &id).await == photo);
    assert!(!server.objects().contains_key("in/a photo.jpg"), "deleted, as configured");
    // Late, of what is gone; of no photo; of what is not ours; of nothing at all.
    for (key, what) in [
        ("in/a photo.jpg", "ignored"),
        ("in/no photo.txt", "refused"),
        ("in/no photo.txt", "refused"),
        ("elsewhere/a.jpg", "ignored"),
        ("originals/00000000-0000-7000-8000-000000000000", "ignored"),
        ("uploads/00000000-0000-7000-8000-000000000000", "ignored"),
        ("../in/a", "ignored"),
    ] {
        let answer = event(&client, TOKEN, key).await;
        assert_eq!(answer.json()["events"][what], 1, "{key}: {answer:?}");
    }
    assert_eq!(client.all().await.len(), 1);
    server.put("in/b.jpg", &photos::photo(2, 300, 200));
    event(&client, TOKEN, "in/b.jpg").await;
    assert_eq!(client.all().await.len(), 2);
}

#[tokio::test]
async fn an_import_that_is_left_in_the_bucket_is_not_imported_again_when_its_photo_is_deleted() {
    let server = Server::start();
    let config = format!("[direct]\nwebhook_token = '{TOKEN}'\nimport_prefix = 'in/'\n");
    let daemon = Daemon::start_with(&on(&server, &config));
    let client = daemon.client();
    server.put("in/a.jpg", &photos::photo(1, 300, 200));
    // A name in a bucket may have anything in it; the photo tells what is behind its folders.
    let hostile = "in/b\u{202e}\u{7}gpj.exe";
    server.put(hostile, &photos::photo(2, 300, 200));
    event(&client, TOKEN, hostile).await;
    let found = client.all().await.remove(0);
    assert_eq!(found["name"], "b\u{fffd}\u{fffd}gpj.exe");
    client.delete(&format!("/v1/photos/{}", id_of(&found))).await;
    assert_eq!(event(&client, TOKEN, "in/a.jpg").await.json()["events"]["photos"], 1);
    assert!(server.objects().contains_key("in/a.jpg"), "left, as configured");
    let id = id_of(&client.all().await[0]).to_owned();
    assert!(client.delete(&format!("/v1/photos/{id}")).await.status.is_success());
    assert_eq!(event(&client, TOKEN, "in/a.jpg").await.json()["events"]["ignored"], 1);
    assert!(client.all().await.is_empty());
}

#[tokio::test]
async fn an_event_while_the_bucket_is_away_is_to_come_again() {
    let server = Server::start();
    let config = format!("[direct]\nwebhook_token = '{TOKEN}'\n");
    let daemon = Daemon::start_with(&on(&server, &config));
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    let upload = announce(&client, &json!({ "bytes": photo.len() })).await;
    make(&upload["put"], photo).await;
    server.go().await;
    let key = format!("uploads/{}", id_of(&upload));
    let away = event(&client, TOKEN, &key).await;
    assert_eq!((away.status, &*away.problem()), (StatusCode::SERVICE_UNAVAILABLE, "store-unavailable"));
    server.come_back();
    let began = Instant::now();
    while event(&client, TOKEN, &key).await.status != StatusCode::OK {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(POLL).await;
    }
    let shown = client.get(&format!("/v1/direct-uploads/{}", id_of(&upload))).await.json();
    assert_eq!(shown["state"], "done", "{shown}");
}

#[tokio::test]
async fn a_queue_is_polled_and_what_could_not_be_done_comes_again() {
    let server = Server::start();
    let queue = queue::Queue::start().await;
    let config = format!(
        "[direct]\nimport_prefix = 'in/'\nsqs_queue_url = '{}'\nsqs_region = 'eu-west-1'\nsqs_visibility = '33s'\n",
        queue.url()
    );
    let daemon = Daemon::start_with(&on(&server, &config));
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    // Another photo: the messages are worked on side by side, and the later of two equal ones would be a duplicate.
    server.put("in/a.jpg", &photos::photo(2, 300, 200));
    let upload = announce(&client, &json!({ "bytes": photo.len() })).await;
    make(&upload["put"], photo).await;
    // As S3 sends it, as SNS passes it on, as EventBridge tells it, and what is nothing.
    queue.send(&message(&format!("uploads/{}", id_of(&upload))));
    queue.send(&json!({ "Type": "Notification", "Message": message("in/a.jpg").to_string() }));
    let bridge = json!({
        "detail-type": "Object Created",
        "detail": { "bucket": { "name": BUCKET }, "object": { "key": "elsewhere/b.jpg" } }
    });
    queue.send(&bridge);
    queue.send(&json!("nonsense"));
    queue.emptied().await;
    assert_eq!(client.all().await.len(), 2);
    assert!(
        queue
            .asked()
            .iter()
            .any(|asked| asked["VisibilityTimeout"] == 33 && asked["QueueUrl"] == queue.url())
    );

    // The bucket is away: the message stays, and is done with when it comes again.
    let upload = announce(&client, &json!({ "bytes": 500 })).await;
    let text = Bytes::from(vec![b'x'; 500]);
    make(&upload["put"], text).await;
    server.go().await;
    queue.send(&message(&format!("uploads/{}", id_of(&upload))));
    let line = r#"darkroom_bucket_events_total{outcome="later"}"#;
    let began = Instant::now();
    while client.metric(line).await < 1.0 {
        assert!(began.elapsed() < PATIENCE, "{}", daemon.log());
        tokio::time::sleep(POLL).await;
    }
    server.come_back();
    while !queue.is_empty() {
        queue.show_again();
        assert!(began.elapsed() < PATIENCE, "{}", daemon.log());
        tokio::time::sleep(POLL).await;
    }
    let shown = client.get(&format!("/v1/direct-uploads/{}", id_of(&upload))).await.json();
    assert_eq!(shown["state"], "refused", "{shown}");
    daemon.stop();
}
