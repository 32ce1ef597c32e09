//! What is there in the end: every original and every variant, byte by byte, and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use darkroom_media::{Limits, Scratch};
use darkroom_tests::daemon::{files, run};
use darkroom_tests::{Client, Daemon, Setup};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::{CONFIG, PRESETS};

/// Longest time in which no photo is settled while some are not.
const STANDSTILL: Duration = Duration::from_secs(60);

/// What was found. Everything but the first two is to be empty.
#[derive(Debug, Default)]
pub(super) struct Aftermath {
    photos: usize,
    variants: usize,
    /// Acknowledged, and gone, or other bytes than were sent.
    lost: Vec<String>,
    /// Neither ready nor on the way to it.
    stuck: Vec<String>,
    /// Variants that are not what the record says, or no picture.
    damaged: Vec<String>,
    /// Files that no record knows, and records without a file.
    orphans: Vec<String>,
}

impl fmt::Display for Aftermath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} photos, {} variants decoded, {} lost, {} stuck, {} damaged, {} orphans",
            self.photos,
            self.variants,
            self.lost.len(),
            self.stuck.len(),
            self.damaged.len(),
            self.orphans.len()
        )
    }
}

impl Aftermath {
    /// Fails unless all is well.
    pub(super) fn check(&self) {
        let wrong = [&self.lost, &self.stuck, &self.damaged, &self.orphans].map(Vec::len);
        assert_eq!(wrong, [0; 4], "{self:#?}");
        assert_eq!(self.variants, self.photos * PRESETS);
    }
}

/// Starts a last daemon on `home`, waits until it has nothing to do, and looks at everything.
///
/// `watch` begins to look on meanwhile.
pub(super) async fn look(
    home: Arc<TempDir>,
    acknowledged: &BTreeMap<String, String>,
    watch: impl FnOnce(&Client) -> JoinHandle<()>,
) -> Aftermath {
    let mut found = Aftermath::default();
    let daemon = Daemon::start_on(home, &Setup::config(CONFIG));
    let client = daemon.client();
    let watching = watch(&client);
    let photos = settle(&client).await;
    watching.abort();
    // What it asserted counts.
    let failed = watching.await.is_err_and(|ended| ended.is_panic());
    assert!(!failed, "the one who looked on has failed");
    for (id, hash) in acknowledged {
        let original = client.get(&format!("/v1/photos/{id}/original")).await;
        if blake3::hash(&original.body).to_hex().as_str() != hash {
            found.lost.push(format!("{id}: {}", original.status));
        }
    }
    for photo in &photos {
        found.photos += 1;
        if photo["state"] != "ready" {
            found.stuck.push(photo.to_string());
            continue;
        }
        for variant in photo["variants"].as_array().unwrap() {
            let bytes = client.get(variant["url"].as_str().unwrap()).await.body;
            match check_variant(variant, &bytes) {
                Ok(()) => found.variants += 1,
                Err(why) => found.damaged.push(format!("{why}: {variant}")),
            }
        }
    }
    // What no client was told of may exist, but nothing else may.
    let data = daemon.data();
    let _home = daemon.stop();
    let report = run(&["janitor", "--now"], &data);
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let left = (&report["intents_standing"], &report["tombstones_left"]);
    assert_eq!(left, (&0.into(), &0.into()), "{report}");
    found.orphans = compare(&photos, &data.join("objects"));
    found
}

/// Every photo, once none is processing any more, or none has been settled for too long.
async fn settle(client: &Client) -> Vec<Value> {
    let (mut fewest, mut since) = (usize::MAX, Instant::now());
    loop {
        let processing = client.metric("darkroom_photos{state=\"processing\"}").await as usize;
        if processing < fewest {
            (fewest, since) = (processing, Instant::now());
        }
        if processing == 0 || since.elapsed() > STANDSTILL {
            return client.all().await;
        }
        tokio::time::sleep(Duration::from_millis(200)).await; // Polling for the condition.
    }
}

/// The bytes are those of the record, and a whole picture of its size.
fn check_variant(variant: &Value, bytes: &[u8]) -> Result<(), String> {
    if blake3::hash(bytes).to_hex().as_str() != variant["blake3"].as_str().unwrap_or_default() {
        return Err("other bytes than recorded".to_owned());
    }
    let limits = Limits::default();
    let probe = darkroom_media::probe(bytes, &limits).map_err(|error| error.to_string())?;
    let (width, height) = probe.shown_size();
    if (&variant["width"], &variant["height"]) != (&width.into(), &height.into()) {
        return Err(format!("{width}×{height} pixels"));
    }
    let decoded = darkroom_media::decode(bytes, &probe, &limits, &mut Scratch::default());
    let decoded = decoded.map_err(|error| error.to_string())?;
    decoded.damage().map_or(Ok(()), |damage| Err(damage.to_owned()))
}

/// Files and records that do not match: each content once for originals, once per photo for variants.
fn compare(photos: &[Value], objects: &Path) -> Vec<String> {
    let hash = |value: &Value| value["blake3"].as_str().unwrap_or_default().to_owned();
    let mut balance: BTreeMap<(&str, String), i64> = BTreeMap::new();
    for photo in photos {
        balance.insert(("originals", hash(photo)), 1);
        for variant in photo["variants"].as_array().unwrap() {
            *balance.entry(("variants", hash(variant))).or_default() += 1;
        }
    }
    for kind in ["originals", "variants", "tmp"] {
        for file in files(&objects.join(kind)) {
            let hash = blake3::hash(&std::fs::read(&file).unwrap()).to_hex().to_string();
            *balance.entry((kind, hash)).or_default() -= 1;
        }
    }
    let wrong = balance.into_iter().filter(|(_, count)| *count != 0);
    wrong.map(|((kind, hash), missing)| format!("{kind} {hash}: {missing} files missing")).collect()
}
