//! What a transaction hands to the writer.

use std::collections::HashSet;

use tokio::sync::oneshot;

use super::mutation::Mutation;
use crate::error::StoreError;
use crate::metadata::range::KeyRange;
use crate::metadata::watch::WatchSender;

/// A transaction that is ready to be checked, evaluated and written.
pub(super) struct CommitRequest {
    /// The version it read at; `u64::MAX` if it read nothing.
    pub(super) read_version: u64,
    pub(super) read_keys: HashSet<Vec<u8>>,
    pub(super) read_ranges: Vec<KeyRange>,
    pub(super) mutations: Vec<Mutation>,
    /// Ranges that count as written without being so.
    pub(super) write_ranges: Vec<KeyRange>,
    pub(super) watches: Vec<PendingWatch>,
    /// Its version, and so all later ones, lie above it.
    pub(super) version_floor: u64,
    /// Its size as the limit counts it.
    pub(super) bytes: usize,
}

/// A watch that starts when its transaction is durable.
pub(super) struct PendingWatch {
    pub(super) key: Vec<u8>,
    pub(super) sender: WatchSender,
    pub(super) seen: Seen,
}

/// The value from which a watched key has to differ.
pub(super) enum Seen {
    /// What was stored when the transaction read.
    Stored(Option<Vec<u8>>),
    /// What the transaction itself makes of it, which only the writer knows.
    OwnWrite,
}

/// What the writer finds in its inbox.
pub(super) enum Message {
    /// Commit it and say how that went. Boxed, so that the inbox's slots are small.
    Commit(Box<CommitRequest>, Reply),
    /// Finish what came before, and end.
    Close,
}

/// Where the outcome of a commit goes.
pub(super) type Reply = oneshot::Sender<Result<(), StoreError>>;
