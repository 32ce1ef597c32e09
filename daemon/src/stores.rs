//! Opens the two stores that the configuration names, for `serve` and for the commands that work without it.

use anyhow::Context;
use darkroom_config::sections::ObjectsIn;
use darkroom_config::{Config, MetadataEngine};
use darkroom_store::metadata::Metadata;
use darkroom_store::objects::ObjectStore;

/// The metadata.
pub(crate) async fn metadata(config: &Config) -> anyhow::Result<Metadata> {
    let opened = match config.metadata.engine {
        MetadataEngine::Embedded => {
            Metadata::open_embedded(&config.server.data.join("metadata"), config.embedded_options()).await
        }
        #[cfg(feature = "foundationdb")]
        MetadataEngine::FoundationDb => Metadata::open_foundationdb(config.foundationdb_options()).await,
        #[cfg(not(feature = "foundationdb"))]
        MetadataEngine::FoundationDb => Err(lacking(config)),
    };
    opened.context("could not open the metadata")
}

/// Why this build cannot open it. The options say how to get one that can.
#[cfg(not(feature = "foundationdb"))]
fn lacking(config: &Config) -> darkroom_store::StoreError {
    let reason = "this build has no FoundationDB engine".to_owned();
    let lacking = config.foundationdb_options().validate().err();
    lacking.unwrap_or(darkroom_store::StoreError::Unavailable { reason })
}

/// The objects.
pub(crate) async fn objects(config: &Config) -> anyhow::Result<ObjectStore> {
    let opened = match config.objects.store {
        ObjectsIn::Filesystem => {
            let folder = config.server.data.join("objects");
            ObjectStore::open_filesystem(&folder, config.objects.free_space_min.0).await
        }
        ObjectsIn::S3 => ObjectStore::open_s3(config.s3_options()).await,
    };
    opened.context("could not open the object store")
}
