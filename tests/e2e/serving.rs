//! Reading photos: lists, caching, conditions, ranges, health.

use darkroom_tests::{Daemon, Setup, photos};
use hyper::{Method, StatusCode};

#[tokio::test]
async fn a_variant_is_immutable_under_its_current_link_only() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = client.upload_settled(&photos::photo(1, 800, 600)).await;
    let url = photo["variants"][0]["url"].as_str().unwrap();
    let (path, v) = url.split_once("?v=").unwrap();
    assert_eq!(v, &photo["variants"][0]["blake3"].as_str().unwrap()[..16]);

    let current = client.get(url).await;
    assert_eq!(current.header("cache-control"), "private, max-age=31536000, immutable");
    assert_eq!(current.header("content-type"), "image/jpeg");
    assert_eq!(current.header("etag"), format!("\"{v}\""));

    let bare = client.get(path).await;
    assert_eq!(bare.header("cache-control"), "private, no-cache");
    assert_eq!(bare.body, current.body);

    let outdated = client.get(&format!("{path}?v=0000000000000000")).await;
    assert_eq!((outdated.status, outdated.header("location")), (StatusCode::FOUND, url));

    let unchanged = client.get_with(path, &[("if-none-match", current.header("etag"))]).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let since = [("if-modified-since", current.header("last-modified"))];
    assert_eq!(client.get_with(path, &since).await.status, StatusCode::NOT_MODIFIED);

    let head = client.send(Method::HEAD, url, &[], "").await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.header("content-length"), current.body.len().to_string());
}

#[tokio::test]
async fn a_single_range_is_served_from_originals_and_variants() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let original = photos::phone(1);
    let photo = client.upload_settled(&original).await;
    let path = photo["original"]["url"].as_str().unwrap();
    let last = original.len() - 1;
    for (range, expected) in [
        ("bytes=0-99".to_owned(), 0..100),
        // Over several reads of the file.
        (format!("bytes=1000-{}", last - 7), 1000..last - 6),
        ("bytes=-5".to_owned(), last - 4..last + 1),
    ] {
        let part = client.get_with(path, &[("range", &range)]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert_eq!(part.body, original[expected.clone()], "{range}");
        let content_range = format!("bytes {}-{}/{}", expected.start, expected.end - 1, original.len());
        assert_eq!(part.header("content-range"), content_range);
    }
    let beyond = client.get_with(path, &[("range", &format!("bytes={}-", original.len()))]).await;
    assert_eq!(beyond.problem(), "range-not-satisfiable");
    assert_eq!(beyond.header("content-range"), format!("bytes */{}", original.len()));
}

#[tokio::test]
async fn lists_are_newest_first_and_page_by_cursor() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let mut ids = Vec::new();
    for seed in 0..7 {
        ids.push(client.upload(&photos::photo(seed, 40, 30)).await.json()["id"].as_str().unwrap().to_owned());
    }
    ids.reverse();
    let (mut walked, mut path) = (Vec::new(), "/v1/photos?limit=3".to_owned());
    let mut sizes = Vec::new();
    loop {
        let page = client.get(&path).await.json();
        let items = page["items"].as_array().unwrap();
        sizes.push(items.len());
        walked.extend(items.iter().map(|photo| photo["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/photos?limit=3&cursor={next}");
    }
    assert_eq!((walked, sizes), (ids, vec![3, 3, 1]));
    for bad in ["limit=0", "limit=201", "limit=x", "cursor=x", "page=2"] {
        assert_eq!(client.get(&format!("/v1/photos?{bad}")).await.problem(), "invalid-parameter", "{bad}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_so() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let photo = client.upload_settled(&photos::photo(1, 40, 30)).await;
    let path = format!("/v1/photos/{}", photo["id"].as_str().unwrap());
    let nobody = "/v1/photos/01890000-0000-7000-8000-000000000000";
    assert_eq!(client.get(nobody).await.problem(), "photo-not-found");
    assert_eq!(client.get("/v1/photos/nonsense").await.problem(), "photo-not-found");
    assert_eq!(client.get(&format!("{nobody}/original")).await.problem(), "photo-not-found");
    assert_eq!(client.get(&format!("{path}/variants/huge")).await.problem(), "preset-not-found");
    assert_eq!(client.get("/v2").await.problem(), "not-found");
    let wrong = client.send(Method::PUT, &path, &[], "").await;
    assert_eq!(
        (wrong.problem().as_str(), wrong.header("allow")),
        ("method-not-allowed", "GET, HEAD, PATCH, DELETE")
    );
}

#[tokio::test]
async fn the_description_names_every_format_that_is_read() {
    let daemon = Daemon::start();
    let description = daemon.client().get("/openapi.json").await.json();
    let bodies = &description["paths"]["/v1/photos"]["post"]["requestBody"]["content"];
    for format in darkroom_media::SourceFormat::ALL {
        assert!(bodies.get(format.mime()).is_some(), "{format} is missing");
    }
}

#[tokio::test]
async fn every_answer_carries_a_request_id() {
    let daemon = Daemon::start();
    let client = daemon.client();
    assert_eq!(client.get("/livez").await.header("x-request-id").len(), 36);
    let given = client.get_with("/livez", &[("x-request-id", "mine-7")]).await;
    assert_eq!(given.header("x-request-id"), "mine-7");
    let nonsense = client.get_with("/livez", &[("x-request-id", "a b")]).await;
    assert_eq!(nonsense.header("x-request-id").len(), 36);
}

#[tokio::test]
async fn health_and_metrics_have_a_listener_of_their_own_where_configured() {
    let daemon = Daemon::start_with(&Setup::config("[server]\nhealth_listen = \"127.0.0.1:0\""));
    let client = daemon.client();
    let ready = client.get("/readyz").await;
    assert_eq!((ready.status, ready.json()["ready"].as_bool()), (StatusCode::OK, Some(true)));
    client.upload_settled(&photos::photo(1, 40, 30)).await;
    let metrics = client.get("/metrics").await;
    let metrics = std::str::from_utf8(&metrics.body).unwrap();
    for needed in [
        "darkroom_http_requests_total{",
        "darkroom_stage_duration_seconds_bucket{stage=\"decoder\"",
        "darkroom_stage_queue_photos{",
        "darkroom_permits_used_bytes{",
        "darkroom_object_written_bytes_total{",
        "darkroom_photos{state=\"ready\"} 1",
        "darkroom_jobs 0",
        "darkroom_metadata_commits_total",
    ] {
        assert!(metrics.contains(needed), "{needed} is missing:\n{metrics}");
    }
    let health = daemon.health().expect("a health listener");
    assert_eq!(health.get("/livez").await.status, StatusCode::OK);
    assert_eq!(health.get("/readyz").await.status, StatusCode::OK);
    assert!(health.get("/metrics").await.body.starts_with(b"# HELP"));
    assert_eq!(health.get("/v1/photos").await.problem(), "not-found");
}

#[tokio::test]
async fn a_preset_added_later_is_made_on_demand_and_a_changed_one_is_replaced() {
    let preset =
        |name: &str, side: u32| format!("[[presets]]\nname = \"{name}\"\nwidth = {side}\nheight = {side}\n");
    let before = Daemon::start_with(&Setup::config(&preset("a", 100)));
    let photo = before.client().upload_settled(&photos::photo(1, 800, 600)).await;
    let path = format!("/v1/photos/{}/variants", photo["id"].as_str().unwrap());
    let old = before.client().get(&format!("{path}/a")).await.body;
    let after = Daemon::start_on(before.stop(), &Setup::config(&(preset("a", 200) + &preset("b", 50))));
    let client = after.client();
    // The changed one: the old is served until the new is there.
    let first = client.get(&format!("{path}/a")).await;
    assert!(first.body == old || photos::size(&first.body) == (200, 150));
    // The new one: there is nothing to serve, so who would wait waits.
    let made = client.get_with(&format!("{path}/b"), &[("prefer", "wait=30")]).await;
    assert_eq!(photos::size(&made.body), (50, 38), "{made:?}");
    let replaced = client.get(&format!("{path}/a")).await;
    assert_eq!(photos::size(&replaced.body), (200, 150));
    client.idle().await;
    client.sweep().await;
    let variants = darkroom_tests::daemon::files(&after.data().join("objects/variants"));
    assert_eq!(variants.len(), 2, "the replaced one is gone");
}
