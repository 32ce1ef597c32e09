//! Places of which there are only so many, and which clients share evenly once they are all taken.
//!
//! A client that is alone has all of them. Beyond that many, who has more than its share has no room, and who has less gets
//! in all the same: so there may be twice as many in all, since each of those has its share at most. Who has no room is
//! counted too while it is told so, up to half as many more: the rest belongs to those who have less.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places. Cheap to clone.
pub(crate) struct Places<K>(Arc<Inner<K>>);

struct Inner<K> {
    max: usize,
    taken: Mutex<Taken<K>>,
}

struct Taken<K> {
    /// Of each client that has any.
    of: HashMap<K, usize>,
    all: usize,
}

/// How somebody stands who has just taken a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// There was room.
    Enough,
    /// There was not, and it is to be told so.
    None,
    /// Not even for being told.
    NoneAtAll,
}

/// One place, until it is dropped.
pub(crate) struct Place<K: Copy + Eq + Hash> {
    places: Places<K>,
    client: K,
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: Copy + Eq + Hash> Places<K> {
    pub(crate) fn new(max: usize) -> Self {
        let taken = Mutex::new(Taken { of: HashMap::new(), all: 0 });
        Self(Arc::new(Inner { max, taken }))
    }

    /// One more place of this client: with how it stands, and how many it has now.
    pub(crate) fn enter(&self, client: K) -> (Place<K>, Room, usize) {
        let max = self.0.max;
        let mut taken = self.taken();
        taken.all += 1;
        let all = taken.all;
        let of_client = taken.of.entry(client).or_default();
        *of_client += 1;
        let of_client = *of_client;
        let is_share = of_client.saturating_mul(taken.of.len()) <= max;
        drop(taken);
        let room = if all <= max || (is_share && all <= max.saturating_mul(2)) {
            Room::Enough
        } else if all <= max + max.div_ceil(2) {
            Room::None
        } else {
            Room::NoneAtAll
        };
        (Place { places: self.clone(), client }, room, of_client)
    }

    fn taken(&self) -> MutexGuard<'_, Taken<K>> {
        // Nothing panics while it is locked.
        self.0.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        if let Some(count) = taken.of.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                taken.of.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many more of one client, as they stand one after the other. Those for whom there is no room at all are not kept.
    fn enter(places: &Places<u8>, kept: &mut Vec<Place<u8>>, client: u8, count: usize) -> Vec<Room> {
        let mut rooms = Vec::new();
        for _ in 0..count {
            let (place, room, _) = places.enter(client);
            kept.extend((room != Room::NoneAtAll).then_some(place));
            rooms.push(room);
        }
        rooms
    }

    #[test]
    fn a_lone_client_has_every_place() {
        let (places, mut kept) = (Places::new(10), Vec::new());
        let rooms = enter(&places, &mut kept, 1, 20);
        assert!(rooms[..10].iter().all(|room| *room == Room::Enough));
        assert!(rooms[10..15].iter().all(|room| *room == Room::None));
        assert!(rooms[15..].iter().all(|room| *room == Room::NoneAtAll));
        drop(kept);
        let taken = places.taken();
        assert_eq!((taken.all, taken.of.len()), (0, 0));
    }

    #[test]
    fn whoever_has_less_than_its_share_gets_in_however_many_another_has() {
        let (places, mut kept) = (Places::new(10), Vec::new());
        enter(&places, &mut kept, 1, 1000);
        let rooms = enter(&places, &mut kept, 2, 6);
        assert_eq!(rooms[..5], [Room::Enough; 5]);
        assert_ne!(rooms[5], Room::Enough, "it would have more than half");
        assert_ne!(enter(&places, &mut kept, 1, 1)[0], Room::Enough);
        assert!(kept.len() <= 20);
    }

    #[test]
    fn there_is_an_end_to_it_however_many_clients_there_are() {
        let (places, mut kept) = (Places::new(10), Vec::new());
        for client in 0..=255 {
            enter(&places, &mut kept, client, 30);
        }
        assert!(kept.len() <= 20, "{}", kept.len());
    }
}
