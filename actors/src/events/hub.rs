//! Hands what happens to those who are connected to this node.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use darkroom_store::metadata::Metadata;
use darkroom_store::model::changes::Change;
use darkroom_store::model::{Position, UserId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::cursor::{COUNT, Cursor};
use super::{audience, tail};

/// Events that wait for one who is connected. Beyond it they are dropped, and come again with their cursor.
const WAITING_MAX: usize = 256;

/// Before the log is followed anew after a panic.
const RESTART_PAUSE: Duration = Duration::from_secs(1);

/// One entry of the log on its way to somebody.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) shard: u8,
    pub(super) position: Position,
    pub(super) change: Arc<Change>,
}

/// Who is connected. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Hub(Arc<Inner>);

struct Inner {
    metadata: Metadata,
    state: Mutex<State>,
    /// How many are connected: the log is followed while there is anybody.
    connected: watch::Sender<usize>,
    /// Raised whenever another shard is followed.
    followed: watch::Sender<u64>,
}

#[derive(Default)]
struct State {
    next: u64,
    users: HashMap<UserId, HashMap<u64, mpsc::Sender<Told>>>,
    /// How far each shard has been handed on, since it has been followed.
    positions: [Option<Position>; COUNT],
}

/// A place among those who are connected, given back when dropped.
pub(super) struct Place {
    hub: Hub,
    user: UserId,
    number: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        if let Some(places) = state.users.get_mut(&self.user) {
            places.remove(&self.number);
            if places.is_empty() {
                state.users.remove(&self.user);
            }
        }
        drop(state);
        self.hub.0.connected.send_modify(|connected| *connected -= 1);
        metrics::gauge!("darkroom_event_subscribers").decrement(1.0);
    }
}

impl Hub {
    pub(crate) fn new(metadata: Metadata) -> Self {
        Self(Arc::new(Inner {
            metadata,
            state: Mutex::default(),
            connected: watch::Sender::new(0),
            followed: watch::Sender::new(0),
        }))
    }

    /// Follows the log for as long as this is awaited. A panic is a bug: it is counted, and the log followed anew; those
    /// who are connected are dropped, since they may have missed something.
    pub(crate) async fn run(self) {
        loop {
            let hub = self.clone();
            let mut following = JoinSet::new();
            following.spawn(async move { tail::follow_all(&hub).await });
            // It never ends otherwise.
            let _ = following.join_next().await;
            metrics::counter!("darkroom_actor_restarts_total", "actor" => "herald").increment(1);
            tracing::error!("the events of the change log could not be followed; beginning anew");
            self.drop_all();
            tokio::time::sleep(RESTART_PAUSE).await;
        }
    }

    fn drop_all(&self) {
        let mut state = self.state();
        state.users.clear();
        state.positions = [None; COUNT];
    }

    pub(super) fn metadata(&self) -> &Metadata {
        &self.0.metadata
    }

    /// How many are connected, and changes of that.
    pub(super) fn connected(&self) -> watch::Receiver<usize> {
        self.0.connected.subscribe()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one who is connected.
    pub(super) fn join(&self, user: UserId) -> (Place, mpsc::Receiver<Told>) {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.users.entry(user).or_default().insert(number, sender);
        drop(state);
        self.0.connected.send_modify(|connected| *connected += 1);
        metrics::gauge!("darkroom_event_subscribers").increment(1.0);
        (Place { hub: self.clone(), user, number }, receiver)
    }

    /// How far every shard has been handed on, once every shard is followed.
    fn cursor(&self) -> Option<Cursor> {
        Self::cursor_of(&self.state())
    }

    fn cursor_of(state: &State) -> Option<Cursor> {
        let mut cursor = Cursor([Position::START; COUNT]);
        for (place, position) in cursor.0.iter_mut().zip(&state.positions) {
            *place = (*position)?;
        }
        Some(cursor)
    }

    /// As [`Self::cursor`], if nothing waits for this one at that moment: then they know all that lies before.
    pub(super) fn cursor_if_idle(&self, waiting: &mpsc::Receiver<Told>) -> Option<Cursor> {
        let state = self.state();
        waiting.is_empty().then(|| Self::cursor_of(&state)).flatten()
    }

    /// The shard is followed from here on.
    pub(super) fn begin(&self, shard: u8, position: Position) {
        self.state().positions[usize::from(shard)] = Some(position);
        self.0.followed.send_modify(|times| *times += 1);
    }

    /// How far every shard has been handed on, as soon as every one is followed.
    pub(super) async fn cursor_once_followed(&self) -> Cursor {
        let mut followed = self.0.followed.subscribe();
        loop {
            followed.mark_unchanged();
            if let Some(cursor) = self.cursor() {
                return cursor;
            }
            // The sender lives as long as this.
            let _ = followed.changed().await;
        }
    }

    /// The shard is no longer followed.
    pub(super) fn end(&self, shard: u8) {
        self.state().positions[usize::from(shard)] = None;
    }

    /// Hands an entry to those whom it concerns.
    ///
    /// # Errors
    /// Those of the engine: then nobody was told.
    pub(super) async fn hand_on(&self, told: Told) -> Result<(), darkroom_store::StoreError> {
        let connected: HashSet<UserId> = self.state().users.keys().copied().collect();
        let audience = audience::of(self.metadata(), &told.change, &connected).await?;
        let mut state = self.state();
        for user in audience {
            let Some(places) = state.users.get_mut(&user) else { continue };
            // A closed channel is how one who is too slow learns of it.
            places.retain(|_, place| {
                let taken = place.try_send(told.clone()).is_ok();
                if !taken {
                    metrics::counter!("darkroom_event_subscribers_dropped_total").increment(1);
                }
                taken
            });
        }
        state.positions[usize::from(told.shard)] = Some(told.position);
        Ok(())
    }
}
