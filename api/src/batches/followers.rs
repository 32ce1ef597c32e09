//! One look at the metadata for all who follow a batch on this node, however many they are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use darkroom_store::StoreError;
use darkroom_store::model::{BatchId, Timestamp, batches};
use tokio::sync::watch;

use super::records::look;
use super::view::BatchView;
use crate::Api;
use crate::caller::Caller;
use crate::limits::{self, Limits};
use crate::places::{Places, Taken};
use crate::problem::Problem;

/// What a look at a batch has shown.
#[derive(Clone, Debug)]
pub enum Seen {
    /// So it stands.
    Standing(Arc<Snapshot>),
    /// Nobody looks any more: the batch is gone, or the daemon ends.
    Ended,
}

/// A batch as it was at one look.
#[derive(Debug)]
pub struct Snapshot {
    /// See [`BatchView::version`].
    pub version: String,
    /// [`BatchView`] as JSON, on one line.
    pub json: String,
    /// When the batch had last changed.
    pub updated: Timestamp,
    /// Whether nothing more is to come.
    pub complete: bool,
}

impl Snapshot {
    /// Of this view.
    ///
    /// # Errors
    /// `internal-error`, if it cannot be written.
    pub fn new(view: &BatchView) -> Result<Arc<Self>, Problem> {
        let json = serde_json::to_string(view).map_err(|error| {
            tracing::error!(%error, "a batch could not be written as JSON");
            Problem::new("internal-error", "the batch could not be written as JSON; tell the operator")
        })?;
        let (version, updated) = (view.version(), view.updated);
        Ok(Arc::new(Self { version, json, updated, complete: view.complete }))
    }
}

/// Who follows which batch.
pub struct Followers {
    places: Places,
    followed: Mutex<HashMap<BatchId, watch::Sender<Seen>>>,
}

/// One of those who follow a batch. The place is free again when it is dropped.
pub struct Follower {
    /// What was seen last, and what is seen from now on.
    pub seen: watch::Receiver<Seen>,
    _place: Place,
}

struct Place(#[expect(dead_code, reason = "held")] Taken);

impl Drop for Place {
    fn drop(&mut self) {
        metrics::gauge!("darkroom_batch_subscribers").decrement(1.0);
    }
}

impl Followers {
    /// Places for so many, shared by clients.
    pub fn new(places: usize) -> Self {
        Self { places: Places::new(places), followed: Mutex::default() }
    }

    /// Makes this caller follow a batch that was just seen like this.
    ///
    /// # Errors
    /// `too-many-subscribers`.
    pub fn join(
        &self,
        api: &Api,
        caller: &Caller,
        id: BatchId,
        now: Arc<Snapshot>,
    ) -> Result<Follower, Problem> {
        let Some(taken) = self.places.take(Limits::party(caller)) else {
            limits::refused("batch_subscribers");
            let detail =
                "you follow as many batches here as you may; ask for the batch itself now and then instead";
            return Err(Problem::new("too-many-subscribers", detail).retry_after(10));
        };
        metrics::gauge!("darkroom_batch_subscribers").increment(1.0);
        let place = Place(taken);
        let mut followed = self.lock();
        let seen = if let Some(sender) = followed.get(&id) {
            let mut seen = sender.subscribe();
            // Perhaps it is newer than what the caller has seen.
            seen.mark_changed();
            seen
        } else {
            let (sender, seen) = watch::channel(Seen::Standing(now));
            followed.insert(id, sender);
            tokio::spawn(keep_looking(api.clone(), id));
            seen
        };
        Ok(Follower { seen, _place: place })
    }

    /// Tells those who follow the batch what was seen, if that is news. False if there are none, or there is nothing
    /// more to be seen: then nobody looks for them any more.
    fn tell(&self, id: BatchId, seen: Seen) -> bool {
        let mut followed = self.lock();
        let Some(sender) = followed.get(&id) else { return false };
        let last = match &seen {
            Seen::Standing(snapshot) => snapshot.complete,
            Seen::Ended => true,
        };
        sender.send_if_modified(|before| {
            let is_news = match (&*before, &seen) {
                (Seen::Standing(before), Seen::Standing(now)) => before.version != now.version,
                _ => true,
            };
            *before = seen;
            is_news
        });
        // Who joins from now on finds nobody who looks, and has somebody look anew.
        let goes_on = !last && sender.receiver_count() > 0;
        if !goes_on {
            followed.remove(&id);
        }
        goes_on
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<BatchId, watch::Sender<Seen>>> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn keep_looking(api: Api, id: BatchId) {
    let mut ticks = tokio::time::interval(api.options().batches.events_interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let seen = if api.pipeline().is_draining() { Ok(Seen::Ended) } else { see(&api, id).await };
        match seen {
            Ok(seen) => {
                if !api.followers().tell(id, seen) {
                    return;
                }
            }
            // They are told nothing until the store answers again; each has a deadline of its own.
            Err(error) => tracing::warn!(batch = %id, %error, "could not look at a batch that is followed"),
        }
    }
}

async fn see(api: &Api, id: BatchId) -> Result<Seen, StoreError> {
    let metadata = api.pipeline().metadata();
    let get = |tx| async move { batches::get(&tx, id).await };
    let Some(batch) = metadata.read("get batch", get).await? else { return Ok(Seen::Ended) };
    let view = look(metadata, batch).await?;
    Ok(Snapshot::new(&view).map_or(Seen::Ended, Seen::Standing))
}
