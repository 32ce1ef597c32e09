//! Starts everything, waits for a reason to end, and ends it in order.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use darkroom_api::auth::keys;
use darkroom_api::auth::secrets::KeySecret;
use darkroom_api::serve::Listener;
use darkroom_api::{Api, MetricsText};
use darkroom_config::Config;
use darkroom_store::StoreError;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::listen::Reserved;
use crate::start::{Begun, Started};
use crate::{admin, health, lock, telemetry};

/// What answers that are being sent get even when the deadline has passed.
const REQUESTS_GRACE: Duration = Duration::from_secs(1);

/// How long the runtime's threads get to end what they are at. They need milliseconds, unless a disk hangs.
const THREADS_GRACE: Duration = Duration::from_secs(2);

/// What whoever starts a daemon on a data directory that has one can do.
const STARTED_TWICE: &str = "perhaps in another terminal, or as a service. Only one at a time may use it: stop that one \
                             first, or give this one a directory and a port of its own, as in `darkroomd serve --data \
                             other-data --listen 127.0.0.1:8081`";

/// `darkroomd serve`.
pub(crate) fn run(config: &Config) -> anyhow::Result<()> {
    telemetry::start_logs(&config.log)?;
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("runtime")
        .build()
        .context("could not start the runtime")?;
    let result = runtime.block_on(serve(config));
    // FoundationDB's client library takes itself apart when the process ends, and whoever is still inside it then dies
    // with a signal: so the runtime's threads end first. A file call may take longer; it holds nothing that must be
    // finished.
    runtime.shutdown_timeout(THREADS_GRACE);
    result
}

/// Every connection and every object that is read or written is an open file; the usual soft limit of 1,024 is
/// below what the configuration allows.
pub(crate) fn raise_open_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
}

async fn serve(config: &Config) -> anyhow::Result<()> {
    let mut signals = Signals::listen()?;
    let metrics = telemetry::start_metrics()?;
    lock::acquire(&config.server.data, STARTED_TWICE)?.until_the_process_ends();
    let doors = Doors::reserve(config)?;
    let mut begun = Begun::default();
    // A slow bucket, a long journal or an absent cluster must not keep whoever wants to end this waiting.
    let opened = tokio::select! {
        opened = open(config, &mut begun, doors, metrics) => opened.map(Some),
        () = signals.next() => {
            tracing::info!("a signal ends the start; a second one ends it at once");
            Ok(None)
        }
    };
    match opened {
        Ok(Some(house)) => house.serve(config, &mut signals).await,
        not_opened => {
            tokio::select! {
                () = begun.end() => {}
                () = signals.next() => {}
            }
            not_opened.map(drop)
        }
    }
}

async fn open(
    config: &Config,
    begun: &mut Begun,
    doors: Doors,
    metrics: MetricsText,
) -> anyhow::Result<House> {
    let started = begun.go_on(config).await?;
    // Whoever tries the daemon without keys gets the first one when they are first needed.
    let first_key = if config.server.open { None } else { keys::first(&started.metadata).await? };
    House::open(config, started, first_key.as_ref(), doors, metrics)
}

/// Addresses that are ours, on which nobody is answered yet.
struct Doors {
    main: Reserved,
    health: Option<Reserved>,
}

impl Doors {
    fn reserve(config: &Config) -> anyhow::Result<Self> {
        let health =
            config.server.health_listen.map(|address| Reserved::new(address, "server.health_listen"));
        Ok(Self {
            main: Reserved::new(config.server.listen, "server.listen, or --listen")?,
            health: health.transpose()?,
        })
    }
}

/// Everything runs, and requests are answered.
struct House {
    started: Started,
    main: JoinHandle<()>,
    admin: JoinHandle<()>,
    /// Ends both.
    stop: CancellationToken,
}

impl House {
    fn open(
        config: &Config,
        started: Started,
        first_key: Option<&KeySecret>,
        doors: Doors,
        metrics: MetricsText,
    ) -> anyhow::Result<Self> {
        let api = Api::new(started.pipeline.clone(), config.http_options(), metrics);
        let listener = doors.main.listen()?;
        let address = listener.local_addr()?;
        let health = doors.health.map(|reserved| health::start(api.clone(), reserved)).transpose()?;
        let data = &config.server.data;
        // Last of what may fail, so that no start that fails leaves a socket behind.
        let socket = admin_socket(data)?.map(Listener::Unix);
        let stop = CancellationToken::new();
        let main = tokio::spawn(darkroom_api::serve(api.clone(), Listener::Tcp(listener), stop.clone()));
        let admin = tokio::spawn(serve_admin(api.clone(), socket, stop.clone()));
        // Ends with the same word; what it has not finished comes again, to whoever asks then.
        tokio::spawn(darkroom_api::hooks::sqs::poll(api, stop.clone()));
        greet(config, first_key, address, health);
        tracing::info!(%address, data = %data.display(), epoch = %started.life.epoch, "serving");
        Ok(Self { started, main, admin, stop })
    }

    /// Waits for a reason to end, and ends in order.
    async fn serve(self, config: &Config, signals: &mut Signals) -> anyhow::Result<()> {
        let Started { metadata, pipeline, .. } = &self.started;
        tokio::select! {
            () = signals.next() => {}
            why = pipeline.dead() => bail!("{why}"),
            why = metadata.fatal() => bail!("the metadata can no longer be written: {why}"),
        }
        let deadline = Instant::now() + config.server.shutdown_deadline;
        tracing::info!(deadline = ?config.server.shutdown_deadline, "shutting down; a second signal ends at once");
        tokio::select! {
            ended = self.end(deadline) => {
                ended.context("could not give unfinished photos back; they come back after the next start")?;
            }
            () = signals.next() => bail!("ended by a second signal; unfinished photos come back after the next start"),
        }
        // What is left of it would be a socket that nobody answers.
        let _ = fs::remove_file(config.server.data.join(admin::SOCKET));
        tracing::info!("ended");
        Ok(())
    }

    async fn end(self, deadline: Instant) -> Result<(), StoreError> {
        let Started { metadata, pipeline, .. } = self.started;
        // Uploads are refused from here on; health, reads and who waits for a photo are still answered.
        pipeline.finish(deadline).await;
        self.stop.cancel();
        let served = async { tokio::join!(self.main, self.admin) };
        let grace = deadline.max(Instant::now() + REQUESTS_GRACE);
        if tokio::time::timeout_at(grace.into(), served).await.is_err() {
            tracing::warn!("the deadline has passed; open requests are cut off");
        }
        let drained = pipeline.drain().await;
        metadata.close().await;
        drained
    }
}

async fn serve_admin(api: Api, socket: Option<Listener>, stop: CancellationToken) {
    if let Some(socket) = socket {
        darkroom_api::serve(api, socket, stop).await;
    }
}

/// Longest path that a Unix socket can have on every system.
const SOCKET_PATH_BYTES_MAX: usize = 100;

/// The socket for commands. Its permission is the authentication. None where its path would be too long.
fn admin_socket(data: &Path) -> anyhow::Result<Option<UnixListener>> {
    let path = data.join(admin::SOCKET);
    if path.as_os_str().len() > SOCKET_PATH_BYTES_MAX {
        tracing::warn!(path = %path.display(), "the path is too long for a socket: commands cannot reach this daemon");
        return Ok(None);
    }
    // Left by a process that was killed: we hold the lock, so nobody answers there.
    let _ = fs::remove_file(&path);
    let refusal = |what: &str| {
        format!(
            "could not {what} {}, the socket for commands (keep the data directory on a local disk: not every network \
             file system has sockets)",
            path.display()
        )
    };
    let listener = UnixListener::bind(&path).with_context(|| refusal("listen on"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).with_context(|| refusal("protect"))?;
    Ok(Some(listener))
}

/// What a newcomer needs, on one screen; the first line is for programs.
fn greet(config: &Config, first_key: Option<&KeySecret>, address: SocketAddr, health: Option<SocketAddr>) {
    let data = fs::canonicalize(&config.server.data).unwrap_or_else(|_| config.server.data.clone());
    let health = health.map_or_else(String::new, |at| format!("  health   http://{at}/readyz\n"));
    let (access, key) = match first_key {
        _ if config.server.open => {
            ("  open     no authentication: only this machine can reach it\n".to_owned(), None)
        }
        None => (
            "  access   by users and API keys; `darkroomd keys create` makes one\n".to_owned(),
            Some("$KEY".to_owned()),
        ),
        Some(key) => {
            let key = key.reveal();
            let text =
                format!("  key      {key}\n           may do everything, and is not shown again: keep it\n");
            (text, Some(key))
        }
    };
    let authorization = key.map_or_else(String::new, |key| format!("-H 'Authorization: Bearer {key}' "));
    let text = format!(
        "listening on http://{address}\n\n  data     {}\n{health}{access}\nUpload a first photo:\n\n  curl -sS \
         {authorization}-H 'Prefer: wait=10' --data-binary @photo.jpg http://{address}/v1/photos\n\nIts answer has a link \
         for every size. Ctrl-C stops the daemon.\n",
        data.display()
    );
    let mut stdout = std::io::stdout();
    // Whoever has read the first line may have closed the rest: that is no reason to end.
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// What asks this process to end.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(crate) fn listen() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("could not listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
