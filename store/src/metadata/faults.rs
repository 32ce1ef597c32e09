//! Commits whose outcome is unknown, made on purpose: so that tests can show what transactions do then.
//!
//! On a cluster the answer to a commit can be lost on its way, and the client cannot tell a commit that took effect from
//! one that did not. The embedded engine knows no such thing short of a failing disk, so its tests make it up here.

use std::fmt;
use std::sync::Arc;

use super::transaction::Transaction;
use crate::error::StoreError;

/// What becomes of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    /// Nothing out of the ordinary.
    None,
    /// It takes effect, and the answer is lost: [`StoreError::CommitUnknown`].
    AnswerLost,
    /// It never takes effect, and that is not known either: [`StoreError::CommitUnknown`].
    CommitLost,
    /// It is refused as if another transaction had come first: [`StoreError::Conflict`].
    Conflict,
}

/// Asked before each commit of a writing transaction.
#[derive(Clone)]
pub(super) struct Faults(Arc<dyn Fn() -> CommitFault + Send + Sync>);

impl Faults {
    pub(super) fn new(next: impl Fn() -> CommitFault + Send + Sync + 'static) -> Self {
        Self(Arc::new(next))
    }

    /// Commits `transaction`, or what the next fault makes of that.
    pub(super) async fn commit(&self, transaction: &Transaction) -> Result<bool, StoreError> {
        match (self.0)() {
            CommitFault::None => transaction.commit().await,
            CommitFault::AnswerLost => {
                transaction.commit().await?;
                Err(StoreError::CommitUnknown)
            }
            CommitFault::CommitLost => Err(StoreError::CommitUnknown),
            CommitFault::Conflict => Err(StoreError::Conflict),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults")
    }
}
