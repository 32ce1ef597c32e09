//! Opens the two stores that the configuration names, for `serve` and for the commands that work without it.

use anyhow::Context;
use darkroom_config::Config;
use darkroom_config::sections::ObjectsIn;
use darkroom_store::metadata::Metadata;
use darkroom_store::objects::ObjectStore;

/// The metadata.
pub(crate) async fn metadata(config: &Config) -> anyhow::Result<Metadata> {
    Metadata::open_embedded(&config.server.data.join("metadata"), config.embedded_options())
        .await
        .context("could not open the metadata")
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
