//! Planes of 4:2:0 in the RGB space of a profile to planes in sRGB, two rows at a time.
//!
//! The outcome is that of bringing chroma to the luma's size, converting every pixel, and averaging chroma again, but no
//! picture is held whole in RGB, and what was planes stays planes.

use moxcms::{CmsError, Transform8BitExecutor};

use crate::frame::{Plane, Planes};
use crate::ycbcr::{halve_pair, rgb_row};

/// One row at the luma's width: chroma between its samples, and its pixels before and after.
struct Row {
    /// Chroma of two rows, mixed 3 to 1.
    mixed: Vec<u16>,
    blue: Vec<u8>,
    red: Vec<u8>,
    pixels: Vec<[u8; 3]>,
    converted: Vec<[u8; 3]>,
}

impl Row {
    fn new(width: usize) -> Self {
        let half = width.div_ceil(2);
        Self {
            mixed: vec![0; half],
            blue: vec![0; width],
            red: vec![0; width],
            pixels: vec![[0; 3]; width],
            converted: vec![[0; 3]; width],
        }
    }

    fn convert(
        &mut self,
        planes: &Planes,
        y: usize,
        transform: &Transform8BitExecutor,
    ) -> Result<(), CmsError> {
        let last = planes.blue.height as usize - 1;
        // The sample beside which the row lies, and the one on its other side.
        let near = y / 2;
        let far = if y.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(last) };
        for (plane, wide) in [(&planes.blue, &mut self.blue), (&planes.red, &mut self.red)] {
            mix(plane.row(near), plane.row(far), &mut self.mixed);
            widen(&self.mixed, wide);
        }
        rgb_row(planes.luma.row(y), &self.blue, &self.red, &mut self.pixels);
        transform.transform(self.pixels.as_flattened(), self.converted.as_flattened_mut())
    }
}

/// Three parts of the nearer row and one of the farther: at most 4 × 255.
fn mix(near: &[u8], far: &[u8], mixed: &mut [u16]) {
    for ((near, far), mixed) in near.iter().zip(far).zip(mixed) {
        *mixed = 3 * u16::from(*near) + u16::from(*far);
    }
}

/// Twice as many samples, each three parts of the nearer and one of the farther, rounded.
fn widen(mixed: &[u16], wide: &mut [u8]) {
    let (Some(first), Some(last)) = (mixed.first(), mixed.last()) else { return };
    // At most 255 each.
    let sample = |near: u16, far: u16| ((3 * near + far + 8) >> 4) as u8;
    if let Some(edge) = wide.first_mut() {
        *edge = sample(*first, *first);
    }
    // Between two samples lie the right pixel of the one and the left pixel of the other.
    let inner = wide.get_mut(1..).unwrap_or_default();
    let (pairs, rest) = inner.as_chunks_mut::<2>();
    for ((left, right), pair) in mixed.iter().zip(mixed.iter().skip(1)).zip(pairs) {
        *pair = [sample(*left, *right), sample(*right, *left)];
    }
    if let [edge] = rest {
        *edge = sample(*last, *last);
    }
}

/// The same picture by `transform`, which is of RGB to RGB.
pub(super) fn convert(planes: &Planes, transform: &Transform8BitExecutor) -> Result<Planes, CmsError> {
    debug_assert_eq!(planes.step, (2, 2));
    let (width, height) = planes.size();
    let zeroed = |plane: &Plane| Plane::filled(plane.width, plane.height, 0);
    let (mut luma, mut blue, mut red) = (zeroed(&planes.luma), zeroed(&planes.blue), zeroed(&planes.red));
    let (columns, half) = (width as usize, planes.blue.width as usize);
    let mut upper = Row::new(columns);
    let mut lower = Row::new(columns);
    let chroma = blue.data.chunks_exact_mut(half).zip(red.data.chunks_exact_mut(half));
    for ((pair, lumas), (blues, reds)) in luma.data.chunks_mut(columns * 2).enumerate().zip(chroma) {
        upper.convert(planes, pair * 2, transform)?;
        let alone = pair * 2 + 1 == height as usize;
        if !alone {
            lower.convert(planes, pair * 2 + 1, transform)?;
        }
        let below = if alone { &upper.converted } else { &lower.converted };
        halve_pair(&upper.converted, below, lumas, blues, reds);
    }
    Ok(Planes { luma, blue, red, step: (2, 2) })
}

#[cfg(test)]
mod tests {
    use moxcms::{ColorProfile, Layout, TransformOptions};
    use proptest::prelude::*;

    use super::*;
    use crate::resize::{Scratch, full_chroma};
    use crate::ycbcr::{to_planes, to_rgb};

    fn plane(width: u32, height: u32, seed: u32, slope: u32) -> Plane {
        let sample = |index: u32| {
            let (x, y) = (index % width, index / width);
            // Up and down, without an edge.
            ((seed + x * slope + y * 3) % 128).abs_diff(64) as u8 + 90
        };
        Plane { width, height, data: (0..width * height).map(sample).collect() }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn rows_give_what_whole_pictures_give(width in 1_u32..40, height in 1_u32..24, seed in 0_u32..256) {
            let (half_width, half_height) = (width.div_ceil(2), height.div_ceil(2));
            let planes = Planes {
                luma: plane(width, height, seed, 5),
                blue: plane(half_width, half_height, seed / 3, 2),
                red: plane(half_width, half_height, seed / 2, 3),
                step: (2, 2),
            };
            let transform = ColorProfile::new_display_p3()
                .create_transform_8bit(Layout::Rgb, &ColorProfile::new_srgb(), Layout::Rgb, TransformOptions::default())
                .unwrap();
            let by_rows = convert(&planes, transform.as_ref()).unwrap();
            let [blue, red] = full_chroma(&planes, &mut Scratch::default()).unwrap();
            let mut whole = to_rgb(&planes.luma, &blue, &red);
            let before = whole.data.clone();
            transform.transform(&before, &mut whole.data).unwrap();
            let whole = to_planes(&whole);
            for (rows, whole) in [(&by_rows.luma, &whole.luma), (&by_rows.blue, &whole.blue), (&by_rows.red, &whole.red)] {
                prop_assert_eq!((rows.width, rows.height), (whole.width, whole.height));
                // The resizer rounds chroma after each of its passes, which colours beyond sRGB amplify.
                let far = rows.data.iter().zip(&whole.data).map(|(a, b)| a.abs_diff(*b)).max();
                prop_assert!(far <= Some(8), "{:?}", far);
            }
        }
    }

    #[test]
    fn chroma_between_samples_is_a_mixture_of_its_neighbours() {
        let mut wide = [0; 5];
        widen(&[0, 400, 800], &mut wide);
        assert_eq!(wide, [0, 25, 75, 125, 175]);
        let mut one = [0; 1];
        widen(&[4 * 77], &mut one);
        assert_eq!(one, [77]);
        let mut even = [0; 4];
        widen(&[0, 400], &mut even);
        assert_eq!(even, [0, 25, 75, 100]);
    }
}
