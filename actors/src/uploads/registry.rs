//! Which requests of this process have an upload in hand.
//!
//! Nothing rests on it: who may append stands in the record. It lets a request that comes later tell the one before it,
//! whose connection may be dead, to stop at once and to commit what it has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use darkroom_store::model::UploadId;
use tokio_util::sync::CancellationToken;

/// What a request does with an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// It adds bytes, and can be stopped.
    Appending,
    /// It makes the photo, and is waited for.
    Finishing,
}

/// Everything in hand. Cheap to clone. An upload may be in more than one hand: whoever comes later takes nobody's place, so
/// that a request which turns out to be in vain leaves no other unknown.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry {
    works: Arc<Mutex<HashMap<UploadId, Vec<Work>>>>,
    /// The daemon ends: whoever comes now is to stop at once.
    is_stopped: Arc<AtomicBool>,
}

/// One request's work, as others see it.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) doing: Doing,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Work {
    fn new(doing: Doing) -> Self {
        Self { doing, stop: CancellationToken::new(), ended: CancellationToken::new() }
    }

    /// Has it stop, and resolves when it has.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.ended.cancelled().await;
    }

    /// Resolves when it has ended.
    pub(super) async fn ended(&self) {
        self.ended.cancelled().await;
    }
}

/// A request's own place. Dropping it says that the work has ended.
#[derive(Debug)]
pub(super) struct Place {
    registry: Registry,
    id: UploadId,
    work: Work,
}

impl Place {
    /// Resolves when the work is to stop.
    pub(super) fn stopping(&self) -> CancellationToken {
        self.work.stop.clone()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut all = self.registry.all();
        if let Some(works) = all.get_mut(&self.id) {
            works.retain(|work| work.ended != self.work.ended);
            if works.is_empty() {
                all.remove(&self.id);
            }
        }
        drop(all);
        self.work.ended.cancel();
    }
}

impl Registry {
    /// Who adds bytes to the upload now: most often one, at most.
    pub(super) fn appending(&self, id: UploadId) -> Vec<Work> {
        let all = self.all();
        let works = all.get(&id).into_iter().flatten();
        works.filter(|work| work.doing == Doing::Appending).cloned().collect()
    }

    /// Who makes the upload's photo now.
    pub(super) fn finishing(&self, id: UploadId) -> Option<Work> {
        finishing(&self.all(), id)
    }

    /// A place for adding bytes.
    pub(super) fn enter(&self, id: UploadId) -> Place {
        self.place(&mut self.all(), id, Doing::Appending)
    }

    /// The place for finishing, unless somebody is finishing already: that one's work.
    pub(super) fn enter_finishing(&self, id: UploadId) -> Result<Place, Work> {
        let mut all = self.all();
        match finishing(&all, id) {
            Some(work) => Err(work),
            None => Ok(self.place(&mut all, id, Doing::Finishing)),
        }
    }

    fn place(&self, all: &mut HashMap<UploadId, Vec<Work>>, id: UploadId, doing: Doing) -> Place {
        let work = Work::new(doing);
        if self.is_stopped.load(Ordering::Relaxed) {
            work.stop.cancel();
        }
        all.entry(id).or_default().push(work.clone());
        Place { registry: self.clone(), id, work }
    }

    /// Has everybody stop who adds bytes, now and from now on.
    pub(crate) fn stop_all(&self) {
        let all = self.all();
        // Under the lock, under which others enter.
        self.is_stopped.store(true, Ordering::Relaxed);
        all.values().flatten().for_each(|work| work.stop.cancel());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<UploadId, Vec<Work>>> {
        self.works.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn finishing(all: &HashMap<UploadId, Vec<Work>>, id: UploadId) -> Option<Work> {
    all.get(&id)?.iter().find(|work| work.doing == Doing::Finishing).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_would_append_takes_no_place_from_who_finishes() {
        let (registry, id) = (Registry::default(), UploadId::new());
        let finisher = registry.enter_finishing(id).unwrap();
        drop(registry.enter(id));
        assert!(registry.enter_finishing(id).is_err(), "one is finishing already");
        drop(finisher);
        assert!(registry.finishing(id).is_none() && registry.enter_finishing(id).is_ok());
        assert!(registry.all().is_empty(), "nothing stays");
    }

    #[test]
    fn who_comes_when_all_are_stopped_stops_too() {
        let registry = Registry::default();
        registry.stop_all();
        assert!(registry.enter(UploadId::new()).stopping().is_cancelled());
    }

    #[test]
    fn who_comes_in_vain_leaves_the_others_to_be_stopped() {
        let (registry, id) = (Registry::default(), UploadId::new());
        let first = registry.enter(id);
        drop(registry.enter(id));
        registry.appending(id).iter().for_each(|work| work.stop.cancel());
        assert!(first.stopping().is_cancelled());
    }
}
