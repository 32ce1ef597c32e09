//! Who waits for a photo to be ready or failed.
//!
//! A wake-up is a hint: the waiter reads the record again. On many nodes the photo may be settled
//! elsewhere, so a waiter also looks by itself from time to time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use darkroom_store::model::PhotoId;
use tokio::sync::watch;

/// The waiters of this process. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Outcomes(Arc<Mutex<HashMap<PhotoId, watch::Sender<()>>>>);

/// A place in the list of those who wait for one photo; left by `Drop`.
#[derive(Debug)]
pub struct Waiting {
    photo: PhotoId,
    news: watch::Receiver<()>,
    outcomes: Outcomes,
}

impl Outcomes {
    /// Begins to wait. Subscribe before reading the record, so that nothing falls between.
    pub fn subscribe(&self, photo: PhotoId) -> Waiting {
        let news = self.lock().entry(photo).or_default().subscribe();
        Waiting { photo, news, outcomes: self.clone() }
    }

    /// Wakes all who wait for this photo.
    pub(crate) fn settled(&self, photo: PhotoId) {
        if let Some(waiters) = self.lock().get(&photo) {
            waiters.send_replace(());
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<PhotoId, watch::Sender<()>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// Returns when the photo may have been settled since the last return.
    pub async fn changed(&mut self) {
        if self.news.changed().await.is_err() {
            // The list outlives its members, so this does not happen; if it did, waiting would be all there is.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiting = self.outcomes.lock();
        // Ours is still counted.
        if waiting.get(&self.photo).is_some_and(|others| others.receiver_count() <= 1) {
            waiting.remove(&self.photo);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn all_who_subscribed_first_are_woken_even_if_they_wait_later() {
        let outcomes = Outcomes::default();
        let photo = PhotoId::new();
        let (mut first, mut second) = (outcomes.subscribe(photo), outcomes.subscribe(photo));
        outcomes.settled(photo);
        first.changed().await;
        second.changed().await;
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
