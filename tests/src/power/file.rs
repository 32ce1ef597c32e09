//! A file's changes, and what may be on disk of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::chance::Chance;
use super::content::{self, Content, SECTOR};

/// A file, from when it was created or found.
#[derive(Clone, Default)]
pub struct File<'log> {
    /// What was durable from the beginning.
    found: Arc<Content>,
    changes: Vec<Change<'log>>,
    /// How many of the changes are durable.
    synced: usize,
}

#[derive(Clone, Copy)]
pub enum Change<'log> {
    Write { at: u64, bytes: &'log [u8] },
    Resize { size: u64 },
}

/// A change of the size that is not synced.
struct Resized {
    /// Its number among the changes that are not synced.
    change: usize,
    size: u64,
    /// Whether the file became smaller.
    cut: bool,
}

impl<'log> File<'log> {
    pub fn found(content: Content) -> Self {
        Self { found: Arc::new(content), ..Self::default() }
    }

    pub fn change(&mut self, change: Change<'log>) {
        self.changes.push(change);
    }

    /// How many changes there are: what a sync that begins now makes durable.
    pub fn changes(&self) -> usize {
        self.changes.len()
    }

    pub fn synced(&mut self, changes: usize) {
        self.synced = self.synced.max(changes);
    }

    /// What is on disk after a power cut.
    pub fn after_the_cut(&self, chance: &mut Chance) -> Content {
        let mut content = Content::clone(&self.found);
        let (durable, pending) = self.changes.split_at(self.synced);
        for change in durable {
            apply(&mut content, *change);
        }
        if pending.is_empty() {
            return content;
        }
        let sizes = resizes(content.size(), pending);
        let (arrived, lost) = sizes.split_at(chance.steps(sizes.len()));
        let size = arrived.last().map_or(content.size(), |last| last.size);

        let sectors = touches(&content, pending, &sizes);
        let span = sectors.keys().next().zip(sectors.keys().next_back());
        let tearing = chance.tearing(span.map_or(0..0, |(first, last)| *first..last + 1));
        let durable = content.clone();
        for (number, touches) in sectors {
            // A cut that has arrived has taken what lay beyond it, and has zeroed the rest of its sector first. Beyond
            // one that has not arrived, nothing is that came later.
            let least = arrived.iter().rfind(|resized| resized.cut && (number + 1) * SECTOR > resized.size);
            let least = least.map_or(0, |cut| touches.partition_point(|touch| *touch <= cut.change));
            let most = lost.iter().find(|resized| resized.cut && number * SECTOR >= resized.size);
            let most = most.map_or(touches.len(), |cut| touches.partition_point(|touch| *touch < cut.change));
            let count = least + chance.contents(tearing, number, most.saturating_sub(least));
            let mut sector = durable.sector(number);
            for touch in &touches[..count] {
                match pending[*touch] {
                    Change::Write { at, bytes } => content::overlay(&mut sector, number, at, bytes),
                    Change::Resize { size } => content::cut_off(&mut sector, number, size),
                }
            }
            content.put_sector(number, sector);
        }
        content.resize(size);
        content
    }
}

fn apply(content: &mut Content, change: Change<'_>) {
    match change {
        Change::Write { at, bytes } => content.write(at, bytes),
        Change::Resize { size } => content.resize(size),
    }
}

/// The sizes that the file goes through.
fn resizes(mut size: u64, pending: &[Change<'_>]) -> Vec<Resized> {
    let mut resizes = Vec::new();
    for (change, what) in pending.iter().enumerate() {
        let next = match *what {
            Change::Write { at, bytes } => size.max(at + bytes.len() as u64),
            Change::Resize { size } => size,
        };
        if next != size {
            resizes.push(Resized { change, size: next, cut: next < size });
        }
        size = next;
    }
    resizes
}

/// For each sector the changes that concern it, in order.
fn touches(content: &Content, pending: &[Change<'_>], sizes: &[Resized]) -> BTreeMap<u64, Vec<usize>> {
    let mut sectors: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (change, what) in pending.iter().enumerate() {
        match *what {
            Change::Write { at, bytes } => {
                for number in content::touched(at, bytes) {
                    sectors.entry(number).or_default().push(change);
                }
            }
            Change::Resize { size }
                if sizes.iter().any(|resized| resized.change == change && resized.cut) =>
            {
                for number in content.sectors_from(size / SECTOR) {
                    sectors.entry(number).or_default();
                }
                for (_, touches) in sectors.range_mut(size / SECTOR..) {
                    touches.push(change);
                }
            }
            Change::Resize { .. } => {}
        }
    }
    sectors
}
