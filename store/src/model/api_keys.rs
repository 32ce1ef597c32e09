//! API keys: how programs sign in. Of the secret only a hash is kept; a key that is revoked has no record.

use serde::{Deserialize, Serialize};

use super::subspaces::{API_KEY_USES, API_KEYS};
use super::{ApiKeyId, ContentHash, Timestamp, UserId, record};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};

/// A key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// Its id, which is part of it.
    pub id: ApiKeyId,
    /// What it is for.
    pub name: String,
    /// What it allows, in the API's words. A word that a daemon does not know allows nothing.
    pub scopes: Vec<String>,
    /// For whom it acts unless a request names somebody else.
    pub user: UserId,
    /// Hash of its secret.
    pub secret: ContentHash,
    /// When it was made.
    pub created: Timestamp,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
}

/// The key, if it was not revoked and has not ended.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: ApiKeyId, now: Timestamp) -> Result<Option<ApiKey>, StoreError> {
    let key = API_KEYS.key(&(id.0,));
    let found: Option<ApiKey> = tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()?;
    Ok(found.filter(|found| found.expires.is_none_or(|expires| now < expires)))
}

/// Adds a key. A second run writes the same.
///
/// # Errors
/// Those of the engine.
pub fn create(tx: &Transaction, key: &ApiKey) -> Result<(), StoreError> {
    tx.set(&API_KEYS.key(&(key.id.0,)), &record::encode(key)?)
}

/// Adds the first key of a store, once: whoever has removed it since makes the next by command. Whether it is this one.
///
/// # Errors
/// Those of the engine.
pub async fn create_first(tx: &Transaction, key: &ApiKey) -> Result<bool, StoreError> {
    let first = API_KEYS.key(&());
    if let Some(bytes) = tx.get(&first).await? {
        return Ok(record::decode::<ApiKeyId>(&first, &bytes)? == key.id);
    }
    tx.set(&first, &record::encode(&key.id)?)?;
    create(tx, key)?;
    Ok(true)
}

/// Revokes a key: it is refused by every request that begins after this has committed. Whether there was one.
///
/// # Errors
/// Those of the engine.
pub async fn revoke(tx: &Transaction, id: ApiKeyId) -> Result<bool, StoreError> {
    let key = API_KEYS.key(&(id.0,));
    if tx.get(&key).await?.is_none() {
        return Ok(tx.may_repeat());
    }
    tx.clear(&key)?;
    tx.clear(&use_key(id))?;
    Ok(true)
}

/// Keys that were not revoked, after one of them, the oldest first, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn list(
    tx: &Transaction,
    after: Option<ApiKeyId>,
    limit: usize,
) -> Result<Vec<ApiKey>, StoreError> {
    let all = API_KEYS.range(&());
    let range = match after {
        Some(after) => all.after(&API_KEYS.key(&(after.0,))),
        None => all,
    };
    let rows = tx.get_range(&range, RangeOptions::first(limit)).await?;
    rows.iter().map(|(key, bytes)| record::decode(key, bytes)).collect()
}

/// The key was used. Without a conflict, and never back in time.
///
/// # Errors
/// Those of the engine.
pub fn used(tx: &Transaction, id: ApiKeyId, now: Timestamp) -> Result<(), StoreError> {
    tx.atomic_max(&use_key(id), now.0)
}

/// When it was last used, as far as that was recorded.
///
/// # Errors
/// Those of the engine.
pub async fn last_use(tx: &Transaction, id: ApiKeyId) -> Result<Option<Timestamp>, StoreError> {
    let key = use_key(id);
    let Some(bytes) = tx.snapshot_get(&key).await? else { return Ok(None) };
    let bytes: [u8; 8] =
        (&bytes[..]).try_into().map_err(|_| record::corrupt_key(&key, "not a time of 8 bytes"))?;
    Ok(Some(Timestamp(u64::from_le_bytes(bytes))))
}

fn use_key(id: ApiKeyId) -> Vec<u8> {
    API_KEY_USES.key(&(id.0,))
}
