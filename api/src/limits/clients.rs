//! What each client has in use: requests by a rate, uploads and their bytes by a number.
//!
//! The rate is kept by the generic cell rate algorithm (GCRA): one time for each client, at which it will have nothing in
//! use again. Clients that use nothing are forgotten, and no more than a bound are known at a time, so that whoever has
//! many addresses costs no more memory: those beyond the bound share one place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use darkroom_actors::Party;
use tokio::time::Instant;

use super::ClientLimits;

/// How often those who use nothing are looked for while there is no place for another.
const FORGET_EVERY: Duration = Duration::from_secs(1);

/// Everybody's use.
pub(super) struct Clients {
    limits: ClientLimits,
    began: Instant,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    clients: HashMap<Party, Client>,
    /// Those for whom there is no place.
    others: Client,
    /// When there was last looked for places.
    forgot: Duration,
}

#[derive(Default)]
struct Client {
    /// When it will have no request in use, since the beginning.
    rested: Duration,
    uploads: u32,
    bytes: u64,
}

/// How many requests a client may still send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// At once.
    pub(super) left: u64,
    /// Seconds until it may send one more.
    pub(super) more_in: u64,
}

/// What a client has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    Uploads { used: u32 },
    Bytes { used: u64 },
}

/// An upload that is counted, until it is dropped.
pub struct Place {
    clients: Arc<Clients>,
    /// `None` for those that share a place.
    party: Option<Party>,
    bytes: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut known = self.clients.known();
        let client = match self.party {
            Some(party) => known.clients.get_mut(&party),
            None => Some(&mut known.others),
        };
        // It is not forgotten while it has an upload.
        if let Some(client) = client {
            client.uploads -= 1;
            client.bytes -= self.bytes;
        }
    }
}

impl Client {
    fn is_idle(&self, now: Duration) -> bool {
        self.uploads == 0 && self.rested <= now
    }
}

impl Clients {
    pub(super) fn new(limits: ClientLimits) -> Self {
        Self { limits, began: Instant::now(), known: Mutex::default() }
    }

    pub(super) fn limits(&self) -> &ClientLimits {
        &self.limits
    }

    /// Counts a request.
    ///
    /// # Errors
    /// If it is one too many.
    pub(super) fn request(&self, party: Party) -> Result<Standing, Standing> {
        let now = self.began.elapsed();
        let mut known = self.known();
        let (_, client) = known.place(party, now, self.limits.clients_tracked_max);
        let rested = client.rested.max(now) + self.interval();
        if rested.saturating_sub(now) > self.burst_time() {
            return Err(self.standing_of(client.rested, now));
        }
        client.rested = rested;
        Ok(self.standing_of(rested, now))
    }

    /// How it stands, without one more.
    pub(super) fn standing(&self, party: Party) -> Standing {
        let now = self.began.elapsed();
        let known = self.known();
        let client = known.clients.get(&party);
        let is_full = known.clients.len() >= self.limits.clients_tracked_max;
        let rested = client.or(is_full.then_some(&known.others)).map_or(now, |client| client.rested);
        self.standing_of(rested, now)
    }

    /// Counts an upload of so many bytes.
    ///
    /// # Errors
    /// What is too much.
    pub(super) fn upload(self: &Arc<Self>, party: Party, bytes: u64) -> Result<Place, Over> {
        let now = self.began.elapsed();
        let mut known = self.known();
        let (party, client) = known.place(party, now, self.limits.clients_tracked_max);
        let (uploads_max, bytes_max) = (self.limits.uploads_at_once_max, self.limits.bytes_in_flight_max);
        if uploads_max > 0 && client.uploads >= uploads_max {
            return Err(Over::Uploads { used: client.uploads });
        }
        // One is always taken: it may be larger than all of them may be.
        if bytes_max > 0 && client.uploads > 0 && client.bytes.saturating_add(bytes) > bytes_max {
            return Err(Over::Bytes { used: client.bytes });
        }
        client.uploads += 1;
        client.bytes += bytes;
        Ok(Place { clients: self.clone(), party, bytes })
    }

    /// Uploads on their way, and their bytes.
    pub(super) fn uploads(&self, party: Party) -> (u32, u64) {
        self.known().clients.get(&party).map_or((0, 0), |client| (client.uploads, client.bytes))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics while it is locked.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn interval(&self) -> Duration {
        Duration::from_secs(1) / self.limits.requests_per_second.max(1)
    }

    fn burst_time(&self) -> Duration {
        self.interval() * self.limits.burst().max(1)
    }

    fn standing_of(&self, rested: Duration, now: Duration) -> Standing {
        let used = rested.saturating_sub(now);
        let free = self.burst_time().saturating_sub(used);
        let left = (free.as_nanos() / self.interval().as_nanos().max(1)) as u64;
        let wait = self.interval().saturating_sub(free);
        Standing { left, more_in: (wait.as_secs_f64().ceil() as u64).max(1) }
    }
}

impl Known {
    /// The party's own place, or the one that is shared.
    fn place(&mut self, party: Party, now: Duration, max: usize) -> (Option<Party>, &mut Client) {
        let is_known = self.clients.contains_key(&party);
        if !is_known && self.clients.len() >= max && now.saturating_sub(self.forgot) >= FORGET_EVERY {
            self.forgot = now;
            self.clients.retain(|_, client| !client.is_idle(now));
        }
        if is_known || self.clients.len() < max {
            return (Some(party), self.clients.entry(party).or_default());
        }
        (None, &mut self.others)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clients(limits: ClientLimits) -> Arc<Clients> {
        Arc::new(Clients::new(limits))
    }

    fn party(number: u32) -> Party {
        Party::of(&number)
    }

    #[tokio::test(start_paused = true)]
    async fn requests_come_in_a_burst_and_then_at_the_rate() {
        let clients =
            clients(ClientLimits { requests_per_second: 2, requests_burst: 4, ..Default::default() });
        let left: Vec<_> = (0..4).map(|_| clients.request(party(1)).unwrap().left).collect();
        assert_eq!(left, [3, 2, 1, 0]);
        assert_eq!(clients.request(party(1)).unwrap_err(), Standing { left: 0, more_in: 1 });
        assert!(clients.request(party(2)).is_ok(), "another's are its own");
        tokio::time::advance(Duration::from_millis(500)).await;
        assert!(clients.request(party(1)).is_ok());
        assert!(clients.request(party(1)).is_err());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(clients.standing(party(1)).left, 4, "no more than the burst is saved");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_many_addresses_costs_no_more_memory() {
        let limits = ClientLimits {
            requests_per_second: 1,
            requests_burst: 1,
            clients_tracked_max: 100,
            ..Default::default()
        };
        let clients = clients(limits);
        let taken = (0..10_000).filter(|number| clients.request(party(*number)).is_ok()).count();
        assert_eq!(taken, 101, "all beyond the bound share one place");
        assert_eq!(clients.known().clients.len(), 100);
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(clients.request(party(20_000)).is_ok());
        assert_eq!(clients.known().clients.len(), 1, "who uses nothing is forgotten");
    }

    #[tokio::test]
    async fn uploads_are_counted_until_they_are_done() {
        let limits = ClientLimits { uploads_at_once_max: 2, bytes_in_flight_max: 100, ..Default::default() };
        let clients = clients(limits);
        let first = clients.upload(party(1), 60).unwrap();
        assert_eq!(clients.upload(party(1), 50).err(), Some(Over::Bytes { used: 60 }));
        let second = clients.upload(party(1), 40).unwrap();
        assert_eq!(clients.upload(party(1), 0).err(), Some(Over::Uploads { used: 2 }));
        assert!(clients.upload(party(2), 500).is_ok(), "a first one is taken, whatever its size");
        drop(first);
        assert_eq!(clients.uploads(party(1)), (1, 40));
        drop(second);
        assert_eq!(clients.uploads(party(1)), (0, 0));
    }

    #[tokio::test]
    async fn those_without_a_place_share_one_and_give_it_back() {
        let limits = ClientLimits { uploads_at_once_max: 1, clients_tracked_max: 1, ..Default::default() };
        let clients = clients(limits);
        let _known = clients.upload(party(1), 1).unwrap();
        let shared = clients.upload(party(2), 1).unwrap();
        assert!(clients.upload(party(3), 1).is_err());
        drop(shared);
        assert!(clients.upload(party(3), 1).is_ok());
    }
}
