//! Where in the cluster the store lies: every key of it begins with one prefix, which callers never see.

use std::sync::Arc;

use crate::metadata::range::KeyRange;

/// The prefix of all keys of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix(Arc<[u8]>);

impl Prefix {
    pub(super) fn new(prefix: &str) -> Self {
        Self(prefix.as_bytes().into())
    }

    /// The key's place in the cluster.
    pub(super) fn key(&self, key: &[u8]) -> Vec<u8> {
        [&self.0, key].concat()
    }

    /// The range's bounds in the cluster. No key of a store begins with 0xFF, the highest bound that a range may have,
    /// so that every range ends inside the store.
    pub(super) fn range(&self, range: &KeyRange) -> KeyRange {
        KeyRange::new(self.key(&range.begin), self.key(&range.end))
    }

    /// A key of the cluster as the store's callers know it.
    pub(super) fn strip(&self, key: &[u8]) -> Vec<u8> {
        // A read is only of keys below the prefix; a shorter one could at most show as empty.
        key.get(self.0.len()..).unwrap_or_default().to_vec()
    }

    /// The key `prefix`, place for a versionstamp, `suffix` in the form that the cluster fills in.
    pub(super) fn stamped_key(&self, prefix: &[u8], suffix: &[u8]) -> Vec<u8> {
        with_place(&self.key(prefix), suffix)
    }
}

/// `prefix`, place for a versionstamp, `suffix`, then in 4 bytes, little-endian, where that place is: so the cluster
/// finds it (API version 520 and newer).
pub(super) fn with_place(prefix: &[u8], suffix: &[u8]) -> Vec<u8> {
    // Keys and values are far shorter than 4 GiB: their limits were checked before.
    let place = u32::try_from(prefix.len()).unwrap_or(u32::MAX).to_le_bytes();
    [prefix, &[0; 10], suffix, &place].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_went() {
        let prefix = Prefix::new("darkroom/");
        for key in [&b""[..], b"\x00", b"darkroom/", b"\xFE\xFF"] {
            assert_eq!(prefix.strip(&prefix.key(key)), key);
            assert!(prefix.range(&KeyRange::all()).contains(&prefix.key(key)));
        }
        assert!(!prefix.range(&KeyRange::all()).contains(b"darkroom0"));
        assert!(!prefix.range(&KeyRange::all()).contains(b"darkroom."));
    }

    #[test]
    fn the_place_of_a_stamp_follows_the_key() {
        let key = Prefix::new("ab").stamped_key(b"c", b"d");
        assert_eq!(key, b"abc\0\0\0\0\0\0\0\0\0\0d\x03\0\0\0");
    }
}
