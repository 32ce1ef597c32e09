//! Whose turn it is when there is no room for all: clients share the front door evenly.
//!
//! What is shared are the slots of uploads that are under way; what has become of them in the stages is nobody's. A lone
//! client has every slot but a few that are spare. Where several want them, each is due as many as the others: who holds
//! fewer than that may wait a short time, and the next slot that comes free goes to whoever of those who wait holds the
//! fewest. Until then nobody else gets one. Who holds its share, or more, is refused at once: waiting would get it nothing
//! that is its own. So a refusal under load is cheap.
//!
//! Those who hold slots may be slow, and give none back for minutes. So the *spare* ones are for nobody but those who hold
//! fewer than their share, who get one at once, each as long as it has fewer of them than are left: one client takes half,
//! the next half of the rest. A single upload beside a thousand of another client does not wait for any of those.
//!
//! Who waits holds no memory but its place, and there is a bound on places, per client and in all.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use crate::permits::{Budget, Lease, Permit, Refused};

/// With whom an upload shares its turn: all of one party's count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Party(u64);

impl Party {
    /// Of this process's own, and of tests.
    pub const OURS: Self = Self(0);

    /// Whoever equals `who`. Hashed with a key that changes with each process, so that nobody can choose to be
    /// taken for another.
    pub fn of(who: &impl Hash) -> Self {
        static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
        Self(KEY.hash_one(who).max(1))
    }
}

/// How long and how many may wait for their turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) wait: Duration,
    pub(crate) places: usize,
    pub(crate) places_each: usize,
}

/// The queue before the front door.
#[derive(Debug)]
pub(crate) struct Turns {
    // Without this queue behind them, so that what is taken and put back in vain does not call it again.
    slots: Budget,
    bodies: Budget,
    patience: Patience,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Parties that hold a slot or wait for one; no others.
    parties: HashMap<Party, Share>,
    /// Slots that all of them hold.
    held: usize,
    /// Uploads of all of them that wait.
    waiting: usize,
    /// Grows with each slot that is given and each place that is taken.
    clock: u64,
}

#[derive(Debug, Default)]
struct Share {
    held: usize,
    /// How many of those are spare ones, or have a window of what is spare.
    spare: usize,
    waiting: VecDeque<Waiter>,
    /// When it was given a slot last, by the state's clock.
    served: u64,
}

#[derive(Debug)]
struct Waiter {
    /// Of its place.
    number: u64,
    window: u64,
    grant: oneshot::Sender<Lease>,
}

/// Calls the queue when a permit has come back. The last field of what holds permits, so that they are back by then.
#[derive(Debug)]
pub(crate) struct Returned {
    turns: Arc<Turns>,
    /// Whose slot it was, and whether it was spare.
    slot_of: Option<(Party, bool)>,
}

impl Returned {
    /// Of a permit that is nobody's slot.
    pub(crate) fn to(turns: &Arc<Turns>) -> Self {
        Self { turns: turns.clone(), slot_of: None }
    }

    /// The same of a slot that its party no longer holds.
    pub(crate) fn without_party(&self) -> Self {
        Self::to(&self.turns)
    }

    /// Tells that a part came back.
    pub(crate) fn part(&self) {
        self.turns.serve();
    }
}

impl Drop for Returned {
    fn drop(&mut self) {
        if let Some((party, spare)) = self.slot_of {
            self.turns.state().give_back(party, spare);
        }
        self.turns.serve();
    }
}

enum Entered {
    Has(Lease),
    Waits(Place),
    Refused,
}

/// A place in the queue, given up by `Drop`.
struct Place {
    turns: Arc<Turns>,
    party: Party,
    number: u64,
    grant: oneshot::Receiver<Lease>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.turns.state().leave(self.party, self.number);
        // Another may have stood behind it, and need less.
        self.turns.serve();
    }
}

impl Turns {
    pub(crate) fn new(slots: &Budget, bodies: &Budget, patience: Patience) -> Arc<Self> {
        Arc::new(Self { slots: slots.clone(), bodies: bodies.clone(), patience, state: Mutex::default() })
    }

    /// A slot and a window of so many bytes for this party: at once, or in its turn.
    ///
    /// # Errors
    /// [`Refused::Full`] at once, or [`Refused::Waited`].
    pub(crate) async fn take(self: &Arc<Self>, party: Party, window: u64) -> Result<Lease, Refused> {
        let mut place = match self.enter(party, window) {
            Entered::Has(lease) => return Ok(lease),
            Entered::Refused => return Err(Refused::Full),
            Entered::Waits(place) => place,
        };
        let began = Instant::now();
        let granted = timeout(self.patience.wait, &mut place.grant).await;
        metrics::histogram!("darkroom_admission_wait_seconds").record(began.elapsed());
        let lease = match granted {
            Ok(granted) => granted.ok(),
            // It may have been given in the same moment.
            Err(_) => place.grant.try_recv().ok(),
        };
        lease.ok_or(Refused::Waited)
    }

    /// A slot and a window at once.
    ///
    /// # Errors
    /// [`Refused::Full`].
    pub(crate) fn take_now(self: &Arc<Self>, party: Party, window: u64) -> Result<Lease, Refused> {
        self.take_free(&mut self.state(), party, window).ok_or(Refused::Full)
    }

    /// Whether [`Turns::take`] would not refuse at once. It may all the same when it is asked.
    pub(crate) fn would_take(&self, party: Party, window: u64) -> bool {
        let state = self.state();
        let from = self.open_to(&state, party, state.waiting == 0);
        (from.has(&self.slots, 1) && from.has(&self.bodies, window)) || self.may_wait(&state, party)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Nobody waits any more: the door is closed.
    pub(crate) fn send_away(&self) {
        let mut state = self.state();
        let gone: Vec<_> = state.parties.values_mut().flat_map(|share| share.waiting.drain(..)).collect();
        state.waiting = 0;
        state.parties.retain(|_, share| share.held > 0);
        drop(state);
        drop(gone);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is locked.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, party: Party, window: u64) -> Entered {
        let mut state = self.state();
        if let Some(lease) = self.take_free(&mut state, party, window) {
            return Entered::Has(lease);
        }
        if !self.may_wait(&state, party) {
            return Entered::Refused;
        }
        let (grant, granted) = oneshot::channel();
        let number = state.tick();
        state.waiting += 1;
        state.parties.entry(party).or_default().waiting.push_back(Waiter { number, window, grant });
        Entered::Waits(Place { turns: self.clone(), party, number, grant: granted })
    }

    /// What is free: nothing that somebody waits for.
    fn take_free(self: &Arc<Self>, state: &mut State, party: Party, window: u64) -> Option<Lease> {
        let permits = self.permits(state, party, window, state.waiting == 0)?;
        Some(self.lease(state, party, permits))
    }

    fn permits(&self, state: &State, party: Party, window: u64, common: bool) -> Option<(Permit, Permit)> {
        let from = self.open_to(state, party, common);
        Some((from.take(&self.slots, 1)?, from.take(&self.bodies, window)?))
    }

    /// From what this party may take.
    fn open_to(&self, state: &State, party: Party, common: bool) -> OpenTo {
        let (held, spare) = state.parties.get(&party).map_or((0, 0), |share| (share.held, share.spare));
        let is_below = state.is_share(party, held + 1);
        OpenTo { common, spare: is_below && (spare as u64) < self.slots.spare_left() }
    }

    fn lease(self: &Arc<Self>, state: &mut State, party: Party, (slot, window): (Permit, Permit)) -> Lease {
        let clock = state.tick();
        let spare = slot.is_spare() || window.is_spare();
        let share = state.parties.entry(party).or_default();
        share.held += 1;
        share.spare += usize::from(spare);
        share.served = clock;
        state.held += 1;
        let slot = slot.returned_to(Returned { turns: self.clone(), slot_of: Some((party, spare)) });
        Lease::new(slot, window.returned_to(Returned::to(self)))
    }

    /// Whether one more slot would still be of the party's share, and there is a place to wait for it.
    fn may_wait(&self, state: &State, party: Party) -> bool {
        let share = state.parties.get(&party);
        let (held, waiting) = share.map_or((0, 0), |share| (share.held, share.waiting.len()));
        state.waiting < self.patience.places
            && waiting < self.patience.places_each
            && !self.patience.wait.is_zero()
            && state.is_share(party, held + waiting + 1)
    }

    /// Gives what is free to those whose turn it is.
    fn serve(self: &Arc<Self>) {
        // Dropped without the lock: what comes back calls again.
        let mut undelivered = Vec::new();
        let mut state = self.state();
        while let Some((party, window)) = state.next() {
            let Some(permits) = self.permits(&state, party, window, true) else { break };
            let Some(waiter) = state.pop(party) else { break };
            let lease = self.lease(&mut state, party, permits);
            undelivered.extend(waiter.grant.send(lease).err());
        }
        drop(state);
        drop(undelivered);
    }
}

/// From what somebody may take: what is everybody's, and what is spare.
#[derive(Clone, Copy)]
struct OpenTo {
    common: bool,
    spare: bool,
}

impl OpenTo {
    fn has(self, budget: &Budget, amount: u64) -> bool {
        (self.common && budget.has_fresh(amount)) || (self.spare && budget.spare_left() >= amount)
    }

    fn take(self, budget: &Budget, amount: u64) -> Option<Permit> {
        let common = if self.common { budget.try_fresh(amount) } else { None };
        common.or_else(|| if self.spare { budget.try_spare(amount) } else { None })
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    /// Whose turn it is: of those who wait, who holds the fewest, and of those, who was served longest ago. With what its
    /// first upload asks for.
    fn next(&self) -> Option<(Party, u64)> {
        if self.waiting == 0 {
            return None;
        }
        let waiting =
            self.parties.iter().filter_map(|(party, share)| Some((party, share, share.waiting.front()?)));
        let (party, _, first) =
            waiting.min_by_key(|(_, share, first)| (share.held, share.served, first.number))?;
        Some((*party, first.window))
    }

    fn pop(&mut self, party: Party) -> Option<Waiter> {
        let waiter = self.parties.get_mut(&party)?.waiting.pop_front()?;
        self.waiting -= 1;
        Some(waiter)
    }

    /// Whether so many slots would be no more than this party's share of those that are held.
    fn is_share(&self, party: Party, slots: usize) -> bool {
        let parties = self.parties.len() + usize::from(!self.parties.contains_key(&party));
        slots * parties <= self.held
    }

    fn give_back(&mut self, party: Party, spare: bool) {
        if let Some(share) = self.parties.get_mut(&party) {
            share.held -= 1;
            share.spare -= usize::from(spare);
            self.held -= 1;
        }
        self.forget_if_gone(party);
    }

    fn leave(&mut self, party: Party, number: u64) {
        if let Some(share) = self.parties.get_mut(&party)
            && let Some(index) = share.waiting.iter().position(|waiter| waiter.number == number)
        {
            share.waiting.remove(index);
            self.waiting -= 1;
        }
        self.forget_if_gone(party);
    }

    fn forget_if_gone(&mut self, party: Party) {
        if self.parties.get(&party).is_some_and(|share| share.held == 0 && share.waiting.is_empty()) {
            self.parties.remove(&party);
        }
    }
}

#[cfg(test)]
mod tests;
