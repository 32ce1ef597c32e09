//! Starting, ending, and the commands.

use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use darkroom_tests::daemon::{binary, run};
use darkroom_tests::{Daemon, Setup, photos};
use hyper::StatusCode;
use rustix::process::{Pid, Signal, kill_process};

/// Within this time a daemon ends that nothing holds up, on a machine that is busy.
const PROMPTLY: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_signal_ends_it_in_order_and_what_waits_goes_on_after_the_next_start() {
    let daemon = Daemon::start_with(&Setup::config("[server]\nshutdown_deadline = '1s'"));
    let client = daemon.client();
    let mut ids = Vec::new();
    for seed in 0..30 {
        let answer = client.upload(&photos::photo(seed, 2000, 1500)).await;
        ids.push(answer.json()["id"].as_str().unwrap().to_owned());
    }
    let daemon = Daemon::start_on(daemon.stop(), &Setup::default());
    for id in ids {
        assert_eq!(daemon.client().settled(&id).await["state"], "ready");
    }
}

#[tokio::test]
async fn requests_that_run_are_finished_and_new_ones_refused() {
    let mut daemon = Daemon::start();
    let client = daemon.client();
    let waiting = {
        let client = client.clone();
        tokio::spawn(async move {
            let headers = [("prefer", "wait=30")];
            client.send(hyper::Method::POST, "/v1/photos", &headers, photos::phone(1)).await
        })
    };
    // The request runs once its photo exists.
    while client.all().await.is_empty() {
        tokio::task::yield_now().await;
    }
    daemon.signal(Signal::TERM);
    // While it drains it says so, and takes nothing new.
    let ready = loop {
        let ready =
            client.try_send(client.request(hyper::Method::GET, "/readyz", &[], bytes::Bytes::new())).await;
        match ready {
            Ok(ready) if ready.status == StatusCode::OK => tokio::task::yield_now().await,
            other => break other,
        }
    };
    if let Ok(ready) = ready {
        assert_eq!(ready.json()["draining"], true, "{ready:?}");
        let late = client.request(hyper::Method::POST, "/v1/photos", &[], photos::photo(2, 40, 30));
        if let Ok(late) = client.try_send(late).await {
            assert_eq!(late.problem(), "draining");
        }
    }
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, answer.json()["state"].as_str()), (StatusCode::CREATED, Some("ready")));
    assert!(daemon.wait(), "{}", daemon.log());
}

#[tokio::test]
async fn a_second_signal_ends_it_at_once() {
    let mut daemon = Daemon::start();
    // A request that never ends keeps the first signal waiting.
    let stalled = std::net::TcpStream::connect(daemon.client().address()).unwrap();
    let photo = photos::photo(1, 1500, 1000);
    let head = format!("POST /v1/photos HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", photo.len());
    std::io::Write::write_all(&mut &stalled, &[head.as_bytes(), &photo[..photo.len() / 2]].concat()).unwrap();
    daemon.client().holds("job_slots", 1).await;
    daemon.signal(Signal::TERM);
    while !daemon.log().contains("shutting down") {
        std::thread::yield_now();
    }
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    assert!(!daemon.wait(), "cut short, it ends with a non-zero status");
    assert!(began.elapsed().as_secs() < 10, "the first signal alone would have waited 30 s");
}

/// A daemon that is still starting. Killed when dropped.
struct Starting(Child);

impl Starting {
    /// On a bucket of a server that takes connections and answers nothing for as long as anybody waits.
    fn on_a_silent_bucket(server: &TcpListener, home: &std::path::Path) -> Self {
        let config = home.join("darkroom.toml");
        let text = format!(
            "[objects]\nstore = 's3'\n[objects.s3]\nbucket = 'photos'\nendpoint = 'http://{}'\nregion = 'us-east-1'\n\
             path_style = true\nattempt_timeout = '5m'\noperation_deadline = '5m'",
            server.local_addr().unwrap()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(binary());
        command.args(["serve", "--listen", "127.0.0.1:0", "--open", "--config"]).arg(&config);
        command.arg("--data").arg(home.join("data"));
        command.env("AWS_ACCESS_KEY_ID", "test").env("AWS_SECRET_ACCESS_KEY", "test");
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Sends the signal and waits.
    fn ends_by(&mut self, signal: Signal) -> ExitStatus {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
        let signalled = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(signalled.elapsed() < PROMPTLY, "a start cannot be ended by {signal:?}");
            std::thread::sleep(Duration::from_millis(10)); // Polling for the condition: there is no event.
        }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_start_that_waits_for_a_bucket_is_ended_by_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let home = tempfile::tempdir().unwrap();
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut daemon = Starting::on_a_silent_bucket(&server, home.path());
        // From here on it waits for an answer.
        let _connection = server.accept().unwrap();
        assert!(daemon.ends_by(signal).success());
        assert!(!home.path().join("data/admin.sock").exists());
    }
}

#[test]
fn a_second_daemon_on_the_same_data_is_refused() {
    let daemon = Daemon::start();
    let error = Daemon::try_start_on(daemon.home(), &Setup::default()).err().unwrap();
    let data = daemon.data().canonicalize().unwrap();
    let process = format!("(process {})", daemon.pid());
    let words =
        [&*data.to_string_lossy(), "in use by another darkroomd", &process, "stop that one first", "--data"];
    assert!(words.iter().all(|words| error.contains(words)), "{error}");
}

#[test]
fn an_address_that_is_taken_is_refused_before_anything_is_made() {
    let daemon = Daemon::start();
    let address = daemon.client().address().to_string();
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let output = run(&["serve", "--open", "--listen", &address], &data);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains(&address) && error.contains("choose another port"), "{error}");
    assert!(!data.join("metadata").exists() && !data.join("objects").exists());
}

#[test]
fn commands_make_no_store_where_there_is_none() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("metadata.backup");
    let backup = ["backup", file.to_str().unwrap()];
    for command in [&["jobs", "list"], &["janitor", "--now"], &backup] {
        let output = run(command, home.path());
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && error.contains("there is no darkroom store in"), "{error}");
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
}

#[test]
fn an_address_that_is_not_loopback_is_refused_where_everybody_may_do_everything() {
    let home = tempfile::tempdir().unwrap();
    let output = run(&["serve", "--listen", "0.0.0.0:0", "--open"], home.path());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && error.contains("loopback"), "{error}");
}

#[test]
fn metadata_and_objects_that_do_not_belong_together_are_refused() {
    let home = Daemon::start().stop();
    let id = home.path().join("data/objects/store-id");
    std::fs::write(&id, "01890000-0000-7000-8000-000000000000").unwrap();
    let error = Daemon::try_start_on(home.clone(), &Setup::default()).err().unwrap();
    assert!(error.contains("belongs to store"), "{error}");
    std::fs::remove_file(&id).unwrap();
    let error = Daemon::try_start_on(home.clone(), &Setup::default()).err().unwrap();
    assert!(error.contains("has no id"), "{error}");
    // As where they are in a folder that is not mounted.
    let objects = home.path().join("data/objects");
    std::fs::remove_dir_all(&objects).unwrap();
    let error = Daemon::try_start_on(home, &Setup::default()).err().unwrap();
    assert!(error.contains("is the folder mounted?") && !objects.exists(), "{error}");
}

#[test]
fn commands_speak_to_the_running_daemon_and_to_none() {
    let daemon = Daemon::start();
    let report = daemon.command(&["janitor", "--now"]);
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
    assert!(String::from_utf8_lossy(&report.stdout).contains("objects_deleted"));
    let actors = daemon.command(&["actors"]);
    assert!(String::from_utf8_lossy(&actors.stdout).contains("reconciler"));
    let data = daemon.data();
    let _home = daemon.stop();
    assert!(run(&["janitor", "--now"], &data).status.success());
    let error = run(&["actors"], &data);
    assert!(String::from_utf8_lossy(&error.stderr).contains("no daemon runs"));
}

#[test]
fn the_configuration_is_checked_without_starting() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("darkroom.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let output = Command::new(binary()).args(["check-config", "--config"]).arg(&file).output();
        let output = output.unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(check("[http]\nbody_timeout = '5m'").0);
    let (fine, error) = check("[budgets]\npixel = '1 GiB'");
    assert!(!fine && error.contains("did you mean `budgets.pixels`"), "{error}");
    let (fine, error) = check("[budgets]\npixels = '64 MiB'");
    assert!(!fine && error.contains("raise budgets.pixels"), "{error}");
    let (fine, error) = check("[[testing.faults]]\npoint = 'decode'\naction = 'panic'");
    assert!(!fine && error.contains("--open"), "{error}");
}
