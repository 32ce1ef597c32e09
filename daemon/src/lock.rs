//! The lock on the data directory: one process at a time.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use anyhow::{Context, bail};

/// Holds the data directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

/// Takes the lock, making the directory where needed.
///
/// # Errors
/// When another process holds it, or the directory cannot be made.
pub(crate) fn acquire(data: &Path) -> anyhow::Result<DataLock> {
    match try_acquire(data)? {
        Some(lock) => Ok(lock),
        None => bail!(
            "the data directory {} is in use by another darkroomd: stop that one, or give this one its own with \
             --data",
            data.display()
        ),
    }
}

/// As [`acquire`], but `None` when another process holds it.
pub(crate) fn try_acquire(data: &Path) -> anyhow::Result<Option<DataLock>> {
    fs::create_dir_all(data)
        .with_context(|| format!("could not make the data directory {}", data.display()))?;
    let path = data.join("lock");
    let file = File::create(&path).with_context(|| format!("could not open {}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(DataLock { _file: file })),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => {
            Err(error).with_context(|| format!("could not lock {}", path.display()))
        }
    }
}
