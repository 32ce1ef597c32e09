//! A user's record, and by what users are found.

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::changes::{self, Change, What};
use crate::model::subspaces::{USERS, USERS_BY_EMAIL, USERS_BY_HANDLE};
use crate::model::{PhotoId, Timestamp, UserId, record, subspaces::Subspace};

/// A person. What is secret of them, such as their password's hash, stands elsewhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Their id.
    pub id: UserId,
    /// What they call themselves; others may call themselves the same.
    pub name: String,
    /// What they are mentioned by, which nobody else has: lower case letters, digits, `_` and `.`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
    /// Where they are reached, as they wrote it; nobody else sees it. None where an identity provider tells of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// What they say of themselves.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub bio: String,
    /// The photo of theirs that stands for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar: Option<PhotoId>,
    /// When they came.
    pub created: Timestamp,
    /// When the record last changed.
    pub updated: Timestamp,
}

impl User {
    /// The user of a daemon without authentication, who has no record of their own.
    pub fn open() -> Self {
        let start = Timestamp(0);
        Self {
            id: UserId::OPEN,
            name: "open".to_owned(),
            handle: None,
            email: None,
            bio: String::new(),
            avatar: None,
            created: start,
            updated: start,
        }
    }
}

/// What another user has already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// The e-mail address.
    Email,
    /// The handle.
    Handle,
}

/// The user, or what of theirs another has.
pub type NotTaken = Result<User, Taken>;

/// The user, if there is one.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, id: UserId) -> Result<Option<User>, StoreError> {
    let key = USERS.key(&(id.0,));
    match tx.get(&key).await? {
        Some(bytes) => record::decode(&key, &bytes).map(Some),
        None => Ok((id == UserId::OPEN).then(User::open)),
    }
}

/// Who has this e-mail address, [folded](fold_email).
///
/// # Errors
/// Those of the engine.
pub async fn by_email(tx: &Transaction, email: &str) -> Result<Option<UserId>, StoreError> {
    found(tx, USERS_BY_EMAIL, &fold_email(email)).await
}

/// Who has this handle, in whatever case it is written.
///
/// # Errors
/// Those of the engine.
pub async fn by_handle(tx: &Transaction, handle: &str) -> Result<Option<UserId>, StoreError> {
    found(tx, USERS_BY_HANDLE, &handle.to_lowercase()).await
}

async fn found(tx: &Transaction, index: Subspace, name: &str) -> Result<Option<UserId>, StoreError> {
    let key = index.key(&(name,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// An address as it is compared: servers may tell the case of what stands before the `@` apart, and none does.
fn fold_email(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Makes a user. A second run finds its own.
///
/// # Errors
/// Those of the engine.
pub async fn create(tx: &Transaction, user: &User) -> Result<NotTaken, StoreError> {
    if let Some(there) = get(tx, user.id).await? {
        return Ok(Ok(there)); // An earlier run of this transaction has committed.
    }
    if let Some(taken) = taken(tx, user).await? {
        return Ok(Err(taken));
    }
    write(tx, user)?;
    Ok(Ok(user.clone()))
}

/// Changes a user's record to what `change` makes of it; `None` if there is no such user. A second run changes it again,
/// to the same.
///
/// # Errors
/// Those of the engine.
pub async fn update(
    tx: &Transaction,
    (id, now, history): (UserId, Timestamp, u64),
    change: impl Fn(&mut User),
) -> Result<Option<NotTaken>, StoreError> {
    let Some(before) = get(tx, id).await? else { return Ok(None) };
    let mut user = before.clone();
    change(&mut user);
    user.updated = now;
    if let Some(taken) = taken(tx, &user).await? {
        return Ok(Some(Err(taken)));
    }
    unindex(tx, &before)?;
    write(tx, &user)?;
    changes::append(tx, history, &Change { at: now, what: What::UserChanged { user: id } })?;
    Ok(Some(Ok(user)))
}

async fn taken(tx: &Transaction, user: &User) -> Result<Option<Taken>, StoreError> {
    if let Some(email) = &user.email
        && by_email(tx, email).await?.is_some_and(|other| other != user.id)
    {
        return Ok(Some(Taken::Email));
    }
    if let Some(handle) = &user.handle
        && by_handle(tx, handle).await?.is_some_and(|other| other != user.id)
    {
        return Ok(Some(Taken::Handle));
    }
    Ok(None)
}

fn write(tx: &Transaction, user: &User) -> Result<(), StoreError> {
    tx.set(&USERS.key(&(user.id.0,)), &record::encode(user)?)?;
    for key in index_keys(user) {
        tx.set(&key, &record::encode(&user.id)?)?;
    }
    Ok(())
}

fn unindex(tx: &Transaction, user: &User) -> Result<(), StoreError> {
    index_keys(user).iter().try_for_each(|key| tx.clear(key))
}

fn index_keys(user: &User) -> Vec<Vec<u8>> {
    let email = user.email.as_ref().map(|email| USERS_BY_EMAIL.key(&(fold_email(email),)));
    let handle = user.handle.as_ref().map(|handle| USERS_BY_HANDLE.key(&(handle.to_lowercase(),)));
    email.into_iter().chain(handle).collect()
}
