//! The peers, in a folder of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::child;

/// The newest versions when the figures in the documentation were measured. Newer ones go in here.
const SHARP: &str = "sharp@0.35.5";
const PYTHON: [&str; 3] = ["pyvips==3.2.0", "pyvips-binary==8.18.7", "Pillow==13.0.0"];

/// Downloads of some 40 MB on a slow line.
const INSTALL_TIME_MAX: Duration = Duration::from_secs(900);
/// For a program to say its version.
const VERSION_TIME_MAX: Duration = Duration::from_secs(30);

/// Variables that would change what the peers do: the settings are those that the table names.
const VARIABLES: [&str; 6] = [
    "UV_THREADPOOL_SIZE",
    "VIPS_CONCURRENCY",
    "NODE_OPTIONS",
    "LD_PRELOAD",
    "PYTHONPATH",
    "MALLOC_ARENA_MAX",
];

const PACKAGE: &str = "{\"private\": true, \"type\": \"module\"}\n";

const SHARP_SCRIPT: &str = include_str!("../../peers/sharp.mjs");
const LANES_SCRIPT: &str = include_str!("../../peers/lanes.py");
const VIPS_SCRIPT: &str = include_str!("../../peers/vips.py");
const PILLOW_SCRIPT: &str = include_str!("../../peers/pillow.py");

/// An interpreter with the libraries that the scripts in its folder need.
#[derive(Debug)]
pub(super) struct Tool {
    program: PathBuf,
    folder: PathBuf,
}

impl Tool {
    /// What runs one of its scripts.
    pub(super) fn command(&self, script: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(self.folder.join(script)).current_dir(&self.folder);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        command
    }
}

/// What there is, or the sentence that says why it is not.
#[derive(Debug)]
pub(super) struct Tools {
    /// For both ways of using sharp.
    pub(super) node: Result<Tool, String>,
    /// For pyvips and Pillow.
    pub(super) python: Result<Tool, String>,
}

impl Tools {
    /// Finds the peers in `root`, and unless `skip` installs what is missing there. Nothing is written anywhere else.
    pub(super) fn prepare(root: &Path, skip: bool) -> Self {
        let folder = Folder { root, skip };
        Self { node: folder.node(), python: folder.python() }
    }

    /// Whether nobody is there to compare with.
    pub(super) const fn is_empty(&self) -> bool {
        self.node.is_err() && self.python.is_err()
    }

    /// Why peers are missing.
    pub(super) fn missing(&self) -> impl Iterator<Item = String> {
        let sides = [("sharp", self.node.as_ref().err()), ("pyvips and Pillow", self.python.as_ref().err())];
        sides.into_iter().filter_map(|(side, why)| why.map(|why| format!("{side}: left out, because {why}")))
    }
}

struct Folder<'a> {
    root: &'a Path,
    skip: bool,
}

impl Folder<'_> {
    fn node(&self) -> Result<Tool, String> {
        let wanted = "install Node.js 20.9 or newer with npm (https://nodejs.org)";
        on_path("node", wanted)?;
        let folder = self.root.join("node");
        self.once(&folder, SHARP, || {
            on_path("npm", wanted)?;
            write(&folder.join("package.json"), PACKAGE)?;
            let mut npm = self.command("npm", &folder);
            npm.args(["install", "--no-audit", "--no-fund", "--no-update-notifier", "--save-exact"]);
            child::run(npm.args(["--loglevel", "error", SHARP]), None, INSTALL_TIME_MAX).map(drop)
        })?;
        write(&folder.join("sharp.mjs"), SHARP_SCRIPT)?;
        Ok(Tool { program: "node".into(), folder })
    }

    fn python(&self) -> Result<Tool, String> {
        let folder = self.root.join("python");
        let program = folder.join("venv").join("bin").join("python");
        self.once(&folder, &PYTHON.join(" "), || {
            on_path("python3", "install Python 3.10 or newer with venv and pip (https://www.python.org)")?;
            let mut venv = self.command("python3", &folder);
            child::run(venv.args(["-m", "venv", "--clear", "venv"]), None, INSTALL_TIME_MAX)?;
            let mut pip = self.command(&program, &folder);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(PYTHON);
            child::run(&mut pip, None, INSTALL_TIME_MAX).map(drop)
        })?;
        for (name, script) in
            [("lanes.py", LANES_SCRIPT), ("vips.py", VIPS_SCRIPT), ("pillow.py", PILLOW_SCRIPT)]
        {
            write(&folder.join(name), script)?;
        }
        Ok(Tool { program, folder })
    }

    /// Installs unless the same packages were installed before. The note of it is written last.
    fn once(
        &self,
        folder: &Path,
        packages: &str,
        install: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        let note = folder.join("installed.txt");
        if fs::read_to_string(&note).is_ok_and(|installed| installed == packages) {
            return Ok(());
        }
        if self.skip {
            let shown = folder.display();
            return Err(format!("{packages} is not installed in {shown}: run this without --skip-install"));
        }
        eprintln!("installing {packages} in {}", folder.display());
        for folder in [folder, &self.temporary()] {
            let shown = folder.display();
            fs::create_dir_all(folder)
                .map_err(|error| format!("the folder {shown} cannot be made: {error}"))?;
        }
        install()?;
        write(&note, packages)
    }

    /// A package manager that writes neither to the home folder nor to the system's temporary one.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
        let cache = self.root.join("cache");
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .env("npm_config_cache", cache.join("npm"))
            .env("PIP_CACHE_DIR", cache.join("pip"))
            .env("TMPDIR", self.temporary());
        command
    }

    fn temporary(&self) -> PathBuf {
        self.root.join("tmp")
    }
}

/// Whether a program is there at all, and otherwise what to do.
fn on_path(program: &str, advice: &str) -> Result<(), String> {
    child::run(Command::new(program).arg("--version"), None, VERSION_TIME_MAX)
        .map(drop)
        .map_err(|error| format!("{error}: {advice}"))
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{} cannot be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_installed_once_and_again_when_they_change() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder { root: root.path(), skip: false };
        let inside = root.path().join("node");
        let mut installed = 0;
        for packages in ["a@1", "a@1", "a@2"] {
            folder
                .once(&inside, packages, || {
                    installed += 1;
                    Ok(())
                })
                .unwrap();
        }
        assert_eq!(installed, 2);
        let failing = folder.once(&inside, "a@3", || Err("no network".to_owned()));
        assert_eq!(failing, Err("no network".to_owned()));
        let skipping = Folder { skip: true, ..folder };
        assert_eq!(skipping.once(&inside, "a@2", || Err("installs".to_owned())), Ok(()));
        let error = skipping.once(&inside, "a@3", || Ok(())).unwrap_err();
        assert!(error.contains("without --skip-install"), "a failed installation leaves no note: {error}");
    }

    #[test]
    fn a_missing_program_comes_with_advice() {
        let error = on_path("darkroom-no-such-program", "install it").unwrap_err();
        assert_eq!(error, "darkroom-no-such-program is not on the PATH: install it");
    }

    #[test]
    fn scripts_run_without_the_callers_settings() {
        let tool = Tool { program: "node".into(), folder: "/x".into() };
        let command = tool.command("sharp.mjs");
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).collect();
        assert_eq!(removed.len(), VARIABLES.len());
    }

    #[test]
    fn what_is_missing_is_told_by_side() {
        let tools =
            Tools { node: Err("node is not on the PATH".to_owned()), python: Err("no pip".to_owned()) };
        assert!(tools.is_empty());
        let told: Vec<String> = tools.missing().collect();
        assert_eq!(told[0], "sharp: left out, because node is not on the PATH");
        assert_eq!(told.len(), 2);
    }
}
