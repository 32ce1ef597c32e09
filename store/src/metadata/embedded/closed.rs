//! The file `closed`: the version of the last commit at the last orderly end.
//!
//! A damaged last batch of a journal looks like one that was being written when the power went. After an orderly end
//! nothing was being written, so a database that does not reach the noted version has lost something. The note is a lower
//! bound and stays true while the store is in use, so it is never removed.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

use crate::error::StoreError;

const NAME: &str = "closed";
/// Bytes of the digest that follows the version.
const DIGEST_BYTES: usize = 8;

/// The noted version; 0 if the store has never been closed.
pub(super) fn read(folder: &Path) -> Result<u64, StoreError> {
    let path = folder.join(NAME);
    let bytes = match std::fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(StoreError::io(format!("reading {}", path.display()), error)),
    };
    let version = bytes.first_chunk::<8>().copied().map(u64::from_be_bytes);
    match version {
        Some(version) if bytes == encode(version) => Ok(version),
        _ => Err(StoreError::Corrupt {
            what: path.display().to_string(),
            detail: "its digest does not match".to_owned(),
        }),
    }
}

/// Notes `version`, whole or not at all.
pub(super) fn write(folder: &Path, version: u64) -> io::Result<()> {
    let unfinished = folder.join("closed.new");
    let mut file = File::create(&unfinished)?;
    file.write_all(&encode(version))?;
    file.sync_all()?;
    std::fs::rename(&unfinished, folder.join(NAME))?;
    File::open(folder)?.sync_all()
}

fn encode(version: u64) -> Vec<u8> {
    let version = version.to_be_bytes();
    let digest = blake3::hash(&version);
    [&version[..], &digest.as_bytes()[..DIGEST_BYTES]].concat()
}
