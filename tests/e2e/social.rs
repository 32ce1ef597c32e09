//! Several people: what they publish, who sees it, what they are told, what they write to each other.

use bytes::Bytes;
use darkroom_tests::{Client, Daemon, photos};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::identity::{setup, somebody};

/// A post of a new photo that is ready; its id, and the photo's.
async fn publish(client: &Client, seed: u64, visibility: &str) -> (String, String) {
    let photo = client.upload_settled(&photos::photo(seed, 80, 60)).await["id"].as_str().unwrap().to_owned();
    let wanted = json!({"photo_ids": [photo], "caption": "A #Harbour", "visibility": visibility});
    let post = client.post("/v1/posts", &wanted).await;
    assert_eq!(post.status, StatusCode::CREATED, "{post:?}");
    (post.json()["id"].as_str().unwrap().to_owned(), photo)
}

/// The ids of a list's items, over all of its pages.
async fn ids(client: &Client, path: &str) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = client.get(&format!("{path}?limit=3{cursor}")).await;
        assert_eq!(page.status, StatusCode::OK, "{path}: {page:?}");
        let page = page.json();
        ids.extend(
            page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return ids,
        }
    }
}

#[tokio::test]
async fn each_sees_what_is_for_them_on_every_path_and_it_ends_at_once() {
    let daemon = Daemon::start_with(&setup(""));
    let (ann, ann_id) = somebody(&daemon.client(), "Ann").await;
    let (fay, fay_id) = somebody(&daemon.client(), "Fay").await;
    let (sam, _) = somebody(&daemon.client(), "Sam").await;
    let (bea, bea_id) = somebody(&daemon.client(), "Bea").await;
    let nobody = daemon.client();
    assert_eq!(fay.put(&format!("/v1/users/{ann_id}/follow")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(bea.put(&format!("/v1/users/{ann_id}/follow")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ann.put(&format!("/v1/users/{bea_id}/block")).await.status, StatusCode::NO_CONTENT);
    let viewers = [("Ann", &ann), ("Fay", &fay), ("Sam", &sam), ("Bea", &bea), ("nobody", &nobody)];
    let rows = [
        ("private", [true, false, false, false, false]),
        ("followers", [true, true, false, false, false]),
        ("public", [true, true, true, false, true]),
    ];
    for (seed, (visibility, expected)) in (1..).zip(rows) {
        let (post, photo) = publish(&ann, seed, visibility).await;
        let reached = async || ids(&fay, "/v1/feed").await.contains(&post) == expected[1];
        darkroom_tests::eventually("the post is in the follower's timeline", reached).await;
        for ((name, viewer), sees) in viewers.iter().zip(expected) {
            let what = format!("{name} of a {visibility} post");
            let status = if sees { StatusCode::OK } else { StatusCode::NOT_FOUND };
            for path in [
                format!("/v1/posts/{post}"),
                format!("/v1/posts/{post}/comments"),
                format!("/v1/posts/{post}/likes"),
                format!("/v1/photos/{photo}"),
                format!("/v1/photos/{photo}/variants/thumb"),
                format!("/v1/photos/{photo}/original?strip=private"),
            ] {
                assert_eq!(viewer.get(&path).await.status, status, "{what}: {path}");
            }
            if *name != "Bea" {
                let listed = ids(viewer, &format!("/v1/users/{ann_id}/posts")).await;
                assert_eq!(listed.contains(&post), sees, "{what}: profile");
                let listed = ids(viewer, &format!("/v1/users/{ann_id}/photos")).await;
                assert_eq!(listed.contains(&photo), sees, "{what}: photos of the profile");
            }
            // What is private is found by its author in their own list, and not by its tags.
            let tagged = ids(viewer, "/v1/tags/harbour/posts").await.contains(&post);
            assert_eq!(tagged, sees && visibility != "private", "{what}: tag");
            if *name != "nobody" {
                let listed = ids(viewer, "/v1/feed").await.contains(&post);
                assert_eq!(listed, sees && (*name == "Ann" || *name == "Fay"), "{what}: timeline");
            }
        }
        // Narrowing the photo hides it in the post at once, and a block everything.
        let narrowed = ann
            .send_json(Method::PATCH, &format!("/v1/photos/{photo}"), &json!({"visibility": "private"}))
            .await;
        assert_eq!(narrowed.status, StatusCode::OK, "{narrowed:?}");
        if expected[1] {
            assert_eq!(fay.get(&format!("/v1/posts/{post}")).await.json()["photos"], json!([]));
        }
        assert_eq!(fay.get(&format!("/v1/photos/{photo}")).await.problem(), "photo-not-found");
        assert_eq!(
            nobody.get(&format!("/v1/photos/{photo}/variants/thumb")).await.problem(),
            "photo-not-found"
        );
    }
    assert_eq!(bea.get(&format!("/v1/users/{ann_id}")).await.problem(), "user-not-found");
    assert_eq!(ann.put(&format!("/v1/users/{fay_id}/block")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ids(&fay, "/v1/feed").await, [""; 0]);
    assert_eq!(fay.get("/v1/users/me").await.json()["following_count"], 0);
    // A post that is deleted is gone for its author as well.
    let own = ids(&ann, "/v1/feed").await;
    assert_eq!(own.len(), 3);
    assert_eq!(ann.delete(&format!("/v1/posts/{}", own[0])).await.status, StatusCode::NO_CONTENT);
    assert_eq!(ids(&ann, "/v1/feed").await, own[1..]);
}

#[tokio::test]
async fn likes_comments_and_follows_are_counted_and_a_public_post_trends() {
    let daemon = Daemon::start_with(&setup(""));
    let (ann, ann_id) = somebody(&daemon.client(), "Ann").await;
    let (bob, _) = somebody(&daemon.client(), "Bob").await;
    let (post, _) = publish(&ann, 1, "public").await;
    let path = format!("/v1/posts/{post}");
    for _ in 0..2 {
        let like = bob.send_json(Method::PUT, &format!("{path}/like"), &json!({"kind": "love"})).await;
        assert!(like.status.is_success(), "{like:?}");
    }
    let comment = bob.post(&format!("{path}/comments"), &json!({"text": "What a light!"})).await;
    assert_eq!(comment.status, StatusCode::CREATED, "{comment:?}");
    let shared =
        bob.post(&format!("{path}/share"), &json!({"caption": "look", "visibility": "public"})).await;
    assert_eq!(shared.status, StatusCode::CREATED, "{shared:?}");
    let seen = bob.get(&path).await.json();
    assert_eq!(
        (&seen["likes_count"], &seen["comments_count"], &seen["shares_count"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(bob.put(&format!("/v1/users/{ann_id}/follow")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(daemon.client().get(&format!("/v1/users/{ann_id}")).await.json()["followers_count"], 1);
    let trends = async || ids(&daemon.client(), "/v1/trending/posts").await.contains(&post);
    darkroom_tests::eventually("the post trends", trends).await;
    assert!(bob.delete(&format!("{path}/like")).await.status.is_success());
    assert_eq!(bob.get(&path).await.json()["likes_count"], 0);
}

/// A stream of events, read as it comes.
struct Events {
    body: Incoming,
    text: String,
    connection: AbortHandle,
}

impl Drop for Events {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Events {
    async fn follow(client: &Client, headers: &[(&str, &str)]) -> Self {
        let stream = TcpStream::connect(client.address()).await.unwrap();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let connection = tokio::spawn(async move {
            let _ = connection.await;
        })
        .abort_handle();
        let request: Request<Full<Bytes>> = client.request(Method::GET, "/v1/events", headers, Bytes::new());
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        // The connection lasts as long as its body.
        Self { body: answer.into_body(), text: String::new(), connection }
    }

    /// The next event of this name: its data and its id.
    async fn next(&mut self, name: &str) -> (Value, String) {
        loop {
            if let Some((event, rest)) = self.text.clone().split_once("\n\n") {
                rest.clone_into(&mut self.text);
                let field = |name: &str| {
                    event
                        .lines()
                        .find_map(|line| line.strip_prefix(&format!("{name}: ")).map(ToOwned::to_owned))
                };
                if field("event").as_deref() == Some(name) {
                    return (serde_json::from_str(&field("data").unwrap()).unwrap(), field("id").unwrap());
                }
                continue;
            }
            let frame = self.body.frame().await.expect("the stream goes on").unwrap();
            self.text += std::str::from_utf8(&frame.into_data().unwrap()).unwrap();
        }
    }
}

#[tokio::test]
async fn people_are_told_what_concerns_them_and_what_happened_while_they_were_away() {
    let daemon = Daemon::start_with(&setup(""));
    let (ann, ann_id) = somebody(&daemon.client(), "Ann").await;
    let (bob, bob_id) = somebody(&daemon.client(), "Bob").await;
    assert_eq!(daemon.client().get("/v1/events").await.problem(), "unauthenticated");
    let mut to_ann = Events::follow(&ann, &[]).await;
    assert_eq!(bob.put(&format!("/v1/users/{ann_id}/follow")).await.status, StatusCode::NO_CONTENT);
    let (followed, _) = to_ann.next("user.followed").await;
    assert_eq!(followed["user_id"], json!(bob_id));
    let mut to_bob = Events::follow(&bob, &[]).await;
    let (post, photo) = publish(&ann, 1, "followers").await;
    let (ready, _) = to_ann.next("photo.ready").await;
    assert_eq!(ready["photo_id"], json!(photo));
    let (published, last) = to_bob.next("post.published").await;
    assert_eq!((&published["post_id"], &published["author_id"]), (&json!(post), &json!(ann_id)));
    drop(to_bob);
    let (while_away, _) = publish(&ann, 2, "followers").await;
    let (hidden, _) = publish(&ann, 3, "private").await;
    let mut again = Events::follow(&bob, &[("last-event-id", &last)]).await;
    let (published, _) = again.next("post.published").await;
    assert_eq!(published["post_id"], json!(while_away));
    let (after, _) = publish(&ann, 4, "followers").await;
    let (published, _) = again.next("post.published").await;
    assert_eq!(published["post_id"], json!(after), "{hidden} is not for others");
    let bad = bob.get_with("/v1/events", &[("last-event-id", "nonsense")]).await;
    assert_eq!(bad.problem(), "invalid-header");
}

#[tokio::test]
async fn two_people_write_to_each_other_and_know_what_they_have_not_read() {
    let daemon = Daemon::start_with(&setup(""));
    let (ann, ann_id) = somebody(&daemon.client(), "Ann").await;
    let (bob, bob_id) = somebody(&daemon.client(), "Bob").await;
    let (cid, _) = somebody(&daemon.client(), "Cid").await;
    let mut to_bob = Events::follow(&bob, &[]).await;
    let begun = ann.post("/v1/conversations", &json!({"user_id": bob_id})).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    let same = bob.post("/v1/conversations", &json!({"user_id": ann_id})).await;
    assert_eq!((same.status, &same.json()["id"]), (StatusCode::OK, &begun.json()["id"]));
    let path = format!("/v1/conversations/{}", begun.json()["id"].as_str().unwrap());
    let key = [("content-type", "application/json"), ("idempotency-key", "\"hello-1\"")];
    for _ in 0..2 {
        let said = ann.send(Method::POST, &format!("{path}/messages"), &key, r#"{"text": "hello"}"#).await;
        assert_eq!((said.status, &said.json()["number"]), (StatusCode::CREATED, &json!(1)), "{said:?}");
    }
    let (sent, _) = to_bob.next("message.sent").await;
    assert_eq!(sent["from"], json!(ann_id));
    assert_eq!(bob.get("/v1/conversations/unread").await.json(), json!({"unread_count": 1}));
    let seen = bob.get("/v1/conversations").await.json();
    assert_eq!(seen["items"][0]["last_message"]["text"], "hello");
    assert_eq!(seen["items"][0]["with"]["name"], "Ann");
    let read = bob.send_json(Method::PUT, &format!("{path}/read"), &json!({"up_to": 1})).await.json();
    assert_eq!(read["unread_count"], 0);
    assert_eq!(ann.get(&path).await.json()["read_by_other"], 1);
    for (client, problem) in [(&cid, "conversation-not-found"), (&daemon.client(), "unauthenticated")] {
        assert_eq!(client.get(&format!("{path}/messages")).await.problem(), problem);
    }
    let message =
        bob.get(&format!("{path}/messages")).await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let delete = format!("{path}/messages/{message}");
    assert_eq!(bob.delete(&delete).await.problem(), "message-not-found");
    assert_eq!(ann.delete(&delete).await.status, StatusCode::NO_CONTENT);
    assert_eq!(bob.get(&format!("{path}/messages")).await.json()["items"][0]["text"], Value::Null);
    assert_eq!(bob.put(&format!("/v1/users/{ann_id}/block")).await.status, StatusCode::NO_CONTENT);
    let said = ann.post(&format!("{path}/messages"), &json!({"text": "are you there?"})).await;
    assert_eq!(said.problem(), "conversation-not-found");
    assert_eq!(ann.get("/v1/conversations").await.json()["items"], json!([]));
}
