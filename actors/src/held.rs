//! Durable leases that this process holds.
//!
//! A [`HeldJob`] rides in the envelope of the photo's messages. Settled, it ends quietly; dropped on any
//! other path (an actor died, the store failed, the process shuts down) its job goes back to the queue
//! through the Reconciler. While it lives, its lease is extended.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use darkroom_store::model::jobs::{Job, Lease};
use darkroom_store::model::{JobId, LeaseId};
use tokio::sync::Notify;

/// The jobs that this process holds. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct HeldJobs(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    book: Mutex<Book>,
    /// Told when something was abandoned.
    abandoned: Notify,
}

#[derive(Debug, Default)]
struct Book {
    held: HashMap<JobId, Held>,
    abandoned: Vec<Abandoned>,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    lease: LeaseId,
    /// When it was taken, or last extended.
    since: Instant,
}

/// A lease whose holder is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Abandoned {
    pub(crate) job: JobId,
    pub(crate) lease: LeaseId,
}

impl Book {
    /// Only this lease's entry: the job may be held by a newer one.
    fn forget(&mut self, job: JobId, lease: LeaseId) {
        if self.held.get(&job).is_some_and(|held| held.lease == lease) {
            self.held.remove(&job);
        }
    }
}

impl HeldJobs {
    /// Notes that this process holds `job` by `lease`.
    pub(crate) fn hold(&self, job: Job, lease: Lease) -> HeldJob {
        self.lock().held.insert(job.id, Held { lease: lease.id, since: Instant::now() });
        HeldJob { job, lease, book: Some(self.clone()) }
    }

    /// Everything held.
    pub(crate) fn all(&self) -> Vec<(JobId, LeaseId)> {
        self.lock().held.iter().map(|(job, held)| (*job, held.lease)).collect()
    }

    /// What was last extended at that time or before, the longest ago first.
    pub(crate) fn not_extended_since(&self, time: Instant) -> Vec<(JobId, LeaseId)> {
        let book = self.lock();
        let mut old: Vec<_> = book.held.iter().filter(|(_, held)| held.since <= time).collect();
        old.sort_by_key(|(_, held)| held.since);
        old.into_iter().map(|(job, held)| (*job, held.lease)).collect()
    }

    /// This lease was extended at that time.
    pub(crate) fn extended(&self, job: JobId, lease: LeaseId, time: Instant) {
        if let Some(held) = self.lock().held.get_mut(&job).filter(|held| held.lease == lease) {
            held.since = time;
        }
    }

    /// This lease was found to be no longer good.
    pub(crate) fn lost(&self, job: JobId, lease: LeaseId) {
        self.lock().forget(job, lease);
    }

    /// Whether this process holds the job: then it is not to be claimed a second time, even if it has vested
    /// because the process or its clock stood still.
    pub(crate) fn holds(&self, job: JobId) -> bool {
        self.lock().held.contains_key(&job)
    }

    /// What was abandoned since the last call.
    pub(crate) fn take_abandoned(&self) -> Vec<Abandoned> {
        std::mem::take(&mut self.lock().abandoned)
    }

    /// Puts back what could not be given back now.
    pub(crate) fn keep_abandoned(&self, jobs: impl IntoIterator<Item = Abandoned>) {
        self.lock().abandoned.extend(jobs);
    }

    /// Returns once something was abandoned since the last return.
    pub(crate) async fn abandonment(&self) {
        self.0.abandoned.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Book> {
        self.0.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job that this process holds.
#[derive(Debug)]
pub(crate) struct HeldJob {
    pub(crate) job: Job,
    pub(crate) lease: Lease,
    /// Taken when the job is settled.
    book: Option<HeldJobs>,
}

impl HeldJob {
    /// The job is finished, given back, or somebody else's: nothing is left to do for it.
    pub(crate) fn settled(mut self) {
        if let Some(book) = self.book.take() {
            book.lock().forget(self.job.id, self.lease.id);
        }
    }
}

impl Drop for HeldJob {
    fn drop(&mut self) {
        if let Some(book) = self.book.take() {
            let mut lists = book.lock();
            lists.forget(self.job.id, self.lease.id);
            lists.abandoned.push(Abandoned { job: self.job.id, lease: self.lease.id });
            drop(lists);
            book.0.abandoned.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use darkroom_store::model::jobs::Kind;
    use darkroom_store::model::{Epoch, PhotoId, Timestamp};

    use super::*;

    fn hold(book: &HeldJobs) -> HeldJob {
        let job = Job::new(JobId::new(), Kind::Process, PhotoId::new(), Timestamp(0));
        book.hold(job, Lease { id: LeaseId::new(), epoch: Epoch(1) })
    }

    #[tokio::test]
    async fn a_dropped_job_is_abandoned_and_a_settled_one_is_not() {
        let book = HeldJobs::default();
        let (settled, dropped) = (hold(&book), hold(&book));
        assert_eq!(book.all().len(), 2);
        settled.settled();
        assert!(book.take_abandoned().is_empty());
        let id = dropped.job.id;
        drop(dropped);
        book.abandonment().await;
        assert_eq!(book.take_abandoned().iter().map(|lost| lost.job).collect::<Vec<_>>(), [id]);
        assert!(book.all().is_empty());
    }

    #[test]
    fn an_old_lease_leaves_a_newer_one_of_the_same_job_alone() {
        let book = HeldJobs::default();
        let old = hold(&book);
        let new = book.hold(old.job.clone(), Lease { id: LeaseId::new(), epoch: Epoch(1) });
        book.lost(old.job.id, old.lease.id);
        drop(old);
        assert_eq!(book.all(), [(new.job.id, new.lease.id)]);
    }

    #[test]
    fn what_is_to_be_extended_comes_in_the_order_in_which_it_runs_out() {
        let book = HeldJobs::default();
        let (first, second, third) = (hold(&book), hold(&book), hold(&book));
        let (now, second_long) = (Instant::now(), std::time::Duration::from_secs(1));
        for (held, at) in [(&first, 3), (&second, 1), (&third, 2)] {
            book.extended(held.job.id, held.lease.id, now + at * second_long);
        }
        // Not its lease: nothing changes.
        book.extended(first.job.id, LeaseId::new(), now);
        let old = book.not_extended_since(now + 2 * second_long);
        assert_eq!(old, [(second.job.id, second.lease.id), (third.job.id, third.lease.id)]);
        assert_eq!(book.not_extended_since(now + 3 * second_long).len(), 3);
    }
}
