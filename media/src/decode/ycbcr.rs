//! Planes of luma and chroma, as video codecs deliver them, to rows of RGB or gray (ITU-T H.273, section 8.3): of any
//! weights, range, depth and subsampling. What the weights are says [`Weights`].
//!
//! Integers throughout: what comes out does not depend on the machine. Chroma that was halved is interpolated between
//! its neighbours, its samples taken to lie in the middle of the pixels that they stand for.

use crate::heif::{Chroma, Signal};
use crate::ycbcr::{Weights, fixed};

/// One decoded picture.
pub(super) trait Planes {
    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);
    fn chroma(&self) -> Chroma;
    /// Bits per sample: 8 to 16, the same for luma and chroma.
    fn bit_depth(&self) -> u8;
    /// What the codec's own headers say of the samples.
    fn signal(&self) -> Signal;
    /// Copies a row of luma (plane 0), blue (1) or red difference (2). `row` is as wide as the plane.
    fn copy_row(&self, plane: usize, y: usize, row: &mut [u16]);
}

/// How luma and chroma become red, green and blue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Matrix {
    /// The planes are green, blue and red.
    Identity,
    /// Differences, weighted: how much red and blue add to red, to green (negative), and to blue, each times 2¹⁶ of
    /// full range.
    Weighted { red: i32, green_by_blue: i32, green_by_red: i32, blue: i32 },
    /// Differences of green and orange.
    YCgCo,
}

impl Matrix {
    /// By its code point (table 4). `None` for those that are more than a matrix.
    fn new(code: u16) -> Option<Self> {
        match code {
            0 => Some(Self::Identity),
            8 => Some(Self::YCgCo),
            code => Weights::of_code(code).map(|weights| Self::Weighted {
                red: fixed(weights.red_of_cr()),
                green_by_blue: fixed(weights.green_of_cb()),
                green_by_red: fixed(weights.green_of_cr()),
                blue: fixed(weights.blue_of_cb()),
            }),
        }
    }
}

/// From the numbers of one component to full range: `(sample - zero) * gain`, where `gain` has [`Scale::BITS`] binary
/// places.
#[derive(Debug, Clone, Copy)]
struct Scale {
    zero: i32,
    gain: i32,
}

impl Scale {
    /// Sums of three products stay below 2³¹: of luma at most 1.17 × 2¹⁶, of chroma 2.2 times that.
    const BITS: u32 = 12;

    /// For luma and everything else that goes from black to white, to numbers from 0 to 65,535.
    fn luma(bit_depth: u8, full_range: bool) -> Self {
        let step = 1 << (bit_depth - 8);
        let (zero, range) = if full_range { (0, (1 << bit_depth) - 1) } else { (16 * step, 219 * step) };
        Self { zero, gain: gain(range) }
    }

    /// For differences, to numbers from -32,767 to 32,767.
    fn chroma(bit_depth: u8, full_range: bool) -> Self {
        let range = if full_range { (1 << bit_depth) - 1 } else { 224 << (bit_depth - 8) };
        Self { zero: 1 << (bit_depth - 1), gain: gain(range) }
    }

    const fn apply(self, sample: u16) -> i32 {
        (sample as i32 - self.zero) * self.gain
    }
}

/// What a range must be multiplied with to fill 16 bits.
fn gain(range: i32) -> i32 {
    (f64::from(65_535 << Scale::BITS) / f64::from(range)).round() as i32
}

/// From 0..65,535 with [`Scale::BITS`] binary places to a sample.
fn sample(value: i32) -> u16 {
    ((value + (1 << (Scale::BITS - 1))) >> Scale::BITS).clamp(0, 65_535) as u16
}

/// Makes rows of one picture.
pub(super) struct Converter {
    chroma: Chroma,
    matrix: Matrix,
    luma: Scale,
    difference: Scale,
    width: usize,
    chroma_height: usize,
    /// Rows of luma, blue and red difference, at the width of the picture.
    rows: [Vec<u16>; 3],
    /// Rows of chroma as stored: the nearest and the one behind it.
    near: Vec<u16>,
    far: Vec<u16>,
}

impl Converter {
    /// `None` if the matrix is none, or does not go with the chroma.
    pub(super) fn new(picture: &dyn Planes, signal: Signal) -> Option<Self> {
        let (chroma, bits) = (picture.chroma(), picture.bit_depth());
        let matrix = if chroma == Chroma::None { Matrix::Identity } else { Matrix::new(signal.matrix)? };
        if matrix == Matrix::Identity && !matches!(chroma, Chroma::None | Chroma::S444) {
            return None;
        }
        let width = picture.size().0 as usize;
        let (halved_rows, halved_columns) = chroma.halved();
        let height = picture.size().1 as usize;
        let chroma_width = if halved_columns { width.div_ceil(2) } else { width };
        let colored = if chroma == Chroma::None { 0 } else { width };
        Some(Self {
            chroma,
            matrix,
            luma: Scale::luma(bits, signal.full_range),
            difference: Scale::chroma(bits, signal.full_range),
            width,
            chroma_height: if halved_rows { height.div_ceil(2) } else { height },
            rows: [vec![0; width], vec![0; colored], vec![0; colored]],
            near: vec![0; chroma_width],
            far: vec![0; chroma_width],
        })
    }

    /// Samples per pixel: 1 or 3.
    pub(super) const fn channels(&self) -> usize {
        if matches!(self.chroma, Chroma::None) { 1 } else { 3 }
    }

    /// Row `y` of the picture, from 0 to 65,535, as wide as it is.
    pub(super) fn row(&mut self, picture: &dyn Planes, y: usize, out: &mut [u16]) {
        picture.copy_row(0, y, &mut self.rows[0]);
        if self.chroma == Chroma::None {
            for (out, luma) in out.iter_mut().zip(&self.rows[0]) {
                *out = sample(self.luma.apply(*luma));
            }
            return;
        }
        for plane in [1, 2] {
            self.chroma_row(picture, plane, y);
        }
        let [first, second, third] = &self.rows;
        let pixels = first.iter().zip(second).zip(third);
        let (luma, difference) = (self.luma, self.difference);
        let (out, _) = out.as_chunks_mut::<3>();
        match self.matrix {
            Matrix::Identity => {
                for (out, ((green, blue), red)) in out.iter_mut().zip(pixels) {
                    *out = [*red, *green, *blue].map(|component| sample(luma.apply(component)));
                }
            }
            Matrix::Weighted { red, green_by_blue, green_by_red, blue } => {
                // The chroma's gain goes into the weights, so that a pixel costs four products more than its luma.
                let weight = |weight: i32| ((i64::from(weight) * i64::from(difference.gain)) >> 16) as i32;
                let [red, green_by_blue, green_by_red, blue] =
                    [red, green_by_blue, green_by_red, blue].map(weight);
                for (out, ((y, cb), cr)) in out.iter_mut().zip(pixels) {
                    let y = luma.apply(*y);
                    let (cb, cr) = (i32::from(*cb) - difference.zero, i32::from(*cr) - difference.zero);
                    let green = y - cb * green_by_blue - cr * green_by_red;
                    *out = [y + cr * red, green, y + cb * blue].map(sample);
                }
            }
            Matrix::YCgCo => {
                for (out, ((y, cg), co)) in out.iter_mut().zip(pixels) {
                    let y = luma.apply(*y);
                    let (cg, co) = (difference.apply(*cg), difference.apply(*co));
                    *out = [y - cg + co, y + cg, y - cg - co].map(sample);
                }
            }
        }
    }

    /// Brings a row of chroma to the width of the picture, at its row `y`.
    fn chroma_row(&mut self, picture: &dyn Planes, plane: usize, y: usize) {
        let (halved_rows, halved_columns) = self.chroma.halved();
        let row = &mut self.rows[plane];
        if !halved_columns {
            picture.copy_row(plane, y, row);
            return;
        }
        let nearest = if halved_rows { y / 2 } else { y };
        picture.copy_row(plane, nearest, &mut self.near);
        if halved_rows {
            // The other neighbour lies above an even row and below an odd one.
            let beside = if y.is_multiple_of(2) {
                nearest.saturating_sub(1)
            } else {
                (nearest + 1).min(self.chroma_height - 1)
            };
            picture.copy_row(plane, beside, &mut self.far);
            for (near, far) in self.near.iter_mut().zip(&self.far) {
                *near = between(*near, *far);
            }
        }
        spread(&self.near, row);
        debug_assert_eq!(row.len(), self.width);
    }
}

/// A quarter of the way from one sample to another.
const fn between(near: u16, far: u16) -> u16 {
    ((near as u32 * 3 + far as u32 + 2) >> 2) as u16
}

/// Interpolates a halved row to its whole width.
fn spread(halved: &[u16], row: &mut [u16]) {
    let last = row.len() - 1;
    row[0] = halved[0];
    row[last] = halved[halved.len() - 1];
    let pairs = row.get_mut(1..).unwrap_or_default().chunks_exact_mut(2);
    for (pair, neighbours) in pairs.zip(halved.windows(2)) {
        pair[0] = between(neighbours[0], neighbours[1]);
        pair[1] = between(neighbours[1], neighbours[0]);
    }
}

/// Transparency: the luma of a picture, from 0 to 255.
pub(super) struct Opacity {
    scale: Scale,
    row: Vec<u16>,
}

impl Opacity {
    pub(super) fn new(picture: &dyn Planes, full_range: bool) -> Self {
        let width = picture.size().0 as usize;
        Self { scale: Scale::luma(picture.bit_depth(), full_range), row: vec![0; width] }
    }

    /// Row `y` of the picture.
    pub(super) fn row(&mut self, picture: &dyn Planes, y: usize) -> impl Iterator<Item = u8> {
        picture.copy_row(0, y, &mut self.row);
        let scale = self.scale;
        self.row.iter().map(move |opacity| to_8_bits(sample(scale.apply(*opacity))))
    }
}

/// To the nearest.
pub(super) const fn to_8_bits(sample: u16) -> u8 {
    // Division by 257, exact for all 16 bits.
    ((sample as u32 * 255 + 32_895) >> 16) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Flat {
        size: (u32, u32),
        chroma: Chroma,
        bits: u8,
        samples: [u16; 3],
    }

    impl Planes for Flat {
        fn size(&self) -> (u32, u32) {
            self.size
        }
        fn chroma(&self) -> Chroma {
            self.chroma
        }
        fn bit_depth(&self) -> u8 {
            self.bits
        }
        fn signal(&self) -> Signal {
            Signal { primaries: 2, transfer: 2, matrix: 2, full_range: false }
        }
        fn copy_row(&self, plane: usize, _: usize, row: &mut [u16]) {
            row.fill(self.samples[plane]);
        }
    }

    fn converted(bits: u8, chroma: Chroma, samples: [u16; 3], matrix: u16, full_range: bool) -> Vec<u8> {
        let picture = Flat { size: (5, 3), chroma, bits, samples };
        let signal = Signal { matrix, full_range, ..picture.signal() };
        let mut converter = Converter::new(&picture, signal).unwrap();
        let mut row = vec![0; 5 * converter.channels()];
        converter.row(&picture, 2, &mut row);
        let (pixels, _) = row.as_chunks::<3>();
        if chroma == Chroma::None {
            return vec![to_8_bits(row[4])];
        }
        assert!(pixels.iter().all(|pixel| *pixel == pixels[0]), "{pixels:?}");
        pixels[0].map(to_8_bits).to_vec()
    }

    #[test]
    fn black_white_and_colours_come_out_in_every_range_depth_and_matrix() {
        for chroma in [Chroma::S420, Chroma::S422, Chroma::S444] {
            for matrix in [1, 2, 4, 5, 6, 7, 8, 9] {
                for bits in [8, 10, 12] {
                    let step = 1 << (bits - 8);
                    let (gray, full) = (128 * step, (1 << bits) - 1);
                    assert_eq!(converted(bits, chroma, [16 * step, gray, gray], matrix, false), [0; 3]);
                    assert_eq!(converted(bits, chroma, [235 * step, gray, gray], matrix, false), [255; 3]);
                    assert_eq!(converted(bits, chroma, [0, gray, gray], matrix, true), [0; 3]);
                    assert_eq!(converted(bits, chroma, [full, gray, gray], matrix, true), [255; 3]);
                }
            }
        }
        // Pure red, by hand: Y = Kr, Cr = 1/2, Cb = -Kr / (2 (1 - Kb)).
        assert_eq!(converted(8, Chroma::S444, [76, 85, 255], 6, true), [254, 0, 0]);
        assert_eq!(converted(8, Chroma::S420, [63, 102, 240], 1, false), [255, 1, 0]);
        assert_eq!(converted(10, Chroma::S422, [269, 369, 1023], 9, true), [255, 0, 0]);
        // Green, blue, red.
        assert_eq!(converted(8, Chroma::S444, [20, 30, 10], 0, true), [10, 20, 30]);
        // Green: Y = 1/2, Cg = 1/2, Co = 0.
        assert_eq!(converted(8, Chroma::S444, [128, 255, 128], 8, true), [1, 255, 1]);
        assert_eq!(converted(12, Chroma::None, [4095, 0, 0], 2, true), [255]);
        assert_eq!(converted(8, Chroma::None, [235, 0, 0], 0, false), [255]);
    }

    #[test]
    fn eight_bits_are_the_nearest() {
        for value in 0..=u16::MAX {
            assert_eq!(to_8_bits(value), (f64::from(value) / 257.0).round() as u8, "{value}");
        }
    }

    #[test]
    fn what_is_no_matrix_is_none() {
        let picture = Flat { size: (2, 2), chroma: Chroma::S420, bits: 8, samples: [0; 3] };
        for matrix in [0, 3, 10, 11, 14, 15, 255, 65_535] {
            assert!(Converter::new(&picture, Signal { matrix, ..picture.signal() }).is_none(), "{matrix}");
        }
    }

    #[test]
    fn halved_rows_are_interpolated_to_any_width() {
        for (width, expected) in [
            (1, vec![100]),
            (2, vec![100, 100]),
            (3, vec![100, 125, 175]),
            (4, vec![100, 125, 175, 200]),
            (5, vec![100, 125, 175, 225, 275]),
        ] {
            let halved: Vec<u16> = [100, 200, 300][..usize::div_ceil(width, 2)].to_vec();
            let mut row = vec![0; width];
            spread(&halved, &mut row);
            assert_eq!(row, expected, "{width}");
        }
    }
}
