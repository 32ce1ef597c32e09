//! The lists of tables by which the storage engine opens a database.
//!
//! Each keyspace has a file `current` with the number, and the XXH3-128, of the file `v<number>` that lists its tables.
//! lsm-tree 3.1 writes that sum and does not look at it: it would take a damaged number for a length, and end the process
//! for want of memory.

use std::io::ErrorKind;
use std::path::Path;

use xxhash_rust::xxh3::xxh3_128;

use crate::error::StoreError;

/// Where fjall keeps its keyspaces, each in a folder of its own.
const KEYSPACES: &str = "keyspaces";
/// Names the list that holds.
const CURRENT: &str = "current";

/// Refuses a database in `home` with a list that is not as it was written. Blocks.
pub(super) fn check(home: &Path) -> Result<(), StoreError> {
    let keyspaces = home.join(KEYSPACES);
    let context = |error| StoreError::io(format!("reading {}", keyspaces.display()), error);
    let entries = match std::fs::read_dir(&keyspaces) {
        Ok(entries) => entries,
        // What is missing is the engine's to say.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(context(error)),
    };
    for entry in entries {
        check_keyspace(&entry.map_err(context)?.path())?;
    }
    Ok(())
}

fn check_keyspace(folder: &Path) -> Result<(), StoreError> {
    let current = folder.join(CURRENT);
    let Some(named) = read(&current)? else { return Ok(()) };
    let (Some(number), Some(sum)) =
        (named.first_chunk::<8>(), named.get(8..24).and_then(|sum| sum.first_chunk::<16>()))
    else {
        return Err(damaged(&current, "it is too short"));
    };
    let list = folder.join(format!("v{}", u64::from_le_bytes(*number)));
    let Some(bytes) = read(&list)? else {
        return Err(damaged(&current, &format!("it names {}, which is not there", list.display())));
    };
    if xxh3_128(&bytes) == u128::from_le_bytes(*sum) {
        return Ok(());
    }
    Err(damaged(&list, &format!("it does not have the checksum that {} says", current.display())))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io(format!("reading {}", path.display()), error)),
    }
}

fn damaged(path: &Path, detail: &str) -> StoreError {
    StoreError::Corrupt { what: path.display().to_string(), detail: detail.to_owned() }
}
