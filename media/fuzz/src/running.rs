//! A target at work: its seeds, and how many inputs got how far.

use std::sync::atomic::{AtomicU64, Ordering};

use libfuzzer_sys::fuzzer_mutate;

use crate::fuzz::mutate::{Sequence, mutated};
use crate::fuzz::targets::{Reached, Seed, Target, target};
use crate::panics;

/// Inputs between two lines of figures.
const REPORT_EVERY: u64 = 1 << 16;

static INPUTS: AtomicU64 = AtomicU64::new(0);
static PAST_HEADER: AtomicU64 = AtomicU64::new(0);
static TO_THE_END: AtomicU64 = AtomicU64::new(0);

/// Prints the last figures when libFuzzer ends the process, which destroys what is local to its thread.
struct AtExit;

impl Drop for AtExit {
    fn drop(&mut self) {
        report();
    }
}

thread_local! {
    static AT_EXIT: AtExit = const { AtExit };
}

fn report() {
    let inputs = INPUTS.load(Ordering::Relaxed);
    let share = |count: &AtomicU64| 100.0 * count.load(Ordering::Relaxed) as f64 / inputs.max(1) as f64;
    eprintln!(
        "past the header: {:.1} %, to the end: {:.1} % of {inputs} inputs, panics caught by the decoder: {}",
        share(&PAST_HEADER),
        share(&TO_THE_END),
        panics::caught()
    );
}

/// A target and its seeds.
pub struct Running {
    target: &'static Target,
    seeds: Vec<Seed>,
}

impl Running {
    /// # Panics
    ///
    /// When there is no target of this name.
    pub fn new(name: &str) -> Self {
        let target = target(name).unwrap_or_else(|| panic!("there is no target `{name}`"));
        Self { target, seeds: (target.seeds)() }
    }

    /// Runs the target on an input, and counts. Ends the process if it panics.
    pub fn run(&self, input: &[u8]) {
        AT_EXIT.with(|_| ());
        let reached = panics::watched(|| self.target.run(input));
        PAST_HEADER.fetch_add(u64::from(reached >= Reached::PastHeader), Ordering::Relaxed);
        TO_THE_END.fetch_add(u64::from(reached == Reached::End), Ordering::Relaxed);
        if (INPUTS.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(REPORT_EVERY) {
            report();
        }
    }

    /// Changes `data[..size]` in place to at most `max_size` bytes, and returns how many: libFuzzer's changes among those of
    /// the target.
    pub fn mutate(&self, data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
        let input = data[..size].to_vec();
        let mut random = Sequence(seed.into());
        let changed = mutated(self.target, &self.seeds, &input, &mut random, &mut |input, _| {
            let mut bytes = input.to_vec();
            bytes.resize(max_size.max(input.len()), 0);
            let size = fuzzer_mutate(&mut bytes, input.len(), max_size);
            bytes.truncate(size);
            bytes
        });
        let size = changed.len().min(max_size);
        data[..size].copy_from_slice(&changed[..size]);
        size
    }
}
