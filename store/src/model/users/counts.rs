//! How many follow a user, and what they have: changed in the transactions that change the rows which are counted.

use super::super::subspaces::USER_COUNTS;
use super::super::{UserId, counters};
use crate::StoreError;
use crate::metadata::Transaction;

/// What is counted of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Users who follow them.
    Followers,
    /// Users whom they follow.
    Following,
    /// Their published posts that are not private.
    Posts,
    /// Messages to them that they have not read, of conversations that they see.
    Unread,
}

impl Counted {
    fn as_str(self) -> &'static str {
        match self {
            Self::Followers => "followers",
            Self::Following => "following",
            Self::Posts => "posts",
            Self::Unread => "unread",
        }
    }
}

/// A user's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// See [`Counted::Followers`].
    pub followers: u64,
    /// See [`Counted::Following`].
    pub following: u64,
    /// See [`Counted::Posts`].
    pub posts: u64,
}

/// Adds to a count. The caller has read the row that says whether there is anything to add.
///
/// # Errors
/// Those of the engine.
pub fn add(tx: &Transaction, user: UserId, what: Counted, by: i64) -> Result<(), StoreError> {
    counters::add(tx, USER_COUNTS, &(user.0, what.as_str()), by)
}

/// What a count stands at. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn read(tx: &Transaction, user: UserId, what: Counted) -> Result<u64, StoreError> {
    let count = counters::read(tx, USER_COUNTS, &(user.0, what.as_str())).await?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// All of a user's counts. A look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn of(tx: &Transaction, user: UserId) -> Result<Counts, StoreError> {
    Ok(Counts {
        followers: read(tx, user, Counted::Followers).await?,
        following: read(tx, user, Counted::Following).await?,
        posts: read(tx, user, Counted::Posts).await?,
    })
}
