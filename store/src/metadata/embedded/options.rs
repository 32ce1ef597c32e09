//! The embedded engine's options, their defaults and ranges.

use std::time::Duration;

use crate::error::StoreError;
use crate::metadata::{RetryOptions, TRANSACTION_AGE_MAX};

const MIB: u64 = 1024 * 1024;

/// How much memory and disk the embedded engine takes, and how patient it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddedOptions {
    /// Cache of table blocks. Default 32 MiB.
    pub cache_bytes: u64,
    /// Size at which rows in memory are written out as a table file; up to five times as much is in memory
    /// while the disk is behind, and then commits wait. 1 MiB to 256 MiB, default 8 MiB.
    pub memtable_bytes: u64,
    /// Size of the journals on disk at which the oldest is made superfluous. At least 64 MiB, default 128 MiB.
    pub journal_bytes: u64,
    /// Threads that write and merge table files. 1 to 16, default 1. With two or more, fjall 3.1 keeps its first for
    /// writing out, and while another merges, that one spins on the merges it hands back to the queue: a core's
    /// worth of nothing, on a machine whose cores have photos to decode. It was not faster either.
    pub worker_threads: usize,
    /// Memory for what recent commits wrote, against which read ranges are checked. When 5 s of commits do not
    /// fit, transactions become too old earlier. At least 1 MiB, default 16 MiB.
    pub conflict_window_bytes: usize,
    /// Free disk space below which commits are refused with [`StoreError::DiskFull`]: running out of it in the
    /// middle of a commit would end the process. Default 64 MiB, the size of one journal file.
    pub free_space_min_bytes: u64,
    /// How long a commit may take before the writer counts as dead, and the process must end. Default 60 s.
    pub stall_max: Duration,
    /// Longest time from a transaction's first read to its commit. At most 5 s, the default, because that is what
    /// `FoundationDB` allows.
    pub transaction_age_max: Duration,
    /// How transactions that meet conflicts are tried again.
    pub retry: RetryOptions,
    /// Declares the store shared, so that several pipelines of one process over this engine behave as the nodes of a
    /// cluster do. For tests: nobody else can open the store. Default false.
    pub shared: bool,
    /// Leaves every sync out, so that a power cut loses what was acknowledged and may leave a store that does not open.
    /// For measuring what syncing costs, and for nothing else: the configuration does not have it. Default false.
    pub unsafe_no_sync: bool,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 * MIB,
            memtable_bytes: 8 * MIB,
            journal_bytes: 128 * MIB,
            worker_threads: 1,
            conflict_window_bytes: 16 * MIB as usize,
            free_space_min_bytes: 64 * MIB,
            stall_max: Duration::from_mins(1),
            transaction_age_max: TRANSACTION_AGE_MAX,
            retry: RetryOptions::default(),
            shared: false,
            unsafe_no_sync: false,
        }
    }
}

impl EmbeddedOptions {
    /// Answers the first option that is outside its range.
    pub fn validate(&self) -> Result<(), StoreError> {
        let ranges: [(&'static str, bool, &str); 6] = [
            (
                "memtable_bytes",
                (MIB..=256 * MIB).contains(&self.memtable_bytes),
                "must be from 1 MiB to 256 MiB",
            ),
            ("journal_bytes", self.journal_bytes >= 64 * MIB, "must be at least 64 MiB"),
            ("worker_threads", (1..=16).contains(&self.worker_threads), "must be from 1 to 16"),
            ("conflict_window_bytes", self.conflict_window_bytes as u64 >= MIB, "must be at least 1 MiB"),
            ("stall_max", self.stall_max >= Duration::from_secs(1), "must be at least 1 s"),
            (
                "transaction_age_max",
                self.transaction_age_max <= TRANSACTION_AGE_MAX && !self.transaction_age_max.is_zero(),
                "must be above 0 and at most 5 s",
            ),
        ];
        match ranges.into_iter().find(|(_, within, _)| !within) {
            Some((option, _, detail)) => Err(StoreError::InvalidOption { option, detail: detail.to_owned() }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        EmbeddedOptions::default().validate().expect("defaults");
    }

    #[test]
    fn an_option_outside_its_range_is_named() {
        let options = EmbeddedOptions { journal_bytes: MIB, ..EmbeddedOptions::default() };
        let error = options.validate().expect_err("too small");
        assert!(matches!(error, StoreError::InvalidOption { option: "journal_bytes", .. }), "{error}");
    }
}
