//! The real process and its data directory.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Client;

/// How long a daemon may take to start or to end.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a daemon is to be started.
#[derive(Default, Clone)]
pub struct Setup {
    /// The configuration file's text.
    pub config: String,
    /// Flags beyond those that every test needs.
    pub flags: Vec<String>,
    /// Variables of its environment.
    pub environment: Vec<(String, String)>,
    /// Start it with authentication, and not `--open`.
    pub authenticated: bool,
}

impl Setup {
    pub fn config(text: &str) -> Self {
        Self { config: text.to_owned(), ..Self::default() }
    }
}

/// A running daemon. Killed when dropped.
pub struct Daemon {
    child: Child,
    url: String,
    key: Option<String>,
    health: Option<String>,
    data: Arc<TempDir>,
    log: Arc<Mutex<String>>,
}

/// The binary under test: `DARKROOMD_BIN`, or the one that cargo built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("DARKROOMD_BIN") {
        return path.into();
    }
    // target/<profile>/deps/<this test> → target/<profile>/darkroomd
    let test = std::env::current_exe().unwrap();
    let path = test.parent().and_then(Path::parent).unwrap().join("darkroomd");
    assert!(
        path.exists(),
        "{} is missing: run `cargo test --workspace`, or `cargo build` first",
        path.display()
    );
    path
}

impl Daemon {
    /// A daemon with the default configuration on a new data directory.
    pub fn start() -> Self {
        Self::start_with(&Setup::default())
    }

    pub fn start_with(setup: &Setup) -> Self {
        Self::start_on(Arc::new(tempfile::tempdir().unwrap()), setup)
    }

    /// A daemon on a data directory that has seen others.
    pub fn start_on(data: Arc<TempDir>, setup: &Setup) -> Self {
        Self::try_start_on(data, setup).unwrap_or_else(|log| panic!("the daemon did not start:\n{log}"))
    }

    /// As [`Daemon::start_on`]; the log when it does not start.
    pub fn try_start_on(data: Arc<TempDir>, setup: &Setup) -> Result<Self, String> {
        let config = data.path().join("darkroom.toml");
        fs::write(&config, &setup.config).unwrap();
        let mut child = Command::new(binary())
            .arg("serve")
            .args(["--listen", "127.0.0.1:0"])
            .args((!setup.authenticated).then_some("--open"))
            .arg("--config")
            .arg(&config)
            .arg("--data")
            .arg(data.path().join("data"))
            .args(&setup.flags)
            .env("DARKROOM__LOG__LEVEL", "info,darkroom_actors=debug")
            .envs(setup.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (stderr, sink) = (child.stderr.take().unwrap(), log.clone());
        let logging = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                sink.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        stdout.read_line(&mut first).unwrap();
        let Some(url) = first.trim().strip_prefix("listening on ").map(ToOwned::to_owned) else {
            child.wait().unwrap();
            logging.join().unwrap();
            return Err(log.lock().unwrap().clone());
        };
        let mut greeting = String::new();
        while !greeting.contains("Ctrl-C") {
            assert_ne!(stdout.read_line(&mut greeting).unwrap(), 0, "the greeting broke off: {greeting}");
        }
        let health = greeting.lines().find_map(|line| line.trim().strip_prefix("health   "));
        let health = health.map(|url| url.trim_end_matches("/readyz").to_owned());
        let key = greeting.lines().find_map(|line| line.trim().strip_prefix("key      "));
        let key = key.map(ToOwned::to_owned);
        Ok(Self { child, url, key, health, data, log })
    }

    pub fn client(&self) -> Client {
        Client::new(&self.url)
    }

    /// The key that may do everything, if this start has made it.
    pub fn first_key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The listener for health and metrics, where configured.
    pub fn health(&self) -> Option<Client> {
        self.health.as_deref().map(Client::new)
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub fn home(&self) -> Arc<TempDir> {
        self.data.clone()
    }

    pub fn data(&self) -> PathBuf {
        self.data.path().join("data")
    }

    /// Ends it as a power cut would, except that the page cache survives. Returns its home.
    pub fn kill(mut self) -> Arc<TempDir> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.data.clone()
    }

    /// Waits until it has ended by itself; whether with status 0.
    pub fn wait(&mut self) -> bool {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.success();
            }
            assert!(began.elapsed() < PATIENCE, "the daemon does not end:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10)); // Polling for the condition: there is no event.
        }
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Asks it to end and waits; its home.
    pub fn stop(mut self) -> Arc<TempDir> {
        self.signal(rustix::process::Signal::TERM);
        assert!(self.wait(), "the daemon ended with an error:\n{}", self.log());
        self.data.clone()
    }

    /// Runs another command of the binary on the same data directory.
    pub fn command(&self, arguments: &[&str]) -> std::process::Output {
        run(arguments, &self.data())
    }

    /// Peak resident memory in bytes.
    pub fn memory_peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of the daemon ---\n{}", self.log());
        }
    }
}

/// Runs a command of the binary on a data directory.
pub fn run(arguments: &[&str], data: &Path) -> std::process::Output {
    Command::new(binary()).args(arguments).arg("--data").arg(data).output().unwrap()
}

/// Runs a command of the binary on the home of a daemon that has ended, set up as that one was.
pub fn run_as(setup: &Setup, home: &TempDir, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(binary());
    command.args(arguments).arg("--config").arg(home.path().join("darkroom.toml"));
    command
        .arg("--data")
        .arg(home.path().join("data"))
        .envs(setup.environment.iter().cloned())
        .output()
        .unwrap()
}

/// The files below `folder`, by name, without those of the metadata engine.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}
