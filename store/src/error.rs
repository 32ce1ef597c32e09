//! What can go wrong in the store, as values.
//!
//! "Not found" is never an error here: reads answer `None`. Nothing in this file knows HTTP; `api` maps
//! these variants to answers in one exhaustive match.

use std::path::PathBuf;

/// Every failure of the store. [`StoreError::is_retryable`] says whether running the same transaction again
/// may help and is safe.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another transaction wrote what this one had read. Nothing was written.
    #[error("another transaction wrote what this one had read")]
    Conflict,

    /// The transaction is older than 5 s, or than what the engine still remembers of recent commits. Nothing
    /// was written.
    #[error("the transaction took longer than its age limit; do less in it")]
    TooOld,

    /// The transaction went on meeting conflicts until its deadline. Nothing was written.
    #[error("transaction `{name}` gave up after {attempts} attempts: too many others write the same keys")]
    Contended {
        /// The name given to `transact` or `read`.
        name: &'static str,
        /// How many times its function ran.
        attempts: u32,
    },

    /// The engine asks to try again later: it is recovering, or it holds callers back. Nothing was written.
    #[error("the store asks to try again later: {reason}")]
    Busy {
        /// Why, for the log and the operator.
        reason: String,
    },

    /// The commit was handed to the disk or the cluster, and whether it took effect is not known. Read your
    /// marker back before doing it again.
    #[error("the outcome of the commit is unknown")]
    CommitUnknown,

    /// A key is longer than [`KEY_BYTES_MAX`](crate::metadata::KEY_BYTES_MAX).
    #[error("a key of {bytes} bytes is over the limit of 9,900 bytes")]
    KeyTooLarge {
        /// Length of the key that was refused.
        bytes: usize,
    },

    /// A value is longer than [`VALUE_BYTES_MAX`](crate::metadata::VALUE_BYTES_MAX).
    #[error("a value of {bytes} bytes is over the limit of 100,000 bytes")]
    ValueTooLarge {
        /// Length of the value that was refused.
        bytes: usize,
    },

    /// The transaction's writes and conflict ranges exceed
    /// [`TRANSACTION_BYTES_MAX`](crate::metadata::TRANSACTION_BYTES_MAX).
    #[error("the transaction of at least {bytes} bytes is over the limit of 10,000,000 bytes; split it")]
    TransactionTooLarge {
        /// What the transaction had come to when it was refused.
        bytes: usize,
    },

    /// A key begins with 0xFF, where `FoundationDB` keeps its own data.
    #[error("keys that begin with 0xff are reserved")]
    ReservedKey,

    /// A write in a read-only transaction.
    #[error("a read-only transaction cannot write")]
    ReadOnly,

    /// A read of a key whose content is decided only at commit, because this very transaction wrote it with
    /// a versionstamp; or the commit of a transaction that had made such a read. Nothing was written.
    #[error("a key written with a versionstamp cannot be read in the same transaction")]
    UnreadableKey,

    /// A transaction used after the function it was given to had returned.
    #[error("the transaction is over and cannot be used any more")]
    TransactionOver,

    /// Stored bytes do not match their checksum or their format: the data is there, but not as written.
    #[error("stored data is corrupt: {what}: {detail}; restore from a backup")]
    Corrupt {
        /// Which file, key or record.
        what: String,
        /// What did not match.
        detail: String,
    },

    /// Stored bytes cannot be read, and will not be without an operator: a bad sector, or an object that was moved to an
    /// archive. Other reads of the same store work.
    #[error("{what} cannot be read: {detail}")]
    Unreadable {
        /// Which file or object.
        what: String,
        /// Why, and what to do.
        detail: String,
    },

    /// Another process (or another handle in this one) has the data directory open.
    #[error(
        "the store at {} is in use by another process: stop that one first, or use a data directory of its own",
        path.display()
    )]
    InUse {
        /// The directory that is locked.
        path: PathBuf,
    },

    /// The disk is full, or has less free space than the configured reserve; nothing was written.
    #[error("there is no room for {}: {why}", path.display())]
    DiskFull {
        /// What was to be written.
        path: PathBuf,
        /// What is lacking.
        why: NoRoom,
    },

    /// The operating system refused an operation.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, and with which file.
        context: String,
        /// The operating system's error.
        source: std::io::Error,
    },

    /// An option is outside its range.
    #[error("option `{option}` is invalid: {detail}")]
    InvalidOption {
        /// The field of the options struct.
        option: &'static str,
        /// What its range is.
        detail: String,
    },

    /// The engine cannot serve this now (a failed disk, an unreachable cluster). Nothing was written.
    #[error("the store is unavailable: {reason}")]
    Unavailable {
        /// Why, for the log and the operator.
        reason: String,
    },

    /// Metadata and objects do not belong together, or are of a format that is not known here. A sentence that
    /// says which, and what to do.
    #[error("{0}")]
    Mismatch(String),

    /// A backup that is cut, damaged, or of an unknown version. Nothing was written.
    #[error("the backup cannot be used: {detail} (from byte {offset} on); take another copy of it")]
    BadBackup {
        /// The first byte of the part of the file that is not as it should be.
        offset: u64,
        /// What is wrong with it.
        detail: String,
    },

    /// What this engine cannot do. A sentence that says what does it instead.
    #[error("{0}")]
    Unsupported(&'static str),

    /// The store was closed. Nothing was written.
    #[error("the store is closed")]
    Closed,
}

/// What a disk lacks that takes nothing more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoom {
    /// Bytes, beyond those that are kept free.
    #[error("its disk has {free_bytes} bytes free, and {reserve} are kept free; make room")]
    Reserved {
        /// Bytes available to this process when the write was refused.
        free_bytes: u64,
        /// The configured reserve.
        reserve: u64,
    },
    /// Bytes, says the operating system; a file system may need some of those that are free for itself.
    #[error("its disk is full{}; make room", but_free(*.free_bytes))]
    Full {
        /// Bytes available to this process afterwards, where that can be asked.
        free_bytes: Option<u64>,
    },
    /// Files: a file system may be made for so many and no more, however large they are.
    #[error(
        "its file system takes no more files, whatever bytes are free (no inodes are left: see `df -i`); remove files, \
         or give it more inodes"
    )]
    Files,
    /// What the user may have.
    #[error("the quota of the user that runs this is used up; raise it, or make room within it")]
    Quota,
}

fn but_free(bytes: Option<u64>) -> String {
    bytes.map_or_else(String::new, |bytes| format!(", with {bytes} bytes said to be free"))
}

impl StoreError {
    /// Whether running the same transaction again, from the start, is safe and may succeed.
    ///
    /// [`StoreError::CommitUnknown`] is not retryable blindly: only a function that reads its own marker on
    /// every attempt may run again after it. `Metadata::transact` asks for such functions, and runs them again where
    /// the engine survives it.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Conflict | Self::TooOld | Self::Busy { .. })
    }

    /// What an engine answers that cannot hold one snapshot for as long as a backup takes: FoundationDB, whose
    /// transactions live 5 s at most.
    #[must_use]
    pub fn no_backup_on_foundationdb() -> Self {
        Self::Unsupported(
            "backups of FoundationDB are neither taken nor restored by darkroomd: use fdbbackup and fdbrestore, which come \
             with it (docs/foundationdb.md shows how)",
        )
    }

    /// An [`StoreError::Io`] that says what was being done.
    pub(crate) fn io(context: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { context: context.into(), source }
    }
}
