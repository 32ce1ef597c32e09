//! Files with the same bytes: one of them is sent for all. Where that one has changed or cannot be read any more by then, the
//! next is sent instead: nothing is wrong with its bytes.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use blake3::Hash;
use tokio::sync::mpsc;

use super::digest::Hashed;
use super::ledger::{Event, Outcome};

/// Why an outcome cannot be told.
const NO_LEDGER: &str = "nobody keeps account any more";

/// What a file is to the others with its bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Met {
    /// The first one.
    First(Hashed),
    /// It waits for what becomes of the first one.
    Waits,
    /// What became of this one becomes of it.
    SameAs(usize),
}

/// All contents, and who stands for each.
#[derive(Debug, Default)]
pub(super) struct Twins(Mutex<Contents>);

#[derive(Debug, Default)]
struct Contents {
    /// The file that stands for each content.
    first: HashMap<Hash, usize>,
    /// Of those of which it is not known what becomes of them: who waits for it, in the order in which they came.
    waiting: HashMap<usize, Vec<Hashed>>,
}

impl Twins {
    /// A file has been hashed.
    pub(super) fn meet(&self, file: Hashed) -> Met {
        let mut contents = self.contents();
        let Contents { first, waiting } = &mut *contents;
        match first.entry(file.hash) {
            Entry::Vacant(place) => {
                place.insert(file.index);
                waiting.insert(file.index, Vec::new());
                Met::First(file)
            }
            Entry::Occupied(place) => match waiting.get_mut(place.get()) {
                Some(waiting) => {
                    waiting.push(file);
                    Met::Waits
                }
                None => Met::SameAs(*place.get()),
            },
        }
    }

    /// Tells what became of a file that stands for its content, and of all that wait for it. One that is to be sent in its
    /// place is returned; the others wait for that one.
    ///
    /// # Errors
    /// When nobody listens.
    pub(super) async fn settle(
        &self,
        (index, hash): (usize, Hash),
        outcome: Outcome,
        events: &mpsc::Sender<Event>,
    ) -> anyhow::Result<Option<Hashed>> {
        let is_its_own = matches!(outcome, Outcome::Changed | Outcome::Unreadable(_));
        // What never had its turn leaves the others without theirs.
        let is_known = outcome != Outcome::NotSent;
        events.send(Event::settled(index, outcome)).await.context(NO_LEDGER)?;
        if is_its_own {
            return Ok(self.promote(index, hash));
        }
        let same = if is_known { self.contents().waiting.remove(&index) } else { None };
        for file in same.unwrap_or_default() {
            events.send(Event::settled(file.index, Outcome::SameAs(index))).await.context(NO_LEDGER)?;
        }
        Ok(None)
    }

    /// The next with these bytes. Without any, whoever comes with them is the first.
    fn promote(&self, index: usize, hash: Hash) -> Option<Hashed> {
        let mut contents = self.contents();
        let mut rest = contents.waiting.remove(&index).unwrap_or_default();
        if rest.is_empty() {
            contents.first.remove(&hash);
            return None;
        }
        let next = rest.remove(0);
        contents.first.insert(hash, next.index);
        contents.waiting.insert(next.index, rest);
        Some(next)
    }

    fn contents(&self) -> MutexGuard<'_, Contents> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::FileState;
    use super::*;

    fn file(index: usize, content: &[u8]) -> Hashed {
        let state = FileState { bytes: content.len() as u64, modified: None };
        Hashed { index, hash: blake3::hash(content), state }
    }

    fn told(events: &mut mpsc::Receiver<Event>) -> Vec<(usize, Outcome)> {
        std::iter::from_fn(|| events.try_recv().ok())
            .map(|Event::Settled { index, outcome }| (index, outcome))
            .collect()
    }

    #[tokio::test]
    async fn one_that_is_lost_leaves_its_place_to_the_next() {
        let (events, mut heard) = mpsc::channel(10);
        let twins = Twins::default();
        let hash = blake3::hash(b"a");
        assert!(matches!(twins.meet(file(0, b"a")), Met::First(_)));
        for index in [1, 2] {
            assert_eq!(twins.meet(file(index, b"a")), Met::Waits);
        }
        let next = twins.settle((0, hash), Outcome::Changed, &events).await.unwrap();
        assert_eq!(next, Some(file(1, b"a")));
        // The two that are left wait for that one.
        assert_eq!(twins.meet(file(3, b"a")), Met::Waits);
        let sent = Outcome::Sent { photo: "p".to_owned(), elsewhere: None };
        assert_eq!(twins.settle((1, hash), sent.clone(), &events).await.unwrap(), None);
        assert_eq!(twins.meet(file(4, b"a")), Met::SameAs(1));
        let same = Outcome::SameAs(1);
        assert_eq!(told(&mut heard), [(0, Outcome::Changed), (1, sent), (2, same.clone()), (3, same)]);
    }

    #[tokio::test]
    async fn one_that_comes_when_the_only_one_is_lost_is_the_first() {
        let (events, mut heard) = mpsc::channel(10);
        let twins = Twins::default();
        let hash = blake3::hash(b"a");
        assert!(matches!(twins.meet(file(0, b"a")), Met::First(_)));
        let gone = Outcome::Unreadable("gone".to_owned());
        assert_eq!(twins.settle((0, hash), gone.clone(), &events).await.unwrap(), None);
        assert_eq!(twins.meet(file(1, b"a")), Met::First(file(1, b"a")));
        assert_eq!(told(&mut heard), [(0, gone)]);
    }

    #[tokio::test]
    async fn what_is_wrong_with_the_bytes_is_wrong_with_all_who_have_them() {
        let (events, mut heard) = mpsc::channel(10);
        let twins = Twins::default();
        let hash = blake3::hash(b"a");
        assert!(matches!(twins.meet(file(0, b"a")), Met::First(_)));
        assert_eq!(twins.meet(file(1, b"a")), Met::Waits);
        let refused = Outcome::Refused(super::super::patience::Reason::local("no photo"));
        assert_eq!(twins.settle((0, hash), refused.clone(), &events).await.unwrap(), None);
        assert_eq!(told(&mut heard), [(0, refused), (1, Outcome::SameAs(0))]);
    }
}
