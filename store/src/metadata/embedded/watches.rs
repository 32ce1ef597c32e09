//! Who waits for which key to change.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::StoreError;
use crate::metadata::watch::WatchSender;

/// Most watches at a time, as in `FoundationDB`. Those beyond end at once, which sends their owners to look again.
const WATCHES_MAX: usize = 10_000;

/// The waiting watches, by key.
#[derive(Default)]
pub(super) struct Watches(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    by_key: HashMap<Vec<u8>, Vec<WatchSender>>,
    count: usize,
}

impl Watches {
    /// Lets `watch` wait for `key` to differ from what its owner saw. `unchanged` looks, after the watch has been
    /// entered, whether it already does: a change published before that is seen by it, and a later one fires
    /// the watch. Ends the watch at once when it has changed or that cannot be told.
    pub(super) fn add(
        &self,
        key: &[u8],
        watch: WatchSender,
        unchanged: impl FnOnce() -> Result<bool, StoreError>,
    ) {
        {
            let mut waiting = self.lock();
            if waiting.count >= WATCHES_MAX {
                waiting.prune();
            }
            if waiting.count >= WATCHES_MAX {
                tracing::warn!(watches = waiting.count, "too many watches: a new one ends at once");
                return;
            }
            waiting.count += 1;
            waiting.by_key.entry(key.to_vec()).or_default().push(watch);
        }
        if !matches!(unchanged(), Ok(true)) {
            self.fire([key]);
        }
    }

    /// Ends every watch of `keys`.
    pub(super) fn fire<K: AsRef<[u8]>>(&self, keys: impl IntoIterator<Item = K>) {
        let mut waiting = self.lock();
        if waiting.count == 0 {
            return;
        }
        for key in keys {
            if let Some(fired) = waiting.by_key.remove(key.as_ref()) {
                // Dropping a sender ends its watch.
                waiting.count -= fired.len();
            }
        }
    }

    /// Ends all watches: nothing will change any more.
    pub(super) fn close(&self) {
        *self.lock() = Waiting::default();
    }

    /// Watches that somebody still waits for.
    pub(super) fn count(&self) -> usize {
        let mut waiting = self.lock();
        waiting.prune();
        waiting.count
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // A panic in here could at worst leave the count too high, and pruning counts anew.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Forgets the watches whose owners have dropped them.
    fn prune(&mut self) {
        self.by_key.retain(|_, watches| {
            watches.retain(|watch| !watch.is_abandoned());
            !watches.is_empty()
        });
        self.count = self.by_key.values().map(Vec::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::metadata::watch::Watch;

    #[test]
    fn a_change_between_looking_and_entering_is_not_missed() {
        let watches = Watches::default();
        let (sender, watch) = Watch::pair();
        watches.add(b"k", sender, || Ok(false));
        assert_eq!(watch.now_or_never(), Some(()));
    }

    #[test]
    fn only_the_watched_key_fires() {
        let watches = Watches::default();
        let (sender, mut watch) = Watch::pair();
        watches.add(b"k", sender, || Ok(true));
        watches.fire([b"l"]);
        assert_eq!((&mut watch).now_or_never(), None);
        watches.fire([b"k"]);
        assert_eq!(watch.now_or_never(), Some(()));
    }

    #[test]
    fn abandoned_watches_are_forgotten() {
        let watches = Watches::default();
        let (sender, watch) = Watch::pair();
        watches.add(b"k", sender, || Ok(true));
        assert_eq!(watches.count(), 1);
        drop(watch);
        assert_eq!(watches.count(), 0);
    }

    #[test]
    fn the_number_of_watches_is_bounded() {
        let watches = Watches::default();
        let mut kept = Vec::new();
        for index in 0..WATCHES_MAX {
            let (sender, watch) = Watch::pair();
            watches.add(&index.to_be_bytes(), sender, || Ok(true));
            kept.push(watch);
        }
        let (sender, watch) = Watch::pair();
        watches.add(b"one more", sender, || Ok(true));
        assert_eq!(watch.now_or_never(), Some(()));
        assert_eq!(watches.count(), kept.len());
    }
}
