//! How many like a post, speak of it and share it: changed in the transactions that change the rows which are counted.

use crate::StoreError;
use crate::metadata::{RangeOptions, Transaction};
use crate::model::likes::Kind;
use crate::model::subspaces::POST_COUNTS;
use crate::model::{PostId, counters};

/// What is counted of a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Counted {
    /// Users who like it, in whatever way.
    Likes,
    /// Users who like it in this way.
    LikesOf(Kind),
    /// Comments and replies that are not deleted.
    Comments,
    /// Posts that share it.
    Shares,
}

impl Counted {
    fn key(self, post: PostId) -> Vec<u8> {
        let post = post.0;
        match self {
            Self::Likes => POST_COUNTS.key(&(post, "likes")),
            Self::LikesOf(kind) => POST_COUNTS.key(&(post, "likes", kind.as_str())),
            Self::Comments => POST_COUNTS.key(&(post, "comments")),
            Self::Shares => POST_COUNTS.key(&(post, "shares")),
        }
    }
}

/// A post's counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// See [`Counted::Likes`].
    pub likes: u64,
    /// See [`Counted::LikesOf`]: in the order of [`Kind::ALL`].
    pub by_kind: [u64; Kind::ALL.len()],
    /// See [`Counted::Comments`].
    pub comments: u64,
    /// See [`Counted::Shares`].
    pub shares: u64,
}

impl Counts {
    /// Users who like it in this way.
    pub fn of_kind(&self, kind: Kind) -> u64 {
        Kind::ALL.iter().zip(self.by_kind).find(|(known, _)| **known == kind).map_or(0, |(_, count)| count)
    }
}

/// Adds to a count. The caller has read the row that says whether there is anything to add, and the post, so that nothing is
/// added to one that is gone.
///
/// # Errors
/// Those of the engine.
pub(in crate::model) fn add(
    tx: &Transaction,
    post: PostId,
    what: Counted,
    by: i64,
) -> Result<(), StoreError> {
    tx.atomic_add(&what.key(post), by)
}

/// All of a post's counts, in one look that conflicts with nobody.
///
/// # Errors
/// Those of the engine.
pub async fn of(tx: &Transaction, post: PostId) -> Result<Counts, StoreError> {
    let rows = tx.get_range(&POST_COUNTS.range(&(post.0,)), RangeOptions::default().snapshot()).await?;
    let found = |what: Counted| {
        let key = what.key(post);
        rows.iter().find(|(found, _)| *found == key).map_or(Ok(0), |(_, value)| counters::value(&key, value))
    };
    let mut by_kind = [0; Kind::ALL.len()];
    for (count, kind) in by_kind.iter_mut().zip(Kind::ALL) {
        *count = unsigned(found(Counted::LikesOf(kind))?);
    }
    Ok(Counts {
        likes: unsigned(found(Counted::Likes)?),
        by_kind,
        comments: unsigned(found(Counted::Comments)?),
        shares: unsigned(found(Counted::Shares)?),
    })
}

fn unsigned(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}
