//! What is refused, and how.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use darkroom_tests::{Client, Daemon, Setup};
use hyper::{Method, StatusCode};

use super::{STREAM, TUS, append_rest, create, head, offset, patch, patch_with, photo_of};

async fn begin(client: &Client, headers: &[(&str, &str)]) -> darkroom_tests::Answer {
    client.send(Method::POST, "/v1/uploads", headers, Bytes::new()).await
}

#[tokio::test]
async fn what_is_no_photo_is_refused_as_soon_as_its_bytes_show_it() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let text = b"this is no photo ".repeat(1000);
    let path = create(&client, text.len(), &[]).await;
    // A byte that says nothing yet is taken.
    assert_eq!(patch(&client, &path, 0, &text[..1]).await.status, StatusCode::NO_CONTENT);
    let refused = patch(&client, &path, 1, &text[1..500]).await;
    assert_eq!(
        (refused.status, refused.problem().as_str()),
        (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-image")
    );
    let told = client.get(&path).await.json();
    assert_eq!(told["state"], "refused");
    assert_eq!(told["problem"]["type"], "/problems/unsupported-image", "{told}");
    let gone = head(&client, &path).await;
    assert_eq!((gone.status, gone.header("upload-offset")), (StatusCode::GONE, ""));
    assert_eq!(patch(&client, &path, 1, &text[1..]).await.problem(), "unsupported-image");
    client.sweep().await;
    assert!(darkroom_tests::daemon::files(&daemon.data().join("objects/uploads")).is_empty());
}

#[tokio::test]
async fn a_photo_of_another_type_or_content_than_was_said_is_refused() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(1, 30_000);
    let metadata = format!("filetype {}", STANDARD.encode("image/png"));
    let path = create(&client, photo.len(), &[("upload-metadata", &metadata)]).await;
    assert_eq!(patch(&client, &path, 0, &photo[..20_000]).await.problem(), "type-mismatch");
    let metadata = format!("blake3 {}", STANDARD.encode(blake3::hash(b"another").to_hex().as_bytes()));
    let path = create(&client, photo.len(), &[("upload-metadata", &metadata)]).await;
    assert_eq!(patch(&client, &path, 0, &photo).await.problem(), "upload-content-mismatch");
    assert!(client.all().await.is_empty());
    let cut = create(&client, 300, &[]).await;
    assert_eq!(patch(&client, &cut, 0, &photo[..300]).await.problem(), "truncated-image");
}

#[tokio::test]
async fn requests_that_cannot_be_meant_are_refused() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let old = begin(&client, &[("tus-resumable", "0.2.2"), ("upload-length", "9")]).await;
    assert_eq!((old.status, old.header("tus-version")), (StatusCode::PRECONDITION_FAILED, "1.0.0"));
    assert_eq!(old.header("tus-resumable"), "1.0.0");
    for (headers, code) in [
        (vec![], "invalid-header"),
        (vec![("upload-length", "-1")], "invalid-header"),
        (vec![("upload-length", "9"), ("upload-defer-length", "1")], "invalid-header"),
        (vec![("upload-defer-length", "2")], "invalid-header"),
        (vec![("upload-length", "9"), ("upload-metadata", "a !!")], "invalid-header"),
        (vec![("upload-length", "9"), ("upload-metadata", "batch_id bm8=")], "invalid-parameter"),
        (vec![("upload-length", "9"), ("upload-concat", "half")], "invalid-header"),
        (vec![("upload-length", "0")], "empty-image"),
        (vec![("upload-length", "99999999999")], "body-too-large"),
    ] {
        let headers = [vec![TUS], headers].concat();
        assert_eq!(begin(&client, &headers).await.problem(), code, "{headers:?}");
    }
    let long = format!("a {}", STANDARD.encode(vec![7; 9000]));
    let headers = [TUS, ("upload-length", "9"), ("upload-metadata", &long)];
    assert_eq!(begin(&client, &headers).await.problem(), "invalid-header");

    let path = create(&client, 100, &[]).await;
    let send = |method, headers: Vec<(&'static str, &'static str)>, bytes: usize| {
        let (client, path) = (client.clone(), path.clone());
        async move { client.send(method, &path, &headers, vec![0xFF; bytes]).await }
    };
    let offset_0 = ("upload-offset", "0");
    assert_eq!(send(Method::PATCH, vec![TUS, offset_0], 9).await.problem(), "upload-content-type");
    assert_eq!(send(Method::PATCH, vec![TUS, STREAM], 9).await.problem(), "invalid-header");
    assert_eq!(send(Method::PATCH, vec![STREAM, offset_0], 9).await.problem(), "tus-version-unsupported");
    assert_eq!(
        send(Method::PATCH, vec![TUS, STREAM, offset_0], 101).await.problem(),
        "upload-length-exceeded"
    );
    assert_eq!(send(Method::PUT, vec![TUS], 9).await.problem(), "method-not-allowed");
    let other = patch(&client, &path, 7, b"bytes").await;
    assert_eq!((other.problem().as_str(), other.header("upload-offset")), ("upload-offset-mismatch", "0"));
    let longer = patch_with(&client, &path, 0, b"bytes", &[("upload-length", "101")]).await;
    assert_eq!(longer.problem(), "upload-length-mismatch");
    assert_eq!(offset(&client, &path).await, 0, "nothing of all that was kept");
    let nobodys = "/v1/uploads/00000000-0000-7000-8000-000000000000";
    assert_eq!(patch(&client, nobodys, 0, b"bytes").await.problem(), "upload-not-found");
    assert_eq!(head(&client, nobodys).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn limits_on_what_is_open_are_kept() {
    let limits = "[uploads]\nopen_per_owner_max = 2\npiece = '1 MiB'\npieces_max = 16";
    let daemon = Daemon::start_with(&Setup::config(limits));
    let client = daemon.client();
    let photo = photo_of(2, 18 << 20);
    let path = create(&client, photo.len(), &[]).await;
    let other = create(&client, 100, &[]).await;
    let third = begin(&client, &[TUS, ("upload-length", "100")]).await;
    assert_eq!(
        (third.status, third.problem().as_str()),
        (StatusCode::TOO_MANY_REQUESTS, "too-many-open-uploads")
    );
    assert_eq!(third.header("retry-after"), "60");
    client.delete(&other).await;
    create(&client, 100, &[]).await;
    let many = patch(&client, &path, 0, &photo).await;
    assert_eq!(
        (many.status, many.problem().as_str()),
        (StatusCode::PAYLOAD_TOO_LARGE, "upload-too-fragmented")
    );
    assert_eq!(many.header("upload-offset"), (16 << 20).to_string(), "all that was kept is told");
    assert_eq!(client.metric("darkroom_upload_open").await, 2.0);
    assert_eq!(client.metric("darkroom_upload_open_bytes").await, f64::from(16 << 20));

    let daemon = Daemon::start_with(&Setup::config("[uploads]\nopen_max = 1\nbytes_max = '1 KiB'"));
    let client = daemon.client();
    let photo = photo_of(3, 30_000);
    let path = create(&client, photo.len(), &[]).await;
    assert_eq!(begin(&client, &[TUS, ("upload-length", "100")]).await.problem(), "uploads-full");
    assert_eq!(patch(&client, &path, 0, &photo[..2000]).await.status, StatusCode::NO_CONTENT);
    // What has begun goes on, however full it is.
    append_rest(&client, &path, &photo, 2000, photo.len()).await;
    assert_eq!(client.metric("darkroom_upload_reserved_bytes").await, 0.0);

    let daemon = Daemon::start_with(&Setup::config("[uploads]\nbytes_per_owner_max = '1 KiB'"));
    let client = daemon.client();
    let path = create(&client, 2000, &[]).await;
    let over = begin(&client, &[TUS, ("upload-length", "100")]).await;
    assert_eq!(over.problem(), "too-many-open-uploads", "{over:?}");
    client.delete(&path).await;
    create(&client, 100, &[]).await;
}

#[tokio::test]
async fn a_long_name_is_kept_as_far_as_that_of_any_photo() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(4, 30_000);
    let name = "n".repeat(5000);
    let headers = [
        ("upload-draft-interop-version", "8"),
        ("upload-complete", "?1"),
        ("content-type", &format!("image/jpeg; a={name}")),
    ];
    let path = format!("/v1/uploads?filename={name}");
    let answer = client.send(Method::POST, &path, &headers, photo.clone()).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let told = client.get(answer.header("location")).await.json();
    assert_eq!(told["filename"].as_str().map(str::len), Some(255), "{told}");
}

#[tokio::test]
async fn an_upload_that_never_gets_a_byte_goes_sooner() {
    let daemon = Daemon::start_with(&Setup::config("[uploads]\nexpire_empty = '1s'"));
    let client = daemon.client();
    let (empty, begun) = (create(&client, 100, &[]).await, create(&client, 100, &[]).await);
    assert_eq!(patch(&client, &begun, 0, &[0xFF]).await.status, StatusCode::NO_CONTENT);
    let is_gone = async || {
        client.sweep().await;
        client.get(&empty).await.status == StatusCode::NOT_FOUND
    };
    darkroom_tests::eventually("it has gone", is_gone).await;
    assert_eq!(offset(&client, &begun).await, 1);
}
