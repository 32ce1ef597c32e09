//! A store whose transactions run twice, and what nodes do on it.

use std::fmt::Debug;
use std::time::Duration;

use darkroom_store::StoreError;
use darkroom_store::metadata::{KeyRange, Metadata, RangeOptions, Transaction};
use darkroom_store::model::jobs::{self, Entry, GiveBack, Job, Lease, Operation, Wanted};
use darkroom_store::model::photos::{self, Created, Photo, State};
use darkroom_store::model::{Epoch, JobId, LeaseId, PhotoId, Timestamp, nodes, objects, subspaces};

use crate::engines::{self, Engine, Place};
use crate::fixtures;

pub(crate) const NOW: Timestamp = Timestamp(1_000_000);
pub(crate) const SECOND: Duration = Duration::from_secs(1);
pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// Runs `$body` with `$tx` in two transactions, as after a commit whose outcome was unknown.
macro_rules! twice {
    ($store:expr, |$tx:ident| $body:expr) => {{
        let store: &$crate::store::Store = $store;
        let run = |$tx: darkroom_store::metadata::Transaction| async move { $body };
        let first = $crate::store::once(store, run).await;
        let (state, changes) = (store.state().await, store.changes().await);
        let second = $crate::store::once(store, run).await;
        $crate::store::assert_same(&first, &second);
        assert!(state == store.state().await, "the second run changes nothing");
        assert_eq!(changes, store.changes().await, "and tells nobody");
        second
    }};
}

pub(crate) use twice;

/// A store in which everything is done twice.
pub(crate) struct Store {
    pub(crate) metadata: Metadata,
}

/// Runs a case on an empty store of `engine`.
pub(crate) async fn run(engine: Engine, case: impl AsyncFnOnce(&Store)) {
    let opened = |place: Place| async move {
        let metadata = place.open().await;
        case(&Store { metadata }).await;
    };
    engines::run(engine, opened).await;
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

impl Store {
    /// A node of its own.
    pub(crate) async fn node(&self) -> Epoch {
        let process = uuid::Uuid::new_v4();
        twice!(self, |tx| nodes::begin_epoch(&tx, process, NOW).await)
    }

    /// Everything stored but the change log, whose keys differ from run to run.
    pub(crate) async fn state(&self) -> Rows {
        let rows = |range: KeyRange| async move {
            self.metadata
                .read("state", |tx| {
                    let range = range.clone();
                    async move { tx.get_range(&range, RangeOptions::default()).await }
                })
                .await
                .unwrap()
        };
        let changes = subspaces::CHANGES.all();
        let mut state = rows(KeyRange::new([], changes.begin)).await;
        state.extend(rows(KeyRange::new(changes.end, KeyRange::all().end)).await);
        state
    }

    pub(crate) async fn changes(&self) -> usize {
        let all = &subspaces::CHANGES.all();
        self.metadata
            .read("changes", |tx| async move { tx.get_range(all, RangeOptions::default()).await })
            .await
            .unwrap()
            .len()
    }

    /// A photo that is being processed, with its job due.
    pub(crate) async fn photo(&self, epoch: Epoch) -> (Photo, Job) {
        let creation = &fixtures::creation(uuid::Uuid::new_v4().as_bytes(), epoch, NOW);
        let keys = std::slice::from_ref(&creation.photo.original.object);
        twice!(self, |tx| objects::intend(&tx, epoch, keys));
        let created = once(self, |tx| async move { photos::create(&tx, creation).await }).await;
        let Created::New(photo) = created else { panic!("{created:?}") };
        (photo, creation.job.clone())
    }

    pub(crate) async fn job(&self, id: JobId) -> Option<Job> {
        once(self, |tx| async move { jobs::get(&tx, id).await }).await
    }

    pub(crate) async fn show(&self, id: JobId) -> Option<Entry> {
        once(self, |tx| async move { jobs::show(&tx, id).await }).await
    }

    pub(crate) async fn get(&self, id: PhotoId) -> Photo {
        once(self, |tx| async move { photos::get(&tx, id).await }).await.unwrap()
    }

    pub(crate) async fn count(&self, state: State) -> i64 {
        once(self, |tx| async move { photos::count_of(&tx, state).await }).await
    }

    /// Claims a job for a minute.
    pub(crate) async fn claim(&self, id: JobId, lease: Lease, now: Timestamp) -> Option<Job> {
        let until = now.after(MINUTE);
        twice!(self, |tx| jobs::claim(&tx, id, lease, now, until).await)
    }

    /// Begins an attempt; whether the lease was still held.
    pub(crate) async fn begin(&self, id: JobId, lease: Lease) -> bool {
        twice!(self, |tx| jobs::begin_attempt(&tx, id, lease).await).is_continue()
    }

    /// Ends a node, and makes due what it held.
    pub(crate) async fn die(&self, epoch: Epoch) {
        twice!(self, |tx| nodes::end(&tx, epoch, NOW).await);
        let void = |tx| async move { jobs::void_leases_of(&tx, epoch, NOW, 1).await };
        while once(self, void).await > 0 {}
    }

    pub(crate) async fn page(&self, wanted: &Wanted) -> jobs::Page {
        once(self, |tx| async move { jobs::list(&tx, wanted, NOW).await }).await
    }
}

/// Runs `run` in a transaction.
pub(crate) async fn once<T, F, Fut>(store: &Store, run: F) -> T
where
    F: Fn(Transaction) -> Fut + Send,
    Fut: Future<Output = Result<T, StoreError>> + Send,
    T: Send,
{
    store.metadata.transact("test", run).await.unwrap()
}

pub(crate) fn assert_same<T: Debug>(first: &T, second: &T) {
    assert_eq!(format!("{first:?}"), format!("{second:?}"), "the second run answers as the first");
}

pub(crate) fn lease(epoch: Epoch) -> Lease {
    Lease { id: LeaseId::new(), epoch }
}

pub(crate) fn operation() -> Operation {
    Operation { id: LeaseId::new(), now: NOW, history: 0 }
}

pub(crate) fn give_back(counts: bool, error: Option<&str>) -> GiveBack {
    GiveBack { now: NOW, due: NOW, counts, error: error.map(ToOwned::to_owned) }
}
