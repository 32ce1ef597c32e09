//! Metadata backed up under load and restored elsewhere: every photo that was acknowledged before is served again.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use darkroom_tests::daemon::run;
use darkroom_tests::{Client, Daemon, Setup, photos};
use hyper::StatusCode;
use serde_json::Value;

/// Photos acknowledged before the backup begins.
const BEFORE: u64 = 6;

fn succeeded(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    let end = text.rfind('}').expect("a report in JSON");
    serde_json::from_str(&text[..=end]).unwrap()
}

fn refused(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// Uploads until it is told to stop.
fn keep_uploading(client: &Client, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<u32> {
    let (client, stop) = (client.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut acknowledged = 0;
        for seed in 1000.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let answer = client.upload(&photos::photo(seed, 600, 400)).await;
            acknowledged += u32::from(answer.status == StatusCode::CREATED);
        }
        acknowledged
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn photos_of_a_backup_are_served_elsewhere() {
    let daemon = Daemon::start();
    let client = daemon.client();
    let mut known = Vec::new();
    for seed in 0..BEFORE {
        let photo: Bytes = photos::photo(seed, 900, 600);
        let id = client.upload_settled(&photo).await["id"].as_str().unwrap().to_owned();
        known.push((id, photo));
    }
    let home = daemon.home();
    let file = home.path().join("metadata.backup");
    let name = file.to_str().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let uploads = keep_uploading(&client, &stop);
    // The command blocks; the uploads go on beside it.
    let data = daemon.data();
    let backup = ["backup", name];
    let taken = succeeded(&tokio::task::block_in_place(|| run(&backup, &data)));
    assert!(taken["rows"].as_u64().unwrap() > 10, "{taken}");
    assert!(refused(&daemon.command(&backup)).contains("already"), "a file is not written over");
    stop.store(true, Ordering::Relaxed);
    uploads.await.unwrap();
    client.idle().await;
    // The copy is begun after the backup, so that no object of it is missing.
    let elsewhere = Arc::new(tempfile::tempdir().unwrap());
    let new = elsewhere.path().join("data");
    std::fs::create_dir(&new).unwrap();
    assert!(refused(&daemon.command(&["restore", name])).contains("in use"), "not beside a running daemon");
    let _home = daemon.stop();
    assert!(refused(&run(&["restore", name], &data)).contains("empty store"), "nor over what is there");
    copy(&data.join("objects"), &new.join("objects"));

    let restored = succeeded(&run(&["restore", name], &new));
    assert_eq!(restored["store_id"], taken["store_id"]);
    let daemon = Daemon::start_on(elsewhere, &Setup::default());
    let client = daemon.client();
    for (id, photo) in &known {
        let settled = client.settled(id).await;
        assert_eq!(settled["state"], "ready", "{settled}");
        assert_eq!(client.get(&format!("/v1/photos/{id}/original")).await.body, *photo);
    }
    // Photos that were in the middle of it are finished here, since their leases are void.
    for photo in client.all().await {
        let photo = client.settled(photo["id"].as_str().unwrap()).await;
        assert_eq!(photo["state"], "ready", "{photo}");
        for variant in photo["variants"].as_array().unwrap() {
            let bytes = client.get(variant["url"].as_str().unwrap()).await.body;
            assert_eq!(blake3::hash(&bytes).to_hex().as_str(), variant["blake3"].as_str().unwrap());
        }
    }
    // It is a store like any other: it takes photos, and what no daemon runs on is backed up too.
    client.upload_settled(&photos::photo(77, 300, 200)).await;
    let data = daemon.data();
    let _home = daemon.stop();
    let again = data.join("again.backup");
    succeeded(&run(&["backup", again.to_str().unwrap()], &data));
}

#[tokio::test]
async fn an_unusable_backup_and_foreign_objects_are_refused() {
    let daemon = Daemon::start();
    let file = daemon.home().path().join("metadata.backup");
    let name = file.to_str().unwrap();
    succeeded(&daemon.command(&["backup", name]));
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 20]).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let said = refused(&run(&["restore", name], elsewhere.path()));
    assert!(said.contains("cut") && said.contains("byte"), "{said}");
    std::fs::write(&file, &whole).unwrap();
    let other = Daemon::start();
    let foreign = tempfile::tempdir().unwrap();
    copy(&other.data().join("objects"), &foreign.path().join("objects"));
    let said = refused(&run(&["restore", name], foreign.path()));
    assert!(said.contains("belong to store"), "{said}");
    // Nothing was written there: it is still empty enough.
    succeeded(&run(&["restore", name], elsewhere.path()));
}
