//! The beginning of a process's life on a store: is it the right store, and which epoch is this?

use uuid::Uuid;

use crate::StoreError;
use crate::metadata::Metadata;
use crate::model::identity::{self, FORMAT_VERSION, Identity};
use crate::model::{Epoch, Timestamp, nodes};
use crate::objects::ObjectStore;

/// What a process knows of itself and of its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// This process's epoch.
    pub epoch: Epoch,
    /// See [`Identity::history`].
    pub history: u64,
    /// The same in metadata and object store.
    pub store_id: Uuid,
}

/// Checks that metadata and objects belong together, giving both a common id at the first start, and begins
/// a new epoch.
///
/// # Errors
/// [`StoreError::Mismatch`] if the two do not belong together, or if the format is not known to this
/// daemon; those of the engine and of the object store.
pub async fn begin(metadata: &Metadata, objects: &ObjectStore) -> Result<Life, StoreError> {
    let identity = agree(metadata, objects).await?;
    let (process, now) = (Uuid::new_v4(), Timestamp::now());
    let epoch = metadata
        .transact("begin epoch", |tx| async move { nodes::begin_epoch(&tx, process, now).await })
        .await?;
    Ok(Life { epoch, history: identity.history, store_id: identity.store_id })
}

/// Several nodes may start on a new store at once. Each writes the metadata before the objects, and looks at them in that
/// order too, so that a store id without metadata is either a mismatch or another node's start in between.
async fn agree(metadata: &Metadata, objects: &ObjectStore) -> Result<Identity, StoreError> {
    let read = || metadata.read("read identity", |tx| async move { identity::get(&tx).await });
    let (mut recorded, found) = (read().await?, objects.store_id().await?);
    if recorded.is_none() && found.is_some() {
        recorded = read().await?;
    }
    let identity = match (recorded, found) {
        (None, None) => {
            let proposed = &Identity {
                store_id: Uuid::new_v4(),
                format_version: FORMAT_VERSION,
                history: 0,
                confirmed: false,
            };
            metadata
                .transact("write identity", |tx| async move { identity::agree(&tx, proposed).await })
                .await?
        }
        (Some(identity), found) => {
            check(&identity, found)?;
            identity
        }
        (None, Some(id)) => {
            return Err(StoreError::Mismatch(format!(
                "the objects belong to store {id}, but the metadata is empty: point it at the right place, or \
                 restore the metadata"
            )));
        }
    };
    if !identity.confirmed {
        let id = identity.store_id;
        objects.set_store_id(id).await?;
        metadata.transact("confirm identity", |tx| async move { identity::confirm(&tx, id).await }).await?;
    }
    Ok(identity)
}

fn check(identity: &Identity, found: Option<Uuid>) -> Result<(), StoreError> {
    if identity.format_version != FORMAT_VERSION {
        return Err(StoreError::Mismatch(format!(
            "the store has format version {}, this daemon knows {FORMAT_VERSION}: run the daemon that wrote it, or a \
             newer one that can read it",
            identity.format_version
        )));
    }
    match found {
        Some(id) if id == identity.store_id => Ok(()),
        // A first start that ended between its two writes.
        None if !identity.confirmed => Ok(()),
        Some(id) => Err(StoreError::Mismatch(format!(
            "the metadata belongs to store {}, the objects to store {id}: point both at the same store",
            identity.store_id
        ))),
        None => Err(StoreError::Mismatch(format!(
            "the metadata belongs to store {}, but the object store has no id (no store-id): point it at the right \
             place, or restore the objects",
            identity.store_id
        ))),
    }
}
