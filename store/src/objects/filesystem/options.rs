//! What can be set of a folder of objects.

use std::thread::available_parallelism;

use crate::StoreError;

/// Threads that write for each core, and at least.
const WRITES_PER_CORE: usize = 2;
const WRITES_MIN: usize = 4;

/// What a folder of objects leaves, and how hard it works its disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesystemOptions {
    /// Puts are refused where they would leave less than so many bytes of disk.
    pub free_space_min_bytes: u64,
    /// Files that are written, synced or deleted at once; others wait, in order. At least 1.
    pub writes_max: usize,
}

impl Default for FilesystemOptions {
    fn default() -> Self {
        let cores = available_parallelism().map_or(2, usize::from);
        Self { free_space_min_bytes: 0, writes_max: (cores * WRITES_PER_CORE).max(WRITES_MIN) }
    }
}

impl FilesystemOptions {
    /// Whether they can work.
    ///
    /// # Errors
    /// [`StoreError::InvalidOption`].
    pub fn validate(&self) -> Result<(), StoreError> {
        if self.writes_max == 0 {
            let detail = "must be at least 1: nothing could be written".to_owned();
            return Err(StoreError::InvalidOption { option: "writes_max", detail });
        }
        Ok(())
    }
}
