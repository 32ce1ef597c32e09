//! What a transaction has read and written so far, and its own view of what it wrote.

use std::collections::{BTreeMap, HashSet};

use super::mutation::{Atomic, Mutation, stamped, versionstamp};
use crate::error::StoreError;
use crate::metadata::range::KeyRange;
use crate::metadata::size::{self, Size};
use crate::metadata::watch::WatchSender;

/// The buffered part of one transaction.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    /// Writes, in the order asked for.
    pub(super) mutations: Vec<Mutation>,
    /// Keys read, apart from ranges because a point is checked faster.
    pub(super) read_keys: HashSet<Vec<u8>>,
    /// Ranges read.
    pub(super) read_ranges: Vec<KeyRange>,
    /// Ranges that count as written without being so.
    pub(super) write_ranges: Vec<KeyRange>,
    /// The transaction's version, and so all later ones, lie above it.
    pub(super) version_floor: u64,
    /// Watches that start when the transaction ends well.
    pub(super) watches: Vec<(Vec<u8>, WatchSender)>,
    pending: BTreeMap<Vec<u8>, Pending>,
    cleared: ClearedRanges,
    stamped: Vec<StampedKey>,
    size: Size,
    over: bool,
}

/// What this transaction has made of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pending {
    /// The value is known, or known to be absent, whatever is stored.
    Known(Option<Vec<u8>>),
    /// Operations wait for the stored value.
    Operations(Vec<Atomic>),
    /// The value will contain a versionstamp.
    Unreadable,
}

/// A key that will contain a versionstamp.
#[derive(Debug)]
struct StampedKey {
    prefix: Vec<u8>,
    suffix: Vec<u8>,
}

impl Buffer {
    /// What is left in the place of a buffer that has been handed on.
    pub(super) fn over() -> Self {
        Self { over: true, ..Self::default() }
    }

    /// Whether the transaction has been committed or given up.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// Whether nothing in here has to pass the writer.
    pub(super) fn writes_nothing(&self) -> bool {
        self.mutations.is_empty() && self.write_ranges.is_empty()
    }

    /// What this transaction has made of `key`; `None` when only the stored value counts.
    pub(super) fn pending(&self, key: &[u8]) -> Option<Pending> {
        match self.pending.get(key) {
            Some(pending) => Some(pending.clone()),
            None if self.cleared.contains(key) => Some(Pending::Known(None)),
            None => None,
        }
    }

    /// The keys of `range` with own writes that were not swept away by a later clear of a range.
    pub(super) fn pending_in(
        &self,
        range: &KeyRange,
    ) -> impl DoubleEndedIterator<Item = (&Vec<u8>, &Pending)> + use<'_> {
        // BTreeMap panics on an inverted range, so the bounds are put in order.
        let end = range.end.clone().max(range.begin.clone());
        self.pending.range(range.begin.clone()..end)
    }

    /// Whether this transaction cleared a range that holds `key`.
    pub(super) fn is_cleared(&self, key: &[u8]) -> bool {
        self.cleared.contains(key)
    }

    /// Refuses a read of `examined` that could meet a key of this transaction whose versionstamp is not known
    /// yet. Stamps will be above `read_version`, so what was committed before stays readable; as in `FoundationDB` 7.3
    /// that does not hold for the very last commit, whose stamps are of `read_version` itself.
    pub(super) fn check_readable(&self, examined: &KeyRange, read_version: u64) -> Result<(), StoreError> {
        let unreadable = self.stamped.iter().any(|key| key.range(read_version).intersects(examined));
        if unreadable { Err(StoreError::UnreadableKey) } else { Ok(()) }
    }

    /// The same for a single key.
    pub(super) fn check_readable_key(&self, key: &[u8], read_version: u64) -> Result<(), StoreError> {
        let unreadable = self.stamped.iter().any(|stamped| stamped.range(read_version).contains(key));
        if unreadable { Err(StoreError::UnreadableKey) } else { Ok(()) }
    }

    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), StoreError> {
        self.size.charge(size::of_write(key.len(), value.len()))?;
        // As in `FoundationDB`, only a clear makes a key readable that was written with a versionstamp.
        let pending = match self.pending.get(key) {
            Some(Pending::Unreadable) => Pending::Unreadable,
            _ => Pending::Known(Some(value.to_vec())),
        };
        self.pending.insert(key.to_vec(), pending);
        self.mutations.push(Mutation::Set { key: key.to_vec(), value: value.to_vec() });
        Ok(())
    }

    pub(super) fn clear(&mut self, key: &[u8]) -> Result<(), StoreError> {
        self.size.charge(size::of_write(key.len(), 0))?;
        self.pending.insert(key.to_vec(), Pending::Known(None));
        self.mutations.push(Mutation::Clear { key: key.to_vec() });
        Ok(())
    }

    pub(super) fn clear_range(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        self.size.charge(size::of_clear(range))?;
        let swept: Vec<Vec<u8>> = self.pending_in(range).map(|(key, _)| key.clone()).collect();
        for key in swept {
            self.pending.remove(&key);
        }
        // From version 0, because the range must hold every key that this one could become.
        self.stamped.retain(|key| {
            let possible = key.range(0);
            !(range.begin <= possible.begin && possible.end <= range.end)
        });
        self.cleared.insert(range);
        self.mutations.push(Mutation::ClearRange(range.clone()));
        Ok(())
    }

    pub(super) fn atomic(&mut self, key: &[u8], operation: Atomic) -> Result<(), StoreError> {
        self.size.charge(size::of_write(key.len(), size_of::<u64>()))?;
        let pending = match self.pending(key) {
            Some(Pending::Known(value)) => Pending::Known(Some(operation.apply(value.as_deref()))),
            Some(Pending::Operations(mut operations)) => {
                operations.push(operation);
                Pending::Operations(operations)
            }
            Some(Pending::Unreadable) => Pending::Unreadable,
            None => Pending::Operations(vec![operation]),
        };
        self.pending.insert(key.to_vec(), pending);
        self.mutations.push(Mutation::Atomic { key: key.to_vec(), operation });
        Ok(())
    }

    pub(super) fn set_stamped_key(
        &mut self,
        prefix: &[u8],
        suffix: &[u8],
        value: &[u8],
    ) -> Result<(), StoreError> {
        self.size.charge(size::of_write(prefix.len() + 10 + suffix.len(), value.len()))?;
        self.stamped.push(StampedKey { prefix: prefix.to_vec(), suffix: suffix.to_vec() });
        self.mutations.push(Mutation::StampedKey {
            prefix: prefix.to_vec(),
            suffix: suffix.to_vec(),
            value: value.to_vec(),
        });
        Ok(())
    }

    pub(super) fn set_stamped_value(
        &mut self,
        key: &[u8],
        prefix: &[u8],
        suffix: &[u8],
    ) -> Result<(), StoreError> {
        self.size.charge(size::of_write(key.len(), prefix.len() + 10 + suffix.len()))?;
        self.pending.insert(key.to_vec(), Pending::Unreadable);
        self.mutations.push(Mutation::StampedValue {
            key: key.to_vec(),
            prefix: prefix.to_vec(),
            suffix: suffix.to_vec(),
        });
        Ok(())
    }

    pub(super) fn add_read_key(&mut self, key: &[u8]) -> Result<(), StoreError> {
        if !self.read_keys.contains(key) {
            self.size.charge(size::of_read_key(key))?;
            self.read_keys.insert(key.to_vec());
        }
        Ok(())
    }

    pub(super) fn add_read_range(&mut self, range: KeyRange) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        self.size.charge(size::of_conflict(&range))?;
        self.read_ranges.push(range);
        Ok(())
    }

    pub(super) fn add_write_range(&mut self, range: &KeyRange) -> Result<(), StoreError> {
        if range.is_empty() {
            return Ok(());
        }
        self.size.charge(size::of_conflict(range))?;
        self.write_ranges.push(range.clone());
        Ok(())
    }

    /// Bytes charged so far.
    pub(super) fn bytes(&self) -> usize {
        self.size.bytes()
    }
}

impl StampedKey {
    /// Every key that this one can become with a version from `read_version` on.
    fn range(&self, read_version: u64) -> KeyRange {
        let first = stamped(&self.prefix, versionstamp(read_version, 0), &[]);
        let mut after_last = stamped(&self.prefix, versionstamp(u64::MAX, u16::MAX), &self.suffix);
        after_last.push(0);
        KeyRange::new(first, after_last)
    }
}

/// Cleared ranges that neither overlap nor touch, by their begin.
#[derive(Debug, Default)]
struct ClearedRanges(BTreeMap<Vec<u8>, Vec<u8>>);

impl ClearedRanges {
    fn contains(&self, key: &[u8]) -> bool {
        let before = (std::ops::Bound::Unbounded, std::ops::Bound::Included(key));
        self.0.range::<[u8], _>(before).next_back().is_some_and(|(_, end)| key < end.as_slice())
    }

    fn insert(&mut self, range: &KeyRange) {
        let mut merged = range.clone();
        // Those that touch the new one begin at or before its end; of these the ones that end before its
        // begin do not. They lie side by side, so walking down from its end meets them first.
        while let Some((begin, end)) = self.0.range(..=merged.end.clone()).next_back() {
            if *end < merged.begin {
                break;
            }
            let (begin, end) = (begin.clone(), end.clone());
            self.0.remove(&begin);
            merged.begin = merged.begin.min(begin);
            merged.end = merged.end.max(end);
        }
        self.0.insert(merged.begin, merged.end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleared_ranges_merge() {
        let mut cleared = ClearedRanges::default();
        cleared.insert(&KeyRange::new(*b"b", *b"d"));
        cleared.insert(&KeyRange::new(*b"f", *b"h"));
        cleared.insert(&KeyRange::new(*b"x", *b"z"));
        assert!(!cleared.contains(b"d") && cleared.contains(b"f") && !cleared.contains(b"h"));
        cleared.insert(&KeyRange::new(*b"c", *b"f"));
        assert!(cleared.contains(b"e") && cleared.contains(b"g") && !cleared.contains(b"a"));
        assert_eq!(cleared.0.len(), 2);
    }

    #[test]
    fn a_clear_makes_a_stamped_key_readable_again() {
        let mut buffer = Buffer::default();
        buffer.set_stamped_key(b"log", b"", b"v").expect("set");
        let all = KeyRange::all();
        assert!(matches!(buffer.check_readable(&all, 7), Err(StoreError::UnreadableKey)));
        let until = |version| KeyRange::new(*b"log", stamped(b"log", versionstamp(version, 9), b""));
        buffer.check_readable(&until(6), 7).expect("old");
        assert!(
            matches!(buffer.check_readable(&until(7), 7), Err(StoreError::UnreadableKey)),
            "the last commit"
        );
        buffer.clear_range(&KeyRange::prefix(*b"log")).expect("clear");
        buffer.check_readable(&all, 7).expect("cleared");
    }
}
