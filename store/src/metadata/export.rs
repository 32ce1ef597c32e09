//! Every row of the store as of one moment, however long reading it takes.

use super::embedded;
use crate::error::StoreError;

/// The rows of one snapshot, in the order of their keys. It stays what it was while others write; until it is dropped
/// the engine keeps what they replace.
pub struct Export(Engine);

enum Engine {
    Embedded(embedded::Export),
}

impl Export {
    pub(super) fn embedded(export: embedded::Export) -> Self {
        Self(Engine::Embedded(export))
    }

    /// The version of the snapshot: every versionstamp in it begins with this number or a lower one, big-endian.
    pub fn version(&self) -> u64 {
        match &self.0 {
            Engine::Embedded(export) => export.version(),
        }
    }

    /// The next rows, about `bytes` of them and at least one; empty at the end.
    pub async fn next(&mut self, bytes: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, StoreError> {
        match &mut self.0 {
            Engine::Embedded(export) => export.next(bytes).await,
        }
    }
}
