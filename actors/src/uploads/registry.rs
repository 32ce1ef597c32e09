//! Which requests of this process have an upload in hand.
//!
//! Nothing rests on it: who may append stands in the record. It lets a request that comes later tell the one before it,
//! whose connection may be dead, to stop at once and to commit what it has.

use std::collections::HashMap;
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

/// Everything in hand. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Registry(Arc<Mutex<HashMap<UploadId, Work>>>);

/// One request's work, as others see it.
#[derive(Clone, Debug)]
pub(super) struct Work {
    pub(super) doing: Doing,
    stop: CancellationToken,
    ended: CancellationToken,
}

impl Work {
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
        // A later one may have taken the place.
        if all.get(&self.id).is_some_and(|work| work.ended == self.work.ended) {
            all.remove(&self.id);
        }
        drop(all);
        self.work.ended.cancel();
    }
}

impl Registry {
    /// What is done with the upload now.
    pub(super) fn of(&self, id: UploadId) -> Option<Work> {
        self.all().get(&id).cloned()
    }

    /// Takes the place, whoever had it.
    pub(super) fn enter(&self, id: UploadId, doing: Doing) -> Place {
        let work = Work { doing, stop: CancellationToken::new(), ended: CancellationToken::new() };
        self.all().insert(id, work.clone());
        Place { registry: self.clone(), id, work }
    }

    /// Takes the place for finishing, unless somebody is finishing already: that one's work.
    pub(super) fn enter_finishing(&self, id: UploadId) -> Result<Place, Work> {
        let mut all = self.all();
        if let Some(work) = all.get(&id).filter(|work| work.doing == Doing::Finishing) {
            return Err(work.clone());
        }
        let stop = CancellationToken::new();
        let work = Work { doing: Doing::Finishing, stop, ended: CancellationToken::new() };
        all.insert(id, work.clone());
        Ok(Place { registry: self.clone(), id, work })
    }

    /// Has everybody stop who adds bytes.
    pub(crate) fn stop_all(&self) {
        self.all().values().for_each(|work| work.stop.cancel());
    }

    fn all(&self) -> MutexGuard<'_, HashMap<UploadId, Work>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
