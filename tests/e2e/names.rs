//! What is told of the name of a photo's file, and of its batch, whichever way it came.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use darkroom_tests::{Client, Daemon, Setup, photos};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=edge");

/// A name that would turn text around, move a terminal's cursor and end a line, and what is kept of it.
const HOSTILE: &str = "photo\u{202e}gpj\u{1b}[2J\n.exe";
const HARMLESS: &str = "photo\u{fffd}gpj\u{fffd}[2J\u{fffd}.exe";

async fn open_batch(client: &Client) -> String {
    let opened = client.send(Method::POST, "/v1/batches", &[], "{}").await.json();
    opened["id"].as_str().unwrap().to_owned()
}

/// The photo that was made last, once it is settled, the same where one asks for it and in the list of all.
async fn newest(client: &Client) -> Value {
    let listed = client.get("/v1/photos?limit=1").await.json();
    let settled = client.settled(listed["items"][0]["id"].as_str().unwrap()).await;
    assert_eq!(client.get("/v1/photos?limit=1").await.json()["items"][0], settled);
    settled
}

/// A query's value with every byte escaped.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        let _ = write!(escaped, "%{byte:02x}"); // A String takes everything.
        escaped
    })
}

async fn send_raw(client: &Client, name: &str, batch: &str, photo: &Bytes) -> Value {
    let path = format!("/v1/photos?filename={}&batch_id={batch}", escaped(name));
    client.send(Method::POST, &path, &[], photo.clone()).await.json()
}

async fn send_form(client: &Client, name: &str, batch: &str, photo: &Bytes) -> Value {
    let head = format!("--edge\r\nContent-Disposition: form-data; name=\"p\"; filename=\"{name}\"\r\n\r\n");
    let body = [head.as_bytes(), photo, b"\r\n--edge--\r\n"].concat();
    let answer = client.send(Method::POST, &format!("/v1/photos?batch_id={batch}"), &[FORM], body).await;
    answer.json()["items"][0]["photo"].clone()
}

async fn send_resumable(client: &Client, name: &str, batch: &str, photo: &Bytes) -> Value {
    let metadata = format!("filename {},batch_id {}", STANDARD.encode(name), STANDARD.encode(batch));
    let length = photo.len().to_string();
    let headers = [
        ("tus-resumable", "1.0.0"),
        ("content-type", "application/offset+octet-stream"),
        ("upload-length", length.as_str()),
        ("upload-metadata", metadata.as_str()),
    ];
    let answer = client.send(Method::POST, "/v1/uploads", &headers, photo.clone()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    client.get(answer.header("location")).await.json()["photo"].clone()
}

#[tokio::test]
async fn a_photo_tells_its_name_and_its_batch_whichever_way_it_came() {
    let daemon = Daemon::start();
    let client = &daemon.client();
    let batch = open_batch(client).await;
    let is = |photo: &Value, name: &str| {
        assert_eq!((&photo["name"], &photo["batch_id"]), (&json!(name), &json!(batch)), "{photo}");
    };
    let answered = send_raw(client, "Größe 1.jpg", &batch, &photos::photo(1, 90, 60)).await;
    is(&answered, "Größe 1.jpg");
    is(&newest(client).await, "Größe 1.jpg");
    is(&send_form(client, "2.jpg", &batch, &photos::photo(2, 90, 60)).await, "2.jpg");
    is(&newest(client).await, "2.jpg");
    is(&send_resumable(client, "3.jpg", &batch, &photos::photo(3, 90, 60)).await, "3.jpg");
    is(&newest(client).await, "3.jpg");
    // The photo that was there, as it was.
    let again = send_raw(client, "again.jpg", &open_batch(client).await, &photos::photo(1, 90, 60)).await;
    assert_eq!(again["duplicate"], true);
    is(&again, "Größe 1.jpg");
    let without = client.upload_settled(&photos::photo(4, 90, 60)).await;
    let keys = without.as_object().unwrap();
    assert!(!keys.contains_key("name") && !keys.contains_key("batch_id"), "{without}");
}

#[tokio::test]
async fn hostile_and_endless_names_are_made_harmless_on_every_way_in() {
    let daemon = Daemon::start_with(&Setup::config("[batches]\nname_bytes_max = 40"));
    let client = &daemon.client();
    let batch = open_batch(client).await;
    let long = "ö".repeat(500);
    let raw = send_raw(client, HOSTILE, &batch, &photos::photo(1, 90, 60)).await;
    assert_eq!(raw["name"], HARMLESS);
    // A form's head may have no control characters: that one is refused whole.
    let form = send_form(client, "a\u{202e}b.jpg", &batch, &photos::photo(2, 90, 60)).await;
    assert_eq!(form["name"], "a\u{fffd}b.jpg");
    let resumable = send_resumable(client, HOSTILE, &batch, &photos::photo(3, 90, 60)).await;
    assert_eq!(resumable["name"], HARMLESS);
    let short = json!("ö".repeat(20));
    assert_eq!(send_raw(client, &long, &batch, &photos::photo(4, 90, 60)).await["name"], short);
    assert_eq!(send_resumable(client, &long, &batch, &photos::photo(5, 90, 60)).await["name"], short);
    let nameless = send_raw(client, "", &batch, &photos::photo(6, 90, 60)).await;
    assert!(nameless.get("name").is_none(), "{nameless}");
    send_raw(client, HOSTILE, &batch, &Bytes::from("no photo ".repeat(9000))).await;
    let items = client.get(&format!("/v1/batches/{batch}/items")).await.json();
    let names: Vec<_> = items["items"].as_array().unwrap().iter().map(|item| &item["name"]).collect();
    let (hostile, form) = (json!(HARMLESS), form["name"].clone());
    assert_eq!(names, [&hostile, &form, &hostile, &short, &short, &Value::Null, &hostile]);
}
