//! The lock on the data directory: one process at a time.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;

use anyhow::{Context, anyhow};

/// Holds the data directory until it is dropped, or the process ends in whatever way.
#[derive(Debug)]
pub(crate) struct DataLock {
    _file: File,
}

impl DataLock {
    /// Holds it until the process has ended: a file call that nobody waits for any more goes on until then.
    pub(crate) fn until_the_process_ends(self) {
        std::mem::forget(self);
    }
}

/// Takes the lock, making the directory where needed. `advice` says what its user can do when another process holds it.
///
/// # Errors
/// When another process holds it, or the directory cannot be made.
pub(crate) fn acquire(data: &Path, advice: &str) -> anyhow::Result<DataLock> {
    make(data).with_context(|| {
        format!(
            "could not make the data directory {} (let this user write there, or name another with --data)",
            data.display()
        )
    })?;
    let path = data.join("lock");
    // Not emptied: it says who holds it.
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(&path);
    let file = opened.with_context(|| {
        format!("could not open {} (run this as the user who owns the data directory)", path.display())
    })?;
    match file.try_lock() {
        Ok(()) => {
            sign(&file);
            Ok(DataLock { _file: file })
        }
        Err(TryLockError::WouldBlock) => Err(in_use(data, &file, advice)),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| {
            format!(
                "could not lock {} (keep the data directory on a local disk: not every network file system has locks)",
                path.display()
            )
        }),
    }
}

/// Writes down which process this is, for those who find the lock held. On a full disk it stays unsaid.
fn sign(mut file: &File) {
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
}

fn in_use(data: &Path, file: &File, advice: &str) -> anyhow::Error {
    let data = fs::canonicalize(data).unwrap_or_else(|_| data.to_owned());
    let holder = io::read_to_string(file).ok().and_then(|text| text.trim().parse::<u32>().ok());
    let holder = holder.map_or_else(String::new, |process| format!(" (process {process})"));
    anyhow!("the data directory {} is in use by another darkroomd{holder}: {advice}", data.display())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_finds_it_held_reads_where_by_whom_and_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        let held = acquire(&data, "wait").unwrap();
        let error = acquire(&data, "stop that one first").unwrap_err().to_string();
        let process = format!("(process {})", std::process::id());
        let parts =
            [&*data.to_string_lossy(), "in use by another darkroomd", &process, "stop that one first"];
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        drop(held);
        acquire(&data, "wait").unwrap();
    }
}
