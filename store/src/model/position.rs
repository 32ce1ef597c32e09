//! Where something stands in a list that is ordered by commits: the versionstamp of the transaction that put it there.

use std::fmt;
use std::str::FromStr;

use foundationdb_tuple::{TuplePack, Versionstamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::record;
use super::subspaces::Subspace;
use crate::StoreError;
use crate::metadata::Transaction;

/// Type code of a versionstamp in the tuple encoding.
const VERSIONSTAMP_CODE: u8 = 0x33;
/// Bytes of a position: its history, and a versionstamp with its user version.
const BYTES: usize = 8 + 12;

/// A place in the order of commits. Ascends with time, also over a backup that was restored elsewhere: the history, which
/// is raised then, comes first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// See [`Identity::history`](super::identity::Identity::history).
    pub history: u64,
    /// Ten bytes that the engine gives, and two that order what one transaction writes.
    pub stamp: [u8; 12],
}

impl Position {
    /// Before everything.
    pub const START: Self = Self { history: 0, stamp: [0; 12] };

    /// The key of `prefix` with this position behind it.
    pub fn key<T: TuplePack>(&self, subspace: Subspace, prefix: &T) -> Vec<u8> {
        let mut key = subspace.key(prefix);
        self.push(&mut key);
        key
    }

    /// The position that a key written by [`set_at_commit`] ends with. `prefix` is the tuple before it, for its length alone.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a key of another shape.
    pub fn of_key<T: TuplePack>(subspace: Subspace, prefix: &T, key: &[u8]) -> Result<Self, StoreError> {
        let begin = subspace.key(prefix);
        let wrong = |what: &str| record::corrupt_key(key, what);
        let rest = key.strip_prefix(&begin[..]).ok_or_else(|| wrong("it is of another list"))?;
        let (history, stamp): (u64, Versionstamp) =
            foundationdb_tuple::unpack(rest).map_err(|e| wrong(&e.to_string()))?;
        Ok(Self { history, stamp: *stamp.as_bytes() })
    }

    fn push(&self, key: &mut Vec<u8>) {
        foundationdb_tuple::pack_into(&(self.history, Versionstamp::from(self.stamp)), key);
    }

    fn to_bytes(self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        bytes[..8].copy_from_slice(&self.history.to_be_bytes());
        bytes[8..].copy_from_slice(&self.stamp);
        bytes
    }

    /// The position that [`mark_at_commit`] left as a value.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for a value of another length; `key` is named in it.
    pub fn of_value(key: &[u8], value: &[u8]) -> Result<Self, StoreError> {
        let bytes: [u8; BYTES] = value.try_into().map_err(|_| record::corrupt_key(key, "not a position"))?;
        Ok(Self::from(bytes))
    }

    /// What [`of_value`](Self::of_value) reads: for positions that are known already.
    pub fn to_value(self) -> Vec<u8> {
        self.to_bytes().to_vec()
    }
}

impl From<[u8; BYTES]> for Position {
    fn from(bytes: [u8; BYTES]) -> Self {
        let (mut history, mut stamp) = ([0; 8], [0; 12]);
        history.copy_from_slice(&bytes[..8]);
        stamp.copy_from_slice(&bytes[8..]);
        Self { history: u64::from_be_bytes(history), stamp }
    }
}

/// Writes `value` under `prefix` and the position that the transaction is going to have. `order` tells apart, and orders,
/// what one transaction writes under one prefix.
///
/// # Errors
/// Those of the engine.
pub fn set_at_commit<T: TuplePack>(
    tx: &Transaction,
    (subspace, prefix): (Subspace, &T),
    (history, order): (u64, u16),
    value: &[u8],
) -> Result<(), StoreError> {
    let mut key = subspace.key(prefix);
    foundationdb_tuple::pack_into(&(history,), &mut key);
    key.push(VERSIONSTAMP_CODE);
    tx.set_versionstamped_key(&key, &order.to_be_bytes(), value)
}

/// Writes the position that the transaction is going to have as the value of `key`.
///
/// # Errors
/// Those of the engine.
pub fn mark_at_commit(tx: &Transaction, key: &[u8], (history, order): (u64, u16)) -> Result<(), StoreError> {
    tx.set_versionstamped_value(key, &history.to_be_bytes(), &order.to_be_bytes())
}

/// Forty hex digits.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is not a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not forty hex digits")]
pub struct NotAPosition;

impl FromStr for Position {
    type Err = NotAPosition;

    fn from_str(text: &str) -> Result<Self, NotAPosition> {
        let digits = text.as_bytes();
        if digits.len() != 2 * BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(NotAPosition);
        }
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NotAPosition)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NotAPosition)?;
        }
        Ok(Self::from(bytes))
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Position {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::subspaces::CHANGES;

    fn position(history: u64, last: u8) -> Position {
        Position { history, stamp: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 0, last] }
    }

    #[test]
    fn positions_survive_their_text_their_value_and_their_key() {
        let here = position(3, 7);
        assert_eq!(here.to_string().parse(), Ok(here));
        assert_eq!(Position::of_value(b"k", &here.to_value()).unwrap(), here);
        let key = here.key(CHANGES, &(5_u64,));
        assert_eq!(Position::of_key(CHANGES, &(5_u64,), &key).unwrap(), here);
        assert!("00".parse::<Position>().is_err());
        assert!("zz".repeat(BYTES).parse::<Position>().is_err());
    }

    #[test]
    fn keys_are_in_the_order_of_positions() {
        let ascending = [Position::START, position(0, 1), position(0, 2), position(1, 0), position(300, 0)];
        assert!(ascending.is_sorted());
        let keys: Vec<_> = ascending.iter().map(|here| here.key(CHANGES, &(5_u64,))).collect();
        assert!(keys.is_sorted());
        let values: Vec<_> = ascending.iter().map(|here| here.to_value()).collect();
        assert!(values.is_sorted());
    }
}
