//! What the client library's error codes mean here.
//!
//! Source: <https://apple.github.io/foundationdb/api-error-codes.html>. Which codes may be tried again, and after which
//! of them a commit may have happened, the library itself says (`fdb_error_predicate`).

use std::path::Path;

use ::foundationdb::FdbError;

use crate::error::StoreError;
use crate::metadata::{KEY_BYTES_MAX, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX};

const TRANSACTION_TOO_OLD: i32 = 1007;
const NOT_COMMITTED: i32 = 1020;
const TRANSACTION_CANCELLED: i32 = 1025;
pub(super) const TRANSACTION_TIMED_OUT: i32 = 1031;
const ACCESSED_UNREADABLE: i32 = 1036;
const OPERATION_CANCELLED: i32 = 1101;
const USED_DURING_COMMIT: i32 = 2017;
const TRANSACTION_TOO_LARGE: i32 = 2101;
const CONNECTION_STRING_INVALID: i32 = 2104;
const KEY_TOO_LARGE: i32 = 2102;
const VALUE_TOO_LARGE: i32 = 2103;
/// Codes of misuse: the library refuses it before anything leaves the process.
const MISUSE: std::ops::Range<i32> = 2000..3000;

/// What a transaction was doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Anything before its commit: whatever went wrong, nothing is written.
    Reading,
    /// Its commit: unless the code says otherwise, it may be.
    Committing,
}

/// The error of this crate for `error`, on the cluster that `cluster_file` names.
pub(super) fn named(error: FdbError, phase: Phase, cluster_file: &Path) -> StoreError {
    match error.code() {
        NOT_COMMITTED => StoreError::Conflict,
        TRANSACTION_TOO_OLD => StoreError::TooOld,
        ACCESSED_UNREADABLE => StoreError::UnreadableKey,
        USED_DURING_COMMIT => StoreError::TransactionOver,
        // Which key or value it was is not told. All are checked before they get here.
        TRANSACTION_TOO_LARGE => StoreError::TransactionTooLarge { bytes: TRANSACTION_BYTES_MAX },
        KEY_TOO_LARGE => StoreError::KeyTooLarge { bytes: KEY_BYTES_MAX + 1 },
        VALUE_TOO_LARGE => StoreError::ValueTooLarge { bytes: VALUE_BYTES_MAX + 1 },
        CONNECTION_STRING_INVALID => no_cluster_file(cluster_file),
        // Of the last attempt, that is: `Attempts` remembers it of all.
        _ if phase == Phase::Committing && error.is_maybe_committed() => StoreError::CommitUnknown,
        // A cluster that recovers, is locked, lags behind or throttles.
        _ if error.is_retryable() => StoreError::Busy { reason: described(error) },
        code if phase == Phase::Committing && !MISUSE.contains(&code) => StoreError::CommitUnknown,
        // The transaction ended while this read was on its way.
        TRANSACTION_CANCELLED | OPERATION_CANCELLED => StoreError::TransactionOver,
        TRANSACTION_TIMED_OUT => StoreError::Unavailable { reason: too_late(cluster_file) },
        _ => StoreError::Unavailable { reason: described(error) },
    }
}

fn described(error: FdbError) -> String {
    format!("FoundationDB says {} (error {})", error.message(), error.code())
}

/// A cluster file that is of no use, and why.
pub(super) fn bad_cluster_file(cluster_file: &Path, detail: &str) -> StoreError {
    let detail = format!("names {}, {detail}", cluster_file.display());
    StoreError::InvalidOption { option: "cluster_file", detail }
}

/// Another file in place of a cluster file.
pub(super) fn no_cluster_file(cluster_file: &Path) -> StoreError {
    bad_cluster_file(
        cluster_file,
        "which is no cluster file: it has no line like description:id@127.0.0.1:4500; name a copy of \
         /etc/foundationdb/fdb.cluster of one of the cluster's servers",
    )
}

/// Why a store cannot be opened on a cluster that said nothing but `refusal` to every attempt.
pub(super) fn no_answer(refusal: Option<FdbError>, cluster_file: &Path) -> StoreError {
    let file = cluster_file.display();
    let reason = refusal.map_or_else(
        || silent(cluster_file),
        |refusal| {
            format!(
                "the FoundationDB cluster of {file} takes no transactions: {}; see `fdbcli -C {file} --exec status`, and \
                 start again when it does",
                described(refusal)
            )
        },
    );
    StoreError::Unavailable { reason }
}

/// A sentence about a cluster that does not answer.
fn silent(cluster_file: &Path) -> String {
    let file = cluster_file.display();
    format!(
        "the FoundationDB cluster of {file} does not answer: see whether its processes run, can be reached at the addresses \
         in that file, and have a database (`configure new` once), all of which `fdbcli -C {file} --exec status` tells"
    )
}

/// A sentence about a transaction that got no answer in its time: a cluster that is gone looks like one that holds it back.
fn too_late(cluster_file: &Path) -> String {
    let file = cluster_file.display();
    format!(
        "the FoundationDB cluster of {file} did not answer within metadata.foundationdb.transaction_timeout: it is away, \
         overloaded, or holds this back (the Janitor's transactions have batch priority, and a tag that may have a quota); \
         `fdbcli -C {file} --exec status` tells"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(code: i32, phase: Phase) -> StoreError {
        named(FdbError::from_code(code), phase, Path::new("fdb.cluster"))
    }

    #[test]
    fn a_commit_that_was_cut_off_is_unknown() {
        let cluster_version_changed = 1039;
        for code in [1021, cluster_version_changed, TRANSACTION_TIMED_OUT, TRANSACTION_CANCELLED] {
            let error = of(code, Phase::Committing);
            assert!(matches!(error, StoreError::CommitUnknown), "{code}: {error}");
            assert!(!matches!(of(code, Phase::Reading), StoreError::CommitUnknown), "{code}");
        }
    }

    #[test]
    fn what_may_be_tried_again_is_retryable() {
        let throttled = [1009, 1037, 1038, 1042, 1051, 1078, 1213];
        for code in throttled.into_iter().chain([NOT_COMMITTED, TRANSACTION_TOO_OLD]) {
            for phase in [Phase::Reading, Phase::Committing] {
                assert!(of(code, phase).is_retryable(), "{code}: {}", of(code, phase));
            }
        }
        assert!(matches!(of(NOT_COMMITTED, Phase::Committing), StoreError::Conflict));
        assert!(matches!(of(TRANSACTION_TOO_OLD, Phase::Reading), StoreError::TooOld));
    }

    #[test]
    fn misuse_and_silence_are_named() {
        assert!(matches!(of(ACCESSED_UNREADABLE, Phase::Reading), StoreError::UnreadableKey));
        assert!(matches!(of(USED_DURING_COMMIT, Phase::Committing), StoreError::TransactionOver));
        assert!(matches!(of(2101, Phase::Committing), StoreError::TransactionTooLarge { .. }));
        let timed_out = of(TRANSACTION_TIMED_OUT, Phase::Reading).to_string();
        assert!(timed_out.contains("fdb.cluster"), "{timed_out}");
    }

    #[test]
    fn a_cluster_that_refuses_is_told_from_one_that_is_silent() {
        let database_locked = FdbError::from_code(1038);
        let refused = no_answer(Some(database_locked), Path::new("fdb.cluster")).to_string();
        assert!(refused.contains("takes no transactions") && refused.contains("1038"), "{refused}");
        let silent = no_answer(None, Path::new("fdb.cluster")).to_string();
        assert!(silent.contains("does not answer"), "{silent}");
    }
}
