//! Room on a disk, and what its errors mean.

use std::io;
use std::path::Path;

use rustix::fs::StatVfs;

use crate::StoreError;
use crate::error::NoRoom;

/// Refuses to write where less than `reserve` bytes of disk are left.
pub(super) fn leave(path: &Path, reserve: u64) -> Result<(), StoreError> {
    match disk_of(path).map(|disk| free_bytes(&disk)) {
        Some(free_bytes) if free_bytes < reserve => {
            Err(StoreError::DiskFull { path: path.to_owned(), why: NoRoom::Reserved { free_bytes, reserve } })
        }
        // What cannot be asked is not held against the put: the write itself will tell.
        _ => Ok(()),
    }
}

/// An error of the operating system, as one of the store's.
pub(super) fn failed(action: &str, path: &Path, source: io::Error) -> StoreError {
    let why = match source.kind() {
        io::ErrorKind::StorageFull => full(disk_of(path).as_ref()),
        io::ErrorKind::QuotaExceeded => NoRoom::Quota,
        _ => return StoreError::Io { context: format!("could not {action} {}", path.display()), source },
    };
    StoreError::DiskFull { path: path.to_owned(), why }
}

/// What a disk lacks that says that it is full.
fn full(disk: Option<&StatVfs>) -> NoRoom {
    match disk {
        // Some file systems count no files, and say that they have none at all.
        Some(disk) if disk.f_files > 0 && disk.f_favail == 0 => NoRoom::Files,
        disk => NoRoom::Full { free_bytes: disk.map(free_bytes) },
    }
}

/// What is left for this process.
fn free_bytes(disk: &StatVfs) -> u64 {
    disk.f_bavail * disk.f_frsize
}

fn disk_of(path: &Path) -> Option<StatVfs> {
    rustix::fs::statvfs(path.parent().unwrap_or(path)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a disk answers that has room for a million bytes, and for so many files of 100.
    fn disk(files: u64) -> StatVfs {
        let mut disk = rustix::fs::statvfs(".").unwrap();
        (disk.f_bavail, disk.f_frsize, disk.f_files, disk.f_favail) = (1000, 1000, 100, files);
        disk
    }

    fn told(kind: io::ErrorKind) -> String {
        failed("write", Path::new("/nowhere/object"), kind.into()).to_string()
    }

    #[test]
    fn a_full_disk_says_what_it_lacks() {
        assert_eq!(full(Some(&disk(0))), NoRoom::Files);
        assert_eq!(full(Some(&disk(1))), NoRoom::Full { free_bytes: Some(1_000_000) });
        let uncounted = StatVfs { f_files: 0, ..disk(0) };
        assert_eq!(full(Some(&uncounted)), NoRoom::Full { free_bytes: Some(1_000_000) });
        assert_eq!(full(None), NoRoom::Full { free_bytes: None });
    }

    #[test]
    fn a_quota_is_not_taken_for_a_full_disk() {
        let error = told(io::ErrorKind::QuotaExceeded);
        assert!(error.contains("raise") && !error.contains("bytes"), "{error}");
        assert!(told(io::ErrorKind::StorageFull).contains("is full"));
        assert!(told(io::ErrorKind::PermissionDenied).contains("could not write /nowhere/object"));
    }
}
