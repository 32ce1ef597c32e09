//! A daemon inside of this process, for an import that finds none: everything that `serve` starts but its doors, and one
//! door of its own that nobody else may open. So there is one way in, with a daemon or without.

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use darkroom_api::Api;
use darkroom_api::serve::Listener;
use darkroom_config::{Config, MetadataEngine};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::stop::Stop;
use crate::lock::{self, DataLock};
use crate::start::{Begun, Started};
use crate::{alone, telemetry};

/// What answers that are being sent get even when the deadline has passed.
const REQUESTS_GRACE: Duration = Duration::from_secs(1);

/// It runs.
pub(super) struct Within {
    started: Started,
    serving: JoinHandle<()>,
    /// Ends it, when cancelled.
    closed: CancellationToken,
    folder: PrivateFolder,
    shutdown_deadline: Duration,
    _lock: DataLock,
}

impl Within {
    /// Starts it on the store that is there. Makes none: who mistypes a directory is told so.
    /// None when the import is to end before it runs.
    pub(super) async fn start(config: &Config, stop: &Stop) -> anyhow::Result<Option<Self>> {
        let lock = match config.metadata.engine {
            MetadataEngine::Embedded => alone::lock_existing(config)?,
            MetadataEngine::FoundationDb => lock::acquire(&config.server.data, alone::DOES_NOT_ANSWER)?,
        };
        start_logs(config)?;
        let mut begun = Begun::default();
        let opened = async {
            let started = begun.go_on(config).await?;
            let folder = PrivateFolder::make()?;
            let listener = UnixListener::bind(folder.socket())
                .with_context(|| format!("could not listen on {}", folder.socket().display()))?;
            anyhow::Ok((started, folder, listener))
        };
        let opened = tokio::select! {
            opened = opened => opened.map(Some),
            () = stop.asked() => Ok(None),
        };
        let (started, folder, listener) = match opened {
            Ok(Some(opened)) => opened,
            not_opened => {
                begun.end().await;
                return not_opened.map(|_| None);
            }
        };
        let api = Api::new(started.pipeline.clone(), config.http_options(), Box::new(String::new));
        let closed = CancellationToken::new();
        let serving = tokio::spawn(darkroom_api::serve(api, Listener::Unix(listener), closed.clone()));
        let shutdown_deadline = config.server.shutdown_deadline;
        Ok(Some(Self { started, serving, closed, folder, shutdown_deadline, _lock: lock }))
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.folder.socket()
    }

    /// Why it can go on no longer. Never, while it can.
    pub(super) async fn died(&self) -> String {
        let Started { metadata, pipeline, .. } = &self.started;
        tokio::select! {
            why = pipeline.dead() => why.clone(),
            why = metadata.fatal() => format!("the metadata can no longer be written: {why}"),
        }
    }

    /// Ends it in order: photos that are not done by the deadline are done by the next daemon.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        let deadline = Instant::now() + self.shutdown_deadline;
        let Started { metadata, pipeline, .. } = self.started;
        pipeline.finish(deadline).await;
        self.closed.cancel();
        let grace = deadline.max(Instant::now() + REQUESTS_GRACE);
        let _ = tokio::time::timeout_at(grace.into(), self.serving).await;
        let drained = pipeline.drain().await;
        metadata.close().await;
        drained.context("could not give unfinished photos back; they come back after the next start")
    }
}

/// What it has to say that a user of the command wants to know; the rest is for those who look after a daemon.
fn start_logs(config: &Config) -> anyhow::Result<()> {
    let mut log = config.log.clone();
    if log.level == Config::default().log.level {
        "warn".clone_into(&mut log.level);
    }
    telemetry::start_logs(&log)
}

/// A folder for the socket that only this user can enter. Not in the data directory, whose path may be too long for one.
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn make() -> anyhow::Result<Self> {
        let path = std::env::temp_dir().join(format!("darkroom-{}", Uuid::new_v4().simple()));
        let made = DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| {
            format!("could not make {} (let this user write there, or set TMPDIR)", path.display())
        })?;
        Ok(Self(path))
    }

    fn socket(&self) -> PathBuf {
        self.0.join("import.sock")
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir::<&Path>(&self.0);
    }
}
