//! One group of transactions: their writes evaluated in order over what is stored, to be written as one batch.

use std::collections::BTreeMap;

use super::mutation::{Mutation, stamped, versionstamp};
use super::published::Published;
use crate::error::StoreError;
use crate::metadata::TRANSACTION_BYTES_MAX;
use crate::metadata::range::KeyRange;

/// What keys become: a value, or `None` for removed.
pub(super) type Effects = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// The group that is being put together, over what the one before it left.
pub(super) struct Group<'a> {
    base: &'a Published,
    version: u64,
    effects: Effects,
    accepted: u16,
}

/// What one transaction of the group wrote, for the conflict check.
pub(super) struct Written {
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) ranges: Vec<KeyRange>,
}

impl<'a> Group<'a> {
    /// An empty group, which will be `version`, over `base`.
    pub(super) fn new(base: &'a Published, version: u64) -> Self {
        Self { base, version, effects: Effects::new(), accepted: 0 }
    }

    /// Evaluates one transaction after those before it. An error leaves the group as it was.
    pub(super) fn apply(&mut self, mutations: Vec<Mutation>) -> Result<Written, StoreError> {
        let stamp = versionstamp(self.version, self.accepted);
        let mut evaluation = Evaluation {
            group: self,
            staged: Effects::new(),
            written: Written { keys: Vec::with_capacity(mutations.len()), ranges: Vec::new() },
            cleared_bytes: 0,
        };
        for mutation in mutations {
            evaluation.apply(mutation, stamp)?;
        }
        let Evaluation { staged, written, .. } = evaluation;
        // Not `append`, which would rebuild the whole map for a handful of keys.
        self.effects.extend(staged);
        // The writer takes fewer transactions into a group than a stamp can count.
        self.accepted += 1;
        Ok(written)
    }

    /// The value of `key` after the transactions so far.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.effects.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.base.get(key),
        }
    }

    /// How many transactions were evaluated.
    pub(super) fn accepted(&self) -> u16 {
        self.accepted
    }

    /// What the group as a whole makes of the keys.
    pub(super) fn into_effects(self) -> Effects {
        self.effects
    }
}

/// One transaction on its way into the group. What it writes is staged, so that one that fails half way (an
/// unreadable block, too much cleared) leaves nothing behind.
struct Evaluation<'g, 'a> {
    group: &'g Group<'a>,
    staged: Effects,
    written: Written,
    cleared_bytes: usize,
}

impl Evaluation<'_, '_> {
    fn apply(&mut self, mutation: Mutation, stamp: [u8; 10]) -> Result<(), StoreError> {
        match mutation {
            Mutation::Set { key, value } => self.put(key, Some(value)),
            Mutation::Clear { key } => self.put(key, None),
            Mutation::ClearRange(range) => self.clear_range(range)?,
            Mutation::Atomic { key, operation } => {
                let stored = match self.staged.get(&key) {
                    Some(value) => value.clone(),
                    None => self.group.get(&key)?,
                };
                self.put(key, Some(operation.apply(stored.as_deref())));
            }
            Mutation::StampedKey { prefix, suffix, value } => {
                self.put(stamped(&prefix, stamp, &suffix), Some(value));
            }
            Mutation::StampedValue { key, prefix, suffix } => {
                self.put(key, Some(stamped(&prefix, stamp, &suffix)));
            }
        }
        Ok(())
    }

    fn put(&mut self, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.written.keys.push(key.clone());
        self.staged.insert(key, value);
    }

    /// fjall removes one key at a time, so a cleared range becomes a removal per row that is there. Their keys
    /// are bounded like the writes of a transaction.
    fn clear_range(&mut self, range: KeyRange) -> Result<(), StoreError> {
        for key in self.group.base.keys(&range) {
            let key = key?;
            self.cleared_bytes += key.len() + 1;
            if self.cleared_bytes > TRANSACTION_BYTES_MAX {
                return Err(StoreError::TransactionTooLarge { bytes: self.cleared_bytes });
            }
            self.staged.insert(key, None);
        }
        let bounds = range.begin.clone()..range.end.clone();
        for (key, value) in self.group.effects.range(bounds.clone()) {
            if value.is_some() {
                self.staged.insert(key.clone(), None);
            }
        }
        for (_, value) in self.staged.range_mut(bounds) {
            *value = None;
        }
        self.written.ranges.push(range);
        Ok(())
    }
}
