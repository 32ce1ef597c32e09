//! Faults injected into the real daemon: panics and deaths at named points.

use bytes::Bytes;
use darkroom_tests::{Daemon, Setup, photos};
use hyper::StatusCode;
use serde_json::Value;

fn fault(point: &str, action: &str, more: &str) -> Setup {
    Setup::config(&format!("[[testing.faults]]\npoint = '{point}'\naction = '{action}'\n{more}\n"))
}

#[tokio::test]
async fn a_panic_on_the_compute_pool_fails_that_photo_only() {
    let daemon = Daemon::start_with(&fault("decode", "panic", "width = 333"));
    let client = daemon.client();
    let bad = client.upload(&photos::photo(1, 333, 200)).await.json();
    let mut good = Vec::new();
    for seed in 2..10 {
        good.push(client.upload(&photos::photo(seed, 400, 300)).await.json());
    }
    for photo in good {
        assert_eq!(client.settled(photo["id"].as_str().unwrap()).await["state"], "ready");
    }
    let failed = client.settled(bad["id"].as_str().unwrap()).await;
    assert_eq!(
        (&failed["state"], &failed["failure"]["code"]),
        (&"failed".into(), &"processing-panicked".into()),
        "{failed}"
    );
    let tree = client.idle().await;
    assert_eq!(tree["generation_restarts"], 0);
    assert_eq!(client.metric("darkroom_panics_total{stage=\"decoder\"}").await, 3.0);
    assert_eq!(client.metric("darkroom_photos_settled_total{outcome=\"failed\"}").await, 1.0);
}

#[tokio::test]
async fn a_panic_in_the_decoders_handler_restarts_one_generation_and_loses_nothing() {
    let daemon = Daemon::start_with(&fault("decoder_handler", "panic", "skip = 10\ntimes = 1"));
    let client = daemon.client();
    let photos: Vec<Bytes> = (0..20).map(|seed| photos::photo(seed, 1600, 1200)).collect();
    let answers = futures_util::future::join_all(photos.iter().map(|photo| client.upload(photo))).await;
    let mut acknowledged = Vec::new();
    for (answer, photo) in answers.into_iter().zip(&photos) {
        // One that arrives in the moment of the restart is refused, and sent again as a client would.
        let mut answer = answer;
        while answer.status == StatusCode::SERVICE_UNAVAILABLE {
            assert_eq!(answer.problem(), "restarting");
            answer = client.upload(photo).await;
        }
        assert!(answer.status.is_success(), "{answer:?}");
        acknowledged.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    for id in &acknowledged {
        assert_eq!(client.settled(id).await["state"], "ready");
    }
    let tree = client.idle().await;
    assert_eq!(tree["generation_restarts"], 1, "{tree}");
    assert_eq!(tree["supervisor"], "Running");
    for actor in tree["actors"].as_array().unwrap() {
        assert_eq!(actor["state"], "Running", "{actor}");
        assert_eq!(
            actor["restarts"],
            i32::from(actor["name"] != "janitor" && actor["name"] != "indexer"),
            "{actor}"
        );
    }
}

#[tokio::test]
async fn actors_that_die_again_and_again_end_the_process() {
    let mut daemon = Daemon::start_with(&fault("decoder_handler", "panic", ""));
    let client = daemon.client();
    let photo = photos::photo(1, 200, 100);
    let id = client.upload(&photo).await.json()["id"].as_str().unwrap().to_owned();
    assert!(!daemon.wait(), "the process must end with a non-zero status");
    let home = daemon.home();
    drop(daemon);
    let daemon = Daemon::start_on(home, &Setup::default());
    assert_eq!(daemon.client().settled(&id).await["state"], "ready");
}

/// A panic beside the compute pool is a bug of ours: the stage must not go on with a hand less.
#[tokio::test]
async fn a_panic_in_a_stages_own_work_restarts_the_generation_and_loses_nothing() {
    for point in ["original_stored", "variant_stored", "variants_stored", "published"] {
        let daemon = Daemon::start_with(&fault(point, "panic", "times = 1"));
        let client = daemon.client();
        let photo = photos::photo(1, 300, 200);
        let mut answer = client.upload(&photo).await;
        while answer.status == StatusCode::SERVICE_UNAVAILABLE {
            answer = client.upload(&photo).await;
        }
        let id = answer.json()["id"].as_str().unwrap().to_owned();
        assert_eq!(client.settled(&id).await["state"], "ready", "{point}");
        let tree = client.idle().await;
        assert_eq!(tree["generation_restarts"], 1, "{point}: {tree}");
    }
}

/// Kills the daemon at a point of a photo's way; what it finds after a restart without the fault.
async fn killed_at(point: &str) -> Vec<Value> {
    let mut daemon = Daemon::start_with(&fault(point, "kill", "times = 1"));
    let client = daemon.client();
    let request = client.request(
        hyper::Method::POST,
        "/v1/photos",
        &[("prefer", "wait=60")],
        photos::photo(1, 900, 700),
    );
    assert!(client.try_send(request).await.is_err(), "the daemon should have died at {point}");
    assert!(!daemon.wait());
    let home = daemon.home();
    drop(daemon);
    let daemon = Daemon::start_on(home, &Setup::default());
    let client = daemon.client();
    let mut found = Vec::new();
    for photo in client.all().await {
        found.push(client.settled(photo["id"].as_str().unwrap()).await);
    }
    client.idle().await;
    client.sweep().await;
    let objects = darkroom_tests::daemon::files(&daemon.data().join("objects")).len();
    assert_eq!(objects, 1 + found.len() * 6, "an orphan or a loss after a death at {point}");
    found
}

#[tokio::test]
async fn a_death_before_the_commit_leaves_nothing() {
    for point in ["original_stored", "before_commit"] {
        assert!(killed_at(point).await.is_empty(), "{point}");
    }
}

#[tokio::test]
async fn a_death_after_the_commit_leaves_a_photo_that_becomes_ready() {
    for point in
        ["photo_committed", "decode", "variant_stored", "variants_stored", "before_publish", "published"]
    {
        let found = killed_at(point).await;
        assert_eq!(found.len(), 1, "{point}");
        assert_eq!(found[0]["state"], "ready", "{point}");
    }
}

#[tokio::test]
async fn a_photo_that_kills_the_process_again_and_again_is_given_up() {
    let mut home = None;
    let (bad, good) = (photos::photo(1, 333, 200), photos::photo(2, 400, 300));
    let setup = fault("decode", "kill", "width = 333");
    let mut ids = Vec::new();
    for death in 0..3 {
        let mut daemon = match home.take() {
            None => Daemon::start_with(&setup),
            Some(home) => Daemon::start_on(home, &setup),
        };
        if death == 0 {
            // The first of its deaths may come before its acknowledgement is read: its id is asked for later.
            let client = daemon.client();
            ids.push(client.upload(&good).await.json()["id"].as_str().unwrap().to_owned());
            let request = client.request(hyper::Method::POST, "/v1/photos", &[], bad.clone());
            let _ = client.try_send(request).await;
        }
        assert!(!daemon.wait(), "death {death}");
        home = Some(daemon.home());
    }
    let daemon = Daemon::start_on(home.unwrap(), &setup);
    let client = daemon.client();
    assert_eq!(client.settled(&ids[0]).await["state"], "ready");
    let all = client.all().await;
    let bad = all.iter().find(|photo| photo["width"] == 333).expect("it was durable before it was decoded");
    let failed = client.settled(bad["id"].as_str().unwrap()).await;
    assert_eq!(failed["failure"]["code"], "processing-crashed");
}
