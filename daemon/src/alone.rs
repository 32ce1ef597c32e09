//! The metadata as a command opens them that found no daemon to speak to.

use anyhow::{Context, bail};
use darkroom_config::{Config, MetadataEngine};
use darkroom_store::metadata::Metadata;

use crate::lock::{self, DataLock};
use crate::{admin, stores};

/// Open metadata. Other processes are kept away from those of the embedded engine; a cluster lets any number in, also
/// beside daemons of this machine.
pub(crate) struct Alone {
    pub(crate) metadata: Metadata,
    _lock: Option<DataLock>,
}

impl Alone {
    /// Opens what is there. Makes no store where there is none: who mistypes a directory is told so.
    pub(crate) async fn open(config: &Config) -> anyhow::Result<Self> {
        let lock = match config.metadata.engine {
            MetadataEngine::Embedded => Some(lock_existing(config)?),
            MetadataEngine::FoundationDb => None,
        };
        Ok(Self { metadata: stores::metadata(config).await?, _lock: lock })
    }

    /// Leaves the metadata in order, and lets others in.
    pub(crate) async fn close(self) {
        self.metadata.close().await;
    }
}

/// Does something on the metadata itself, when no daemon runs here.
pub(crate) async fn alone<T>(
    config: &Config,
    act: impl AsyncFnOnce(&Metadata) -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    let alone = Alone::open(config).await?;
    let result = act(&alone.metadata).await;
    alone.close().await;
    result
}

/// Why another process may have the data directory, and what to do about it.
pub(crate) const DOES_NOT_ANSWER: &str = "because it is starting or ending, is a command like this one, or found that path \
                                          too long for a socket, as its log says; try again in a moment";

/// Takes the lock of a data directory that has a store.
pub(crate) fn lock_existing(config: &Config) -> anyhow::Result<DataLock> {
    let (data, store) = (&config.server.data, stores::metadata_folder(config));
    let exists = store.try_exists().with_context(|| {
        format!("could not look into {} (run this as the user that runs the daemon)", data.display())
    })?;
    if !exists {
        bail!(
            "there is no darkroom store in {}: name its data directory with --data, or the daemon's configuration file \
             with --config",
            data.display()
        );
    }
    let socket = data.join(admin::SOCKET);
    lock::acquire(data, &format!("it does not answer at {}, {DOES_NOT_ANSWER}", socket.display()))
}
