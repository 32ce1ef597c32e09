//! A picture so small that only what the eye sees first is left of it, and its lowest cosines.

use std::f32::consts::PI;

/// Red, green and blue, already multiplied by alpha, and alpha; each from 0 to 1. Means of such pixels are right, means
/// of straight ones are not.
pub(super) type Premultiplied = [f32; 4];

/// Longest side of a reduction. ThumbHash's author found no benefit beyond.
const SIDE_MAX: usize = 100;
/// Shortest side. Narrower pictures are enlarged by repeating their pixels: on fewer samples than waves, a wave of
/// even brightness would look like one that varies.
const SIDE_MIN: usize = 8;

/// Rows of pixels of four values each.
#[derive(Debug)]
pub(super) struct Small {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) pixels: Vec<Premultiplied>,
}

impl Small {
    /// Reduces a picture with straight alpha until no side is longer than [`SIDE_MAX`].
    pub(super) fn of(width: u32, height: u32, rgba: &[u8]) -> Self {
        let from = (width as usize, height as usize);
        let to = size_within(from, SIDE_MAX);
        let (pixels, _) = rgba.as_chunks::<4>();
        let pixels = area_average(pixels, from, to, |[red, green, blue, alpha]| {
            let share = f32::from(alpha) / (255.0 * 255.0);
            [
                f32::from(red) * share,
                f32::from(green) * share,
                f32::from(blue) * share,
                f32::from(alpha) / 255.0,
            ]
        });
        Self { width: to.0, height: to.1, pixels }
    }

    /// Reduces it further, or enlarges it, to an exact size. `value` is what is averaged of each pixel.
    pub(super) fn averaged(&self, to: (usize, usize), value: impl Fn(Premultiplied) -> [f32; 4]) -> Self {
        let pixels = area_average(&self.pixels, (self.width, self.height), to, value);
        Self { width: to.0, height: to.1, pixels }
    }

    /// Reduces it until no side is longer than `longest`.
    pub(super) fn within(&self, longest: usize, value: impl Fn(Premultiplied) -> [f32; 4]) -> Self {
        self.averaged(size_within((self.width, self.height), longest), value)
    }

    /// The means of the picture times a wave along each axis: `across` × `down` of them, the waves along x varying
    /// fastest. Wave `k` along x is cos(π·k·(x + `phase`)/width); with a phase of ½ these are the terms of a DCT-II.
    pub(super) fn cosines(&self, across: usize, down: usize, phase: f32) -> Vec<[f32; 4]> {
        let waves_x = waves(across, self.width, phase);
        let waves_y = waves(down, self.height, phase);
        let scale = 1.0 / (self.width * self.height) as f32;
        let mut terms = Vec::with_capacity(across * down);
        let mut columns = vec![[0.0_f32; 4]; self.width];
        for wave in waves_y.chunks_exact(self.height) {
            columns.fill([0.0; 4]);
            for (row, weight) in self.pixels.chunks_exact(self.width).zip(wave) {
                add_weighted(&mut columns, row, *weight, |pixel| pixel);
            }
            for wave in waves_x.chunks_exact(self.width) {
                let mut term = [0.0; 4];
                for (column, weight) in columns.iter().zip(wave) {
                    add(&mut term, *column, *weight);
                }
                terms.push(term.map(|sum| sum * scale));
            }
        }
        terms
    }
}

/// Samples of the `count` lowest waves along an axis, one after the other.
fn waves(count: usize, length: usize, phase: f32) -> Vec<f32> {
    let sample = |wave: usize, x: usize| (PI * wave as f32 * (x as f32 + phase) / length as f32).cos();
    (0..count).flat_map(|wave| (0..length).map(move |x| sample(wave, x))).collect()
}

/// The size that keeps the aspect and has no side longer than `longest`, as far as [`SIDE_MIN`] allows.
fn size_within((width, height): (usize, usize), longest: usize) -> (usize, usize) {
    let side = width.max(height);
    let scaled = |length: usize| if side > longest { (length * longest + side / 2) / side } else { length };
    (scaled(width).max(SIDE_MIN), scaled(height).max(SIDE_MIN))
}

/// Each pixel of the result is the mean of the part of the picture that it covers; pixels covered in part count in
/// part. Rows are summed first: that is where the data is, and it is contiguous.
fn area_average<P: Copy>(
    pixels: &[P],
    from: (usize, usize),
    to: (usize, usize),
    value: impl Fn(P) -> [f32; 4],
) -> Vec<[f32; 4]> {
    let scale = 1.0 / (from.0 * from.1) as f32;
    let mut averaged = Vec::with_capacity(to.0 * to.1);
    let mut columns = vec![[0.0_f32; 4]; from.0];
    for y in 0..to.1 {
        columns.fill([0.0; 4]);
        for (row, weight) in covered(y, from.1, to.1) {
            add_weighted(&mut columns, &pixels[row * from.0..][..from.0], weight, &value);
        }
        for x in 0..to.0 {
            let mut sum = [0.0; 4];
            for (column, weight) in covered(x, from.0, to.0) {
                add(&mut sum, columns[column], weight);
            }
            averaged.push(sum.map(|sum| sum * scale));
        }
    }
    averaged
}

/// The source pixels that lie under a target pixel along one axis, and how much of each in units of 1/`to` of a pixel:
/// together these are `from`.
fn covered(target: usize, from: usize, to: usize) -> impl Iterator<Item = (usize, f32)> {
    let (begin, end) = (target * from, (target + 1) * from);
    (begin / to..=(end - 1) / to).map(move |source| {
        let overlap = end.min((source + 1) * to) - begin.max(source * to);
        (source, overlap as f32)
    })
}

fn add_weighted<P: Copy>(sums: &mut [[f32; 4]], row: &[P], weight: f32, value: impl Fn(P) -> [f32; 4]) {
    for (sum, pixel) in sums.iter_mut().zip(row) {
        add(sum, value(*pixel), weight);
    }
}

fn add(sum: &mut [f32; 4], value: [f32; 4], weight: f32) {
    for (sum, value) in sum.iter_mut().zip(value) {
        *sum += value * weight;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_their_aspect() {
        assert_eq!(size_within((320, 240), 100), (100, 75));
        assert_eq!(size_within((240, 320), 32), (24, 32));
        assert_eq!(size_within((100, 75), 100), (100, 75));
        assert_eq!(size_within((1, 1), 100), (8, 8));
        assert_eq!(size_within((1, 65_535), 100), (8, 100));
    }

    #[test]
    fn a_target_pixel_covers_what_lies_under_it() {
        let parts = |target, from, to| covered(target, from, to).collect::<Vec<_>>();
        assert_eq!(parts(0, 5, 2), [(0, 2.0), (1, 2.0), (2, 1.0)]);
        assert_eq!(parts(1, 5, 2), [(2, 1.0), (3, 2.0), (4, 2.0)]);
        assert_eq!(parts(3, 2, 4), [(1, 2.0)]);
        for (from, to) in [(1, 8), (7, 3), (100, 100), (321, 100), (3, 32)] {
            for target in 0..to {
                let total: f32 = covered(target, from, to).map(|(_, weight)| weight).sum();
                assert_eq!(total as usize, from, "{target} of {from} to {to}");
            }
        }
    }

    #[test]
    fn transparent_pixels_do_not_colour_the_mean() {
        // Opaque red beside invisible green.
        let rgba = [[200, 0, 0, 255], [0, 255, 0, 0]].concat().repeat(8 * 8);
        let small = Small::of(16, 8, &rgba).averaged((1, 1), |pixel| pixel);
        let [red, green, blue, alpha] = small.pixels[0];
        assert!((red - 100.0 / 255.0).abs() < 1e-5 && (alpha - 0.5).abs() < 1e-5);
        assert!(green.abs() < 1e-6 && blue.abs() < 1e-6);
    }

    #[test]
    fn a_wave_is_found_where_it_is() {
        let wave = |x: usize| (PI * 3.0 * (x as f32 + 0.5) / 20.0).cos();
        let pixels = (0..20 * 10).map(|index| [wave(index % 20), 1.0, 0.0, 0.0]).collect();
        let terms = Small { width: 20, height: 10, pixels }.cosines(5, 4, 0.5);
        for (index, term) in terms.iter().enumerate() {
            let expected = if index == 3 { 0.5 } else { 0.0 };
            assert!((term[0] - expected).abs() < 1e-6, "{index}: {term:?}");
            let expected = if index == 0 { 1.0 } else { 0.0 };
            assert!((term[1] - expected).abs() < 1e-6, "{index}: {term:?}");
        }
    }
}
