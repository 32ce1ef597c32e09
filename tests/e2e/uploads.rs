//! Ways to upload, and what becomes of the same bytes twice.

use bytes::Bytes;
use darkroom_tests::daemon::files;
use darkroom_tests::{Daemon, photos};
use hyper::{Method, StatusCode};

/// Name, file name, content type, bytes.
type Part<'p> = (&'p str, Option<&'p str>, Option<&'p str>, &'p [u8]);

/// A multipart body with these parts.
fn multipart(parts: &[Part<'_>]) -> Bytes {
    let mut body = Vec::new();
    for (name, file, content_type, bytes) in parts {
        body.extend_from_slice(
            format!("--edge\r\nContent-Disposition: form-data; name=\"{name}\"").as_bytes(),
        );
        if let Some(file) = file {
            body.extend_from_slice(format!("; filename=\"{file}\"").as_bytes());
        }
        if let Some(content_type) = content_type {
            body.extend_from_slice(format!("\r\nContent-Type: {content_type}").as_bytes());
        }
        body.extend_from_slice(b"\r\n\r\n");
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--edge--\r\n");
    body.into()
}

const FORM: (&str, &str) = ("content-type", "multipart/form-data; boundary=edge");

#[tokio::test]
async fn a_form_with_good_files_answers_with_every_photo() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let (a, b) = (photos::photo(1, 300, 200), photos::photo(2, 200, 300));
    let body =
        multipart(&[("photo", Some("a.jpg"), Some("image/jpeg"), &a), ("photo", Some("b.jpg"), None, &b)]);
    let answer = client.send(Method::POST, "/v1/photos", &[FORM, ("prefer", "wait=30")], body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
    let items = answer.json()["items"].clone();
    for (item, (name, bytes)) in items.as_array().unwrap().iter().zip([("a.jpg", &a), ("b.jpg", &b)]) {
        assert_eq!((&item["name"], &item["status"]), (&name.into(), &201.into()));
        assert_eq!(item["photo"]["state"], "ready");
        assert_eq!(item["photo"]["blake3"], blake3::hash(bytes).to_hex().as_str());
    }
}

#[tokio::test]
async fn one_bad_file_of_a_form_does_not_fail_the_others() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let (good, twice) = (photos::photo(1, 300, 200), photos::photo(2, 300, 200));
    client.upload_settled(&twice).await;
    let body = multipart(&[
        ("note", None, None, b"hello"),
        ("photo", Some("text.jpg"), Some("image/jpeg"), &b"this is no photo ".repeat(50_000)),
        ("photo", Some("cut.jpg"), None, &good[..300]),
        ("photo", Some("good.jpg"), None, &good),
        ("photo", Some("twice.jpg"), None, &twice),
    ]);
    let answer = client.send(Method::POST, "/v1/photos", &[FORM], body).await;
    assert_eq!(answer.status, StatusCode::MULTI_STATUS, "{answer:?}");
    let json = answer.json();
    let outcomes: Vec<_> = json["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| {
            let problem = item["problem"]["type"].as_str().unwrap_or_default();
            (item["name"].as_str().unwrap(), item["status"].as_u64().unwrap(), problem)
        })
        .collect();
    assert_eq!(
        outcomes,
        [
            ("note", 422, "/problems/unknown-field"),
            ("text.jpg", 415, "/problems/unsupported-image"),
            ("cut.jpg", 422, "/problems/truncated-image"),
            ("good.jpg", 201, ""),
            ("twice.jpg", 200, ""),
        ]
    );
}

#[tokio::test]
async fn a_forms_fields_hold_for_the_files_behind_them() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(1, 300, 200);
    let file = ("photo", Some("a.jpg"), None, &photo[..]);
    let body = multipart(&[file, file, ("duplicate", None, None, b"allow"), file]);
    let answer = client.send(Method::POST, "/v1/photos", &[FORM], body).await;
    let statuses: Vec<_> =
        answer.json()["items"].as_array().unwrap().iter().map(|item| item["status"].clone()).collect();
    assert_eq!(statuses, [201, 200, 201]);

    for (field, value) in [("duplicate", &b"no"[..]), ("batch_id", b"mine"), ("duplicate", &[0xff])] {
        let body = multipart(&[(field, None, None, value), file]);
        let answer = client.send(Method::POST, "/v1/photos", &[FORM], body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{answer:?}");
    }
    // What is durable is told, and nothing behind the wrong field is taken.
    let body = multipart(&[file, ("duplicate", None, None, b"no"), file]);
    let items = client.send(Method::POST, "/v1/photos", &[FORM], body).await.json()["items"].clone();
    assert_eq!((items[0]["status"].clone(), items[1]["status"].clone()), (200.into(), 400.into()));
    assert_eq!((items.as_array().unwrap().len(), client.all().await.len()), (2, 2));
}

#[tokio::test]
async fn a_form_without_files_or_without_sense_is_refused() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let post = |headers: [(&'static str, &'static str); 1], body: Bytes| {
        let client = client.clone();
        async move { client.send(Method::POST, "/v1/photos", &headers, body).await.problem() }
    };
    assert_eq!(post([FORM], multipart(&[])).await, "multipart-without-file");
    assert_eq!(post([("content-type", "multipart/form-data")], multipart(&[])).await, "multipart-malformed");
    assert_eq!(post([FORM], Bytes::from_static(b"--edge\r\nnonsense")).await, "body-incomplete");
    // Headers that never end cost no memory.
    let endless = [&b"--edge\r\nX-Endless: "[..], &vec![b'a'; 8 << 20]].concat();
    assert_eq!(post([FORM], endless.into()).await, "multipart-malformed");
}

#[tokio::test]
async fn the_same_bytes_twice_are_one_photo_unless_two_are_wanted() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = photos::photo(1, 400, 300);
    // At once, so that they race.
    let answers = futures_util::future::join_all((0..8).map(|_| client.upload(&photo))).await;
    let new = answers.iter().filter(|answer| answer.status == StatusCode::CREATED).count();
    assert_eq!(new, 1, "{answers:?}");
    let id = answers[0].json()["id"].clone();
    for answer in &answers {
        assert_eq!(answer.json()["id"], id);
        assert_eq!(answer.json()["duplicate"] == true, answer.status == StatusCode::OK);
    }
    let second = client.send(Method::POST, "/v1/photos?duplicate=allow", &[], photo.clone()).await;
    assert_eq!(second.status, StatusCode::CREATED);
    let second = second.json()["id"].as_str().unwrap().to_owned();
    assert_ne!(second, id);
    client.settled(&second).await;
    client.settled(id.as_str().unwrap()).await;
    client.idle().await;
    client.sweep().await;
    let originals = || files(&daemon.data().join("objects/originals")).len();
    assert_eq!(originals(), 1, "the content is stored once");

    // The original goes with the last photo that has it.
    assert_eq!(
        client.delete(&format!("/v1/photos/{}", id.as_str().unwrap())).await.status,
        StatusCode::NO_CONTENT
    );
    client.sweep().await;
    assert_eq!(originals(), 1);
    assert_eq!(client.get(&format!("/v1/photos/{second}/original")).await.body, photo);
    assert_eq!(client.delete(&format!("/v1/photos/{second}")).await.status, StatusCode::NO_CONTENT);
    client.sweep().await;
    assert_eq!(files(&daemon.data().join("objects")).len(), 1, "only the store id is left");
    assert_eq!(client.delete(&format!("/v1/photos/{second}")).await.problem(), "photo-not-found");
}

#[tokio::test]
async fn a_form_of_too_many_parts_is_cut_off_behind_the_last_that_was_taken() {
    let daemon = Daemon::start_with(&darkroom_tests::Setup::config("[http]\nparts_max = 2"));
    let photos: Vec<_> = (0..4).map(|seed| photos::photo(seed, 60, 40)).collect();
    let parts: Vec<_> = photos.iter().map(|photo| ("photo", Some("a.jpg"), None, &photo[..])).collect();
    let answer = daemon.client().send(Method::POST, "/v1/photos", &[FORM], multipart(&parts)).await;
    let statuses: Vec<_> = answer.json()["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| item["status"].as_u64().unwrap())
        .collect();
    assert_eq!((answer.status, statuses), (StatusCode::MULTI_STATUS, vec![201, 201, 413]));
    assert_eq!(daemon.client().all().await.len(), 2);
}

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let headers = [("sec-fetch-site", "cross-site")];
    let answer = client.send(Method::POST, "/v1/photos", &headers, photos::photo(1, 60, 40)).await;
    assert_eq!((answer.status, answer.problem().as_str()), (StatusCode::FORBIDDEN, "cross-site-request"));
    assert!(client.all().await.is_empty());
}

/// As an h2 client sends it: with prior knowledge, several requests on one connection.
#[tokio::test]
async fn http2_takes_photos_and_refuses_them_readably() {
    let daemon = Daemon::start_with(&darkroom_tests::Setup::config("[limits]\nupload_bytes_max = '1 MiB'"));
    let client = daemon.client();
    let photo = photos::photo(1, 800, 600);
    let taken = client.send_h2(Method::POST, "/v1/photos", photo.clone()).await;
    assert_eq!(taken.status, StatusCode::CREATED, "{taken:?}");
    let id = taken.json()["id"].as_str().unwrap().to_owned();
    assert_eq!(client.settled(&id).await["state"], "ready");
    let original = client.send_h2(Method::GET, &format!("/v1/photos/{id}/original"), Bytes::new()).await;
    assert_eq!(original.body, photo);
    let head = client.send_h2(Method::HEAD, &format!("/v1/photos/{id}"), Bytes::new()).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert!(head.header("content-length").parse::<usize>().unwrap() > 100);
    let refused = client.send_h2(Method::POST, "/v1/photos", vec![0; 20_000_000].into()).await;
    assert_eq!(refused.problem(), "body-too-large");
}

#[tokio::test]
async fn a_client_may_wait_and_may_not() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let at_once = client.upload(&photos::phone(1)).await;
    assert_eq!(at_once.json()["state"], "processing");
    let waited = client.send(Method::POST, "/v1/photos", &[("prefer", "wait=60")], photos::phone(2)).await;
    assert_eq!(waited.json()["state"], "ready");
}

#[tokio::test]
async fn unknown_parameters_are_refused_before_the_body_is_read() {
    let daemon = Daemon::start();
    let client = daemon.client();
    for query in ["dupliacte=allow", "duplicate=no", "duplicate=allow&duplicate=allow"] {
        let answer =
            client.send(Method::POST, &format!("/v1/photos?{query}"), &[], photos::photo(1, 64, 64)).await;
        assert_eq!(answer.problem(), "invalid-parameter");
    }
    assert!(client.all().await.is_empty());
}
