//! Turning pixels upright.

use std::ops::Range;

use crate::Orientation;

/// Side of the blocks in which axes are swapped: 32 rows of a block stay in the first-level cache while its columns are
/// written.
const BLOCK: usize = 32;

/// Side of the tiles in which axes of single bytes are swapped: a row of one fills a word.
const TILE: usize = 8;

/// How a picture is stored.
#[derive(Debug, Clone, Copy)]
struct Stored {
    columns: usize,
    rows: usize,
    columns_backwards: bool,
    rows_backwards: bool,
}

impl Stored {
    /// The stored row from the start of which the `index`th row or column is shown.
    const fn row(&self, index: usize) -> usize {
        if self.rows_backwards { self.rows - 1 - index } else { index }
    }

    /// The same for columns.
    const fn column(&self, index: usize) -> usize {
        if self.columns_backwards { self.columns - 1 - index } else { index }
    }
}

/// Turns a picture of `width` × `height` pixels (each at least 1) of `N` bytes upright, as `orientation` says. Both hold as
/// many pixels.
pub(crate) fn turn<const N: usize>(
    (width, height): (u32, u32),
    from: &[[u8; N]],
    to: &mut [[u8; N]],
    orientation: Orientation,
) {
    let stored = Stored {
        columns: width as usize,
        rows: height as usize,
        columns_backwards: orientation.reads_columns_backwards(),
        rows_backwards: orientation.reads_rows_backwards(),
    };
    if orientation.swaps_axes() {
        swap(stored, from, to);
        return;
    }
    for (y, line) in to.chunks_exact_mut(stored.columns).enumerate() {
        line.copy_from_slice(&from[stored.row(y) * stored.columns..][..stored.columns]);
        if stored.columns_backwards {
            line.reverse();
        }
    }
}

/// Shows rows as columns.
fn swap<const N: usize>(stored: Stored, from: &[[u8; N]], to: &mut [[u8; N]]) {
    let (width, height) = (stored.rows, stored.columns);
    for top in (0..height).step_by(BLOCK) {
        for left in (0..width).step_by(BLOCK) {
            let columns = left..(left + BLOCK).min(width);
            let rows = top..(top + BLOCK).min(height);
            swap_block(stored, from, to, columns, rows);
        }
    }
}

/// A part of the shown picture: whole tiles of single bytes, and pixel by pixel what is left of it on the right and below.
fn swap_block<const N: usize>(
    stored: Stored,
    from: &[[u8; N]],
    to: &mut [[u8; N]],
    columns: Range<usize>,
    rows: Range<usize>,
) {
    let tiled = |range: &Range<usize>| {
        if N == 1 { range.start + range.len() / TILE * TILE } else { range.start }
    };
    let (right, bottom) = (tiled(&columns), tiled(&rows));
    for top in (rows.start..bottom).step_by(TILE) {
        for left in (columns.start..right).step_by(TILE) {
            swap_tile(stored, from.as_flattened(), to.as_flattened_mut(), (left, top));
        }
    }
    swap_pixels(stored, from, to, right..columns.end, rows.start..bottom);
    swap_pixels(stored, from, to, columns, bottom..rows.end);
}

fn swap_pixels<const N: usize>(
    stored: Stored,
    from: &[[u8; N]],
    to: &mut [[u8; N]],
    columns: Range<usize>,
    rows: Range<usize>,
) {
    for y in rows {
        let column = stored.column(y);
        let line = &mut to[y * stored.rows..][columns.clone()];
        for (x, pixel) in columns.clone().zip(line) {
            *pixel = from[stored.row(x) * stored.columns + column];
        }
    }
}

/// The tile that is shown with its upper left corner there.
fn swap_tile(stored: Stored, from: &[u8], to: &mut [u8], (left, top): (usize, usize)) {
    // The columns lie beside each other, whichever is shown first.
    let first = stored.column(top).min(stored.column(top + TILE - 1));
    let mut words: [u64; TILE] = std::array::from_fn(|x| {
        let start = stored.row(left + x) * stored.columns + first;
        from[start..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    });
    exchange::<4>(&mut words, 0x0000_0000_FFFF_FFFF);
    exchange::<2>(&mut words, 0x0000_FFFF_0000_FFFF);
    exchange::<1>(&mut words, 0x00FF_00FF_00FF_00FF);
    if stored.columns_backwards {
        words.reverse();
    }
    for (y, word) in (top..).zip(words) {
        to[y * stored.rows + left..][..TILE].copy_from_slice(&word.to_le_bytes());
    }
}

/// One step of the transposition of 8 × 8 bytes: in every square of twice `SIDE` bytes the quarter on the upper right and
/// that on the lower left change places. `mask` has the bytes of the left quarters. (Warren, Hacker's Delight, 7-3.)
fn exchange<const SIDE: usize>(words: &mut [u64; TILE], mask: u64) {
    for square in words.chunks_exact_mut(2 * SIDE) {
        let (upper, lower) = square.split_at_mut(SIDE);
        for (upper, lower) in upper.iter_mut().zip(lower) {
            let (above, below) = (*upper, *lower);
            *upper = above & mask | (below & mask) << (8 * SIDE);
            *lower = above >> (8 * SIDE) & mask | below & !mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::hashed;
    use proptest::prelude::*;

    /// The definition (CIPA DC-008, section 4.6.4), pixel by pixel: what is shown at a place.
    fn defined<const N: usize>(
        (width, height): (usize, usize),
        from: &[[u8; N]],
        orientation: Orientation,
    ) -> Vec<[u8; N]> {
        let (shown_width, shown_height) =
            if orientation.exif() > 4 { (height, width) } else { (width, height) };
        let stored = |x: usize, y: usize| match orientation.exif() {
            1 => (x, y),
            2 => (width - 1 - x, y),
            3 => (width - 1 - x, height - 1 - y),
            4 => (x, height - 1 - y),
            5 => (y, x),
            6 => (y, height - 1 - x),
            7 => (width - 1 - y, height - 1 - x),
            _ => (width - 1 - y, x),
        };
        (0..shown_width * shown_height)
            .map(|index| {
                let (x, y) = stored(index % shown_width, index / shown_width);
                from[y * width + x]
            })
            .collect()
    }

    fn assert_as_defined<const N: usize>((width, height): (usize, usize)) {
        let bytes: Vec<u8> = (0..(width * height * N) as u64).map(|index| hashed(index) as u8).collect();
        let (from, _) = bytes.as_chunks::<N>();
        for orientation in Orientation::ALL {
            let mut to = vec![[0; N]; from.len()];
            turn((width as u32, height as u32), from, &mut to, orientation);
            let alike = to == defined((width, height), from, orientation);
            assert!(alike, "{width}×{height} of {N} bytes, {orientation:?}");
        }
    }

    #[test]
    fn every_size_around_tiles_and_blocks() {
        for width in [1, 2, 7, 8, 9, 15, 16, 31, 32, 33, 40, 63, 64, 65] {
            for height in [1, 3, 7, 8, 9, 16, 17, 31, 32, 33, 39, 64, 70] {
                assert_as_defined::<1>((width, height));
            }
        }
    }

    proptest! {
        #[test]
        fn any_size_as_defined(width in 1_usize..150, height in 1_usize..150) {
            assert_as_defined::<1>((width, height));
            assert_as_defined::<3>((width, height));
            assert_as_defined::<4>((width, height));
        }
    }

    #[test]
    fn a_plane_by_a_quarter() {
        let (width, height) = (2048, 1536);
        let from: Vec<[u8; 1]> = (0..u64::from(width * height)).map(|index| [hashed(index) as u8]).collect();
        let mut to = vec![[0]; from.len()];
        let fastest = (0..5).map(|_| {
            let started = std::time::Instant::now();
            turn((width, height), &from, &mut to, Orientation::Rotate90);
            started.elapsed()
        });
        println!("turning 2048 × 1536 bytes by 90°: {:?}", fastest.min());
        assert_eq!(to[0], from[(height as usize - 1) * width as usize]);
    }
}
