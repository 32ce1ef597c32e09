//! What became of each file of a batch.

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};
use crate::model::photos::{Failure, State};
use crate::model::subspaces::BATCH_ITEMS;
use crate::model::{BatchId, ContentHash, ItemId, PhotoId, Timestamp, record};

/// Which rows of a batch are items.
const ITEMS: u64 = 0;
/// Which rows of a batch lead from a state to items.
const BY_STATE: u64 = 1;

/// Where a file of a batch stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// It is a photo, and that is being processed, or waits for it.
    Processing,
    /// Its photo is ready.
    Ready,
    /// Its photo could not be processed.
    Failed,
    /// Its photo was deleted since.
    Deleted,
    /// Its bytes were a photo of the owner before.
    Duplicate,
    /// No photo was made of it.
    Refused,
}

impl ItemState {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Processing, Self::Ready, Self::Failed, Self::Deleted, Self::Duplicate, Self::Refused];

    /// The word in the API, and in keys.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Processing => "processing",
            Self::Ready => "ready",
            Self::Failed => "failed",
            Self::Deleted => "deleted",
            Self::Duplicate => "duplicate",
            Self::Refused => "refused",
        }
    }

    /// The state of this word.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether rows lead from the state to its items. Nearly all items are `processing`, then `ready`: to find these,
    /// one looks at all; and rows that come and go for each would be in the way of others for long.
    fn has_index(self) -> bool {
        !matches!(self, Self::Processing | Self::Ready)
    }
}

impl From<State> for ItemState {
    fn from(state: State) -> Self {
        match state {
            State::Processing => Self::Processing,
            State::Ready => Self::Ready,
            State::Failed => Self::Failed,
        }
    }
}

/// A file of a batch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Where it stands.
    pub state: ItemState,
    /// Its name, if its client gave one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it came to.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Whether its bytes were a photo of the owner before: also one that had failed, and was tried again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    /// When it came.
    pub received: Timestamp,
    /// When its state last changed.
    pub updated: Timestamp,
}

/// What a file came to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Its photo: for a duplicate, the one that has its bytes. None if it was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub photo: Option<PhotoId>,
    /// Why it was refused, or why its photo failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<Failure>,
    /// BLAKE3 of its bytes, where they were read whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<ContentHash>,
    /// Its size, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// One page of items.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The items.
    pub items: Vec<(ItemId, Item)>,
    /// Where to go on; `None` at the end.
    pub next: Option<ItemId>,
}

fn key(batch: BatchId, id: ItemId) -> Vec<u8> {
    BATCH_ITEMS.key(&(batch.0, ITEMS, id.0))
}

fn index_key(batch: BatchId, state: ItemState, id: ItemId) -> Vec<u8> {
    BATCH_ITEMS.key(&(batch.0, BY_STATE, state.as_str(), id.0))
}

/// Every row of [`BATCH_ITEMS`] that the batch has.
pub(super) fn all_of(batch: BatchId) -> KeyRange {
    BATCH_ITEMS.range(&(batch.0,))
}

pub(super) async fn get(tx: &Transaction, batch: BatchId, id: ItemId) -> Result<Option<Item>, StoreError> {
    let key = key(batch, id);
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// Writes a new item.
pub(super) fn add(tx: &Transaction, batch: BatchId, id: ItemId, item: &Item) -> Result<(), StoreError> {
    tx.set(&key(batch, id), &record::encode(item)?)?;
    if item.state.has_index() {
        tx.set(&index_key(batch, item.state, id), &[])?;
    }
    Ok(())
}

/// Writes an item that was in the state `before`.
pub(super) fn change(
    tx: &Transaction,
    batch: BatchId,
    id: ItemId,
    before: ItemState,
    item: &Item,
) -> Result<(), StoreError> {
    if before.has_index() {
        tx.clear(&index_key(batch, before, id))?;
    }
    add(tx, batch, id, item)
}

/// The batch's items in the order in which they came, those in `state` if one is given, after `after`: one page. It looks
/// at no more than `limit` rows, and so may find fewer, or none, and yet not be the last.
///
/// # Errors
/// Those of the engine.
pub async fn list_items(
    tx: &Transaction,
    batch: BatchId,
    state: Option<ItemState>,
    after: Option<ItemId>,
    limit: usize,
) -> Result<Listed, StoreError> {
    match state {
        Some(state) if state.has_index() => list_by_state(tx, batch, state, after, limit).await,
        state => list_all(tx, batch, state, after, limit).await,
    }
}

async fn list_all(
    tx: &Transaction,
    batch: BatchId,
    state: Option<ItemState>,
    after: Option<ItemId>,
    limit: usize,
) -> Result<Listed, StoreError> {
    let mut range = BATCH_ITEMS.range(&(batch.0, ITEMS));
    if let Some(after) = after {
        range = range.after(&key(batch, after));
    }
    let rows = tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?;
    let mut listed = Listed::default();
    let is_full = rows.len() == limit;
    for (key, value) in rows {
        let (_, _, id) = BATCH_ITEMS.unpack::<(uuid::Uuid, u64, uuid::Uuid)>(&key)?;
        listed.next = Some(ItemId(id)).filter(|_| is_full);
        let item: Item = record::decode(&key, &value)?;
        if state.is_none_or(|state| state == item.state) {
            listed.items.push((ItemId(id), item));
        }
    }
    Ok(listed)
}

async fn list_by_state(
    tx: &Transaction,
    batch: BatchId,
    state: ItemState,
    after: Option<ItemId>,
    limit: usize,
) -> Result<Listed, StoreError> {
    let mut range = BATCH_ITEMS.range(&(batch.0, BY_STATE, state.as_str()));
    if let Some(after) = after {
        range = range.after(&index_key(batch, state, after));
    }
    let rows = tx.get_range(&range, RangeOptions::first(limit).snapshot()).await?;
    let mut listed = Listed::default();
    let is_full = rows.len() == limit;
    for (key, _) in rows {
        let (_, _, _, id) = BATCH_ITEMS.unpack::<(uuid::Uuid, u64, String, uuid::Uuid)>(&key)?;
        let id = ItemId(id);
        listed.next = Some(id).filter(|_| is_full);
        listed.items.extend(get(tx, batch, id).await?.map(|item| (id, item)));
    }
    Ok(listed)
}
