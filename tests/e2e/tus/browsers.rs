//! Pages of other sites.

use bytes::Bytes;
use darkroom_tests::{Daemon, Setup};
use hyper::{Method, StatusCode};

use super::{STREAM, TUS, photo_of};

const PAGE: (&str, &str) = ("origin", "https://photos.example");
const FOREIGN: (&str, &str) = ("sec-fetch-site", "cross-site");
const ASKS: (&str, &str) = ("access-control-request-method", "PATCH");

#[tokio::test]
async fn a_page_that_is_named_uploads_and_others_do_not() {
    let config = Setup::config("[http]\ncors_origins = ['https://photos.example']");
    let daemon = Daemon::start_with(&config);
    let client = daemon.client();
    let asked = client.send(Method::OPTIONS, "/v1/uploads/x", &[PAGE, ASKS], Bytes::new()).await;
    assert_eq!(asked.status, StatusCode::NO_CONTENT);
    assert_eq!(asked.header("access-control-allow-origin"), "https://photos.example");
    assert!(asked.header("access-control-allow-methods").contains("PATCH"));
    assert!(asked.header("access-control-allow-headers").contains("Tus-Resumable"));
    assert!(asked.header("vary").contains("Origin"));
    let photo = photo_of(1, 30_000);
    let length = photo.len().to_string();
    let headers = [TUS, STREAM, PAGE, FOREIGN, ("upload-length", length.as_str())];
    let begun = client.send(Method::POST, "/v1/uploads", &headers, photo.clone()).await;
    assert_eq!(begun.status, StatusCode::CREATED, "{begun:?}");
    for name in ["Location", "Upload-Offset", "Photo-Location", "Tus-Resumable"] {
        assert!(begun.header("access-control-expose-headers").contains(name), "{name}");
    }
    let read = client.get_with(begun.header("photo-location"), &[PAGE]).await;
    assert_eq!(read.header("access-control-allow-origin"), "https://photos.example");

    let other = ("origin", "https://evil.example");
    let headers = [TUS, STREAM, other, FOREIGN, ("upload-length", length.as_str())];
    assert_eq!(
        client.send(Method::POST, "/v1/uploads", &headers, photo).await.problem(),
        "cross-site-request"
    );
    let asked = client.send(Method::OPTIONS, "/v1/uploads", &[other, ASKS], Bytes::new()).await;
    assert_eq!(asked.header("access-control-allow-origin"), "");
    let admin = client.get_with("/v1/admin/actors", &[PAGE]).await;
    assert_eq!(admin.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn without_configuration_no_page_of_another_site_may_anything() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let asked = client.send(Method::OPTIONS, "/v1/uploads", &[PAGE, ASKS], Bytes::new()).await;
    assert_eq!(asked.header("access-control-allow-origin"), "");
    let headers = [TUS, PAGE, FOREIGN, ("upload-length", "9")];
    assert_eq!(
        client.send(Method::POST, "/v1/uploads", &headers, Bytes::new()).await.problem(),
        "cross-site-request"
    );
}
