//! The keys that access tokens and signed links are signed with.
//!
//! A key is published before it signs, so that everyone who verifies has it by then, and verifies for as long as
//! something that it signed may live. Keys of one purpose sign one after another: a key signs from
//! [`SigningKey::signs_from`] until the next one does. All nodes read the same rows, and each keeps a copy of them in
//! memory.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::subspaces::SIGNING_KEYS;
use super::{Timestamp, record};
use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};

/// Most keys of one purpose: rotations beyond it wait until older keys have ended, so that what is published stays
/// small.
pub const KEYS_MAX: usize = 32;
/// Most rows that are read at once: those of all purposes, with room for what a newer daemon may have added.
const ROWS_MAX: usize = 4 * KEYS_MAX;

/// What a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Access tokens, by Ed25519: the secret is its 32-byte seed (RFC 8032, section 5.1.5).
    Tokens,
    /// Links that open without a session, by HMAC-SHA-256: the secret is 32 random bytes.
    Links,
}

/// A secret that no log shows.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(Vec<u8>);

impl KeySecret {
    /// Of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"…\"")
    }
}

impl Serialize for KeySecret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for KeySecret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        // What is wrong is not told, since it would quote the secret.
        let bytes =
            STANDARD.decode(&*text).map_err(|_| serde::de::Error::custom("a key's secret is no base64"))?;
        Ok(Self(bytes))
    }
}

/// A key that its maker has just drawn, outside of any transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshKey {
    /// By which signatures name it: short, random, and of characters that need no escape in a URL.
    pub id: String,
    /// What it signs.
    pub purpose: Purpose,
    /// See [`Purpose`].
    pub secret: KeySecret,
}

/// A key, and from when until when it is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SigningKey {
    /// By which signatures name it.
    pub id: String,
    /// What it signs.
    pub purpose: Purpose,
    /// See [`Purpose`].
    pub secret: KeySecret,
    /// When it was made. It verifies from then on.
    pub created: Timestamp,
    /// When it begins to sign.
    pub signs_from: Timestamp,
    /// When it signs no more; open as long as there is no next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signs_until: Option<Timestamp>,
    /// When its signatures count no more; open as long as it may sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verifies_until: Option<Timestamp>,
}

impl SigningKey {
    fn of(fresh: &FreshKey, created: Timestamp, signs_from: Timestamp) -> Self {
        Self {
            id: fresh.id.clone(),
            purpose: fresh.purpose,
            secret: fresh.secret.clone(),
            created,
            signs_from,
            signs_until: None,
            verifies_until: None,
        }
    }

    /// Whether it signs at this time.
    pub fn signs_at(&self, now: Timestamp) -> bool {
        self.signs_from <= now && self.signs_until.is_none_or(|until| now < until)
    }

    /// Whether its signatures count at this time.
    pub fn verifies_at(&self, now: Timestamp) -> bool {
        self.verifies_until.is_none_or(|until| now < until)
    }

    /// Whether no other is to follow it yet.
    fn is_newest(&self) -> bool {
        self.signs_until.is_none() && self.verifies_until.is_none()
    }
}

/// How a key follows another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// When it is asked for.
    pub now: Timestamp,
    /// So long after it the new key begins to sign: by then everyone who verifies must have learnt of it.
    pub overlap: Duration,
    /// So long after its last signature the old key verifies: what is signed with it must not live longer, all clocks'
    /// differences included.
    pub longest: Duration,
}

/// What became of a wish to rotate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// This key follows.
    Done(SigningKey),
    /// This one waits already to sign, so that no other was made.
    Waits(SigningKey),
    /// There are [`KEYS_MAX`] of this purpose; the earliest ends then, if any is known to end.
    TooMany(Option<Timestamp>),
}

/// Every key of every purpose, the oldest first. The transaction conflicts with whoever makes or changes any.
///
/// # Errors
/// Those of the engine.
pub async fn all(tx: &Transaction) -> Result<Vec<SigningKey>, StoreError> {
    let rows = tx.get_range(&SIGNING_KEYS.all(), RangeOptions::first(ROWS_MAX)).await?;
    let keys = rows.iter().map(|(key, value)| record::decode(key, value));
    let mut keys = keys.collect::<Result<Vec<SigningKey>, _>>()?;
    keys.sort_by(|a, b| (a.signs_from, a.created, &a.id).cmp(&(b.signs_from, b.created, &b.id)));
    Ok(keys)
}

/// The newest key of a purpose: `fresh`, if there was none. Two nodes that start at once end with one.
///
/// # Errors
/// Those of the engine.
pub async fn ensure(tx: &Transaction, fresh: &FreshKey, now: Timestamp) -> Result<SigningKey, StoreError> {
    let mut keys = of_purpose(tx, fresh.purpose).await?;
    if let Some(newest) = keys.iter().rposition(SigningKey::is_newest) {
        return Ok(keys.swap_remove(newest)); // Also what an earlier run of this transaction made.
    }
    let key = SigningKey::of(fresh, now, now);
    write(tx, &key)?;
    Ok(key)
}

/// Has `fresh` follow the key that signs now: it is published at once, and signs after the overlap; the old one
/// verifies until what it signed last has ended.
///
/// # Errors
/// Those of the engine.
pub async fn rotate(tx: &Transaction, fresh: &FreshKey, how: Rotation) -> Result<Rotated, StoreError> {
    let keys = of_purpose(tx, fresh.purpose).await?;
    if let Some(done) = keys.iter().find(|key| key.id == fresh.id) {
        return Ok(Rotated::Done(done.clone())); // An earlier run of this transaction has committed.
    }
    if let Some(waits) = keys.iter().find(|key| key.is_newest() && key.signs_from > how.now) {
        return Ok(Rotated::Waits(waits.clone()));
    }
    let keys = without_ended(tx, keys, how.now)?;
    if keys.len() >= KEYS_MAX {
        return Ok(Rotated::TooMany(keys.iter().filter_map(|key| key.verifies_until).min()));
    }
    let signs_from = how.now.after(how.overlap);
    for mut old in keys.into_iter().filter(SigningKey::is_newest) {
        old.signs_until = Some(signs_from);
        old.verifies_until = Some(signs_from.after(how.longest));
        write(tx, &old)?;
    }
    let key = SigningKey::of(fresh, how.now, signs_from);
    write(tx, &key)?;
    Ok(Rotated::Done(key))
}

/// Has `fresh` sign from now on, and ends all others of its purpose: for a secret that others may know. Whatever they
/// signed is refused as soon as a node has read its keys again.
///
/// # Errors
/// Those of the engine.
pub async fn replace(tx: &Transaction, fresh: &FreshKey, now: Timestamp) -> Result<SigningKey, StoreError> {
    let keys = of_purpose(tx, fresh.purpose).await?;
    if let Some(done) = keys.iter().find(|key| key.id == fresh.id) {
        return Ok(done.clone()); // An earlier run of this transaction has committed.
    }
    for mut old in without_ended(tx, keys, now)? {
        old.signs_until = Some(old.signs_until.map_or(now, |until| until.min(now)));
        old.verifies_until = Some(now);
        write(tx, &old)?;
    }
    let key = SigningKey::of(fresh, now, now);
    write(tx, &key)?;
    Ok(key)
}

/// Forgets the keys whose signatures count no more; how many there were.
///
/// # Errors
/// Those of the engine.
pub async fn prune(tx: &Transaction, now: Timestamp) -> Result<usize, StoreError> {
    let keys = all(tx).await?;
    let before = keys.len();
    Ok(before - without_ended(tx, keys, now)?.len())
}

/// Clears the rows of those that verify no more, and gives the others.
fn without_ended(
    tx: &Transaction,
    keys: Vec<SigningKey>,
    now: Timestamp,
) -> Result<Vec<SigningKey>, StoreError> {
    let (keep, ended): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.verifies_at(now));
    ended.iter().try_for_each(|key| tx.clear(&SIGNING_KEYS.key(&(&key.id,))))?;
    Ok(keep)
}

async fn of_purpose(tx: &Transaction, purpose: Purpose) -> Result<Vec<SigningKey>, StoreError> {
    let mut keys = all(tx).await?;
    keys.retain(|key| key.purpose == purpose);
    Ok(keys)
}

fn write(tx: &Transaction, key: &SigningKey) -> Result<(), StoreError> {
    tx.set(&SIGNING_KEYS.key(&(&key.id,)), &record::encode(key)?)
}
