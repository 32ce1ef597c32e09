//! What can be said to `darkroomd import`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use bytesize::ByteSize;
use clap::Args;
use darkroom_api::auth::authenticate::ON_BEHALF_OF;
use darkroom_store::model::UserId;
use hyper::HeaderMap;
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};

use crate::cli::Settings;

/// What `--help` says below the flags.
pub(crate) const AFTER_HELP: &str = "\
Exit status:
  0    every file is in, or was there already
  1    nothing could be done: wrong arguments, or no daemon to speak to
  2    some files were refused, or could not be sent; the report names them
  130  it was interrupted: the same command sends what is missing

docs/import.md says all of it.";

/// Arguments of `import`.
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) settings: Settings,
    /// Directories, files, globs in quotes ('photos/**/*.{jpg,png}'), or - for names from standard input.
    #[arg(required = true, value_name = "DIR|FILE|GLOB|-")]
    pub(crate) inputs: Vec<PathBuf>,
    /// Import into the daemon there instead of that of this machine: http://HOST:PORT.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// The API key to import with, which that daemon needs unless it runs with --open; better in the environment, where
    /// other users of this machine do not see it. Not needed for the daemon of this machine.
    #[arg(long, env = "DARKROOM_KEY", value_name = "KEY", hide_env_values = true)]
    pub(crate) key: Option<String>,
    /// For whom to import, by their id. Without it, for the key's user; on this machine, for the user `open`.
    #[arg(long, value_name = "ID")]
    pub(crate) user: Option<UserId>,
    /// The batch's name; without it, that of the first input.
    #[arg(long, value_name = "NAME")]
    pub(crate) batch: Option<String>,
    /// Files that are sent at once.
    #[arg(long, short, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) jobs: u16,
    /// Say what would be sent, and send nothing. Everything is read and hashed, and the daemon is asked what it has.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Wait until all photos of the batch are ready or failed, and report those that failed.
    #[arg(long, conflicts_with = "dry_run")]
    pub(crate) wait: bool,
    /// Follow symbolic links inside of directories.
    #[arg(long)]
    pub(crate) follow: bool,
    /// Also what is hidden: names that begin with a dot.
    #[arg(long)]
    pub(crate) hidden: bool,
    /// Send files of any name, and have the daemon find out which are photos.
    #[arg(long)]
    pub(crate) all: bool,
    /// Names on standard input end with a NUL instead of a newline, as `find -print0` writes them.
    #[arg(long, short = '0')]
    pub(crate) null: bool,
    /// Files from this size on are sent so that a broken transfer goes on where it stopped.
    #[arg(long, value_name = "SIZE", default_value = "16 MiB")]
    pub(crate) resumable_from: ByteSize,
    /// Give up when for so long nothing could be done, because the daemon is away or takes nothing.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    pub(crate) patience: Duration,
    /// Print a line of JSON for each file and one for the whole on standard output, and nothing else there.
    #[arg(long)]
    pub(crate) json: bool,
    /// Show no progress, and no report where all is well.
    #[arg(long, short)]
    pub(crate) quiet: bool,
}

impl Arguments {
    /// What each request says of whom it is for.
    pub(crate) fn identity(&self) -> anyhow::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        // Another daemon's key is nothing to the one of this machine, whose socket needs none.
        if let (Some(key), Some(_)) = (&self.key, &self.url) {
            let bearer = HeaderValue::from_str(&format!("Bearer {key}"));
            headers.insert(
                AUTHORIZATION,
                bearer.context("the key (--key, DARKROOM_KEY) has characters that no key has")?,
            );
        }
        if let Some(user) = self.user {
            headers.insert(HeaderName::from_static(ON_BEHALF_OF), HeaderValue::from_str(&user.to_string())?);
        }
        Ok(headers)
    }
}
