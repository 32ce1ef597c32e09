//! What survives of that which was not synced.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How the power cut chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survivors {
    /// Only what was synced.
    Nothing,
    /// All that had been written: what the page cache held.
    Everything,
    /// Anything in between.
    Any,
}

/// One power cut's choices, from a seed.
pub struct Chance {
    survivors: Survivors,
    random: StdRng,
}

/// How the sectors of one file are chosen.
#[derive(Debug, Clone, Copy)]
pub enum Tearing {
    Nothing,
    Everything,
    /// Those before this one are written, those behind it are not.
    At(u64),
    /// Each for itself.
    Mosaic,
}

impl Chance {
    pub fn new(survivors: Survivors, seed: u64) -> Self {
        Self { survivors, random: StdRng::seed_from_u64(seed) }
    }

    /// How many of `count` things that arrive in order have arrived.
    pub fn steps(&mut self, count: usize) -> usize {
        match self.survivors {
            Survivors::Nothing => 0,
            Survivors::Everything => count,
            // The two ends are as likely as all between.
            Survivors::Any => match self.random.random_range(0..4) {
                0 => 0,
                1 => count,
                _ => self.random.random_range(0..=count),
            },
        }
    }

    /// How a file is torn whose sectors of `range` have changed.
    pub fn tearing(&mut self, range: Range<u64>) -> Tearing {
        match self.survivors {
            Survivors::Nothing => Tearing::Nothing,
            Survivors::Everything => Tearing::Everything,
            Survivors::Any => match self.random.random_range(0..6) {
                0 => Tearing::Nothing,
                1 => Tearing::Everything,
                2 | 3 => Tearing::At(self.random.random_range(range.start..=range.end)),
                _ => Tearing::Mosaic,
            },
        }
    }

    /// How many of its `count` last contents a sector has gone through.
    pub fn contents(&mut self, tearing: Tearing, sector: u64, count: usize) -> usize {
        match tearing {
            Tearing::Everything => count,
            Tearing::At(torn) if sector < torn => count,
            Tearing::Nothing | Tearing::At(_) => 0,
            Tearing::Mosaic if self.random.random() => count,
            Tearing::Mosaic => self.random.random_range(0..=count),
        }
    }
}
