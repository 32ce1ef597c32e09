//! Ranges of keys, and how many rows of one to read in which direction.

/// The keys from `begin` (inclusive) to `end` (exclusive), in the order of their bytes. A range whose end is
/// not above its begin is empty.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    /// The first key of the range.
    pub begin: Vec<u8>,
    /// The first key after the range.
    pub end: Vec<u8>,
}

impl KeyRange {
    /// The keys from `begin` (inclusive) to `end` (exclusive).
    pub fn new(begin: impl Into<Vec<u8>>, end: impl Into<Vec<u8>>) -> Self {
        Self { begin: begin.into(), end: end.into() }
    }

    /// Every user key.
    pub fn all() -> Self {
        Self::new([], [super::limits::RESERVED_FIRST_BYTE])
    }

    /// Every key that begins with `prefix`, the prefix itself included. (A tuple subspace's own
    /// `range()` leaves the bare prefix out.)
    pub fn prefix(prefix: impl Into<Vec<u8>>) -> Self {
        let begin = prefix.into();
        let mut end = begin.clone();
        // The first key after all that share a prefix is the prefix with its last byte raised; bytes of 0xFF
        // cannot be raised and fall away.
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => *last += 1,
            None => end.push(super::limits::RESERVED_FIRST_BYTE),
        }
        Self { begin, end }
    }

    /// The one key `key`.
    pub fn single(key: &[u8]) -> Self {
        Self { begin: key.to_vec(), end: after(key) }
    }

    /// What is left of this range after `key`: where a page that ended with `key` goes on.
    #[must_use]
    pub fn after(&self, key: &[u8]) -> Self {
        Self { begin: after(key).max(self.begin.clone()), end: self.end.clone() }
    }

    /// What is left of this range before `key`: where a reversed page that ended with `key` goes on.
    #[must_use]
    pub fn before(&self, key: &[u8]) -> Self {
        Self { begin: self.begin.clone(), end: key.to_vec().min(self.end.clone()) }
    }

    /// Whether no key lies in the range.
    pub fn is_empty(&self) -> bool {
        self.begin >= self.end
    }

    /// Whether `key` lies in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.begin.as_slice() <= key && key < self.end.as_slice()
    }

    /// Whether some key could lie in both ranges.
    pub fn intersects(&self, other: &Self) -> bool {
        !self.is_empty() && !other.is_empty() && self.begin < other.end && other.begin < self.end
    }

    /// Bytes of both bounds, which is what `FoundationDB` charges for a conflict range.
    pub(crate) fn bytes(&self) -> usize {
        self.begin.len() + self.end.len()
    }
}

impl From<(Vec<u8>, Vec<u8>)> for KeyRange {
    /// From what `foundationdb_tuple::Subspace::range` answers.
    fn from((begin, end): (Vec<u8>, Vec<u8>)) -> Self {
        Self { begin, end }
    }
}

/// The first key after `key`.
fn after(key: &[u8]) -> Vec<u8> {
    let mut next = Vec::with_capacity(key.len() + 1);
    next.extend_from_slice(key);
    next.push(0);
    next
}

/// How to read a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RangeOptions {
    /// At most so many rows; 0 reads none. The default, `usize::MAX`, reads all, which is for ranges known to
    /// be small (aim below 1,000 rows in a transaction).
    pub limit: usize,
    /// Rows in descending order, from the end of the range: with a limit, its last rows.
    pub reverse: bool,
    /// Adds no read conflict: the transaction commits even if another one changes these rows meanwhile.
    pub snapshot: bool,
}

impl Default for RangeOptions {
    fn default() -> Self {
        Self { limit: usize::MAX, reverse: false, snapshot: false }
    }
}

impl RangeOptions {
    /// The first `limit` rows, ascending.
    pub fn first(limit: usize) -> Self {
        Self { limit, ..Self::default() }
    }

    /// The last `limit` rows, descending.
    pub fn last(limit: usize) -> Self {
        Self { limit, reverse: true, ..Self::default() }
    }

    /// The same without a read conflict.
    #[must_use]
    pub fn snapshot(self) -> Self {
        Self { snapshot: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_prefix() {
        assert_eq!(KeyRange::prefix(*b"ab"), KeyRange::new(*b"ab", *b"ac"));
        assert_eq!(KeyRange::prefix([1, 0xFF]), KeyRange::new([1, 0xFF], [2]));
        assert_eq!(KeyRange::prefix([]), KeyRange::all());
    }

    #[test]
    fn pages_go_on_where_the_last_one_ended() {
        let range = KeyRange::new(*b"a", *b"z");
        assert!(!range.after(b"m").contains(b"m"));
        assert!(range.after(b"m").contains(b"m\0"));
        assert!(!range.before(b"m").contains(b"m"));
        assert!(range.before(b"m").contains(b"l\xFF"));
        assert!(range.after(b"z").is_empty());
    }

    #[test]
    fn neighbours_do_not_intersect() {
        let low = KeyRange::new(*b"a", *b"m");
        assert!(!low.intersects(&KeyRange::new(*b"m", *b"z")));
        assert!(low.intersects(&KeyRange::new(*b"l", *b"z")));
        assert!(!low.intersects(&KeyRange::new(*b"b", *b"b")));
    }
}
