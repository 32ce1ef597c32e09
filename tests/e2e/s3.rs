//! The real daemon on an S3 server that is slow, fails, breaks off, damages what it carries, or is gone: nothing
//! acknowledged is lost, nobody waits for long, and all is well soon after the server is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use darkroom_test_s3::{BUCKET, Fault, KEY_ID, REGION, Rule, SECRET_KEY, Server};
use darkroom_tests::daemon::run_as;
use darkroom_tests::{Answer, Client, Daemon, Setup, photos, scale};
use hyper::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// All attempts at one thing together, as configured below.
const DEADLINE: Duration = Duration::from_secs(4);
/// How long after a put has failed its object may appear, as configured below.
const LATE: Duration = Duration::from_secs(5);
/// How long the breaker keeps the daemon from asking, as configured below.
const PAUSE: Duration = Duration::from_secs(2);
/// What a busy machine may add.
const SLACK: Duration = Duration::from_secs(6);
/// Photos that wait are ready within this time after the server is back.
const BACK_WITHIN: Duration = Duration::from_secs(60);
/// Between two looks at what tells nobody when it changes, and two requests of a client that is refused.
const POLL: Duration = Duration::from_millis(20);
/// Each photo in every default preset.
const VARIANTS: usize = 5;

/// A daemon whose objects are in that server, and which gives up sooner than most should.
pub(super) fn on(server: &Server, more: &str) -> Setup {
    let config = format!(
        "[objects]\nstore = 's3'\n[objects.s3]\nbucket = '{BUCKET}'\nendpoint = '{}'\nregion = '{REGION}'\n\
         path_style = true\nattempt_timeout = '2s'\noperation_deadline = '{}s'\nbreaker_failures = 5\n\
         breaker_pause = '{}s'\nlate_request_max = '1s'\nupload_rate_min = '1 GiB'\n{more}",
        server.endpoint(),
        DEADLINE.as_secs(),
        PAUSE.as_secs(),
    );
    let variables = [("AWS_ACCESS_KEY_ID", KEY_ID), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    Setup { environment: variables, ..Setup::config(&config) }
}

fn id_of(photo: &Value) -> &str {
    photo["id"].as_str().unwrap()
}

/// Uploads as a client does that is told to come back.
async fn upload_in_the_end(client: &Client, photo: &Bytes) -> String {
    let began = Instant::now();
    loop {
        let answer = client.upload(photo).await;
        if answer.status.is_success() {
            return id_of(&answer.json()).to_owned();
        }
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
        assert!(began.elapsed() < BACK_WITHIN, "never taken: {answer:?}");
        tokio::time::sleep(POLL).await;
    }
}

/// The photo is ready, and its original and variants are what was uploaded and recorded.
pub(super) async fn whole(client: &Client, id: &str, original: &str) {
    let photo = client.settled(id).await;
    assert_eq!(photo["state"], "ready", "{photo}");
    let stored = client.get(&format!("/v1/photos/{id}/original")).await.body;
    assert_eq!(blake3::hash(&stored).to_hex().as_str(), original, "the original of {photo}");
    assert_eq!(photo["variants"].as_array().unwrap().len(), VARIANTS);
    for variant in photo["variants"].as_array().unwrap() {
        let bytes = client.get(variant["url"].as_str().unwrap()).await.body;
        assert_eq!(blake3::hash(&bytes).to_hex().as_str(), variant["blake3"].as_str().unwrap(), "{variant}");
    }
}

/// Stops the daemon and sweeps: then the bucket holds what the metadata refers to, and nothing else.
pub(super) async fn nothing_is_left_behind(server: &Server, daemon: Daemon, setup: &Setup) {
    let client = daemon.client();
    let mut contents = BTreeSet::new();
    let mut count = 0;
    for photo in client.all().await {
        let photo = client.settled(id_of(&photo)).await;
        assert_eq!(photo["state"], "ready", "{photo}");
        contents.insert(photo["blake3"].as_str().unwrap().to_owned());
        count += 1;
    }
    let home = daemon.stop();
    let began = Instant::now();
    loop {
        let report = run_as(setup, &home, &["janitor", "--now", "--open"]);
        assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
        let report: Value = serde_json::from_slice(&report.stdout).unwrap();
        assert_eq!(report["intents_standing"], 0, "{report}");
        if report["tombstones_left"] == 0 {
            break;
        }
        // Some puts have failed, and may yet come about.
        assert!(began.elapsed() < LATE + SLACK, "{report}");
        tokio::time::sleep(POLL).await;
    }
    let mut found = BTreeMap::new();
    for key in server.objects().into_keys() {
        let kind = key.split_once('/').map_or(key.clone(), |(kind, _)| kind.to_owned());
        *found.entry(kind).or_insert(0) += 1;
    }
    let mut expected = BTreeMap::from([("store-id".to_owned(), 1)]);
    if count > 0 {
        expected.insert("originals".to_owned(), contents.len());
        expected.insert("variants".to_owned(), count * VARIANTS);
    }
    assert_eq!(found, expected, "the bucket is not what the metadata says");
    assert!(server.open_uploads().is_empty(), "{:?}", server.open_uploads());
}

#[tokio::test]
async fn a_photo_goes_in_and_every_size_comes_out() {
    let server = Server::start();
    let setup = on(&server, "");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    // Longer than what goes in one request: what follows the end marker belongs to the file, not to the picture.
    let original: Bytes = [&photos::phone(1)[..], vec![7; 20 << 20].as_slice()].concat().into();
    let photo = client.upload_settled(&original).await;
    whole(&client, id_of(&photo), blake3::hash(&original).to_hex().as_str()).await;
    assert!(server.seen().iter().any(|seen| seen.query.contains("partNumber=2")), "it went in parts");

    let path = photo["original"]["url"].as_str().unwrap();
    let last = original.len() - 1;
    for (range, expected) in [
        ("bytes=0-99".to_owned(), 0..100),
        (format!("bytes=1000-{}", last - 7), 1000..last - 6),
        ("bytes=-5".to_owned(), last - 4..last + 1),
    ] {
        let part = client.get_with(path, &[("range", &range)]).await;
        assert_eq!(part.status, StatusCode::PARTIAL_CONTENT, "{range}");
        assert!(part.body == original[expected.clone()], "{range}");
        let content_range = format!("bytes {}-{}/{}", expected.start, expected.end - 1, original.len());
        assert_eq!(part.header("content-range"), content_range);
    }
    let url = photo["variants"][0]["url"].as_str().unwrap();
    let variant = client.get(url).await;
    let unchanged = client.get_with(url, &[("if-none-match", variant.header("etag"))]).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (StatusCode::NOT_MODIFIED, 0));
    let head = client.send(Method::HEAD, url, &[], "").await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (StatusCode::OK, &*variant.body.len().to_string())
    );
    nothing_is_left_behind(&server, daemon, &setup).await;
}

#[tokio::test]
async fn what_is_deleted_goes_from_the_bucket_also_when_it_was_away() {
    let server = Server::start();
    let setup = on(&server, "");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let photo = client.upload_settled(&photos::photo(1, 400, 300)).await;
    server.go().await;
    let deleted = client.delete(&format!("/v1/photos/{}", id_of(&photo))).await;
    assert!(deleted.status.is_success(), "only metadata are needed: {deleted:?}");
    let swept = client.send(Method::POST, "/v1/admin/janitor", &[], "").await;
    assert_eq!(swept.problem(), "store-unavailable");
    server.come_back();
    let began = Instant::now();
    while client.send(Method::POST, "/v1/admin/janitor", &[], "").await.status != StatusCode::OK {
        assert!(began.elapsed() < BACK_WITHIN, "never swept");
        tokio::time::sleep(POLL).await;
    }
    nothing_is_left_behind(&server, daemon, &setup).await;
}

/// `DARKROOM_TEST_S3_GONE_SECONDS=60` for a whole minute.
#[tokio::test]
async fn while_the_server_is_gone_uploads_are_refused_soon_and_accepted_photos_wait() {
    let gone_for = Duration::from_secs(scale("DARKROOM_TEST_S3_GONE_SECONDS", 5) as u64);
    let server = Server::start();
    // The photo of this width may fail once for a reason of our own, and does: had the store's failures counted as
    // attempts, that would be its end.
    let setup = on(
        &server,
        "[pipeline]\nattempts_max = 2\n[[testing.faults]]\npoint = 'decode'\naction = 'panic'\nwidth = 333\ntimes = 1",
    );
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    // Originals can be written and not read: photos are accepted, and wait.
    let denied = Fault::Refuse(StatusCode::FORBIDDEN, "AccessDenied");
    server.faults().set([denied.on(Method::GET, "originals/")]);
    let mut accepted = Vec::new();
    for seed in 0..8 {
        let photo = photos::photo(seed, if seed == 0 { 333 } else { 400 }, 300);
        let id = upload_in_the_end(&client, &photo).await;
        accepted.push((id, blake3::hash(&photo).to_hex().to_string()));
    }
    // Each was tried, and some again.
    server.faults().hit(2 * accepted.len()).await;
    server.go().await;

    let (began, late) = (Instant::now(), photos::photo(100, 1200, 900));
    while began.elapsed() < gone_for {
        let asked = Instant::now();
        let answer = client.upload(&late).await;
        assert!(asked.elapsed() < DEADLINE + SLACK, "refused after {:?}", asked.elapsed());
        assert_eq!(answer.problem(), "store-unavailable");
        assert!(!answer.header("retry-after").is_empty(), "{answer:?}");
        tokio::time::sleep(POLL).await;
    }
    refused_before_its_body(&client, &late).await;
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_ne!(ready.json()["objects"], "ok", "{ready:?}");
    assert_eq!(ready.json()["metadata"], "ok", "{ready:?}");
    for (id, _) in &accepted {
        let photo = client.get(&format!("/v1/photos/{id}")).await;
        assert_eq!((photo.status, &photo.json()["state"]), (StatusCode::OK, &"processing".into()));
    }

    server.faults().clear();
    server.come_back();
    let back = Instant::now();
    for (id, hash) in &accepted {
        whole(&client, id, hash).await;
    }
    let id = upload_in_the_end(&client, &late).await;
    whole(&client, &id, blake3::hash(&late).to_hex().as_str()).await;
    println!("gone for {gone_for:?}; all ready {:?} after it was back", back.elapsed());
    assert!(back.elapsed() < BACK_WITHIN, "it took {:?}", back.elapsed());
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
    nothing_is_left_behind(&server, daemon, &setup).await;
}

/// Sends the head of an upload and not a byte of its body: the refusal comes all the same. Between two pauses of the
/// breaker one upload is let through to find out whether the server is back; then the next is asked.
async fn refused_before_its_body(client: &Client, photo: &Bytes) {
    let began = Instant::now();
    loop {
        assert_eq!(client.upload(photo).await.problem(), "store-unavailable");
        let mut stream = TcpStream::connect(client.address()).await.unwrap();
        let head =
            "POST /v1/photos HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 20000000\r\n\r\n";
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        if timeout(PAUSE / 2, stream.read_exact(&mut status)).await.is_ok_and(|read| read.is_ok()) {
            return assert_eq!(std::str::from_utf8(&status).unwrap(), "HTTP/1.1 503");
        }
        assert!(began.elapsed() < BACK_WITHIN, "no upload is refused before its body");
    }
}

/// Every fault that a request can meet, with what it is called.
fn faults() -> [(&'static str, Fault); 9] {
    [
        ("slow", Fault::Slow(Duration::from_secs(3))),
        ("500", Fault::internal_error()),
        ("SlowDown", Fault::slow_down()),
        ("cut request", Fault::CutRequest(1_000)),
        ("cut answer", Fault::CutAnswer(1_000)),
        ("lost answer", Fault::LoseAnswer),
        ("damaged request", Fault::CorruptRequest),
        ("damaged answer", Fault::CorruptAnswer),
        ("wrong checksum", Fault::WrongChecksum),
    ]
}

/// Both kinds of objects, written and read, meet it so often.
fn everywhere(fault: &Fault, times: usize) -> impl Iterator<Item = Rule> {
    let methods = [Method::PUT, Method::GET].into_iter();
    let places = methods.flat_map(|method| [(method.clone(), "originals/"), (method, "variants/")]);
    places.map(move |(method, kind)| fault.clone().on(method, kind).times(times))
}

#[tokio::test]
async fn no_fault_on_the_way_to_the_bucket_loses_or_damages_a_photo() {
    let server = Server::start();
    let setup = on(&server, "");
    let daemon = Daemon::start_with(&setup);
    let client = daemon.client();
    let mut accepted = Vec::new();
    for (number, (name, fault)) in faults().into_iter().enumerate() {
        server.faults().set(everywhere(&fault, 4));
        let began = Instant::now();
        let uploads = (0..4).map(|n| {
            let (client, photo) = (&client, photos::photo(number as u64 * 10 + n, 640, 480));
            async move {
                let id = upload_in_the_end(client, &photo).await;
                (id, blake3::hash(&photo).to_hex().to_string())
            }
        });
        for (id, hash) in futures_util::future::join_all(uploads).await {
            assert_eq!(client.settled(&id).await["state"], "ready", "{name}");
            accepted.push((id, hash));
        }
        assert!(server.faults().hits() >= 4, "{name}: only {} met it", server.faults().hits());
        assert!(began.elapsed() < BACK_WITHIN, "{name}: it took {:?}", began.elapsed());
        server.faults().clear();
    }
    for (id, hash) in &accepted {
        whole(&client, id, hash).await;
    }
    nothing_is_left_behind(&server, daemon, &setup).await;
}

/// What a client gets is whole, or visibly not.
#[tokio::test]
async fn a_body_that_breaks_off_in_the_bucket_is_never_short_for_a_client() {
    let server = Server::start();
    let daemon = Daemon::start_with(&on(&server, ""));
    let client = daemon.client();
    let original = photos::photo(1, 1600, 1200);
    let photo = client.upload_settled(&original).await;
    let path = format!("/v1/photos/{}/original", id_of(&photo));
    for at in [0, 1, original.len() / 2, original.len() - 1] {
        server.faults().set([Fault::CutAnswer(at).on(Method::GET, "originals/").times(1)]);
        assert!(client.get(&path).await.body == original, "cut after {at}");
        assert_eq!(server.faults().hits(), 1);
    }
    let half = Fault::CutAnswer(original.len() / 2).on(Method::GET, "originals/").times(1);
    server.faults().set([half, Fault::CutAnswer(0).on(Method::GET, "originals/")]);
    match client.try_send(client.request(Method::GET, &path, &[], Bytes::new())).await {
        Err(_) => {}
        Ok(answer) => assert_eq!(answer.problem(), "store-unavailable"),
    }
    server.faults().clear();
    let began = Instant::now();
    while is_refused(&client.get(&path).await) {
        assert!(began.elapsed() < BACK_WITHIN, "never read again");
        tokio::time::sleep(POLL).await;
    }
    assert!(client.get(&path).await.body == original);
}

fn is_refused(answer: &Answer) -> bool {
    answer.status == StatusCode::SERVICE_UNAVAILABLE
}

/// `DARKROOM_TEST_KILLS=20` for more; `DARKROOM_TEST_SEED` to repeat one.
#[tokio::test]
async fn kills_while_the_server_fails_lose_nothing_and_leave_nothing_behind() {
    let kills = scale("DARKROOM_TEST_KILLS", 4);
    let seed = scale("DARKROOM_TEST_SEED", rand::random::<u32>() as usize) as u64;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let acknowledged = Acknowledged::default();
    let server = Server::start();
    let setup = on(&server, "");
    let mut home = Arc::new(tempfile::tempdir().unwrap());
    for round in 0..kills {
        server.come_back_if_gone();
        server.faults().clear();
        let daemon = Daemon::start_on(home, &setup);
        server.faults().set(some_faults(&mut random));
        let uploads: Vec<_> =
            (0..6).map(|n| start_uploads(&daemon.client(), round * 6 + n, &acknowledged)).collect();
        // Not a wait for a condition: the moment of the kill is what is random.
        tokio::time::sleep(Duration::from_millis(random.random_range(100..2_500))).await;
        if random.random_bool(0.3) {
            server.go().await;
            tokio::time::sleep(Duration::from_millis(random.random_range(0..1_500))).await;
        }
        home = daemon.kill();
        for upload in uploads {
            // Each ends by itself, since the daemon is gone; what it asserted counts.
            upload.await.unwrap();
        }
    }
    server.come_back_if_gone();
    server.faults().clear();
    let acknowledged = acknowledged.lock().unwrap().clone();
    println!("{kills} kills, {} photos acknowledged", acknowledged.len());
    assert!(!acknowledged.is_empty(), "nothing was ever acknowledged: the test shows nothing");
    let daemon = Daemon::start_on(home, &setup);
    let client = daemon.client();
    for (id, hash) in &acknowledged {
        whole(&client, id, hash).await;
    }
    nothing_is_left_behind(&server, daemon, &setup).await;
}

/// Acknowledged photos: id and BLAKE3 of the original.
type Acknowledged = Arc<Mutex<BTreeMap<String, String>>>;

fn some_faults(random: &mut StdRng) -> Vec<Rule> {
    let faults = faults();
    let mut rules = Vec::new();
    for _ in 0..6 {
        let (_, fault) = faults.choose(random).unwrap();
        let method = [Method::PUT, Method::GET].choose(random).unwrap().clone();
        let kind = ["originals/", "variants/"].choose(random).unwrap();
        let rule = fault.clone().on(method, kind);
        rules.push(rule.skip(random.random_range(0..20)).times(random.random_range(1..8)));
    }
    rules
}

/// Uploads until the daemon is gone.
fn start_uploads(client: &Client, number: usize, acknowledged: &Acknowledged) -> tokio::task::JoinHandle<()> {
    let (client, acknowledged) = (client.clone(), acknowledged.clone());
    tokio::spawn(async move {
        let base = photos::photo(number as u64, 640, 480);
        for count in 0_u64.. {
            // Distinct bytes each time.
            let photo: Bytes = [&base[..], &count.to_le_bytes()].concat().into();
            let hash = blake3::hash(&photo).to_hex().to_string();
            let request = client.request(Method::POST, "/v1/photos", &[], photo);
            let Ok(answer) = client.try_send(request).await else { return };
            // What is refused was not acknowledged, and another is sent.
            if answer.status == StatusCode::CREATED {
                acknowledged.lock().unwrap().insert(id_of(&answer.json()).to_owned(), hash);
            } else {
                assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
                tokio::time::sleep(POLL).await;
            }
        }
    })
}

#[tokio::test]
async fn a_bucket_that_cannot_be_used_is_told_at_the_start() {
    let server = Server::start();
    let home = Arc::new(tempfile::tempdir().unwrap());
    let mut setup = on(&server, "");
    setup.environment[1].1 = "not/the/secret/of/this/key".to_owned();
    let told = Daemon::try_start_on(home.clone(), &setup).err().unwrap();
    assert!(told.contains("AWS_SECRET_ACCESS_KEY") && told.contains(BUCKET), "{told}");
    assert!(!told.contains("not/the/secret"), "{told}");
    let mut setup = on(&server, "");
    setup.config = setup.config.replace(&format!("'{BUCKET}'"), "'phtoos'");
    let told = Daemon::try_start_on(home.clone(), &setup).err().unwrap();
    assert!(told.contains("no such bucket") && told.contains("phtoos"), "{told}");
    server.go().await;
    let told = Daemon::try_start_on(home, &on(&server, "")).err().unwrap();
    assert!(told.contains(&server.endpoint()), "{told}");
}

#[test]
fn the_buckets_rules_are_shown_before_they_are_changed() {
    let server = Server::start();
    let home = tempfile::tempdir().unwrap();
    let setup =
        on(&server, "lifecycle_originals_days = 30\n[http]\ncors_origins = ['https://photos.example']");
    std::fs::write(home.path().join("darkroom.toml"), &setup.config).unwrap();
    let apply = |arguments: &[&str]| {
        let output = run_as(&setup, &home, arguments);
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    for look in 0..2 {
        let (applied, shown) = apply(&["bucket", "apply"]);
        assert!(!applied && shown.contains("+ darkroom-abort-uploads"), "look {look}: {shown}");
        assert!(shown.contains("+ darkroom-colder-originals, under originals/"), "look {look}: {shown}");
        assert!(shown.contains("+ darkroom-uploads: pages of https://photos.example may PUT"), "{shown}");
    }
    let (applied, shown) = apply(&["bucket", "apply", "--yes"]);
    assert!(applied && shown.contains("applied"), "{shown}");
    let (applied, shown) = apply(&["bucket", "apply", "--yes"]);
    assert!(applied && shown.contains("nothing to change"), "{shown}");
}
