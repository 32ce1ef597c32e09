//! Records that may be larger than a value may be.
//!
//! A record of up to [`CHUNK_BYTES`] stands under its key as every record does, so that nothing changes for those. A
//! larger one is cut: under its key stands a head with its length and BLAKE3, and its chunks stand under the key with a
//! number added to its tuple. A chunk that is missing, or of an older record, is an error and never a shorter record.
//!
//! Which records may be that large? A photo's, and no other of today's: a job, a blob, a node, an identity and an entry of
//! the change log have a bounded number of fields, each of them bounded (the longest is a job's `last_error`, a sentence).
//! A photo has one entry of up to 450 bytes per variant. The presets of one configuration make at most 64, 29 kB; with what
//! the camera told (13 texts of 128 characters, at most 12 bytes each in JSON: 20 kB) that is half of a value. But
//! variants of presets that were renamed or removed stay in the record, since links to them are out in the world, and
//! nothing bounds how often an operator renames 64 presets: the fourth time the record would no longer fit, and the photo
//! could not be published any more.

use crate::StoreError;
use crate::metadata::{KeyRange, RangeOptions, Transaction, VALUE_BYTES_MAX};

use super::record::corrupt_key;

/// A record is cut into pieces of this size, which leaves a tenth of a value's limit free.
pub const CHUNK_BYTES: usize = 90_000;

/// First byte of a head. Records begin with their version, which is far below.
const HEAD: u8 = 0xC1;
/// Bytes of a head: its first byte, the record's length, its BLAKE3.
const HEAD_BYTES: usize = 1 + 8 + 32;
/// Most bytes of a record: half of what a transaction may hold.
pub const RECORD_BYTES_MAX: usize = 5_000_000;

const _: () = assert!(CHUNK_BYTES < VALUE_BYTES_MAX);

/// Writes `record` under `key`, which is a tuple's, in the place of what is there. It reads the key first, and conflicts
/// with others that write it.
///
/// # Errors
/// [`StoreError::ValueTooLarge`] above [`RECORD_BYTES_MAX`]; those of the engine.
pub async fn write(tx: &Transaction, key: &[u8], record: &[u8]) -> Result<(), StoreError> {
    if record.len() > RECORD_BYTES_MAX {
        return Err(StoreError::ValueTooLarge { bytes: record.len() });
    }
    clear(tx, key).await?;
    // A small one that happens to begin like a head would be read as one.
    if record.len() <= CHUNK_BYTES && record.first() != Some(&HEAD) {
        return tx.set(key, record);
    }
    for (number, chunk) in record.chunks(CHUNK_BYTES).enumerate() {
        tx.set(&chunk_key(key, number), chunk)?;
    }
    tx.set(key, &head(record))
}

/// The record under `key`, if there is one.
///
/// # Errors
/// [`StoreError::Corrupt`] if its chunks are not those that were written with it; those of the engine.
pub async fn read(tx: &Transaction, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(stored) = tx.get(key).await? else { return Ok(None) };
    let Some(bytes) = length_in(&stored) else { return Ok(Some(stored)) };
    let rows = tx.get_range(&chunks_of(key), RangeOptions::first(RECORD_BYTES_MAX / CHUNK_BYTES + 2)).await?;
    let record: Vec<u8> = rows.into_iter().flat_map(|(_, chunk)| chunk).collect();
    if record.len() as u64 != bytes {
        let detail = format!("its chunks have {} bytes instead of {bytes}", record.len());
        return Err(corrupt_key(key, &detail));
    }
    if head(&record) != stored {
        return Err(corrupt_key(key, "its chunks are not those that were written with it"));
    }
    Ok(Some(record))
}

/// Removes the record under `key`, and reads the key to know whether it has chunks.
///
/// # Errors
/// Those of the engine.
pub async fn clear(tx: &Transaction, key: &[u8]) -> Result<(), StoreError> {
    let Some(stored) = tx.get(key).await? else { return Ok(()) };
    // Only then: clearing a range costs every later conflict check a little.
    if length_in(&stored).is_some() {
        tx.clear_range(&chunks_of(key))?;
    }
    tx.clear(key)
}

fn head(record: &[u8]) -> Vec<u8> {
    [&[HEAD][..], &(record.len() as u64).to_le_bytes(), blake3::hash(record).as_bytes()].concat()
}

/// The length that a head tells; `None` for what is no head.
fn length_in(stored: &[u8]) -> Option<u64> {
    let bytes = stored.strip_prefix(&[HEAD])?.first_chunk()?;
    (stored.len() == HEAD_BYTES).then(|| u64::from_le_bytes(*bytes))
}

fn chunk_key(key: &[u8], number: usize) -> Vec<u8> {
    let mut key = key.to_vec();
    foundationdb_tuple::pack_into(&(number as u64,), &mut key);
    key
}

/// The chunks of the record under `key`: every key with one element more.
fn chunks_of(key: &[u8]) -> KeyRange {
    KeyRange::new([key, &[0x00]].concat(), [key, &[0xFF]].concat())
}
