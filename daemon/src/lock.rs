//! The lock on the data directory: one process at a time.

use std::fs::{self, File, TryLockError};
use std::io;
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
    make(data).with_context(|| format!("could not make the data directory {}", data.display()))?;
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

/// Makes the directory so that it lasts: until the folder that holds it is synced, a power cut may take its name, and
/// with that everything below it.
fn make(data: &Path) -> io::Result<()> {
    let parent = |folder: &Path| match folder.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new(".").to_owned(),
        Some(parent) => parent.to_owned(),
        None => folder.to_owned(),
    };
    let missing: Vec<_> =
        data.ancestors().take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists()).collect();
    fs::create_dir_all(data)?;
    for made in &missing {
        File::open(parent(made))?.sync_all()?;
    }
    if missing.is_empty() {
        // An earlier process may have died before it came to this. Where the folder above is closed to us, whoever
        // made the directory was somebody else, long ago.
        let _ = File::open(parent(data)).and_then(|folder| folder.sync_all());
    }
    Ok(())
}
