//! The beginning of a process's life on a store: is it the right store, and which epoch is this?

use std::path::Path;
use std::time::Duration;

use uuid::Uuid;

use crate::StoreError;
use crate::backup::check_not_cut_off;
use crate::metadata::Metadata;
use crate::model::identity::{self, FORMAT_VERSION, Identity};
use crate::model::{Epoch, Timestamp, nodes};
use crate::objects::{ObjectStore, filesystem};

/// How many nodes may live on a store at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nodes {
    /// This one: the engine lets no other process open the store. Whatever an earlier epoch left is void at once.
    Alone,
    /// Any number. An epoch is dead when it has ended, or was declared dead: see [`nodes`].
    Many,
}

/// What a process knows of itself and of its store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// This process's epoch.
    pub epoch: Epoch,
    /// Whether others may live beside it.
    pub nodes: Nodes,
    /// See [`Identity::history`].
    pub history: u64,
    /// The same in metadata and object store.
    pub store_id: Uuid,
}

/// Whether the folder `root` may be opened as the objects of this metadata. Ask before opening it, which makes what it
/// lacks: once the metadata know a store, a folder without its id is another one, such as that below a mount point, and
/// must be left as it is.
///
/// # Errors
/// As [`begin`]'s.
pub async fn check_folder(metadata: &Metadata, root: &Path) -> Result<(), StoreError> {
    check_not_cut_off(metadata).await?;
    match recorded(metadata).await? {
        Some(identity) => check(&identity, filesystem::store_id_of(root).await?),
        None => Ok(()),
    }
}

/// Checks that metadata and objects belong together, giving both a common id at the first start, and begins
/// a new epoch.
///
/// # Errors
/// [`StoreError::Mismatch`] if the two do not belong together, if the format is not known to this daemon, or if a
/// restore was cut off; those of the engine and of the object store.
pub async fn begin(metadata: &Metadata, objects: &ObjectStore) -> Result<Life, StoreError> {
    check_not_cut_off(metadata).await?;
    let identity = agree(metadata, objects).await?;
    let (process, now) = (Uuid::new_v4(), Timestamp::now());
    let nodes = if metadata.is_shared() { Nodes::Many } else { Nodes::Alone };
    let epoch = metadata
        .transact("begin epoch", |tx| async move {
            let epoch = nodes::begin_epoch(&tx, process, now).await?;
            if nodes == Nodes::Alone {
                nodes::declare_earlier_dead(&tx, epoch, now).await?;
            }
            Ok(epoch)
        })
        .await?;
    Ok(Life { epoch, nodes, history: identity.history, store_id: identity.store_id })
}

/// Renews the record of `epoch` three times in `timeout`, for a process that has no pipeline to do it: what such a
/// process does may take longer than a silent node counts as alive. Returns once the epoch is dead all the same.
pub async fn keep(metadata: &Metadata, epoch: Epoch, timeout: Duration) {
    let mut beat = tokio::time::interval(timeout / 3);
    loop {
        beat.tick().await;
        let until = Timestamp::now().after(timeout);
        let renew = |tx| async move { nodes::renew(&tx, epoch, until).await };
        match metadata.transact("renew node", renew).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(%error, "could not renew this node's record; trying again"),
        }
    }
}

/// Ends the epoch in order. What it still holds is void from here on, so call it last.
///
/// # Errors
/// Those of the engine: then the epoch ends by itself, when the next one begins or its time has passed.
pub async fn end(metadata: &Metadata, epoch: Epoch) -> Result<(), StoreError> {
    let now = Timestamp::now();
    metadata.transact("end epoch", |tx| async move { nodes::end(&tx, epoch, now).await }).await
}

/// Several nodes may start on a new store at once. Each writes the metadata before the objects, and looks at them in that
/// order too, so that a store id without metadata is either a mismatch or another node's start in between.
async fn agree(metadata: &Metadata, objects: &ObjectStore) -> Result<Identity, StoreError> {
    let (mut known, found) = (recorded(metadata).await?, objects.store_id().await?);
    if known.is_none() && found.is_some() {
        known = recorded(metadata).await?;
    }
    let identity = match (known, found) {
        (None, None) => {
            let proposed = &Identity {
                store_id: Uuid::new_v4(),
                format_version: FORMAT_VERSION,
                history: 0,
                confirmed: false,
            };
            establish(metadata, proposed).await?
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

/// The identity that the metadata have, if a daemon has started on them.
async fn recorded(metadata: &Metadata) -> Result<Option<Identity>, StoreError> {
    metadata.read("read identity", |tx| async move { identity::get(&tx).await }).await
}

/// The identity that the store has from now on: of nodes that begin at once, one gives its own.
async fn establish(metadata: &Metadata, fresh: &Identity) -> Result<Identity, StoreError> {
    metadata.transact("write identity", |tx| async move { identity::establish(&tx, fresh).await }).await
}

/// Whether the objects that have the id `found` are those of the metadata.
fn check(identity: &Identity, found: Option<Uuid>) -> Result<(), StoreError> {
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
             place (is the folder mounted?), or restore the objects",
            identity.store_id
        ))),
    }
}
