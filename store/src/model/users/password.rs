//! The hash of a user's password, apart from the record that others read.

use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::metadata::Transaction;
use crate::model::subspaces::PASSWORDS;
use crate::model::{Timestamp, UserId, record};

/// A password, hashed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Password {
    /// Hash, salt and parameters, as a PHC string.
    pub hash: String,
    /// When it was set.
    pub set: Timestamp,
}

/// The hash is nobody's to read.
impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password").field("set", &self.set).finish_non_exhaustive()
    }
}

/// A user's password; `None` for those who have none, such as those of an identity provider.
///
/// # Errors
/// Those of the engine.
pub async fn get(tx: &Transaction, user: UserId) -> Result<Option<Password>, StoreError> {
    let key = PASSWORDS.key(&(user.0,));
    tx.get(&key).await?.map(|bytes| record::decode(&key, &bytes)).transpose()
}

/// Sets it.
///
/// # Errors
/// Those of the engine.
pub fn set(tx: &Transaction, user: UserId, password: &Password) -> Result<(), StoreError> {
    tx.set(&PASSWORDS.key(&(user.0,)), &record::encode(password)?)
}
