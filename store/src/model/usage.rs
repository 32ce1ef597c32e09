//! What each owner uses: photos, and the bytes of their originals.
//!
//! Counters, changed by atomic adds in the transactions that create and delete, so that they are as durable as what they
//! count and no two uploads conflict over them. An owner's bytes are those of all its photos, also where equal bytes are
//! stored once: what others have stored must not show.
//!
//! A store that is older than its counters has photos that nobody has counted. [`count_existing`] walks over them in the
//! order of their index and keeps how far it has come in a record of its own, [`USAGE_COUNTED`]. Whoever creates or deletes
//! a photo reads that record in the same transaction: before it, the photo is counted at once; behind it, the walk counts
//! it when it gets there. So it may run beside everything else, on any node, and again.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::photos::{self, Photo};
use super::subspaces::{PHOTOS_BY_OWNER, USAGE, USAGE_COUNTED};
use super::{OwnerId, PhotoId, record};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// While an owner has room for so many more uploads like the one that is created, its counters are looked at without a
/// conflict. So a quota is exact as long as no more of one owner's uploads commit at the same time.
const AT_ONCE: u64 = 256;

/// What an owner uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Photos, in any state.
    pub photos: u64,
    /// Bytes of their originals.
    pub bytes: u64,
}

/// What an owner may have; `None` is any number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Photos.
    pub photos_max: Option<u64>,
    /// Bytes of their originals.
    pub bytes_max: Option<u64>,
}

impl Quota {
    /// Whether one more photo of `bytes` fits, beside what is used.
    pub fn has_room(&self, usage: &Usage, bytes: u64) -> bool {
        self.has_room_for(usage, 1, bytes)
    }

    fn has_room_for(&self, usage: &Usage, photos: u64, bytes: u64) -> bool {
        let fits =
            |max: Option<u64>, used: u64, more: u64| max.is_none_or(|max| used.saturating_add(more) <= max);
        fits(self.photos_max, usage.photos, photos) && fits(self.bytes_max, usage.bytes, bytes)
    }

    /// Whether there is any limit.
    pub fn is_limited(&self) -> bool {
        self.photos_max.is_some() || self.bytes_max.is_some()
    }
}

/// How far the photos of a store that is older than its counters have been counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Counted {
    /// Up to this owner's photo, in the order of [`PHOTOS_BY_OWNER`].
    Until(String, Uuid),
    /// All.
    All,
}

/// One of the counters.
#[derive(Clone, Copy)]
enum Counter {
    Photos,
    Bytes,
}

impl Counter {
    fn key(self, owner: &OwnerId) -> Vec<u8> {
        let name = match self {
            Self::Photos => "photos",
            Self::Bytes => "bytes",
        };
        USAGE.key(&(owner.as_str(), name))
    }

    fn add(self, tx: &Transaction, owner: &OwnerId, by: i64) -> Result<(), StoreError> {
        tx.atomic_add(&self.key(owner), by)
    }

    /// What it stands at; `exact` conflicts with whoever changes it.
    async fn read(self, tx: &Transaction, owner: &OwnerId, exact: bool) -> Result<u64, StoreError> {
        let key = self.key(owner);
        let bytes = if exact { tx.get(&key).await? } else { tx.snapshot_get(&key).await? };
        let Some(bytes) = bytes else { return Ok(0) };
        let bytes: [u8; 8] =
            (&bytes[..]).try_into().map_err(|_| record::corrupt_key(&key, "not an 8-byte counter"))?;
        // A daemon of an older version that deletes what this one counted may bring it below nothing.
        Ok(u64::try_from(i64::from_le_bytes(bytes)).unwrap_or(0))
    }
}

/// What an owner uses. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn of(tx: &Transaction, owner: &OwnerId) -> Result<Usage, StoreError> {
    read(tx, owner, false).await
}

async fn read(tx: &Transaction, owner: &OwnerId, exact: bool) -> Result<Usage, StoreError> {
    Ok(Usage {
        photos: Counter::Photos.read(tx, owner, exact).await?,
        bytes: Counter::Bytes.read(tx, owner, exact).await?,
    })
}

/// What the photo's owner uses, if one more like it is more than the quota; `None` if it may be created.
///
/// # Errors
/// Those of the engine.
pub async fn without_room(
    tx: &Transaction,
    photo: &Photo,
    quota: &Quota,
) -> Result<Option<Usage>, StoreError> {
    if !quota.is_limited() {
        return Ok(None);
    }
    let (owner, bytes) = (&photo.owner, photo.original.bytes);
    let about = of(tx, owner).await?;
    if quota.has_room_for(&about, AT_ONCE, bytes.saturating_mul(AT_ONCE)) {
        return Ok(None);
    }
    // Near the limit each sees all others.
    let usage = read(tx, owner, true).await?;
    Ok((!quota.has_room(&usage, bytes)).then_some(usage))
}

/// Counts a photo that this transaction creates.
///
/// # Errors
/// Those of the engine.
pub async fn created(tx: &Transaction, photo: &Photo) -> Result<(), StoreError> {
    count(tx, photo, 1).await
}

/// Counts a photo no more that this transaction deletes.
///
/// # Errors
/// Those of the engine.
pub async fn deleted(tx: &Transaction, photo: &Photo) -> Result<(), StoreError> {
    count(tx, photo, -1).await
}

async fn count(tx: &Transaction, photo: &Photo, by: i64) -> Result<(), StoreError> {
    let is_counted = match counted(tx).await? {
        Some(Counted::All) => true,
        Some(Counted::Until(owner, last)) => index(photo.owner.as_str(), photo.id.0) <= index(&owner, last),
        None => false,
    };
    if !is_counted {
        return Ok(());
    }
    Counter::Photos.add(tx, &photo.owner, by)?;
    Counter::Bytes.add(tx, &photo.owner, by.saturating_mul(signed(photo.original.bytes)))
}

/// Counts up to `rows_max` photos that are older than the counters; whether all are counted now. A second run goes on
/// where the first one, if it has committed, has come to.
///
/// # Errors
/// Those of the engine.
pub async fn count_existing(tx: &Transaction, rows_max: usize) -> Result<bool, StoreError> {
    let mut range = PHOTOS_BY_OWNER.all();
    match counted(tx).await? {
        Some(Counted::All) => return Ok(true),
        // The first key behind this one.
        Some(Counted::Until(owner, last)) => {
            range = KeyRange::new([&index(&owner, last)[..], &[0]].concat(), range.end);
        }
        None => {}
    }
    let rows = tx.get_range(&range, RangeOptions::first(rows_max)).await?;
    let mut sums: BTreeMap<OwnerId, (i64, i64)> = BTreeMap::new();
    let mut last = None;
    for (key, _) in &rows {
        let (owner, id): (String, Uuid) = PHOTOS_BY_OWNER.unpack(key)?;
        if let Some(photo) = photos::get(tx, PhotoId(id)).await? {
            let (photos, bytes) = sums.entry(photo.owner).or_default();
            *photos += 1;
            *bytes = bytes.saturating_add(signed(photo.original.bytes));
        }
        last = Some((owner, id));
    }
    for (owner, (photos, bytes)) in &sums {
        Counter::Photos.add(tx, owner, *photos)?;
        Counter::Bytes.add(tx, owner, *bytes)?;
    }
    let reached = match last {
        Some((owner, id)) if rows.len() == rows_max => Counted::Until(owner, id),
        _ => Counted::All,
    };
    tx.set(&USAGE_COUNTED.key(&()), &record::encode(&reached)?)?;
    Ok(reached == Counted::All)
}

/// Whether all photos are counted, also those that are older than the counters.
///
/// # Errors
/// Those of the engine.
pub async fn is_counted(tx: &Transaction) -> Result<bool, StoreError> {
    Ok(counted(tx).await? == Some(Counted::All))
}

async fn counted(tx: &Transaction) -> Result<Option<Counted>, StoreError> {
    let key = USAGE_COUNTED.key(&());
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

fn index(owner: &str, photo: Uuid) -> Vec<u8> {
    PHOTOS_BY_OWNER.key(&(owner, photo))
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
