//! Users whom an identity provider vouches for.

use super::{Taken, User, create, get};
use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::subspaces::{SUBJECTS_OF_USERS, USERS_BY_SUBJECT};
use crate::model::{UserId, record};

/// The user whom the provider `issuer` calls `subject`: `fresh`, if they come for the first time. What identifies
/// another user already (an e-mail address, a handle) stays that user's, and the new one has none then: whoever
/// controls a provider must not come into the accounts of others by naming their addresses.
///
/// # Errors
/// Those of the engine.
pub async fn of_subject(
    tx: &Transaction,
    (issuer, subject): (&str, &str),
    fresh: &User,
) -> Result<User, StoreError> {
    let key = USERS_BY_SUBJECT.key(&(issuer, subject));
    if let Some(bytes) = tx.get(&key).await? {
        let id: UserId = record::decode(&key, &bytes)?;
        // Also what an earlier run of this transaction made.
        if let Some(user) = get(tx, id).await? {
            return Ok(user);
        }
    }
    let user = create_with_what_is_free(tx, fresh).await?;
    tx.set(&key, &record::encode(&user.id)?)?;
    tx.set(&SUBJECTS_OF_USERS.key(&(user.id.0,)), &record::encode(&(issuer, subject))?)?;
    Ok(user)
}

/// The user whom the provider `issuer` calls `subject`, if they have come before.
///
/// # Errors
/// Those of the engine.
pub async fn known_subject(
    tx: &Transaction,
    (issuer, subject): (&str, &str),
) -> Result<Option<UserId>, StoreError> {
    let key = USERS_BY_SUBJECT.key(&(issuer, subject));
    let Some(bytes) = tx.get(&key).await? else { return Ok(None) };
    Ok(get(tx, record::decode(&key, &bytes)?).await?.map(|user| user.id))
}

/// Has no provider's subject lead to the user any more; whether one did.
///
/// # Errors
/// Those of the engine.
pub async fn forget_subject(tx: &Transaction, user: UserId) -> Result<bool, StoreError> {
    let of_user = SUBJECTS_OF_USERS.key(&(user.0,));
    let Some(bytes) = tx.get(&of_user).await? else { return Ok(false) };
    let (issuer, subject): (String, String) = record::decode(&of_user, &bytes)?;
    let key = USERS_BY_SUBJECT.key(&(&issuer, &subject));
    // The provider's person may have come again as somebody else.
    if let Some(bytes) = tx.get(&key).await?
        && record::decode::<UserId>(&key, &bytes)? == user
    {
        tx.clear(&key)?;
    }
    tx.clear(&of_user)?;
    Ok(true)
}

async fn create_with_what_is_free(tx: &Transaction, fresh: &User) -> Result<User, StoreError> {
    let mut user = fresh.clone();
    loop {
        match create(tx, &user).await? {
            Ok(user) => return Ok(user),
            // Each of them at most once, since what is not there cannot be taken.
            Err(Taken::Email) => user.email = None,
            Err(Taken::Handle) => user.handle = None,
        }
    }
}
