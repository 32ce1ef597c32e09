//! What can be said on the command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use darkroom_config::Config;
use darkroom_store::model::jobs::{Class, Standing};
use darkroom_store::model::signing_keys::Purpose;
use darkroom_store::model::{ApiKeyId, JobId, UserId};

use crate::{bucket, commands, import, jobs, keys, serve};

/// A photo social network's backend in one process.
///
/// Without a command it runs the daemon. The other commands speak to the daemon of this machine, by a socket in its data
/// directory: give them the --config or --data that the daemon has, and run them as the user that it runs as. What they do
/// when no daemon runs is said by the --help of each.
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
    /// The data directory, which holds everything that is not kept elsewhere; commands find the daemon by it.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Serve without authentication; only on a loopback address.
    #[arg(long)]
    open: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run the daemon (the default).
    ///
    /// One daemon at a time uses a data directory; a second one is refused. With metadata.engine = "foundationdb" any number
    /// of daemons share the metadata, each with a data directory of its own.
    Serve(Settings),
    /// Read the configuration as `serve` would, and say what is wrong with it.
    CheckConfig(Settings),
    /// Print a configuration file with every key, its default and what it is for.
    DefaultConfig,
    /// Delete objects that nothing refers to. The daemon does this by itself; this does it now.
    ///
    /// Has the daemon of this machine do it. When none runs, the command does it itself: on the embedded engine alone, on
    /// FoundationDB beside the daemons of other machines, whose work it leaves alone. Prints what was done, as JSON.
    Janitor {
        #[command(flatten)]
        settings: Settings,
        /// Sweep once and say what was done.
        #[arg(long, required = true)]
        now: bool,
    },
    /// Write the metadata as of now to a file, also while the daemon runs. Objects are not in it: see docs/backup.md.
    ///
    /// Of the embedded engine only: metadata on FoundationDB are backed up by its own fdbbackup, and this says so.
    Backup {
        #[command(flatten)]
        settings: Settings,
        /// The file, which must not exist yet.
        file: PathBuf,
    },
    /// Make the metadata of an empty data directory again from a backup.
    ///
    /// No daemon may run on that directory. Of the embedded engine only: metadata on FoundationDB are restored by its own
    /// fdbrestore, and this says so.
    Restore {
        #[command(flatten)]
        settings: Settings,
        /// A file that `backup` wrote.
        file: PathBuf,
    },
    /// Send the photos of folders, files and globs to the daemon, and none that it has.
    ///
    /// Speaks to the daemon of this machine, or with --url to another one. When none runs, the command opens the store
    /// itself. What was interrupted goes on when the same command is given again.
    #[command(after_help = import::AFTER_HELP)]
    Import(import::Arguments),
    /// Show the actors, budgets and held jobs of the daemon of this machine. It must run.
    Actors(Settings),
    /// Look into the durable queue, and retry or drop what is in it or was given up.
    ///
    /// Asks the daemon of this machine. When none runs, the command looks into the metadata itself: on the embedded engine
    /// alone; on FoundationDB from any machine that reaches the cluster, beside any number of daemons, and without a data
    /// directory.
    #[command(subcommand)]
    Jobs(Jobs),
    /// Make, list and revoke API keys: how programs get in.
    ///
    /// Asks the daemon of this machine. When none runs, the command looks into the metadata itself, as `jobs` does.
    #[command(subcommand)]
    Keys(Keys),
    /// What concerns the bucket that holds the objects.
    #[command(subcommand)]
    Bucket(BucketCommand),
}

/// `darkroomd keys`.
#[derive(Subcommand)]
enum Keys {
    /// Make a key and print it; it is not shown again.
    Create {
        #[command(flatten)]
        settings: Settings,
        /// What it is for.
        #[arg(long)]
        name: String,
        /// What it allows: photos:read, photos:write, feed:read, feed:write, messages:read, messages:write, users:write,
        /// users:act-as, admin. To be given more than once, or with commas between.
        #[arg(long = "scope", value_name = "SCOPE", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// For whom it acts, by their id. Without it, for the user `open`.
        #[arg(long, value_name = "ID")]
        user: Option<UserId>,
        /// When it ends, as 90d. Without it, never.
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires_in: Option<Duration>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// List keys that were not revoked, the oldest first.
    List {
        #[command(flatten)]
        settings: Settings,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Have another key sign tokens, or links. With overlap, so that nobody notices.
    Rotate {
        #[command(flatten)]
        settings: Settings,
        /// What it signs.
        #[arg(long, value_enum)]
        purpose: Signed,
        /// At once, and refuse whatever the others have signed: where somebody else may know them.
        #[arg(long)]
        at_once: bool,
    },
    /// Revoke a key: requests that begin from then on are refused.
    Revoke {
        #[command(flatten)]
        settings: Settings,
        /// The key's id, which is its first part as well.
        id: ApiKeyId,
    },
}

/// `darkroomd jobs`.
#[derive(Subcommand)]
enum Jobs {
    /// List jobs: those that live by class and by when they are due, then those that were given up.
    List {
        #[command(flatten)]
        settings: Settings,
        /// Only of this class: interactive, bulk or background.
        #[arg(long)]
        class: Option<Class>,
        /// Only those that stand so: due, leased, waiting (they back off) or dead (they were given up).
        #[arg(long)]
        state: Option<Standing>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// Print JSON instead of a table.
        #[arg(long)]
        json: bool,
    },
    /// Show one job: its attempts, what went wrong, and who holds it.
    Show {
        #[command(flatten)]
        settings: Settings,
        /// The job's id.
        id: JobId,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make a job due now, also one that was given up: its photo is processed again.
    Retry {
        #[command(flatten)]
        settings: Settings,
        /// The job's id.
        id: JobId,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Remove a job. A photo that was to be processed ends failed, with the reason `dropped`.
    Drop {
        #[command(flatten)]
        settings: Settings,
        /// The job's id.
        id: JobId,
    },
}

#[derive(Subcommand)]
enum BucketCommand {
    /// Give the bucket the lifecycle rules of the configuration, and let pages of `http.cors_origins` put into it: shows
    /// what would change, and asks.
    ///
    /// Speaks to the bucket alone: whether a daemon runs makes no difference, and any machine will do.
    Apply {
        #[command(flatten)]
        settings: Settings,
        /// Do not ask.
        #[arg(long)]
        yes: bool,
    },
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
pub(crate) fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let done = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(settings) => serve::run(&settings.config()?),
        Command::CheckConfig(settings) => commands::check_config(&settings.config()?),
        Command::DefaultConfig => commands::default_config(),
        Command::Janitor { settings, now: _ } => commands::janitor(&settings.config()?),
        Command::Backup { settings, file } => commands::backup(&settings.config()?, &file),
        Command::Restore { settings, file } => commands::restore(&settings.config()?, &file),
        Command::Import(arguments) => return import::run(&arguments),
        Command::Actors(settings) => commands::actors(&settings.config()?),
        Command::Keys(command) => commands::runtime()?.block_on(run_keys(command)),
        Command::Jobs(command) => commands::runtime()?.block_on(run_jobs(command)),
        Command::Bucket(BucketCommand::Apply { settings, yes }) => bucket::apply(&settings.config()?, yes),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// What a signing key signs.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Signed {
    /// Access tokens.
    Tokens,
    /// Links to photos.
    Links,
}

impl From<Signed> for Purpose {
    fn from(signed: Signed) -> Self {
        match signed {
            Signed::Tokens => Self::Tokens,
            Signed::Links => Self::Links,
        }
    }
}

async fn run_keys(command: Keys) -> anyhow::Result<()> {
    match command {
        Keys::Create { settings, name, scopes, user, expires_in, json } => {
            let to_make = keys::ToMake { name, scopes, user, expires_in };
            keys::create(&settings.config()?, to_make, json).await
        }
        Keys::Rotate { settings, purpose, at_once } => {
            keys::rotate(&settings.config()?, purpose.into(), at_once).await
        }
        Keys::List { settings, json } => keys::list(&settings.config()?, json).await,
        Keys::Revoke { settings, id } => keys::revoke(&settings.config()?, id).await,
    }
}

async fn run_jobs(command: Jobs) -> anyhow::Result<()> {
    match command {
        Jobs::List { settings, class, state, limit, json } => {
            jobs::list(&settings.config()?, &jobs::Wanted { class, state, limit }, json).await
        }
        Jobs::Show { settings, id, json } => jobs::show(&settings.config()?, id, json).await,
        Jobs::Retry { settings, id, json } => jobs::retry(&settings.config()?, id, json).await,
        Jobs::Drop { settings, id } => jobs::drop_job(&settings.config()?, id).await,
    }
}
