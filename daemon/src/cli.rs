//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use darkroom_config::Config;

use crate::{commands, serve};

/// A photo social network's backend in one process.
#[derive(Parser)]
#[command(name = "darkroomd", version, args_conflicts_with_subcommands = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Settings,
}

/// What every command that reads the configuration takes.
#[derive(Args, Clone, Default)]
pub(crate) struct Settings {
    /// The configuration file; `darkroomd default-config` prints one with every key.
    #[arg(long, env = "DARKROOM_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where requests are taken; port 0 picks a free one.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The folder that holds everything.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve without authentication; only on a loopback address.
    #[arg(long)]
    open: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon (the default).
    Serve(Settings),
    /// Read the configuration as `serve` would, and say what is wrong with it.
    CheckConfig(Settings),
    /// Print a configuration file with every key, its default and what it is for.
    DefaultConfig,
    /// Delete objects that nothing refers to. The daemon does this by itself; this does it now.
    Janitor {
        #[command(flatten)]
        settings: Settings,
        /// Sweep once and say what was done.
        #[arg(long, required = true)]
        now: bool,
    },
    /// Write the metadata as of now to a file, also while the daemon runs. Objects are not in it: see docs/backup.md.
    Backup {
        #[command(flatten)]
        settings: Settings,
        /// The file, which must not exist yet.
        file: PathBuf,
    },
    /// Make the metadata of an empty data directory again from a backup.
    Restore {
        #[command(flatten)]
        settings: Settings,
        /// A file that `backup` wrote.
        file: PathBuf,
    },
    /// Show the running daemon's actors, budgets and jobs.
    Actors(Settings),
}

impl Settings {
    /// The configuration of file, environment and flags, validated.
    pub(crate) fn config(&self) -> anyhow::Result<Config> {
        let mut config = darkroom_config::load(self.config.as_deref())?;
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        if let Some(data) = &self.data {
            config.server.data.clone_from(data);
        }
        config.server.open |= self.open;
        config.validate()?;
        Ok(config)
    }
}

/// Runs the command.
pub(crate) fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(settings) => serve::run(&settings.config()?),
        Command::CheckConfig(settings) => commands::check_config(&settings.config()?),
        Command::DefaultConfig => commands::default_config(),
        Command::Janitor { settings, now: _ } => commands::janitor(&settings.config()?),
        Command::Backup { settings, file } => commands::backup(&settings.config()?, &file),
        Command::Restore { settings, file } => commands::restore(&settings.config()?, &file),
        Command::Actors(settings) => commands::actors(&settings.config()?),
    }
}
