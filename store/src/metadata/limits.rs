//! `FoundationDB`'s limits, kept by every engine alike, so that what works on one works on the other.
//!
//! Source: <https://apple.github.io/foundationdb/known-limitations.html>. Where `FoundationDB` counts bytes that the
//! caller does not see (the prefix of all its keys, the place of a versionstamp), room is left for them on every engine.

use std::time::Duration;

use crate::error::StoreError;

/// Longest key, in bytes (a versionstamp in it included). `FoundationDB` takes 10,000 bytes, with
/// [`PREFIX_BYTES_MAX`] and the place of a versionstamp in them.
pub const KEY_BYTES_MAX: usize = 9_900;

/// Longest prefix of all keys of a store that shares a `FoundationDB` cluster with others, in bytes.
pub const PREFIX_BYTES_MAX: usize = 32;

/// Longest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 100_000;

/// Longest value with a versionstamp in it: `FoundationDB` counts the 4 bytes that say where it is.
pub const STAMPED_VALUE_BYTES_MAX: usize = VALUE_BYTES_MAX - 4;

/// Largest transaction, in bytes: keys and values written, plus the keys of all conflict ranges, as
/// `FoundationDB` counts them. Aim below a tenth of it.
pub const TRANSACTION_BYTES_MAX: usize = 10_000_000;

/// Longest time between a transaction's first read and its commit.
pub const TRANSACTION_AGE_MAX: Duration = Duration::from_secs(5);

/// First byte of the keys that `FoundationDB` keeps for itself: user keys lie below it.
pub(crate) const RESERVED_FIRST_BYTE: u8 = 0xFF;

/// Accepts a key that may be read or written.
pub(crate) fn check_key(key: &[u8]) -> Result<(), StoreError> {
    // A bound may be one byte longer.
    if key.len() > KEY_BYTES_MAX {
        return Err(StoreError::KeyTooLarge { bytes: key.len() });
    }
    check_bound(key)?;
    if key.first() == Some(&RESERVED_FIRST_BYTE) {
        return Err(StoreError::ReservedKey);
    }
    Ok(())
}

/// Accepts a key as the bound of a range; unlike a key, a bound may be `[0xFF]`, the end of all user keys.
pub(crate) fn check_bound(key: &[u8]) -> Result<(), StoreError> {
    // A range of one key at the limit ends one byte later.
    if key.len() > KEY_BYTES_MAX + 1 || (key.len() > KEY_BYTES_MAX && key.last() != Some(&0)) {
        return Err(StoreError::KeyTooLarge { bytes: key.len() });
    }
    if key > &[RESERVED_FIRST_BYTE][..] {
        return Err(StoreError::ReservedKey);
    }
    Ok(())
}

/// Accepts a value.
pub(crate) fn check_value(value: &[u8]) -> Result<(), StoreError> {
    if value.len() > VALUE_BYTES_MAX {
        return Err(StoreError::ValueTooLarge { bytes: value.len() });
    }
    Ok(())
}
