//! The metrics of the metadata store, named and described in one place.

use metrics::{Unit, describe_counter, describe_histogram};

use crate::error::StoreError;

pub(crate) const COMMITS: &str = "darkroom_metadata_commits_total";
pub(crate) const CONFLICTS: &str = "darkroom_metadata_conflicts_total";
pub(crate) const COMMIT_SECONDS: &str = "darkroom_metadata_commit_duration_seconds";
pub(crate) const FSYNC_SECONDS: &str = "darkroom_metadata_fsync_duration_seconds";
pub(crate) const GROUP_TRANSACTIONS: &str = "darkroom_metadata_group_transactions";

/// Counts an attempt that failed in a way that another may not.
pub(crate) fn count_retry(name: &'static str, error: &StoreError) {
    let reason = match error {
        StoreError::TooOld => "too_old",
        StoreError::CommitUnknown => "unknown",
        _ => "conflict",
    };
    metrics::counter!(CONFLICTS, "transaction" => name, "reason" => reason).increment(1);
}

/// Describes every metric of the metadata store to the installed recorder. Call it once, after installing it.
pub fn describe_metrics() {
    describe_counter!(COMMITS, Unit::Count, "Writing transactions committed and durable.");
    describe_counter!(
        CONFLICTS,
        Unit::Count,
        "Attempts that must be made again, by transaction and reason: another transaction wrote what they had read \
         (conflict), they took too long (too_old), or whether they were committed is not known (unknown)."
    );
    describe_histogram!(
        COMMIT_SECONDS,
        Unit::Seconds,
        "From asking for a writing transaction's commit to its durable answer."
    );
    describe_histogram!(
        FSYNC_SECONDS,
        Unit::Seconds,
        "Writing one group of transactions to the journal and syncing it (embedded engine)."
    );
    describe_histogram!(
        GROUP_TRANSACTIONS,
        Unit::Count,
        "Transactions that shared one sync (embedded engine)."
    );
}
