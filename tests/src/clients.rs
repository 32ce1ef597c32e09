//! The clients that people use, each in a process of its own. What runs them is in `tests/clients/`, whose `install` puts
//! them into `target/clients`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// The longest that a client may take, at the largest sizes.
const PATIENCE: Duration = Duration::from_secs(1800);

/// The clients that were installed, and a copy of the scripts that finds them.
pub struct Clients {
    home: PathBuf,
    scripts: TempDir,
}

/// A client at work. Killed when dropped.
pub struct Running {
    child: Child,
    name: String,
    folder: PathBuf,
    began: Instant,
}

impl Clients {
    /// `None`, and a sentence why, where they are not installed; in CI they have to be.
    pub fn installed() -> Option<Self> {
        let home = home();
        if !home.join("installed").exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "CI must run tests/clients/install: no {}",
                home.display()
            );
            println!(
                "skipped: run tests/clients/install, which needs npm and python3 ({} is missing)",
                home.display()
            );
            return None;
        }
        // Beside the packages, since that is where Node looks for them.
        let scripts = tempfile::tempdir_in(&home).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients");
        for script in ["upload.mjs", "browser.mjs", "upload.py"] {
            fs::copy(source.join(script), scripts.path().join(script)).unwrap();
        }
        Some(Self { home, scripts })
    }

    /// Where a client's files are: what it uploads and what it remembers.
    pub fn folder(&self) -> &Path {
        self.scripts.path()
    }

    /// Runs one of the scripts, by its ending in Node or in Python.
    pub fn start(&self, script: &str, options: &Value) -> Running {
        self.start_with(script, &[&options.to_string()])
    }

    /// As [`Clients::start`], with these arguments.
    pub fn start_with(&self, script: &str, arguments: &[&str]) -> Running {
        let program = match Path::new(script).extension().and_then(|ending| ending.to_str()) {
            Some("mjs") => PathBuf::from("node"),
            Some("py") => self.home.join("python/bin/python"),
            Some("sh") => PathBuf::from("sh"),
            other => panic!("nothing runs {other:?}"),
        };
        let folder = tempfile::tempdir_in(self.folder()).unwrap().keep();
        let output = |name: &str| File::create(folder.join(name)).unwrap();
        // Nothing of this machine's: no proxy, and no path to other packages.
        let child = Command::new(program)
            .arg(self.folder().join(script))
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", &folder)
            .stdin(Stdio::null())
            .stdout(output("out"))
            .stderr(output("err"))
            .spawn()
            .unwrap();
        Running { child, name: script.to_owned(), folder, began: Instant::now() }
    }
}

impl Running {
    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end: whether it ended well, and all that it printed.
    pub async fn ended(mut self) -> (bool, String) {
        while !self.has_ended() {
            assert!(self.began.elapsed() < PATIENCE, "{} never ends:\n{}", self.name, self.said());
            tokio::time::sleep(Duration::from_millis(10)).await; // Polling for the condition: there is no event.
        }
        (self.child.wait().unwrap().success(), self.read("out"))
    }

    /// What it reports at its end, well or not.
    pub async fn report(self) -> Value {
        let (name, errors) = (self.name.clone(), self.folder.join("err"));
        let (_, printed) = self.ended().await;
        let last = printed.lines().last().and_then(|line| serde_json::from_str(line).ok());
        last.unwrap_or_else(|| {
            panic!("{name} reports nothing:\n{printed}{}", fs::read_to_string(errors).unwrap_or_default())
        })
    }

    /// What it reports; panics where it failed.
    pub async fn succeeds(self) -> Value {
        let name = self.name.clone();
        let report = self.report().await;
        assert!(report.get("error").is_none(), "{name}: {report:#}");
        report
    }

    /// All that it has printed so far.
    pub fn said(&self) -> String {
        self.read("out") + &self.read("err")
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.join(name)).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {} ---\n{}", self.name, self.said());
        }
    }
}

/// `target/clients` of the folder that this test was built in.
fn home() -> PathBuf {
    // target/<profile>/deps/<this test>
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(3).unwrap().join("clients")
}
