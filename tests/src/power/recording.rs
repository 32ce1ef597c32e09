//! A daemon under load, recorded from its start to its end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tempfile::TempDir;

use super::load::load;
use super::log::{Event, What};
use super::{Chance, Disk, Log, Promise, Recorder, Site, Survivors, Tree};
use crate::{Daemon, Setup};

/// Transactions after a sync of which one may be the one that rests on it.
const TRANSACTIONS_AFTER: usize = 3;
/// Moments soon after the syncs of one place that are tried.
const MOMENTS_MAX: usize = 12;

/// One life of a daemon.
pub struct Recording {
    found: Disk<'static>,
    log: Log,
    /// What clients were promised, in this life and before it.
    pub promises: Vec<Promise>,
    /// When it listened; when the load had ended.
    pub serving: u64,
    pub loaded: u64,
}

impl Recording {
    /// Runs a daemon on what is in `home`, has `photos` uploaded, and ends it in order. `known` are the promises that
    /// hold already.
    pub async fn of(
        home: Arc<TempDir>,
        setup: &Setup,
        recorder: &Arc<Recorder>,
        photos: usize,
        seed: u64,
        known: Vec<Promise>,
    ) -> anyhow::Result<Self> {
        let found = Disk::found(home.path())?;
        let setup = Setup { environment: recorder.environment(home.path())?, ..setup.clone() };
        let daemon = Daemon::start_on(home.clone(), &setup);
        let serving = recorder.position();
        let mut promises = load(&daemon.client(), recorder, photos, seed).await;
        let loaded = recorder.position();
        daemon.stop();
        promises.extend(known);
        let recording = Self { found, log: Log::read(&recorder.log())?, promises, serving, loaded };
        recording.check(&Disk::found(home.path())?)?;
        Ok(recording)
    }

    /// What the log says was done must be what is there. Else the recorder has missed something, and the rest proves
    /// nothing.
    fn check(&self, real: &Disk<'_>) -> anyhow::Result<()> {
        let mut everything = Chance::new(Survivors::Everything, 0);
        let (real, log) = (real.after_the_cut(&mut everything), self.tree(u64::MAX, &mut everything)?);
        // Beside it lies only what the test itself puts there.
        let differences = real.differences(&log, "data");
        anyhow::ensure!(differences.is_empty(), "the recorder has missed something: {differences:#?}");
        Ok(())
    }

    /// Moments at which a missing sync shows, the most telling first: when all is done, when the daemon has ended in order,
    /// when the last uploads had just been acknowledged, and when the first photos had been seen ready. (A folder's sync covers
    /// what others should have synced before, and a sweep syncs every folder in which it looks for what was given up: before
    /// the first sweep nothing is covered.)
    pub fn telling_moments(&self) -> impl Iterator<Item = u64> {
        let mut acknowledged: Vec<u64> = self.promises.iter().map(|promise| promise.acknowledged).collect();
        let mut ready: Vec<u64> =
            self.promises.iter().filter_map(|promise| Some(promise.ready.as_ref()?.seen)).collect();
        acknowledged.sort_unstable();
        ready.sort_unstable();
        let (last, first) = (acknowledged.into_iter().rev().take(6), ready.into_iter().take(4));
        [self.loaded, u64::MAX].into_iter().chain(last).chain(first)
    }

    /// Moments soon after some of these syncs, when the transactions that rest on them have just been synced: later ones may
    /// be covered by what happened since. `journal` are the syncs of transactions.
    pub fn moments_after(&self, syncs: &BTreeSet<u64>, journal: &BTreeSet<u64>) -> anyhow::Result<Vec<u64>> {
        let events = self.events()?;
        let done = |number: &u64, of: &BTreeSet<u64>| of.contains(number);
        let mut moments = Vec::new();
        for (at, event) in events.iter().enumerate() {
            if matches!(&event.what, What::SyncDone { number } if done(number, syncs)) {
                let later = events[at..].iter().filter(
                    |event| matches!(&event.what, What::SyncDone { number } if done(number, journal)),
                );
                moments.extend(later.take(TRANSACTIONS_AFTER).map(|event| event.end));
            }
        }
        moments.dedup();
        moments.truncate(MOMENTS_MAX);
        Ok(moments)
    }

    /// What is on disk when the power goes at `cut`.
    pub fn tree(&self, cut: u64, chance: &mut Chance) -> anyhow::Result<Tree> {
        self.tree_without(cut, chance, &BTreeSet::new())
    }

    /// The same, had these syncs never been made.
    pub fn tree_without(
        &self,
        cut: u64,
        chance: &mut Chance,
        forgotten: &BTreeSet<u64>,
    ) -> anyhow::Result<Tree> {
        Ok(self.found.replay(&self.events()?, cut, forgotten)?.after_the_cut(chance))
    }

    /// The syncs of our own code.
    pub fn sites(&self) -> anyhow::Result<BTreeMap<Site, BTreeSet<u64>>> {
        Site::syncs(&self.found, &self.events()?)
    }

    pub fn events(&self) -> anyhow::Result<Vec<Event<'_>>> {
        self.log.events()
    }

    pub fn log_bytes(&self) -> u64 {
        self.log.len()
    }

    /// The log as it was when it was so long.
    pub fn log_until(&self, cut: u64) -> &[u8] {
        self.log.until(cut)
    }
}
