//! Where to cut when a crop has no point: which window of a small picture is worth keeping.
//!
//! Both measures give the centre of that window, as fractions of the picture's width and height, so that it can be used
//! on any larger copy. Windows lie whole inside the picture, and the crop is first reduced to its size where it is
//! larger. A crop that fills the picture along one axis moves only along the other. One that fills neither is placed
//! from left to right first, as high as the picture, and then from top to bottom in the columns that were chosen: that
//! is as many windows as the picture has columns and rows, not their product.
//!
//! Equal windows are one: of a run of them, the place nearest to the centre is taken, and of several runs the nearest,
//! of two that are as near the first. So a picture without anything in it is cut at exactly (0.5, 0.5).

use std::ops::Range;

use crate::ycbcr;

/// Cells along the longer side of the grid on which attention is measured.
const CELLS: usize = 64;

/// The window in which most is to be seen: that with the greatest Shannon entropy of its histogram of luma, as in
/// libvips' `smartcrop` (`VIPS_INTERESTING_ENTROPY`), but of every window rather than of the slices that it trims.
///
/// `luma` has a byte for each of `width` × `height` pixels, both at least 1; `crop` is in these pixels. Meant for
/// pictures of some hundred pixels: 256 logarithms are taken for every column and row.
pub(crate) fn entropy(width: u32, height: u32, luma: &[u8], crop: (u32, u32)) -> (f64, f64) {
    let axes = Axes::new(width, height, crop);
    let stride = axes.width;
    axes.centre(
        |window| {
            let column = |x: usize| luma.iter().skip(x).step_by(stride).copied();
            entropies(axes.width, window, column)
        },
        |columns, window| {
            let row = |y: usize| luma[y * stride..][columns.clone()].iter().copied();
            entropies(axes.height, window, row)
        },
    )
}

/// The window that draws the eye: edges, skin and saturated colours, after libvips' `smartcrop`
/// (`VIPS_INTERESTING_ATTENTION`) and smartcrop.js, from which it has the colour of skin.
///
/// `rgb` has three bytes for each of `width` × `height` pixels, both at least 1; `crop` is in these pixels. What is
/// salient counts the more, the nearer it is to the middle of a window, so that it comes to lie there.
pub(crate) fn attention(width: u32, height: u32, rgb: &[u8], crop: (u32, u32)) -> (f64, f64) {
    let axes = Axes::new(width, height, crop);
    let grid = Saliency::new(axes.width, axes.height, rgb);
    axes.centre(
        |window| {
            let of_cells: Vec<u64> = (0..grid.across).map(|x| grid.sum(x..x + 1, 0..grid.down)).collect();
            centred_sums(axes.width, window, |x| of_cells[x / grid.side])
        },
        |columns, window| {
            let cells = columns.start / grid.side..(columns.end - 1) / grid.side + 1;
            let of_cells: Vec<u64> = (0..grid.down).map(|y| grid.sum(cells.clone(), y..y + 1)).collect();
            centred_sums(axes.height, window, |y| of_cells[y / grid.side])
        },
    )
}

/// A picture and the window that is to be placed in it.
struct Axes {
    width: usize,
    height: usize,
    window: (usize, usize),
}

impl Axes {
    fn new(width: u32, height: u32, crop: (u32, u32)) -> Self {
        let window = (crop.0.min(width).max(1) as usize, crop.1.min(height).max(1) as usize);
        Self { width: width as usize, height: height as usize, window }
    }

    /// Places the window with the scores of its positions along x, then along y in the columns that were chosen. Axes
    /// along which it cannot move are not scored.
    fn centre(
        &self,
        along_x: impl FnOnce(usize) -> Vec<f64>,
        along_y: impl FnOnce(Range<usize>, usize) -> Vec<f64>,
    ) -> (f64, f64) {
        let (across, down) = self.window;
        let left = if across < self.width { best(&along_x(across)) } else { 0 };
        let columns = left / 2..left / 2 + across;
        let top = if down < self.height { best(&along_y(columns, down)) } else { 0 };
        let fraction =
            |start: usize, window: usize, length: usize| (start + window) as f64 / (2 * length) as f64;
        (fraction(left, across, self.width), fraction(top, down, self.height))
    }
}

/// The position of the greatest score, in halves: the centre of an even number of positions lies between two.
fn best(scores: &[f64]) -> usize {
    let centre = scores.len() - 1;
    let greatest = scores.iter().fold(0.0_f64, |greatest, score| greatest.max(*score));
    // Sums of the same numbers in another order differ in their last bits.
    let enough = greatest * (1.0 - 1e-9);
    let mut nearest = None;
    let mut start = 0;
    for run in scores.chunk_by(|a, b| (*a >= enough) == (*b >= enough)) {
        if run[0] >= enough {
            let place = centre.clamp(2 * start, 2 * (start + run.len() - 1));
            if nearest.is_none_or(|other: usize| place.abs_diff(centre) < other.abs_diff(centre)) {
                nearest = Some(place);
            }
        }
        start += run.len();
    }
    nearest.unwrap_or(centre)
}

/// The entropy, in bits for each pixel, of every window of that many slices out of `slices`.
fn entropies<S: Iterator<Item = u8>>(slices: usize, window: usize, slice: impl Fn(usize) -> S) -> Vec<f64> {
    let mut histogram = [0_u32; 256];
    for value in (0..window).flat_map(&slice) {
        histogram[usize::from(value)] += 1;
    }
    let mut scores = vec![entropy_of(&histogram)];
    for next in window..slices {
        for value in slice(next) {
            histogram[usize::from(value)] += 1;
        }
        for value in slice(next - window) {
            histogram[usize::from(value)] -= 1;
        }
        scores.push(entropy_of(&histogram));
    }
    scores
}

fn entropy_of(histogram: &[u32; 256]) -> f64 {
    let total = f64::from(histogram.iter().sum::<u32>());
    let information = |count: &u32| f64::from(*count) * (total / f64::from(*count)).log2();
    histogram.iter().filter(|count| **count > 0).map(information).sum::<f64>() / total
}

/// For every window of that many values out of `length`, their sum weighted by a tent: 1 at either end, one more with
/// each step inwards. A tent is a box over a box, so two running sums do.
fn centred_sums(length: usize, window: usize, value: impl Fn(usize) -> u64) -> Vec<f64> {
    let values: Vec<u64> = (0..length).map(value).collect();
    let tents = running_sums(&running_sums(&values, window.div_ceil(2)), window / 2 + 1);
    tents.into_iter().map(|sum| sum as f64).collect()
}

/// The sums of every `window` neighbours.
fn running_sums(values: &[u64], window: usize) -> Vec<u64> {
    let mut sum: u64 = values[..window].iter().sum();
    let mut sums = vec![sum];
    for (gone, come) in values.iter().zip(&values[window..]) {
        sum = sum + come - gone;
        sums.push(sum);
    }
    sums
}

/// How much of a picture draws the eye, by square cells. Cells average away the noise of the sensor, which has the
/// sharpest edges of all.
struct Saliency {
    /// Pixels along the side of a cell; the last of a row or column may be narrower.
    side: usize,
    across: usize,
    down: usize,
    cells: Vec<u64>,
}

impl Saliency {
    fn new(width: usize, height: usize, rgb: &[u8]) -> Self {
        let side = width.max(height).div_ceil(CELLS);
        let (across, down) = (width.div_ceil(side), height.div_ceil(side));
        let colours = cell_means(width, side, across, down, rgb);
        let luma: Vec<f32> = colours.iter().map(|colour| ycbcr::luma(*colour)).collect();
        let cell = |x: usize, y: usize| {
            let at = y * across + x;
            let (left, right) = (at - usize::from(x > 0), at + usize::from(x + 1 < across));
            let (above, below) =
                (at - if y > 0 { across } else { 0 }, at + if y + 1 < down { across } else { 0 });
            // A Laplacian.
            let edge = 4.0 * luma[at] - luma[left] - luma[right] - luma[above] - luma[below];
            (edge.abs().min(255.0) + skin(colours[at], luma[at]) + saturation(colours[at], luma[at]) / 4.0)
                as u64
        };
        let cells = (0..across * down).map(|index| cell(index % across, index / across)).collect();
        Self { side, across, down, cells }
    }

    fn sum(&self, columns: Range<usize>, rows: Range<usize>) -> u64 {
        rows.map(|y| self.cells[y * self.across..][columns.clone()].iter().sum::<u64>()).sum()
    }
}

/// The mean colours of square cells, from 0 to 255.
fn cell_means(width: usize, side: usize, across: usize, down: usize, rgb: &[u8]) -> Vec<[f32; 3]> {
    let (pixels, _) = rgb.as_chunks::<3>();
    let mut sums = vec![[0_u32; 4]; across * down];
    for (y, row) in pixels.chunks_exact(width).enumerate() {
        let cells = &mut sums[y / side * across..][..across];
        for (cell, pixels) in cells.iter_mut().zip(row.chunks(side)) {
            for [red, green, blue] in pixels {
                for (sum, value) in cell.iter_mut().zip([*red, *green, *blue, 1]) {
                    *sum += u32::from(value);
                }
            }
        }
    }
    sums.iter().map(|[sums @ .., count]| sums.map(|sum| sum as f32 / *count as f32)).collect()
}

/// Likeness to the colour of skin, 0 to 255: that of smartcrop.js, which compares directions in RGB (brightness apart)
/// and takes what is within 0.2 of (0.78, 0.57, 0.44). Dark skin has that direction as well as light.
fn skin(colour: [f32; 3], luma: f32) -> f32 {
    let length = colour.iter().map(|value| value * value).sum::<f32>().sqrt();
    // Where it is too dark to see a colour.
    if luma < 255.0 * 0.2 {
        return 0.0;
    }
    let distance = colour.iter().zip([0.78, 0.57, 0.44]).map(|(value, skin)| (value / length - skin).powi(2));
    (1.0 - distance.sum::<f32>().sqrt() / 0.2).max(0.0) * 255.0
}

/// Saturation beyond 0.4 (that of HSL), 0 to 255: smartcrop.js's threshold, and its bounds of brightness.
fn saturation([red, green, blue]: [f32; 3], luma: f32) -> f32 {
    if !(255.0 * 0.05..=255.0 * 0.9).contains(&luma) {
        return 0.0;
    }
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    let room = if most + least > 255.0 { 510.0 - most - least } else { most + least };
    (((most - least) / room.max(1.0)).min(1.0) - 0.4).max(0.0) / 0.6 * 255.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pictures::{hashed, painted, photo};
    use proptest::prelude::*;

    const GRAY: [u8; 3] = [128; 3];

    fn luma(rgb: &[u8]) -> Vec<u8> {
        rgb.as_chunks::<3>().0.iter().map(|pixel| pixel[1]).collect()
    }

    fn noise(x: u32, y: u32) -> u8 {
        hashed(u64::from(x) << 32 | u64::from(y)) as u8
    }

    /// Both measures of a picture.
    fn both(width: u32, height: u32, rgb: &[u8], crop: (u32, u32)) -> [(f64, f64); 2] {
        [entropy(width, height, &luma(rgb), crop), attention(width, height, rgb, crop)]
    }

    fn assert_near(found: (f64, f64), expected: (f64, f64), what: &str) {
        let far = (found.0 - expected.0).hypot(found.1 - expected.1);
        assert!(far < 0.05, "{what}: {found:?} instead of {expected:?}");
    }

    #[test]
    fn detail_is_found_in_every_corner() {
        for (left, top) in [(0_u32, 0_u32), (240, 0), (0, 180), (240, 180)] {
            let rgb = painted(320, 240, |x, y| {
                let inside = (left..left + 80).contains(&x) && (top..top + 60).contains(&y);
                if inside { [noise(x / 4, y / 4); 3] } else { GRAY }
            });
            let (right, low) = (left > 0, top > 0);
            for (index, found) in both(320, 240, &rgb, (80, 60)).into_iter().enumerate() {
                let expected = (if right { 0.875 } else { 0.125 }, if low { 0.875 } else { 0.125 });
                assert_near(found, expected, &format!("measure {index}"));
            }
            // As high as the picture: it only moves sideways.
            for found in both(320, 240, &rgb, (240, 240)) {
                assert_eq!(found.1.to_bits(), 0.5_f64.to_bits());
                assert!((found.0 > 0.5) == right, "{found:?}");
            }
            for found in both(320, 240, &rgb, (320, 100)) {
                assert_eq!(found.0.to_bits(), 0.5_f64.to_bits());
                assert!((found.1 > 0.5) == low, "{found:?}");
            }
        }
    }

    #[test]
    fn skin_draws_the_eye_from_noise() {
        // Light and dark skin at the right, as much noise at the left.
        for tone in [[224, 172, 140], [120, 84, 66]] {
            let rgb = painted(320, 240, |x, y| {
                let inside = |centre: f64| (f64::from(x) - centre).hypot(f64::from(y) - 120.0) < 50.0;
                if inside(240.0) {
                    tone
                } else if inside(80.0) {
                    [noise(x, y); 3]
                } else {
                    GRAY
                }
            });
            assert_near(attention(320, 240, &rgb, (160, 240)), (0.75, 0.5), "skin");
            assert_near(entropy(320, 240, &luma(&rgb), (100, 240)), (0.25, 0.5), "noise has more entropy");
        }
    }

    #[test]
    fn what_draws_the_eye_comes_to_lie_in_the_middle() {
        for centre in [90_u32, 130, 160, 200] {
            let rgb = painted(320, 200, |x, y| {
                let inside = x.abs_diff(centre) <= 10 && y.abs_diff(100) <= 10;
                if inside { [220, 30, 30] } else { GRAY }
            });
            let found = attention(320, 200, &rgb, (120, 200));
            assert_near(found, (f64::from(centre) / 320.0, 0.5), "a red square");
        }
    }

    #[test]
    fn flat_pictures_are_cut_at_the_centre() {
        for colour in [GRAY, [0; 3], [255; 3], [224, 172, 140], [200, 20, 30]] {
            for (width, height) in [(1, 1), (2, 1), (7, 5), (320, 240), (319, 127), (240, 320)] {
                let rgb = painted(width, height, |_, _| colour);
                for crop in [(1, 1), (4, 3), (100, 240), (33, 71), (320, 1), (1000, 1000), (0, 0)] {
                    for (x, y) in both(width, height, &rgb, crop) {
                        let exact = x.to_bits() == 0.5_f64.to_bits() && y.to_bits() == 0.5_f64.to_bits();
                        assert!(exact, "{width} × {height}, {crop:?}: ({x}, {y})");
                    }
                }
            }
        }
    }

    #[test]
    fn ties_go_to_the_centre() {
        assert_eq!(best(&[1.0; 4]), 3);
        assert_eq!(best(&[0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0]), 4);
        assert_eq!(best(&[0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 0.0]), 12);
        // As near on either side: the first.
        assert_eq!(best(&[1.0, 0.0, 1.0]), 0);
        assert_eq!(best(&[1.0, 0.0, 1.0 + 1e-12]), 0);
        assert_eq!(best(&[0.0]), 0);
    }

    #[test]
    fn a_tent_is_highest_in_its_middle() {
        for window in 1..9 {
            let found = centred_sums(17, window, |index| u64::from(index == 8));
            let expected: Vec<f64> = (0..=17 - window)
                .map(|start| {
                    if (start..start + window).contains(&8) { (9 - start).min(start + window - 8) } else { 0 }
                })
                .map(|weight| weight as f64)
                .collect();
            assert_eq!(found, expected, "{window}");
        }
    }

    #[test]
    fn entropy_is_that_of_the_window() {
        let value = [3_u8, 3, 9, 9, 1, 2, 3, 4];
        let found = entropies(8, 4, |index| std::iter::once(value[index]));
        let expected = [1.0, 1.5, 1.5, 2.0, 2.0];
        assert!(
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-12),
            "{found:?}"
        );
    }

    #[test]
    fn a_mirrored_picture_has_a_mirrored_focus() {
        let rgb = photo(4, 160, 120);
        let mirrored = painted(160, 120, |x, y| {
            let at = ((y * 160) + 159 - x) as usize * 3;
            [rgb[at], rgb[at + 1], rgb[at + 2]]
        });
        let found = both(160, 120, &rgb, (70, 120));
        let turned = both(160, 120, &mirrored, (70, 120));
        assert!((found[0].0 + turned[0].0 - 1.0).abs() < 1e-9, "{found:?} and {turned:?}");
        // Cells are laid from the left, and the last may be cut.
        assert!((found[1].0 + turned[1].0 - 1.0).abs() < 0.03, "{found:?} and {turned:?}");
    }

    #[test]
    fn the_measures_take_little_time() {
        let rgb = photo(1, 320, 240);
        let luma = luma(&rgb);
        let fastest = |measure: &dyn Fn() -> (f64, f64)| {
            let times = (0..10).map(|_| {
                let started = std::time::Instant::now();
                std::hint::black_box(measure());
                started.elapsed()
            });
            times.min().unwrap()
        };
        let entropy = fastest(&|| entropy(320, 240, &luma, (160, 120)));
        let attention = fastest(&|| attention(320, 240, &rgb, (160, 120)));
        println!("entropy: {entropy:?}, attention: {attention:?}");
        // Far above what they take, and far below what all windows one by one would.
        assert!(entropy.max(attention) < std::time::Duration::from_millis(50));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(600))]

        #[test]
        fn windows_lie_inside(
            width in 1_u32..=40,
            height in 1_u32..=40,
            crop in (0_u32..=50, 0_u32..=50),
            seed in any::<u32>(),
        ) {
            let rgb = painted(width, height, |x, y| [0, 7, 31].map(|add| noise(x.wrapping_add(seed), y + add)));
            for (x, y) in both(width, height, &rgb, crop) {
                for (centre, window, length) in [(x, crop.0, width), (y, crop.1, height)] {
                    let half = f64::from(window.clamp(1, length)) / 2.0;
                    let centre = centre * f64::from(length);
                    prop_assert!(centre - half >= -1e-9 && centre + half <= f64::from(length) + 1e-9);
                }
            }
        }
    }
}
