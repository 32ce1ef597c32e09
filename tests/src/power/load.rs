//! Clients that upload, look and delete, and note what they were promised and when.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use super::Recorder;
use crate::{Client, photos};

/// Connections that upload.
const CLIENTS: u64 = 8;
/// What no client uploads so many of.
const CLIENT_PHOTOS_MAX: u64 = 1 << 20;
/// Uploads after which a client sweeps.
const SWEEP_EVERY: usize = 8;

/// What a client was told of a photo. Times are lengths of the log.
#[derive(Debug, Clone)]
pub struct Promise {
    pub id: String,
    /// BLAKE3 of its original.
    pub blake3: String,
    /// When its upload had been acknowledged.
    pub acknowledged: u64,
    /// When it had been seen ready.
    pub ready: Option<Ready>,
    /// When the client began to ask for its deletion: from then on it may be gone.
    pub delete_sent: Option<u64>,
    /// When its deletion had been acknowledged: from then on it must be gone.
    pub deleted: Option<u64>,
}

#[derive(Debug, Clone)]
pub struct Ready {
    pub seen: u64,
    /// Path and BLAKE3 of each variant.
    pub variants: Vec<(String, String)>,
}

/// What is known of a photo after a power cut.
#[derive(Debug, PartialEq, Eq)]
pub enum Expected {
    /// It was not promised yet, or its deletion was under way.
    Anything,
    There,
    Gone,
}

impl Promise {
    /// What must hold when the power went at `cut`.
    pub fn at(&self, cut: u64) -> Expected {
        let by_then = |moment: Option<u64>| moment.is_some_and(|moment| moment <= cut);
        if by_then(self.deleted) {
            Expected::Gone
        } else if self.acknowledged > cut || by_then(self.delete_sent) {
            Expected::Anything
        } else {
            Expected::There
        }
    }

    /// The variants that had been seen by then.
    pub fn variants_at(&self, cut: u64) -> &[(String, String)] {
        self.ready.as_ref().filter(|ready| ready.seen <= cut).map_or(&[], |ready| &ready.variants)
    }

    /// What is left of it when the power went at `cut` and the log began anew. None if nothing is known.
    pub fn carried_over(&self, cut: u64) -> Option<Self> {
        let expected = self.at(cut);
        let ready = self.ready.clone().filter(|ready| ready.seen <= cut);
        (expected != Expected::Anything).then(|| Self {
            acknowledged: 0,
            ready: ready.map(|ready| Ready { seen: 0, ..ready }),
            delete_sent: None,
            deleted: (expected == Expected::Gone).then_some(0),
            ..self.clone()
        })
    }
}

/// Has so many photos uploaded; what was promised. Loads whose bytes are to differ need seeds that differ in the
/// upper half.
pub async fn load(client: &Client, recorder: &Arc<Recorder>, count: usize, seed: u64) -> Vec<Promise> {
    let promises = Arc::new(Mutex::new(Vec::new()));
    let clients = (0..CLIENTS).map(|number| {
        let busy = Busy {
            client: client.clone(),
            recorder: recorder.clone(),
            promises: promises.clone(),
            random: StdRng::seed_from_u64(seed + number),
            originals: Vec::new(),
        };
        // No two clients upload the same bytes, but where they mean to.
        tokio::spawn(busy.run(count.div_ceil(CLIENTS as usize), seed + number * CLIENT_PHOTOS_MAX))
    });
    for client in futures_util::future::join_all(clients).await {
        client.unwrap();
    }
    client.idle().await;
    client.sweep().await;
    Arc::try_unwrap(promises).expect("every client has ended").into_inner().unwrap()
}

/// One client.
struct Busy {
    client: Client,
    recorder: Arc<Recorder>,
    promises: Arc<Mutex<Vec<Promise>>>,
    random: StdRng,
    originals: Vec<Bytes>,
}

impl Busy {
    async fn run(mut self, count: usize, seed: u64) {
        for number in 0..count {
            let mut promise = self.upload(seed + number as u64).await;
            if self.random.random_bool(0.5) {
                promise.ready = self.look(&promise.id).await;
            }
            if self.random.random_bool(0.25) {
                self.delete(&mut promise).await;
            }
            self.promises.lock().unwrap().push(promise);
            if number % SWEEP_EVERY == SWEEP_EVERY - 1 {
                self.client.sweep().await;
            }
        }
    }

    /// A photo of its own, or now and then the bytes of one before.
    async fn upload(&mut self, seed: u64) -> Promise {
        let again = self.originals.choose(&mut self.random).filter(|_| seed.is_multiple_of(8)).cloned();
        let (path, photo) = if let Some(photo) = again {
            ("/v1/photos?duplicate=allow", photo)
        } else {
            // What follows the end marker belongs to the file, not to the picture: so the bytes surely differ.
            let photo = [&photos::photo(seed, 200, 150)[..], &seed.to_le_bytes()].concat();
            ("/v1/photos", photo.into())
        };
        let answer = self.client.send(Method::POST, path, &[], photo.clone()).await;
        let acknowledged = self.recorder.position();
        assert_eq!(answer.status, StatusCode::CREATED, "{answer:?}");
        self.originals.push(photo.clone());
        Promise {
            id: text(&answer.json()["id"]),
            blake3: blake3::hash(&photo).to_hex().to_string(),
            acknowledged,
            ready: None,
            delete_sent: None,
            deleted: None,
        }
    }

    async fn look(&self, id: &str) -> Option<Ready> {
        let answer = self.client.get_with(&format!("/v1/photos/{id}"), &[("prefer", "wait=30")]).await;
        let seen = self.recorder.position();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let photo = answer.json();
        (photo["state"] == "ready").then(|| Ready { seen, variants: variants(&photo) })
    }

    async fn delete(&self, promise: &mut Promise) {
        promise.delete_sent = Some(self.recorder.position());
        let answer = self.client.delete(&format!("/v1/photos/{}", promise.id)).await;
        promise.deleted = Some(self.recorder.position());
        assert!(answer.status.is_success(), "{answer:?}");
    }
}

/// Path and BLAKE3 of a photo's variants.
pub fn variants(photo: &Value) -> Vec<(String, String)> {
    let variants = photo["variants"].as_array().map_or(&[][..], Vec::as_slice);
    variants.iter().map(|variant| (text(&variant["url"]), text(&variant["blake3"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
