//! Creation, offsets, and the photo at the end.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use darkroom_tests::{Daemon, Setup, photos};
use hyper::{Method, StatusCode};

use super::{STREAM, TUS, append_rest, became, create, head, offset, patch, photo_of};

#[tokio::test]
async fn a_photo_comes_in_many_requests_and_is_what_was_sent() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(1, 300_000);
    let metadata =
        format!("filename {},filetype {}", STANDARD.encode("a b.jpg"), STANDARD.encode("image/jpeg"));
    let path = create(&client, photo.len(), &[("upload-metadata", &metadata)]).await;
    assert_eq!(offset(&client, &path).await, 0);
    let first = patch(&client, &path, 0, &photo[..100_000]).await;
    assert_eq!((first.status, first.header("upload-offset")), (StatusCode::NO_CONTENT, "100000"));
    assert!(!first.header("upload-expires").is_empty());
    let stands = head(&client, &path).await;
    assert_eq!(stands.header("upload-offset"), "100000");
    assert_eq!(stands.header("upload-length"), photo.len().to_string());
    assert_eq!(stands.header("upload-metadata"), metadata);
    let open = client.get(&path).await.json();
    assert_eq!((&open["state"], &open["offset"]), (&"open".into(), &100_000.into()));

    let last = append_rest(&client, &path, &photo, 100_000, 77_777).await;
    let id = became(&client, last.header("photo-location"), &photo).await;
    let done = client.get(&path).await.json();
    assert_eq!((&done["state"], &done["filename"]), (&"done".into(), &"a b.jpg".into()));
    assert_eq!(done["photo"]["id"], id);
    // A client that did not get the last answer is told it again.
    let again = head(&client, &path).await;
    assert_eq!(again.header("upload-offset"), photo.len().to_string());
    assert_eq!(again.header("photo-location"), format!("/v1/photos/{id}"));
    let empty = patch(&client, &path, photo.len(), &[]).await;
    assert_eq!(
        (empty.status, empty.header("photo-location")),
        (StatusCode::NO_CONTENT, again.header("photo-location"))
    );
    // Its bytes are kept once.
    client.sweep().await;
    assert!(darkroom_tests::daemon::files(&daemon.data().join("objects/uploads")).is_empty());
}

#[tokio::test]
async fn a_byte_per_request_becomes_a_photo_too() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(2, 16, 12);
    let path = create(&client, photo.len(), &[]).await;
    let (small, rest) = (400.min(photo.len() - 1), photo.len());
    for at in 0..small {
        assert_eq!(patch(&client, &path, at, &photo[at..=at]).await.status, StatusCode::NO_CONTENT, "{at}");
    }
    let last = append_rest(&client, &path, &photo, small, rest).await;
    became(&client, last.header("photo-location"), &photo).await;
}

#[tokio::test]
async fn creation_may_bring_the_first_bytes_or_all() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(3, 50_000);
    let length = photo.len().to_string();
    let headers = [TUS, STREAM, ("upload-length", length.as_str())];
    let begun = client.send(Method::POST, "/v1/uploads", &headers, photo.slice(..20_000)).await;
    assert_eq!((begun.status, begun.header("upload-offset")), (StatusCode::CREATED, "20000"));
    let last = append_rest(&client, begun.header("location"), &photo, 20_000, 30_000).await;
    let id = became(&client, last.header("photo-location"), &photo).await;

    let whole = client.send(Method::POST, "/v1/uploads", &headers, photo.clone()).await;
    assert_eq!((whole.status, whole.header("upload-offset")), (StatusCode::CREATED, length.as_str()));
    assert_eq!(
        whole.header("photo-location"),
        format!("/v1/photos/{id}"),
        "the same bytes are the same photo"
    );
    assert_eq!(client.get(whole.header("location")).await.json()["photo"]["duplicate"], true);
}

#[tokio::test]
async fn the_length_may_be_told_later_and_the_method_in_a_header() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(4, 40_000);
    let begun =
        client.send(Method::POST, "/v1/uploads", &[TUS, ("upload-defer-length", "1")], Bytes::new()).await;
    let path = begun.header("location").to_owned();
    assert_eq!(head(&client, &path).await.header("upload-defer-length"), "1");
    patch(&client, &path, 0, &photo[..10_000]).await;
    let length = photo.len().to_string();
    let headers = [
        TUS,
        STREAM,
        ("upload-offset", "10000"),
        ("upload-length", length.as_str()),
        ("x-http-method-override", "PATCH"),
    ];
    let last = client.send(Method::POST, &path, &headers, photo.slice(10_000..)).await;
    assert_eq!(last.status, StatusCode::NO_CONTENT, "{last:?}");
    became(&client, last.header("photo-location"), &photo).await;
}

#[tokio::test]
async fn wishes_of_the_photo_are_heard() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photo_of(5, 40_000);
    let first = client.upload_settled(&photo).await["id"].clone();
    let metadata = format!("duplicate {}", STANDARD.encode("allow"));
    for headers in [vec![("upload-metadata", metadata.as_str())], vec![]] {
        let path = create(&client, photo.len(), &headers).await;
        let last = append_rest(&client, &path, &photo, 0, photo.len()).await;
        let is_first = last.header("photo-location").ends_with(first.as_str().unwrap());
        // Without the wish it is one of those that are there.
        assert!(headers.is_empty() || !is_first, "{last:?}");
    }
    assert_eq!(client.all().await.len(), 2);
}

#[tokio::test]
async fn pieces_are_as_large_as_configured() {
    let daemon = Daemon::start_with(&Setup::config("[uploads]\npiece = '1 MiB'"));
    let client = daemon.client();
    let photo = photo_of(6, 5 << 20);
    let path = create(&client, photo.len(), &[]).await;
    patch(&client, &path, 0, &photo[..(3 << 20) + 5]).await;
    let pieces = darkroom_tests::daemon::files(&daemon.data().join("objects/uploads"));
    assert_eq!(pieces.len(), 4, "{pieces:?}");
    let last = append_rest(&client, &path, &photo, (3 << 20) + 5, 1 << 20).await;
    became(&client, last.header("photo-location"), &photo).await;
}

#[tokio::test]
async fn what_can_be_done_is_announced() {
    let daemon = Daemon::start();
    let answer = daemon.client().send(Method::OPTIONS, "/v1/uploads", &[], Bytes::new()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!((answer.header("tus-version"), answer.header("tus-resumable")), ("1.0.0", "1.0.0"));
    assert_eq!(answer.header("tus-max-size"), (64 << 20).to_string());
    assert_eq!(answer.header("tus-checksum-algorithm"), "sha1,sha256,sha512,blake3");
    let extensions: Vec<_> = answer.header("tus-extension").split(',').collect();
    for extension in [
        "creation",
        "creation-with-upload",
        "creation-defer-length",
        "expiration",
        "checksum",
        "termination",
        "concatenation",
    ] {
        assert!(extensions.contains(&extension), "{extension}");
    }
    assert_eq!(answer.header("upload-limit"), format!("max-size={}", 64 << 20));
}
