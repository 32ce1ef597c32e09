//! A checked backup into an empty store.
//!
//! Before the first row a marker is written, and it goes with the last change; a store with a marker does not start, and
//! can only be restored again. What differs from the backup afterwards:
//!
//! - the history is one higher, and so stands above every versionstamp in the backup, wherever else it was restored;
//! - versions go on above the backup's, so that versionstamps in values ascend too;
//! - leases are void: their holders are not of this store;
//! - intents are gone. The objects that they stand for may have been referenced after the backup, so they are left
//!   alone, as is every object that was written later: nothing here deletes any.

use std::path::Path;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Header;
use super::format::Row;
use super::inspect::{Contents, inspect};
use crate::StoreError;
use crate::metadata::{KeyRange, Metadata, RangeOptions, Transaction};
use crate::model::identity::{FORMAT_VERSION, Identity};
use crate::model::subspaces::{IDENTITY, INTENTS, RESTORE};
use crate::model::{Epoch, Timestamp, identity, jobs, nodes, photos, record};

/// Rows written or cleared in one transaction.
const BATCH_ROWS: usize = 500;
/// Bytes of rows after which a transaction takes no more.
const BATCH_BYTES: usize = 1_000_000;

/// A restore that has begun and not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    /// Whose backup it is.
    store_id: Option<Uuid>,
    /// When that was taken.
    taken: Timestamp,
    /// When the restore began.
    begun: Timestamp,
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Restored {
    /// Whose metadata the store holds now.
    pub store_id: Option<Uuid>,
    /// When the backup was taken.
    pub taken: Timestamp,
    /// Rows written.
    pub rows: u64,
    /// Intents left out.
    pub intents_dropped: u64,
    /// Leases that were void.
    pub leases_voided: usize,
}

/// Checks the whole backup at `path`, then writes its rows into `metadata`, which must be empty or hold what an earlier
/// restore left when it was cut off. `now` is the present time, `process` a random id.
///
/// # Errors
/// [`StoreError::BadBackup`] for a file that cannot be used; [`StoreError::Mismatch`] for a store that is not empty or
/// a backup of a format that is not known here; those of the engine. After the last the store is marked, and restoring
/// again begins anew.
pub async fn restore(
    metadata: &Metadata,
    path: &Path,
    process: Uuid,
    now: Timestamp,
) -> Result<Restored, StoreError> {
    // What cannot be backed up this way is not restored this way either.
    drop(metadata.export()?);
    let file = path.to_owned();
    let summary = blocking(move || inspect(&file)).await?;
    let header = summary.header;
    if header.record_format != FORMAT_VERSION {
        return Err(StoreError::Mismatch(format!(
            "the backup's records have format version {}, this daemon knows {FORMAT_VERSION}: restore it with the \
             daemon that wrote it",
            header.record_format
        )));
    }
    make_room(metadata).await?;
    begin(metadata, &header, now).await?;
    let copied = copy(metadata, path).await?;
    let leases_voided = void_leases(metadata, process, now).await?;
    end(metadata, copied.identity.as_ref()).await?;
    Ok(Restored {
        store_id: header.store_id,
        taken: header.taken,
        rows: copied.rows,
        intents_dropped: copied.intents_dropped,
        leases_voided,
    })
}

/// Refuses a store in which a restore was cut off.
///
/// # Errors
/// [`StoreError::Mismatch`] then; those of the engine.
pub async fn check_not_cut_off(metadata: &Metadata) -> Result<(), StoreError> {
    match metadata.read("look for a restore", |tx| async move { marker(&tx).await }).await? {
        None => Ok(()),
        Some(marker) => Err(StoreError::Mismatch(format!(
            "the metadata is half restored: a restore of the backup of store {} was cut off; run `darkroomd restore` \
             again, which begins anew",
            name(marker.store_id)
        ))),
    }
}

fn name(store_id: Option<Uuid>) -> String {
    store_id.map_or_else(|| "(never started)".to_owned(), |id| id.to_string())
}

async fn marker(tx: &Transaction) -> Result<Option<Marker>, StoreError> {
    let key = RESTORE.key(&());
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// Refuses a store that holds anything, says what, and clears what a restore that was cut off left.
async fn make_room(metadata: &Metadata) -> Result<(), StoreError> {
    // Only a mark that was read says that what is here may be cleared.
    let marker = metadata.read("look for a restore", |tx| async move { marker(&tx).await }).await?;
    if marker.is_none() {
        return metadata.read("is it empty", |tx| async move { check_empty(&tx).await }).await;
    }
    let mut pages = metadata.pages("list half a restore", KeyRange::all(), BATCH_ROWS);
    while let Some(page) = pages.next().await? {
        let keys = &page;
        let clear = |tx: Transaction| async move {
            let marker = RESTORE.key(&());
            keys.iter().filter(|(key, _)| *key != marker).try_for_each(|(key, _)| tx.clear(key))
        };
        metadata.transact("clear half a restore", clear).await?;
    }
    Ok(())
}

async fn check_empty(tx: &Transaction) -> Result<(), StoreError> {
    let first = tx.get_range(&KeyRange::all(), RangeOptions::first(1)).await?;
    if first.is_empty() {
        return Ok(());
    }
    let identity = identity::get(tx).await?;
    let counts = photos::counts(tx).await?;
    let photos: i64 = counts.iter().map(|(_, count)| count).sum();
    Err(StoreError::Mismatch(format!(
        "a backup is restored only into an empty store, and here is store {} with {photos} photos: give an empty data \
         directory with --data, or move this one away",
        name(identity.map(|identity| identity.store_id))
    )))
}

/// Writes the marker, in a version above all of the backup's.
async fn begin(metadata: &Metadata, header: &Header, now: Timestamp) -> Result<(), StoreError> {
    let (marker, version) =
        (&Marker { store_id: header.store_id, taken: header.taken, begun: now }, header.version);
    let write = |tx: Transaction| async move {
        tx.raise_version(version)?;
        tx.set(&RESTORE.key(&()), &record::encode(marker)?)
    };
    metadata.transact("begin restore", write).await
}

#[derive(Default)]
struct Copied {
    /// Written last, so that what is not whole has none.
    identity: Option<Identity>,
    rows: u64,
    intents_dropped: u64,
}

/// Writes every row but the identity and the intents.
async fn copy(metadata: &Metadata, path: &Path) -> Result<Copied, StoreError> {
    let file = path.to_owned();
    let mut contents = blocking(move || Contents::open(&file)).await?;
    let (mut copied, mut waiting, mut bytes) = (Copied::default(), Vec::new(), 0);
    let (identity_key, intents) = (IDENTITY.key(&()), INTENTS.all());
    loop {
        let rows;
        (contents, rows) = blocking(move || contents.next_rows().map(|rows| (contents, rows))).await?;
        let Some(rows) = rows else { break };
        for (key, value) in rows {
            if key == identity_key {
                copied.identity = Some(record::decode(&key, &value)?);
            } else if intents.contains(&key) {
                copied.intents_dropped += 1;
            } else {
                bytes += key.len() + value.len();
                waiting.push((key, value));
            }
            if waiting.len() >= BATCH_ROWS || bytes >= BATCH_BYTES {
                copied.rows += write(metadata, &mut waiting).await?;
                bytes = 0;
            }
        }
    }
    copied.rows += write(metadata, &mut waiting).await?;
    Ok(copied)
}

async fn write(metadata: &Metadata, waiting: &mut Vec<Row>) -> Result<u64, StoreError> {
    let rows = std::mem::take(waiting);
    let written = &rows;
    let set = |tx: Transaction| async move { written.iter().try_for_each(|(key, value)| tx.set(key, value)) };
    metadata.transact("restore rows", set).await?;
    Ok(rows.len() as u64)
}

/// Begins an epoch above all of the backup's, declares those dead, and makes the jobs due that they held.
async fn void_leases(metadata: &Metadata, process: Uuid, now: Timestamp) -> Result<usize, StoreError> {
    let begin = |tx: Transaction| async move {
        let epoch = nodes::begin_epoch(&tx, process, now).await?;
        nodes::declare_earlier_dead(&tx, epoch, now).await
    };
    metadata.transact("begin epoch", begin).await?;
    let dead = metadata.read("list dead epochs", |tx| async move { nodes::dead(&tx, now).await }).await?;
    let mut voided = 0;
    for (epoch, _) in dead {
        voided += void_leases_of(metadata, epoch, now).await?;
    }
    Ok(voided)
}

async fn void_leases_of(metadata: &Metadata, epoch: Epoch, now: Timestamp) -> Result<usize, StoreError> {
    let mut voided = 0;
    loop {
        let void = |tx: Transaction| async move { jobs::void_leases_of(&tx, epoch, now, BATCH_ROWS).await };
        match metadata.transact("void leases of the backup", void).await? {
            0 => return Ok(voided),
            count => voided += count,
        }
    }
}

/// Makes the store one that starts.
async fn end(metadata: &Metadata, identity: Option<&Identity>) -> Result<(), StoreError> {
    let finish = |tx: Transaction| async move {
        if let Some(identity) = identity {
            identity::put(&tx, &Identity { history: identity.history + 1, ..identity.clone() })?;
        }
        tx.clear(&RESTORE.key(&()))
    };
    metadata.transact("end restore", finish).await
}

/// Runs what reads a file where it holds up nobody.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let outcome = tokio::task::spawn_blocking(work).await;
    outcome.map_err(|error| StoreError::Unavailable {
        reason: format!("reading a backup was cut off: {error}"),
    })?
}
