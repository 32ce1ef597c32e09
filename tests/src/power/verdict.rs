//! Whether a daemon on the disk that a power cut left keeps what was promised before.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use hyper::StatusCode;
use serde_json::Value;
use tempfile::TempDir;

use super::load::{Expected, Promise, variants};
use crate::daemon::{files, run};
use crate::{Answer, Client, Daemon, Setup};

/// Starts a daemon on it; the first promise that is broken, in words.
pub async fn verdict(
    home: Arc<TempDir>,
    setup: &Setup,
    promises: &[Promise],
    cut: u64,
) -> Result<(), String> {
    let daemon =
        Daemon::try_start_on(home, setup).map_err(|log| format!("the daemon does not start: {log}"))?;
    let client = daemon.client();
    for promise in promises {
        keeps(&client, promise, cut).await?;
    }
    let photos = settled(&client).await?;
    let data = daemon.data();
    let _home = daemon.stop();
    left_over(&data, &photos)
}

/// Whether one photo is there or gone, its original and the variants that were seen are whole, and what was ready is.
async fn keeps(client: &Client, promise: &Promise, cut: u64) -> Result<(), String> {
    let id = &promise.id;
    let answer = get(client, &format!("/v1/photos/{id}")).await?;
    match promise.at(cut) {
        Expected::Anything => return Ok(()),
        Expected::Gone if answer.status == StatusCode::NOT_FOUND => return Ok(()),
        Expected::Gone => return Err(format!("photo {id} was deleted and is back: {}", answer.status)),
        Expected::There if answer.status == StatusCode::OK => {}
        Expected::There => return Err(format!("photo {id} is lost: {}", answer.status)),
    }
    let state = &answer.json()["state"];
    let seen = promise.variants_at(cut);
    if state == "failed" || (!seen.is_empty() && state != "ready") {
        return Err(format!("photo {id} is {state} although it was acknowledged, or seen ready"));
    }
    same(client, &format!("/v1/photos/{id}/original"), &promise.blake3).await?;
    for (path, blake3) in seen {
        same(client, path, blake3).await?;
    }
    Ok(())
}

/// Every photo once it is ready, with all its variants.
async fn settled(client: &Client) -> Result<Vec<Value>, String> {
    let mut photos = Vec::new();
    for photo in client.all().await {
        let photo = client.settled(photo["id"].as_str().unwrap_or_default()).await;
        if photo["state"] != "ready" {
            return Err(format!("a photo does not become ready: {photo}"));
        }
        for (path, blake3) in variants(&photo) {
            same(client, &path, &blake3).await?;
        }
        photos.push(photo);
    }
    Ok(photos)
}

/// Whether anything is left in the object store that nothing refers to.
fn left_over(data: &Path, photos: &[Value]) -> Result<(), String> {
    let sweep = run(&["janitor", "--now"], data);
    if !sweep.status.success() {
        return Err(format!("the janitor fails: {}", String::from_utf8_lossy(&sweep.stderr)));
    }
    let report: Value = serde_json::from_slice(&sweep.stdout).map_err(|error| error.to_string())?;
    if report["intents_standing"] != 0 || report["tombstones_left"] != 0 {
        return Err(format!("the janitor leaves something: {report}"));
    }
    let count = |folder: &str| files(&data.join("objects").join(folder)).len();
    let originals: BTreeSet<_> = photos.iter().map(|photo| photo["blake3"].as_str()).collect();
    let made: usize = photos.iter().map(|photo| variants(photo).len()).sum();
    let (found, needed) = ((count("originals"), count("variants")), (originals.len(), made));
    if found != needed || count("tmp") != 0 {
        return Err(format!(
            "originals and variants: {found:?} files, {needed:?} of them needed; {} temporary files",
            count("tmp")
        ));
    }
    Ok(())
}

async fn same(client: &Client, path: &str, blake3: &str) -> Result<(), String> {
    let answer = get(client, path).await?;
    let found = blake3::hash(&answer.body).to_hex();
    if answer.status == StatusCode::OK && found.as_str() == blake3 {
        return Ok(());
    }
    Err(format!("{path} is damaged or lost: {}, {} bytes, BLAKE3 {found}", answer.status, answer.body.len()))
}

async fn get(client: &Client, path: &str) -> Result<Answer, String> {
    let request = client.request(hyper::Method::GET, path, &[], bytes::Bytes::new());
    client.try_send(request).await.map_err(|error| format!("GET {path}: {error}"))
}
