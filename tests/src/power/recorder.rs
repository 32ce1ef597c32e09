//! Builds the library that records, and has a process load it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use tempfile::TempDir;

use crate::has_program;

/// Records one process.
pub struct Recorder {
    folder: TempDir,
}

impl Recorder {
    /// Builds the library. None, after saying so, where it cannot work: it needs a C compiler and Linux on x86-64.
    pub fn build() -> anyhow::Result<Option<Self>> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            eprintln!("skipped: what a process writes is recorded only on Linux on x86-64");
            return Ok(None);
        }
        if !has_program("cc") {
            eprintln!("skipped: there is no C compiler (cc) to build the recorder with");
            return Ok(None);
        }
        let recorder = Self { folder: tempfile::tempdir()? };
        compile("recorder.c", &recorder.library(), &["-shared", "-fPIC", "-ldl", "-pthread"])?;
        Ok(Some(recorder))
    }

    /// What a process needs in its environment to be recorded; it starts the log anew.
    pub fn environment(&self, root: &Path) -> anyhow::Result<Vec<(String, String)>> {
        match std::fs::remove_file(self.log()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let text = |path: &Path| path.to_str().map(ToOwned::to_owned).context("a path that is not UTF-8");
        Ok(vec![
            ("LD_PRELOAD".to_owned(), text(&self.library())?),
            ("DARKROOM_RECORDER_LOG".to_owned(), text(&self.log())?),
            ("DARKROOM_RECORDER_ROOT".to_owned(), text(&root.canonicalize()?)?),
        ])
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("recorder.so")
    }

    pub fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// How long the log is now. What a client has been told by now rests on nothing behind it.
    pub fn position(&self) -> u64 {
        std::fs::metadata(self.log()).expect("the log of a process that runs").len()
    }
}

/// Compiles a file of `tests/power`.
pub fn compile(source: &str, to: &Path, flags: &[&str]) -> anyhow::Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("power").join(source);
    let output = Command::new("cc")
        .args(["-O2", "-Wall", "-Werror", "-o"])
        .arg(to)
        .arg(&source)
        .args(flags)
        .output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}
