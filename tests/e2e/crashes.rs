//! `kill -9` at random moments: nothing acknowledged is lost, and nothing is left behind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use darkroom_tests::daemon::{files, run};
use darkroom_tests::{Client, Daemon, Setup, photos, scale};
use hyper::StatusCode;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

/// Acknowledged photos: id and BLAKE3 of the original.
type Acknowledged = Arc<Mutex<BTreeMap<String, String>>>;

/// Budgets small enough that most photos wait on disk when the kill comes.
const CONFIG: &str = "[limits]\npixels_max = 16000000\nupload_bytes_max = '32 MiB'\n\
                      [budgets]\nbodies = '128 MiB'\npixels = '256 MiB'";

/// `DARKROOM_TEST_KILLS=20 DARKROOM_TEST_KILL_WIDTH=4032` for the whole of it; `DARKROOM_TEST_SEED` to repeat one.
#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_is_left_behind() {
    let kills = scale("DARKROOM_TEST_KILLS", 4);
    let seed = scale("DARKROOM_TEST_SEED", rand::random::<u32>() as usize) as u64;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let acknowledged = Acknowledged::default();
    let width = scale("DARKROOM_TEST_KILL_WIDTH", 1200) as u32;
    let pool: Vec<Bytes> = (0..40).map(|n| photos::photo(n, width, width * 3 / 4)).collect();
    let pool = Arc::new(pool);
    let mut home = Arc::new(tempfile::tempdir().unwrap());
    for round in 0..kills {
        let daemon = Daemon::start_on(home, &Setup::config(CONFIG));
        let uploads = start_uploads(&daemon.client(), &pool, round as u64, &acknowledged);
        // Not a wait for a condition: the moment of the kill is what is random.
        tokio::time::sleep(Duration::from_millis(random.random_range(50..1500))).await;
        home = daemon.kill();
        for upload in uploads {
            // Each ends by itself, since the daemon is gone; what it asserted counts.
            upload.await.unwrap();
        }
    }
    let acknowledged = acknowledged.lock().unwrap().clone();
    println!("{kills} kills, {} photos acknowledged", acknowledged.len());
    assert!(!acknowledged.is_empty(), "nothing was ever acknowledged: the test shows nothing");

    let daemon = Daemon::start_on(home, &Setup::config(CONFIG));
    let client = daemon.client();
    for (id, hash) in &acknowledged {
        let photo = client.settled(id).await;
        assert_eq!(photo["state"], "ready", "{photo}");
        let original = client.get(&format!("/v1/photos/{id}/original")).await.body;
        assert_eq!(blake3::hash(&original).to_hex().as_str(), hash);
    }
    let photos = settle_all(&client).await;
    check_variants(&client, &photos).await;

    // What no client was told of may exist, but nothing else may.
    let data = daemon.data();
    let _home = daemon.stop();
    let report = run(&["janitor", "--now"], &data);
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((&report["intents_standing"], &report["tombstones_left"]), (&0.into(), &0.into()), "{report}");
    let count = |folder: &str| files(&data.join("objects").join(folder)).len();
    let contents: std::collections::BTreeSet<_> =
        photos.iter().map(|photo| photo["blake3"].as_str()).collect();
    assert_eq!((count("tmp"), count("originals"), count("variants")), (0, contents.len(), photos.len() * 5));
}

/// Sixteen connections that upload until the daemon is gone.
fn start_uploads(
    client: &Client,
    pool: &Arc<Vec<Bytes>>,
    round: u64,
    acknowledged: &Acknowledged,
) -> Vec<tokio::task::JoinHandle<()>> {
    let connection = |number: u64| {
        let (client, pool, acknowledged) = (client.clone(), pool.clone(), acknowledged.clone());
        async move {
            let mut random = StdRng::seed_from_u64(round * 1000 + number);
            loop {
                // Distinct bytes each time: what follows the end marker belongs to the file, not to the picture.
                let photo =
                    [&pool[random.random_range(0..pool.len())][..], &random.random::<[u8; 16]>()].concat();
                let hash = blake3::hash(&photo).to_hex().to_string();
                let request = client.request(hyper::Method::POST, "/v1/photos", &[], photo.into());
                let Ok(answer) = client.try_send(request).await else { return };
                // What is refused (a full house) was not acknowledged, and is simply sent again later.
                if answer.status == StatusCode::CREATED {
                    let id = answer.json()["id"].as_str().unwrap().to_owned();
                    acknowledged.lock().unwrap().insert(id, hash);
                } else {
                    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
                }
            }
        }
    };
    (0..16).map(|number| tokio::spawn(connection(number))).collect()
}

/// Every photo that there is, once it is settled.
async fn settle_all(client: &Client) -> Vec<Value> {
    let mut settled = Vec::new();
    for photo in client.all().await {
        let photo = client.settled(photo["id"].as_str().unwrap()).await;
        assert_eq!(photo["state"], "ready", "{photo}");
        settled.push(photo);
    }
    settled
}

async fn check_variants(client: &Client, photos: &[Value]) {
    for variant in photos.iter().flat_map(|photo| photo["variants"].as_array().unwrap()) {
        let bytes = client.get(variant["url"].as_str().unwrap()).await.body;
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), variant["blake3"].as_str().unwrap(), "{variant}");
    }
}
