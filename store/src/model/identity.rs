//! The store's own identity: a random id in metadata and in the object store, and the format version.
//!
//! A daemon whose two ids differ, or where only one side has any, is pointed at the wrong place and must
//! not start: it would delete what it believes to be orphans, or serve records without objects. The id is
//! written to metadata as *pending* first, then to the object store, then confirmed, so that a crash in
//! between can be told from a mismatch.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{record, subspaces::IDENTITY};
use crate::StoreError;
use crate::metadata::Transaction;

/// The format version of keys and records that this code reads and writes.
pub const FORMAT_VERSION: u32 = 1;

/// What the metadata says of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Also in the object store.
    pub store_id: Uuid,
    /// See [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Raised when a backup is restored elsewhere; stands before every versionstamp in a key.
    pub history: u64,
    /// Whether the object store is known to hold the id too.
    pub confirmed: bool,
}

/// What of an [`Identity`] is written by a daemon of any format, so that every other one can tell that it is not its own.
#[derive(Deserialize)]
struct Format {
    store_id: Uuid,
    format_version: u32,
}

/// The identity, if the store has one.
///
/// # Errors
/// [`StoreError::Mismatch`] if the store's format is not known to this daemon, which then understands nothing else of
/// it; those of the engine.
pub async fn get(tx: &Transaction) -> Result<Option<Identity>, StoreError> {
    let key = IDENTITY.key(&());
    let Some(bytes) = tx.get(&key).await? else { return Ok(None) };
    let Format { store_id, format_version } = record::decode(&key, &bytes)?;
    if format_version != FORMAT_VERSION {
        return Err(StoreError::Mismatch(format!(
            "the metadata of store {store_id} has format version {format_version}, and this daemon knows \
             {FORMAT_VERSION}: run the darkroomd that wrote it last, or a newer one (nothing was changed)"
        )));
    }
    record::decode(&key, &bytes).map(Some)
}

/// Gives the store the identity `fresh`, unless it has one already, and answers the one that it has.
///
/// # Errors
/// Those of the engine.
pub async fn establish(tx: &Transaction, fresh: &Identity) -> Result<Identity, StoreError> {
    if let Some(identity) = get(tx).await? {
        return Ok(identity);
    }
    put(tx, fresh)?;
    Ok(fresh.clone())
}

/// Notes that the object store holds the id `store_id` too.
///
/// # Errors
/// Those of the engine.
pub async fn confirm(tx: &Transaction, store_id: Uuid) -> Result<(), StoreError> {
    match get(tx).await? {
        Some(found) if found.store_id == store_id => put(tx, &Identity { confirmed: true, ..found }),
        _ => Ok(()),
    }
}

/// Writes the identity.
///
/// # Errors
/// Those of the engine.
pub fn put(tx: &Transaction, identity: &Identity) -> Result<(), StoreError> {
    tx.set(&IDENTITY.key(&()), &record::encode(identity)?)
}
