//! Posts, likes, comments and shares, as far as one user can tell.

use std::time::Duration;

use darkroom_tests::photos::photo;
use darkroom_tests::{Answer, Client, Daemon};
use futures_util::future::join_all;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

/// Sends JSON, and answers with what came back.
async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    client.send(method, path, &[], body.to_string()).await
}

async fn post(client: &Client, path: &str, body: &Value) -> Value {
    let answer = send(client, Method::POST, path, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    assert!(answer.header("location").starts_with("/v1/posts/"), "{answer:?}");
    answer.json()
}

/// The id of a photo that is ready.
async fn ready(client: &Client, seed: u64) -> String {
    let photo = client.upload_settled(&photo(seed, 64, 48)).await;
    assert_eq!(photo["state"], "ready", "{photo}");
    photo["id"].as_str().unwrap().to_owned()
}

/// A public post with a photo of its own: its path.
async fn published(client: &Client, seed: u64) -> String {
    let photo = ready(client, seed).await;
    let body = json!({"photo_ids": [photo], "caption": "A #Post", "visibility": "public"});
    path_of(&post(client, "/v1/posts", &body).await)
}

fn path_of(post: &Value) -> String {
    format!("/v1/posts/{}", post["id"].as_str().unwrap())
}

/// All items of a list, by pages of three.
async fn items(client: &Client, path: &str) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let separator = if path.contains('?') { '&' } else { '?' };
        let page = client.get(&format!("{path}{separator}limit=3{cursor}")).await.json();
        items.extend(page["items"].as_array().unwrap_or_else(|| panic!("{page}")).iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return items,
        }
    }
}

#[tokio::test]
async fn a_post_shows_its_photos_is_changed_and_goes_without_them() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let (one, two) = (ready(&client, 1).await, ready(&client, 2).await);
    let wanted = json!({"photo_ids": [one, two], "caption": "By the #Sea, ＃海"});
    let made = post(&client, "/v1/posts", &wanted).await;
    let path = path_of(&made);
    assert_eq!((&made["state"], &made["visibility"]), (&json!("published"), &json!("followers")));
    assert_eq!(made["tags"], json!(["sea", "海"]));
    assert_eq!((&made["photos"][0]["id"], &made["photos"][1]["id"]), (&json!(one), &json!(two)));
    assert_eq!((&made["likes_count"], &made["liked"]), (&json!(0), &Value::Null));
    assert!(made.get("shared").is_none() && made["published_at"].is_string(), "{made}");
    assert_eq!(client.get(&path).await.json(), made);

    let change = json!({"photo_ids": [two], "caption": "Only #one", "visibility": "public"});
    let changed = send(&client, Method::PATCH, &path, &change).await.json();
    assert_eq!((&changed["tags"], &changed["visibility"]), (&json!(["one"]), &json!("public")));
    assert_eq!(changed["photos"].as_array().unwrap().len(), 1);
    assert!(changed["edited_at"].is_string());

    // A photo that is deleted takes the post with it that shows no other.
    assert_eq!(client.delete(&format!("/v1/photos/{two}")).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&path).await.problem(), "post-not-found");
    let again = path_of(&post(&client, "/v1/posts", &json!({"photo_ids": [one]})).await);
    assert_eq!(client.delete(&again).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.delete(&again).await.problem(), "post-not-found");
    assert_eq!(client.get(&format!("/v1/photos/{one}")).await.status, StatusCode::OK);
}

#[tokio::test]
async fn what_cannot_be_posted_is_refused_by_name() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = ready(&client, 1).await;
    let path = published(&client, 2).await;
    let nobody = "01a200fb-c08e-77b1-b3a0-d6348fccc4c2";
    let long = "x".repeat(2201);
    let (comments, like) = (format!("{path}/comments"), format!("{path}/like"));
    for (method, path, body, problem) in [
        (Method::POST, "/v1/posts", json!({}), "invalid-post-photos"),
        (Method::POST, "/v1/posts", json!({"photo_ids": [photo, photo]}), "invalid-post-photos"),
        (Method::POST, "/v1/posts", json!({"photo_ids": [nobody]}), "photo-not-found"),
        (Method::POST, "/v1/posts", json!({"photo_ids": ["x"]}), "invalid-json"),
        (Method::POST, "/v1/posts", json!({"photo_ids": [photo], "caption": long}), "invalid-text"),
        (Method::POST, "/v1/posts", json!({"photo_ids": [photo], "visibility": "all"}), "invalid-json"),
        (Method::POST, "/v1/posts", json!({"shared_post_id": nobody}), "post-not-found"),
        (Method::PATCH, &path, json!({"photo_ids": []}), "invalid-post-photos"),
        (Method::PATCH, &path, json!({"photo_ids": [photo]}), "invalid-post-photos"),
        (Method::PUT, &like, json!({"kind": "adore"}), "invalid-json"),
        (Method::PUT, "/v1/posts/none/like", json!({}), "post-not-found"),
        (Method::POST, &comments, json!({"text": "  "}), "invalid-text"),
        (Method::POST, &comments, json!({"text": "a", "reply_to": nobody}), "comment-not-found"),
        (Method::GET, "/v1/posts", json!({}), "method-not-allowed"),
        (Method::GET, "/v1/posts?x=1", json!({}), "method-not-allowed"),
    ] {
        let answer = send(&client, method.clone(), path, &body).await;
        assert_eq!(answer.problem(), problem, "{method} {path} {body}");
    }
    assert_eq!(client.get(&format!("{comments}?limit=0")).await.problem(), "invalid-parameter");
    assert_eq!(client.get(&format!("{comments}?reply_to={nobody}")).await.problem(), "comment-not-found");
}

#[tokio::test]
async fn a_post_and_a_comment_are_made_once_under_a_key() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let body = json!({"photo_ids": [ready(&client, 1).await], "visibility": "public"}).to_string();
    let keyed = async |path: &str, key: &str, body: &str| {
        client.send(Method::POST, path, &[("idempotency-key", key)], body.to_owned()).await
    };
    let first = keyed("/v1/posts", "one", &body).await;
    let again = keyed("/v1/posts", "one", &body).await;
    assert_eq!((first.status, again.status), (StatusCode::CREATED, StatusCode::CREATED));
    assert_eq!(first.json(), again.json());
    assert_eq!(keyed("/v1/posts", "one", r#"{"photo_ids": []}"#).await.problem(), "invalid-post-photos");
    let other = body.replace("public", "private");
    assert_eq!(keyed("/v1/posts", "one", &other).await.problem(), "idempotency-key-reused");

    let path = path_of(&first.json());
    let comments = format!("{path}/comments");
    let comment = keyed(&comments, "two", r#"{"text": "Once"}"#).await.json();
    assert_eq!(keyed(&comments, "two", r#"{"text": "Once"}"#).await.json(), comment);
    let share = keyed(&format!("{path}/share"), "three", "{}").await.json();
    assert_eq!(keyed(&format!("{path}/share"), "three", "{}").await.json()["id"], share["id"]);
    let post = client.get(&path).await.json();
    assert_eq!((&post["comments_count"], &post["shares_count"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_post_is_liked_in_one_way_at_a_time() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let path = published(&client, 1).await;
    let like = format!("{path}/like");
    let plain = client.send(Method::PUT, &like, &[], "").await.json();
    assert_eq!((&plain["liked"], &plain["likes_count"]), (&json!("like"), &json!(1)));
    for _ in 0..2 {
        let liked = send(&client, Method::PUT, &like, &json!({"kind": "love"})).await.json();
        let kinds = json!({"like": 0, "love": 1, "laugh": 0, "angry": 0});
        assert_eq!((&liked["likes_count"], &liked["likes_by_kind"]), (&json!(1), &kinds));
    }
    let likes = items(&client, &format!("{path}/likes")).await;
    assert_eq!(
        (likes.len(), &likes[0]["kind"], &likes[0]["user"]["name"]),
        (1, &json!("love"), &json!("open"))
    );
    assert_eq!(client.get(&path).await.json()["liked"], "love");
    for _ in 0..2 {
        assert_eq!(client.delete(&like).await.status, StatusCode::NO_CONTENT);
    }
    let post = client.get(&path).await.json();
    assert_eq!((&post["likes_count"], &post["liked"]), (&json!(0), &Value::Null));
}

#[tokio::test]
async fn comments_have_replies_and_take_them_along() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let path = published(&client, 1).await;
    let comments = format!("{path}/comments");
    let mut written = Vec::new();
    for number in 0..5 {
        written.push(post(&client, &comments, &json!({"text": format!("Comment {number}")})).await);
    }
    let parent = written[1]["id"].clone();
    let mut replies = Vec::new();
    for number in 0..4 {
        let reply = json!({"text": format!("Reply {number}"), "reply_to": parent});
        replies.push(post(&client, &comments, &reply).await);
    }
    let listed = items(&client, &comments).await;
    assert_eq!(listed.len(), 5);
    assert_eq!((&listed[0]["replies_count"], &listed[0]["replies"]), (&json!(0), &json!([])));
    assert_eq!((&listed[1]["replies_count"], &listed[1]["replies"]), (&json!(4), &json!(replies[..3])));
    let parent_text = parent.as_str().unwrap();
    assert_eq!(items(&client, &format!("{comments}?reply_to={parent_text}")).await, replies);
    let reply = format!("{comments}/{}", replies[0]["id"].as_str().unwrap());
    assert_eq!(client.get(&reply).await.json(), replies[0]);

    let nested = json!({"text": "Deeper", "reply_to": replies[0]["id"]});
    let refused = send(&client, Method::POST, &comments, &nested).await;
    assert_eq!((refused.problem(), &refused.json()["reply_to"]), ("reply-to-reply".to_owned(), &parent));
    assert_eq!(client.get(&path).await.json()["comments_count"], 9);
    let deleted = client.delete(&format!("{comments}/{parent_text}")).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&reply).await.problem(), "comment-not-found");
    assert_eq!(client.get(&path).await.json()["comments_count"], 4);
    assert_eq!(client.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&comments).await.problem(), "post-not-found");
}

#[tokio::test]
async fn a_share_shows_the_original_as_long_as_that_is_there() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let path = published(&client, 1).await;
    let share = post(&client, &format!("{path}/share"), &json!({"caption": "Look"})).await;
    assert_eq!(share["shared"]["id"], client.get(&path).await.json()["id"]);
    assert_eq!((&share["photos"], &share["shared"]["shares_count"]), (&json!([]), &json!(1)));
    let body = json!({"shared_post_id": share["id"], "visibility": "public"});
    let second = post(&client, "/v1/posts", &body).await;
    assert_eq!(second["shared"]["id"], share["shared"]["id"]);
    assert_eq!(client.delete(&path_of(&share)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(client.get(&path).await.json()["shares_count"], 1);
    client.delete(&path).await;
    let left = client.get(&path_of(&second)).await.json();
    assert!(left.as_object().unwrap().contains_key("shared") && left["shared"].is_null(), "{left}");
}

#[tokio::test]
async fn a_photo_is_published_with_its_upload_once() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let bytes = photo(1, 64, 48);
    let path = "/v1/photos?publish=public&caption=At%20%23once";
    let first = client.send(Method::POST, path, &[], bytes.clone()).await;
    assert_eq!(first.status, StatusCode::CREATED, "{first:?}");
    let id = first.json()["id"].clone();
    let post = client.get(&format!("/v1/posts/{}", id.as_str().unwrap())).await.json();
    assert_eq!((&post["photos"][0]["id"], &post["visibility"]), (&id, &json!("public")), "{post}");
    assert_eq!((&post["caption"], &post["tags"]), (&json!("At #once"), &json!(["once"])));
    // Sent again, as after an answer that was lost, it is the same photo and the same post.
    let again = client.send(Method::POST, path, &[], bytes).await;
    assert_eq!((again.status, &again.json()["id"]), (StatusCode::OK, &id));

    let form = "--b\r\nContent-Disposition: form-data; name=\"publish\"\r\n\r\nfollowers\r\n--b\r\n\
                Content-Disposition: form-data; name=\"caption\"\r\n\r\nIn a #form\r\n--b\r\n\
                Content-Disposition: form-data; name=\"f\"; filename=\"a.jpg\"\r\n\r\n";
    let body = [form.as_bytes(), &photo(2, 64, 48), b"\r\n--b--\r\n"].concat();
    let multipart = [("content-type", "multipart/form-data; boundary=b")];
    let items = client.send(Method::POST, "/v1/photos", &multipart, body).await.json();
    let id = items["items"][0]["photo"]["id"].as_str().unwrap_or_else(|| panic!("{items}"));
    let post = client.get(&format!("/v1/posts/{id}")).await.json();
    assert_eq!((&post["tags"], &post["visibility"]), (&json!(["form"]), &json!("followers")));

    for (query, problem) in [
        ("publish=all", "invalid-parameter"),
        ("caption=alone", "invalid-parameter"),
        (&*format!("publish=public&caption={}", "x".repeat(2201)), "invalid-text"),
    ] {
        let refused = client.send(Method::POST, &format!("/v1/photos?{query}"), &[], photo(3, 8, 8)).await;
        assert_eq!(refused.problem(), problem, "{query}");
    }
    assert_eq!(client.all().await.len(), 2, "what is refused leaves no photo");
}

#[tokio::test]
async fn counts_are_those_of_the_rows_after_a_kill() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let path = published(&client, 1).await;
    let comments = format!("{path}/comments");
    let writers = (0..16).map(|number| {
        let (client, path, comments) = (client.clone(), path.clone(), comments.clone());
        tokio::spawn(async move {
            let (mut acknowledged, mut round) = (Vec::new(), 0);
            loop {
                let body = json!({"text": format!("{number} {round}")}).to_string();
                let request = client.request(Method::POST, &comments, &[], body.into());
                let Ok(answer) = client.try_send(request).await else { return acknowledged };
                assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
                acknowledged.push(answer.json()["id"].clone());
                let method = if round % 2 == 0 { Method::PUT } else { Method::DELETE };
                let request = client.request(method, &format!("{path}/like"), &[], "".into());
                if client.try_send(request).await.is_err() {
                    return acknowledged;
                }
                round += 1;
            }
        })
    });
    let writers: Vec<_> = writers.collect();
    while client.get(&path).await.json()["comments_count"].as_u64().unwrap() < 50 {
        tokio::time::sleep(Duration::from_millis(20)).await; // Polling for the condition.
    }
    let home = daemon.kill();
    let acknowledged: Vec<Value> = join_all(writers).await.into_iter().flat_map(Result::unwrap).collect();
    let daemon = Daemon::start_on(home, &darkroom_tests::Setup::default());
    let client = daemon.client();
    let listed = items(&client, &comments).await;
    let post = client.get(&path).await.json();
    assert_eq!(post["comments_count"], listed.len());
    assert!(acknowledged.iter().all(|id| listed.iter().any(|comment| comment["id"] == *id)));
    let likes = items(&client, &format!("{path}/likes")).await;
    assert_eq!(post["likes_count"], likes.len());
    assert_eq!(post["liked"].is_string(), !likes.is_empty());
}
