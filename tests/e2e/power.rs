//! The power goes at random moments: what was acknowledged is there afterwards. `darkroom_tests::power` says how a disk
//! is assumed to behave.

use std::collections::BTreeSet;
use std::sync::Arc;

use darkroom_tests::power::verdict::verdict;
use darkroom_tests::power::{Chance, Promise, Recorder, Recording, Site, Survivors, Tree};
use darkroom_tests::{Setup, scale};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

/// The smallest memtable, so that table files are written, and little work on pixels. A journal is full after some
/// 14,000 photos.
const CONFIG: &str = "[metadata]\nmemtable = '1 MiB'\n[[presets]]\nname = 'small'\nwidth = 64\nheight = 64\n\
                      [[presets]]\nname = 'tiny'\nwidth = 16\nheight = 16";

/// `DARKROOM_TEST_CUTS=500 DARKROOM_TEST_CUT_PHOTOS=16000` for the whole of it. A failure keeps the disk as the cut
/// left it, and says where: the seed alone does not bring back in which order the daemon's threads ran.
#[tokio::test]
async fn what_was_acknowledged_outlives_a_power_cut() {
    let Some(recorder) = Recorder::build().unwrap().map(Arc::new) else { return };
    let cuts = scale("DARKROOM_TEST_CUTS", 8);
    let photos = scale("DARKROOM_TEST_CUT_PHOTOS", 400);
    let seed = scale("DARKROOM_TEST_SEED", rand::random::<u32>() as usize) as u64;
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);

    let (mut home, mut known) = (Arc::new(tempfile::tempdir().unwrap()), Vec::new());
    // The second life begins on what a cut left of the first, so that the cuts in it also fall into recovery.
    for life in 1..=2 {
        let setup = Setup::config(CONFIG);
        let recording =
            Recording::of(home, &setup, &recorder, photos, seed + (life << 32), known).await.unwrap();
        println!(
            "life {life}: {} bytes of log, {} promises",
            recording.log_bytes(),
            recording.promises.len()
        );
        Cut::of_nothing_but_the_synced(recording.loaded).must_hold(&recording).await;
        for _ in 0..cuts.div_ceil(2) {
            Cut::anywhere(&recording, &mut random).must_hold(&recording).await;
        }
        let amid = recording.promises[random.random_range(0..photos)].acknowledged;
        let last = Cut { at: amid, survivors: Survivors::Any, choices: random.random() };
        home = last.home(&recording);
        known = recording.promises.iter().filter_map(|promise| promise.carried_over(last.at)).collect();
    }
}

/// Each of our own syncs is needed: without it this test would have failed.
#[tokio::test]
async fn leaving_out_any_one_sync_is_found() {
    let Some(recorder) = Recorder::build().unwrap().map(Arc::new) else { return };
    let home = Arc::new(tempfile::tempdir().unwrap());
    let setup = Setup::config(CONFIG);
    let recording = Recording::of(home, &setup, &recorder, 48, 1, Vec::new()).await.unwrap();
    let cuts: Vec<Cut> = recording.telling_moments().map(Cut::of_nothing_but_the_synced).collect();
    for cut in &cuts {
        cut.must_hold(&recording).await;
    }
    let sites = recording.sites().unwrap();
    let mut unneeded = Vec::new();
    let journal = &sites[&Site::Journal];
    for site in Site::ALL {
        let syncs = sites.get(&site).unwrap_or_else(|| panic!("{site:?} never syncs"));
        let mut broken = breaks(&recording, &cuts, syncs).await;
        if broken.is_none() {
            let moments = recording.moments_after(syncs, journal).unwrap();
            let soon: Vec<Cut> = moments.into_iter().map(Cut::of_nothing_but_the_synced).collect();
            for cut in &soon {
                cut.must_hold(&recording).await;
            }
            broken = breaks(&recording, &soon, syncs).await;
        }
        match broken {
            Some(broken) => println!("without {site:?} ({} syncs): {broken}", syncs.len()),
            None => unneeded.push(site),
        }
    }
    assert!(unneeded.is_empty(), "leaving out the syncs of {unneeded:?} breaks no promise");
}

/// The promise that the first of these cuts breaks had these syncs never been made.
async fn breaks(recording: &Recording, cuts: &[Cut], syncs: &BTreeSet<u64>) -> Option<String> {
    for cut in cuts {
        let tree = recording.tree_without(cut.at, &mut cut.chance(), syncs).unwrap();
        if let Err(broken) = cut.verdict(&tree, &recording.promises).await {
            // A daemon that does not start says most before its last line.
            return Some(broken.trim().lines().last().unwrap_or_default().to_owned());
        }
    }
    None
}

/// One end of the power.
#[derive(Debug)]
struct Cut {
    /// How long the log was.
    at: u64,
    survivors: Survivors,
    /// The seed of what survives.
    choices: u64,
}

impl Cut {
    /// Somewhere in a recording: mostly while the daemon served, else while it started or ended.
    fn anywhere(recording: &Recording, random: &mut StdRng) -> Self {
        let served = random.random_bool(0.7);
        let within = |end: &u64| (recording.serving..=recording.loaded).contains(end) == served;
        let events = recording.events().unwrap();
        let ends: Vec<u64> = events.iter().map(|event| event.end).filter(within).collect();
        let survivors = match random.random_range(0..6) {
            0 => Survivors::Nothing,
            1 => Survivors::Everything,
            _ => Survivors::Any,
        };
        Self { at: ends[random.random_range(0..ends.len())], survivors, choices: random.random() }
    }

    /// The harshest there is.
    fn of_nothing_but_the_synced(at: u64) -> Self {
        Self { at, survivors: Survivors::Nothing, choices: 0 }
    }

    fn chance(&self) -> Chance {
        Chance::new(self.survivors, self.choices)
    }

    /// The disk that it leaves, in a folder of its own.
    fn home(&self, recording: &Recording) -> Arc<TempDir> {
        saved(&recording.tree(self.at, &mut self.chance()).unwrap())
    }

    /// Whether a daemon on this disk keeps the promises that held when the power went.
    async fn verdict(&self, tree: &Tree, promises: &[Promise]) -> Result<(), String> {
        verdict(saved(tree), &Setup::config(CONFIG), promises, self.at).await
    }

    async fn must_hold(&self, recording: &Recording) {
        let tree = recording.tree(self.at, &mut self.chance()).unwrap();
        if let Err(broken) = self.verdict(&tree, &recording.promises).await {
            let kept = tempfile::tempdir().unwrap().keep();
            tree.save(&kept).unwrap();
            std::fs::write(kept.join("recorder.log"), recording.log_until(self.at)).unwrap();
            panic!("{self:?} breaks a promise; what it left is in {}: {broken}", kept.display());
        }
    }
}

fn saved(tree: &Tree) -> Arc<TempDir> {
    let home = tempfile::tempdir().unwrap();
    tree.save(home.path()).unwrap();
    Arc::new(home)
}
