//! Where the cluster is, and how the engine treats it.

use std::path::PathBuf;
use std::time::Duration;

use crate::error::StoreError;
use crate::metadata::{PREFIX_BYTES_MAX, RetryOptions, TRANSACTION_AGE_MAX};

/// Options of [`Metadata::open_foundationdb`](crate::metadata::Metadata).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundationDbOptions {
    /// The file that says where the cluster's coordinators are. The client library rewrites it when they move, so it
    /// should be writable. Default: where the official packages put it.
    pub cluster_file: PathBuf,
    /// What every key of the store begins with, so that others can use the same cluster. No store's prefix may begin
    /// with another's. At most [`PREFIX_BYTES_MAX`] bytes. Default `darkroom/`.
    pub prefix: String,
    /// Longest time of one attempt, its commit included: an unreachable cluster is given up after it. Default 10 s.
    pub transaction_timeout: Duration,
    /// Longest time that opening waits for the cluster's first answer. Default 10 s.
    pub open_deadline: Duration,
    /// Most watches at a time; those beyond end at once. Default 10,000.
    pub watches_max: u32,
    /// How transactions that meet conflicts are tried again.
    pub retry: RetryOptions,
}

impl Default for FoundationDbOptions {
    fn default() -> Self {
        Self {
            cluster_file: PathBuf::from("/etc/foundationdb/fdb.cluster"),
            prefix: "darkroom/".to_owned(),
            transaction_timeout: Duration::from_secs(10),
            open_deadline: Duration::from_secs(10),
            watches_max: 10_000,
            retry: RetryOptions::default(),
        }
    }
}

impl FoundationDbOptions {
    /// Answers the first option that is outside its range, or what the build lacks.
    pub fn validate(&self) -> Result<(), StoreError> {
        let minute = Duration::from_mins(1);
        let ranges: [(&'static str, bool, &str); 5] = [
            (
                "engine",
                cfg!(feature = "foundationdb"),
                "this build has no FoundationDB engine: install the FoundationDB client library and build with \
                 `cargo build --release --features foundationdb` (see docs/foundationdb.md)",
            ),
            (
                "prefix",
                (1..=PREFIX_BYTES_MAX).contains(&self.prefix.len()) && !self.prefix.contains('\0'),
                "must be from 1 to 32 bytes, such as \"darkroom/\"",
            ),
            (
                "transaction_timeout",
                (TRANSACTION_AGE_MAX..=minute).contains(&self.transaction_timeout),
                "must be from 5s, the longest that a transaction may take, to 1m",
            ),
            (
                "open_deadline",
                (Duration::from_secs(1)..=10 * minute).contains(&self.open_deadline),
                "must be from 1s to 10m",
            ),
            ("watches_max", (1..=1_000_000).contains(&self.watches_max), "must be from 1 to 1,000,000"),
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
    #[cfg(not(feature = "foundationdb"))]
    fn a_build_without_the_engine_says_how_to_get_it() {
        let refusal = FoundationDbOptions::default().validate().expect_err("no engine").to_string();
        assert!(refusal.contains("--features foundationdb"), "{refusal}");
    }

    #[test]
    #[cfg(feature = "foundationdb")]
    fn defaults_are_valid() {
        FoundationDbOptions::default().validate().expect("defaults");
    }

    #[test]
    #[cfg(feature = "foundationdb")]
    fn an_option_outside_its_range_is_named() {
        let defaults = FoundationDbOptions::default;
        let longer = "p".repeat(PREFIX_BYTES_MAX + 1);
        let wrong = [
            ("prefix", FoundationDbOptions { prefix: String::new(), ..defaults() }),
            ("prefix", FoundationDbOptions { prefix: longer, ..defaults() }),
            (
                "transaction_timeout",
                FoundationDbOptions { transaction_timeout: Duration::from_secs(4), ..defaults() },
            ),
            ("open_deadline", FoundationDbOptions { open_deadline: Duration::ZERO, ..defaults() }),
            ("watches_max", FoundationDbOptions { watches_max: 0, ..defaults() }),
        ];
        for (name, options) in wrong {
            match options.validate() {
                Err(StoreError::InvalidOption { option, .. }) => assert_eq!(option, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
