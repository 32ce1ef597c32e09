//! What is loaded from elsewhere, such as keys, and kept: loaded again now and then, and earlier when somebody asks for
//! what it lacks, but no more often than it may be.
//!
//! One load runs at a time, whoever waits for it gets its outcome, and it goes on when they leave. While it fails, what
//! was loaded before stays in use until it is too old.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex as Turn;

use super::clock::Clock;

/// How old what is kept may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ages {
    /// Beyond it, it is loaded again while it is used.
    pub fresh: Duration,
    /// Least time between two loads.
    pub between: Duration,
    /// Beyond it, it is used no more.
    pub max: Duration,
}

/// It could not be loaded, and there is nothing that could be used in its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Away(pub String);

type Load<T> = Box<dyn Fn() -> BoxFuture<'static, Result<T, String>> + Send + Sync>;

/// Something that is kept. Clones mean the same.
pub struct Kept<T>(Arc<Inner<T>>);

struct Inner<T> {
    load: Load<T>,
    ages: Ages,
    clock: Clock,
    state: Mutex<State<T>>,
    turn: Arc<Turn<()>>,
}

struct State<T> {
    /// With when it was loaded, by the steady clock.
    value: Option<(Arc<T>, Duration)>,
    tried: Option<Duration>,
    /// Why the last load failed; one that is under way counts as failed until it has ended.
    failed: Option<String>,
}

impl<T> Clone for Kept<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for Kept<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("ages", &self.0.ages).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> Kept<T> {
    /// What `load` gives, loaded when it is first asked for.
    pub fn new(
        ages: Ages,
        clock: Clock,
        load: impl Fn() -> BoxFuture<'static, Result<T, String>> + Send + Sync + 'static,
    ) -> Self {
        let state = Mutex::new(State { value: None, tried: None, failed: None });
        Self(Arc::new(Inner { load: Box::new(load), ages, clock, state, turn: Arc::default() }))
    }

    /// What is kept. It waits only where nothing is kept that could be used; else it is loaded again in the background
    /// when it is due.
    ///
    /// # Errors
    /// [`Away`], where nothing could be loaded.
    pub async fn get(&self) -> Result<Arc<T>, Away> {
        let Some((value, age)) = self.usable() else {
            return self.newer(None).await?.ok_or_else(|| Away("it was not loaded".to_owned()));
        };
        if age >= self.0.ages.fresh && self.may_load() {
            // Where somebody loads already there is nothing to do.
            if let Ok(turn) = Arc::clone(&self.0.turn).try_lock_owned() {
                let this = self.clone();
                tokio::spawn(async move {
                    this.load().await;
                    drop(turn);
                });
            }
        }
        Ok(value)
    }

    /// Something newer than `seen`, in which something is missing: loaded now, unless that was done lately. `None` if
    /// there is nothing newer.
    ///
    /// # Errors
    /// [`Away`], if the last load failed: then nobody knows.
    pub async fn newer(&self, seen: Option<&Arc<T>>) -> Result<Option<Arc<T>>, Away> {
        let turn = Arc::clone(&self.0.turn).lock_owned().await;
        if let Some(value) = self.other_than(seen) {
            return Ok(Some(value)); // Somebody else had it loaded meanwhile.
        }
        if self.may_load() {
            let this = self.clone();
            // Of its own, so that it ends although whoever asked goes away.
            let load = tokio::spawn(async move {
                this.load().await;
                drop(turn);
            });
            load.await.map_err(|_| Away("loading it ended early".to_owned()))?;
        }
        match (self.other_than(seen), &self.state().failed) {
            (Some(value), _) => Ok(Some(value)),
            (None, Some(reason)) => Err(Away(reason.clone())),
            (None, None) => Ok(None),
        }
    }

    fn other_than(&self, seen: Option<&Arc<T>>) -> Option<Arc<T>> {
        let (value, _) = self.usable()?;
        seen.is_none_or(|seen| !Arc::ptr_eq(seen, &value)).then_some(value)
    }

    /// What may be used, with its age.
    fn usable(&self) -> Option<(Arc<T>, Duration)> {
        let state = self.state();
        let (value, loaded) = state.value.as_ref()?;
        let age = self.0.clock.steady().saturating_sub(*loaded);
        (age < self.0.ages.max).then(|| (Arc::clone(value), age))
    }

    fn may_load(&self) -> bool {
        let now = self.0.clock.steady();
        self.state().tried.is_none_or(|tried| now.saturating_sub(tried) >= self.0.ages.between)
    }

    /// To be called by whoever has the turn.
    async fn load(&self) {
        {
            let mut state = self.state();
            state.tried = Some(self.0.clock.steady());
            state.failed = Some("it is being loaded".to_owned());
        }
        let loaded = (self.0.load)().await;
        let now = self.0.clock.steady();
        let mut state = self.state();
        match loaded {
            Ok(value) => {
                state.value = Some((Arc::new(value), now));
                state.failed = None;
            }
            Err(reason) => state.failed = Some(reason),
        }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use tokio::sync::Semaphore;

    use super::*;

    const AGES: Ages = Ages {
        fresh: Duration::from_secs(60),
        between: Duration::from_secs(5),
        max: Duration::from_secs(600),
    };

    /// Counts how often it is loaded; it can be told to fail, and waits for a permit.
    struct Source {
        kept: Kept<u64>,
        millis: Arc<AtomicU64>,
        loads: Arc<AtomicU64>,
        fails: Arc<AtomicBool>,
        gate: Arc<Semaphore>,
    }

    impl Source {
        fn new() -> Self {
            let (millis, loads) = (Arc::new(AtomicU64::new(1_000)), Arc::<AtomicU64>::default());
            let (fails, gate) = (Arc::<AtomicBool>::default(), Arc::new(Semaphore::new(1_000)));
            let (counted, failing, gated) = (Arc::clone(&loads), Arc::clone(&fails), Arc::clone(&gate));
            let load = move || -> BoxFuture<'static, Result<u64, String>> {
                let (counted, failing, gated) =
                    (Arc::clone(&counted), Arc::clone(&failing), Arc::clone(&gated));
                Box::pin(async move {
                    let number = counted.fetch_add(1, Ordering::Relaxed) + 1;
                    let _permit = gated.acquire().await.map_err(|error| error.to_string())?;
                    if failing.load(Ordering::Relaxed) { Err("down".to_owned()) } else { Ok(number) }
                })
            };
            let kept = Kept::new(AGES, Clock::set(Arc::clone(&millis)), load);
            Self { kept, millis, loads, fails, gate }
        }

        fn pass(&self, time: Duration) {
            self.millis.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::Relaxed);
        }

        fn loads(&self) -> u64 {
            self.loads.load(Ordering::Relaxed)
        }

        async fn until_loaded(&self, number: u64) {
            while *self.kept.get().await.unwrap() < number {
                tokio::task::yield_now().await;
            }
        }
    }

    #[tokio::test]
    async fn it_is_loaded_once_and_again_when_it_is_old() {
        let source = Source::new();
        assert_eq!((*source.kept.get().await.unwrap(), *source.kept.get().await.unwrap()), (1, 1));
        source.pass(AGES.fresh);
        assert_eq!(*source.kept.get().await.unwrap(), 1, "what is there serves while the next is loaded");
        source.until_loaded(2).await;
        assert_eq!(source.loads(), 2);
    }

    #[tokio::test]
    async fn however_many_ask_for_something_newer_one_load_serves_them_and_the_next_has_to_wait() {
        let source = Source::new();
        let seen = source.kept.get().await.unwrap();
        source.pass(AGES.between);
        let asked = (0..50).map(|_| source.kept.newer(Some(&seen)));
        for newer in futures_util::future::join_all(asked).await {
            assert_eq!(newer.unwrap().as_deref(), Some(&2));
        }
        let seen = source.kept.get().await.unwrap();
        for _ in 0..50 {
            assert_eq!(source.kept.newer(Some(&seen)).await, Ok(None));
        }
        assert_eq!(source.loads(), 2);
        source.pass(AGES.between);
        assert_eq!(source.kept.newer(Some(&seen)).await.unwrap().as_deref(), Some(&3));
    }

    #[tokio::test]
    async fn what_is_down_leaves_what_was_loaded_until_it_is_too_old() {
        let source = Source::new();
        let seen = source.kept.get().await.unwrap();
        source.fails.store(true, Ordering::Relaxed);
        source.pass(AGES.between);
        // What is missing may be there: nobody knows, also not those who ask right after.
        for _ in 0..3 {
            assert_eq!(source.kept.newer(Some(&seen)).await, Err(Away("down".to_owned())));
        }
        assert_eq!(source.loads(), 2);
        assert_eq!(*source.kept.get().await.unwrap(), 1);
        source.pass(AGES.max);
        assert_eq!(source.kept.get().await, Err(Away("down".to_owned())));
        source.fails.store(false, Ordering::Relaxed);
        source.pass(AGES.between);
        assert_eq!(source.kept.get().await.map(|value| *value), Ok(4));
    }

    #[tokio::test]
    async fn a_load_ends_although_whoever_asked_for_it_goes_away() {
        let source = Source::new();
        let permits = source.gate.forget_permits(1_000);
        let kept = source.kept.clone();
        let asked = tokio::spawn(async move { kept.get().await });
        while source.loads() == 0 {
            tokio::task::yield_now().await;
        }
        asked.abort();
        source.gate.add_permits(permits);
        assert_eq!(source.kept.get().await.map(|value| *value), Ok(1));
        assert_eq!(source.loads(), 1);
    }
}
