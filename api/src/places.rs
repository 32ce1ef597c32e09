//! Places of which there are few, for what is held long and has no queue: shared by the clients that want them.
//!
//! A client gets another one while it holds fewer than are free. So a lone client has half of them, rounded up, two have a
//! third each, and whoever comes next always finds some, however long those before hold theirs: a place that is held for an
//! hour cannot be waited for. (Choudhury and Hahne, "Dynamic Queue Length Thresholds for Shared-Memory Packet
//! Switches", 1998, with α = 1.)

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use darkroom_actors::Party;

/// So many places. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Places(Arc<Shared>);

struct Shared {
    max: usize,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    all: usize,
    /// Of those that hold any; no others.
    of: HashMap<Party, usize>,
}

/// What one of those who share has taken. Dropped, it is free again.
pub(crate) struct Taken {
    places: Places,
    party: Party,
    count: usize,
}

impl Places {
    /// All of them free.
    pub(crate) fn new(max: usize) -> Self {
        Self(Arc::new(Shared { max, held: Mutex::default() }))
    }

    /// One of them, if this party may have another.
    pub(crate) fn take(&self, party: Party) -> Option<Taken> {
        let mut taken = self.none_yet(party);
        taken.one_more().then_some(taken)
    }

    /// None of them, of a party that may take some.
    pub(crate) fn none_yet(&self, party: Party) -> Taken {
        Taken { places: self.clone(), party, count: 0 }
    }

    /// Whether this party may have another.
    pub(crate) fn has_one_for(&self, party: Party) -> bool {
        self.may_have(&self.held(), party)
    }

    fn may_have(&self, held: &Held, party: Party) -> bool {
        held.of.get(&party).copied().unwrap_or_default() < self.0.max.saturating_sub(held.all)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        // Nothing panics while it is locked.
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// Takes one more, if its party may have another.
    pub(crate) fn one_more(&mut self) -> bool {
        let mut held = self.places.held();
        let may = self.places.may_have(&held, self.party);
        if may {
            held.all += 1;
            *held.of.entry(self.party).or_default() += 1;
            drop(held);
            self.count += 1;
        }
        may
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.count == 0 {
            return;
        }
        let mut held = self.places.held();
        held.all -= self.count;
        if let Some(of) = held.of.get_mut(&self.party) {
            *of -= self.count;
            if *of == 0 {
                held.of.remove(&self.party);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as it may have.
    fn all_for(places: &Places, who: u32) -> Vec<Taken> {
        std::iter::from_fn(|| places.take(Party::of(&who))).collect()
    }

    #[test]
    fn whoever_comes_next_finds_some() {
        let places = Places::new(32);
        let mut crowds = Vec::new();
        for (who, count) in [(1, 16), (2, 8), (3, 4), (4, 2), (5, 1)] {
            assert!(places.has_one_for(Party::of(&who)));
            crowds.push(all_for(&places, who));
            assert_eq!(crowds.last().unwrap().len(), count, "client {who}");
            assert!(!places.has_one_for(Party::of(&who)));
        }
        crowds.clear();
        assert_eq!(all_for(&places, 6).len(), 16, "all came back");
    }

    #[test]
    fn who_comes_late_gets_as_much_as_who_was_there_once_those_give_back() {
        let places = Places::new(30);
        let mut first = all_for(&places, 1);
        let mut second = all_for(&places, 2);
        assert_eq!((first.len(), second.len()), (15, 8));
        for _ in 0..30 {
            first.pop();
            second.extend(all_for(&places, 2));
            first.extend(all_for(&places, 1));
        }
        let (first, second) = (first.len(), second.len());
        assert!(first.abs_diff(second) <= 1 && first + second <= 21, "{first} and {second}: a third is left");
    }

    #[test]
    fn few_places_can_be_had_too() {
        for (max, lone) in [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2)] {
            assert_eq!(all_for(&Places::new(max), 1).len(), lone, "of {max}");
        }
    }

    #[test]
    fn one_taker_takes_several_and_gives_all_back() {
        let places = Places::new(8);
        let mut taken = places.none_yet(Party::OURS);
        assert_eq!((0..8).filter(|_| taken.one_more()).count(), 4);
        assert!(places.take(Party::OURS).is_none());
        drop(taken);
        assert!(places.held().of.is_empty() && places.held().all == 0);
    }
}
