//! Counts how often originals are sent to others than their owners: in memory, and from there to the metadata every few
//! seconds, so that a download costs no transaction of its own.
//!
//! What a node has not written when it dies is lost, and a write whose outcome stays unknown may count twice.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use darkroom_store::model::PhotoId;
use darkroom_store::model::photos;

use crate::Api;

/// How long counts stay in memory.
const WRITTEN_AFTER: Duration = Duration::from_secs(5);
/// Photos whose counts may wait to be written. Of further ones nothing is counted, and a metric tells how often.
const WAITING_MAX: usize = 10_000;
/// Photos whose counts one transaction writes.
const WRITTEN_AT_ONCE: usize = 100;

/// What is not written yet.
#[derive(Debug, Default)]
pub(crate) struct Downloads(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    counts: HashMap<PhotoId, u64>,
    /// Whether somebody is going to write them.
    has_writer: bool,
}

impl Downloads {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds; whether the caller is to write what waits.
    fn add(&self, photo: PhotoId, times: u64) -> bool {
        let mut waiting = self.waiting();
        if waiting.counts.len() >= WAITING_MAX && !waiting.counts.contains_key(&photo) {
            metrics::counter!("darkroom_downloads_uncounted_total").increment(times);
            return false;
        }
        *waiting.counts.entry(photo).or_default() += times;
        !std::mem::replace(&mut waiting.has_writer, true)
    }

    fn take(&self) -> Vec<(PhotoId, u64)> {
        self.waiting().counts.drain().collect()
    }

    /// Whether nothing waits: then nobody is going to write any more.
    fn is_done(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.has_writer = !waiting.counts.is_empty();
        !waiting.has_writer
    }
}

impl Api {
    /// A photo's original is being sent to somebody else than its owner.
    pub(crate) fn note_download(&self, photo: PhotoId) {
        if !self.downloads().add(photo, 1) {
            return;
        }
        let api = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(WRITTEN_AFTER).await;
                api.write_downloads().await;
                if api.downloads().is_done() {
                    return;
                }
            }
        });
    }

    /// Writes what waits. What cannot be written waits on.
    pub(crate) async fn write_downloads(&self) {
        let mut left = self.downloads().take();
        while !left.is_empty() {
            let some = &left[..left.len().min(WRITTEN_AT_ONCE)];
            let write = |tx| async move { photos::downloaded(&tx, some).await };
            if let Err(error) = self.pipeline().metadata().transact("count downloads", write).await {
                tracing::warn!(%error, "downloads could not be counted; they are with the next");
                for (photo, times) in left {
                    self.downloads().add(photo, times);
                }
                return;
            }
            left.drain(..left.len().min(WRITTEN_AT_ONCE));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_writer_while_anything_waits() {
        let (downloads, photo) = (Downloads::default(), PhotoId::new());
        assert!(downloads.add(photo, 1));
        assert!(!downloads.add(photo, 1), "the first is going to write it");
        assert_eq!(downloads.take(), [(photo, 2)]);
        assert!(!downloads.add(photo, 1), "it has not looked yet whether anything waits");
        assert!(!downloads.is_done());
        downloads.take();
        assert!(downloads.is_done());
        assert!(downloads.add(photo, 1));
    }

    #[test]
    fn what_waits_has_a_bound() {
        let (downloads, known) = (Downloads::default(), PhotoId::new());
        downloads.add(known, 1);
        for _ in 0..WAITING_MAX + 5 {
            downloads.add(PhotoId::new(), 1);
        }
        downloads.add(known, 1);
        let waiting = downloads.take();
        assert_eq!(waiting.len(), WAITING_MAX);
        assert!(waiting.contains(&(known, 2)));
    }
}
