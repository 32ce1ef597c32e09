//! Luma and chroma: what they weigh, and `YCbCr` as JPEG has it (JFIF: BT.601, full range, 8 bits) to RGB and back.
//!
//! Video codecs have other weights, ranges and depths as well: `decode/ycbcr.rs` makes them of the weights here.

use crate::frame::{Frame, Layout, Plane, Planes};

/// What red and blue are of luma (ITU-T H.273, section 8.3); the rest is green. Every factor between `YCbCr` and RGB
/// follows from these two.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Weights {
    pub(crate) red: f64,
    pub(crate) blue: f64,
}

impl Weights {
    /// Television of old, and JPEG (T.871, section 7).
    pub(crate) const BT601: Self = Self { red: 0.299, blue: 0.114 };

    /// By their code point (table 4). `None` for the matrices that are made otherwise.
    pub(crate) const fn of_code(code: u16) -> Option<Self> {
        let (red, blue) = match code {
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            // What is not said is what JPEG has always been.
            2 | 5 | 6 => return Some(Self::BT601),
            7 => (0.212, 0.087),
            9 => (0.2627, 0.0593),
            _ => return None,
        };
        Some(Self { red, blue })
    }

    pub(crate) const fn green(self) -> f64 {
        1.0 - self.red - self.blue
    }

    /// How much red gains by its difference.
    pub(crate) const fn red_of_cr(self) -> f64 {
        2.0 * (1.0 - self.red)
    }

    /// How much blue gains by its difference.
    pub(crate) const fn blue_of_cb(self) -> f64 {
        2.0 * (1.0 - self.blue)
    }

    /// How much green loses by the difference of red.
    pub(crate) const fn green_of_cr(self) -> f64 {
        self.red_of_cr() * self.red / self.green()
    }

    /// How much green loses by the difference of blue.
    pub(crate) const fn green_of_cb(self) -> f64 {
        self.blue_of_cb() * self.blue / self.green()
    }
}

/// Fixed point: 16 bits behind the point.
const ONE: i32 = 1 << 16;
const HALF: i32 = ONE / 2;

/// A factor in fixed point, to the nearest.
pub(crate) const fn fixed(factor: f64) -> i32 {
    (factor * 65_536.0 + if factor < 0.0 { -0.5 } else { 0.5 }) as i32
}

const RED_OF_CR: i32 = fixed(Weights::BT601.red_of_cr());
const GREEN_OF_CB: i32 = fixed(-Weights::BT601.green_of_cb());
const GREEN_OF_CR: i32 = fixed(-Weights::BT601.green_of_cr());
const BLUE_OF_CB: i32 = fixed(Weights::BT601.blue_of_cb());
/// Luma of red, green and blue.
const LUMA: [i32; 3] = {
    let weights = Weights::BT601;
    [fixed(weights.red), fixed(weights.green()), fixed(weights.blue)]
};
/// Differences of red, green and blue: what a colour has beyond luma, divided by its gain.
const CB: [i32; 3] = {
    let (weights, gain) = (Weights::BT601, Weights::BT601.blue_of_cb());
    [fixed(-weights.red / gain), fixed(-weights.green() / gain), fixed(0.5)]
};
const CR: [i32; 3] = {
    let (weights, gain) = (Weights::BT601, Weights::BT601.red_of_cr());
    [fixed(0.5), fixed(-weights.green() / gain), fixed(-weights.blue / gain)]
};

/// Luma of red, green and blue, whatever white is.
pub(crate) fn luma([red, green, blue]: [f32; 3]) -> f32 {
    let weights = Weights::BT601;
    weights.red as f32 * red + weights.green() as f32 * green + weights.blue as f32 * blue
}

/// No colour, four times, and half of the last place that is cut off.
const FOUR_MIDDLES: i32 = (128 << 18) + (1 << 17);

const fn clamped(value: i32) -> u8 {
    if value < 0 {
        0
    } else if value > 255 {
        255
    } else {
        value as u8
    }
}

/// One pixel.
pub(crate) fn rgb([luma, blue, red]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(luma) * ONE + HALF, i32::from(blue) - 128, i32::from(red) - 128);
    [
        clamped((y + RED_OF_CR * cr) >> 16),
        clamped((y + GREEN_OF_CB * cb + GREEN_OF_CR * cr) >> 16),
        clamped((y + BLUE_OF_CB * cb) >> 16),
    ]
}

/// The luma of one pixel.
pub(crate) fn luma_of([red, green, blue]: [u8; 3]) -> u8 {
    let (r, g, b) = (i32::from(red), i32::from(green), i32::from(blue));
    // The factors' sum is 1: at most 255.
    ((LUMA[0] * r + LUMA[1] * g + LUMA[2] * b + HALF) >> 16) as u8
}

/// Planes of one size to RGB. The caller has brought chroma to the luma's size.
pub(crate) fn to_rgb(planes: &Planes) -> Frame {
    debug_assert_eq!(planes.step, (1, 1));
    let (width, height) = planes.size();
    let mut frame = Frame::zeroed(width, height, Layout::Rgb);
    let (pixels, _) = frame.data.as_chunks_mut::<3>();
    let samples = planes.luma.data.iter().zip(&planes.blue.data).zip(&planes.red.data);
    for (pixel, ((luma, blue), red)) in pixels.iter_mut().zip(samples) {
        *pixel = rgb([*luma, *blue, *red]);
    }
    frame
}

/// A row of planes of one width to RGB.
pub(crate) fn rgb_row(luma: &[u8], blue: &[u8], red: &[u8], pixels: &mut [[u8; 3]]) {
    for (pixel, ((luma, blue), red)) in pixels.iter_mut().zip(luma.iter().zip(blue).zip(red)) {
        *pixel = rgb([*luma, *blue, *red]);
    }
}

/// Two rows of RGB to two rows of luma, one after the other, and one of each chroma: the mean of 2 × 2 pixels. Where there is
/// no second row, `lumas` holds one only, and `lower` is the first again.
pub(crate) fn halve_pair(
    upper: &[[u8; 3]],
    lower: &[[u8; 3]],
    lumas: &mut [u8],
    blues: &mut [u8],
    reds: &mut [u8],
) {
    for (row, lumas) in [upper, lower].into_iter().zip(lumas.chunks_exact_mut(upper.len())) {
        for (pixel, luma) in row.iter().zip(lumas) {
            *luma = luma_of(*pixel);
        }
    }
    let chroma = blues.iter_mut().zip(reds);
    let columns = upper.chunks(2).zip(lower.chunks(2));
    for ((blue, red), (above, below)) in chroma.zip(columns) {
        // Of an odd width, the last column counts twice.
        let pixel =
            |row: &[[u8; 3]], index: usize| row.get(index).or(row.first()).copied().unwrap_or_default();
        let four = [pixel(above, 0), pixel(above, 1), pixel(below, 0), pixel(below, 1)];
        let sum = |channel: usize| four.iter().map(|pixel| i32::from(pixel[channel])).sum::<i32>();
        let (r, g, b) = (sum(0), sum(1), sum(2));
        *blue = clamped((CB[0] * r + CB[1] * g + CB[2] * b + FOUR_MIDDLES) >> 18);
        *red = clamped((CR[0] * r + CR[1] * g + CR[2] * b + FOUR_MIDDLES) >> 18);
    }
}

/// RGB to planes with chroma averaged over 2 × 2 pixels.
pub(crate) fn to_planes(frame: &Frame) -> Planes {
    debug_assert_eq!(frame.layout, Layout::Rgb);
    let (width, height) = (frame.width, frame.height);
    let mut luma = Plane::filled(width, height, 0);
    let mut blue = Plane::filled(width.div_ceil(2), height.div_ceil(2), 0);
    let mut red = Plane::filled(width.div_ceil(2), height.div_ceil(2), 0);
    let (pixels, _) = frame.data.as_chunks::<3>();
    let (columns, half) = (width as usize, blue.width as usize);
    let chroma = blue.data.chunks_exact_mut(half).zip(red.data.chunks_exact_mut(half));
    let rows = pixels.chunks(columns * 2).zip(luma.data.chunks_mut(columns * 2));
    for ((pair, lumas), (blues, reds)) in rows.zip(chroma) {
        let (upper, lower) = pair.split_at(columns);
        halve_pair(upper, if lower.is_empty() { upper } else { lower }, lumas, blues, reds);
    }
    Planes { luma, blue, red, step: (2, 2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pixel, as a picture of its own.
    fn ycbcr(color: [u8; 3]) -> [u8; 3] {
        let frame = Frame { width: 1, height: 1, layout: Layout::Rgb, data: color.to_vec() };
        let Planes { luma, blue, red, .. } = to_planes(&frame);
        [luma.data[0], blue.data[0], red.data[0]]
    }

    #[test]
    fn factors_are_those_of_the_standard() {
        // T.871, section 7.
        let to_rgb = [RED_OF_CR, GREEN_OF_CB, GREEN_OF_CR, BLUE_OF_CB];
        assert_eq!(to_rgb, [1.402, -0.344_136_286, -0.714_136_286, 1.772].map(fixed));
        assert_eq!(LUMA, [0.299, 0.587, 0.114].map(fixed));
        assert_eq!(CB, [-0.168_735_892, -0.331_264_108, 0.5].map(fixed));
        assert_eq!(CR, [0.5, -0.418_687_589, -0.081_312_411].map(fixed));
        // Gray is gray: what luma is made of is all of it, and differences are of nothing.
        assert_eq!([LUMA, CB, CR].map(|factors| factors.iter().sum::<i32>()), [ONE, 0, 0]);
    }

    #[test]
    fn primaries_are_where_the_standard_puts_them() {
        assert_eq!(ycbcr([255, 255, 255]), [255, 128, 128]);
        assert_eq!(ycbcr([0, 0, 0]), [0, 128, 128]);
        assert_eq!(ycbcr([255, 0, 0]), [76, 85, 255]);
        assert_eq!(ycbcr([0, 0, 255]), [29, 255, 107]);
        assert_eq!(rgb([76, 85, 255]), [254, 0, 0]);
    }

    #[test]
    fn there_and_back_loses_at_most_two() {
        for r in (0..=255).step_by(15) {
            for g in (0..=255).step_by(15) {
                for b in (0..=255).step_by(15) {
                    let color = [r as u8, g as u8, b as u8];
                    let back = rgb(ycbcr(color));
                    assert!(color.iter().zip(back).all(|(a, b)| a.abs_diff(b) <= 2), "{color:?} {back:?}");
                }
            }
        }
    }

    #[test]
    fn odd_sides_average_what_is_there() {
        let data = [[255, 0, 0], [255, 0, 0], [0, 0, 255]].concat();
        let frame = Frame { width: 3, height: 1, layout: Layout::Rgb, data };
        let planes = to_planes(&frame);
        assert_eq!((planes.blue.width, planes.blue.height), (2, 1));
        assert_eq!((planes.blue.data, planes.red.data), (vec![85, 255], vec![255, 107]));
    }
}
