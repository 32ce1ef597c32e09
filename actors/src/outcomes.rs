//! Who waits for a photo to be ready or failed.
//!
//! A wake-up is a hint: the waiter reads the record again. On many nodes the photo may be settled
//! elsewhere, so a waiter also looks by itself from time to time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use darkroom_store::model::PhotoId;
use tokio::sync::Notify;

/// The waiters of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Outcomes(Arc<Mutex<HashMap<PhotoId, Arc<Notify>>>>);

/// A place in the list of those who wait for one photo; left by `Drop`.
#[derive(Debug)]
pub struct Waiting {
    photo: PhotoId,
    notify: Arc<Notify>,
    outcomes: Outcomes,
}

impl Outcomes {
    /// Begins to wait. Subscribe before reading the record, so that nothing falls between.
    pub fn subscribe(&self, photo: PhotoId) -> Waiting {
        let notify = self.lock().entry(photo).or_default().clone();
        Waiting { photo, notify, outcomes: self.clone() }
    }

    /// Wakes all who wait for this photo.
    pub(crate) fn settled(&self, photo: PhotoId) {
        if let Some(notify) = self.lock().get(&photo) {
            notify.notify_waiters();
            // For a subscriber that has not begun to wait yet.
            notify.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PhotoId, Arc<Notify>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Returns when the photo may have been settled.
    pub async fn changed(&self) {
        self.notify.notified().await;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.outcomes.lock();
        // The map's own and ours.
        if Arc::strong_count(&self.notify) <= 2 {
            waiting.remove(&self.photo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_waiter_that_subscribed_first_is_woken_even_if_it_waits_later() {
        let outcomes = Outcomes::default();
        let photo = PhotoId::new();
        let waiting = outcomes.subscribe(photo);
        outcomes.settled(photo);
        waiting.changed().await;
    }

    #[test]
    fn nobody_waiting_leaves_nothing_behind() {
        let outcomes = Outcomes::default();
        let photo = PhotoId::new();
        let (first, second) = (outcomes.subscribe(photo), outcomes.subscribe(photo));
        drop(first);
        assert_eq!(outcomes.lock().len(), 1);
        drop(second);
        assert!(outcomes.lock().is_empty());
        outcomes.settled(photo);
        assert!(outcomes.lock().is_empty());
    }
}
