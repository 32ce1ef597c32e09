//! Clients that upload until their daemon is gone, and one that looks at what the others made.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use darkroom_tests::{Client, photos};
use hyper::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PRESETS;

/// Connections that upload at once.
const CONNECTIONS: usize = 16;
/// Pictures of which the photos are made.
const PICTURES: u64 = 40;

/// Acknowledged photos: id and BLAKE3 of the original.
type Acknowledged = BTreeMap<String, String>;

/// Everything that was uploaded and seen, over all lives.
pub(super) struct Load {
    pictures: Arc<Vec<Bytes>>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    seen: Arc<Mutex<Seen>>,
}

/// What a reader saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) looks: usize,
    pub(super) photos: usize,
    pub(super) ready: usize,
    /// Photos that were neither processing without a variant, nor ready with all, nor failed with a reason; and variants
    /// that were not what the record said.
    pub(super) half: Vec<String>,
}

impl Load {
    pub(super) fn new(width: u32) -> Self {
        let pictures = (0..PICTURES).map(|n| photos::photo(n, width, width * 3 / 4)).collect();
        Self { pictures: Arc::new(pictures), acknowledged: Arc::default(), seen: Arc::default() }
    }

    pub(super) fn acknowledged(&self) -> Acknowledged {
        self.acknowledged.lock().unwrap().clone()
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }

    /// Clients of one daemon.
    pub(super) fn start(&self, client: &Client, random: &mut StdRng) -> Clients {
        let (count, acknowledged) = watch::channel(0);
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (pictures, all) = (self.pictures.clone(), self.acknowledged.clone());
            let random = StdRng::from_rng(random);
            tasks.push(tokio::spawn(upload(client.clone(), pictures, all, count.clone(), random)));
        }
        tasks.push(self.watch(client, random));
        Clients { tasks, acknowledged }
    }

    /// One that only looks.
    pub(super) fn watch(&self, client: &Client, random: &mut StdRng) -> JoinHandle<()> {
        tokio::spawn(look_on(client.clone(), self.seen.clone(), StdRng::from_rng(random)))
    }
}

/// Clients of one life of the daemon.
pub(super) struct Clients {
    tasks: Vec<JoinHandle<()>>,
    acknowledged: watch::Receiver<usize>,
}

impl Clients {
    /// Waits until so many uploads were acknowledged in this life.
    pub(super) async fn acknowledged(&self, wanted: usize) {
        let mut count = self.acknowledged.clone();
        count
            .wait_for(|count| *count >= wanted)
            .await
            .expect("all clients ended before the daemon was to die");
    }

    /// Waits until all have ended, which they do when the daemon is gone. What they asserted counts.
    pub(super) async fn end(self) {
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

async fn upload(
    client: Client,
    pictures: Arc<Vec<Bytes>>,
    acknowledged: Arc<Mutex<Acknowledged>>,
    count: watch::Sender<usize>,
    mut random: StdRng,
) {
    loop {
        // Distinct bytes each time: what follows the end marker belongs to the file, not to the picture.
        let picture = &pictures[random.random_range(0..pictures.len())];
        let photo = [&picture[..], &random.random::<[u8; 16]>()].concat();
        let hash = blake3::hash(&photo).to_hex().to_string();
        let request = client.request(Method::POST, "/v1/photos", &[], photo.into());
        let Ok(answer) = client.try_send(request).await else { return };
        // What is refused (a full house) was not acknowledged, and is simply sent again later.
        if answer.status == StatusCode::CREATED {
            let id = answer.json()["id"].as_str().unwrap().to_owned();
            acknowledged.lock().unwrap().insert(id, hash);
            count.send_modify(|count| *count += 1);
        } else {
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{answer:?}");
        }
    }
}

/// Looks at all photos page by page, again and again, and at a variant of one of each page.
async fn look_on(client: Client, seen: Arc<Mutex<Seen>>, mut random: StdRng) {
    let mut cursor = None;
    loop {
        let limit = random.random_range(1..=100);
        let from: String = cursor.take().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
        let request =
            client.request(Method::GET, &format!("/v1/photos?limit={limit}{from}"), &[], Bytes::new());
        let Ok(answer) = client.try_send(request).await else { return };
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let page = answer.json();
        cursor = page["next"].as_str().map(str::to_owned);
        let photos = page["items"].as_array().unwrap();
        let ready: Vec<_> = photos.iter().filter(|photo| photo["state"] == "ready").collect();
        {
            let mut seen = seen.lock().unwrap();
            seen.looks += 1;
            seen.photos += photos.len();
            seen.ready += ready.len();
            seen.half.extend(photos.iter().filter(|photo| !is_whole(photo)).map(ToString::to_string));
        }
        if ready.is_empty() {
            continue;
        }
        let photo = ready[random.random_range(0..ready.len())];
        let variant = &photo["variants"][random.random_range(0..PRESETS)];
        let url = variant["url"].as_str().unwrap();
        let Ok(answer) = client.try_send(client.request(Method::GET, url, &[], Bytes::new())).await else {
            return;
        };
        if blake3::hash(&answer.body).to_hex().as_str() != variant["blake3"].as_str().unwrap_or_default() {
            seen.lock().unwrap().half.push(format!("{} from {variant}", answer.status));
        }
    }
}

/// Whether a photo is wholly in one state.
fn is_whole(photo: &Value) -> bool {
    let variants = photo["variants"].as_array().unwrap();
    let made = variants.iter().filter(|variant| variant["blake3"].is_string()).count();
    match photo["state"].as_str() {
        Some("processing") => made == 0 && photo["failure"].is_null(),
        Some("ready") => made == PRESETS && variants.len() == PRESETS && photo["failure"].is_null(),
        Some("failed") => made == 0 && photo["failure"]["detail"].is_string(),
        _ => false,
    }
}
