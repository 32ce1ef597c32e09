//! One user's page, photos with what is said of them, and albums.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use darkroom_tests::{Answer, Client, Daemon, photos};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

/// Of nobody and nothing.
const NONE: &str = "01a200fb-c08e-77b1-b3a0-d6348fccc4c2";

async fn send(client: &Client, method: Method, path: &str, body: &Value) -> Answer {
    client.send(method, path, &[], body.to_string()).await
}

async fn edited(client: &Client, path: &str, body: Value) -> Value {
    let answer = send(client, Method::PATCH, path, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
    answer.json()
}

async fn album(client: &Client, title: &str) -> String {
    let answer = send(client, Method::POST, "/v1/albums", &json!({"title": title})).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/v1/albums/{id}"));
    id
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// What is said of a photo.
fn said(photo: &Value) -> Value {
    json!([photo["title"], photo["tags"], photo["visibility"], photo["album_id"]])
}

#[tokio::test]
async fn what_is_said_of_a_photo_travels_by_every_way_in_and_can_be_changed() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let sea = album(&client, "Sea").await;
    let told = json!(["By the sea", ["sea", "sun"], "followers", sea]);
    let query = format!("title=By%20the%20sea&tags=%23Sea,SUN&visibility=followers&album_id={sea}");
    let raw =
        client.send(Method::POST, &format!("/v1/photos?{query}"), &[], photos::photo(1, 64, 48)).await.json();
    assert_eq!(said(&raw), told, "a raw body");
    let field = |name: &str, value: &str| {
        format!("--edge\r\nContent-Disposition: form-data; name={name}\r\n\r\n{value}\r\n").into_bytes()
    };
    let file = [
        b"--edge\r\nContent-Disposition: form-data; name=photo; filename=2.jpg\r\n\r\n".as_slice(),
        &photos::photo(2, 64, 48),
        b"\r\n",
    ]
    .concat();
    let form = [
        field("title", "By the sea"),
        field("tags", "sea sun"),
        field("visibility", "followers"),
        field("album_id", &sea),
        file,
        b"--edge--\r\n".to_vec(),
    ]
    .concat();
    let kind = [("content-type", "multipart/form-data; boundary=edge")];
    let answer = client.send(Method::POST, "/v1/photos", &kind, form).await.json();
    assert_eq!(said(&answer["items"][0]["photo"]), told, "a form: {answer}");
    let resumable = photos::photo(3, 64, 48);
    let metadata =
        [("title", "By the sea"), ("tags", "sea,sun"), ("visibility", "followers"), ("album_id", &sea)]
            .map(|(key, value)| format!("{key} {}", STANDARD.encode(value)))
            .join(",");
    let length = resumable.len().to_string();
    let headers = [
        ("tus-resumable", "1.0.0"),
        ("upload-length", length.as_str()),
        ("upload-metadata", metadata.as_str()),
        ("content-type", "application/offset+octet-stream"),
    ];
    let begun = client.send(Method::POST, "/v1/uploads", &headers, resumable).await;
    let third = client.get(begun.header("photo-location")).await.json();
    assert_eq!(said(&third), told, "a resumable upload: {begun:?}");
    let in_album = client.get(&format!("/v1/albums/{sea}/photos")).await.json();
    assert_eq!(in_album["items"].as_array().unwrap().len(), 3);

    let path = format!("/v1/photos/{}", raw["id"].as_str().unwrap());
    let photo = edited(&client, &path, json!({"title": null, "visibility": "public"})).await;
    assert_eq!(said(&photo), json!([null, ["sea", "sun"], "public", sea]));
    let photo = edited(&client, &path, json!({"tags": ["été"], "album_id": null})).await;
    assert_eq!(said(&photo), json!([null, ["été"], "public", null]));
    assert_eq!(said(&client.get(&path).await.json()), said(&photo));
    assert_eq!(client.get(&format!("/v1/albums/{sea}")).await.json()["photos_count"], 2);
    // What was said once is not said by a duplicate.
    let again =
        client.send(Method::POST, &format!("/v1/photos?{query}"), &[], photos::photo(1, 64, 48)).await;
    assert_eq!((again.status, said(&again.json())), (StatusCode::OK, said(&photo)));
}

#[tokio::test]
async fn what_cannot_be_said_is_refused_before_anything_is_made() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let bytes = photos::photo(1, 64, 48);
    for (query, code) in [
        (format!("album_id={NONE}"), "album-not-found"),
        ("visibility=open".to_owned(), "invalid-parameter"),
        ("tags=a-b".to_owned(), "invalid-parameter"),
        (format!("title={}", "x".repeat(201)), "invalid-parameter"),
    ] {
        let answer = client.send(Method::POST, &format!("/v1/photos?{query}"), &[], bytes.clone()).await;
        assert_eq!(answer.problem(), code, "{query}");
        let headers = [("tus-resumable", "1.0.0"), ("upload-length", "1000")];
        let answer = client.send(Method::POST, &format!("/v1/uploads?{query}"), &headers, "").await;
        assert_eq!(answer.problem(), code, "{query}, resumable");
    }
    assert!(client.all().await.is_empty());
    let photo = client.upload_settled(&bytes).await;
    let path = format!("/v1/photos/{}", photo["id"].as_str().unwrap());
    for (body, code) in [
        (json!({"album_id": NONE}), "album-not-found"),
        (json!({"tags": ["a b"]}), "invalid-parameter"),
        (json!({"visibility": "open"}), "invalid-json"),
        (json!({"name": "x"}), "invalid-json"),
    ] {
        assert_eq!(send(&client, Method::PATCH, &path, &body).await.problem(), code, "{body}");
    }
    assert_eq!(client.get(&path).await.json(), photo);
    let nothing = send(&client, Method::PATCH, &format!("/v1/photos/{NONE}"), &json!({})).await;
    assert_eq!(nothing.problem(), "photo-not-found");
}

#[tokio::test]
async fn what_is_public_may_be_kept_by_shared_caches_and_nothing_else() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = client.upload_settled(&photos::photo(1, 640, 480)).await;
    let path = format!("/v1/photos/{}", photo["id"].as_str().unwrap());
    let link = photo["variants"][2]["url"].as_str().unwrap();
    let bare = link.split('?').next().unwrap();
    let cached = async |path: &str| client.get(path).await.header("cache-control").to_owned();
    for visibility in ["inherit", "private", "followers", "public", "private"] {
        edited(&client, &path, json!({"visibility": visibility})).await;
        let whose = if visibility == "public" { "public" } else { "private" };
        assert_eq!(cached(link).await, format!("{whose}, max-age=31536000, immutable"), "{visibility}");
        assert_eq!(cached(bare).await, format!("{whose}, no-cache"), "{visibility}");
        for original in ["original", "original?strip=private"] {
            assert_eq!(cached(&format!("{path}/{original}")).await, "private, no-cache", "{visibility}");
        }
    }
    // What the owner gets is no download.
    assert_eq!(client.get(&path).await.json()["downloads_count"], 0);
}

#[tokio::test]
async fn a_user_is_found_and_says_what_they_want_of_themselves() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let me = client.get("/v1/users/me").await.json();
    let id = me["id"].as_str().unwrap();
    assert_eq!(client.get(&format!("/v1/users/{id}")).await.json(), me);
    assert_eq!(
        (&me["followers_count"], &me["posts_count"], &me["you_follow"]),
        (&json!(0), &json!(0), &Value::Null)
    );
    let photo = client.upload_settled(&photos::photo(1, 640, 480)).await;
    let said = json!({"name": "Ann", "handle": "@Ann", "bio": "a\nb", "avatar_photo_id": photo["id"]});
    let user = edited(&client, "/v1/users/me", said).await;
    assert_eq!(
        (&user["name"], &user["handle"], &user["bio"]),
        (&json!("Ann"), &json!("ann"), &json!("a\nb"))
    );
    assert_eq!((&user["avatar"]["id"], &user["avatar"]["variants"]), (&photo["id"], &photo["variants"]));
    let found = client.get("/v1/users?handle=ANN").await.json();
    assert_eq!(found, json!({"items": [user], "next": null}));
    let user = edited(&client, "/v1/users/me", json!({"handle": null, "avatar_photo_id": null})).await;
    assert_eq!(
        (&user["handle"], &user["avatar"], &user["name"]),
        (&Value::Null, &Value::Null, &json!("Ann"))
    );
    assert_eq!(client.get("/v1/users?handle=ann").await.json()["items"], json!([]));
    for (body, code) in [
        (json!({"handle": "a b"}), "invalid-parameter"),
        (json!({"name": ""}), "invalid-parameter"),
        (json!({"avatar_photo_id": NONE}), "photo-not-found"),
        (json!({"email": "a@example.org"}), "invalid-json"),
    ] {
        assert_eq!(send(&client, Method::PATCH, "/v1/users/me", &body).await.problem(), code, "{body}");
    }
    assert_eq!(client.get("/v1/users").await.problem(), "invalid-parameter");
    // Longer than a key may be, and nobody's.
    let long = client.get(&format!("/v1/users?handle={}", "x".repeat(20_000))).await;
    assert_eq!(long.json()["items"], json!([]));
    for act in ["follow", "block"] {
        for method in [Method::PUT, Method::DELETE] {
            let to = async |id: &str| {
                client.send(method.clone(), &format!("/v1/users/{id}/{act}"), &[], "").await.problem()
            };
            assert_eq!(to("me").await, "not-oneself");
            assert_eq!(to(NONE).await, "user-not-found");
            assert_eq!(to("x").await, "user-not-found");
        }
    }
    for list in ["followers", "following", "posts", "photos", "blocks"] {
        let none = format!("/v1/users/{NONE}/{list}");
        assert_eq!(client.get(&none).await.problem(), "user-not-found", "{list}");
        let mine = client.get(&format!("/v1/users/me/{list}")).await.json();
        assert_eq!(mine["items"].as_array().unwrap().len(), usize::from(list == "photos"), "{list}");
    }
}

#[tokio::test]
async fn the_photos_of_a_user_and_of_an_album_are_listed_in_pages() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let sea = album(&client, "Sea").await;
    let mut uploaded = Vec::new();
    for seed in 1..=5 {
        let path = format!("/v1/photos?album_id={sea}");
        let photo = client.send(Method::POST, &path, &[], photos::photo(seed, 64, 48)).await.json();
        uploaded.insert(0, photo["id"].as_str().unwrap().to_owned());
    }
    for list in ["/v1/users/me/photos".to_owned(), format!("/v1/albums/{sea}/photos")] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = client.get(&format!("{list}?limit=2{cursor}")).await.json();
            seen.extend(ids(&page).into_iter().map(ToOwned::to_owned));
            match page["next"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => break,
            }
        }
        assert_eq!(seen, uploaded, "{list}: the newest first, each once");
    }
}

#[tokio::test]
async fn an_album_goes_and_its_photos_stay() {
    let daemon = Daemon::start();
    let client = daemon.client();
    // Sent twice under one key it is made once.
    let (key, body) =
        ([("idempotency-key", "one")], json!({"title": "Sea", "visibility": "public"}).to_string());
    let first = client.send(Method::POST, "/v1/albums", &key, body.clone()).await;
    let again = client.send(Method::POST, "/v1/albums", &key, body).await;
    assert_eq!((first.status, first.json()), (StatusCode::CREATED, again.json()));
    let listed = client.get("/v1/albums").await.json();
    assert_eq!(listed, json!({"items": [first.json()], "next": null}));
    let sea = first.json()["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/albums/{sea}");
    let renamed = edited(&client, &path, json!({"title": "The sea"})).await;
    assert_eq!((&renamed["title"], &renamed["visibility"]), (&json!("The sea"), &json!("public")));
    for (method, body, code) in [
        (Method::POST, json!({}), "invalid-parameter"),
        (Method::POST, json!({"title": " "}), "invalid-parameter"),
        (Method::POST, json!({"title": "x", "visibility": "inherit"}), "invalid-json"),
    ] {
        assert_eq!(send(&client, method, "/v1/albums", &body).await.problem(), code, "{body}");
    }
    let photo = client.upload_settled(&photos::photo(1, 64, 48)).await;
    let photo_path = format!("/v1/photos/{}", photo["id"].as_str().unwrap());
    edited(&client, &photo_path, json!({"album_id": sea})).await;
    assert_eq!(client.get(&path).await.json()["photos_count"], 1);
    assert_eq!(client.delete(&path).await.status, StatusCode::NO_CONTENT);
    for gone in [path.clone(), format!("{path}/photos")] {
        assert_eq!(client.get(&gone).await.problem(), "album-not-found");
    }
    assert_eq!(client.delete(&path).await.problem(), "album-not-found");
    assert_eq!(send(&client, Method::PATCH, &path, &json!({})).await.problem(), "album-not-found");
    assert_eq!(client.get(&photo_path).await.json()["album_id"], Value::Null);
    client.sweep().await;
    assert_eq!(client.get(&photo_path).await.json()["state"], "ready");
    assert_eq!(client.delete(&photo_path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(
        client.send(Method::DELETE, &photo_path, &[], Bytes::new()).await.problem(),
        "photo-not-found"
    );
}
