//! The cases of the contract, by subject, and what they share. They use the public interface only.

pub(crate) mod chunks;
pub(crate) mod durability;
pub(crate) mod hermitage;
pub(crate) mod isolation;
pub(crate) mod limits;
pub(crate) mod model;
pub(crate) mod ranges;
pub(crate) mod retries;
pub(crate) mod tuples;
pub(crate) mod unknown;
pub(crate) mod versionstamps;
pub(crate) mod watches;
pub(crate) mod writes;

use std::sync::atomic::{AtomicU32, Ordering};

use darkroom_store::error::StoreError;
use darkroom_store::metadata::{Metadata, RangeOptions, Transaction};

use crate::engines::{self, Engine, Place};

/// A store of one engine, and where it can be opened again.
pub(crate) struct Store {
    pub(crate) metadata: Metadata,
    place: Place,
}

/// Runs a case on an empty store of `engine`.
pub(crate) async fn run<F, Fut>(engine: Engine, case: F)
where
    F: FnOnce(Store) -> Fut,
    Fut: Future<Output = ()>,
{
    let opened = |place: Place| async move {
        let metadata = place.open().await;
        case(Store { metadata, place }).await;
    };
    engines::run(engine, opened).await;
}

impl Store {
    /// The same store after its handle was dropped, without closing it first.
    pub(crate) async fn reopen(self) -> Self {
        drop(self.metadata);
        let metadata = self.place.open().await;
        Self { metadata, place: self.place }
    }

    /// The value of one key, or `None`.
    pub(crate) async fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.metadata.read("get", |tx| async move { tx.get(key).await }).await.expect("get")
    }

    /// Sets one key.
    pub(crate) async fn set(&self, key: &[u8], value: &[u8]) {
        self.metadata.transact("set", |tx| async move { tx.set(key, value) }).await.expect("set");
    }

    /// Every row.
    pub(crate) async fn all(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let all = darkroom_store::metadata::KeyRange::all();
        let read = |tx: Transaction| {
            let all = all.clone();
            async move { tx.get_range(&all, RangeOptions::default()).await }
        };
        self.metadata.read("all", read).await.expect("all rows")
    }

    /// Runs `victim`, and `rival` between what `victim` did and its commit, the first time only. Answers how many
    /// attempts `victim` took: 1 when it did not conflict.
    pub(crate) async fn attempts<V, VF, R, RF>(&self, victim: V, rival: R) -> u32
    where
        V: Fn(Transaction) -> VF + Send + Sync,
        VF: Future<Output = Result<(), StoreError>> + Send,
        R: Fn(Transaction) -> RF + Send + Sync,
        RF: Future<Output = Result<(), StoreError>> + Send,
    {
        let attempts = AtomicU32::new(0);
        let (victim, rival, attempts_made) = (&victim, &rival, &attempts);
        let contest = |tx: Transaction| async move {
            victim(tx).await?;
            if attempts_made.fetch_add(1, Ordering::SeqCst) == 0 {
                self.metadata.transact("rival", rival).await?;
            }
            Ok(())
        };
        self.metadata.transact("victim", contest).await.expect("victim");
        attempts.into_inner()
    }
}

/// An 8-byte little-endian integer, as atomic operations have it.
pub(crate) fn integer(value: i64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

/// Rows as they are compared.
pub(crate) fn rows(rows: &[(&[u8], &[u8])]) -> Vec<(Vec<u8>, Vec<u8>)> {
    rows.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
}
