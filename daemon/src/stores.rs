//! Opens the two stores that the configuration names, for `serve` and for the commands that work without it.

use anyhow::Context;
use darkroom_config::{Config, MetadataEngine};
use darkroom_store::StoreError;
use darkroom_store::metadata::Metadata;
use darkroom_store::objects::ObjectStore;

/// The metadata.
pub(crate) async fn metadata(config: &Config) -> anyhow::Result<Metadata> {
    let opened = match config.metadata.engine {
        MetadataEngine::Embedded => {
            Metadata::open_embedded(&config.server.data.join("metadata"), config.embedded_options()).await
        }
        MetadataEngine::FoundationDb => foundationdb(config).await,
    };
    opened.context("could not open the metadata")
}

#[cfg(feature = "foundationdb")]
async fn foundationdb(config: &Config) -> Result<Metadata, StoreError> {
    Metadata::open_foundationdb(config.foundationdb_options()).await
}

/// Refused by the options already, with a sentence that says how to build it.
#[cfg(not(feature = "foundationdb"))]
async fn foundationdb(config: &Config) -> Result<Metadata, StoreError> {
    config.foundationdb_options().validate()?;
    Err(StoreError::Unavailable { reason: "this build has no FoundationDB engine".to_owned() })
}

/// The objects.
pub(crate) async fn objects(config: &Config) -> anyhow::Result<ObjectStore> {
    ObjectStore::open_filesystem(&config.server.data.join("objects"), config.objects.free_space_min.0)
        .await
        .context("could not open the object store")
}
