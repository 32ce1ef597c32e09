//! The change log: what happened, in order per subject, for whoever follows it.
//!
//! A fixed number of shards, chosen by the subject, so that order holds per subject and followers can
//! share the work. Entries are ordered by the versionstamp of the transaction that made them true.

use serde::{Deserialize, Serialize};

use super::{PhotoId, Timestamp, record, subspaces::CHANGES};
use crate::StoreError;
use crate::metadata::Transaction;

/// How many shards the log has. Part of the format: a subject's shard must never change.
pub const SHARDS: u8 = 16;

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// When, by the clock of the node that made it.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
}

/// What happened to which subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum What {
    /// All of the photo's variants are stored.
    PhotoReady {
        /// The photo.
        photo: PhotoId,
    },
    /// The photo cannot be processed.
    PhotoFailed {
        /// The photo.
        photo: PhotoId,
    },
    /// The photo is gone.
    PhotoDeleted {
        /// The photo.
        photo: PhotoId,
    },
}

impl What {
    fn subject(&self) -> uuid::Uuid {
        match self {
            Self::PhotoReady { photo } | Self::PhotoFailed { photo } | Self::PhotoDeleted { photo } => {
                photo.0
            }
        }
    }
}

/// Appends an entry in the transaction that makes it true.
///
/// # Errors
/// Those of the engine.
pub fn append(tx: &Transaction, history: u64, change: &Change) -> Result<(), StoreError> {
    let shard = shard_of(change.what.subject());
    // The versionstamp follows the prefix as a tuple element: its type code, ten bytes that the engine
    // fills in, and two bytes of user version that order the entries of one transaction.
    let mut prefix = CHANGES.key(&(u64::from(shard), history));
    prefix.push(VERSIONSTAMP_CODE);
    tx.set_versionstamped_key(&prefix, &[0, 0], &record::encode(change)?)
}

/// Type code of a versionstamp in the tuple encoding.
const VERSIONSTAMP_CODE: u8 = 0x33;

fn shard_of(subject: uuid::Uuid) -> u8 {
    // The last byte of a UUIDv7 is random.
    subject.as_bytes()[15] % SHARDS
}
