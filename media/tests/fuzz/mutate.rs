//! Changes to inputs.
//!
//! Of bytes changed blindly few get past a header, and then nothing behind it is tested. So a changed input is repaired
//! where sums and lengths are all that is wrong, and most of those that do not pass all the same are changed in another way.

use super::boxes;
use super::targets::{Seed, Target};

/// Times that an input is changed anew before a seed takes its place.
const TRIES: usize = 6;

/// Inputs of which one is left as it is, past the header or not.
const UNGUIDED: u64 = 6;

/// Values at the edges of what numbers hold.
const EDGES: [u32; 12] = [0, 1, 2, 7, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFF_FFFF, u32::MAX];

/// A pseudorandom sequence (`SplitMix64`, Steele et al. 2014).
pub(crate) struct Sequence(pub(crate) u64);

impl Sequence {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `bound`; 0 where that is 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() >> 32) as usize % bound.max(1)
    }
}

/// Changes an input, by `change` or in ways of its own, so that five of six get past the header of the target. `seeds` are
/// the target's.
pub(crate) fn mutated(
    target: &Target,
    seeds: &[Seed],
    input: &[u8],
    random: &mut Sequence,
    change: &mut dyn FnMut(&[u8], &mut Sequence) -> Vec<u8>,
) -> Vec<u8> {
    let guided = !random.next().is_multiple_of(UNGUIDED);
    if !guided {
        return change(input, random);
    }
    for attempt in 0..TRIES {
        // The input may itself not pass, and nothing made of it will.
        let from = if attempt < TRIES / 2 { input } else { &seeds[random.below(seeds.len())].1 };
        let mut changed =
            if random.below(3) == 0 { change(from, random) } else { changed(from, seeds, random) };
        target.repair(&mut changed);
        if target.passes(&changed) {
            return changed;
        }
    }
    seeds[random.below(seeds.len())].1.clone()
}

/// An input after one to four small changes.
pub(crate) fn changed(input: &[u8], seeds: &[Seed], random: &mut Sequence) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        change_once(&mut bytes, seeds, random);
    }
    bytes
}

fn change_once(bytes: &mut Vec<u8>, seeds: &[Seed], random: &mut Sequence) {
    if bytes.is_empty() {
        bytes.push(random.below(256) as u8);
        return;
    }
    let at = random.below(bytes.len());
    let rest = bytes.len() - at;
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.below(256) as u8,
        2 => bytes[at] = bytes[at].wrapping_add(random.below(5) as u8).wrapping_sub(2),
        3 | 4 => {
            // A number of 8, 16 or 32 bits, in either order.
            let value = EDGES[random.below(EDGES.len())];
            let size = [1, 2, 4][random.below(3)].min(rest);
            let number = if random.below(2) == 0 { value.to_be_bytes() } else { value.to_le_bytes() };
            let number = if number[0] == 0 { &number[4 - size..] } else { &number[..size] };
            bytes[at..at + size].copy_from_slice(number);
        }
        5 => drop(bytes.drain(at..at + 1 + random.below(rest.min(16)))),
        6 => {
            let again = bytes[at..at + 1 + random.below(rest.min(32))].to_vec();
            bytes.splice(at..at, again);
        }
        7 => {
            let other = &seeds[random.below(seeds.len())].1;
            let from = random.below(other.len());
            let part = &other[from..other.len().min(from + 1 + random.below(64))];
            bytes.splice(at..at + part.len().min(rest), part.iter().copied());
        }
        // Mostly from near the end: all that is behind a cut is lost to the test.
        _ => bytes.truncate(bytes.len() - random.below(rest.min(64))),
    }
}

/// A chunk of a PNG with its checksum.
pub(crate) fn png_chunk(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let mut chunk = [(data.len() as u32).to_be_bytes().as_slice(), &kind, data].concat();
    let sum = checksum(&chunk[4..]);
    chunk.extend(sum);
    chunk
}

fn checksum(bytes: &[u8]) -> [u8; 4] {
    let mut sum = flate2::Crc::new();
    sum.update(bytes);
    sum.sum().to_be_bytes()
}

/// Puts right the checksums of a PNG, the length of a WebP, and the sizes of boxes. Leaves everything else as it is.
pub(crate) fn repair(file: &mut [u8]) {
    boxes::repair(file);
    let length = (file.len() as u32).wrapping_sub(8).to_le_bytes();
    if file.len() >= 12 && file.starts_with(b"RIFF") && &file[8..12] == b"WEBP" {
        file[4..8].copy_from_slice(&length);
    }
    if !file.starts_with(b"\x89PNG\r\n\x1A\n") {
        return;
    }
    let mut rest = &mut file[8..];
    while let Some(length) = rest.first_chunk::<4>() {
        let end = (u32::from_be_bytes(*length) as usize).saturating_add(8);
        if end.saturating_add(4) > rest.len() {
            return;
        }
        let sum = checksum(&rest[4..end]);
        rest[end..end + 4].copy_from_slice(&sum);
        rest = &mut rest[end + 4..];
    }
}
