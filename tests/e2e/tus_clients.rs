//! Resumable uploads with the clients that people use, tus-js-client and tuspy, over a network that cuts them off, to a
//! daemon that is killed.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use darkroom_tests::clients::Running;
use darkroom_tests::daemon::files;
use darkroom_tests::{Client, Clients, Cutting, Daemon, Setup, Weather, photos, scale};
use hyper::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use serde_json::{Value, json};

/// What the clients send at once.
const CHUNK: u64 = 5_000_000;
/// Between two looks at what tells nobody when it changes.
const POLL: Duration = Duration::from_millis(5);
/// What a life of the daemon may take at its peak while it receives files of any size, and holds no pixels. The windows of
/// requests that were cut off, and of those that took their place, are the most of it.
const MEMORY_MAX: u64 = 320 << 20;
/// Pages of this origin may upload.
const ORIGIN: &str = "http://gallery.example";

/// A photo as long as one likes: behind the end marker of a JPEG, whatever follows belongs to the file.
struct LargePhoto {
    path: PathBuf,
    bytes: u64,
    hash: blake3::Hash,
}

impl LargePhoto {
    fn new(folder: &Path, seed: u64, bytes: u64) -> Self {
        let path = folder.join(format!("photo-{seed}.jpg"));
        let mut file = std::fs::File::create(&path).unwrap();
        let (mut random, mut hasher) = (StdRng::seed_from_u64(seed), blake3::Hasher::new());
        let mut piece = photos::photo(seed, 640, 480).to_vec();
        let mut left = bytes.checked_sub(piece.len() as u64).expect("room for the picture");
        loop {
            file.write_all(&piece).unwrap();
            hasher.update(&piece);
            if left == 0 {
                return Self { path, bytes, hash: hasher.finalize() };
            }
            piece.resize(left.min(1 << 20) as usize, 0);
            random.fill_bytes(&mut piece);
            left -= piece.len() as u64;
        }
    }
}

/// A daemon that takes files of this size from a page of [`ORIGIN`].
fn setup(bytes: u64, more: &str) -> Setup {
    let largest = bytes.max(64 << 20);
    Setup::config(&format!(
        "[limits]\nupload_bytes_max = {largest}\n[budgets]\nbodies = {}\nstripping = {}\n\
         [http]\ncors_origins = ['{ORIGIN}']\n{more}",
        2 * largest + (128 << 20),
        3 * largest,
    ))
}

/// A network that cuts every connection, most often in the middle of its first chunks: one that were spared would be kept
/// by its client, and nothing be cut any more.
fn bad(seed: u64) -> Weather {
    Weather {
        seed,
        cut_share: 1.0,
        sent: 0..3 * CHUNK,
        answered: 0..1_000,
        delay_max: Duration::from_micros(500),
    }
}

fn endpoint(url: &str) -> String {
    format!("{url}/v1/uploads")
}

/// The path below the daemon's address.
fn path_of(url: &str) -> String {
    let path = url.strip_prefix("http://").unwrap_or(url);
    path[path.find('/').unwrap()..].to_owned()
}

fn seed() -> u64 {
    let seed = scale("DARKROOM_TEST_SEED", rand::random::<u32>() as usize) as u64;
    println!("seed {seed}");
    seed
}

/// The upload has become a photo that is ready, and its original is the file. The upload as it is told then.
async fn became(client: &Client, report: &Value, file: &LargePhoto) -> Value {
    let upload = client.get(&path_of(report["url"].as_str().unwrap())).await;
    assert_eq!(upload.status, StatusCode::OK, "{upload:?}");
    let upload = upload.json();
    assert_eq!((&upload["state"], &upload["offset"]), (&"done".into(), &file.bytes.into()), "{upload}");
    let id = upload["photo"]["id"].as_str().unwrap();
    // Its answer may have been lost; where the client has got one, it says which photo.
    if let Some(photo) = report["photo"].as_str() {
        assert_eq!(path_of(photo), format!("/v1/photos/{id}"));
    }
    let photo = client.settled(id).await;
    assert_eq!(photo["state"], "ready", "{photo}");
    let original = client.hash_of(&format!("/v1/photos/{id}/original")).await;
    assert_eq!(original, (file.bytes, file.hash), "{photo}");
    upload
}

/// The client never found an offset behind one that it had been told, and its upload was never lost.
fn kept_its_place(report: &Value) {
    let backs: Vec<&Value> =
        ["offsetBack", "offset_back"].iter().filter_map(|back| report.get(back)).collect();
    assert_eq!(backs, [&json!([])], "{report:#}");
    if let Some(urls) = report.get("urls") {
        assert_eq!(urls.as_array().unwrap().len(), 1, "{report:#}");
    }
}

/// Looks at a daemon's peak memory as long as it lives.
struct Watch {
    peak: Arc<AtomicU64>,
    looking: JoinHandle<()>,
}

impl Watch {
    fn on(daemon: &Daemon) -> Self {
        let (peak, status) = (Arc::new(AtomicU64::new(0)), format!("/proc/{}/status", daemon.pid()));
        let found = peak.clone();
        let looking = std::thread::spawn(move || {
            while let Some(bytes) = peak_in(&status) {
                found.store(bytes, Ordering::Relaxed);
                std::thread::sleep(POLL);
            }
        });
        Self { peak, looking }
    }

    /// The peak of a life that is over.
    fn peak(self) -> u64 {
        self.looking.join().unwrap();
        self.peak.load(Ordering::Relaxed)
    }
}

/// `VmHWM` of a process that lives, in bytes.
fn peak_in(status: &str) -> Option<u64> {
    let status = std::fs::read_to_string(status).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? << 10)
}

/// `DARKROOM_TEST_TUS_BYTES=1000000000` for the whole gigabyte.
async fn arrives_identical(start: impl FnOnce(&Clients, &str, &LargePhoto) -> Running) {
    let Some(clients) = Clients::installed() else { return };
    let (seed, bytes) = (seed(), scale("DARKROOM_TEST_TUS_BYTES", 64_000_000) as u64);
    let mut random = StdRng::seed_from_u64(seed);
    let file = LargePhoto::new(clients.folder(), seed, bytes);
    let mut daemon = Daemon::start_with(&setup(bytes, ""));
    let network = Cutting::start(daemon.url(), bad(seed)).await;
    let mut client = start(&clients, &endpoint(&network.url()), &file);
    let mut peaks = Vec::new();
    // In the last of these lives the daemon ends at the worst moment: the photo is there, and nobody has been told.
    let last = "[[testing.faults]]\npoint = 'photo_committed'\naction = 'kill'";
    for (life, more) in ["", "", last].into_iter().enumerate() {
        let watch = Watch::on(&daemon);
        let third = bytes / 3;
        let moment = third * life as u64 + random.random_range(third / 10..third * 9 / 10);
        let carried = network.carried_at_least(moment);
        assert!(!ends_first(&mut client, carried).await, "{}", client.said());
        let home = daemon.kill();
        peaks.push(watch.peak());
        daemon = Daemon::start_on(home, &setup(bytes, more));
        network.point_at(daemon.url());
    }
    let watch = Watch::on(&daemon);
    let dies = async {
        while peak_in(&format!("/proc/{}/status", daemon.pid())).is_some() {
            tokio::time::sleep(POLL).await; // Polling for the condition: there is no event.
        }
    };
    assert!(!ends_first(&mut client, dies).await, "{}", client.said());
    let home = daemon.kill();
    peaks.push(watch.peak());
    let daemon = Daemon::start_on(home, &setup(bytes, ""));
    network.point_at(daemon.url());

    let report = client.succeeds().await;
    kept_its_place(&report);
    became(&daemon.client(), &report, &file).await;
    println!(
        "{bytes} bytes, {} carried, {} cuts, 4 kills, peaks of {:?} MiB; with decoding {} MiB",
        network.carried(),
        network.cuts(),
        peaks.iter().map(|peak| peak >> 20).collect::<Vec<_>>(),
        daemon.memory_peak() >> 20,
    );
    assert!(network.cuts() > 0, "nothing was cut: the test shows nothing");
    assert!(peaks.iter().all(|peak| (1..MEMORY_MAX).contains(peak)), "{peaks:?}");
    nothing_of_uploads_is_left(&daemon).await;
}

/// Waits for it; whether the client ends before.
async fn ends_first(client: &mut Running, what: impl Future<Output = ()>) -> bool {
    let ends = async {
        while !client.has_ended() {
            tokio::time::sleep(POLL).await; // Polling for the condition: there is no event.
        }
    };
    tokio::select! {
        () = what => false,
        () = ends => true,
    }
}

/// What came in pieces lies in the store only as originals, once the Janitor has been there.
async fn nothing_of_uploads_is_left(daemon: &Daemon) {
    daemon.client().idle().await;
    daemon.client().sweep().await;
    let left = files(&daemon.data().join("objects/uploads"));
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tus_js_client_brings_a_large_file_through_cuts_and_kills() {
    let options = |endpoint: &str, file: &LargePhoto| json!({ "endpoint": endpoint, "file": file.path, "chunkSize": CHUNK });
    arrives_identical(|clients, endpoint, file| clients.start("upload.mjs", &options(endpoint, file))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tuspy_brings_a_large_file_through_cuts_and_kills() {
    let options = |endpoint: &str, file: &LargePhoto| json!({ "endpoint": endpoint, "file": file.path, "chunk_size": CHUNK });
    arrives_identical(|clients, endpoint, file| clients.start("upload.py", &options(endpoint, file))).await;
}

/// Every way of tus-js-client to send a file, beside `chunkSize`. Where the last request has to be told apart from the
/// others, it is given a stream or a buffer: of files it does not know which is the last (`FileSource` in 4.3.1).
fn ways() -> Vec<(&'static str, Value)> {
    let defers = json!({ "source": "stream", "uploadLengthDeferred": true });
    vec![
        ("a file", json!({})),
        ("with the first bytes", json!({ "uploadDataDuringCreation": true })),
        ("without knowing how long it is", defers),
        ("in parts at once", json!({ "parallelUploads": 3 })),
        (
            "in parts at once, each with its first bytes",
            json!({ "parallelUploads": 3, "uploadDataDuringCreation": true }),
        ),
        ("where PATCH is not allowed", json!({ "overridePatchMethod": true })),
        ("draft, interop version 6", json!({ "source": "buffer", "protocol": "ietf-draft-05" })),
        (
            "draft, with the first bytes",
            json!({
                "source": "buffer", "protocol": "ietf-draft-05", "uploadDataDuringCreation": true,
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tus_js_client_in_every_way() {
    let Some(clients) = Clients::installed() else { return };
    let daemon = Daemon::start_with(&setup(0, ""));
    for (number, (way, options)) in ways().into_iter().enumerate() {
        let report = in_this_way(&clients, &daemon, way, number as u64, options, Weather::fair()).await;
        assert_eq!(report["failures"], json!([]), "{way}: {report:#}");
        assert!(report["photo"].is_string(), "{way}: told which photo: {report:#}");
    }
    nothing_of_uploads_is_left(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tus_js_client_in_every_way_through_cuts() {
    let Some(clients) = Clients::installed() else { return };
    let (seed, daemon) = (seed(), Daemon::start_with(&setup(0, "")));
    for (number, (way, options)) in ways().into_iter().enumerate() {
        in_this_way(&clients, &daemon, way, number as u64, options, bad(seed + number as u64)).await;
    }
}

/// Uploads a file in one of these ways; what the client reports.
async fn in_this_way(
    clients: &Clients,
    daemon: &Daemon,
    way: &str,
    number: u64,
    mut options: Value,
    weather: Weather,
) -> Value {
    let file = LargePhoto::new(clients.folder(), number, 12_345_678 + number);
    let network = Cutting::start(daemon.url(), weather).await;
    options["endpoint"] = endpoint(&network.url()).into();
    options["file"] = file.path.to_str().into();
    options["chunkSize"] = CHUNK.into();
    println!("{way}");
    let report = clients.start("upload.mjs", &options).succeeds().await;
    println!("{} cuts, {report}", network.cuts());
    assert_eq!(report["offsetBack"], json!([]), "{way}: {report:#}");
    became(&daemon.client(), &report, &file).await;
    report
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tuspy_sends_checksums_and_metadata_or_none() {
    let Some(clients) = Clients::installed() else { return };
    let daemon = Daemon::start_with(&setup(0, ""));
    for (number, options) in [
        json!({ "upload_checksum": true, "metadata": { "filename": "Größe.jpg", "filetype": "image/jpeg" } }),
        json!({ "upload_checksum": false, "metadata": {} }),
    ]
    .into_iter()
    .enumerate()
    {
        for weather in [Weather::fair(), bad(seed())] {
            let number = 2 * number as u64 + u64::from(weather.cut_share > 0.0);
            let file = LargePhoto::new(clients.folder(), number, 12_345_678 + number);
            let network = Cutting::start(daemon.url(), weather).await;
            let mut options = options.clone();
            options["endpoint"] = endpoint(&network.url()).into();
            options["file"] = file.path.to_str().into();
            options["chunk_size"] = CHUNK.into();
            let report = clients.start("upload.py", &options).succeeds().await;
            println!("{} cuts, {report}", network.cuts());
            kept_its_place(&report);
            let upload = became(&daemon.client(), &report, &file).await;
            assert_eq!(upload.get("filename"), options["metadata"].get("filename"), "{upload}");
        }
    }
    nothing_of_uploads_is_left(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_process_began_another_goes_on_with() {
    let Some(clients) = Clients::installed() else { return };
    let daemon = Daemon::start_with(&setup(0, ""));
    let endpoint = endpoint(daemon.url());
    for (script, more) in [
        ("upload.mjs", json!({ "chunkSize": CHUNK, "stopAfter": CHUNK })),
        ("upload.py", json!({ "chunk_size": CHUNK, "stop_after": CHUNK })),
    ] {
        let file = LargePhoto::new(clients.folder(), script.len() as u64, 3 * CHUNK);
        let mut options = more;
        options["endpoint"] = endpoint.clone().into();
        options["file"] = file.path.to_str().into();
        options["storage"] = clients.folder().join(format!("{script}.urls")).to_str().into();
        let report = clients.start(script, &options).succeeds().await;
        assert_eq!(report["stopped"], CHUNK, "{report:#}");
        for stop in ["stopAfter", "stop_after"] {
            options.as_object_mut().unwrap().remove(stop);
        }
        let report = clients.start(script, &options).succeeds().await;
        let resumed = report.get("resumedAt").or(report.get("resumed_at"));
        assert_eq!(resumed, Some(&CHUNK.into()), "{report:#}");
        became(&daemon.client(), &report, &file).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_client_gives_up_is_gone() {
    let Some(clients) = Clients::installed() else { return };
    let daemon = Daemon::start_with(&setup(0, ""));
    let file = LargePhoto::new(clients.folder(), 1, 3 * CHUNK);
    let options = json!({
        "endpoint": endpoint(daemon.url()), "file": file.path, "chunkSize": CHUNK, "terminateAfter": CHUNK,
    });
    let report = clients.start("upload.mjs", &options).succeeds().await;
    assert_eq!(report["terminated"], CHUNK, "{report:#}");
    let url = path_of(report["urls"][0].as_str().unwrap());
    let head = daemon.client().send(Method::HEAD, &url, &[("tus-resumable", "1.0.0")], "").await;
    assert!([StatusCode::NOT_FOUND, StatusCode::GONE].contains(&head.status), "{head:?}");
    nothing_of_uploads_is_left(&daemon).await;
}

/// A client is told, once, and does not try for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_photo_is_refused_where_the_client_can_read_it() {
    let Some(clients) = Clients::installed() else { return };
    let daemon = Daemon::start_with(&setup(0, ""));
    let file = clients.folder().join("notes.jpg");
    std::fs::write(&file, "this is no photo ".repeat(1_000_000)).unwrap();
    for (script, mut options) in [
        ("upload.mjs", json!({ "chunkSize": CHUNK })),
        ("upload.mjs", json!({})),
        ("upload.py", json!({ "chunk_size": CHUNK })),
    ] {
        options["endpoint"] = endpoint(daemon.url()).into();
        options["file"] = file.to_str().into();
        let report = clients.start(script, &options).report().await;
        assert_eq!(report["status"], 415, "{script} {options}: {report:#}");
        let problem: Value = serde_json::from_str(report["body"].as_str().unwrap()).unwrap();
        assert_eq!(problem["type"], "/problems/unsupported-image", "{problem}");
    }
    nothing_of_uploads_is_left(&daemon).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_a_configured_origin_uploads_and_another_may_not() {
    let Some(clients) = Clients::installed() else { return };
    let daemon = Daemon::start_with(&setup(0, ""));
    let seed = seed();
    for (number, (way, mut options)) in [
        ("a file", json!({})),
        ("with the first bytes", json!({ "uploadDataDuringCreation": true, "addRequestId": true })),
        ("in parts at once", json!({ "parallelUploads": 3 })),
        ("where PATCH is not allowed", json!({ "overridePatchMethod": true })),
        ("draft, interop version 6", json!({ "protocol": "ietf-draft-05" })),
    ]
    .into_iter()
    .enumerate()
    {
        let file = LargePhoto::new(clients.folder(), 100 + number as u64, 12_345_678);
        for weather in [Weather::fair(), bad(seed + number as u64)] {
            let network = Cutting::start(daemon.url(), weather).await;
            options["origin"] = ORIGIN.into();
            options["endpoint"] = endpoint(&network.url()).into();
            options["file"] = file.path.to_str().into();
            options["chunkSize"] = CHUNK.into();
            println!("{way}");
            let report = clients.start("browser.mjs", &options).succeeds().await;
            println!("{way}: {} cuts, {report}", network.cuts());
            assert_eq!(report["forbidden"], json!([]), "{way}: {report:#}");
            assert!(report["preflights"].as_array().unwrap().contains(&"POST".into()), "{way}: {report:#}");
            if network.cuts() == 0 {
                assert!(report["photo"].is_string(), "{way}: the page may read which photo: {report:#}");
            }
            became(&daemon.client(), &report, &file).await;
        }
    }
    let photos = daemon.client().all().await.len();
    let file = LargePhoto::new(clients.folder(), 200, CHUNK);
    let options = json!({
        "origin": "http://elsewhere.example", "endpoint": endpoint(daemon.url()), "file": file.path, "retryDelays": null,
    });
    let report = clients.start("browser.mjs", &options).report().await;
    assert!(report["error"].is_string() && report["status"].is_null(), "{report:#}");
    assert_eq!(daemon.client().all().await.len(), photos);
}

/// The code under this heading of `docs/uploads.md`.
fn documented(heading: &str) -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/uploads.md");
    let page = std::fs::read_to_string(path).unwrap();
    let (_, section) = page.split_once(&format!("\n### {heading}\n")).expect(heading);
    let (_, code) = section.split_once("\n```").expect("a block of code");
    let (code, _) = code.split_once("\n```\n").expect("its end");
    code.split_once('\n').unwrap().1.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_documentation_shows_works_as_it_stands() {
    let Some(clients) = Clients::installed() else { return };
    let daemon = Daemon::start_with(&setup(0, ""));
    for (number, (heading, script)) in
        [("tus-js-client", "documented.mjs"), ("tuspy", "documented.py"), ("curl", "documented.sh")]
            .into_iter()
            .enumerate()
    {
        std::fs::write(clients.folder().join(script), documented(heading)).unwrap();
        let file = LargePhoto::new(clients.folder(), number as u64, 12_345_678);
        let arguments = [daemon.url(), file.path.to_str().unwrap()];
        let (well, printed) = clients.start_with(script, &arguments).ended().await;
        assert!(well, "{heading}");
        let photo = daemon.client().settled(printed.trim().rsplit('/').next().unwrap()).await;
        assert_eq!(photo["blake3"], file.hash.to_hex().as_str(), "{heading}: {printed}");
    }
}
