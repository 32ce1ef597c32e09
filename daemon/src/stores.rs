//! Opens the two stores that the configuration names, for `serve` and for the commands that work without it, and says in
//! words where they are.

use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use darkroom_config::sections::ObjectsIn;
use darkroom_config::{Config, MetadataEngine};
use darkroom_store::metadata::Metadata;
use darkroom_store::objects::ObjectStore;
use darkroom_store::{StoreError, life};

/// Where the embedded engine's metadata lie.
pub(crate) fn metadata_folder(config: &Config) -> PathBuf {
    config.server.data.join("metadata")
}

/// Where objects lie that are files.
fn objects_folder(config: &Config) -> PathBuf {
    config.server.data.join("objects")
}

/// Where the metadata are, in words.
pub(crate) fn metadata_place(config: &Config) -> String {
    let cluster = &config.metadata.foundationdb;
    match config.metadata.engine {
        MetadataEngine::Embedded => metadata_folder(config).display().to_string(),
        MetadataEngine::FoundationDb => {
            format!("FoundationDB, {:?} in the cluster of {}", cluster.prefix, cluster.cluster_file.display())
        }
    }
}

/// Where the objects are, in words.
pub(crate) fn objects_place(config: &Config) -> String {
    let s3 = &config.objects.s3;
    match config.objects.store {
        ObjectsIn::Filesystem => objects_folder(config).display().to_string(),
        ObjectsIn::S3 if s3.prefix.is_empty() => format!("S3, bucket {}", s3.bucket),
        ObjectsIn::S3 => format!("S3, {:?} in bucket {}", s3.prefix, s3.bucket),
    }
}

/// What failed when the two were begun to be used together.
pub(crate) fn not_together(config: &Config) -> String {
    format!(
        "could not start on the metadata ({}) and the objects ({})",
        metadata_place(config),
        objects_place(config)
    )
}

/// The metadata.
pub(crate) async fn metadata(config: &Config) -> anyhow::Result<Metadata> {
    let opened = match config.metadata.engine {
        MetadataEngine::Embedded => {
            Metadata::open_embedded(&metadata_folder(config), config.embedded_options()).await
        }
        #[cfg(feature = "foundationdb")]
        MetadataEngine::FoundationDb => Metadata::open_foundationdb(config.foundationdb_options()).await,
        #[cfg(not(feature = "foundationdb"))]
        MetadataEngine::FoundationDb => Err(lacking(config)),
    };
    opened
        .map_err(|error| anyhow!(config.in_keys_of_metadata(&error) + remedy(&error)))
        .with_context(|| format!("could not open the metadata ({})", metadata_place(config)))
}

/// What to do about an error of the operating system that does not say so. What objects lack, that is no error of the
/// operating system any more, says it by itself.
fn remedy(error: &StoreError) -> &'static str {
    match error {
        StoreError::Io { source, .. } => match source.kind() {
            ErrorKind::PermissionDenied => "; let the user that runs this read and write there",
            ErrorKind::ReadOnlyFilesystem => "; mount that file system so that it can be written",
            ErrorKind::StorageFull => {
                "; make room on that disk: for bytes (`df`), or for more files (`df -i`)"
            }
            ErrorKind::QuotaExceeded => {
                "; raise the quota of the user that runs this, or make room within it"
            }
            _ => "",
        },
        _ => "",
    }
}

/// Why this build cannot open it. The options say how to get one that can.
#[cfg(not(feature = "foundationdb"))]
fn lacking(config: &Config) -> StoreError {
    let reason = "this build has no FoundationDB engine".to_owned();
    let lacking = config.foundationdb_options().validate().err();
    lacking.unwrap_or(StoreError::Unavailable { reason })
}

/// The objects. A folder is made where there is none.
pub(crate) async fn objects(config: &Config) -> anyhow::Result<ObjectStore> {
    let opened = match config.objects.store {
        ObjectsIn::Filesystem => {
            let (folder, options) = (objects_folder(config), config.filesystem_options());
            if config.shares_objects() {
                ObjectStore::open_shared_filesystem(&folder, options).await
            } else {
                ObjectStore::open_filesystem(&folder, options).await
            }
        }
        ObjectsIn::S3 => ObjectStore::open_s3(config.s3_options()).await,
    };
    opened
        .map_err(|error| anyhow!(config.in_keys_of_objects(&error) + remedy(&error)))
        .with_context(|| format!("could not open the object store ({})", objects_place(config)))
}

/// The objects of the store that the metadata know. A folder is made where they know none yet.
pub(crate) async fn objects_of(config: &Config, metadata: &Metadata) -> anyhow::Result<ObjectStore> {
    if config.objects.store == ObjectsIn::Filesystem {
        life::check_folder(metadata, &objects_folder(config))
            .await
            .map_err(|error| anyhow!(error.to_string() + remedy(&error)))
            .with_context(|| not_together(config))?;
    }
    objects(config).await
}

/// The objects of a store that others have made.
pub(crate) async fn existing_objects(config: &Config, metadata: &Metadata) -> anyhow::Result<ObjectStore> {
    let folder = objects_folder(config);
    if config.objects.store == ObjectsIn::Filesystem && !folder.is_dir() {
        bail!(
            "there is no folder {}, where the objects should be: name the data directory with --data, and see that the \
             folder is mounted if nodes share it",
            folder.display()
        );
    }
    objects_of(config, metadata).await
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn an_error_of_the_operating_system_comes_with_what_to_do() {
        let told = |kind: ErrorKind| {
            remedy(&StoreError::Io { context: "could not open it".to_owned(), source: io::Error::from(kind) })
        };
        assert!(told(ErrorKind::PermissionDenied).contains("read and write"));
        assert!(told(ErrorKind::ReadOnlyFilesystem).contains("mount"));
        assert!(told(ErrorKind::QuotaExceeded).contains("quota"));
        assert!(told(ErrorKind::StorageFull).contains("df -i"));
        assert_eq!(told(ErrorKind::Interrupted), "");
    }
}
