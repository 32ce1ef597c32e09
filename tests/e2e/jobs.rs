//! `darkroomd jobs` and the admin API beneath it: looking, retrying, dropping; with a daemon and without.

use darkroom_tests::daemon::run;
use darkroom_tests::{Daemon, Setup, photos};
use hyper::{Method, StatusCode};
use serde_json::Value;

/// Every photo of this width panics: after the only attempt it may make it fails, and its job leaves a letter.
fn panicking() -> Setup {
    Setup::config(
        "[pipeline]\nattempts_max = 1\n[[testing.faults]]\npoint = 'decode'\naction = 'panic'\nwidth = 333\n",
    )
}

fn stdout(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &std::process::Output) -> String {
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Uploads a photo that fails, and finds its letter.
async fn failed(daemon: &Daemon, seed: u64) -> (String, Value) {
    let client = daemon.client();
    let photo = client.upload(&photos::photo(seed, 333, 200)).await.json();
    let id = photo["id"].as_str().unwrap().to_owned();
    let settled = client.settled(&id).await;
    assert_eq!(settled["failure"]["code"], "processing-panicked", "{settled}");
    let page = client.get("/v1/admin/jobs?state=dead").await.json();
    let letter = page["items"].as_array().unwrap().iter().find(|job| job["photo"] == id.as_str());
    let letter = letter.unwrap_or_else(|| panic!("no letter of {id}: {page}")).clone();
    (id, letter)
}

#[tokio::test]
async fn a_job_that_was_given_up_is_shown_with_its_reason_and_retried_after_the_cause_is_gone() {
    let daemon = Daemon::start_with(&panicking());
    let (photo, letter) = failed(&daemon, 1).await;
    let job = letter["id"].as_str().unwrap();
    assert_eq!((&letter["state"], &letter["attempts"]), (&"dead".into(), &1.into()), "{letter}");
    assert_eq!(letter["dead"]["code"], "processing-panicked");

    let table = stdout(&daemon.command(&["jobs", "list", "--state", "dead"]));
    assert!(
        table.starts_with("ID") && table.contains(job) && table.contains("processing-panicked"),
        "{table}"
    );
    let shown = stdout(&daemon.command(&["jobs", "show", job]));
    assert!(shown.contains("given up") && shown.contains(&photo), "{shown}");
    let json: Value =
        serde_json::from_str(&stdout(&daemon.command(&["jobs", "show", job, "--json"]))).unwrap();
    assert_eq!(json, letter);

    // The cause is gone with the next start.
    let daemon = Daemon::start_on(daemon.stop(), &Setup::default());
    let retried = stdout(&daemon.command(&["jobs", "retry", job]));
    assert!(retried.contains("due now"), "{retried}");
    assert_eq!(daemon.client().settled(&photo).await["state"], "ready");
    let page = daemon.client().get("/v1/admin/jobs").await.json();
    assert_eq!(page, serde_json::json!({"items": [], "next": null}));
    let error = stderr(&daemon.command(&["jobs", "retry", job]));
    assert!(error.contains("there is no job"), "{error}");
}

#[tokio::test]
async fn without_a_daemon_the_commands_look_into_the_store_themselves() {
    let daemon = Daemon::start_with(&panicking());
    let (photo, letter) = failed(&daemon, 1).await;
    let (other, dropped) = failed(&daemon, 2).await;
    let data = daemon.data();
    let home = daemon.stop();
    let list = |arguments: &[&str]| -> Value {
        let arguments = [&["jobs", "list", "--json"], arguments].concat();
        serde_json::from_str(&stdout(&run(&arguments, &data))).unwrap()
    };
    assert_eq!(list(&[]).as_array().unwrap().len(), 2);
    assert_eq!(list(&["--limit", "1"]).as_array().unwrap().len(), 1);
    assert_eq!(list(&["--state", "due"]), serde_json::json!([]));
    assert_eq!(list(&["--class", "background"]), serde_json::json!([]));

    stdout(&run(&["jobs", "drop", dropped["id"].as_str().unwrap()], &data));
    stdout(&run(&["jobs", "retry", letter["id"].as_str().unwrap()], &data));
    let due = list(&["--state", "due"]);
    assert_eq!((due.as_array().unwrap().len(), &due[0]["id"]), (1, &letter["id"]), "{due}");
    let error = stderr(&run(&["jobs", "show", dropped["id"].as_str().unwrap()], &data));
    assert!(error.contains("there is no job"), "{error}");

    let daemon = Daemon::start_on(home, &Setup::default());
    assert_eq!(daemon.client().settled(&photo).await["state"], "ready");
    assert_eq!(
        daemon.client().settled(&other).await["state"],
        "failed",
        "its letter was dropped, and it stays"
    );
}

#[tokio::test]
async fn a_job_that_is_dropped_fails_its_photo_with_that_reason() {
    // The photo is decoded for so long that its job is held meanwhile.
    let daemon = Daemon::start_with(&Setup::config(
        "[[testing.faults]]\npoint = 'decode'\naction = 'pause'\nmillis = 3000\n",
    ));
    let client = daemon.client();
    let photo = client.upload(&photos::photo(1, 400, 300)).await.json();
    let id = photo["id"].as_str().unwrap();
    let page = client.get("/v1/admin/jobs?state=leased").await.json();
    let job = page["items"][0]["id"].as_str().unwrap_or_else(|| panic!("{page}")).to_owned();
    let path = format!("/v1/admin/jobs/{job}");
    let held = client.send(Method::POST, &format!("{path}/retry"), &[], "").await;
    assert_eq!((held.status, held.problem()), (StatusCode::CONFLICT, "job-held".to_owned()));
    assert!(stdout(&daemon.command(&["jobs", "drop", &job])).contains("is gone"));
    let failed = client.settled(id).await;
    assert_eq!(
        (&failed["state"], &failed["failure"]["code"]),
        (&"failed".into(), &"dropped".into()),
        "{failed}"
    );
    assert_eq!(client.get(&path).await.problem(), "job-not-found");
    assert_eq!(client.delete(&path).await.problem(), "job-not-found");
    // Whoever worked on it finds its lease lost, and leaves nothing behind.
    client.idle().await;
    let failed = client.get(&format!("/v1/photos/{id}")).await.json();
    assert_eq!(failed["state"], "failed");
    client.sweep().await;
    let variants = darkroom_tests::daemon::files(&daemon.data().join("objects/variants"));
    assert!(variants.is_empty(), "{variants:?}");
}

#[tokio::test]
async fn what_is_asked_for_wrongly_is_refused_with_what_there_is() {
    let daemon = Daemon::start();
    let client = daemon.client();
    for query in ["class=urgent", "state=lost", "limit=0", "limit=201", "cursor=x", "page=2"] {
        let answer = client.get(&format!("/v1/admin/jobs?{query}")).await;
        assert_eq!(answer.problem(), "invalid-parameter", "{query}");
    }
    assert_eq!(client.get("/v1/admin/jobs/none").await.problem(), "job-not-found");
    let answer = client.send(Method::POST, "/v1/admin/jobs", &[], "").await;
    assert_eq!((answer.problem().as_str(), answer.header("allow")), ("method-not-allowed", "GET, HEAD"));
    let error = stderr(&daemon.command(&["jobs", "list", "--class", "urgent"]));
    assert!(error.contains("interactive, bulk or background"), "{error}");
}

#[tokio::test]
async fn the_queue_is_in_the_metrics() {
    let daemon = Daemon::start_with(&panicking());
    failed(&daemon, 1).await;
    let client = daemon.client();
    assert_eq!(client.metric("darkroom_jobs_dead").await, 1.0);
    assert_eq!(client.metric("darkroom_nodes").await, 1.0);
    assert_eq!(client.metric("darkroom_jobs_dead_lettered_total{code=\"processing-panicked\"}").await, 1.0);
    let metrics = client.get("/metrics").await;
    let metrics = std::str::from_utf8(&metrics.body).unwrap();
    for class in ["interactive", "bulk", "background"] {
        for name in ["darkroom_jobs_due", "darkroom_jobs_oldest_due_seconds"] {
            assert!(
                metrics.contains(&format!("{name}{{class=\"{class}\"}} 0")),
                "{name} {class}:\n{metrics}"
            );
        }
    }
}
