//! One who is connected: first what happened since their cursor, then what happens.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::model::changes::{self, Change, SHARDS};
use darkroom_store::model::{Position, UserId};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::audience;
use super::cursor::Cursor;
use super::hub::{Hub, Place, Told};

/// Entries that are read at once of what happened before.
const PAGE: usize = 200;
/// How long it may take until every shard is followed.
const BEGINNING_MAX: Duration = Duration::from_secs(10);

/// What happened, and how far one has come who knows of it.
#[derive(Clone, Debug)]
pub struct Event {
    /// What happened.
    pub change: Arc<Change>,
    /// The cursor to come again with.
    pub cursor: Cursor,
}

/// What comes next.
#[derive(Debug)]
pub enum Next {
    /// Something happened.
    Event(Event),
    /// Nothing did for a while; so far one knows everything.
    Nothing(Cursor),
    /// The cursor was so old that what followed it is no longer known: whoever shows something reads it anew, and goes on
    /// from this one.
    Reset(Cursor),
}

/// Why a subscription has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// More happened than was taken.
    #[error("more happened than was taken; come again with the id of the last event")]
    TooSlow,
}

/// What is told before what happens now.
#[derive(Clone, Copy, Debug)]
struct Behind {
    shard: u8,
    until: Position,
}

/// One who is connected. Their place is given back when this is dropped.
pub struct Subscription {
    hub: Hub,
    user: UserId,
    live: mpsc::Receiver<Told>,
    cursor: Cursor,
    /// Shards of which something may have happened before.
    behind: VecDeque<Behind>,
    /// What was read of those.
    read: VecDeque<Told>,
    reset: bool,
    _place: Place,
}

impl Subscription {
    /// Connects a user, who knows everything up to `after`; or, without it, up to now.
    ///
    /// # Errors
    /// Those of the engine.
    pub(crate) async fn begin(hub: &Hub, user: UserId, after: Option<Cursor>) -> Result<Self, StoreError> {
        // First a place: from then on nothing is missed.
        let (place, live) = hub.join(user);
        let now = begun(hub).await?;
        let mut subscription = Self {
            hub: hub.clone(),
            user,
            live,
            cursor: now.clone(),
            behind: VecDeque::new(),
            read: VecDeque::new(),
            reset: false,
            _place: place,
        };
        if let Some(after) = after {
            subscription.go_back_to(&after, &now).await?;
        }
        Ok(subscription)
    }

    async fn go_back_to(&mut self, after: &Cursor, now: &Cursor) -> Result<(), StoreError> {
        let look = |tx| async move {
            let mut trimmed = Vec::with_capacity(usize::from(SHARDS));
            for shard in 0..SHARDS {
                trimmed.push(changes::trimmed(&tx, shard).await?);
            }
            Ok(trimmed)
        };
        let trimmed = self.hub.metadata().read("look at changes", look).await?;
        // Of another store, or of so long ago.
        let is_lost = |shard: u8| {
            after.position(shard) < trimmed[usize::from(shard)]
                || after.position(shard).history > now.position(shard).history
        };
        if (0..SHARDS).any(is_lost) {
            self.reset = true;
            return Ok(());
        }
        self.cursor = after.clone();
        self.behind = (0..SHARDS)
            .map(|shard| Behind { shard, until: now.position(shard) })
            .filter(|behind| after.position(behind.shard) < behind.until)
            .collect();
        Ok(())
    }

    /// What comes next, or that nothing did in this time.
    ///
    /// # Errors
    /// [`Ended`], inside those of the engine.
    pub async fn next(&mut self, patience: Duration) -> Result<Result<Next, Ended>, StoreError> {
        if std::mem::take(&mut self.reset) {
            return Ok(Ok(Next::Reset(self.cursor.clone())));
        }
        loop {
            if let Some(told) = self.read.pop_front() {
                return Ok(Ok(self.tell(told)));
            }
            if self.behind.is_empty() {
                break;
            }
            self.read_on().await?;
        }
        Ok(self.live(patience).await)
    }

    async fn live(&mut self, patience: Duration) -> Result<Next, Ended> {
        let until = Instant::now() + patience;
        loop {
            match tokio::time::timeout_at(until, self.live.recv()).await {
                Ok(None) => return Err(Ended::TooSlow),
                // Told already, as one that happened before.
                Ok(Some(told)) if told.position <= self.cursor.position(told.shard) => {}
                Ok(Some(told)) => return Ok(self.tell(told)),
                Err(_) => {
                    if let Some(cursor) = self.hub.cursor_if_idle(&self.live) {
                        for shard in 0..SHARDS {
                            self.cursor.advance(shard, cursor.position(shard));
                        }
                    }
                    return Ok(Next::Nothing(self.cursor.clone()));
                }
            }
        }
    }

    fn tell(&mut self, told: Told) -> Next {
        self.cursor.advance(told.shard, told.position);
        Next::Event(Event { change: told.change, cursor: self.cursor.clone() })
    }

    /// Reads a page of what happened before, and keeps what concerns this user.
    async fn read_on(&mut self) -> Result<(), StoreError> {
        let Some(Behind { shard, until }) = self.behind.front().copied() else { return Ok(()) };
        let from = self.cursor.position(shard);
        let read = |tx| async move { changes::after(&tx, shard, from, PAGE).await };
        let page = self.hub.metadata().read("read changes", read).await?;
        let is_last = page.len() < PAGE || page.last().is_some_and(|(position, _)| *position >= until);
        let mut known = from;
        for (position, change) in page {
            // What came later is told as what happens now.
            if position > until {
                break;
            }
            known = position;
            if audience::concerns(self.hub.metadata(), &change, self.user).await? {
                self.read.push_back(Told { shard, position, change: Arc::new(change) });
            }
        }
        if is_last {
            self.behind.pop_front();
            known = known.max(until);
        }
        if self.read.is_empty() {
            self.cursor.advance(shard, known);
        }
        Ok(())
    }
}

/// How far the log is handed on, once it is followed.
async fn begun(hub: &Hub) -> Result<Cursor, StoreError> {
    timeout(BEGINNING_MAX, hub.cursor_once_followed()).await.map_err(|_| StoreError::Unavailable {
        reason: "the change log could not be followed in time".to_owned(),
    })
}
