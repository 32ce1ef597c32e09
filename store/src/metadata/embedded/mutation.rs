//! What a transaction does to the keys, in the order in which it asked for it.

use crate::metadata::range::KeyRange;

/// One write of a transaction.
#[derive(Debug)]
pub(super) enum Mutation {
    Set { key: Vec<u8>, value: Vec<u8> },
    Clear { key: Vec<u8> },
    ClearRange(KeyRange),
    Atomic { key: Vec<u8>, operation: Atomic },
    StampedKey { prefix: Vec<u8>, suffix: Vec<u8>, value: Vec<u8> },
    StampedValue { key: Vec<u8>, prefix: Vec<u8>, suffix: Vec<u8> },
}

/// An operation on a little-endian integer of 8 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Atomic {
    Add(i64),
    Max(u64),
}

impl Atomic {
    /// The value after the operation. As in `FoundationDB`, the operand's 8 bytes decide the length: a stored value
    /// that is shorter is padded with zeros, a longer one is cut, and an absent one gives way to the operand.
    pub(super) fn apply(self, stored: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = [0; 8];
        let stored = stored.unwrap_or_default();
        for (byte, value) in bytes.iter_mut().zip(stored) {
            *byte = *value;
        }
        let stored = u64::from_le_bytes(bytes);
        let result = match self {
            Self::Add(delta) => stored.wrapping_add_signed(delta),
            Self::Max(value) => stored.max(value),
        };
        result.to_le_bytes().to_vec()
    }
}

/// The 10 bytes that order commits: the version of the group, then the transaction's place in it.
pub(super) fn versionstamp(version: u64, index: u16) -> [u8; 10] {
    let mut stamp = [0; 10];
    stamp[..8].copy_from_slice(&version.to_be_bytes());
    stamp[8..].copy_from_slice(&index.to_be_bytes());
    stamp
}

/// `prefix`, `stamp`, `suffix` in one.
pub(super) fn stamped(prefix: &[u8], stamp: [u8; 10], suffix: &[u8]) -> Vec<u8> {
    [prefix, &stamp, suffix].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn add_counts_absent_as_zero_and_wraps() {
        assert_eq!(Atomic::Add(5).apply(None), 5_i64.to_le_bytes());
        assert_eq!(Atomic::Add(-7).apply(Some(&5_i64.to_le_bytes())), (-2_i64).to_le_bytes());
        assert_eq!(Atomic::Add(1).apply(Some(&u64::MAX.to_le_bytes())), 0_u64.to_le_bytes());
    }

    #[test]
    fn the_operand_decides_the_length() {
        assert_eq!(Atomic::Add(1).apply(Some(&[255])), 256_u64.to_le_bytes());
        assert_eq!(Atomic::Add(1).apply(Some(&[1, 0, 0, 0, 0, 0, 0, 0, 9])), 2_u64.to_le_bytes());
    }

    #[test]
    fn max_keeps_the_larger() {
        assert_eq!(Atomic::Max(3).apply(None), 3_u64.to_le_bytes());
        assert_eq!(Atomic::Max(3).apply(Some(&9_u64.to_le_bytes())), 9_u64.to_le_bytes());
        assert_eq!(Atomic::Max(u64::MAX).apply(Some(&9_u64.to_le_bytes())), u64::MAX.to_le_bytes());
    }

    #[test]
    fn stamps_ascend_by_version_then_place() {
        assert!(versionstamp(1, u16::MAX) < versionstamp(2, 0));
        assert!(versionstamp(255, 0) < versionstamp(256, 0));
        assert!(versionstamp(7, 255) < versionstamp(7, 256));
    }
}
