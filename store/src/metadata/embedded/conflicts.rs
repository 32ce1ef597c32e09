//! What recent commits wrote, and whether a transaction has read any of it before it was written.
//!
//! Two structures hold the same window. A map from the hash of each key to the version that wrote it last
//! answers for single keys in one step, however old the reader. The commits in order, each with its keys sorted,
//! answer for ranges by one binary search per commit that the reader has not seen, and that is few: most
//! readers are as old as one sync.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::error::StoreError;
use crate::metadata::range::KeyRange;

/// What a written key costs beside its bytes: its places in the map and in its commit.
const KEY_OVERHEAD_BYTES: usize = 64;

/// The recent past, as far as it matters to those who read before it.
pub(super) struct Conflicts {
    /// By hash: two keys that share one can only cause a needless retry.
    last_writes: HashMap<u64, u64>,
    hasher: RandomState,
    /// Sealed commits, oldest first.
    commits: VecDeque<Commit>,
    /// Cleared ranges and explicit write conflicts, oldest first.
    range_writes: VecDeque<(u64, KeyRange)>,
    /// The keys of the group that is being put together.
    current: BTreeSet<Vec<u8>>,
    current_version: u64,
    current_bytes: usize,
    /// Readers below it cannot be checked any more.
    floor: u64,
    bytes: usize,
    bytes_max: usize,
    age_max: Duration,
}

/// What one group wrote.
struct Commit {
    version: u64,
    sealed: Instant,
    keys: Vec<Vec<u8>>,
    bytes: usize,
}

impl Conflicts {
    /// An empty window after `version`. It remembers commits for `age_max`, or fewer when they take more than
    /// `bytes_max`.
    pub(super) fn new(version: u64, age_max: Duration, bytes_max: usize) -> Self {
        Self {
            last_writes: HashMap::new(),
            hasher: RandomState::new(),
            commits: VecDeque::new(),
            range_writes: VecDeque::new(),
            current: BTreeSet::new(),
            current_version: version + 1,
            current_bytes: 0,
            floor: version,
            bytes: 0,
            bytes_max,
            age_max,
        }
    }

    /// Refuses a transaction that read at `read_version` what was written later, by sealed commits or by the
    /// group that is being put together.
    pub(super) fn check<'a>(
        &self,
        read_version: u64,
        keys: impl IntoIterator<Item = &'a Vec<u8>>,
        ranges: &[KeyRange],
    ) -> Result<(), StoreError> {
        if read_version < self.floor {
            return Err(StoreError::TooOld);
        }
        let conflict = keys.into_iter().any(|key| self.key_written(read_version, key))
            || ranges.iter().any(|range| self.range_written(read_version, range));
        if conflict { Err(StoreError::Conflict) } else { Ok(()) }
    }

    fn key_written(&self, read_version: u64, key: &[u8]) -> bool {
        let written = self.last_writes.get(&self.hasher.hash_one(key));
        written.is_some_and(|version| *version > read_version)
            || self.later_range_writes(read_version).any(|range| range.contains(key))
    }

    fn range_written(&self, read_version: u64, range: &KeyRange) -> bool {
        if self.later_range_writes(read_version).any(|written| written.intersects(range)) {
            return true;
        }
        let current = self.current.range(range.begin.clone()..).next();
        current.is_some_and(|key| range.contains(key))
            || self.commits.iter().rev().take_while(|commit| commit.version > read_version).any(|commit| {
                let at = commit.keys.partition_point(|key| *key < range.begin);
                commit.keys.get(at).is_some_and(|key| range.contains(key))
            })
    }

    fn later_range_writes(&self, read_version: u64) -> impl Iterator<Item = &KeyRange> {
        let later = self.range_writes.iter().rev().take_while(move |(version, _)| *version > read_version);
        later.map(|(_, range)| range)
    }

    /// Begins a group that will be `version`, if any of its transactions is accepted.
    pub(super) fn begin(&mut self, version: u64) {
        self.current_version = version;
    }

    /// Adds what an accepted transaction of the current group writes.
    pub(super) fn add(&mut self, keys: impl IntoIterator<Item = Vec<u8>>, ranges: Vec<KeyRange>) {
        for key in keys {
            self.last_writes.insert(self.hasher.hash_one(key.as_slice()), self.current_version);
            self.current_bytes += key.len() + KEY_OVERHEAD_BYTES;
            self.current.insert(key);
        }
        for range in ranges {
            self.current_bytes += range.bytes() + KEY_OVERHEAD_BYTES;
            self.range_writes.push_back((self.current_version, range));
        }
    }

    /// Closes the current group, begins the next one, and forgets what no reader needs any more.
    pub(super) fn seal(&mut self, now: Instant) {
        let keys = std::mem::take(&mut self.current).into_iter().collect();
        let bytes = std::mem::take(&mut self.current_bytes);
        self.commits.push_back(Commit { version: self.current_version, sealed: now, keys, bytes });
        self.bytes += bytes;
        self.current_version += 1;
        while let Some(oldest) = self.commits.front() {
            let expired = now.duration_since(oldest.sealed) > self.age_max;
            if !expired && self.bytes <= self.bytes_max {
                break;
            }
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        let Some(oldest) = self.commits.pop_front() else { return };
        self.bytes -= oldest.bytes;
        self.floor = oldest.version;
        for key in &oldest.keys {
            let hash = self.hasher.hash_one(key.as_slice());
            // A later commit may have written the key again: then its entry stays.
            if self.last_writes.get(&hash) == Some(&oldest.version) {
                self.last_writes.remove(&hash);
            }
        }
        while self.range_writes.front().is_some_and(|(version, _)| *version <= oldest.version) {
            self.range_writes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGE_MAX: Duration = Duration::from_secs(5);

    fn window() -> Conflicts {
        Conflicts::new(10, AGE_MAX, 1 << 20)
    }

    fn check_key(conflicts: &Conflicts, version: u64, key: &[u8]) -> Result<(), StoreError> {
        conflicts.check(version, [&key.to_vec()], &[])
    }

    #[test]
    fn a_later_write_conflicts_and_an_earlier_one_does_not() {
        let mut conflicts = window();
        conflicts.add([b"k".to_vec()], vec![]);
        assert!(matches!(check_key(&conflicts, 10, b"k"), Err(StoreError::Conflict)), "own group");
        conflicts.seal(Instant::now());
        assert!(matches!(check_key(&conflicts, 10, b"k"), Err(StoreError::Conflict)), "sealed");
        check_key(&conflicts, 11, b"k").expect("seen");
        check_key(&conflicts, 10, b"l").expect("another key");
    }

    #[test]
    fn ranges_meet_points_and_ranges() {
        let mut conflicts = window();
        conflicts.add([b"m".to_vec()], vec![KeyRange::new(*b"x", *b"z")]);
        conflicts.seal(Instant::now());
        let check = |begin: &[u8], end: &[u8]| conflicts.check(10, [], &[KeyRange::new(begin, end)]);
        check(b"a", b"m").expect("ends before the key");
        assert!(check(b"a", b"m\0").is_err());
        assert!(check(b"y", b"yy").is_err());
        check(b"z", b"zz").expect("begins after the range");
        assert!(check_key(&conflicts, 10, b"x").is_err());
        check_key(&conflicts, 10, b"z").expect("the end is exclusive");
    }

    #[test]
    fn what_is_too_long_ago_cannot_be_checked() {
        let mut conflicts = window();
        let start = Instant::now();
        conflicts.add([b"k".to_vec()], vec![KeyRange::new(*b"x", *b"z")]);
        conflicts.seal(start);
        conflicts.add([b"l".to_vec()], vec![]);
        conflicts.seal(start + AGE_MAX + Duration::from_millis(1));
        assert!(matches!(check_key(&conflicts, 10, b"other"), Err(StoreError::TooOld)));
        assert!(matches!(check_key(&conflicts, 11, b"l"), Err(StoreError::Conflict)));
        check_key(&conflicts, 11, b"y").expect("forgotten");
        assert_eq!((conflicts.last_writes.len(), conflicts.range_writes.len()), (1, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut conflicts = Conflicts::new(0, AGE_MAX, 10_000);
        for version in 0..1_000_u32 {
            conflicts.add([version.to_be_bytes().to_vec()], vec![]);
            conflicts.seal(Instant::now());
        }
        assert!(conflicts.bytes <= 10_000);
        assert_eq!(conflicts.last_writes.len(), conflicts.commits.len());
        assert!(matches!(check_key(&conflicts, 1, b"k"), Err(StoreError::TooOld)));
        check_key(&conflicts, 999, b"k").expect("recent");
    }
}
