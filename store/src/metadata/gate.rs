//! Where tests hold transactions up and hide how they ended. A daemon has no gate, and pays one look for it.

use std::pin::Pin;

use crate::error::StoreError;

/// Something that every transaction passes at each of its [`Moment`]s. See
/// [`Metadata::gated`](super::Metadata::gated).
pub trait Gate: Send + Sync {
    /// The transaction `name` goes on once this ends. An error takes the place of what would have come next: after
    /// the commit, [`StoreError::CommitUnknown`] hides its outcome from the caller, and [`StoreError::Conflict`] has
    /// the function run again as `FoundationDB` does after an outcome that it does not know.
    fn pass(&self, name: &'static str, moment: Moment) -> Passing;
}

/// The wait at a gate.
pub type Passing = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// Where one run of a transaction is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing is read yet.
    Begun,
    /// Its function has returned, and nothing is written yet.
    Decided,
    /// What it wrote is durable, and nobody has been told. Not reached by one that only reads.
    Committed,
}
