//! The server that is measured: one that runs, or one that is started for it and ended with it.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tempfile::TempDir;

use crate::connection::Target;

/// How long a server may take to end by itself.
const END_TIME_MAX: Duration = Duration::from_secs(60);
/// Between two looks at whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// Whom to measure.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// A server that runs, such as `http://127.0.0.1:8080`. Plain HTTP only. Without it, one is started, on a folder of its own
    /// that is removed at the end.
    #[arg(long)]
    url: Option<String>,
    /// An API key, sent as `Authorization: Bearer`.
    #[arg(long, requires = "url")]
    key: Option<String>,
    /// The process of that server on this machine, whose memory is watched.
    #[arg(long, requires = "url")]
    pid: Option<u32>,
    /// The program to start: by default the `darkroomd` beside this one.
    #[arg(long, conflicts_with = "url", env = "DARKROOMD_BIN")]
    daemon: Option<PathBuf>,
    /// Its configuration file.
    #[arg(long, conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Where to make its folder: by default where temporary files are.
    #[arg(long, conflicts_with = "url")]
    data: Option<PathBuf>,
}

/// A server that answers.
pub(crate) struct Server {
    pub(crate) target: Target,
    /// Its process, if it is known.
    pub(crate) pid: Option<u32>,
    _own: Option<Own>,
}

/// A server of our own. It ends with this value.
struct Own {
    child: Child,
    _folder: TempDir,
}

impl Server {
    /// The one that is given, or a new one.
    pub(crate) fn of(args: &ServerArgs) -> anyhow::Result<Self> {
        Self::configured(args, &[])
    }

    /// As [`Server::of`]. A new one that is given no configuration file gets these keys of the configuration, with their
    /// values.
    pub(crate) fn configured(args: &ServerArgs, keys: &[(&str, String)]) -> anyhow::Result<Self> {
        raise_file_limit();
        if let Some(url) = &args.url {
            return Ok(Self { target: Target::parse(url, args.key.clone())?, pid: args.pid, _own: None });
        }
        let program = match &args.daemon {
            Some(program) => program.clone(),
            None => std::env::current_exe()?.with_file_name("darkroomd"),
        };
        let keys = if args.config.is_none() { keys } else { &[] };
        let (own, url) = Own::start(&program, args.config.as_deref(), args.data.as_deref(), keys)?;
        Ok(Self { target: Target::parse(&url, None)?, pid: Some(own.child.id()), _own: Some(own) })
    }
}

#[cfg(test)]
impl Server {
    /// One of a test.
    pub(crate) fn at(target: Target, pid: Option<u32>) -> Self {
        Self { target, pid, _own: None }
    }
}

impl Own {
    fn start(
        program: &Path,
        config: Option<&Path>,
        place: Option<&Path>,
        keys: &[(&str, String)],
    ) -> anyhow::Result<(Self, String)> {
        let folder = match place {
            Some(place) => TempDir::with_prefix_in("darkroom-bench-", place),
            None => TempDir::with_prefix("darkroom-bench-"),
        };
        let folder = folder.context("cannot make a folder for the server's data")?;
        let mut command = Command::new(program);
        command.args(["serve", "--listen", "127.0.0.1:0", "--open", "--data"]).arg(folder.path());
        if let Some(config) = config {
            command.arg("--config").arg(config);
        }
        for (key, value) in keys {
            command.env(format!("DARKROOM__{}", key.to_uppercase().replace('.', "__")), value);
        }
        if std::env::var_os("DARKROOM__LOG__LEVEL").is_none() {
            command.env("DARKROOM__LOG__LEVEL", "error");
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().with_context(|| {
            let program = program.display();
            format!(
                "cannot start {program}: build it with `cargo build --release`, or give --url or --daemon"
            )
        })?;
        let mut own = Self { child, _folder: folder };
        let Some(stdout) = own.child.stdout.take() else { bail!("the server has no standard output") };
        let mut lines = BufReader::new(stdout).lines();
        let first = lines.next().and_then(Result::ok).unwrap_or_default();
        let Some(url) = first.trim().strip_prefix("listening on ") else {
            bail!("{} did not start: what it wrote says why", program.display());
        };
        // What else it writes must go somewhere.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Ok((own, url.to_owned()))
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let began = Instant::now();
        while began.elapsed() < END_TIME_MAX {
            match self.child.try_wait() {
                Ok(None) => std::thread::sleep(LOOK),
                _ => return,
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// As many open files as this process may have: each connection is one, here and in a server that is started from here.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    // Without more, a connection too many says so.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_does_not_start_is_a_sentence() {
        let error = Own::start(Path::new("/nowhere/darkroomd"), None, None, &[]).err().unwrap();
        assert!(format!("{error:#}").starts_with("cannot start /nowhere/darkroomd: build it"), "{error:#}");
        let error = Own::start(Path::new("/bin/true"), None, None, &[]).err().unwrap();
        assert!(error.to_string().starts_with("/bin/true did not start"), "{error:#}");
    }

    #[test]
    fn one_that_runs_is_taken_as_it_is() {
        let args = ServerArgs {
            url: Some("http://127.0.0.1:1".to_owned()),
            key: None,
            pid: Some(7),
            daemon: None,
            config: None,
            data: None,
        };
        let server = Server::of(&args).unwrap();
        assert_eq!((server.target.authority(), server.pid), ("127.0.0.1:1", Some(7)));
    }
}
