//! `darkroomd import`: what it sends, what it does not send again, and what it says of the rest.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use darkroom_tests::daemon::{binary, run_as};
use darkroom_tests::{Client, Cutting, Daemon, Setup, Weather, photos};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// How long an import may take to get somewhere.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder of so many photos, each its own.
fn folder_of(count: u64) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for seed in 0..count {
        let folder = home.path().join(format!("{}", seed % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("{seed}.jpg")), photos::photo(seed, 64, 48)).unwrap();
    }
    home
}

fn importing(daemon: &Daemon, folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(["import", ".", "--json", "--data"]).arg(daemon.data()).args(arguments);
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

async fn import(daemon: &Daemon, folder: &Path, arguments: &[&str]) -> Told {
    let mut command = importing(daemon, folder, arguments);
    told(tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap())
}

async fn ended(child: Child) -> Told {
    told(tokio::task::spawn_blocking(move || child.wait_with_output().unwrap()).await.unwrap())
}

/// What an import said.
struct Told {
    status: Option<i32>,
    files: Vec<Value>,
    summary: Value,
    stderr: String,
}

fn told(output: Output) -> Told {
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    let mut files: Vec<Value> = lines.collect();
    let last = files.last().is_some_and(|line| line.get("summary").is_some());
    let summary = if last { files.pop().unwrap()["summary"].take() } else { Value::Null };
    Told {
        status: output.status.code(),
        files,
        summary,
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Told {
    fn state_of(&self, name: &str) -> &str {
        let line = self.files.iter().find(|line| line["path"] == name);
        line.unwrap_or_else(|| panic!("{name} has no line: {:?}", self.files))["state"].as_str().unwrap()
    }

    fn count(&self, kind: &str) -> u64 {
        self.summary["counts"][kind]["files"]
            .as_u64()
            .unwrap_or_else(|| panic!("{:?}\n{}", self.summary, self.stderr))
    }
}

/// Waits until the daemon has so many photos.
async fn has(client: &Client, count: usize) {
    let began = Instant::now();
    while client.all().await.len() < count {
        assert!(began.elapsed() < PATIENCE, "there are never {count} photos");
        tokio::time::sleep(Duration::from_millis(5)).await; // Polling for the condition.
    }
}

/// Exactly so many photos, and no content twice.
async fn assert_exact(client: &Client, count: usize) {
    let all = client.all().await;
    let contents: BTreeSet<_> = all.iter().map(|photo| photo["blake3"].as_str().unwrap()).collect();
    assert_eq!((all.len(), contents.len()), (count, count));
}

#[tokio::test]
async fn a_tree_is_imported_once_and_the_rest_is_explained() {
    let daemon = Daemon::start();
    let home = folder_of(10);
    let at = |name: &str| home.path().join(name);
    fs::copy(at("0/0.jpg"), at("0/again.jpg")).unwrap();
    fs::write(at("broken.jpg"), &photos::photo(99, 64, 48)[..200]).unwrap();
    fs::write(at("text.png"), "no photo").unwrap();
    fs::write(at("empty.png"), "").unwrap();
    fs::write(at("notes.txt"), "no photo, and it does not claim to be one").unwrap();
    symlink("/nowhere.jpg", at("gone.jpg")).unwrap();
    let first = import(&daemon, home.path(), &["--follow", "--batch", "a tree"]).await;
    assert_eq!(first.status, Some(2), "{}", first.stderr);
    assert_eq!((first.count("sent"), first.count("duplicate")), (10, 1), "{:?}", first.files);
    assert_eq!((first.count("refused"), first.count("unreadable")), (3, 1), "{:?}", first.files);
    assert_eq!(first.state_of("gone.jpg"), "unreadable");
    assert_eq!(first.summary["passed_over"], 1);
    assert!(
        first.stderr.contains("unsupported-image") && first.stderr.contains("text.png"),
        "{}",
        first.stderr
    );
    let batch = first.summary["batch"].as_str().unwrap();
    let batch = daemon.client().get(&format!("/v1/batches/{batch}")).await.json();
    assert_eq!((&batch["name"], &batch["state"]), (&"a tree".into(), &"closed".into()), "{batch}");
    assert_eq!(
        (&batch["counts"]["received"], &batch["counts"]["duplicates"]),
        (&10.into(), &0.into()),
        "{batch}"
    );

    let again = import(&daemon, home.path(), &[]).await;
    assert_eq!((again.count("have"), again.count("sent")), (10, 0), "{:?}", again.files);
    assert_eq!(again.count("refused"), 3);
    assert_exact(&daemon.client(), 10).await;
    let only_photos = import(&daemon, &home.path().join("1"), &["--url", daemon.url()]).await;
    assert_eq!((only_photos.status, only_photos.summary["bytes_moved"].as_u64()), (Some(0), Some(0)));
}

#[tokio::test]
async fn a_daemon_that_takes_little_at_once_is_asked_for_less() {
    let setup = Setup::config("[batches]\ncheck_max = 3\n[idempotency]\nkeys_max = 1");
    let daemon = Daemon::start_with(&setup);
    let home = folder_of(20);
    // What it remembers of the first one's key leaves none for the second one's batch.
    let first = import(&daemon, home.path(), &["--jobs", "2"]).await;
    assert_eq!((first.status, first.count("sent")), (Some(0), 20), "{}", first.stderr);
    let again = import(&daemon, home.path(), &[]).await;
    assert_eq!((again.status, again.count("have")), (Some(0), 20), "{}", again.stderr);
    assert_exact(&daemon.client(), 20).await;
}

#[tokio::test]
async fn a_dry_run_leaves_nothing_behind_and_tells_what_is_missing() {
    let daemon = Daemon::start();
    let home = folder_of(5);
    daemon.client().upload(&photos::photo(3, 64, 48)).await;
    let told = import(&daemon, home.path(), &["--dry-run"]).await;
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    assert_eq!((told.count("need"), told.count("have"), told.count("sent")), (4, 1, 0), "{:?}", told.files);
    assert_exact(&daemon.client(), 1).await;
    let batch = told.summary["batch"].as_str().unwrap();
    let batch = daemon.client().get(&format!("/v1/batches/{batch}")).await.json();
    assert_eq!((&batch["state"], &batch["counts"]["received"]), (&"cancelled".into(), &0.into()), "{batch}");
}

#[tokio::test]
async fn an_import_that_is_killed_goes_on_where_it_was_and_doubles_nothing() {
    let daemon = Daemon::start();
    let home = folder_of(60);
    let mut child = importing(&daemon, home.path(), &["--jobs", "2"]).spawn().unwrap();
    has(&daemon.client(), 5).await;
    child.kill().unwrap();
    let broken_off = ended(child).await;
    let again = import(&daemon, home.path(), &[]).await;
    assert_eq!(again.status, Some(0), "{}", again.stderr);
    assert_eq!(again.count("sent") + again.count("have") + again.count("duplicate"), 60);
    let settled = broken_off.files.iter().filter(|line| line["state"] == "sent").count() as u64;
    assert!(again.count("have") >= settled, "{settled} had been told, {:?}", again.summary);
    assert_exact(&daemon.client(), 60).await;
}

#[tokio::test]
async fn an_interrupted_import_ends_in_order_and_says_what_is_missing() {
    let daemon = Daemon::start();
    let home = folder_of(100);
    let child = importing(&daemon, home.path(), &["--jobs", "1"]).spawn().unwrap();
    has(&daemon.client(), 3).await;
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let told = ended(child).await;
    assert_eq!(told.status, Some(130), "{}", told.stderr);
    assert_eq!((told.files.len(), &told.summary["stopped"]), (100, &"interrupted".into()));
    assert_eq!(told.count("sent") + told.count("not_sent"), 100, "{:?}", told.summary);
    // What was said to be sent is there, and nothing else.
    assert_exact(&daemon.client(), told.count("sent") as usize).await;
    let again = import(&daemon, home.path(), &[]).await;
    assert_eq!((again.status, again.count("sent")), (Some(0), told.count("not_sent")));
    assert_exact(&daemon.client(), 100).await;
}

#[tokio::test]
async fn an_import_outlives_a_daemon_that_is_killed_and_started_again() {
    let daemon = Daemon::start();
    let home = folder_of(80);
    let child = importing(&daemon, home.path(), &["--jobs", "4"]).spawn().unwrap();
    has(&daemon.client(), 5).await;
    let daemon = Daemon::start_on(daemon.kill(), &Setup::default());
    let told = ended(child).await;
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    assert_eq!(told.count("sent") + told.count("duplicate") + told.count("have"), 80, "{:?}", told.summary);
    assert_exact(&daemon.client(), 80).await;
}

#[tokio::test]
async fn large_files_go_in_pieces() {
    let daemon = Daemon::start();
    let home = tempfile::tempdir().unwrap();
    let large = photos::photo(1, 1600, 1200);
    fs::write(home.path().join("large.jpg"), &large).unwrap();
    fs::write(home.path().join("no.jpg"), vec![7; 200_000]).unwrap();
    let told = import(&daemon, home.path(), &["--resumable-from", "64KiB"]).await;
    assert_eq!((told.state_of("large.jpg"), told.state_of("no.jpg")), ("sent", "refused"), "{}", told.stderr);
    let photo = &daemon.client().all().await[0];
    assert_eq!(photo["blake3"], blake3::hash(&large).to_hex().as_str());
    let again = import(&daemon, home.path(), &["--resumable-from", "64KiB"]).await;
    assert_eq!(again.state_of("large.jpg"), "have");
}

#[tokio::test]
async fn who_waits_is_told_which_photos_failed() {
    let daemon = Daemon::start_with(&Setup::config(
        "[pipeline]\nattempts_max = 1\n[[testing.faults]]\npoint = 'decode'\naction = 'panic'\nwidth = 333\n",
    ));
    let home = folder_of(3);
    fs::write(home.path().join("bad.jpg"), photos::photo(7, 333, 200)).unwrap();
    let told = import(&daemon, home.path(), &["--wait"]).await;
    assert_eq!(told.status, Some(2), "{}", told.stderr);
    assert_eq!((told.count("sent"), told.count("refused")), (4, 0));
    assert_eq!((&told.summary["ready"], &told.summary["processing_failed"]), (&3.into(), &1.into()));
    assert!(
        told.stderr.contains("processing-panicked") && told.stderr.contains("bad.jpg"),
        "{}",
        told.stderr
    );
}

#[tokio::test]
async fn without_a_daemon_the_store_is_opened_and_left_in_order() {
    let daemon = Daemon::start();
    let data = daemon.data();
    let kept = daemon.stop();
    let home = folder_of(12);
    let folder = home.path().to_str().unwrap();
    let output = run_as(&Setup::default(), &kept, &["import", folder, "--wait", "--json"]);
    let told = told(output);
    assert_eq!(told.status, Some(0), "{}", told.stderr);
    assert_eq!((told.count("sent"), &told.summary["ready"]), (12, &12.into()));
    assert!(told.stderr.contains("no daemon runs"), "{}", told.stderr);
    assert!(!data.join("admin.sock").exists());
    let daemon = Daemon::start_on(kept, &Setup::default());
    assert_exact(&daemon.client(), 12).await;
    assert!(daemon.client().all().await.iter().all(|photo| photo["state"] == "ready"));

    let nothing = tempfile::tempdir().unwrap();
    let output =
        Command::new(binary()).args(["import", folder, "--data"]).arg(nothing.path()).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && error.contains("there is no darkroom store"), "{error}");
}

/// So large that an import is in the middle of it for a while.
const LARGE: usize = 40 << 20;
/// How much of it has left when something happens to it.
const MIDDLE: u64 = 6 << 20;

/// A folder with a photo of [`LARGE`] bytes: what follows the end marker belongs to the file, not to the picture.
fn folder_of_large() -> (TempDir, PathBuf, blake3::Hash) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("large.jpg");
    let mut bytes = photos::photo(1, 320, 240).to_vec();
    let mut filler = blake3::Hasher::new().update(b"behind the picture").finalize_xof();
    let begin = bytes.len();
    bytes.resize(LARGE, 0);
    filler.fill(&mut bytes[begin..]);
    fs::write(&path, &bytes).unwrap();
    (home, path, blake3::hash(&bytes))
}

/// A network that holds back what it carries for a moment.
async fn slow(daemon: &Daemon) -> Cutting {
    Cutting::start(daemon.url(), Weather { delay_max: Duration::from_millis(3), ..Weather::fair() }).await
}

fn importing_over(network: &Cutting, daemon: &Daemon, folder: &Path, arguments: &[&str]) -> Child {
    let url = network.url();
    let arguments = [&["--url", &url], arguments].concat();
    importing(daemon, folder, &arguments).spawn().unwrap()
}

/// The batches, the first one first: what was received, and which state they are in.
async fn batches(client: &Client) -> Vec<(String, u64, String)> {
    let listed = client.get("/v1/batches").await.json();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let batch = |batch: &Value| {
        (text(&batch["id"]), batch["counts"]["received"].as_u64().unwrap(), text(&batch["state"]))
    };
    let mut batches: Vec<_> = listed["items"].as_array().unwrap().iter().map(batch).collect();
    batches.sort();
    batches
}

/// Begins an import of the large file, and kills it in its middle.
async fn broken_off(daemon: &Daemon, folder: &Path) {
    let network = slow(daemon).await;
    let mut child = importing_over(&network, daemon, folder, &["--resumable-from", "1MiB"]);
    network.carried_at_least(MIDDLE).await;
    child.kill().unwrap();
    ended(child).await;
    assert!(daemon.client().all().await.is_empty(), "it was not broken off");
}

#[tokio::test]
async fn an_upload_that_another_import_ends_is_counted_once_where_it_began() {
    let daemon = Daemon::start();
    let (home, _, hash) = folder_of_large();
    broken_off(&daemon, home.path()).await;
    let told = import(&daemon, home.path(), &["--resumable-from", "1MiB", "--wait"]).await;
    assert_eq!((told.status, told.count("sent")), (Some(0), 1), "{}", told.stderr);
    assert!(told.summary["bytes_moved"].as_u64().unwrap() < LARGE as u64, "it went on: {:?}", told.summary);
    assert_eq!((&told.summary["ready"], &told.summary["processing_failed"]), (&1.into(), &0.into()));
    let batches = batches(&daemon.client()).await;
    let [(first, 1, _), (second, 0, state)] = &batches[..] else { panic!("{batches:?}") };
    assert_eq!((&told.summary["batch"], state.as_str()), (&second.as_str().into(), "closed"));
    assert_eq!(told.files[0]["batch"], first.as_str());
    assert!(told.stderr.contains(&format!("batch {first} counts 1 of these")), "{}", told.stderr);
    let all = daemon.client().all().await;
    assert_eq!(all.len(), 1);
    assert_eq!(
        (&all[0]["blake3"], &all[0]["batch_id"]),
        (&hash.to_hex().as_str().into(), &first.as_str().into())
    );
    assert_eq!((&all[0]["name"], &all[0]["state"]), (&"large.jpg".into(), &"ready".into()));
    let again = import(&daemon, home.path(), &[]).await;
    assert_eq!((again.count("have"), again.count("sent")), (1, 0));
}

#[tokio::test]
async fn an_upload_whose_batch_is_over_is_sent_again_in_the_next_ones() {
    let daemon = Daemon::start();
    let (home, _, hash) = folder_of_large();
    let client = daemon.client();
    broken_off(&daemon, home.path()).await;
    let first = batches(&client).await.remove(0).0;
    client.send(hyper::Method::POST, &format!("/v1/batches/{first}/cancel"), &[], "").await;
    let told = import(&daemon, home.path(), &["--resumable-from", "1MiB", "--wait"]).await;
    assert_eq!(
        (told.status, told.count("sent"), &told.summary["ready"]),
        (Some(0), 1, &1.into()),
        "{}",
        told.stderr
    );
    let batches = batches(&client).await;
    let [(_, 0, cancelled), (second, 1, closed)] = &batches[..] else { panic!("{batches:?}") };
    assert_eq!((cancelled.as_str(), closed.as_str()), ("cancelled", "closed"));
    let all = client.all().await;
    assert_eq!(all.len(), 1);
    assert_eq!(
        (&all[0]["blake3"], &all[0]["batch_id"]),
        (&hash.to_hex().as_str().into(), &second.as_str().into())
    );
}

/// What may happen to a file while it is sent.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Appended,
    Truncated,
    /// Its end becomes another, and its time of change is as before.
    Altered,
    Removed,
}

impl Happens {
    fn to(self, path: &Path) {
        let file = fs::File::options().write(true).open(path).unwrap();
        let before = file.metadata().unwrap().modified().unwrap();
        match self {
            Self::Appended => file.set_len(LARGE as u64 + 1).unwrap(),
            Self::Truncated => file.set_len(LARGE as u64 - 1).unwrap(),
            Self::Altered => {
                file.write_all_at(b"something else", LARGE as u64 - 14).unwrap();
                file.set_modified(before).unwrap();
            }
            Self::Removed => fs::remove_file(path).unwrap(),
        }
    }
}

#[tokio::test]
async fn a_file_that_changes_while_it_is_sent_is_no_photo_and_is_told_so() {
    for resumable_from in ["1MiB", "1GiB"] {
        for happens in [Happens::Appended, Happens::Truncated, Happens::Altered, Happens::Removed] {
            let daemon = Daemon::start();
            let (home, path, hash) = folder_of_large();
            let network = slow(&daemon).await;
            let arguments = ["--resumable-from", resumable_from];
            let child = importing_over(&network, &daemon, home.path(), &arguments);
            network.carried_at_least(MIDDLE).await;
            happens.to(&path);
            let told = ended(child).await;
            let what = format!("{happens:?} from {resumable_from}: {}", told.stderr);
            let all = daemon.client().all().await;
            if let Happens::Removed = happens {
                // It is open: what was hashed is what is sent.
                assert_eq!((told.status, told.count("sent")), (Some(0), 1), "{what}");
                assert_eq!(all[0]["blake3"], hash.to_hex().as_str());
                continue;
            }
            assert_eq!((told.status, told.count("changed")), (Some(2), 1), "{what}");
            assert!(told.stderr.contains("it changed while it was read or sent"), "{what}");
            assert!(all.is_empty(), "{what}");
            let left = batches(&daemon.client()).await;
            assert!(matches!(&left[..], [(_, 0, state)] if state == "closed"), "{left:?}");
            // Nothing of it is kept, and the next import sends what is there now.
            daemon.client().sweep().await;
            let pieces = darkroom_tests::daemon::files(&daemon.data().join("objects/uploads"));
            assert!(pieces.is_empty(), "{pieces:?}");
            let now = blake3::hash(&fs::read(&path).unwrap());
            let again = import(&daemon, home.path(), &arguments).await;
            assert_eq!(again.count("sent"), 1, "{}", again.stderr);
            assert_eq!(daemon.client().all().await[0]["blake3"], now.to_hex().as_str());
        }
    }
}

#[tokio::test]
async fn a_removed_file_that_would_have_to_be_sent_again_is_reported_and_nothing_is_left() {
    for resumable_from in ["1MiB", "1GiB"] {
        let daemon = Daemon::start();
        let (home, path, _) = folder_of_large();
        fs::write(home.path().join("small.jpg"), photos::photo(2, 64, 48)).unwrap();
        let network = slow(&daemon).await;
        let child = importing_over(&network, &daemon, home.path(), &["--resumable-from", resumable_from]);
        network.carried_at_least(MIDDLE).await;
        fs::remove_file(&path).unwrap();
        network.cut_all();
        let told = ended(child).await;
        assert_eq!(
            (told.status, told.count("unreadable"), told.count("sent")),
            (Some(2), 1, 1),
            "{}",
            told.stderr
        );
        assert!(told.stderr.contains("large.jpg"), "{}", told.stderr);
        assert_exact(&daemon.client(), 1).await;
        daemon.client().sweep().await;
        let pieces = darkroom_tests::daemon::files(&daemon.data().join("objects/uploads"));
        assert!(pieces.is_empty(), "{pieces:?}");
    }
}

#[tokio::test]
async fn loops_pipes_sockets_and_closed_folders_end_no_import() {
    let daemon = Daemon::start();
    let home = folder_of(6);
    let at = |name: &str| home.path().join(name);
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    symlink(home.path(), at("1/up")).unwrap();
    symlink(at("1"), at("2/aside")).unwrap();
    symlink(at("3/self"), at("3/self")).unwrap();
    let pipe = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, at("4/pipe.jpg"), pipe, 0o644.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("4/socket.png")).unwrap();
    fs::set_permissions(at("5"), fs::Permissions::from_mode(0o000)).unwrap();
    let mut command = importing(&daemon, home.path(), &["--url", daemon.url(), "--follow"]);
    let is_root = rustix::process::geteuid().is_root();
    if is_root {
        // Who may read everything finds no folder closed.
        command.uid(65_534).gid(65_534);
    }
    let told = ended(command.spawn().unwrap()).await;
    fs::set_permissions(at("5"), fs::Permissions::from_mode(0o755)).unwrap();
    assert_eq!(told.status, Some(2), "{}", told.stderr);
    // Four of them are found again by another way, as the same bytes.
    assert_eq!(told.count("sent"), 5, "{:?}", told.files);
    assert_eq!(told.count("unreadable"), 2, "{:?}", told.files);
    assert_eq!((told.state_of("5"), told.state_of("3/self")), ("unreadable", "unreadable"));
    assert_eq!(told.summary["passed_over"], 2);
    assert!(told.stderr.contains("2 pipes, sockets and devices"), "{}", told.stderr);
    assert_exact(&daemon.client(), 5).await;
}
