//! Watches, each set by a transaction of its own once the one that asked for it has ended well.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::engine::Engine;
use super::errors::Phase;
use crate::error::StoreError;
use crate::metadata::watch::WatchSender;

/// A watch that is to start, and the value from which its key has to differ.
pub(super) struct Seen {
    /// With the store's prefix.
    pub(super) key: Vec<u8>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) sender: WatchSender,
}

/// Starts `watches`.
pub(super) fn start(engine: &Arc<Engine>, watches: Vec<Seen>) {
    for watch in watches {
        tokio::spawn(follow(Arc::clone(engine), watch));
    }
}

/// Ends the watch, by dropping its sender, after the key has changed, when that cannot be told any more, or when the
/// store is closed; and gives up when nobody waits.
async fn follow(engine: Arc<Engine>, watch: Seen) {
    let Seen { key, value, mut sender } = watch;
    let _counted = Counted::new(&engine);
    let closed = engine.closed();
    tokio::select! {
        () = sender.abandoned() => {}
        () = closed => {}
        changed = changed(&engine, &key, value.as_deref()) => {
            if let Err(error) = changed {
                tracing::debug!(%error, "a watch ends early");
            }
        }
    }
}

/// Waits until the key's value differs from `seen`.
async fn changed(engine: &Engine, key: &[u8], seen: Option<&[u8]>) -> Result<(), StoreError> {
    let named = |error| engine.error(error, Phase::Reading);
    let native = engine.create(false)?;
    if native.get(key, true).await.map_err(named)?.as_deref() != seen {
        return Ok(());
    }
    // From this transaction's view of the key, which has just been seen to be the right one.
    let changed = native.watch(key);
    // It writes nothing, and so cannot conflict: it sets the watch. Kept for as long as the watch.
    let _set = native.commit().await.map_err(|error| named(*error))?;
    changed.await.map_err(named)
}

/// Counts a watch for as long as it lives.
struct Counted<'e>(&'e Engine);

impl<'e> Counted<'e> {
    fn new(engine: &'e Engine) -> Self {
        engine.watches.fetch_add(1, Ordering::Relaxed);
        Self(engine)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.watches.fetch_sub(1, Ordering::Relaxed);
    }
}
