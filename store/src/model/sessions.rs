//! Sessions: one sign-in of a user, and the family of tokens that follows from it.
//!
//! A client has an access token, which lives for minutes and names its session, and a refresh token, which is used once:
//! whoever uses it gets the next. One that is used a second time is in two hands, and nobody knows which are the right
//! ones: so the session ends, and with it every token of the family. Of the secrets only hashes are kept.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::subspaces::{SESSIONS, SESSIONS_BY_EXPIRY, SESSIONS_BY_USER};
use super::{ContentHash, SessionId, Timestamp, UserId, record};
use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction};

/// One sign-in of a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// Its id, which every access token of it names.
    pub id: SessionId,
    /// Who signed in.
    pub user: UserId,
    /// When.
    pub created: Timestamp,
    /// When its tokens were last renewed.
    pub renewed: Timestamp,
    /// When it ends unless its tokens are renewed before.
    pub expires: Timestamp,
    /// Hash of what all refresh tokens of the family have in common: tells an old one of them from one that is made up.
    pub family: ContentHash,
    /// Hash of what only the newest of them has.
    pub newest: ContentHash,
    /// What the client said of itself, for the user to know it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
}

/// The secrets of a refresh token, hashed.
#[derive(Clone, Copy, Debug)]
pub struct Presented {
    /// See [`Session::family`].
    pub family: ContentHash,
    /// See [`Session::newest`].
    pub newest: ContentHash,
}

/// What becomes of a refresh token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// The next one counts from now on.
    Done(Session),
    /// It had been used before, and so its session has ended now.
    Reused(UserId),
    /// It is of no session that lives.
    Unknown,
}

/// The session, if it lives.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: SessionId, now: Timestamp) -> Result<Option<Session>, StoreError> {
    Ok(stored(tx, id).await?.filter(|session| now < session.expires))
}

async fn stored(tx: &Transaction, id: SessionId) -> Result<Option<Session>, StoreError> {
    let key = SESSIONS.key(&(id.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// Leaves a user at most one session fewer than `max`: the oldest end.
///
/// # Errors
/// Those of the engine.
pub async fn make_room(tx: &Transaction, user: UserId, max: usize) -> Result<(), StoreError> {
    let sessions = of_user(tx, user, max.saturating_add(1)).await?;
    sessions.iter().skip(max.saturating_sub(1)).try_for_each(|session| remove(tx, session))
}

/// Begins a session. A second run writes the same.
///
/// # Errors
/// Those of the engine.
pub fn begin(tx: &Transaction, session: &Session) -> Result<(), StoreError> {
    tx.set(&SESSIONS_BY_USER.key(&(session.user.0, session.id.0)), &[])?;
    put(tx, session)
}

fn put(tx: &Transaction, session: &Session) -> Result<(), StoreError> {
    tx.set(&expiry_key(session), &[])?;
    tx.set(&SESSIONS.key(&(session.id.0,)), &record::encode(session)?)
}

fn expiry_key(session: &Session) -> Vec<u8> {
    SESSIONS_BY_EXPIRY.key(&(session.expires.0, session.id.0))
}

/// Takes a refresh token, and has the one whose hash is `next` count from now on for so long. A second run finds that it
/// does.
///
/// # Errors
/// Those of the engine.
pub async fn renew(
    tx: &Transaction,
    (id, presented): (SessionId, Presented),
    next: ContentHash,
    (now, lifetime): (Timestamp, Duration),
) -> Result<Renewed, StoreError> {
    let Some(mut session) = get(tx, id, now).await? else { return Ok(Renewed::Unknown) };
    if !is_same(session.family, presented.family) {
        return Ok(Renewed::Unknown);
    }
    if session.newest == next {
        return Ok(Renewed::Done(session)); // An earlier run of this transaction has committed.
    }
    if !is_same(session.newest, presented.newest) {
        remove(tx, &session)?;
        return Ok(Renewed::Reused(session.user));
    }
    tx.clear(&expiry_key(&session))?;
    session.newest = next;
    session.renewed = now;
    session.expires = now.after(lifetime);
    put(tx, &session)?;
    Ok(Renewed::Done(session))
}

/// Takes the same time whatever they are.
fn is_same(one: ContentHash, other: ContentHash) -> bool {
    blake3::Hash::from(one.0) == blake3::Hash::from(other.0)
}

/// Ends a session: whatever names it is refused by every request that begins after this has committed. Whether there was
/// one.
///
/// # Errors
/// Those of the engine.
pub async fn end(tx: &Transaction, id: SessionId) -> Result<bool, StoreError> {
    let Some(session) = stored(tx, id).await? else { return Ok(false) };
    remove(tx, &session)?;
    Ok(true)
}

fn remove(tx: &Transaction, session: &Session) -> Result<(), StoreError> {
    tx.clear(&SESSIONS.key(&(session.id.0,)))?;
    tx.clear(&SESSIONS_BY_USER.key(&(session.user.0, session.id.0)))?;
    tx.clear(&expiry_key(session))
}

/// Sessions of a user, those that have expired included, the latest first, at most `limit`.
///
/// # Errors
/// Those of the engine.
pub async fn of_user(tx: &Transaction, user: UserId, limit: usize) -> Result<Vec<Session>, StoreError> {
    let rows = tx.get_range(&SESSIONS_BY_USER.range(&(user.0,)), RangeOptions::last(limit)).await?;
    let mut sessions = Vec::with_capacity(rows.len());
    for (key, _) in rows {
        let (_, id): (Uuid, Uuid) = SESSIONS_BY_USER.unpack(&key)?;
        sessions.extend(stored(tx, SessionId(id)).await?);
    }
    Ok(sessions)
}

/// Ends at most `limit` sessions of a user, but for `kept`; whether all are ended.
///
/// # Errors
/// Those of the engine.
pub async fn end_others(
    tx: &Transaction,
    user: UserId,
    kept: Option<SessionId>,
    limit: usize,
) -> Result<bool, StoreError> {
    let sessions = of_user(tx, user, limit).await?;
    for session in sessions.iter().filter(|session| Some(session.id) != kept) {
        remove(tx, session)?;
    }
    Ok(sessions.len() < limit)
}

/// Forgets at most `limit` sessions that have expired by `now`; how many.
///
/// # Errors
/// Those of the engine.
pub async fn forget_expired(tx: &Transaction, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
    let all = SESSIONS_BY_EXPIRY.all();
    let due = KeyRange::new(all.begin, SESSIONS_BY_EXPIRY.key(&(now.0,)));
    let rows = tx.get_range(&due, RangeOptions::first(limit)).await?;
    for (key, _) in &rows {
        let (_, id): (u64, Uuid) = SESSIONS_BY_EXPIRY.unpack(key)?;
        match stored(tx, SessionId(id)).await? {
            Some(session) => remove(tx, &session)?,
            None => tx.clear(key)?,
        }
    }
    Ok(rows.len())
}
